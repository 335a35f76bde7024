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
from .profile_limits import Limits

_WIDTHS = 18  # that are tried for a new peak
_CENTRES = 300  # at most
_ROOM = 10**7  # values of profiles that are tried at a time
_STRONGEST = 60  # points that are centres too, in a long profile
_TOLERANCES = {"xtol": 1e-12, "ftol": 1e-12, "gtol": 1e-12}
_WIDEST = (0.5, 0.12, 0.03)  # of half the range, in searches for all peaks at once
_FEW = 60  # evaluations of a start
_ENOUGH = 1.5  # variances of the noise in the residual, at which no further start is tried
_LEAST = 9  # points whose noise can be told from their neighbours
_PROVEN = 25.0  # variances of the noise by which an opposite sign has to lower the sum of squares
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
    held: np.ndarray  # (3 k + b,) what is on a limit


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


def minimise(points: Points, start: np.ndarray, max_iter: int, limits: Limits) -> Solution:
    """The minimum near peaks (k, 3) within their limits.

    Peaks with the same limits come out by rising centre, others as they are.
    """
    count = len(start)
    heights = _heights(points, start, limits)
    peaks = np.column_stack([heights[:count], start[:, 1:]])
    free = np.concatenate([peaks.ravel(), heights[count:]])
    solver = _within_limits if limits.bounded else _without_limits
    free, cost, jacobian, held, rounds, done = solver(points, free, count, max_iter, limits)
    size = free.size
    signs = np.ones(size)
    signs[2 : 3 * count : 3] = np.where(free[2 : 3 * count : 3] < 0, -1.0, 1.0)
    order = np.arange(count)
    if len(limits.kinds(list(order))) == 1:
        order = np.argsort(free[1 : 3 * count : 3], kind="stable")
    places = (3 * order[:, np.newaxis] + np.arange(3)).ravel()
    places = np.concatenate([places, np.arange(3 * count, size)])
    free, held = (free * signs)[places], held[places]
    peaks = free[: 3 * count].reshape(count, 3)
    known = held | ~limits.free[places]
    covariance, regular = np.zeros((size, size)), True
    if not known.all():
        inverse, regular = _inverse((jacobian * signs)[:, places][:, ~known])
        covariance[np.ix_(~known, ~known)] = inverse
    status = Status.CONVERGED if done else Status.MAX_ITERATIONS
    centres = peaks[~known[1 : 3 * count : 3], 1]
    if not regular:
        status = Status.SINGULAR
    elif (centres < points.u.min()).any() or (centres > points.u.max()).any():
        status = Status.OUTSIDE
    return Solution(peaks, free[3 * count :], covariance, 2.0 * cost, rounds, status, held)


def _heights(points: Points, peaks: np.ndarray, limits: Limits) -> np.ndarray:
    """The best amplitudes (k,) and coefficients of the background (b,) of these peaks."""
    count = len(peaks)
    columns = np.hstack([_profiles(points.u, peaks), points.background])
    linear = np.concatenate([np.arange(0, 3 * count, 3), np.arange(3 * count, len(limits.lower))])
    lower, upper = limits.lower[linear], limits.upper[linear]
    free, values = limits.free[linear], np.where(limits.free[linear], 0.0, lower)
    if free.any():
        rest = (points.v - columns @ values) * points.root
        scaled = columns[:, free] * points.root[:, np.newaxis]
        values[free] = np.linalg.lstsq(scaled, rest, rcond=None)[0]
    return np.clip(values, lower, upper)


def _without_limits(
    points: Points, start: np.ndarray, count: int, max_iter: int, limits: Limits
) -> tuple[np.ndarray, float, np.ndarray, np.ndarray, int, bool]:
    """Minimum, half the sum of squares, Jacobian, what is on a limit, rounds, and success."""
    from scipy.optimize import least_squares

    with np.errstate(all="ignore"):
        found = least_squares(
            _residual, start, _jacobian, args=(points, count), method="lm", x_scale="jac",
            max_nfev=max_iter, **_TOLERANCES,
        )  # fmt: skip
    held = np.zeros(start.size, bool)
    return found.x, found.cost, found.jac, held, found.nfev, found.status > 0


