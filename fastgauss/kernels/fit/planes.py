"""A spot on a plane of background, for any model that gives its basis (``basis.py``).

With the slopes s along the axes and the offset b at the centre r0 of the spot,

    m = amplitude f + s . (r - r0) + b .

The parameters are those of the model, the slopes, and the offset last. The columns of a fit are the
basis, r - r0 and 1, which stand for a plane whose point of reference stays where it is: where the
centre moves by dr0, the offset moves by s . dr0 beside its own step. Steps and covariances of a fit
without bounds do that, and with bounds, where the coordinates are the parameters, s times the
column 1 is taken from the column of each centre.

Slopes are linear: least squares without bounds projects them as it does amplitude and offset. Along
y and z a slope's column is the same at all pixels of a row, so that its sums follow from those of
the column 1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from .._compile import device
from ..models.model_kernels import ModelKernels
from ..numeric.contraction import DENSE, contract
from ..numeric.packed_cholesky import packed, packed_size, packed_symmetric, solve_damped
from ..simd.lanes import broadcast, load, maximum, select, store
from . import covariances
from .basis import EXTRA, Basis
from .blocks import Blocks
from .estimators import HEAVIEST, LEVEL, Estimator
from .row_terms import SEEN, make_row_terms


def slope_names(axes: int) -> tuple[str, ...]:
    """The names of the slopes along x, y, z."""
    return ("slope",) if axes == 1 else tuple(f"slope_{axis}" for axis in "xyz"[:axes])


# -- sums --------------------------------------------------------------------------------------


@cache
def _make_levels(base: int, axes: int, placed: bool) -> tuple[Callable, Callable]:
    """Distances along x from the centre, and the plane at the place x = x0 of a row of pixels."""
    last = base + axes

    @device
    def distance(m, p, places, i):
        x = load(m, places + i) if placed else broadcast(float(i))
        return x - load(m, p + 1)

    @device
    def level(m, p, k, j):
        """The plane there, the offset included, and the distances along y and z."""
        total, y, z = load(m, p + last), broadcast(0.0), broadcast(0.0)
        if axes > 1:
            y = float(j) - load(m, p + 2)
            total = total + load(m, p + base + 1) * y
        if axes > 2:
            z = float(k) - load(m, p + 3)
            total = total + load(m, p + base + 2) * z
        return total, y, z

    return distance, level


@cache
def _make_gather(base: int, axes: int) -> Callable:
    """How the sums of a row of pixels join the normal equations."""
    one = base + 1  # where the column 1 stands in a row of pixels; in the whole it is the last
    moments = packed_size(base + EXTRA)

    @device
    def gather(m, sums, y, z, gram, gradient) -> None:
        for e in range(packed_size(base + 1)):  # the basis and x, which come first in both
            store(m, gram + e, load(m, gram + e) + load(m, sums + e))
        for i in range(base + 1):
            store(m, gradient + i, load(m, gradient + i) + load(m, sums + moments + i))
        for a in range(1, axes + 1):  # y, z, 1
            own = y if a < axes and a == 1 else z if a < axes else broadcast(1.0)
            row = base + a
            for i in range(base + 1):
                at = gram + packed(row, i)
                store(m, at, load(m, at) + own * load(m, sums + packed(one, i)))
            for b in range(1, a + 1):
                other = y if b < axes and b == 1 else z if b < axes else broadcast(1.0)
                at = gram + packed(row, base + b)
                store(m, at, load(m, at) + own * other * load(m, sums + packed(one, one)))
            moment = own * load(m, sums + moments + one)
            store(m, gradient + row, load(m, gradient + row) + moment)

    return gather


@cache
def _make_sums(basis: Basis, axes: int, placed: bool, estimator: Estimator) -> Callable:
    """Gram matrix, data sums and objective of the basis, the slopes and the offset."""
    base = basis.size
    size, across = base + axes + 1, base + EXTRA
    tables, fill, (fixed, each) = basis.tables, basis.fill, basis.rows
    distance, level = _make_levels(base, axes, placed)
    gather, row_terms = _make_gather(base, axes), make_row_terms(estimator, 1, 0)
    uniform, linear = estimator.uniform, estimator.linear
    positive, kinds = estimator.positive, estimator.kinds
    pattern = DENSE + across

    @device
    def weigh(m, nx, at, columns, seen, left) -> None:
        """The columns times the weight of each pixel, and its weighted residual."""
        for i in range(nx):
            w = 1.0 if uniform else load(m, seen + SEEN * i)
            for c in range(across):
                store(m, left + (across + 1) * i + c, w * load(m, columns + across * i + c))
            g = load(m, at + i) if uniform else load(m, seen + SEEN * i + 1)
            store(m, left + (across + 1) * i + across, g)

    @device
    def judge(m, pixels, n, at, nx, p, background, columns, values):
        """Weights and residuals of a row of pixels; returns the loss and the largest weight."""
        height, slope, seen = load(m, p), load(m, p + base), values + nx
        for i in range(nx):
            f, x = load(m, columns + across * i), load(m, columns + across * i + base)
            store(m, values + i, height * f + slope * x + background)
        _, _, loss, most = row_terms(
            m, pixels, n, at, nx, values, broadcast(1.0), broadcast(0.0), seen
        )  # fmt: skip
        return loss, most

    @device
    def accumulate(m, pixels, nz, ny, nx, p, work, gram, gradient):
        places = pixels + kinds * nx
        sums = work + fixed + each * (nz + ny + nx)
        values = sums + packed_size(across) + across
        seen = values + nx
        columns = seen + SEEN * nx
        left = columns + across * nx
        tables(m, nz, ny, nx, places, p, work)
        for i in range(nx):
            store(m, columns + across * i + base, distance(m, p, places, i))
            store(m, columns + across * i + base + 1, broadcast(1.0))
        for e in range(packed_size(size)):
            store(m, gram + e, broadcast(0.0))
        for i in range(size):
            store(m, gradient + i, broadcast(0.0))
        objective = broadcast(0.0)
        heaviest = broadcast(0.0)
        for k in range(nz):
            for j in range(ny):
                fill(m, k, j, nz, ny, nx, p, work, columns)
                background, y, z = level(m, p, k, j)
                at = (k * ny + j) * nx
                if not uniform:
                    loss, most = judge(
                        m, pixels, nz * ny * nx, at, nx, p, background, columns, values
                    )  # fmt: skip
                    objective = objective + loss
                    heaviest = maximum(most, heaviest)
                weigh(m, nx, pixels + at, columns, seen, left)
                contract(m, sums, left, across + 1, columns, across, nx, pattern)
                gather(m, sums, y, z, gram, gradient)
        if positive:
            store(m, pixels - HEAVIEST, heaviest)
        return load(m, pixels - 1) if linear else objective

    return accumulate


@cache
def _make_settle(base: int, axes: int, project: bool) -> Callable:
    """From sums over data to residuals, as in ``variable_projection``."""
    size, count = base + axes + 1, axes + 2
    linear = (0, *range(base, size))

    @device
    def settle(m, p, gram, gradient, square, work):
        right = work + packed_size(count)
        solution = right + count
        if project:
            for a in range(count):
                store(m, right + a, load(m, gradient + linear[a]))
                for b in range(a + 1):
                    entry = load(m, gram + packed(linear[a], linear[b]))
                    store(m, work + packed(a, b), entry)
            solve_damped(m, work, broadcast(0.0), right, solution, count)
            for a in range(count):
                store(m, p + linear[a], load(m, solution + a))
        objective = square
        for a in range(count):
            store(m, right + a, load(m, gradient + linear[a]))
        for i in range(size):
            rest = load(m, gradient + i)
            for a in range(count):
                entry = load(m, gram + packed_symmetric(i, linear[a]))
                rest = rest - load(m, p + linear[a]) * entry
            store(m, gradient + i, rest)
        for a in range(count):
            both = load(m, right + a) + load(m, gradient + linear[a])
            objective = objective - load(m, p + linear[a]) * both
        return select(objective < 0.0, 0.0, objective)

    return settle


# -- the other blocks --------------------------------------------------------------------------


@device
def _add_row(m, matrix, size, i, factor, j) -> None:
    """Add ``factor`` times row and column j of a packed matrix to row and column i."""
    cross, own = load(m, matrix + packed_symmetric(i, j)), load(m, matrix + packed(j, j))
    diagonal = load(m, matrix + packed(i, i)) + factor * (cross + cross + factor * own)
    for k in range(size):
        at = matrix + packed_symmetric(i, k)
        store(m, at, load(m, at) + factor * load(m, matrix + packed_symmetric(j, k)))
    store(m, matrix + packed(i, i), diagonal)


@cache
def _make_evaluate(
    basis: Basis, axes: int, placed: bool, estimator: Estimator, bounded: bool
) -> Callable:
    """Normal equations of the residuals, in the basis or in the parameters themselves."""
    base, (fixed, each) = basis.size, basis.rows
    size, last = base + axes + 1, base + axes
    accumulate = _make_sums(basis, axes, placed, estimator)
    settle, linear = _make_settle(base, axes, not bounded), estimator.linear
    to_natural = basis.to_natural

    @device
    def evaluate(m, pixels, nz, ny, nx, p, work, gram, gradient):
        objective = accumulate(m, pixels, nz, ny, nx, p, work, gram, gradient)
        if linear:
            rest = work + fixed + each * (nz + ny + nx)
            objective = settle(m, p, gram, gradient, objective, rest)
        if bounded:
            to_natural(m, p, gram, gradient, work)
            for a in range(axes):
                slope = -load(m, p + base + a)
                _add_row(m, gram, size, 1 + a, slope, last)
                moved = slope * load(m, gradient + last)
                store(m, gradient + 1 + a, load(m, gradient + 1 + a) + moved)
        return objective

    return evaluate


@cache
def _make_step(inner: Callable, base: int, axes: int, bounded: bool) -> Callable:
    """Steps: ``inner`` moves the model, and the first slope, which it takes for the offset."""
    last = base + axes

    @device
    def step(m, p, t, q) -> None:
        inner(m, p, t, q)
        offset = load(m, p + last) + load(m, t + last)
        for k in range(base + 1, last):
            store(m, q + k, load(m, p + k) + load(m, t + k))
        if not bounded:
            for a in range(axes):
                moved = load(m, q + 1 + a) - load(m, p + 1 + a)
                offset = offset + load(m, q + base + a) * moved
        store(m, q + last, offset)

    return step


@cache
def _make_shape(inner: Callable, base: int, axes: int) -> Callable:
    """From the covariance of the columns' coefficients to that of the parameters."""
    size, last = base + axes + 1, base + axes

    @device
    def shape(m, p, cov, work) -> None:
        inner(m, p, cov, work)
        for a in range(axes):
            _add_row(m, cov, size, last, load(m, p + base + a), 1 + a)

    return shape


