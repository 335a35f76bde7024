"""The result of a fit: `FitResult`, with one row for each spot."""

from ..base.status import Status
from .background import Background
from .fit_result import FitResult
from .profile_fit import ProfileFit
from .source_shapes import source_shapes

__all__ = [
    "Background",
    "FitResult",
    "ProfileFit",
    "Status",
    "source_shapes",
]
