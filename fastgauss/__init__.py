"""fastgauss: Gaussians at lane speed.

fastgauss finds, fits and evaluates Gaussian spots, millions a second on one core, and renders and
fits sums of many Gaussians on grids. The README shows a first command; start with `fit_spots`,
`fit_rois`, `find_spots`, `evaluate`, `render` or `GaussianField`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .base.version import __version__ as __version__

if TYPE_CHECKING:  # the same table for type checkers
    from . import register as register
    from . import simulate as simulate
    from .base.grid import Grid as Grid
    from .base.status import Status as Status
    from .base.thread_pool import get_num_threads as get_num_threads
    from .base.thread_pool import set_num_threads as set_num_threads
    from .cameras import Camera as Camera
    from .density import KernelDensity as KernelDensity
    from .density import kde as kde
    from .fields import AmplitudeFit as AmplitudeFit
    from .fields import GaussianField as GaussianField
    from .fields import ImageFit as ImageFit
    from .fields import Refinement as Refinement
    from .fields import fit_image as fit_image
    from .fields import render as render
    from .filters import difference_of_gaussians as difference_of_gaussians
    from .filters import gaussian_filter as gaussian_filter
    from .filters import gaussian_gradient_magnitude as gaussian_gradient_magnitude
    from .filters import gaussian_kernel as gaussian_kernel
    from .filters import gaussian_laplace as gaussian_laplace
    from .find import FoundSpots as FoundSpots
    from .find import find_spots as find_spots
    from .fit import fit_profile as fit_profile
    from .fit import fit_rois as fit_rois
    from .joint import fit_joint as fit_joint
    from .linear import PCA as PCA
    from .linear import LineFit as LineFit
    from .linear import LineStatus as LineStatus
    from .linear import fit_lines as fit_lines
    from .linear import level as level
    from .linear import pca as pca
    from .localisations import Drift as Drift
    from .localisations import DriftStatus as DriftStatus
    from .localisations import Groups as Groups
    from .localisations import estimate_drift as estimate_drift
    from .localisations import group as group
    from .localisations import render_localisations as render_localisations
    from .models import AstigmaticModel as AstigmaticModel
    from .models import PsfField as PsfField
    from .models import PsfModel as PsfModel
    from .models import astigmatic_model as astigmatic_model
    from .models import evaluate as evaluate
    from .models import image as image
    from .models import jacobian as jacobian
    from .models import moffat_psf as moffat_psf
    from .models import psf_from_image as psf_from_image
    from .models import psf_model as psf_model
    from .movies import MovieError as MovieError
    from .movies import fit_movie as fit_movie
    from .movies import iter_movie as iter_movie
    from .psf import PsfMeasurement as PsfMeasurement
    from .psf import measure_psf as measure_psf
    from .results import FitResult as FitResult
    from .results import ProfileFit as ProfileFit
    from .results import source_shapes as source_shapes
    from .spots import calibrate_astigmatism as calibrate_astigmatism
    from .spots import fit_spots as fit_spots
    from .sums import BinStatistics as BinStatistics
    from .sums import add_at as add_at
    from .sums import bin_statistics as bin_statistics
    from .sums import deposit as deposit
    from .sums import gather as gather
    from .sums import healpix_add as healpix_add
    from .sums import healpix_pixel as healpix_pixel
    from .sums import histogram as histogram
    from .tools import show_config as show_config
    from .tools import warmup as warmup

# The public names of each room. A name is loaded when it is first used. (``base`` hands on no name
# itself, so that importing it does not load its files.)
_NAMES = {
    "base.grid": ("Grid",),
    "base.status": ("Status",),
    "base.thread_pool": ("get_num_threads", "set_num_threads"),
    "cameras": ("Camera",),
    "density": ("KernelDensity", "kde"),
    "fields": ("AmplitudeFit", "GaussianField", "ImageFit", "Refinement", "fit_image", "render"),
    "filters": (
        "difference_of_gaussians", "gaussian_filter", "gaussian_gradient_magnitude",
        "gaussian_kernel", "gaussian_laplace",
    ),
    "find": ("FoundSpots", "find_spots"),
    "fit": ("fit_profile", "fit_rois"),
    "joint": ("fit_joint",),
    "linear": ("LineFit", "LineStatus", "PCA", "fit_lines", "level", "pca"),
    "localisations": (
        "Drift", "DriftStatus", "Groups", "estimate_drift", "group", "render_localisations",
    ),
    "models": (
        "AstigmaticModel", "PsfField", "PsfModel", "astigmatic_model", "evaluate", "image",
        "jacobian", "moffat_psf", "psf_from_image", "psf_model",
    ),
    "movies": ("MovieError", "fit_movie", "iter_movie"),
    "psf": ("PsfMeasurement", "measure_psf"),
    "results": ("FitResult", "ProfileFit", "source_shapes"),
    "spots": ("calibrate_astigmatism", "fit_spots"),
    "sums": (
        "BinStatistics", "add_at", "bin_statistics", "deposit", "gather", "healpix_add",
        "healpix_pixel", "histogram",
    ),
    "tools": ("show_config", "warmup"),
}  # fmt: skip
_ROOM_OF = {name: room for room, names in _NAMES.items() for name in names}

_ROOMS = ("register", "simulate")  # public themselves

__all__ = sorted([*_ROOM_OF, *_ROOMS])  # noqa: PLE0605


if not TYPE_CHECKING:  # with it, a type checker would accept every name

    def __getattr__(name: str) -> Any:
        """A public name, imported when it is first used."""
        if name in _ROOMS:
            return import_module(f".{name}", __name__)
        if name not in _ROOM_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f".{_ROOM_OF[name]}", __name__), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
