"""Parameters, errors and statuses of a joint solution, spot by spot."""

from __future__ import annotations

import numpy as np

from ..fit.options import Options
from ..kernels.joint.image import LOSS, PIXELS
from ..kernels.status import (
    AT_BOUND,
    CONVERGED,
    MAX_ITERATIONS,
    NOT_FINITE,
    NOT_SHARED,
    SINGULAR,
    TOO_FEW_PIXELS,
)
from ..results.rows import Rows
from .covariances import ANY_ANGLE, covariances
from .scene import State
from .solver import Limits, Solver
from .stopping import Progress

_FLAT = 1e-13  # amplitude relative to the background, at which a spot is rounding
_HAIR = 1e-9  # of the parameter's unit: one that comes so near to a bound is on it
_NO_SPOT = 1e-4  # amplitude in standard errors at which there is nothing that has a shape


def build_rows(
    solver: Solver, progress: Progress, chosen: Options, offsets: np.ndarray,
    background_at: np.ndarray,
) -> Rows:  # fmt: skip
    """The rows of a result, sorted as the fit; ``background_at`` (n, t) are its terms at spots."""
    state, image = _attached(progress.state, solver.limits), solver.image
    n, every = len(state.u), np.arange(len(state.u))
    group_of = solver.crowd.group_of
    matrices, sound = covariances(solver, state, background_at)
    if chosen.covariance == "residual":
        freedom = solver.freedom(state.u)
        with np.errstate(divide="ignore", invalid="ignore"):
            noise = solver.per_group(state.sums[:, LOSS]) / np.where(freedom > 0, freedom, np.nan)
        matrices *= noise[group_of, np.newaxis, np.newaxis]
    for k in np.flatnonzero(image.coordinates.lost_angles(state.u)):
        if solver.limits.lower[k, 5] < state.u[k, 5] < solver.limits.upper[k, 5]:
            matrices[k, 5, 5] = ANY_ANGLE
    reported, matrices = image.coordinates.report(np.column_stack([state.u, offsets]), matrices)
    around = image.measure(image.fitted, state.background, every, own=False)
    lower, upper, _ = solver.limits
    own = lower < upper
    own[np.ix_(solver.shared.member, solver.shared.columns)] = False
    held = _held(solver, state)
    status = _statuses(solver, progress, held)
    with np.errstate(invalid="ignore"):
        error = np.sqrt(matrices[:, 0, 0])
        height, level = np.abs(reported[:, 0]), np.abs(reported[:, -1])
        sound &= (height > _NO_SPOT * error) & (height > _FLAT * level)
    status[~sound & (lower < upper).any(axis=1)] = SINGULAR
    lost = ~np.isfinite(solver.per_group(state.sums[:, LOSS]))[group_of]
    status[lost] = NOT_FINITE
    few = around[:, PIXELS] < own.sum(axis=1) + 1
    status[few] = TOO_FEW_PIXELS
    reported[few | lost] = np.nan
    matrices[~sound | few | lost] = np.nan
    held[few | lost] = False
    i, j = np.tril_indices(chosen.model.size)
    pixels = around[:, PIXELS].astype(np.int32)
    return Rows(
        reported, matrices[:, i, j], around[:, LOSS], status.astype(np.int32),
        np.zeros(n, np.int32), pixels, pixels, at_bound=held,
    )  # fmt: skip


def _attached(state: State, limits: Limits) -> State:
    """Coordinates that are a hair away from a bound are put on it."""
    u, unit = state.u, np.ones_like(state.u)
    unit[:, 0] = np.abs(u[:, 0])
    for bound in (limits.lower, limits.upper):
        with np.errstate(invalid="ignore"):
            near = np.abs(u - bound) <= _HAIR * np.maximum(np.abs(bound), unit)
        u = np.where(near & np.isfinite(bound) & (limits.lower < limits.upper), bound, u)
    return state._replace(u=u)


def _held(solver: Solver, state: State) -> np.ndarray:
    """Which parameters are on a bound, (n, P); what is fixed is not."""
    lower, upper, (low, high) = solver.limits
    at_lower, at_upper = (
        ends & (lower < upper) for ends in (state.u <= lower, state.u >= upper)
    )  # fmt: skip
    held = np.zeros((len(state.u), solver.image.coordinates.model.size), bool)
    held[:, :-1] = solver.image.coordinates.report_held(at_lower, at_upper)
    if solver.terms:
        level = state.background[:, 0]
        held[:, -1] = ((level <= low) | (level >= high))[solver.crowd.group_of]
    return held


def _statuses(solver: Solver, progress: Progress, held: np.ndarray) -> np.ndarray:
    """How the fit of each spot ended, where its parameters are determined."""
    edge = held.any(axis=1)
    status = np.where(progress.settled, np.where(edge, AT_BOUND, CONVERGED), MAX_ITERATIONS)
    if len(solver.shared.columns):
        status[~solver.shared.member & progress.settled] = NOT_SHARED
    return status
