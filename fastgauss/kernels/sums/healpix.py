"""HEALPix: which of the 12 nside**2 pixels of equal area contains a direction.

After Gorski et al. 2005 (ApJ 622, 759). With z = cos(theta) and the longitude t in quarter
turns, 0 <= t < 4, the pixels are the cells of two families of lines. Between the latitudes
|z| = 2/3 they are straight in z and t,

    u = nside (t + 1/2 - 3/4 z),      v = nside (t + 1/2 + 3/4 z),

and in a cap, whose quarter k has t = k + p, they run to the corners of the quarter:

    u = p s,      v = (1 - p) s,      s = nside sqrt(3 (1 - |z|)).

The whole parts of u and v, and k, are all that a pixel's number is made of, in rings
(``ring_number``) as in the nested order of the twelve base pixels (``nest_number``).

There are two implementations. ``ring_pixel`` and ``nest_pixel`` process one direction by the
operations of the HEALPix C++ library, in its order and with its roundings, so that they agree with
it in each pixel, also on edges and corners, except for some corners where the library returns the
number of a distant pixel or of none (see ``_belt_lines``). Over lanes, s = nside sqrt(6) sin(theta
/ 2) needs one short polynomial and no root. The lanes differ by rounding; if u or v is so close to
a whole number that this could matter, or the result is uncertain for another reason, the direction
is processed by the scalar implementation. The result is therefore the same in all cases, and in
most cases ten times faster.

Every number is in [0, 12 nside**2), for any rounding: the scalar implementation computes it from
integers within their ranges, and a lane whose number is outside goes to the scalar implementation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from .._compile import device, entry, kernel
from ..numeric.special import sin_octant
from ..simd.integers import rounded_product, spread_bits, spread_digits, store_whole
from ..simd.lane_types import WIDTH
from ..simd.lanes import absolute, floor, load, maximum, select
from ..simd.mask_bits import lowest_bit, mask_bits
from ..simd.prefetch import prefetch

MAX_NSIDE = 1 << 29
LANE_NSIDE = 1 << 24  # up to here all numbers of pixels are exact in float64

_HALF_PI = 0.5 * math.pi
_TURN = 2.0 * math.pi
_PI_LOW = 1.2246467991473532e-16  # pi - math.pi
_PER_QUARTER = 2.0 / math.pi
_TWO_THIRDS = 2.0 / 3.0
_POLE = 0.01  # from here to a pole cos(theta) is too flat, and sin(theta) is used
_FAR_POLE = 3.14159 - _POLE
_DOUBT = 2e-13  # of nside: more than all rounding errors together
_QUARTERS = 64.0  # of longitude, up to which that holds
_AHEAD = 16  # additions between prefetching a pixel and adding to it


class Frame(NamedTuple):
    """The meaning of two angles: theta = pole + slope * first, phi = scale * second."""

    pole: float
    slope: float
    scale: float
    largest: float  # largest theta that counts as pi


RADIANS = Frame(0.0, 1.0, 1.0, math.pi)
DEGREES = Frame(_HALF_PI, -math.pi / 180.0, math.pi / 180.0, math.pi)  # of latitude and longitude


# -- one direction -----------------------------------------------------------------------------


@device
def _quarters(phi):
    """Longitude in quarter turns, 0 <= t < 4."""
    if not 0.0 <= phi < _TURN:
        phi = np.fmod(phi, _TURN)
        if phi < 0.0:
            phi += _TURN
    t = rounded_product(phi, _PER_QUARTER)
    return t if t < 4.0 else 0.0


@device
def _from_pole(theta, z, size):
    """s of the module's text; ``size`` is nside as a float."""
    above = absolute(z)
    if above < 0.99 or _POLE <= theta <= _FAR_POLE:
        return size * math.sqrt(3.0 * (1.0 - above))
    return size * math.sin(theta) / math.sqrt((1.0 + above) / 3.0)


