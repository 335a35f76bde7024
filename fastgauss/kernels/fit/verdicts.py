"""What a fit that ended is worth: statuses that need errors, pixels and the model's shape at once.

A spot may be

* TOO_WIDE: a sigma, or a sigma and ``_SURE`` of its errors, exceed ``_MOST_EXTENT`` of the pixels'
  extent along its axis, or 1 / sigma**2 is not ``_BENT`` of its errors above that of this extent.
  The pixels see no more than the top of such a spot, and the bend of a top is proportional to
  1 / sigma**2: the reported errors, which take the model for linear in sigma, do not hold. A width
  that is fixed, or on a bound, is not judged.
* TOO_NARROW: a sigma of a turned ellipse, less ``_SURE_OF_NARROW`` of its errors, is below
  ``_LEAST_SIGMA``. One row of pixels sees such a spot, and several ellipses through it fit: the
  reported errors of sigmas and angle do not hold. An ellipse of which a part is fixed, and a
  width on a bound, are not judged.
* SINGULAR: no pixel sees ``_LEAST_SEEN`` of its height, as of a spike between pixels.
* OUTSIDE: an astigmatic spot beyond the calibrated range.
* OUTLIER: one pixel holds ``_MOST_SHARE`` of the objective and is off by ``_MISSED`` of the height:
  a hot pixel, or a cosmic ray.

A spot is *doubtful* if it did not converge, or its amplitude is below ``_STRONG`` standard errors:
noise has many optima, and another start may find a better one (``second_starts``). A turned ellipse
that converged is *narrow* if a sigma is below ``_THIN``: so few pixels see it that several ellipses
fit. Errors are by the residuals for all of this, where those are smaller than the noise that was
told.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device, kernel
from ..numeric.packed_cholesky import packed
from ..simd.lane_types import WIDTH
from ..simd.lanes import absolute, broadcast, maximum, select, store
from ..simd.mask_bits import lowest_bit, mask_bits
from ..simd.masked import lanes_within, load_double
from ..simd.stack_memory import flat_view, stack_rows
from ..status import (
    AT_BOUND,
    AT_EDGE,
    CONVERGED,
    MAX_ITERATIONS,
    OUTLIER,
    OUTSIDE,
    SINGULAR,
    STALLED,
    TOO_NARROW,
    TOO_WIDE,
)
from .covariances import degrees_of_freedom
from .estimators import DEVIANCE, OTHER_LOSS
from .extents import pixel_unit, unit_span

_SURE, _BENT, _MOST_EXTENT = 4.0, 2.0, 0.75
_SURE_OF_NARROW, _LEAST_SIGMA = 2.0, 0.3  # pixels
_LEAST_SEEN = 1e-3
_NARROW = 0.3  # pixels: a wider spot inside the pixels is seen by one
_STANDS_OUT = 1.6  # heights of the spot by which a pixel must stand out to be looked at
_MOST_SHARE, _MISSED = 0.5, 0.5
_STRONG = 5.0
_THIN = 0.5  # pixels
DOUBTFUL, NARROW = 1, 2  # bits of a doubt
FAR = 2.5  # expected sigmas from the place that was told


# -- the verdicts ------------------------------------------------------------------------------


@device
def _exponent(shape, x, y, z):
    """d' M d of a distance."""
    cos, sin = math.cos(shape[3]), math.sin(shape[3])
    u, v, w = (x * cos + y * sin) / shape[0], (y * cos - x * sin) / shape[1], z / shape[2]
    return u * u + v * v + w * w


@device
def _off(x, n):
    """Distance from the nearest pixel of an axis."""
    return x - min(max(np.rint(x), 0.0), float(n - 1))


@device
def _loss(d, value, second, kind, weighted):
    """What a pixel adds to the objective, a sum of squares or a deviance."""
    if kind != DEVIANCE:
        return (second if weighted else 1.0) * (d - value) ** 2
    shift = second if weighted else 0.0
    d, value = max(d + shift, 0.0), max(value + shift, 1e-200)
    logarithm = d * math.log(d / value) if d > 0.0 else 0.0
    return 2.0 * (value - d + logarithm)