@cache
def _make_darkest(basis: Basis, axes: int, placed: bool, kinds: int) -> Callable:
    """f at the pixel where the model is lowest, and the plane there without the offset."""
    base, across = basis.size, basis.size + EXTRA
    last = base + axes
    tables, fill, (fixed, each) = basis.tables, basis.fill, basis.rows
    distance, level = _make_levels(base, axes, placed)

    @device
    def darkest(m, p, work, places, nz, ny, nx):
        columns = work + fixed + each * (nz + ny + nx)
        tables(m, nz, ny, nx, places, p, work)
        height, slope, offset = load(m, p), load(m, p + base), load(m, p + last)
        lowest, there, plane = broadcast(0.0), broadcast(0.0), broadcast(0.0)
        for k in range(nz):
            for j in range(ny):
                fill(m, k, j, nz, ny, nx, p, work, columns)
                background = level(m, p, k, j)[0] - offset
                for i in range(nx):
                    f = load(m, columns + across * i)
                    tilt = slope * distance(m, p, places, i) + background
                    value = height * f + tilt
                    if k + j + i == 0:
                        lowest, there, plane = value, f, tilt
                    less = value < lowest
                    lowest = select(less, value, lowest)
                    there, plane = select(less, f, there), select(less, tilt, plane)
        store(m, places - kinds * nx - LEVEL, plane)
        return there

    return darkest


