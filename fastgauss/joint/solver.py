"""The joint solution for all spots of an image: Newton's method over groups of spots.

A round of a group of spots that overlap, or have something in common:

1. gradients, blocks of the normal equations and second derivatives
   (``kernels/joint/normal_equations.py``, ``kernels/joint/curvature.py``);
2. the step, by conjugate gradients (``kernels/joint/block_cg.py``), as exact as it must be and
   from the step of before, if it is solved for again; pairs whose light hardly overlaps are left
   out of the matrix, not of the gradient, so the solution is the same;
3. a correction for the bend of the model along the step (geodesic acceleration: Transtrum and
   Sethna 2012, arXiv:1201.5885), for two spots that hardly differ from one lie in a curved valley;
4. the image at the trial, its residuals and the objective of the group, and what the move of
   each cluster alone was worth beside those of all others. Where the objective grew, or a cluster
   lost by its move, such clusters are damped and the step is solved for again.

Damping belongs to a cluster, a few spots that overlap most: one difficult pair does not slow down
ten thousand spots. Clusters that *lead*, by long steps, move their neighbours with them. Only they
are damped where the way is bent and, near the minimum, where a round fails: damping keeps the
others from rest. Without second derivatives pairs within half a sigma need hundreds of rounds.

A group is done when the step that is left is below ``tol`` standard errors for every cluster
of it and what it has in common, or was short for some rounds (``joint/stopping.py``). In later
rounds spots that do not rest are held, one by one. Groups that are done drop out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..kernels.joint.arrays import Vector
from . import stopping
from .equations import NormalEquations, Shared, clusters_of, spots_of
from .scene import JointImage, State
from .stopping import Lengths, Progress

_LEAST_DAMPING, _MOST_DAMPING, _STUCK = 1e-10, 1e10, 1e7
_CENTRE_STEP, _WIDTH_STEP = 1.0, 0.4  # of a centre and a width in one round, in sigmas
_STAGES = ("amplitude", "centre")  # what moves in the first rounds of a crowd
_TRIES, _FAILURES = 4, 5  # steps tried in a round; rounds in turn without one that end a group
_BENT = 0.75  # twice the correction beside the step, at which a step is shortened
_STRAIGHT = 1e-3  # longest step in standard errors, from which there is no correction
_LEADS, _FALL = 0.03, 1e-3  # least part of a group's longest step; of its objective, in a round
_LOST, _POOR, _GOOD = 0.0, 0.25, 0.6  # gain of a move in units of the expected
_COUNTS = 1e-3  # part of a group's expected gain, from which a cluster's counts
_SLOWER, _SLOW, _FAST = 8.0, 3.0, 0.15  # factors of the damping
# Least damping after a step that is not taken. Without noise the valley of a close pair is as flat
# as 1e-8 of the diagonal; with 1e-4 the steps of the next rounds would be a thousandth as long.
_LEAST_BLAMED = 1e-9
_SEARCHES = 7  # for clusters that make a matrix indefinite, before a whole group counts as such
_DARK = 1e-2  # amplitude of a spot in standard errors of its own, below which it has no shape
_HOLDS = 2  # times that a step is formed with more parameters held at their bounds


class Limits(NamedTuple):
    """Bounds."""

    lower: np.ndarray  # (n, p)
    upper: np.ndarray
    background: tuple[float, float]  # of the background's first term


class Solver:
    """The joint fit of one scene."""

    def __init__(
        self, image: JointImage, limits: Limits, terms: int, shared: Shared, absolute: bool,
        report: Callable[[int], None] | None = None,
    ) -> None:  # fmt: skip
        self.image, self.crowd, self.limits = image, image.crowd, limits
        self.terms, self.shared, self.absolute, self.report = terms, shared, absolute, report
        n, p = limits.lower.shape
        self.equations = NormalEquations(image, p, terms, shared)
        self.held = np.zeros(n, bool)  # spots that stay as they are
        model = image.coordinates.model
        self._widths = sorted({k for k in model.sigmas if k < p})
        g, c = len(self.crowd.members.group_spots) - 1, terms + len(shared.columns)
        self._steps = [Vector(np.zeros((n, p)), np.zeros((g, c))) for _ in range(3)]
        self._pixels = np.zeros(n)
        self.failures, self.close = np.zeros(g, np.int32), np.zeros(g, bool)

    # -- groups --------------------------------------------------------------------------------

    def per_group(self, values: np.ndarray) -> np.ndarray:
        """Sums over the spots of each group, (g, ...)."""
        return self.equations.per_group(values)

    def _any(self, clusters: np.ndarray) -> np.ndarray:
        """Groups (g,) with a cluster that a mask (k,) selects."""
        groups = self.crowd.cluster_groups[clusters]
        return np.bincount(groups, minlength=len(self.crowd.members.group_spots) - 1) > 0

    def freedom(self, u: np.ndarray | None = None) -> np.ndarray:
        """Degrees of freedom of each group; at ``u``, without what is on a bound."""
        lower, upper = self.limits.lower, self.limits.upper
        free = (lower < upper) & (True if u is None else (u > lower) & (u < upper))
        own = free & ~self.tied
        together = (self.tied & free).any(axis=0).sum() if len(free) else 0
        return (
            self.per_group(self._pixels) - self.per_group(own.sum(axis=1)) - (self.terms + together)
        )

    def noise(self, state: State) -> np.ndarray:
        """The objective of each group (g,) for a degree of freedom; 1 where errors are known."""
        if self.absolute:
            return np.ones(len(state.background))
        return self.per_group(state.sums[:, 0]) / np.maximum(self.freedom(), 1)

    @property
    def tied(self) -> np.ndarray:
        """Parameters (n, p) that are shared."""
        tied = np.zeros(self.limits.lower.shape, bool)
        tied[np.ix_(self.shared.member, self.shared.columns)] = True
        return tied

    def clip(self, u: np.ndarray) -> np.ndarray:
        """Within the bounds."""
        u = np.minimum(np.maximum(u, self.limits.lower), self.limits.upper)
        coordinates = self.image.coordinates
        if coordinates.model.rotated and not coordinates.direct:
            most = 0.98 * np.sqrt(u[:, 3] * u[:, 4])  # the sigma matrix stays positive
            u[:, 5] = np.clip(u[:, 5], -most, most)
        return u

    # -- a round -------------------------------------------------------------------------------

    def _open(self, state: State, stage: str) -> None:
        """Which parameters may move from here."""
        system, equations = self.equations.system, self.equations.equations
        u, (lower, upper, (low, high)) = state.u, self.limits
        last = {"amplitude": 1, "centre": 1 + self.image.coordinates.model.ndim}.get(stage)
        open_ = np.arange(u.shape[1]) < (u.shape[1] if last is None else last)
        gradient = equations.gradient
        free = ((u > lower) | (gradient > 0)) & ((u < upper) | (gradient < 0)) & (lower < upper)
        free &= open_ & ~self.held[:, None]
        light = equations.diagonal[:, 0, 0] * u[:, 0] ** 2
        free[light <= _DARK**2 * self.noise(state)[self.crowd.group_of], 1:] = False
        system.free[:] = free & ~self.tied
        columns, t = self.shared.columns, self.terms
        system.common_free[:] = True
        if t:
            at, push = state.background[:, 0], self.equations.right.common[:, 0]
            out = ((at <= low) & (push <= 0)) | ((at >= high) & (push >= 0))
            system.common_free[:, 0] = ~out
        if len(columns) and len(u):
            first = np.argmax(self.shared.member)
            at, push = u[first, columns], self.equations.right.common[:, t:]
            inside = ((at > lower[first, columns]) | (push > 0)) & (
                (at < upper[first, columns]) | (push < 0)
            )
            system.common_free[:, t:] = inside & open_[columns]
        system.free[self.image.coordinates.lost_angles(u), 5:] = False

    def _solve(self, state: State, groups: np.ndarray, out: Vector, warm: bool) -> None:
        """A step of groups (g,) within bounds; ``warm``: that with other damping is in ``out``."""
        equations, crowd, right = self.equations, self.crowd, self.equations.right
        system, (lower, upper, _), which = equations.system, self.limits, np.flatnonzero(groups)
        for turn in range(_HOLDS + 1):
            equations.factorise(clusters_of(crowd, groups))
            bad = equations.solve(which, right, self._precision, out, warm or turn > 0)
            for culprits in (*_SEARCHES * (equations.indefinite,), equations.of_groups):
                if not len(bad):
                    break
                some = culprits(bad)
                equations.newton[some] = False
                equations.factorise(some)
                bad = equations.solve(bad, right, self._precision, out, warm=True)
            leaves = ((state.u <= lower) & (out.spots < 0)) | ((state.u >= upper) & (out.spots > 0))
            leaves &= system.free & groups[crowd.group_of][:, None]
            if turn == _HOLDS or not leaves.any():
                break
            system.free[leaves] = False

    def _trust(self, state: State, step: Vector) -> np.ndarray:
        """The step (n, p) within what is known: clusters, and what is shared, are shortened."""
        crowd, coordinates = self.crowd, self.image.coordinates
        ndim, move = coordinates.model.ndim, step.spots.copy()
        widths, units = coordinates.widths(state.u), coordinates.units(state.u)
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.abs(move[:, 1 : 1 + ndim] / widths).max(axis=1) / _CENTRE_STEP
            if self._widths:
                wide = np.abs(move[:, self._widths]) / (_WIDTH_STEP * units)
                part = np.maximum(part, wide.max(axis=1))
        part = np.where(np.isfinite(part), np.maximum(part, 1.0), np.inf)
        if len(part):
            part = np.maximum.reduceat(part, crowd.members.cluster_spots[:-1])
        move /= part[crowd.cluster_of][:, None]
        columns, member = self.shared.columns, self.shared.member
        if len(columns):
            together = step.common[crowd.group_of][:, self.terms :]
            wide = np.isin(columns, self._widths)
            if units.shape[1] > 1:
                units = units[:, [self._widths.index(k) for k in columns[wide]]]
            most = np.abs(together[:, wide]) / (_WIDTH_STEP * units)
            together = together / max(most[member].max(initial=1.0), 1.0)
            move[np.ix_(member, columns)] = together[member]
        return move

    def _bend(
        self, state: State, move: np.ndarray, groups: np.ndarray, leads: np.ndarray, warm: bool
    ) -> tuple[np.ndarray, ...]:
        """The step and its correction as one, and clusters (k,) too bent for all of the step."""
        equations, crowd, image = self.equations, self.crowd, self.image
        spots, (step, slope, correction) = spots_of(crowd, groups), self._steps
        own = np.where(equations.system.free, move, 0.0)
        image_of = image.bend(state.u, own, spots)
        n, p = state.u.shape
        scratch = equations.equations._replace(
            gradient=slope.spots, diagonal=np.empty((n, p, p)), border=np.empty((n, p, 0))
        )
        image.normal(state.u, spots, image_of, 0, scratch, pairs=False)
        right = Vector(-slope.spots, np.zeros_like(step.common))
        equations.solve(np.flatnonzero(groups), right, self._precision, correction, warm)
        scale, starts = equations.system.scale, crowd.members.cluster_spots[:-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            squares = [
                np.add.reduceat((scale * x**2).sum(axis=1), starts) for x in (correction.spots, own)
            ]
            ratio = 2 * np.sqrt(squares[0] / squares[1])
        ratio = np.where(np.isfinite(ratio) & groups[crowd.cluster_groups], ratio, 0.0)
        part = np.clip(_BENT / np.maximum(ratio, _BENT), 0.1, 1.0)
        of_step = np.where(leads, part, 1.0)[crowd.cluster_of][:, None]
        both = move * of_step + correction.spots * part[crowd.cluster_of][:, None] ** 2
        rigid = self.tied | ~groups[crowd.group_of][:, None]
        return np.where(rigid, move, both), leads & (ratio > _BENT)

    def _crossing(self, state: State, move: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The part of a move (n, p) at which a parameter reaches its bound, and that bound."""
        lower, upper, _ = self.limits
        bound = np.where(move < 0, lower, upper)
        inside = (state.u > lower) & (state.u < upper) & (move != 0) & ~self.tied
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(inside, (bound - state.u) / move, np.inf), bound

    def _within(self, state: State, move: np.ndarray) -> np.ndarray:
        """A move (n, p) of which each cluster goes as far as its first bound."""
        part, bound = self._crossing(state, move)
        first = np.minimum.reduceat(part.min(axis=1), self.crowd.members.cluster_spots[:-1])
        first = np.minimum(first, 1.0)[self.crowd.cluster_of][:, None]
        shorter = np.where(part <= first, bound - state.u, move * first)
        return np.where(self.tied, move, shorter)

    def _judge(
        self, state: State, trial: State, groups: np.ndarray, slack: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The gain of each cluster by its move beside the expected; which count; which lose."""
        crowd, equations = self.crowd, self.equations
        clusters = clusters_of(crowd, groups)
        before = np.where(self.tied, trial.u, state.u)
        gain = self.image.gains(before, trial, clusters)
        products = equations.products(trial.u - before, equations.system.diagonal, clusters)
        expected = np.maximum(products[:, 0] + 2 * products[:, 1], 0.0)
        whole = np.bincount(crowd.cluster_groups, expected, len(groups))[crowd.cluster_groups]
        slack = slack[crowd.cluster_groups]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(np.maximum(expected, abs(gain)) > slack, gain / expected, 1.0)
        counts = expected > _COUNTS * whole
        loses = (ratio < _LOST) & (-gain > _COUNTS * whole)
        return ratio, counts, loses & groups[crowd.cluster_groups]

    def _blame(self, ratio: np.ndarray, counts: np.ndarray, loses: np.ndarray) -> np.ndarray:
        """Clusters (k,) to damp in groups that got worse: those that lost, else the poorest."""
        groups = self.crowd.cluster_groups
        blame = loses.copy()
        for worse in ((ratio < _POOR) & counts, ratio < _GOOD, np.ones_like(loses)):
            blame |= worse & ~self._any(blame)[groups]
        return blame

    def _damp(self, clusters: np.ndarray, factor: float, least: float) -> None:
        """Multiply the damping of these clusters (k,)."""
        damping = self.equations.damping
        damping[clusters] = np.clip(factor * damping[clusters], least, _MOST_DAMPING)

    def _round(
        self, state: State, active: np.ndarray, stage: str
    ) -> tuple[State, np.ndarray, Lengths]:
        """The next state, groups (g,) that moved, and how long the first step was."""
        crowd, equations, image = self.crowd, self.equations, self.image
        equations.form(state, spots_of(crowd, active), stage == "shape")
        self._open(state, stage)
        old = self.per_group(state.sums[:, 0])
        light = np.bincount(crowd.cluster_groups, equations.light(state), len(old))
        slack = stopping.rounding(light, old, equations.level(state))
        pending, moved = active.copy(), np.zeros_like(active)
        u, background, sums = (x.copy() for x in state)
        step, damping = self._steps[0], equations.damping.copy()

        def take(groups: np.ndarray, trial: State) -> None:
            spots = spots_of(crowd, groups)
            u[spots], sums[spots] = trial.u[spots], trial.sums[spots]
            background[groups] = trial.background[groups]
            image.keep(spots)
            moved[groups] = True

        for attempt in range(_TRIES):
            self._solve(state, pending, step, attempt > 0)
            if attempt == 0:
                lengths = stopping.step_lengths(equations, state, step, active, self.noise(state))
                length = lengths.clusters
                most = np.maximum.reduceat(length, crowd.members.group_clusters[:-1])
                leads = length >= (_LEADS * most * self.close)[crowd.cluster_groups]
            move, bent = self._trust(state, step), np.zeros(len(length), bool)
            background_step = step.common[:, : self.terms].copy()
            far = pending & self._any(length > _STRAIGHT)
            if stage == "shape" and far.any():
                move, bent = self._bend(state, move, far, leads, attempt > 0)
            crosses = (self._crossing(state, move)[0] < 1.0).any(axis=1)
            if attempt:  # else parameters that leave their bounds alone are clipped
                move = self._within(state, move)
            trial = self._look(state, move, background_step, pending)
            ratio, counts, loses = self._judge(state, trial, pending, slack)
            better = self.per_group(trial.sums[:, 0]) <= old + slack
            good = pending & better & ~self._any(loses)
            mine = good[crowd.cluster_groups]
            long = length >= np.maximum(0.1 * _STRAIGHT, (_LEADS * most)[crowd.cluster_groups])
            slow = ((ratio < _POOR) & counts) | (bent & long)
            self._damp(mine & slow, _SLOW, _LEAST_DAMPING)
            self._damp(mine & ~slow & ((ratio > _GOOD) | ~counts), _FAST, _LEAST_DAMPING)
            take(good, trial)
            pending &= ~good
            if not pending.any():
                break
            blame = self._blame(np.where(leads, ratio, 1.0), counts, loses)
            blame &= pending[crowd.cluster_groups]
            if attempt == 0:
                blame[crowd.cluster_of[crosses]] = False
            self._damp(blame, _SLOWER, _LEAST_BLAMED)
        if pending.any():  # the blamed clusters stay where they were
            still = blame[crowd.cluster_of][:, None] & ~self.tied
            still |= ~pending[crowd.group_of][:, None]
            move = np.where(still, 0.0, trial.u - state.u)
            trial = self._look(state, move, background_step, pending)
            better = self.per_group(trial.sums[:, 0]) <= old + slack
            take(pending & better, trial)
            failed = (pending & ~better)[crowd.cluster_groups]
            equations.damping[failed] = damping[failed]
            again = (self.failures > 0)[crowd.cluster_groups]  # then all slow down alike
            self._damp(failed & (blame | leads | again), _SLOWER**2, 1e-2)
        self.failures = np.where(moved, 0, self.failures + active)
        self.close = np.where(moved, self.per_group(sums[:, 0]) >= (1 - _FALL) * old, self.close)
        return State(u, background, sums), moved, lengths

    def _look(
        self, state: State, move: np.ndarray, background_step: np.ndarray, groups: np.ndarray
    ) -> State:
        """The trial image at a move of these groups."""
        mine = groups[self.crowd.group_of][:, None]
        u = self.clip(np.where(mine, state.u + move, state.u))
        background = np.where(groups[:, None], state.background + background_step, state.background)
        if self.terms:
            background[:, 0] = np.clip(background[:, 0], *self.limits.background)
        return self.image.look(u, background, spots_of(self.crowd, groups))

    # -- all rounds ----------------------------------------------------------------------------

    def run(
        self, u: np.ndarray, background: np.ndarray, tol: float, most: int, staged: bool
    ) -> Progress:
        """From a start to the solution, or as near as ``most`` rounds lead.

        With ``staged`` the amplitudes move first, then the centres.
        """
        everyone, crowd = np.arange(len(u)), self.crowd
        state = self.image.look(self.clip(u), background, everyone)
        self.image.keep(everyone)
        self._pixels = state.sums[:, 1]
        active = (self.freedom() >= 0) & np.isfinite(self.per_group(state.sums[:, 0]))
        rest = stopping.Rest(len(crowd.boxes), len(active), tol)
        all_held, ended = np.zeros(len(crowd.boxes), bool), np.zeros(len(active), bool)
        rounds, took = 0, np.zeros(len(u), np.int32)
        for turn in range(most):
            if not active.any():
                break
            rounds += 1
            stage = _STAGES[turn] if staged and turn < min(len(_STAGES), most - 1) else "shape"
            self._precision = stopping.precision(tol, staged and turn < 2 * len(_STAGES))
            took[spots_of(crowd, active)] += 1
            state, moved, lengths = self._round(state, active, stage)
            if stage != "shape":
                continue
            damping = self.equations.damping
            rest.follow(lengths, damping, all_held, active, crowd.cluster_groups)
            apart, common = ~(rest.near | rest.quiet), rest.common_near | rest.common_quiet
            done = moved & common & ~self._any(apart)
            stuck = ~self._any(apart & (damping < _STUCK))
            ended |= active & done
            done |= (self.failures > _FAILURES) | (stuck & ~done & common)
            if self.report is not None:
                self.report(int(rest.near[crowd.cluster_of].sum()))
            active = active & ~done
            if stopping.may_hold(left := most - 1 - turn, most):
                self.held |= stopping.spots_to_hold(
                    crowd, rest.steps, lengths.spots, self.held, active, tol, left
                )
                all_held = stopping.whole_clusters(crowd, self.held)
        near = (rest.near & rest.common_near[crowd.cluster_groups]) | ended[crowd.cluster_groups]
        settled = near[crowd.cluster_of] & ~self.held
        return Progress(state, settled, rounds, took)
