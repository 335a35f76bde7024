"""fastgauss: Gaussians at lane speed.

Find, fit and evaluate Gaussian spots, millions a second on one core. The README shows a
first command; `fit_spots`, `fit_rois`, `find_spots` and `evaluate` are where to go on.
"""

from ._info import show_config
from ._runtime import get_num_threads, set_num_threads
from ._warmup import warmup
from .astigmatism import AstigmaticModel, astigmatic_model, calibrate_astigmatism
from .binning import BinStatistics, bin_statistics, histogram
from .detect import find_spots
from .evaluate import evaluate, image, jacobian
from .field import GaussianField, render
from .fit import fit_rois, fit_spots
from .grid import Grid
from .results import FitResult, Status
from .scatter import add_at

__version__ = "0.1.0"

__all__ = [
    "AstigmaticModel",
    "BinStatistics",
    "FitResult",
    "GaussianField",
    "Grid",
    "Status",
    "add_at",
    "astigmatic_model",
    "bin_statistics",
    "calibrate_astigmatism",
    "evaluate",
    "find_spots",
    "fit_rois",
    "fit_spots",
    "get_num_threads",
    "histogram",
    "image",
    "jacobian",
    "render",
    "set_num_threads",
    "show_config",
    "warmup",
]
