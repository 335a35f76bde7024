"""Tools: `warmup`, `show_config` and the benchmark of the command."""

from .compilation import warmup
from .info import show_config

__all__ = [
    "show_config",
    "warmup",
]
