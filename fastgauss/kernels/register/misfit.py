"""Whether all parts of two registered images want the same displacement.

With the residual r = A - g B - o and the derivatives A_x, A_y, the sums of A_x r and A_y r vanish
at the displacement that fits best: they are the score. If a part of the images does not move as
the rest, its products have one sign, and those of the rest the other. Two sums tell, each by its
standard deviation where all moves together:

1. Blocks are added in the order of the strength of their gradients, strongest first; what rests
   and draws a displacement is strong. The sum on the way is that of a Brownian bridge.
2. The means of r and of the gradient in each block make one sum, what is left in the blocks
   another; the shade of a lens is smooth.

Neither needs the noise of the images, which a pattern with sharp edges hides: r tells it.
"""

from __future__ import annotations

import numpy as np

from .._compile import device, kernel
from ..simd.lanes import broadcast, floor, load, select, store
from ..simd.masked import lane_count, lanes_within
from .quintic_spline import spline_weights, weigh_six
from .window_columns import ROOM, stride_of

SIDE = 8  # pixels of a block along each axis
BINS = 256  # of strength, for `imbalance`
_OCTAVE, _WEAKEST = 4, -40.0  # bins of an octave, and where they begin
_FEWEST = 9  # blocks
_SHARED = 0.25  # of the noise of a block, that all blocks tell
_LEAST = 0.02  # of the variance of a path: what it may be off at its ends
_SLIGHT = 0.05  # pixels between displacements of parts, as splines make them at sharp edges
_WIDE = 0.5, 60.0  # times that the variance may be what it is without any correlation

COUNT, REST, SQUARE, X, Y, X_REST, Y_REST, XX, YY = range(9)
SUMS = 9


def make_lines(columns: int) -> np.ndarray:
    """Scratch for images of so many columns."""
    stride = stride_of(columns)
    return np.zeros(SIDE * (stride + ROOM) + SUMS * stride + ROOM, dtype=np.float32)


@device
def _range(n, move):
    """Pixels whose splines lie in both images, along an axis."""
    return max(2, 4 - move), min(n - 3, n - 5 - move)


@device
def _weigh_rows(views, top, bottom, at, stride, weights, lines):
    """Rows of the second image between its columns of nodes."""
    for y in range(top, bottom):
        begin = (y - top) * (stride + ROOM)
        for x in range(0, stride + 6, lane_count(lines)):
            row = at + y * views.columns + x
            store(lines, begin + x, weigh_six(views.b, row, views.columns, weights))


@device
def _sum_columns(views, top, bottom, span, there, weights, line, stride, lines, first):
    """Sums over the rows of a band, column by column, from ``first`` on in ``lines``."""
    lanes, pitch = lane_count(lines), stride + ROOM
    none, one = broadcast(np.float32(0.0)), broadcast(np.float32(1.0))
    gain, offset = np.float32(line[0]), np.float32(line[1])
    for x in range(0, stride, lanes):
        within = lanes_within(np.float32(0.0), span[0] - x, span[1] - x)
        count, rest, square, sx, sy, xr, yr = none, none, none, none, none, none, none
        xx, yy = none, none
        for y in range(top, bottom):
            at = y * views.columns + x
            exist = load(views.precision_a, at) > none
            exist = exist & (load(views.precision_b, at + there) > none) & within
            b = weigh_six(lines, (y - top) * pitch + x, 1, weights)
            r = select(exist, load(views.value, at) - b * gain - offset, none)
            ax = select(exist, load(views.slope_x, at), none)
            ay = select(exist, load(views.slope_y, at), none)
            count, rest, square = count + select(exist, one, none), rest + r, square + r * r
            sx, sy, xr, yr = sx + ax, sy + ay, xr + ax * r, yr + ay * r
            xx, yy = xx + ax * ax, yy + ay * ay
        at = first + x
        store(lines, at + COUNT * stride, count)
        store(lines, at + REST * stride, rest)
        store(lines, at + SQUARE * stride, square)
        store(lines, at + X * stride, sx)
        store(lines, at + Y * stride, sy)
        store(lines, at + X_REST * stride, xr)
        store(lines, at + Y_REST * stride, yr)
        store(lines, at + XX * stride, xx)
        store(lines, at + YY * stride, yy)


