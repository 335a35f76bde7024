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
another. The row before holds sum w d**2, and the one before that sum w d.

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

from ._compile import device
from .lanes import load, maximum, select
from .special import log_normal

HEADER = 2  # lane rows before the pixels


class Estimator(NamedTuple):
    """One way to judge a model.

    ``read`` puts a spot into a lane and returns the number of its pixels, the rounding
    error of its objective, and the weight that an error of the model's height has in it.
    ``terms`` gives weight, weighted residual and loss of a pixel.
    """

    linear: bool  # sums need no model: least squares, linear in amplitude and offset
    uniform: bool  # all weights are 1
    scaled: bool  # the objective's scale, the noise, is known from itself alone
    positive: bool  # the model must be positive
    kinds: int  # numbers a pixel
    read: Callable
    terms: Callable


_ROUNDING = 1e-15  # of a sum of squares, relative to the same sum of the data's
_ROUNDING_EXACT = 1e-30  # the same, where the squares are those of residuals
_LEAST_RATIO = 1e-300  # keeps 0 log 0 finite
_LEAST_MODEL = 1e-200  # a model of 0 is possible where nothing was counted


@device
def _read_plain(m, first, lane, pixels, second, item, pivot):
    source = pixels[item]
    total = 0.0
    square = 0.0
    for k in range(source.size):
        d = source[k] - pivot
        total += d
        square += d * d
        m[first + k, lane] = d
    m[first - 2, lane] = total
    m[first - 1, lane] = square
    return float(source.size), square * _ROUNDING, float(source.size)


@device
def _terms_plain(m, first, n, k, value):
    """Of a pixel of weight 1."""
    return 1.0, load(m, first + k), 0.0


@device
def _read_weighted(m, first, lane, pixels, second, item, pivot):
    source = pixels[item]
    weights = second[min(item, len(second) - 1)]
    n = source.size
    total = 0.0
    square = 0.0
    weight = 0.0
    count = 0
    for k in range(n):
        d = source[k] - pivot
        w = weights[k]
        if d != d or w == 0.0:
            d, w = 0.0, 0.0
        else:
            count += 1
        weight += w
        total += w * d
        square += w * d * d
        m[first + k, lane] = w * d
        m[first + n + k, lane] = w
    m[first - 2, lane] = total
    m[first - 1, lane] = square
    return float(count), square * _ROUNDING, weight


@device
def _terms_weighted(m, first, n, k, value):
    return load(m, first + n + k), load(m, first + k), 0.0


@device
def _read_poisson(m, first, lane, pixels, second, item, pivot):
    source = pixels[item]
    total = 0.0
    for k in range(source.size):
        d = float(source[k])
        d = 0.0 if d < 0.0 else d
        total += d
        m[first + k, lane] = d
    return float(source.size), total * _ROUNDING, source.size / (total + 1e-300)


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
    source = pixels[item]
    variance = second[min(item, len(second) - 1)]
    n = source.size
    total = 0.0
    count = 0
    for k in range(n):
        d = source[k] + variance[k]
        if d != d:
            d = -1.0
        else:
            count += 1
            d = 0.0 if d < 0.0 else d
            total += d
        m[first + k, lane] = d
        m[first + n + k, lane] = variance[k]
    return float(count), total * _ROUNDING, count / (total + 1e-300)


@device
def _terms_camera(m, first, n, k, value):
    d = load(m, first + k)
    w, g, loss = _deviance(d, value + load(m, first + n + k))
    missing = d < 0.0
    return select(missing, 0.0, w), select(missing, 0.0, g), select(missing, 0.0, loss)


@device
def _read_residual(m, first, lane, pixels, second, item, pivot):
    source = pixels[item]
    weights = second[min(item, len(second) - 1)]
    n = source.size
    square = 0.0
    weight = 0.0
    count = 0
    for k in range(n):
        d = float(source[k])
        w = weights[k]
        if d != d or w == 0.0:
            d, w = 0.0, 0.0
        else:
            count += 1
        weight += w
        square += w * d * d
        m[first + k, lane] = d
        m[first + n + k, lane] = w
    return float(count), square * _ROUNDING_EXACT, weight


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
