"""Sums by index: values to bins, cells and pixels of the sky."""

from .binning import BinStatistics, bin_statistics, histogram
from .healpix import healpix_add, healpix_pixel
from .particle_mesh import deposit, gather
from .scatter_add import add_at

__all__ = [
    "BinStatistics",
    "add_at",
    "bin_statistics",
    "deposit",
    "gather",
    "healpix_add",
    "healpix_pixel",
    "histogram",
]
