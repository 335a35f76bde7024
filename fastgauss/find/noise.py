"""The noise of an image: its local deviation, and the skewness that shot noise has.

The response is sampled in cells, with about a thousand independent values each. The deviation of a
cell is that of its samples within three deviations of their median; it counts as that of all
cells as far as their spread is due to chance.

Counts, whole numbers whose variance is their mean, have the noise of their mean, which is known
better. Other noise gets its skewness from the pixels, each compared with its neighbours.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..kernels.find import noise_samples, surroundings
from ..kernels.find.judgements import LOCAL
from . import counts
from .background import Background
from .cells import SAMPLES, Cells, CellValues, median
from .response import NO_GAP, Picture, each_item

NOISE_FACTOR = 5.0  # standard deviations of a response that no noise has
LIVE = 0.25  # part of a cell's samples that must carry noise for the cell's noise to be measured
_CROWDED = 0.6  # ratio of the deviations of the lower tail and of all, in a cell full of spots
_CLIPPED_SKEW = 0.531  # part of the third moment of a nearly normal distribution that is left
_MORE = 1.2  # ratio of variance and mean from which a cell has more noise than counts
_MORE_OF_FEW = 1.5
_SURE = 4.0  # standard errors between two means that differ
_FEW_VALUES = 1.0  # deviation of whole numbers below which they take few values
_LOOKED = 100  # pixels of a cell that tell whether values are clipped
_MANY, _APART = 0.25, 0.05  # parts of pixels of one value; of those, beside others
_FAR, _CUTS = 25.0, 6  # deviations from the mean of few values that are spots; rounds
_HEAVIER = 1.5  # ratio of two estimates of a gain, at most
_GOLDEN = 0.5 * (math.sqrt(5.0) - 1.0)  # its multiples, modulo 1, are evenly spread
_SKEW_SAMPLES = 1 << 15  # of an image that tell its skewness
_INDEPENDENT = 3.0  # widths of a spot at which responses to noise and to spots are independent
_ALIKE = 0.6  # correlation there of responses to structures
_MOST_SKEWED = 2.0
_JUMP = 2.0  # ratio of the deviations of cells side by side, between which none lies
_ROWS = 1 << 12  # points at once
_BESIDE = 169  # pixels around a point that tell on which side of a jump it is
_NO_LEAST = np.empty(0)


class Jumps(NamedTuple):
    """The pixels and limits that give the noise where that of cells jumps."""

    volume: np.ndarray  # the pixels
    low: np.ndarray  # the smallest deviation of each cell and of those around it
    high: np.ndarray  # the largest


class Noise(NamedTuple):
    """The noise of a picture, in cells."""

    cells: Cells
    centre: np.ndarray  # of the responses, in the filter's unit
    deviation: np.ndarray  # of a pixel
    gain: float  # third central moment of a pixel divided by its variance
    between: CellValues  # both; for counts also the deviation in deviations of counts
    usual: float = 0.0  # variance of a pixel of weight 1 where each has its own
    jumps: Jumps | None = None
    skewness: float = 0.0  # of the response to structures that are wider than spots
    few: bool = False  # whether pixels take few values, of which a median tells no noise
    of_counts: float = math.inf  # the least deviation that the background tells, of counts

    @property
    def smallest(self) -> float:
        """The least deviation of a pixel anywhere, also between cells."""
        return min(float(self.between.nodes[1].min()), self.of_counts)

    def lowest(self, factor: float) -> float:
        """The least response anywhere that is ``factor`` deviations of a pixel above its level."""
        centre, deviation = self.between.nodes[:2]
        dark = float(centre.min()) + factor * self.of_counts
        return min(float((centre + factor * deviation).min()), dark)

    def least_at(self, points: np.ndarray, threads: int | None) -> np.ndarray:
        """The least deviation of a pixel at points (n, 3), where that of cells jumps; or (0,)."""
        if self.jumps is None:
            return _NO_LEAST
        volume, low, high = self.jumps
        here = self.cells.of(points)
        least = np.zeros(len(points))
        rows = np.flatnonzero((high > _JUMP * low)[here])
        if len(rows):
            beside = _deviation_around(volume, points[rows], threads)
            least[rows] = np.minimum(beside, high[here[rows]])
        return least


def measure_noise(
    picture: Picture,
    response: np.ndarray,
    background: Background,
    cells: Cells,
    factor: float,
    least: float,
    usual: float | None,
    sigmas: tuple[float, float, float],
) -> Noise:
    """The noise of a picture whose response to noise of 1 has the deviation ``factor``.

    ``usual``: the variance of pixels of weight 1, if it is known; where a larger one is measured,
    that counts.
    """
    measured = cell_noise(picture, response, cells)
    noise = _noise_of_pixels(picture, measured, background, cells, factor, least, usual)
    skewness = _skewness_of_structures(picture, response, cells, measured, sigmas)
    return noise._replace(skewness=skewness)


def _skewness_of_structures(
    picture: Picture, response: np.ndarray, cells: Cells, measured: CellNoise,
    sigmas: tuple[float, float, float],
) -> float:  # fmt: skip
    """The skewness of a response that is mostly one to structures which are wider than spots.

    Responses to white noise and to spots are independent three widths apart; those to a texture are
    not. The skewness is three times Bowley's of the quantiles at two deviations, as in a gamma
    distribution; values beyond three deviations may be of spots and have no part in it. It is 0 if
    the response is of noise or of spots.
    """
    cells = cells.with_samples(max(16, min(cells.samples, _SKEW_SAMPLES // len(cells))))
    gap = NO_GAP if picture.gap is None else picture.gap
    each, known = cells.each(), np.stack([measured.centres, measured.deviations])
    known = known.reshape(2, *cells.counts)
    for axis, sigma in enumerate(sigmas):
        steps = tuple(round(_INDEPENDENT * sigma) if k == axis else 0 for k in range(3))
        if sigma > 0.0:
            squares, products = noise_samples.likeness(
                picture.volume, response, gap, cells.places(), each, known, steps
            )
            if squares == 0.0 or products < _ALIKE * squares:
                return 0.0
    values, _ = cell_samples(picture, response, cells, picture.gap, ordered=False)
    spread = np.where(measured.deviations > 0, measured.deviations, np.inf)[:, None]
    here = (values - measured.centres[:, None]) / spread
    here = here[np.abs(here) <= noise_samples.CLIP]  # neither missing nor a spot
    parts = (noise_samples.LOWER[0], 0.5, 1.0 - noise_samples.LOWER[0])
    low, middle, high = np.quantile(here, parts)
    skewness = 3.0 * float((high + low - 2.0 * middle) / (high - low)) if high > low else 0.0
    return min(max(skewness, 0.0), _MOST_SKEWED)


def _noise_of_pixels(
    picture: Picture, measured: CellNoise, background: Background, cells: Cells, factor: float,
    least: float, usual: float | None,
) -> Noise:  # fmt: skip
    """The noise of pixels, computed from that of the response in cells."""
    centres, deviations = measured.centres, measured.deviations / factor
    crowded = measured.lower[1] / factor < _CROWDED * deviations
    centres = np.where(crowded, measured.lower[0], centres)
    deviations = np.where(crowded, measured.lower[1] / factor, deviations)
    if measured.shown:
        errors = 1.1 / math.sqrt(2.0 * measured.samples)
        deviations = np.exp(shrunk(np.log(np.maximum(deviations, 1e-300)), errors))
        spread = factor * float(median(deviations))
        centres = shrunk(centres, spread * math.sqrt(2.0) * errors)
    if usual is not None:
        known = math.sqrt(usual)
        deviations = np.where(deviations > math.sqrt(_MORE) * known, deviations, known)
        between = cells.values(centres, deviations)
        return Noise(cells, centres, deviations, 0.0, between, usual=usual)
    if counts.are_whole(picture, cells):
        noise = _of_counts(picture, background, cells, centres, deviations)
        if noise is not None:
            return noise
        deviations = np.maximum(deviations, least)
        if median(deviations) < _FEW_VALUES or _are_clipped(picture, cells):
            return _of_few_values(picture, cells, centres, deviations)
    deviations = np.maximum(deviations, least)
    between, jumps = cells.values(centres, deviations), None
    gain = _gain(picture, cells, deviations, between)
    if deviations.max() > _JUMP * deviations.min():
        jumps = Jumps(picture.volume, *cells.extremes(deviations))
    return Noise(cells, centres, deviations, gain, between, jumps=jumps)


def _deviation_around(volume: np.ndarray, points: np.ndarray, threads: int | None) -> np.ndarray:
    """The deviation of the pixels on that side of points where it is largest.

    It is told by the median absolute deviation, in float32.
    """
    reach = np.where(np.array(volume.shape) > 1, _reach_beside(volume.shape), 0)
    largest = np.empty(len(points))

    def task(start: int, stop: int) -> None:
        surroundings.rougher_side(volume, points, reach, largest, start, stop)

    each_item(len(points), 8 * _BESIDE, task, threads)
    return noise_samples.MAD_TO_SIGMA * largest


def _reach_beside(shape: tuple[int, ...]) -> int:
    """How far the pixels reach that tell on which side of a jump a point is."""
    return int(0.5 * _BESIDE ** (1.0 / max(1, sum(n > 1 for n in shape))))


def fine_deviation(volume: np.ndarray, gap: np.ndarray | None, points: np.ndarray) -> np.ndarray:
    """The deviation of the pixels around points (n, 3) by their mixed second differences.

    Of smooth structures and of straight lines along an axis these see nothing (Immerkaer 1996). The
    deviation is told by their median absolute value; 0 if most of them are 0 or missing.
    """
    axes = [axis for axis in range(3) if volume.shape[axis] > 2]
    half = _reach_beside(volume.shape)
    size = np.array(volume.shape)
    reach = np.minimum(np.where(size > 2, half + 1, 0), (size - 1) // 2)
    first = np.clip(points, reach, size - 1 - reach) - reach
    out = np.zeros(len(points))
    for begin in range(0, len(points) if axes else 0, _ROWS):
        some = first[begin : begin + _ROWS]
        at = tuple(
            (some[:, axis, None] + np.arange(2 * reach[axis] + 1)).reshape(
                [len(some)] + [-1 if axis == k else 1 for k in range(3)]
            )
            for axis in range(3)
        )
        near = volume[at].astype(np.float64)
        if gap is not None:
            near[gap[at]] = np.nan
        for axis in axes:
            near = np.diff(near, n=2, axis=axis + 1) / math.sqrt(6.0)
        away = np.abs(near).reshape(len(some), -1)
        known = ~np.isnan(away)
        rows = np.flatnonzero(known.sum(axis=1) > 0.5 * away.shape[1])
        median = np.nanmedian if gap is not None else np.median
        out[begin + rows] = noise_samples.MAD_TO_SIGMA * median(away[rows], axis=1)
    return out


class CellNoise(NamedTuple):
    """The noise of a response, measured by the samples of cells."""

    centres: np.ndarray
    deviations: np.ndarray
    shown: int  # cells that carry noise; the others get the median of these
    samples: int  # of a cell
    lower: np.ndarray  # (2, cells): centre and deviation by the lower tail alone


def cell_samples(
    picture: Picture, response: np.ndarray, cells: Cells, hidden: np.ndarray | None,
    ordered: bool = True,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Samples (cells, S) of a response, sorted; how many carry noise, ``hidden`` ones left out."""
    places = cells.places()
    samples = np.empty([len(p) for p in places], dtype=np.float32)
    noise_samples.take_samples(picture.volume, response, *places, samples)
    if hidden is not None:
        samples[hidden[np.ix_(*places)]] = np.nan
    rows = cells.by_cell(samples)
    if ordered:
        rows = np.sort(rows, axis=1)  # NaN is sorted last
    return rows, np.count_nonzero(~np.isnan(rows), axis=1)