# -- the model ---------------------------------------------------------------------------------


@cache
def _make_blocks(kernels: ModelKernels, pixel: str, estimator: Estimator, bounded: bool) -> Blocks:
    """The building blocks of a fit of this model on a plane."""
    assert kernels.basis is not None
    inner, axes = kernels.blocks(pixel, estimator, bounded), kernels.axes
    basis, placed = kernels.basis(pixel, bounded), pixel == "places"
    base = basis.size
    across, count = base + EXTRA, axes + 2
    fixed, each = basis.rows
    shape = covariances.shape_none if bounded else _make_shape(basis.shape, base, axes)
    return inner._replace(
        size=base + axes + 1,
        evaluate=_make_evaluate(basis, axes, placed, estimator, bounded),
        step=_make_step(inner.step, base, axes, bounded),
        scratch=(
            fixed + packed_size(across) + across + packed_size(count) + 2 * count,
            each + 1 + SEEN + 2 * across + 1,
            0,
        ),
        darkest=_make_darkest(basis, axes, placed, estimator.kinds),
        shape=shape,
        slopes=axes,
    )


@cache
def on_plane(kernels: ModelKernels) -> ModelKernels:
    """This model on a plane of background; the offset counts at the centre of the spot."""

    def blocks(pixel: str, estimator: Estimator, bounded: bool) -> Blocks:
        return _make_blocks(kernels, pixel, estimator, bounded)

    names = slope_names(kernels.axes)
    return kernels._replace(shape=kernels.shape + names, blocks=blocks, basis=None, light=None)
