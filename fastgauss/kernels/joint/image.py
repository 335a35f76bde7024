"""Spots whose light overlaps, in one image: model, residuals, normal equations.

The image is  m = background + sum over spots i of a_i f_i.  The light f_i of a spot is counted in
its *window*, a box of pixels; outside the window the light is negligible beside the noise. Each
fitted pixel has an *owner*: the nearest spot among those whose fitted box covers the pixel. Sums
over pixels are sums over the pixels of each owner, so that every pixel counts once.

With C_i the derivatives of spot i by its parameters, as columns over the pixels, W the weights
and r the weighted residuals of the estimator (``estimators``), Gauss-Newton needs

    g_i = C_i' r,   H_ii = C_i' W C_i,   H_ij = C_i' W C_j

for spots whose windows share pixels. No matrix of the size of the image is formed. Columns are
formed for a few rows of pixels at a time, a register holding pixels along x, and multiplied with
all entries of a block in registers (``contract``). Profiles are separable products (``products``),
or turned: with P the sigma matrix and d the distance from the centre,

    u = P**-1 d,  q = P**-1 u,  f = exp(-u'u / 2),  df = f (q' d(centre) + q' dP u),

the mean over a pixel being a sum over Gauss-Legendre points. The light of a star is a sum of such
components, which share one place (``kernels/fit/psf_light.py``).

The *Jacobian*, a matrix (p, k) for each spot or one for all spots, holds the derivatives of these k
numbers of a spot by the p parameters of the fit. So two sigmas can be one parameter, an angle can
be fixed, and so on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from .._compile import device, kernel
from ..fit.estimators import ESTIMATORS, make_terms
from ..models.spot_profiles import Light
from ..numeric.packed_cholesky import packed_size
from ..results.pixel_owners import box_of
from ..simd.lane_types import WIDTH
from ..simd.lanes import broadcast, load, maximum, select, store
from ..simd.masked import lanes_within, load_some, ramp, store_some, total

MOST_TERMS = 4  # of the background: 1, x, y, z
LOSS, PIXELS, TERMS = 0, 1, 2  # columns of ``measure``'s sums

_DATUM, _SECOND, _PHI = 0, 1, 2  # lane rows of ``measure``'s scratch
_SUMS = _PHI + MOST_TERMS
MEASURE_ROWS = _SUMS + MOST_TERMS + packed_size(MOST_TERMS)

_loss_squares = make_terms(ESTIMATORS["residual"])
_loss_counts = make_terms(ESTIMATORS["camera"])


@cache
def make_paint(light: Light) -> Callable:
    """The kernel that makes the light of some spots anew, in the image rows [low, high)."""
    prepare, values, tables = light.prepare, light.values, light.tables

    @kernel
    def paint(lights, spots, known, extent, model, low, high, table):
        stride = table.size // tables
        height, width = extent[1], extent[2]
        for over in range(2):  # first the known background, then the light on it
            for s in range(spots.size):
                i = spots[s]
                first, count = box_of(lights.windows, i)
                if over:
                    prepare(table, stride, lights.plain, i, first, count, lights.integrate)
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
                                    table, stride, lights.plain, i, first, z, y, k,
                                    lights.integrate,
                                )  # fmt: skip
                            elif known.size > 1:
                                value = load_some(known, at + k, mask)
                            else:
                                value = broadcast(0.0)
                            store_some(model, at + k, value, mask)

    return paint


@device
def put_phi(m, row, count, scale, z, y, x):
    """The terms 1, x, y and z of the background at pixels along x, to lane rows."""
    store(m, row, broadcast(1.0))
    if count > 1:
        store(m, row + 1, (ramp(float(x)) - scale[2]) * scale[5])
        store(m, row + 2, broadcast((float(y) - scale[1]) * scale[4]))
        store(m, row + 3, broadcast((float(z) - scale[0]) * scale[3]))


@device
def _judge(m, d, v, counts, value):
    """Weight, weighted residual and loss of pixels; the data go to lane rows."""
    store(m, _DATUM, maximum(d + v, 0.0) if counts else d)
    store(m, _SECOND, v)
    if counts:
        return _loss_counts(m, _DATUM, 1, 0, value)
    return _loss_squares(m, _DATUM, 1, 0, value)


@kernel
def measure(boxes, spots, own, counts, pixels, fitted, background, sums, m):
    """Residuals and weights of pixels at the model, and their sums over each spot's pixels.

    With ``own`` the sums are over the pixels that a spot owns, and the kernel writes the residual
    and the weight of these pixels: sums[i] holds ``LOSS``, ``PIXELS``, then for the terms of the
    background the sums of r phi and the packed sums of w phi phi. Without ``own`` the sums are over
    all existing pixels of the box, and only ``LOSS`` and ``PIXELS`` are formed.
    """
    height, width = pixels.extent[1], pixels.extent[2]
    terms = background.terms.shape[1]
    second = pixels.second
    for s in range(spots.size):
        i = spots[s]
        first, count = box_of(boxes, i)
        loss = broadcast(0.0)
        number = broadcast(0.0)
        for e in range(MOST_TERMS + packed_size(MOST_TERMS)):
            store(m, _SUMS + e, broadcast(0.0))
        for z in range(count[0]):
            for y in range(count[1]):
                at = ((first[0] + z) * height + first[1] + y) * width + first[2]
                for k in range(0, count[2], WIDTH):
                    mask = lanes_within(0.0, 0, count[2] - k)
                    who = load_some(pixels.owner, at + k, mask)
                    mask = mask & (who == float(i)) if own else mask & (who >= 0.0)
                    put_phi(
                        m, _PHI, terms, background.scale, first[0] + z, first[1] + y, first[2] + k
                    )
                    value = load_some(fitted.model, at + k, mask)
                    for b in range(terms):
                        value = (
                            value + load(m, _PHI + b) * background.terms[background.groups[i], b]
                        )
                    d = load_some(pixels.data, at + k, mask)
                    v = load_some(second, at + k, mask) if second.size > 1 else broadcast(second[0])
                    w, r, part = _judge(m, d, v, counts, value)
                    loss = loss + select(mask, part, 0.0)
                    number = number + select(mask, broadcast(1.0), 0.0)
                    if not own:
                        continue
                    store_some(fitted.residual, at + k, r, mask)
                    store_some(fitted.weight, at + k, w, mask)
                    r = select(mask, r, 0.0)
                    w = select(mask, w, 0.0)
                    e = _SUMS + terms
                    for b in range(terms):
                        phi = load(m, _PHI + b)
                        store(m, _SUMS + b, load(m, _SUMS + b) + r * phi)
                        weighted = w * phi
                        for c in range(b + 1):
                            store(m, e, load(m, e) + weighted * load(m, _PHI + c))
                            e += 1
        sums[i, LOSS] = total(loss)
        sums[i, PIXELS] = total(number)
        if own:
            for e in range(terms + packed_size(terms)):
                sums[i, TERMS + e] = total(load(m, _SUMS + e))


def _each_owned(body: Callable) -> Callable:
    """The kernel that calls ``body(given, out, x)`` for the pixels x that some spots own."""

    @kernel
    def each(boxes, spots, owner, extent, given, out):
        height, width = extent[1], extent[2]
        for s in range(spots.size):
            i = spots[s]
            first, count = box_of(boxes, i)
            for z in range(count[0]):
                for y in range(count[1]):
                    at = ((first[0] + z) * height + first[1] + y) * width + first[2]
                    for x in range(at, at + count[2]):
                        if owner[x] == i:
                            body(given, out, x)

    return each


@device
def _bend(given, out, x):
    plus, model, minus, weight, factor = given
    both = (plus[x] - model[x]) + (minus[x] - model[x])
    out[x] = weight[x] * both * factor


@device
def _observe(fitted, out, x):
    out[x] = fitted.weight[x] * (1.0 + fitted.residual[x])


@device
def _keep(trial, fitted, x):
    fitted.model[x] = trial.model[x]
    fitted.residual[x] = trial.residual[x]
    fitted.weight[x] = trial.weight[x]


bend = _each_owned(_bend)  # w (plus - 2 model + minus) factor
observe = _each_owned(_observe)  # w (1 + r): for counts d at the model m, d / m**2
keep = _each_owned(_keep)  # model, residual and weight of a trial


@cache
def make_gain(light: Light) -> Callable:
    """The kernel that tells what the own move of each cluster is worth, for some of them.

    The move led to ``after``, and the model is that of all moves. The gain of a cluster is by how
    much the loss would be larger if it had stayed at ``before`` while all others moved.
    ``clusters`` are the first spots (k + 1,) and the boxes (k, 6) of all clusters, ``scratch``
    room for a box, a table of profiles and lane rows.
    """
    prepare, values, tables = light.prepare, light.values, light.tables

    @device
    def add(box, corner, reach, lights, i, sign, table):
        stride = table.size // tables
        first, count = box_of(lights.windows, i)
        prepare(table, stride, lights.plain, i, first, count, lights.integrate)
        for z in range(count[0]):
            for y in range(count[1]):
                at = (first[0] + z - corner[0]) * reach[1] + first[1] + y - corner[1]
                at = at * reach[2] + first[2] - corner[2]
                for k in range(0, count[2], WIDTH):
                    mask = lanes_within(0.0, 0, count[2] - k)
                    value = values(table, stride, lights.plain, i, first, z, y, k, lights.integrate)
                    store_some(box, at + k, load_some(box, at + k, mask) + value * sign, mask)

    @kernel
    def gain(some, clusters, before, after, counts, pixels, model, background, gains, scratch):
        spots, boxes = clusters
        box, table, m = scratch
        height, width = pixels.extent[1], pixels.extent[2]
        terms = background.terms.shape[1]
        second = pixels.second
        for s in range(some.size):
            c = some[s]
            corner, reach = box_of(boxes, c)
            box[: reach[0] * reach[1] * reach[2]] = 0.0
            low, high = spots[c], spots[c + 1]
            for i in range(low, high):
                add(box, corner, reach, after, i, 1.0, table)
                add(box, corner, reach, before, i, -1.0, table)
            group = background.groups[low]
            more = broadcast(0.0)
            for z in range(reach[0]):
                for y in range(reach[1]):
                    inner = (z * reach[1] + y) * reach[2]
                    at = ((corner[0] + z) * height + corner[1] + y) * width + corner[2]
                    for k in range(0, reach[2], WIDTH):
                        mask = lanes_within(0.0, 0, reach[2] - k)
                        mask = mask & (load_some(pixels.owner, at + k, mask) >= 0.0)
                        put_phi(
                            m, _PHI, terms, background.scale, corner[0] + z, corner[1] + y,
                            corner[2] + k,
                        )  # fmt: skip
                        value = load_some(model, at + k, mask)
                        for b in range(terms):
                            value = value + load(m, _PHI + b) * background.terms[group, b]
                        d = load_some(pixels.data, at + k, mask)
                        v = broadcast(second[0])
                        if second.size > 1:
                            v = load_some(second, at + k, mask)
                        _, _, now = _judge(m, d, v, counts, value)
                        value = value - load_some(box, inner + k, mask)
                        _, _, then = _judge(m, d, v, counts, value)
                        more = more + select(mask, then - now, 0.0)
            gains[c] = total(more)

    return gain
