"""Gauss-Newton refinement of the displacement of windows between two images.

Two images a and b show one scene, b displaced by d, of another brightness c + S / g, and both with
noise of their own. Each is a quintic B-spline: of coefficients that a low-pass filter G has
smoothed, so A = G a at the pixels of a window, and B(x + d) anywhere. With the weights
w = 1 / (variance of a + variance of b), 0 where either is missing, the displacement solves

    score_i(d) = sum_x P_i(x) (A(x) - g B(x + d)) = 0,   P_i = w (A_i - its fit by what may differ),

A_i the derivative of A along axis i. Noise does not move the solution, for any effect on the
interpolated B: the noises of P and B are independent, and a filtered noise is not correlated with
its own derivative. The slope H_ij = sum P_i B_j is free of the bias that noise in both factors
would give, and is used as it is. ``covariance`` has the errors.

The derivatives A_i may come from another filter than A, as they do where A is the scene of a stack
(``register/scene_filter.py``): then G is no filter at all, and P alone is smooth.

The gain g is the slope of a line through (B, A) with noise in both (Deming's regression). The
solution does not depend on g, because P is orthogonal to A where the gain is free; the residual
does depend on it.

All sums are in float32 over a few rows, then in float64.
"""

from __future__ import annotations

import numpy as np

from .._compile import device, kernel
from ..simd.lanes import broadcast, floor, load, select, store
from ..simd.masked import lane_count, lanes_within, total
from .covariance import measure
from .quintic_spline import spline_slopes, spline_weights, weigh_rows, weigh_six
from .window_columns import (
    CONVERGED,
    FLUSH,
    LINEAR,
    LOST,
    MAX_ITERATIONS,
    NO_TEXTURE,
    ONE_DIRECTION,
    ROOM,
    TOO_FEW_PIXELS,
    Box,
    Moments,
    Move,
    Normal,
    rows_together,
)

FLAT = 1e-10  # of the power of the pixels: what the power of gradients may be by rounding
BARE = 1e-5  # of the power of gradients: what splines and rounding leave of it in a pure ramp
_THIN = 1e-6  # of the slope across a texture: what there may be along it by rounding
_UNSURE = 4.0  # standard deviations of a slope that noise alone makes
_FLATTER = 4.0  # times that the slope across a texture of one direction is larger than along it
_STRAIGHT = 0.1  # radians by which a texture along an axis may seem to turn
_ROUNDING = 1e-4  # pixels: a step below it that does not shrink is made by rounding
_WHOLE = 2e-3  # pixels: whether a displacement may be one by whole pixels
_ALIKE = 0.01  # by how much the gain of equal images may seem to differ from 1
_TIMES = 256.0  # by how much the gain may change at once
_GAIN = 0.1  # of the residual's standard deviation: what an error of the gain may add to it


