"""Widths of spots: the full width at half maximum (FWHM) beside the standard deviation sigma."""

from __future__ import annotations

import math
from typing import Any

from . import check, wording

FWHM = math.sqrt(8.0 * math.log(2.0))  # of a Gaussian with sigma 1
DEFAULT = 1.3  # sigma of a spot in pixels where none is given
LEAST = 0.3


def read_width(sigma: Any, fwhm: Any, ndim: int, own: float | None = None) -> Any:
    """The option ``sigma``, or the sigmas of the option ``fwhm``, one for each axis.

    ``own`` is the sigma of a model of known width, which stands for the default.
    """
    default = isinstance(sigma, float) and sigma == DEFAULT
    if fwhm is None:
        return max(own, LEAST) if default and own is not None else sigma
    if not default:
        raise ValueError(
            f"fwhm must be None where sigma is given, got {wording.shown(fwhm)} and sigma "
            f"{wording.shown(sigma)}"
        )
    widths = check.per_axis("fwhm", fwhm, ndim, at_least=LEAST * FWHM)
    return tuple(max(width / FWHM, LEAST) for width in widths)
