"""Compilation ahead of use, configuration, and a page of speeds."""

from .compilation import warmup
from .info import show_config

__all__ = [
    "show_config",
    "warmup",
]