@device
def _weigh(views, box, move, scratch):
    """Weights of the pixels of a window, and how many there are."""
    stride = -(-box.columns // 16) * 16
    lanes = lane_count(scratch.w)
    none, one = broadcast(np.float32(0.0)), broadcast(np.float32(1.0))
    valid = 0
    for y in range(box.rows):
        at = (box.top + y) * views.columns + box.left
        there = (box.top + y + move[0]) * views.columns + box.left + move[1]
        base = y * stride
        exist = none
        for x in range(0, stride, lanes):
            p, q = load(views.precision_a, at + x), load(views.precision_b, there + x)
            both = p + q
            w = select(both > none, p * q / select(both > none, both, one), none)
            w = select(lanes_within(np.float32(0.0), 0, box.columns - x), w, none)
            store(scratch.w, base + x, w)
            exist = exist + select(w > none, one, none)
        valid += int(total(exist))
    return valid


@device
def _prepare(views, box, scratch):
    """A and its derivatives at the pixels of a window; their sums."""
    stride = -(-box.columns // 16) * 16
    zero = broadcast(np.float32(0.0))
    w0 = a0 = aa0 = x0 = y0 = ax0 = ay0 = xx0 = yy0 = 0.0
    together = rows_together(stride)
    for first in range(0, box.rows, together):
        sw, sa, saa, sx, sy = zero, zero, zero, zero, zero
        sax, say, sxx, syy = zero, zero, zero, zero
        for y in range(first, min(first + together, box.rows)):
            at = (box.top + y) * views.columns + box.left
            base = y * stride
            for x in range(0, stride, lane_count(views.value)):
                w = load(scratch.w, base + x)
                a = load(views.value, at + x)
                ax = load(views.slope_x, at + x)
                ay = load(views.slope_y, at + x)
                store(scratch.a, base + x, a)
                store(scratch.px, base + x, ax)
                store(scratch.py, base + x, ay)
                wa, wx, wy = w * a, w * ax, w * ay
                sw, sa, saa = sw + w, sa + wa, saa + wa * a
                sx, sy = sx + wx, sy + wy
                sax, say = sax + wa * ax, say + wa * ay
                sxx, syy = sxx + wx * ax, syy + wy * ay
        w0 += total(sw)
        a0 += total(sa)
        aa0 += total(saa)
        x0 += total(sx)
        y0 += total(sy)
        ax0 += total(sax)
        ay0 += total(say)
        xx0 += total(sxx)
        yy0 += total(syy)
    return Moments(w0, a0, aa0, x0, y0, ax0, ay0, xx0, yy0)


@device
def _project(sums, size, brightness, scratch):
    """P_i = w (A_i - what a constant and a factor could explain)."""
    mean = mean_x = mean_y = slope_x = slope_y = 0.0
    if brightness == LINEAR:
        mean, mean_x, mean_y = sums.a / sums.w, sums.x / sums.w, sums.y / sums.w
        spread = sums.aa - mean * sums.a
        if spread > 0.0:
            slope_x = (sums.ax - mean * sums.x) / spread
            slope_y = (sums.ay - mean * sums.y) / spread
    lanes = lane_count(scratch.a)
    level_x, level_y = np.float32(mean_x - slope_x * mean), np.float32(mean_y - slope_y * mean)
    gain_x, gain_y = np.float32(slope_x), np.float32(slope_y)
    for i in range(0, size, lanes):
        a, w = load(scratch.a, i), load(scratch.w, i)
        store(scratch.px, i, w * (load(scratch.px, i) - level_x - a * gain_x))
        store(scratch.py, i, w * (load(scratch.py, i) - level_y - a * gain_y))


@device
def _normal(views, box, dx, dy, gain, scratch):
    """Score, slopes and residual at a displacement."""
    stride = -(-box.columns // 16) * 16
    step_x, step_y = floor(dx), floor(dy)
    part_x, part_y = float(dx - step_x), float(dy - step_y)
    wx, sx = spline_weights(part_x), spline_slopes(part_x)
    wy, sy = spline_weights(part_y), spline_slopes(part_y)
    at = (box.top + int(step_y) - 2) * views.columns + box.left + int(step_x) - 2
    lanes = lane_count(views.b)
    # rows are interpolated along y together, so that none is read just after it was written
    together, pitch = rows_together(stride), stride + ROOM
    g = np.float32(gain)
    gx0 = gy0 = hxx0 = hxy0 = hyx0 = hyy0 = r0 = rr0 = bb0 = slopes0 = spread0 = 0.0
    for first in range(0, box.rows, FLUSH):
        zero = broadcast(np.float32(0.0))
        gx, gy, hxx, hxy, hyx, hyy = zero, zero, zero, zero, zero, zero
        sr, srr, sbb, slopes, spread = zero, zero, zero, zero, zero
        for y in range(first, min(first + FLUSH, box.rows)):
            if (y - first) % together == 0:
                for k in range(min(together, box.rows - y)):
                    start = at + (y + k) * views.columns
                    weigh_rows(
                        views.b, views.columns, start, stride, wy, sy,
                        scratch.value, scratch.slope, k * pitch,
                    )  # fmt: skip
            base, line = y * stride, (y - first) % together * pitch
            for x in range(0, stride, lanes):
                b = weigh_six(scratch.value, line + x, 1, wx)
                bx = weigh_six(scratch.value, line + x, 1, sx)
                by = weigh_six(scratch.slope, line + x, 1, wx)
                r = load(scratch.a, base + x) - b * g
                store(scratch.r, base + x, r)
                px, py = load(scratch.px, base + x), load(scratch.py, base + x)
                w = load(scratch.w, base + x)
                gx, gy = gx + px * r, gy + py * r
                along_x, along_y = px * bx, py * by
                hxx, hxy = hxx + along_x, hxy + px * by
                hyx, hyy = hyx + py * bx, hyy + along_y
                both = along_x + along_y
                spread = spread + both * both
                slopes = slopes + w * (bx * bx + by * by)
                wr = w * r
                sr, srr, sbb = sr + wr, srr + wr * r, sbb + w * b * b
        gx0 += total(gx)
        gy0 += total(gy)
        hxx0 += total(hxx)
        hxy0 += total(hxy)
        hyx0 += total(hyx)
        hyy0 += total(hyy)
        r0 += total(sr)
        rr0 += total(srr)
        bb0 += total(sbb)
        slopes0 += total(slopes)
        spread0 += total(spread)
    return Normal(gx0, gy0, hxx0, hxy0, hyx0, hyy0, r0, rr0, bb0, slopes0, spread0)


@device
def _clip(window, move, views):
    """The part of a window whose splines, within 1.5 px of a move, lie in both images."""
    top, left = window.top, window.left
    bottom, right = window.top + window.rows, window.left + window.columns
    top = max(top, 2, 4 - move[0])
    bottom = min(bottom, views.rows - 3, views.rows - 5 - move[0])
    left = max(left, 2, 4 - move[1])
    right = min(right, views.columns - 3, views.columns - 5 - move[1])
    return Box(top, left, max(bottom - top, 0), max(right - left, 0))


@device
def _regress(sums, at, gain, rules):
    """The correction factor of the gain, whether it changes the residual, and the new residual."""
    saa = sums.aa - sums.a * sums.a / sums.w
    mean_b = (sums.a - at.r) / sums.w
    sbb = gain * gain * at.bb - mean_b * mean_b * sums.w
    srr = at.rr - at.r * at.r / sums.w
    sab = 0.5 * (saa + sbb - srr)
    if rules.brightness != LINEAR or not sab > 0.0:
        return 1.0, False, max(srr, 0.0)
    noise = gain * gain * rules.noise_ratio  # of g B by that of A
    difference = saa * noise - sbb
    root = np.sqrt(difference * difference + 4.0 * noise * sab * sab)
    change = min(max((difference + root) / (2.0 * noise * sab), 1.0 / _TIMES), _TIMES)
    error = change - 1.0
    unsettled = abs(error) > 1e-6 and error * error * sab > _GAIN * _GAIN * srr
    return change, unsettled, max(saa + change * (change * sbb - 2.0 * sab), 0.0)


@device
def _bare(sums):
    """The slope that a pure ramp has, whose displacement is a change of its brightness."""
    return BARE * (sums.xx + sums.yy)


@device
def _one_axis(sums, at, residual, pixels, gain, rules, low_pass):
    """The unit vector across a texture of one direction; (0, 0) if it has more."""
    mean, half = 0.5 * (at.hxx + at.hyy), 0.5 * (at.hxx - at.hyy)
    side = 0.5 * (at.hxy + at.hyx)
    size = np.sqrt(half * half + side * side)
    large, small = mean + size, mean - size
    flat = FLAT * sums.aa + _THIN * large
    if not large > max(flat, _bare(sums)):
        return 0.0, 0.0
    # what noise alone makes of a slope
    share = gain * gain * rules.noise_ratio
    share = share / (1.0 + share) ** 2
    variance = residual / (pixels * low_pass.kept)
    least = _UNSURE * variance * np.sqrt(pixels * low_pass.slopes * share) / gain
    # of one direction exactly, or within the noise
    if abs(small) > flat and (small > least or large < _FLATTER * max(abs(small), least)):
        return 0.0, 0.0
    turn = 0.5 * np.arctan2(side, half)
    across_x, across_y = np.cos(turn), np.sin(turn)
    if abs(across_x) < _STRAIGHT:
        return 0.0, 1.0
    if abs(across_y) < _STRAIGHT:
        return 1.0, 0.0
    return across_x, across_y


@device
def _newton(at, across):
    """Newton's step, along ``across`` alone if the texture has one direction."""
    if across[0] != 0.0 or across[1] != 0.0:
        slope = across[0] * (at.hxx * across[0] + at.hxy * across[1]) + across[1] * (
            at.hyx * across[0] + at.hyy * across[1]
        )
        step = (across[0] * at.score_x + across[1] * at.score_y) / slope
        return across[0] * step, across[1] * step
    det = at.hxx * at.hyy - at.hxy * at.hyx
    return (
        (at.hyy * at.score_x - at.hxy * at.score_y) / det,
        (at.hxx * at.score_y - at.hyx * at.score_x) / det,
    )


@device
def _determined(sums, at, across):
    """Whether there is a maximum of the correlation here."""
    least = FLAT * sums.aa
    if across[0] != 0.0 or across[1] != 0.0:
        return True
    if not at.hxx + at.hyy > _bare(sums):
        return False
    det = at.hxx * at.hyy - at.hxy * at.hyx
    return at.hxx > least and at.hyy > least and det > 1e-6 * at.hxx * at.hyy


@device
def _settle(views, window, dx, dy, low_pass, rules, scratch, result):
    """Newton's iteration of one window and its result; the status."""
    start_x, start_y = dx, dy
    move = (2**30, 2**30)
    box = window
    status = MAX_ITERATIONS
    gain, before = 1.0, np.inf
    across = (0.0, 0.0)
    pixels = 0
    sums = Moments(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    at = Normal(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    for _ in range(rules.max_iter):
        if abs(dx - move[1]) > 1.0 or abs(dy - move[0]) > 1.0:
            move = (int(floor(dy + 0.5)), int(floor(dx + 0.5)))
            box = _clip(window, move, views)
            if box.rows * box.columns < 16:
                return TOO_FEW_PIXELS
            pixels = _weigh(views, box, move, scratch)
            if pixels < 16 or pixels < rules.fewest:
                return TOO_FEW_PIXELS
            sums = _prepare(views, box, scratch)
            _project(sums, box.rows * (-(-box.columns // 16) * 16), rules.brightness, scratch)
        at = _normal(views, box, dx, dy, gain, scratch)
        change, unsettled, residual = _regress(sums, at, gain, rules)
        across = _one_axis(sums, at, residual, pixels, gain * change, rules, low_pass)
        if not _determined(sums, at, across):
            textured = min(sums.xx + sums.yy, at.slopes) > FLAT * sums.aa
            textured = textured and abs(at.hxx) + abs(at.hyy) > _bare(sums)
            return LOST if textured else NO_TEXTURE
        step_x, step_y = _newton(at, across)
        # the score has the factor that the slopes lack
        step_x, step_y = step_x / gain, step_y / gain
        size = max(abs(step_x), abs(step_y))
        if size > 1.0:
            step_x, step_y = step_x / size, step_y / size
        dx, dy = dx + step_x, dy + step_y
        if abs(dx - start_x) > rules.reach or abs(dy - start_y) > rules.reach:
            return LOST
        if unsettled:
            gain *= change
        if not unsettled and (size <= rules.tol or _ROUNDING >= size >= 0.5 * before):
            status = CONVERGED
            break
        before = size
    if status == CONVERGED:
        whole_x, whole_y = floor(dx + 0.5), floor(dy + 0.5)
        near = max(abs(dx - whole_x), abs(dy - whole_y)) <= min(2.0 * rules.tol, _WHOLE)
        if near and abs(gain - 1.0) < _ALIKE:
            exact = _normal(views, box, whole_x, whole_y, 1.0, scratch)
            if exact.rr == 0.0:  # the same pixels, to the bit
                dx, dy, gain, at = whole_x, whole_y, 1.0, exact
            else:
                at = _normal(views, box, dx, dy, gain, scratch)
        if across[0] != 0.0 or across[1] != 0.0:
            status = ONE_DIRECTION
            along = dx * across[0] + dy * across[1]
            dx, dy = along * across[0], along * across[1]
    move = Move(dx, dy, gain)
    measure(views, box, pixels, move, across, sums, at, low_pass, rules, scratch, result)
    return status


@kernel
def refine(views, windows, starts, low_pass, rules, scratch, out, status, begin, end):
    """Displacements of windows [begin, end).

    Parameters
    ----------
    views : Views
    windows : ndarray (n, 4) int64
        Top, left, rows, columns in the first image.
    starts : ndarray (n, 2)
        dx, dy to begin with.
    low_pass : Filter
    rules : Rules
    scratch : Scratch
    out : ndarray (n, COLUMNS)
    status : ndarray (n,) int64
    """
    for n in range(begin, end):
        out[n] = np.nan
        window = Box(windows[n, 0], windows[n, 1], windows[n, 2], windows[n, 3])
        status[n] = _settle(
            views, window, starts[n, 0], starts[n, 1], low_pass, rules, scratch, out[n]
        )
