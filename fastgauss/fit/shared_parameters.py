"""Parameters that all spots of a call have in common, such as the width of a microscope's PSF.

Let theta be the shared parameters and phi_i the own parameters of spot i. If every spot is fitted
for a given theta, the objective is a function of theta alone, whose Gauss-Newton step is that of
the whole problem with phi eliminated (Schur complement):

    S dtheta = sum_i (g_theta - H_tp H_pp**-1 g_phi)_i,   S = sum_i (H_tt - H_tp H_pp**-1 H_pt)_i,

H and g being the Gram matrix and gradient of spot i. Spots are fitted with theta fixed, then theta
takes its step, and both are repeated: all spots are fitted some five times, each time from the last
result. The covariance of the whole problem is, with W_i = H_pp**-1 H_pt,

    Var(theta) = S**-1,  Var(phi_i) = H_pp**-1 + W_i S**-1 W_i',  Cov(phi_i, theta) = -W_i S**-1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..base.progress import report_part
from ..kernels.status import AT_BOUND, CONVERGED
from ..results.fit_result import FitResult
from .batch import Job
from .options import Options

_MOST_ROUNDS = 30
_ROWS = 4096  # spots whose matrices are in memory together


class _Normal(NamedTuple):
    """The problem in theta."""

    matrix: np.ndarray  # S
    gradient: np.ndarray
    objective: float
    freedom: int  # degrees of freedom: pixels less free parameters


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
    both = free[:, :, None] & free[:, None, :]
    block = np.where(both, gram[:, own][:, :, own], 0.0)
    diagonal = np.arange(len(own))
    block[:, diagonal, diagonal] += ~free
    inverse = np.where(both, np.linalg.inv(block), 0.0)
    cross = gram[:, own][:, :, shared]
    lever = inverse @ cross
    matrix = gram[:, shared][:, :, shared] - cross.transpose(0, 2, 1) @ lever
    push = gradient[:, shared] - np.einsum("nps,np->ns", lever, gradient[:, own])
    return inverse, lever, matrix, push


def _normal(job: Job, good: np.ndarray, shared: list[int]) -> _Normal:
    """Sum the parts of the spots in ``good``."""
    matrix = np.zeros((len(shared), len(shared)))
    gradient = np.zeros(len(shared))
    for first in range(0, len(good), _ROWS):
        _, _, block, push = _parts(job, good[first : first + _ROWS], shared)
        matrix += block.sum(axis=0)
        gradient += push.sum(axis=0)
    free = np.broadcast_to(job.options.free, job.options.spots)[good]
    freedom = int(job.pixels[good].sum() - free.sum() - len(shared))
    return _Normal(matrix, gradient, float(job.objective[good].sum()), freedom)


def _good(job: Job) -> np.ndarray:
    """Rows whose fit has converged."""
    return np.flatnonzero((job.status == CONVERGED) | (job.status == AT_BOUND))


def _held(options: Options, shared: list[int], theta: np.ndarray, guess: np.ndarray) -> Options:
    """The options of a fit with theta fixed."""
    assert options.bounds is not None
    bounds = options.bounds.copy()
    bounds[:, :, shared] = theta
    fixed = (options.bounds[0] < options.bounds[1])[:, shared].sum(axis=1)
    free = options.free - (int(fixed[0]) if isinstance(options.free, int) else fixed)
    return options._replace(bounds=bounds, guess=guess, free=free, progress=None)


def fit_shared(options: Options, shared: list[int], fill: Callable[[Job], None]) -> FitResult:
    """Fit all spots with these shared parameters; ``fill`` fits every spot of a job."""
    assert options.bounds is not None
    tell, total = options.progress, options.spots
    told = total // 2  # then half of the rest in each round: the number of rounds is not known
    job = Job(options._replace(progress=report_part(tell, total, 0, told)), keep_grams=True)
    fill(job)
    iterations = job.iterations.copy()
    good = _good(job)
    if not good.size:
        if tell is not None:
            tell(total, total)
        return job.result()
    low, high = options.bounds[0, 0, shared], options.bounds[1, 0, shared]
    theta = np.clip(np.median(job.params[good][:, shared], axis=0), low, high)
    step = np.zeros(len(shared))
    best = np.inf
    for _ in range(_MOST_ROUNDS):
        job = Job(_held(options, shared, theta, _finite(job, good)), keep_grams=True)
        fill(job)
        iterations += job.iterations
        if tell is not None:
            told += (total - told) // 2
            tell(told, total)
        good = _good(job)
        normal = _normal(job, good, shared)
        if normal.objective > best * (1.0 + 1e-12) + 1e-300:
            step = 0.5 * step
            theta = theta - step
            continue
        best = normal.objective
        active = ((theta <= low) & (normal.gradient < 0)) | (
            (theta >= high) & (normal.gradient > 0)
        )
        push = np.where(active, 0.0, normal.gradient)
        whole = np.linalg.solve(normal.matrix, push)
        scale = 1.0 if options.covariance != "residual" else best / max(normal.freedom, 1)
        if whole @ push <= options.tol**2 * scale:
            break
        step = np.clip(theta + whole, low, high) - theta
        theta = theta + step
    if tell is not None:
        tell(total, total)
    _write_covariances(job, good, shared, options.covariance == "residual")
    job.iterations[:] = iterations
    return job.result()


def _finite(job: Job, good: np.ndarray) -> np.ndarray:
    """Starting values of all spots: the last result, or the median of the others."""
    return np.where(np.isfinite(job.params), job.params, np.median(job.params[good], axis=0))


def _write_covariances(job: Job, good: np.ndarray, shared: list[int], scaled: bool) -> None:
    """Replace the covariances of a job by those of the whole problem."""
    normal = _normal(job, good, shared)
    size = job.options.model.size
    own = [k for k in range(size) if k not in shared]
    scale = normal.objective / normal.freedom if scaled and normal.freedom > 0 else 1.0
    common = np.linalg.inv(normal.matrix)
    i, j = np.tril_indices(size)
    job.packed[:] = np.nan
    job.extreme.clear()  # which are those of separate fits
    for first in range(0, len(good), _ROWS):
        rows = good[first : first + _ROWS]
        inverse, lever, _, _ = _parts(job, rows, shared)
        full = np.empty((len(rows), size, size))
        reach = lever @ common
        full[np.ix_(range(len(rows)), own, own)] = inverse + reach @ lever.transpose(0, 2, 1)
        full[np.ix_(range(len(rows)), own, shared)] = -reach
        full[np.ix_(range(len(rows)), shared, own)] = -reach.transpose(0, 2, 1)
        full[np.ix_(range(len(rows)), shared, shared)] = common
        job.packed[rows] = (scale * full)[:, i, j]
