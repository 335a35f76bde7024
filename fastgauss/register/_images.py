"""What registration reads of an image: splines, precisions of pixels, a pyramid of gradients.

An image and its errors become float32 after the mean is taken away; missing pixels (NaN, masked,
error 0) are filled with a smooth guess, and have the precision 0, with all that the low-pass filter
mixes with them or with what is beyond the border.

The low-pass filter is a Gaussian of that width which makes the variance of the displacement

    [(s1^2 + s2^2) sum k^2 P G^4 + s1^2 s2^2 sum k^2 G^4] / (sum k^2 P G^2)^2

least, with P the scene's power, from the images' spectra, and s1, s2 their noises.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from .._correlate import Source, correlate
from ..base import check
from ..kernels import taps
from ..kernels.register import block_matching, quintic_spline, window_columns
from ._spectrum import times

# cutoff and order of the filters to choose from; those of order 2 are Gaussians
SHAPES = (
    *((cut * math.pi, 4.0) for cut in (0.6, 0.45)),
    *((1.0 / sigma, 2.0) for sigma in (1.0, 1.4, 2.0, 2.8)),
)
_PLAIN = (1.0, 2.0)  # the one without any signal
_CUT = 3e-3  # of the middle tap, where a filter ends
_MIXED = 0.02  # share of the smoothed image that may come from beyond the margin
_SPECTRUM = 256  # pixels, the longest side of the part whose spectrum is looked at
_LEAST = 12  # pixels, the shortest side of an image


@dataclass(frozen=True)
class Pixels:
    """An image as it was given, checked."""

    values: np.ndarray  # (Y, X) float32 above the level, missing pixels filled
    valid: np.ndarray  # (Y, X) bool
    variance: float | np.ndarray | None  # of the noise; None if unknown
    level: float


def image(name: str, value: Any) -> np.ndarray:
    """A two-dimensional image that is large enough."""
    array = check.real_array(name, value, 2)
    if min(array.shape) < _LEAST:
        raise ValueError(f"{name} must have {_LEAST} rows and columns or more, got {array.shape}")
    return array


def error(name: str, value: Any, shape: tuple[int, ...]) -> float | np.ndarray | None:
    """Errors of pixels: None, one positive number, or one number a pixel, 0 where missing."""
    if value is None:
        return None
    if np.ndim(value) == 0:
        return check.number(name, value, above=0)
    array = check.real_array(name, value)
    if array.shape != shape:
        raise ValueError(f"{name} must be one number or have shape {shape}, got {array.shape}")
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


def _fill(values: np.ndarray, valid: np.ndarray) -> None:
    """Give missing pixels the mean of those around; in place."""
    from scipy.ndimage import gaussian_filter

    known = np.where(valid, values, 0.0)
    holes = ~valid
    for sigma in (2.0, 8.0):
        weight = gaussian_filter(valid.astype(np.float32), sigma)
        near = holes & (weight > 1e-3)
        values[near] = gaussian_filter(known, sigma)[near] / weight[near]
        holes &= ~near
    values[holes] = 0.0


def read(
    array: np.ndarray,
    err: float | np.ndarray | None,
    mask: np.ndarray | None,
    level: float | None = None,
) -> Pixels:
    """An image's values above ``level`` (their mean), what exists of them, their variances."""
    with np.errstate(all="ignore"):
        mean = array.mean(dtype=np.float64)
    valid = None
    if array.dtype.kind == "f" and not math.isfinite(mean):
        valid = np.isfinite(array)
    if mask is not None and mask.any():
        valid = ~mask if valid is None else valid & ~mask
    variance: float | np.ndarray | None = None
    if isinstance(err, np.ndarray):
        fine = np.isfinite(err) & (err != 0)
        valid = fine if valid is None else valid & fine
        variance = np.where(fine, err, 1.0).astype(np.float64) ** 2
    elif err is not None:
        variance = err * err
    if valid is None or valid.all():
        values = np.empty(array.shape, dtype=np.float32)
        level = mean if level is None else level
        np.subtract(array, level, out=values, casting="unsafe")
        return Pixels(values, np.ones(array.shape, dtype=bool), variance, level)
    kept = array[valid]
    if level is None:
        level = kept.mean(dtype=np.float64) if kept.size else 0.0
    values = np.zeros(array.shape, dtype=np.float32)
    values[valid] = kept - level
    _fill(values, valid)
    return Pixels(values, valid, variance, level)


def _mean_variance(pixels: Pixels) -> float | None:
    if isinstance(pixels.variance, np.ndarray):
        return float(pixels.variance[pixels.valid].mean()) if pixels.valid.any() else 1.0
    return pixels.variance


