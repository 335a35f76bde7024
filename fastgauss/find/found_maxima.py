"""Maxima of the matched filter that are spots, by their significance, ring and shape."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..kernels.find import judgements
from . import cells
from .background import block_axis
from .matched_filter import Scale, filtered
from .noise import Noise, measure_noise
from .options import Search
from .peaks import candidates, curvatures, refine_peaks
from .response import NO_GAP, Picture, each_item
from .shapes import Seen, judge_shapes
from .significance import (
    OF_NOISE_AND_SHARE,
    axis_sums,
    inner_gains,
    near_ends,
    significance,
    skewness_of_response,
    tail_tables,
)
from .surroundings import Around, contrast_noise

_DOUBT = 2.0  # deviations of the contrast's noise by which it may be too small
_PART = 0.25  # of the amplitude that the contrast must show at least, twice
STRONG = 8.0  # significance of spots whose light is taken out of the background
_SLACK = 0.8  # part of the least significance from which maxima are looked at
_COST = 200  # of the judgement of a maximum, in units of the cost of a pixel
_NO_RING = np.empty((2, 0))
_BY_BORDER = NO_GAP.astype(np.float32)  # for kernels: no share of each pixel


class _Row:
    """A row of `Found.values` as an attribute."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __get__(self, found: Found, owner: type) -> np.ndarray:
        return found.values[self.number]


@dataclass(frozen=True)
class Found:
    """Maxima that are spots."""

    places: np.ndarray  # (n, 3) in fractions of pixels
    points: np.ndarray  # (n, 3) pixels
    values: np.ndarray  # (judgements.ROWS, n) the rows below, in the picture's unit

    amplitude = _Row(judgements.AMPLITUDE)  # height above the background
    significance = _Row(judgements.SIGNIFICANCE)  # deviations of a normal one with the same tail
    background = _Row(judgements.GROUND)  # background
    ring = _Row(judgements.RING)  # median of the ring around each maximum
    deviation = _Row(judgements.DEVIATION)  # of a pixel
    gain = _Row(judgements.GAIN)  # third central moment of a pixel, divided by its variance
    level = _Row(judgements.LEVEL)  # of the responses
    sharpness = _Row(judgements.SHARPNESS)  # middle pixel divided by the amplitude; NaN: not judged
    p_value = _Row(judgements.P_VALUE)  # chance that a spot looks as extreme; NaN: not judged

    def take(self, chosen: np.ndarray) -> Found:
        """The chosen maxima, by a mask or by their numbers."""
        if chosen.dtype == np.bool_:
            chosen = np.flatnonzero(chosen)
            if len(chosen) == len(self.points):
                return self
        each = self.places.take(chosen, axis=0), self.points.take(chosen, axis=0)
        return Found(*each, self.values.take(chosen, axis=1))  # C-ordered, as kernels know it

    def followed_by(self, others: Found) -> Found:
        """These maxima, and others after them."""
        return Found(
            np.concatenate([self.places, others.places]),
            np.concatenate([self.points, others.points]),
            np.concatenate([self.values, others.values], axis=1),
        )

    def with_rows(self, **rows: np.ndarray) -> Found:
        """The same maxima with other values, by the names of the rows."""
        values = self.values.copy()
        for name, row in rows.items():
            values[vars(Found)[name].number] = row
        return replace(self, values=values)