def cell_noise(picture: Picture, response: np.ndarray, cells: Cells) -> CellNoise:
    """Centre and deviation of a response in each cell."""
    ordered, live = cell_samples(picture, response, cells, picture.gap)
    noise = np.empty((5, len(ordered)))
    noise_samples.clipped_noise(ordered, live, noise)
    shown = live >= LIVE * ordered.shape[1]
    if not shown.all():
        noise[:, ~shown] = np.median(noise[:, shown], axis=1)[:, None] if shown.any() else 0.0
    return CellNoise(noise[0], noise[2], int(shown.sum()), ordered.shape[1], noise[3:])


def shrunk(values: np.ndarray, error: float) -> np.ndarray:
    """Values drawn to their mean by that part of their spread that is due to their errors."""
    mean = values.sum() / len(values)
    away = values - mean
    spread = float(np.sum(away * away)) / len(values)
    own = max(0.0, 1.0 - 1.5 * error**2 / spread) if spread > 0 else 0.0
    return mean + own * away


def _of_counts(
    picture: Picture, background: Background, cells: Cells, centres: np.ndarray,
    deviations: np.ndarray,
) -> Noise | None:  # fmt: skip
    """The noise of counts; None if the image holds none."""
    mean = counts.means_of_background(background, picture, cells)
    usual = float(median(mean))
    if usual < counts.FEW:
        few = counts.few_counts(picture, cells, usual)
        if few is None:
            return None
        # The median of few counts is not their mean; spots in the background lower all responses.
        away = few - mean
        sure = np.abs(away) > _SURE * few / math.sqrt(counts.COUNTED)
        centres, mean = picture.sign * np.where(sure, away, 0.0), few
    elif not counts.are_counts(deviations**2, mean):
        return None
    excess = deviations / np.sqrt(np.maximum(mean, 1e-6))
    limit = math.sqrt(_MORE_OF_FEW if usual < counts.FEW else _MORE)
    excess = np.where(excess > limit, excess, 1.0)
    own = np.sqrt(np.maximum(mean, 1e-6)) * excess
    between = cells.values(centres, own, excess)
    darkest = float(picture.pixels(background.means).min())
    least = math.sqrt(max(darkest, LOCAL)) * float(between.nodes[2].min())
    return Noise(
        cells, centres, own, picture.sign, between, few=usual < counts.FEW, of_counts=least
    )


