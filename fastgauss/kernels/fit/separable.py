"""Normal equations and steps of the unrotated models, in one to three dimensions.

The mathematics stands in ``normal``; how sums grow axis by axis, in ``contract``.
Sums are formed for the elliptic model, which has a width for each axis. In the others
one parameter moves all widths: its column is the sum of the widths' columns times
``rate_of``, the relative change of that width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from .._compile import device
from ..numeric.contraction import FACTOR_ROWS, GRAM, MOMENTS, TABLE_ROWS, contract
from ..numeric.packed_cholesky import packed, packed_size
from ..simd.lanes import broadcast, load, maximum, store
from .axis_profiles import expand_products, fill_integrated, sum_products
from .estimators import HEAVIEST, Estimator
from .row_terms import SEEN, make_row_terms

_BLOCK = 4  # rows of pixels that share the loads of a table
_FLAT_GRAM = packed_size(6)  # sums over one plane of a volume: Gram entries,
_FLAT_MOMENTS = 5  # and data
_ROW_SUMS = TABLE_ROWS + FACTOR_ROWS  # the same along one row of pixels
_FLAT_SUMS = _FLAT_GRAM + _FLAT_MOMENTS


def scratch(estimator: Estimator) -> tuple[int, int, int]:
    """Lane rows that sums need: at most, more for each pixel of an axis, and for each row."""
    fixed = packed_size(8) + 8 + 3 * TABLE_ROWS + _FLAT_GRAM
    if estimator.uniform:
        return fixed, FACTOR_ROWS + _FLAT_MOMENTS, FACTOR_ROWS
    return fixed, TABLE_ROWS + _FLAT_SUMS + SEEN, _ROW_SUMS


@device
def _moment_rows(m, pixels, rows, nx, table, target) -> None:
    """Sums of data times f, x and s along each row of pixels."""
    for first in range(0, rows, _BLOCK):
        j0 = first
        j1 = min(first + 1, rows - 1)
        j2 = min(first + 2, rows - 1)
        j3 = min(first + 3, rows - 1)
        zero = broadcast(0.0)
        f0 = zero
        f1 = zero
        f2 = zero
        f3 = zero
        x0 = zero
        x1 = zero
        x2 = zero
        x3 = zero
        s0 = zero
        s1 = zero
        s2 = zero
        s3 = zero
        for i in range(nx):
            f = load(m, table + FACTOR_ROWS * i)
            x = load(m, table + FACTOR_ROWS * i + 1)
            s = load(m, table + FACTOR_ROWS * i + 2)
            d0 = load(m, pixels + j0 * nx + i)
            d1 = load(m, pixels + j1 * nx + i)
            d2 = load(m, pixels + j2 * nx + i)
            d3 = load(m, pixels + j3 * nx + i)
            f0 = f0 + d0 * f
            x0 = x0 + d0 * x
            s0 = s0 + d0 * s
            f1 = f1 + d1 * f
            x1 = x1 + d1 * x
            s1 = s1 + d1 * s
            f2 = f2 + d2 * f
            x2 = x2 + d2 * x
            s2 = s2 + d2 * s
            f3 = f3 + d3 * f
            x3 = x3 + d3 * x
            s3 = s3 + d3 * s
        at = target + FACTOR_ROWS * j0
        store(m, at, f0)
        store(m, at + 1, x0)
        store(m, at + 2, s0)
        at = target + FACTOR_ROWS * j1
        store(m, at, f1)
        store(m, at + 1, x1)
        store(m, at + 2, s1)
        at = target + FACTOR_ROWS * j2
        store(m, at, f2)
        store(m, at + 1, x2)
        store(m, at + 2, s2)
        at = target + FACTOR_ROWS * j3
        store(m, at, f3)
        store(m, at + 1, x3)
        store(m, at + 2, s3)


@device
def own_sigma(m, p, axis, axes):
    """sigma along an axis: the elliptic model."""
    return load(m, p + 1 + axes + axis)


@device
def common_sigma(m, p, axis, axes):
    """sigma along an axis: the symmetric model."""
    return load(m, p + 1 + axes)


@cache
def make_plain(axes: int, sigma_of: Callable, fill: Callable) -> Callable:
    """Normal equations where every pixel has the weight 1: few sums are over pixels."""
    gram_pattern, moment_pattern = GRAM[axes], MOMENTS[axes]

    @device
    def accumulate(m, pixels, nz, ny, nx, p, work, gram, gradient):
        """Gram matrix and data sums, in the elliptic order; returns the data's square sum."""
        table_y = work + FACTOR_ROWS * nx
        table_z = table_y + FACTOR_ROWS * ny
        sums = table_z + FACTOR_ROWS * nz
        flat = sums + TABLE_ROWS * axes
        rows = flat + _FLAT_GRAM
        planes = rows + FACTOR_ROWS * nz * ny
        places = pixels + nx
        fill(m, nx, places, load(m, p + 1), sigma_of(m, p, 0, axes), work, FACTOR_ROWS)
        if axes == 1:
            sum_products(m, nx, work, gram)
            _moment_rows(m, pixels, 1, nx, work, gradient)
        else:
            sum_products(m, nx, work, sums)
            fill(m, ny, places, load(m, p + 2), sigma_of(m, p, 1, axes), table_y, FACTOR_ROWS)
            sum_products(m, ny, table_y, sums + TABLE_ROWS)
        if axes == 2:
            contract(m, gram, sums, 0, sums + TABLE_ROWS, 0, 1, gram_pattern)
            _moment_rows(m, pixels, ny, nx, work, rows)
            contract(m, gradient, rows, FACTOR_ROWS, table_y, FACTOR_ROWS, ny, moment_pattern)
        if axes == 3:
            fill(m, nz, places, load(m, p + 3), sigma_of(m, p, 2, axes), table_z, FACTOR_ROWS)
            sum_products(m, nz, table_z, sums + 2 * TABLE_ROWS)
            contract(m, flat, sums, 0, sums + TABLE_ROWS, 0, 1, GRAM[2])
            contract(m, gram, flat, 0, sums + 2 * TABLE_ROWS, 0, 1, gram_pattern)
            _moment_rows(m, pixels, nz * ny, nx, work, rows)
            for k in range(nz):
                plane, first = planes + _FLAT_MOMENTS * k, rows + FACTOR_ROWS * ny * k
                contract(m, plane, first, FACTOR_ROWS, table_y, FACTOR_ROWS, ny, MOMENTS[2])
            contract(m, gradient, planes, _FLAT_MOMENTS, table_z, FACTOR_ROWS, nz, moment_pattern)
        store(m, gradient + 2 * axes + 1, load(m, pixels - 2))
        return load(m, pixels - 1)

    return accumulate


