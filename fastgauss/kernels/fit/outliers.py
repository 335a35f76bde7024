"""Outliers: single pixels, hot ones or hit by a cosmic ray, that no spot of the fit explains.

Only the pixel that stands out most from its two neighbours along x is judged, where it stands out
by ``_SHARP`` of the spot's height. (Along x alone, because pixels lie in memory so. A spot of
sigma 1 stands out by 0.4 of its height, a wider one by less.)

A fit follows a hot pixel. So what is judged is the fit without this pixel, one step away from the
fit with it. With the pixel's residual r, its weight w and its leverage h, the pixel is off by
r / (1 - h), and the objective falls by the *drop*

    least squares  w r**2 / (1 - h),
    deviance       l + h / (1 - h) * r**2 / m,   l the pixel's part of it, m the model there

(Williams 1987, Applied Statistics 36, 181: likelihood residuals). The leverage is that of the
height alone, w f**2 / sum(w f**2), with the sum over the whole plane: a little too small, as it is
where other parameters follow the pixel, too. A profile f that is not a Gaussian is known only
roughly here, and gets none.

The pixel is an outlier if it is off by ``_MISSED`` of the height and the drop is ``_MOST_SHARE`` of
the objective. The noise of counts is known, so of a deviance that falls by ``_SURE``, which happens
by chance once in two million, ``_LEAST_SHARE`` is enough if the pixel is off by so much more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device
from ..models.profiles import NODES, POINTS, WEIGHTS
from ..simd.lane_types import WIDTH
from ..simd.lanes import absolute, broadcast, maximum, minimum, select, store
from ..simd.mask_bits import lowest_bit, mask_bits
from ..simd.masked import lanes_within, load_double
from ..simd.stack_memory import stack_rows
from .estimators import DEVIANCE
from .extents import unit_span

_SHARP = 0.45  # heights of the spot
_MISSED, _MOST_SHARE = 0.5, 0.5
_SURE, _LEAST_SHARE = 25.0, 0.2
MOST_LEVERAGE = 0.95
_OF_SQUARES, _OF_COUNTS = math.sqrt(math.pi), math.sqrt(2.0 * math.pi)


@device
def common_weight(second, item, loss):
    """The weight in least squares that all pixels of a spot have which are not left out, else 0."""
    if loss == DEVIANCE:
        return 0.0
    if not second.shape[1]:
        return 1.0
    row, common = min(item, len(second) - 1), 0.0
    for k in range(second.shape[1]):
        weight = np.float64(second[row, k])
        if common != weight != 0.0:
            if common != 0.0:
                return 0.0
            common = weight
    return common


# -- the sharpest pixel ------------------------------------------------------------------------


@device
def _sharpness(flat, k, inside):
    """How far pixels k, k + 1, ... are above or below both neighbours; a missing one is none."""
    here, left = load_double(flat, k, inside), load_double(flat, k - 1, inside)
    right = load_double(flat, k + 1, inside)
    right = select(right == right, right, left)  # `maximum` and `minimum` leave out the left one
    sharp = maximum(here - maximum(left, right), minimum(left, right) - here)
    return select(inside, sharp, broadcast(-1.0))


@device
def _bend(flat, k, step, inside):
    """How far pixels k, k + 1, ... are from the mean of both neighbours; -1 where unknown."""
    beside = load_double(flat, k - step, inside) + load_double(flat, k + step, inside)
    bend = absolute(load_double(flat, k, inside) - 0.5 * beside)
    return select(inside & (bend == bend), bend, broadcast(-1.0))


@device
def sharpest(flat, first, n, steps):
    """How far the sharpest of n pixels stands out in memory; the ends have one neighbour.

    And the largest distance of a pixel, without the ends, from the mean of its neighbours at
    distances in memory of ``steps``, a tuple of two, or -1 where those are 0. In images they are 1
    and the length of a row: of two hot pixels side by side, each hides the other along x or y.
    """
    most = -1.0
    if n > 1:
        ends = absolute(np.float64(flat[first]) - np.float64(flat[first + 1]))
        most = ends if ends == ends else most
        ends = absolute(np.float64(flat[first + n - 1]) - np.float64(flat[first + n - 2]))
        most = max(most, ends)
    lanes = stack_rows(2)
    every, last = lanes_within(0.0, 0, WIDTH), first + n - 1
    sharp, bend, k = broadcast(-1.0), broadcast(-1.0), first + 1
    while k + WIDTH <= last:
        sharp = maximum(_sharpness(flat, k, every), sharp)
        k += WIDTH
    if k < last:
        sharp = maximum(_sharpness(flat, k, lanes_within(0.0, 0, last - k)), sharp)
    for step in steps:
        k, last = first + step, first + n - step if step else first
        while k + WIDTH <= last:
            bend = maximum(_bend(flat, k, step, every), bend)
            k += WIDTH
        if k < last:
            bend = maximum(_bend(flat, k, step, lanes_within(0.0, 0, last - k)), bend)
    store(lanes, 0, sharp)
    store(lanes, 1, bend)
    bent = -1.0
    for lane in range(WIDTH):
        most, bent = max(most, lanes[0, lane]), max(bent, lanes[1, lane])
    return most, bent


@device
def first_as_sharp(flat, first, n, least):
    """The first of n pixels that stands out so far; n if none does."""
    if n > 1 and absolute(np.float64(flat[first]) - np.float64(flat[first + 1])) >= least:
        return 0
    last = first + n - 1
    for k in range(first + 1, last, WIDTH):
        inside = lanes_within(0.0, 0, min(last - k, WIDTH))
        bits = mask_bits((_sharpness(flat, k, inside) >= least) & inside)
        if bits:
            return k - first + lowest_bit(bits)
    if n > 1 and absolute(np.float64(flat[last]) - np.float64(flat[last - 1])) >= least:
        return n - 1
    return n


@device
def farthest(flat, first, n, top, sign):
    """How far the farthest of n pixels is above ``top``, or below it for a negative ``sign``.

    And which pixel it is.
    """
    lanes, least = stack_rows(1), broadcast(-np.inf)
    level, way = broadcast(top), broadcast(1.0 if sign >= 0.0 else -1.0)
    best = least
    for k in range(0, n, WIDTH):
        inside = lanes_within(0.0, 0, min(n - k, WIDTH))
        above = (load_double(flat, first + k, inside) - level) * way
        best = maximum(select(inside & (above == above), above, least), best)
    store(lanes, 0, best)
    most = -np.inf
    for lane in range(WIDTH):
        most = max(most, lanes[0, lane])
    where = 0
    for k in range(n if most > 0.0 else 0):
        above = (np.float64(flat[first + k]) - top) * (1.0 if sign >= 0.0 else -1.0)
        if above >= most:
            where = k
    return most, where


# -- the objective without it ------------------------------------------------------------------


@device
def loss_of_pixel(d, value, second, kind, weighted):
    """What a pixel adds to the objective, a sum of squares or a deviance."""
    if kind != DEVIANCE:
        return (second if weighted else 1.0) * (d - value) ** 2
    shift = second if weighted else 0.0
    d, value = max(d + shift, 0.0), max(value + shift, 1e-200)
    logarithm = d * math.log(d / value) if d > 0.0 else 0.0
    return 2.0 * (value - d + logarithm)


@device
def exponent(shape, x, y, z):
    """d' M d of a distance."""
    cos, sin = math.cos(shape[3]), math.sin(shape[3])
    u, v, w = (x * cos + y * sin) / shape[0], (y * cos - x * sin) / shape[1], z / shape[2]
    return u * u + v * v + w * w