def _are_clipped(picture: Picture, cells: Cells) -> bool:
    """Whether many pixels here and there, not side by side as padding, have the same value."""
    places = cells.places(_LOOKED)
    own = np.empty([len(p) for p in places], dtype=np.float32)
    noise_samples.take_samples(picture.volume, picture.volume, *places, own)
    values, number = np.unique(picture.volume[np.ix_(*places)], return_counts=True)
    beside_others = np.count_nonzero(own == values[number.argmax()])
    return bool(number.max() > _MANY * own.size and beside_others > _APART * number.max())


def _of_few_values(
    picture: Picture, cells: Cells, centres: np.ndarray, deviations: np.ndarray
) -> Noise:
    """The noise of whole numbers that take few values, as after clipping or in 8 bits."""
    values = cells.sample(picture.volume).astype(np.float64)
    there = np.ones(values.shape, bool)
    if picture.gap is not None:
        there = ~cells.sample(picture.gap)
    for _ in range(_CUTS):
        number = np.maximum(there.sum(axis=1, keepdims=True), 1)
        away = np.where(there, values, 0.0)
        away = np.where(there, values - away.sum(axis=1, keepdims=True) / number, 0.0)
        square = (away**2).sum(axis=1, keepdims=True) / number
        there &= away <= _FAR * np.sqrt(square)
    square = square[:, 0]
    whole = float(square.mean())
    third, fourth = (float((away**k).sum() / max(there.sum(), 1)) for k in (3, 4))
    gain = 1.0  # a whole number is at least one step away from the next one
    if whole > 0 and third > 0:
        # Shot noise has the same ratio of higher cumulants, which far tails depend on.
        higher = (fourth - 3.0 * float(np.mean(square**2))) / third
        gain = max(gain, third / whole, min(higher, _HEAVIER * third / whole))
    deviations = np.sqrt(np.maximum(square, deviations**2))
    return Noise(cells, centres, deviations, gain, cells.values(centres, deviations), few=True)


