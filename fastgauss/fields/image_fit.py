"""An image as a sum of Gaussians: `fit_image`.

The number of Gaussians grows in stages. A stage removes those that do nothing, splits those under
which much of the residual lies, and places round ones where the residual has most of its energy.
Then some iterations move the amplitudes alone, and all parameters descend together
(``fields/image_descent.py``). At the end the amplitudes are solved for exactly
(`GaussianField.fit_amplitudes`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, image_data, thread_pool
from ..base.grid import Grid
from ..base.named_axes import SPACE, axes_of, lay_out_channels
from ..base.progress import Progress, check_progress, reporting
from ..base.scaling import power_of_two, unit_of
from ..base.status import Status
from . import arguments, node_memory, placement, sweeps
from .field import GaussianField
from .image_descent import Descent, State, field_of, heights_of, raised
from .image_result import HISTORY, ImageFit, decibels

_STAGES = (0.5, 0.75, 1.0)  # parts of the components that a stage has
_SHARE = 0.35  # of the iterations that are left: those of a stage that is not the last
_SPLIT = 0.3  # part of the new Gaussians that come from splits
_RIDGE = 1e-5  # of the mean diagonal of the normal equations of amplitudes
_SOLVED, _PRODUCTS = 1e-6, 300  # tolerance and largest number of products of their solution
_SIDES = 8  # pixels: an image with 3 or 4 planes of longer sides has colours
_AGAIN = 20  # iterations after which a descent begins anew
_NEW, _OLD = 10, 5  # iterations of the amplitudes alone before the first descent and the others
MOST = 10_000_000


def _channel_axis(value: Any, shape: tuple[int, ...]) -> int | None:
    """The axis of channels that the option means."""
    if value is None:
        return None
    if isinstance(value, str):
        check.choice("channel_axis", value, ("auto",))
        coloured = len(shape) == 4 or (
            len(shape) == 3 and shape[-1] in (3, 4) and min(shape[:2]) > _SIDES
        )
        return -1 if coloured else None
    return check.integer("channel_axis", value, at_least=-len(shape), at_most=len(shape) - 1)


def _arranged_channels(value: Any, image: Any, arranged: Any) -> Any:
    """The option for an image that was turned by the names of its axes.

    A number counts the axes as they were given; without one, an axis that is not of space is that
    of channels.
    """
    dims, order = axes_of(image), axes_of(arranged)
    if dims is None or order is None:
        return value
    others = [word for word in order if word.lower() not in SPACE]
    if isinstance(value, str) and value == "auto" and len(others) <= 1 < len(dims):
        return order.index(others[0]) if others else None
    if isinstance(value, int | np.integer) and -len(dims) <= value < len(dims):
        return order.index(dims[value])
    return value


def _planes(
    image: Any, weights: Any, mask: Any, channel_axis: Any
) -> tuple[np.ndarray, Any, Any, int | None]:
    """The image with channels last, its weights and mask likewise, and whether it has channels."""
    arranged, mask, weights = lay_out_channels("image", image, mask=mask, weights=weights)
    channel_axis = _arranged_channels(channel_axis, image, arranged)
    image, mask, weights, _ = image_data.measured("image", arranged, mask, weights)
    array = check.real_array("image", image)
    axis = _channel_axis(channel_axis, array.shape)
    ndim = array.ndim - (axis is not None)
    if axis is not None:
        whole = array.ndim
        array = np.moveaxis(array, axis, -1)
        if np.ndim(weights) == whole:
            weights = np.moveaxis(check.real_array("weights", weights), axis, -1)
        if np.ndim(mask) == whole:
            mask = np.moveaxis(check.boolean_array("mask", mask), axis, -1)
    if ndim not in (1, 2, 3) or not array.size:
        raise ValueError(
            "image must be a profile, an image or a volume, with or without an axis of channels, "
            f"and not empty, got shape {array.shape} with channel_axis={channel_axis!r}"
        )
    return array, weights, mask, axis


def _peak(array: np.ndarray, data: arguments.Data) -> float:
    """The range of valid values that a PSNR is relative to."""
    if array.dtype.kind in "iu" and array.dtype.itemsize <= 2:
        return float(np.iinfo(array.dtype).max)
    valid: Any = True if data.weights is None else data.weights > 0.0
    low = float(data.volume.min(initial=np.inf, where=valid))
    high = float(data.volume.max(initial=-np.inf, where=valid))
    return high - low if high > low else 0.0


@dataclass
class _Job:
    """The data of a fit and what has been done."""

    data: arguments.Data  # the volume scaled by ``unit``, the weights by ``weight_unit``
    pattern: GaussianField  # whose options fields have
    nonnegative: bool
    rng: np.random.Generator
    unit: float
    weight_unit: float
    peak: float  # in the caller's unit
    max_iter: int
    tol: float
    report: Progress | None
    history: list[tuple[int, int, float, float]]

    @property
    def done(self) -> int:
        """Iterations so far."""
        return self.history[-1][0] if self.history else 0

    @cached_property
    def total(self) -> float:
        """Sum of the weights of all nodes."""
        weights = self.data.weights
        return float(self.data.nodes) if weights is None else float(np.add.reduce(weights, None))

    def note(self, components: int, half: float, iteration: int) -> None:
        """A line of the history."""
        square = 2.0 * float(half) / self.unit / self.unit / self.weight_unit
        told = decibels(2.0 * float(half), self.total, self.peak * self.unit)
        self.history.append((iteration, components, square, told))
        if self.report is not None:
            self.report(min(iteration, self.max_iter), self.max_iter)

    def residual(self, state: State) -> np.ndarray:
        """A a - v in planes (channels, ...), 0 at missing nodes."""
        left = node_memory.negated(self.data.volume)
        plan = field_of(self.pattern, state.shapes).plan
        sweeps.scatter(
            plan, left, heights_of(self.data, state.amplitudes), "sum", self.pattern.threads
        )
        one, weights = self.data.channels is None, self.data.weights
        planes = left[np.newaxis] if one else left
        if weights is not None:
            for plane, each in zip(planes, weights[np.newaxis] if one else weights, strict=True):
                np.multiply(plane, np.sqrt(each), out=plane)
        return planes

    def half_square(self, state: State) -> float:
        """Half the weighted square of the residual."""
        return 0.5 * float(np.add.reduce(self.residual(state) ** 2, axis=None))

    def solved(self, state: State) -> State:
        """The state with the best amplitudes for its Gaussians, or with its own if these are."""
        from .amplitudes import fit

        field = field_of(self.pattern, state.shapes)
        area = np.prod(np.diagonal(state.shapes.lower, axis1=1, axis2=2), axis=1)
        ridge = _RIDGE * float(area.mean()) * math.pi ** (field.grid.ndim / 2)
        found = fit(field, self.data, self.nonnegative, ridge, _SOLVED, _PRODUCTS)
        new = State(state.shapes, found.amplitudes.reshape(state.amplitudes.shape))
        return new if self.half_square(new) < self.half_square(state) else state

    def descend(self, state: State, most: int) -> tuple[State, bool]:
        """The state after ``most`` iterations or fewer, and whether these were enough."""
        first = self.done
        end = first + most

        def tell(half: float) -> None:
            self.note(len(state.amplitudes), half, self.done + 1)

        state = raised(self.pattern, self.data, state, self.nonnegative, _NEW)
        while self.done < end:
            if self.done > first:
                state = raised(self.pattern, self.data, state, self.nonnegative, _OLD)
            before, few = self.half_square(state), min(end - self.done, _AGAIN)
            descent = Descent(self.pattern, self.data, state, self.nonnegative)
            state, half, used = descent.minimise(few, self.tol, tell)
            if used < few and not half < before * (1.0 - self.tol * max(used, 1) * 2.0):
                return state, True
        return state, False

    def grown(self, state: State, n: int) -> State:
        """The state with n Gaussians; some of its own may have been removed."""
        shape = self.pattern.grid.shape
        stay = ~placement.idle(state.shapes, state.amplitudes, shape)
        shapes, amplitudes = state.shapes.chosen(stay), state.amplitudes[stay]
        energy = (self.residual(State(shapes, amplitudes)) ** 2).sum(axis=0)
        missing = n - len(amplitudes)
        doubled = min(int(_SPLIT * missing), len(amplitudes))
        if doubled:
            plan = field_of(self.pattern, shapes).plan
            under = sweeps.gather(plan, energy, self.pattern.threads)[:, 0]
            value = np.linalg.eigvalsh(shapes.covariance)[:, -1]
            under[np.sqrt(value) < 3.0 * placement.LEAST] = -1.0
            which = np.argsort(-under, kind="stable")[:doubled]
            which = which[under[which] > 0.0]
            rest = np.ones(len(amplitudes), dtype=bool)
            rest[which] = False
            shapes = shapes.chosen(rest).joined(placement.split(shapes, which))
            amplitudes = np.concatenate([amplitudes[rest], *[0.8 * amplitudes[which]] * 2])
        more = placement.added(energy, shapes, n - len(amplitudes), self.rng)
        blank = np.zeros((len(more.positions), amplitudes.shape[1]))
        return State(shapes.joined(more), np.concatenate([amplitudes, blank]))


def _first(job: _Job, init: Any, n: int, counts: list[int]) -> State:
    """Where the fit begins: places by the image's edges, or those that were given."""
    planes = job.data.volume if job.data.channels is not None else job.data.volume[np.newaxis]
    channels, grid = len(planes), job.pattern.grid
    if isinstance(init, str):
        check.choice("init", init, ("gradient",))
        weights = job.data.weights
        valid: Any = np.ones(grid.shape, dtype=bool)
        if weights is not None:
            several = job.data.channels is not None
            valid = (weights > 0.0).any(axis=0) if several else weights > 0.0
        places = placement.first_places(planes, valid, counts[0], job.rng)
    else:
        places = check.finite_array("init", init, 2)
        if places.shape[1] != grid.ndim or not 1 <= len(places) <= n:
            raise ValueError(
                f"init must be 'gradient' or places of shape (at most {n}, {grid.ndim}), "
                f"got {places.shape}"
            )
        counts[:] = [len(places), *(k for k in counts if k > len(places))]
    shapes = placement.round_shapes(places, places, grid.shape)
    return State(shapes, np.zeros((len(places), channels)))


