"""The last few spots of a large group, fitted while the others stand still.

In a group of thousands a few spots, too close to tell apart, need many rounds. When the others
are there, their light and the background become known, and the few with those next to them
form small groups of their own; then all move again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..results.pixel_owners import claim
from .neighbours import gather
from .scene import Progress, Scene, State
from .solver import Joint

_CYCLES = 6

Places = Callable[[np.ndarray, np.ndarray], np.ndarray]
Widths = Callable[[np.ndarray], np.ndarray]


def fit_all(
    fit: Joint, u: np.ndarray, ground: np.ndarray, tol: float, most: int, staged: bool,
    at: Places, widths: Widths,
) -> Progress:  # fmt: skip
    """The solution of all, by turns with that of the few that lag behind.

    ``at`` and ``widths`` give places and sigmas along z, y, x of coordinates and rows.
    """
    leave = not fit.tied.any()
    progress = fit.fit(u, ground, tol, most, staged, leave)
    for _ in range(_CYCLES):
        behind = np.flatnonzero(_behind(fit, progress))
        if not leave or not len(behind):
            break
        few = fit.with_neighbours(behind)
        part = _part(fit, progress.state, few, at, widths)
        order, small = part
        result = small.fit(
            progress.state.u[few[order]], np.zeros((len(small.crowd.lows) - 1, 0)), tol,
            most, False,
        )  # fmt: skip
        moved = progress.state.u.copy()
        moved[few[order]] = result.state.u
        fit.damping[few[order]] = small.damping
        rounds = progress.rounds.copy()
        rounds[few[order]] += result.rounds
        last = fit.fit(moved, progress.state.ground, tol, most, False, leave)
        progress = last._replace(rounds=rounds + last.rounds)
        lost = few[order][~result.settled]
        if not len(np.setdiff1d(np.flatnonzero(_behind(fit, progress)), lost)):
            break
    if leave and _behind(fit, progress).any():
        fit.held = _behind(fit, progress)  # these do not come to rest: the others shall
        rounds = progress.rounds
        progress = fit.fit(progress.state.u, progress.state.ground, tol, most, False)
        progress.settled[fit.held] = False
        progress.rounds[:] += rounds
    return progress


def _behind(fit: Joint, progress: Progress) -> np.ndarray:
    """Spots of large groups that are not there yet."""
    size = np.diff(fit.crowd.lows)
    return progress.behind & (size >= fit.large)[fit.crowd.group_of]


def _part(
    fit: Joint, state: State, few: np.ndarray, at: Places, widths: Widths
) -> tuple[np.ndarray, Joint]:
    """The problem of these spots alone, with everything else known, and their order in it."""
    scene, crowd = fit.scene, fit.crowd
    dim = state.u.copy()
    dim[few, 0] = 0.0
    fit.paint(dim, np.arange(len(dim)))
    ground = fit.model + fit.background(state.ground)
    exists = scene.owner >= 0
    windows = crowd.windows[few]
    places, sigmas = at(state.u[few], few), widths(state.u[few])
    owner = claim(scene.extent, exists, places, windows, fit.threads)
    order, near = gather(places, sigmas, windows, None)
    rank = np.full(len(few) + 1, -1, np.int32)
    rank[order] = np.arange(len(few))
    part = Scene(
        scene.extent, scene.data, scene.second, ground, rank[owner], near.windows, scene.counts,
        scene.integrate,
    )  # fmt: skip
    limits = fit.lower[few][order], fit.upper[few][order]
    small = Joint(
        part, near, fit.coordinates, 0, limits, fit.ground_limits, fit.tied, fit.absolute,
        fit.threads,
    )  # fmt: skip
    small.damping[:] = fit.damping[few][order]
    return order, small
