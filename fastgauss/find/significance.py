"""How surprising a response is: its tail for shot noise, and what the filter makes of noise.

The response is a weighted sum R = sum_i k_i d_i of independent pixels. For counts of mean mu its
cumulant generating function is

    K(s) = mu sum_i (exp(s k_i) - 1)

and Lugannani and Rice's formula, in Barndorff-Nielsen's form, gives the significance z of R = r:
the number of standard deviations with the same tail in a normal distribution,

    K'(s) = r,   w = sqrt(2 (s r - K)),   u = s sqrt(K''),   z = w + log(u / w) / w

Noise of another gain g and variance v is taken as g times counts of mean v / g**2, which has its
variance and skewness; as g goes to 0, z is r over its standard deviation.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..kernels.find import tails
from .background import WIDTH, block_axis, window_matrices
from .log_filter import smoothing

_STEEPEST = 60.0  # largest s times the largest weight
_STEPS = 400
_EDGES = 14.0  # widths of the background's window beyond which a border does not matter


_WINDOWS = (2.0, 1.0), (-1.0, math.sqrt(2.0))  # factors and widths, in that of the window


def _gaussian(places: np.ndarray | float, width: float) -> np.ndarray | float:
    """A normal density."""
    return np.exp(-0.5 * (np.asarray(places) / width) ** 2) / (math.sqrt(2 * math.pi) * width)


def _spread(width: float) -> float:
    """The width of one of the background's windows, smoothed by a spot, in that of the spot."""
    return math.hypot(WIDTH * width, 1.0)


def _far_products(sigmas: list[float], lags: list[int]) -> float:
    """The autocorrelation of the background's window at a lag."""
    total = 0.0
    for f, p in _WINDOWS:
        for g, q in _WINDOWS:
            total += f * g * math.prod(
                float(_gaussian(lag, s * math.hypot(_spread(p), _spread(q))))
                for s, lag in zip(sigmas, lags, strict=True)
            )  # fmt: skip
    return total


@lru_cache(maxsize=8)
def kernel_of(sigmas: tuple[float, float, float]) -> tuple[np.ndarray, float]:
    """Weights of the response near its pixel, and the sum of squares of those farther away.

    The sum of all weights is 0. An axis of sigma 0 has no extent.
    """
    active = [sigma for sigma in sigmas if sigma > 0]
    narrow = np.ones(1)
    wide = [np.full(1, factor) for factor, _ in _WINDOWS]
    for sigma in active:
        half = smoothing((sigma,))[0].half
        narrow = np.multiply.outer(narrow, np.concatenate([half[:0:-1], half])).ravel()
        places = np.arange(1 - len(half), len(half))
        wide = [
            np.multiply.outer(w, _gaussian(places, sigma * _spread(width))).ravel()
            for w, (_, width) in zip(wide, _WINDOWS, strict=True)
        ]
    window = np.add(*wide)
    squares = _far_products(active, [0] * len(active))
    return narrow - window, max(squares - float(np.sum(window**2)), 0.0)


@lru_cache(maxsize=8)
def skewness_of_response(sigmas: tuple[float, float, float]) -> float:
    """The skewness of the response to noise whose third moment is its variance, that being 1."""
    near, far_squares = kernel_of(sigmas)
    return float(np.sum(near**3) / (np.sum(near**2) + far_squares) ** 1.5)


@lru_cache(maxsize=8)
def tail_tables(sigmas: tuple[float, float, float]) -> np.ndarray:
    """Tables (2, 5, steps) of `tails.significance`: of bright and of dark tails."""
    near, far_squares = kernel_of(sigmas)
    tables = []
    for weights in (near, -near):
        s = np.geomspace(1e-7, _STEEPEST, _STEPS) / np.abs(weights).max()
        bent = s[:, None] * weights
        raised = np.expm1(bent)
        small = np.abs(bent) < 1e-3
        above = np.where(small, 0.5 * bent**2 * (1.0 + bent / 3.0), raised - bent).sum(axis=1)
        # K / s**2, K' / s and K'', of mu = 1: they are finite as s goes to 0.
        value = above / s**2 + 0.5 * far_squares
        first = raised @ weights / s + far_squares
        second = (raised + 1.0) @ weights**2 + far_squares
        tables.append(np.stack([np.log(first * s), s, value, first, second]))
    return np.stack(tables)


def significance(
    response: np.ndarray,
    deviation: np.ndarray,
    gain: float | np.ndarray,
    sigmas: tuple[float, float, float],
) -> np.ndarray:
    """z of responses (of the filter whose narrow part has the sum 1) in noise of a pixel.

    Parameters
    ----------
    response, deviation : ndarray (n,)
        Responses, and standard deviations of a pixel there. Without noise all that is above 0 is
        infinitely significant.
    gain : float or ndarray (n,)
        Third central moment of the pixels divided by their variance; negative if dark tails are
        longer.
    """
    response = np.ascontiguousarray(response, np.float64)
    gains = np.empty(len(response))
    gains[:] = gain
    out = np.empty(len(response))
    tails.significance(response, deviation, gains, tail_tables(sigmas), out)
    return out


# -- the filter's products -----------------------------------------------------------------


