"""Compilation ahead of use, configuration, and a page of speeds."""

from .info import show_config
from .warmup import warmup

__all__ = [
    "show_config",
    "warmup",
]
