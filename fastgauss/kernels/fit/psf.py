"""A point spread function: a sum of Gaussians whose weights, offsets and widths are known.

With the normalised Gaussian G of each component k,

    f(x, y) = sum_k w_k G((x - x0 - dx_k) / sigma_xk) G((y - y0 - dy_k) / sigma_yk),  sum_k w_k = 1,

so that the integral of f is 1 and its factor is the flux. Each component is a product of two tables
(``axis_profiles.py``), also where it is integrated over pixels; the sums over components are formed
at each pixel. A component that is turned out of the axes is no such product: it is computed at each
pixel, and its mean over a pixel is a sum over 5 x 5 Gauss-Legendre points, as that of the rotated
model (``profiles.py``). The basis of a fit is f, its derivatives by x0 and y0 times the *unit*, a
length, and 1. The number of components is data, as their numbers are: all functions of up to
``MOST`` components are one kernel.

The constants are the number of components along the axes, the unit (the sigma of the Gaussian with
the same full width at half maximum), the highest value of f, how far f falls below 0, and the
number of turned components; then, for each component, w / (2 pi sigma_x sigma_y), dx, dy, and three
numbers of its shape: sigma_x, sigma_y and 0, or xx, yy and xy of the inverse covariance if it is
turned. Each spot may have numbers of its own, where the function varies over an image; of all spots
of a call, the same components are turned.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from .._compile import device
from ..models import points
from ..models.model_kernels import ModelKernels
from ..models.profiles import NODES, POINTS, WEIGHTS
from ..numeric.contraction import DENSE, FACTOR_ROWS, contract
from ..numeric.packed_cholesky import packed_size
from ..numeric.special import exp_negative
from ..simd.lanes import broadcast, load, maximum, select, store
from . import covariances, darkest_pixel, second_starts, separable_steps, start_moments
from .axis_profiles import fill_integrated, fill_sampled
from .basis import EXTRA, Basis, make_scaled
from .blocks import Blocks, make_settle
from .estimators import HEAVIEST, Estimator
from .row_terms import SEEN, make_row_terms

MOST = 8  # components
UNIT, PEAK, DIP, TURNED, FIRST = 1, 2, 3, 4, 5  # constants; the number along the axes is before
NUMBERS = 6  # constants of a component; those along the axes come first
CONSTANTS = FIRST + MOST * NUMBERS
_X, _Y, _SIGMA_X, _SIGMA_Y = 1, 2, 3, 4  # of a component, after its height
_XX, _YY, _XY = 3, 4, 5  # of a turned one
_SIZE = 4  # flux, x, y, offset
_ROW = _SIZE + 1  # lane rows a pixel: the basis, then the weighted residual
_SUMS = packed_size(_SIZE) + _SIZE
_SCRATCH = (_SUMS, FACTOR_ROWS * MOST + 2 * _ROW + SEEN, 0)
_FILLS = {"sample": fill_sampled, "integrate": fill_integrated}


# -- the basis ---------------------------------------------------------------------------------


@cache
def _make_tables(fill: Callable) -> Callable:
    """Tables of all components along both axes."""

    @device
    def tables(m, count, ny, nx, p, along, across) -> None:
        """Write f, unit df/dx0 for each component at each pixel of an axis, three rows each.

        The tables of y hold the heights of the components too.
        """
        x0, y0, unit = load(m, p + 1), load(m, p + 2), load(m, UNIT)
        step = FACTOR_ROWS * count
        for k in range(count):
            at = FIRST + NUMBERS * k
            height, sigma_x, sigma_y = load(m, at), load(m, at + _SIGMA_X), load(m, at + _SIGMA_Y)
            x, y = along + FACTOR_ROWS * k, across + FACTOR_ROWS * k
            fill(m, nx, 0, x0 + load(m, at + _X), sigma_x, x, step)
            fill(m, ny, 0, y0 + load(m, at + _Y), sigma_y, y, step)
            slope = unit / sigma_x
            for i in range(nx):
                store(m, x + step * i + 1, load(m, x + step * i + 1) * slope)
            slope = unit / sigma_y * height
            for j in range(ny):
                store(m, y + step * j, load(m, y + step * j) * height)
                store(m, y + step * j + 1, load(m, y + step * j + 1) * slope)

    return tables


@device
def _add(m, row, f_y, slope_y, f, by_x, by_y):
    """What one component adds at a pixel; its table of x stands in ``row``."""
    f_x = load(m, row)
    return f + f_x * f_y, by_x + load(m, row + 1) * f_y, by_y + f_x * slope_y


@device
def _put(m, row, f, by_x, by_y) -> None:
    store(m, row, f)
    store(m, row + 1, by_x)
    store(m, row + 2, by_y)


@device
def _fill_row(m, count, nx, along, across, columns) -> None:
    """Sums over the components: f and its derivatives at the pixels of one row.

    Four pixels share the loads of a factor of y.
    """
    step = FACTOR_ROWS * count
    for i0 in range(0, nx, 4):
        i1, i2, i3 = min(i0 + 1, nx - 1), min(i0 + 2, nx - 1), min(i0 + 3, nx - 1)
        zero = broadcast(0.0)
        f0, x0, y0 = zero, zero, zero
        f1, x1, y1 = zero, zero, zero
        f2, x2, y2 = zero, zero, zero
        f3, x3, y3 = zero, zero, zero
        for k in range(count):
            row = along + FACTOR_ROWS * k
            f, slope = load(m, across + FACTOR_ROWS * k), load(m, across + FACTOR_ROWS * k + 1)
            f0, x0, y0 = _add(m, row + step * i0, f, slope, f0, x0, y0)
            f1, x1, y1 = _add(m, row + step * i1, f, slope, f1, x1, y1)
            f2, x2, y2 = _add(m, row + step * i2, f, slope, f2, x2, y2)
            f3, x3, y3 = _add(m, row + step * i3, f, slope, f3, x3, y3)
        _put(m, columns + _ROW * i0, f0, x0, y0)
        _put(m, columns + _ROW * i1, f1, x1, y1)
        _put(m, columns + _ROW * i2, f2, x2, y2)
        _put(m, columns + _ROW * i3, f3, x3, y3)


@cache
def _make_turned(pixel: str) -> Callable:
    """A turned component at a pixel: its value, and minus its derivatives along x and y."""
    points = POINTS if pixel == "integrate" else 1

    @device
    def turned(m, at, x, y):
        xx, yy, xy = load(m, at + _XX), load(m, at + _YY), load(m, at + _XY)
        total = broadcast(0.0)
        by_x = total
        by_y = total
        for n in range(points * points):
            u, v, weight = x, y, load(m, at)
            if points > 1:
                u, v = u + NODES[n % points], v + NODES[n // points]
                weight = weight * (WEIGHTS[n % points] * WEIGHTS[n // points])
            slope_x, slope_y = xx * u + xy * v, xy * u + yy * v
            f = exp_negative((u * slope_x + v * slope_y) * -0.5) * weight
            total = total + f
            by_x = by_x + f * slope_x
            by_y = by_y + f * slope_y
        return total, by_x, by_y

    return turned


@cache
def _make_add_turned(pixel: str) -> Callable:
    """The turned components, added to the basis at the pixels of one row."""
    turned = _make_turned(pixel)

    @device
    def add_turned(m, nx, j, p, columns) -> None:
        first, unit = int(m[0, 0]), load(m, UNIT)
        for k in range(first, first + int(m[TURNED, 0])):
            at = FIRST + NUMBERS * k
            y = float(j) - (load(m, p + 2) + load(m, at + _Y))
            for i in range(nx):
                x = float(i) - (load(m, p + 1) + load(m, at + _X))
                f, by_x, by_y = turned(m, at, x, y)
                row = columns + _ROW * i
                by_x = load(m, row + 1) + by_x * unit
                _put(m, row, load(m, row) + f, by_x, load(m, row + 2) + by_y * unit)

    return add_turned


# -- normal equations --------------------------------------------------------------------------


@cache
def _make_sums(pixel: str, estimator: Estimator) -> Callable:
    """Gram matrix, data sums and objective."""
    tables, add_turned = _make_tables(_FILLS[pixel]), _make_add_turned(pixel)
    row_terms = make_row_terms(estimator, _ROW, 0)
    uniform, linear, positive = estimator.uniform, estimator.linear, estimator.positive
    pattern = DENSE + _SIZE

    @device
    def weigh(m, nx, columns, seen, left) -> None:
        """The basis times the weight of each pixel, and its weighted residual."""
        for i in range(nx):
            w = load(m, seen + SEEN * i)
            for c in range(_SIZE):
                store(m, left + _ROW * i + c, w * load(m, columns + _ROW * i + c))
            store(m, left + _ROW * i + _SIZE, load(m, seen + SEEN * i + 1))

    @device
    def accumulate(m, pixels, nz, ny, nx, p, work, gram, gradient):
        count = int(m[0, 0])
        along = work + _SUMS
        across = along + FACTOR_ROWS * count * nx
        columns = across + FACTOR_ROWS * count * ny
        left = columns + _ROW * nx
        seen = left + _ROW * nx
        tables(m, count, ny, nx, p, along, across)
        for i in range(nx):
            store(m, columns + _ROW * i + _SIZE - 1, broadcast(1.0))
        for e in range(packed_size(_SIZE)):
            store(m, gram + e, broadcast(0.0))
        for i in range(_SIZE):
            store(m, gradient + i, broadcast(0.0))
        objective = broadcast(0.0)
        heaviest = broadcast(0.0)
        for j in range(ny):
            _fill_row(m, count, nx, along, across + FACTOR_ROWS * count * j, columns)
            add_turned(m, nx, j, p, columns)
            if uniform:
                for i in range(nx):
                    store(m, columns + _ROW * i + _SIZE, load(m, pixels + j * nx + i))
                contract(m, work, columns, _ROW, columns, _ROW, nx, pattern)
            else:
                _, _, loss, most = row_terms(
                    m, pixels, ny * nx, j * nx, nx, columns, load(m, p), load(m, p + _SIZE - 1),
                    seen,
                )  # fmt: skip
                weigh(m, nx, columns, seen, left)
                contract(m, work, left, _ROW, columns, _ROW, nx, pattern)
                objective = objective + loss
                heaviest = maximum(most, heaviest)
            for e in range(packed_size(_SIZE)):
                store(m, gram + e, load(m, gram + e) + load(m, work + e))
            for i in range(_SIZE):
                moment = load(m, work + packed_size(_SIZE) + i)
                store(m, gradient + i, load(m, gradient + i) + moment)
        if positive:
            store(m, pixels - HEAVIEST, heaviest)
        return load(m, pixels - 1) if linear else objective

    return accumulate


# -- the other blocks --------------------------------------------------------------------------


@cache
def _make_darkest(pixel: str) -> Callable:
    profile = darkest_pixel.integrated if pixel == "integrate" else darkest_pixel.sampled
    turned = _make_turned(pixel)

    @device
    def darkest(m, p, work, places, nz, ny, nx):
        """f at the pixel farthest from the centre, or nearest to a dark spot."""
        dark, first = load(m, p) < 0.0, broadcast(0.0)
        x, y = load(m, p + 1), load(m, p + 2)
        far_x = darkest_pixel.farthest(x, first, broadcast(nx - 1.0))
        far_y = darkest_pixel.farthest(y, first, broadcast(ny - 1.0))
        x = select(dark, darkest_pixel.nearest(x, nx), far_x) - x
        y = select(dark, darkest_pixel.nearest(y, ny), far_y) - y
        total = first
        for k in range(int(m[0, 0])):
            at = FIRST + NUMBERS * k
            by_x = profile(x - load(m, at + _X), load(m, at + _SIGMA_X))
            by_y = profile(y - load(m, at + _Y), load(m, at + _SIGMA_Y))
            total = total + load(m, at) * by_x * by_y
        for k in range(int(m[0, 0]), int(m[0, 0]) + int(m[TURNED, 0])):
            at = FIRST + NUMBERS * k
            total = total + turned(m, at, x - load(m, at + _X), y - load(m, at + _Y))[0]
        return total

    return darkest


@device
def _unit(m, p, k):
    """The centre moves by the unit times its coefficients."""
    return load(m, UNIT)


@device
def _extent(params, item, known):
    """The Gaussian of the same full width at half maximum."""
    sigma = known[min(item, len(known) - 1), UNIT]
    return sigma, sigma, sigma, 0.0


@device
def _span(item, known):
    """How far f rises above 0 and falls below it."""
    own = min(item, len(known) - 1)
    return known[own, PEAK], known[own, DIP]


@cache
def make_blocks(pixel: str, estimator: Estimator, bounded: bool) -> Blocks:
    """The building blocks of a fit."""
    sums, settle = _make_sums(pixel, estimator), make_settle(_SIZE, estimator, bounded)
    return Blocks(
        size=_SIZE,
        evaluate=separable_steps.make_evaluate(sums, settle, _unit, _SIZE, bounded),
        step=separable_steps.make_step(2, _SIZE, _unit, separable_steps.limit_sigma, bounded),
        scratch=_SCRATCH,
        darkest=_make_darkest(pixel),
        start=start_moments.make_symmetric(2),  # of which the model takes what it needs
        second=second_starts.make_common(2),
        start_size=5,
        shape=covariances.shape_none if bounded else separable_steps.make_shape(_unit, _SIZE),
        extent=_extent,
        judged=-1,
        each_axis=False,
        constants=CONSTANTS,
        span=_span,
    )


# -- on a plane of background ------------------------------------------------------------------


@cache
def make_basis(pixel: str, bounded: bool) -> Basis:
    """The basis at every pixel."""
    prepare, add_turned = _make_tables(_FILLS[pixel]), _make_add_turned(pixel)
    size = _ROW - EXTRA

    @device
    def tables(m, nz, ny, nx, places, p, work) -> None:
        count = int(m[0, 0])
        prepare(m, count, ny, nx, p, work, work + FACTOR_ROWS * count * nx)

    @device
    def fill(m, k, j, nz, ny, nx, p, work, columns) -> None:
        count = int(m[0, 0])
        across = work + FACTOR_ROWS * count * (nx + j)
        _fill_row(m, count, nx, work, across, columns)
        add_turned(m, nx, j, p, columns)

    to_natural, shape = make_scaled(size, 3, _unit)
    return Basis(size, (0, FACTOR_ROWS * MOST), tables, fill, to_natural, shape)


PSF = ModelKernels(
    axes=2,
    shape=(),
    widths=(),
    profile=partial(points.make_separable, 2, (3, 4)),  # of a component, an elliptic Gaussian
    blocks=make_blocks,
    volume=1.0,
    light=None,
    constants=CONSTANTS,
    factor="flux",
    basis=make_basis,
)
