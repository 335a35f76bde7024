"""Fields, sums of many Gaussians on a grid, and their fits: `render`, `GaussianField`."""

from .amplitudes import AmplitudeFit
from .field import GaussianField
from .refinement import Refinement
from .rendering import render

__all__ = [
    "AmplitudeFit",
    "GaussianField",
    "Refinement",
    "render",
]
