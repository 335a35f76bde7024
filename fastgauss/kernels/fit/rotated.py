"""Normal equations and steps of the rotated model; the mathematics stands in ``normal``."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from .._compile import device
from ..models.profiles import NODES, POINTS, WEIGHTS
from ..numeric.contraction import DENSE, contract
from ..numeric.packed_cholesky import packed, packed_size
from ..numeric.special import exp_negative
from ..simd.lane_types import ALL_LANES
from ..simd.lanes import absolute, broadcast, load, maximum, select, store
from ..simd.mask_bits import mask_bits
from .axis_profiles import MOST_STEPS, fill_outwards
from .estimators import HEAVIEST, Estimator
from .row_terms import SEEN, make_row_terms
from .weighted_columns import make_weigh

SCRATCH = (15, 1 + SEEN, 11)  # lane rows needed, more for each pixel of an axis, and for each row

# A Gram entry is the moment of f**2 whose powers are the sums of its two monomials'. Moments
# stand by degree k + l, then by l; this is where, for the packed triangle.
_FOURTH = (0, 1, 3, 2, 4, 5, 3, 6, 7, 10, 4, 7, 8, 11, 12, 5, 8, 9, 12, 13, 14)


@device
def is_safe(nx, ny, x0, y0, metric):
    """Where no start, ratio or product of ``fill_outwards`` leaves the range of float64."""
    a, b, c = metric
    x = absolute(float(nx // 2) - x0) + 0.5
    y = maximum(absolute(y0), absolute(float(ny - 1) - y0)) + 0.5
    cross = absolute(b) * y
    exponent = (a * x * x + c * y * y) * 0.5 + cross * x
    ratio = a * (x + float(nx)) + cross
    safe = (exponent < 300.0) & (ratio < 300.0)
    return safe & ~safe if nx > MOST_STEPS else safe


@device
def fill_row(m, nx, x0, y, metric, square, safe, all_safe, table) -> None:
    """exp(-d' M d / 2) at d = (i - x0, y), i = 0 .. nx - 1; ``square`` is exp(-M_xx)."""
    a, b, c = metric
    middle = float(nx // 2) - x0
    slope = b * y
    height = c * (y * y) * -0.5
    start = exp_negative((middle * a * -0.5 - slope) * middle + height)
    up = exp_negative(a * (-0.5 - middle) - slope)
    down = exp_negative(a * (middle - 0.5) + slope)
    fill_outwards(m, nx, start, up, down, square, table, 1)
    if not all_safe:
        for i in range(nx):
            x = float(i) - x0
            f = exp_negative((x * a * -0.5 - slope) * x + height)
            store(m, table + i, select(safe, load(m, table + i), f))


@cache
def _make_rows(estimator: Estimator) -> Callable:
    """Sums along rows of pixels for one estimator."""
    uniform, linear, positive = estimator.uniform, estimator.linear, estimator.positive
    weigh, row_terms = estimator.weigh, make_row_terms(estimator, 1, 0)

    # -- one row of pixels ---------------------------------------------------------------------

    @device
    def sums_of_row(m, pixels, n, at, nx, x0, table, seen, target) -> None:
        """The eleven sums of the pixels from ``at`` on."""
        zero = broadcast(0.0)
        f2_0 = zero
        f2_1 = zero
        f2_2 = zero
        f2_3 = zero
        f2_4 = zero
        f_0 = zero
        f_1 = zero
        f_2 = zero
        r_0 = zero
        r_1 = zero
        r_2 = zero
        for i in range(nx):
            x = float(i) - x0
            f = load(m, table + i)
            fx = f * x
            fxx = fx * x
            if linear:
                w, r, _, _ = weigh(m, pixels, n, at + i, f)
            else:
                w, r = load(m, seen + SEEN * i), load(m, seen + SEEN * i + 1)
            r_0 = r_0 + r * f
            r_1 = r_1 + r * fx
            r_2 = r_2 + r * fxx
            wf = f if uniform else w * f
            wfx = fx if uniform else w * fx
            wfxx = fxx if uniform else w * fxx
            f_0 = f_0 + wf
            f_1 = f_1 + wfx
            f_2 = f_2 + wfxx
            f2_0 = f2_0 + wf * f
            f2_1 = f2_1 + wf * fx
            f2_2 = f2_2 + wfx * fx
            f2_3 = f2_3 + wfx * fxx
            f2_4 = f2_4 + wfxx * fxx
        store(m, target, f2_0)
        store(m, target + 1, f2_1)
        store(m, target + 2, f2_2)
        store(m, target + 3, f2_3)
        store(m, target + 4, f2_4)
        store(m, target + 5, f_0)
        store(m, target + 6, f_1)
        store(m, target + 7, f_2)
        store(m, target + 8, r_0)
        store(m, target + 9, r_1)
        store(m, target + 10, r_2)

    # -- all rows ------------------------------------------------------------------------------

    @device
    def row_sums(m, pixels, ny, nx, p, metric, table, sums):
        """Sums of w f**2 dx**k, w f dx**k and r f dx**k along each row: 11 lane rows each.

        Returns sum w, sum r and the loss.
        """
        amplitude, x0, y0 = load(m, p), load(m, p + 1), load(m, p + 2)
        offset = load(m, p + 6)
        square = exp_negative(-metric[0])
        one = broadcast(0.0)
        objective = broadcast(0.0)
        total = broadcast(0.0)
        heaviest = broadcast(0.0)
        n = ny * nx
        seen = sums + 11 * ny
        safe = is_safe(nx, ny, x0, y0, metric)
        all_safe = mask_bits(safe) == ALL_LANES
        for j in range(ny):
            fill_row(m, nx, x0, float(j) - y0, metric, square, safe, all_safe, table)
            if not linear:
                weight, rest, loss, most = row_terms(
                    m, pixels, n, j * nx, nx, table, amplitude, offset, seen
                )
                one = one + weight
                total = total + rest
                objective = objective + loss
                heaviest = maximum(most, heaviest)
            sums_of_row(m, pixels, n, j * nx, nx, x0, table, seen, sums + 11 * j)
        if linear:
            one = load(m, pixels - 3)
            total = load(m, pixels - 2)
            objective = load(m, pixels - 1)
        if positive:
            store(m, pixels - HEAVIEST, heaviest)
        return one, total, objective

    return row_sums


@device
def _moments_to_second(m, ny, y0, sums, first, target) -> None:
    """The six moments of degree 2 at most, from the row sums ``first`` .. ``first + 2``."""
    zero = broadcast(0.0)
    m00 = zero
    m10 = zero
    m01 = zero
    m20 = zero
    m11 = zero
    m02 = zero
    for j in range(ny):
        y = float(j) - y0
        s0 = load(m, sums + 11 * j + first)
        s1 = load(m, sums + 11 * j + first + 1)
        s0y = s0 * y
        m00 = m00 + s0
        m10 = m10 + s1
        m01 = m01 + s0y
        m20 = m20 + load(m, sums + 11 * j + first + 2)
        m11 = m11 + s1 * y
        m02 = m02 + s0y * y
    store(m, target, m00)
    store(m, target + 1, m10)
    store(m, target + 2, m01)
    store(m, target + 3, m20)
    store(m, target + 4, m11)
    store(m, target + 5, m02)


@device
def _moments_to_fourth(m, ny, y0, sums, target) -> None:
    """The moments of degree 3 and 4 of f**2, after the six of ``_moments_to_second``."""
    zero = broadcast(0.0)
    m30 = zero
    m21 = zero
    m12 = zero
    m03 = zero
    m40 = zero
    m31 = zero
    m22 = zero
    m13 = zero
    m04 = zero
    for j in range(ny):
        y = float(j) - y0
        yy = y * y
        s0 = load(m, sums + 11 * j)
        s1 = load(m, sums + 11 * j + 1)
        s2 = load(m, sums + 11 * j + 2)
        s3 = load(m, sums + 11 * j + 3)
        s1yy = s1 * yy
        s0yyy = s0 * (yy * y)
        m30 = m30 + s3
        m21 = m21 + s2 * y
        m12 = m12 + s1yy
        m03 = m03 + s0yyy
        m40 = m40 + load(m, sums + 11 * j + 4)
        m31 = m31 + s3 * y
        m22 = m22 + s2 * yy
        m13 = m13 + s1yy * y
        m04 = m04 + s0yyy * y
    store(m, target + 6, m30)
    store(m, target + 7, m21)
    store(m, target + 8, m12)
    store(m, target + 9, m03)
    store(m, target + 10, m40)
    store(m, target + 11, m31)
    store(m, target + 12, m22)
    store(m, target + 13, m13)
    store(m, target + 14, m04)


@device
def inverse_of_widths(m, p):
    """Q = P**-1 as (xx, yy, xy)."""
    p1, p2, p3 = load(m, p + 3), load(m, p + 4), load(m, p + 5)
    scale = 1.0 / (p1 * p2 - p3 * p3)
    return p2 * scale, p1 * scale, -(p3 * scale)


@cache
def make_sampled(estimator: Estimator) -> Callable:
    """Normal equations of the point-sampled rotated model."""
    row_sums = _make_rows(estimator)

    @device
    def accumulate(m, pixels, nz, ny, nx, p, work, gram, gradient):
        """Normal equations of ``amplitude, x, y, P_xx, P_yy, P_xy, offset``."""
        table = work + 15
        sums = table + nx
        metric = metric_of(m, p)
        one, total, objective = row_sums(m, pixels, ny, nx, p, metric, table, sums)
        y0 = load(m, p + 2)
        _moments_to_second(m, ny, y0, sums, 8, gradient)
        store(m, gradient + 6, total)
        _moments_to_second(m, ny, y0, sums, 5, gram + packed(6, 0))
        store(m, gram + packed(6, 6), one)
        _moments_to_second(m, ny, y0, sums, 0, work)
        _moments_to_fourth(m, ny, y0, sums, work)
        for k in range(21):
            store(m, gram + k, load(m, work + _FOURTH[k]))
        return objective

    return accumulate


@device
def metric_of(m, p):
    """M = P**-2 as (xx, xy, yy)."""
    q1, q2, q3 = inverse_of_widths(m, p)
    return q1 * q1 + q3 * q3, q3 * (q1 + q2), q3 * q3 + q2 * q2


COLUMNS = 7  # the basis and 1
_PATTERN = DENSE + COLUMNS
_CELL = packed_size(7) + 7  # lane rows of the sums of a row of pixels
INTEGRATED_SCRATCH = (_CELL, 1 + 2 * 7 + 1, 0)


@device
def average_columns(m, nx, ny, j, p, metric, table, columns) -> None:
    """The basis averaged over each pixel of row j, seven lane rows a pixel."""
    x0, y0 = load(m, p + 1), load(m, p + 2)
    square = exp_negative(-metric[0])
    safe = is_safe(nx, ny, x0, y0, metric)
    all_safe = mask_bits(safe) == ALL_LANES
    for k in range(7 * nx):
        store(m, columns + k, broadcast(0.0))
    for over in range(POINTS):
        y = (float(j) + NODES[over]) - y0
        for along in range(POINTS):
            shifted = x0 - NODES[along]
            weight = WEIGHTS[over] * WEIGHTS[along]
            fill_row(m, nx, shifted, y, metric, square, safe, all_safe, table)
            for i in range(nx):
                at = columns + 7 * i
                x = float(i) - shifted
                f = load(m, table + i) * weight
                fx = f * x
                fy = f * y
                store(m, at, load(m, at) + f)
                store(m, at + 1, load(m, at + 1) + fx)
                store(m, at + 2, load(m, at + 2) + fy)
                store(m, at + 3, load(m, at + 3) + fx * x)
                store(m, at + 4, load(m, at + 4) + fx * y)
                store(m, at + 5, load(m, at + 5) + fy * y)
    for i in range(nx):
        store(m, columns + 7 * i + 6, broadcast(1.0))


@cache
def make_integrated(estimator: Estimator) -> Callable:
    """Normal equations of the rotated model's mean over each pixel, by 5 x 5 points."""
    linear, positive = estimator.linear, estimator.positive
    weigh = make_weigh(7, estimator)

    @device
    def accumulate(m, pixels, nz, ny, nx, p, work, gram, gradient):
        """Normal equations of ``amplitude, x, y, P_xx, P_yy, P_xy, offset``."""
        table = work + _CELL
        columns = table + nx
        left = columns + 7 * nx
        metric = metric_of(m, p)
        amplitude, offset = load(m, p), load(m, p + 6)
        objective = broadcast(0.0)
        heaviest = broadcast(0.0)
        for e in range(packed_size(7)):
            store(m, gram + e, broadcast(0.0))
        for e in range(7):
            store(m, gradient + e, broadcast(0.0))
        for j in range(ny):
            average_columns(m, nx, ny, j, p, metric, table, columns)
            for i in range(nx):
                value = amplitude * load(m, columns + 7 * i) + offset
                at = j * nx + i
                loss = weigh(m, pixels, ny * nx, at, value, columns + 7 * i, left + 8 * i)
                objective = objective + loss
                heaviest = maximum(load(m, left + 8 * i + 6), heaviest)  # its column is 1
            contract(m, work, left, 8, columns, 7, nx, _PATTERN)
            for e in range(packed_size(7)):
                store(m, gram + e, load(m, gram + e) + load(m, work + e))
            for e in range(7):
                moment = load(m, work + packed_size(7) + e)
                store(m, gradient + e, load(m, gradient + e) + moment)
        if positive:
            store(m, pixels - HEAVIEST, heaviest)
        return load(m, pixels - 1) if linear else objective

    return accumulate
