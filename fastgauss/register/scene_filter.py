"""The filter of the scene's gradients with which a frame's displacement is most exact.

A frame of noise s^2 is compared with the mean of the other frames, whose noise is t^2. The weights

    W = P / (P (s^2 + t^2) (1 + c e^2) + s^2 t^2)

of the scene's modes make the variance least for c = 0 (Knapp and Carter 1976, eqs. 27 to 30). P is
the power of the scene: what two means of half of the frames share, averaged over rings of
frequency.

e is the error of the phase of a mode that a spline has moved by a quarter of a pixel. It displaces
a frame by -b sin(2 pi f) at the fraction f of a pixel, b = sum k W P e / sum k^2 W P. That is taken
away, and c is the one with which noise and what may be left of b together are least.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..kernels.register import quintic_spline, window_columns
from . import fourier_series, low_pass, periodic
from .scene import MARGIN

_CUTS = (0.0, *(10.0**i for i in range(9)))  # c
_LEFT = 0.1  # of the error of splines: what may be left when it is taken away
_NO_NOISE = 1e-9  # of the scene's largest power: the least that counts as noise
_FRACTIONS = 8  # of a pixel, over which what splines keep of noise is averaged


class SceneFilter(NamedTuple):
    """The filter for grids of one shape."""

    along_x: np.ndarray  # (Y, X / 2 + 1) complex64: i kx W
    along_y: np.ndarray
    taper: np.ndarray  # (Y, X) float32, 1 on the frame, 0 at the edge of the grid
    bias: np.ndarray  # b along y and x
    kernel: window_columns.Filter

    def slopes(self, values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Filtered derivatives along x and y of a scene on the grid."""
        from scipy.fft import irfft2, rfft2

        middle = np.float32(np.average(values, weights=weights))
        spectrum = rfft2((values - middle) * self.taper)
        x, y = (irfft2(spectrum * part, values.shape) for part in (self.along_x, self.along_y))
        return x, y


def _taper(grid: tuple[int, int], shape: tuple[int, ...]) -> np.ndarray:
    lines = []
    for m, n in zip(grid, shape, strict=True):
        place = np.arange(m) + 0.5
        before, after = (MARGIN - place) / MARGIN, (place - MARGIN - n) / (m - n - MARGIN)
        lines.append(np.cos(0.5 * np.pi * np.clip(np.maximum(before, after), 0.0, 1.0)) ** 2)
    return np.multiply.outer(*lines).astype(np.float32)


def _shared_power(halves: np.ndarray) -> np.ndarray:
    """Power by mode that both halves of the frames have; white noise has its variance."""
    from scipy.fft import rfft2

    grid = halves.shape[1:]
    taper = np.multiply.outer(*(np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in grid))
    one, two = rfft2(halves * taper) / np.sqrt((taper**2).sum())
    return periodic.radial(one.real * two.real + one.imag * two.imag, grid)


@lru_cache(maxsize=1)
def _correlation() -> np.ndarray:
    """Autocorrelation of white noise in the coefficients of a quintic spline, (6,)."""
    k = np.linspace(0, np.pi, 1025)
    return np.fft.irfft(low_pass.spline_response(k) ** -2)[:6].copy()


def kept_by_splines(fraction: float) -> float:
    """Variance of white noise along an axis that a spline keeps at a fraction of a pixel."""
    weights = np.array(quintic_spline.spline_weights(fraction))
    lags = np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
    return float(np.einsum("i,ij,j->", weights, _correlation()[lags], weights))


@lru_cache(maxsize=1)
def kept_on_average() -> float:
    """The mean of `kept_by_splines` over all fractions."""
    return float(np.mean([kept_by_splines((i + 0.5) / _FRACTIONS) for i in range(_FRACTIONS)]))


class _Modes(NamedTuple):
    """The modes of the half plane of a grid."""

    along: tuple[np.ndarray, np.ndarray]  # ky, kx; 0 at Nyquist, whose mode is a cosine
    off: tuple[np.ndarray, np.ndarray]  # e along y and x
    many: np.ndarray  # how often a mode counts

    def mean(self, field: np.ndarray) -> float:
        """Over all modes."""
        return float((self.many * field).sum()) / float(self.many.sum())


@lru_cache(maxsize=4)
def _modes(rows: int, columns: int) -> _Modes:
    ky, kx = fourier_series.frequencies(rows, False), fourier_series.frequencies(columns, True)
    off_y, off_x = (low_pass.phase_error(np.abs(k)) * np.sign(k) for k in (ky, kx))
    for n, k in ((rows, ky), (columns, kx)):
        if n % 2 == 0:
            k[n // 2] = 0.0
    many = np.broadcast_to(fourier_series.weights(columns), (rows, len(kx)))
    return _Modes((ky[:, np.newaxis], kx), (off_y[:, np.newaxis], off_x), many)


def _weigh(
    power: np.ndarray, modes: _Modes, pixels: int, s: float, t: float
) -> tuple[np.ndarray, np.ndarray]:
    """W of noises s^2 and t^2 for frames of this number of pixels, and b along y and x."""
    k2 = modes.along[0] ** 2 + modes.along[1] ** 2
    off2 = modes.off[0] ** 2 + modes.off[1] ** 2
    best, least, bias = np.zeros_like(power), math.inf, np.zeros(2)
    for cut in _CUTS:
        weight = power / (power * (s + t) * (1.0 + cut * off2) + s * t)
        signal = weight * power
        slope = np.array([modes.mean(k**2 * signal) for k in modes.along])
        if not (slope > 0).all():
            continue
        noise = modes.mean(k2 * weight * ((s + t) * signal + s * t * weight))
        off = [
            modes.mean(k * e * signal) for k, e in zip(modes.along, modes.off, strict=True)
        ] / slope
        total = 4.0 * noise / slope.sum() ** 2 / pixels + 0.5 * _LEFT**2 * float((off**2).sum())
        if total < least:
            best, least, bias = weight, total, off
    return best / max(float(best.max()), 1e-300), bias


def choose(
    halves: np.ndarray, shape: tuple[int, ...], frame_noise: float, scene_noise: float
) -> SceneFilter:
    """The filter of a scene of which two halves are given, for frames of a shape and a noise."""
    rows, columns = halves.shape[1:]
    power = _shared_power(halves)
    modes = _modes(rows, columns)
    least = max(_NO_NOISE * float(power.max()), 1e-300)
    weight, bias = _weigh(power, modes, math.prod(shape), frame_noise + least, scene_noise + least)
    ky, kx = modes.along
    kernel = window_columns.Filter(
        np.ones(1, dtype=np.float32), _correlation(), kept_on_average() ** 2,
        0.5 * sum(modes.mean(k**2 * weight**2) for k in modes.along),
        0.5 * sum(modes.mean(k**4 * weight**2) for k in modes.along),
        _LEFT * np.abs(bias[::-1]),
    )  # fmt: skip
    along_x, along_y = ((1j * k * weight).astype(np.complex64) for k in (kx, ky))
    return SceneFilter(along_x, along_y, _taper((rows, columns), shape), bias, kernel)
