"""What a fit that ended is worth: statuses that need errors, pixels and the model's shape at once.

A spot may be

* TOO_WIDE: a sigma, or a sigma and ``_SURE`` of its errors, exceed ``_MOST_EXTENT`` of the pixels'
  extent along its axis, or 1 / sigma**2 is not ``_BENT`` of its errors above that of this extent.
  The pixels see no more than the top of such a spot, and the bend of a top is proportional to
  1 / sigma**2: the reported errors, which take the model for linear in sigma, do not hold. A width
  that is fixed, or on a bound, is not judged.
* TOO_NARROW: a sigma of a rotated ellipse, less ``_SURE_OF_NARROW`` of its errors, is below
  ``_LEAST_SIGMA``. One row of pixels sees such a spot, and several ellipses through it fit: the
  reported errors of sigmas and angle do not hold. An ellipse of which a part is fixed, and a
  width on a bound, are not judged.
* SINGULAR: no pixel sees ``_LEAST_SEEN`` of its height, as of a spike between pixels.
* OUTSIDE: an astigmatic spot beyond the calibrated range.
* OUTLIER: most of the objective is due to one pixel (``outliers.py``).

A spot is *doubtful* if it did not converge, or its amplitude is below ``_STRONG`` standard errors:
noise has many optima, and another start may find a better one (``second_starts``). So it is if its
place was not told, and a pixel is above the top of the model by ``_MORE_THAN_TOP`` of its height
and ``_MORE_THAN_NOISE`` standard deviations: that of another spot, or of a part of one. A turned
ellipse that converged is *narrow* if a sigma is below ``_THIN``: so few pixels see it that several
ellipses fit. A spot that one pixel may have spoiled is *suspect* (``suspects.py``). Errors are by
the residuals for all of this, where those are smaller than the noise that was told.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device, kernel
from ..numeric.packed_cholesky import packed
from ..simd.stack_memory import flat_view
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
from .outliers import (
    MOST_LEVERAGE,
    common_weight,
    exponent,
    farthest,
    leverage_at,
    loss_of_pixel,
    make_leverage,
    make_outlier,
)
from .suspects import (
    BENT,
    BENT_BY_NOISE,
    LEFT,
    LEFT_IN_NOISE,
    MORE,
    MOST_NARROW,
    nearest,
)

_SURE, _BENT, _MOST_EXTENT = 4.0, 2.0, 0.75
_SURE_OF_NARROW, _LEAST_SIGMA = 2.0, 0.3  # pixels
_LEAST_SEEN = 1e-3
_NARROW = 0.3  # pixels: a wider spot inside the pixels is seen by one
_STRONG = 5.0
_MORE_THAN_TOP, _MORE_THAN_TOP_OF_COUNTS, _MORE_THAN_NOISE = 0.2, 0.4, 4.0
_LEAST_LEFT = 0.7  # heights: the root of the squares that another spot leaves at least
_MORE_LEVERAGE = 2.0  # of all parameters in the core, to that of the height
_THIN = 0.5  # pixels
DOUBTFUL, NARROW, SUSPECT = 1, 2, 4  # bits of a doubt
FAR = 2.5  # expected sigmas from the place that was told


def can_leave_out(axes: int, pixel: str, span: Callable, slopes: int) -> bool:
    """Whether spots are fitted again without a pixel: Gaussians of images and volumes."""
    return axes > 1 and pixel != "places" and span is unit_span and slopes == 0


# -- the verdicts ------------------------------------------------------------------------------


@device
def _off(x, n):
    """Distance from the nearest pixel of an axis."""
    return x - nearest(x, n)


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
    rotated: bool = False,
    wrap: Callable = kernel,
) -> Callable:
    """A kernel over a range of finished fits; ``wrap`` may be ``inner_kernel``.

    ``extent(params, item, known)`` gives (sigma_x, sigma_y, sigma_z, theta) of a result, and
    ``beyond(params, item, known)`` tells whether the parameter after the centre leaves the range
    of ``known``. ``judged``, ``each_axis``, ``span``, ``width_unit``, ``slopes`` and ``rotated``
    are those of ``Blocks``.
    """
    placed = pixel == "places"
    shaped = size - slopes > axes + 2  # whether parameters of a shape follow the centre
    suspected, outlier = make_outlier(extent, axes, pixel, size, span, slopes)
    left_out = can_leave_out(axes, pixel, span, slopes)
    gaussian, leverage = span is unit_span and slopes == 0, make_leverage(axes)

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
        return math.exp(-0.5 * exponent(shape, off_x, off_y, off_z)) > _LEAST_SEEN

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
    def is_below(
        item, flat, n, second, params, guides, objective, squares, even, rest, freedom, loss
    ):  # fmt: skip
        """Whether a pixel is far above the top of the model, or below that of a dark spot.

        ``squares`` is the objective for weights of 1, where they are ``even``.
        """
        counts, height = loss == DEVIANCE, params[item, 0]
        if loss == OTHER_LOSS or guides.shape[0] or not gaussian:
            return False
        if counts:
            if objective <= freedom + MORE * math.sqrt(2.0 * freedom):
                return False
        elif even and squares <= (_LEAST_LEFT * height) ** 2:
            return False
        top = params[item, size - 1] + height
        above, where = farthest(flat, item * n, n, top, height)
        if not above > (_MORE_THAN_TOP_OF_COUNTS if counts else _MORE_THAN_TOP) * abs(height):
            return False
        weighted = second.shape[1] > 0
        other = np.float64(second[min(item, len(second) - 1), where]) if weighted else 0.0
        part = loss_of_pixel(np.float64(flat[item * n + where]), top, other, loss, weighted)
        noise = 1.0 if counts else rest
        return part > _MORE_THAN_NOISE * _MORE_THAN_NOISE * noise

    @device
    def has_free_ellipse(item, lowest, highest):
        """Whether both widths and the angle of an ellipse are free."""
        free = rotated
        for a in range(3 if rotated else 0):
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

    @device
    def is_suspect(item, pixels, bent, params, nz, ny, nx, known, objective, freedom, loss, even):
        """Whether a pixel may have spoiled the fit, and is to be looked for (``suspects.py``).

        ``even``: all weights are alike, and the objective is that for weights of 1.
        """
        if loss == DEVIANCE:
            return objective > freedom + MORE * math.sqrt(2.0 * freedom)
        shape = extent(params, item, known)
        if min(shape[0], shape[1]) < MOST_NARROW:
            return True
        across, down = 1.0 / (shape[0] * shape[0]), 1.0 / (shape[1] * shape[1])
        if rotated:  # roughly
            across = down = 0.5 * (across + down)
        x, y = params[item, 1], params[item, 2]
        i, j = nearest(x, nx), nearest(y, ny)
        square, line = (i - x) * (i - x) * across + (j - y) * (j - y) * down, j
        if axes > 2:
            k = nearest(params[item, 3], nz)
            square += ((k - params[item, 3]) / shape[2]) ** 2
            line += k * ny
        f = math.exp(-0.5 * square)
        if pixel == "integrate":
            f /= math.sqrt((1.0 + across / 12.0) * (1.0 + down / 12.0))
        r = np.float64(pixels[item, int(line * nx + i)])
        r -= params[item, size - 1] + params[item, 0] * f
        height, background = abs(params[item, 0]), max(params[item, size - 1], 0.0)
        at_top = leverage(shape, 1.0, True)
        free = 1.0 - min(_MORE_LEVERAGE * leverage_at(f, at_top, True), MOST_LEVERAGE)
        light = 2.0 * math.pi * shape[0] * shape[1]
        if axes > 2:
            light *= math.sqrt(2.0 * math.pi) * shape[2]
        mean = background + height * light / (nx * ny * nz)
        brighter = max((background + height * f) / mean, 1.0)
        clear = r * r * freedom > LEFT_IN_NOISE * free * brighter * objective
        if abs(r) > LEFT * height and (not even or clear):
            return True
        least = BENT_BY_NOISE * BENT_BY_NOISE * objective
        if not even or bent < 0.0 or bent * bent * freedom < least:
            return False
        top = height * (1.0 - math.exp(-0.5 * max(across, down)))
        return bent > BENT * top + math.sqrt(least / freedom)

    # -- all spots -----------------------------------------------------------------------------

    @wrap
    def verdicts(data, extent, known, results, noise, loss, bounds, told, doubts) -> None:
        """Refine the statuses, and write the bits of ``DOUBTFUL``, ``NARROW`` and ``SUSPECT``.

        ``data``, ``known`` and ``bounds`` are those of the fit, ``extent``, ``results`` and
        ``noise`` those of ``finish``, which has written packed covariances; those of spots that
        turn out SINGULAR become NaN. ``doubts[n]`` are the bits. ``loss`` is that of the estimator.
        ``told`` are ``guides`` and ``sigmas`` of ``start_moments``.
        """
        pixels, second, places = data
        flat, of_spot = flat_view(pixels), pixels.shape[1]
        is_judged = loss != OTHER_LOSS
        nz, ny, nx = extent
        params, errors, objectives, status = results
        counts, of_spots, scaled = noise
        lowest, highest = bounds
        guides, sigmas = told
        for item in range(len(status)):
            how = status[item]
            ended = how in (CONVERGED, AT_BOUND, AT_EDGE)
            doubts[item] = 0
            if not ended and how not in (MAX_ITERATIONS, STALLED, SINGULAR, OUTSIDE):
                continue
            row = min(item, len(places) - 1)
            extents = float(nx), float(max(ny, 1)), float(max(nz, 1))
            if placed and nx > 1:
                length = places[row, nx - 1] - places[row, 0]
                extents = length * nx / (nx - 1), 0.0, 0.0
            freedom = degrees_of_freedom(counts, of_spots, item)
            rest = objectives[item] / freedom if freedom > 0.0 else 1.0
            free = is_free(1, item, lowest, highest)
            free = free or (shaped and is_free(1 + axes, item, lowest, highest))
            part = 1.0  # of the objective without a pixel that the spot does not explain
            odd, bent, height_free = False, -1.0, is_free(0, item, lowest, highest)
            weight, spacing = common_weight(second, item, loss) if ended else 0.0, extents[0] / nx
            even = weight > 0.0
            squares = objectives[item] / weight if even else objectives[item]
            if (
                ended
                and is_judged
                and suspected(item, known, params, spacing, height_free, squares, even)
            ):
                odd, own, bent = outlier(
                    item, flat, of_spot, second, places, max(ny, 1), nx, spacing, known, params,
                    height_free, objectives[item], loss, even,
                )  # fmt: skip
                part = max(1.0 - own / objectives[item], 0.0) if odd else 1.0
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
            elif odd:
                status[item] = OUTLIER
            weak = not params[item, 0] ** 2 >= _STRONG * _STRONG * errors[item, 0] * scale
            good = ended and status[item] in (CONVERGED, AT_BOUND, AT_EDGE, OUTLIER)
            doubtful = not good or weak or is_far(item, params, guides, sigmas)
            doubtful = doubtful or (not odd and is_below(
                item, flat, of_spot, second, params, guides, objectives[item], squares, even, rest,
                freedom, loss,
            ))  # fmt: skip
            doubts[item] = DOUBTFUL if doubtful else 0
            looked_at = left_out and is_judged and height_free and good and not odd
            if looked_at and is_suspect(
                item, pixels, bent, params, max(nz, 1), ny, nx, known, squares, freedom, loss, even
            ):
                doubts[item] |= SUSPECT
            if good and has_free_ellipse(item, lowest, highest):
                if min(params[item, 1 + axes], params[item, 2 + axes]) < _THIN:
                    doubts[item] |= NARROW
                if status[item] != OUTLIER and is_too_narrow(
                    item, params, errors, scale, lowest, highest
                ):
                    status[item] = TOO_NARROW

    return verdicts
