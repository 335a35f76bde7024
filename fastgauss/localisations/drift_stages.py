"""Drift from coarse to fine: segments aligned by bells that become narrower from stage to stage.

A stage has one radius of the bell for each axis. It takes as many localisations of each segment as
its number of pairs allows, evenly spread, and repeats steps until they are short. The drift between
the middles of the segments is a natural cubic spline, linear before the first and after the last;
each localisation is corrected by the drift of its own frame.

The first radius is a sixteenth of the field. Where `drift_start` sees a drift that is large beside
this, the stages begin from there, and once more from no drift, and the larger overlap counts.

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
_CHANCE = 0.125  # radii: the standard errors of chance maxima are twice this and more
_PILOT = 20_000  # localisations by which pairs are counted
_POINTS = 100_000  # localisations of a stage, but for the last
_PAIRS, _LAST_PAIRS = 2e6, 2e7  # of a stage, and of the last
_FEWEST = 2.0  # neighbours of a localisation
_WORSE = 1.05
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
    """What the stages have found."""

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
    """Every so many of each segment, evenly spread."""
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
        self.means = spline_means(movie.middles)[2]

    def overlap(self, knots: np.ndarray) -> Overlap:
        """The overlap after this drift was taken off."""
        drift = drift_between(self.movie.middles, knots, self.moments)
        places = (self.movie.places - drift[self.which]) / self.radii
        low, high = self.box
        count = len(self.movie.middles)
        # pairs near the border of the field are left out: it does not drift
        margin = np.where(high - low > _SHORT * self.radii, 0.5 * self.radii, -np.inf)
        margin = margin + np.ptp(drift, axis=0)
        if not (high - low > 2 * margin).all():
            margin = np.full(len(low), -np.inf)
        box = (low + margin) / self.radii, (high - margin) / self.radii
        return sum_overlaps(Sample(places, self.movie.segments, count, *box), self.threads)

    def climb(self, knots: np.ndarray, close: float) -> tuple[np.ndarray, Overlap, bool]:
        """Steps until one is shorter, in radii: the knots, the overlap there, whether one was."""
        found = self.overlap(knots)
        for _ in range(_ROUNDS):
            moves = step(found)
            knots = knots - np.linalg.solve(self.means, moves) * self.radii
            found = self.overlap(knots)
            if np.abs(moves).max() < close:
                return knots, found, True
        return knots, found, False


class _Best(NamedTuple):
    """The stage with the smallest errors so far."""

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
    count = len(movie.middles)
    still = np.zeros((count, movie.places.shape[1]))
    guess = first_guess(movie.places, movie.segments, count)
    if guess is None:
        return _align_from(still, movie, tol, threads, progress)
    moved = _align_from(guess, movie, tol, threads, progress)
    small = _SMALL / _FIRST * np.ptp(field_of(movie.places), axis=0).max() * movie.aspect
    if (np.abs(guess) < small).all():
        return moved
    other = _align_from(still, movie, tol, threads, None)
    if not (moved.structure and other.structure):
        return moved if moved.structure else other
    radii = np.minimum(moved.radii, other.radii)
    everywhere = np.array([[-np.inf], [np.inf]]) * np.ones(len(radii))
    stage = _Stage(_thinned(movie, _POINTS / len(movie.places)), radii, everywhere, threads)
    sums = [stage.overlap(found.knots).value for found in (moved, other)]
    return moved if sums[0] >= sums[1] else other


def _align_from(
    knots: np.ndarray,
    movie: Movie,
    tol: float,
    threads: int | None,
    progress: Progress | None,
) -> Alignment:
    """The drift that the stages find from a first one."""
    count, ndim = knots.shape
    box = field_of(movie.places)
    field = box[1] - box[0]
    short = np.where(field > 0, field / _SHORT, np.inf)
    best = None

    def share_of(radii: np.ndarray, most: float) -> tuple[float, float]:
        """The share of localisations that has so many pairs, and the neighbours of one of all."""
        share = min(1.0, _PILOT / len(movie.places))
        pilot = _Stage(_thinned(movie, share), radii, box, threads)
        pairs = pilot.overlap(knots).pairs
        neighbours = pairs / (share * len(pilot.movie.places))
        return min(1.0, share * (most / max(pairs, 1)) ** 0.5), neighbours

    def radii_of(scale: float) -> np.ndarray:
        return np.minimum(scale * movie.aspect, short)

    for number in range(STAGES):
        scale = float(field.max()) / _FIRST / 2.0**number
        if not 0 < scale < np.inf:
            break
        most, neighbours = share_of(radii_of(scale), _LAST_PAIRS)
        if neighbours < _FEWEST:
            break
        share = min(most * (_PAIRS / _LAST_PAIRS) ** 0.5, _POINTS / len(movie.places))
        stage = _Stage(_thinned(movie, share), radii_of(scale), box, threads)
        moved, found, _ = stage.climb(knots, _CLOSE)
        parts = covariances(found)
        known = _typical_error(parts, count) < _CHANCE
        error = scale * _typical_error(parts, count, most / share)
        if best is not None and not (known and error < _WORSE * best.error):
            break
        if known:
            knots = moved
            if best is None or error < best.error:
                best = _Best(error, scale)
        if progress is not None:
            progress(number + 1, STAGES)
    if progress is not None:
        progress(STAGES, STAGES)
    if best is None:
        unknown = np.full((count * ndim, count * ndim), np.inf)
        return Alignment(np.zeros((count, ndim)), unknown, np.full(ndim, np.nan), False, True)

    radii = radii_of(best.scale)
    share, _ = share_of(radii, _LAST_PAIRS)
    stage = _Stage(_thinned(movie, share), radii, box, threads)
    close = tol * best.error / best.scale
    knots, found, converged = stage.climb(knots, close)
    parts = covariances(found)
    every = np.tile(radii, count)
    if parts is None or not _typical_error(parts, count) < _CHANCE:
        return Alignment(knots, np.full((len(every), len(every)), np.inf), radii, True, False)
    covariance = (parts[0] + parts[1]) * np.outer(every, every)
    return Alignment(knots, covariance, radii, True, converged)