@lru_cache(maxsize=8)
def correlations(sigmas: tuple[float, float, float]) -> tuple[tuple[float, float], ...]:
    """Correlations of responses to white noise one and two pixels apart, along each axis."""
    active = [sigma for sigma in sigmas if sigma > 0]
    halves = [smoothing((sigma,))[0].half for sigma in active]
    profiles = [np.concatenate([half[:0:-1], half]) for half in halves]

    def covariance(lags: list[int]) -> float:
        near = math.prod(
            float(p[lag:] @ p[: len(p) - lag]) for p, lag in zip(profiles, lags, strict=True)
        )
        mixed = sum(
            f * math.prod(
                float(_gaussian(lag, s * math.hypot(1.0, _spread(p))))
                for s, lag in zip(active, lags, strict=True)
            )
            for f, p in _WINDOWS
        )  # fmt: skip
        return near - 2.0 * mixed + _far_products(active, lags)

    unit = np.eye(len(active), dtype=int)
    whole = covariance([0] * len(active))
    return tuple(
        (covariance(one.tolist()) / whole, covariance((2 * one).tolist()) / whole) for one in unit
    )


@lru_cache(maxsize=32)
def shares(n: int, sigma: float) -> np.ndarray:
    """The part of the sum of a profile's squares that lies within an axis, for each pixel."""
    if sigma == 0.0:
        return np.ones(n)
    half = smoothing((sigma,))[0].half ** 2
    whole = np.concatenate([half[:0:-1], half])
    sums = np.concatenate([[0.0], np.cumsum(whole)])
    first = np.maximum(len(half) - 1 - np.arange(n), 0)
    last = np.minimum(len(half) - 1 + n - np.arange(n), len(whole))
    return (sums[last] - sums[first]) / sums[-1]


@lru_cache(maxsize=32)
def scales_of_ends(n: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixels near the ends of an axis, and by what their noise is smaller than that of others."""
    scale = (1.0 / np.sqrt(shares(n, sigma))).astype(np.float32)
    ends = np.flatnonzero(scale > 1.0 + 1e-6)
    return ends, scale[ends]


_PAIRS = (0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)
_FACTORS = 1.0, -_WINDOWS[0][0], -_WINDOWS[1][0]  # of the spot's profile G, of G W and of G W W


_COMBINE = np.zeros((4, len(_PAIRS) + len(_FACTORS) + 1))  # what the rows of `Gains` are made of
for _column, (_i, _j) in enumerate(_PAIRS):
    _COMBINE[0, _column] = (1.0 if _i == _j else 2.0) * _FACTORS[_i] * _FACTORS[_j]
_COMBINE[1, len(_PAIRS) : -1] = _FACTORS
_COMBINE[2, len(_PAIRS) : -1] = 0.0, *(-factor for factor in _FACTORS[1:])
_COMBINE[3, -1] = 1.0
OF_NOISE_AND_SHARE = np.ascontiguousarray(_COMBINE[[0, 3]])


@lru_cache(maxsize=32)
def axis_sums(n: int, sigma: float) -> np.ndarray:
    """Sums of products of the filter's weights, for the pixels of an axis.

    Where the axis is long, they are for a short axis, whose ends are those of the long one.

    Returns
    -------
    ndarray (10, m)
        Of the spot's profile G, G W and G W W, each with each; of those with a spot; and the share
        of G's squares.
    """
    if sigma == 0.0:
        return np.ones((_COMBINE.shape[1], 1))
    side = block_axis(n, sigma).side
    short = math.ceil(_EDGES * WIDTH * sigma)
    if n > short + side:
        return axis_sums(short + (n - short) % side, sigma)
    half = smoothing((sigma,))[0].half
    away = np.abs(np.arange(n)[:, None] - np.arange(n))
    narrow = np.where(away < len(half), half[np.minimum(away, len(half) - 1)], 0.0)
    narrow /= np.sqrt(shares(n, sigma))[:, None]
    parts = (narrow, *(narrow @ window for window in window_matrices(n, sigma)))
    spot = np.exp(-0.5 * ((np.arange(n)[:, None] - np.arange(n)) / sigma) ** 2)
    products = [parts[i] * parts[j] for i, j in _PAIRS] + [part * spot for part in parts]
    return np.stack([*(product.sum(axis=1) for product in products), shares(n, sigma)])


class Gains(NamedTuple):
    """What the filter makes of noise and of spots at some pixels."""

    deviation: np.ndarray  # of the response to noise of deviation 1
    height: np.ndarray  # response to a spot of amplitude 1
    background: np.ndarray  # what such a spot adds to its background, as smoothed
    share: np.ndarray  # of a spot's squares that lie in the volume


def gains_at(
    points: np.ndarray, shape: tuple[int, ...], sigmas: tuple[float, float, float]
) -> Gains:
    """Gains at pixels (n, 3): near the border a part of the spot is missing."""
    products = np.ones((len(points), _COMBINE.shape[1]))
    for at, n, sigma in zip(points.T, shape, sigmas, strict=True):
        products *= axis_sums(n, sigma)[:, near_ends(at, n, sigma)].T
    square, height, background, share = _COMBINE @ products.T
    return Gains(np.sqrt(np.maximum(square, 1e-30)), height, background, share)


def near_ends(at: np.ndarray, n: int, sigma: float) -> np.ndarray:
    """The columns of the sums of an axis that hold for some of its pixels."""
    size = axis_sums(n, sigma).shape[1]
    return np.where(at < n // 2, np.minimum(at, size // 2), np.maximum(at - n + size, size // 2))


@lru_cache(maxsize=8)
def inner_gains(
    shape: tuple[int, ...], sigmas: tuple[float, float, float]
) -> tuple[float, float, float]:
    """The deviation, height and ground of `Gains` in the middle."""
    gains = gains_at(np.array([[n // 2 for n in shape]]), shape, sigmas)
    return float(gains.deviation[0]), float(gains.height[0]), float(gains.background[0])
