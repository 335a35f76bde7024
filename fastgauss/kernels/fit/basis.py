"""The basis of a model at every pixel, row by row, for fits that add further columns to it.

The normal equations of a model alone are sums in which columns need not be formed (``separable``,
``rotated``). Where other columns join them, such as those of a plane of background, products of all
columns are summed up, pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from .._compile import device
from ..numeric.contraction import FACTOR_ROWS
from ..numeric.packed_cholesky import scale_packed
from ..simd.lanes import broadcast, load, store


class Basis(NamedTuple):
    """f and the columns of its derivatives, as ``variable_projection`` has them, without the 1.

    ``tables(m, nz, ny, nx, places, p, work)`` prepares what all rows need, and
    ``fill(m, k, j, nz, ny, nx, p, work, columns)`` writes the columns at the pixels of row j of
    plane k, ``size + EXTRA`` lane rows a pixel. ``to_natural(m, p, gram, gradient, work)`` turns
    normal equations of these and further columns into those of the parameters, and
    ``shape(m, p, cov, work)`` the covariance.
    """

    size: int  # number of columns
    rows: tuple[int, int]  # lane rows of the tables: fixed, and for each pixel of an axis
    tables: Callable
    fill: Callable
    to_natural: Callable
    shape: Callable


EXTRA = 2  # columns that others add at each pixel


@cache
def make_separable(
    axes: int, widths: int, sigma_of: Callable, rate_of: Callable | None, table: Callable
) -> tuple[int, tuple[int, int], Callable, Callable]:
    """The first four fields of the `Basis` of an unrotated model.

    ``table`` fills the profile of an axis, and ``widths`` parameters set the widths: with
    ``rate_of`` one sets all.
    """
    size = 1 + axes + widths
    stride = size + EXTRA

    @device
    def tables(m, nz, ny, nx, places, p, work) -> None:
        """Tables of f, x and s along each axis, one after the other."""
        table(m, nx, places, load(m, p + 1), sigma_of(m, p, 0, axes), work, FACTOR_ROWS)
        at = work + FACTOR_ROWS * nx
        if axes > 1:
            table(m, ny, places, load(m, p + 2), sigma_of(m, p, 1, axes), at, FACTOR_ROWS)
        at = at + FACTOR_ROWS * ny
        if axes > 2:
            table(m, nz, places, load(m, p + 3), sigma_of(m, p, 2, axes), at, FACTOR_ROWS)

    @device
    def factors(m, row):
        return load(m, row), load(m, row + 1), load(m, row + 2)

    @device
    def fill(m, k, j, nz, ny, nx, p, work, columns) -> None:
        one, none = broadcast(1.0), broadcast(0.0)
        f_y, x_y, s_y = one, none, none
        f_z, x_z, s_z = one, none, none
        if axes > 1:
            f_y, x_y, s_y = factors(m, work + FACTOR_ROWS * (nx + j))
        if axes > 2:
            f_z, x_z, s_z = factors(m, work + FACTOR_ROWS * (nx + ny + k))
        both = f_y * f_z
        x_y, s_y, x_z, s_z = x_y * f_z, s_y * f_z, f_y * x_z, f_y * s_z
        by_x, by_f = both, none
        if rate_of is not None:
            by_x, by_f = rate_of(m, p, 0) * both, rate_of(m, p, 1) * s_y
            if axes > 2:
                by_f = by_f + rate_of(m, p, 2) * s_z
        for i in range(nx):
            f, x, s = factors(m, work + FACTOR_ROWS * i)
            at = columns + stride * i
            store(m, at, f * both)
            store(m, at + 1, x * both)
            if axes > 1:
                store(m, at + 2, f * x_y)
            if axes > 2:
                store(m, at + 3, f * x_z)
            at = at + 1 + axes
            if rate_of is not None:
                store(m, at, s * by_x + f * by_f)
            else:
                store(m, at, s * both)
                if axes > 1:
                    store(m, at + 1, f * s_y)
                if axes > 2:
                    store(m, at + 2, f * s_z)

    return size, (0, FACTOR_ROWS), tables, fill


@cache
def make_scaled(size: int, more: int, unit: Callable) -> tuple[Callable, Callable]:
    """``to_natural`` and ``shape`` where each column of the basis has a unit.

    ``size`` columns of the basis are followed by ``more``.
    """
    whole = size + more

    @device
    def to_natural(m, p, gram, gradient, work) -> None:
        for k in range(1, size):
            factor = load(m, p) / unit(m, p, k)
            scale_packed(m, gram, whole, k, factor)
            store(m, gradient + k, load(m, gradient + k) * factor)

    @device
    def shape(m, p, cov, work) -> None:
        scale = 1.0 / load(m, p)
        for k in range(1, size):
            scale_packed(m, cov, whole, k, unit(m, p, k) * scale)

    return to_natural, shape
