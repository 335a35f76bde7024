"""The stopping rule of a joint fit: how long and how exact a step is, and how far the minimum."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..kernels.joint.arrays import Vector
from .equations import NormalEquations, clusters_of
from .neighbours import Crowd
from .scene import State

_LAST, _LATE = 1 / 2, 100  # part of all rounds in which spots are held, and so many at most
_PAUSE = 2  # rounds between
_AWAY, _FEW = 100.0, 0.5  # tolerances from which a cluster is far; part of the spots held at most
_LEADS = 0.1  # of a group's longest step, from which clusters are held before the others
_LEAST = 4  # rounds that are left to the others
_SETTLED_DAMPING = 1e-5  # above it a step may be much shorter than the way that is left
_QUIET = 6  # rounds of short steps in turn, from which a cluster is at rest beside its errors
_COMES, _MOVES = 0.1, 0.3  # of the step before, for what comes to rest; of a cluster's longest step
_NEGLIGIBLE = 1e-10  # step, relative to the spot, at which rounding takes over
_EPSILON = 1e-14  # of the image
_UNIT = 1e-15  # of a number that is rounded
_PART, _PRECISIONS = 0.3, (1e-3, 1e-2)  # relative precision of steps, by the tolerance
_ROUGH = 2e-2  # that of the first steps


class Progress(NamedTuple):
    """The state of a fit after its last round."""

    state: State
    settled: np.ndarray  # (n,) spots whose step is within the tolerance
    rounds: int
    took: np.ndarray  # (n,) rounds that each took part in


class Lengths(NamedTuple):
    """How long a step is, in standard errors."""

    clusters: np.ndarray  # (k,)
    common: np.ndarray  # (g,) of what each group has in common
    spots: np.ndarray  # (n,) each beside all others, for comparison within a cluster


class Rest:
    """How near to rest the clusters of a fit and what groups have in common are, round by round.

    Two measures. *Near*: the distance that is left is below the tolerance. *Quiet*: the steps of
    six rounds in turn, one of them hardly damped, were below the tolerance's root, so that the
    objective expects less than the tolerance of each, in units of the noise. A spot narrower than
    its pixel, or two at one place, creep for hundreds of rounds through a valley that is flat
    beside the noise; a group is done where the others are near and these are quiet.
    """

    def __init__(self, clusters: int, groups: int, tol: float) -> None:
        self.tol = tol
        self.steps = np.full((3, clusters), np.inf)  # lengths in the last rounds, the latest first
        self._common_steps = np.full((3, groups), np.inf)
        self.near, self.common_near = np.zeros(clusters, bool), np.zeros(groups, bool)
        self._quiet, self._common_quiet = np.zeros(clusters, np.int32), np.zeros(groups, np.int32)
        self._calm = np.zeros(clusters, bool)  # in one of these rounds at least

    @property
    def quiet(self) -> np.ndarray:
        """Clusters (k,) that are quiet."""
        return (self._quiet >= _QUIET) & self._calm

    @property
    def common_quiet(self) -> np.ndarray:
        """Groups (g,) in which what spots have in common is quiet."""
        return self._common_quiet >= _QUIET

    def follow(
        self, lengths: Lengths, damping: np.ndarray, all_held: np.ndarray,
        active: np.ndarray, groups: np.ndarray,
    ) -> None:  # fmt: skip
        """After a round of active groups (g,), with the ``groups`` of clusters (k,)."""
        self.steps = np.stack([lengths.clusters, *self.steps[:2]])
        self._common_steps = np.stack([lengths.common, *self._common_steps[:2]])
        rest = distance_left(self.steps[0], self.steps[1:], self.tol)
        common = distance_left(self._common_steps[0], self._common_steps[1:], self.tol)
        mine, calm = active[groups], (damping <= _SETTLED_DAMPING) | all_held
        self.near = np.where(mine, (rest <= self.tol) & calm, self.near)
        self.common_near = np.where(active, common <= self.tol, self.common_near)
        root = np.sqrt(self.tol)
        short, common_short = lengths.clusters <= root, lengths.common <= root
        self._calm = np.where(mine, short & (self._calm | calm), self._calm)
        self._quiet = np.where(mine, np.where(short, self._quiet + 1, 0), self._quiet)
        self._common_quiet = np.where(
            active, np.where(common_short, self._common_quiet + 1, 0), self._common_quiet
        )


def distance_left(longest: np.ndarray, before: np.ndarray, tol: float) -> np.ndarray:
    """The distance left after the step of each cluster or group, from that and the last two."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = np.stack([longest / before[0], before[0] / before[1]])
    rate = np.where(np.isnan(rates), 0.0, rates).max(axis=0)
    rate = np.maximum(rate, min(1.0, 1e-6 / tol))
    falls = rate < 0.999
    rate = np.where(falls, rate, 0.0)
    return np.where(falls, np.minimum(longest, longest * rate / (1 - rate)), longest)


