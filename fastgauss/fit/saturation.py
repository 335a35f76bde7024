"""Saturated pixels of an image: those of a given level, and plateaus where no level is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base import check
from ..kernels.status import AT_BOUND, CONVERGED, SATURATED, TOO_NARROW
from .pixel_maps import PixelMap

_LEAST_TOP = 255  # the largest value of the least that cameras write: eight bits
_MOST_EQUAL = 8  # pixels beside a plateau, of which one pair may be equal


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

    Chance makes two of them where numbers are few, and symmetry where there is no noise. Values of
    an integer image must reach 255 therefore, and those of others must be as fine beside the
    plateau, and differ from each other there.
    """
    if image.dtype.kind not in "iuf" or not image.size:
        return None
    top = image.max()
    if not np.isfinite(top):  # such pixels are missing
        top = np.max(image, where=np.isfinite(image), initial=-np.inf)
    whole = image.dtype.kind != "f"
    if whole and top < _LEAST_TOP:
        return None
    full = image == top
    if np.count_nonzero(full) < 2:
        return None
    if mask is not None:
        full &= ~mask.array[0]
    beside = _with_neighbour(full)
    if not beside.any() or not (whole or _is_evident(image, beside)):
        return None
    return beside


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


def _is_evident(image: np.ndarray, top: np.ndarray) -> bool:
    """Whether pixels of one value in an image of real numbers are no chance and no symmetry."""
    around = top.copy()
    for axis in range(image.ndim):
        grown = around.copy()
        for part, other in zip(_pairs(grown, axis), _pairs(around, axis)[::-1], strict=True):
            np.logical_or(part, other, out=part)
        around = grown
    around &= ~top & np.isfinite(image)
    if not around.any():
        return False
    equal = 0
    for axis in range(image.ndim):
        (a, b), (here, there) = _pairs(image, axis), _pairs(around, axis)
        equal += np.count_nonzero(here & there & (a == b))
    if equal * _MOST_EQUAL > np.count_nonzero(around):
        return False
    with np.errstate(invalid="ignore", over="ignore"):
        steps = np.abs(np.subtract(*_pairs(image, image.ndim - 1)[::-1], dtype=np.float64))
        step = np.min(steps, where=steps > 0.0, initial=np.inf)
        height = np.float64(image[top][0]) - image[around].min()
    return bool(height >= _LEAST_TOP * step)


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
