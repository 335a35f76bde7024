"""Covariance of the displacement of a window, and how much the two images are alike there.

The score is sum_x P_i(x) (A(x) - g B(x + d)): the noise n of the pixels, filtered by G. The noise
of two pixels is independent, and each pixel x has its own variance v(x). With Q_i = G P_i the
covariance of the score is

    V_ij = sum_x v(x) Q_i(x) Q_j(x) - (own noise of A_i),

and that of the displacement H^-1 V H^-T / g^2. The last term is there because P is itself made of
noisy pixels, and their product with the noise of A has no variance.

Where the errors of both images are given, v follows from them. Otherwise the residual
r = A - g B tells it, in two ways of which the larger covariance counts: v(x) = r(x)^2 / (what G
keeps of white noise), the sandwich of White (Econometrica 48 (1980) 817), and v(x) = alpha + beta
times the brightness at x, fitted to r^2, which is the noise of photons and of a detector. The first
holds for any noise, but is too small where few pixels decide; there the second is exact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._compile import device
from ..simd.lanes import broadcast, floor, load, maximum, select, store
from ..simd.masked import lane_count, total
from .quintic_spline import spline_weights
from .window_columns import (
    CORRELATION,
    COV,
    DX,
    DY,
    GAIN,
    LIKENESS,
    LINEAR,
    OFFSET,
    PIXELS,
    RESIDUAL,
    SPREAD,
    VAR_X,
    VAR_Y,
    rows_together,
)

_LEAST = 0.05  # of the mean variance: the least of a pixel on the line through r^2
_NOTHING = 1e-30  # variance of the noise of equal images
_ROUNDS = 3  # of the fit of that line, each with the weights of the one before
_PIECE = 512  # pixels between sums of float64


class Symmetric(NamedTuple):
    """A symmetric matrix (xx, xy, yy)."""

    xx: float
    xy: float
    yy: float


# -- the variance of each pixel's noise --------------------------------------------------------


@device
def _line_sums(size, line, kept, middle, least, telling, scratch):
    """Sums of the fit of v = alpha + beta m to the squared residual: u, u m, u m^2, u v, u m v."""
    alpha, beta = np.float32(line[0]), np.float32(line[1])
    inverse, low = np.float32(1.0 / kept), np.float32(least)
    level, offset = np.float32(middle[0]), np.float32(middle[1])
    half, none, tells = np.float32(0.5), np.float32(0.0), np.float32(telling)
    s0 = sm0 = smm0 = sv0 = smv0 = 0.0
    for begin in range(0, size, _PIECE):
        zero = broadcast(none)
        s, sm, smm, sv, smv = zero, zero, zero, zero, zero
        for k in range(begin, min(begin + _PIECE, size), lane_count(scratch.r)):
            r = load(scratch.r, k) - offset
            m = load(scratch.a, k) - r * half - level
            v = r * r * inverse
            expected = maximum(m * beta + alpha, broadcast(low))
            u = select(load(scratch.w, k) > tells, np.float32(1.0) / (expected * expected), zero)
            um = u * m
            s, sm, smm = s + u, sm + um, smm + um * m
            sv, smv = sv + u * v, smv + um * v
        s0 += total(s)
        sm0 += total(sm)
        smm0 += total(smm)
        sv0 += total(sv)
        smv0 += total(smv)
    return s0, sm0, smm0, sv0, smv0


@device
def _noise_line(size, kept, middle, telling, scratch):
    """alpha and beta of the noise's variance by brightness, and its mean."""
    line, mean, least = (1.0, 0.0), 0.0, 1.0
    for i in range(_ROUNDS):
        s, sm, smm, sv, smv = _line_sums(size, line, kept, middle, least, telling, scratch)
        if not s > 0.0:
            return (1.0, 0.0), 1.0
        if i == 0:
            mean = sv / s
            least = _LEAST * mean
        det = s * smm - sm * sm
        beta = (s * smv - sm * sv) / det if det > 1e-6 * s * smm else 0.0
        line = ((sv - beta * sm) / s, beta)
        if not least > 0.0:
            break
    return line, mean


@device
def _residual_noise(size, kept, middle, telling, scratch):
    """Variances of pixels by both ways, less their mean, into ``r`` and ``a``; the mean.

    ``kept`` is the mean of r^2, roughly, ``middle`` the means of A and of r.
    """
    line, mean = _noise_line(size, kept, middle, telling, scratch)
    alpha, beta = np.float32(line[0]), np.float32(line[1])
    least, usual = np.float32(_LEAST * mean), np.float32(mean)
    level, offset = np.float32(middle[0]), np.float32(middle[1])
    inverse, half = np.float32(1.0 / kept), np.float32(0.5)
    none = np.float32(0.0)
    zero = broadcast(none)
    for k in range(0, size, lane_count(scratch.r)):
        r, exists = load(scratch.r, k) - offset, load(scratch.w, k) > none
        m = load(scratch.a, k) - r * half - level
        expected = maximum(m * beta + alpha, broadcast(least))
        store(scratch.r, k, select(exists, r * r * inverse - usual, zero))
        store(scratch.a, k, select(exists, expected - usual, zero))
    return mean


