"""Gradients and blocks of spots and pairs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from .._compile import device, kernel
from ..models.spot_profiles import Light
from ..numeric.contraction import CROSS, DENSE, contract
from ..numeric.packed_cholesky import packed_size, packed_symmetric
from ..results.pixel_owners import box_of
from ..simd.lane_types import WIDTH
from ..simd.lanes import load, store
from ..simd.masked import lanes_within, load_some, total
from .image import MOST_TERMS, put_phi

BATCH = 32  # registers of pixels whose columns are in memory at a time
MOST_COLUMNS = 7

_LEFT = 0  # weighted columns, then the weighted residual
_RIGHT = _LEFT + BATCH * (MOST_COLUMNS + 1)
_PHI = _RIGHT + BATCH * MOST_COLUMNS
_SUM = _PHI + BATCH * MOST_TERMS
SCRATCH_ROWS = _SUM + MOST_COLUMNS * MOST_COLUMNS
SUMS = 2 * MOST_COLUMNS * MOST_COLUMNS + MOST_COLUMNS * MOST_TERMS


@cache
def make_normal(light: Light) -> Callable:
    """The kernel of gradients, diagonal blocks, blocks of pairs and those with the background.

    Its ``scratch`` are lane rows, tables of profiles for two spots, and sums.
    """
    size, prepare, derive, tables = light.columns, light.prepare, light.derive, light.tables
    triangle = packed_size(size)
    own, pair, single = DENSE + size, CROSS + 100 * size + size, CROSS + 100 * size + 1

    # -- sums of a spot or a pair --------------------------------------------------------------

    @device
    def shrink(sums, at, jacobian, i, j, out):
        """out = J_i block J_j', J the Jacobian, the block (k, k) at ``at`` of the sums."""
        a, b = (i, j) if jacobian.shape[0] > 1 else (0, 0)
        for p in range(out.shape[0]):
            for q in range(out.shape[1]):
                out[p, q] = 0.0
            for k in range(size):
                if jacobian[a, p, k] == 0.0:
                    continue
                for q in range(out.shape[1]):
                    part = 0.0
                    for h in range(size):
                        part += sums[at + size * k + h] * jacobian[b, q, h]
                    out[p, q] += jacobian[a, p, k] * part

    @device
    def add_up(m, sums, at, count):
        for e in range(count):
            sums[at + e] += total(load(m, _SUM + e))

    # -- all spots -----------------------------------------------------------------------------

    @kernel
    def normal(
        lights, jacobian, spots, extent, residual, weight, scale, terms, pairs, equations, scratch
    ):
        m, table, sums = scratch
        plain, windows, integrate = lights.plain, lights.windows, lights.integrate
        stride = table.size // (2 * tables)
        height, width = extent[1], extent[2]
        second = table[tables * stride :]
        square = triangle + size
        edge = square + size * size
        for s in range(spots.size):
            i = spots[s]
            for link in range(pairs.starts[i] - 1, pairs.starts[i + 1]):
                alone = link < pairs.starts[i]
                j = i if alone else pairs.others[link]
                first, count = box_of(windows, i)
                if not alone:
                    other, reach = box_of(windows, j)
                    z, y, x = max(first[0], other[0]), max(first[1], other[1]), first[2]
                    x = max(x, other[2])
                    count = (
                        max(0, min(first[0] + count[0], other[0] + reach[0]) - z),
                        max(0, min(first[1] + count[1], other[1] + reach[1]) - y),
                        max(0, min(first[2] + count[2], other[2] + reach[2]) - x),
                    )
                    first = (z, y, x)
                    prepare(second, stride, plain, j, first, count, integrate)
                prepare(table, stride, plain, i, first, count, integrate)
                across = (count[2] + WIDTH - 1) // WIDTH
                lines = count[0] * count[1] * across
                sums[:] = 0.0
                for start in range(0, lines, BATCH):
                    rows = min(BATCH, lines - start)
                    for r in range(rows):
                        line, k = divmod(start + r, across)
                        k *= WIDTH
                        z, y = divmod(line, count[1])
                        at = ((first[0] + z) * height + first[1] + y) * width + first[2] + k
                        mask = lanes_within(0.0, 0, count[2] - k)
                        w = load_some(weight, at, mask)
                        left = _LEFT + r * (size + 1)
                        right = _RIGHT + r * size
                        derive(m, right, table, stride, plain, i, first, z, y, k, integrate)
                        for c in range(size):
                            store(m, left + c, load(m, right + c) * w)
                        store(m, left + size, load_some(residual, at, mask))
                        if not alone:
                            derive(m, right, second, stride, plain, j, first, z, y, k, integrate)
                        elif terms > 0:
                            phi = _PHI + r * MOST_TERMS
                            put_phi(m, phi, terms, scale, first[0] + z, first[1] + y, first[2] + k)
                    if alone:
                        contract(m, _SUM, _LEFT, size + 1, _RIGHT, size, rows, own)
                        add_up(m, sums, 0, triangle + size)
                        for b in range(terms):
                            contract(m, _SUM, _LEFT, size + 1, _PHI + b, MOST_TERMS, rows, single)
                            add_up(m, sums, edge + b * size, size)
                    else:
                        contract(m, _SUM, _LEFT, size + 1, _RIGHT, size, rows, pair)
                        add_up(m, sums, square, size * size)
                if not alone:
                    shrink(sums, square, jacobian, i, j, equations.pairs[link])
                    continue
                for a in range(size):
                    for b in range(size):
                        sums[square + size * a + b] = sums[packed_symmetric(a, b)]
                shrink(sums, square, jacobian, i, i, equations.diagonal[i])
                at = i if jacobian.shape[0] > 1 else 0
                for p in range(jacobian.shape[1]):
                    equations.gradient[i, p] = 0.0
                    for b in range(terms):
                        equations.border[i, p, b] = 0.0
                    for a in range(size):
                        equations.gradient[i, p] += jacobian[at, p, a] * sums[triangle + a]
                        for b in range(terms):
                            part = jacobian[at, p, a] * sums[edge + b * size + a]
                            equations.border[i, p, b] += part

    return normal
