"""Shared parameters as each spot alone would have them."""

from __future__ import annotations

import numpy as np

from .scene import State
from .solver import Solver


def own_values(solver: Solver, state: State) -> tuple[np.ndarray, np.ndarray]:
    """Each spot's own value of the shared parameters (n, s), and the errors of these.

    By the normal equations at the state, with the other parameters of the spot eliminated.
    """
    columns, equations = solver.shared.columns, solver.equations.equations
    inside = (state.u > solver.limits.lower) & (state.u < solver.limits.upper)
    own = np.setdiff1d(np.arange(state.u.shape[1]), columns)
    free = inside[:, own]
    both = free[:, :, None] & free[:, None, :]
    block = np.where(both, equations.diagonal[:, own][:, :, own], 0.0)
    block[:, np.arange(len(own)), np.arange(len(own))] += ~free
    cross = np.where(free[:, :, None], equations.diagonal[:, own][:, :, columns], 0.0)
    response = np.linalg.pinv(block, rcond=1e-12, hermitian=True) @ cross
    matrix = equations.diagonal[:, columns][:, :, columns] - cross.transpose(0, 2, 1) @ response
    push = equations.gradient[:, columns]
    push = push - np.einsum("nps,np->ns", response, equations.gradient[:, own])
    precision = np.maximum(np.einsum("nss->ns", matrix), 1e-300)
    shift = np.einsum("nst,nt->ns", np.linalg.pinv(matrix, rcond=1e-9, hermitian=True), push)
    noise = solver.noise(state)[solver.crowd.group_of]
    return state.u[:, columns] + shift, np.sqrt(noise[:, None] / precision)
