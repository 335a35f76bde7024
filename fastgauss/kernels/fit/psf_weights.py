"""A point spread function whose components have free weights, and perhaps a free width too.

With the functions g_k of integral 1 of the K components (``psf.py``), the model is

    flux (sum_k w_k g_k) + offset ,   w_1 = 1 - w_2 - ... - w_K ,

so that the flux remains the integral. The parameters are flux, x, y, the width where it is free,
w_2 to w_K, and the offset. The basis has g_k - g_1 for each w_k after columns of ``psf.py``. The
model is linear in flux and flux w_k: where the flux changes by dF with the coefficient t of a
column, dw_k = t / (flux + dF), which reaches a minimum over these alone in one step.

The constants are those of a known function, but for the heights, which are those of weights of 1:
the tables of ``psf_basis.py`` are the g_k themselves. The number of components is part of the
kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from .._compile import device
from ..models import points
from ..models.model_kernels import ModelKernels
from ..numeric.contraction import FACTOR_ROWS
from ..numeric.packed_cholesky import packed_size
from ..simd.lanes import broadcast, load, maximum, minimum, store
from . import covariances, second_starts, separable_steps, start_moments
from .basis import EXTRA, Basis, make_scaled
from .blocks import Blocks, make_settle
from .estimators import Estimator
from .psf import make_darkest, make_extent, make_sums, make_unit, pixels_of_width
from .psf_basis import (
    CONSTANTS,
    FIRST,
    KNOWN_ROW,
    NUMBERS,
    ROTATED,
    UNIT,
    WIDTH,
    X,
    Y,
    make_rotated,
    make_tables,
    make_width,
)
from .row_terms import SEEN
from .variable_projection import reciprocal

_MOST_CHANGE, _MOST_RATIO = 1.0, 2.0  # of a weight, and of the flux, in one step


def _row(count: int, free: bool) -> int:
    """Lane rows a pixel: the basis, 1, and the weighted residual."""
    return KNOWN_ROW + free + count - 1


@cache
def _make_weight(count: int, free: bool) -> Callable:
    """The weight of component k; the first has what the others leave."""
    first = WIDTH + free

    @device
    def weight(m, p, k):
        if k > 0:
            return load(m, p + first + k - 1)
        rest = broadcast(1.0)
        for i in range(count - 1):
            rest = rest - load(m, p + first + i)
        return rest

    return weight


@cache
def _make_fill(count: int, free: bool, pixel: str) -> tuple[Callable, Callable]:
    """``tables`` and ``fill_row`` as ``make_sums`` takes them; the weights stand in ``along``."""
    prepare, rotated, width_of = (
        make_tables(pixel, free),
        make_rotated(pixel, free),
        make_width(free),
    )
    weight, stride = _make_weight(count, free), _row(count, free)
    before = WIDTH + free - 1  # of the column of component k, counted from 0, less k

    @device
    def tables(m, straight, ny, nx, p, along, across) -> None:
        for k in range(count):
            store(m, along + k, weight(m, p, k))
        prepare(m, straight, ny, nx, p, along + count, across)

    @device
    def separable(m, row, line, sums, own):
        """What a component along the axes adds at a pixel, and its own g."""
        f, by_x, by_y, by_width = sums
        g_x, g_y = load(m, row), load(m, line)
        g = g_x * g_y
        by_x = by_x + own * (load(m, row + 1) * g_y)
        by_y = by_y + own * (g_x * load(m, line + 1))
        if free:
            by_width = by_width + own * (load(m, row + 2) * g_y + g_x * load(m, line + 2))
        return (f + own * g, by_x, by_y, by_width), g

    @device
    def turned_out(m, at, width, unit, x, y, sums, own):
        """The same of a component that is turned, x and y from the centre of the star."""
        f, by_x, by_y, by_width = sums
        x, y = x - load(m, at + X) * width, y - load(m, at + Y) * width
        g, slope_x, slope_y, growth = rotated(m, at, width, x, y)
        by_x, by_y = by_x + own * (slope_x * unit), by_y + own * (slope_y * unit)
        return (f + own * g, by_x, by_y, by_width + own * growth), g

    @device
    def fill_row(m, nx, j, p, along, across, columns) -> None:
        straight, width = int(m[0, 0]), width_of(m, p)
        every, step, unit = straight + int(m[ROTATED, 0]), FACTOR_ROWS * straight, load(m, UNIT)
        line, y = across + step * j, float(j) - load(m, p + 2)
        for i in range(nx):
            to, x = columns + stride * i, float(i) - load(m, p + 1)
            zero = broadcast(0.0)
            sums, lead = (zero, zero, zero, zero), zero
            for k in range(every):
                own = load(m, along + k)
                if k < straight:
                    row = along + count + step * i + FACTOR_ROWS * k
                    sums, g = separable(m, row, line + FACTOR_ROWS * k, sums, own)
                else:
                    at = FIRST + NUMBERS * k
                    sums, g = turned_out(m, at, width, unit * width, x, y, sums, own)
                if k == 0:
                    lead = g
                else:
                    store(m, to + before + k, g - lead)
            f, by_x, by_y, by_width = sums
            store(m, to, f)
            store(m, to + 1, by_x)
            store(m, to + 2, by_y)
            if free:
                store(m, to + WIDTH, by_width)

    return tables, fill_row


# -- the other blocks --------------------------------------------------------------------------


@cache
def _make_unit(free: bool) -> Callable:
    """A weight moves by its coefficient."""
    last, unit_of_shape = WIDTH + free, make_unit(free)

    @device
    def unit(m, p, k):
        return unit_of_shape(m, p, k) if k < last else broadcast(1.0)

    return unit


@cache
def _make_step(size: int, free: bool, unit: Callable, natural: bool) -> Callable:
    """Steps of a function with a known or a free width, and those of the weights."""
    move = separable_steps.make_step(2, size, unit, separable_steps.limit_sigma, natural)

    @device
    def step(m, p, t, q) -> None:
        move(m, p, t, q)
        old = load(m, p)
        ratio = old * reciprocal(old + load(m, t))
        ratio = minimum(maximum(ratio, broadcast(1.0 / _MOST_RATIO)), broadcast(_MOST_RATIO))
        scale = ratio if natural else ratio * reciprocal(old)
        for k in range(WIDTH + free, size - 1):
            change = load(m, t + k) * scale
            change = minimum(maximum(change, broadcast(-_MOST_CHANGE)), broadcast(_MOST_CHANGE))
            store(m, q + k, load(m, p + k) + change)

    return step


@cache
def _make_span(count: int, free: bool) -> Callable:
    first = WIDTH + free

    @device
    def span(params, item, known):
        """How far f rises above 0 and falls below it, at most: where all components are centred."""
        own, rest = min(item, len(known) - 1), 1.0
        rise, fall = 0.0, 0.0
        for k in range(count - 1, -1, -1):
            part = params[item, first + k - 1] if k > 0 else rest
            rest -= part
            height = part * known[own, FIRST + NUMBERS * k]
            rise, fall = rise + max(height, 0.0), fall + max(-height, 0.0)
        curve = 1.0 / params[item, WIDTH] ** 2 if free else 1.0
        return rise * curve, fall * curve

    return span


@cache
def _make_blocks(count: int, free: bool, pixel: str, estimator: Estimator, bounded: bool) -> Blocks:
    """The building blocks of a fit."""
    stride, unit = _row(count, free), _make_unit(free)
    size = stride - 1
    sums = make_sums(*_make_fill(count, free, pixel), count, stride, estimator)
    settle = make_settle(size, estimator, bounded)
    return Blocks(
        size=size,
        evaluate=separable_steps.make_evaluate(sums, settle, unit, size, bounded),
        step=_make_step(size, free, unit, bounded),
        scratch=(packed_size(size) + size + count, FACTOR_ROWS * count + 2 * stride + SEEN, 0),
        darkest=make_darkest(pixel, free, _make_weight(count, free)),
        start=start_moments.make_symmetric(2),
        second=second_starts.make_common(2),
        start_size=5,
        shape=covariances.shape_none if bounded else separable_steps.make_shape(unit, size),
        extent=make_extent(free),
        judged=1 if free else -1,
        each_axis=False,
        constants=CONSTANTS,
        span=_make_span(count, free),
        width_unit=pixels_of_width,
    )


@cache
def _make_basis(count: int, free: bool, pixel: str, bounded: bool) -> Basis:
    """The basis at every pixel, for a plane of background."""
    prepare, fill_row = _make_fill(count, free, pixel)
    size = _row(count, free) - EXTRA

    @device
    def tables(m, nz, ny, nx, places, p, work) -> None:
        straight = int(m[0, 0])
        prepare(m, straight, ny, nx, p, work, work + count + FACTOR_ROWS * straight * nx)

    @device
    def fill(m, k, j, nz, ny, nx, p, work, columns) -> None:
        across = work + count + FACTOR_ROWS * int(m[0, 0]) * nx
        fill_row(m, nx, j, p, work, across, columns)

    to_natural, shape = make_scaled(size, 3, _make_unit(free))
    return Basis(size, (count, FACTOR_ROWS * count), tables, fill, to_natural, shape)


def make_model(count: int, wide: ModelKernels | None) -> ModelKernels:
    """The row of functions of so many components, with the width of ``wide`` where it is given."""
    free, names = wide is not None, tuple(f"weight_{k + 1}" for k in range(1, count))
    meaning = "part of the flux that component {} of the point spread function has"
    columns = tuple((name, "", meaning.format(k + 2)) for k, name in enumerate(names))
    return ModelKernels(
        axes=2,
        shape=(*(wide.shape if wide else ()), *names),
        widths=wide.widths if wide else (),
        profile=partial(points.make_separable, 2, (3, 4)),  # of a component, an elliptic Gaussian
        blocks=partial(_make_blocks, count, free),
        volume=1.0,
        light=None,
        constants=CONSTANTS,
        columns=(*(wide.columns if wide else ()), *columns),
        factor="flux",
        basis=partial(_make_basis, count, free),
    )
