"""Suspicious pixels: the one that a finished fit may be due to, to be fitted again without it.

What is here only chooses: ``left_out.py`` judges. So the limits are such that few good rows are
fitted again, and nearly all rows that one pixel has spoiled. Two pixels are looked at, of narrow
fits by least squares only the first, and of counts none where noise explains the deviance.

*The pixel at the centre.* A hot pixel in the core makes the fit narrow. Around a fit that is
narrower than ``MOST_NARROW`` pixels the rest of the spot is left: the mean residual of the pixels
around is above 0, and its square holds ``_LEAST_PART`` of the objective. A wider fit leaves a
residual at the pixel, of ``LEFT`` heights. Residuals and objective have their weights. In volumes
the pixels around are those of one plane.

*The pixel with the largest residual*, relative to what it can be, r**2 / (1 - h), with h the
leverage of the height, and divided by the model for counts. It is searched

* for counts: where the deviance is larger by ``MORE`` standard deviations than noise explains;
* in least squares: where the pixel at the centre is off by ``LEFT`` heights, and the square of its
  studentised residual is above ``LEFT_IN_NOISE`` times that of noise, also if this is the noise of
  photons, which is larger there by the model divided by its mean; or, where all weights are alike,
  where a pixel is off the mean of its two neighbours by more than ``BENT`` times what the model's
  top is, and ``BENT_BY_NOISE`` deviations of the residuals.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device, kernel
from .estimators import DEVIANCE
from .outliers import leverage_at, make_leverage

MOST_NARROW, _NARROWEST = 0.8, 0.5  # pixels
_LEAST = 0.06  # pixels: a sigma below has the profile of this one, whose exponentials are in range
_LEAST_PART, _LEAST_LEFT = 0.04, 0.003  # of the objective, and of the height
LEFT, LEFT_IN_NOISE = 0.09, 9.0  # heights, and the square of noises
BENT, BENT_BY_NOISE = 1.1, 4.9  # of the model's top, noises
MORE = 2.5
_LARGE, _LARGE_OF_COUNTS, _LARGE_OF_HEIGHT = 16.0, 25.0, 0.1
_PIXEL = 1.0 / 12.0  # variance of a place in a pixel


@device
def nearest(x, n):
    """The nearest pixel of an axis, as a float."""
    return min(max(np.rint(x), 0.0), n - 1.0)


@cache
def make_suspects(extent: Callable, axes: int, pixel: str) -> Callable:
    """A kernel over a range of spots; the arguments are those of ``make_verdicts``."""
    whole, leverage = _PIXEL if pixel == "integrate" else 0.0, make_leverage(axes)

    # -- the model -----------------------------------------------------------------------------

    @device
    def widened(shape):
        """Sigmas and angle of the spot that pixels with an area see, and its height."""
        if whole == 0.0:
            return shape, 1.0
        a = math.sqrt(shape[0] * shape[0] + whole)
        b = math.sqrt(shape[1] * shape[1] + whole)
        c = math.sqrt(shape[2] * shape[2] + whole)
        height = shape[0] / a
        if axes > 1:
            height *= shape[1] / b
        if axes > 2:
            height *= shape[2] / c
        return (a, b, c, shape[3]), height

    @device
    def form_of(shape):
        """xx, xy, yy and zz of a distance's square in sigmas."""
        cos, sin = math.cos(shape[3]), math.sin(shape[3])
        u, v = 1.0 / max(shape[0], _LEAST) ** 2, 1.0 / max(shape[1], _LEAST) ** 2
        xx, yy = u * cos * cos + v * sin * sin, u * sin * sin + v * cos * cos
        return xx, (u - v) * cos * sin, yy, 1.0 / max(shape[2], _LEAST) ** 2 if axes > 2 else 0.0

    @device
    def profile(form, x, y, z):
        return math.exp(
            -0.5 * (form[0] * x * x + 2.0 * form[1] * x * y + form[2] * y * y + form[3] * z * z)
        )

    # -- the pixel at the centre ---------------------------------------------------------------

    @device
    def rest_is_left(
        pixels, item, second, weighted, counts, at, ny, nx, narrowest, form, height, offset, centre,
        objective,
    ):  # fmt: skip
        """Whether there is light of the spot's sign around the pixel ``at``."""
        at_second = min(item, len(second) - 1)
        i, j, k = at
        xx, xy, yy, _ = form
        x, y = i - centre[0], j - centre[1]
        middle = profile(form, x, y, k - centre[2])
        right, left = math.exp(-0.5 * xx - xx * x - xy * y), math.exp(-0.5 * xx + xx * x + xy * y)
        bend, fall, turn = math.exp(-xx), math.exp(-yy), math.exp(-xy)
        total, weights = 0.0, 0.0
        closest = 1 if narrowest < _NARROWEST else 2
        for way in (1, -1):  # from the pixel's row up and down; from the pixel right and left
            row, rise = middle, math.exp(-0.5 * yy - way * (yy * y + xy * x))
            by_row = turn if way > 0 else 1.0 / turn
            to_right, to_left, b = right, left, j
            while max(j - 2, 0) <= b < min(j + 3, ny):
                for side in (1, -1):
                    f, a, ratio = row, i, to_right if side > 0 else to_left
                    while max(i - 2, 0) <= a < min(i + 3, nx):
                        fresh = (side > 0 or a < i) and (way > 0 or b < j)
                        if fresh and max(abs(a - i), abs(b - j)) >= closest:
                            n = (k * ny + b) * nx + a
                            m = offset + height * f
                            r = np.float64(pixels[item, n]) - m
                            w = np.float64(second[at_second, n]) if weighted else 0.0
                            if counts:
                                w = 1.0 / (m + w) if m + w > 0.0 else 0.0
                            elif not weighted:
                                w = 1.0
                            if r == r and w > 0.0:  # a pixel that is left out may be infinite
                                total += w * r
                                weights += w
                        f, a, ratio = f * ratio, a + side, ratio * bend
                row, b, rise = row * rise, b + way, rise * fall
                to_right, to_left = to_right * by_row, to_left / by_row
        sum_left = total if height > 0.0 else -total
        return (
            sum_left > _LEAST_LEFT * abs(height) * weights
            and total * total > _LEAST_PART * weights * objective
        )

    # -- the largest residual ------------------------------------------------------------------

    @device
    def largest(
        pixels, item, second, weighted, counts, nz, ny, nx, form, sigmas, height, offset, centre,
        objective,
    ):  # fmt: skip
        """The pixel of the largest residual if it is large, else -1."""
        xx, xy, at_top = form[0], form[1], leverage(sigmas, 1.0, not counts)
        pixel_number = nz * ny * nx
        best, where, missed = (
            _LARGE_OF_COUNTS if counts else _LARGE * objective / pixel_number,
            -1,
            0.0,
        )
        at_second = min(item, len(second) - 1)
        bend = math.exp(-xx)
        for line in range(nz * ny):
            y, z = line % ny - centre[1], line // ny - centre[2] if axes > 2 else 0.0
            first = int(nearest(centre[0] - xy * y / xx, nx))
            x = first - centre[0]
            start = profile(form, x, y, z)
            for side in (1, -1):
                f, a = start, first
                ratio = math.exp(-0.5 * xx - side * (xx * x + xy * y))
                if side < 0:
                    f, a, ratio = f * ratio, a - 1, ratio * bend
                while 0 <= a < nx:
                    k = line * nx + a
                    m = offset + height * f
                    r = np.float64(pixels[item, k]) - m
                    other = np.float64(second[at_second, k]) if weighted else 0.0
                    rest = 1.0 - leverage_at(f, at_top, not counts)
                    r *= r
                    if counts:
                        rest *= m + other
                    elif weighted:
                        r *= other
                    if rest > 0.0 and r > best * rest:
                        best, where, missed = r / rest, k, abs(np.float64(pixels[item, k]) - m)
                    f, a, ratio = f * ratio, a + side, ratio * bend
        return where if missed > _LARGE_OF_HEIGHT * abs(height) else -1

    # -- the choice ----------------------------------------------------------------------------

    @kernel
    def suspects(pixels, second, shape, known, loss, results, where) -> None:
        """Write to ``where[n]`` the number of a suspicious pixel of each spot, or -1.

        ``results`` are parameters and objectives; ``shape`` has the lengths of the axes.
        """
        nz, ny, nx = shape
        params, objectives = results
        counts, weighted = loss == DEVIANCE, second.shape[1] > 0
        for item in range(len(where)):
            sigmas, part = widened(extent(params, item, known))
            height, offset = params[item, 0] * part, params[item, params.shape[1] - 1]
            centre = params[item, 1], params[item, 2], params[item, 3] if axes > 2 else 0.0
            where[item] = -1
            if not math.isfinite(centre[0] + centre[1] + centre[2]):
                continue
            i, j = int(nearest(centre[0], nx)), int(nearest(centre[1], ny))
            k = int(nearest(centre[2], nz)) if axes > 2 else 0
            narrowest, form = min(sigmas[0], sigmas[1]), form_of(sigmas)
            at = (k * ny + j) * nx + i
            there = pixels[item, at] == pixels[item, at]  # no fit without a pixel that is missing
            if there and narrowest < MOST_NARROW and rest_is_left(
                pixels, item, second, weighted, counts, (i, j, k), ny, nx, narrowest, form, height,
                offset, centre, objectives[item],
            ):  # fmt: skip
                where[item] = at
            elif counts or narrowest >= MOST_NARROW:
                where[item] = largest(
                    pixels, item, second, weighted, counts, nz, ny, nx, form, sigmas, height,
                    offset, centre, objectives[item],
                )  # fmt: skip

    return suspects
