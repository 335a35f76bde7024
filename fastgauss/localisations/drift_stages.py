"""Drift from coarse to fine: segments aligned by bells that become narrower from stage to stage.

A stage has one radius of the bell for each axis. It takes as many localisations of each segment as
its number of pairs allows, evenly spread, and repeats steps until they are short. The drift between
the middles of the segments is a natural cubic spline, linear before the first and after the last;
each localisation is corrected by the drift of its own frame.

The first radius is a sixteenth of the field. Where `drift_start` sees a drift that is large beside
this, the stages begin from there, and once more from no drift, and the larger overlap counts. The
second descent ends where it meets the end of the first one, or where the overlap at that end is
clearly larger.

A stage whose standard errors are not small against its radii has found chance maxima: its
displacements are not used. The last stage is the one whose errors are smallest; it is repeated with
all localisations, or as many as there is time for.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..base.progress import Progress
from .drift_start import field_of, first_guess
from .overlap import Overlap, Sample, covariances, step, sum_overlaps

_FIRST = 16  # of the field: the first radius is this part
_SHORT = 4  # radii that an axis has at least
STAGES = 24  # halvings, at most
_ROUNDS = 12  # steps of a stage, at most
_CLOSE = 0.02  # radii: a shorter step ends a stage
_ALIKE = 0.1  # radii: after a shorter step of Newton's the curvature is as before
_CHANCE = 0.125  # radii: the standard errors of chance maxima are twice this and more
_PILOT = 20_000  # localisations by which pairs are counted
_POINTS = 100_000  # localisations of a stage, but for the last
_PAIRS, _LAST_PAIRS = 2e6, 2e7  # of a stage, and of the last
_FEWEST = 2.0  # neighbours of a localisation
_WORSE = 1.05
_MET = 0.5  # radii: descents that are closer together end at the same place
_SURPASSED = 1.1  # ratio of the overlap at the end of another descent, from which one ends
_SMALL = 0.25  # first radii: from a smaller drift, one start is enough
_PHASES = 8  # of a segment, at which its mean is taken


class Movie(NamedTuple):
    """Localisations of a movie in segments, in order of frames."""

    places: np.ndarray  # (n, d)
    moments: np.ndarray  # (n,) frames from 0
    segments: np.ndarray  # (n,) int32
    middles: np.ndarray  # (S,) of the segments, in frames from 0
    aspect: np.ndarray  # (d,) lengths that are alike along the axes


class Alignment(NamedTuple):
    """The drift that the stages have found."""

    knots: np.ndarray  # (S, d) drift in the middles of the segments, its mean 0
    covariance: np.ndarray  # (S d, S d); infinite where nothing is determined
    radii: np.ndarray  # (d,) of the last bell; NaN if there is none
    structure: bool
    converged: bool


def drift_between(middles: np.ndarray, knots: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """The drift (m, d) at moments (m,)."""
    from scipy.interpolate import CubicSpline

    spline = CubicSpline(middles, knots, bc_type="natural")
    inside = np.clip(moments, middles[0], middles[-1])
    return spline(inside) + spline(inside, 1) * (moments - inside)[:, np.newaxis]


def spline_means(middles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Moments (t,) in all segments, the drift there (t, S), and its means in the segments (S, S).

    Both are matrices that knots (S, d) are multiplied with.
    """
    count = len(middles)
    half = 0.5 * np.diff(middles).min()
    phases = half * (np.arange(0.5, _PHASES) / (0.5 * _PHASES) - 1.0)
    times = (middles[:, np.newaxis] + phases).reshape(-1)
    values = drift_between(middles, np.eye(count), times)
    return times, values, values.reshape(count, _PHASES, count).mean(axis=1)


def _thinned(movie: Movie, share: float) -> Movie:
    """A share of the localisations of each segment, evenly spread."""
    if share >= 1.0:
        return movie
    starts = np.searchsorted(movie.segments, np.arange(len(movie.middles)))
    ranks = np.arange(len(movie.segments)) - starts[movie.segments]
    kept = np.floor((ranks + 1) * share) > np.floor(ranks * share)
    return movie._replace(
        places=movie.places[kept], moments=movie.moments[kept], segments=movie.segments[kept]
    )


