"""Its covariance and quality."""

from __future__ import annotations

import numpy as np

from .._compile import device
from ..simd.lanes import broadcast, floor, load, store
from ..simd.masked import lane_count, total
from .quintic_spline import spline_weights
from .window_columns import CORRELATION, COV, FLUSH, PIXELS, RESIDUAL, ROOM, VAR_X, VAR_Y


@device
def _smooth_across(field, y, rows, stride, square, out, pad):
    """A row of a field, smoothed along y by the autocorrelation of G; ``out`` from ``pad`` on."""
    lanes = lane_count(field)
    for x in range(0, stride, lanes):
        v = load(field, y * stride + x) * square[0]
        for k in range(1, square.size):
            if y >= k:
                v = v + load(field, (y - k) * stride + x) * square[k]
            if y + k < rows:
                v = v + load(field, (y + k) * stride + x) * square[k]
        store(out, pad + x, v)


@device
def _smooth_along(row, at, square):
    v = load(row, at) * square[0]
    for k in range(1, square.size):
        v = v + (load(row, at - k) + load(row, at + k)) * square[k]
    return v


@device
def _variance(box, square, scratch):
    """sum T_i R T_j: (xx, xy, yy); P becomes T."""
    _, _, rows, width = box
    stride = -(-width // 16) * 16
    for i in range(rows * stride):
        w = scratch.w[i]
        scale = np.float32(1.0) / np.sqrt(w) if w > np.float32(0.0) else np.float32(0.0)
        scratch.px[i] *= scale
        scratch.py[i] *= scale
    pad = square.size + 1
    line_x, line_y = scratch.value, scratch.slope
    for k in range(pad + ROOM):
        line_x[k] = line_y[k] = np.float32(0.0)
    line_x[pad + stride :] = np.float32(0.0)
    line_y[pad + stride :] = np.float32(0.0)
    vxx = vxy = vyy = 0.0
    lanes = lane_count(scratch.px)
    for first in range(0, rows, FLUSH):
        zero = broadcast(np.float32(0.0))
        sxx, sxy, syy = zero, zero, zero
        for y in range(first, min(first + FLUSH, rows)):
            _smooth_across(scratch.px, y, rows, stride, square, line_x, pad)
            _smooth_across(scratch.py, y, rows, stride, square, line_y, pad)
            for x in range(0, stride, lanes):
                tx, ty = load(scratch.px, y * stride + x), load(scratch.py, y * stride + x)
                zx = _smooth_along(line_x, pad + x, square)
                zy = _smooth_along(line_y, pad + x, square)
                sxx, sxy, syy = sxx + tx * zx, sxy + tx * zy, syy + ty * zy
        vxx += total(sxx)
        vxy += total(sxy)
        vyy += total(syy)
    return vxx, vxy, vyy


@device
def _own_share(u1, columns, box, scratch):
    """sum (w / u1)**2: how much of the variance of the difference is that of a, squared."""
    top, left, rows, width = box
    stride = -(-width // 16) * 16
    share = 0.0
    count = 0
    for y in range(rows):
        at = (top + y) * columns + left
        line = np.float32(0.0)
        for x in range(width):
            w = scratch.w[y * stride + x]
            if w > np.float32(0.0):
                part = w / u1[at + x]
                line += part * part
                count += 1
        share += line
    return share, count


@device
def _gain(correlation, f):
    """Variance of white noise that the coefficients' filter and a spline at ``f`` leave."""
    weights = spline_weights(f)
    gain = 0.0
    for i in range(6):
        for j in range(6):
            gain += weights[i] * weights[j] * correlation[abs(i - j)]
    return gain


@device
def finish(box, u1, columns, dx, dy, low_pass, unit, scratch, result):
    """Covariance and quality of a displacement."""
    sums = scratch.sums
    w0 = sums[0]
    hxx, hxy, hyx, hyy = sums[9], sums[10], sums[11], sums[12]
    residual = sums[14] - sums[13] * sums[13] / w0
    gain_a = _gain(low_pass.correlation, 0.0)
    gain_b = _gain(low_pass.correlation, dx - floor(dx)) * _gain(
        low_pass.correlation, dy - floor(dy)
    )
    share, count = _own_share(u1, columns, box, scratch)
    # the share of a in the variance of the difference, by weight
    fraction = np.sqrt(share / count) if count else 0.5
    gain = fraction * gain_a * gain_a + (1.0 - fraction) * gain_b
    noise = residual / (count * gain)
    vxx, vxy, vyy = _variance(box, low_pass.square, scratch)
    scale = unit if unit > 0.0 else noise
    own = scale * low_pass.own * share
    vxx, vyy = scale * max(vxx - own, 0.1 * vxx), scale * max(vyy - own, 0.1 * vyy)
    limit = np.sqrt(vxx * vyy)  # so that no direction has a negative variance
    vxy = min(max(scale * vxy, -limit), limit)
    det = hxx * hyy - hxy * hyx
    ixx, ixy, iyx, iyy = hyy / det, -hxy / det, -hyx / det, hxx / det
    result[VAR_X] = ixx * ixx * vxx + 2.0 * ixx * ixy * vxy + ixy * ixy * vyy
    result[COV] = ixx * iyx * vxx + (ixx * iyy + ixy * iyx) * vxy + ixy * iyy * vyy
    result[VAR_Y] = iyx * iyx * vxx + 2.0 * iyx * iyy * vxy + iyy * iyy * vyy
    # a spline is off by a sine of the fraction of a pixel
    result[VAR_X] += (low_pass.bias[0] * np.sin(2.0 * np.pi * (dx - floor(dx)))) ** 2
    result[VAR_Y] += (low_pass.bias[1] * np.sin(2.0 * np.pi * (dy - floor(dy)))) ** 2
    result[RESIDUAL] = noise / unit if unit > 0.0 else noise
    mean_b = sums[1] - sums[13]
    spread_a = sums[2] - sums[1] * sums[1] / w0
    spread_b = sums[15] - mean_b * mean_b / w0
    product = np.sqrt(max(spread_a, 0.0) * max(spread_b, 0.0))
    result[CORRELATION] = 0.5 * (spread_a + spread_b - residual) / product if product > 0.0 else 0.0
    result[PIXELS] = count
