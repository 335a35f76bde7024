"""The response of the detection filter: the image, converted to float32, filled and filtered."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..base import thread_pool
from ..base.progress import Progress
from ..filters import taps
from ..filters.separable import Source, correlate
from ..kernels.find import local_maxima
from . import log_filter
from .cells import median

CHUNK = 1 << 17  # pixels of a task
NO_GAP = np.empty((0, 0, 0), bool)  # for kernels: no pixel is missing
_PEDESTAL_SAMPLES = 1 << 12
_WINDOW = 0.4  # valid part of the Gaussian window that a maximum on a missing pixel needs
_LARGEST = 1e30  # larger values count as missing, because sums in float32 might overflow
_UNITS = 1e-25, 1e25  # deviations from the median that float32 holds as they are


class Picture(NamedTuple):
    """An image prepared for the filters: a float32 volume of bright spots, background near 0."""

    volume: np.ndarray
    peaks: np.ndarray  # largest magnitude of each plane
    blocked: np.ndarray | None  # pixels where no spot is reported
    unit: float = 1.0  # of the values in the volume; a power of two
    level: float = 0.0  # of the image where the volume is 0, in this unit
    sign: float = 1.0  # -1 where dark spots are made bright
    gap: np.ndarray | None = None  # missing pixels

    def pixels(self, values: np.ndarray) -> np.ndarray:
        """Values of the volume as pixels of the image, in the volume's unit."""
        return self.sign * np.asarray(values, np.float64) + self.level


def as_volume(array: np.ndarray) -> np.ndarray:
    """A view with three axes: an image becomes planes of one line, a profile one line."""
    if array.ndim == 3:
        return array
    return array[:, None, :] if array.ndim == 2 else array[None, None, :]


def as_three(values: tuple[float, ...], absent: float) -> tuple[float, float, float]:
    """Values for the axes of the image, in the order of the axes of `as_volume`."""
    z, y, x = {1: (absent, absent, *values), 2: (values[0], absent, values[-1])}.get(
        len(values), values
    )
    return z, y, x


def each_item(count: int, size: int, task: Callable[[int, int], None], threads: int | None) -> None:
    """Run a task on ranges of items, each of which costs as much as ``size`` pixels."""
    chunk = max(1, CHUNK // size)
    if count > chunk:
        thread_pool.run(lambda: task, count, chunk, threads)
    elif count:  # one range: in a small image the way to the threads takes as long as the task
        task(0, count)


def each_chunk(volume: np.ndarray, task: Callable[[int, int], None], threads: int | None) -> None:
    """Run a task on ranges of planes; the ranges depend on the shape alone."""
    each_item(len(volume), volume.shape[1] * volume.shape[2], task, threads)


# -- the image made ready ----------------------------------------------------------------------


def _level_and_unit(volume: np.ndarray) -> tuple[float, float]:
    """Median of a regular sub-sample of the finite values, and a unit that float32 can use."""
    axes = max(1, sum(n > 1 for n in volume.shape))
    step = max(1, math.ceil((volume.size / _PEDESTAL_SAMPLES) ** (1.0 / axes)))
    with np.errstate(over="ignore"):
        sample = volume[::step, ::step, ::step].astype(np.float64)
    exists = np.isfinite(sample)
    finite = sample.ravel() if exists.all() else sample[exists]
    level = float(median(finite)) if finite.size else 0.0
    away = np.abs(0.5 * finite - 0.5 * level)
    most = float(away.max(initial=0.0)) or 1.0
    if _UNITS[0] <= most <= _UNITS[1]:
        return level, 1.0
    usual = float(np.median(away[away > 0.0]))
    if most >= _UNITS[0] and usual <= _UNITS[1]:
        return level, 1.0
    size = most if most < _UNITS[0] else usual
    return level, 2.0 ** min(max(round(math.log2(size)), -1000), 1000)


def _measure(volume: np.ndarray, threads: int | None) -> np.ndarray:
    """Largest magnitude of each plane, NaN or infinity where there is one."""
    bits, peaks = volume.view(np.int32), np.empty(len(volume), dtype=np.int32)
    each_chunk(
        volume, lambda start, stop: local_maxima.plane_peaks(bits, peaks, start, stop), threads
    )
    return peaks.view(np.float32)


def prepare(
    image: np.ndarray,
    mask: np.ndarray | None,
    dark: bool,
    sigmas: tuple[float, float, float],
    threads: int | None,
) -> Picture:
    """Convert to float32 with the median subtracted, and fill missing pixels."""
    source = as_volume(image)
    holes = None if mask is None else as_volume(mask)
    volume = np.empty(source.shape, dtype=np.float32)
    bits, peaks = volume.view(np.int32), np.empty(len(volume), dtype=np.int32)
    level, unit = _level_and_unit(source)
    dtype = np.float32 if image.dtype == np.float32 else np.float64

    def cast(start: int, stop: int) -> None:
        block, target = source[start:stop], volume[start:stop]
        with np.errstate(over="ignore", invalid="ignore"):
            if unit != 1.0:
                block = np.multiply(block, 1.0 / unit, dtype=np.float64)
            base = level / unit
            above, below = (base, block) if dark else (block, base)
            np.subtract(above, below, out=target, dtype=dtype, casting="unsafe")
        if holes is not None:
            np.copyto(target, np.nan, where=holes[start:stop])
        local_maxima.plane_peaks(bits, peaks, start, stop)  # while the pixels are in the cache

    each_chunk(volume, cast, threads)
    largest, sign = peaks.view(np.float32), -1.0 if dark else 1.0
    if np.all(largest < _LARGEST):
        return Picture(volume, largest, None, unit, level / unit, sign)
    gap, blocked = _fill(volume, sigmas, threads)
    return Picture(volume, _measure(volume, threads), blocked, unit, level / unit, sign, gap)


def _fill(
    volume: np.ndarray, sigmas: tuple[float, float, float], threads: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Give missing pixels the Gaussian-weighted mean of the pixels around them.

    Every missing pixel within the filter's reach of a valid pixel gets a value; the others stay 0.
    Returns the missing pixels, and where too small a part of the Gaussian window is valid.
    """
    gap = ~(np.abs(volume) < _LARGEST)
    volume[gap] = 0.0
    terms = [log_filter.smoothing(sigmas)]
    weight = correlate_picture(np.logical_not(gap).astype(np.float32), terms, threads)
    mean = correlate_picture(volume, terms, threads)
    np.divide(mean, weight, out=volume, where=gap & (weight > 1e-6))
    return gap, gap & (weight < _WINDOW)


def correlate_picture(
    volume: np.ndarray, terms: Sequence[taps.Term], threads: int | None,
    report: Progress | None = None, mode: str = "reflect",
) -> np.ndarray:  # fmt: skip
    """Filter the volume with a sum of separable filters; mode "constant": 0 beyond the border."""
    out = np.empty_like(volume)
    planar = volume.shape[1] == 1  # planes of one row: filtered as one plane
    shape = volume.shape[1:2] + volume.shape[::2] if planar else volume.shape
    order = (1, 0, 2) if planar else (0, 1, 2)
    terms = [tuple(term[axis] for axis in order) for term in terms]
    source = Source(volume.reshape(shape))
    target = out.reshape(shape)
    correlate(source, terms, (mode,) * 3, 0.0, target, threads, report=report)
    return out
