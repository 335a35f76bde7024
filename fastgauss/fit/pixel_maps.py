"""Weights, variances and masks of pixels, checked."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..base import check
from ..base.pixel_errors import check_map


class PixelMap(NamedTuple):
    """A number for each pixel: (1, ...) for all spots, or (n, ...) for each."""

    array: np.ndarray
    zeros: bool  # some are 0

    def take(self, rows: slice) -> PixelMap:
        """The map of these spots."""
        return self if len(self.array) == 1 else self._replace(array=self.array[rows])


def pixel_map(
    name: str, value: Any, roi: tuple[int, ...], count: int | None, numbers: bool = False
) -> PixelMap | None:
    """A map of non-negative numbers: one for all ROIs, or for each of ``count``; or None.

    ``count`` and ``numbers`` are those of `check_map`.
    """
    if value is None:
        return None
    array = check.real_array(name, value)
    check_map(name, array.shape, roi, count, numbers)
    least = check.not_negative(name, array)
    if count is not None and array.ndim == 1 < len(roi):
        array = np.broadcast_to(array.reshape(-1, *[1] * len(roi)), (count, *roi))
    elif array.ndim == len(roi):
        array = array[np.newaxis]
    return PixelMap(array, bool(least == 0))


def pixel_mask(value: Any, roi: tuple[int, ...], count: int | None) -> PixelMap | None:
    """Like ``pixel_map`` for a mask, True where a pixel is missing."""
    if value is None:
        return None
    return pixel_map("mask", check.boolean_array("mask", value), roi, count)
