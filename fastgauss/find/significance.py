"""How surprising a response is: its tail for shot noise, and what the filter makes of noise.

The response is a weighted sum R = sum_i k_i d_i of independent pixels. For counts of mean mu its
cumulant generating function is

    K(s) = mu sum_i (exp(s k_i) - 1)

and Lugannani and Rice's formula, in Barndorff-Nielsen's form, gives the significance z of R = r:
the number of standard deviations with the same tail in a normal distribution,

    K'(s) = r,   w = sqrt(2 (s r - K)),   u = s sqrt(K''),   z = w + log(u / w) / w

Noise of another gain g and variance v is taken as g times counts of mean v / g**2, which has its
variance and skewness; as g goes to 0, z is r by its standard deviation.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .background import WIDTH, block_axis, window_matrices
from .log_filter import smoothing

_STEEPEST = 60.0  # largest s times the largest weight
_STEPS = 400
_EDGES = 14.0  # widths of the background's window beyond which a border does not matter
_MOST = 1e9  # standard deviations of a pixel that count
_NORMAL = 1e-6  # gain, in standard deviations of a pixel, that is no gain


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


class Tail:
    """The distribution of a response to counts, tabled by s."""

    def __init__(self, sigmas: tuple[float, float, float], sign: int) -> None:
        near, far_squares = kernel_of(sigmas)
        near = sign * near
        self.s = np.geomspace(1e-7, _STEEPEST, _STEPS) / np.abs(near).max()
        self.log_s = np.log(self.s)
        bent = self.s[:, None] * near
        raised = np.expm1(bent)
        small = np.abs(bent) < 1e-3
        above = np.where(small, 0.5 * bent**2 * (1.0 + bent / 3.0), raised - bent).sum(axis=1)
        # K / s**2, K' / s and K'', of mu = 1: they are finite as s goes to 0.
        self.value = above / self.s**2 + 0.5 * far_squares
        self.first = raised @ near / self.s + far_squares
        self.second = (raised + 1.0) @ near**2 + far_squares
        self.log_mean = np.log(self.first * self.s)

    def significance(self, response: np.ndarray, mu: np.ndarray) -> np.ndarray:
        """z of responses to counts of mean ``mu``; responses that are not positive have 0."""
        x = np.clip(response / mu, 1e-300, 1e300)
        log_s = np.interp(np.log(x), self.log_mean, self.log_s)
        value, first, second = (
            np.interp(log_s, self.log_s, table) for table in (self.value, self.first, self.second)
        )
        s = np.where(np.log(x) < self.log_mean[-1], x / first, self.s[-1])
        w = np.sqrt(np.clip(2.0 * mu * (s * x - value * s**2), 1e-200, 1e200))
        u = s * np.sqrt(mu * second)
        return np.where(response > 0, w + np.log(np.maximum(u / w, 1e-300)) / w, 0.0)


tail_of = lru_cache(maxsize=8)(Tail)


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
        Third central moment by variance of the pixels; negative if dark tails are the longer ones.
    """
    response = np.asarray(response, np.float64)
    out = np.zeros(len(response))
    gain = np.broadcast_to(np.asarray(gain, np.float64), response.shape)
    out[(deviation <= 0) & (response > 0)] = np.inf
    for sign in (1, -1):
        rows = np.flatnonzero((deviation > 0) & ((gain < 0) == (sign < 0)))
        if len(rows):
            unit = np.maximum(np.abs(gain[rows]), _NORMAL * deviation[rows])
            high = np.minimum(response[rows] / deviation[rows], _MOST) * (deviation[rows] / unit)
            mu = (deviation[rows] / unit) ** 2
            out[rows] = tail_of(sigmas, sign).significance(high, mu)
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


_PAIRS = (0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)
_FACTORS = 1.0, -_WINDOWS[0][0], -_WINDOWS[1][0]  # of the spot's profile G, of G W and of G W W


@lru_cache(maxsize=32)
def _axis_gains(n: int, sigma: float) -> np.ndarray:
    """As `axis_gains`, for all pixels of an axis that is not long."""
    if sigma == 0.0:
        return np.ones((len(_PAIRS) + len(_FACTORS), n))
    half = smoothing((sigma,))[0].half
    away = np.abs(np.arange(n)[:, None] - np.arange(n))
    narrow = np.where(away < len(half), half[np.minimum(away, len(half) - 1)], 0.0)
    narrow /= np.sqrt(shares(n, sigma))[:, None]
    parts = (narrow, *(narrow @ window for window in window_matrices(n, sigma)))
    spot = np.exp(-0.5 * ((np.arange(n)[:, None] - np.arange(n)) / sigma) ** 2)
    products = [parts[i] * parts[j] for i, j in _PAIRS] + [part * spot for part in parts]
    return np.stack([product.sum(axis=1) for product in products])


def axis_gains(n: int, sigma: float, places: np.ndarray) -> np.ndarray:
    """Sums of products of the filter's weights, for pixels at some places along an axis.

    Returns
    -------
    ndarray (9, m)
        Of the spot's profile G, G W and G W W, each with each; and of those with a spot.
    """
    side = block_axis(n, sigma).side
    short = math.ceil(_EDGES * WIDTH * sigma)
    if n <= short + side:
        return _axis_gains(n, sigma)[:, places]
    short += (n - short) % side
    near = np.where(places < n // 2, np.minimum(places, short // 2),
                    np.maximum(places - n + short, short // 2))  # fmt: skip
    return _axis_gains(short, sigma)[:, near]


class Gains(NamedTuple):
    """What the filter makes of noise and of spots at some pixels."""

    deviation: np.ndarray  # of the response to noise of deviation 1
    height: np.ndarray  # response to a spot of amplitude 1
    ground: np.ndarray  # what such a spot adds to its background, as smoothed


def gains_at(
    points: np.ndarray, shape: tuple[int, ...], sigmas: tuple[float, float, float]
) -> Gains:
    """Gains at pixels (n, 3): near the border a part of the spot is missing."""
    axes = [axis_gains(n, s, p) for n, s, p in zip(shape, sigmas, points.T, strict=True)]
    sums = np.prod(axes, axis=0)
    variance = sum(
        (1.0 if i == j else 2.0) * _FACTORS[i] * _FACTORS[j] * part
        for (i, j), part in zip(_PAIRS, sums, strict=False)
    )
    spot, once, twice = sums[len(_PAIRS) :]
    ground = -_FACTORS[1] * once - _FACTORS[2] * twice
    return Gains(np.sqrt(np.maximum(variance, 1e-30)), spot - ground, ground)
