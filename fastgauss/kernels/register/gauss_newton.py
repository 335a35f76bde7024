"""Displacement of windows between two images: the Gauss-Newton refinement and its covariance.

Two images a and b show one scene, b displaced by d and both with noise of their own. Each is a
quintic B-spline: of coefficients that a low-pass filter G has smoothed, so A = G a at the pixels of
a window, and B(x + d) anywhere. With the weights w = 1 / (variance of a + variance of b), 0 where
either is missing, the displacement solves

    g_i(d) = sum_x P_i(x) (A(x) - B(x + d)) = 0,    P_i = w (A_i - its fit by what may differ),

A_i the derivative of A along axis i. Noise does not move the solution whatever it does to the
interpolated B: the noises of P and B are independent, and a filtered noise is not correlated with
its own derivative. The slope H_ij = sum P_i B_j is free of the bias that noise in both factors
would give, and is used as it is. The score's variance is

    V_ij = sum_xy T_i(x) R(x - y) T_j(y) - (own noise of A_i),    T_i = P_i / sqrt(w),

R the autocorrelation of G, and the covariance of the displacement H^-1 V H^-T.

All sums are in float32 over a few rows, then in float64.
"""

from __future__ import annotations

import numpy as np

from .._compile import device, kernel
from ..simd.lanes import broadcast, floor, load, store
from ..simd.masked import lane_count, total
from .covariance import finish
from .quintic_spline import spline_slopes, spline_weights, weigh_six
from .window_columns import (
    CONVERGED,
    DX,
    DY,
    FLUSH,
    LINEAR,
    LOST,
    MAX_ITERATIONS,
    NO_TEXTURE,
    OFFSET,
    TOO_FEW_PIXELS,
)

_FLAT = 1e-10  # of the power of the pixels: what the power of gradients may be by rounding


@device
def _across(c, columns, at, length, weights, slopes, value, slope):
    """One row of the image and of its derivative along y, from six rows of coefficients."""
    for x in range(0, length + 6, lane_count(c)):
        store(value, x, weigh_six(c, at + x, columns, weights))
        store(slope, x, weigh_six(c, at + x, columns, slopes))


@device
def _along(row, x, weights):
    """Registers of the image, or of its derivative, from a row that ``_across`` made."""
    return weigh_six(row, x, 1, weights)


