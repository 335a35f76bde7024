"""The astigmatic model: widths that are functions of z, a parameter of the spot.

Along axis a the width follows the defocus curve

    sigma_a(z)**2 = sigma_0**2 (1 + u**2 + A u**3 + B u**4),  u = (z - c) / d

(Huang et al. 2008, Science 319, 810, supplement eq. S1). The constants of the model are
sigma_0, c, d, A, B of x, the same of y, and the lowest and highest z of the calibration.
"""

from __future__ import annotations

import math

from .._compile import device
from ..simd.lanes import broadcast, load, maximum, minimum, sqrt

CONSTANTS = 12
_CURVE = 5
_LEAST = 0.05  # of the bracket: the curve means nothing where it falls below
_MOST_STEP = 0.25  # of the calibrated range


@device
def _bracket(m, p, axis):
    """1 + u**2 + ..., and its derivative by z."""
    inverse = 1.0 / load(m, _CURVE * axis + 2)
    u = (load(m, p + 3) - load(m, _CURVE * axis + 1)) * inverse
    third, fourth = load(m, _CURVE * axis + 3), load(m, _CURVE * axis + 4)
    value = u * u * (u * (fourth * u + third) + 1.0) + 1.0
    slope = u * (u * (fourth * u * 4.0 + third * 3.0) + 2.0) * inverse
    return maximum(value, broadcast(_LEAST)), slope


@device
def sigma_of(m, p, axis, axes):
    """sigma along an axis at the spot's z."""
    value, _ = _bracket(m, p, axis)
    return load(m, _CURVE * axis) * sqrt(value)


@device
def rate_of(m, p, axis):
    """d sigma / dz relative to sigma."""
    value, slope = _bracket(m, p, axis)
    return slope * 0.5 / value


@device
def unit(m, p, k):
    """z itself is what its column is about."""
    return broadcast(1.0)


@device
def limit(m, old, new):
    """z moves by no more than a part of the calibrated range in one step."""
    most = (load(m, 2 * _CURVE + 1) - load(m, 2 * _CURVE)) * _MOST_STEP
    return minimum(maximum(new, old - most), old + most)


@device
def extent(params, item, known):
    """(sigma_x, sigma_y, sigma_z, theta) of a result, for ``verdicts``."""
    z = params[item, 3]
    u = (z - known[0, 1]) / known[0, 2]
    v = (z - known[0, 6]) / known[0, 7]
    x = 1.0 + u * u * (1.0 + u * (known[0, 3] + known[0, 4] * u))
    y = 1.0 + v * v * (1.0 + v * (known[0, 8] + known[0, 9] * v))
    x, y = known[0, 0] * math.sqrt(max(x, _LEAST)), known[0, 5] * math.sqrt(max(y, _LEAST))
    return x, y, y, 0.0


@device
def beyond(params, item, known):
    """Whether z of a result leaves the calibrated range."""
    return not known[0, 2 * _CURVE] <= params[item, 3] <= known[0, 2 * _CURVE + 1]
