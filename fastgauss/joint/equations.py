"""The damped normal equations of groups of spots, and their solution."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..base import thread_pool
from ..kernels.joint import block_cg, local_inverses
from ..kernels.joint.arrays import Damped, Equations, Factors, Scratch, Vector
from ..kernels.simd.lanes import lane_rows
from .neighbours import Crowd
from .scene import JointImage, State

_CLUSTERS, _GROUPS, _SPOTS = 64, 64, 256  # of a task
_MOST = 200  # iterations of the conjugate gradients
_TINY = 1e-300
# Of the square of a spot's light: the least scale of a derivative by a length. Of a spot much
# narrower than a pixel the derivatives by place and width are none, and damping in units of their
# squares would let it go anywhere.
_LEAST_SCALE = 1e-6
_AROUND = 24  # spots of a cluster and around it, in the matrix that is looked at


class Shared(NamedTuple):
    """Parameters that have one value for several spots."""

    columns: np.ndarray  # (s,)
    member: np.ndarray  # (n,) bool: spots that have these parameters


def start_damping(clusters: int) -> np.ndarray:
    """Damping of clusters before the first round."""
    return np.full(clusters, 1e-3)


class NormalEquations:
    """Gauss-Newton or Newton equations at a point; n spots of p parameters, c common unknowns."""

    def __init__(self, image: JointImage, size: int, terms: int, shared: Shared) -> None:
        self.image, self.crowd, self.terms, self.shared = image, image.crowd, terms, shared
        crowd = self.crowd
        n, k = len(crowd.group_of), len(crowd.boxes)
        g, c = len(crowd.members.group_spots) - 1, terms + len(shared.columns)
        self.equations = Equations(
            np.zeros((n, size)), np.zeros((n, size, size)),
            np.zeros((len(crowd.pairs.others), size, size)), np.zeros((n, size, c)),
        )  # fmt: skip
        self.curvature = np.zeros((n, size, size))
        self.newton = np.zeros(k, np.bool_)  # clusters with their second derivatives
        self.system = Damped(
            np.zeros((n, size, size)), start_damping(k), np.zeros((n, size)),
            np.ones((n, size), np.bool_), np.zeros((g, c, c)), np.ones((g, c), np.bool_),
        )  # fmt: skip
        whole = np.diff(crowd.members.cluster_spots) * size
        starts = np.concatenate([[0], np.cumsum(whole**2)])
        self.factors = Factors(starts, np.zeros(starts[-1]), np.zeros((g, c, c)))
        self.right = Vector(np.zeros((n, size)), np.zeros((g, c)))
        self._background = np.zeros((g, terms, terms))
        vectors = (Vector(np.zeros((n, size)), np.zeros((g, c))) for _ in range(4))
        self._scratch = Scratch(*vectors)

    @property
    def damping(self) -> np.ndarray:
        """Of each cluster, in units of the diagonal."""
        return self.system.damping

    # -- forming -------------------------------------------------------------------------------

    def form(self, state: State, spots: np.ndarray, newton: bool) -> None:
        """Gradients and blocks of these spots at the fitted image."""
        equations = self.equations
        weight = self.image.observed_weight(spots) if newton else None
        self.image.normal(
            state.u, spots, self.image.fitted.residual, self.terms, equations, weight=weight
        )
        self.newton[:] = newton
        if newton:
            self.image.curvature(state.u, spots, self.curvature)
        diagonal = np.einsum("npp->np", equations.diagonal)
        light = state.u[:, :1] ** 2 * diagonal[:, :1]
        self.system.scale[:] = np.maximum(diagonal, _TINY)
        self.system.scale[:, 1:] = np.maximum(self.system.scale[:, 1:], _LEAST_SCALE * light)
        self.right.spots[:] = equations.gradient
        totals = self.per_group(state.sums[:, 2:])
        t, shared = self.terms, self.shared
        i, j = np.tril_indices(t)
        self._background[:, i, j] = self._background[:, j, i] = totals[:, t:]
        self.right.common[:, :t] = totals[:, :t]
        self.right.common[:, t:] = self.per_group(
            np.where(shared.member[:, None], equations.gradient[:, shared.columns], 0.0)
        )

    def _form_common(self) -> None:
        """The border to shared parameters, and the matrix of common unknowns."""
        t, shared, border = self.terms, self.shared, self.equations.border
        common = self.system.common
        common[:, :t, :t] = self._background
        if len(shared.columns):
            crowd, diagonal = self.crowd, self.system.diagonal
            pairs = self.equations.pairs

            def task(first: int, last: int) -> None:
                block_cg.share_columns(
                    first, last, crowd.links, pairs, diagonal, shared.member, shared.columns, t,
                    border,
                )  # fmt: skip

            thread_pool.run(lambda: task, len(border), _SPOTS, self.image.threads)
            member = shared.member[:, None, None]
            across = self.per_group(np.where(member, border[:, shared.columns], 0.0))
            common[:, t:] = across
            common[:, :t, t:] = across[:, :, :t].transpose(0, 2, 1)
        least = self._least_damping()
        every = np.arange(common.shape[1])
        common[:, every, every] *= 1.0 + least[:, None]

    def _least_damping(self) -> np.ndarray:
        """The least damping of the clusters of each group."""
        if not len(self.damping):
            return np.zeros(0)
        return np.minimum.reduceat(self.damping, self.crowd.members.group_clusters[:-1])

    def common_at(self, state: State) -> np.ndarray:
        """The values of what groups have in common, (g, c)."""
        at, shared = np.zeros_like(self.right.common), self.shared
        at[:, : self.terms] = state.background
        if len(shared.columns) and len(state.u):
            at[:, self.terms :] = state.u[np.argmax(shared.member), shared.columns]
        return at

    def light(self, state: State) -> np.ndarray:
        """The square of the light of each cluster (k,), weighted and summed over pixels."""
        light = state.u[:, 0] ** 2 * self.equations.diagonal[:, 0, 0]
        return np.bincount(self.crowd.cluster_of, light, len(self.damping))

    def level(self, state: State) -> np.ndarray:
        """The square of the background's first term in each group (g,), weighted, for a pixel."""
        if not self.terms:
            return np.zeros(len(state.background))
        pixels = np.maximum(self.per_group(state.sums[:, 1]), 1.0)
        return state.background[:, 0] ** 2 * self._background[:, 0, 0] / pixels

    def per_group(self, values: np.ndarray) -> np.ndarray:
        """Sums over the spots of each group, (g, ...)."""
        if not len(values):
            return np.zeros((0, *values.shape[1:]))
        return np.add.reduceat(values, self.crowd.members.group_spots[:-1], axis=0)

    # -- solving -------------------------------------------------------------------------------

    def factorise(self, clusters: np.ndarray) -> None:
        """Factors of the blocks of these clusters with their damping of now."""
        crowd, equations = self.crowd, self.equations

        def task(first: int, last: int) -> None:
            block_cg.factorise_clusters(
                clusters[first:last], crowd.members, crowd.links, equations.pairs,
                equations.diagonal, self.curvature, self.newton, self.system, self.factors,
            )  # fmt: skip

        thread_pool.run(lambda: task, len(clusters), _CLUSTERS, self.image.threads)
        self._form_common()

    def solve(
        self, groups: np.ndarray, right: Vector, tolerance: float, step: Vector, warm: bool = False
    ) -> np.ndarray:
        """The step of these groups; those whose matrix is found not to be positive.

        With ``warm`` what is in ``step`` is where it begins.
        """
        crowd, equations = self.crowd, self.equations
        definite = np.ones(len(crowd.members.group_spots) - 1, np.bool_)
        blocks, stop = (equations.pairs, equations.border), (tolerance, _MOST, warm)
        scratch = tuple(self._scratch)

        def make() -> Callable[[int, int], None]:
            sums = lane_rows(right.spots.shape[1])
            return lambda first, last: block_cg.solve(
                groups[first:last], crowd.members, crowd.pairs, blocks, self.system, self.factors,
                right, stop, step, scratch, sums, definite,
            )  # fmt: skip

        thread_pool.run(make, len(groups), _GROUPS, self.image.threads)
        return groups[~definite[groups]]

    def of_groups(self, groups: np.ndarray) -> np.ndarray:
        """The clusters of these groups."""
        return np.flatnonzero(np.isin(self.crowd.cluster_groups, groups))

    def indefinite(self, groups: np.ndarray) -> np.ndarray:
        """Clusters for which the last solution found that the matrix of a group is not positive."""
        clusters, scratch = self.of_groups(groups), self._scratch
        part = (scratch.direction.spots * scratch.product.spots).sum(axis=1)
        part = np.bincount(self.crowd.cluster_of, part, len(self.damping))
        found = clusters[self.newton[clusters] & (part[clusters] < 0)]
        found = found if len(found) else clusters[self.newton[clusters]]
        certain = found[~self._positive_around(found)]
        if len(certain):
            return certain
        return found if len(found) else clusters

    def _positive_around(self, clusters: np.ndarray) -> np.ndarray:
        """Whether the matrix of each of these clusters and of the spots around it is positive."""
        crowd, size = self.crowd, self.right.spots.shape[1]
        out = np.empty(len(clusters), np.bool_)

        def make() -> Callable[[int, int], None]:
            members = np.empty(_AROUND, np.int64)
            matrix = np.empty((_AROUND * size, _AROUND * size))
            return lambda first, last: local_inverses.is_positive_around(
                clusters[first:last], crowd.members.cluster_spots, crowd.links,
                self.equations.pairs, self.system, crowd.cluster_of, matrix, members,
                out[first:last],
            )  # fmt: skip

        thread_pool.run(make, len(clusters), _CLUSTERS, self.image.threads)
        return out

    def products(self, x: np.ndarray, diagonal: np.ndarray, clusters: np.ndarray) -> np.ndarray:
        """(k, 2) of clusters: x'Hx with these blocks on the diagonal, and x'Dx of the damping."""
        crowd, out = self.crowd, np.zeros((len(self.damping), 2))

        def task(first: int, last: int) -> None:
            block_cg.multiply_clusters(
                clusters[first:last], crowd.members, crowd.links, self.equations.pairs, diagonal,
                self.damping, self.system.scale, x, out,
            )  # fmt: skip

        thread_pool.run(lambda: task, len(clusters), _CLUSTERS, self.image.threads)
        return out


def clusters_of(crowd: Crowd, groups: np.ndarray) -> np.ndarray:
    """The clusters of groups that a mask (g,) selects."""
    return np.flatnonzero(groups[crowd.cluster_groups])


def spots_of(crowd: Crowd, groups: np.ndarray) -> np.ndarray:
    """The spots of groups that a mask (g,) selects."""
    return np.flatnonzero(groups[crowd.group_of])