@device
def _given_noise(size, count, scratch):
    """The same where the variances are given."""
    none, one = np.float32(0.0), np.float32(1.0)
    zero = broadcast(none)
    sum0 = 0.0
    for begin in range(0, size, _PIECE):
        part = zero
        for k in range(begin, min(begin + _PIECE, size), lane_count(scratch.w)):
            w = load(scratch.w, k)
            part = part + select(w > none, one / w, zero)
        sum0 += total(part)
    mean = sum0 / count
    middle = np.float32(mean)
    for k in range(0, size, lane_count(scratch.w)):
        w = load(scratch.w, k)
        more = select(w > none, one / w - middle, zero)
        store(scratch.a, k, more)
        store(scratch.r, k, more)
    return mean


# -- the covariance of the score ---------------------------------------------------------------


@device
def _smooth_across(p, q, y, rows, stride, smooth, out_p, out_q, begin):
    """Row y of two fields, smoothed along y by G, from ``begin`` on; 0 beyond the fields."""
    zero = broadcast(np.float32(0.0))
    low, high = max(1 - smooth.size, -y), min(smooth.size, rows - y)
    for x in range(0, stride, lane_count(p)):
        u, v = zero, zero
        for k in range(low, high):
            at = (y + k) * stride + x
            u, v = u + load(p, at) * smooth[abs(k)], v + load(q, at) * smooth[abs(k)]
        store(out_p, begin + x, u)
        store(out_q, begin + x, v)


@device
def _smooth_along(p, q, at, smooth):
    """A register of two rows, smoothed along x by G."""
    u, v = load(p, at) * smooth[0], load(q, at) * smooth[0]
    for k in range(1, smooth.size):
        u = u + (load(p, at - k) + load(p, at + k)) * smooth[k]
        v = v + (load(q, at - k) + load(q, at + k)) * smooth[k]
    return u, v


@device
def _copy_row(field, y, rows, stride, out, begin):
    """Row y of a field, from ``begin`` on; 0 beyond the field."""
    zero = broadcast(np.float32(0.0))
    for x in range(0, stride, lane_count(field)):
        store(out, begin + x, load(field, y * stride + x) if 0 <= y < rows else zero)


