"""Detection of spots: `find_spots`."""

from .detection import find_spots

__all__ = [
    "find_spots",
]
