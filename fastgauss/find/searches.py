"""One image, and the search for its spots at one scale or several."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..base.progress import Progress, report_part
from . import scale_space
from .found_maxima import (
    Found,
    above,
    described_spots,
    fluxes,
    judge_of,
    strong_spots,
    with_shapes,
)
from .found_spots import FoundSpots
from .laplacian import curved_spots
from .matched_filter import Scale, filtered
from .neighbours import separate_neighbours
from .options import Search
from .peaks import curvatures, refine_peaks, thin_peaks
from .response import Picture, as_three, as_volume, prepare

_PREPARED, _FILTERED = 15, 70  # hundredths of the work done after each


class Frame(NamedTuple):
    """An image whose spots are searched for."""

    array: np.ndarray
    holes: np.ndarray | None  # missing pixels
    camera: np.ndarray | None  # variance of the read-out noise of each pixel
    dark: bool
    threads: int | None

    def picture(self, sigmas: tuple[float, ...], known: Picture | None = None) -> Picture:
        """The image for the filters of spots of these sigmas.

        A missing pixel is filled from the pixels within the reach of a spot. Without missing
        pixels the image is the same for all sigmas: the known one is returned.
        """
        if known is not None and known.gap is None:
            return known
        return prepare(self.array, self.holes, self.dark, as_three(sigmas, 0.0), self.threads)

    def least(self, picture: Picture) -> float:
        """The least deviation of a pixel: whole numbers are rounded."""
        return math.sqrt(1.0 / 12.0) / picture.unit if self.array.dtype.kind in "iu" else 0.0

    def possible(self, picture: Picture, margin: int) -> float:
        """The number of pixels where a spot may be."""
        number = math.prod(float(max(n - 2 * margin, 0)) for n in self.array.shape)
        return number if picture.gap is None else number * (1.0 - float(picture.gap.mean()))

    def holds(self, sigmas: tuple[float, ...]) -> bool:
        """Whether the image is as wide as spots of these sigmas."""
        return all(n >= s for n, s in zip(self.array.shape, sigmas, strict=True))


class _Part(NamedTuple):
    """Spots of one scale."""

    spots: FoundSpots
    strength: np.ndarray  # significance, or height of the response


def find_at_scales(
    frame: Frame, searches: list[Search], factor: float | None, report: Progress | None
) -> FoundSpots:
    """The spots of an image at the scales of some searches, which differ in nothing but the scale.

    The search is by curvature, above a threshold or above ``factor`` deviations of the noise, or by
    likelihood ratio if the factor is None. The sigmas (n, D) are those of the scales.
    """
    searches = [search for search in searches if frame.holds(search.sigmas)]
    if not searches:
        none, rows = np.empty(0), np.empty((0, frame.array.ndim))
        return FoundSpots(rows, none, none, none, none, none, rows)
    if factor is not None:
        level, parts = None, _curved(frame, searches, factor, report)
    else:
        level, parts = _significant(frame, searches, report)
    if report is not None:
        report(100, 100)
    if len(parts) == 1:
        return parts[0].spots
    spots = FoundSpots(*map(np.concatenate, zip(*(part.spots for part in parts), strict=True)))
    scale = np.repeat(np.arange(len(parts)), [len(part.strength) for part in parts])
    strength = np.concatenate([part.strength for part in parts])
    own = _own_maxima(spots.positions, scale, spots.amplitude, strength, searches, level)
    return FoundSpots(*(column[own] for column in spots))


def _pictures(
    frame: Frame, searches: list[Search], report: Progress | None
) -> Iterator[tuple[Picture, Search, Progress | None]]:
    """The image for each scale, the search there, and what is told of its filter's progress."""
    known, count = None, len(searches)
    for k, search in enumerate(searches):
        begin, end = (_PREPARED + (_FILTERED - _PREPARED) * m // count for m in (k, k + 1))
        known = frame.picture(search.sigmas, known)
        yield known, search, report_part(report, 100, begin, end)


def _curved(
    frame: Frame, searches: list[Search], factor: float, report: Progress | None
) -> list[_Part]:
    """The spots of each scale by curvature, where no other scale has a larger response."""
    parts, threads = [], frame.threads
    for picture, search, filtering in _pictures(frame, searches, report):
        widths, least = as_three(search.sigmas, 0.0), frame.least(picture)
        response, points = curved_spots(
            picture, widths, search.threshold, factor, least, threads, filtering
        )
        found = described_spots(picture, response, points, widths, search, least, threads)
        found = _apart(frame, found, search)
        strength = response[tuple(found.points.T)].astype(np.float64)
        largest = np.ones(len(strength), bool)
        for other in searches:
            if other is not search:
                beside = as_three(other.sigmas, 0.0)
                largest &= strength >= curvatures(picture.volume, found.points, beside, threads)
        spots = _described(picture, found.take(largest), search)
        parts.append(_Part(spots, strength[largest]))
    return parts


def _significant(
    frame: Frame, searches: list[Search], report: Progress | None
) -> tuple[float, list[_Part]]:
    """The spots of each scale by likelihood ratio, and the significance that they have at least."""
    camera = None if frame.camera is None else as_volume(frame.camera)
    scales = [
        filtered(
            picture, as_three(search.sigmas, 0.0), frame.least(picture), camera, frame.threads,
            filtering,
        )
        for picture, search, filtering in _pictures(frame, searches, report)
    ]  # fmt: skip
    level = searches[0].significance
    if level is None:
        pixels = frame.possible(scales[0].picture, searches[0].margin)
        widths = [scale.sigmas for scale in scales]
        level = scale_space.least_significance(searches[0].false_alarms, pixels, widths)
    parts = []
    for scale, search in zip(_without_bright(scales, searches, level), searches, strict=True):
        judge = judge_of(scale)
        found = above(judge, level)
        found = replace(found, places=refine_peaks(scale.matched.response, found.points))
        if len(scales) == 1:
            found = separate_neighbours(judge, found, level, _distances(search))
        found = found.take(np.lexsort((-found.amplitude, -found.significance)))
        found = _apart(frame, with_shapes(scale, found, search), search)
        parts.append(_Part(_described(scale.picture, found, search), found.significance))
    return level, parts


def _without_bright(scales: list[Scale], searches: list[Search], level: float) -> list[Scale]:
    """The scales, with the light of bright spots of any scale taken out of their backgrounds."""
    strong = [strong_spots(scale, level) for scale in scales]
    points = np.concatenate([found.points for found in strong])
    amplitude = np.concatenate([found.amplitude for found in strong])
    which = np.repeat(np.arange(len(scales)), [len(found.points) for found in strong])
    if len(scales) > 1:
        axes = np.flatnonzero(scales[0].sigmas)
        strength = np.concatenate([found.significance for found in strong])
        own = _own_maxima(points[:, axes], which, amplitude, strength, searches, level)
        points, amplitude, which = points[own], amplitude[own], which[own]
    if not len(points):
        return scales
    widths = np.array([scale.sigmas for scale in scales])[which]
    light = fluxes(amplitude, widths)
    return [scale.without_light(*_spread(points, light, widths, scale)) for scale in scales]


def _spread(
    points: np.ndarray, light: np.ndarray, widths: np.ndarray, scale: Scale
) -> tuple[np.ndarray, np.ndarray]:
    """The light of spots as points: spots wider than those of a scale are three along an axis."""
    wider = np.sqrt(np.maximum(widths**2 - np.array(scale.sigmas) ** 2, 0.0))
    for axis in np.flatnonzero(wider.any(axis=0)):
        step = np.zeros_like(points)
        step[:, axis] = np.rint(math.sqrt(3.0) * wider[:, axis])
        points = np.concatenate([points, points - step, points + step])
        light = np.concatenate([light * (2.0 / 3.0), light / 6.0, light / 6.0])
        wider = np.tile(wider, (3, 1))
    inside = np.all((points >= 0) & (points < scale.picture.volume.shape), axis=1)
    return points[inside], light[inside]


def _distances(search: Search) -> np.ndarray:
    """The semi-axes of the ellipsoid around a spot in which there is no weaker one."""
    return np.array(as_three(search.distances, 1.0))


def _apart(frame: Frame, found: Found, search: Search) -> Found:
    """Maxima that are neither close to stronger ones nor at the border."""
    shape = as_volume(frame.array).shape
    found = found.take(thin_peaks(found.points, shape, _distances(search)))
    axes = np.flatnonzero(as_three(search.sigmas, 0.0))
    margin = min(search.margin, max(frame.array.shape))
    points, lengths = found.points[:, axes], np.array(frame.array.shape)
    return found.take(np.all((points >= margin) & (points < lengths - margin), axis=1))


def _described(picture: Picture, found: Found, search: Search) -> FoundSpots:
    """Maxima as spots in the units of the image."""
    axes = np.flatnonzero(as_three(search.sigmas, 0.0))
    return FoundSpots(
        found.places[:, axes], found.significance,
        picture.sign * picture.unit * found.amplitude,
        picture.unit * picture.pixels(found.background), found.sharpness, found.p_value,
        np.tile(search.sigmas, (len(found.points), 1)),
    )  # fmt: skip


def _own_maxima(
    places: np.ndarray, scale: np.ndarray, amplitude: np.ndarray, strength: np.ndarray,
    searches: list[Search], level: float | None,
) -> np.ndarray:  # fmt: skip
    """Which maxima of several scales are spots of their own, the strongest first."""
    sigmas, distances = (
        np.array([getattr(search, name) for search in searches]) for name in ("sigmas", "distances")
    )
    maxima = scale_space.Maxima(places, scale, amplitude, strength, sigmas, distances)
    return maxima.spots(level)