@kernel
def block_sums(views, move, line, step, lines, out):
    """Sums over blocks of pixels that exist in both images.

    Parameters
    ----------
    views : Views
    move : tuple
        dx, dy of the second image.
    line : tuple
        gain g, offset o.
    step : int
        Every ``step``-th row of blocks is looked at.
    lines : ndarray
        `make_lines` of as many columns.
    out : ndarray (SUMS, rows / (SIDE step), columns / SIDE) float32
        Rounded up. Pixels, and sums of r, r^2, A_x, A_y, A_x r, A_y r, A_x^2, A_y^2.
    """
    dx, dy = move
    step_x, step_y = int(floor(dx)), int(floor(dy))
    wx, wy = spline_weights(float(dx - step_x)), spline_weights(float(dy - step_y))
    move_x, move_y = int(floor(dx + 0.5)), int(floor(dy + 0.5))
    low, high = _range(views.rows, move_y)
    span = _range(views.columns, move_x)
    stride = -(-views.columns // 16) * 16
    at = (step_y - 2) * views.columns + step_x - 2
    there = move_y * views.columns + move_x
    first = SIDE * (stride + ROOM)
    for i in range(out.shape[1]):
        band = i * step * SIDE
        top, bottom = max(low, band), min(high, band + SIDE)
        if top >= bottom:
            out[:, i] = np.float32(0.0)
            continue
        _weigh_rows(views, top, bottom, at, stride, wy, lines)
        _sum_columns(views, top, bottom, span, there, wx, line, stride, lines, first)
        for q in range(SUMS):
            for j in range(out.shape[2]):
                begin = first + q * stride + j * SIDE
                total = np.float32(0.0)
                for k in range(begin, begin + SIDE):
                    total += lines[k]
                out[q, i, j] = total


@device
def _parts(sums, k, axis, mean, noise):
    """Score and energy of a block, of them what its means make, and its noise."""
    count, rest = sums[COUNT, k], sums[REST, k]
    slope = sums[X + axis, k]
    away = slope / count - mean
    score = sums[X_REST + axis, k] - mean * rest
    energy = sums[XX + axis, k] - mean * (2.0 * slope - mean * count)
    shared = _SHARED * SIDE * SIDE
    own_noise = (sums[SQUARE, k] + shared * noise) / (count + shared)
    return score, max(energy, 0.0), away * rest, count * away * away, own_noise


@device
def _off_its_way(paths, axis, score, total, wide, slight):
    """The most by which a path is off a straight one, in standard deviations.

    Parts that differ by less than ``slight`` of the slope of the whole score do not count.
    """
    worst = done = variance = 0.0
    for b in range(BINS - 1, -1, -1):
        done += paths[axis, 0, b]
        variance += paths[axis, 1, b]
        share = variance / total
        if paths[axis, 1, b] > 0.0 and share < 1.0 - 1e-6:
            off, both = abs(done - share * score), share * (1.0 - share)
            if off > slight * both:
                worst = max(worst, off / np.sqrt(max(both, _LEAST)))
    return worst / np.sqrt(total * wide)


@kernel
def imbalance(sums, least, likeness, variances, share, paths, out):
    """Standard deviations by which parts want other displacements.

    Parameters
    ----------
    sums : ndarray (SUMS, n)
        `block_sums`.
    least : float
        Pixels that a block has at least, to count.
    likeness : float
        The correlation of the gradients of both images.
    variances : tuple
        Of dx and dy.
    share : float
        The variance of the mean of a block's noise by that of a pixel's, times its pixels.
    paths : ndarray (2, 2, BINS)
        Scratch.
    out : ndarray (2,)
        Of strong gradients and others, of smooth ones and others.
    """
    blocks = 0
    pixels = noise = sum_x = sum_y = 0.0
    for k in range(sums.shape[1]):
        if sums[COUNT, k] >= least:
            blocks += 1
            pixels += sums[COUNT, k]
            noise += sums[SQUARE, k]
            sum_x += sums[X, k]
            sum_y += sums[Y, k]
    out[0] = out[1] = 0.0
    if blocks < _FEWEST or not noise > 0.0:
        return
    noise /= pixels
    paths[:] = 0.0
    for axis in range(2):
        mean = (sum_x if axis == 0 else sum_y) / pixels
        score = energy = variance = smooth = of_smooth = of_rest = 0.0
        for k in range(sums.shape[1]):
            if sums[COUNT, k] >= least:
                g, e, g_smooth, e_smooth, own = _parts(sums, k, axis, mean, noise)
                strength = (sums[XX, k] + sums[YY, k]) / sums[COUNT, k]
                at = _OCTAVE * (np.log2(max(strength, 1e-30)) - _WEAKEST)
                at = int(min(max(at, 0.0), BINS - 1.0))
                paths[axis, 0, at] += g
                paths[axis, 1, at] += e * own
                score += g
                energy += e
                variance += e * own
                smooth += g_smooth
                of_smooth += e_smooth * own
                of_rest += max(e - e_smooth, 0.0) * own
        if not variance > 0.0:
            continue
        # noise is smooth, and products are correlated
        slope = likeness * energy
        wide = variances[axis] * slope * slope / variance
        wide = min(max(wide, _WIDE[0]), _WIDE[1])
        out[0] = max(out[0], _off_its_way(paths, axis, score, variance, wide, _SLIGHT * slope))
        one, two = of_smooth * share, of_rest * wide
        if one > 0.0 and two > 0.0:
            off = abs(smooth * two - (score - smooth) * one)
            if off > _SLIGHT * slope * one * two / (one + two):
                out[1] = max(out[1], off / np.sqrt(one * two * (one + two)))
