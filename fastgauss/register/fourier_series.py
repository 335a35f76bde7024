"""Functions of a displacement given by their Fourier series: values, zooms, minima.

A map m of lags d has the series

    m(dy, dx) = Re sum over the half plane of weight M[ky, kx] exp(i (ky dy + kx dx)),

M = rfft2(m) / size, which between whole lags is the band-limited interpolation of the map (of an
even axis the mode of Nyquist is a cosine). A matrix product gives it on any grid (a "matrix DFT"),
and Newton's method its minimum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..base.thread_pool import get_num_threads

_LARGE = 1 << 16  # numbers of a transform that more than one thread works on
_MAX_ITER = 50
_CLOSE = 1e-6  # pixels; the next step of Newton's would be its square
_ROUNDING = 1e-12  # pixels; a step below it is rounding
_UNLIKELY = 60.0  # rise of chi-squared beyond which nothing is looked for
_POINT = 1e-9  # square pixels: the least extent of a minimum


def transform(array: np.ndarray, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Spectrum of a real array of any number of axes; float32 stays float32."""
    from scipy.fft import rfftn

    return _on_threads(rfftn, array, shape)


def inverse(spectrum: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The real array of a spectrum."""
    from scipy.fft import irfftn

    return _on_threads(irfftn, spectrum, shape)


def _on_threads(function: Callable, array: np.ndarray, shape: tuple[int, ...] | None) -> np.ndarray:
    """A transform of scipy on threads; each line is computed alone, so the bits are the same."""
    workers = get_num_threads() if array.size > _LARGE else 1
    try:
        return function(array, s=shape, workers=workers)
    except RuntimeError:  # the system cannot start a thread
        return function(array, s=shape, workers=1)


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """conj(a) b, whose imaginary part vanishes where a = b."""
    out = np.empty_like(a)
    part = a.imag * b.imag
    np.multiply(a.real, b.real, out=out.real)
    out.real += part
    np.multiply(a.imag, b.real, out=part)
    np.multiply(a.real, b.imag, out=out.imag)
    out.imag -= part
    return out


def frequencies(n: int, half: bool) -> np.ndarray:
    """Angular frequencies of an axis."""
    return 2 * np.pi * (np.fft.rfftfreq(n) if half else np.fft.fftfreq(n))


def weights(columns: int) -> np.ndarray:
    """How often a mode of the half plane counts in the whole plane, by column."""
    out = np.full(columns // 2 + 1, 2.0)
    out[0] = 1.0
    if columns % 2 == 0:
        out[-1] = 1.0
    return out


def waves(n: int, half: bool, at: np.ndarray) -> np.ndarray:
    """exp(i k d) for the places ``at`` (P,), and its two derivatives: (3, P, modes)."""
    k = frequencies(n, half)
    wave = np.exp(1j * np.multiply.outer(at, k))
    out = np.stack([wave, 1j * k * wave, -(k**2) * wave])
    if n % 2 == 0:
        m = n // 2
        cosine, sine = np.cos(np.pi * at), np.sin(np.pi * at)
        out[:, :, m] = cosine, -np.pi * sine, -(np.pi**2) * cosine
    return out


def zoom(series: np.ndarray, shape: tuple[int, ...], dy: np.ndarray, dx: np.ndarray) -> np.ndarray:
    """Values on the grid of these rows and columns, (len(dy), len(dx))."""
    rows = waves(shape[0], False, np.asarray(dy, dtype=float))[0]
    columns = waves(shape[1], True, np.asarray(dx, dtype=float))[0] * weights(shape[1])
    return (rows @ series @ columns.T).real


def times(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Matrix by vector without BLAS, whose threads wait busily on the cores of others."""
    return np.einsum("ij,j->i", matrix, vector)


class Expansion(NamedTuple):
    """A series around a displacement."""

    value: float
    gradient: np.ndarray  # (x, y)
    hessian: np.ndarray


def expand(series: np.ndarray, shape: tuple[int, ...], dy: float, dx: float) -> Expansion:
    """Value, gradient and Hessian at a displacement."""
    rows = waves(shape[0], False, np.array([dy]))[:, 0]
    columns = waves(shape[1], True, np.array([dx]))[:, 0] * weights(shape[1])
    table = (rows @ np.stack([times(series, column) for column in columns], axis=1)).real
    hessian = np.array([[table[0, 2], table[1, 1]], [table[1, 1], table[2, 0]]])
    return Expansion(float(table[0, 0]), np.array([table[0, 1], table[1, 0]]), hessian)


def minimise(
    series: np.ndarray, shape: tuple[int, ...], start: Any
) -> tuple[np.ndarray, bool, Expansion]:
    """The minimum (dx, dy) next to a start, whether it was found, and the last expansion.

    That is at the minimum, or a step of 1e-6 px before it, after which Newton's error is below
    rounding.
    """
    at = np.array(start, dtype=float)
    for _ in range(_MAX_ITER):
        around = expand(series, shape, at[1], at[0])
        curvature, axes = np.linalg.eigh(around.hessian)
        if not curvature[1] > 0:
            return at, False, around
        # where the map bends down, go down all the same
        bend = np.maximum(np.abs(curvature), 1e-9 * curvature[1])
        step = -axes @ ((axes.T @ around.gradient) / bend)
        size = np.abs(step).max()
        if not size > _ROUNDING:
            return at, bool(curvature[0] > 0), around
        at += step if size <= 0.5 else step * (0.5 / size)
        if np.abs(at - start).max() > 2.0:
            return at, False, around
        if size <= _CLOSE:
            return at, bool(curvature[0] > 0), around
    return at, False, around


def elsewhere(
    rise: np.ndarray, place: np.ndarray, covariance: np.ndarray
) -> tuple[float, np.ndarray]:
    """Probability that a displacement is at another minimum, and what that adds to its covariance.

    ``rise`` is chi-squared beyond its minimum by lag, as `coarse_minimum` reads it. The minimum at
    ``place`` holds 2 pi sqrt(det covariance), each lag beyond 2 px and 3 standard errors 1 px^2.
    """
    lags = np.argwhere(rise < _UNLIKELY)
    n = np.array(rise.shape)
    away = (lags - place[::-1] + n / 2) % n - n / 2
    local = np.sqrt(np.diag(covariance))[::-1]
    far = (np.abs(away) > np.maximum(2.0, 3.0 * local)).any(axis=1)
    away, lags = away[far][:, ::-1], lags[far]
    chance = np.exp(-0.5 * np.maximum(rise[lags[:, 0], lags[:, 1]], 0.0))
    own = 2 * np.pi * np.sqrt(max(float(np.linalg.det(covariance)), 0.0))
    own = max(min(own, float(rise.size)), _POINT)
    chance = chance / (own + chance.sum())
    return float(chance.sum()), (away.T * chance) @ away


def coarse_minimum(values: np.ndarray) -> tuple[int, int]:
    """The lag (dx, dy) of the least value; that of lag (i, j) is at [i, j], modulo the shape."""
    at = np.unravel_index(int(np.argmin(values)), values.shape)
    y, x = (
        int(i) - n if i > (n - 1) // 2 else int(i) for i, n in zip(at, values.shape, strict=True)
    )
    return x, y
