"""Second fits of doubtful spots: from other starts, and without suspicious pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..kernels.fit.estimators import DEVIANCE
from ..kernels.fit.left_out import MAY_HAVE_MORE, MOST_LEFT_OUT, ODD, ROUNDS
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


def suspects(work: Work, params: np.ndarray, objective: np.ndarray, loss: int) -> np.ndarray:
    """The number of a suspicious pixel of each of some spots, or -1."""
    where = np.empty(len(work.pixels), np.int64)
    known = np.atleast_2d(work.model.known)
    work.kernels.suspects(
        work.pixels, work.second, work.shape, known, loss, (params, objective), where
    )
    return where


def outliers(
    work: Work,
    members: np.ndarray,
    loss: int,
    outputs: list[np.ndarray],
    fit: Callable[[Work, np.ndarray, list[np.ndarray]], None],
) -> np.ndarray:
    """Those of some spots that one pixel, or two, have spoiled.

    ``outputs`` are those of all spots, fitted with these pixels; ``fit(part, members, outputs)``
    writes those of fits without them.
    """
    odd = np.zeros(len(work.pixels), bool)
    pixels = np.full((len(members), MOST_LEFT_OUT), -1)
    part = work.take(members)
    again = [array[members] if len(array) else array for array in outputs]
    for count in range(MOST_LEFT_OUT):
        found = suspects(part, again[0], again[1], loss)
        named = (found >= 0) & (pixels[:, :count] != found[:, np.newaxis]).all(axis=1)
        pixels[:, count] = found
        members, pixels = members[named], pixels[named]
        if not members.size:
            break
        part = work.take(members)
        again = [array[members] if len(array) else array for array in outputs]
        verdict = _without(part, members, pixels, loss, again, fit)
        odd[members[verdict == ODD]] = True
        more = verdict == MAY_HAVE_MORE
        members, pixels, part = members[more], pixels[more], part.take(more)
        again = [array[more] if len(array) else array for array in again]
    return odd.nonzero()[0]


def _without(
    part: Work,
    members: np.ndarray,
    pixels: np.ndarray,
    loss: int,
    again: list[np.ndarray],
    fit: Callable[[Work, np.ndarray, list[np.ndarray]], None],
) -> np.ndarray:
    """What the fits without these pixels tell of each spot (``kernels/fit/left_out.py``).

    ``again`` are results with these pixels, and become those without them, and ``part`` are the
    spots, in a copy whose pixels change.
    """
    whole = again[1].copy(), again[4].copy(), part.free
    known, tries = np.atleast_2d(part.model.known), np.empty((*pixels.shape, 4))
    least = 0.0 if loss == DEVIANCE else -np.inf  # a likelihood knows no counts below 0
    for turn in range(ROUNDS + 1):
        if turn:
            fit(part, members, again)
        found = again[0], again[2], again[1], again[STATUS]
        part.kernels.left_out(
            part.pixels, part.second, part.shape, known, pixels, turn, loss, least, whole, found,
            tries,
        )  # fmt: skip
    return tries[:, 0, 0]