@device
def _belt_lines(z, t, size):
    """Whole parts of u and v between the caps, 0 to 5 nside.

    As |z| <= 2/3 and t < 4, they are of nside (t + 1/2) <= 9/2 nside and a second product that
    is at most nside / 2 and an ulp; what is below 0 by that ulp becomes 0.

    |u - v| <= nside holds of exact numbers, and of one of two rounded sums, but not of both: at
    the latitudes |z| = 2/3, where both are within rounding of whole numbers, the larger may come
    out one too large. Its rounding is the coarser. The HEALPix library takes it as it is, and
    gives a ring beyond the belt, the far corner of a base pixel, or a thirteenth of these.
    """
    along = rounded_product(size, 0.5 + t)
    across = rounded_product(rounded_product(size, z), 0.75)
    return np.int64(along - across), np.int64(along + across)


@device
def _cap_lines(theta, z, p, nside):
    """Whole parts of u and v in a cap, 0 to nside - 1.

    As s < nside and p < 1, that is so but for the rounding of the products.
    """
    s = _from_pole(theta, z, np.float64(nside))
    return min(np.int64(p * s), nside - 1), min(np.int64((1.0 - p) * s), nside - 1)


@device
def _beside_belt(low, nside, north):
    """The last pixel of a cap that meets the belt in a corner; ``low`` is the smaller of u and v.

    It is the one that the nested order has there, and lies in a cap as low % nside < nside - 1.
    """
    ring = nside - 1
    at = low // nside * ring + low % nside  # of 0 to 4 ring - 1, as low < 4 nside
    if north:
        return 2 * ring * (ring - 1) + at
    return 12 * nside * nside - 2 * ring * (ring + 1) + at


@device
def _ring_pixel(theta, phi, nside):
    z, t = math.cos(theta), _quarters(phi)
    around = 4 * nside
    if absolute(z) <= _TWO_THIRDS:
        u, v = _belt_lines(z, t, np.float64(nside))
        low, high = min(u, v), max(u, v)
        if high - low > nside:  # but for rounding never
            if low % nside < nside - 1:
                return _beside_belt(low, nside, v == high)
            u, v = min(u, v + nside), min(v, u + nside)
        ring = nside + 1 + u - v  # so this is 1 to 2 nside + 1
        at = (u + v + 2 - nside - (ring & 1) + 2 * around) >> 1
        return 2 * nside * (nside - 1) + (ring - 1) * around + at % around
    u, v = _cap_lines(theta, z, t - np.float64(np.int64(t)), nside)
    ring = min(u + v + 1, nside)  # u + v < nside, but for rounding
    at = min(np.int64(t * np.float64(ring)), 4 * ring - 1)  # likewise t < 4
    if z > 0.0:
        return 2 * ring * (ring - 1) + at
    return 12 * nside * nside - 2 * ring * (ring + 1) + at


@device
def _belt_face(u, v, nside):
    """Base pixel and place in it, of the whole parts of u and v between the caps."""
    if min(u, v) >= 4 * nside:  # t + 1/2 may be 9/2, rounded: then u or v is 5 nside
        u, v = u - 4 * nside, v - 4 * nside
    a, b = u // nside, v // nside
    a, b = min(a, b + 1), min(b, a + 1)  # |u - v| <= nside, but for rounding
    face = a | 4  # a = b is 0 to 4, and where they differ the smaller is 0 to 3
    if a != b:
        face = a if a < b else b + 8
    return face, min(v - b * nside, nside - 1), max((a + 1) * nside - u - 1, 0)


@device
def _nest_pixel(theta, phi, nside):
    z, t = math.cos(theta), _quarters(phi)
    if absolute(z) <= _TWO_THIRDS:
        face, x, y = _belt_face(*_belt_lines(z, t, np.float64(nside)), nside)
    else:
        k = np.int64(t)
        u, v = _cap_lines(theta, z, t - np.float64(k), nside)
        face = k if z >= 0.0 else k + 8
        x, y = (nside - v - 1, nside - u - 1) if z >= 0.0 else (u, v)
    return face * nside * nside + spread_bits(x) + 2 * spread_bits(y)


