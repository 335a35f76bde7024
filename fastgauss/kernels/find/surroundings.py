"""What is around points: the core and the ring of a spot, the brightest neighbour, arms."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .._compile import device, kernel
from ..simd.compress import count_bits
from ..simd.lanes import load
from ..simd.mask_bits import mask_bits
from ..simd.masked import lane_count

CORE = 1.0  # radius of a spot's core in sigmas
RING = (2.0, 4.0)  # radii of the ring around it
_MAGNITUDE = np.int32(0x7FFFFFFF)  # the bits of a number without its sign
LOWEST = 1e-40  # height of a maximum; float32 holds none that is lower


@lru_cache(maxsize=4)
def core_and_ring(sigmas: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray, float]:
    """Offsets of the core of a spot and of the ring around it, and the contrast between both.

    Returns
    -------
    core, ring : ndarray (m, 3) int64
        Offsets of pixels; axes of sigma 0 are ignored.
    contrast : float
        Mean of the core less median of the ring for a noiseless spot of amplitude 1.
    """
    reach = [int(RING[1] * sigma) for sigma in sigmas]
    offsets = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1)
    offsets = offsets.reshape(-1, 3)
    unit = np.where(np.array(sigmas) > 0, sigmas, 1.0)
    radius = np.sqrt(np.sum((offsets / unit) ** 2, axis=1))
    core, ring = radius <= CORE, (radius >= RING[0]) & (radius <= RING[1])
    ideal = np.exp(-0.5 * radius**2)
    return offsets[core], offsets[ring], float(np.mean(ideal[core]) - np.median(ideal[ring]))


@device
def _ranked(bits):
    """The bits of a float32 number as an integer of the same order, and the reverse."""
    return np.int32(bits ^ ((bits >> 31) & _MAGNITUDE))


@device
def _number_upto(values, size, limit):
    """How many of the first ``size`` values are not above a limit; registers are filled."""
    number = 0
    for i in range(0, size, lane_count(values)):
        number += count_bits(mask_bits(load(values, i) <= limit))
    return number


@device
def _middle(values, size, word):
    """The two middle ones of the first ``size`` values, which differ if that number is even.

    The lower one is found by bisection of what lies between the smallest and the largest: to count
    values up to a limit takes an instruction for each register. Infinity fills the last register.
    ``word`` (1,) float32 is scratch.
    """
    bits, of_values = word.view(np.int32), values.view(np.int32)
    least = most = _ranked(of_values[0])
    for i in range(1, size):  # compilers vectorise this of integers
        rank = _ranked(of_values[i])
        least, most = min(least, rank), max(most, rank)
    low, high = np.int64(least), np.int64(most)
    place, upto = (size + 1) // 2, size  # of the lower one, from 1; values up to the highest rank
    while low < high:
        middle = (low + high) >> 1
        bits[0] = _ranked(np.int32(middle))
        number = _number_upto(values, size, word[0])
        if number >= place:
            high, upto = middle, number
        else:
            low = middle + 1
    bits[0] = _ranked(np.int32(low))
    lower = upper = word[0]
    if size % 2 == 0 and upto == place:
        upper = np.float32(np.inf)
        for i in range(size):
            if values[i] > lower:
                upper = min(upper, values[i])
    return np.float64(lower), np.float64(upper)


@device
def _pixels(volume, gap, point, offsets, values):
    """Copy the valid pixels at offsets from a point that lie inside the volume; their number."""
    nz, ny, nx = volume.shape
    size = 0
    for i in range(offsets.shape[0]):
        z, y, x = point[0] + offsets[i, 0], point[1] + offsets[i, 1], point[2] + offsets[i, 2]
        inside = 0 <= z < nz and 0 <= y < ny and 0 <= x < nx
        if inside and (gap.size == 0 or not gap[z, y, x]):
            values[size] = volume[z, y, x]
            size += 1
    for i in range(size, values.size):
        values[i] = np.inf
    return size


@device
def _mean(volume, point, offsets):
    """The mean of the pixels at offsets from a point that lie inside the volume."""
    nz, ny, nx = volume.shape
    total, size = 0.0, 0
    for i in range(offsets.shape[0]):
        z, y, x = point[0] + offsets[i, 0], point[1] + offsets[i, 1], point[2] + offsets[i, 2]
        if 0 <= z < nz and 0 <= y < ny and 0 <= x < nx:
            total += np.float64(volume[z, y, x])
            size += 1
    return total / size


@device
def _is_inside(shape, point, reach):
    """Whether all pixels within a reach of a point lie inside the volume."""
    for axis in range(3):
        if point[axis] < reach[axis] or point[axis] >= shape[axis] - reach[axis]:
            return False
    return True


@kernel
def look_around(volume, gap, points, core, ring, around, start, stop):
    """The core and the ring of points ``start .. stop - 1``.

    Parameters
    ----------
    volume : ndarray (nz, ny, nx) float32
    gap : ndarray (nz, ny, nx) or (0, 0, 0) bool
        Missing pixels, which are no part of the ring; an empty array if there are none.
    points : ndarray (n, 3) int64
    core, ring : ndarray (m, 3) int64
        Offsets of pixels from a point. Pixels outside the volume are ignored.
    around : ndarray (4, n) float64
        The result: mean of the core; median of the ring, the lower one of its two middle pixels,
        and the number of its pixels. Without a pixel the medians are 0 and minus infinity.
    """
    _, ny, nx = volume.shape
    flat, width = volume.reshape(-1), lane_count(volume)
    values = np.full(-(-ring.shape[0] // width) * width, np.float32(np.inf))
    word = np.empty(1, np.float32)
    steps, reach = np.empty(ring.shape[0], np.int64), np.zeros(3, np.int64)
    for i in range(ring.shape[0]):
        steps[i] = (ring[i, 0] * ny + ring[i, 1]) * nx + ring[i, 2]
        for axis in range(3):
            reach[axis] = max(reach[axis], abs(ring[i, axis]))
    for p in range(start, stop):
        point = points[p]
        around[0, p] = _mean(volume, point, core)
        if gap.size == 0 and _is_inside(volume.shape, point, reach):
            size, here = steps.size, (point[0] * ny + point[1]) * nx + point[2]
            for i in range(size):
                values[i] = flat[here + steps[i]]
        else:
            size = _pixels(volume, gap, point, ring, values)
        around[1, p], around[2, p], around[3, p] = 0.0, -np.inf, size
        if size > 0:
            lower, upper = _middle(values, size, word)
            around[1, p] = 0.5 * (lower + upper)
            around[2, p] = lower


@kernel
def rougher_side(volume, points, half, out, start, stop):
    """The median absolute deviation of pixels on that side of a point where it is largest.

    Of points ``start .. stop - 1``.

    Parameters
    ----------
    volume : ndarray (nz, ny, nx) float32
    points : ndarray (n, 3) int64
    half : ndarray (3,) int64
        How far the pixels reach on both sides of an axis; those beyond the border are the
        outermost ones. On a side of an axis of reach 0 nothing is looked at.
    out : ndarray (n,) float64
        The result.
    """
    nz, ny, nx = volume.shape
    width = lane_count(volume)
    most = (2 * half[0] + 1) * (2 * half[1] + 1) * (2 * half[2] + 1)
    side = np.full(-(-most // width) * width, np.float32(np.inf))
    word, first, last = np.empty(1, np.float32), np.empty(3, np.int64), np.empty(3, np.int64)
    for p in range(start, stop):
        out[p] = 0.0
        for axis in range(3):
            for sign in range(-1, 2 if half[axis] > 0 else -1, 2):
                for k in range(3):
                    first[k] = points[p, k] - (0 if k == axis and sign > 0 else half[k])
                    last[k] = points[p, k] + (0 if k == axis and sign < 0 else half[k])
                size = 0
                for z in range(first[0], last[0] + 1):
                    for y in range(first[1], last[1] + 1):
                        row = volume[min(max(z, 0), nz - 1), min(max(y, 0), ny - 1)]
                        for x in range(first[2], last[2] + 1):
                            side[size] = row[min(max(x, 0), nx - 1)]
                            size += 1
                for i in range(size, side.size):
                    side[i] = np.inf
                lower, upper = _middle(side, size, word)
                median = 0.5 * (lower + upper)
                for i in range(size):
                    side[i] = abs(np.float64(side[i]) - median)
                lower, upper = _middle(side, size, word)
                out[p] = max(out[p], 0.5 * (lower + upper))


@kernel
def brightest(volume, points, best):
    """The brightest pixel among each of points (n, 3) and its neighbours.

    No equal neighbour takes the place of a point.
    """
    nz, ny, nx = volume.shape
    for p in range(points.shape[0]):
        z0, y0, x0 = points[p]
        best[p, 0], best[p, 1], best[p, 2] = z0, y0, x0
        highest = volume[z0, y0, x0]
        for z in range(max(z0 - 1, 0), min(z0 + 2, nz)):
            for y in range(max(y0 - 1, 0), min(y0 + 2, ny)):
                for x in range(max(x0 - 1, 0), min(x0 + 2, nx)):
                    if volume[z, y, x] > highest:
                        highest = volume[z, y, x]
                        best[p, 0], best[p, 1], best[p, 2] = z, y, x


@kernel
def have_arms(response, points, level, error, offsets, limits, doubtful, near, start, stop):
    """Which of maxima ``start .. stop - 1`` may have arms.

    Both sides of a direction are then as high as a part of the maximum.

    Parameters
    ----------
    points : ndarray (n, 3) int64
    level, error : ndarray (n,) float64
        Of the response.
    offsets : ndarray (directions, 2, 3) int64
        The two sides of each direction.
    limits : ndarray (directions,) float64
        What a side of a spot has at most, by the height of the maximum.
    doubtful : ndarray (n,) bool
        The result. A side outside the volume counts as high.
    near : ndarray (n, 2 * directions) float32
        The responses that were looked at: all first sides, then all second ones; NaN outside.
    """
    nz, ny, nx = response.shape
    for p in range(start, stop):
        z0, y0, x0 = points[p]
        height = max(response[z0, y0, x0] - level[p], LOWEST)
        doubtful[p] = False
        for d in range(limits.size):
            allowed = limits[d] * height - np.sqrt(1.0 + limits[d] ** 2) * error[p]
            high = True
            for side in range(2):
                step = offsets[d, side]
                z, y, x = z0 + step[0], y0 + step[1], x0 + step[2]
                value = np.float32(np.nan)
                if 0 <= z < nz and 0 <= y < ny and 0 <= x < nx:
                    value = response[z, y, x]
                    high = high and value - level[p] > allowed
                near[p, side * limits.size + d] = value
            doubtful[p] |= high
