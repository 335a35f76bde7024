"""Drift of a movie from its localisations: each frame's displacement, with errors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, wording
from ..base.data_frames import data_frame
from ..base.progress import Progress, reporting
from ..base.status import DescribedStatus
from ..base.thread_pool import resolve_threads
from ..results import FitResult
from .drift_errors import frame_errors
from .drift_stages import STAGES, Alignment, Movie, align, drift_between
from .groups import Groups
from .points import Points, read_points

if TYPE_CHECKING:
    import pandas as pd

_SEGMENTS, _LEAST = 100, 500  # segments by default, and localisations of one
_MOST = 1000  # segments
_LONGEST = 10**7  # frames


class DriftStatus(DescribedStatus):
    """How the estimate of a drift ended; ``message`` says it in words.

    Examples
    --------
    >>> import fastgauss as fg
    >>> fg.DriftStatus(2).name, fg.DriftStatus(2).message
    ('NO_STRUCTURE', 'the segments have nothing in common that would show a drift')
    """

    CONVERGED = 0, "converged"
    MAX_ITERATIONS = 1, "12 rounds were used before the tolerance was met"
    NO_STRUCTURE = 2, "the segments have nothing in common that would show a drift"


@dataclass(frozen=True, repr=False)
class Drift:
    """The drift of a movie, frame by frame. `estimate_drift` makes it.

    Attributes
    ----------
    frames : ndarray (F,) of int
        All frames from the first to the last that has localisations.
    positions : ndarray (F, ndim)
        The drift in each frame, in array-axis order; its mean over all segments is 0. What drifts
        is at its mean position plus this. 0 where `status` is ``DriftStatus.NO_STRUCTURE``.
    errors : ndarray (F, ndim)
        Standard errors of these; infinite where `status` is ``DriftStatus.NO_STRUCTURE``.
    segment_frames : ndarray (S,)
        The middle of each segment.
    segment_positions, segment_errors : ndarray (S, ndim)
        The drift in the middle of each segment, and the standard error of a segment's mean.
    status : DriftStatus
        How the estimate ended.
    radius : ndarray (ndim,)
        Within which localisations were compared at last, along each axis.
    axes : tuple of str
        What stands along the last axis of `positions`, such as ("y", "x").

    Examples
    --------
    See `estimate_drift`.
    """

    frames: np.ndarray
    positions: np.ndarray
    errors: np.ndarray
    segment_frames: np.ndarray
    segment_positions: np.ndarray
    segment_errors: np.ndarray
    status: DriftStatus
    radius: np.ndarray
    axes: tuple[str, ...]

    @property
    def converged(self) -> bool:
        """Whether status is ``DriftStatus.CONVERGED``."""
        return self.status == DriftStatus.CONVERGED

    def __repr__(self) -> str:
        ranges = np.ptp(self.positions, axis=0)
        told = ", ".join(f"{a} {r:.3g}" for a, r in zip(self.axes, ranges, strict=True))
        frames = wording.plural(len(self.frames), "frame")
        return f"Drift({frames}, range {told}, {self.status.name})"

    def at(self, frame: ArrayLike) -> np.ndarray:
        """The drift (n, ndim) in frames (n,); before the first and after the last, that of these.

        Raises
        ------
        TypeError, ValueError
            If `frame` is not an array of integers with one axis.

        Examples
        --------
        >>> import fastgauss as fg
        >>> frame, places = [0, 0, 1, 1], [[1.0, 2.0], [5.0, 7.0], [1.0, 2.0], [5.0, 7.0]]
        >>> fg.estimate_drift((frame, places)).at([0, 1, 9]).shape
        (3, 2)
        """
        frames = check.integer_array("frame", frame, 1)
        nearest = np.clip(frames, self.frames[0], self.frames[-1]).astype(np.int64)
        return self.positions[nearest - self.frames[0]]

    def apply(self, localisations: Any) -> Any:
        """The same localisations without the drift.

        Parameters
        ----------
        localisations : FitResult with frames, Groups, or tuple
            As for `estimate_drift`, with the same axes; all or some of those that the drift was
            estimated from, or others of the same movie. Groups move by the drift of their first
            frame.

        Returns
        -------
        FitResult, Groups or tuple
            What was given, with other positions. Errors stay as they are: the error of the drift is
            common to all localisations of a frame.

        Raises
        ------
        TypeError, ValueError
            If an argument is of a wrong kind, or has other axes.

        Examples
        --------
        >>> import fastgauss as fg
        >>> frame, places = [0, 0, 1, 1], [[1.0, 2.0], [5.0, 7.0], [1.0, 2.0], [5.0, 7.0]]
        >>> drift = fg.estimate_drift((frame, places))
        >>> frame, places = drift.apply((frame, places))
        """
        points = read_points(localisations)
        if points.axes != self.axes:
            expected, got = (", ".join(axes) for axes in (self.axes, points.axes))
            raise ValueError(f"localisations must have the axes {expected}, got {got}")
        places = points.places - self.at(points.frames)
        if isinstance(localisations, Groups):
            return replace(localisations, positions=places)
        if not isinstance(localisations, FitResult):
            return (localisations[0], places, *localisations[2:])
        params = localisations.params.copy()
        columns = [localisations.names.index(axis) for axis in self.axes]
        params[:, columns] = places
        return localisations.with_rows(localisations.rows._replace(params=params))

    def to_dataframe(self) -> pd.DataFrame:
        """A pandas DataFrame, one row a frame.

        Raises
        ------
        ImportError
            If pandas is missing.

        Examples
        --------
        >>> import fastgauss as fg
        >>> frame, places = [0, 0, 1, 1], [[1.0, 2.0], [5.0, 7.0], [1.0, 2.0], [5.0, 7.0]]
        >>> list(fg.estimate_drift((frame, places)).to_dataframe())
        ['frame', 'y', 'x', 'y_error', 'x_error']
        """
        table = {"frame": self.frames} | dict(zip(self.axes, self.positions.T, strict=True))
        names = (f"{axis}_error" for axis in self.axes)
        return data_frame(table | dict(zip(names, self.errors.T, strict=True)), {})

    def plot(self, *, figure: Any = None) -> Any:
        """Draw the drift along each axis against the frame, with bands of one standard error.

        Parameters
        ----------
        figure : matplotlib.figure.Figure or SubFigure, optional
            Where to draw; by default a new figure, not registered with pyplot.

        Returns
        -------
        matplotlib.figure.Figure or SubFigure
            A notebook shows it.

        Raises
        ------
        ImportError
            If matplotlib is missing.

        Examples
        --------
        >>> import fastgauss as fg
        >>> frame, places = [0, 0, 1, 1], [[1.0, 2.0], [5.0, 7.0], [1.0, 2.0], [5.0, 7.0]]
        >>> figure = fg.estimate_drift((frame, places)).plot()
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['y', 'x']
        """
        from .drift_picture import draw

        return draw(self, figure)


def estimate_drift(
    localisations: FitResult | Groups | tuple[ArrayLike, ...],
    *,
    segments: int | None = None,
    frames_per_segment: int | None = None,
    tol: float = 0.05,
    threads: int | None = None,
    progress: bool | Progress = False,
) -> Drift:
    """The drift of a movie, from its localisations alone.

    The movie is cut into segments of equal numbers of frames. The drift is that at which the
    localisations of all segments overlap most: the sum, over all pairs of localisations of
    different segments, of a narrow bell of their distance is largest. All pairs of segments count
    at once, from wide bells to narrow ones. Between the middles of the segments the drift is a
    natural cubic spline.

    Parameters
    ----------
    localisations : FitResult with frames, Groups, or tuple
        A tuple is (frame, positions) or (frame, positions, errors): frames (n,) of integers in any
        order, positions (n, ndim) in array-axis order, in one to three dimensions, and standard
        errors (n, ndim) or (n,). Of errors only the ratio along the axes is used. Rows that are not
        finite are left out. Select the good spots of a result first: ``result[result.converged]``.
    segments : int, optional
        How many segments, 2 to 1000. By default up to 100, of 500 localisations or more.
    frames_per_segment : int, optional
        In place of `segments`: the number of frames of a segment.
    tol : float
        The estimate ends when no segment moves by more than this part of a typical standard error.
    threads : int, optional
        Largest number of threads; the result has the same bits for any number.
    progress : bool or callable
        True shows a bar (needs tqdm); a callable is called as ``progress(done, total)``.

    Returns
    -------
    Drift
        `positions` and `errors` of each frame; ``drift.apply(localisations)`` corrects
        localisations for it, and ``drift.plot()`` draws it.

    Raises
    ------
    TypeError, ValueError
        If an argument is of a wrong kind, a result has no frames, or less than two segments have
        localisations.

    Notes
    -----
    The errors are the sandwich errors of the overlap's maximum, and the wandering of the drift
    between the segments, which is estimated from the distance of each segment to the middle of its
    neighbours. They
    hold if the errors of the localisations are independent: join the localisations of one molecule
    by `group` first. Localisations without structure, such as noise, show no drift: then all
    positions are 0, all errors infinite, and the status is ``DriftStatus.NO_STRUCTURE``.

    A drift of up to about an eighth of the field is found, in fields that share structures nearly
    everywhere up to half, if each segment has 50 localisations or more and drifts by less than
    about a hundredth of the field while it lasts: the first guess is from cross-correlations of
    coarse images. Else segments that share structures may be displaced by at most a sixteenth of
    the field against each other. A jump is found, but the drift is smooth between the middles of
    the segments: near a jump the frames of a segment or two have a wrong drift. There `errors` are
    large, too: the deviations were 0.5 to 1.6 times the errors. Two or three segments away the
    errors are too large. `segment_errors` do not take jumps into account. In a scene that repeats
    itself, a drift by a period is no drift.

    Beyond some 20 million pairs, a part of the localisations is used, so that the time stays within
    seconds. For images instead of localisations see `register.align`.

    See Also
    --------
    group : Localisations of one molecule joined.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> rng = np.random.default_rng(0)
    >>> frame = np.sort(rng.integers(0, 500, 4000))
    >>> places = rng.uniform(0, 60, (40, 2))[rng.integers(0, 40, 4000)]
    >>> places += rng.normal(0, 0.05, places.shape) + frame[:, np.newaxis] * [0.002, -0.001]
    >>> drift = fg.estimate_drift((frame, places), segments=5)
    >>> (drift.positions[400] - drift.positions[100]).round(1)
    array([ 0.6, -0.3])
    >>> frame, corrected = drift.apply((frame, places))
    """
    points = read_points(localisations)
    tol = check.number("tol", tol, above=0.0)
    resolve_threads(threads)
    good = points.known
    frames = points.frames[good]
    span = int(frames.max()) - int(frames.min()) + 1 if len(frames) else 0
    if not 2 <= span <= _LONGEST:
        raise ValueError(
            f"localisations must span 2 to {_LONGEST} frames with finite positions, got {span}"
        )
    edges = _edges(span, len(frames), segments, frames_per_segment)
    movie = _in_segments(points, np.flatnonzero(good), edges)
    with reporting(progress, STAGES, "stage") as report, np.errstate(over="ignore"):
        found = align(movie, tol, threads, report)
    return _per_frame(points.axes, int(frames.min()), span, movie, found)


def _edges(span: int, count: int, segments: Any, frames_per_segment: Any) -> np.ndarray:
    """Where segments begin and end, in frames from 0."""
    if segments is not None and frames_per_segment is not None:
        raise ValueError("segments must be None if frames_per_segment is given")
    if frames_per_segment is not None:
        each = check.integer("frames_per_segment", frames_per_segment, at_least=1)
        number = max(round(span / each), 1)
        name, given = "frames_per_segment", f"{each} for {wording.plural(span, 'frame')}"
    elif segments is not None:
        number = check.integer("segments", segments, at_least=2)
        name, given = "segments", f"{number} for {wording.plural(span, 'frame')}"
    else:
        return np.linspace(0, span, min(_SEGMENTS, span, max(2, count // _LEAST)) + 1)
    if not 2 <= number <= min(span, _MOST):
        raise ValueError(f"{name} must make 2 to {min(span, _MOST)} segments, got {given}")
    return np.linspace(0, span, number + 1)


def _in_segments(points: Points, rows: np.ndarray, edges: np.ndarray) -> Movie:
    """The localisations in order of frames, in the segments that have some."""
    rows = rows[np.argsort(points.frames[rows], kind="stable")]
    moments = (points.frames[rows] - points.frames[rows[0]]).astype(np.float64)
    known, segments = np.unique(
        np.searchsorted(edges, moments, side="right") - 1, return_inverse=True
    )
    if len(known) < 2:
        raise ValueError(
            "localisations must be in two segments or more, got all in one of "
            f"{wording.plural(len(edges) - 1, 'segment')}"
        )
    aspect = np.ones(len(points.axes))
    if points.errors is not None:
        aspect = np.median(points.errors[rows], axis=0)
    return Movie(
        places=points.places[rows],
        moments=moments,
        segments=segments.astype(np.int32),
        middles=0.5 * (edges[known] + edges[known + 1] - 1),
        aspect=aspect / aspect.min(),
    )


def _per_frame(
    axes: tuple[str, ...], first: int, span: int, movie: Movie, found: Alignment
) -> Drift:
    """The drift and its errors in all frames."""
    moments = np.arange(span, dtype=np.float64)
    count, ndim = found.knots.shape
    known = found.covariance.reshape(count, ndim, count, ndim)
    variances = np.einsum("sasa->sa", known)
    if found.structure:
        positions = drift_between(movie.middles, found.knots, moments)
        status = DriftStatus.CONVERGED if found.converged else DriftStatus.MAX_ITERATIONS
    else:
        positions, status = np.zeros((span, ndim)), DriftStatus.NO_STRUCTURE
    errors = np.full((span, ndim), np.inf)
    if np.isfinite(variances).all():
        errors = frame_errors(movie, positions, known, moments)
    return Drift(
        frames=np.arange(first, first + span),
        positions=positions,
        errors=errors,
        segment_frames=first + movie.middles,
        segment_positions=found.knots,
        segment_errors=np.sqrt(variances),
        status=status,
        radius=found.radii,
        axes=axes,
    )
