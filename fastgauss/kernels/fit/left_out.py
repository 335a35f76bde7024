"""Fits without one pixel, or two: whether these alone are why a fit is where it is.

A hot pixel in the core of a spot pulls the fit to itself: its residual is small then, and one step
of the fit (``outliers.py``) does not tell what a fit without the pixel would be. So the few rows
with a suspicious pixel (``suspects.py``) are fitted again without it. Kernels of plain pixels know
no missing ones. There the pixel gets the value d of its neighbours, then that of the model m of
this fit, then by a secant the value at which both are the same, d = m: such a pixel adds nothing,
and the fit is that without it.

Where two pixels side by side are hot, the fit without one of them goes to the other. So where a
fit without a pixel has a suspicious one, too, the spot is fitted without both.

Let S be the objective with the pixel, S' that without, n' the degrees of freedom without, and A'
the height of the spot without; of two pixels, |d - m| is that of the one that is farther off, and m
the larger one. The pixel is an outlier if the spot without is significant, the
objective falls by

    t**2 = (S - S') / (S' / f) > ``_SURE`` (1 + (``_FEW`` / f)**3),

with f = n' (t is the externally studentised residual, Cook & Weisberg 1982, section 2.2.2; of few
degrees of freedom the tails are long; for squares, ``_SURE_OF_SQUARES``), and

* least squares: |d - m| > ``_MISSED`` |A'|. Stars are no Gaussians: without its brightest pixel,
  the fit of a Moffat star of full width 1.5 pixels or more misses that pixel by up to 0.36 A'.
  If the smaller sigma without the pixel is above ``_WIDE`` pixels, ``_MISSED_OF_WIDE`` is enough
  where |d - m| (S - S') / S > ``_PRODUCT_OF_WIDE`` |A'|, which is at most 0.13 |A'| there.
  Where all weights are alike, the noise may still be that of photons, most of it in the core. Then
  t**2 is smaller by q, the mean of the model divided by m, and of n pixels only N tell of the
  noise, the square of the model's sum divided by the sum of its squares: f = N - (n - n'), and
  t**2 = (S - S') q n f / (N S'). A background below 0 is taken for 0;
* a likelihood, whose noise is known: S - S' > ``_SURE`` and |d - m| > ``_LEAST_MISSED`` |A'|,
  if noise explains S': it is below n' + ``_MOST_REST`` sqrt(2 n'). If noise does not, then
  |d - m| (S - S') / S > ``_MOST_PRODUCT`` |A'|, which is at most 0.28 |A'| for these stars.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device, kernel
from ..status import AT_BOUND, AT_EDGE, CONVERGED, OUTLIER
from .covariances import degrees_of_freedom
from .estimators import DEVIANCE
from .extents import unit_span
from .outliers import common_weight, loss_of_pixel, make_profile

_ROOT, _ROOT_OF_SQUARE = math.sqrt(2.0 * math.pi), math.sqrt(math.pi)
ROUNDS = 3  # fits without a pixel
MOST_LEFT_OUT = 2  # pixels
ODD, MAY_HAVE_MORE = 1.0, 2.0
_SURE, _SURE_OF_SQUARES = 36.0, 49.0
_FEW = 10.0  # pixels
_MISSED, _LEAST_MISSED, _MOST_PRODUCT = 0.5, 0.1, 0.3  # heights of the spot
_MISSED_OF_WIDE, _PRODUCT_OF_WIDE = 0.3, 0.2
_WIDE = 0.9  # pixels
_MOST_REST = 2.5
_REST_OF_MORE, _PRODUCT_OF_MORE = 300.0, 0.02
_STRONG = 5.0  # standard errors
_MOST_SLOPE = 0.9  # of the model at the pixel by the pixel's value


@device
def _beside(row, k, step, length, other):
    """Sum and number of the existing neighbours of pixel k along an axis, without ``other``."""
    total, count = 0.0, 0
    at = (k // step) % length
    for side in (-1, 1):
        if 0 <= at + side < length and k + side * step != other:
            d = np.float64(row[k + side * step])
            if np.isfinite(d):
                total += d
                count += 1
    return total, count


@device
def _next_value(d, before, m):
    """The value at which the model is expected to be the same; ``before`` are d and m of before."""
    moved = d - before[0]
    slope = (m - before[1]) / moved if moved != 0.0 else 0.0
    slope = min(max(slope, 0.0), _MOST_SLOPE)
    return m + slope / (1.0 - slope) * (m - d)


@device
def is_outlier(both, freedom, count, noise, missed, width, loss):
    """The rule above: S and S', n', n, N and n q, the pixel's distance in heights, and a sigma."""
    fall, part = both[0] - both[1], both[1]
    left = noise[0] - (count - freedom)
    if not left > 0.0:
        return False
    sure = (_SURE if loss == DEVIANCE else _SURE_OF_SQUARES) * (1.0 + (_FEW / left) ** 3)
    if not fall * left * noise[1] > sure * part * noise[0]:
        return False
    product = missed * fall
    if loss != DEVIANCE:
        clear = width > _WIDE and missed > _MISSED_OF_WIDE and product > _PRODUCT_OF_WIDE * both[0]
        return missed > _MISSED or clear
    if part < freedom + _MOST_REST * math.sqrt(2.0 * freedom):
        return fall > _SURE and missed > _LEAST_MISSED
    return product > _MOST_PRODUCT * both[0]


