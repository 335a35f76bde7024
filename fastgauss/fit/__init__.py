"""Fits of separate regions of interest (ROIs): `fit_rois`."""

from .rois import fit_rois

__all__ = [
    "fit_rois",
]
