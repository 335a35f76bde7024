"""Parameters that all spots of a call have in common, such as the width of a microscope's PSF.

Let theta be the shared parameters and phi_i the own parameters of spot i. If every spot is fitted
for a given theta, the objective is a function of theta alone, whose Gauss-Newton step is that of
the whole problem with phi eliminated (Schur complement):

    S dtheta = sum_i (g_theta - H_tp H_pp**-1 g_phi)_i,   S = sum_i (H_tt - H_tp H_pp**-1 H_pt)_i,

H and g being the Gram matrix and gradient of spot i. Spots are fitted with theta fixed, then theta
takes its step, and both are repeated: all spots are fitted some five times, each time from where
the step leads them, phi_i - W_i dtheta with W_i = H_pp**-1 H_pt. The covariance of the whole
problem is

    Var(theta) = S**-1,  Var(phi_i) = H_pp**-1 + W_i S**-1 W_i',  Cov(phi_i, theta) = -W_i S**-1.

The sums are over *members*: theta is at the minimum of the sum of their objectives, and no other
row says that it has converged. A row is no member whose fit at a theta does not converge, and none
whose own best theta is far from those of the others (`outliers`): a hot pixel is no spot, and
would draw the width of all others to its own. A row that has left does not come back, so that the
sum that falls is always the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..base.progress import Progress, report_part
from ..kernels.status import AT_BOUND, CONVERGED, MAX_ITERATIONS, NOT_SHARED, SINGULAR, TOO_NARROW
from ..results.fit_result import FitResult
from .batch import Job
from .options import Options

_MOST_ROUNDS = 30
_ROWS = 4096  # spots whose matrices are in memory together
_HALVINGS, _MOST_LOST = 8, 0.7  # of a step; part of the members that must converge after it
_FAR = 5.0  # spreads of the others, and standard errors, beyond which a value is an outlier
_KNOWN = 0.8  # error in units of the floor, below which a value is known well
_RIDGE = 1e-13  # of matrices that are scaled to a diagonal of ones


def outliers(
    values: np.ndarray, errors: np.ndarray, known: np.ndarray, floor: np.ndarray,
    excess: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Rows (n,) whose own values (n, s) are far from those of the others.

    Far is five times the spread of the others and ``floor`` (s,) at least, and five standard
    errors; ``excess`` (n,), the square of that in a better measure, may tell it instead. The
    others are the ``known`` rows; they are weighed by their precision, but no row more than
    the usual among those that are known well: a few rows of any weight decide nothing.
    """
    out = np.zeros(len(values), bool)
    weights = _weights(values, errors, known, floor)
    for k, least in enumerate(floor.tolist()):
        rows = np.flatnonzero(weights[:, k] > 0)
        if not len(rows):
            continue
        value, weight = values[rows, k], weights[rows, k]
        centre = _weighted_median(value, weight)
        spread = 1.4826 * _weighted_median(np.abs(value - centre), weight)
        with np.errstate(invalid="ignore"):
            away = np.abs(values[:, k] - centre)
            sure = away > _FAR * errors[:, k] if excess is None else excess > _FAR**2
            out |= (away > max(_FAR * spread, least)) & sure
    return out


def centres(
    values: np.ndarray, errors: np.ndarray, known: np.ndarray, floor: np.ndarray
) -> np.ndarray:
    """The usual of the rows' own values (n, s), as `outliers` takes it."""
    weights = _weights(values, errors, known, floor)
    return np.array([
        _weighted_median(values[w > 0, k], w[w > 0]) for k, w in enumerate(weights.T)
    ])  # fmt: skip


def _weights(
    values: np.ndarray, errors: np.ndarray, known: np.ndarray, floor: np.ndarray
) -> np.ndarray:
    """What rows (n, s) weigh among the others: their precision, as far as that is usual."""
    usable = known[:, None] & np.isfinite(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(errors > 0, errors**-2.0, 0.0)
        well = usable & (errors < _KNOWN * floor) & (precision > 0)
    weights = np.where(usable, 1.0, 0.0)
    for k in range(values.shape[1]):
        if well[:, k].any():
            most = np.median(precision[well[:, k], k])
            weights[:, k] = np.where(usable[:, k], np.minimum(precision[:, k], most), 0.0)
    return weights


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(total, 0.5 * total[-1])]])


