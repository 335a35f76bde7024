"""The joint fits of a search: the problem is checked once, each fit changes what it must."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base import check
from ..fit.options import Options, options
from ..fit.picture_units import scaled_options
from ..joint.arguments import METHODS, Problem, make_problem, read_picture
from ..joint.driver import solve
from ..models.model import Model
from ..results.fit_result import FitResult

_LOOSE_TOL, _LOOSE_ROUNDS = 3e-2, 10  # of fits between rounds
_SETTINGS = (
    "method", "pixel", "guess", "fixed", "bounds", "shared", "covariance", "max_iter", "tol",
    "threads", "progress",
)  # fmt: skip


def refuse_rows(fit: dict[str, Any]) -> None:
    """Refuse options for each spot, because no spots are known."""
    if fit["guess"] is not None:
        raise ValueError("guess needs positions with joint=True")
    for name in ("fixed", "bounds"):
        for key, value in (fit[name] if isinstance(fit[name], dict) else {}).items():
            pair = name == "bounds" and isinstance(value, (tuple, list)) and len(value) == 2
            ends = value if pair else [value]
            if any(np.ndim(end) for end in ends):
                raise ValueError(f"{name}[{key!r}] must be numbers without positions")


class SearchFits:
    """One image, what is asked of its spots, and the fits of it.

    A rotated model is searched for unrotated (``plain``): of equal sigmas the angle is not known.
    """

    def __init__(
        self, picture: np.ndarray, model: Model, polarity: Any, fit: dict[str, Any], count: int
    ) -> None:
        check.choice("method", fit["method"], METHODS)
        maps = {name: fit[name] for name in ("weights", "variance", "mask")}
        asked = {name: fit[name] for name in _SETTINGS}
        chosen = options(
            model, count, polarity=0, weighted=maps["weights"] is not None,
            camera=maps["variance"] is not None, **asked,
        )  # fmt: skip
        read, _ = read_picture(picture, np.empty((0, picture.ndim)), None, fit["method"], **maps)
        self.problem = make_problem(
            read, picture, maps, chosen, fit["box"], fit["background"], fit["fixed"], polarity
        )
        self.unit = read.unit
        self.asked, self.model, self.plain = (
            scaled_options(chosen, read.unit),
            model,
            model.unrotated,
        )
        self.between = self.asked
        if self.plain is not model:
            names = self.plain.names
            some = {
                name: {k: v for k, v in (fit[name] or {}).items() if k in names}
                for name in ("fixed", "bounds")
            }
            shared = tuple(model.names[k] for k in chosen.shared if model.names[k] in names)
            between = options(
                self.plain, count, polarity=0, weighted=maps["weights"] is not None,
                camera=maps["variance"] is not None,
                **asked | some | {"shared": shared, "guess": None},
            )  # fmt: skip
            self.between = scaled_options(between, read.unit)
        self.dark = self.problem.dark

    @property
    def width_columns(self) -> list[int]:
        """Columns of the widths of the plain model."""
        return sorted(set(self.plain.sigmas))

    def _limits(self, chosen: Options, rows: np.ndarray | int) -> np.ndarray:
        """Bounds (2, m, P) of these rows, or of a number of rows."""
        size = chosen.model.size
        count = rows if isinstance(rows, int) else len(rows)
        if chosen.bounds is None:
            ends = np.array([-np.inf, np.inf])[:, None, None]
            return np.broadcast_to(ends, (2, count, size)).copy()
        if chosen.bounds.shape[1] == 1 or isinstance(rows, int):
            return np.broadcast_to(chosen.bounds[:, :1], (2, count, size)).copy()
        return chosen.bounds[:, rows].copy()

    @property
    def free_widths(self) -> list[int]:
        """Columns of widths that are not fixed."""
        limits = self._limits(self.between, 1 if self.between.bounds is None else np.arange(1))
        return [k for k in self.width_columns if limits[0, 0, k] < limits[1, 0, k]]

    def free_columns(self) -> list[int]:
        """Columns without the offset that each spot has its own values of."""
        limits = self._limits(self.between, 1 if self.between.bounds is None else np.arange(1))
        return [
            k for k in range(self.plain.size - 1)
            if limits[0, 0, k] < limits[1, 0, k] and k not in self.between.shared
        ]  # fmt: skip

    def holds(self) -> bool:
        """Whether there are widths to hold between rounds."""
        return bool(self.free_widths)

    def own_widths(self) -> bool:
        """Whether spots may have widths of their own: none is fixed or shared."""
        free = set(self.free_widths) - set(self.between.shared)
        return free == set(self.width_columns)

    def shares(self) -> bool:
        """Whether spots share parameters between rounds too."""
        return bool(set(self.between.shared) - set(self.free_widths))

    def fit(
        self, places: np.ndarray, guess: np.ndarray | None, rows: np.ndarray, member: np.ndarray,
        exact: bool,
    ) -> FitResult:  # fmt: skip
        """The fit as it was asked for, or a loose one; ``rows`` of these spots in the options."""
        chosen = self.asked
        if not exact:
            chosen = self._loose(chosen)
        return self._solve(self.problem, chosen, places, guess, rows, member)

    def fit_between(
        self, places: np.ndarray, guess: np.ndarray | None, hold: np.ndarray | None,
        rows: np.ndarray | None = None, member: np.ndarray | None = None,
        background: np.ndarray | None = None, weights: np.ndarray | None = None,
    ) -> FitResult:  # fmt: skip
        """A loose fit of the plain model: free widths held at ``hold`` (n, w), or shared.

        A width is free where ``hold`` is NaN. ``member`` (n,): whose widths are shared.
        ``background``: all of it, known; widths that are fixed are then those of ``hold``, too.
        ``weights`` of pixels, in the place of those given.
        """
        chosen = self._loose(self.between)
        free, columns = self.free_widths, self.width_columns
        if hold is None:
            chosen = chosen._replace(shared=sorted(set(chosen.shared) | set(free)))
        else:
            chosen = chosen._replace(shared=[k for k in chosen.shared if k not in free])
        limits = self._limits(chosen, len(places) if rows is None else rows)
        if hold is not None:
            for k in free if background is None else columns:
                held = hold[:, columns.index(k)]
                limits[:, :, k] = np.where(np.isnan(held), limits[:, :, k], held)
        problem = self.problem
        if background is not None:
            problem = problem.with_background(background)
            limits[:, :, -1] = np.array([-np.inf, np.inf])[:, None]
        if weights is not None:
            problem = problem.with_weights(weights)
        chosen = chosen._replace(bounds=limits)
        return self._solve(problem, chosen, places, guess, None, member)

    def fit_free(self, places: np.ndarray, rows: np.ndarray | None = None) -> FitResult:
        """A loose fit of the plain model with the widths as they were asked for."""
        chosen = self._loose(self.between)
        return self._solve(self.problem, chosen, places, None, rows, None)

    def _loose(self, chosen: Options) -> Options:
        """Options of a fit between rounds."""
        covariance = "absolute" if self.asked.absolute else "residual"
        return chosen._replace(tol=_LOOSE_TOL, max_iter=_LOOSE_ROUNDS, covariance=covariance)

    def _solve(
        self, problem: Problem, chosen: Options, places: np.ndarray, guess: np.ndarray | None,
        rows: np.ndarray | None, member: np.ndarray | None,
    ) -> FitResult:  # fmt: skip
        limits = chosen.bounds
        if len(places) and (limits is None or limits.shape[1] != len(places)):
            limits = self._limits(chosen, len(places) if rows is None else rows)
        chosen = chosen._replace(
            spots=len(places), guess=guess, bounds=limits, progress=None,
            free=0 if limits is None else (limits[0] < limits[1]).sum(axis=1),
        )  # fmt: skip
        return solve(problem, places, chosen, member)
