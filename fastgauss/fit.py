"""Spot fits: many small regions of interest, or the spots of one image.

A job is cut into chunks of spots. Each chunk is loaded as rows of pixels, given
starting values, fitted and finished by the three kernels of its model, and written
to its rows of the result. Nothing is kept beyond one chunk a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from . import _check, _runtime
from .detect import find_spots
from .kernels.levmar import TOO_FEW_PIXELS
from .kernels.linalg import packed_size
from .kernels.spots import stages
from .models import PIXELS, Model, get_model
from .results import FitResult

_CHUNK_BYTES = 1 << 20
_MOST_CHUNK = 2048
READ_AS_IS = tuple(np.dtype(kind) for kind in ("f8", "f4", "u2"))  # others become float64


class _Options(NamedTuple):
    """The checked options of a fit."""

    guess: np.ndarray | None
    polarity: int  # 1 bright, -1 dark, 0 as each spot looks
    tol: float
    max_iter: int
    threads: int | None
    progress: _runtime.Progress | None


def _readable(block: np.ndarray) -> np.ndarray:
    """A chunk as the kernels take it: in place if they know its dtype, else as float64."""
    direct = block.dtype in READ_AS_IS and block.dtype.isnative
    if not (direct and block.flags.carray):
        block = np.array(block, dtype=np.float64, order="C")
    return block.reshape(len(block), -1)


def _internal(model: Model, params: np.ndarray) -> np.ndarray:
    """Starting values in the fit's coordinates: the sigma matrix for a rotated model."""
    if model.name != "rotated":
        return np.ascontiguousarray(params)
    start = np.array(params)
    cos, sin = np.cos(params[:, 5]), np.sin(params[:, 5])
    start[:, 3] = params[:, 3] * cos**2 + params[:, 4] * sin**2
    start[:, 4] = params[:, 3] * sin**2 + params[:, 4] * cos**2
    start[:, 5] = (params[:, 3] - params[:, 4]) * sin * cos
    return start