@device
def _farthest(flat, first, n, offset):
    """The largest distance of n pixels from the offset; -1 if no pixel exists."""
    lanes = stack_rows(1)
    every, rest = lanes_within(0.0, 0, WIDTH), lanes_within(0.0, 0, n % WIDTH)
    whole = n - n % WIDTH
    away = absolute(load_double(flat, first + whole, rest) - offset)
    most = select(rest, maximum(away, broadcast(-1.0)), -1.0)
    for k in range(0, whole, WIDTH):
        most = maximum(absolute(load_double(flat, first + k, every) - offset), most)
    store(lanes, 0, most)
    largest = -1.0
    for lane in range(WIDTH):
        largest = max(largest, lanes[0, lane])
    return largest


@device
def _first_as_far(flat, first, n, offset, least):
    """The first of n pixels that is at least so far from the offset; n if none is."""
    for k in range(0, n, WIDTH):
        inside = lanes_within(0.0, 0, min(n - k, WIDTH))
        far = absolute(load_double(flat, first + k, inside) - offset) >= least
        bits = mask_bits(far & inside)
        if bits:
            return k + lowest_bit(bits)
    return n


@cache
def make_verdicts(
    extent: Callable,
    beyond: Callable,
    judged: int,
    each_axis: bool,
    axes: int,
    pixel: str,
    size: int,
    span: Callable = unit_span,
    width_unit: Callable = pixel_unit,
    slopes: int = 0,
    turned: bool = False,
    wrap: Callable = kernel,
) -> Callable:
    """A kernel over a range of finished fits; ``wrap`` may be ``device``.

    ``extent(params, item, known)`` gives (sigma_x, sigma_y, sigma_z, theta) of a result, and
    ``beyond(params, item, known)`` tells whether the parameter after the centre leaves the range
    of ``known``. ``judged``, ``each_axis``, ``span``, ``width_unit``, ``slopes`` and ``turned`` are
    those of ``Blocks``.
    """
    placed = pixel == "places"
    shaped = size - slopes > axes + 2  # whether parameters of a shape follow the centre

    # -- single tests --------------------------------------------------------------------------

    @device
    def is_free(i, item, lowest, highest):
        return not lowest.shape[0] or lowest[item, i] < highest[item, i]

    @device
    def is_held(i, item, params, lowest, highest):
        """Whether a parameter is on a bound, or fixed."""
        if not lowest.shape[0]:
            return False
        return params[item, i] <= lowest[item, i] or params[item, i] >= highest[item, i]

    @device
    def is_wide(item, params, errors, scale, extents, known, lowest, highest, ended):
        """Whether the pixels may see but the top of a spot."""
        if not judged:
            shape = extent(params, item, known)
            return shape[0] > _MOST_EXTENT * extents[0] or shape[1] > _MOST_EXTENT * extents[1]
        longest, unit = max(extents), width_unit(item, known)
        for a in range(judged):
            i = 1 + axes + a
            sigma = params[item, i]
            room = (extents[a] if each_axis else longest) * _MOST_EXTENT
            if is_held(i, item, params, lowest, highest):
                continue
            sigma *= unit
            if not ended:
                if sigma * _MOST_EXTENT > room:
                    return True
                continue
            left = room - sigma
            error = errors[item, packed(i, i)] * (unit * unit) * scale
            bend = 0.5 * sigma * (1.0 - (sigma / room) ** 2)  # that of 1 / sigma**2, in sigmas
            if left < 0.0 or error * (_SURE * _SURE) > left * left:
                return True
            if error * (_BENT * _BENT) > bend * bend:
                return True
        return False

    @device
    def is_seen(item, params, nz, ny, nx, places, row, known):
        """Whether a pixel, or a point of a profile, shows the spot's height."""
        shape = extent(params, item, known)
        x = params[item, 1]
        if placed:
            nearest = np.inf
            for i in range(nx):
                nearest = min(nearest, abs(places[row, i] - x))
            return math.exp(-0.5 * (nearest / shape[0]) ** 2) > _LEAST_SEEN
        off_x = _off(x, nx)
        off_y = _off(params[item, 2], ny) if axes > 1 else 0.0
        off_z = _off(params[item, 3], nz) if axes > 2 else 0.0
        if pixel == "integrate":
            part = 1.0
            for a in range(axes):
                part *= min(1.0, shape[a] * 2.5)
                off = off_x if a == 0 else off_y if a == 1 else off_z
                part *= math.exp(-0.5 * (max(abs(off) - 0.5, 0.0) / shape[a]) ** 2)
            return part > _LEAST_SEEN
        if (
            min(shape[0], shape[1], shape[2]) > _NARROW
            and max(abs(off_x), abs(off_y), abs(off_z)) <= 0.5
        ):
            return True
        return math.exp(-0.5 * _exponent(shape, off_x, off_y, off_z)) > _LEAST_SEEN

    @device
    def nearest(item, params, ny, nx, n):
        """The pixel nearest to the centre; the first of a profile at given coordinates."""
        if placed:
            return 0
        column = min(max(np.rint(params[item, 1]), 0.0), float(nx - 1))
        row = min(max(np.rint(params[item, 2]), 0.0), float(ny - 1)) if axes > 1 else 0.0
        nz = n // (ny * nx)
        plane = min(max(np.rint(params[item, 3]), 0.0), float(nz - 1)) if axes > 2 else 0.0
        return int((plane * ny + row) * nx + column)

    @device
    def away(item, params, ny, nx, places, row, where):
        """From the centre to a pixel."""
        x = places[row, where] if placed else float(where % nx)
        y, z = float((where // nx) % ny), float(where // (nx * ny))
        by_y = y - params[item, 2] if axes > 1 else 0.0
        by_z = z - params[item, 3] if axes > 2 else 0.0
        return x - params[item, 1], by_y, by_z

    @device
    def background_at(item, params, by_x, by_y, by_z):
        """The background there."""
        value = params[item, size - 1]
        if slopes > 0:
            value += params[item, size - 1 - slopes] * by_x
        if slopes > 1:
            value += params[item, size - slopes] * by_y
        if slopes > 2:
            value += params[item, size + 1 - slopes] * by_z
        return value

    @device
    def tilted(item, pixels, params, ny, nx, places, row, where):
        """The pixel farthest from a background that is a plane; ``where`` if several are."""
        by_x, by_y, by_z = away(item, params, ny, nx, places, row, where)
        d = np.float64(pixels[item, where])
        most = abs(d - background_at(item, params, by_x, by_y, by_z))
        most = most if most == most else -1.0
        for k in range(pixels.shape[1]):
            by_x, by_y, by_z = away(item, params, ny, nx, places, row, k)
            far = abs(np.float64(pixels[item, k]) - background_at(item, params, by_x, by_y, by_z))
            if far > most:
                most, where = far, k
        return where

    @device
    def lost(item, pixels, second, loss, params, ny, nx, places, row, known):
        """By how much of the height the pixel that stands out most is off, and its loss."""
        offset = params[item, size - 1]
        n, flat = pixels.shape[1], flat_view(pixels)
        where = nearest(item, params, ny, nx, n)
        if slopes:
            where = tilted(item, pixels, params, ny, nx, places, row, where)
        else:
            most = _farthest(flat, item * n, n, offset)
            if not abs(np.float64(pixels[item, where]) - offset) >= most:
                first = _first_as_far(flat, item * n, n, offset, most)
                where = first if first < n else where
        by_x, by_y, by_z = away(item, params, ny, nx, places, row, where)
        shape = extent(params, item, known)
        profile = math.exp(-0.5 * _exponent(shape, by_x, by_y, by_z))
        d = np.float64(pixels[item, where])
        value = background_at(item, params, by_x, by_y, by_z)
        value += params[item, 0] * span(params, item, known)[0] * profile
        weighted = second.shape[1] > 0
        other = np.float64(second[min(item, len(second) - 1), where]) if weighted else 0.0
        return abs(d - value), _loss(d, value, other, loss, weighted)

    @device
    def is_far(item, params, guides, sigmas):
        """Whether a spot is not where it was told to be."""
        if not guides.shape[0]:
            return False
        square = 0.0
        for a in range(axes):
            square += ((params[item, 1 + a] - guides[item, a]) / sigmas[a]) ** 2
        return not square <= FAR * FAR

    @device
    def has_free_ellipse(item, lowest, highest):
        """Whether both widths and the angle of an ellipse are free."""
        free = turned
        for a in range(3 if turned else 0):
            free = free and is_free(1 + axes + a, item, lowest, highest)
        return free

    @device
    def is_too_narrow(item, params, errors, scale, lowest, highest):
        """Whether a sigma of an ellipse may be below what pixels show."""
        for i in range(1 + axes, 3 + axes):
            above = params[item, i] - _LEAST_SIGMA
            error = errors[item, packed(i, i)] * scale
            unsure = above < 0.0 or error * _SURE_OF_NARROW**2 > above * above
            if unsure and not is_held(i, item, params, lowest, highest):
                return True
        return False

    # -- all spots -----------------------------------------------------------------------------

    @wrap
    def verdicts(data, extent, known, results, noise, loss, bounds, told, doubts) -> None:
        """Refine the statuses, and write what is ``DOUBTFUL`` or ``NARROW`` to ``doubts[n]``.

        ``data``, ``known`` and ``bounds`` are those of the fit, ``extent``, ``results`` and
        ``noise`` those of ``finish``, which has written packed covariances; those of spots that
        turn out SINGULAR become NaN. ``loss`` is that of the estimator. ``told`` are ``standing``,
        ``guides`` and ``sigmas`` of ``start_moments``.
        """
        pixels, second, places = data
        nz, ny, nx = extent
        params, errors, objectives, status = results
        counts, of_spots, scaled = noise
        lowest, highest = bounds
        standing, guides, sigmas = told
        for item in range(len(status)):
            how = status[item]
            ended = how in (CONVERGED, AT_BOUND, AT_EDGE)
            doubts[item] = 0
            if not ended and how not in (MAX_ITERATIONS, STALLED, SINGULAR, OUTSIDE):
                continue
            row = min(item, len(places) - 1)  # no view of a row: that would be counted
            extents = float(nx), float(max(ny, 1)), float(max(nz, 1))
            if placed and nx > 1:
                length = places[row, nx - 1] - places[row, 0]
                extents = length * nx / (nx - 1), 0.0, 0.0
            freedom = degrees_of_freedom(counts, of_spots, item)
            rest = objectives[item] / freedom if freedom > 0.0 else 1.0
            free = is_free(1, item, lowest, highest)
            free = free or (shaped and is_free(1 + axes, item, lowest, highest))
            part = 1.0  # of the objective without a pixel that the spot does not explain
            if ended and standing[item] > _STANDS_OUT and loss != OTHER_LOSS:
                off, own = lost(
                    item, pixels, second, loss, params, max(ny, 1), nx, places, row, known
                )  # fmt: skip
                height = abs(params[item, 0]) * span(params, item, known)[0]
                if off > _MISSED * height and own > _MOST_SHARE * objectives[item]:
                    part = max(1.0 - own / objectives[item], 0.0)
            scale = part if scaled else min(1.0, rest * part)
            if (ended or how in (MAX_ITERATIONS, STALLED)) and is_wide(
                item, params, errors, scale, extents, known, lowest, highest, ended
            ):
                status[item] = TOO_WIDE
            elif ended and free and not is_seen(item, params, nz, ny, nx, places, row, known):
                status[item] = SINGULAR
                errors[item] = np.nan
            elif ended and beyond(params, item, known):
                value = params[item, 1 + axes]
                if not lowest.shape[0] or lowest[item, 1 + axes] < value < highest[item, 1 + axes]:
                    status[item] = OUTSIDE
            elif ended and part < 1.0:
                status[item] = OUTLIER
            weak = not params[item, 0] ** 2 >= _STRONG * _STRONG * errors[item, 0] * scale
            good = ended and status[item] in (CONVERGED, AT_BOUND, AT_EDGE, OUTLIER)
            doubtful = not good or weak or is_far(item, params, guides, sigmas)
            doubts[item] = DOUBTFUL if doubtful else 0
            if good and has_free_ellipse(item, lowest, highest):
                if min(params[item, 1 + axes], params[item, 2 + axes]) < _THIN:
                    doubts[item] |= NARROW
                if status[item] != OUTLIER and is_too_narrow(
                    item, params, errors, scale, lowest, highest
                ):
                    status[item] = TOO_NARROW

    return verdicts
