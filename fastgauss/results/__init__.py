"""The result of a fit: `FitResult`, with one row for each spot."""

from ..base.status import Status
from .background import Background
from .fit_result import FitResult
from .intrinsic_shapes import source_shapes
from .profile_fit import ProfileFit

__all__ = [
    "Background",
    "FitResult",
    "ProfileFit",
    "Status",
    "source_shapes",
]