@cache
def _make_row(estimator: Estimator, sampled: bool) -> Callable:
    """Sums along one row of pixels with a weight at each; ``sampled``: x x = s f."""
    row_terms = make_row_terms(estimator, TABLE_ROWS, 6)

    @device
    def row_sums(m, nx, table, seen, target) -> None:
        """Gram entries but sum w, and data sums, of a row of pixels."""
        zero = broadcast(0.0)
        ff = zero
        xf = zero
        xx = zero
        sf = zero
        sx = zero
        ss = zero
        f1 = zero
        x1 = zero
        s1 = zero
        for i in range(nx):
            row = table + TABLE_ROWS * i
            w = load(m, seen + SEEN * i)
            ff = ff + w * load(m, row)
            xf = xf + w * load(m, row + 1)
            if not sampled:
                xx = xx + w * load(m, row + 2)
            sf = sf + w * load(m, row + 3)
            sx = sx + w * load(m, row + 4)
            ss = ss + w * load(m, row + 5)
            f1 = f1 + w * load(m, row + 6)
            x1 = x1 + w * load(m, row + 7)
            s1 = s1 + w * load(m, row + 8)
        store(m, target, ff)
        store(m, target + 1, xf)
        store(m, target + 2, sf if sampled else xx)
        store(m, target + 3, sf)
        store(m, target + 4, sx)
        store(m, target + 5, ss)
        store(m, target + 6, f1)
        store(m, target + 7, x1)
        store(m, target + 8, s1)
        df = zero
        dx = zero
        ds = zero
        for i in range(nx):
            row = table + TABLE_ROWS * i
            g = load(m, seen + SEEN * i + 1)
            df = df + g * load(m, row + 6)
            dx = dx + g * load(m, row + 7)
            ds = ds + g * load(m, row + 8)
        store(m, target + 10, df)
        store(m, target + 11, dx)
        store(m, target + 12, ds)

    @device
    def row_of_pixels(m, pixels, n, at, nx, table, height, offset, seen, target):
        """Write Gram entries and data sums to ``target``.

        Returns the sum of residuals, the loss and the largest weight.
        """
        one, total, objective, heaviest = row_terms(
            m, pixels, n, at, nx, table, height, offset, seen
        )
        row_sums(m, nx, table, seen, target)
        store(m, target + 9, one)
        return total, objective, heaviest

    return row_of_pixels


