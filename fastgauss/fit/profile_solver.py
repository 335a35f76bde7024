"""Several peaks on a line of background in one profile: starting values, and the minimum.

The model has 3 k + b parameters: amplitude, centre and sigma of k peaks, and b coefficients of the
background. A peak is added by a search over centres and widths: with the orthonormal basis Q of the
columns that the model has so far, a further profile g lowers the sum of squares r'r by
``(g_'r)**2 / g_'g_``, ``g_ = g - Q Q'g``. All parameters are then fitted together by MINPACK's
Levenberg-Marquardt method. Peaks that overlap are found by parting a peak in two as well, and by
searches for all peaks with a limit of their widths. The start with the lowest sum of squares
counts.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np

from ..base.status import Status

_WIDTHS = 18  # that are tried for a new peak
_CENTRES = 300  # at most
_ROOM = 10**7  # values of profiles that are tried at a time
_STRONGEST = 60  # points that are centres too, in a long profile
_TOL = 1e-12
_WIDEST = (0.5, 0.12, 0.03)  # of half the range, in searches for all peaks at once
_FEW = 60  # evaluations of a start
_ENOUGH = 1.5  # variances of the noise in the residual, at which no further start is tried
_LEAST = 9  # points whose noise can be told from their neighbours
_APART = 0.8  # sigmas from the middle at which a peak is parted


class Points(NamedTuple):
    """The valid points of a profile, with abscissae and values of the order of 1."""

    u: np.ndarray  # (m,)
    v: np.ndarray
    root: np.ndarray  # square roots of the weights
    background: np.ndarray  # (m, b) columns

    @property
    def size(self) -> int:
        """Parameters of the background."""
        return self.background.shape[1]


class Solution(NamedTuple):
    """The minimum of one profile."""

    peaks: np.ndarray  # (k, 3): amplitude, centre, sigma
    background: np.ndarray  # (b,)
    covariance: np.ndarray  # (3 k + b, 3 k + b), for weights as they are
    objective: float
    rounds: int
    status: Status


def _profiles(u: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """The peaks with amplitude 1, (m, k)."""
    steps = (u[:, np.newaxis] - peaks[:, 1]) / peaks[:, 2]
    return np.exp(-0.5 * np.minimum(steps**2, 1400.0))


def _residual(free: np.ndarray, points: Points, count: int) -> np.ndarray:
    peaks = free[: 3 * count].reshape(count, 3)
    model = _profiles(points.u, peaks) @ peaks[:, 0] + points.background @ free[3 * count :]
    return (model - points.v) * points.root


def _jacobian(free: np.ndarray, points: Points, count: int) -> np.ndarray:
    peaks = free[: 3 * count].reshape(count, 3)
    own = _profiles(points.u, peaks)
    steps = (points.u[:, np.newaxis] - peaks[:, 1]) / peaks[:, 2]
    slope = own * peaks[:, 0] * steps / peaks[:, 2]
    columns = np.stack([own, slope, slope * steps], axis=2).reshape(len(points.u), -1)
    return np.hstack([columns, points.background]) * points.root[:, np.newaxis]


def minimise(points: Points, start: np.ndarray, max_iter: int) -> Solution:
    """The minimum near peaks (k, 3)."""
    from scipy.optimize import least_squares

    count = len(start)
    linear = np.hstack([_profiles(points.u, start), points.background])
    scaled = linear * points.root[:, np.newaxis]
    heights = np.linalg.lstsq(scaled, points.v * points.root, rcond=None)[0]
    peaks = np.column_stack([heights[:count], start[:, 1:]])
    with np.errstate(all="ignore"):
        found = least_squares(
            _residual,
            np.concatenate([peaks.ravel(), heights[count:]]),
            _jacobian,
            args=(points, count),
            method="lm",
            x_scale="jac",
            xtol=_TOL,
            ftol=_TOL,
            gtol=_TOL,
            max_nfev=max_iter,
        )
    free, size = found.x.copy(), found.x.size
    turned = np.ones(size)
    turned[2 : 3 * count : 3] = np.where(free[2 : 3 * count : 3] < 0, -1.0, 1.0)
    order = np.argsort(free[1 : 3 * count : 3], kind="stable")
    places = (3 * order[:, np.newaxis] + np.arange(3)).ravel()
    places = np.concatenate([places, np.arange(3 * count, size)])
    free = (free * turned)[places]
    peaks = free[: 3 * count].reshape(count, 3)
    covariance, regular = _inverse((found.jac * turned)[:, places])
    status = Status.CONVERGED if found.status > 0 else Status.MAX_ITERATIONS
    if not regular:
        status = Status.SINGULAR
    elif (peaks[:, 1] < points.u.min()).any() or (peaks[:, 1] > points.u.max()).any():
        status = Status.OUTSIDE
    return Solution(peaks, free[3 * count :], covariance, 2.0 * found.cost, found.nfev, status)


def _inverse(jacobian: np.ndarray) -> tuple[np.ndarray, bool]:
    """The inverse of the normal equations, and whether there is one."""
    size = jacobian.shape[1]
    lengths = np.sqrt((jacobian**2).sum(axis=0))
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        return np.full((size, size), np.nan), False
    _, values, right = np.linalg.svd(jacobian / lengths, full_matrices=False)
    if values[-1] <= 1e-10 * values[0]:
        return np.full((size, size), np.nan), False
    half = right.T / values
    return half @ half.T / lengths / lengths[:, np.newaxis], True


def solve(points: Points, start: np.ndarray | None, count: int, sign: int, rounds: int) -> Solution:
    """The best minimum of ``count`` peaks, from given peaks (k, 3) or from a search."""
    if start is not None:
        return minimise(points, start, rounds)
    none, few = np.empty((0, 3)), min(rounds, _FEW)
    found = minimise(points, _add(points, none, sign, 1.0), few)
    while len(found.peaks) < count:
        starts = [_add(points, found.peaks, sign, 1.0)]
        starts += [_part(found.peaks, k) for k in range(len(found.peaks))]
        found = min((minimise(points, each, few) for each in starts), key=_rank)
    signs = (1, -1) if sign == 0 else (sign,)
    enough = _ENOUGH * _noise(points) * len(points.u)
    for widest, side in product(_WIDEST, signs):
        if found.status == Status.CONVERGED and found.objective <= enough:
            break
        peaks = none
        for _ in range(count):
            peaks = _add(points, peaks, side, widest)
        found = min(found, minimise(points, peaks, few), key=_rank)
    if found.status == Status.MAX_ITERATIONS and rounds > few:
        found = minimise(points, found.peaks, rounds)
    return found


def _noise(points: Points) -> float:
    """The variance of a point, from its difference to the mean of its neighbours."""
    order = np.argsort(points.u, kind="stable")
    v = (points.v * points.root)[order]
    if len(v) < _LEAST:
        return 0.0
    return float(1.4826 * np.median(np.abs(v[1:-1] - 0.5 * (v[:-2] + v[2:])))) ** 2 / 1.5


def _rank(solution: Solution) -> tuple[bool, float]:
    """Solutions that are determined first, then the lowest sum of squares."""
    return solution.status != Status.CONVERGED, solution.objective


def _add(points: Points, peaks: np.ndarray, sign: int, widest: float) -> np.ndarray:
    """The peaks and that further one which lowers the sum of squares most."""
    u, root = points.u, points.root[:, np.newaxis]
    basis = np.linalg.qr(np.hstack([_profiles(u, peaks), points.background]) * root)[0]
    rest = points.v * points.root
    rest = rest - basis @ (basis.T @ rest)
    centres, most = u, max(2 * _STRONGEST, min(_CENTRES, _ROOM // len(u)))
    if len(u) > most:
        strongest = np.argsort(-np.abs(rest), kind="stable")[:_STRONGEST]
        even = np.linspace(0, len(u) - 1, most - _STRONGEST).astype(int)
        centres = u[np.union1d(strongest, even)]
    step = float(np.median(np.diff(np.sort(u)))) or 2.0 / len(u)
    best, chosen = -1.0, (0.0, float(u[len(u) // 2]), 0.5)
    for width in np.geomspace(min(step, widest), widest, _WIDTHS):
        tried = np.column_stack([np.ones(len(centres)), centres, np.full(len(centres), width)])
        own = _profiles(u, tried) * root
        own -= basis @ (basis.T @ own)
        norms = (own**2).sum(axis=0)
        along = own.T @ rest
        gains = np.where(norms > 1e-9, along * np.abs(along) / np.maximum(norms, 1e-9), 0.0)
        gains = np.abs(gains) if sign == 0 else sign * gains
        k = int(np.argmax(gains))
        if gains[k] > best:
            best, chosen = float(gains[k]), (0.0, float(centres[k]), float(width))
    return np.vstack([peaks, chosen])


def _part(peaks: np.ndarray, k: int) -> np.ndarray:
    """The peaks with one of them parted in two."""
    amplitude, centre, sigma = peaks[k]
    two = [[amplitude, centre + side * _APART * sigma, 0.7 * sigma] for side in (-1, 1)]
    return np.vstack([np.delete(peaks, k, axis=0), two])
