"""Images of registration, as they are given and as numbers of one size.

An image becomes float32 after a level near its median is taken away and after a power of two has
brought its typical deviation from that level to 1 to 2: results do not depend on the unit of the
pixels, nor on a constant. Pixels that do not exist get a guess from their neighbours.

Three kinds of pixels do not exist: those that are not finite, masked, or of error 0; and wild ones.
A group of at most `_SPIKE` pixels is wild if it stands a thousand typical deviations from the level
and thirty times as far as every pixel next to it; a larger group only if, moreover, all its pixels
have one value a million deviations away (the fill value of a file). A star has neighbours that are
brighter than the sky, and is never wild.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base import check
from ..base.scaling import power_of_two
from ..filters import gaussian_filter

LEAST = 12  # pixels, the shortest side of an image
_SAMPLE = 64  # pixels of a side that tell level and size of an image
_WILD = 1024.0  # typical deviations
_ALONE = 0.03  # of a wild pixel: what its neighbours deviate
_SPIKE = 9  # pixels
_FILL = 2.0**20  # typical deviations
_ERRORS = 1e-15, 1e15  # of values: beyond, no digit of an error matters
_LEAST_SIZE = 1e-30  # of values, so that float32 can divide by it
_LARGEST = 2.0**30  # of float32 values whose products are summed
_SMALL_HOLE = 3  # pixels of a side: what is narrower gets a guess that counts


@dataclass(frozen=True)
class Pixels:
    """An image or a volume of registration."""

    values: (
        np.ndarray
    )  # (Y, X) or (Z, Y, X) float32, (the image - level) * scale, missing pixels filled
    valid: np.ndarray  # (Y, X) bool: exists, or guessed from close by
    guessed: np.ndarray | None  # (Y, X) bool, None if none is
    doubt: float  # variance of a guess
    variance: float | np.ndarray | None  # of the noise of the values; None if unknown
    level: np.floating
    scale: float  # a power of two
    size: float  # typical deviation of the values from their level

    @property
    def whole(self) -> bool:
        """Whether all pixels exist."""
        return self.guessed is None and bool(self.valid.all())


def image(name: str, value: Any, ndim: int | tuple[int, ...] = 2) -> np.ndarray:
    """An image, or a volume where ``ndim`` allows one, that is large enough."""
    array = check.real_array(name, value, ndim)
    if min(array.shape) < LEAST:
        sides = "rows and columns" if array.ndim == 2 else "planes, rows and columns"
        raise ValueError(f"{name} must have {LEAST} {sides} or more, got {array.shape}")
    return array


def error(name: str, value: Any, shape: tuple[int, ...]) -> float | np.ndarray | None:
    """Errors of pixels: None, one positive number, or one number a pixel, 0 where missing."""
    if value is None:
        return None
    array = check.real_array(name, value)
    if array.ndim == 0:
        return check.number(name, array, above=0)
    if array.shape != shape:
        raise ValueError(f"{name} must be one number or have shape {shape}, got {array.shape}")
    if (array < 0).any():
        raise ValueError(f"{name} must be 0 or above in every pixel, got {np.nanmin(array)}")
    return array


def missing(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """A mask of an image, True where a pixel is missing."""
    if value is None:
        return None
    array = check.plain_array(name, value)
    if array.dtype != bool:
        raise TypeError(f"{name} must hold booleans, True = missing, got dtype {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    return array


# -- level and size ----------------------------------------------------------------------------


def _sample(array: np.ndarray, exists: np.ndarray | None) -> np.ndarray:
    """A sample of the pixels that exist, float64."""
    steps = tuple(slice(None, None, max(1, n // _SAMPLE)) for n in array.shape)
    for where in (steps, (slice(None),) * array.ndim):
        some = array[where].astype(np.float64)
        known = np.isfinite(some) if exists is None else np.isfinite(some) & exists[where]
        if known.any():
            return some[known]
    return np.zeros(0)


def _typical(sample: np.ndarray) -> tuple[np.floating, float]:
    """The median, and the upper quartile of the deviations of what deviates from it."""
    if not sample.size:
        return np.float64(0.0), 0.0
    level = np.median(sample)
    away = np.abs(sample - level)
    size = np.partition(away, 3 * away.size // 4)[3 * away.size // 4]
    if not size > 0.0:
        away = away[away > 0.0]
        size = np.median(away) if away.size else 0.0
    return level, float(size)


def _farthest(array: np.ndarray, exists: np.ndarray | None, level: np.floating) -> float:
    """The largest finite deviation from the level."""
    kept = array if exists is None else array[exists]
    with np.errstate(all="ignore"):
        away = np.abs(np.subtract(kept, level, dtype=np.float64))
        return float(away.max(initial=0.0, where=np.isfinite(away)))


def _values(array: np.ndarray, level: np.floating, scale: float) -> np.ndarray:
    """(array - level) * scale in float32."""
    values = np.empty(array.shape, dtype=np.float32)
    with np.errstate(all="ignore"):
        if 2.0**-60 < scale < 2.0**60 and abs(level) * scale < 2.0**60:
            np.subtract(array, level, out=values, casting="unsafe")
            np.multiply(values, np.float32(scale), out=values)
        else:
            np.multiply(np.subtract(array, level), scale, out=values, casting="unsafe")
    return values


# -- what does not exist -----------------------------------------------------------------------


def _wild(away: np.ndarray, size: float) -> np.ndarray | None:
    """Pixels whose deviation from the level is wild; None if none is."""
    from scipy import ndimage

    far = away > _WILD * size
    if not far.any():
        return None
    labels, count = ndimage.label(far, np.ones((3,) * far.ndim))
    index = np.arange(1, count + 1)
    least = ndimage.minimum(away, labels, index)
    most = ndimage.maximum(away, labels, index)
    around = np.where(far, 0, ndimage.grey_dilation(labels, size=(3,) * far.ndim))
    beside = ndimage.maximum(away, around, index)
    pixels = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    alone = beside < _ALONE * least
    fill = (least == most) & (least > _FILL * size)
    chosen = alone & ((pixels <= _SPIKE) | fill)
    return np.concatenate([[False], chosen])[labels] if chosen.any() else None


def _known(
    array: np.ndarray, exists: np.ndarray | None, level: np.floating, size: float
) -> np.ndarray | None:
    """The pixels that exist, without wild ones; None if all do."""
    with np.errstate(all="ignore"):
        away = np.abs(np.subtract(array, level, dtype=np.float64))
        known = np.isfinite(away) if exists is None else np.isfinite(away) & exists
        away[~known] = 0.0
        wild = _wild(away, size)
    if wild is not None:
        known &= ~wild
    return None if known.all() else known


def fill(values: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Give missing pixels the mean of those around, in place.

    Returns
    -------
    valid, guessed : ndarray of bool
        What exists or lies in a small hole, and those of small holes.
    doubt : float
        Variance of such a guess, from guesses of pixels that exist.
    """
    from scipy.ndimage import binary_opening, maximum_filter

    holes = ~known
    large = binary_opening(holes, np.ones((_SMALL_HOLE,) * holes.ndim))
    guessed = holes & ~maximum_filter(large, _SMALL_HOLE)
    given = np.where(known, values, np.float32(0.0))
    left, doubt = holes, 0.0
    for sigma in (1.0, 2.0, 8.0):
        if not left.any():
            break
        weight = gaussian_filter(known.astype(np.float32), sigma, threads=1)
        mean = gaussian_filter(given, sigma, threads=1)
        if sigma == 1.0 and guessed.any():
            own = _own_weight(sigma, holes.ndim)
            sure = known & (weight > 2.0 * own)
            miss = (weight * given - mean)[sure] / (weight[sure] - own)
            doubt = float(np.mean(miss.astype(np.float64) ** 2)) if miss.size else 0.0
        near = left & (weight > (0.1 if sigma == 1.0 else 1e-3))
        values[near] = mean[near] / weight[near]
        left = left & ~near
    values[left] = 0.0
    return known | guessed, guessed, doubt


