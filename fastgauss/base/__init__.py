"""What every room stands on: checks, threads, progress, the grid, status codes."""

from .grid import Grid
from .status import Status
from .thread_pool import get_num_threads, set_num_threads

__all__ = [
    "Grid",
    "Status",
    "get_num_threads",
    "set_num_threads",
]
