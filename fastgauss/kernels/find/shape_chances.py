"""Chances that a spot looks as sharp, as narrow or as wide as a maximum does."""

from __future__ import annotations

import math

import numpy as np

from .._compile import device, kernel

_ROOT_TWO = math.sqrt(2.0)


@device
def _variance(variance, light, known):
    """The variance of a statistic: of the noise, and of a spot's own light."""
    return max(known[1] * variance + known[2] * light, 1e-300)


@device
def _chance(value, variance, light, gain, known):
    """The chance of a larger value, by the gamma distribution of these moments.

    Its cube root is nearly normal (Wilson and Hilferty 1931).
    """
    square = _variance(variance, light, known)
    deviation = math.sqrt(square)
    cube = (known[3] * variance + known[4] * light) * gain
    half = 0.5 * min(max(cube / square / deviation, 1e-3), 20.0)  # of the skewness
    root = max(1.0 + half * value / deviation, 0.0) ** (1.0 / 3.0)
    return 0.5 * math.erfc(3.0 / half * (root - 1.0 + half * half / 9.0) / _ROOT_TWO)


@kernel
def sharp_chances(sums, noise, gain, squares, known, out):
    """The chance that the middle pixel, column, row or plane of a spot is as high.

    Parameters
    ----------
    sums : ndarray (n, 1 + k or more) float64
        Sums around maxima, above the background: with a spot's profile, and with those in which
        some axes have the middle pixel alone.
    noise : ndarray (n, 1 + k) float64
        Variance of a pixel in each of these sums.
    gain : ndarray (n,) float64
        Third central moment of a pixel by its variance.
    squares : ndarray (1 + k,) float64
        Sums of squares of the weights.
    known : ndarray (k, 5) float64
        Of each statistic the limit, its variance by that of a pixel and by the counts of the
        light, and its third central moment likewise.
    out : ndarray (n,) float64
        The result, the smallest of k chances.
    """
    for p in range(out.size):
        amplitude = sums[p, 0] / squares[0]
        light = max(amplitude, 0.0) * gain[p]
        out[p] = 1.0
        for k in range(known.shape[0]):
            value = sums[p, k + 1] / squares[k + 1] - known[k, 0] * amplitude
            out[p] = min(out[p], _chance(value, noise[p, k + 1], light, gain[p], known[k]))


@device
def _smallest_eigenvalue(m, ndim):
    """Of a symmetric matrix of up to three rows (O. K. Smith 1961)."""
    if ndim == 1:
        return m[0, 0]
    if ndim == 2:
        return 0.5 * (m[0, 0] + m[1, 1] - math.hypot(m[0, 0] - m[1, 1], 2.0 * m[0, 1]))
    mean = (m[0, 0] + m[1, 1] + m[2, 2]) / 3.0
    a, b, c = m[0, 0] - mean, m[1, 1] - mean, m[2, 2] - mean
    off = m[0, 1] ** 2 + m[0, 2] ** 2 + m[1, 2] ** 2
    size = math.sqrt((a * a + b * b + c * c + 2.0 * off) / 6.0)
    if size == 0.0:
        return mean
    determinant = (
        a * (b * c - m[1, 2] ** 2)
        - m[0, 1] * (m[0, 1] * c - m[1, 2] * m[0, 2])
        + m[0, 2] * (m[0, 1] * m[1, 2] - b * m[0, 2])
    )
    ratio = min(max(0.5 * determinant / (size * size * size), -1.0), 1.0)
    return mean + 2.0 * size * math.cos((math.acos(ratio) + 2.0 * math.pi) / 3.0)


@device
def _moments(sums, ndim, matrix):
    """The central second moments of a maximum, by its sums with the moments of the profile."""
    total = sums[0] if sums[0] > 0.0 else 1.0
    first, column = 2**ndim, 2**ndim + ndim
    for a in range(ndim):
        for b in range(a, ndim):
            moment = sums[column] / total - sums[first + a] / total * (sums[first + b] / total)
            matrix[a, b] = matrix[b, a] = moment
            column += 1


@kernel
def moment_chances(sums, noise, gain, square, known, moments, out):
    """The chances that a spot is as narrow, and as wide, and the error of its moments.

    Parameters
    ----------
    sums : ndarray (n, terms) float64
        As those of `sharp_chances`, k being the number of sets of axes, and with the first and the
        second moments of the profile.
    noise, gain
        As those of `sharp_chances`.
    square : float
        Sum of the squares of the profile.
    known : ndarray (3, 5) float64
        Of the narrowest, the widest and another narrow spot, as those of `sharp_chances`.
    moments : ndarray (n, ndim, ndim) float64
        The central second moments.
    out : ndarray (4, n) float64
        The result: three chances, and the error.
    """
    ndim = moments.shape[1]
    for p in range(moments.shape[0]):
        _moments(sums[p], ndim, moments[p])
        total = max(sums[p, 0], 0.0)  # where it is 0 the moments say nothing
        smallest = _smallest_eigenvalue(moments[p], ndim) * total
        light = total / square * gain[p]
        for k in range(3):
            value = known[k, 0] * total - smallest
            value = -value if k == 1 else value
            out[k, p] = _chance(value, noise[p, 0], light, gain[p], known[k])
        out[0, p] *= ndim
        out[2, p] *= ndim
        out[3, p] = np.inf
        if total > 0.0:
            out[3, p] = math.sqrt(_variance(noise[p, 0], light, known[1])) / total
