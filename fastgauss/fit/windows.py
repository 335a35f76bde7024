"""The pixels around each position, cut from an image or a volume, for fits of separate spots."""

from __future__ import annotations

import math

import numpy as np

from ..base import check, wording

_LEAST_BOX, _REACH = 7, 4.0  # pixels; sigmas to either side


def box_sides(
    box: int | tuple[int, ...] | None, ndim: int, sigmas: tuple[float, ...] = ()
) -> tuple[int, ...]:
    """The extent of a window along each axis, from the option ``box=``.

    By default it follows the expected ``sigmas``: four to either side, rounded.
    """
    if box is None:
        halves = (math.floor(_REACH * sigma + 0.5) for sigma in sigmas)
        return tuple(max(2 * half + 1, _LEAST_BOX) for half in halves)
    given = check.entries("box", box)
    sides = [check.integer("box", side, at_least=1) for side in ([box] if given is None else given)]
    if len(sides) not in (1, ndim):
        raise ValueError(f"box must be one or {ndim} integers, got {wording.shown(box)}")
    return tuple(sides * ndim) if len(sides) == 1 else tuple(sides)


def sigmas_of(box: tuple[int, ...]) -> tuple[float, ...]:
    """The sigmas of spots for which windows of this extent are made."""
    return tuple(max((side - 1) / (2.0 * _REACH), 0.5) for side in box)


def windows(
    positions: np.ndarray, box: tuple[int, ...] | np.ndarray, shape: tuple[int, ...],
    images: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """First pixel and extent, both (n, ndim), of the boxes around positions.

    A box, of all or one of each (n, ndim), ends at the border of the image, and half-way to the
    next position; ``images`` (n,) are the numbers of the images that positions are in, if there are
    several.
    """
    limit, reach = np.array(shape), int(np.max(box, initial=1))
    centre = np.rint(np.clip(positions, -limit - reach, 2 * limit + reach)).astype(np.intp)
    first = centre - np.array(box) // 2
    last = first + box
    neighbours = _neighbours(positions, images, reach)
    for one, other in (neighbours.T, neighbours.T[::-1]) if len(neighbours) else ():
        _part(positions, centre, first, last, one, other)
    first, last = np.clip(first, 0, limit), np.clip(last, 0, limit)
    return first, np.maximum(last - first, 0)


def _neighbours(positions: np.ndarray, images: np.ndarray | None, reach: int) -> np.ndarray:
    """Pairs (k, 2) of positions in one image that are no farther apart along any axis."""
    from scipy.spatial import KDTree

    if len(positions) < 2:
        return np.empty((0, 2), np.intp)
    if images is not None:
        positions = np.column_stack([images * (2.0 * reach), positions])
    return KDTree(positions).query_pairs(reach, p=np.inf, output_type="ndarray")


def _part(
    positions: np.ndarray, centre: np.ndarray, first: np.ndarray, last: np.ndarray,
    one: np.ndarray, other: np.ndarray,
) -> None:  # fmt: skip
    """Cut windows, in place, half-way to each neighbour, along the axis that separates them most.

    Two pixels beside the centre are never cut off.
    """
    apart = positions[other] - positions[one]
    axis = np.abs(apart).argmax(axis=1)
    along = np.take_along_axis(apart, axis[:, None], axis=1)[:, 0]
    half = np.maximum(np.floor(np.abs(along) / 2), 2).astype(np.intp)
    middle = centre[one, axis]
    ahead, behind = along > 0, along < 0
    np.minimum.at(last, (one[ahead], axis[ahead]), (middle + half + 1)[ahead])
    np.maximum.at(first, (one[behind], axis[behind]), (middle - half)[behind])
