"""The pixels of an image with a frame around them, so that every window lies inside."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Picture(NamedTuple):
    """Pixels in a unit near that of their contrast; the frame does not exist."""

    values: np.ndarray  # (y, x), with the frame
    good: np.ndarray  # where a pixel exists
    variance: np.ndarray | None  # of each pixel, where it is known
    margin: int  # width of the frame
    level: float  # values = (pixels - level) / unit
    unit: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns without the frame."""
        high, wide = self.values.shape
        return high - 2 * self.margin, wide - 2 * self.margin

    def windows(self, places: np.ndarray, half: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Indices of rows (n, side, 1) and columns (n, 1, side) around places ``x, y``.

        The third array (n, 2) is row and column of the first pixel in the image's coordinates.
        """
        first = np.rint(places[:, ::-1]).astype(np.intp) - half
        side = np.arange(2 * half + 1) + self.margin
        rows, columns = first[:, :1] + side, first[:, 1:] + side
        return rows[:, :, np.newaxis], columns[:, np.newaxis, :], first


def read_picture(image: np.ndarray, mask: Any, weights: np.ndarray | None, margin: int) -> Picture:
    """The pixels that exist: finite, not masked, with a weight above 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        pixels = np.asarray(image, np.float64)
    good = np.isfinite(pixels)
    if mask is not None:
        good &= ~mask
    if weights is not None:
        good &= weights > 0
    if not good.any():
        raise ValueError(
            f"image must hold a pixel that is finite and not masked, got {_told(image)}"
        )
    level = float(np.median(pixels[good]))
    unit = float(np.abs(0.5 * pixels[good] - 0.5 * level).max()) * 2.0
    if not 0.0 < unit < np.inf:
        unit = 1.0
    frame = (margin, margin)
    values = np.pad(np.where(good, (pixels - level) / unit, 0.0), frame)
    variance = None
    if weights is not None:
        with np.errstate(divide="ignore"):
            root = np.where(good, 1.0 / np.sqrt(weights) / unit, 1.0)
        variance = np.pad(root**2, frame, constant_values=1.0)
    return Picture(values, np.pad(good, frame), variance, margin, level, unit)


def _told(image: np.ndarray) -> str:
    return f"none in shape {image.shape}"
