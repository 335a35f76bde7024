"""Slopes of the background from the sides of spots, and their pixels without them, to start from.

Along each axis the slope is the difference of the medians of the pixels at both ends, a fifth of
the axis at each: a neighbour at one side, or a spot away from the middle, covers less than half of
them as a rule. What is left of the plane is level enough for the search of a start.
"""

from __future__ import annotations

import math

import numpy as np

from .._compile import device, kernel

_END = 5  # part of an axis that is one of its ends, 1 / _END


@device
def _median_of(pixels, item, sides, ny, nx, values):
    """The median of the finite pixels of a part of a spot, ``sides`` (first, last) by axis z, y, x.

    NaN without any.
    """
    count = 0
    for k in range(sides[0], sides[1]):
        for j in range(sides[2], sides[3]):
            for i in range(sides[4], sides[5]):
                value = np.float64(pixels[item, (k * ny + j) * nx + i])
                if math.isfinite(value):
                    values[count] = value
                    count += 1
    if not count:
        return np.nan
    part = np.sort(values[:count])
    return 0.5 * (part[(count - 1) // 2] + part[count // 2])


@device
def _mean_place(places, row, first, last):
    """The mean coordinate of points first .. last - 1 of an axis; ``places`` may have no length."""
    total = 0.0
    for i in range(first, last):
        total += places[row, i] if places.shape[1] else float(i)
    return total / max(last - first, 1)


@device
def _slope(rise, run):
    """Rise by run; 0 where either is not known."""
    slope = rise / run if run > 0.0 else 0.0
    return slope if math.isfinite(slope) else 0.0


@kernel
def level_spots(pixels, places, nz, ny, nx, slopes, level) -> None:
    """Write ``slopes[n, D]``, and ``level[n, p]``: pixels less their plane through the middle."""
    values, axes = np.empty(pixels.shape[1]), slopes.shape[1]
    end_x, end_y, end_z = max(nx // _END, 1), max(ny // _END, 1), max(nz // _END, 1)
    for item in range(pixels.shape[0]):
        row = min(item, len(places) - 1)
        first_x = _mean_place(places, row, 0, min(1, nx))
        last_x = _mean_place(places, row, nx - 1, nx)
        low = _median_of(pixels, item, (0, nz, 0, ny, 0, end_x), ny, nx, values)
        high = _median_of(pixels, item, (0, nz, 0, ny, nx - end_x, nx), ny, nx, values)
        run = _mean_place(places, row, nx - end_x, nx) - _mean_place(places, row, 0, end_x)
        by_x, by_y, by_z = _slope(high - low, run), 0.0, 0.0
        slopes[item, 0] = by_x
        if axes > 1:
            low = _median_of(pixels, item, (0, nz, 0, end_y, 0, nx), ny, nx, values)
            high = _median_of(pixels, item, (0, nz, ny - end_y, ny, 0, nx), ny, nx, values)
            by_y = _slope(high - low, float(ny - end_y))
            slopes[item, 1] = by_y
        if axes > 2:
            low = _median_of(pixels, item, (0, end_z, 0, ny, 0, nx), ny, nx, values)
            high = _median_of(pixels, item, (nz - end_z, nz, 0, ny, 0, nx), ny, nx, values)
            by_z = _slope(high - low, float(nz - end_z))
            slopes[item, 2] = by_z
        middle = 0.5 * (first_x + last_x)
        for k in range(nz):
            for j in range(ny):
                plane = by_y * (j - 0.5 * (ny - 1)) + by_z * (k - 0.5 * (nz - 1))
                for i in range(nx):
                    x = places[row, i] if places.shape[1] else float(i)
                    at = (k * ny + j) * nx + i
                    level[item, at] = pixels[item, at] - (by_x * (x - middle) + plane)
