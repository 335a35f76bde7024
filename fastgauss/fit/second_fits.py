"""Second fits of doubtful spots, from other starts: which are to be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..kernels.fit.second_starts import ELLIPSES, STARTS
from ..kernels.fit.verdicts import DOUBTFUL, FAR, NARROW
from ..kernels.fit.whole_fits import GAIN
from ..kernels.status import AT_BOUND, AT_EDGE, CONVERGED, TOO_FEW_PIXELS, TOO_NARROW

if TYPE_CHECKING:
    from .batch import Work

SECOND_FITS = {DOUBTFUL: range(STARTS), NARROW: range(STARTS, STARTS + ELLIPSES)}
STATUS = 5  # where the statuses stand among the outputs of a fit


def is_better(
    work: Work, ndim: int, again: list[np.ndarray], params: np.ndarray, objective: np.ndarray
) -> np.ndarray:
    """Which fits from another start are to be kept."""
    axes = slice(1, 1 + ndim)
    centres, first = again[0][:, axes], params[:, axes]
    status = again[STATUS]
    lower = again[1] < objective * (1.0 - GAIN)
    known = np.isfinite(again[1]) & (status != TOO_FEW_PIXELS)
    if len(work.guides):
        near, was_near = (
            (((place - work.guides) / work.sigmas) ** 2).sum(axis=1) <= FAR**2
            for place in (centres, first)
        )
        good = np.isin(status, (CONVERGED, AT_BOUND, AT_EDGE, TOO_NARROW))
        return known & near & (good & ~was_near | (was_near & lower))
    if work.places.size:
        low, high = work.places.min(axis=1)[:, np.newaxis], work.places.max(axis=1)[:, np.newaxis]
    else:
        low, high = np.full(ndim, -0.5), np.array(work.shape[: -ndim - 1 : -1]) - 0.5
    inside = ((centres >= low) & (centres <= high)).all(axis=1)
    return known & inside & (lower | ~np.isfinite(objective))
