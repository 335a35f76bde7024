"""The joint solution for all spots of an image: Levenberg-Marquardt over groups of spots.

A round of a group of spots that overlap, or share a background:

1. gradients and blocks of the normal equations (``kernels/joint/normal_equations.py``);
2. the step, by conjugate gradients (``kernels/joint/block_cg.py``); pairs whose light hardly
   overlaps are left out of the matrix, not of the gradient, so the solution is the same;
3. the model at the trial, its residuals and the objective of the group; the trial is taken
   unless that grew. Damping belongs to a spot: it grows where the spot's own pixels got
   worse, and shrinks elsewhere, so that one difficult spot does not slow down ten thousand.

A group is done when the remaining step of each of its spots is below ``tol`` standard errors (the
rule is in ``kernels/fit/levmar.py``). All groups advance together; finished groups are left out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..base import thread_pool
from ..kernels.joint import block_cg, normal_equations
from ..kernels.joint import image as kernels
from ..kernels.simd.lane_types import WIDTH
from ..kernels.simd.lanes import lane_rows
from ..results.pixel_owners import each_slab
from .coordinates import Coordinates
from .neighbours import Crowd
from .scene import _SPOTS, Call, Progress, Scene, State
from .stopping import distance_left

_START_DAMPING = 1e-3
_LEAST_DAMPING, _MOST_DAMPING, _STUCK = 1e-7, 1e10, 1e7
_CENTRE_STEP, _WIDTH_STEP = 1.0, 0.4  # of a centre and a width in one round, in sigmas
_STAGES = ("amplitude", "centre", "centre")  # what moves in the first rounds of a crowd
_BEHIND = 0.03  # length of a step, in standard errors, of a spot that lags behind
_LARGE, _FEW = 64, 0.3  # spots of a large group, and the part of them that is few
_PATIENCE = 2  # rounds of all before the few are left to themselves
_HOLDS = 2  # times that a step is formed with more parameters held at their bounds
_RETURNS = 4  # times that spots may go back in one round
_NEGLIGIBLE = 1e-10  # step, relative to the spot, at which rounding takes over
_CG_TOLERANCES, _CG_MOST = (0.05, 1e-3), 60  # in the first rounds, later


class Joint:
    """The joint fit of one scene."""

    def __init__(
        self, scene: Scene, crowd: Crowd, coordinates: Coordinates, terms: int,
        limits: tuple[np.ndarray, np.ndarray], ground_limits: tuple[float, float],
        tied: np.ndarray, absolute: bool, threads: int | None,
        report: Callable[[int], None] | None = None,
    ) -> None:  # fmt: skip
        self.scene, self.crowd, self.coordinates = scene, crowd, coordinates
        self.lower, self.upper = limits
        self.ground_limits, self.tied, self.absolute = ground_limits, tied, absolute
        self.threads, self.report = threads, report
        n, p = self.lower.shape
        g, pairs = len(crowd.lows) - 1, len(crowd.pair_others)
        self.terms, self.large, self.precision = terms, _LARGE, _CG_TOLERANCES[0]
        model = coordinates.model
        self._widths = sorted({k for k in model.sigmas if k < p})
        self.table = WIDTH * (int(crowd.windows[:, 3:].max(initial=1)) // WIDTH + 2)
        size = scene.data.size
        self.model, self.residual, self.weight = np.zeros((3, size))
        half = (np.maximum(scene.extent, 2) - 1) / 2.0
        self.scale = np.concatenate([(scene.extent - 1) / 2.0, 1.0 / half])
        self.gradient = np.zeros((n, p))
        self.diagonal = np.zeros((n, p, p))
        self.border = np.zeros((n, p, terms))
        self.blocks = np.zeros((pairs, p, p))
        self.damping = np.full(n, _START_DAMPING)
        self.held = np.zeros(n, bool)  # spots that stay as they are
        self.step = np.zeros((n, p))
        self.ground_step = np.zeros((g, terms))
        self._work = [np.zeros((n, p)) for _ in range(4)]
        self._ground_work = [np.zeros((g, terms)) for _ in range(4)]
        self._factor, self._ground_factor = np.zeros((n, p, p)), np.zeros((g, terms, terms))
        self._group_sums = np.zeros((g, p))

    # -- the image at a point ----------------------------------------------------------------

    def _each(self, spots: np.ndarray, make: Callable[[], Call]) -> None:
        """Run ``make()``'s task on chunks of these spots."""

        def make_task() -> Callable[[int, int], None]:
            call = make()
            return lambda first, last: call(spots[first:last])

        thread_pool.run(make_task, len(spots), _SPOTS, self.threads)

    def paint(self, u: np.ndarray, spots: np.ndarray) -> None:
        """The model's light, anew where these spots shine."""
        scene, plain = self.scene, np.ascontiguousarray(self.coordinates.plain(u))
        kernel = kernels.make_paint(self.coordinates.kind)

        def work(near: np.ndarray, low: int, high: int) -> None:
            kernel(
                plain, self.crowd.windows, near, scene.integrate, scene.ground, self.model,
                scene.extent, low, high, np.empty(9 * self.table),
            )  # fmt: skip

        each_slab(self.crowd.windows, spots, scene.extent, work, self.threads)

    def measure(self, ground: np.ndarray, spots: np.ndarray, own: bool = True) -> np.ndarray:
        """Residuals and sums of the spots' own pixels; or sums over all of their boxes."""
        scene, crowd = self.scene, self.crowd
        sums = np.zeros((len(self.lower), 2 + self.terms * (self.terms + 3) // 2))

        def make() -> Call:
            m = lane_rows(8 + kernels.MOST_TERMS * (kernels.MOST_TERMS + 3) // 2)

            def call(some: np.ndarray) -> None:
                kernels.measure(
                    scene.boxes, some, scene.owner, own, scene.counts, scene.data, scene.second,
                    self.model, scene.extent, self.scale, ground, crowd.group_of, self.residual,
                    self.weight, sums, m,
                )  # fmt: skip

            return call

        self._each(spots, make)
        return sums

    def look(self, u: np.ndarray, ground: np.ndarray, spots: np.ndarray) -> State:
        """The image at these parameters; sums of other spots are 0."""
        self.paint(u, spots)
        return State(u, ground, self.measure(ground, spots))

    def normal(self, u: np.ndarray, spots: np.ndarray) -> None:
        """Gradients and blocks of these spots."""
        scene, crowd = self.scene, self.crowd
        plain = np.ascontiguousarray(self.coordinates.plain(u))
        lever = self.coordinates.lever(u)
        kernel = normal_equations.make_normal(self.coordinates.kind)

        def make() -> Call:
            m, table = lane_rows(normal_equations.SCRATCH_ROWS), np.zeros(18 * self.table)
            sums = np.zeros(normal_equations.SUMS)

            def call(some: np.ndarray) -> None:
                kernel(
                    plain, lever, crowd.windows, some, scene.integrate, self.residual,
                    self.weight, scene.extent, self.scale, self.terms, crowd.pair_starts,
                    crowd.pair_others, self.gradient, self.diagonal, self.border, self.blocks,
                    m, table, sums,
                )  # fmt: skip

            return call

        self._each(spots, make)

    def background(self, ground: np.ndarray) -> np.ndarray:
        """The fitted background at every pixel that has an owner, flat; 0 elsewhere."""
        image = np.zeros(self.scene.data.size)
        owned = np.flatnonzero(self.scene.owner >= 0)
        terms = ground[self.crowd.group_of[self.scene.owner[owned]]]
        if self.terms:
            image[owned] = terms[:, 0]
        places = np.unravel_index(owned, tuple(self.scene.extent)) if self.terms > 1 else ()
        for k in range(1, self.terms):  # x, then y, then z
            image[owned] += terms[:, k] * (places[3 - k] - self.scale[3 - k]) * self.scale[6 - k]
        return image

    def with_neighbours(self, spots: np.ndarray) -> np.ndarray:
        """These spots and those linked to them."""
        chosen = np.zeros(len(self.lower), bool)
        chosen[spots] = True
        return np.flatnonzero(chosen | (self._of_neighbours(chosen) > 0))

    # -- groups --------------------------------------------------------------------------------

    def per_group(self, values: np.ndarray) -> np.ndarray:
        """Sums over the spots of each group, (g, ...)."""
        if not len(values):
            return np.zeros((0, *values.shape[1:]))
        return np.add.reduceat(values, self.crowd.lows[:-1], axis=0)

    def ground_equations(self, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient (g, t) and matrix (g, t, t) of the background's terms."""
        t = self.terms
        totals = self.per_group(sums[:, 2:])
        matrix = np.zeros((len(totals), t, t))
        i, j = np.tril_indices(t)
        matrix[:, i, j] = matrix[:, j, i] = totals[:, t:]
        return np.ascontiguousarray(totals[:, :t]), matrix

    def freedom(self, u: np.ndarray | None = None) -> np.ndarray:
        """Degrees of freedom of each group; at ``u``, without what is on a bound."""
        free = self.lower < self.upper
        if u is not None:
            free &= (u > self.lower) & (u < self.upper)
        own = self.per_group((free & ~self.tied).sum(axis=1)) + self.terms
        return self.pixels - own - (self.tied & free.any(axis=0)).sum()

    @property
    def pixels(self) -> np.ndarray:
        """Pixels of each group."""
        return self.per_group(self._pixels)

    # -- the fit -------------------------------------------------------------------------------

    def clip(self, u: np.ndarray) -> np.ndarray:
        """Within the bounds."""
        u = np.minimum(np.maximum(u, self.lower), self.upper)
        if self.coordinates.kind == "turned" and not self.coordinates.direct:
            most = 0.98 * np.sqrt(u[:, 3] * u[:, 4])  # P stays positive
            u[:, 5] = np.clip(u[:, 5], -most, most)
        return u

    def _trial(self, state: State, spots: np.ndarray, groups: np.ndarray) -> State:
        """Where the step leads: shortened, spot by spot, where it leaves what it knows."""
        u, ground = state.u.copy(), state.ground.copy()
        old, step = u[spots], self.step[spots]
        ndim = self.coordinates.model.ndim
        widths = self.coordinates.widths(old)
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.abs(step[:, 1 : 1 + ndim] / widths).max(axis=1) / _CENTRE_STEP
            for k in self._widths:
                part = np.maximum(part, np.abs(step[:, k] / widths.min(axis=1)) / _WIDTH_STEP)
        part = np.where(np.isfinite(part), np.maximum(part, 1.0), np.inf)
        u[spots] = old + step / part[:, np.newaxis]
        if self.tied.any():  # one value, whatever holds a single spot back
            most = np.abs(step[:, self.tied]) / (_WIDTH_STEP * widths.min(axis=1, keepdims=True))
            whole = step[:, self.tied] / np.maximum(most.max(initial=1.0), 1.0)
            u[np.ix_(spots, self.tied)] = old[:, self.tied] + whole
        ground[groups] += self.ground_step[groups]
        if self.terms:
            ground[:, 0] = np.clip(ground[:, 0], *self.ground_limits)
        return State(self.clip(u), ground, state.sums)

    def _solve(self, state: State, groups: np.ndarray, open_: np.ndarray) -> None:
        """The step of these groups; what it would take out of its bounds is held."""
        crowd = self.crowd
        gradient = self.gradient
        if self.tied.any():
            gradient = gradient.copy()
            whole = self.per_group(gradient[:, self.tied])
            gradient[:, self.tied] = whole[crowd.group_of]
        free = ((state.u > self.lower) | (gradient > 0)) & ((state.u < self.upper) | (gradient < 0))
        free &= (self.lower < self.upper) & open_ & ~self.held[:, np.newaxis]
        ground_gradient, matrix = self.ground_equations(state.sums)
        if self.terms:
            low, high = self.ground_limits
            at = state.ground[:, 0]
            held = ((at <= low) & (ground_gradient[:, 0] <= 0)) | (
                (at >= high) & (ground_gradient[:, 0] >= 0)
            )
            ground_gradient[held, 0] = 0.0
            matrix[held, 0, 0] = np.inf
            finite = np.isfinite(matrix[:, 0, 0])
            matrix[~finite] = np.eye(self.terms) * 1e200
            t = np.arange(self.terms)
            least = np.minimum.reduceat(self.damping, crowd.lows[:-1])
            matrix[:, t, t] *= 1.0 + least[:, np.newaxis]
        for _ in range(_HOLDS):
            self._conjugate(groups, ground_gradient, matrix, free)
            out = (state.u <= self.lower) & (self.step < 0)
            out |= (state.u >= self.upper) & (self.step > 0)
            out &= free
            if not out.any():
                break
            free &= ~out
            groups = np.intersect1d(groups, self.crowd.group_of[out.any(axis=1)])

    def _conjugate(
        self, groups: np.ndarray, ground_gradient: np.ndarray, matrix: np.ndarray, free: np.ndarray
    ) -> None:
        """The step of these groups with what is free."""
        crowd = self.crowd
        r, z, d, y = self._work
        rg, zg, dg, yg = self._ground_work

        def task(first: int, last: int) -> None:
            block_cg.solve(
                crowd.lows, groups[first:last], self.diagonal, self.blocks, crowd.link_starts,
                crowd.link_others, crowd.link_places, self.border, matrix, self.damping, free,
                self.tied, self.gradient, ground_gradient, self.precision, _CG_MOST,
                self._factor, self._ground_factor, self._group_sums, self.step,
                self.ground_step, r, rg, z, zg, d, dg, y, yg,
            )  # fmt: skip

        thread_pool.run(lambda: task, len(groups), 64, self.threads)

    def fit(
        self, u: np.ndarray, ground: np.ndarray, tol: float, max_iter: int, staged: bool,
        leave: bool = False,
    ) -> Progress:  # fmt: skip
        """From a start to the solution, or as near as ``max_iter`` rounds lead.

        With ``staged`` the amplitudes move first, then the centres. With ``leave`` a large group
        of which few spots are still on their way is left to ``remainder``.
        """
        everyone = np.arange(len(u))
        state = self.look(self.clip(u), ground, everyone)
        self._pixels = state.sums[:, 1]
        freedom = self.freedom()
        size = np.diff(self.crowd.lows)
        group_of = self.crowd.group_of
        none = np.zeros(len(u), bool)
        progress = Progress(state, none, np.zeros(len(u), np.int32), none.copy())
        active = freedom >= 0
        stale = active
        before = np.full((2, len(freedom)), np.inf)  # longest steps of the last rounds
        for turn in range(max_iter):
            if not active.any():
                break
            spots = everyone[active[group_of]]
            stage = _STAGES[turn] if staged and turn < len(_STAGES) else "shape"
            self.normal(state.u, everyone[(active & stale)[group_of]])
            progress.rounds[spots] += 1
            self.precision = _CG_TOLERANCES[turn >= 2 * len(_STAGES) or not staged]
            self._solve(state, np.flatnonzero(active), self._opened(stage))
            trial = self._trial(state, spots, np.flatnonzero(active))
            length = self._lengths(state, trial, spots, freedom)
            trial, stale = self._attempt(state, trial, spots)
            keep = everyone[(stale & active)[group_of]]
            state.u[keep], state.sums[keep] = trial.u[keep], trial.sums[keep]
            state.ground[stale & active] = trial.ground[stale & active]
            if stage != "shape":
                continue
            longest = np.maximum.reduceat(length, self.crowd.lows[:-1])
            near = distance_left(longest, before, tol) <= tol
            before = np.stack([longest, before[0]])
            progress.settled[spots] = (length <= tol)[spots] | near[group_of[spots]]
            if self.report is not None:
                self.report(int(progress.settled.sum()))
            moving = self.per_group(~progress.settled & (self.damping < _STUCK)) > 0
            active = active & ~(near & stale) & moving
            if leave and turn >= (len(_STAGES) if staged else 0) + _PATIENCE:
                progress.behind[spots] = (length > max(tol, _BEHIND))[spots]
                behind = self.per_group(progress.behind)
                active = active & ((size < _LARGE) | (behind > _FEW * size) | (behind == 0))
        return progress._replace(state=self.look(state.u, state.ground, everyone))

    def _of_neighbours(self, values: np.ndarray) -> np.ndarray:
        """Sum of a number (n,) over the spots linked to each."""
        crowd = self.crowd
        one = np.repeat(np.arange(len(values)), np.diff(crowd.link_starts))
        return np.bincount(one, values[crowd.link_others].astype(float), len(values))

    def _opened(self, stage: str) -> np.ndarray:
        """The coordinates (p,) that may move in a stage of the start."""
        last = {"amplitude": 1, "centre": 1 + self.coordinates.model.ndim}.get(stage)
        return np.arange(self.lower.shape[1]) < (self.lower.shape[1] if last is None else last)

    def _attempt(self, state: State, trial: State, spots: np.ndarray) -> tuple[State, np.ndarray]:
        """The image at the trial, and which groups (g,) it made better.

        In a group that got worse, spots whose own pixels did go back and are damped; the
        others' step is tried again.
        """
        group_of = self.crowd.group_of
        total = self.per_group(state.sums[:, 0])
        sums, u = trial.sums.copy(), trial.u
        again, calm = spots, np.ones(len(u), bool)
        for attempt in range(_RETURNS):
            sums[again] = self.look(u, trial.ground, again).sums[again]
            better = self.per_group(sums[:, 0]) <= total * (1 + 1e-13) + 1e-300
            rise = np.where(better[group_of], 0.0, sums[:, 0] - state.sums[:, 0])
            around = rise + self._of_neighbours(rise)
            guilty = (around > 0) & (rise > 0)
            guilty[again] &= (u[again] != state.u[again]).any(axis=1)
            self.damping[guilty] = np.clip(8 * self.damping[guilty], 1e-2, _MOST_DAMPING)
            calm &= ~guilty
            back = np.flatnonzero(guilty | (self._of_neighbours(guilty) > 0))
            if not len(back) or attempt + 1 == _RETURNS:
                break
            u = u.copy()
            u[np.ix_(back, ~self.tied)] = state.u[np.ix_(back, ~self.tied)]
            again = again[~better[group_of[again]]]
        calm = spots[calm[spots]]
        self.damping[calm] = np.maximum(0.2 * self.damping[calm], _LEAST_DAMPING)
        return State(u, trial.ground, sums), better

    def _lengths(
        self, state: State, trial: State, spots: np.ndarray, freedom: np.ndarray
    ) -> np.ndarray:
        """The undamped step of each spot in standard errors; 0 where rounding takes over."""
        step = trial.u[spots] - state.u[spots]
        matrix = self.diagonal[spots]
        square = np.einsum("np,npq,nq->n", step, matrix, step)
        noise = np.ones(len(freedom))
        if not self.absolute:
            noise = self.per_group(state.sums[:, 0]) / np.maximum(freedom, 1)
        spot = state.u[spots, 0] ** 2 * matrix[:, 0, 0]
        square = np.where(square <= _NEGLIGIBLE**2 * spot, 0.0, square)
        length = np.zeros(len(state.u))
        group = self.crowd.group_of[spots]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.sqrt(square / noise[group])
        length[spots] = np.where(square > 0, ratio * (1 + self.damping[spots]), 0.0)
        return length
