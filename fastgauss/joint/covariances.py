"""Covariances of a joint solution, neighbours and background included.

With B the part of the normal matrix between the spots and what they have in common (the
background's terms, shared parameters), H that of the spots and E that of the common unknowns,

    Var(common) = (E - B' H**-1 B)**-1 = C,   Cov(spots, common) = -H**-1 B C,
    Var(spots) = H**-1 + H**-1 B C B' H**-1.

H**-1 B is formed by conjugate gradients. The block of H**-1 that belongs to a spot is taken from
the system of the spot, its neighbours and their neighbours, a dozen spots in all, or more around a
spot so wide that it has more neighbours; spots further away are taken as known. In a group of a
dozen spots this is exact. In larger groups the neglected terms are of a high order in overlaps.

The fit leaves pairs out of its matrix that hardly overlapped when their windows were laid. Here
all pairs whose windows meet take part: of a matrix without pairs of one spot that has become wide
no inverse of its group is sound.

A spot that the image does not determine (two spots at one place, or a spot without light) has no
errors. For the errors of other spots it is taken as known. Nor has a spot with a variance below
zero: its neighbours are so close that the neglected terms are not small. The angle of a spot whose
sigmas are equal, as on the same bound, means nothing: it is taken as known, and may be any.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

import numpy as np

from ..base import thread_pool
from ..kernels.joint import local_inverses
from ..kernels.joint.arrays import Links, Vector
from .equations import NormalEquations
from .neighbours import meet_again
from .scene import State
from .solver import Solver

_TOLERANCE = 1e-8  # of the conjugate gradients
_DAMPING = 1e-10  # makes the matrix positive where the image hardly determines a spot
_LEAST_WIDTH = 1e-3  # pixels
ANY_ANGLE = np.pi**2 / 12.0  # variance of an angle of which nothing is known
_NEAR_SPOTS, _MOST_SPOTS = 11, 60  # other spots in the system of a spot, of a wide one


def _responses(equations: NormalEquations, free: np.ndarray) -> np.ndarray:
    """H**-1 B (n, p, c): how the spots' own parameters follow the common ones."""
    crowd, border = equations.crowd, equations.equations.border
    n, p, c = border.shape
    groups = len(crowd.members.group_spots) - 1
    response = np.zeros((n, p, c))
    right, step = (Vector(np.zeros((n, p)), np.zeros((groups, c))) for _ in range(2))
    equations.system.common_free[:] = False
    for k in range(c):
        right.spots[:] = border[:, :, k]
        equations.solve(np.arange(groups), right, _TOLERANCE, step)
        response[:, :, k] = step.spots
    return response * free[:, :, np.newaxis]


def _own(
    equations: NormalEquations, near: Links, many: np.ndarray, free: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Inverse blocks (n, p, p) of each spot where the common is known; which are sound."""
    links, (_, diagonal, pairs, _) = equations.crowd.links, equations.equations
    n, p = free.shape
    out, sound = np.empty((n, p, p)), np.empty(n, np.bool_)
    most = np.clip(many, _NEAR_SPOTS, _MOST_SPOTS)
    room = int(most.max(initial=0)) + 1

    def make() -> Callable[[int, int], None]:
        scratch, members = np.empty((room * p, room * p)), np.empty(room, np.int64)
        return lambda first, last: local_inverses.invert_local(
            first, last, diagonal, pairs, links, near, free, most, scratch, members, out, sound,
        )  # fmt: skip

    thread_pool.run(make, n, 256, equations.image.threads)
    return out, sound


def _whole_equations(solver: Solver, state: State) -> tuple[NormalEquations, Links, np.ndarray]:
    """Equations with all pairs whose windows meet; which spots overlap now, and with how many."""
    image, u = copy(solver.image), state.u
    centres = u[:, 1 : 1 + image.coordinates.model.ndim]
    widths = np.maximum(image.coordinates.widths(u), _LEAST_WIDTH)
    image.crowd, near, many = meet_again(solver.crowd, centres, widths)
    return NormalEquations(image, u.shape[1], solver.terms, solver.shared), near, many


def _blocks(solver: Solver, state: State, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse blocks (n, c + p, c + p) of the c common unknowns and each spot; which are sound."""
    equations, near, many = _whole_equations(solver, state)
    crowd = equations.crowd
    every = np.arange(len(free))
    equations.form(state, every, newton=False)
    equations.damping[:] = _DAMPING
    equations.system.free[:] = free
    equations.factorise(np.arange(len(crowd.boxes)))
    border, matrix = equations.equations.border, equations.system.common
    out, sound = _own(equations, near, many, free)
    response = _responses(equations, free)
    n, p, c = border.shape
    bare = border * free[:, :, np.newaxis]
    matrix = matrix - equations.per_group(bare.transpose(0, 2, 1) @ response)
    lost = ~(np.einsum("gcc->gc", matrix) > 0).all(axis=1)
    matrix[lost] = np.eye(c)
    common = np.linalg.pinv(matrix, hermitian=True)[crowd.group_of]
    reach = response @ common
    whole = np.empty((n, c + p, c + p))
    whole[:, :c, :c] = common
    whole[:, c:, :c] = -reach
    whole[:, :c, c:] = -reach.transpose(0, 2, 1)
    whole[:, c:, c:] = out + reach @ response.transpose(0, 2, 1)
    return whole, sound & ~lost[crowd.group_of]


def covariances(
    solver: Solver, state: State, background_at: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Covariances (n, P, P) of coordinates and offset, before any scale; which are sound.

    ``background_at`` (n, t) holds the background's terms at the spots.
    """
    lower, upper, _ = solver.limits
    inside = (state.u > lower) & (state.u < upper)
    tied, terms = solver.tied, solver.terms
    free = inside & ~tied
    free[solver.image.coordinates.lost_angles(state.u), 5:] = False
    out, sound = _blocks(solver, state, free)
    n, p = inside.shape
    c = out.shape[1] - p
    out[~sound] = np.nan
    spread = np.zeros((n, p + 1, c + p))
    own = np.arange(p)
    spread[:, own, c + own] = free
    for k, column in enumerate(solver.shared.columns):
        spread[:, column, terms + k] = inside[:, column] & solver.shared.member
    spread[:, p, :terms] = background_at
    out = spread @ out @ spread.transpose(0, 2, 1)
    return out, sound & ~(np.einsum("nii->ni", out) < 0).any(axis=1)