@cache
def make_weighted(
    axes: int, sigma_of: Callable, fill: Callable, estimator: Estimator, last: int
) -> Callable:
    """Normal equations with a weight at each pixel; the offset is parameter ``last``."""
    gram_pattern, moment_pattern = GRAM[axes], MOMENTS[axes]
    linear, positive, kinds = estimator.linear, estimator.positive, estimator.kinds
    row_of_pixels = _make_row(estimator, fill is not fill_integrated)

    @device
    def accumulate(m, pixels, nz, ny, nx, p, work, gram, gradient):
        """Gram matrix and data sums, in the elliptic order; returns the objective."""
        table_y = work + TABLE_ROWS * nx
        table_z = table_y + TABLE_ROWS * ny
        rows = table_z + TABLE_ROWS * nz
        planes = rows + _ROW_SUMS * ny
        seen = planes + _FLAT_SUMS * nz
        n = nz * ny * nx
        places = pixels + kinds * nx
        amplitude = load(m, p)
        offset = load(m, p + last)
        fill(m, nx, places, load(m, p + 1), sigma_of(m, p, 0, axes), work, TABLE_ROWS)
        expand_products(m, nx, work)
        if axes > 1:
            fill(m, ny, places, load(m, p + 2), sigma_of(m, p, 1, axes), table_y, TABLE_ROWS)
            expand_products(m, ny, table_y)
        if axes > 2:
            fill(m, nz, places, load(m, p + 3), sigma_of(m, p, 2, axes), table_z, TABLE_ROWS)
            expand_products(m, nz, table_z)
        total = broadcast(0.0)
        objective = broadcast(0.0)
        heaviest = broadcast(0.0)
        for k in range(nz):
            height_z = amplitude
            if axes > 2:
                height_z = amplitude * load(m, table_z + TABLE_ROWS * k + 6)
            for j in range(ny):
                height = height_z
                if axes > 1:
                    height = height_z * load(m, table_y + TABLE_ROWS * j + 6)
                t, loss, most = row_of_pixels(
                    m, pixels, n, (k * ny + j) * nx, nx, work, height, offset, seen,
                    rows + _ROW_SUMS * j,
                )  # fmt: skip
                total = total + t
                objective = objective + loss
                heaviest = maximum(most, heaviest)
            if axes == 3:
                plane = planes + _FLAT_SUMS * k
                contract(m, plane, rows, _ROW_SUMS, table_y, TABLE_ROWS, ny, GRAM[2])
                contract(
                    m, plane + _FLAT_GRAM, rows + TABLE_ROWS, _ROW_SUMS, table_y + 6, TABLE_ROWS,
                    ny, MOMENTS[2],
                )  # fmt: skip
        if axes == 1:
            for e in range(TABLE_ROWS):
                store(m, gram + e, load(m, rows + e))
            for e in range(FACTOR_ROWS):
                store(m, gradient + e, load(m, rows + TABLE_ROWS + e))
        elif axes == 2:
            contract(m, gram, rows, _ROW_SUMS, table_y, TABLE_ROWS, ny, gram_pattern)
            contract(
                m, gradient, rows + TABLE_ROWS, _ROW_SUMS, table_y + 6, TABLE_ROWS,
                ny, moment_pattern,
            )  # fmt: skip
        else:
            contract(m, gram, planes, _FLAT_SUMS, table_z, TABLE_ROWS, nz, gram_pattern)
            contract(
                m, gradient, planes + _FLAT_GRAM, _FLAT_SUMS, table_z + 6, TABLE_ROWS,
                nz, moment_pattern,
            )  # fmt: skip
        if linear:
            total = load(m, pixels - 2)
            objective = load(m, pixels - 1)
            store(m, gram + packed(2 * axes + 1, 2 * axes + 1), load(m, pixels - 3))
        if positive:
            store(m, pixels - HEAVIEST, heaviest)
        store(m, gradient + 2 * axes + 1, total)
        return objective

    return accumulate


@cache
def make_common(axes: int, inner: Callable, rate_of: Callable) -> Callable:
    """Normal equations of a model in which one parameter sets all widths."""
    full = 2 * axes + 2
    entries = packed_size(full)
    kept = packed_size(axes + 1)  # entries of amplitude and centres, the same in both
    width, last = axes + 1, axes + 2

    @device
    def accumulate(m, pixels, nz, ny, nx, p, work, gram, gradient):
        """As ``inner``, with the columns of the widths summed up."""
        wide, moments = work, work + entries
        objective = inner(m, pixels, nz, ny, nx, p, moments + full, wide, moments)
        for e in range(kept):
            store(m, gram + e, load(m, wide + e))
        for i in range(axes + 1):
            by_width = broadcast(0.0)
            for a in range(axes):
                rate = rate_of(m, p, a)
                by_width = by_width + rate * load(m, wide + packed(width + a, i))
            store(m, gram + packed(width, i), by_width)
            store(m, gram + packed(last, i), load(m, wide + packed(full - 1, i)))
            store(m, gradient + i, load(m, moments + i))
        square = broadcast(0.0)
        to_offset = broadcast(0.0)
        moment = broadcast(0.0)
        for a in range(axes):
            rate = rate_of(m, p, a)
            for b in range(a):
                cross = load(m, wide + packed(width + a, width + b)) * rate_of(m, p, b) * rate
                square = square + (cross + cross)
            square = square + load(m, wide + packed(width + a, width + a)) * rate * rate
            to_offset = to_offset + rate * load(m, wide + packed(full - 1, width + a))
            moment = moment + rate * load(m, moments + width + a)
        store(m, gram + packed(width, width), square)
        store(m, gram + packed(last, width), to_offset)
        store(m, gram + packed(last, last), load(m, wide + packed(full - 1, full - 1)))
        store(m, gradient + width, moment)
        store(m, gradient + last, load(m, moments + full - 1))
        return objective

    return accumulate
