"""Where a spot is among its pixels, a register of spots at once.

At every corner of pixels the *response* is the mean of the 2**D pixels that meet there (along a
profile of four in a row) without the largest and the smallest of them: light noise, and a
single hot or dead pixel leaves none. The spot is where the response differs most from the
level around it. Where ``polarity`` is not given, the spot is dark if the response is below the
level. The level is the mean of the middle ones of the means along the sides (two a dimension), each
without its largest and smallest pixel; of the two sides of a profile it is the one nearer to the
mean of all.

Responses are weighted by windows, (1 - d**2 / (2 w)**2)**2, near enough to a Gaussian of the
standard deviation w, and 0 beyond 2 w.

Pixels that are NaN get the mean of their neighbours first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device
from ..simd.lanes import broadcast, load, maximum, minimum, select, store
from ..simd.mask_bits import mask_bits

_LEAST_TRIMMED = 5  # pixels of a mean from which two are left out

# -- missing pixels ----------------------------------------------------------------------------


@device
def _neighbours(m, nz, ny, nx, k, j, i):
    """Sum and number of the existing neighbours of a pixel along the axes."""
    total, count = broadcast(0.0), broadcast(0.0)
    for step in range(6):
        a, b, c = k, j, i
        side = 1 if step % 2 else -1
        if step < 2:
            c += side
        elif step < 4:
            b += side
        else:
            a += side
        if 0 <= a < nz and 0 <= b < ny and 0 <= c < nx:
            d = load(m, (a * ny + b) * nx + c)
            total = total + select(d == d, d, 0.0)
            count = count + select(d == d, broadcast(1.0), 0.0)
    return total, count


@device
def _fill(m, nz, ny, nx) -> None:
    """Give pixels that are NaN the mean of their neighbours, and what is left that of all."""
    whole, number = broadcast(0.0), broadcast(0.0)
    for _ in range(2):
        whole, number = broadcast(0.0), broadcast(0.0)
        for k in range(nz):
            for j in range(ny):
                for i in range(nx):
                    at = (k * ny + j) * nx + i
                    d = load(m, at)
                    total, count = _neighbours(m, nz, ny, nx, k, j, i)
                    d = select(d == d, d, total / count)
                    store(m, at, d)
                    whole = whole + select(d == d, d, 0.0)
                    number = number + select(d == d, broadcast(1.0), 0.0)
    mean = select(number > 0.0, whole / number, 0.0)
    for at in range(nz * ny * nx):
        d = load(m, at)
        store(m, at, select(d == d, d, mean))


# -- where the spot is -------------------------------------------------------------------------


@device
def _mean(m, ny, nx, z, y, x):
    """Mean of a box, given by (first, end) for each axis, without its largest and smallest pixel.

    A hot pixel in a corner would else raise the means of all sides that meet there.
    """
    total = broadcast(0.0)
    high, low = broadcast(-np.inf), broadcast(np.inf)
    for k in range(z[0], z[1]):
        for j in range(y[0], y[1]):
            for i in range(x[0], x[1]):
                d = load(m, (k * ny + j) * nx + i)
                total, high, low = total + d, maximum(d, high), minimum(d, low)
    count = (z[1] - z[0]) * (y[1] - y[0]) * (x[1] - x[0])
    if count < _LEAST_TRIMMED:
        return total / float(count)
    return (total - high - low) / float(count - 2)


@cache
def _make_sides(axes: int) -> Callable:
    """The lowest and the highest of the means along the sides, and the level."""

    @device
    def part(side, axis, n, thick):
        """First and end of a side along an axis; all of the other axes."""
        if side // 2 != axis:
            return 0, n
        return (n - thick, n) if side % 2 else (0, thick)

    @device
    def sides(m, nz, ny, nx):
        """A side is one pixel thick, an eighth of a profile."""
        thick = max(1, nx // 8) if axes == 1 else 1
        low = high = total = broadcast(0.0)
        for side in range(2 * axes):
            x, y, z = part(side, 0, nx, thick), part(side, 1, ny, 1), part(side, 2, nz, 1)
            mean = _mean(m, ny, nx, z, y, x)
            if side == 0:
                low, high, total = mean, mean, mean
            else:
                low, high, total = minimum(mean, low), maximum(mean, high), total + mean
        if axes == 1:
            middle = _mean(m, ny, nx, (0, nz), (0, ny), (0, nx))
            return low, high, select(high - middle < middle - low, high, low)
        return low, high, (total - low - high) * (1.0 / (2 * axes - 2))

    return sides


@device
def _pair(a, b):
    """Sum, largest and smallest of two numbers."""
    return a + b, maximum(a, b), minimum(a, b)


@device
def _join(one, other):
    """Sum, largest and smallest of two groups."""
    return one[0] + other[0], maximum(one[1], other[1]), minimum(one[2], other[2])


@cache
def _make_group(axes: int) -> Callable:
    """Sum, largest and smallest of the pixels of a column that meet at corners."""

    @device
    def group(m, nz, ny, nx, k, j, i):
        at = (k * ny + j) * nx + i
        if axes == 1:
            along = load(m, at), load(m, min(i + 1, nx - 1))
            return _pair(along[0], along[1])
        down = nx if j + 1 < ny else 0
        pair = _pair(load(m, at), load(m, at + down))
        if axes == 2:
            return pair
        under = at + (nx * ny if k + 1 < nz else 0)
        return _join(pair, _pair(load(m, under), load(m, under + down)))

    return group


@cache
def _make_survey(axes: int) -> Callable:
    """Write the responses, and find where they stand out most."""
    group = _make_group(axes)
    apart = 2 if axes == 1 else 1  # from a group to that with which it makes a response
    scale = 1.0 / (2 ** max(axes, 2) - 2)

    @device
    def survey(m, nz, ny, nx, responses, windows, level):
        """``(brightest, where)``, ``(darkest, where)``, and a sum of all pixels.

        ``windows`` is where the weights of responses stand, along x, y and z.
        """
        along_y, along_z = windows + nx, windows + nx + ny
        highest, lowest = broadcast(-np.inf), broadcast(np.inf)
        at_highest, at_lowest = broadcast(0.0), broadcast(0.0)
        total = broadcast(0.0)
        for k in range(max(nz - 1, 1)):
            for j in range(max(ny - 1, 1)):
                weight = load(m, along_y + j) * load(m, along_z + k)
                first = group(m, nz, ny, nx, k, j, 0)
                after = group(m, nz, ny, nx, k, j, min(1, nx - 1))
                index = broadcast(float((k * ny + j) * nx))
                for i in range(max(nx - 1 - 2 * (apart - 1), 1)):
                    last = group(m, nz, ny, nx, k, j, min(i + apart, nx - 1))
                    whole, high, low = _join(first, last)
                    response = (whole - high - low) * scale
                    store(m, responses + (k * ny + j) * nx + i, response)
                    v = (response - level) * (weight * load(m, windows + i))
                    above, below = v > highest, v < lowest
                    highest, lowest = maximum(v, highest), minimum(v, lowest)
                    at_highest = select(above, index, at_highest)
                    at_lowest = select(below, index, at_lowest)
                    index = index + 1.0
                    total = total + whole
                    first, after = (after, last) if apart == 2 else (last, last)
        return (highest, at_highest), (lowest, at_lowest), total

    return survey


@device
def window_weight(distance, inverse):
    """The window, with ``inverse`` the inverse of twice its standard deviation."""
    u = distance * inverse
    inside = maximum(1.0 - u * u, broadcast(0.0))
    return inside * inside


@cache
def make_find(axes: int) -> Callable:
    """Where a spot stands out of its surroundings."""
    sides, survey = _make_sides(axes), _make_survey(axes)

    @device
    def find(m, nz, ny, nx, polarity, responses, windows):
        """Offset, sign, index of the peak among the responses, and whether it is a peak."""
        filled = False
        while True:  # twice at most; a loop, because the compiler copies each call
            low, high, level = sides(m, nz, ny, nx)
            bright, dark, total = survey(m, nz, ny, nx, responses, windows, level)
            if filled or not mask_bits(total != total):
                break
            _fill(m, nz, ny, nx)
            filled = True
        is_dark = -dark[0] > bright[0]
        if polarity != 0:
            is_dark = (is_dark | ~is_dark) if polarity < 0 else (is_dark & ~is_dark)
        sign = select(is_dark, broadcast(-1.0), broadcast(1.0))
        shown = select(is_dark, -dark[0], bright[0]) > 0.0
        index = select(is_dark, dark[1], bright[1])
        return select(is_dark, high, low), sign, index, shown

    return find
