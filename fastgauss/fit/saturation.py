"""Saturated pixels of an image: those of a given level, and plateaus where no level is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base import check
from ..kernels.status import AT_BOUND, CONVERGED, SATURATED, TOO_NARROW
from .pixel_maps import PixelMap

_LEAST_TOP = 255  # the largest value of the least that cameras write: eight bits


def without_saturated(image: np.ndarray, mask: Any, saturation: Any) -> Any:
    """A mask of the pixels that are saturated or hidden; the one given, if nothing is told."""
    if saturation is None:
        return mask
    limit = check.number("saturation", saturation)
    full = image >= limit
    if mask is None:
        return full
    hidden = check.real_array("mask", mask)
    if hidden.dtype != np.bool_ or hidden.shape != image.shape:
        return mask  # which is refused by name where it is read
    return full | hidden


def plateau(image: np.ndarray, mask: PixelMap | None) -> np.ndarray | None:
    """Pixels at the largest value of an integer image, beside another one; None: there are none."""
    if image.dtype.kind not in "iu" or not image.size:
        return None
    top = image.max()
    if top < _LEAST_TOP:
        return None
    full = image == top
    if np.count_nonzero(full) < 2:
        return None
    if mask is not None:
        full &= ~mask.array[0]
    beside = np.zeros(image.shape, bool)
    for axis in range(image.ndim):
        low = (slice(None),) * axis + (slice(None, -1),)
        high = (slice(None),) * axis + (slice(1, None),)
        pair = full[low] & full[high]
        beside[low] |= pair
        beside[high] |= pair
    return beside if beside.any() else None


def mark_plateaus(
    image: np.ndarray,
    mask: PixelMap | None,
    first: np.ndarray,
    extent: np.ndarray,
    status: np.ndarray,
) -> None:
    """Give spots that converged on a plateau, in place, the status that says so.

    Windows begin at pixels ``first`` and are ``extent`` long, both (n, ndim).
    """
    top = plateau(image, mask)
    if top is None:
        return
    sums = np.zeros(np.array(image.shape) + 1, np.intp)
    sums[(slice(1, None),) * image.ndim] = top
    for axis in range(image.ndim):
        np.cumsum(sums, axis=axis, out=sums)
    inside = np.zeros(len(first), np.intp)
    for corner in np.ndindex(*(2,) * image.ndim):
        at = first + extent * corner
        sign = -1 if (image.ndim - sum(corner)) % 2 else 1
        inside += sign * sums[tuple(at.T)]
    status[(inside > 1) & np.isin(status, (CONVERGED, AT_BOUND, TOO_NARROW))] = SATURATED
