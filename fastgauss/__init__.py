"""fastgauss: Gaussians at lane speed.

Find, fit and evaluate Gaussian spots, millions a second on one core, and draw and fit sums of
many on grids. The README shows a first command; `fit_spots`, `fit_rois`, `find_spots`, `evaluate`,
`render` and `GaussianField` are where to go on.
"""

from . import register
from ._density import KernelDensity
from ._info import show_config
from ._runtime import get_num_threads, set_num_threads
from ._warmup import warmup
from .amplitudes import AmplitudeFit
from .astigmatism import AstigmaticModel, astigmatic_model, calibrate_astigmatism
from .binning import BinStatistics, bin_statistics, histogram
from .components import PCA, pca
from .density import kde
from .deposit import deposit, gather
from .detect import find_spots
from .evaluate import evaluate, image, jacobian
from .field import GaussianField
from .filters import (
    difference_of_gaussians,
    gaussian_filter,
    gaussian_gradient_magnitude,
    gaussian_kernel,
    gaussian_laplace,
)
from .fit import fit_rois, fit_spots
from .grid import Grid
from .joint import fit_joint
from .linear import LineFit, LineStatus, fit_lines, level
from .refine import Refinement
from .render import render
from .results import FitResult, Status
from .scatter import add_at
from .sphere import healpix_add, healpix_pixel

__version__ = "0.1.0"

__all__ = [
    "PCA",
    "AmplitudeFit",
    "AstigmaticModel",
    "BinStatistics",
    "FitResult",
    "GaussianField",
    "Grid",
    "KernelDensity",
    "LineFit",
    "LineStatus",
    "Refinement",
    "Status",
    "add_at",
    "astigmatic_model",
    "bin_statistics",
    "calibrate_astigmatism",
    "deposit",
    "difference_of_gaussians",
    "evaluate",
    "find_spots",
    "fit_joint",
    "fit_lines",
    "fit_rois",
    "fit_spots",
    "gather",
    "gaussian_filter",
    "gaussian_gradient_magnitude",
    "gaussian_kernel",
    "gaussian_laplace",
    "get_num_threads",
    "healpix_add",
    "healpix_pixel",
    "histogram",
    "image",
    "jacobian",
    "kde",
    "level",
    "pca",
    "register",
    "render",
    "set_num_threads",
    "show_config",
    "warmup",
]
