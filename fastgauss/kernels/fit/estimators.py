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
division and the logarithm of a ratio. A model that is negative at some pixel has an infinite loss.

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
from functools import cache
from typing import NamedTuple

import numpy as np

from .._compile import device
from ..numeric.special import divide_ratio, log_of_ratio
from ..simd.lane_types import WIDTH
from ..simd.lanes import broadcast, load, maximum, select, store
from ..simd.masked import lanes_within, load_double, total
from ..simd.prefetch import MANY, prefetch_stream
from ..simd.stack_memory import flat_view, stack_rows

HEADER = 4  # lane rows before the pixels
HEAVIEST = 4  # how many rows before the pixels the largest weight stands
LEVEL = 2  # and of a likelihood, the plane at the darkest pixel, if the model has one

# What the objective is made of. The unit of the data, and the verdict on a single pixel, follow.
SQUARES, DEVIANCE, OTHER_LOSS = 0, 1, 2


class Estimator(NamedTuple):
    """One way to judge a model.

    ``read`` puts a spot into a lane and returns the number of its pixels, the rounding
    error of its objective, the data's size in the metric of the objective, whose rounding
    no step can see, and the mean of the data. ``weigh`` gives weight and weighted residual of a
    pixel, and two numbers more, of which ``lose`` makes the loss. (Between them other pixels are
    weighed, see ``row_terms``.)
    """

    linear: bool  # sums need no model: least squares, linear in amplitude and offset
    uniform: bool  # all weights are 1
    scaled: bool  # the objective's scale, the noise, is known from itself alone
    positive: bool  # the model must be positive
    kinds: int  # numbers a pixel
    read: Callable
    weigh: Callable
    lose: Callable
    loss: int  # SQUARES of residuals, the DEVIANCE of counts, or OTHER_LOSS: no pixel is judged


_ZERO, _ONE, _TWO = (np.uint64(k) for k in range(3))
_PARTS = 8  # in which the sums over the pixels of a spot are formed
_ROUNDING = 1e-15  # of a sum of squares, relative to the same sum of the data's
_ROUNDING_EXACT = 1e-30  # the same, where the squares are those of residuals
_LEAST_MODEL = 1e-150  # a model of 0 is possible where nothing was counted


@device
def _sum_of_parts(low, high):
    """Partial sums added up in one order, whatever the width of a register."""
    return total(low + high) if WIDTH < _PARTS else total(low)


@device
def _unsigned(pixels, item, second):
    """Number of pixels, the spot's row of them, and that of their other numbers."""
    row = min(item, len(second) - 1)
    return np.uint64(pixels.shape[1]), np.uint64(item), np.uint64(row)


@device
def _put_lanes(m, to, lane, value) -> None:
    """Put ``WIDTH`` pixels in a row into one lane.

    Indices are unsigned: their signs are not tested.
    """
    block = stack_rows(1)
    store(block, 0, value)
    row = np.uint64(to)
    for k in range(np.uint64(WIDTH)):
        m[row + k, np.uint64(lane)] = block[_ZERO, k]


@device
def _ask_for_next(flat, first, n) -> None:
    """Prefetch the n pixels of the next spot, which lie beside: a fit takes longer than that."""
    for k in range(first, first + n, MANY):
        prefetch_stream(flat, k)


@device
def _put_plain(m, to, lane, flat, k, pivot):
    d = load_double(flat, k, lanes_within(0.0, 0, WIDTH)) - pivot
    _put_lanes(m, to, lane, d)
    return d


@device
def _read_plain(m, first, lane, pixels, second, item, pivot):
    n, flat, at = pixels.shape[1], flat_view(pixels), item * pixels.shape[1]
    whole = n - n % _PARTS
    _ask_for_next(flat, at + n, n)
    low, high = broadcast(0.0), broadcast(0.0)  # eight partial sums, by one register or two
    low_squares, high_squares = broadcast(0.0), broadcast(0.0)
    for k in range(0, whole, _PARTS):
        d = _put_plain(m, first + k, lane, flat, at + k, pivot)
        low = low + d
        low_squares = low_squares + d * d
        if WIDTH < _PARTS:
            d = _put_plain(m, first + k + WIDTH, lane, flat, at + k + WIDTH, pivot)
            high = high + d
            high_squares = high_squares + d * d
    signal, square = _sum_of_parts(low, high), _sum_of_parts(low_squares, high_squares)
    for k in range(whole, n):
        d = np.float64(flat[at + k]) - pivot
        signal += d
        square += d * d
        m[first + k, lane] = d
    m[first - 3, lane] = float(n)
    m[first - 2, lane] = signal
    m[first - 1, lane] = square
    return float(n), square * _ROUNDING, square + n * pivot * pivot, 0.0


@device
def _weigh_plain(m, first, n, k, value):
    """A pixel of weight 1."""
    return 1.0, load(m, first + k), 0.0, 0.0


@device
def _lose_nothing(m, first, n, k, value, known, other):
    """An estimator whose loss is known from its sums."""
    return value * 0.0


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
    moment = 0.0
    square = 0.0
    weight = 0.0
    count = 0
    for k in range(_ZERO, whole, _TWO):
        w0, a0, b0, c0 = _put_weighted(m, to, column, pixels, spot, k, pivot, second, row)
        w1, a1, b1, c1 = _put_weighted(m, to, column, pixels, spot, k + _ONE, pivot, second, row)
        weight += w0 + w1
        moment += a0 + a1
        square += b0 + b1
        count += c0 + c1
    for k in range(whole, n):
        w0, a0, b0, c0 = _put_weighted(m, to, column, pixels, spot, k, pivot, second, row)
        weight += w0
        moment += a0
        square += b0
        count += c0
    m[first - 3, lane] = weight
    m[first - 2, lane] = moment
    m[first - 1, lane] = square
    return float(count), square * _ROUNDING, square + weight * pivot * pivot, 0.0


