"""Tools: `warmup`, `show_config` and the benchmark of the command.

`warmup` runs jobs of all rooms, so the file that has it is loaded when it is asked for.
"""

from typing import TYPE_CHECKING, Any

from .info import show_config

if TYPE_CHECKING:
    from .compilation import warmup

__all__ = [
    "show_config",
    "warmup",
]


def __getattr__(name: str) -> Any:
    if name == "warmup":
        from .compilation import warmup

        return warmup
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
