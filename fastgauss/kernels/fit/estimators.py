"""What is minimised: for each pixel its weight, its weighted residual and its loss.

With data d, model m and the existing pixels only,

    least squares   S = sum w (d - m)**2,   w = 1 or given (inverse variances);
    Poisson MLE     S = 2 sum (m - d + d log(d / m)), the deviance, w = 1 / m: the weights
                    of Fisher's information (scoring: McCullagh & Nelder 1989, section 2.5).
                    With a variance v of the read-out a pixel, d and m stand for d + v and
                    m + v (Huang et al. 2013, Nature Methods 10, 653, eq. 2).

A Gauss-Newton step solves  B'WB t = B'W (d - m).  For least squares the right-hand side is
linear in amplitude and offset, and the sums over data (``B'W d``) do not need the model's
value at the pixel at all. For the deviance all of it is formed anew at each pixel: a
division and a logarithm. A model that is negative at some pixel has an infinite loss.

In lane memory a spot is, from row ``pixels`` on, its numbers of one kind, then those of
another. Three of the rows before hold sum w, sum w d and sum w d**2. Where the model must be
positive, the first of the three holds instead what each value of the model may be below 0, and a
fourth row the largest weight of the last model that was tried.

    plain       d - pivot
    weighted    w (d - pivot), then w; w = 0 where there is no pixel
    poisson     d, not below 0
    camera      d + v, -1 where there is no pixel, then v
    residual    d, then w: least squares of models that are not linear in anything
    spread      the same: B'W V W B instead of B'W B, V the model's own value

``pivot``, any number near the data's level, keeps the sums of least squares from
cancelling; the fitted offset is counted from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .._compile import device
from ..numeric.special import log_normal
from ..simd.lanes import absolute, load, maximum, select

HEADER = 4  # lane rows before the pixels
HEAVIEST = 4  # how many rows before the pixels the largest weight stands


class Estimator(NamedTuple):
    """One way to judge a model.

    ``read`` puts a spot into a lane and returns the number of its pixels, the rounding
    error of its objective, the data's size in the metric of the objective, whose rounding
    no step can see, and the mean of the data. ``terms`` gives weight, weighted residual and
    loss of a pixel.
    """

    linear: bool  # sums need no model: least squares, linear in amplitude and offset
    uniform: bool  # all weights are 1
    scaled: bool  # the objective's scale, the noise, is known from itself alone
    positive: bool  # the model must be positive
    kinds: int  # numbers a pixel
    read: Callable
    terms: Callable


_ZERO, _ONE, _TWO, _THREE, _FOUR = (np.uint64(k) for k in range(5))
_ROUNDING = 1e-15  # of a sum of squares, relative to the same sum of the data's
_ROUNDING_EXACT = 1e-30  # the same, where the squares are those of residuals
_NEAR = 0.1  # of d / m - 1: below it the series is exact to 1e-11 of the loss
_LEAST_RATIO = 1e-300  # keeps 0 log 0 finite
_LEAST_MODEL = 1e-200  # a model of 0 is possible where nothing was counted


@device
def _unsigned(pixels, item, second):
    """Number of pixels, the spot's row of them, and that of their other numbers."""
    row = min(item, len(second) - 1)
    return np.uint64(pixels.shape[1]), np.uint64(item), np.uint64(row)


@device
def _put_plain(m, to, lane, pixels, item, k, pivot):
    """Put one pixel into a lane. All indices are unsigned: nobody looks for their sign."""
    d = pixels[item, k] - pivot
    m[to + k, lane] = d
    return d


@device
def _read_plain(m, first, lane, pixels, second, item, pivot):
    n, spot = np.uint64(pixels.shape[1]), np.uint64(item)
    to, column = np.uint64(first), np.uint64(lane)
    whole = n & ~_THREE  # four at a time: a sum waits for its own last addition
    total = 0.0
    square = 0.0
    for k in range(_ZERO, whole, _FOUR):
        d0 = _put_plain(m, to, column, pixels, spot, k, pivot)
        d1 = _put_plain(m, to, column, pixels, spot, k + _ONE, pivot)
        d2 = _put_plain(m, to, column, pixels, spot, k + _TWO, pivot)
        d3 = _put_plain(m, to, column, pixels, spot, k + _THREE, pivot)
        total += (d0 + d1) + (d2 + d3)
        square += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
    for k in range(whole, n):
        d0 = _put_plain(m, to, column, pixels, spot, k, pivot)
        total += d0
        square += d0 * d0
    m[first - 3, lane] = float(n)
    m[first - 2, lane] = total
    m[first - 1, lane] = square
    return float(n), square * _ROUNDING, square + n * pivot * pivot, 0.0


@device
def _terms_plain(m, first, n, k, value):
    """Of a pixel of weight 1."""
    return 1.0, load(m, first + k), 0.0


@device
def _put_weighted(m, to, lane, pixels, item, k, pivot, second, row):
    """Put one pixel into a lane; returns w, w d, w d**2 and whether there is a pixel."""
    d = pixels[item, k] - pivot
    w = np.float64(second[row, k])
    exists = d == d and w != 0.0
    w = w if exists else 0.0
    wd = w * d if exists else 0.0
    m[to + k, lane] = wd
    m[to + np.uint64(pixels.shape[1]) + k, lane] = w
    return w, wd, wd * d if exists else 0.0, 1 if exists else 0