class Judge(NamedTuple):
    """A picture whose noise is measured: what tells the significance of maxima."""

    scale: Scale
    noise: Noise
    known: judgements.Known

    def judged(
        self, points: np.ndarray, strength: np.ndarray, around: Around | None = None
    ) -> Found:
        """Amplitudes and significances of maxima (n, 3) of some heights, not refined.

        With what is around them it is beside the median of the ring, where this is surely above the
        background: the wide window sees the dark side of an edge from the bright one.
        """
        values, ring = np.empty((judgements.ROWS, len(points))), _NO_RING
        if around is not None:
            ring = np.stack([around.ring, around.number])
        threads = self.scale.threads
        least = self.noise.least_at(points, threads)

        def task(start: int, stop: int) -> None:
            judgements.judge(points, strength, ring, least, self.known, values, start, stop)

        each_item(len(points), _COST, task, threads)
        return Found(points.astype(np.float64), points, values)

    def tail_of_pixels(
        self, ratio: np.ndarray, deviation: np.ndarray, gain: np.ndarray
    ) -> np.ndarray:
        """Significance of a response as many deviations high as ``ratio`` is those of a pixel.

        The tail is that of the matched filter.
        """
        skewed = self.known.noise[2]
        if skewed != 0.0:
            gain = np.maximum(gain, skewed * deviation)
        return significance(self.known.inner[0] * ratio, deviation, gain, self.scale.sigmas)


@lru_cache(maxsize=8)
def _axis_tables(
    shape: tuple[int, ...], sigmas: tuple[float, float, float]
) -> tuple[tuple[int, int, int], np.ndarray, np.ndarray, np.ndarray]:
    """The first fields of `judgements.Known`, which a volume of this shape has."""
    of_cells = cells.divide(shape, sigmas).nodes()
    of_blocks = [block_axis(n, s) for n, s in zip(shape, sigmas, strict=True)]
    sums = [axis_sums(n, s) for n, s in zip(shape, sigmas, strict=True)]
    first = np.cumsum([0] + [each.shape[1] for each in sums[:-1]])
    near = [
        begin + near_ends(np.arange(n), n, s)
        for begin, n, s in zip(first, shape, sigmas, strict=True)
    ]
    places = near, [lower for lower, _ in of_cells], [axis.lower for axis in of_blocks]
    shares = [share for _, share in of_cells], [axis.share for axis in of_blocks]
    return (
        (0, shape[0], shape[0] + shape[1]),
        np.stack([np.concatenate(row) for row in places]),
        np.stack([np.concatenate(row) for row in shares]),
        np.concatenate(sums, axis=1),
    )


def judge_of(scale: Scale, samples: int = cells.SAMPLES) -> Judge:
    """A picture with the noise of its response, from ``samples`` samples of each cell."""
    picture, matched, sigmas = scale.picture, scale.matched, scale.sigmas
    shape, background = matched.response.shape, matched.background
    inner = inner_gains(shape, sigmas)
    noise = measure_noise(
        picture, matched.response, background, cells.divide(shape, sigmas).with_samples(samples),
        inner[0], scale.least, scale.usual, sigmas,
    )  # fmt: skip
    known = judgements.Known(
        *_axis_tables(shape, sigmas),
        combine=OF_NOISE_AND_SHARE,
        inner=inner,
        nodes=noise.between.nodes,
        means=background.means,
        share=_BY_BORDER if matched.share is None else matched.share,
        picture=(picture.sign, picture.level, picture.unit),
        noise=(float(noise.gain), noise.usual, noise.skewness / skewness_of_response(sigmas)),
        tails=tail_tables(sigmas),
    )
    return Judge(scale, noise, known)


def fluxes(amplitude: np.ndarray, sigmas: np.ndarray | tuple[float, ...]) -> np.ndarray:
    """The light of spots of these sigmas, 0 along axes without extent."""
    rows = np.atleast_2d(sigmas)
    return amplitude * np.where(rows > 0, math.sqrt(2 * math.pi) * rows, 1.0).prod(axis=1)


def described_spots(
    picture: Picture, response: np.ndarray, points: np.ndarray,
    sigmas: tuple[float, float, float], search: Search, least: float, threads: int | None,
) -> Found:  # fmt: skip
    """The described spots at points (n, 3) that another response has found."""
    if search.shape_level == 0.0 and not search.details:
        unknown = np.full((judgements.ROWS, len(points)), np.nan)
        return Found(refine_peaks(response, points), points, unknown)
    scale = filtered(picture, sigmas, least, None, threads)
    for light_is_out in (False, True):
        judge = judge_of(scale)
        around = scale.looked.around(points, threads)
        found = judge.judged(points, scale.matched.response[tuple(points.T)], around)
        strong = found.take(found.significance >= STRONG)
        if light_is_out or not len(strong.points):
            break
        scale = scale.without_light(strong.points, fluxes(strong.amplitude, sigmas))
    found = with_shapes(scale, found, search)
    return replace(found, places=refine_peaks(response, found.points))