def fit_image(
    image: ArrayLike,
    components: int,
    *,
    init: str | ArrayLike = "gradient",
    nonnegative: bool = False,
    channel_axis: int | str | None = "auto",
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    max_iter: int = 200,
    tol: float = 1e-5,
    radius: float = 3.5,
    seed: int = 0,
    threads: int | None = None,
    progress: bool | Progress = False,
) -> ImageFit:
    """Represent an image or a volume by a sum of rotated Gaussians.

    Parameters
    ----------
    image : array
        Real numbers: an image (y, x), a volume (z, y, x), each also with an axis of channels; a
        profile (x,). NaN marks a missing pixel.
    components : int
        Largest number of Gaussians.
    init : "gradient" or array (m, ndim)
        Where Gaussians begin: at random, more of them where the image has edges, half of
        `components` at first; or at these places, at most `components`.
    nonnegative : bool
        True: no amplitude may be negative.
    channel_axis : "auto", int or None
        The axis of channels; None if there is none. "auto": the last axis of an array of four
        axes, or of one of three if it has 3 or 4 elements and the others more than 8; of an array
        of xarray the axis with another name than x, y and z.
    weights : array, optional
        Weight of each pixel, not negative, of the image's shape, or of that without channels.
    mask : array of bool, optional
        True where a pixel is missing, of the same shapes.
    max_iter : int
        Largest number of iterations of the descent, over all stages.
    tol : float
        The fit ends when an iteration with all Gaussians lowers the sum of squares by less than
        this part of it.
    radius : float
        Radius in sigmas at which Gaussians are cut off.
    seed : int
        Of the random places. The same seed gives the same result for any number of threads.
    threads : int, optional
        Largest number of threads.
    progress : bool or callable
        True shows a tqdm bar; a callable gets ``(done, max_iter)``.

    Returns
    -------
    ImageFit
        The field, its amplitudes, and the history of the descent.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    Notes
    -----
    Gaussians are added in three stages: where the residual has most of its energy, and by splits
    of those under which much of it lies; those without energy are removed. In a stage, positions,
    Cholesky factors of the covariances and amplitudes descend together by projected L-BFGS, which
    begins anew every 20 iterations after a few with the amplitudes alone. At the end the amplitudes
    are solved for exactly. Within a stage no iteration makes the sum of squares larger. An
    iteration costs some 1.4 times ``loss_and_gradient`` for all parameters; `max_iter` and the
    history do not count those with the amplitudes alone. The minimum is a local one.

    The sum has no constant: of an image that is far from 0 everywhere subtract its median first, or
    many Gaussians will be used for it.

    References
    ----------
    Nocedal & Wright 2006, Numerical Optimization, ch. 7.2 (L-BFGS); Bertsekas 1982, SIAM J. Control
    Optim. 20, 221 (projection onto bounds); Kerbl et al. 2023, ACM Trans. Graph. 42, 139 (adding
    and splitting).

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> y, x = np.mgrid[:20, :24]
    >>> image = np.exp(-((y - 9) ** 2 + (x - y) ** 2) / 20)
    >>> fit = fg.fit_image(image, 3, max_iter=100)
    >>> bool(fit.psnr > 40), fit.render().shape
    (True, (20, 24))
    """
    array, weights, mask, axis = _planes(image, weights, mask, channel_axis)
    n = check.integer("components", components, at_least=1, at_most=MOST)
    most = check.integer("max_iter", max_iter, at_least=0)
    least = check.number("tol", tol, above=0.0)
    reach = check.number("radius", radius, at_least=1.0, at_most=1e3)
    check.flag("nonnegative", nonnegative)
    rng = np.random.default_rng(check.integer("seed", seed, at_least=0))
    thread_pool.resolve_threads(threads)
    check_progress(progress)
    shape = array.shape if axis is None else array.shape[:-1]
    grid = Grid(shape)
    given = arguments.measured(array, weights, mask, grid, "image")
    peak, scaled = _peak(array, given), _scaled(given)
    pattern = GaussianField(
        grid, np.zeros((0, grid.ndim)), covariance=np.eye(grid.ndim), radius=reach, threads=threads
    )
    with reporting(progress, most, "iteration") as report:
        job = _Job(
            scaled.data, pattern, nonnegative, rng, scaled.unit, scaled.weight_unit, peak, most,
            least, report, [],
        )  # fmt: skip
        counts = [max(1, math.ceil(part * n)) for part in _STAGES]
        state = _first(job, init, n, counts)
        job.note(len(state.amplitudes), job.half_square(state), 0)
        status = Status.MAX_ITERATIONS
        for k, count in enumerate(counts):
            if k:
                state = job.grown(state, count)
            last = k == len(counts) - 1
            left = most - job.done
            state, enough = job.descend(state, left if last else int(_SHARE * left))
            status = Status.CONVERGED if enough and last else Status.MAX_ITERATIONS
        state = job.solved(state)
        if report is not None:
            report(most, most)
    return _result(job, state, status)