class _Stage:
    """One radius: the overlap at any knots, of a part of the localisations."""

    def __init__(self, movie: Movie, radii: np.ndarray, box: np.ndarray, threads: int | None):
        self.movie, self.radii, self.box, self.threads = movie, radii, box, threads
        self.moments, self.which = np.unique(movie.moments, return_inverse=True)

    def overlap(
        self, knots: np.ndarray, spread: bool = False, close: Overlap | None = None
    ) -> Overlap:
        """The overlap after correction for this drift, as `sum_overlaps` has it."""
        drift = drift_between(self.movie.middles, knots, self.moments)
        places = (self.movie.places - drift[self.which]) / self.radii
        low, high = self.box
        count = len(self.movie.middles)
        # pairs near the border of the field are left out: it does not drift
        margin = np.where(high - low > _SHORT * self.radii, 0.5 * self.radii, -np.inf)
        margin = margin + np.array([np.ptp(column) for column in drift.T])
        if not (high - low > 2 * margin).all():
            margin = np.full(len(low), -np.inf)
        box = (low + margin) / self.radii, (high - margin) / self.radii
        sample = Sample(places, self.movie.segments, count, *box)
        return sum_overlaps(sample, self.threads, spread, close)

    def climb(
        self, knots: np.ndarray, close: float, of_means: np.ndarray
    ) -> tuple[np.ndarray, Overlap, bool]:
        """Steps until one is shorter, in radii: the knots, the overlap there, whether one was.

        ``of_means`` makes knots of the means in segments.
        """
        found = self.overlap(knots)
        for number in range(1, _ROUNDS + 1):
            moves, newton = step(found)
            knots = knots - of_means @ moves * self.radii
            longest = float(np.abs(moves).max())
            short = longest < close
            last = short or number == _ROUNDS
            alike = newton and longest < _ALIKE and not last
            found = self.overlap(knots, last, found if alike else None)
            if short:
                break
        return knots, found, short


class _Best(NamedTuple):
    """The stage with the smallest errors so far, and where it ended."""

    knots: np.ndarray
    error: float  # in the unit of the aspect, for all localisations
    scale: float


def _typical_error(
    parts: tuple[np.ndarray, np.ndarray] | None, count: int, more: float = 1.0
) -> float:
    """The median over the segments of the root mean square error along the axes, in radii.

    With ``more`` times as many localisations.
    """
    if parts is None:
        return np.inf
    of_places, of_pairs = (np.diag(part).reshape(count, -1).mean(axis=1) for part in parts)
    return float(np.sqrt(np.median(np.maximum(of_places / more + of_pairs / more**2, 0.0))))


def align(
    movie: Movie, tol: float, threads: int | None, progress: Progress | None = None
) -> Alignment:
    """The drift at which the localisations of all segments overlap most."""
    count, ndim = len(movie.middles), movie.places.shape[1]
    stages = _Stages(movie, field_of(movie.places), threads)
    guess = first_guess(movie.places, movie.segments, count, stages.box, threads)
    still = np.zeros((count, ndim))
    best = stages.descend(still if guess is None else guess, progress)
    small = _SMALL * stages.first_scale * movie.aspect
    if guess is not None and not (np.abs(guess) < small).all():
        other = stages.descend(still, None, best)
        best = other if best is None else stages.larger_overlap(best, other)
    if progress is not None:
        progress(STAGES, STAGES)
    if best is None:
        unknown = np.full((count * ndim, count * ndim), np.inf)
        return Alignment(still, unknown, np.full(ndim, np.nan), False, True)
    return stages.finish(best, tol)