class _Normal(NamedTuple):
    """The problem in theta."""

    matrix: np.ndarray  # S
    gradient: np.ndarray
    freedom: int  # degrees of freedom: pixels less free parameters


def _inverse(block: np.ndarray) -> np.ndarray:
    """Inverses of positive matrices (n, p, p); of singular ones, what rounding leaves of it."""
    size = np.sqrt(np.maximum(np.einsum("npp->np", block), 1e-300))
    scale = size[:, :, None] * size[:, None, :]
    return np.linalg.inv(block / scale + _RIDGE * np.eye(block.shape[1])) / scale


def _parts(
    job: Job, rows: np.ndarray, shared: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """H_pp**-1 (0 for what is held), W, H_tt - H_tp W, and the gradient, of some spots."""
    size = job.options.model.size
    own = [k for k in range(size) if k not in shared]
    gram = np.empty((len(rows), size, size))
    i, j = np.tril_indices(size)
    gram[:, i, j] = gram[:, j, i] = job.grams[rows]
    gradient = job.gradient[rows]
    assert job.options.bounds is not None
    bounds = np.broadcast_to(job.options.bounds, (2, job.options.spots, size))[:, rows]
    params = job.params[rows]
    free = ((params != bounds[0]) & (params != bounds[1]))[:, own]
    free &= np.einsum("npp->np", gram)[:, own] > 0
    both = free[:, :, None] & free[:, None, :]
    block = np.where(both, gram[:, own][:, :, own], 0.0)
    diagonal = np.arange(len(own))
    block[:, diagonal, diagonal] += ~free
    inverse = np.where(both, _inverse(block), 0.0)
    cross = gram[:, own][:, :, shared]
    response = inverse @ cross
    matrix = gram[:, shared][:, :, shared] - cross.transpose(0, 2, 1) @ response
    push = gradient[:, shared] - np.einsum("nps,np->ns", response, gradient[:, own])
    return inverse, response, matrix, push


def _normal(job: Job, members: np.ndarray, shared: list[int]) -> _Normal:
    """Sum the parts of the spots in ``members``."""
    matrix = np.zeros((len(shared), len(shared)))
    gradient = np.zeros(len(shared))
    for first in range(0, len(members), _ROWS):
        _, _, block, push = _parts(job, members[first : first + _ROWS], shared)
        matrix += block.sum(axis=0)
        gradient += push.sum(axis=0)
    free = np.broadcast_to(job.options.free, job.options.spots)[members]
    freedom = int(job.pixels[members].sum() - free.sum() - len(shared))
    return _Normal(matrix, gradient, freedom)


def _converged(job: Job) -> np.ndarray:
    """Rows (n,) whose fit has converged, narrow ones among them."""
    return np.isin(job.status, (CONVERGED, AT_BOUND, TOO_NARROW))


def _held(options: Options, shared: list[int], theta: np.ndarray, guess: np.ndarray) -> Options:
    """The options of a fit with theta fixed."""
    assert options.bounds is not None
    bounds = options.bounds.copy()
    bounds[:, :, shared] = theta
    fixed = (options.bounds[0] < options.bounds[1])[:, shared].sum(axis=1)
    free = options.free - (int(fixed[0]) if isinstance(options.free, int) else fixed)
    guess = np.array(guess)
    guess[:, shared] = theta
    return options._replace(bounds=bounds, guess=guess, free=free, progress=None)


class _Fit:
    """One call: the fits of all spots for a theta, and the sum over the members."""

    def __init__(self, options: Options, shared: list[int], fill: Callable[[Job], None]) -> None:
        self.options, self.shared, self.fill = options, shared, fill
        assert options.bounds is not None
        self.low, self.high = options.bounds[0, 0, shared], options.bounds[1, 0, shared]
        self.iterations = np.zeros(options.spots, np.int64)
        self.out = np.zeros(options.spots, bool)

    def alone(self, progress: Progress | None) -> Job:
        """Every spot fitted alone; its own theta is a start and tells outliers."""
        return self._filled(self.options._replace(progress=progress))

    def at(self, theta: np.ndarray, guess: np.ndarray) -> Job:
        """Every spot fitted for a theta."""
        return self._filled(_held(self.options, self.shared, theta, guess))

    def _filled(self, options: Options) -> Job:
        job = Job(options, keep_grams=True)
        self.fill(job)
        self.iterations = np.maximum(self.iterations, job.iterations)
        return job

    def values(self, alone: Job) -> tuple[np.ndarray, np.ndarray]:
        """Each spot's own theta (n, s), and its errors."""
        shared, scale = self.shared, self._noise(alone)
        values, errors = alone.params[:, shared].copy(), np.empty((len(self.out), len(shared)))
        for first in range(0, len(values), _ROWS):
            rows = np.arange(first, min(first + _ROWS, len(values)))
            with np.errstate(divide="ignore", invalid="ignore"):
                matrix = np.einsum("nss->ns", _parts(alone, rows, shared)[2])
                errors[rows] = np.sqrt(scale[rows, None] / np.maximum(matrix, 0.0))
        return values, errors

    def excess(self, alone: Job, job: Job) -> np.ndarray:
        """By how much each spot is worse at the common theta than at its own."""
        with np.errstate(divide="ignore", invalid="ignore"):
            excess = (job.objective - alone.objective) / self._noise(alone)
        return np.where(np.isnan(excess), np.inf, excess)

    def _noise(self, job: Job) -> np.ndarray:
        """Each spot's objective for a degree of freedom, as far as its scale is free."""
        if self.options.absolute:
            return np.ones(len(job.objective))
        return job.objective / np.maximum(job.pixels - self.options.free, 1)

    def floor(self, theta: np.ndarray) -> np.ndarray:
        """The least deviations that count: a quarter of a size, of a pixel, of a radian."""
        model = self.options.model
        lengths = [1 <= k <= model.ndim or model.names[k] == "theta" for k in self.shared]
        return 0.25 * np.where(lengths, 1.0, np.abs(theta))

    def equations(
        self, job: Job, rows: np.ndarray, theta: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Gradient and matrix for theta, without what a bound holds, and the objective's scale."""
        normal = _normal(job, rows, self.shared)
        push, matrix = normal.gradient, normal.matrix
        held = ((theta <= self.low) & (push < 0)) | ((theta >= self.high) & (push > 0))
        matrix = np.where(held[:, None] | held, 0.0, matrix) + np.diag(held.astype(float))
        scale = 1.0
        if self.options.covariance == "residual":
            scale = float(job.objective[rows].sum()) / max(normal.freedom, 1)
        return np.where(held, 0.0, push), matrix, scale

    def step(
        self, job: Job, rows: np.ndarray, theta: np.ndarray, step: np.ndarray
    ) -> tuple[np.ndarray, Job, np.ndarray] | None:
        """The next theta, the fits there and the members; None if nothing is better."""
        for _ in range(_HALVINGS):
            trial = self.at(theta + step, self._follow(job, rows, step))
            still = rows[_converged(trial)[rows]]
            before, after = (float(each.objective[still].sum()) for each in (job, trial))
            if len(still) > _MOST_LOST * len(rows) and after <= before * (1 + 1e-12) + 1e-300:
                members = np.zeros(len(self.out), bool)
                members[still] = True
                return theta + step, trial, members
            step = 0.5 * step
        return None

    def _follow(self, job: Job, rows: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Starting values of all spots where theta takes a step: members follow it."""
        guess, axes = _finite(job, _converged(job)), self.options.model.ndim
        own = [k for k in range(guess.shape[1]) if k not in self.shared]
        for first in range(0, len(rows), _ROWS):
            some = rows[first : first + _ROWS]
            moved = guess[some][:, own] - _parts(job, some, self.shared)[1] @ step
            same = moved * guess[some][:, own] > 0  # a width or a height keeps its sign
            same |= (np.array(own) >= 1) & (np.array(own) <= axes)
            guess[some[:, None], own] = np.where(same, moved, guess[some][:, own])
        return guess

    def result(self, job: Job, rows: np.ndarray, theta: np.ndarray, done: bool) -> FitResult:
        """The fits at the last theta; rows that are no members, or all, have not converged."""
        members = np.zeros(len(self.out), bool)
        members[rows] = done
        good = _converged(job)
        at_edge = ((theta <= self.low) | (theta >= self.high)) & (self.low < self.high)
        if at_edge.any():
            job.status[good & members] = AT_BOUND
        sound = _write_covariances(job, rows, self.shared, self.options.covariance == "residual")
        if not sound:
            job.status[good] = SINGULAR
        job.status[good & ~members] = MAX_ITERATIONS
        job.status[good & self.out] = NOT_SHARED
        job.iterations[:] = self.iterations  # of the longest fit
        return job.result()


def fit_shared(options: Options, shared: list[int], fill: Callable[[Job], None]) -> FitResult:
    """Fit all spots with these shared parameters; ``fill`` fits every spot of a job."""
    fit = _Fit(options, shared, fill)
    tell, total = options.progress, options.spots
    told = total // 2  # then half of the rest in each round: the number of rounds is not known
    alone = fit.alone(report_part(tell, total, 0, told))
    finite = np.isfinite(alone.params).all(axis=1) & np.isfinite(alone.objective)
    if not finite.any():
        if tell is not None:
            tell(total, total)
        return alone.result()
    known = _converged(alone) & finite
    known = known if known.any() else finite
    theta = np.clip(np.median(alone.params[known][:, shared], axis=0), fit.low, fit.high)
    values, errors = fit.values(alone)
    theta = np.clip(centres(values, errors, known, fit.floor(theta)), fit.low, fit.high)
    job, done = fit.at(theta, _finite(alone, known)), False
    members = _converged(job)
    out = outliers(values, errors, known, fit.floor(theta), fit.excess(alone, job)) & members
    if out.sum() < members.sum():
        fit.out, members = out, members & ~out
    for _ in range(_MOST_ROUNDS if members.any() else 0):
        if tell is not None:
            told += (total - told) // 2
            tell(told, total)
        rows = np.flatnonzero(members)
        push, matrix, scale = fit.equations(job, rows, theta)
        whole = _inverse(matrix[None])[0] @ push
        if whole @ push <= options.tol**2 * scale:
            done = True
            break
        taken = fit.step(job, rows, theta, np.clip(theta + whole, fit.low, fit.high) - theta)
        if taken is None:
            break
        theta, job, members = taken
    if tell is not None:
        tell(total, total)
    return fit.result(job, np.flatnonzero(members), theta, done)


def _finite(job: Job, known: np.ndarray) -> np.ndarray:
    """Starting values of all spots: the last result, or the median of the others."""
    return np.where(np.isfinite(job.params), job.params, np.median(job.params[known], axis=0))


def _write_covariances(job: Job, rows: np.ndarray, shared: list[int], scaled: bool) -> bool:
    """Write the covariances of the whole problem to a job; whether theta is determined."""
    normal = _normal(job, rows, shared)
    size = job.options.model.size
    own = [k for k in range(size) if k not in shared]
    objective = float(job.objective[rows].sum())
    scale = objective / normal.freedom if scaled and normal.freedom > 0 else 1.0
    sound = bool((np.linalg.eigvalsh(_unit(normal.matrix)) > _RIDGE).all())
    common = _inverse(normal.matrix[None])[0]
    i, j = np.tril_indices(size)
    job.packed[:] = np.nan
    job.extreme.clear()  # which are those of separate fits
    for first in range(0, len(rows) if sound else 0, _ROWS):
        some = rows[first : first + _ROWS]
        inverse, response, _, _ = _parts(job, some, shared)
        full = np.empty((len(some), size, size))
        reach = response @ common
        full[np.ix_(range(len(some)), own, own)] = inverse + reach @ response.transpose(0, 2, 1)
        full[np.ix_(range(len(some)), own, shared)] = -reach
        full[np.ix_(range(len(some)), shared, own)] = -reach.transpose(0, 2, 1)
        full[np.ix_(range(len(some)), shared, shared)] = common
        job.packed[some] = (scale * full)[:, i, j]
    return sound


def _unit(matrix: np.ndarray) -> np.ndarray:
    """A positive matrix scaled to a diagonal of ones."""
    size = np.sqrt(np.maximum(np.diagonal(matrix), 1e-300))
    return matrix / np.outer(size, size)