class _Scaled(NamedTuple):
    """Data in float64, and the powers of 2 by which values and weights were multiplied."""

    data: arguments.Data
    unit: float
    weight_unit: float


def _scaled(data: arguments.Data) -> _Scaled:
    """The data with a largest value and a largest weight near 1."""
    unit = unit_of(float(np.abs(data.volume).max(initial=0.0)))
    volume = node_memory.copied(data.volume.astype(np.float64, copy=False))
    volume *= unit
    weights, weight_unit = data.weights, 1.0
    if weights is not None:
        weight_unit = power_of_two(float(weights.max(initial=0.0)))
        one = data.channels is not None and weights.strides[0] == 0  # all channels share a plane
        own = (weights[0] if one else weights) * weight_unit
        weights = np.broadcast_to(own, weights.shape) if one else own
    return _Scaled(replace(data, volume=volume, weights=weights), unit, weight_unit)


def _result(job: _Job, state: State, status: Status) -> ImageFit:
    stay = ~placement.idle(state.shapes, state.amplitudes, job.pattern.grid.shape)
    state = State(state.shapes.chosen(stay), state.amplitudes[stay])
    half = job.half_square(state)
    job.note(len(state.amplitudes), half, job.done)
    field = field_of(job.pattern, state.shapes)
    amplitudes = heights_of(job.data, state.amplitudes) / job.unit
    history = np.array(job.history, dtype=HISTORY)
    return ImageFit(field, amplitudes, history, status, job.peak, job.data.nodes)
