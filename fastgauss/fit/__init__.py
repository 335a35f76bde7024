"""Fits of separate regions of interest: `fit_rois`."""

from .rois import fit_rois

__all__ = [
    "fit_rois",
]
