"""From the fit's own coordinates to parameters, covariances and statuses.

With G = B'WB at the solution, the covariance of the basis coefficients t is

* G**-1 for a likelihood (the inverse of Fisher's information), and for least squares whose
  weights are inverse variances;
* s**2 G**-1 with s**2 = S / (pixels - P), the residual variance, where the weights are
  known up to a factor, or 1;
* G**-1 (B'W V W B) G**-1 with V the variances of the pixels, for least squares with other
  weights than 1 / V (the "sandwich": White 1980, Econometrica 48, 817).

Parameters move with t by J:

* unrotated: d(centre) = t sigma / amplitude and d(sigma) = t sigma / amplitude, by axis;
* rotated: d(x0, y0) = M**-1 (t_1, t_2) / amplitude, and with S' the symmetric form
  (t_3, t_4 / 2, t_5) / amplitude turned to the principal axes,
  d sigma_x = sigma_x**3 S'_xx,  d sigma_y = sigma_y**3 S'_yy,
  d theta = 2 S'_xy sigma_x**2 sigma_y**2 / (sigma_x**2 - sigma_y**2).

So the covariance C of t becomes J C J'. The principal axes of
P: sigma = mean +- r with r = hypot((P_xx - P_yy) / 2, P_xy), and
theta = atan2(P_xy, (P_xx - P_yy) / 2) / 2, in (-pi/2, pi/2], sigma_x >= sigma_y.

A parameter that is fixed, or on a bound, has no variance, and the others have what they
have when it is known. Where both sigmas are equal and on bounds, theta means nothing: its
variance is that of an angle that may be any.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device, kernel
from ..numeric.packed_cholesky import invert, packed, packed_size, packed_symmetric
from ..simd.lane_types import WIDTH
from ..simd.lanes import absolute, broadcast, lane_rows, load, maximum, select, sqrt, store
from ..simd.stack_memory import flat_view
from ..simd.transpose import put_rows
from ..status import AT_BOUND, AT_EDGE, CONVERGED, OUTSIDE, SINGULAR, STALLED
from .rotated_steps import block, transform

_HALF_PI = 0.5 * math.pi
_SINGULAR_PIVOT = 1e-13
_EDGE_PIVOT = 1e-16  # where the weight of a pixel whose model is next to 0 stands for a bound
_APART = 1e-2  # square of their correlation, below which that weight says nothing of the other one
_NO_TURN = 1e-18  # square sum of the derivative by theta, relative to that by sigma
_ANY_ANGLE = math.pi**2 / 12.0  # variance of an angle in (-pi/2, pi/2]
_FLAT = 1e-13  # amplitude relative to the offset, at which a spot is rounding
_NO_SPOT = 1e-4  # amplitude in standard errors at which there is nothing that has a shape
_NO_SLOPE = 1e-20  # square sum of a derivative by that of the spot, in units of its width
_LOST = 1e3  # standard error of a centre in widths of the ROI
_NO_ANGLE = 1e-12  # relative difference of the sigmas below which theta is noise


@device
def _sandwich(m, inverse, spread, size, work) -> None:
    """inverse becomes inverse spread inverse."""
    for i in range(size):
        for j in range(size):
            total = broadcast(0.0)
            for k in range(size):
                left = load(m, inverse + packed_symmetric(i, k))
                total = total + left * load(m, spread + packed_symmetric(k, j))
            store(m, work + size * i + j, total)
    right = work + size * size
    for e in range(packed_size(size)):
        store(m, right + e, load(m, inverse + e))
    for i in range(size):
        for j in range(i + 1):
            total = broadcast(0.0)
            for k in range(size):
                total = total + load(m, work + size * i + k) * load(
                    m, right + packed_symmetric(k, j)
                )
            store(m, inverse + packed(i, j), total)


@device
def degrees_of_freedom(counts, free, item):
    """Pixels less free parameters, of which there may be one number for all spots."""
    return float(counts[item] - free[min(item, len(free) - 1)])


@device
def _is_known(status):
    """Whether parameters, and so perhaps their covariance, mean something."""
    return CONVERGED <= status <= STALLED or status in (AT_BOUND, AT_EDGE)


@device
def _is_outside(m, p, lane, nz, ny, nx, places, item):
    """Whether the centre lies outside the pixels, or outside the places given."""
    if places.shape[1]:
        row = min(item, len(places) - 1)
        least = most = places[row, 0]
        for i in range(1, places.shape[1]):
            least, most = min(least, places[row, i]), max(most, places[row, i])
        return not (least <= m[p + 1, lane] <= most)
    if not -0.5 <= m[p + 1, lane] <= nx - 0.5:
        return True
    if ny and not -0.5 <= m[p + 2, lane] <= ny - 0.5:
        return True
    return nz > 0 and not -0.5 <= m[p + 3, lane] <= nz - 0.5


@cache
def make_shape_rotated(size: int = 7) -> Callable:
    """Canonical parameters in place of the sigma matrix, and their covariance.

    Of theta, twice its cosine and sine are left (scaled) in rows 5 of the parameters
    and 0 of ``work``: there is no arc tangent for lanes. Parameters beyond the seventh have a
    covariance with the others.
    """

    @device
    def shape_rotated(m, p, cov, work) -> None:
        scale = 1.0 / load(m, p)
        p1, p2, p3 = load(m, p + 3), load(m, p + 4), load(m, p + 5)
        mean = 0.5 * (p1 + p2)
        half = 0.5 * (p1 - p2)
        r = sqrt(half * half + p3 * p3)
        major = mean + r
        minor = (p1 * p2 - p3 * p3) / major
        inverse = 1.0 / select(r > 0.0, r, 1.0)
        cos2 = select(r > 0.0, half * inverse, 1.0)
        sin2 = p3 * inverse
        cc = 0.5 * (1.0 + cos2)
        ss = 0.5 * (1.0 - cos2)
        cs = 0.5 * sin2
        cube = major * major * major * scale
        cube_minor = minor * minor * minor * scale
        spread = maximum(r + r, major * _NO_ANGLE) * (major + minor)
        angle = 2.0 * (major * major) * (minor * minor) / spread * scale
        rows = (
            (p1 * p1 + p3 * p3) * scale,
            (p2 * p2 + p3 * p3) * scale,
            p3 * (p1 + p2) * scale,
            cc * cube,
            cs * cube,
            ss * cube,
            ss * cube_minor,
            -cs * cube_minor,
            cc * cube_minor,
            -cs * angle,
            0.5 * cos2 * angle,
            cs * angle,
        )
        transform(m, cov, rows, work)
        for k in range(7, size):
            block(m, cov + packed(k, 0), 1, rows)
        store(m, p + 3, major)
        store(m, p + 4, minor)
        store(m, p + 5, half)
        store(m, work, p3)

    return shape_rotated


@device
def shape_none(m, p, cov, work) -> None:
    """Fits in the parameters themselves."""


@device
def angle_none(m, p, work, lane) -> None:
    """Models without theta, and theta as it is."""


@device
def angle_rotated(m, p, work, lane) -> None:
    """theta in (-pi/2, pi/2] from what ``shape_rotated`` left."""
    theta = 0.5 * math.atan2(m[work, lane], m[p + 5, lane])
    m[p + 5, lane] = _HALF_PI if theta <= -_HALF_PI else theta


@cache
def make_finish(
    shape: Callable, angle: Callable, size: int, bounded: bool, spread: bool,
    theta: int = 0, constants: int = 0, wrap: Callable = kernel,
) -> Callable:  # fmt: skip
    """The last stage of one model: a kernel over a range of spots.

    ``wrap`` may be ``inner_kernel``.

    ``theta``: where a fit in the parameters themselves has an angle, with sigmas before it, or 0.
    """
    last = size - 1
    entries = packed_size(size)
    p = constants
    cov, gram = p + size, p + size + entries
    keep = gram + entries
    spreads = keep + size
    work = spreads + entries
    pivot = work + size * size + entries
    rows = pivot + 2

    # -- spots to lanes ------------------------------------------------------------------------

    @device
    def find_known(m, lane, item, params, covariances, status, lowest, highest):
        """Tell in the rows ``keep`` which parameters of a spot are known, by 0."""
        for i in range(size):
            value = params[item, i]
            held = bounded and (value == lowest[item, i] or value == highest[item, i])
            m[keep + i, lane] = 0.0 if held else 1.0
        if status == AT_EDGE:
            cross = covariances[item, packed(last, 0)]
            both = covariances[item, 0] * covariances[item, packed(last, last)]
            if cross * cross < _APART * both:
                m[keep + (last if params[item, 0] >= 0.0 else 0), lane] = 0.0
        if theta:
            turn = covariances[item, packed(theta, theta)]
            width = covariances[item, packed(theta - 1, theta - 1)] * params[item, theta - 1] ** 2
            if turn < _NO_TURN * width:
                m[keep + theta, lane] = 0.0

    @device
    def hold(m, matrix, diagonal) -> None:
        """Part what is known from the rest; it gets ``diagonal`` as its own entry."""
        for i in range(size):
            for j in range(i):
                both = load(m, keep + i) * load(m, keep + j)
                store(m, matrix + packed(i, j), load(m, matrix + packed(i, j)) * both)
            own = load(m, matrix + packed(i, i))
            own = select(load(m, keep + i) > 0.0, own, broadcast(diagonal))
            store(m, matrix + packed(i, i), own)

    # -- all spots -----------------------------------------------------------------------------

    @wrap
    def finish(results, spread_sums, noise, bounds, known, places, extent) -> None:
        """Turn what the fit wrote into results, in place.

        ``results`` are parameters [n, P], Gram matrices [n, P (P + 1) / 2], objectives and
        statuses. The Gram matrices become packed covariances; a status may become SINGULAR or
        OUTSIDE. ``noise`` are the numbers of pixels [n], those of free parameters [n or 1], and
        whether the noise follows from the residuals: then covariances are multiplied by the
        objective over the degrees of freedom, unless these are negative. ``bounds`` and ``known``
        are those of the fit, ``extent`` its shape with the length 0 for an axis that the model has
        not.
        """
        params, covariances, objectives, status = results
        counts, free, scaled = noise
        lowest, highest = bounds
        nz, ny, nx = extent
        flat_params, flat_grams = flat_view(params), flat_view(covariances)
        m = lane_rows(rows)
        m[:] = 1.0
        for k in range(constants):
            m[k] = known[0, k]
        count = params.shape[0]
        for first in range(0, count, WIDTH):
            present = min(WIDTH, count - first)
            put_rows(flat_params, first, present, size, m, p)
            put_rows(flat_grams, first, present, entries, m, gram)
            if spread:
                put_rows(flat_view(spread_sums), first, present, entries, m, spreads)
            holding = bounded
            for lane in range(present):
                holding = holding or status[first + lane] == AT_EDGE
            for lane in range(present):
                item = first + lane
                if len(known) > 1:
                    for k in range(constants):
                        m[k, lane] = known[item, k]
                if holding:
                    find_known(m, lane, item, params, covariances, status[item], lowest, highest)
                freedom = degrees_of_freedom(counts, free, item)
                known_noise = not scaled or freedom < 0.0
                m[pivot + 1, lane] = 1.0 if known_noise else objectives[item] / freedom
            if holding:
                hold(m, gram, 1.0)
            worst = invert(m, gram, cov, size)
            if spread:
                _sandwich(m, cov, spreads, size, work)
            if holding:
                hold(m, cov, 0.0)
            variance = load(m, pivot + 1)
            for i in range(entries):
                store(m, cov + i, load(m, cov + i) * variance)
            height = absolute(load(m, p))
            flat = ~(height > absolute(load(m, p + size - 1)) * _FLAT)
            if not bounded:  # a spot in one pixel: its derivatives vanish everywhere
                for i in range(1, size - 1):
                    own, most = load(m, gram + packed(i, i)), load(m, gram) * _NO_SLOPE
                    flat = flat | (own < most)
            flat = flat | (height * height < load(m, cov) * (_NO_SPOT * _NO_SPOT))
            store(m, pivot, select(flat, broadcast(0.0), worst))
            shape(m, p, cov, work)
            if not places.shape[1]:
                lost = load(m, cov + packed(1, 1)) > (_LOST * nx) * (_LOST * nx)
                store(m, pivot, select(lost, 0.0, load(m, pivot)))
            for i in range(size):  # rounding, or an overflow, may leave a variance below 0
                own = load(m, cov + packed(i, i))
                store(m, pivot, select(own >= 0.0, load(m, pivot), 0.0))
            for lane in range(present):
                item = first + lane
                angle(m, p, work, lane)
                for i in range(size):
                    params[item, i] = m[p + i, lane]
                least = _EDGE_PIVOT if status[item] == AT_EDGE else _SINGULAR_PIVOT
                if _is_known(status[item]) and not m[pivot, lane] > least:
                    status[item] = SINGULAR
                if status[item] == AT_EDGE and params[item, 0] < 0.0:
                    status[item] = SINGULAR  # Fisher's information means nothing in an empty hole
                known_errors = _is_known(status[item])
                for i in range(entries):
                    covariances[item, i] = m[cov + i, lane] if known_errors else np.nan
                if theta and covariances[item, packed(theta, theta)] == 0.0:
                    angle_is_free = lowest[item, theta] < params[item, theta] < highest[item, theta]
                    if angle_is_free:
                        covariances[item, packed(theta, theta)] = _ANY_ANGLE
                if status[item] in (CONVERGED, AT_EDGE) and _is_outside(
                    m, p, lane, nz, ny, nx, places, item
                ):
                    status[item] = OUTSIDE

    return finish
