"""Starting values of spots from their pixels, eight spots at once.

The offset is the lowest of the means along the four sides of the ROI, which a
neighbour at one side does not reach. The height is the largest value in the middle
of the ROI, half as wide, above that offset. Centre and widths are the moments of what
rises above a fraction ``_CUT`` of the height. For a dark spot all is upside down; where
nobody says, a spot is dark if the mean of its middle lies below all four sides.

For a Gaussian cut at a fraction c of its height, with s = rho**2 / 2 running from 0 to
L = -ln c, the second moment along an axis is

    sigma**2 * int s (exp(-s) - c) ds / int (exp(-s) - c) ds
        = sigma**2 * (1 - c - c L - c L**2 / 2) / (1 - c - c L),

by whose known factor the measured one is divided.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from ._compile import device, kernel
from .lanes import (
    WIDTH,
    broadcast,
    lane_rows,
    load,
    maximum,
    minimum,
    select,
    sqrt,
    store,
)

_CUT = 0.3
_LOG = -math.log(_CUT)
_NARROWING = (1 - _CUT - _CUT * _LOG - _CUT * _LOG**2 / 2) / (1 - _CUT - _CUT * _LOG)
_LEAST_SIGMA = 0.5  # pixels; a narrower spot is one pixel, whose moments are 0


@device
def _sides(m, ny, nx):
    """Lowest and highest of the means along the four sides."""
    top = broadcast(0.0)
    bottom = broadcast(0.0)
    left = broadcast(0.0)
    right = broadcast(0.0)
    for i in range(nx):
        top = top + load(m, i)
        bottom = bottom + load(m, (ny - 1) * nx + i)
    for j in range(ny):
        left = left + load(m, j * nx)
        right = right + load(m, j * nx + nx - 1)
    top = top / float(nx)
    bottom = bottom / float(nx)
    left = left / float(ny)
    right = right / float(ny)
    low = minimum(minimum(top, bottom), minimum(left, right))
    return low, maximum(maximum(top, bottom), maximum(left, right))


@device
def _moments(m, ny, nx, polarity):
    """``(offset, height, x, y, var_x, var_y, cov_xy)`` of a group of spots."""
    low, high = _sides(m, ny, nx)
    least = broadcast(np.inf)
    most = broadcast(-np.inf)
    middle = broadcast(0.0)
    for j in range(ny // 4, ny - ny // 4):
        for i in range(nx // 4, nx - nx // 4):
            d = load(m, j * nx + i)
            least = minimum(d, least)
            most = maximum(d, most)
            middle = middle + d
    pixels = (ny - ny // 4 * 2) * (nx - nx // 4 * 2)
    dark = middle < low * float(pixels)
    if polarity != 0:
        dark = (dark | ~dark) if polarity < 0 else (dark & ~dark)
    sign = select(dark, broadcast(-1.0), broadcast(1.0))
    offset = select(dark, high, low)
    height = select(dark, high - least, most - low)
    total = broadcast(0.0)
    sum_x = broadcast(0.0)
    sum_y = broadcast(0.0)
    sum_xx = broadcast(0.0)
    sum_yy = broadcast(0.0)
    sum_xy = broadcast(0.0)
    middle_x = 0.5 * (nx - 1)
    middle_y = 0.5 * (ny - 1)
    for j in range(ny):
        y = j - middle_y
        row = broadcast(0.0)
        row_x = broadcast(0.0)
        for i in range(nx):
            x = i - middle_x
            w = (load(m, j * nx + i) - offset) * sign - height * _CUT
            w = maximum(w, broadcast(0.0))
            wx = w * x
            row = row + w
            row_x = row_x + wx
            sum_xx = sum_xx + wx * x
        total = total + row
        sum_x = sum_x + row_x
        sum_y = sum_y + row * y
        sum_yy = sum_yy + row * (y * y)
        sum_xy = sum_xy + row_x * y
    flat = ~(total > 0.0)
    inverse = select(flat, 0.0, 1.0 / select(flat, 1.0, total))
    x = sum_x * inverse
    y = sum_y * inverse
    scale = inverse * (1.0 / _NARROWING)
    least_square = broadcast(_LEAST_SIGMA * _LEAST_SIGMA)
    var_x = maximum(sum_xx * scale - x * x * (1.0 / _NARROWING), least_square)
    var_y = maximum(sum_yy * scale - y * y * (1.0 / _NARROWING), least_square)
    cov = sum_xy * scale - x * y * (1.0 / _NARROWING)
    most_cov = sqrt(var_x * var_y) * 0.9
    cov = minimum(maximum(cov, -most_cov), most_cov)
    return offset, height * sign, x + middle_x, y + middle_y, var_x, var_y, cov


@device
def write_symmetric(m, p, var_x, var_y, cov) -> None:
    """sigma from the two variances."""
    store(m, p + 3, sqrt(0.5 * (var_x + var_y)))


@device
def write_elliptic(m, p, var_x, var_y, cov) -> None:
    """sigma_x and sigma_y."""
    store(m, p + 3, sqrt(var_x))
    store(m, p + 4, sqrt(var_y))


@device
def write_rotated(m, p, var_x, var_y, cov) -> None:
    """The sigma matrix: the square root of the covariance V is (V + sqrt(det V)) / trace."""
    root = sqrt(var_x * var_y - cov * cov)
    scale = 1.0 / sqrt(var_x + var_y + root + root)
    store(m, p + 3, (var_x + root) * scale)
    store(m, p + 4, (var_y + root) * scale)
    store(m, p + 5, cov * scale)


@cache
def make_start(write_widths: Callable, size: int) -> Callable:
    """Starting values of one model: a kernel over a range of spots."""

    @kernel
    def start_values(pixels, ny, nx, polarity, start) -> None:
        """Write ``start[n, P]``, as the fit takes it, for spots ``pixels[n, ny * nx]``.

        ``polarity`` is 1 for bright spots, -1 for dark ones, 0 to look at each.
        """
        count = pixels.shape[0]
        p = ny * nx
        m = lane_rows(p + size)
        for first in range(0, count, WIDTH):
            present = min(WIDTH, count - first)
            for lane in range(present):
                source, target = pixels[first + lane], m[:, lane]
                for k in range(p):
                    target[k] = source[k]
            offset, height, x, y, var_x, var_y, cov = _moments(m, ny, nx, polarity)
            store(m, p, height)
            store(m, p + 1, x)
            store(m, p + 2, y)
            write_widths(m, p, var_x, var_y, cov)
            store(m, p + size - 1, offset)
            for lane in range(present):
                for i in range(size):
                    start[first + lane, i] = m[p + i, lane]

    return start_values
