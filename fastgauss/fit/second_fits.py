"""Second fits of doubtful spots: from other starts, and without a suspicious pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..kernels.fit.estimators import DEVIANCE
from ..kernels.fit.left_out import ROUNDS
from ..kernels.fit.second_starts import ELLIPSES, STARTS
from ..kernels.fit.verdicts import DOUBTFUL, FAR, NARROW, SUSPECT
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


def suspects(
    work: Work, doubts: np.ndarray, loss: int, outputs: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The spots with a suspicious pixel, and the number of this pixel of each."""
    members = (doubts & SUSPECT).nonzero()[0]
    where = np.empty(len(members), np.int64)
    if members.size:
        part, results = work.take(members), (outputs[0][members], outputs[1][members])
        known = np.atleast_2d(part.model.known)
        work.kernels.suspects(part.pixels, part.second, part.shape, known, loss, results, where)
    return members[where >= 0], where[where >= 0]


def outliers(
    part: Work,
    members: np.ndarray,
    pixels: np.ndarray,
    loss: int,
    outputs: list[np.ndarray],
    fit: Callable[[Work, list[np.ndarray]], None],
) -> np.ndarray:
    """Which of some spots one pixel has spoiled, of each the pixel with this number.

    ``outputs`` are those of all spots, fitted with the pixel; ``fit`` writes those of fits without
    it. ``part`` are the spots, in a copy whose pixels change.
    """
    again = [array[members] if len(array) else array for array in outputs]
    whole = again[1].copy(), again[4].copy(), part.free
    known, tries = np.atleast_2d(part.model.known), np.empty((len(pixels), 4))
    least = 0.0 if loss == DEVIANCE else -np.inf  # a likelihood knows no counts below 0
    for turn in range(ROUNDS + 1):
        if turn:
            fit(part, again)
        found = again[0], again[2], again[1], again[STATUS]
        part.kernels.left_out(
            part.pixels, part.second, part.shape, known, pixels, turn, loss, least, whole, found,
            tries,
        )  # fmt: skip
    return tries[:, 0] > 0.0
