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

With a free *width* s the function is f(x / s, y / s) / s**2: all sigmas and offsets are s times
those of the constants. The basis then has s df/ds too, before the 1, and the unit is s times that
of the constants. With u = (x - x0) / (s sigma) - dx / sigma, the factor of each axis has

    s d/ds [G(u) / s] = (u**2 + u dx / sigma - 1) G(u) / s ,

a sum of the three numbers of its table, also where these are integrals over pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from .._compile import device
from ..models import points
from ..models.model_kernels import ModelKernels
from ..numeric.contraction import DENSE, FACTOR_ROWS, contract
from ..numeric.packed_cholesky import packed_size
from ..simd.lanes import broadcast, load, maximum, select, store
from . import covariances, darkest_pixel, second_starts, separable_steps, start_moments
from .basis import EXTRA, Basis, make_scaled
from .blocks import Blocks, make_settle
from .estimators import HEAVIEST, Estimator
from .psf_basis import (
    CONSTANTS,
    DIP,
    FIRST,
    FREE_ROW,
    KNOWN_ROW,
    MOST,
    NUMBERS,
    PEAK,
    ROTATED,
    SIGMA_X,
    SIGMA_Y,
    UNIT,
    WIDTH,
    X,
    Y,
    make_fill_row,
    make_rotated,
    make_tables,
    make_width,
)
from .psf_light import make_light
from .row_terms import SEEN, make_row_terms

# -- normal equations --------------------------------------------------------------------------


@cache
def make_sums(
    tables: Callable, fill_row: Callable, more: int, stride: int, estimator: Estimator
) -> Callable:
    """Gram matrix, data sums and objective; the basis and 1 are ``stride`` - 1 columns.

    ``tables`` may take ``more`` lane rows than those of the components along the axes.
    """
    size, entries = stride - 1, packed_size(stride - 1)
    row_terms = make_row_terms(estimator, stride, 0)
    uniform, linear, positive = estimator.uniform, estimator.linear, estimator.positive
    pattern = DENSE + size

    @device
    def weigh(m, nx, columns, seen, left) -> None:
        """The basis times the weight of each pixel, and its weighted residual."""
        for i in range(nx):
            w = load(m, seen + SEEN * i)
            for c in range(size):
                store(m, left + stride * i + c, w * load(m, columns + stride * i + c))
            store(m, left + stride * i + size, load(m, seen + SEEN * i + 1))

    @device
    def accumulate(m, pixels, nz, ny, nx, p, work, gram, gradient):
        count = int(m[0, 0])
        along = work + entries + size
        across = along + more + FACTOR_ROWS * count * nx
        columns = across + FACTOR_ROWS * count * ny
        left = columns + stride * nx
        seen = left + stride * nx
        tables(m, count, ny, nx, p, along, across)
        for i in range(nx):
            store(m, columns + stride * i + size - 1, broadcast(1.0))
        for e in range(entries):
            store(m, gram + e, broadcast(0.0))
        for i in range(size):
            store(m, gradient + i, broadcast(0.0))
        objective = broadcast(0.0)
        heaviest = broadcast(0.0)
        for j in range(ny):
            fill_row(m, nx, j, p, along, across, columns)
            if uniform:
                for i in range(nx):
                    store(m, columns + stride * i + size, load(m, pixels + j * nx + i))
                contract(m, work, columns, stride, columns, stride, nx, pattern)
            else:
                _, _, loss, most = row_terms(
                    m, pixels, ny * nx, j * nx, nx, columns, load(m, p), load(m, p + size - 1),
                    seen,
                )  # fmt: skip
                weigh(m, nx, columns, seen, left)
                contract(m, work, left, stride, columns, stride, nx, pattern)
                objective = objective + loss
                heaviest = maximum(most, heaviest)
            for e in range(entries):
                store(m, gram + e, load(m, gram + e) + load(m, work + e))
            for i in range(size):
                moment = load(m, work + entries + i)
                store(m, gradient + i, load(m, gradient + i) + moment)
        if positive:
            store(m, pixels - HEAVIEST, heaviest)
        return load(m, pixels - 1) if linear else objective

    return accumulate


# -- the other blocks --------------------------------------------------------------------------


