"""Fields, sums of many Gaussians on a grid, and their fits: `render`, `GaussianField`."""

from .amplitudes import AmplitudeFit
from .field import GaussianField
from .image_fit import fit_image
from .image_result import ImageFit
from .refinement_result import Refinement
from .rendering import render

__all__ = [
    "AmplitudeFit",
    "GaussianField",
    "ImageFit",
    "Refinement",
    "fit_image",
    "render",
]
