"""The shape of maxima: whether the data around one are a spot, a hot pixel, a line or a plateau.

Sums of the pixels with separable weights around a maximum are compared with those of the extreme
spots that still count as one. Widths are in those of the filter, whose profile is g. Each test is a
statistic that is 0 or less for such spots, with the variance and the skewness that the noise and
the spot's own light give it.

- sharp: the middle pixel, or the middle column, row or plane, is higher above the amplitude than
  in a spot of width 0.6 (hot pixels, columns and rows);
- narrow: the smallest second moment of g d is below that of a spot of width 0.6 (tracks);
- wide: it is above that of a spot of width 3 (plateaus);
- long: on both sides the response stays high up to 7 widths from the maximum (lines, filaments),
  or it is the sum of such arms in several directions (lines that cross).

The light of neighbours makes spots neither sharper nor narrower, and long only where neighbours
stand in a row on both sides.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from ..base import thread_pool
from ..kernels.find import local_maxima
from .lines import Peaks, chance_of_arms, rows_with_arms
from .noise import fine_deviation
from .response import CHUNK

NARROWEST, WIDEST = 0.6, 3.0  # extreme spots, in widths of the filter
_REACH = 3.0  # widths from the maximum within which pixels are seen
_LIMITS = 2.0  # that a spot can be at, at once
_TRIED = 2.0  # pixels that may be the middle
_ROWS = 1 << 12  # maxima at once


class Seen(NamedTuple):
    """What is known of maxima (n,), in the unit of the volume."""

    ground: np.ndarray  # the background that the shape is compared with
    level: np.ndarray  # of the responses
    variance: np.ndarray  # of a pixel
    gain: np.ndarray  # third moment by variance of a pixel
    error: np.ndarray  # of the response
    factor: float  # deviation of the response, by that of a pixel
    own: np.ndarray | None = None  # variances of all pixels by the usual; None: all 1
    gap: np.ndarray | None = None  # missing pixels

    def those(self, chosen: np.ndarray | slice) -> Seen:
        """Some of the maxima."""
        return self._replace(
            ground=self.ground[chosen], level=self.level[chosen], variance=self.variance[chosen],
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

    sharpness: np.ndarray  # middle pixel above the background, by the amplitude
    chance: np.ndarray  # that a spot looks as extreme


class _Statistic(NamedTuple):
    """A sum with some weights, for noise and for the light of a spot of amplitude 1; or several,
    whose numbers are arrays (k, 1).
    """

    limit: Any
    variance: Any  # of the sum: by that of a pixel, and by the counts of the light
    third: Any  # central moment, likewise


class _Template(NamedTuple):
    """The sums around a maximum: their weights along the axes, and the statistics made of them."""

    slices: tuple[tuple[int, ...], ...]  # sets of axes on which only the middle counts
    profiles: np.ndarray  # (terms, 3, side): of g, the slices, the first and second moments
    radii: np.ndarray
    flat: np.ndarray  # (terms,) sums of a background of 1
    squares: np.ndarray  # (1 + slices,) sums of squares of the first weights
    sharp: _Statistic  # one for each of the slices
    narrow: _Statistic
    wide: _Statistic


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


def _statistic(weights: np.ndarray, light: np.ndarray, limit: float) -> _Statistic:
    """The noise of a sum, and what a spot whose light has this shape adds to it."""
    square, cube = weights**2, weights**3
    return _Statistic(
        limit,
        (float(square.sum()), float(square @ light)),
        (float(cube.sum()), float(cube @ light)),
    )


@lru_cache(maxsize=8)
def _template(sigmas: tuple[float, float, float]) -> _Template:
    """The sums for spots of these sigmas; 0: an axis without extent."""
    active = [axis for axis in range(3) if sigmas[axis] > 0]
    widths = [sigmas[axis] for axis in active]
    places = [np.arange(-(len(g) // 2), len(g) // 2 + 1) / s for g, s in
              ((_profile(s, 1.0), s) for s in widths)]  # fmt: skip
    narrow, usual, wide = ([_profile(s, w) for s in widths] for w in (NARROWEST, 1.0, WIDEST))
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
    several = _Statistic(*(np.array(part).T[..., None] for part in zip(*sharp, strict=True)))
    return _Template(
        slices, profiles, radii, flat, np.array(squares), several,
        _moment(usual, narrow, places, 1.0), _moment(usual, wide, places, -1.0),
    )  # fmt: skip


def _moment(
    usual: list[np.ndarray], spot: list[np.ndarray], places: list[np.ndarray], sign: float
) -> _Statistic:
    """By what a second moment is below that of an extreme spot, or above it for a sign of -1."""
    values = [(g * h) @ x**2 / (g @ h) for g, h, x in zip(usual, spot, places, strict=True)]
    limit = float(sign * min(sign * value for value in values))
    axis = values.index(limit)
    parts = [
        sign * g * (limit - x**2) if a == axis else g
        for a, (g, x) in enumerate(zip(usual, places, strict=True))
    ]
    return _statistic(_product(parts), _product(spot), limit)


def _variance(
    amplitude: np.ndarray, seen: Seen, variance: np.ndarray, known: _Statistic
) -> np.ndarray:
    """The variance of a statistic."""
    light = np.maximum(amplitude, 0.0) * seen.gain
    return np.maximum(known.variance[0] * variance + known.variance[1] * light, 1e-300)


def _tail(
    value: np.ndarray, amplitude: np.ndarray, seen: Seen, variance: np.ndarray, known: _Statistic
) -> np.ndarray:
    """The chance of a larger value, by the gamma distribution of these moments.

    Its cube root is nearly normal (Wilson and Hilferty 1931).
    """
    square = _variance(amplitude, seen, variance, known)
    light = np.maximum(amplitude, 0.0) * seen.gain
    cube = (known.third[0] * variance + known.third[1] * light) * seen.gain
    half = 0.5 * np.clip(cube / square / np.sqrt(square), 1e-3, 20.0)  # of the skewness
    root = np.cbrt(np.maximum(1.0 + half * value / np.sqrt(square), 0.0))
    return special.ndtr(-3.0 / half * (root - 1.0 + half**2 / 9.0))


def _sums(
    volume: np.ndarray, points: np.ndarray, profiles: np.ndarray, radii: np.ndarray,
    threads: int | None,
) -> np.ndarray:  # fmt: skip
    """Sums of pixels around points with separable weights."""
    sums = np.empty((len(points), len(profiles)))

    def task(start: int, stop: int) -> None:
        local_maxima.weighted_sums(volume, points, profiles, radii, sums, start, stop)

    size = len(profiles) * int(np.prod(2 * radii + 1))
    thread_pool.run(lambda: task, len(points), max(1, CHUNK // size), threads)
    return sums


def judge_shapes(
    volume: np.ndarray, response: np.ndarray, points: np.ndarray, seen: Seen,
    sigmas: tuple[float, float, float], threads: int | None,
) -> Shapes:  # fmt: skip
    """The shape of maxima (n, 3) of a response to spots."""
    known = _template(sigmas)
    count, ndim = 1 + len(known.slices), len(known.slices[-1])
    sums = _sums(volume, points, known.profiles, known.radii, threads)
    sums = sums - seen.ground[:, None] * known.flat
    noise = _noise(points, seen, known, threads)
    amplitude = sums[:, 0] / known.squares[0]
    tails = [_sharp(sums, noise, seen, known)]
    near = _brightest(volume, points)  # noise may move the maximum away from a hot pixel
    rows = np.flatnonzero((near != points).any(axis=1))
    others = _sums(volume, near[rows], known.profiles[:count], known.radii, threads)
    there = seen.those(rows)
    others -= there.ground[:, None] * known.flat[:count]
    other = _sharp(others, _noise(near[rows], there, known, threads), there, known)
    tails[0][rows] = np.minimum(tails[0][rows], _TRIED * other)
    moments = _moments(sums, count, ndim)
    total = np.maximum(sums[:, 0], 0.0)  # where it is 0 the moments say nothing
    smallest = np.linalg.eigvalsh(moments)[:, 0] * total
    value = known.narrow.limit * total - smallest
    tails.append(ndim * _tail(value, amplitude, seen, noise[:, 0], known.narrow))
    value = smallest - known.wide.limit * total
    tails.append(_tail(value, amplitude, seen, noise[:, 0], known.wide))
    error = np.full(len(points), np.inf)
    deviation = np.sqrt(_variance(amplitude, seen, noise[:, 0], known.wide))
    np.divide(deviation, total, out=error, where=total > 0)
    peaks, arms = Peaks(points, seen.level, seen.error), np.ones(len(points))
    rows = rows_with_arms(response, peaks, sigmas)
    arms[rows] = chance_of_arms(
        response, peaks.those(rows), moments[rows], error[rows],
        lambda some: seen.those(rows[some]).fine_error(volume, points[rows[some]]), sigmas,
    )  # fmt: skip
    tails.append(arms)
    chance = np.minimum(_LIMITS * np.min(tails, axis=0), 1.0)
    sharpness = np.divide(
        sums[:, count - 1], amplitude, out=np.full(len(points), np.inf), where=amplitude > 0
    )
    return Shapes(sharpness, chance)


def _noise(points: np.ndarray, seen: Seen, known: _Template, threads: int | None) -> np.ndarray:
    """The variance of a pixel in each of the first sums."""
    count = 1 + len(known.slices)
    if seen.own is None:
        return np.tile(seen.variance[:, None], count)
    own = _sums(seen.own, points, known.profiles[:count] ** 2, known.radii, threads)
    return own / known.squares * seen.variance[:, None]


def _sharp(sums: np.ndarray, noise: np.ndarray, seen: Seen, known: _Template) -> np.ndarray:
    """The chance that the middle pixel, column, row or plane of a spot is as high."""
    count = len(known.squares)
    amplitude = sums[:, 0] / known.squares[0]
    value = sums[:, 1:count].T / known.squares[1:, None] - known.sharp.limit * amplitude
    return _tail(value, amplitude, seen, noise[:, 1:].T, known.sharp).min(axis=0)


def _brightest(volume: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The brightest pixel among each point and its neighbours."""
    # The point comes first: no equal neighbour takes its place.
    along = ((0, -1, 1) if n > 1 else (0,) for n in volume.shape)
    steps = np.array(list(itertools.product(*along)))
    last, best = np.array(volume.shape) - 1, np.empty_like(points)
    for begin in range(0, len(points), _ROWS):
        near = np.clip(points[begin : begin + _ROWS, None] + steps, 0, last)
        highest = volume[near[..., 0], near[..., 1], near[..., 2]].argmax(axis=1)
        best[begin : begin + _ROWS] = near[np.arange(len(near)), highest]
    return best


def _moments(sums: np.ndarray, count: int, ndim: int) -> np.ndarray:
    """The central second moments (n, ndim, ndim)."""
    total = np.where(sums[:, 0] > 0, sums[:, 0], 1.0)
    mean = sums[:, count : count + ndim] / total[:, None]
    matrix = np.empty((len(sums), ndim, ndim))
    pairs = itertools.combinations_with_replacement(range(ndim), 2)
    for column, (a, b) in enumerate(pairs, count + ndim):
        matrix[:, a, b] = matrix[:, b, a] = sums[:, column] / total - mean[:, a] * mean[:, b]
    return matrix