@device
def _weigh_weighted(m, first, n, k, value):
    return load(m, first + n + k), load(m, first + k), 0.0, 0.0


@device
def _counted(d):
    """What a likelihood takes for a count: at least 0, and no infinity for one."""
    if d <= 0.0:  # -0.0, too
        return 0.0 if d > -np.inf else np.inf
    return d


@device
def _put_counts(m, to, lane, flat, k):
    """As ``_counted``, a register at a time."""
    d = load_double(flat, k, lanes_within(0.0, 0, WIDTH))
    least = select(d > -np.inf, broadcast(0.0), broadcast(np.inf))
    d = select(d <= 0.0, least, d)
    _put_lanes(m, to, lane, d)
    return d


@device
def _read_poisson(m, first, lane, pixels, second, item, pivot):
    n, flat, at = pixels.shape[1], flat_view(pixels), item * pixels.shape[1]
    whole = n - n % _PARTS
    _ask_for_next(flat, at + n, n)
    low, high = broadcast(0.0), broadcast(0.0)
    for k in range(0, whole, _PARTS):
        low = low + _put_counts(m, first + k, lane, flat, at + k)
        if WIDTH < _PARTS:
            high = high + _put_counts(m, first + k + WIDTH, lane, flat, at + k + WIDTH)
    signal = _sum_of_parts(low, high)
    for k in range(whole, n):
        d = _counted(np.float64(flat[at + k]))
        signal += d
        m[first + k, lane] = d
    m[first - 3, lane] = 0.0
    return float(n), signal * _ROUNDING, signal, signal / n


@device
def _weigh_count(d, value):
    w, s, power = divide_ratio(d, maximum(value, _LEAST_MODEL))
    return w, d * w - 1.0, s, power


@device
def _deviance(d, value, s, power):
    loss = (value - d) + d * log_of_ratio(s, power)
    return select(value >= 0.0, loss + loss, np.inf)


@device
def _weigh_poisson(m, first, n, k, value):
    return _weigh_count(load(m, first + k), value)


@device
def _lose_poisson(m, first, n, k, value, s, power):
    return _deviance(load(m, first + k), value, s, power)


@device
def _read_camera(m, first, lane, pixels, second, item, pivot):
    n, spot, row = _unsigned(pixels, item, second)
    to, column = np.uint64(first), np.uint64(lane)
    counted = 0.0
    signal = 0.0
    least = np.inf
    count = 0
    for k in range(n):
        d = np.float64(pixels[spot, k]) + np.float64(second[row, k])
        exists = d == d
        d = _counted(d)
        counted += d if exists else 0.0
        least = min(least, np.float64(second[row, k])) if exists else least
        signal += abs(np.float64(pixels[spot, k])) if exists else 0.0
        count += 1 if exists else 0
        m[to + k, column] = d if exists else -1.0
        m[to + n + k, column] = second[row, k]
    m[first - 3, lane] = least if count else 0.0
    return float(count), signal * _ROUNDING, counted, signal / max(count, 1)


@device
def _weigh_camera(m, first, n, k, value):
    d = load(m, first + k)
    w, g, s, power = _weigh_count(d, value + load(m, first + n + k))
    missing = d < 0.0
    return select(missing, 0.0, w), select(missing, 0.0, g), s, power


@device
def _lose_camera(m, first, n, k, value, s, power):
    d = load(m, first + k)
    loss = _deviance(d, value + load(m, first + n + k), s, power)
    return select(d < 0.0, 0.0, loss)


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
def _weigh_residual(m, first, n, k, value):
    r = load(m, first + k) - value
    w = load(m, first + n + k)
    return w, w * r, r, w


@device
def _lose_residual(m, first, n, k, value, r, w):
    return w * r * r


@device
def _weigh_spread(m, first, n, k, value):
    w = load(m, first + n + k)
    return w * w * maximum(value, 0.0), w * 0.0, w, w


ESTIMATORS = {
    "plain": Estimator(
        True, True, True, False, 1, _read_plain, _weigh_plain, _lose_nothing, SQUARES
    ),
    "weighted": Estimator(
        True, False, True, False, 2, _read_weighted, _weigh_weighted, _lose_nothing, SQUARES
    ),
    "poisson": Estimator(
        False, False, False, True, 1, _read_poisson, _weigh_poisson, _lose_poisson, DEVIANCE
    ),
    "camera": Estimator(
        False, False, False, True, 2, _read_camera, _weigh_camera, _lose_camera, DEVIANCE
    ),
    "residual": Estimator(
        False, False, True, False, 2, _read_residual, _weigh_residual, _lose_residual, SQUARES
    ),
    "spread": Estimator(
        False, False, True, False, 2, _read_residual, _weigh_spread, _lose_nothing, OTHER_LOSS
    ),
}


@cache
def make_terms(estimator: Estimator) -> Callable:
    """Weight, weighted residual and loss of one pixel at once."""
    weigh, lose = estimator.weigh, estimator.lose

    @device
    def terms(m, first, n, k, value):
        w, g, a, b = weigh(m, first, n, k, value)
        return w, g, lose(m, first, n, k, value, a, b)

    return terms


# The option ``method`` of a fit: the estimator of plain pixels, and that of pixels with weights,
# variances or a mask.
METHODS = {"lsq": ("plain", "weighted"), "mle": ("poisson", "camera")}
