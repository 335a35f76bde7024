"""The basis of the rotated model at every pixel, and the coordinates of its parameters."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from .._compile import device
from ..numeric.packed_cholesky import packed
from ..numeric.special import exp_negative
from ..simd.lane_types import ALL_LANES
from ..simd.lanes import load, store
from ..simd.mask_bits import mask_bits
from . import covariances
from .basis import EXTRA, Basis
from .rotated import COLUMNS, average_columns, fill_row, is_safe, metric_of
from .rotated_steps import (
    INNER,
    NATURAL_ROWS,
    block,
    natural_rows,
    own_matrix,
    transform,
    turn_matrix,
)

_SIZE = COLUMNS - 1  # of the basis; the last column is 1
_STRIDE = _SIZE + EXTRA
_METRIC = NATURAL_ROWS  # lane rows before those of the metric
_ROWS = _METRIC + 3


@device
def _metric(m, work):
    return load(m, work + _METRIC), load(m, work + _METRIC + 1), load(m, work + _METRIC + 2)


@device
def _fill_sampled(m, k, j, nz, ny, nx, p, work, columns) -> None:
    """f times the monomials of degree 2 at most in the distance from the centre."""
    table, metric = work + _ROWS, _metric(m, work)
    x0, y = load(m, p + 1), float(j) - load(m, p + 2)
    safe = is_safe(nx, ny, x0, load(m, p + 2), metric)
    all_safe = mask_bits(safe) == ALL_LANES
    fill_row(m, nx, x0, y, metric, exp_negative(-metric[0]), safe, all_safe, table)
    for i in range(nx):
        at, x, f = columns + _STRIDE * i, float(i) - x0, load(m, table + i)
        fx, fy = f * x, f * y
        store(m, at, f)
        store(m, at + 1, fx)
        store(m, at + 2, fy)
        store(m, at + 3, fx * x)
        store(m, at + 4, fx * y)
        store(m, at + 5, fy * y)


@device
def _fill_integrated(m, k, j, nz, ny, nx, p, work, columns) -> None:
    """The same averaged over each pixel."""
    table = work + _ROWS
    means = table + nx
    average_columns(m, nx, ny, j, p, _metric(m, work), table, means)
    for i in range(nx):
        for c in range(_SIZE):
            store(m, columns + _STRIDE * i + c, load(m, means + COLUMNS * i + c))


@cache
def _make_tables(matrix: Callable) -> Callable:
    @device
    def tables(m, nz, ny, nx, places, p, work) -> None:
        """The metric; ``matrix`` tells where the sigma matrix stands."""
        a, b, c = metric_of(m, matrix(m, p, work))
        store(m, work + _METRIC, a)
        store(m, work + _METRIC + 1, b)
        store(m, work + _METRIC + 2, c)

    return tables


@cache
def _make_to_natural(size: int) -> Callable:
    @device
    def to_natural(m, p, gram, gradient, work) -> None:
        rows = natural_rows(m, p, work + INNER)
        transform(m, gram, rows, work + INNER + 2)
        for k in range(COLUMNS, size):
            block(m, gram + packed(k, 0), 1, rows)
        block(m, gradient, 1, rows)

    return to_natural


@cache
def make_basis(pixel: str, bounded: bool) -> Basis:
    """The `Basis` of the rotated model."""
    integrate = pixel == "integrate"
    size = _SIZE + 3  # two slopes and the offset
    return Basis(
        size=_SIZE,
        rows=(_ROWS, 1 + COLUMNS * integrate),
        tables=_make_tables(turn_matrix if bounded else own_matrix),
        fill=_fill_integrated if integrate else _fill_sampled,
        to_natural=_make_to_natural(size),
        shape=covariances.make_shape_rotated(size),
    )
