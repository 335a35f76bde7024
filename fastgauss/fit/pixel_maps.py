"""Weights, variances and masks of pixels, checked."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..base import check


class PixelMap(NamedTuple):
    """A number for each pixel: (1, ...) for all spots, or (n, ...) for each."""

    array: np.ndarray
    zeros: bool  # some are 0

    def rows(self, rows: slice) -> PixelMap:
        """The map of these spots."""
        return self if len(self.array) == 1 else self._replace(array=self.array[rows])


def pixel_map(
    name: str, value: Any, roi: tuple[int, ...], count: int | None, numbers: bool = False
) -> PixelMap | None:
    """A map of non-negative numbers: one for all ROIs, or for each of ``count``; or None.

    With ``numbers`` one number for each ROI, (n,), is allowed. ``count`` is None for an image.
    """
    if value is None:
        return None
    array = check.real_array(name, value)
    stack = () if count is None else (count,)
    one_each = numbers and count is not None and len(roi) > 1 and array.shape == stack
    if array.shape not in (roi, stack + roi) and not one_each:
        shapes = " or ".join(str(shape) for shape in dict.fromkeys([roi, stack + roi]))
        raise ValueError(f"{name} must have shape {shapes}, got {array.shape}")
    least = check.not_negative(name, array)
    if one_each:
        array = np.broadcast_to(array.reshape(-1, *[1] * len(roi)), stack + roi)
    elif count is None or array.shape != stack + roi:
        array = array[np.newaxis]
    return PixelMap(array, bool(least == 0))


def pixel_mask(value: Any, roi: tuple[int, ...], count: int | None) -> PixelMap | None:
    """Like ``pixel_map`` for a mask, True where a pixel is missing."""
    if value is None:
        return None
    return pixel_map("mask", check.boolean_array("mask", value), roi, count)
