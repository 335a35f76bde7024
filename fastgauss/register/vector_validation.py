"""Vectors of a displacement field that their neighbours contradict, and what stands for them."""

from __future__ import annotations

import numpy as np

_NOISE = 0.1  # pixels: what neighbours may differ by, in the median test
_LIMIT = 2.0  # of the median test
_FEWEST = 3  # neighbours whose median stands for a vector
_NORMAL = 1.4826  # standard deviations in a median of absolute deviations


def median_test(moves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of the vectors (R, C, 2) their neighbours contradict, and the neighbours' median.

    A vector without neighbours passes; a NaN fails.
    """
    around = _neighbours(moves)
    median = _median(around)
    spread = _median(np.abs(around - median))
    residual = np.abs(moves - median) / (spread + _NOISE)
    excess = np.hypot(residual[..., 0], residual[..., 1])
    return np.isnan(moves).any(axis=-1) | (excess > _LIMIT), median


def neighbours_say(moves: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median (R, C, 2) of the neighbours that are not NaN, its variance, and whether they suffice.

    The variance is that of a single neighbour: where the field is smooth, the vector in the middle
    differs from the median by as much as they do.
    """
    around = _neighbours(moves)
    median = _median(around)
    spread = _NORMAL * _median(np.abs(around - median))
    count = np.isfinite(around).all(axis=-1).sum(axis=0)
    return median, spread**2, count >= _FEWEST


def typical_square(moves: np.ndarray) -> np.ndarray:
    """Square of the typical size of the vectors (R, C, 2) around each, itself included."""
    around = np.concatenate([_neighbours(moves), moves[np.newaxis]])
    return (_NORMAL * _median(np.abs(around))) ** 2


def fill(moves: np.ndarray) -> np.ndarray:
    """Vectors (R, C, 2) in which each NaN is the nearest vector, or 0 where there is none."""
    from scipy.ndimage import distance_transform_edt

    unknown = np.isnan(moves).any(axis=-1)
    if unknown.all():
        return np.zeros_like(moves)
    if not unknown.any():
        return moves
    nearest = distance_transform_edt(unknown, return_distances=False, return_indices=True)
    return moves[tuple(nearest)]


def parabola_weights(half: int) -> np.ndarray:
    """Weights of 2 half + 1 even nodes in the middle of the least squares parabola through them."""
    place = np.arange(-half, half + 1.0)
    return (3.0 * (3 * half**2 + 3 * half - 1) - 15.0 * place**2) / (
        (2 * half - 1) * (2 * half + 1) * (2 * half + 3)
    )


def smooth(moves: np.ndarray, halves: tuple[int, int]) -> np.ndarray:
    """Vectors (R, C, 2) by parabolas, along each axis, through so many nodes on either side.

    Beyond its ends the field goes on straight. Fewer nodes are taken of an axis that is too short.
    """
    for axis, most in enumerate(halves):
        n = moves.shape[axis]
        half = min(most, (n - 1) // 2)
        if half < 2:  # a parabola goes through three nodes
            continue
        longer = extend(moves, axis, half)
        weights = parabola_weights(half)
        moves = sum(weight * longer.take(range(k, k + n), axis) for k, weight in enumerate(weights))
    return moves


def extend(moves: np.ndarray, axis: int, count: int) -> np.ndarray:
    """A field with ``count`` more nodes at either end of an axis, in a straight line."""
    n = moves.shape[axis]
    lines = np.moveaxis(moves, axis, 0)
    away = np.arange(count, 0, -1).reshape(-1, *[1] * (moves.ndim - 1))
    step = min(1, n - 1)
    before = lines[0] - away * (lines[step] - lines[0])
    after = lines[-1] + away[::-1] * (lines[-1] - lines[-1 - step])
    return np.moveaxis(np.concatenate([before, lines, after]), 0, axis)


def _neighbours(moves: np.ndarray) -> np.ndarray:
    """The eight vectors around each, (8, R, C, 2); NaN beyond the border."""
    rows, columns = moves.shape[:2]
    frame = np.full((rows + 2, columns + 2, 2), np.nan)
    frame[1:-1, 1:-1] = moves
    return np.stack(
        [
            frame[1 + i : 1 + i + rows, 1 + j : 1 + j + columns]
            for i in (-1, 0, 1)
            for j in (-1, 0, 1)
            if i or j
        ]
    )


def _median(values: np.ndarray) -> np.ndarray:
    """Median over the first axis of what is not NaN; NaN where nothing is."""
    ordered = np.sort(values, axis=0)  # NaN last
    count = np.isfinite(values).sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    pick = [
        np.take_along_axis(ordered, np.minimum(i, len(values) - 1)[np.newaxis], 0)[0]
        for i in (low, high)
    ]
    return 0.5 * (pick[0] + pick[1])
