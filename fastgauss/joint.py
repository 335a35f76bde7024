"""Overlapping spots, fitted together: one solution for all of an image."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import _crowd, _errors, _joint_start
from ._coordinates import Coordinates
from ._ground import complete
from ._joint import Joint, Scene, State
from ._remainder import fit_all
from .base import check
from .base.progress import Progress, reporting
from .fit.options import Options, options
from .fit.pixel_maps import pixel_map, pixel_mask
from .fit.windows import box_sides
from .kernels.status import (
    AT_BOUND,
    CONVERGED,
    MAX_ITERATIONS,
    NOT_FINITE,
    SINGULAR,
    TOO_FEW_PIXELS,
)
from .models.model import Model, get_model
from .results import pixel_owners
from .results.background import Background
from .results.fit_result import FitResult
from .results.pixel_owners import claim
from .results.rows import Rows

BACKGROUNDS = ("local", "constant", "plane")
_LARGEST = 1e150  # of a pixel: its square is finite
_FLAT = 1e-13  # amplitude relative to the background, at which a spot is rounding
_NO_SPOT = 1e-4  # amplitude in standard errors at which there is nothing that has a shape
_MOST_PLANS = 4  # times that windows are laid anew


class _Picture(NamedTuple):
    """An image as the fit takes it."""

    shape: tuple[int, ...]
    data: np.ndarray  # flat float64
    second: np.ndarray  # flat weights or variances, or one for all
    exists: np.ndarray  # flat bool
    ground: np.ndarray  # flat known background, or (1,)
    stack: bool

    @property
    def extent(self) -> np.ndarray:
        """Pixels along z (frames of a stack), y and x."""
        return np.array((1, *self.shape)[-3:])


def fit_joint(
    image: ArrayLike,
    positions: ArrayLike,
    model: str | Model = "symmetric",
    *,
    box: int | tuple[int, ...] = 11,
    frames: ArrayLike | None = None,
    background: str | ArrayLike = "local",
    method: str = "lsq",
    pixel: str = "sample",
    guess: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    variance: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    fixed: dict[str, Any] | None = None,
    bounds: dict[str, Any] | None = None,
    shared: str | tuple[str, ...] = (),
    covariance: str = "auto",
    polarity: str = "bright",
    max_iter: int = 50,
    tol: float = 1e-6,
    threads: int | None = None,
    progress: bool | Progress = False,
) -> FitResult:
    """Fit all spots of an image together, those that overlap as one model.

    Parameters
    ----------
    image : array (y, x), (z, y, x), or (t, y, x) with `frames`
        Any real dtype. Pixels that are NaN, infinite or beyond 1e150 do not exist.
    positions : array (n, ndim)
        (z,) row and column of each spot.
    model : {"symmetric", "elliptic", "rotated"} or Model
        As in `fit_rois`.
    box : int or tuple of ints
        Pixels within this box around a rounded position are fitted; a spot's light is
        counted further out, until it is below 2 % of the noise's sigma.
    frames : int array (n,), optional
        `image` is a stack, and this the frame of each spot: frames are fitted each for itself.
    background : {"local", "constant", "plane"} or array
        One offset for each group of overlapping spots, one for the image, a plane
        over the image, or a known background of the image's shape (a number will do).
    method, pixel, weights, variance, mask, covariance, polarity
        As in `fit_spots`; covariance="sandwich" is not available.
    guess : array (P,) or (n, P), optional
        Starting values. Without them each spot is fitted alone first.
    fixed, bounds : dict, optional
        As in `fit_rois`, in the image's coordinates. Besides, a centre stays within half the
        distance to the nearest position, or a pixel, and within half a box; sigmas stay below
        `box`, and amplitudes keep the sign that `polarity` says.
    shared : str or tuple of str
        Parameters that have one value for all spots.
    max_iter, tol
        Rounds, and the distance to the solution in standard errors, at which a group of spots
        that overlap is done.
    threads : int, optional
        Threads at most. The result does not depend on it.
    progress : bool or callable
        Called with the spots done and all.

    Returns
    -------
    FitResult
        One row a position. Errors and covariances know the neighbours and the background.
        ``objective``, ``pixels`` and ``dof`` are those of the box of each spot at the joint
        solution, and ``result.render(shape)`` is the image of all spots.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    See Also
    --------
    fit_spots : with ``joint=True`` finds the spots, too.

    Notes
    -----
    Gauss-Newton for the whole image, without a matrix of its size: blocks of the normal equations
    for spots and for pairs that overlap, conjugate gradients for the step, damping by spot
    (``fastgauss._joint``, ``kernels.crowd``). A spot that overlaps with nobody has the solution
    of `fit_rois` on its box. The cost grows about linearly in spots and in pixels of their
    windows: 0.1 to 0.7 milliseconds a spot where each overlaps with a few (10,000 spots), mostly
    for the few that can hardly be told apart; memory about 48 bytes a pixel
    of the image and 1 to 3 KB a spot.

    References
    ----------
    .. [1] P. Stetson, Publ. Astron. Soc. Pacific 99, 191 (1987): groups of stars fitted at once.
    .. [2] H. Babcock, Y. Sigal, X. Zhuang, Optical Nanoscopy 1, 6 (2012): 3D-DAOSTORM.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> truth = np.array([[100.0, 20.3, 30.7, 1.3, 10.0], [80.0, 22.6, 31.1, 1.3, 0.0]])
    >>> image = fg.image(truth, (64, 64), model="symmetric").sum(axis=0)
    >>> fg.fit_joint(image, [[31.0, 20.0], [31.0, 23.0]]).amplitude.round(6)
    array([100.,  80.])
    """
    picture, places = _read(image, positions, frames, method, weights, variance, mask)
    ndim = places.shape[1] - (frames is not None)
    chosen = options(
        get_model(model, ndim), len(places), method=method, pixel=pixel, polarity=0, guess=guess,
        fixed=fixed, bounds=bounds, shared=shared, weighted=weights is not None,
        camera=variance is not None, covariance=covariance, max_iter=max_iter, tol=tol,
        threads=threads, progress=progress,
    )  # fmt: skip
    if chosen.covariance == "sandwich":
        raise ValueError("covariance must not be 'sandwich' for a joint fit")
    dark = check.choice("polarity", polarity, ("bright", "dark")) == "dark"
    size = box_sides(box, ndim)
    kind, ground = _background(background, picture.shape, fixed)
    start = chosen.guess
    with reporting(progress, len(places), "spot") as report:
        if start is None:
            settings = {
                "box": size, "method": method, "pixel": pixel, "fixed": fixed, "threads": threads,
            }  # fmt: skip
            maps = {"weights": weights, "variance": variance, "mask": mask}
            start = _joint_start.alone(
                image, places, chosen.model, dark, frames is not None, settings, maps
            )
        chosen, picture = chosen._replace(progress=report), picture._replace(ground=ground)
        return _Fit(picture, places, chosen, size, kind, dark).run(np.array(start))


def _read(
    image: Any, positions: Any, frames: Any, method: Any, weights: Any, variance: Any, mask: Any
) -> tuple[_Picture, np.ndarray]:
    """The image and the places (n, d) of spots in it, with the frame first in a stack."""
    array = check.real_array("image", image, 3 if frames is not None else (2, 3))
    shape = array.shape
    missing = pixel_mask(mask, shape, None)
    second = pixel_map("weights", weights, shape, None)
    exists = np.isfinite(array)
    if array.dtype.itemsize >= 8 and array.dtype.kind == "f":
        exists &= np.abs(array) < _LARGEST
    if second is not None and second.zeros:
        exists &= second.array[0] > 0
    if second is None:
        second = pixel_map("variance", variance, shape, None)
    if missing is not None:
        exists &= ~missing.array[0]
    ndim = len(shape) - (frames is not None)
    places = check.positions(positions, ndim)
    if frames is not None:
        numbers = check.real_array("frames", frames, 1)
        if numbers.dtype.kind not in "iu":
            raise TypeError(f"frames must be integers, got {numbers.dtype}")
        if numbers.shape != (len(places),):
            raise ValueError(f"frames must have shape ({len(places)},), got {numbers.shape}")
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < shape[0]):
            raise ValueError(f"frames must be from 0 to {shape[0] - 1}")
        places = np.column_stack([numbers.astype(np.float64), places])
    data = np.ascontiguousarray(array, np.float64).reshape(-1)
    per_pixel = np.array([0.0 if method == "mle" else 1.0])
    if second is not None:
        per_pixel = np.ascontiguousarray(second.array[0], np.float64).reshape(-1)
    return _Picture(shape, data, per_pixel, exists.reshape(-1), np.zeros(1), frames is not None), (
        places
    )


def _background(
    background: Any, shape: tuple[int, ...], fixed: dict[str, Any] | None
) -> tuple[str, np.ndarray]:
    """Its kind, "known" if nothing of it is fitted, and what is known of it."""
    held = None if fixed is None else fixed.get("offset")
    if isinstance(background, str):
        check.choice("background", background, BACKGROUNDS)
        if held is None:
            return background, np.zeros(1)
        if np.ndim(held):
            raise ValueError("fixed['offset'] must be a number in a joint fit; see background")
        background = held
    elif held is not None:
        raise ValueError("fixed must not hold the offset where background is an array")
    known = check.finite_array("background", background)
    if known.ndim and known.shape != shape:
        raise ValueError(f"background must have shape {shape} or be a number, got {known.shape}")
    return "known", np.ascontiguousarray(np.broadcast_to(known, shape)).reshape(-1)


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
        self.limits = _joint_start.limits(chosen, places, box, direct, dark)
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
            order, crowd = _crowd.gather(self._at(u), self._widths(u), windows, self._zones())
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
        half = _crowd.reach_of(self._widths(u), u[:, 0], noise)
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
        self, crowd: _crowd.Crowd, order: np.ndarray, offset_limits: tuple[float, float]
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
        matrices, sound = _errors.covariances(fit, state, self._terms_at(fit, state.u))
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