def _within_limits(
    points: Points, start: np.ndarray, count: int, max_iter: int, limits: Limits
) -> tuple[np.ndarray, float, np.ndarray, np.ndarray, int, bool]:
    """As `_without_limits`, for a minimum within limits.

    The method of interior reflections finds the way, that of a rectangular trust region ends on
    the limits themselves.
    """
    from scipy.optimize import least_squares

    free, whole = limits.free, np.clip(start, limits.lower, limits.upper)
    rounds, done = 1, True

    def spread(values: np.ndarray) -> np.ndarray:
        full = whole.copy()
        full[free] = values
        return full

    ends = limits.lower[free], limits.upper[free]
    for method in ("trf", "dogbox") if free.any() else ():
        with np.errstate(all="ignore"):
            found = least_squares(
                lambda values: _residual(spread(values), points, count), whole[free],
                lambda values: _jacobian(spread(values), points, count)[:, free],
                bounds=ends, method=method, x_scale="jac", max_nfev=max(max_iter - rounds, 1),
                **_TOLERANCES,
            )  # fmt: skip
        near = np.where(found.active_mask < 0, ends[0], ends[1])
        whole[free] = np.where(found.active_mask == 0, np.clip(found.x, *ends), near)
        rounds, done = rounds + found.nfev, found.status > 0
    residual = _residual(whole, points, count)
    held = free & ((whole == limits.lower) | (whole == limits.upper))
    cost = 0.5 * float(residual @ residual)
    return whole, cost, _jacobian(whole, points, count), held, rounds, done


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


def solve(
    points: Points, start: np.ndarray | None, sign: int, rounds: int, limits: Limits
) -> Solution:
    """The best minimum of peaks within their limits, from given peaks (k, 3) or from a search."""
    if start is not None:
        return minimise(points, start, rounds, limits)
    count, few = (len(limits.lower) - points.size) // 3, min(rounds, _FEW)
    found, slots = _one_by_one(points, count, sign, few, limits)
    signs = (1, -1) if sign == 0 else (sign,)
    enough = _ENOUGH * _noise(points) * len(points.u)
    for widest, side in product(_WIDEST, signs):
        if found.status == Status.CONVERGED and found.objective <= enough:
            break
        peaks, taken = np.empty((0, 3)), list[int]()
        while len(taken) < count:
            left = [k for k in range(count) if k not in taken]
            added = [_add(points, peaks, side, widest, limits, k) for k in limits.kinds(left)]
            best = max(range(len(added)), key=lambda i: added[i][1])
            peaks, taken = np.vstack([peaks, added[best][0]]), [*taken, limits.kinds(left)[best]]
        tried = minimise(points, peaks, few, limits.of(taken, count))
        found, slots = min((found, slots), (tried, taken), key=lambda pair: _rank(pair[0]))
    if found.status == Status.MAX_ITERATIONS and rounds > few:
        found = minimise(points, found.peaks, rounds, limits.of(slots, count))
    return _in_order(found, slots) if len(limits.kinds(slots)) > 1 else found


def solve_alike(
    points: Points, found: Solution, sign: int, rounds: int, limits: Limits, spread: float
) -> Solution:
    """The solution, or that of peaks of one sign where large opposite peaks nearly cancel.

    Opposite peaks that overlap stay where they lower the sum of squares by `_PROVEN` variances
    ``spread``, and where no minimum of the one sign is determined.
    """
    peaks = found.peaks
    apart = np.abs(peaks[:, np.newaxis, 1] - peaks[:, 1])
    close = apart < peaks[:, np.newaxis, 2] + peaks[:, 2]
    if not (close & (peaks[:, np.newaxis, 0] * peaks[:, 0] < 0)).any():
        return found
    curve = _profiles(points.u, peaks) @ peaks[:, 0]
    main = sign or (1 if curve.max() >= -curve.min() else -1)
    lower, upper, heights = limits.lower.copy(), limits.upper.copy(), slice(0, peaks.size, 3)
    if main > 0:
        lower[heights] = np.maximum(lower[heights], 0.0)
    else:
        upper[heights] = np.minimum(upper[heights], 0.0)
    alike = solve(points, None, main, rounds, Limits(lower, upper))
    if alike.status != Status.CONVERGED or alike.held[heights].any():
        return found
    proven = alike.objective - found.objective > _PROVEN * spread
    return found if proven and found.status == Status.CONVERGED else alike


