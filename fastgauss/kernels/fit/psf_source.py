"""A Gaussian source behind a point spread function: its own covariance is fitted.

The source's covariance C adds to that of each component, whose sum with it is V = S_k + C:

    f = sum_k w_k exp(-d' M d / 2) / (2 pi sqrt(det V)),   M = V**-1,   d = r - r0 - d_k .

The parameters are flux, x, y, the entries xx, yy and xy of C, and the offset. C is regular where
the source is a point or round, where its sigmas and angle are not, and noise may make it negative:
estimates of C have no bias at its border. A trial at which a V is not positive definite is NaN, and
dropped. With s = M d and the entry xy counted once,

    df/dx0 = s_x f,   df/dxx = (s_x**2 - M_xx) f / 2,   df/dxy = (s_x s_y - M_xy) f .

The basis has them times the unit of the point spread function, or its square. Means over pixels are
sums over 5 x 5 Gauss-Legendre points, as of the rotated model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

from .._compile import device
from ..models import points
from ..models.model_kernels import ModelKernels
from ..models.profiles import make_over_pixel
from ..numeric.contraction import FACTOR_ROWS
from ..numeric.packed_cholesky import packed_size
from ..numeric.special import exp_negative
from ..simd.lanes import broadcast, load, select, sqrt, store
from . import covariances, darkest_pixel, second_starts, separable_steps, start_moments
from .basis import EXTRA, Basis, make_scaled
from .blocks import Blocks, make_settle
from .estimators import Estimator
from .psf import make_sums
from .psf_basis import CONSTANTS, FIRST, MOST, NUMBERS, PEAK, ROTATED, SIGMA_X, SIGMA_Y, UNIT, X, Y
from .row_terms import SEEN

_XX, _YY, _XY = 3, 4, 5  # of the parameters, and of a rotated component's inverse covariance
_SIZE = 7
_ROW = _SIZE + 1  # lane rows a pixel: the basis, 1, and the weighted residual
_TABLE = 4  # lane rows of a component: its height, and xx, yy and xy of M
_COUNT = MOST * _TABLE


@device
def _tables(m, p, table) -> None:
    """Heights and inverse covariances of all components."""
    along = int(m[0, 0])
    for k in range(along + int(m[ROTATED, 0])):
        at, to = FIRST + NUMBERS * k, table + _TABLE * k
        a, b, c = load(m, at + SIGMA_X), load(m, at + SIGMA_Y), load(m, at + _XY)
        if k < along:
            area, a, b = a * b, a * a, b * b
        else:
            scale = 1.0 / (a * b - c * c)
            area, a, b, c = sqrt(scale), b * scale, a * scale, -(c * scale)
        a, b, c = a + load(m, p + _XX), b + load(m, p + _YY), c + load(m, p + _XY)
        determinant = a * b - c * c
        good = (determinant > 0.0) & (a > 0.0)
        scale = 1.0 / select(good, determinant, math.nan)
        store(m, to, load(m, at) * area * sqrt(scale))
        store(m, to + 1, b * scale)
        store(m, to + 2, a * scale)
        store(m, to + 3, -(c * scale))


@cache
def _make_add(pixel: str) -> Callable:
    """One component at a pixel, added to f and its derivatives without units."""

    @device
    def add_point(shape, weight, u, v, sums):
        xx, yy, xy = shape
        f0, fx, fy, fxx, fyy, fxy = sums
        s, t = xx * u + xy * v, xy * u + yy * v
        f = exp_negative((u * s + v * t) * -0.5) * weight
        fxx, fyy = fxx + f * (s * s - xx), fyy + f * (t * t - yy)
        return f0 + f, fx + f * s, fy + f * t, fxx, fyy, fxy + f * (s * t - xy)

    over_pixel = make_over_pixel(pixel, add_point)

    @device
    def add(m, table, x, y, sums):
        shape = load(m, table + 1), load(m, table + 2), load(m, table + 3)
        return over_pixel(shape, load(m, table), x, y, sums)

    return add


@cache
def _make_at(pixel: str) -> Callable:
    """f and its derivatives at distances from the centre; the tables stand in ``table``."""
    add = _make_add(pixel)

    @device
    def at_place(m, table, x, y):
        zero = broadcast(0.0)
        sums = zero, zero, zero, zero, zero, zero
        for k in range(int(m[0, 0]) + int(m[ROTATED, 0])):
            at = FIRST + NUMBERS * k
            sums = add(m, table + _TABLE * k, x - load(m, at + X), y - load(m, at + Y), sums)
        return sums

    return at_place


@cache
def _make_fill(pixel: str) -> tuple[Callable, Callable]:
    """``tables`` and ``fill_row`` as ``make_sums`` takes them."""
    at_place = _make_at(pixel)

    @device
    def tables(m, count, ny, nx, p, along, across) -> None:
        _tables(m, p, along)

    @device
    def fill_row(m, nx, j, p, along, across, columns) -> None:
        unit = load(m, UNIT)
        square = unit * unit
        y = float(j) - load(m, p + 2)
        for i in range(nx):
            f, fx, fy, fxx, fyy, fxy = at_place(m, along, float(i) - load(m, p + 1), y)
            row = columns + _ROW * i
            store(m, row, f)
            store(m, row + 1, fx * unit)
            store(m, row + 2, fy * unit)
            store(m, row + _XX, fxx * (square * 0.5))
            store(m, row + _YY, fyy * (square * 0.5))
            store(m, row + _XY, fxy * square)

    return tables, fill_row


@cache
def _make_darkest(pixel: str) -> Callable:
    at_place = _make_at(pixel)

    @device
    def darkest(m, p, work, places, nz, ny, nx):
        """f at the pixel farthest from the centre, or nearest to a dark spot."""
        dark, first = load(m, p) < 0.0, broadcast(0.0)
        x, y = load(m, p + 1), load(m, p + 2)
        far_x = darkest_pixel.farthest(x, first, broadcast(nx - 1.0))
        far_y = darkest_pixel.farthest(y, first, broadcast(ny - 1.0))
        x = select(dark, darkest_pixel.nearest(x, nx), far_x) - x
        y = select(dark, darkest_pixel.nearest(y, ny), far_y) - y
        _tables(m, p, work)
        return at_place(m, work, x, y)[0]

    return darkest


@device
def _unit(m, p, k):
    """Centres move by the unit, covariances by its square, times their coefficients."""
    unit = load(m, UNIT)
    return unit if k < _XX else unit * unit


@device
def _limit(m, old, new):
    """A covariance may take any value; ``_tables`` refuses what is none."""
    return new


@device
def _covariance(params, item, known):
    """xx, yy and xy of the source behind a Gaussian of the FWHM of the function."""
    square = known[min(item, len(known) - 1), UNIT] ** 2
    return params[item, _XX] + square, params[item, _YY] + square, params[item, _XY]


@device
def _extent(params, item, known):
    """The sigmas and the angle of that Gaussian."""
    xx, yy, xy = _covariance(params, item, known)
    mean, half = 0.5 * (xx + yy), 0.5 * (xx - yy)
    radius = math.sqrt(half * half + xy * xy)
    least = 1e-6 * (abs(mean) + radius)
    high, low = math.sqrt(max(mean + radius, least)), math.sqrt(max(mean - radius, least))
    return high, low, low, 0.5 * math.atan2(xy, half)


@device
def _span(params, item, known):
    """About how far f rises above 0; sources fill what a function has below it."""
    own = min(item, len(known) - 1)
    high, low, _, _ = _extent(params, item, known)
    rise = known[own, PEAK] * (known[own, UNIT] ** 2 / (high * low))
    return rise, 0.0


@cache
def _make_blocks(pixel: str, estimator: Estimator, bounded: bool) -> Blocks:
    """The building blocks of a fit."""
    sums = make_sums(*_make_fill(pixel), _COUNT, _ROW, estimator)
    settle = make_settle(_SIZE, estimator, bounded)
    return Blocks(
        size=_SIZE,
        evaluate=separable_steps.make_evaluate(sums, settle, _unit, _SIZE, bounded),
        step=separable_steps.make_step(2, _SIZE, _unit, _limit, bounded),
        scratch=(packed_size(_SIZE) + _SIZE + _COUNT, FACTOR_ROWS * MOST + 2 * _ROW + SEEN, 0),
        darkest=_make_darkest(pixel),
        start=start_moments.make_elliptic(2),
        second=second_starts.make_own(2),
        start_size=6,
        shape=covariances.shape_none if bounded else separable_steps.make_shape(_unit, _SIZE),
        extent=_extent,
        judged=0,
        each_axis=False,
        constants=CONSTANTS,
        span=_span,
    )


@cache
def _make_basis(pixel: str, bounded: bool) -> Basis:
    """The basis at every pixel, for a plane of background."""
    _, fill_row = _make_fill(pixel)
    size = _ROW - EXTRA

    @device
    def tables(m, nz, ny, nx, places, p, work) -> None:
        _tables(m, p, work)

    @device
    def fill(m, k, j, nz, ny, nx, p, work, columns) -> None:
        fill_row(m, nx, j, p, work, 0, columns)

    to_natural, shape = make_scaled(size, 3, _unit)
    return Basis(size, (_COUNT, 0), tables, fill, to_natural, shape)


_MEANING = "of the source's own covariance, without the point spread function"

SOURCE = ModelKernels(
    axes=2,
    shape=("xx", "yy", "xy"),
    widths=(),
    profile=partial(points.make_separable, 2, (3, 4)),  # of a component
    blocks=_make_blocks,
    volume=1.0,
    light=None,
    constants=CONSTANTS,
    columns=tuple((name, "px^2", f"entry {name} {_MEANING}") for name in ("xx", "yy", "xy")),
    factor="flux",
    basis=_make_basis,
)