# -- the low-pass filter -----------------------------------------------------------------------


@dataclass(frozen=True)
class LowPass:
    """A filter of spline coefficients, exp(-(k / cutoff)^order / 2) along each axis."""

    taps: np.ndarray  # half of the filter that makes coefficients
    squares: np.ndarray  # of the filter that smooths the image, of sum 1
    margin: int  # pixels over which the smoothed image mixes
    kernel: window_columns.Filter


def _spline(k: np.ndarray) -> np.ndarray:
    """Response of quintic spline coefficients: what the image has of them."""
    return (66.0 + 52.0 * np.cos(k) + 2.0 * np.cos(2 * k)) / 120.0


def _response(shape: tuple[float, float], k: np.ndarray) -> np.ndarray:
    cutoff, order = shape
    return np.exp(-0.5 * (np.abs(k) / cutoff) ** order)


def _half(spectrum: np.ndarray, least: float) -> np.ndarray:
    """Half of the symmetric filter of this response, cut where it stays below ``least``."""
    full = np.fft.irfft(spectrum)
    inner = full[: len(spectrum) - 1]
    return inner[: int(np.flatnonzero(np.abs(inner) > least * inner[0])[-1]) + 1]


@lru_cache(maxsize=len(SHAPES))
def _low_pass(shape: tuple[float, float]) -> LowPass:
    """The filter of one shape, and what its noise does."""
    k = np.linspace(0, np.pi, 129)
    taps = _half(_response(shape, k) / _spline(k), _CUT)
    taps = taps / (2.0 * taps.sum() - taps[0])
    response = taps[0] + 2.0 * np.cos(np.outer(k, np.arange(1, len(taps)))) @ taps[1:]
    smooth = response * _spline(k)  # of A
    slope = response * (10.0 * np.sin(k) + np.sin(2 * k)) / 12.0  # of its derivative
    own = np.fft.irfft((slope * smooth) ** 2)[0] * np.fft.irfft(smooth**4)[0]
    blur = np.fft.irfft(smooth)[: len(k) - 1]
    tails = np.cumsum(np.abs(blur)[::-1])[::-1]
    squares = np.concatenate([blur[len(taps) : 0 : -1], blur[: len(taps) + 1]]) ** 2
    inner = window_columns.Filter(
        _half(smooth**2, _CUT).astype(np.float32),
        np.fft.irfft(response**2)[:6].copy(),
        float(own),
        np.zeros(2),
    )
    margin = int(np.flatnonzero(2 * tails < _MIXED)[0]) - 1
    return LowPass(taps, squares / squares.sum(), margin, inner)


def _phase(k: np.ndarray) -> np.ndarray:
    """By how much a quarter of a pixel's shift by splines is off: Im(I exp(-i k / 4)) of mode k."""
    weights = quintic_spline.spline_weights(0.25)
    shifted = sum(w * np.exp(1j * k * (j - 2.25)) for j, w in enumerate(weights))
    return np.imag(shifted) / _spline(k)


