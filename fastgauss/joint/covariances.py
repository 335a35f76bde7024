"""Covariances of a joint solution, neighbours and background included.

With B the part of the normal matrix between the spots and what they have in common (the
background's terms, shared parameters), H that of the spots and E that of the common unknowns,

    Var(common) = (E - B' H**-1 B)**-1 = C,   Cov(spots, common) = -H**-1 B C,
    Var(spots) = H**-1 + H**-1 B C B' H**-1.

H**-1 B is formed by conjugate gradients. The block of H**-1 that belongs to a spot is taken from
the spot, its neighbours and theirs, a dozen in all; spots further off count as known. In a
group of a dozen that is exact, else what is neglected is of a high order in overlaps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..base import thread_pool
from ..kernels.joint import block_cg
from .scene import State
from .solver import Joint

_TOLERANCE, _MOST = 1e-8, 300  # of the conjugate gradients
_NEAR_SPOTS = 11  # whose parameters an error knows, beside the spot's own


def _common(fit: Joint, state: State) -> tuple[np.ndarray, np.ndarray]:
    """The border (n, p, t + s) of background and shared parameters, and its matrix."""
    crowd, tied, terms = fit.crowd, fit.tied, fit.terms
    _, ground = fit.ground_equations(state.sums)
    shared = np.flatnonzero(tied & (fit.lower < fit.upper).any(axis=0))
    if not len(shared):
        return fit.border, ground
    across = fit.diagonal[:, :, shared].copy()
    first = np.repeat(np.arange(len(across)), np.diff(crowd.pair_starts))
    np.add.at(across, first, fit.blocks[:, :, shared])
    np.add.at(across, crowd.pair_others, fit.blocks[:, shared].transpose(0, 2, 1))
    size = terms + len(shared)
    matrix = np.zeros((len(ground), size, size))
    matrix[:, :terms, :terms] = ground
    with_ground = fit.per_group(fit.border[:, shared])
    matrix[:, terms:, :terms] = with_ground
    matrix[:, :terms, terms:] = with_ground.transpose(0, 2, 1)
    matrix[:, terms:, terms:] = fit.per_group(across[:, shared])
    return np.concatenate([fit.border, across], axis=2), matrix


def _lever(fit: Joint, column: np.ndarray, free: np.ndarray) -> np.ndarray:
    """H**-1 b (n, p): how the spots' own coordinates follow a common one."""
    crowd = fit.crowd
    n, p = column.shape
    groups = len(crowd.lows) - 1
    none, empty = np.zeros((groups, 0, 0)), np.zeros((groups, 0))
    step, r, z, d, y = np.empty((5, n, p))
    factor, sums = np.empty((n, p, p)), np.empty((groups, p))

    def task(first: int, last: int) -> None:
        block_cg.solve(
            crowd.lows, np.arange(first, last), fit.diagonal, fit.blocks, crowd.link_starts,
            crowd.link_others, crowd.link_places, np.zeros((n, p, 0)), none, np.zeros(n), free,
            np.zeros(p, np.bool_), column, empty, _TOLERANCE, _MOST, factor, none, sums,
            step, empty, r, empty, z, empty, d, empty, y, empty,
        )  # fmt: skip

    thread_pool.run(lambda: task, groups, 64, fit.threads)
    return step


def _own(fit: Joint, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse blocks (n, p, p) of each spot where the common is known; which are sound."""
    crowd = fit.crowd
    n, p = free.shape
    out, sound = np.empty((n, p, p)), np.empty(n, np.bool_)

    def make() -> Callable[[int, int], None]:
        whole = (_NEAR_SPOTS + 1) * p
        scratch, members = np.empty((whole, whole)), np.empty(_NEAR_SPOTS + 1, np.int64)

        def invert(first: int, last: int) -> None:
            block_cg.invert_local(
                first, last, fit.diagonal, fit.blocks, crowd.link_starts, crowd.link_others,
                crowd.link_places, free, _NEAR_SPOTS, scratch, members, out, sound,
            )  # fmt: skip

        return invert

    thread_pool.run(make, n, 256, fit.threads)
    return out, sound


def _blocks(fit: Joint, state: State, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse blocks (n, c + p, c + p) of the c common unknowns and each spot; which are sound."""
    border, matrix = _common(fit, state)
    out, sound = _own(fit, free)
    n, p, c = border.shape
    border = border * free[:, :, np.newaxis]
    columns = [_lever(fit, border[:, :, k].copy(), free) for k in range(c)]
    lever = np.stack(columns, axis=2) if c else np.zeros((n, p, 0))
    matrix = matrix - fit.per_group(border.transpose(0, 2, 1) @ lever)
    diagonal = np.einsum("gcc->gc", matrix)
    lost = ~(diagonal > 0).all(axis=1)
    matrix[lost] = np.eye(c)
    common = np.linalg.pinv(matrix, hermitian=True)[fit.crowd.group_of]
    reach = lever @ common
    whole = np.empty((n, c + p, c + p))
    whole[:, :c, :c] = common
    whole[:, c:, :c] = -reach
    whole[:, :c, c:] = -reach.transpose(0, 2, 1)
    whole[:, c:, c:] = out + reach @ lever.transpose(0, 2, 1)
    return whole, sound & ~lost[fit.crowd.group_of]


def covariances(
    fit: Joint, state: State, background_at: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Covariances (n, P, P) of coordinates and offset, before any scale; which are sound.

    ``background_at`` (n, t) holds the background's terms at the spots.
    """
    inside = (state.u > fit.lower) & (state.u < fit.upper)
    out, sound = _blocks(fit, state, inside & ~fit.tied)
    n, p = inside.shape
    c = out.shape[1] - p
    shared = np.flatnonzero(fit.tied & (fit.lower < fit.upper).any(axis=0))
    out[~sound] = np.nan
    spread = np.zeros((n, p + 1, c + p))
    own = np.arange(p)
    spread[:, own, c + own] = inside & ~fit.tied
    for k, column in enumerate(shared):
        spread[:, column, fit.terms + k] = inside[:, column]
    spread[:, p, : fit.terms] = background_at
    return spread @ out @ spread.transpose(0, 2, 1), sound
