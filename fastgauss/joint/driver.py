"""Windows laid, groups solved, the result built."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..fit.options import Options
from ..kernels.status import (
    AT_BOUND,
    CONVERGED,
    MAX_ITERATIONS,
    NOT_FINITE,
    SINGULAR,
    TOO_FEW_PIXELS,
)
from ..results import pixel_owners
from ..results.background import Background
from ..results.fit_result import FitResult
from ..results.pixel_owners import claim
from ..results.rows import Rows
from . import covariances, neighbours, start_values
from .arguments import _Picture
from .background import complete
from .coordinates import Coordinates
from .scene import Scene, State
from .slow_groups import fit_all
from .solver import Joint

_FLAT = 1e-13  # amplitude relative to the background, at which a spot is rounding
_NO_SPOT = 1e-4  # amplitude in standard errors at which there is nothing that has a shape
_MOST_PLANS = 4  # times that windows are laid anew


class _Fit:
    """One call: plans, solutions, the result."""

    def __init__(
        self, picture: _Picture, places: np.ndarray, chosen: Options, box: tuple[int, ...],
        kind: str, dark: bool,
    ) -> None:  # fmt: skip
        self.picture, self.chosen, self.kind = picture, chosen, kind
        model = chosen.model
        self.ndim = model.ndim
        self.frames = places[:, 0] if picture.stack else np.zeros(len(places))
        self.three = self._three(places[:, -self.ndim :])
        extents = np.array((1, *box)[-3:])
        self.boxes = pixel_owners.boxes_around(self.three, extents // 2, extents, picture.extent)
        self.owner = claim(picture.extent, picture.exists, self.three, self.boxes, chosen.threads)
        bound = chosen.bounds is not None and bool(np.isfinite(chosen.bounds[..., 3:6]).any())
        direct = bound or any(3 <= k <= 5 for k in chosen.shared)
        self.coordinates = Coordinates(model, direct)
        self.limits = start_values.limits(chosen, places, box, direct, dark)
        if model.size - 1 in chosen.shared and kind == "local":
            self.kind = kind = "constant"
        self.terms = {"known": 0, "local": 1, "constant": 1, "plane": 1 + model.ndim}[kind]
        self.tied = np.zeros(model.size - 1, bool)
        self.tied[[k for k in chosen.shared if k < model.size - 1]] = True
        self.box, self.told = box, 0

    def _three(self, centres: np.ndarray, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Centres along z (or frames), y and x."""
        if self.ndim == 3:
            return centres.copy()
        return np.column_stack([self.frames[rows], centres])

    def _together(self) -> bool:
        """Whether all spots have something in common, whatever their frames."""
        return bool(self.tied.any()) or self.chosen.model.size - 1 in self.chosen.shared

    def _zones(self) -> np.ndarray | None:
        """What belongs together besides overlaps."""
        if self._together():
            return np.zeros(len(self.frames), np.intp)
        return None if self.kind in ("local", "known") else self.frames.astype(np.intp)

    def _offset_limits(self) -> tuple[float, float]:
        """Bounds of the background."""
        bounds = self.chosen.bounds
        if bounds is None:
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

    def run(self, start: np.ndarray) -> FitResult:
        """The result."""
        if len(start):
            start[:, self.chosen.shared] = np.median(start[:, self.chosen.shared], axis=0)
        if self.chosen.method == "mle" and len(start):
            start[:, 0] = np.maximum(start[:, 0], 0.05 * np.median(start[:, 0]))
        offset_limits = self._offset_limits()
        u, offsets = self.coordinates.start(start), start[:, -1]
        if len(u):
            u[:, self.tied] = np.median(u[:, self.tied], axis=0)
        noise = self._noise(offsets)
        half = self._half(u, noise)
        rounds = np.zeros(len(u), np.int32)
        for plan in range(_MOST_PLANS):
            windows = self._windows(u, half)
            order, crowd = neighbours.gather(self._at(u), self._widths(u), windows, self._zones())
            fit = self._joint(crowd, order, offset_limits)
            ground = self._ground(fit, offsets[order])
            progress = fit_all(
                fit, u[order], ground, self.chosen.tol, self.chosen.max_iter, plan == 0,
                partial(self._at_sorted, order), self._widths,
            )  # fmt: skip
            state, settled = progress.state, progress.settled
            u = np.empty_like(u)
            u[order] = state.u
            rounds[order] += progress.rounds
            noise[order] = self._left(fit, state)
            wider = self._half(u, noise)
            if (wider[order[settled]] <= half[order[settled]] + 1).all():
                break
            half = np.maximum(half, wider)
        return self._result(fit, state, settled, order, rounds)

    # -- windows -------------------------------------------------------------------------------

    def _at(self, u: np.ndarray, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Places along z (or frames), y and x of coordinates of these spots."""
        return self._three(u[:, 1 : 1 + self.ndim][:, ::-1], rows)

    def _at_sorted(self, order: np.ndarray, u: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return self._at(u, order[rows])

    def _widths(self, u: np.ndarray) -> np.ndarray:
        """Sigmas along z, y and x; none along frames."""
        widths = self.coordinates.widths(u)[:, ::-1]
        return widths if self.ndim == 3 else np.column_stack([np.full(len(u), 1e-3), widths])

    def _half(self, u: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Half windows: the reach of the light, and at least the box."""
        half = neighbours.reach_of(self._widths(u), u[:, 0], noise)
        half = np.maximum(half, (np.array((1, *self.box)[-3:]) + 1) // 2)
        if self.ndim < 3:
            half[:, 0] = 0
        return half

    def _windows(self, u: np.ndarray, half: np.ndarray) -> np.ndarray:
        return pixel_owners.boxes_around(self._at(u), half, 2 * half + 1, self.picture.extent)

    def _noise(self, offsets: np.ndarray) -> np.ndarray:
        """A first idea of the noise's sigma at each spot: from neighbouring pixels."""
        data = self.picture.data.reshape(self.picture.shape)
        with np.errstate(invalid="ignore"):
            apart = np.abs(np.diff(data[..., ::7, :], axis=-1))
        apart = apart[np.isfinite(apart)]
        return np.full(len(offsets), np.median(apart) / 0.954 if apart.size else 0.0)

    def _left(self, fit: Joint, state: State) -> np.ndarray:
        """The noise's sigma at each spot, sorted as the fit: the least within its light."""
        second = self.picture.second
        used = second[self.owner >= 0] if second.size > 1 else second
        mean = float(used.mean()) if used.size else 1.0
        if self.chosen.method == "mle":
            return np.sqrt(np.maximum(self._offsets(fit, state) + mean, 0.0))
        totals = fit.per_group(state.sums[:, :2])
        return np.sqrt(totals[:, 0] / np.maximum(totals[:, 1] * mean, 1e-300))[fit.crowd.group_of]

    # -- the fit -------------------------------------------------------------------------------

    def _report(self, settled: int) -> None:
        """Tell how many spots are there; never fewer than before."""
        self.told = max(self.told, min(settled, self.chosen.spots - 1))
        if self.chosen.progress is not None:
            self.chosen.progress(self.told, self.chosen.spots)

    def _joint(
        self, crowd: neighbours.Crowd, order: np.ndarray, offset_limits: tuple[float, float]
    ) -> Joint:
        """The fit of these windows, spots sorted."""
        rank = np.full(len(order) + 1, -1, np.int32)
        rank[order] = np.arange(len(order))
        picture, chosen = self.picture, self.chosen
        scene = Scene(
            picture.extent, picture.data, picture.second, picture.ground, rank[self.owner],
            np.ascontiguousarray(self.boxes[order]), chosen.method == "mle",
            chosen.pixel == "integrate",
        )  # fmt: skip
        limits = self.limits[0][order], self.limits[1][order]
        return Joint(
            scene, crowd, self.coordinates, self.terms, limits, offset_limits, self.tied,
            chosen.absolute, chosen.threads, self._report,
        )  # fmt: skip

    def _ground(self, fit: Joint, offsets: np.ndarray) -> np.ndarray:
        """Where the terms of the backgrounds start."""
        ground = np.zeros((len(fit.crowd.lows) - 1, self.terms))
        if self.terms:
            sizes = np.diff(fit.crowd.lows)
            ground[:, 0] = fit.per_group(offsets) / sizes
            if self.chosen.method == "mle":
                usual = np.median(offsets) if len(offsets) else 1.0
                ground[:, 0] = np.maximum(ground[:, 0], max(0.1 * usual, 1e-3))
        return ground

    def _terms_at(self, fit: Joint, u: np.ndarray) -> np.ndarray:
        """The background's terms at the centres, (n, t)."""
        z, y, x = ((self._three_of(fit, u) - fit.scale[:3]) * fit.scale[3:]).T
        return np.column_stack([np.ones(len(u)), x, y, z])[:, : self.terms]

    def _three_of(self, fit: Joint, u: np.ndarray) -> np.ndarray:
        centres = u[:, 1 : 1 + self.ndim][:, ::-1]
        if self.ndim == 3:
            return centres
        return np.column_stack([fit.crowd.windows[:, 0], centres])

    def _offsets(self, fit: Joint, state: State) -> np.ndarray:
        """The background at the centres, (n,), sorted as the fit."""
        ground = state.ground[fit.crowd.group_of]
        fitted = (self._terms_at(fit, state.u) * ground).sum(axis=1)
        if self.picture.ground.size <= 1:
            return fitted
        shape = self.picture.extent
        at = np.clip(np.rint(self._three_of(fit, state.u)), 0, shape - 1).astype(np.intp)
        return fitted + self.picture.ground.reshape(shape)[tuple(at.T)]

    # -- the result ----------------------------------------------------------------------------

    def _result(
        self, fit: Joint, state: State, settled: np.ndarray, order: np.ndarray, rounds: np.ndarray
    ) -> FitResult:
        """Errors, statuses and goodness, in the caller's order."""
        chosen, n = self.chosen, len(order)
        fit.normal(state.u, np.arange(n))
        matrices, sound = covariances.covariances(fit, state, self._terms_at(fit, state.u))
        if chosen.covariance == "residual":
            freedom = fit.freedom(state.u)
            with np.errstate(divide="ignore", invalid="ignore"):
                noise = fit.per_group(state.sums[:, 0]) / np.where(freedom > 0, freedom, np.nan)
            matrices *= noise[fit.crowd.group_of, np.newaxis, np.newaxis]
        reported, matrices = self.coordinates.report(
            np.column_stack([state.u, self._offsets(fit, state)]), matrices
        )
        around = fit.measure(state.ground, np.arange(n), own=False)
        own = (fit.lower < fit.upper).sum(axis=1) - int(fit.tied.sum())
        held = fit.lower < fit.upper
        edge = (((state.u <= fit.lower) | (state.u >= fit.upper)) & held).any(axis=1)
        status = np.where(settled, np.where(edge, AT_BOUND, CONVERGED), MAX_ITERATIONS)
        with np.errstate(invalid="ignore"):
            error = np.sqrt(matrices[:, 0, 0])
            height, ground = np.abs(reported[:, 0]), np.abs(reported[:, -1])
            sound &= (height > _NO_SPOT * error) & (height > _FLAT * ground)
        status[~sound & held.any(axis=1)] = SINGULAR
        lost = ~np.isfinite(fit.per_group(state.sums[:, 0]))[fit.crowd.group_of]
        status[lost] = NOT_FINITE
        few = around[:, 1] < own + 1
        status[few] = TOO_FEW_PIXELS
        reported[few | lost] = np.nan
        matrices[~sound | few | lost] = np.nan
        i, j = np.tril_indices(chosen.model.size)
        back = np.empty(n, np.intp)
        back[order] = np.arange(n)
        pixels = around[back, 1].astype(np.int32)
        rows = Rows(
            reported[back], matrices[:, i, j][back], around[back, 0],
            status[back].astype(np.int32), rounds, pixels, pixels - chosen.free,
            self.frames.astype(np.intp) if self.picture.stack else None,
        )  # fmt: skip
        result = FitResult(
            chosen.model, rows, absolute=chosen.absolute, pixel=chosen.pixel,
            background=self._remember(fit, state),
        )  # fmt: skip
        if chosen.progress is not None:
            chosen.progress(n, n)
        return result

    def _remember(self, fit: Joint, state: State) -> Background | None:
        """What the result shall know of the background; without a spot, that of all pixels."""
        if self.kind == "local" and len(self.frames):
            return None
        shape, extent = self.picture.shape, self.picture.extent
        if self.kind == "known":
            ground = self.picture.ground.reshape(shape)
            return Background(ground, np.zeros((1, 0)), fit.scale)
        apart = self.picture.stack and not self._together()
        terms = np.full((shape[0] if apart else 1, self.terms), np.nan)
        if len(state.ground):
            rows = fit.crowd.windows[fit.crowd.lows[:-1], 0] if apart else [0]
            terms[rows] = state.ground
        data = self.picture.data.reshape(extent)
        second = 1.0 if self.chosen.method == "mle" else self.picture.second
        weights = (self.picture.exists * second).reshape(extent)
        complete(terms, data, weights, fit.scale, self._offset_limits())
        return Background(None, terms, fit.scale)