def _power(pixels: Pixels) -> np.ndarray:
    """Power of the middle of an image, tapered; white noise has its variance everywhere."""
    from scipy.fft import rfft2

    cut = tuple(
        slice((n - min(n, _SPECTRUM)) // 2, (n + min(n, _SPECTRUM)) // 2)
        for n in pixels.values.shape
    )
    part = pixels.values[cut]
    taper = [np.sin(np.pi * (np.arange(n) + 0.5) / n, dtype=np.float32) for n in part.shape]
    window = np.multiply.outer(*taper)
    window /= np.sqrt(np.mean(window**2) * window.size)
    return np.abs(rfft2((part - part.mean()) * window)) ** 2


def choose(first: Pixels, second: Pixels, count: int) -> LowPass:
    """The filter with which the error, noise and interpolation, of ``count`` pixels is least."""
    power = 0.5 * (_power(first) + _power(second))
    rows, columns = power.shape
    share = np.prod(np.minimum(first.values.shape, _SPECTRUM)) / count
    ky = 2 * np.pi * np.abs(np.fft.fftfreq(rows))
    kx = np.pi * np.arange(columns) / max(columns - 1, 1)
    v1, v2 = _mean_variance(first), _mean_variance(second)
    if v1 is None or v2 is None:  # the corners of the spectrum have little else than noise
        known = v1 if v1 is not None else v2
        corner = power[np.ix_(ky > 0.8 * np.pi, kx > 0.8 * np.pi)].mean()
        v1 = v2 = corner if known is None else 0.5 * (max(2 * corner - known, 0.0) + known)
    signal = power - 0.5 * (v1 + v2)
    doubtful = (v1 + v2) * signal + v1 * v2
    best, least, bias = _PLAIN, math.inf, np.zeros(2)
    for shape in SHAPES:
        gy, gx = _response(shape, ky) ** 2, _response(shape, kx) ** 2
        smooth, bent = times(signal, gx), times(signal, kx**2 * gx)
        off = [gy @ times(signal, kx * _phase(kx) * gx), (ky * _phase(ky) * gy) @ smooth]
        slope = np.array([gy @ bent, (ky**2 * gy) @ smooth])
        score = (ky**2 * gy**2) @ times(doubtful, gx**2) + gy**2 @ times(doubtful, kx**2 * gx**2)
        if not (slope > 0).all() or score < 0:
            continue
        total = share * score / slope.sum() ** 2 + 0.25 * (off / slope) @ (off / slope)
        if total < least:
            best, least, bias = shape, total, np.abs(off / slope)
    low = _low_pass(best)
    return replace(low, kernel=low.kernel._replace(bias=bias))


# -- what the kernels read ---------------------------------------------------------------------


@dataclass(frozen=True)
class Field:
    """An image as the kernels know it; flat arrays with room after the last pixel."""

    coefficients: np.ndarray
    precision: np.ndarray


def _flat(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    size = shape[0] * shape[1]
    flat = np.zeros(size + window_columns.ROOM, dtype=np.float32)
    return flat, flat[:size].reshape(shape)


def _grow(holes: np.ndarray, margin: int) -> np.ndarray:
    """Pixels within ``margin`` of a hole along both axes."""
    from scipy.ndimage import maximum_filter

    return maximum_filter(holes, size=2 * margin + 1)


def _smoothed(variance: float | np.ndarray, low: LowPass) -> float | np.ndarray:
    """Variances of the smoothed image in units of what uniform noise keeps."""
    from scipy.ndimage import correlate1d

    if not isinstance(variance, np.ndarray):
        return variance
    for axis in (0, 1):
        variance = correlate1d(variance, low.squares, axis, mode="reflect")
    return variance


def field(pixels: Pixels, low: LowPass, extra: int, unit: float, threads: int) -> Field:
    """Coefficients, and precisions times ``unit``; ``extra`` more pixels of margin are lost."""
    shape = pixels.values.shape
    coefficients, out = _flat(shape)
    term = taps.Profile(low.taps), taps.Profile(low.taps)
    smooth = np.empty((1, *shape), dtype=np.float32)
    source = Source(pixels.values[np.newaxis])
    correlate(source, [(taps.NOTHING, *term)], ("reflect",) * 3, 0.0, smooth, threads)
    out[:] = smooth[0]
    precision, map_ = _flat(shape)
    if pixels.variance is None:
        map_[:] = 2.0
    else:
        map_[:] = unit / _smoothed(pixels.variance, low)
    margin = low.margin + extra
    if not pixels.valid.all():
        map_[_grow(~pixels.valid, margin)] = 0.0
    map_[:margin] = map_[-margin:] = map_[:, :margin] = map_[:, -margin:] = 0.0
    return Field(coefficients, precision)


@dataclass(frozen=True)
class Pyramid:
    """Gradients of an image on levels whose pixels are 1, 2, 4 .. wide, from ``finest`` on."""

    zx: np.ndarray
    zy: np.ndarray
    firsts: np.ndarray
    shapes: np.ndarray


def pyramid(pixels: Pixels, finest: int, coarsest: int) -> Pyramid:
    """Levels ``0 .. coarsest``, those below ``finest`` left empty."""
    values, valid = pixels.values, pixels.valid
    shapes = [(values.shape[0] >> k, values.shape[1] >> k) for k in range(coarsest + 1)]
    sizes = [h * w if k >= finest else 0 for k, (h, w) in enumerate(shapes)]
    firsts = np.concatenate([[0], np.cumsum(sizes)])
    flat = np.zeros((2, firsts[-1] + window_columns.ROOM), dtype=np.float32)
    for k, shape in enumerate(shapes):
        if k:
            coarse, exists = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=bool)
            block_matching.halve(values, valid, coarse, exists)
            values, valid = coarse, exists
        if k >= finest:
            zx, zy = (line[firsts[k] : firsts[k + 1]].reshape(shape) for line in flat)
            block_matching.gradients(values, valid, zx, zy, 0, shape[0])
    return Pyramid(flat[0], flat[1], firsts[:-1], np.array(shapes))