class _Job:
    """The result arrays of a call, and how chunks of spots get there."""

    def __init__(self, model: Model, count: int, options: _Options) -> None:
        self.model, self.options = model, options
        self.done = 0
        self.params = np.empty((count, model.size))
        self.objective = np.empty(count)
        self.packed = np.empty((count, packed_size(model.size)))
        self.status = np.empty(count, np.int32)
        self.iterations = np.empty(count, np.int32)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """In the order in which the fit kernel writes them."""
        return self.params, self.objective, self.packed, self.status, self.iterations

    def leave_out(self, rows: np.ndarray, status: int) -> None:
        """Give rows (a mask) a status without fitting them."""
        self.done += int(rows.sum())
        for array, value in zip(self.arrays, (np.nan, np.nan, np.nan, status, 0), strict=True):
            array[rows] = value

    def fit_chunk(
        self,
        pixels: np.ndarray,
        shape: tuple[int, int],
        rows: slice | np.ndarray,
        origin: np.ndarray | None,
    ) -> None:
        """Fit ``pixels[m, ny * nx]`` into these rows; ``origin[m, (x, y)]`` moves the centres."""
        ny, nx = shape
        kernels, options = stages(self.model.name), self.options
        outputs = [array[rows] for array in self.arrays]  # views of a slice, copies of an index
        params, objective, packed, status, _ = outputs
        if options.guess is None:
            start = np.empty_like(params)
            kernels.start(pixels, ny, nx, options.polarity, start)
        else:
            start = np.array(options.guess[rows])
            if origin is not None:
                start[:, 1:3] -= origin
            start = _internal(self.model, start)
        kernels.fit(pixels, ny, nx, start, options.tol, options.max_iter, *outputs)
        kernels.finish(params, packed, objective, status, ny, nx)
        if origin is not None:
            params[:, 1:3] += origin
        if not isinstance(rows, slice):
            for array, output in zip(self.arrays, outputs, strict=True):
                array[rows] = output

    def run(self, work: Callable[[int, int], None], count: int, pixels: int) -> None:
        """Do ``work`` on chunks of ``count`` spots of so many pixels."""
        chunk = int(np.clip(_CHUNK_BYTES // (8 * pixels), 64, _MOST_CHUNK))
        before, total, progress = self.done, len(self.params), self.options.progress

        def report(done: int, _: int, /) -> None:
            if progress is not None:
                progress(before + done, total)

        _runtime.run(lambda: work, count, chunk, self.options.threads, report)
        self.done += count

    def result(self) -> FitResult:
        """The result, when all rows are written."""
        return FitResult(
            self.model, self.params, self.packed, self.objective, self.status, self.iterations
        )


def _options(
    model: Model,
    count: int,
    polarity: int,
    guess: Any,
    tol: Any,
    max_iter: Any,
    threads: Any,
    progress: Any,
) -> _Options:
    """Check what all fits have in common."""
    tol = _check.number("tol", tol, above=0.0)
    max_iter = _check.integer("max_iter", max_iter, at_least=1)
    _runtime.resolve_threads(threads)
    if guess is not None:
        guess = _check.finite_array("guess", guess, (1, 2))
        if guess.shape not in ((model.size,), (count, model.size)):
            raise ValueError(
                f"guess must have shape ({model.size},) or ({count}, {model.size}) for the "
                f"parameters {model.names}, got {guess.shape}"
            )
        if not all((guess[..., k] > 0).all() for k in set(model.sigmas)):
            raise ValueError("guess must have positive sigmas")
        guess = np.broadcast_to(guess, (count, model.size))
    bar = _runtime.progress_bar(progress, count, "spot")
    return _Options(guess, polarity, tol, max_iter, threads, bar)


def _check_model(model: Any, method: Any, pixel: Any, **later: Any) -> Model:
    """The two-dimensional model of a fit; refuse what this version cannot do."""
    _check.choice("method", method, ("lsq", "mle"))
    _check.choice("pixel", pixel, PIXELS)
    found = get_model(model, 2)
    _check.not_yet(
        method=None if method == "lsq" else method,
        pixel=None if pixel == "sample" else pixel,
        **later,
    )
    return found


def fit_rois(
    rois: ArrayLike,
    model: str = "symmetric",
    *,
    method: str = "lsq",
    pixel: str = "sample",
    guess: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    variance: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    fixed: dict | None = None,
    bounds: dict | None = None,
    coords: ArrayLike | None = None,
    max_iter: int = 50,
    tol: float = 1e-6,
    threads: int | None = None,
    progress: bool | _runtime.Progress = False,
) -> FitResult:
    """Fit a Gaussian to each of many regions of interest (ROIs) by least squares.

    Parameters
    ----------
    rois : array (n, y, x)
        One spot each, of any real dtype; read in chunks, never copied whole. The centre
        of pixel ``[i, j]`` of a ROI is y = i, x = j.
    model : {"symmetric", "elliptic", "rotated"}
        Parameters: ``amplitude, x, y, sigma, offset``; ``sigma_x, sigma_y`` in place of
        sigma; or ``sigma_x, sigma_y, theta``, with sigma_x >= sigma_y and theta in
        (-pi/2, pi/2] from +x towards +y.
    method : {"lsq"}
        Unweighted least squares.
    pixel : {"sample"}
        The model's value at the pixel's centre.
    guess : array (P,) or (n, P), optional
        Starting values. Without them each spot's own moments are used. The start of
        amplitude and offset does not matter: both are solved for exactly.
    weights, variance, mask, fixed, bounds, coords
        Not available in this version: NotImplementedError unless None.
    max_iter : int
        Evaluations of the normal equations at most.
    tol : float
        The fit stops when the estimated distance to the solution is below ``tol``
        standard errors, in the metric of the covariance. At the default, parameters
        agree with the exact solution to about 1e-8 of their value.
    threads : int, optional
        Threads at most; by default `get_num_threads`. The result does not depend on it.
    progress : bool or callable
        True shows a tqdm bar; a callable gets ``(done, total)``.

    Returns
    -------
    FitResult
        One row a ROI, coordinates in the frame of the ROI. A fit that failed keeps its
        row and has a status.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.
    NotImplementedError
        If an option of a later version is asked for.

    Notes
    -----
    Levenberg-Marquardt on eight spots at a time, with variable projection of amplitude
    and offset (see ``fastgauss.kernels.levmar`` and ``normal``). The cost grows with
    pixels times iterations; about 0.3 microseconds for a 7 x 7 ROI and 0.6 for 15 x 15
    on one AVX-512 core. Memory beyond the result: one chunk of 1 MB a thread.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> truth = np.array([[100.0, 4.8, 5.3, 1.2, 10.0], [50.0, 5.1, 4.6, 1.5, 8.0]])
    >>> rois = fg.image(truth, (11, 11), model="symmetric")
    >>> fg.fit_rois(rois).params.round(6)
    array([[100. ,   4.8,   5.3,   1.2,  10. ],
           [ 50. ,   5.1,   4.6,   1.5,   8. ]])
    """
    stack = _check.real_array("rois", rois)
    if stack.ndim in (2, 4):
        kind = "profiles (n, x)" if stack.ndim == 2 else "volumes (n, z, y, x)"
        raise NotImplementedError(
            f"rois of shape {stack.shape}: {kind} are not available in this version of "
            "fastgauss; one image is rois[np.newaxis]"
        )
    _check.real_array("rois", stack, 3)
    found = _check_model(
        model, method, pixel, weights=weights, variance=variance, mask=mask, fixed=fixed,
        bounds=bounds, coords=coords,
    )  # fmt: skip
    options = _options(found, len(stack), 0, guess, tol, max_iter, threads, progress)
    job = _Job(found, len(stack), options)
    shape = stack.shape[1:]
    if shape[0] * shape[1] < found.size:
        job.leave_out(np.ones(len(stack), bool), TOO_FEW_PIXELS)
        return job.result()

    def work(first: int, last: int) -> None:
        rows = slice(first, last)
        job.fit_chunk(_readable(stack[rows]), shape, rows, None)

    job.run(work, len(stack), shape[0] * shape[1])
    return job.result()


def _windows(
    positions: np.ndarray, box: tuple[int, int], shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """First pixel and extent, both (n, 2), of the boxes around positions.

    A box ends at the border of the image, and half-way to the next position.
    """
    limit = np.array(shape)
    centre = np.rint(np.clip(positions, -limit - box[0], 2 * limit + box[0])).astype(np.intp)
    first = centre - np.array(box) // 2
    last = first + box
    _part_neighbours(positions, centre, first, last, max(box))
    first, last = np.clip(first, 0, limit), np.clip(last, 0, limit)
    return first, np.maximum(last - first, 0)


def _part_neighbours(
    positions: np.ndarray, centre: np.ndarray, first: np.ndarray, last: np.ndarray, reach: int
) -> None:
    """Cut windows, in place, half-way to each neighbour along the axis that separates them most.

    Two pixels beside the centre always stay.
    """
    from scipy.spatial import KDTree

    if len(positions) < 2:
        return
    pairs = KDTree(positions).query_pairs(reach, p=np.inf, output_type="ndarray")
    for one, other in (pairs.T, pairs.T[::-1]):
        apart = positions[other] - positions[one]
        axis = np.abs(apart).argmax(axis=1)
        along = np.take_along_axis(apart, axis[:, None], axis=1)[:, 0]
        half = np.maximum(np.floor(np.abs(along) / 2), 2).astype(np.intp)
        middle = centre[one, axis]
        ahead, behind = along > 0, along < 0
        np.minimum.at(last, (one[ahead], axis[ahead]), (middle + half + 1)[ahead])
        np.maximum.at(first, (one[behind], axis[behind]), (middle - half)[behind])


def fit_spots(
    image: ArrayLike,
    positions: ArrayLike | None = None,
    model: str = "symmetric",
    *,
    box: int | tuple[int, int] = 11,
    sigma: float | tuple[float, float] = 1.3,
    threshold: float | None = None,
    min_distance: float | None = None,
    exclude_border: bool | int = False,
    polarity: str = "bright",
    method: str = "lsq",
    pixel: str = "sample",
    guess: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    variance: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    fixed: dict | None = None,
    bounds: dict | None = None,
    max_iter: int = 50,
    tol: float = 1e-6,
    threads: int | None = None,
    progress: bool | _runtime.Progress = False,
) -> FitResult:
    """Find the spots of an image, or take their positions, and fit a Gaussian to each.

    Parameters
    ----------
    image : array (y, x)
        Any real dtype. Pixels that are NaN or infinite give their spots the status
        ``NOT_FINITE``.
    positions : array (n, 2), optional
        Row and column of each spot; without them `find_spots` looks, with the options
        `sigma`, `threshold`, `min_distance` and `exclude_border`.
    model, method, pixel, max_iter, tol, threads, progress
        As in `fit_rois`.
    box : int or (int, int)
        Height and width in pixels of the window around the rounded position. It ends at
        the border of the image (the pixels that exist are fitted), and half-way to a
        neighbouring position along the axis that separates the two most.
    polarity : {"bright", "dark"}
        Spots to look for, and the sign of the amplitude that a fit starts from.
    guess : array (P,) or (n, P), optional
        Starting values in the image's coordinates.
    weights, variance, mask, fixed, bounds
        Not available in this version: NotImplementedError unless None.

    Returns
    -------
    FitResult
        One row a position, in image coordinates, in the order of `positions` or of
        `find_spots` (strongest first). A window without enough pixels, or off the
        image, has the status ``TOO_FEW_PIXELS``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.
    NotImplementedError
        If an option of a later version is asked for.

    Notes
    -----
    Each spot is fitted alone: what a neighbour spills into its window disturbs it. The
    cost is that of `find_spots`, of `fit_rois`, and of a search for neighbours
    (about 1 microsecond a spot).

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> rng = np.random.default_rng(1)
    >>> truth = [[200.0, 20.3, 30.7, 1.3, 10.0], [150.0, 44.1, 12.8, 1.3, 0.0]]
    >>> image = fg.image(truth, (64, 64), model="symmetric").sum(axis=0)
    >>> result = fg.fit_spots(rng.poisson(image))
    >>> result.x.round(1), result.y.round(1)
    (array([20.3, 44.1]), array([30.7, 12.8]))
    """
    picture = _check.real_array("image", image)
    if picture.ndim == 3:
        raise NotImplementedError(
            f"image of shape {picture.shape}: volumes are not available in this version of "
            "fastgauss; the frames of a stack are fitted one at a time"
        )
    _check.real_array("image", picture, 2)
    sides = [_check.integer("box", b, at_least=1) for b in np.atleast_1d(np.asarray(box))]
    if len(sides) not in (1, 2):
        raise ValueError(f"box must be one or two integers, got {box!r}")
    size = (sides[0], sides[-1])
    found = _check_model(
        model, method, pixel, weights=weights, variance=variance, mask=mask, fixed=fixed,
        bounds=bounds,
    )  # fmt: skip
    if positions is None:
        centres = find_spots(
            picture, sigma, threshold=threshold, min_distance=min_distance,
            exclude_border=exclude_border, polarity=polarity, threads=threads,
        )  # fmt: skip
    else:
        centres = _check.finite_array("positions", positions, 2)
        if centres.shape[1] != 2:
            raise ValueError(f"positions must have shape (n, 2), got {centres.shape}")
    sign = -1 if _check.choice("polarity", polarity, ("bright", "dark")) == "dark" else 1
    options = _options(found, len(centres), sign, guess, tol, max_iter, threads, progress)
    job = _Job(found, len(centres), options)
    first, extent = _windows(centres, size, picture.shape)
    too_small = extent.prod(axis=1) < found.size
    job.leave_out(too_small, TOO_FEW_PIXELS)
    for shape in np.unique(extent[~too_small], axis=0):
        _fit_windows(job, picture, first, (extent == shape).all(axis=1), tuple(shape.tolist()))
    return job.result()


def _fit_windows(
    job: _Job,
    image: np.ndarray,
    first: np.ndarray,
    chosen: np.ndarray,
    shape: tuple[int, int],
) -> None:
    """Fit the chosen spots, whose windows of one shape begin at pixels ``first``."""
    windows = sliding_window_view(image, shape)
    rows = np.flatnonzero(chosen)

    def work(begin: int, end: int) -> None:
        members = rows[begin:end]
        corner = first[members]
        pixels = _readable(windows[corner[:, 0], corner[:, 1]])
        job.fit_chunk(pixels, shape, members, corner[:, ::-1].astype(np.float64))

    job.run(work, len(rows), shape[0] * shape[1])