@device
def _score_covariance(box, smooth, mean, scratch):
    """V of both ways, from what ``_residual_noise`` or ``_given_noise`` wrote.

    Some rows are filtered together. They lie one after the other, with as many zeros between two
    rows as G mixes of both, so that no register is filled with less.
    """
    stride = -(-box.columns // 16) * 16
    radius = smooth.size - 1
    pad, pitch = 2 * radius, stride + 2 * radius
    lanes, together = lane_count(scratch.px), rows_together(stride)
    p, q, first, second = scratch.value, scratch.slope, scratch.first, scratch.second
    zero = broadcast(np.float32(0.0))
    for k in range(0, pad + together * pitch + lanes, lanes):
        store(p, k, zero)
        store(q, k, zero)
        store(first, k, zero)
        store(second, k, zero)
    fxx = fxy = fyy = sxx = sxy = syy = 0.0
    middle = np.float32(mean)
    for begin in range(-radius, box.rows + radius, together):
        for k in range(together):
            y, at = begin + k, pad + k * pitch
            _smooth_across(scratch.px, scratch.py, y, box.rows, stride, smooth, p, q, at)
            _copy_row(scratch.r, y, box.rows, stride, first, at)
            _copy_row(scratch.a, y, box.rows, stride, second, at)
        pxx, pxy, pyy, qxx, qxy, qyy = zero, zero, zero, zero, zero, zero
        for at in range(radius, radius + together * pitch, lanes):
            zx, zy = _smooth_along(p, q, at, smooth)
            xx, xy, yy = zx * zx, zx * zy, zy * zy
            v = load(first, at) + middle
            pxx, pxy, pyy = pxx + v * xx, pxy + v * xy, pyy + v * yy
            v = load(second, at) + middle
            qxx, qxy, qyy = qxx + v * xx, qxy + v * xy, qyy + v * yy
        fxx += total(pxx)
        fxy += total(pxy)
        fyy += total(pyy)
        sxx += total(qxx)
        sxy += total(qxy)
        syy += total(qyy)
    return Symmetric(fxx, fxy, fyy), Symmetric(sxx, sxy, syy)


@device
def _less_own(v, scale, own):
    """V times a scale, without the own noise of A_i; no direction gets a negative variance."""
    xx = scale * max(v.xx - own, 0.1 * v.xx)
    yy = scale * max(v.yy - own, 0.1 * v.yy)
    limit = np.sqrt(xx * yy)
    return Symmetric(xx, min(max(scale * v.xy, -limit), limit), yy)


# -- the result --------------------------------------------------------------------------------


@device
def _own_share(precision, columns, box, scratch):
    """sum (w / precision)^2 of a, its part of the variance of the difference."""
    stride = -(-box.columns // 16) * 16
    share = 0.0
    for y in range(box.rows):
        at = (box.top + y) * columns + box.left
        line = np.float32(0.0)
        for x in range(box.columns):
            w = scratch.w[y * stride + x]
            if w > np.float32(0.0):
                part = w / precision[at + x]
                line += part * part
        share += line
    return share


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
def _propagate(at, v, across):
    """H^-1 V H^-T; infinite along a texture of one direction."""
    cx, cy = across
    if cx != 0.0 or cy != 0.0:
        slope = cx * (at.hxx * cx + at.hxy * cy) + cy * (at.hyx * cx + at.hyy * cy)
        own = (cx * cx * v.xx + 2.0 * cx * cy * v.xy + cy * cy * v.yy) / (slope * slope)
        if cx == 0.0:
            return Symmetric(np.inf, 0.0, own)
        if cy == 0.0:
            return Symmetric(own, 0.0, np.inf)
        return Symmetric(np.inf, -np.copysign(np.inf, cx * cy), np.inf)
    det = at.hxx * at.hyy - at.hxy * at.hyx
    ixx, ixy, iyx, iyy = at.hyy / det, -at.hxy / det, -at.hyx / det, at.hxx / det
    return Symmetric(
        ixx * ixx * v.xx + 2.0 * ixx * ixy * v.xy + ixy * ixy * v.yy,
        ixx * iyx * v.xx + (ixx * iyy + ixy * iyx) * v.xy + ixy * iyy * v.yy,
        iyx * iyx * v.xx + 2.0 * iyx * iyy * v.xy + iyy * iyy * v.yy,
    )


@device
def _likeness(sums, at, rules, result):
    """Write the likeness of the gradients of the two images."""
    energy = sums.xx + sums.yy
    if rules.brightness == LINEAR:
        energy -= (sums.x * sums.x + sums.y * sums.y) / sums.w
    product = max(energy, 0.0) * at.slopes
    slope = at.hxx + at.hyy
    result[LIKENESS] = slope / np.sqrt(product) if product > 0.0 else 0.0
    result[SPREAD] = slope * slope / at.spread if at.spread > 0.0 else 0.0


@device
def _correlation(sums, at, gain):
    """The correlation coefficient of A and B."""
    mean_b = (sums.a - at.r) / sums.w
    spread_a = sums.aa - sums.a * sums.a / sums.w
    spread_b = gain * gain * at.bb - mean_b * mean_b * sums.w
    residual = at.rr - at.r * at.r / sums.w
    product = np.sqrt(max(spread_a, 0.0) * max(spread_b, 0.0))
    return 0.5 * (spread_a + spread_b - residual) / product if product > 0.0 else 0.0


@device
def measure(views, box, count, move, across, sums, at, low_pass, rules, scratch, result):
    """Write the displacement of a window of ``count`` pixels, its covariance and its quality."""
    dx, dy, gain = move
    # the part of a in the variance of the difference, and how that changes with the gain
    part = 1.0 / (1.0 + rules.noise_ratio)
    if rules.unit > 0.0:
        part = np.sqrt(_own_share(views.precision_a, views.columns, box, scratch) / count)
    change = part + gain * gain * (1.0 - part)
    part = part / change
    kept_b = _gain(low_pass.correlation, dx - floor(dx)) * _gain(
        low_pass.correlation, dy - floor(dy)
    )
    kept = part * low_pass.kept + (1.0 - part) * kept_b
    noise = (at.rr - at.r * at.r / sums.w) / (count * kept)
    noise = max(noise, 0.0)  # where images are equal, rounding makes it negative
    size = box.rows * (-(-box.columns // 16) * 16)
    if rules.unit > 0.0:
        scale = rules.unit * change
        mean = _given_noise(size, count, scratch)
    else:
        scale = noise
        middle = sums.a / sums.w, at.r / sums.w
        mean = _residual_noise(size, kept * max(noise, _NOTHING), middle, rules.telling, scratch)
    own = low_pass.own * count * part * part * scale
    first, second = _score_covariance(box, low_pass.smooth, mean, scratch)
    scale = scale / (gain * gain)
    first = _propagate(at, _less_own(first, scale, own), across)
    second = _propagate(at, _less_own(second, scale, own), across)
    if first.xx + first.yy >= second.xx + second.yy:
        second = first
    # a spline is off by a sine of the fraction of a pixel
    off_x = low_pass.bias[0] * np.sin(2.0 * np.pi * (dx - floor(dx)))
    off_y = low_pass.bias[1] * np.sin(2.0 * np.pi * (dy - floor(dy)))
    result[DX], result[DY] = dx, dy
    result[VAR_X] = second.xx + off_x * off_x
    result[COV] = second.xy
    result[VAR_Y] = second.yy + off_y * off_y
    result[RESIDUAL] = noise / (rules.unit * change) if rules.unit > 0.0 else noise
    result[CORRELATION] = _correlation(sums, at, gain)
    result[PIXELS] = count
    result[GAIN] = gain
    result[OFFSET] = at.r / sums.w if rules.brightness == LINEAR else 0.0
    _likeness(sums, at, rules, result)
