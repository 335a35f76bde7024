"""Starting values of spots from their pixels, eight spots at once.

The offset is the lowest of the means along the sides of the ROI (two a dimension), which a
neighbour at one side does not reach. The height is the largest value in the middle of the
ROI, half as wide, above that offset. Centre and widths are the moments of what rises
above a fraction ``_CUT`` of the height. For a dark spot all is upside down; where nobody
says, a spot is dark if the mean of its middle lies below all sides. Pixels that are NaN do
not take part.

For a Gaussian in D dimensions, cut at a fraction c of its height, with rho running from 0
to R = sqrt(-2 ln c), the second moment along an axis is

    sigma**2 * int rho**(D + 1) g d rho / (D int rho**(D - 1) g d rho),  g = exp(-rho**2 / 2) - c,

by whose known factor the measured one is divided.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device, kernel
from ..simd.lane_types import WIDTH
from ..simd.lanes import absolute, broadcast, lane_rows, load, maximum, minimum, select, sqrt, store
from ..simd.mask_bits import mask_bits

_CUT = 0.3
_LEAST_SIGMA = 0.5  # pixels; a narrower spot is one pixel, whose moments are 0


def _narrowing(axes: int) -> float:
    """The second moment of what rises above the cut, for sigma = 1."""
    nodes, weights = np.polynomial.legendre.leggauss(30)
    rho = math.sqrt(-2.0 * math.log(_CUT)) * 0.5 * (nodes + 1.0)
    mass = weights * (np.exp(-0.5 * rho**2) - _CUT) * rho ** (axes - 1)
    return float((mass * rho**2).sum() / (axes * mass.sum()))


@device
def _mean(m, ny, nx, z, y, x):
    """Mean of the existing pixels of a box, given by (first, end) for each axis."""
    total = broadcast(0.0)
    count = broadcast(0.0)
    for k in range(z[0], z[1]):
        for j in range(y[0], y[1]):
            for i in range(x[0], x[1]):
                d = load(m, (k * ny + j) * nx + i)
                total = total + select(d == d, d, 0.0)
                count = count + select(d == d, broadcast(1.0), 0.0)
    return total / count


@device
def _widen(low, high, mean):
    """The range of means seen so far; NaN changes nothing."""
    return minimum(mean, low), maximum(mean, high)


@cache
def _make_sides(axes: int) -> Callable:
    """The range of the means along the sides."""

    @device
    def sides(m, nz, ny, nx):
        """Lowest and highest; a side is one pixel thick, an eighth of a profile."""
        thick = max(1, nx // 8) if axes == 1 else 1
        x, y, z = (0, nx), (0, ny), (0, nz)
        low = broadcast(np.inf)
        high = broadcast(-np.inf)
        low, high = _widen(low, high, _mean(m, ny, nx, z, y, (0, thick)))
        low, high = _widen(low, high, _mean(m, ny, nx, z, y, (nx - thick, nx)))
        if axes > 1:
            low, high = _widen(low, high, _mean(m, ny, nx, z, (0, 1), x))
            low, high = _widen(low, high, _mean(m, ny, nx, z, (ny - 1, ny), x))
        if axes > 2:
            low, high = _widen(low, high, _mean(m, ny, nx, (0, 1), y, x))
            low, high = _widen(low, high, _mean(m, ny, nx, (nz - 1, nz), y, x))
        return low, high

    return sides


@device
def _range(m, ny, nx, z, y, x):
    """Least, most and mean of the existing pixels of a box."""
    least = broadcast(np.inf)
    most = broadcast(-np.inf)
    total = broadcast(0.0)
    count = broadcast(0.0)
    for k in range(z[0], z[1]):
        for j in range(y[0], y[1]):
            for i in range(x[0], x[1]):
                d = load(m, (k * ny + j) * nx + i)
                least = minimum(d, least)
                most = maximum(d, most)
                total = total + select(d == d, d, 0.0)
                count = count + select(d == d, broadcast(1.0), 0.0)
    return least, most, total / count


@device
def _middle(n):
    """The middle half of an axis."""
    return n // 4, n - n // 4


@cache
def _make_moments(axes: int, placed: bool) -> Callable:
    """Offset, height, centre, variances and covariance of a group of spots."""
    sides = _make_sides(axes)
    factor = 1.0 / _narrowing(axes)

    @device
    def level(m, nz, ny, nx, polarity):
        """Offset, height and sign."""
        low, high = sides(m, nz, ny, nx)
        least, most, mean = _range(m, ny, nx, _middle(nz), _middle(ny), _middle(nx))
        hollow = ~(most > -np.inf)  # a saturated spot whose middle was masked
        bare = ~(high > -np.inf)  # no pixel at any side
        if mask_bits(hollow | bare):
            all_least, all_most, _ = _range(m, ny, nx, (0, nz), (0, ny), (0, nx))
            least = select(hollow, all_least, least)
            most = select(hollow, all_most, most)
            low = select(bare, all_least, low)
            high = select(bare, all_most, high)
        dark = mean < low
        if polarity != 0:
            dark = (dark | ~dark) if polarity < 0 else (dark & ~dark)
        sign = select(dark, broadcast(-1.0), broadcast(1.0))
        return select(dark, high, low), select(dark, high - least, most - low), sign

    @device
    def moments(m, nz, ny, nx, polarity, places):
        """``(offset, height, (x, y, z), (var_x, var_y, var_z), cov_xy)``."""
        offset, height, sign = level(m, nz, ny, nx, polarity)
        zero = broadcast(0.0)
        total = zero
        sum_x = zero
        sum_y = zero
        sum_z = zero
        sum_xx = zero
        sum_yy = zero
        sum_zz = zero
        sum_xy = zero
        middle_x = broadcast(0.5 * (nx - 1))
        spacing = broadcast(1.0)
        if placed:
            first, final = load(m, places), load(m, places + nx - 1)
            middle_x = (first + final) * 0.5
            spacing = absolute(final - first) / float(max(nx - 1, 1))
        middle_y = 0.5 * (ny - 1)
        middle_z = 0.5 * (nz - 1)
        for k in range(nz):
            z = k - middle_z
            for j in range(ny):
                y = j - middle_y
                row = zero
                row_x = zero
                row_xx = zero
                for i in range(nx):
                    w = (load(m, (k * ny + j) * nx + i) - offset) * sign - height * _CUT
                    w = maximum(w, zero)
                    x = float(i) - middle_x
                    if placed:
                        x = load(m, places + i) - middle_x
                        after = load(m, places + min(i + 1, nx - 1))
                        w = w * absolute(after - load(m, places + max(i - 1, 0)))
                    wx = w * x
                    row = row + w
                    row_x = row_x + wx
                    row_xx = row_xx + wx * x
                total = total + row
                sum_x = sum_x + row_x
                sum_y = sum_y + row * y
                sum_z = sum_z + row * z
                sum_xx = sum_xx + row_xx
                sum_yy = sum_yy + row * (y * y)
                sum_zz = sum_zz + row * (z * z)
                sum_xy = sum_xy + row_x * y
        flat = ~(total > 0.0)
        inverse = select(flat, 0.0, 1.0 / select(flat, 1.0, total))
        x, y, z = sum_x * inverse, sum_y * inverse, sum_z * inverse
        least = spacing * spacing * (_LEAST_SIGMA * _LEAST_SIGMA)
        var_x = maximum((sum_xx * inverse - x * x) * factor, least)
        var_y = maximum((sum_yy * inverse - y * y) * factor, least)
        var_z = maximum((sum_zz * inverse - z * z) * factor, least)
        cov = (sum_xy * inverse - x * y) * factor
        most_cov = sqrt(var_x * var_y) * 0.9
        cov = minimum(maximum(cov, -most_cov), most_cov)
        centre = (x + middle_x, y + middle_y, z + middle_z)
        return offset, height * sign, centre, (var_x, var_y, var_z), cov

    return moments


@cache
def make_symmetric(axes: int) -> Callable:
    """One width for all axes."""

    @device
    def write(m, p, variances, cov) -> None:
        total = variances[0]
        if axes > 1:
            total = total + variances[1]
        if axes > 2:
            total = total + variances[2]
        store(m, p + 1 + axes, sqrt(total * (1.0 / axes)))

    return write


@cache
def make_elliptic(axes: int) -> Callable:
    """A width for each axis."""

    @device
    def write(m, p, variances, cov) -> None:
        store(m, p + 1 + axes, sqrt(variances[0]))
        store(m, p + 2 + axes, sqrt(variances[1]))
        if axes > 2:
            store(m, p + 3 + axes, sqrt(variances[2]))

    return write


@device
def write_rotated(m, p, variances, cov) -> None:
    """The sigma matrix: the square root of the covariance V is (V + sqrt(det V)) / trace."""
    var_x, var_y, _ = variances
    root = sqrt(var_x * var_y - cov * cov)
    scale = 1.0 / sqrt(var_x + var_y + root + root)
    store(m, p + 3, (var_x + root) * scale)
    store(m, p + 4, (var_y + root) * scale)
    store(m, p + 5, cov * scale)


@cache
def make_start(
    write_widths: Callable, size: int, axes: int, placed: bool, wrap: Callable = kernel
) -> Callable:
    """Starting values of one model: a kernel over a range of spots; ``wrap`` may be ``device``."""
    moments = _make_moments(axes, placed)

    @wrap
    def start_values(pixels, coords, nz, ny, nx, polarity, start) -> None:
        """Write ``start[n, P]``, as the fit takes it, for spots ``pixels[n, nz * ny * nx]``.

        ``polarity`` is 1 for bright spots, -1 for dark ones, 0 to look at each;
        ``coords[n or 1, nx]`` the places of the pixels of a profile, or of no length.
        """
        count = pixels.shape[0]
        places = nz * ny * nx
        p = places + coords.shape[1]
        m = lane_rows(p + size)
        for first in range(0, count, WIDTH):
            present = min(WIDTH, count - first)
            for lane in range(present):
                source, target = pixels[first + lane], m[:, lane]
                for k in range(source.size):
                    target[k] = source[k]
                where = coords[min(first + lane, len(coords) - 1)]
                for k in range(where.size):
                    m[places + k, lane] = where[k]
            offset, height, centre, variances, cov = moments(m, nz, ny, nx, polarity, places)
            store(m, p, height)
            for a in range(axes):
                store(m, p + 1 + a, centre[a])
            write_widths(m, p, variances, cov)
            store(m, p + size - 1, offset)
            for lane in range(present):
                for i in range(size):
                    start[first + lane, i] = m[p + i, lane]

    return start_values