def _own_weight(sigma: float, ndim: int) -> float:
    """Weight of a pixel in its own mean under the Gaussian of `fill`."""
    k = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
    line = np.exp(-0.5 * (k / sigma) ** 2)
    return float((1.0 / line.sum()) ** ndim)


def read(
    array: np.ndarray,
    err: float | np.ndarray | None,
    mask: np.ndarray | None,
    level: np.floating | None = None,
    scale: float | None = None,
) -> Pixels:
    """An image as numbers of one size; ``level`` and ``scale`` instead of its own."""
    exists = None if mask is None or not mask.any() else ~mask
    if isinstance(err, np.ndarray):
        fine = np.isfinite(err) & (err != 0)
        exists = fine if exists is None else exists & fine
        if exists.all():
            exists = None
    own, size = _typical(_sample(array, exists))
    if not size > 0.0:  # the sample is of one value
        size = _farthest(array, exists, own)
    level = own if level is None else level
    unit = power_of_two(size) if scale is None else scale
    values = _values(array, level, unit)
    known = exists
    most = max(-float(values.min()), float(values.max()))
    if exists is not None or not most < _WILD * size * unit:
        known = _known(array, exists, own, size)
        most = _farthest(array, known, own) * unit
        if scale is None and not most < _LARGEST:  # few pixels hold all of it
            unit = power_of_two(most / unit) * _LARGEST
            values = _values(array, level, unit)
    about = _variance(err, unit), level, unit, max(size * unit, _LEAST_SIZE)
    if known is None:
        return Pixels(values, np.ones(array.shape, bool), None, 0.0, *about)
    values[~known] = 0.0
    valid, guessed, doubt = fill(values, known)
    return Pixels(values, valid, guessed if guessed.any() else None, doubt, *about)


def _variance(err: float | np.ndarray | None, scale: float) -> float | np.ndarray | None:
    if err is None:
        return None
    if isinstance(err, np.ndarray):
        with np.errstate(over="ignore"):
            out = np.multiply(err, scale, dtype=np.float64)
        fine = np.isfinite(err) & (err != 0)
        np.clip(out, *_ERRORS, out=out)
        np.square(out, out=out)
        if not fine.all():  # a guess counts as a pixel of typical noise, and its own doubt
            out[~fine] = out[fine].mean() if fine.any() else 1.0
        return out
    return min(max(err * scale, _ERRORS[0]), _ERRORS[1]) ** 2
