"""Saturated pixels of an image: those of a given level, and plateaus where no level is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base import check
from ..kernels.status import AT_BOUND, CONVERGED, SATURATED, TOO_NARROW
from .pixel_maps import PixelMap

_LEAST_TOP = 255  # the largest value of the least that cameras write: eight bits
_LEAST_COUNT = 4  # pixels of the largest value, of real numbers
_OFTEN = 3  # times as often as any other value of the upper half


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
    """Pixels at the largest value of an image, beside another one; None: there are none.

    Chance makes two of them where numbers are few, symmetry where there is no noise, and a median
    filter everywhere. Values of an integer image must reach 255 therefore, and in others many more
    pixels must have the largest value than have any other one of the upper half.
    """
    if image.dtype.kind not in "iuf" or not image.size:
        return None
    seen = image.reshape(-1) if mask is None else image[~mask.array[0]]
    if image.dtype.kind == "f" and not np.isfinite(seen.max(initial=-np.inf)):
        seen = seen[np.isfinite(seen)]  # the others are missing
    if not seen.size:
        return None
    top = seen.max()
    if image.dtype.kind == "f":
        if not _is_evident(seen, top):
            return None
    elif top < _LEAST_TOP:
        return None
    full = image == top
    if mask is not None:
        full &= ~mask.array[0]
    if np.count_nonzero(full) < 2:
        return None
    beside = _with_neighbour(full)
    return beside if beside.any() else None


def _pairs(image: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Views of all pixels but the last along an axis, and of their neighbours."""
    before = (slice(None),) * axis
    low, high = (*before, slice(None, -1)), (*before, slice(1, None))
    return image[low], image[high]


def _with_neighbour(full: np.ndarray) -> np.ndarray:
    """Which of these pixels have one of them beside them."""
    beside = np.zeros(full.shape, bool)
    for axis in range(full.ndim):
        low, high = _pairs(full, axis)
        for part in _pairs(beside, axis):
            np.logical_or(part, low & high, out=part)
    return beside


def _is_evident(values: np.ndarray, top: Any) -> bool:
    """Whether the largest of some values occurs much more often than others of the upper half."""
    count = np.count_nonzero(values == top)
    if count < _LEAST_COUNT:
        return False
    rest = values[values < top]
    if not rest.size:
        return False
    bright = rest[rest > 0.5 * top + 0.5 * np.median(rest)]
    times = np.unique(bright, return_counts=True)[1]
    return bool(times.size and count > _OFTEN * times.max())


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
