"""Rotation, scale and shear between two images: Newton's iteration with the image moved each round.

Every round moves the second image, unsmoothed, to the place found so far, smooths both images by
the same filter, and solves the equations of ``kernels/register/gauss_newton.py`` for the rest, with
a column for each parameter: a linear combination of the gradient times coordinates. Were the
smoothed image moved instead, its filter would be turned and stretched, which draws the scale to 1.
What is left in the last round is a pair without a motion, which the tests of displacements judge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..base.thread_pool import resolve_threads
from . import (
    few_objects,
    image_deformation,
    low_pass,
    motion_search,
    motions,
    significance,
    spline_fields,
    volumes,
    window_matching,
)
from .inputs import Pixels
from .motion_results import Motion, nothing
from .results import Status

_MAX_ITER = 20
_TOL = 1e-4  # pixels: the largest move of a pixel by the last step
_ROUNDING = 1e-3  # pixels: a step below it that does not shrink is made by rounding
_STEP = 2.0  # pixels that a step may move a pixel
_SMALL = 0.1  # pixels: steps after which the same pixels are compared
_REACH = 8.0  # pixels that a solution may move a pixel from where it began
_LEAST = 0.1  # share of the pixels of an image that must be in both
_NEAR = 4.0  # pixels from a given start within which another match would be a mistake
_FEWEST = 64.0  # pixels
_RIVAL, _WORSE, _LEFT = 0.9, 2.0, 0.02  # as those of ``significance``
_APART = 2.0  # pixels, at a corner, between two motions that are two
_GAIN = 256.0  # by how much the gain may change at once


@dataclass(frozen=True)
class _Level:
    """A pair of images and what determines its motion."""

    first: Pixels
    second: Pixels
    spline: np.ndarray  # coefficients of the second image, not smoothed
    spectra: low_pass.Spectra
    field: spline_fields.Field  # of the first image, smoothed
    noise: volumes.Noise
    steps: motions.Steps
    fewest: float
    threads: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.first.values.shape

    def moved(self, place: motions.Place) -> Pixels:
        """The second image at the places of the first image's pixels."""
        if place is motions.STILL:
            return self.second
        flow = motions.flow(place, self.shape)
        warped = image_deformation.deform(self.second, self.spline, flow, 1.0, self.threads)
        # the noise of a magnified image is that of fewer pixels
        area = max(abs(float(np.linalg.det(place.matrix))), 0.1)
        variance = None if warped.variance is None else warped.variance / area
        return replace(warped, variance=variance)

    def sample(self, coefficients: np.ndarray, *_: np.ndarray) -> tuple[np.ndarray, list]:
        """A smoothed image at all pixels, and its derivative by each parameter."""
        value, slope_y, slope_x = spline_fields.sample_pixels(coefficients)
        return value, self.steps.columns([slope_y, slope_x])


class _Found(NamedTuple):
    """A motion and what holds there."""

    status: int
    place: motions.Place
    window: volumes.Window | None = None
    at: volumes.Point | None = None
    gain: float = 1.0
    warped: Pixels | None = None


def _level(
    first: Pixels, second: Pixels, names: tuple[str, ...], reach: float, threads: int
) -> _Level:
    shape = first.values.shape
    measured = low_pass.measure(first, second)
    spectra = low_pass.choose(measured, first.values.size, reach, steady=True)
    noise = volumes.noise_of(first, second, spectra)
    fewest = _LEAST * min(int(np.count_nonzero(p.valid)) for p in (first, second))
    return _Level(
        first, second, image_deformation.coefficients(second, threads), spectra,
        spline_fields.field(first, spectra.low, 0, noise.variances[0], noise.unit),
        noise, motions.Steps(names, shape), max(fewest, _FEWEST), threads,
    )  # fmt: skip


