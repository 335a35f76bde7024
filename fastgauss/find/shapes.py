"""The shape of maxima: whether the data around one are a spot, a hot pixel, a line or a plateau.

Sums of the pixels with separable weights around a maximum are compared with those of the narrowest
and the widest spot that still count as one. Widths are in units of the filter's, whose profile is
g. Each test is a statistic that is 0 or less for such spots, with the variance and the skewness
that the noise and the spot's own light give it.

- sharp: the middle pixel, or the middle column, row or plane, is higher above the amplitude than
  in a spot of width 0.6 (hot pixels, columns and rows);
- narrow: the smallest second moment of g d is below that of a spot of width 0.6, or of width 0.66
  where the largest is surely above that of a spot (tracks and their ends);
- wide: it is above that of a spot of width 3 (plateaus);
- long: on both sides the response stays high up to 7 widths from the maximum (lines, filaments),
  or it is the sum of such arms in several directions (lines that cross);
- flat: the response does not fall as around a spot (edges, ends of lines), see ``falls``, nor is
  the image darker between the maxima (rows of spots), see ``dips``.

The light of neighbours makes a spot neither sharper nor narrower; it makes a spot long only where
neighbours stand in a row on both sides. The second moment of g d is 1/2 in each direction for a
spot, and 1 along a line, whatever its width; where lines cross it lies between. Maxima that are
surely compact, by the largest of these moments and by their mean, are not long.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..kernels.find import shape_chances, surroundings
from .dips import are_apart
from .falls import chance_of_falls
from .lines import Peaks, chance_of_arms, rows_with_arms
from .noise import fine_deviation
from .peaks import window_sums

NARROWEST, WIDEST = 0.6, 3.0  # extreme spots, in widths of the filter
_NARROWEST_LONG = 0.66  # of those that are longer than a single spot
_REACH = 3.0  # widths from the maximum within which pixels are seen
_LIMITS = 2.0  # that a spot can be at, at once
_COMPACT = 0.6, 0.7  # mean and largest second moment that no lines have
_SPOT = 0.1  # chance of what is taken for a spot
_SURELY, _PERHAPS = 1.5, 0.75  # errors by which those of a compact maximum are smaller
_TRIED = 2.0  # pixels that may be the middle


class Seen(NamedTuple):
    """Background, noise and missing pixels at maxima (n,), in the unit of the volume."""

    background: np.ndarray  # the background that the shape is compared with
    slopes: np.ndarray  # (n, ndim) its rise in a width of a spot
    level: np.ndarray  # of the responses
    variance: np.ndarray  # of a pixel
    gain: np.ndarray  # third moment of a pixel divided by its variance
    error: np.ndarray  # of the response
    factor: float  # ratio of the deviations of the response and of a pixel
    own: np.ndarray | None = None  # variances of all pixels, in usual ones; None: all 1
    gap: np.ndarray | None = None  # missing pixels

    def take(self, chosen: np.ndarray | slice) -> Seen:
        """The chosen maxima."""
        return self._replace(
            background=self.background[chosen], slopes=self.slopes[chosen],
            level=self.level[chosen], variance=self.variance[chosen],
            gain=self.gain[chosen], error=self.error[chosen],
        )  # fmt: skip

    def fine_error(self, volume: np.ndarray, points: np.ndarray) -> np.ndarray:
        """The error of the response by the noise of fine differences, if that is smaller."""
        if self.own is not None:
            return self.error
        fine = fine_deviation(volume, self.gap, points)
        more = np.where(fine > 0, np.maximum(self.variance - fine**2, 0.0), 0.0)
        return np.sqrt(np.maximum(self.error**2 - self.factor**2 * more, 0.0))


class Shapes(NamedTuple):
    """The shape of maxima (n,)."""

    sharpness: np.ndarray  # middle pixel above the background, over the amplitude
    chance: np.ndarray  # that a spot looks as extreme


class _Template(NamedTuple):
    """The sums around a maximum: their weights along the axes, and the statistics made of them."""

    slices: tuple[tuple[int, ...], ...]  # sets of axes on which only the middle counts
    profiles: np.ndarray  # (terms, 3, side): of g, the slices, the first and second moments
    radii: np.ndarray
    flat: np.ndarray  # (terms,) sums of a background of 1
    straight: np.ndarray  # (ndim,) first moments of one that rises by 1 in a width
    squares: np.ndarray  # (1 + slices,) sums of squares of the first weights
    sharp: np.ndarray  # (slices, 5) the statistics of each, as `_statistic` gives them
    moment: np.ndarray  # (3, 5) those of the narrowest, widest and narrowest long spot


def _profile(sigma: float, width: float) -> np.ndarray:
    """A spot's profile of height 1 along an axis."""
    radius = max(1, math.ceil(_REACH * sigma))
    return np.exp(-0.5 * (np.arange(-radius, radius + 1) / (width * sigma)) ** 2)


