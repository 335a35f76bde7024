"""The quintic B-spline: weights of the six nodes around a point, and their derivatives."""

from __future__ import annotations

from .._compile import device
from ..simd.lanes import load


@device
def _near(x):
    """The quintic B-spline at 0 <= x <= 1."""
    q = x * x
    return 0.55 - q * (0.5 - q * (0.25 - x * (1.0 / 12.0)))


@device
def _middle(x):
    """The same at 1 <= x <= 2."""
    return 0.425 + x * (0.625 - x * (1.75 - x * (1.25 - x * (0.375 - x * (1.0 / 24.0)))))


@device
def _far(x):
    """The same at 2 <= x <= 3."""
    y = 3.0 - x
    return y * y * y * y * y * (1.0 / 120.0)


@device
def spline_weights(f):
    """Weights of nodes -2 .. 3 at 0 <= f < 1."""
    g = 1.0 - f
    return _far(2.0 + f), _middle(1.0 + f), _near(f), _near(g), _middle(1.0 + g), _far(2.0 + g)


@device
def _near_slope(x):
    q = x * x
    return -x * (1.0 - q * (1.0 - x * (5.0 / 12.0)))


@device
def _middle_slope(x):
    return 0.625 - x * (3.5 - x * (3.75 - x * (1.5 - x * (5.0 / 24.0))))


@device
def _far_slope(x):
    y = 3.0 - x
    return y * y * y * y * (-1.0 / 24.0)


@device
def spline_slopes(f):
    """Derivatives of the weights."""
    g = 1.0 - f
    return (
        _far_slope(2.0 + f),
        _middle_slope(1.0 + f),
        _near_slope(f),
        -_near_slope(g),
        -_middle_slope(1.0 + g),
        -_far_slope(2.0 + g),
    )


@device
def weigh_six(array, at, step, weights):
    """Weighted sum of six registers."""
    w0, w1, w2, w3, w4, w5 = weights
    inner = load(array, at + 2 * step) * w2 + load(array, at + 3 * step) * w3
    middle = load(array, at + step) * w1 + load(array, at + 4 * step) * w4
    return inner + (middle + (load(array, at) * w0 + load(array, at + 5 * step) * w5))
