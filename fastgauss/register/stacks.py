"""Displacements of all frames of a stack, as exact as the whole stack allows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, duck_arrays, image_data, wording, wrappers
from ..base.named_axes import axes_of, in_order, lay_out
from ..base.progress import Progress, check_progress, reporting
from ..base.thread_pool import resolve_threads
from ..io.frames import Frames
from . import frame_chain, inputs, joint_registration, stack_tasks, window_matching
from .stack_results import ChainAlignment, StackAlignment

REFERENCES = ("mean", "first", "previous")
_PASSES = 3  # over all frames: they are placed, and two rounds


class _Stack:
    """Frames, their errors and masks, each read when it is used.

    With an image as reference, that is frame 0.
    """

    def __init__(self, frames: Any, axes: Any, err: Any, mask: Any, first: Any) -> None:
        if axes is None:
            frames, err, mask = _laid_out(frames, err, mask)
        else:
            _refuse_names(err=err, mask=mask)
        self._frames, count, shape = _frames(frames, axes)
        self.before = 0 if first is None else 1
        self.count = count + self.before
        if min(shape) < inputs.LEAST:
            raise ValueError(
                f"frames must have {inputs.LEAST} rows and columns or more, got {shape}"
            )
        if self.count < 2:
            raise ValueError(f"frames must hold 2 images or more, got {count}")
        self.shape = (shape[0], shape[1])
        self._first = first
        if first is not None and np.shape(first) != shape:
            raise ValueError(
                f"reference must have the shape of a frame, {shape}, got {np.shape(first)}"
            )
        self._err = inputs.error("err", err, self._full_shape("err", err, count))
        self._mask = inputs.missing("mask", mask, self._full_shape("mask", mask, count))
        self._like: tuple[Any, Any] = (None, None)
        one = self._read(0)
        self.known = one.variance is not None

    def follow(self, seed: int) -> None:
        """Give all frames the level and the scale of one."""
        pixels = self._read(seed)
        self._like = pixels.level, pixels.scale

    def _full_shape(self, name: str, value: Any, count: int) -> tuple[int, ...]:
        """The shape that an array for all frames has, or one for each."""
        shape = () if value is None else wrappers.open_array(name, value).values.shape
        one, many = self.shape, (count, *self.shape)
        if len(shape) and shape not in (one, many):
            raise ValueError(f"{name} must have shape {one} or {many}, got {shape}")
        return many if len(shape) == 3 else one

    def read(self, numbers: list[int]) -> list[inputs.Pixels]:
        """Frames as numbers of one size."""
        arrays = self._frames([k - self.before for k in numbers if k >= self.before])
        if self.before and 0 in numbers:
            arrays.insert(numbers.index(0), self._first)
        return [self._pixels(k, array) for k, array in zip(numbers, arrays, strict=True)]

    def _read(self, number: int) -> inputs.Pixels:
        return self.read([number])[0]

    def _pixels(self, number: int, array: Any) -> inputs.Pixels:
        number -= self.before
        name = f"frames[{number}]" if number >= 0 else "reference"
        err, mask = (_of_one(value, number) for value in (self._err, self._mask))
        values, hidden, err = image_data.with_errors(name, array, mask, err)
        image = inputs.image(name, values)
        if image.shape != self.shape:
            raise ValueError(f"{name} must have shape {self.shape}, got {image.shape}")
        hidden = inputs.missing("mask", hidden, self.shape)
        return inputs.read(image, inputs.error("err", err, self.shape), hidden, *self._like)


def _of_one(value: Any, number: int) -> Any:
    """The part of an error or a mask that is of a frame, or of the reference: of all frames."""
    if not isinstance(value, np.ndarray) or value.ndim < 3:
        return value
    if number >= 0:
        return value[number]
    return value.any(axis=0) if value.dtype == bool else value.max(axis=0)


def _refuse_names(**maps: Any) -> None:
    """Refuse maps whose axes have names where ``axes`` counts those of the frames."""
    for name, value in maps.items():
        named = axes_of(value)
        if named:
            raise ValueError(
                f"{name} must have axes without names where axes is given, got axes "
                f"{', '.join(named)}"
            )


def _laid_out(frames: Any, err: Any, mask: Any) -> tuple[Any, Any, Any]:
    """Frames and what is known of their pixels, the named axes of an image in the order y, x."""
    if not isinstance(frames, list | tuple) or not frames:
        return lay_out("frames", frames, err=err, mask=mask)
    _, err, mask = lay_out("frames[0]", frames[0], err=err, mask=mask)
    return [in_order(f"frames[{k}]", frame) for k, frame in enumerate(frames)], err, mask


def _frames(frames: Any, axes: Any) -> tuple[Any, int, tuple[int, ...]]:
    """A function that reads frames by their numbers, how many there are, and their shape."""
    if isinstance(frames, list | tuple | Frames):
        if axes is not None:
            raise ValueError("axes must be None where frames is a list of images")
        many = frames if isinstance(frames, Frames) else list(frames)
        if len(many) < 2:
            raise ValueError(f"frames must hold 2 images or more, got {len(many)}")
        shape = np.shape(many[0])
        if len(shape) != 2:
            raise ValueError(f"frames must hold images of 2 dimensions, got shape {shape}")
        return lambda numbers: [many[k] for k in numbers], len(many), shape
    library = duck_arrays.library_of(frames)
    if library == "xarray":
        frames, library = frames.data, duck_arrays.library_of(frames.data)
    lazy = not isinstance(frames, np.ndarray) and all(
        hasattr(frames, name) for name in ("shape", "dtype", "__getitem__")
    )
    array = frames
    if not lazy:
        array, hidden, variance = wrappers.open_array("frames", frames)
        if variance is not None:
            raise ValueError("frames must have no uncertainty: give it as err")
        if hidden is not None:
            array = np.ma.MaskedArray(array, hidden)
    if len(array.shape) != 3:
        got = wording.dimensions(len(array.shape), tuple(array.shape))
        raise ValueError(f"frames must have 3 dimensions, got {got}")
    if np.dtype(array.dtype).kind not in "biuf":
        raise TypeError(f"frames must hold real numbers, got dtype {array.dtype}")
    if axes is not None:
        array = array.transpose(_order(axes))

    def read(numbers: list[int]) -> list[Any]:
        if library == "dask":
            return list(np.asarray(array[numbers]))
        return [array[k] for k in numbers]

    count, *shape = (int(n) for n in array.shape)
    return read, count, tuple(shape)


def _order(axes: Any) -> tuple[int, int, int]:
    """The axis of the frames, and those of an image."""
    given = check.entries("axes", axes)
    if given is None or len(given) != 2:
        raise ValueError(f"axes must be the 2 axes of an image, got {wording.shown(axes)}")
    y, x = (check.integer("axes", axis, at_least=-3, at_most=2) % 3 for axis in given)
    if x == y:
        raise ValueError(f"axes must be different, got {wording.shown(axes)}")
    return 3 - x - y, y, x


def align_stack(
    frames: ArrayLike | Frames,
    *,
    reference: str | int | ArrayLike = "mean",
    err: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    axes: tuple[int, int] | None = None,
    brightness: str = "linear",
    search: float | None = None,
    threads: int | None = None,
    progress: bool | Progress = False,
) -> StackAlignment:
    """Displacements of all frames of a stack, with their covariance, and the scene.

    The scene is estimated together with the displacements. Each of them is then nearly as exact as
    if the scene were known, which no registration of pairs can reach.

    Parameters
    ----------
    frames : array_like (n, Y, X), or a list of n images
        Images of one scene, of any real dtype, with 12 rows and columns or more; NaN and infinity
        are missing. Frames are read when they are used, some at a time, four times or more often
        (once or twice with ``reference="previous"``): arrays of dask, h5py, zarr and
        ``numpy.memmap`` may be larger than memory.
    reference : {"mean", "first", "previous"}, int or array_like (Y, X), optional
        What has the displacement 0: the mean of all frames, a frame, or an image, which is then one
        more frame of the scene. "previous" is for scenes that change: each frame is registered with
        the one before it alone, and the steps are added up from the first frame on.
    err : float or array_like (Y, X) or (n, Y, X), optional
        Standard deviation of the noise; 0 in an array is a missing pixel. Otherwise the residual of
        each frame tells its noise.
    mask : array_like (Y, X) or (n, Y, X) of bool, optional
        True where a pixel is missing.
    axes : (int, int), optional
        The axes y and x of an image, of an array of three axes; the last two by default.
    brightness : {"linear", "offset", "same"}
        How frames may differ: by a constant and a factor, or not at all. "offset" means "linear".
    search : float, optional
        Largest displacement along each axis from a frame next to it, in pixels. By default a
        quarter of the shorter side is looked for.
    threads : int, optional
        Largest number of threads. Results do not depend on it, to the bit.
    progress : bool or callable
        True shows a tqdm bar; a callable gets ``(done, total)``.

    Returns
    -------
    StackAlignment or, with ``reference="previous"``, ChainAlignment
        displacements (n, 2) along axis 0 and axis 1, status, covariance between all frames, scene.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described. Frames that cannot be registered have a status.

    Notes
    -----
    About 20 ms a frame of 256 x 256 pixels on two threads. Memory: 16 frames and the scene.

    The frames are placed one after the other against the mean of those before, each near the
    frames next to it; then in rounds each is aligned with the mean of all others. The modes of the
    scene count as their signal and noise allow. A frame that does not show the scene gets the
    status `Status.AMBIGUOUS` or `Status.LOST` and is no part of it. The notes of `align` about
    errors and about structure that does not move hold.

    With ``reference="previous"`` the chain begins at the first frame that matches one of the four
    after it; its displacement is 0. A frame that does not match the one before it has its status,
    and the next one is compared with the last frame that matched, with ``search`` for each frame
    between them. The result is a `ChainAlignment`,
    whose errors grow along the chain. Its steps count as independent, as those of scenes that
    change are. Where the scene stays as it is, the errors of successive steps cancel in part: the
    displacements are then better than their errors say, and those of the other references are
    better still. ``scene`` is the mean of all frames of the chain.

    The errors are those of frames that all show nearly the same part of the scene. Where the scene
    is much larger than a frame, errors of frames far from each other are larger.

    References
    ----------
    C. Clement, M. Bierbaum and J. Sethna, "Image registration and super resolution from first
    principles", arXiv:1809.05583. C. Knapp and G. Carter, "The generalized correlation method for
    estimation of time delay", IEEE Trans. ASSP 24 (1976) 320.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> rng = np.random.default_rng(0)
    >>> scene = rng.normal(size=(80, 80)).cumsum(0).cumsum(1)
    >>> frames = [scene[5 + k : 69 + k, 5:69] + rng.normal(size=(64, 64)) for k in range(4)]
    >>> drift = fg.register.align_stack(frames)
    >>> drift.dy.round(1)
    array([ 1.5,  0.5, -0.5, -1.5])
    >>> drift.covariance.shape
    (4, 2, 4, 2)
    """
    check.choice("brightness", brightness, window_matching.BRIGHTNESS)
    bound = None if search is None else check.number("search", search, above=0)
    team = resolve_threads(threads)
    check_progress(progress)
    number, first = _reference(reference)
    stack = _Stack(frames, axes, err, mask, first)
    if number is not None:
        number = check.integer("reference", number, at_most=stack.count - 1)
        if number < 0:
            number = check.integer("reference", number, at_least=-stack.count) + stack.count
    seeds = [number] if number is not None else sorted({0, stack.count // 2, stack.count - 1})
    if brightness == "same":
        stack.follow(seeds[0])
    chained = isinstance(reference, str) and reference == "previous"
    total = stack.count if chained else _PASSES * stack.count
    done = 0
    with reporting(progress, total, "frame") as report:

        def tell(some: int) -> None:
            nonlocal done
            done = min(done + some, total - 1)
            if report is not None:
                report(done, total)

        task = stack_tasks.Task(
            stack.read, stack.count, stack.shape, stack.known, brightness, bound, number, team, tell
        )
        if chained:
            solution, scene, previous = frame_chain.link_frames(task)
            parts = _result(solution, scene, solution.members[0], 0)
            found: StackAlignment = ChainAlignment(**parts, previous=previous)
        else:
            solution, scene = joint_registration.estimate(task, seeds)
            found = StackAlignment(**_result(solution, scene, number, stack.before))
        if report is not None:
            report(total, total)
    return found


def _reference(reference: Any) -> tuple[int | None, Any]:
    """The number of the frame that is the reference, if it is one, and the image that is."""
    if isinstance(reference, str):
        return (0 if check.choice("reference", reference, REFERENCES) == "first" else None), None
    several = wrappers.is_array(reference) or isinstance(reference, list | tuple)
    if several and np.ndim(reference):
        arranged = in_order("reference", reference)
        return 0, inputs.image("reference", image_data.masked("reference", arranged, None)[0])
    return check.integer("reference", reference), None


def _brightness(solution: stack_tasks.Solution) -> tuple[np.ndarray, np.ndarray]:
    """Gain and offset of each frame, in units of the pixels, to the brightness of the first."""
    level, scale = solution.units[solution.members[0]]
    gain = np.array([pose.gain for pose in solution.poses]) * solution.units[:, 1] / scale
    offset = np.array([pose.offset for pose in solution.poses]) / scale + level
    return gain, offset - gain * solution.units[:, 0]


def _range_of(known: np.ndarray) -> slice:
    """From the first to the last that is known; nothing if none is."""
    (places,) = known.nonzero()
    return slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0, 0)


def _result(
    solution: stack_tasks.Solution, scene: Any, number: int | None, before: int
) -> dict[str, np.ndarray]:
    """Displacements against the reference, and the scene in its brightness, by their names."""
    members = np.array(solution.members, dtype=np.intp)
    places = np.array([pose.place for pose in solution.poses])
    anchor = np.zeros(len(places))
    if number is not None:
        anchor[number] = 1.0
    else:
        anchor[members] = 1.0 / len(members)
    held = anchor > 0
    zero = np.einsum("k,ki->i", anchor[held], places[held])
    gain, offset = _brightness(solution)
    values, weights = scene.mean()
    level, scale = solution.units[solution.members[0]]
    where = weights > 0
    image = np.where(where, values / scale + level, np.nan)
    middle = [np.einsum("k,k->", anchor[held], part[held]) for part in (gain, offset)]
    rows, columns = (_range_of(where.any(axis=axis)) for axis in (1, 0))
    image = ((image - middle[1]) / middle[0])[rows, columns]
    own = slice(before, None)
    finite = np.where(np.isinf(solution.covariance), 0.0, solution.covariance)
    return {
        "displacements": (places - zero)[own],
        "status": solution.status[own],
        "scene": image,
        "origin": scene.origin + zero + [rows.start, columns.start],
        "gain": (gain / middle[0])[own],
        "offset": ((offset - middle[1]) / middle[0])[own],
        "correlation": solution.correlation[own],
        "noise": solution.noise[own],
        "frame_covariance": solution.covariance[own],
        "anchor": anchor[own],
        "anchor_covariance": np.einsum("k,kij->ij", anchor[held] ** 2, finite[held]),
    }
