"""Functions of a displacement given by their Fourier series: values, zooms, minima.

A map m of lags d has the series

    m(dy, dx) = Re sum over the half plane of weight M[ky, kx] exp(i (ky dy + kx dx)),

M = rfft2(m) / size, which between whole lags is the band-limited interpolation of the map (of an
even axis the mode of Nyquist is a cosine). A matrix product gives it on any grid (a "matrix DFT"),
and Newton's method its minimum.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..base.thread_pool import get_num_threads

_LARGE = 1 << 16  # numbers of a transform that more than one thread works on
_MAX_ITER = 50
_CLOSE = 1e-6  # pixels; the next step of Newton's would be its square
_ROUNDING = 1e-12  # pixels; a step below it is rounding
_UNLIKELY = 60.0  # rise of chi-squared beyond which nothing is looked for
_VALLEY = 1e-10  # of the curvature across a valley: what is none along it
_STRAIGHT = 1e-3  # of a unit vector: what an axis has no part in
_POINT = 1e-9  # square pixels: the least extent of a minimum


def transform(array: np.ndarray, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Spectrum of a real array of any number of axes; float32 stays float32."""
    from scipy.fft import rfftn

    return _on_threads(rfftn, array, shape)


def transform_images(arrays: np.ndarray) -> np.ndarray:
    """Spectra of real images (n, Y, X); float32 stays float32."""
    from scipy.fft import rfft2

    return _on_threads(rfft2, arrays, None)


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


@lru_cache(maxsize=16)
def _derivatives(n: int, half: bool) -> np.ndarray:
    """Factors of exp(i k d) for its value, slope and curvature: (3, 1, modes)."""
    ik = 1j * frequencies(n, half)
    return np.stack([np.ones_like(ik), ik, ik**2])[:, np.newaxis]


def waves(n: int, half: bool, at: np.ndarray) -> np.ndarray:
    """exp(i k d) for the places ``at`` (P,), and its two derivatives: (3, P, modes)."""
    times_wave = _derivatives(n, half)
    out = times_wave * np.exp(np.multiply.outer(at, times_wave[1, 0]))
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
    gradient: np.ndarray
    hessian: np.ndarray


class Minimum(NamedTuple):
    """The minimum of a series next to a start."""

    place: np.ndarray  # (x, y)
    found: bool
    around: Expansion  # at the minimum, or a step of 1e-6 px before it
    across: np.ndarray | None  # the unit vector along which alone there is one


def expand_axes(series: np.ndarray, shape: tuple[int, ...], place: np.ndarray) -> Expansion:
    """Value, gradient and Hessian at a place, of any number of axes, in their order."""
    table = series
    for axis in range(len(shape) - 1, -1, -1):
        half = axis == len(shape) - 1
        wave = waves(shape[axis], half, np.array([place[axis]]))[:, 0]
        if half:
            wave = wave * weights(shape[axis])
        table = np.stack([np.einsum("...k,k->...", table, line) for line in wave])
    table = table.real
    once = np.eye(len(shape), dtype=int)
    gradient = np.array([table[tuple(one)] for one in once])
    hessian = np.array([[table[tuple(one + other)] for other in once] for one in once])
    return Expansion(float(table[(0,) * len(shape)]), gradient, hessian)


def expand(series: np.ndarray, shape: tuple[int, ...], dy: float, dx: float) -> Expansion:
    """Value, gradient and Hessian at a displacement, in the order (x, y)."""
    rows = waves(shape[0], False, np.array([dy]))[:, 0]
    columns = waves(shape[1], True, np.array([dx]))[:, 0] * weights(shape[1])
    table = (rows @ np.stack([times(series, column) for column in columns], axis=1)).real
    hessian = np.array([[table[0, 2], table[1, 1]], [table[1, 1], table[2, 0]]])
    return Expansion(float(table[0, 0]), np.array([table[0, 1], table[1, 0]]), hessian)


def minimise(
    series: np.ndarray, shape: tuple[int, ...], start: Any, close: float = _CLOSE
) -> Minimum:
    """The minimum (dx, dy) next to a start; along a valley without an end, what is next to 0.

    ``close`` is the last step, after which Newton's error is about its square.
    """
    at = np.array(start, dtype=float)
    for _ in range(_MAX_ITER):
        around = expand(series, shape, at[1], at[0])
        curvature, axes = np.linalg.eigh(around.hessian)
        if not curvature[1] > 0:
            return Minimum(at, False, around, None)
        across = axes[:, 1] if abs(curvature[0]) < _VALLEY * curvature[1] else None
        # a negative curvature counts as a positive one, so that the step goes down
        bend = np.maximum(np.abs(curvature), 1e-9 * curvature[1])
        slopes = axes.T @ around.gradient
        if across is not None:
            slopes[0] = 0.0
        step = -axes @ (slopes / bend)
        size = np.abs(step).max()
        if size > _ROUNDING:
            at += step if size <= 0.5 else step * (0.5 / size)
            if np.abs(at - start).max() > 2.0:
                return Minimum(at, False, around, None)
        if size <= close:
            if across is None:
                return Minimum(at, bool(curvature[0] > 0), around, None)
            across = np.where(np.abs(across) < _STRAIGHT, 0.0, across)
            across /= np.sqrt((across**2).sum())
            return Minimum(across * float((at * across).sum()), True, around, across)
    return Minimum(at, False, around, None)


def one_direction(variance: float, across: np.ndarray) -> np.ndarray:
    """The covariance of (dx, dy) where the displacement is known along one unit vector only."""
    x, y = across
    if x == 0.0 or y == 0.0:
        return np.diag([variance if x else np.inf, variance if y else np.inf])
    return np.inf * np.array([[1.0, -np.sign(x * y)], [-np.sign(x * y), 1.0]])


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


def vertex(line: np.ndarray, k: int) -> float:
    """The place of the maximum of a parabola about element k of a line, -0.5 to 0.5."""
    if not 0 < k < len(line) - 1:
        return 0.0
    bend = 2.0 * line[k] - line[k - 1] - line[k + 1]
    return float(np.clip(0.5 * (line[k + 1] - line[k - 1]) / bend, -0.5, 0.5)) if bend > 0 else 0.0