@cache
def make_left_out(extent: Callable, axes: int, pixel: str) -> Callable:
    """A kernel over a range of spots, for Gaussians on an even background.

    The arguments are those of ``make_verdicts``.
    """
    profile = make_profile(axes, pixel, unit_span)

    # -- single spots --------------------------------------------------------------------------

    @device
    def model_at(item, known, params, k, nx, ny):
        x = float(k % nx) - params[item, 1]
        y = float((k // nx) % ny) - params[item, 2] if axes > 1 else 0.0
        z = float(k // (nx * ny)) - params[item, 3] if axes > 2 else 0.0
        f = profile(extent(params, item, known), x, y, z)
        return params[item, 0] * f + params[item, params.shape[1] - 1]

    @device
    def noise_of_photons(background, height, m, shape, count):
        """N and n q for these expectations; both n for a dark spot."""
        light, square = height, height * height
        for a in range(axes):
            light *= _ROOT * shape[a]
            square *= _ROOT_OF_SQUARE * shape[a]
        total = background * count + light
        if not (light > 0.0 and m > 0.0):
            return count, count
        squares = (background * count + 2.0 * light) * background + square
        return min(total * total / squares, count), min(total / m, count)

    @device
    def put(pixels, item, k, value, least):
        """Write a value as the pixels can have it, and return that."""
        pixels[item, k] = max(value, least)
        return np.float64(pixels[item, k])

    @device
    def mean_beside(pixels, item, k, other, nx, ny, nz):
        """The mean of the neighbours of a pixel; its own value where it has none."""
        row = pixels[item]
        total, count = _beside(row, k, 1, nx, other)
        by_y, of_y = _beside(row, k, nx, ny, other)
        by_z, of_z = _beside(row, k, nx * ny, nz, other)
        count += of_y + of_z
        return (total + by_y + by_z) / count if count else np.float64(row[k])

    # -- all spots -----------------------------------------------------------------------------

    @kernel
    def left_out(
        pixels, second, shape, known, where, turn, loss, least, whole, found, tries
    ) -> None:  # fmt: skip
        """Give the pixels ``where[n]`` their next values, and tell after the last fit who is odd.

        ``where[n, 2]`` may be -1 from the second pixel on. ``turn`` counts the fits that were made.
        ``whole`` are objectives of the fits with the pixels and numbers of pixels and of free
        parameters; ``found`` parameters, packed covariances, objectives and statuses of the last
        fit without them. ``tries[n, 2, 4]`` keeps a pixel's own value, the value it has, and value
        and model of the fit before; after the last fit ``tries[n, 0, 0]`` is ODD for an outlier,
        MAY_HAVE_MORE where another pixel may be one, or 0. ``least`` is the least value of a pixel.
        """
        nz, ny, nx = shape
        objectives, counts, of_spots = whole
        weighted = second.shape[1] > 0
        params, errors, objectives_without, status = found
        for item in range(len(where)):
            part, out, most, farthest = objectives_without[item], 0, 0.0, 0.0
            height = params[item, 0]
            for e in range(MOST_LEFT_OUT):
                k = where[item, e]
                if k < 0:
                    continue
                out += 1
                own, d = tries[item, e, 0], tries[item, e, 1]
                if turn == 0:
                    own = np.float64(pixels[item, k])
                    value = mean_beside(pixels, item, k, where[item, 1 - e], nx, ny, nz)
                    tries[item, e, 0], tries[item, e, 1] = own, put(pixels, item, k, value, least)
                    continue
                m = model_at(item, known, params, k, nx, ny)
                if turn < ROUNDS:
                    value = m
                    if turn > 1:
                        value = _next_value(d, (tries[item, e, 2], tries[item, e, 3]), m)
                    tries[item, e, 2], tries[item, e, 3] = d, m
                    value = value if np.isfinite(value) else d
                    tries[item, e, 1] = put(pixels, item, k, value, least)
                    continue
                other = np.float64(second[min(item, len(second) - 1), k]) if weighted else 0.0
                part -= loss_of_pixel(np.float64(pixels[item, k]), m, other, loss, weighted)
                most, farthest = max(most, m), max(farthest, abs((own - m) / height))
            if turn < ROUNDS:
                continue
            ended = status[item] in (CONVERGED, AT_BOUND, AT_EDGE, OUTLIER)
            good = ended and height * height > _STRONG * _STRONG * errors[item, 0]
            freedom = degrees_of_freedom(counts, of_spots, item) - out
            sigmas, count = extent(params, item, known), float(counts[item])
            noise = count, count
            if common_weight(second, item, loss) > 0.0:
                background = max(params[item, params.shape[1] - 1], 0.0)
                noise = noise_of_photons(background, height, most, sigmas, count)
            both = objectives[item], part
            odd = good and is_outlier(
                both, freedom, count, noise, farthest, min(sigmas[0], sigmas[1]), loss
            )
            product = farthest * (both[0] - part)
            if loss == DEVIANCE and out > 1:  # stars are no Gaussians: noise must explain the rest
                odd = odd and part < freedom + _MOST_REST * math.sqrt(2.0 * freedom)
            more = loss != DEVIANCE or (
                part < _REST_OF_MORE * freedom and product > _PRODUCT_OF_MORE * both[0]
            )
            more = more and ended
            tries[item, 0, 0] = ODD if odd else MAY_HAVE_MORE if more else 0.0

    return left_out