def _gain(picture: Picture, cells: Cells, deviations: np.ndarray, between: CellValues) -> float:
    """Third central moment of the pixels divided by their variance.

    A pixel less the mean of its m neighbours along the axes has 1 + 1 / m of the variance, and
    1 - 1 / m**2 of the third moment.
    """
    m = 2 * sum(n > 1 for n in picture.volume.shape)
    if not m:
        return 0.0
    planes, lines, columns = picture.volume.shape
    most = max(1, _SKEW_SAMPLES * cells.samples // (SAMPLES * columns))
    some = min(planes * lines, most)
    number = np.arange(some)
    inside = (number * _GOLDEN) % 1.0  # of a share of the rows: not always the same line of planes
    rows = ((number + inside) * (planes * lines / some)).astype(np.int64)
    total, number = noise_samples.third_moment(
        picture.volume, NO_GAP if picture.gap is None else picture.gap,
        between.nodes[1], between.lower, between.shares, rows,
        noise_samples.CLIP * math.sqrt(1 + 1 / m),
    )  # fmt: skip
    if not number:
        return 0.0
    third = total / number / (_CLIPPED_SKEW * (1 - 1 / m**2))
    # Shot noise is never skewed to the dark side; neighbours of bright spots are.
    usual = float(median(deviations[deviations > 0]))
    return picture.sign * max(picture.sign * third * usual, 0.0)
