"""The optimal low-pass filter."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..kernels.register import quintic_spline, window_columns
from .fourier_series import times
from .inputs import Pixels

# cutoff and order of the filters to choose from; those of order 2 are Gaussians
SHAPES = (
    *((cut * math.pi, 4.0) for cut in (0.6, 0.45)),
    *((1.0 / sigma, 2.0) for sigma in (1.0, 1.4, 2.0, 2.8)),
)
_PLAIN = (1.0, 2.0)  # the one without any signal
_CUT = 3e-3  # of the middle tap, where a filter ends
_MIXED = 0.02  # share of the smoothed image that may come from beyond the margin
_SPECTRUM = 256  # pixels, the longest side of the part whose spectrum is looked at


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
