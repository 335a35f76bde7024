"""Whole images: spots found, fitted and searched for again; calibrations; stacks."""

from .calibration import calibrate_astigmatism
from .image_fits import fit_spots

__all__ = [
    "calibrate_astigmatism",
    "fit_spots",
]
