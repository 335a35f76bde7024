"""Grouping: the localisations of one molecule in successive frames joined into one.

A molecule that shines for several frames is localised in each. ``kernels/localisations/linking.py``
says which localisations are joined; the position of a group is the inverse-variance mean

    x = sum x_i / e_i**2 / sum 1 / e_i**2,        error(x) = (sum 1 / e_i**2)**(-1/2)

along each axis, and its flux is the sum of all fluxes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, wording
from ..kernels.localisations import linking
from ..results import FitResult
from .groups import Groups
from .points import Points, read_points

_ROOM = 1 << 12  # pairs of a frame, at first


def group(
    localisations: FitResult | tuple[ArrayLike, ...],
    radius: float | tuple[float, ...],
    gap: int = 0,
    *,
    flux: ArrayLike | None = None,
) -> Groups:
    """Join the localisations of one molecule in successive frames.

    Frame by frame, localisations are joined with the last localisations of the groups so far, so
    that the sum of squared distances, plus ``radius**2`` for each localisation that begins a new
    group, is least. Two localisations of one frame are never joined.

    Parameters
    ----------
    localisations : FitResult with frames, or tuple
        A tuple is (frame, positions) or (frame, positions, errors): frames (n,) of integers in any
        order, positions (n, ndim) in array-axis order, and standard errors (n, ndim) or (n,).
        Select the good spots of a result first: ``result[result.converged]``.
    radius : float or one for each column of positions
        The largest distance of two successive localisations of a group; two or three times their
        error. Several numbers are the half axes of an ellipse. An astigmatic result needs three,
        (z, y, x), because its z has another unit.
    gap : int
        How many dark frames may lie between two successive localisations of a group.
    flux : array_like (n,), optional
        Fluxes that belong to a tuple; a FitResult has its own.

    Returns
    -------
    Groups
        Positions with errors, summed fluxes, first and last frames, and the group of each
        localisation that was given.

    Raises
    ------
    TypeError, ValueError
        If an argument is of a wrong kind, or a result has no frames.

    Notes
    -----
    Errors hold if those of the localisations are independent. Localisations whose position or error
    is not finite belong to no group. The time grows with the number of localisations: a million
    take about a second.

    See Also
    --------
    FitResult.concatenate : The results of all frames as one result with frames.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> frame = [0, 0, 1, 1, 2]
    >>> positions = [[5.0, 5.0], [9.0, 5.0], [9.1, 5.0], [5.2, 5.0], [20.0, 5.0]]
    >>> groups = fg.group((frame, positions, [0.1, 0.1, 0.1, 0.2, 0.1]), radius=0.5)
    >>> groups.group
    array([0, 1, 1, 0, 2])
    >>> groups.positions[:, 0].round(3), groups.errors[:, 0].round(3)
    (array([ 5.04,  9.05, 20.  ]), array([0.089, 0.071, 0.1  ]))
    """
    points = read_points(localisations, flux)
    half_axes = _read_radius(radius, points, localisations)
    gap = check.integer("gap", gap, at_least=0)
    chosen = np.flatnonzero(points.known)
    chosen = chosen[np.argsort(points.frames[chosen], kind="stable")]
    with np.errstate(over="ignore"):
        scaled = points.places[chosen] / half_axes
    numbers, count = _linked(scaled, points.frames[chosen], gap)
    return _combined(points, chosen, numbers, count)


def _read_radius(radius: Any, points: Points, localisations: Any) -> np.ndarray:
    ndim = len(points.axes)
    radii = check.per_axis("radius", radius, ndim, above=0.0)
    mixed = isinstance(localisations, FitResult) and localisations.model.ndim != ndim
    if mixed and check.entries("radius", radius) is None:
        raise ValueError(
            f"radius must be {ndim} numbers for {', '.join(points.axes)}, of which z has another "
            f"unit, got {wording.shown(radius)}"
        )
    return np.array(radii)


# -- links -------------------------------------------------------------------------------------


def _linked(scaled: np.ndarray, frames: np.ndarray, gap: int) -> tuple[np.ndarray, int]:
    """The group of each localisation sorted by frame, and the number of groups."""
    count, ndim = scaled.shape
    places = np.zeros((count, linking.AXES))
    places[:, linking.AXES - ndim :] = scaled
    tracks = linking.Tracks(
        heads=np.full(1 << max(count, 2).bit_length(), -1, np.int32),
        following=np.full(count, -1, np.int32),
        preceding=np.full(count, -1, np.int32),
        opened=np.zeros(count, np.bool_),
        slot=np.full(count, -1, np.int32),
        previous=np.full(count, -1, np.int32),
    )
    breaks = np.flatnonzero(np.diff(frames)) + 1
    rows = int(np.diff(breaks, prepend=0, append=count).max()) if count else 0
    oldest, begin, pairs = 0, 0, _ROOM
    while begin < count:
        found = _room(rows, 2 * pairs)
        oldest, begin, pairs = linking.link(places, ndim, frames, gap, tracks, found, oldest, begin)
    numbers = np.empty(count, np.intp)
    return numbers, linking.number_tracks(tracks.previous, numbers)


def _room(rows: int, pairs: int) -> linking.Candidates:
    """Memory for the pairs of a frame."""
    return linking.Candidates(
        starts=np.zeros(rows + 1, np.int64),
        slots=np.empty(pairs, np.int32),
        costs=np.empty(pairs),
        ends=np.empty(pairs, np.int32),
        degree=np.empty(pairs, np.int32),
        owner=np.empty(pairs, np.int32),
        price=np.empty(pairs),
        shortest=np.empty(pairs),
        path=np.empty(pairs, np.int32),
        settled=np.empty(pairs, np.bool_),
        reached=np.empty(pairs, np.int32),
        assigned=np.empty(rows, np.int32),
        rent=np.empty(rows),
    )


# -- combination -------------------------------------------------------------------------------


def _combined(points: Points, chosen: np.ndarray, numbers: np.ndarray, count: int) -> Groups:
    """The groups of the localisations ``chosen``, in order of frames."""
    order = np.argsort(numbers, kind="stable")  # within a group in order of frames
    rows = chosen[order]
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    ends = np.append(starts, len(rows))[1:] - 1

    def sums(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, starts, axis=0) if count else values[:0]

    def spread(values: np.ndarray) -> np.ndarray:
        return np.repeat(values, ends - starts + 1, axis=0)

    origin = points.places[rows[starts]]
    moved = points.places[rows] - spread(origin)
    if points.errors is None:
        errors = None
        means = sums(moved) / (ends - starts + 1)[:, np.newaxis]
    else:
        own = points.errors[rows]
        least = np.minimum.reduceat(own, starts, axis=0) if count else own
        weights = (spread(least) / own) ** 2
        total = sums(weights)
        means, errors = sums(weights * moved) / total, least / np.sqrt(total)
    label = np.full(len(points.frames), -1, np.intp)
    label[chosen] = numbers
    flux = None if points.flux is None else sums(points.flux[rows])
    flux_error = None
    if points.flux_error is not None:
        with np.errstate(all="ignore"):
            flux_error = np.sqrt(sums(points.flux_error[rows] ** 2))
    return Groups(
        group=label,
        positions=origin + means,
        errors=errors,
        flux=flux,
        flux_error=flux_error,
        first=points.frames[rows[starts]],
        last=points.frames[rows[ends]],
        count=ends - starts + 1,
        axes=points.axes,
    )