@cache
def make_darkest(pixel: str, free: bool, weight_of: Callable) -> Callable:
    """The function at the darkest pixel; ``weight_of`` are factors of the components' heights."""
    profile = darkest_pixel.integrated if pixel == "integrate" else darkest_pixel.sampled
    rotated, width_of = make_rotated(pixel, free), make_width(free)

    @device
    def darkest(m, p, work, places, nz, ny, nx):
        """f at the pixel farthest from the centre, or nearest to a dark spot."""
        dark, first, width = load(m, p) < 0.0, broadcast(0.0), width_of(m, p)
        x, y = load(m, p + 1), load(m, p + 2)
        far_x = darkest_pixel.farthest(x, first, broadcast(nx - 1.0))
        far_y = darkest_pixel.farthest(y, first, broadcast(ny - 1.0))
        x = select(dark, darkest_pixel.nearest(x, nx), far_x) - x
        y = select(dark, darkest_pixel.nearest(y, ny), far_y) - y
        total = first
        for k in range(int(m[0, 0])):
            at = FIRST + NUMBERS * k
            by_x = profile(x - load(m, at + X) * width, load(m, at + SIGMA_X) * width)
            by_y = profile(y - load(m, at + Y) * width, load(m, at + SIGMA_Y) * width)
            height = load(m, at) * weight_of(m, p, k) / (width * width)
            total = total + height * by_x * by_y
        for k in range(int(m[0, 0]), int(m[0, 0]) + int(m[ROTATED, 0])):
            at = FIRST + NUMBERS * k
            to_x, to_y = x - load(m, at + X) * width, y - load(m, at + Y) * width
            total = total + rotated(m, at, width, to_x, to_y)[0] * weight_of(m, p, k)
        return total

    return darkest


@device
def _in_height(m, p, k):
    """The heights of known functions hold the weights of the components."""
    return 1.0


@cache
def make_unit(free: bool) -> Callable:
    width_of = make_width(free)

    @device
    def unit(m, p, k):
        """Centre and width move by the unit and the width times their coefficients."""
        width = width_of(m, p)
        return width if free and k == WIDTH else load(m, UNIT) * width

    return unit


@cache
def make_extent(free: bool) -> Callable:
    """The Gaussian of the full width at half maximum of the constants and a free width."""

    @device
    def extent(params, item, known):
        sigma = known[min(item, len(known) - 1), UNIT]
        if free:
            sigma = sigma * params[item, WIDTH]
        return sigma, sigma, sigma, 0.0

    return extent


@cache
def _make_span(free: bool) -> Callable:
    @device
    def span(params, item, known):
        """How far f rises above 0 and falls below it."""
        own, curve = min(item, len(known) - 1), 1.0
        if free:
            curve = 1.0 / params[item, WIDTH] ** 2
        return known[own, PEAK] * curve, known[own, DIP] * curve

    return span


@device
def pixels_of_width(item, known):
    """The sigma of the Gaussian of the same full width at half maximum, for a width of 1."""
    return known[min(item, len(known) - 1), UNIT]


@cache
def make_blocks(free: bool, pixel: str, estimator: Estimator, bounded: bool) -> Blocks:
    """The building blocks of a fit."""
    stride = FREE_ROW if free else KNOWN_ROW
    size, unit = stride - 1, make_unit(free)
    columns = make_tables(pixel, free), make_fill_row(pixel, free)
    sums, settle = make_sums(*columns, 0, stride, estimator), make_settle(size, estimator, bounded)
    return Blocks(
        size=size,
        evaluate=separable_steps.make_evaluate(sums, settle, unit, size, bounded),
        step=separable_steps.make_step(2, size, unit, separable_steps.limit_sigma, bounded),
        scratch=(packed_size(size) + size, FACTOR_ROWS * MOST + 2 * stride + SEEN, 0),
        darkest=make_darkest(pixel, free, _in_height),
        start=start_moments.make_symmetric(2),  # of which the model takes what it needs
        second=second_starts.make_common(2),
        start_size=5,
        shape=covariances.shape_none if bounded else separable_steps.make_shape(unit, size),
        extent=make_extent(free),
        judged=1 if free else -1,
        each_axis=False,
        constants=CONSTANTS,
        span=_make_span(free),
        width_unit=pixels_of_width,
    )


# -- on a plane of background ------------------------------------------------------------------


@cache
def make_basis(free: bool, pixel: str, bounded: bool) -> Basis:
    """The basis at every pixel."""
    prepare, fill_row = make_tables(pixel, free), make_fill_row(pixel, free)
    size = (FREE_ROW if free else KNOWN_ROW) - EXTRA

    @device
    def tables(m, nz, ny, nx, places, p, work) -> None:
        count = int(m[0, 0])
        prepare(m, count, ny, nx, p, work, work + FACTOR_ROWS * count * nx)

    @device
    def fill(m, k, j, nz, ny, nx, p, work, columns) -> None:
        across = work + FACTOR_ROWS * int(m[0, 0]) * nx
        fill_row(m, nx, j, p, work, across, columns)

    to_natural, shape = make_scaled(size, 3, make_unit(free))
    return Basis(size, (0, FACTOR_ROWS * MOST), tables, fill, to_natural, shape)


def _make_model(free: bool) -> ModelKernels:
    meaning = "factor of the sigmas and offsets of the point spread function"
    return ModelKernels(
        axes=2,
        shape=("width",) if free else (),
        widths=(WIDTH,) if free else (),
        profile=partial(points.make_separable, 2, (3, 4)),  # of a component, an elliptic Gaussian
        blocks=partial(make_blocks, free),
        volume=1.0,
        light=make_light(free),
        constants=CONSTANTS,
        columns=(("width", "", meaning),) if free else (),
        factor="flux",
        basis=partial(make_basis, free),
    )


PSF, WIDE = _make_model(False), _make_model(True)
