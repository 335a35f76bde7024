"""Fits of separate regions of interest (ROIs) and of peaks: `fit_rois`, `fit_profile`."""

from .profiles import fit_profile
from .rois import fit_rois

__all__ = [
    "fit_profile",
    "fit_rois",
]
