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

from .._compile import kernel
from ..fit.estimators import ESTIMATORS
from ..results.pixel_owners import box_of
from ..simd.lane_types import WIDTH
from ..simd.lanes import broadcast, load, maximum, select, store
from ..simd.masked import lanes_within, load_some, ramp, store_some, total
from .spot_profiles import LIGHTS

MOST_TERMS = 4  # of the background: 1, x, y, z

_loss_squares = ESTIMATORS["residual"].terms
_loss_counts = ESTIMATORS["camera"].terms


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