def _settle(level: _Level, start: motions.Place, brightness: str) -> _Found:
    """Newton's iteration."""
    place, gain, before, window = start, 1.0, math.inf, None
    status, linear = int(Status.MAX_ITERATIONS), brightness != "same"
    for _ in range(_MAX_ITER):
        found = _look(level, place, gain, linear, window)
        if found.at is None:
            return found
        if len(found.at.flat) == len(level.steps.names) or not found.at.peak:
            status = int(Status.NO_TEXTURE if found.at.peak else Status.LOST)
            return _Found(status, place)
        change = volumes.gain_change(found.at, gain, level.noise.ratio) if linear else 1.0
        settled = abs(change - 1.0) <= 1e-6 or (
            (change - 1.0) ** 2 * found.at.saa <= 0.01 * found.at.srr
        )
        last, step = place, found.at.step
        place = level.steps.join(last, step)
        size = motions.reach_of(place, last, level.shape)
        if size > _STEP:
            place = level.steps.join(last, step * (_STEP / size))
        if not motions.reach_of(place, start, level.shape) <= _REACH:
            return _Found(int(Status.LOST), place)
        if not settled:
            gain *= min(max(change, 1.0 / _GAIN), _GAIN)
        elif size <= _TOL or _ROUNDING >= size >= 0.5 * before:
            status = int(Status.CONVERGED)
            break
        # pixels that come and go at the border would keep the solution moving
        window = found.window if size <= _SMALL else None
        before = size
    if motions.reach_of(place, motions.STILL, level.shape) <= 10 * _TOL and abs(gain - 1.0) < 0.01:
        same = _look(level, motions.STILL, 1.0, linear)
        if same.at is not None and same.at.srr == 0.0:  # the same pixels, to the bit
            return same._replace(status=status)
    return _look(level, place, gain, linear)._replace(status=status)


def _look(
    level: _Level, place: motions.Place, gain: float, linear: bool,
    window: volumes.Window | None = None,
) -> _Found:  # fmt: skip
    """The equations at a motion, of the pixels of a window if it is given."""
    warped, still, low = level.moved(place), np.zeros(2, dtype=int), level.spectra.low
    if window is None:
        field = spline_fields.field(warped, low, 0, level.noise.variances[1], level.noise.unit)
        coefficients = field.coefficients
        window = volumes.window_at([level.field, field], still, linear, level.sample)
        if window is None or np.count_nonzero(window.w) < level.fewest:
            return _Found(int(Status.TOO_FEW_PIXELS), place)
    else:
        coefficients = spline_fields.coefficients(warped.values, low)
    at = volumes.point_at(window, coefficients, still, gain, level.noise, level.sample)
    return _Found(int(Status.CONVERGED), place, window, at, gain, warped)


def _from_coarse(
    levels: list[motion_search.Level], names: tuple[str, ...], reach: float, brightness: str,
    threads: int,
) -> list[motions.Place]:  # fmt: skip
    """Where to begin on the finest level, the best first, then others that are as good."""
    places = motion_search.starts(levels[-1], names, reach / levels[-1].unit)
    for finer, (first, second, unit) in zip(levels[-2::-1], levels[:0:-1], strict=True):
        level = _level(first, second, names, reach / unit, threads)
        found = [_settle(level, place, brightness) for place in places]
        places = [f.place for f in _as_good(found, level.shape)] or places[:1]
        larger = unit / finer.unit
        places = [motions.Place(p.matrix, larger * p.displacement) for p in places]
    return places


def _as_good(found: list[_Found], shape: tuple[int, ...]) -> list[_Found]:
    """The best of some motions, then others that fit as well."""
    known = [f for f in found if f.at is not None]
    known.sort(key=lambda f: -_likeness(f))
    kept: list[_Found] = []
    for one in known:
        if any(motions.reach_of(one.place, f.place, shape) <= _APART for f in kept):
            continue
        best = _likeness(kept[0]) if kept else _likeness(one)
        rest = 1.0 - _likeness(one) ** 2
        if _likeness(one) >= _RIVAL * best and rest <= _WORSE * (1.0 - best**2) + _LEFT:
            kept.append(one)
    return kept


def _likeness(found: _Found) -> float:
    return min(max(found.at.alike, 0.0), 1.0) if found.at is not None else 0.0


