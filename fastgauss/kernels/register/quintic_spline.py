"""The quintic B-spline: weights of the six nodes around a point, and their derivatives.

``sample`` gives a moved image and its derivatives from flat arrays of coefficients.
"""

from __future__ import annotations

from .._compile import device, kernel
from ..simd.lanes import floor, load, store
from ..simd.masked import lane_count


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


@device
def weigh_rows(c, columns, at, length, weights, slopes, value, slope, begin):
    """One row of the image and of its derivative along y, from six rows of coefficients.

    It is written from ``begin`` on.
    """
    for x in range(0, length + 6, lane_count(c)):
        store(value, begin + x, weigh_six(c, at + x, columns, weights))
        store(slope, begin + x, weigh_six(c, at + x, columns, slopes))


@kernel
def sample(c, rows, columns, dy, dx, value, slope_x, slope_y, line, across):
    """An image at the pixels x + d, and its derivatives there.

    Pixels whose six nodes along each axis do not all exist are left as they are, or get a value
    without a meaning.

    Parameters
    ----------
    c : ndarray (rows * columns + ROOM,) float32
        Coefficients.
    rows, columns : int
    dy, dx : float
    value, slope_x, slope_y : ndarray (rows * columns + ROOM,) float32
        Written to.
    line, across : ndarray (columns + 2 * ROOM,) float32
        Scratch.
    """
    step_y, step_x = int(floor(dy)), int(floor(dx))
    part_y, part_x = float(dy - step_y), float(dx - step_x)
    wx, sx = spline_weights(part_x), spline_slopes(part_x)
    wy, sy = spline_weights(part_y), spline_slopes(part_y)
    left, right = max(0, 2 - step_x), min(columns, columns - 3 - step_x)
    lanes = lane_count(c)
    for y in range(max(0, 2 - step_y), min(rows, rows - 3 - step_y)):
        at = (y + step_y - 2) * columns + left + step_x - 2
        weigh_rows(c, columns, at, right - left, wy, sy, line, across, 0)
        base = y * columns + left
        for x in range(0, right - left, lanes):
            store(value, base + x, weigh_six(line, x, 1, wx))
            store(slope_x, base + x, weigh_six(line, x, 1, sx))
            store(slope_y, base + x, weigh_six(across, x, 1, wx))