def precision(tol: float, early: bool) -> float:
    """The relative precision that a step needs in a fit to this tolerance.

    A step that is far from the last one, or of a fit that need not be exact, need not be exact
    (inexact Newton methods: Eisenstat and Walker 1996, SIAM J. Sci. Comput. 17, 16). What a spot
    that moves far leaves of its step inexact moves its neighbours, so at the end steps are exact.
    """
    return _ROUGH if early else float(np.clip(_PART * tol, *_PRECISIONS))


def step_lengths(
    equations: NormalEquations, state: State, step: Vector, groups: np.ndarray, noise: np.ndarray
) -> Lengths:
    """The lengths of a step in standard errors.

    ``groups`` (g,) is a mask; ``noise`` (g,) is the square of the noise's scale.
    """
    crowd, diagonal = equations.crowd, equations.equations.diagonal
    square = equations.products(step.spots, diagonal, clusters_of(crowd, groups))[:, 0]
    light = equations.light(state)
    negligible = square <= _NEGLIGIBLE**2 * light
    light = np.bincount(crowd.cluster_groups, light, len(groups))
    matrix, x = equations.system.common, step.common
    at = equations.common_at(state)
    with np.errstate(divide="ignore", invalid="ignore"):
        length = np.sqrt(square / noise[crowd.cluster_groups])
        square = np.einsum("gt,gtu,gu->g", x, matrix, x)
        least = _NEGLIGIBLE**2 * (light + np.einsum("gt,gtu,gu->g", at, matrix, at))
        common = np.sqrt(np.where(square <= least, 0.0, square / noise))
    length = np.where(negligible | np.isnan(length), 0.0, length)
    x = step.spots
    own = np.einsum("np,npq,nq->n", x, equations.equations.diagonal, x)
    return Lengths(length, np.where(np.isnan(common), 0.0, common), np.sqrt(np.abs(own)))


def rounding(light: np.ndarray, objective: np.ndarray, level: np.ndarray) -> np.ndarray:
    """The change by rounding of objectives of images whose weighted squares are ``light``.

    ``level`` is the weighted square of the background in a pixel: residuals beside a high
    background are rounded as the background is, each pixel by itself.
    """
    return (
        1e-13 * objective
        + _EPSILON * np.sqrt(light * objective)
        + _EPSILON**2 * light
        + _UNIT * np.sqrt(level * objective)
    )


def spots_to_hold(
    crowd: Crowd, steps: np.ndarray, own: np.ndarray, held: np.ndarray, active: np.ndarray,
    tol: float, left: int,
) -> np.ndarray:  # fmt: skip
    """The spots (n,) of active groups (g,) to hold with ``left`` rounds to go.

    ``steps`` (t, k) are the lengths of the last steps of clusters in standard errors, the latest
    first, and ``own`` (n,) those of the last step of each spot beside all others. Two spots in a
    flat valley move all their neighbours at every step, and the neighbours come to rest when the
    two are held. Therefore clusters are held that are far, do not come to rest by themselves,
    and move more than the clusters that they overlap with; the last time all that are far, if
    these are at most half of a group. Of such a cluster those spots are held that move most, the
    farthest first.
    """
    length, cluster_of = steps[0], crowd.cluster_of
    far = (length > _AWAY * tol) & (length > _COMES * steps[1]) & active[crowd.cluster_groups]
    ends = np.repeat(np.arange(len(own)), np.diff(crowd.pairs.starts)), crowd.pairs.others
    i, j = cluster_of[ends[0]], cluster_of[ends[1]]
    longest = np.maximum.reduceat(length, crowd.members.group_clusters[:-1])
    leads = length >= _LEADS * longest[crowd.cluster_groups]
    leads[np.where(length[i] < length[j], i, j)[length[i] != length[j]]] = False
    most = np.maximum.reduceat(own, crowd.members.cluster_spots[:-1])[cluster_of]
    rows = np.flatnonzero(far[cluster_of] & (own >= _MOVES * most) & ~held)
    rows = rows[np.lexsort((rows, -length[cluster_of[rows]]))]
    sizes = np.diff(crowd.members.group_spots)
    room = np.floor(_FEW * sizes) - np.bincount(crowd.group_of[held], minlength=len(sizes))
    away = np.zeros_like(held)
    for group in np.unique(crowd.group_of[rows]).tolist():
        mine, most_here = rows[crowd.group_of[rows] == group], max(int(room[group]), 0)
        if left > _LEAST or len(mine) > most_here:
            mine = mine[leads[cluster_of[mine]]]
        away[mine[:most_here]] = True
    return away


def whole_clusters(crowd: Crowd, spots: np.ndarray) -> np.ndarray:
    """Clusters (k,) of which a mask (n,) selects all spots."""
    starts = crowd.members.cluster_spots[:-1]
    return np.logical_and.reduceat(spots, starts) if len(spots) else spots


def may_hold(left: int, most: int) -> bool:
    """Whether spots may be held with ``left`` of ``most`` rounds to go: in the second half.

    And not before the last 100: a spot that was held is where it happened to be.
    """
    last = max(_LEAST, min(int(_LAST * most), _LATE))
    return _LEAST <= left <= last and (left - _LEAST) % _PAUSE == 0