def register(
    first: Pixels,
    second: Pixels,
    motion: str,
    begin: motions.Place | None,
    bound: float,
    brightness: str,
) -> Motion:
    """The motion between two images, its displacement looked for within ``bound``."""
    threads = resolve_threads(None)
    names, shape = motions.NAMES[motion], first.values.shape
    reach = 0.25 * min(shape) if math.isinf(bound) else bound
    others = 1.0
    if begin is None:
        levels = motion_search.pyramid(first, second)
        places = _from_coarse(levels, names, reach, brightness, threads)
        angles, scales = motion_search.tried(names, levels[-1].first.values.shape)
        others = float(len(angles) * len(scales))
    else:
        places, reach = [begin], min(reach, _NEAR)
    level = _level(first, second, names, reach, threads)
    found = [_settle(level, place, brightness) for place in places]
    good = _as_good(found, shape)
    best = good[0] if good else found[0]
    if best.window is None or best.at is None or best.warped is None:
        return nothing(motion, shape, best.status)
    if np.abs(best.place.displacement).max() > bound:
        return nothing(motion, shape, Status.LOST, int(np.count_nonzero(best.window.w)))
    return _judged(level, motion, good, reach, others, brightness)


def _judged(
    level: _Level, motion: str, good: list[_Found], reach: float, others: float, brightness: str
) -> Motion:
    """The result, with its errors and its doubt."""
    best = good[0]
    assert best.window is not None and best.at is not None and best.warped is not None
    names, place, shape = level.steps.names, best.place, level.shape
    own, noise = volumes.covariance_at(best.window, best.at, np.zeros(2), best.gain, level.noise)
    covariance = level.steps.covariance(place, own, names)
    status = best.status
    if status == Status.CONVERGED and len(best.at.flat):
        status = int(Status.ONE_DIRECTION)
    if best.at.srr > 0.0 and not _related(level, best, brightness, reach, others):
        if status != Status.MAX_ITERATIONS:
            status = int(Status.AMBIGUOUS)
        covariance = covariance + np.diag(_extent(names, reach))
    away = _rivals(good, names, shape, np.isfinite(np.diag(covariance)))
    if len(away) and status in (Status.CONVERGED, Status.ONE_DIRECTION):
        status = int(Status.AMBIGUOUS)
        covariance = covariance + away.T @ away / (len(away) + 1)
    at = best.at
    product = math.sqrt(max(at.saa * at.sbb, 0.0))
    correlation = 0.5 * (at.saa + at.sbb - at.srr) / product if product > 0 else math.nan
    if not level.noise.unit:
        noise = noise / level.first.scale / level.first.scale
    return Motion(
        motion, place.matrix, place.displacement, covariance, status, correlation, noise,
        int(np.count_nonzero(best.window.w)), shape,
    )  # fmt: skip


def _rivals(
    good: list[_Found], names: tuple[str, ...], shape: tuple[int, ...], known: np.ndarray
) -> np.ndarray:
    """Differences (n, k) of the parameters to those of other motions, where they are known."""
    values = np.array([motions.values_of(found.place, names) for found in good])
    away = (values[1:] - values[0]) * known
    corner = float(np.hypot(*motions.centre(shape)))
    pixels = np.where(np.isin(names, ("dx", "dy")), 1.0, corner)
    return away[(np.abs(away * pixels) > _APART).any(axis=1)]


def _extent(names: tuple[str, ...], reach: float) -> np.ndarray:
    """Variances of parameters that may be any that are looked at."""
    matrix = {"angle": motion_search.ANGLE}
    return np.array(
        [
            (reach if name in ("dx", "dy") else matrix.get(name, motion_search.SCALE)) ** 2 / 3.0
            for name in names
        ]
    )


def _related(level: _Level, best: _Found, brightness: str, reach: float, others: float) -> bool:
    """Whether the first image and the moved second are a pair without a displacement."""
    assert best.warped is not None
    pair = window_matching.filtered(level.first, best.warped, level.spectra, level.threads)
    windows = np.array([[0, 0, *level.shape]])
    out, status = window_matching.refine(
        pair.equations, windows, np.zeros((1, 2)), brightness, 1e-7, level.fewest, level.threads
    )
    if status[0] not in (Status.CONVERGED, Status.ONE_DIRECTION):
        return False
    significance.judge(pair, windows, out, status, reach, others)
    if status[0] == Status.AMBIGUOUS:
        return False
    given = others == 1.0
    return given or few_objects.same_objects(level.first, best.warped, (0.0, 0.0))
