"""Images deformed by a displacement field, interpolated by quintic B-splines.

Neighbouring pixels go to neighbouring places, so that a register of pixels reads seven lines of
coefficients around them, of which each pixel weighs its own six. Where a field is so steep that
seven are not enough, pixels are read one by one.
"""

from __future__ import annotations

import numpy as np

from .._compile import device, kernel
from ..simd.lanes import absolute, broadcast, floor, load, maximum, minimum, select, store
from ..simd.masked import lane_count, ramp, total
from .quintic_spline import spline_weights

PAD = 4  # coefficients beyond each border


@kernel
def stretch(lines, first, weights, out, begin, end):
    """Rows [begin, end) of cubic B-splines along the last axis.

    Parameters
    ----------
    lines : ndarray (Y, C) float64
        Coefficients.
    first : ndarray (X,) int64
        The first of the four coefficients of each pixel.
    weights : ndarray (X, 4) float64
    out : ndarray (Y, X) float32
    """
    for i in range(begin, end):
        for j in range(first.size):
            k = first[j]
            inner = weights[j, 1] * lines[i, k + 1] + weights[j, 2] * lines[i, k + 2]
            outer = weights[j, 0] * lines[i, k] + weights[j, 3] * lines[i, k + 3]
            out[i, j] = np.float32(inner + outer)


@device
def _one(coefficients, stride, i, j, y, x):
    """The spline at the pixel (i, j) moved by (y, x)."""
    step_y, step_x = floor(y), floor(x)
    wy, wx = spline_weights(y - step_y), spline_weights(x - step_x)
    at = (i + int(step_y) + PAD - 2) * stride + j + int(step_x) + PAD - 2
    value = np.float32(0.0)
    for k in range(6):
        line = np.float32(0.0)
        for m in range(6):
            line += wx[m] * coefficients[at + k * stride + m]
        value += wy[k] * line
    return value


@device
def _near(step, first):
    """The least step of a register, how far beyond it each step is, and whether all by 0 or 1.

    ``first`` is the step of the first pixel.
    """
    least = first
    if total(minimum(step - broadcast(first), broadcast(np.float32(0.0)))) < np.float32(0.0):
        least = first - np.float32(1.0)
    more = step - broadcast(least)
    off = absolute(absolute(more - np.float32(0.5)) - np.float32(0.5))
    return int(least), more, total(off) == np.float32(0.0)


@device
def _seven(weights, more):
    """Weights of seven nodes, of those that begin one later where ``more`` is 1."""
    w0, w1, w2, w3, w4, w5 = weights
    later = more > np.float32(0.5)
    zero = more * np.float32(0.0)
    return (
        select(later, zero, w0), select(later, w0, w1), select(later, w1, w2),
        select(later, w2, w3), select(later, w3, w4), select(later, w4, w5),
        select(later, w5, zero),
    )  # fmt: skip


@device
def _along(c, at, weights):
    """Weighted sum of seven registers, each an element further than the one before."""
    w0, w1, w2, w3, w4, w5, w6 = weights
    inner = load(c, at + 2) * w2 + load(c, at + 3) * w3 + load(c, at + 4) * w4
    outer = load(c, at + 1) * w1 + load(c, at + 5) * w5
    return inner + (outer + (load(c, at) * w0 + load(c, at + 6) * w6))


@device
def _inside(move, at, n):
    """The part of a pixel's way that does not lead out of ``n`` pixels."""
    return min(max(move, np.float32(-at)), np.float32(n - 1 - at))


@device
def _many(coefficients, stride, i, j, y, x, first_y, first_x):
    """The spline at a register of pixels from (i, j) on, moved by (y, x); whether it is that.

    ``first_y`` and ``first_x`` are the steps of the first pixel.
    """
    step_y, step_x = floor(y), floor(x)
    least_y, more_y, near_y = _near(step_y, first_y)
    least_x, more_x, near_x = _near(step_x, first_x)
    if not (near_y and near_x):
        return y, False
    wx = _seven(spline_weights(x - step_x), more_x)
    w0, w1, w2, w3, w4, w5, w6 = _seven(spline_weights(y - step_y), more_y)
    at = (i + least_y + PAD - 2) * stride + j + least_x + PAD - 2
    value = w0 * _along(coefficients, at, wx) + w1 * _along(coefficients, at + stride, wx)
    value = value + w2 * _along(coefficients, at + 2 * stride, wx)
    value = value + w3 * _along(coefficients, at + 3 * stride, wx)
    value = value + w4 * _along(coefficients, at + 4 * stride, wx)
    value = value + w5 * _along(coefficients, at + 5 * stride, wx)
    return value + w6 * _along(coefficients, at + 6 * stride, wx), True


@kernel
def deform(coefficients, shape, dy, dx, share, out, begin, end):
    """Rows [begin, end) of the image at the pixels + ``share`` times a displacement.

    Places beyond the border are moved to the border.

    Parameters
    ----------
    coefficients : ndarray ((Y + 2 PAD) * (X + 2 PAD),) float32
    shape : tuple
        Y, X.
    dy, dx : ndarray (Y * X,) float32
        Displacement of every pixel.
    share : float
    out : ndarray (Y * X,) float32
    """
    rows, columns = shape
    stride = columns + 2 * PAD
    lanes = lane_count(out)
    part = np.float32(share)
    for i in range(begin, end):
        up, down = broadcast(np.float32(-i)), broadcast(np.float32(rows - 1 - i))
        for start in range(0, columns, lanes):
            j = max(min(start, columns - lanes), 0)  # the last register may overlap
            at = i * columns + j
            done = False
            if columns >= lanes:
                left = broadcast(np.float32(0.0)) - ramp(np.float32(j))
                y = minimum(maximum(load(dy, at) * part, up), down)
                x = minimum(maximum(load(dx, at) * part, left), left + np.float32(columns - 1))
                first_y = floor(_inside(dy[at] * part, i, rows))
                first_x = floor(_inside(dx[at] * part, j, columns))
                value, done = _many(coefficients, stride, i, j, y, x, first_y, first_x)
                if done:
                    store(out, at, value)
            if not done:
                for k in range(min(lanes, columns)):
                    y_one = _inside(dy[at + k] * part, i, rows)
                    x_one = _inside(dx[at + k] * part, j + k, columns)
                    out[at + k] = _one(coefficients, stride, i, j + k, y_one, x_one)