def strong_spots(scale: Scale, level: float) -> Found:
    """Spots whose light is to be taken out of the background, not refined."""
    return above(judge_of(scale, cells.FEW_SAMPLES), max(level, STRONG))


def above(judge: Judge, level: float) -> Found:
    """Spots above a significance, not refined."""
    scale, noise = judge.scale, judge.noise
    picture, response, sigmas = scale.picture, scale.matched.response, scale.sigmas
    lowest = noise.lowest(_SLACK * level * judge.known.inner[0])
    points, strength = candidates(picture, response, lowest, sigmas[0], scale.threads)
    good = judge.judged(points, strength).significance >= level  # a ring makes it smaller
    points, strength = points[good], strength[good]
    around = scale.looked.around(points, scale.threads)
    found = judge.judged(points, strength, around)
    good = found.significance >= level
    found, around = found.take(good), around.take(good)
    return found.take(_have_shape(picture.volume, found, around, sigmas, scale.threads))


def _have_shape(
    volume: np.ndarray, found: Found, around: Around,
    sigmas: tuple[float, float, float], threads: int | None,
) -> np.ndarray:  # fmt: skip
    """Which maxima are spots: their curvature is seen from a core to most of the ring around it.

    What the noise may hide of it counts as seen, but a part must be there. Most spots show their
    whole amplitude, so that their curvature need not be known.
    """
    keep = around.stand_out(found.amplitude)
    rows = np.flatnonzero(~keep)
    if not len(rows):
        return keep
    some, most = found.points[rows], found.amplitude[rows]
    curved = np.minimum(most, curvatures(volume, some, sigmas, threads))
    curved -= _DOUBT * contrast_noise(sigmas) * found.deviation[rows]
    needed = np.maximum(curved, _PART * most)
    keep[rows] = around.take(rows).stand_out(needed)
    return keep


def with_shapes(scale: Scale, found: Found, search: Search) -> Found:
    """Maxima with their shape, without those whose shape is not that of a spot."""
    if search.shape_level == 0.0 and not search.details:
        return found
    shapes = judge_shapes(
        scale.picture.volume, scale.matched.response, found.points, _seen(scale, found),
        scale.sigmas, search.elongated, scale.threads,
    )  # fmt: skip
    found = found.with_rows(sharpness=shapes.sharpness, p_value=shapes.chance)
    return found.take(found.p_value >= search.shape_level)


def _seen(scale: Scale, found: Found) -> Seen:
    """What is known of maxima whose shape is judged."""
    picture, matched, sigmas = scale.picture, scale.matched, scale.sigmas
    factor = inner_gains(matched.response.shape, sigmas)[0]
    gain = np.maximum(found.gain * picture.sign, 0.0)
    cubes = math.prod(2 * math.pi * s**2 / 3 for s in sigmas if s > 0) ** 0.5
    squares = math.prod(2 * math.pi * s**2 for s in sigmas if s > 0)
    light = gain * np.maximum(found.amplitude, 0.0) * cubes / squares
    error = np.sqrt((found.deviation * factor) ** 2 + light)
    own = None
    if scale.usual and matched.weights is not None:
        weights = matched.weights
        own = np.divide(1.0, weights, out=np.ones_like(weights), where=weights > 0)
    background = np.minimum(found.background, found.ring)
    slopes = matched.background.slopes(found.points, sigmas)
    return Seen(
        background, slopes, found.level, found.deviation**2, gain, error, factor, own, picture.gap
    )
