"""Detection of spots: `find_spots`."""

from .detection import find_spots
from .found_spots import FoundSpots

__all__ = [
    "FoundSpots",
    "find_spots",
]