@device
def _direction(first, second, frame):
    """theta, phi, and whether they are a direction."""
    theta = rounded_product(first, frame.slope) + frame.pole
    phi = rounded_product(second, frame.scale)
    valid = 0.0 <= theta <= frame.largest and absolute(phi) < np.inf
    return min(theta, math.pi), phi, valid


def _make_pixel(pixel: Callable) -> Callable:
    """Make the pixel of a direction in a frame, -1 for a bad direction."""

    @device
    def checked(first, second, nside, frame):
        theta, phi, valid = _direction(first, second, frame)
        return pixel(theta, phi, nside) if valid else np.int64(-1)

    return checked


_ring_checked, _nest_checked = _make_pixel(_ring_pixel), _make_pixel(_nest_pixel)


@entry
def ring_pixel(theta: float, phi: float, nside: int) -> int:
    """Number of the pixel in the ring order, -1 for a bad theta or phi; for compiled code.

    Radians; 1 <= nside <= 2**29.

    Examples
    --------
    >>> ring_pixel(1.0, 2.0, 64)
    np.int64(11217)
    """
    return _ring_checked(np.float64(theta), np.float64(phi), np.int64(nside), RADIANS)


@entry
def nest_pixel(theta: float, phi: float, nside: int) -> int:
    """The same in the nested order; nside must be a power of 2.

    Examples
    --------
    >>> nest_pixel(1.0, 2.0, 64)
    np.int64(6341)
    """
    return _nest_checked(np.float64(theta), np.float64(phi), np.int64(nside), RADIANS)


# -- lanes of directions -----------------------------------------------------------------------


@device
def _lines(theta, phi, size):
    """``(u, v, k, cap, south), sure``: whole parts of u and v; whether they are sure."""
    south = theta > _HALF_PI
    s = sin_octant(select(south, (math.pi - theta) + _PI_LOW, theta) * 0.5)
    above = 1.0 - 2.0 * (s * s)
    turn = phi * _PER_QUARTER
    t = turn - 4.0 * floor(turn * 0.25)
    k = floor(t)
    p = t - k
    s = s * (size * 2.449489742783178)  # sqrt(6)
    along = (t + 0.5) * size
    across = select(south, -above, above) * (0.75 * size)
    cap = above > _TWO_THIRDS
    exact_u = select(cap, p * s, along - across)
    exact_v = select(cap, s - p * s, along + across)
    u, v = floor(exact_u), floor(exact_v)
    off_line = maximum(absolute(exact_u - u - 0.5), absolute(exact_v - v - 0.5))
    sure = (off_line < 0.5 - _DOUBT * size) & (absolute(p - 0.5) < 0.5 - _DOUBT)
    sure = sure & (absolute(above - _TWO_THIRDS) > _DOUBT) & (absolute(turn) < _QUARTERS)
    return (u, v, k, cap, south), sure & (theta >= 0.0) & (theta <= math.pi)


@device
def _ring_number(u, v, k, cap, south, size):
    """Lanes of the pixel's number in the ring order."""
    ring = select(cap, u + v + 1.0, u - v + (size + 1.0))
    even = 2.0 * floor(ring * 0.5) - ring + 1.0
    at = floor((u + v + even + (1.0 - size)) * 0.5)
    at = select(at < 4.0 * size, at, at - 4.0 * size)
    belt = (ring - 1.0) * (4.0 * size) + (at + 2.0 * size * (size - 1.0))
    at = k * ring + u
    north = 2.0 * ring * (ring - 1.0) + at
    last = 12.0 * size * size - 2.0 * ring * (ring + 1.0) + at
    return select(cap, select(south, last, north), belt)


@device
def _nest_number(u, v, k, cap, south, size):
    """Lanes of the pixel's number in the nested order."""
    a, b = floor(u * (1.0 / size)), floor(v * (1.0 / size))
    same = select(a < 4.0, a + 4.0, a)
    belt = select(a < b, a, select(a > b, b + 8.0, same))
    far = size - 1.0
    face = select(cap, select(south, k + 8.0, k), belt)
    x = select(cap, select(south, u, far - v), v - b * size)
    y = select(cap, select(south, v, far - u), far - (u - a * size))
    return face * (size * size) + (spread_digits(x) + 2.0 * spread_digits(y))


