"""Starting values of spots from their pixels, a register of spots at once.

Where a spot is stands in ``start_places``. Where somebody told its place, each response there
counts by a window of ``_NEAR`` expected sigmas around it, which a neighbour outside has no
part in, and what is found is no wider than expected.

The offset is the lowest of the means along the sides (the highest, for a dark spot), which a
neighbour at one side does not reach. Centre and widths are the moments of what of the response
rises above a fraction ``_CUT`` of its peak, at most ``_TOP`` of it, in a window around the peak.
For a Gaussian in D dimensions, cut at a fraction c of its height, with rho running from 0
to R = sqrt(-2 ln c), the second moment along an axis is

    sigma**2 * int rho**(D + 1) g d rho / (D int rho**(D - 1) g d rho),  g = exp(-rho**2 / 2) - c,

by whose known factor the measured one is divided. A window of the standard deviation w makes
1 / v + 1 / w**2 of the inverse 1 / v of a variance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device, kernel
from ..simd.lane_types import WIDTH
from ..simd.lanes import (
    absolute,
    broadcast,
    floor,
    lane_rows,
    load,
    maximum,
    minimum,
    select,
    sqrt,
    store,
)
from ..simd.stack_memory import flat_view
from ..simd.transpose import put_rows
from .start_places import make_find, window_weight

_CUT, _TOP = 0.3, 1.3
_LEAST_SIGMA = 0.5  # pixels; a narrower spot is one pixel, whose moments are 0
_WINDOW = 0.3  # of the ROI: the window of the moments where the width of spots is not known
_NEAR, _TIGHT = 1.5, 0.7  # of the expected sigma: the window of the place, and of the moments
_CELL = 0.25  # variance of the places of the pixels of a response, in pixels squared
_MOST_WIDER = 0.9  # of the window's variance: what a moment is taken for at most
_TINY = 1e-300


def _narrowing(axes: int) -> float:
    """The second moment of what rises above the cut, for sigma = 1."""
    nodes, weights = np.polynomial.legendre.leggauss(30)
    rho = math.sqrt(-2.0 * math.log(_CUT)) * 0.5 * (nodes + 1.0)
    mass = weights * (np.exp(-0.5 * rho**2) - _CUT) * rho ** (axes - 1)
    return float((mass * rho**2).sum() / (axes * mass.sum()))


@cache
def _make_moments(axes: int, placed: bool) -> Callable:
    """Offset, height, centre, variances and covariance of a group of spots."""
    find = make_find(axes)
    factor = 1.0 / _narrowing(axes)

    # -- places and windows --------------------------------------------------------------------

    @device
    def position(m, i, n, places):
        """The middle of the pixels of response i of an axis; along x it may be a place."""
        if placed:
            return (load(m, places + min(i + 1, n - 1)) + load(m, places + min(i + 2, n - 1))) * 0.5
        if axes == 1:
            return broadcast(0.5 * (min(i + 1, n - 1) + min(i + 2, n - 1)))
        return broadcast(i + 0.5 * min(n - 1, 1))

    @device
    def fill_window(m, n, places, centre, deviation, table) -> None:
        inverse = 0.5 / deviation
        for i in range(n):
            store(m, table + i, window_weight(position(m, i, n, places) - centre, inverse))

    @device
    def fill_windows(m, nz, ny, nx, places, centre, deviations, windows) -> None:
        fill_window(m, nx, places, centre[0], deviations[0], windows)
        if axes > 1:
            fill_window(m, ny, places, centre[1], deviations[1], windows + nx)
        if axes > 2:
            fill_window(m, nz, places, centre[2], deviations[2], windows + nx + ny)

    @device
    def centre_of(m, nz, ny, nx, places, index, work):
        """Where a response is."""
        row = floor((index + 0.5) * (1.0 / nx))
        i = index - row * float(nx)
        if axes == 1:
            if not placed:
                half = 0.5 * (min(1, nx - 1) + min(2, nx - 1))
                return i + half, i, i
            store(m, work, i)
            for lane in range(WIDTH):
                at = int(m[work, lane])
                one, other = min(at + 1, nx - 1), min(at + 2, nx - 1)
                m[work, lane] = 0.5 * (m[places + one, lane] + m[places + other, lane])
            x = load(m, work)
            return x, x, x
        k = floor((row + 0.5) * (1.0 / ny))
        j = row - k * float(ny)
        return (
            i + 0.5 * min(nx - 1, 1), j + 0.5 * min(ny - 1, 1), k + 0.5 * min(nz - 1, 1)
        )  # fmt: skip

    # -- sums over responses -------------------------------------------------------------------

    @device
    def sums(m, nz, ny, nx, places, responses, windows, centre, offset, sign, height):
        """Sums of the moments about ``centre``."""
        zero = broadcast(0.0)
        total = zero
        sum_x = zero
        sum_y = zero
        sum_z = zero
        sum_xx = zero
        sum_yy = zero
        sum_zz = zero
        sum_xy = zero
        y = zero
        z = zero
        least, most = height * _CUT, height * (_TOP - _CUT)
        for k in range(max(nz - 1, 1)):
            if axes > 2:
                z = position(m, k, nz, places) - centre[2]
            for j in range(max(ny - 1, 1)):
                if axes > 1:
                    y = position(m, j, ny, places) - centre[1]
                row = zero
                row_x = zero
                row_xx = zero
                at_x = position(m, 0, nx, places)
                for i in range(max(nx - 1, 1) if axes > 1 else max(nx - 3, 1)):
                    w = (load(m, responses + (k * ny + j) * nx + i) - offset) * sign - least
                    w = minimum(maximum(w, zero), most) * load(m, windows + i)
                    if axes == 1:  # else neighbours are 1 apart, which takes one addition
                        at_x = position(m, i, nx, places)
                    x = at_x - centre[0]
                    at_x = at_x + 1.0
                    if placed:
                        extent = load(m, places + min(i + 3, nx - 1)) - load(m, places + i)
                        w = w * absolute(extent)
                    wx = w * x
                    row = row + w
                    row_x = row_x + wx
                    row_xx = row_xx + wx * x
                weight = load(m, windows + nx + j) * load(m, windows + nx + ny + k)
                row, row_x, row_xx = row * weight, row_x * weight, row_xx * weight
                total = total + row
                sum_x = sum_x + row_x
                sum_y = sum_y + row * y
                sum_z = sum_z + row * z
                sum_xx = sum_xx + row_xx
                sum_yy = sum_yy + row * (y * y)
                sum_zz = sum_zz + row * (z * z)
                sum_xy = sum_xy + row_x * y
        return total, (sum_x, sum_y, sum_z), (sum_xx, sum_yy, sum_zz), sum_xy

    # -- the moments ---------------------------------------------------------------------------

    @device
    def widen(sum_1, sum_2, inverse, deviation):
        """Mean, variance, and by what both grow without the window."""
        mean = sum_1 * inverse
        variance = sum_2 * inverse - mean * mean
        square = deviation * deviation
        grow = square / maximum(square - variance, square * (1.0 - _MOST_WIDER))
        return mean * grow, variance * grow * factor, grow

    @device
    def moments(m, nz, ny, nx, polarity, places, responses, windows, guide, sigmas, guided):
        """``(offset, height, (x, y, z), (var_x, var_y, var_z), cov_xy)``."""
        extent = broadcast(1.0)
        if placed:
            extent = absolute(load(m, places + nx - 1) - load(m, places)) / float(max(nx - 1, 1))
        for i in range(nx + ny + nz):
            store(m, windows + i, broadcast(1.0))
        near = sigmas[0] * _NEAR, sigmas[1] * _NEAR, sigmas[2] * _NEAR
        if guided:
            fill_windows(m, nz, ny, nx, places, guide, near, windows)
        offset, sign, index, shown = find(m, nz, ny, nx, polarity, responses, windows)
        work = windows + nx + ny + nz
        centre = centre_of(m, nz, ny, nx, places, index, work)
        store(m, work, index)
        for lane in range(WIDTH):
            m[work, lane] = m[responses + int(m[work, lane]), lane]
        height = maximum((load(m, work) - offset) * sign, broadcast(_TINY))
        deviations = (
            extent * (_WINDOW * nx), broadcast(_WINDOW * ny), broadcast(_WINDOW * nz)
        )  # fmt: skip
        if guided:
            centre = (
                select(shown, centre[0], guide[0]),
                select(shown, centre[1], guide[1]),
                select(shown, centre[2], guide[2]),
            )
            deviations = sigmas[0] * _TIGHT, sigmas[1] * _TIGHT, sigmas[2] * _TIGHT
        fill_windows(m, nz, ny, nx, places, centre, deviations, windows)
        total, first, second, cross = sums(
            m, nz, ny, nx, places, responses, windows, centre, offset, sign, height
        )
        flat = ~(total > 0.0)
        inverse = select(flat, 0.0, 1.0 / select(flat, 1.0, total))
        x, var_x, grow_x = widen(first[0], second[0], inverse, deviations[0])
        y, var_y, grow_y = widen(first[1], second[1], inverse, deviations[1])
        z, var_z, _ = widen(first[2], second[2], inverse, deviations[2])
        cov = (cross * inverse - x * y / (grow_x * grow_y)) * sqrt(grow_x * grow_y) * factor
        least = broadcast(_LEAST_SIGMA * _LEAST_SIGMA)
        var_x = maximum(var_x - extent * extent * _CELL, extent * extent * least)
        var_y = maximum(var_y - _CELL, least)
        var_z = maximum(var_z - _CELL, least)
        if guided:
            var_x = minimum(var_x, sigmas[0] * sigmas[0])
            var_y = minimum(var_y, sigmas[1] * sigmas[1])
            var_z = minimum(var_z, sigmas[2] * sigmas[2])
        most_cov = sqrt(var_x * var_y) * 0.9
        cov = minimum(maximum(cov, -most_cov), most_cov)
        rise = extent * extent / var_x
        if axes > 1:
            rise = rise + 1.0 / var_y
        if axes > 2:
            rise = rise + 1.0 / var_z
        middle = (centre[0] + x, centre[1] + y, centre[2] + z)
        peak = height * sign * (rise * (0.5 * _CELL) + 1.0)
        return offset, peak, middle, (var_x, var_y, var_z), cov

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
    """Starting values of one model: a kernel over spots; ``wrap`` may be ``inner_kernel``."""
    moments = _make_moments(axes, placed)

    @device
    def fetch(m, places, coords, guides, item, lane, guide):
        """Put what is known of a spot's places into a lane."""
        row = min(item, len(coords) - 1)
        for k in range(coords.shape[1]):
            m[places + k, lane] = coords[row, k]
        if guides.shape[0]:
            for a in range(guides.shape[1]):
                m[guide + a, lane] = guides[item, a]

    @wrap
    def start_values(pixels, coords, nz, ny, nx, polarity, guides, sigmas, start) -> None:
        """Write ``start[n, P]``, as the fit takes it, for spots ``pixels[n, nz * ny * nx]``.

        ``polarity`` is 1 for bright spots, -1 for dark ones, 0 to look at each;
        ``coords[n or 1, nx]`` the places of the pixels of a profile, or of no length.
        ``guides[n, D]`` are the places of the spots (x, y, z), or of no length, and ``sigmas[D]``
        how wide spots will be there.
        """
        count = pixels.shape[0]
        places = nz * ny * nx
        guide = places + max(coords.shape[1], WIDTH)
        p = guide + 3
        responses = p + size
        windows = responses + places
        m = lane_rows(windows + nx + ny + nz + 1)
        numbers = flat_view(pixels)
        for a in range(3):
            store(m, guide + a, broadcast(0.0))
        guided = guides.shape[0] > 0
        expected = broadcast(1.0), broadcast(1.0), broadcast(1.0)
        if guided:
            expected = (
                broadcast(sigmas[0]), broadcast(sigmas[min(1, axes - 1)]),
                broadcast(sigmas[axes - 1]),
            )  # fmt: skip
        for first in range(0, count, WIDTH):
            present = min(WIDTH, count - first)
            put_rows(numbers, first, present, places, m, 0)
            for lane in range(present):
                fetch(m, places, coords, guides, first + lane, lane, guide)
            near = load(m, guide), load(m, guide + 1), load(m, guide + 2)
            offset, height, centre, variances, cov = moments(
                m, nz, ny, nx, polarity, places, responses, windows, near, expected, guided
            )
            store(m, p, height)
            for a in range(axes):
                store(m, p + 1 + a, centre[a])
            write_widths(m, p, variances, cov)
            store(m, p + size - 1, offset)
            for lane in range(present):
                for i in range(size):
                    start[first + lane, i] = m[p + i, lane]

    return start_values