@device
def _prepare(c1, u1, u2, columns, box, move, scratch):
    """A, its derivatives and the weights of a window; their sums."""
    top, left, rows, width = box
    stride = -(-width // 16) * 16
    weights, slopes = spline_weights(0.0), spline_slopes(0.0)
    lanes = lane_count(c1)
    zero = broadcast(np.float32(0.0))
    sums = scratch.sums
    sums[:] = 0.0
    for y in range(rows):
        at = (top + y) * columns + left
        there = (top + y + move[0]) * columns + left + move[1]
        base = y * stride
        _across(
            c1, columns, at - 2 * columns - 2, stride, weights, slopes, scratch.value, scratch.slope
        )
        for x in range(width):
            p, q = u1[at + x], u2[there + x]
            both = p + q
            scratch.w[base + x] = p * q / both if both > np.float32(0.0) else np.float32(0.0)
        for x in range(width, stride):
            scratch.w[base + x] = np.float32(0.0)
        sw, sa, saa, sx, sy, sax, say = zero, zero, zero, zero, zero, zero, zero
        for x in range(0, stride, lanes):
            w = load(scratch.w, base + x)
            a = _along(scratch.value, x, weights)
            ax = _along(scratch.value, x, slopes)
            ay = _along(scratch.slope, x, weights)
            store(scratch.a, base + x, a)
            store(scratch.px, base + x, ax)
            store(scratch.py, base + x, ay)
            wa = w * a
            sw, sa, saa = sw + w, sa + wa, saa + wa * a
            sx, sy = sx + w * ax, sy + w * ay
            sax, say = sax + wa * ax, say + wa * ay
        sums[0] += total(sw)
        sums[1] += total(sa)
        sums[2] += total(saa)
        sums[3] += total(sx)
        sums[4] += total(sy)
        sums[5] += total(sax)
        sums[6] += total(say)


@device
def _project(scratch, size, brightness):
    """P_i = w (A_i - what an offset, or an offset and a gain, could explain)."""
    sums = scratch.sums
    w0 = sums[0]
    mean = mean_x = mean_y = slope_x = slope_y = 0.0
    if brightness >= OFFSET:
        mean, mean_x, mean_y = sums[1] / w0, sums[3] / w0, sums[4] / w0
    if brightness == LINEAR:
        spread = sums[2] - mean * sums[1]
        if spread > 0.0:
            slope_x = (sums[5] - mean * sums[3]) / spread
            slope_y = (sums[6] - mean * sums[4]) / spread
    lanes = lane_count(scratch.a)
    level_x, level_y = np.float32(mean_x - slope_x * mean), np.float32(mean_y - slope_y * mean)
    gain_x, gain_y = np.float32(slope_x), np.float32(slope_y)
    for i in range(0, size, lanes):
        a, w = load(scratch.a, i), load(scratch.w, i)
        store(scratch.px, i, w * (load(scratch.px, i) - level_x - a * gain_x))
        store(scratch.py, i, w * (load(scratch.py, i) - level_y - a * gain_y))


@device
def _normal(c2, columns, box, dx, dy, scratch):
    """Score, slopes and residual at a displacement; into ``scratch.sums[7:16]``."""
    top, left, rows, width = box
    stride = -(-width // 16) * 16
    step_x, step_y = floor(dx), floor(dy)
    part_x, part_y = float(dx - step_x), float(dy - step_y)
    wx, sx = spline_weights(part_x), spline_slopes(part_x)
    wy, sy = spline_weights(part_y), spline_slopes(part_y)
    at = (top + int(step_y) - 2) * columns + left + int(step_x) - 2
    lanes = lane_count(c2)
    sums = scratch.sums
    sums[7:16] = 0.0
    for first in range(0, rows, FLUSH):
        zero = broadcast(np.float32(0.0))
        gx, gy, hxx, hxy, hyx, hyy = zero, zero, zero, zero, zero, zero
        s1, s2, sb = zero, zero, zero
        for y in range(first, min(first + FLUSH, rows)):
            start = at + y * columns
            _across(c2, columns, start, stride, wy, sy, scratch.value, scratch.slope)
            base = y * stride
            for x in range(0, stride, lanes):
                b = _along(scratch.value, x, wx)
                bx = _along(scratch.value, x, sx)
                by = _along(scratch.slope, x, wx)
                r = load(scratch.a, base + x) - b
                px, py = load(scratch.px, base + x), load(scratch.py, base + x)
                w = load(scratch.w, base + x)
                gx, gy = gx + px * r, gy + py * r
                hxx, hxy = hxx + px * bx, hxy + px * by
                hyx, hyy = hyx + py * bx, hyy + py * by
                wr = w * r
                s1, s2, sb = s1 + wr, s2 + wr * r, sb + w * b * b
        sums[7] += total(gx)
        sums[8] += total(gy)
        sums[9] += total(hxx)
        sums[10] += total(hxy)
        sums[11] += total(hyx)
        sums[12] += total(hyy)
        sums[13] += total(s1)
        sums[14] += total(s2)
        sums[15] += total(sb)


@device
def _clip(box, move, shape):
    """The part of a window whose splines, within 1.5 px of a move, lie in both images."""
    top, left, bottom, right = box[0], box[1], box[0] + box[2], box[1] + box[3]
    top, bottom = max(top, 2, 4 - move[0]), min(bottom, shape[0] - 3, shape[0] - 5 - move[0])
    left, right = max(left, 2, 4 - move[1]), min(right, shape[1] - 3, shape[1] - 5 - move[1])
    return top, left, max(bottom - top, 0), max(right - left, 0)


@device
def _settle(c1, u1, c2, u2, shape, window, dx, dy, rules, scratch):
    """Newton's iteration of one window: ``(dx, dy, clipped window, status)``."""
    brightness, max_iter, tol, least, reach = rules
    start_x, start_y = dx, dy
    status = MAX_ITERATIONS
    move = (2**30, 2**30)
    box = window
    for _ in range(max_iter):
        if abs(dx - move[1]) > 1.0 or abs(dy - move[0]) > 1.0:
            move = (int(floor(dy + 0.5)), int(floor(dx + 0.5)))
            box = _clip(window, move, shape)
            stride = -(-box[3] // 16) * 16
            if box[2] * box[3] < 16:
                return dx, dy, box, TOO_FEW_PIXELS
            _prepare(c1, u1, u2, shape[1], box, move, scratch)
            valid = 0
            for i in range(box[2] * stride):
                valid += scratch.w[i] > np.float32(0.0)
            if valid < 16 or valid < least * window[2] * window[3]:
                return dx, dy, box, TOO_FEW_PIXELS
            _project(scratch, box[2] * stride, brightness)
        _normal(c2, shape[1], box, dx, dy, scratch)
        sums = scratch.sums
        hxx, hxy, hyx, hyy = sums[9], sums[10], sums[11], sums[12]
        det = hxx * hyy - hxy * hyx
        least = _FLAT * sums[2]
        if not (hxx > least and hyy > least and det > 1e-6 * hxx * hyy):
            return dx, dy, box, NO_TEXTURE
        step_x = (hyy * sums[7] - hxy * sums[8]) / det
        step_y = (hxx * sums[8] - hyx * sums[7]) / det
        size = max(abs(step_x), abs(step_y))
        if size > 1.0:
            step_x, step_y = step_x / size, step_y / size
        dx, dy = dx + step_x, dy + step_y
        if abs(dx - start_x) > reach or abs(dy - start_y) > reach:
            return dx, dy, box, LOST
        if size <= tol:
            status = CONVERGED
            break
    if status == CONVERGED:
        whole_x, whole_y = floor(dx + 0.5), floor(dy + 0.5)
        if abs(dx - whole_x) <= 2.0 * tol and abs(dy - whole_y) <= 2.0 * tol:
            _normal(c2, shape[1], box, whole_x, whole_y, scratch)
            if scratch.sums[14] == 0.0:  # the same pixels, to the bit
                dx, dy = whole_x, whole_y
    return dx, dy, box, status


@kernel
def refine(
    c1, u1, c2, u2, shape, windows, starts, low_pass, rules, unit, scratch, out, status, begin, end
):
    """Displacements of windows [begin, end).

    Parameters
    ----------
    c1, c2 : ndarray (Y * X + ROOM,) float32
        Spline coefficients of the two smoothed images.
    u1, u2 : ndarray (Y * X + ROOM,) float32
        1 / variance of the images' pixels; 0 where missing, or near what is missing.
    shape : (Y, X)
    windows : ndarray (n, 4) int64
        Top, left, rows, columns in the first image.
    starts : ndarray (n, 2)
        dx, dy to begin with.
    low_pass : Filter
    rules : tuple
        Brightness model, iterations at most, least step in pixels, least share of the window
        that must count, and pixels that a solution may be away from the start.
    unit : float
        The variance of which u1 and u2 are the parts; 0 if unknown: the residual tells it.
    scratch : Scratch
    out : ndarray (n, COLUMNS)
    status : ndarray (n,) int64
    """
    for n in range(begin, end):
        result = out[n]
        result[:] = np.nan
        window = (windows[n, 0], windows[n, 1], windows[n, 2], windows[n, 3])
        dx, dy, box, code = _settle(
            c1, u1, c2, u2, shape, window, starts[n, 0], starts[n, 1], rules, scratch
        )
        status[n] = code
        if code in (CONVERGED, MAX_ITERATIONS):
            result[DX], result[DY] = dx, dy
            finish(box, u1, shape[1], dx, dy, low_pass, unit, scratch, result)