class _Stages:
    """The stages of a movie, from any first drift."""

    def __init__(self, movie: Movie, box: np.ndarray, threads: int | None):
        self.movie, self.box, self.threads = movie, box, threads
        field = box[1] - box[0]
        self.first_scale = float(field.max()) / _FIRST
        self.short = np.where(field > 0, field / _SHORT, np.inf)
        self.of_means = np.linalg.inv(spline_means(movie.middles)[2])

    def _radii(self, scale: float) -> np.ndarray:
        return np.minimum(scale * self.movie.aspect, self.short)

    def _stage(self, share: float, radii: np.ndarray) -> _Stage:
        return _Stage(_thinned(self.movie, share), radii, self.box, self.threads)

    def _share(self, knots: np.ndarray, radii: np.ndarray) -> tuple[float, float]:
        """The share of localisations for the last stage, and the neighbours of one of all."""
        share = min(1.0, _PILOT / len(self.movie.places))
        pilot = self._stage(share, radii)
        pairs = pilot.overlap(knots).pairs
        neighbours = pairs / (share * len(pilot.movie.places))
        return min(1.0, share * (_LAST_PAIRS / max(pairs, 1)) ** 0.5), neighbours

    def descend(
        self, knots: np.ndarray, progress: Progress | None, other: _Best | None = None
    ) -> _Best | None:
        """The best stage of the descent from a first drift.

        None if none is known, or if the descent comes to the end of the ``other`` one, or to a
        stage at which the overlap at that end is clearly larger.
        """
        count, places = len(self.movie.middles), len(self.movie.places)
        best = None
        for number in range(STAGES):
            scale = self.first_scale / 2.0**number
            if not 0 < scale < np.inf:
                break
            radii = self._radii(scale)
            most, neighbours = self._share(knots, radii)
            if neighbours < _FEWEST:
                break
            share = min(most * (_PAIRS / _LAST_PAIRS) ** 0.5, _POINTS / places)
            stage = self._stage(share, radii)
            moved, found, _ = stage.climb(knots, _CLOSE, self.of_means)
            if other is not None and scale >= other.scale:
                if (np.abs(moved - other.knots) < _MET * radii).all():
                    return None
                here, there = self._overlaps(share, radii, moved, other.knots)
                if there > _SURPASSED * here:
                    return None
            parts = covariances(found)
            known = _typical_error(parts, count) < _CHANCE
            error = scale * _typical_error(parts, count, most / share)
            if best is not None and not (known and error < _WORSE * best.error):
                break
            if known:
                knots = moved
                if best is None or error < best.error:
                    best = _Best(knots, error, scale)
                else:
                    best = best._replace(knots=knots)
            if progress is not None:
                progress(number + 1, STAGES)
        return best

    def _overlaps(self, share: float, radii: np.ndarray, *drifts: np.ndarray) -> list[float]:
        """The overlaps after correction for several drifts, of all pairs wherever they are."""
        everywhere = np.array([[-np.inf], [np.inf]]) * np.ones(len(radii))
        stage = _Stage(_thinned(self.movie, share), radii, everywhere, self.threads)
        return [stage.overlap(knots).value for knots in drifts]

    def larger_overlap(self, one: _Best, other: _Best | None) -> _Best:
        """The one of two descents that has the larger overlap at its end."""
        if other is None:
            return one
        share = _POINTS / len(self.movie.places)
        radii = self._radii(min(one.scale, other.scale))
        own, others = self._overlaps(share, radii, one.knots, other.knots)
        return one if own >= others else other

    def finish(self, best: _Best, tol: float) -> Alignment:
        """The best stage once more, with all localisations or as many as there is time for."""
        radii, count = self._radii(best.scale), len(self.movie.middles)
        share, _ = self._share(best.knots, radii)
        stage = self._stage(share, radii)
        close = tol * best.error / best.scale
        knots, found, converged = stage.climb(best.knots, close, self.of_means)
        parts = covariances(found)
        every = np.tile(radii, count)
        if parts is None or not _typical_error(parts, count) < _CHANCE:
            return Alignment(knots, np.full((len(every), len(every)), np.inf), radii, True, False)
        covariance = (parts[0] + parts[1]) * np.outer(every, every)
        return Alignment(knots, covariance, radii, True, converged)