@device
def _read_weighted(m, first, lane, pixels, second, item, pivot):
    n, spot, row = _unsigned(pixels, item, second)
    to, column = np.uint64(first), np.uint64(lane)
    whole = n & ~_ONE
    total = 0.0
    square = 0.0
    weight = 0.0
    count = 0
    for k in range(_ZERO, whole, _TWO):
        w0, a0, b0, c0 = _put_weighted(m, to, column, pixels, spot, k, pivot, second, row)
        w1, a1, b1, c1 = _put_weighted(m, to, column, pixels, spot, k + _ONE, pivot, second, row)
        weight += w0 + w1
        total += a0 + a1
        square += b0 + b1
        count += c0 + c1
    for k in range(whole, n):
        w0, a0, b0, c0 = _put_weighted(m, to, column, pixels, spot, k, pivot, second, row)
        weight += w0
        total += a0
        square += b0
        count += c0
    m[first - 3, lane] = weight
    m[first - 2, lane] = total
    m[first - 1, lane] = square
    return float(count), square * _ROUNDING, square + weight * pivot * pivot, 0.0


@device
def _terms_weighted(m, first, n, k, value):
    return load(m, first + n + k), load(m, first + k), 0.0


@device
def _counted(d):
    """What a likelihood takes for a count: at least 0, and no infinity for one."""
    if d < 0.0:
        return 0.0 if d > -np.inf else np.inf
    return d


@device
def _read_poisson(m, first, lane, pixels, second, item, pivot):
    n, spot = np.uint64(pixels.shape[1]), np.uint64(item)
    to, column = np.uint64(first), np.uint64(lane)
    total = 0.0
    for k in range(n):
        d = _counted(np.float64(pixels[spot, k]))
        total += d
        m[to + k, column] = d
    m[first - 3, lane] = 0.0
    return float(n), total * _ROUNDING, total, total / n


@device
def _deviance(d, value):
    """Weight, weighted residual and loss of a pixel whose model is ``value``."""
    w = 1.0 / maximum(value, _LEAST_MODEL)
    ratio = d * w
    loss = (value - d) + d * log_normal(maximum(ratio, _LEAST_RATIO))
    loss = select(value >= 0.0, loss + loss, np.inf)
    return w, ratio - 1.0, loss


@device
def _terms_poisson(m, first, n, k, value):
    return _deviance(load(m, first + k), value)


@device
def _read_camera(m, first, lane, pixels, second, item, pivot):
    n, spot, row = _unsigned(pixels, item, second)
    to, column = np.uint64(first), np.uint64(lane)
    total = 0.0
    signal = 0.0
    least = np.inf
    count = 0
    for k in range(n):
        d = np.float64(pixels[spot, k]) + np.float64(second[row, k])
        exists = d == d
        d = _counted(d)
        total += d if exists else 0.0
        least = min(least, np.float64(second[row, k])) if exists else least
        signal += abs(np.float64(pixels[spot, k])) if exists else 0.0
        count += 1 if exists else 0
        m[to + k, column] = d if exists else -1.0
        m[to + n + k, column] = second[row, k]
    m[first - 3, lane] = least if count else 0.0
    return float(count), signal * _ROUNDING, total, signal / max(count, 1)


@device
def _near_loss(d, value, w):
    """The loss where x = d / m - 1 is small, 2 m ((1 + x) log(1 + x) - x), as its series."""
    x = (d - value) * w
    p = x * (1.0 / 110.0) - 1.0 / 90.0
    p = p * x + 1.0 / 72.0
    p = p * x - 1.0 / 56.0
    p = p * x + 1.0 / 42.0
    p = p * x - 1.0 / 30.0
    p = p * x + 1.0 / 20.0
    p = p * x - 1.0 / 12.0
    p = p * x + 1.0 / 6.0
    return x, (x * x) * ((0.5 - p * x) * (value + value))


@device
def _terms_camera(m, first, n, k, value):
    d = load(m, first + k)
    value = value + load(m, first + n + k)
    w, g, loss = _deviance(d, value)
    x, near = _near_loss(d, value, w)  # a large variance would drown all else
    loss = select((absolute(x) < _NEAR) & (value > 0.0), near, loss)
    missing = d < 0.0
    return select(missing, 0.0, w), select(missing, 0.0, g), select(missing, 0.0, loss)


@device
def _read_residual(m, first, lane, pixels, second, item, pivot):
    n, spot, row = _unsigned(pixels, item, second)
    to, column = np.uint64(first), np.uint64(lane)
    square = 0.0
    count = 0
    for k in range(n):
        d = np.float64(pixels[spot, k])
        w = np.float64(second[row, k])
        exists = d == d and w != 0.0
        d = d if exists else 0.0
        w = w if exists else 0.0
        square += w * d * d
        count += 1 if exists else 0
        m[to + k, column] = d
        m[to + n + k, column] = w
    return float(count), square * _ROUNDING_EXACT, square, 0.0


@device
def _terms_residual(m, first, n, k, value):
    r = load(m, first + k) - value
    w = load(m, first + n + k)
    g = w * r
    return w, g, g * r


@device
def _terms_spread(m, first, n, k, value):
    w = load(m, first + n + k)
    return w * w * maximum(value, 0.0), w * 0.0, 0.0


ESTIMATORS = {
    "plain": Estimator(True, True, True, False, 1, _read_plain, _terms_plain),
    "weighted": Estimator(True, False, True, False, 2, _read_weighted, _terms_weighted),
    "poisson": Estimator(False, False, False, True, 1, _read_poisson, _terms_poisson),
    "camera": Estimator(False, False, False, True, 2, _read_camera, _terms_camera),
    "residual": Estimator(False, False, True, False, 2, _read_residual, _terms_residual),
    "spread": Estimator(False, False, True, False, 2, _read_residual, _terms_spread),
}

# The option ``method`` of a fit: the estimator of plain pixels, and that of pixels with weights,
# variances or a mask.
METHODS = {"lsq": ("plain", "weighted"), "mle": ("poisson", "camera")}
