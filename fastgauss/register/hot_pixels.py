"""Hot pixels and bad lines: what sticks out alone, in both images at the same place."""

from __future__ import annotations

import numpy as np

from .inputs import Pixels

_TYPICAL = 1.4826  # of the median deviation: the standard deviation
_STRONG = 5.0  # typical deviations of an image from its level: what may draw a displacement
_STICKS_OUT = 12.0  # times what pixels usually differ from those two pixels away
_ALONE = 0.25  # of what a pixel sticks out: the range of the four around it
_SAMPLES = 4096  # pixels that tell what is usual
_MOST = 0.5  # of such pixels must stick out in both images


def shows_hot_pixels(first: Pixels, second: Pixels) -> bool:
    """Whether most pixels that stick out alone of the first image do so in the second, too.

    They do so along an axis, as lines of a detector do across. Stars, also narrow ones, have light
    in the next pixels.
    """
    if not _may_stick_out(first):
        return False
    for axis in range(2):
        both, many = _alone_in_both(first, second, axis)
        if len(both[0]) > _MOST * many:
            return True
    return False


def _may_stick_out(pixels: Pixels) -> bool:
    values = pixels.values
    return bool(max(values.max(), -values.min()) > _STRONG * pixels.size)


def hot_pixels(first: Pixels, second: Pixels) -> np.ndarray:
    """Where a pixel, or a line, sticks out alone of both images."""
    hot = np.zeros(first.values.shape, dtype=bool)
    if _may_stick_out(first):
        for axis in range(2):
            both, many = _alone_in_both(first, second, axis)
            if len(both[0]) > _MOST * many:
                hot.swapaxes(0, axis)[both] = True
    return hot


def _alone_in_both(
    first: Pixels, second: Pixels, axis: int
) -> tuple[tuple[np.ndarray, np.ndarray], int]:
    """Pixels that stick out alone of both images, the axis first; and of the first, how many."""
    one, two = (p.values.swapaxes(0, axis) for p in (first, second))
    far = one[:-4] + one[4:]
    far *= np.float32(0.5)
    excess = np.abs(np.subtract(one[2:-2], far, out=far), out=far)
    step = max(1, excess.size // _SAMPLES) | 1
    limit = _STICKS_OUT * _TYPICAL * float(np.median(excess.ravel(order="K")[::step]))
    y, x = np.nonzero(excess > limit) if limit > 0.0 else np.empty((2, 0), dtype=np.intp)
    alone = _alone(one, y, x)
    both = alone & _alone(two, y, x)
    return (y[both] + 2, x[both]), int(np.count_nonzero(alone))


def _alone(values: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Whether pixels y + 2, x differ from the four around them far more than these do."""
    around = np.stack([values[y + k, x] for k in (0, 1, 3, 4)])
    height = np.abs(values[y + 2, x] - around.mean(axis=0))
    return np.ptp(around, axis=0) < _ALONE * height