def _product(parts: list[np.ndarray]) -> np.ndarray:
    """The outer product, flat."""
    whole = np.ones(1)
    for part in parts:
        whole = (whole[:, None] * part).ravel()
    return whole


def _statistic(weights: np.ndarray, light: np.ndarray, limit: float) -> tuple[float, ...]:
    """The limit of a sum with some weights, for a spot whose light has this shape, and its noise.

    The noise is two parts of its variance, for a pixel's variance of 1 and for the counts of a spot
    of amplitude 1, and two parts of its third central moment in the same way.
    """
    square, cube = weights**2, weights**3
    moments = (square.sum(), square @ light, cube.sum(), cube @ light)
    return limit, *map(float, moments)


@lru_cache(maxsize=8)
def _template(sigmas: tuple[float, float, float]) -> _Template:
    """The sums for spots of these sigmas; 0: an axis without extent."""
    active = [axis for axis in range(3) if sigmas[axis] > 0]
    widths = [sigmas[axis] for axis in active]
    places = [np.arange(-(len(g) // 2), len(g) // 2 + 1) / s for g, s in
              ((_profile(s, 1.0), s) for s in widths)]  # fmt: skip
    narrow, usual, wide, thin = (
        [_profile(s, w) for s in widths] for w in (NARROWEST, 1.0, WIDEST, _NARROWEST_LONG)
    )
    middle = [np.where(x == 0, 1.0, 0.0) for x in places]
    axes = range(len(active))
    slices = tuple(k for m in range(1, len(active) + 1) for k in itertools.combinations(axes, m))
    terms = [usual]
    terms += [[middle[a] if a in k else usual[a] for a in axes] for k in slices]
    terms += [[usual[a] * (places[a] if a == b else 1.0) for a in axes] for b in axes]
    terms += [
        [usual[a] * places[a] ** ((a == b) + (a == c)) for a in axes]
        for b, c in itertools.combinations_with_replacement(axes, 2)
    ]
    radii = np.zeros(3, np.int64)
    radii[active] = [len(g) // 2 for g in usual]
    profiles = np.zeros((len(terms), 3, 2 * radii.max() + 1))
    profiles[:, :, radii.max()] = 1.0
    for term, rows in zip(terms, profiles, strict=True):
        for a, part in zip(active, term, strict=True):
            rows[a, radii.max() - radii[a] : radii.max() + radii[a] + 1] = part
    flat = np.array([math.prod(float(part.sum()) for part in term) for term in terms])
    straight = [flat[0] * (g @ x**2) / g.sum() for g, x in zip(usual, places, strict=True)]
    whole = _product(usual)
    squares = [float(whole @ whole)]
    sharp = []
    for k, term in zip(slices, terms[1:], strict=False):
        weights = _product(term)
        squares.append(float(weights @ weights))
        light = _product([narrow[a] if a in k else usual[a] for a in axes])
        limit = squares[0] / float(whole @ light)
        weights = weights / squares[-1] - limit * whole / squares[0]
        sharp.append(_statistic(weights, limit * light, limit))
    moments = [
        _moment(usual, spot, places, sign) for spot, sign in ((narrow, 1), (wide, -1), (thin, 1))
    ]
    return _Template(
        slices, profiles, radii, flat, np.array(straight), np.array(squares), np.array(sharp),
        np.array(moments),
    )  # fmt: skip


def _moment(
    usual: list[np.ndarray], spot: list[np.ndarray], places: list[np.ndarray], sign: float
) -> tuple[float, ...]:
    """By what a second moment is below that of an extreme spot, or above it for a sign of -1."""
    values = [(g * h) @ x**2 / (g @ h) for g, h, x in zip(usual, spot, places, strict=True)]
    limit = float(sign * min(sign * value for value in values))
    axis = values.index(limit)
    parts = [
        sign * g * (limit - x**2) if a == axis else g
        for a, (g, x) in enumerate(zip(usual, places, strict=True))
    ]
    return _statistic(_product(parts), _product(spot), limit)


def judge_shapes(
    volume: np.ndarray, response: np.ndarray, points: np.ndarray, seen: Seen,
    sigmas: tuple[float, float, float], elongated: bool, threads: int | None,
) -> Shapes:  # fmt: skip
    """The shape of maxima (n, 3) of a response to spots, round ones or ``elongated``."""
    known = _template(sigmas)
    count, ndim = 1 + len(known.slices), len(known.slices[-1])
    sums = window_sums(volume, points, known.profiles, known.radii, threads)
    sums -= seen.background[:, None] * known.flat
    sums[:, count : count + ndim] -= seen.slopes * known.straight
    noise = _noise(points, seen, known, threads)
    sharp = _sharp(sums, noise, seen, known)
    near = np.empty_like(points)
    surroundings.brightest(volume, points, near)  # noise may move a maximum off a hot pixel
    rows = np.flatnonzero((near != points).any(axis=1))
    others = window_sums(volume, near[rows], known.profiles[:count], known.radii, threads)
    there = seen.take(rows)
    others -= there.background[:, None] * known.flat[:count]
    other = _sharp(others, _noise(near[rows], there, known, threads), there, known)
    sharp[rows] = np.minimum(sharp[rows], _TRIED * other)
    moments, of_moments = np.empty((len(points), ndim, ndim)), np.empty((4, len(points)))
    shape_chances.moment_chances(
        sums, noise, seen.gain, known.squares[0], known.moment, moments, of_moments
    )
    narrow, wide, thin, error = of_moments
    long = _largest(moments) - _SURELY * error > _COMPACT[0]
    narrow = np.where(long, np.minimum(narrow, thin), narrow)
    peaks, arms = Peaks(points, seen.level, seen.error), np.ones(len(points))
    rows, high = rows_with_arms(response, peaks, sigmas, threads)
    rows = rows[~_are_compact(moments[rows], _SURELY * error[rows])]
    arms[rows] = chance_of_arms(
        response, peaks.take(rows), moments[rows], error[rows],
        lambda some: seen.take(rows[some]).fine_error(volume, points[rows[some]]), sigmas,
        threads,
    )  # fmt: skip
    least = np.minimum(np.minimum(sharp, narrow), np.minimum(wide, arms))
    if not elongated:
        falls = chance_of_falls(
            response, peaks, high, least >= _SPOT,
            lambda some, pairs: are_apart(
                volume, points[some], pairs, noise[some, 0], seen.gain[some],
                seen.background[some], sigmas, threads
            ),
            sigmas, threads,
        )  # fmt: skip
        least = np.minimum(least, np.where(_are_compact(moments, _PERHAPS * error), 1.0, falls))
    amplitude = sums[:, 0] / known.squares[0]
    sharpness = np.full(len(points), np.inf)
    np.divide(sums[:, count - 1], amplitude, out=sharpness, where=amplitude > 0)
    return Shapes(sharpness, np.minimum(_LIMITS * least, 1.0))


def _noise(points: np.ndarray, seen: Seen, known: _Template, threads: int | None) -> np.ndarray:
    """The variance of a pixel in each of the first sums."""
    count = 1 + len(known.slices)
    if seen.own is None:
        return np.tile(seen.variance[:, None], count)
    own = window_sums(seen.own, points, known.profiles[:count] ** 2, known.radii, threads)
    return own / known.squares * seen.variance[:, None]


def _are_compact(moments: np.ndarray, doubt: np.ndarray | float) -> np.ndarray:
    """Whether second moments (n, ndim, ndim), and a doubt, are smaller than those of lines."""
    mean = np.trace(moments, axis1=1, axis2=2) / moments.shape[1]
    return (mean + doubt < _COMPACT[0]) & (_largest(moments) + doubt < _COMPACT[1])


def _largest(moments: np.ndarray) -> np.ndarray:
    """The largest eigenvalues of symmetric matrices (n, ndim, ndim)."""
    if moments.shape[1] != 2:
        return np.linalg.eigvalsh(moments)[:, -1]
    one, other, both = moments[:, 0, 0], moments[:, 1, 1], moments[:, 0, 1]
    return 0.5 * (one + other + np.hypot(one - other, 2.0 * both))


def _sharp(sums: np.ndarray, noise: np.ndarray, seen: Seen, known: _Template) -> np.ndarray:
    """The chance that the middle pixel, column, row or plane of a spot is as high."""
    chances = np.empty(len(sums))
    shape_chances.sharp_chances(sums, noise, seen.gain, known.squares, known.sharp, chances)
    return chances
