"""fastgauss: Gaussians at lane speed.

Find, fit and evaluate Gaussian spots, millions a second on one core, and draw and fit sums of
many on grids. The README shows a first command; `fit_spots`, `fit_rois`, `find_spots`, `evaluate`,
`render` and `GaussianField` are where to go on.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .base.grid import Grid
from .base.status import Status
from .base.thread_pool import get_num_threads, set_num_threads
from .base.version import __version__ as __version__
from .fields.rendering import render
from .find.detection import find_spots
from .fit.rois import fit_rois
from .models.evaluation import evaluate, image, jacobian
from .results.fit_result import FitResult
from .spots.image_fits import fit_spots
from .sums.particle_mesh import deposit, gather
from .sums.scatter_add import add_at
from .tools.info import show_config

if TYPE_CHECKING:
    from .density.estimation import kde
    from .density.kernel_density import KernelDensity
    from .fields.amplitudes import AmplitudeFit
    from .fields.field import GaussianField
    from .fields.refinement import Refinement
    from .filters.gaussian import (
        difference_of_gaussians,
        gaussian_filter,
        gaussian_gradient_magnitude,
        gaussian_kernel,
        gaussian_laplace,
    )
    from .joint.joint_fits import fit_joint
    from .linear.line_fits import LineFit, LineStatus, fit_lines, level
    from .linear.principal_components import PCA, pca
    from .models.astigmatic import AstigmaticModel, astigmatic_model
    from .spots.calibration import calibrate_astigmatism
    from .sums.binning import BinStatistics, bin_statistics, histogram
    from .sums.healpix import healpix_add, healpix_pixel
    from .tools.warmup import warmup

# Loaded when first asked for: half of the import's time. (Names that are those of their modules
# cannot be: the module would take their place.)
_LATER = {
    "density.kernel_density": ("KernelDensity",),
    "tools.warmup": ("warmup",),
    "fields.amplitudes": ("AmplitudeFit",),
    "spots.calibration": ("AstigmaticModel", "astigmatic_model", "calibrate_astigmatism"),
    "sums.binning": ("BinStatistics", "bin_statistics", "histogram"),
    "linear.principal_components": ("PCA", "pca"),
    "density.estimation": ("kde",),
    "fields.field": ("GaussianField",),
    "filters.gaussian": (
        "difference_of_gaussians", "gaussian_filter", "gaussian_gradient_magnitude",
        "gaussian_kernel", "gaussian_laplace",
    ),
    "joint.joint_fits": ("fit_joint",),
    "linear.line_fits": ("LineFit", "LineStatus", "fit_lines", "level"),
    "fields.refinement": ("Refinement",),
    "sums.healpix": ("healpix_add", "healpix_pixel"),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _LATER.items() for name in names}

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


if not TYPE_CHECKING:  # a checker would take every name for one of ours

    def __getattr__(name: str) -> Any:
        """A public name, imported when it is first asked for."""
        if name == "register":
            return import_module(".register", __name__)
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