def _one_by_one(
    points: Points, count: int, sign: int, few: int, limits: Limits
) -> tuple[Solution, list[int]]:
    """Peaks added one after the other, all fitted after each; and which limits each has."""
    peaks, slots = np.empty((0, 3)), list[int]()
    while True:
        tried = []
        for k in limits.kinds([k for k in range(count) if k not in slots]):
            more = np.vstack([peaks, _add(points, peaks, sign, 1.0, limits, k)[0]])
            starts = [(more, [*slots, k])]
            for i, slot in enumerate(slots):
                rest, parts = [*slots[:i], *slots[i + 1 :]], _part(peaks, i)
                starts += [(parts, [*rest, *two]) for two in limits.orders(slot, k)]
            tried += [
                (minimise(points, start, few, limits.of(own, count)), own) for start, own in starts
            ]
        found, slots = min(tried, key=lambda pair: _rank(pair[0]))
        if len(slots) == count:
            return found, slots
        peaks = found.peaks


def _in_order(found: Solution, slots: list[int]) -> Solution:
    """A solution whose peaks have the order of their limits."""
    order = np.argsort(slots, kind="stable")
    columns = (3 * order[:, np.newaxis] + np.arange(3)).ravel()
    columns = np.concatenate([columns, np.arange(columns.size, found.held.size)])
    return found._replace(
        peaks=found.peaks[order], held=found.held[columns],
        covariance=found.covariance[np.ix_(columns, columns)],
    )  # fmt: skip


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


def _add(
    points: Points, peaks: np.ndarray, sign: int, widest: float, limits: Limits, slot: int
) -> tuple[tuple[float, float, float], float]:
    """The further peak that lowers the sum of squares most, and by how much it does.

    It is within the limits of peak ``slot``.
    """
    lower, upper = (ends[3 * slot : 3 * slot + 3] for ends in (limits.lower, limits.upper))
    sign = 1 if lower[0] >= 0 else -1 if upper[0] <= 0 else sign
    u, root = points.u, points.root[:, np.newaxis]
    basis = np.linalg.qr(np.hstack([_profiles(u, peaks), points.background]) * root)[0]
    rest = points.v * points.root
    rest = rest - basis @ (basis.T @ rest)
    inside = np.flatnonzero((u >= lower[1]) & (u <= upper[1]))
    centres, most = u[inside], max(2 * _STRONGEST, min(_CENTRES, _ROOM // len(u)))
    if len(inside) > most:
        strongest = np.argsort(-np.abs(rest[inside]), kind="stable")[:_STRONGEST]
        even = np.linspace(0, len(inside) - 1, most - _STRONGEST).astype(int)
        centres = centres[np.union1d(strongest, even)]
    if not len(inside):
        centres = np.clip([0.0], lower[1], upper[1])
    step = float(np.median(np.diff(np.sort(u)))) or 2.0 / len(u)
    widths = np.geomspace(min(step, widest), widest, _WIDTHS)
    middle = float(np.clip(0.5, lower[2], upper[2]))
    best, chosen = -1.0, (0.0, float(centres[len(centres) // 2]), middle)
    for width in np.unique(np.clip(widths, lower[2], upper[2])):
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
    return chosen, best


def _part(peaks: np.ndarray, k: int) -> np.ndarray:
    """The peaks with one of them parted in two."""
    amplitude, centre, sigma = peaks[k]
    two = [[amplitude, centre + side * _APART * sigma, 0.7 * sigma] for side in (-1, 1)]
    return np.vstack([np.delete(peaks, k, axis=0), two])