@cache
def make_pixels(nest: bool) -> Callable:
    """The kernel ``pixels(first, second, nside, frame, out)`` for one order of the pixels.

    It writes the number of the pixel of each direction, -1 for a bad one, and returns the position
    of the first bad direction, ``out.size`` if there is none.
    """
    number = _nest_number if nest else _ring_number
    checked = _nest_checked if nest else _ring_checked

    @kernel
    def pixels(first, second, nside, frame, out):
        n = out.size
        bad = n
        at = 0
        size = np.float64(nside)
        middle = 6.0 * size * size - 0.5  # of the numbers 0 to 12 nside**2 - 1
        if nside <= LANE_NSIDE:
            while at + WIDTH <= n:
                theta = load(first, at) * frame.slope + frame.pole
                where, sure = _lines(theta, load(second, at) * frame.scale, size)
                found = number(*where, size)
                sure = sure & (absolute(found - middle) <= middle)
                store_whole(out, at, select(sure, found, 0.0))
                doubtful = mask_bits(~sure)
                while doubtful:
                    i = at + lowest_bit(doubtful)
                    doubtful &= doubtful - 1
                    out[i] = checked(first[i], second[i], nside, frame)
                    if out[i] < 0:
                        bad = min(bad, i)
                at += WIDTH
        for i in range(at, n):
            out[i] = checked(first[i], second[i], nside, frame)
            if out[i] < 0:
                bad = min(bad, i)
        return bad

    return pixels


@device
def _wrong(first, second, frame, drop):
    """Whether a pair of angles is a bad direction, other than a dropped one that is not finite."""
    if drop and not (absolute(first) < np.inf and absolute(second) < np.inf):
        return False
    return not _direction(first, second, frame)[2]


@kernel
def first_invalid(first, second, frame, drop):
    """Position of the first pair of angles that is no direction, their number if all are.

    With ``drop`` those do not count of which one is NaN or infinite.
    """
    n = first.size
    at = 0
    while at + WIDTH <= n:
        theta = load(first, at) * frame.slope + frame.pole
        valid = (theta >= 0.0) & (theta <= frame.largest)
        valid = valid & (absolute(load(second, at) * frame.scale) < np.inf)
        doubtful = mask_bits(~valid)
        while doubtful:
            i = at + lowest_bit(doubtful)
            doubtful &= doubtful - 1
            if _wrong(first[i], second[i], frame, drop):
                return i
        at += WIDTH
    for i in range(at, n):
        if _wrong(first[i], second[i], frame, drop):
            return i
    return n


@kernel
def add_in_order(sums, pixels, values):
    """``sums[pixels[k]] += values[k]`` one after the other; a single value serves all.

    Pixel -1, of what is no direction, gets nothing; nor does any other number that is none.
    """
    n, size = pixels.size, sums.size
    step = 1 if values.size > 1 else 0
    sure = max(0, n - _AHEAD)
    for k in range(sure):
        prefetch(sums, pixels[k + _AHEAD])
        if 0 <= pixels[k] < size:
            sums[np.uint64(pixels[k])] += values[k * step]
    for k in range(sure, n):
        if 0 <= pixels[k] < size:
            sums[np.uint64(pixels[k])] += values[k * step]


@kernel
def sort_by_part(pixels, values, shift, ends, sorted_pixels, sorted_values):
    """Sort pixels and their values by ``pixel >> shift``, those of a part as they came.

    Part k then lies from ``ends[k]`` to ``ends[k + 1]``; a single value is left as it is. Pixels
    of -1 lie before part 0.
    """
    each = values.size > 1
    ends[:] = 0
    for k in range(pixels.size):
        ends[(pixels[k] >> shift) + 2] += 1
    for part in range(1, ends.size):
        ends[part] += ends[part - 1]
    for k in range(pixels.size):
        part = (pixels[k] >> shift) + 1
        at = ends[part]
        ends[part] = at + 1
        sorted_pixels[at] = pixels[k]
        if each:
            sorted_values[at] = values[k]
