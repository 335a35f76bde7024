"""Other places to start from, for the few spots whose first fit is doubtful.

Of a spot whose place is not given: the pixel that stands out most, as a narrow spot, and the
strongest response that is not near the first fit. Of one whose place is known: that place itself,
as wide as expected, and narrower.

A narrow ellipse is seen by a few pixels, through which ellipses of several directions pass. Such a
spot is fitted again from ellipses in ``_DIRECTIONS`` through the pixel nearest to its centre, and
from two small ones along the diagonals. Of these, 16 directions left a better optimum to 12 random
starts in 0.06 % of the converged rows of a wide random population, 8 in 0.15 %, none in 0.7 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device, kernel

STARTS = 2
_DIRECTIONS = 16
ELLIPSES = _DIRECTIONS + 2  # more starts, for narrow ellipses alone
_NARROW, _NARROWER = 0.5, 0.6  # pixels; of the expected sigma
_WIDE, _WIDER = 1.3, 0.03  # pixels; of the extent
_APART = 2.0  # pixels from the first fit
_LONG, _SHORT = (2.5, 0.12), (1.5, 0.2)  # pixels: sigmas of other ellipses, in turn
_DIAGONAL = 0.6, 0.15


@device
def _level(row):
    """Mean of the existing pixels."""
    total, count = 0.0, 0
    for k in range(row.size):
        d = np.float64(row[k])
        if np.isfinite(d):
            total += d
            count += 1
    return total / max(count, 1)


@device
def _stands_out(value, polarity):
    return abs(value) if polarity == 0 else value * polarity


@device
def _extreme(row, level, polarity):
    """The pixel that stands out most."""
    best, where = -np.inf, 0
    for k in range(row.size):
        away = _stands_out(np.float64(row[k]) - level, polarity)
        if away > best:
            best, where = away, k
    return where


@cache
def _make_response(axes: int) -> Callable:
    @device
    def response(row, nz, ny, nx, k, j, i):
        """The mean of pixels that meet, without extremes; see ``start_places``."""
        total, high, low = 0.0, -np.inf, np.inf
        for c in range(2 if axes > 2 else 1):
            for b in range(2 if axes > 1 else 1):
                for a in range(2 if axes > 1 else 4):
                    at = min(k + c, nz - 1) * ny + min(j + b, ny - 1)
                    d = np.float64(row[at * nx + min(i + a, nx - 1)])
                    total += d
                    high, low = max(high, d), min(low, d)
        return (total - high - low) / (6.0 if axes > 2 else 2.0)

    return response


@cache
def make_common(axes: int) -> Callable:
    """One width for all axes."""

    @device
    def put(start, item, widths, angle) -> None:
        start[item, 1 + axes] = min(widths)

    return put


@cache
def make_own(axes: int) -> Callable:
    """A width for each axis."""

    @device
    def put(start, item, widths, angle) -> None:
        for a in range(axes):
            start[item, 1 + axes + a] = widths[a]

    return put


@device
def put_rotated(start, item, widths, angle) -> None:
    """The sigma matrix."""
    cos, sin = math.cos(angle), math.sin(angle)
    start[item, 3] = widths[0] * cos * cos + widths[1] * sin * sin
    start[item, 4] = widths[0] * sin * sin + widths[1] * cos * cos
    start[item, 5] = (widths[0] - widths[1]) * (cos * sin)


@cache
def make_second_starts(axes: int, put: Callable, wrap: Callable = kernel) -> Callable:
    """A kernel over a range of spots; ``wrap`` may be ``inner_kernel``.

    ``put(start, item, widths, angle)`` writes the shape of a start; models that do not turn have no
    angle.
    """
    response = _make_response(axes)

    # -- places --------------------------------------------------------------------------------

    @device
    def other_peak(row, nz, ny, nx, level, polarity, centre, places):
        """Where the strongest response is that is not near ``centre``: (x, y, z)."""
        best, x, y, z = -np.inf, 0.0, 0.0, 0.0
        half = 1.5 if axes == 1 else 0.5
        for k in range(max(nz - 1, 1)):
            at_z = k + 0.5 * min(nz - 1, 1)
            for j in range(max(ny - 1, 1)):
                at_y = j + 0.5 * min(ny - 1, 1)
                for i in range(max(nx - 3, 1) if axes == 1 else max(nx - 1, 1)):
                    at_x = i + min(half, 0.5 * (nx - 1))
                    apart = abs(at_x - centre[0])
                    if places.size:
                        at_x = places[min(i + 1, nx - 1)]
                        spacing = (places[nx - 1] - places[0]) / max(nx - 1, 1)
                        apart = abs(at_x - centre[0]) / max(spacing, 1e-300)
                    if axes > 1:
                        apart = max(apart, abs(at_y - centre[1]))
                    if axes > 2:
                        apart = max(apart, abs(at_z - centre[2]))
                    if apart <= _APART:
                        continue
                    away = response(row, nz, ny, nx, k, j, i) - level
                    if _stands_out(away, polarity) > best:
                        best, x, y, z = _stands_out(away, polarity), at_x, at_y, at_z
        return x, y, z

    @device
    def place_of(where, ny, nx, places):
        """(x, y, z) of a pixel."""
        x = places[where] if places.size else float(where % nx)
        return x, float((where // nx) % ny), float(where // (nx * ny))

    @device
    def pixel_at(centre, nz, ny, nx, places):
        """The pixel of a place (x, y, z)."""
        i = int(min(max(np.rint(centre[0]), 0.0), nx - 1.0)) if not places.size else 0
        if places.size:
            for k in range(nx):
                if abs(places[k] - centre[0]) < abs(places[i] - centre[0]):
                    i = k
        j = int(min(max(np.rint(centre[1]), 0.0), ny - 1.0)) if axes > 1 else 0
        k = int(min(max(np.rint(centre[2]), 0.0), nz - 1.0)) if axes > 2 else 0
        return (k * ny + j) * nx + i

    @device
    def ellipse(turn):
        """Sigmas and angle of an ellipse."""
        along, across = _SHORT if turn % 2 else _LONG
        angle = turn * math.pi / _DIRECTIONS
        if turn >= _DIRECTIONS:
            along, across = _DIAGONAL
            angle = (0.25 + 0.5 * (turn - _DIRECTIONS)) * math.pi
        return (along, across, across), angle

    # -- starts --------------------------------------------------------------------------------

    @device
    def write(start, item, height, centre, widths, angle, level) -> None:
        size = start.shape[1]
        start[item, 0] = height
        start[item, size - 1] = level
        for a in range(axes):
            start[item, 1 + a] = centre[a]
        put(start, item, widths, angle)

    @wrap
    def second_starts(
        pixels, coords, nz, ny, nx, polarity, guides, sigmas, which, centres, start
    ) -> None:
        """Write start number ``which`` of each spot, as ``start_moments`` would.

        ``centres[n, D]`` are those of the fits so far (x, y, z). Numbers from ``STARTS`` on are
        those of narrow ellipses.
        """
        for item in range(pixels.shape[0]):
            row = pixels[item]
            places = coords[min(item, len(coords) - 1)]
            spacing = 1.0
            if places.size > 1:
                spacing = (places[nx - 1] - places[0]) / (nx - 1)
            level = _level(row)
            first = centres[item, 0], centres[item, min(1, axes - 1)], centres[item, axes - 1]
            angle = 0.0
            if which >= STARTS:
                where = pixel_at(first, nz, ny, nx, places)
                place = place_of(where, ny, nx, places)
                widths, angle = ellipse(which - STARTS)
            elif guides.shape[0]:
                place = guides[item, 0], guides[item, min(1, axes - 1)], guides[item, axes - 1]
                shrink = 1.0 if which == 0 else _NARROWER
                widths = (
                    sigmas[0] * shrink, sigmas[min(1, axes - 1)] * shrink,
                    sigmas[axes - 1] * shrink,
                )  # fmt: skip
                where = pixel_at(place, nz, ny, nx, places)
            elif which == 0:
                where = _extreme(row, level, polarity)
                place = place_of(where, ny, nx, places)
                widths = _NARROW * spacing, _NARROW, _NARROW
            else:
                place = other_peak(row, nz, ny, nx, level, polarity, first, places)
                where = pixel_at(place, nz, ny, nx, places)
                wide = max(_WIDE, _WIDER * max(nx, ny, nz))
                widths = wide * spacing, wide, wide
            height = np.float64(row[where]) - level
            write(start, item, height, place, widths, angle, level)

    return second_starts
