"""A joint fit from start to result: windows are laid, groups are solved, rows are built."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..fit.options import Options
from ..fit.shared_parameters import outliers
from ..kernels.joint.arrays import Pixels
from ..results import pixel_owners
from ..results.background import Background
from ..results.fit_result import FitResult
from . import neighbours, start_values
from .arguments import Problem, in_three
from .background import complete
from .equations import Shared
from .outcome import build_rows
from .scene import JointImage, Scene, State
from .shared_values import own_values
from .solver import Limits, Solver
from .star_coordinates import make_coordinates
from .stopping import Progress
from .windows import half_windows, lay_windows

_MOST_PLANS = 4  # times that windows are laid anew
_FIRST_ROUNDS = 3  # before windows are laid by what is known then
_LEAST_PART = 0.3  # of all rounds, that another plan needs
_LEAST_OFFSET = 1e-4  # counts a pixel: a likelihood has no model of none at all


class _At(NamedTuple):
    """The state of a fit between two plans, in the order of the caller."""

    u: np.ndarray  # (n, p)
    offsets: np.ndarray  # (n,) the background at the centres
    noise: np.ndarray  # (n,) its sigma at the spots
    damping: np.ndarray  # (n,)
    member: np.ndarray  # (n,) bool: spots that have the shared parameters


def solve(
    problem: Problem, places: np.ndarray, chosen: Options, member: np.ndarray | None = None
) -> FitResult:
    """The joint fit of spots at these places (n, d), the frame first in a stack.

    ``member`` (n,) tells which spots have the shared parameters, where this is known before.
    """
    start, known = chosen.guess, np.ones(len(places), bool)
    if start is None:
        start, known = start_values.alone(problem, places, chosen)
    member = known if member is None else member
    return _Fit(problem, places, chosen).run(np.array(start), member)


class _Fit:
    """One call: plans, solutions, the result."""

    def __init__(self, problem: Problem, places: np.ndarray, chosen: Options) -> None:
        picture, box = problem.picture, problem.box
        self.picture, self.chosen, self.kind, self.box = picture, chosen, problem.kind, box
        model = chosen.model
        self.ndim = model.ndim
        self.frames = places[:, 0] if picture.stack else np.zeros(len(places))
        self.three = self._three(places[:, -self.ndim :])
        extents = in_three(box)
        self.boxes = pixel_owners.boxes_around(self.three, extents // 2, extents, picture.extent)
        self.owner = pixel_owners.assign_owners(
            picture.extent, picture.exists, self.three, self.boxes, chosen.threads
        )
        bound = chosen.bounds is not None and bool(np.isfinite(chosen.bounds[..., 3:6]).any())
        direct = bound or any(3 <= k <= 5 for k in chosen.shared)
        self.coordinates = make_coordinates(model, direct, self._inside(places))
        self.limits = start_values.limits(chosen, places, box, direct, problem.dark)
        if model.size - 1 in chosen.shared and self.kind == "local":
            self.kind = "constant"
        self.terms = {"known": 0, "local": 1, "constant": 1, "plane": 1 + model.ndim}[self.kind]
        tied = [k for k in chosen.shared if k < model.size - 1]
        lower, upper = self.limits
        self.tied = np.array([k for k in tied if (lower[:, k] < upper[:, k]).any()], np.intp)
        self.told = 0

    def _three(self, centres: np.ndarray, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Centres along z (or frames), y and x."""
        return self._beside(self.frames[rows], centres)

    def _beside(self, first: np.ndarray | float, values: np.ndarray) -> np.ndarray:
        """Values along z, y and x, (n, 3), of those along the model's axes, in array-axis order.

        ``first`` is what an image has along frames; a profile has 0 along y.
        """
        three = np.zeros((len(values), 3))
        three[:, 0] = first
        three[:, 3 - self.ndim :] = values
        return three

    def _inside(self, places: np.ndarray) -> np.ndarray:
        """Places ``x, y, z`` of the image, for a model that varies over it."""
        last = np.array(self.picture.shape[-self.ndim :]) - 0.5
        return np.clip(places[:, -self.ndim :], -0.5, last)[:, ::-1]

    def _together(self) -> bool:
        """Whether all spots have something in common, those of all frames."""
        return bool(len(self.tied)) or self.chosen.model.size - 1 in self.chosen.shared

    def _zones(self) -> np.ndarray | None:
        """The zone of each spot: spots of a zone form one group; None where only overlaps count."""
        if self._together():
            return np.zeros(len(self.frames), np.intp)
        return None if self.kind in ("local", "known") else self.frames.astype(np.intp)

    def _offset_limits(self) -> tuple[float, float]:
        """Bounds of the background; for a likelihood the model must stay positive."""
        low, high = self._asked_offset_limits()
        if self.chosen.method == "mle" and self.kind in ("local", "constant"):
            floor = _LEAST_OFFSET - float(self.picture.second.min(initial=np.inf))
            low = max(low, floor) if floor < high else low
        return low, high

    def _asked_offset_limits(self) -> tuple[float, float]:
        bounds = self.chosen.bounds
        if bounds is None or not bounds.shape[1]:
            return -np.inf, np.inf
        if self.kind == "known":
            if (bounds[0, :, -1] < bounds[1, :, -1]).any() and np.isfinite(bounds[..., -1]).any():
                raise ValueError("bounds must not hold the offset where the background is known")
            return -np.inf, np.inf
        low, high = bounds[0, :, -1], bounds[1, :, -1]
        if np.isfinite(bounds[..., -1]).any() and (
            self.kind == "plane" or low.min() < low.max() or high.min() < high.max()
        ):
            raise ValueError("bounds of the offset must be numbers, and none for a plane")
        return float(low[0]), float(high[0])

    def run(self, start: np.ndarray, member: np.ndarray) -> FitResult:
        """The result."""
        chosen, shared = self.chosen, self.chosen.shared
        if member.any():  # else no spot has what would be shared
            start[:, shared] = np.where(
                member[:, None], np.median(start[member][:, shared], axis=0), start[:, shared]
            )
        if chosen.method == "mle" and chosen.guess is None and len(start):
            start[:, 0] = np.maximum(start[:, 0], 0.05 * np.median(start[:, 0]))
        offset_limits = self._offset_limits()
        u = self.coordinates.start(start)
        if member.any():
            u[np.ix_(member, self.tied)] = np.median(u[np.ix_(member, self.tied)], axis=0)
        at = _At(u, start[:, -1], self._noise(len(u)), np.full(len(u), np.nan), member)
        half, background = self._half(at.u, at.noise), None
        took, used, before = np.zeros(len(u), np.int32), 0, None
        for plan in range(_MOST_PLANS):
            budget = chosen.max_iter - used
            short = plan == 0 and budget >= 2 * _FIRST_ROUNDS
            solver, order = self._plan(at, half, offset_limits)
            background = self._background(solver, at.offsets[order], background)
            progress = solver.run(
                at.u[order], background, chosen.tol, _FIRST_ROUNDS if short else budget, plan == 0
            )
            used += progress.rounds
            took[order] += progress.took
            background = progress.state.background
            at, away = self._stand(solver, progress, order, at)
            wider = self._half(at.u, at.noise)
            settled = order[progress.settled]
            lacking = (wider[settled] - half[settled]).max(initial=0)
            if before is not None and before[1].settled.sum() > progress.settled.sum():
                solver, progress, order, took = before  # those that were held led others away
                break
            good = not short and lacking <= 1 and not away
            before = (solver, progress, order, took.copy()) if good else None
            if used >= chosen.max_iter or (good and lacking <= 0 and not solver.held.any()):
                break
            if not short and chosen.max_iter - used < _LEAST_PART * chosen.max_iter:
                break  # too few to come to rest in other windows, or with the held spots free
            half = wider if short else np.maximum(half, wider)
        return self._result(solver, progress, order, took)

    def _plan(
        self, at: _At, half: np.ndarray, offset_limits: tuple[float, float]
    ) -> tuple[Solver, np.ndarray]:
        """The solver of these windows, and the order in which it has the spots."""
        places = self._at(at.u)
        windows = lay_windows(places, half, self.picture.extent)
        order, crowd = neighbours.gather(places, self._widths(at.u), windows, self._zones())
        rank = np.full(len(order) + 1, -1, np.int32)
        rank[order] = np.arange(len(order))
        picture, chosen = self.picture, self.chosen
        pixels = Pixels(
            picture.extent, picture.data, picture.second, picture.background, rank[self.owner]
        )
        scene = Scene(
            pixels, np.ascontiguousarray(self.boxes[order]), chosen.method == "mle",
            chosen.pixel == "integrate",
        )  # fmt: skip
        image = JointImage(scene, crowd, self.coordinates.take(order), chosen.threads)
        limits = Limits(self.limits[0][order], self.limits[1][order], offset_limits)
        solver = Solver(
            image, limits, self.terms, Shared(self.tied, at.member[order]), chosen.absolute,
            self._report,
        )  # fmt: skip
        if np.isfinite(at.damping).all() and len(order):
            starts = crowd.members.cluster_spots[:-1]
            solver.equations.damping[:] = np.maximum.reduceat(at.damping[order], starts)
        return solver, order

    def _stand(
        self, solver: Solver, progress: Progress, order: np.ndarray, at: _At
    ) -> tuple[_At, bool]:
        """Where the fit stands, and whether spots were found that share nothing with the others."""
        state, n = progress.state, len(order)
        new = [np.empty_like(x) for x in at]
        damping = solver.equations.damping[solver.crowd.cluster_of]
        member, away = at.member[order], False
        if len(self.tied) and n:
            values, errors = own_values(solver, state)
            floor = 0.25 * self._usual(values[member])
            out = outliers(values, errors, member, floor) & member
            away = bool(out.any()) and not out[member].all()
            member = member & ~out if away else member
        now = (state.u, self._offsets(solver, state), self._left(solver, state), damping, member)
        for whole, part in zip(new, now, strict=True):
            whole[order] = part
        return _At(*new), away

    def _usual(self, values: np.ndarray) -> np.ndarray:
        """The size of shared parameters: what a deviation is compared to."""
        model = self.chosen.model
        lengths = [1 <= k <= model.ndim or model.names[k] == "theta" for k in self.tied.tolist()]
        return np.where(lengths, 1.0, np.abs(np.median(values, axis=0)))

    # -- windows -------------------------------------------------------------------------------

    def _at(self, u: np.ndarray, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Places along z (or frames), y and x of coordinates of these spots."""
        return self._three(u[:, 1 : 1 + self.ndim][:, ::-1], rows)

    def _widths(self, u: np.ndarray) -> np.ndarray:
        """Sigmas along z, y and x; none along frames."""
        widths = self._beside(1e-3, self.coordinates.widths(u)[:, ::-1])
        return np.maximum(widths, 1e-3) if self.ndim == 1 else widths

    def _half(self, u: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Half windows (n, 3) of spots with these coordinates."""
        reach = self.coordinates.reach(u, noise)[:, ::-1]
        return half_windows(self._beside(0, reach).astype(np.int64), self.box)

    def _noise(self, count: int) -> np.ndarray:
        """A first idea of the noise's sigma at each spot: from neighbouring pixels."""
        data = self.picture.data.reshape(self.picture.extent)
        with np.errstate(invalid="ignore"):
            apart = np.abs(np.diff(data[:, ::7], axis=-1))
        apart = apart[np.isfinite(apart)]
        return np.full(count, np.median(apart) / 0.954 if apart.size else 0.0)

    def _left(self, solver: Solver, state: State) -> np.ndarray:
        """The noise's sigma at each spot, sorted as the fit: the least within its light."""
        second = self.picture.second
        used = second[self.owner >= 0] if second.size > 1 else second
        mean = float(used.mean()) if used.size else 1.0
        if self.chosen.method == "mle":
            return np.sqrt(np.maximum(self._offsets(solver, state) + mean, 0.0))
        totals = solver.per_group(state.sums[:, :2])
        return np.sqrt(totals[:, 0] / np.maximum(totals[:, 1] * mean, 1e-300))[
            solver.crowd.group_of
        ]

    # -- the fit -------------------------------------------------------------------------------

    def _report(self, settled: int) -> None:
        """Report how many spots are at rest; never fewer than before."""
        self.told = max(self.told, min(settled, self.chosen.spots - 1))
        if self.chosen.progress is not None:
            self.chosen.progress(self.told, self.chosen.spots)

    def _background(
        self, solver: Solver, offsets: np.ndarray, before: np.ndarray | None
    ) -> np.ndarray:
        """Starting values of the backgrounds' terms: the last ones, if the groups are the same."""
        sizes = np.diff(solver.crowd.members.group_spots)
        background = np.zeros((len(sizes), self.terms))
        if before is not None and before.shape == background.shape and self._zones() is not None:
            return before
        if self.terms:
            background[:, 0] = solver.per_group(offsets) / sizes
            if self.chosen.method == "mle":
                usual = np.median(offsets) if len(offsets) else 1.0
                background[:, 0] = np.maximum(background[:, 0], max(0.1 * usual, 1e-3))
        return background

    def _terms_at(self, solver: Solver, u: np.ndarray) -> np.ndarray:
        """The background's terms at the centres, (n, t)."""
        z, y, x = ((self._three_of(solver, u) - solver.image.scale[:3]) * solver.image.scale[3:]).T
        return np.column_stack([np.ones(len(u)), x, y, z])[:, : self.terms]

    def _three_of(self, solver: Solver, u: np.ndarray) -> np.ndarray:
        return self._beside(solver.crowd.windows[:, 0], u[:, 1 : 1 + self.ndim][:, ::-1])

    def _offsets(self, solver: Solver, state: State) -> np.ndarray:
        """The background at the centres, (n,), sorted as the fit."""
        background = state.background[solver.crowd.group_of]
        fitted = (self._terms_at(solver, state.u) * background).sum(axis=1)
        if self.picture.background.size <= 1:
            return fitted
        shape = self.picture.extent
        at = np.clip(np.rint(self._three_of(solver, state.u)), 0, shape - 1).astype(np.intp)
        return fitted + self.picture.background.reshape(shape)[tuple(at.T)]

    # -- the result ----------------------------------------------------------------------------

    def _result(
        self, solver: Solver, progress: Progress, order: np.ndarray, took: np.ndarray
    ) -> FitResult:
        """Errors, statuses and goodness, in the caller's order."""
        chosen, state = self.chosen, progress.state
        offsets, terms = self._offsets(solver, state), self._terms_at(solver, state.u)
        back = np.empty(len(order), np.intp)
        back[order] = np.arange(len(order))
        rows = build_rows(solver, progress, chosen, offsets, terms).take(back)
        rows = rows._replace(
            iterations=took, dof=rows.pixels - chosen.free,
            frames=self.frames.astype(np.intp) if self.picture.stack else None,
        )  # fmt: skip
        if chosen.progress is not None:
            chosen.progress(len(order), len(order))
        return FitResult(
            chosen.model, rows, absolute=chosen.absolute, pixel=chosen.pixel,
            background=self._remember(solver, state),
        )  # fmt: skip

    def _remember(self, solver: Solver, state: State) -> Background | None:
        """The background as the result keeps it; that of all pixels where there is no spot."""
        if self.kind == "local" and len(self.frames):
            return None
        shape, extent = self.picture.shape, self.picture.extent
        if self.kind == "known":
            background = self.picture.background.reshape(shape)
            return Background(background, np.zeros((1, 0)), solver.image.scale)
        apart = self.picture.stack and not self._together()
        terms = np.full((shape[0] if apart else 1, self.terms), np.nan)
        if len(state.background):
            rows = solver.crowd.windows[solver.crowd.members.group_spots[:-1], 0] if apart else [0]
            terms[rows] = state.background
        data = self.picture.data.reshape(extent)
        second = 1.0 if self.chosen.method == "mle" else self.picture.second
        weights = (self.picture.exists * second).reshape(extent)
        complete(terms, data, weights, solver.image.scale, self._offset_limits())
        return Background(None, terms, solver.image.scale)
