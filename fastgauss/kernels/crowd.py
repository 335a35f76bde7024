"""Spots whose light overlaps, in one image: model, residuals, normal equations.

The image is  m = background + sum over spots i of a_i f_i,  each f_i counted on a *window*, a box
of pixels outside which its light is nothing beside the noise. A pixel that takes part has an
*owner*, the spot nearest to it among those whose fitted box covers it; owners are what sums over
pixels are split by, so that every pixel counts once.

With C_i the derivatives of spot i by its parameters, as columns over the pixels, W the weights
and r the weighted residuals of the estimator (``estimators``), Gauss-Newton needs

    g_i = C_i' r,   H_ii = C_i' W C_i,   H_ij = C_i' W C_j

for spots whose windows share pixels; no matrix of the image's size appears. Columns are formed
for a few rows of pixels at a time, a register holding pixels along x, and multiplied with all
entries of a block in registers (``contract``). Profiles are separable products (``products``), or
turned: with P the sigma matrix and d the distance from the centre,

    u = P**-1 d,  q = P**-1 u,  f = exp(-u'u / 2),  df = f (q' d(centre) + q' dP u),

the mean over a pixel being a sum over Gauss-Legendre points.

The parameters of a fit move these columns by a *lever*, one matrix (p, k) a spot or for all: one
for two sigmas that are the same, a fixed angle, and so on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from ._compile import device, kernel
from .fit.estimators import ESTIMATORS
from .models import profiles
from .models.axis_tables import make_fill
from .numeric.contraction import CROSS, DENSE, contract
from .numeric.packed_cholesky import packed_size
from .numeric.special import exp_flushed
from .results.pixel_owners import box_of
from .simd.lane_types import WIDTH
from .simd.lanes import broadcast, load, maximum, select, store
from .simd.masked import lanes_within, load_some, ramp, store_some, total

BATCH = 32  # registers of pixels whose columns are in memory at a time
MOST_COLUMNS = 7
MOST_TERMS = 4  # of the background: 1, x, y, z

_LEFT = 0  # weighted columns, then the weighted residual
_RIGHT = _LEFT + BATCH * (MOST_COLUMNS + 1)
_PHI = _RIGHT + BATCH * MOST_COLUMNS
_SUM = _PHI + BATCH * MOST_TERMS
SCRATCH_ROWS = _SUM + MOST_COLUMNS * MOST_COLUMNS
SUMS = 2 * MOST_COLUMNS * MOST_COLUMNS + MOST_COLUMNS * MOST_TERMS

_loss_squares = ESTIMATORS["residual"].terms
_loss_counts = ESTIMATORS["camera"].terms


class Light(NamedTuple):
    """How the light of a kind of spot is computed."""

    columns: int  # derivatives by amplitude, centre and widths
    prepare: Callable  # tables of a spot for a box of pixels
    values: Callable  # a f
    derive: Callable  # the columns, to lane rows


def _make_separable(axes: int) -> Light:
    fill = make_fill(3, False)
    wide = axes + 1  # where the sigmas begin

    @device
    def prepare(table, stride, plain, i, first, count, integrate):
        if axes == 3:
            fill(table, 0, stride, first[0], count[0], plain[i, 3], plain[i, wide + 2], integrate)
        y, x = 3 * stride, 6 * stride
        fill(table, y, stride, first[1], count[1], plain[i, 2], plain[i, wide + 1], integrate)
        fill(table, x, stride, first[2], count[2], plain[i, 1], plain[i, wide], integrate)

    @device
    def values(table, stride, plain, i, first, z, y, k, integrate):
        across = table[3 * stride + y] * plain[i, 0]
        if axes == 3:
            across *= table[z]
        return load(table, 6 * stride + k) * across

    @device
    def derive(m, row, table, stride, plain, i, first, z, y, k, integrate):
        f = load(table, 6 * stride + k)
        slope = load(table, 7 * stride + k)
        growth = load(table, 8 * stride + k)
        outer = table[z] if axes == 3 else 1.0
        f_y = table[3 * stride + y] * outer
        amplitude = plain[i, 0]
        store(m, row, f * f_y)
        store(m, row + 1, slope * (f_y * amplitude))
        store(m, row + 2, f * (table[4 * stride + y] * outer * amplitude))
        store(m, row + wide, growth * (f_y * amplitude))
        store(m, row + wide + 1, f * (table[5 * stride + y] * outer * amplitude))
        if axes == 3:
            across = table[3 * stride + y] * amplitude
            store(m, row + 3, f * (table[stride + z] * across))
            store(m, row + wide + 2, f * (table[2 * stride + z] * across))

    return Light(2 * axes + 1, prepare, values, derive)


def _make_turned() -> Light:
    @device
    def prepare(table, stride, plain, i, first, count, integrate):
        xx, yy, xy = plain[i, 3], plain[i, 4], plain[i, 5]
        inverse = 1.0 / (xx * yy - xy * xy)
        table[0], table[1], table[2] = yy * inverse, xx * inverse, -xy * inverse

    @device
    def at_point(table, plain, i, dx, dy):
        u = dx * table[0] + dy * table[2]
        v = dx * table[2] + dy * table[1]
        return u, v, exp_flushed((u * u + v * v) * -0.5)

    @device
    def values(table, stride, plain, i, first, z, y, k, integrate):
        dx = ramp(float(first[2] + k)) - plain[i, 1]
        dy = float(first[1] + y) - plain[i, 2]
        if not integrate:
            return at_point(table, plain, i, dx, dy)[2] * plain[i, 0]
        mean = broadcast(0.0)
        for n in range(profiles.POINTS * profiles.POINTS):
            to_x, to_y = profiles.NODES[n % profiles.POINTS], profiles.NODES[n // profiles.POINTS]
            weight = profiles.WEIGHTS[n % profiles.POINTS] * profiles.WEIGHTS[n // profiles.POINTS]
            mean = mean + at_point(table, plain, i, dx + to_x, dy + to_y)[2] * weight
        return mean * plain[i, 0]

    @device
    def derive(m, row, table, stride, plain, i, first, z, y, k, integrate):
        dx = ramp(float(first[2] + k)) - plain[i, 1]
        dy = float(first[1] + y) - plain[i, 2]
        f = broadcast(0.0)
        by_x, by_y, by_xx, by_yy, by_xy = f, f, f, f, f
        points = profiles.POINTS if integrate else 1
        for n in range(points * points):
            weight, px, py = 1.0, dx, dy
            if integrate:
                px = dx + profiles.NODES[n % profiles.POINTS]
                py = dy + profiles.NODES[n // profiles.POINTS]
                weight *= profiles.WEIGHTS[n % profiles.POINTS]
                weight *= profiles.WEIGHTS[n // profiles.POINTS]
            u, v, g = at_point(table, plain, i, px, py)
            q = u * table[0] + v * table[2]
            s = u * table[2] + v * table[1]
            g = g * weight
            f = f + g
            by_x = by_x + g * q
            by_y = by_y + g * s
            by_xx = by_xx + g * (q * u)
            by_yy = by_yy + g * (s * v)
            by_xy = by_xy + g * (q * v + s * u)
        amplitude = plain[i, 0]
        store(m, row, f)
        store(m, row + 1, by_x * amplitude)
        store(m, row + 2, by_y * amplitude)
        store(m, row + 3, by_xx * amplitude)
        store(m, row + 4, by_yy * amplitude)
        store(m, row + 5, by_xy * amplitude)

    return Light(6, prepare, values, derive)


LIGHTS = {"plane": _make_separable(2), "volume": _make_separable(3), "turned": _make_turned()}


@cache
def make_paint(kind: str) -> Callable:
    """The kernel that makes the light of some spots anew, in the image rows [low, high)."""
    light = LIGHTS[kind]
    prepare, values = light.prepare, light.values

    @kernel
    def paint(plain, windows, spots, integrate, ground, model, extent, low, high, table):
        stride = table.size // 9
        height, width = extent[1], extent[2]
        for over in range(2):  # first the ground, then the light on it
            for s in range(spots.size):
                i = spots[s]
                first, count = box_of(windows, i)
                if over:
                    prepare(table, stride, plain, i, first, count, integrate)
                for z in range(count[0]):
                    row = (first[0] + z) * height + first[1]
                    begin, end = max(low - row, 0), min(high - row, count[1])
                    for y in range(begin, end):
                        at = (row + y) * width + first[2]
                        for k in range(0, count[2], WIDTH):
                            mask = lanes_within(0.0, 0, count[2] - k)
                            if over:
                                value = load_some(model, at + k, mask)
                                value = value + values(
                                    table, stride, plain, i, first, z, y, k, integrate
                                )
                            elif ground.size > 1:
                                value = load_some(ground, at + k, mask)
                            else:
                                value = broadcast(0.0)
                            store_some(model, at + k, value, mask)

    return paint


@cache
def make_normal(kind: str) -> Callable:
    """The kernel of gradients, diagonal blocks, blocks of pairs and those with the background."""
    light = LIGHTS[kind]
    size, prepare, derive = light.columns, light.prepare, light.derive
    triangle = packed_size(size)
    own, pair, single = DENSE + size, CROSS + 100 * size + size, CROSS + 100 * size + 1

    @device
    def background(m, row, terms, scale, z, y, x):
        """1, x, y and z of pixels, within -1 and 1 over the image."""
        store(m, row, broadcast(1.0))
        if terms > 1:
            store(m, row + 1, (ramp(float(x)) - scale[2]) * scale[5])
            store(m, row + 2, broadcast((float(y) - scale[1]) * scale[4]))
            store(m, row + 3, broadcast((float(z) - scale[0]) * scale[3]))

    @device
    def shrink(sums, at, lever, i, j, out):
        """out = lever_i block lever_j', the block (k, k) at ``at`` of the sums."""
        a, b = (i, j) if lever.shape[0] > 1 else (0, 0)
        for p in range(out.shape[0]):
            for q in range(out.shape[1]):
                out[p, q] = 0.0
            for k in range(size):
                if lever[a, p, k] == 0.0:
                    continue
                for q in range(out.shape[1]):
                    part = 0.0
                    for h in range(size):
                        part += sums[at + size * k + h] * lever[b, q, h]
                    out[p, q] += lever[a, p, k] * part

    @device
    def add_up(m, sums, at, count):
        for e in range(count):
            sums[at + e] += total(load(m, _SUM + e))

    @kernel
    def normal(
        plain, lever, windows, spots, integrate, residual, weight, extent, scale, terms,
        pair_starts, others, gradient, diagonal, border, blocks, m, table, sums,
    ):  # fmt: skip
        stride = table.size // 18
        height, width = extent[1], extent[2]
        second = table[9 * stride :]
        square = triangle + size
        edge = square + size * size
        for s in range(spots.size):
            i = spots[s]
            for link in range(pair_starts[i] - 1, pair_starts[i + 1]):
                alone = link < pair_starts[i]
                j = i if alone else others[link]
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
                            background(
                                m, phi, terms, scale, first[0] + z, first[1] + y, first[2] + k
                            )
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
                    shrink(sums, square, lever, i, j, blocks[link])
                    continue
                for a in range(size):
                    for b in range(size):
                        high, low = max(a, b), min(a, b)
                        sums[square + size * a + b] = sums[high * (high + 1) // 2 + low]
                shrink(sums, square, lever, i, i, diagonal[i])
                at = i if lever.shape[0] > 1 else 0
                for p in range(lever.shape[1]):
                    gradient[i, p] = 0.0
                    for b in range(terms):
                        border[i, p, b] = 0.0
                    for a in range(size):
                        gradient[i, p] += lever[at, p, a] * sums[triangle + a]
                        for b in range(terms):
                            border[i, p, b] += lever[at, p, a] * sums[edge + b * size + a]

    return normal


@kernel
def measure(
    boxes, spots, owner, own, counts, data, second, model, extent, scale, coefficients,
    groups, residual, weight, sums, m,
):  # fmt: skip
    """Residuals and weights of pixels at the model, and their sums over each spot's pixels.

    With ``own`` over the pixels that a spot owns, whose residual and weight are written: sums[i]
    holds the loss, the pixels, then for the terms of the background the sums of r phi and the
    packed ones of w phi phi. Without it over all that exist in its box, of the first two alone.
    """
    height, width = extent[1], extent[2]
    terms = coefficients.shape[1]
    for s in range(spots.size):
        i = spots[s]
        first, count = box_of(boxes, i)
        loss = broadcast(0.0)
        number = broadcast(0.0)
        for e in range(MOST_TERMS * (MOST_TERMS + 3) // 2):
            store(m, 8 + e, broadcast(0.0))
        for z in range(count[0]):
            for y in range(count[1]):
                at = ((first[0] + z) * height + first[1] + y) * width + first[2]
                for k in range(0, count[2], WIDTH):
                    mask = lanes_within(0.0, 0, count[2] - k)
                    who = load_some(owner, at + k, mask)
                    mask = mask & (who == float(i)) if own else mask & (who >= 0.0)
                    store(m, 4, broadcast(1.0))
                    if terms > 1:
                        x = ramp(float(first[2] + k))
                        store(m, 5, (x - scale[2]) * scale[5])
                        store(m, 6, broadcast((float(first[1] + y) - scale[1]) * scale[4]))
                        store(m, 7, broadcast((float(first[0] + z) - scale[0]) * scale[3]))
                    value = load_some(model, at + k, mask)
                    for b in range(terms):
                        value = value + load(m, 4 + b) * coefficients[groups[i], b]
                    d = load_some(data, at + k, mask)
                    v = load_some(second, at + k, mask) if second.size > 1 else broadcast(second[0])
                    if counts:
                        store(m, 0, maximum(d + v, 0.0))
                        store(m, 1, v)
                        w, r, part = _loss_counts(m, 0, 1, 0, value)
                    else:
                        store(m, 0, d)
                        store(m, 1, v)
                        w, r, part = _loss_squares(m, 0, 1, 0, value)
                    loss = loss + select(mask, part, 0.0)
                    number = number + select(mask, broadcast(1.0), 0.0)
                    if not own:
                        continue
                    store_some(residual, at + k, r, mask)
                    store_some(weight, at + k, w, mask)
                    r = select(mask, r, 0.0)
                    w = select(mask, w, 0.0)
                    e = 8 + terms
                    for b in range(terms):
                        phi = load(m, 4 + b)
                        store(m, 8 + b, load(m, 8 + b) + r * phi)
                        weighted = w * phi
                        for c in range(b + 1):
                            store(m, e, load(m, e) + weighted * load(m, 4 + c))
                            e += 1
        sums[i, 0] = total(loss)
        sums[i, 1] = total(number)
        if own:
            for e in range(terms * (terms + 3) // 2):
                sums[i, 2 + e] = total(load(m, 8 + e))