@cache
def make_profile(axes: int, pixel: str, span: Callable) -> Callable:
    """f of a shape at a distance from the centre, or its mean over the pixel there."""
    points = POINTS if pixel == "integrate" and span is unit_span else 1

    @device
    def profile(shape, x, y, z):
        if points == 1:
            return math.exp(-0.5 * exponent(shape, x, y, z))
        mean = 0.0
        for n in range(points**axes):
            i, j, k = n % points, (n // points) % points, n // (points * points)
            by_y, by_z = NODES[j] if axes > 1 else 0.0, NODES[k] if axes > 2 else 0.0
            weight = WEIGHTS[i]
            if axes > 1:
                weight *= WEIGHTS[j]
            if axes > 2:
                weight *= WEIGHTS[k]
            mean += weight * math.exp(-0.5 * exponent(shape, x + NODES[i], y + by_y, z + by_z))
        return mean

    return profile


@cache
def make_leverage(axes: int) -> Callable:
    """The leverage of the height at the top, of a spot of a shape, pixels ``spacing`` apart."""

    @device
    def leverage(shape, spacing, even):
        """Where weights are alike (``even``), or those of counts on no background."""
        sum_of_profile = 1.0 / spacing
        for a in range(axes):
            sum_of_profile *= shape[a] * (_OF_SQUARES if even else _OF_COUNTS)
        return 1.0 / sum_of_profile

    return leverage


@device
def leverage_at(f, at_top, even):
    """The leverage of the height at a pixel with the profile f, of that at the top."""
    return min((f * f if even else f) * at_top, MOST_LEVERAGE)


@cache
def make_outlier(
    extent: Callable, axes: int, pixel: str, size: int, span: Callable, slopes: int
) -> tuple[Callable, Callable]:
    """``suspected`` and ``outlier``; the arguments are those of ``make_verdicts``."""
    placed, gaussian = pixel == "places", span is unit_span

    profile, leverage = make_profile(axes, pixel, span), make_leverage(axes)

    # -- the model at one pixel ----------------------------------------------------------------

    @device
    def background_at(item, params, x, y, z):
        value = params[item, size - 1]
        if slopes > 0:
            value += params[item, size - 1 - slopes] * x
        if slopes > 1:
            value += params[item, size - slopes] * y
        if slopes > 2:
            value += params[item, size + 1 - slopes] * z
        return value

    # -- the judgement -------------------------------------------------------------------------

    @device
    def suspected(item, known, params, spacing, free, objective, even):
        """Whether there may be one: it leaves a least sum of squares, and most bright spots less.

        ``spacing`` is the distance of pixels along x, ``free`` tells whether the height is, and
        ``even`` whether all weights are alike; the objective is that for weights of 1 then.
        """
        if not even:
            return True
        shape = extent(params, item, known)
        height = abs(params[item, 0]) * span(params, item, known)[0]
        at_top = leverage(shape, spacing, even) if free and gaussian else 0.0
        most = leverage_at(1.0, at_top, even)
        return not objective < (_MISSED * height * (1.0 - most)) ** 2

    @device
    def outlier(
        item, flat, n, second, places, ny, nx, spacing, known, params, free, objective, loss, even
    ):  # fmt: skip
        """Whether there is one, its part of the objective, else 0, and the largest bend.

        ``flat`` are the pixels of all spots, ``n`` of each.
        """
        weighted, counts = second.shape[1] > 0, loss == DEVIANCE
        shape = extent(params, item, known)
        height = abs(params[item, 0]) * span(params, item, known)[0]
        steps = (1, nx if axes == 2 else 0) if even else (0, 0)  # others are not asked for bends
        most, bent = sharpest(flat, item * n, n, steps)
        if not most > _SHARP * height:
            return False, 0.0, bent
        where = first_as_sharp(flat, item * n, n, most)
        x = places[min(item, len(places) - 1), where] if placed else float(where % nx)
        x -= params[item, 1]
        y = float((where // nx) % ny) - params[item, 2] if axes > 1 else 0.0
        z = float(where // (nx * ny)) - params[item, 3] if axes > 2 else 0.0
        f = profile(shape, x, y, z)
        value = background_at(item, params, x, y, z)
        value += params[item, 0] * span(params, item, known)[0] * f
        other = np.float64(second[min(item, len(second) - 1), where]) if weighted else 0.0
        d = np.float64(flat[item * n + where])
        part = loss_of_pixel(d, value, other, loss, weighted)
        at_top = leverage(shape, spacing, even) if free and gaussian else 0.0
        h = leverage_at(f, at_top, even)
        rest = 1.0 / (1.0 - h)
        missed = abs(d - value) * rest
        drop = part * rest
        if counts:
            model = max(value + (other if weighted else 0.0), 1e-200)
            drop = part + h * rest * ((d - value) ** 2 / model)
        found = drop > _MOST_SHARE * objective
        if counts and drop > _SURE:
            found = drop > _LEAST_SHARE * objective
            found = found and drop * missed > _MOST_SHARE * _MISSED * objective * height
        found = found and missed > _MISSED * height
        return found, part if found else 0.0, bent

    return suspected, outlier
