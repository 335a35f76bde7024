"""Spots of dask arrays: stacks of frames, and ROIs, to lazy tables."""

from __future__ import annotations

import os
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from ..base import check, optional
from ..base.named_axes import lay_out
from ..find.detection import find_spots
from ..fit.rois import fit_rois as fit_rows
from ..io import images
from ..models.model import Model
from ..movies.frame_fits import fit_frames
from ..movies.frame_groups import OPTIONS
from ..results.fit_result import FitResult
from ..spots.image_fits import fit_image
from ..spots.image_fits import fit_spots as fit_frame
from ..spots.prepared_images import Given
from .chunks import Divided, as_array, none_of, per_chunk, with_known_chunks

_CHUNK_BYTES = 64 << 20  # frames that a task reads from a file
_FIND = (
    "sigma", "fwhm", "false_alarms", "significance", "threshold", "detector",
    "shape_level", "min_distance", "exclude_border", "polarity", "saturation",
)  # fmt: skip


def _table(columns: dict[str, np.ndarray], first: int = 0) -> Any:
    """A pandas DataFrame whose index counts from ``first``."""
    pandas = optional.require("pandas", "fastgauss.dask", "dask")
    count = len(next(iter(columns.values())))
    return pandas.DataFrame(columns, index=pandas.RangeIndex(first, first + count))


def _tables(parts: list[Any], empty: Any, divisions: Any = None) -> Any:
    """Delayed tables as one dask DataFrame."""
    dataframe = optional.require("dask.dataframe", "fastgauss.dask", "dask")
    return dataframe.from_delayed(parts, meta=empty, divisions=divisions, verify_meta=False)


def _fit_frames(
    frames: np.ndarray, first: int, maps: dict[str, Any], options: dict[str, Any], none: FitResult
) -> Any:
    """The table of some frames, of which ``first`` is the number of the first."""
    each = {name: value for name, value in maps.items() if value.ndim == frames.ndim}
    same = {name: value for name, value in maps.items() if value.ndim < frames.ndim}

    def fit(number: int, frame: np.ndarray) -> FitResult:
        if frame.dtype.kind == "f" and not np.isfinite(frame).any():
            return none
        here = {name: value[number - first] for name, value in each.items()}
        return fit_image(frame, Given(**{**OPTIONS, **here, **same, **options}))

    results = list(fit_frames(frames, fit, first))
    numbers = np.arange(first, first + len(results))
    results, numbers = [none, *results], np.append(first, numbers)
    columns = FitResult.concatenate(results, numbers).to_dict()
    columns["id"] = np.concatenate([each.id for each in results])  # as if there were no chunks
    return _table(columns)


def fit_spots(
    stack: Any,
    positions: Any = None,
    model: str | Model = "symmetric",
    *,
    weights: Any = None,
    error: Any = None,
    variance: Any = None,
    mask: Any = None,
    background: Any = None,
    threads: int | None = 1,
    **options: Any,
) -> Any:
    """Find and fit the spots of every frame of a stack: a lazy table with a frame column.

    Parameters
    ----------
    stack : dask array (t, y, x) or (t, z, y, x)
        A dask array, or anything that ``dask.array.asarray`` accepts. Chunks along y and x (and z)
        are merged, so that frames are whole; chunks along t stay. A task holds one chunk of frames.
    positions : array (n, ndim), optional
        (z,) row and column of spots, the same in all frames; by default every frame is searched.
    model : {"symmetric", "elliptic", "rotated"} or Model
        As in `fastgauss.fit_spots`.
    weights, error, variance, mask, background : array, optional
        As in `fastgauss.fit_spots`, of a frame's shape, the same for all frames, or of the stack's
        shape; of dask or numpy.
    threads : int, optional
        Threads of a task.
    **options
        All other options of `fastgauss.fit_spots` except `progress`:
        ``dask.diagnostics.ProgressBar`` and the dashboard show the progress. `shared` parameters
        are shared within a frame.

    Returns
    -------
    dask DataFrame
        ``frame`` and the columns of ``FitResult.to_dict``, one partition for each chunk. The rows
        and their order are those of fits of one frame after the other, to the bit; ``id`` counts
        the spots of a frame. A frame without
        a finite pixel has no rows. The index counts rows within a partition.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.
    ImportError
        If pandas is missing.

    Examples
    --------
    >>> import dask.array as da, fastgauss as fg, fastgauss.dask
    >>> frames = fg.image([[90.0, 9.0, 7.0, 1.3, 5.0]] * 3, (17, 17), model="symmetric")
    >>> spots = fg.dask.fit_spots(da.from_array(frames, chunks=(2, 17, 9)))
    >>> spots[["frame", "x", "y"]].compute(scheduler="sync").round(3).to_numpy()
    array([[0., 9., 7.],
           [1., 9., 7.],
           [2., 9., 7.]])
    """
    if "progress" in options:
        raise TypeError("progress is dask's own here: use dask.diagnostics.ProgressBar")
    stack, weights, error, variance, mask, background = lay_out(
        "stack", stack, weights=weights, error=error, variance=variance, mask=mask,
        background=background,
    )  # fmt: skip
    frames = with_known_chunks("stack", da.asarray(stack))
    if frames.ndim not in (3, 4):
        raise ValueError(f"stack must have 3 or 4 dimensions, got shape {frames.shape}")
    shape, lengths = frames.shape[1:], frames.chunks[0]
    frames = frames.rechunk({axis: -1 for axis in range(1, frames.ndim)})
    options |= {"positions": positions, "model": model, "threads": threads}
    given = {"weights": weights, "error": error, "variance": variance, "mask": mask}
    if isinstance(background, str) or background is None:
        options["background"] = background
    else:
        given["background"] = background
    maps: dict[str, Divided] = {}
    blank = {}
    for name, value in given.items():
        if value is not None:
            array = as_array(value)
            if array.shape not in (shape, frames.shape):
                raise ValueError(
                    f"{name} must have shape {shape} or {frames.shape}, got {array.shape}"
                )
            maps[name] = Divided(array, array.ndim == frames.ndim, lengths)
            blank[name] = np.full(shape, name == "error", array.dtype)  # errors are positive
    none = _no_spots(np.zeros(shape, frames.dtype), blank, options)
    work = partial(_fit_frames, options=options, none=none)
    parts = per_chunk(work, frames, maps)
    return _tables(parts, _table(FitResult.concatenate([none], [0]).to_dict()))


def _no_spots(frame: np.ndarray, maps: dict[str, Any], options: dict[str, Any]) -> FitResult:
    """A result without rows; raises if an option is wrong."""
    if options["positions"] is None:
        find = {name: options[name] for name in _FIND if name in options}
        find_spots(np.empty((0,) * frame.ndim), **find)
        options = options | {"positions": np.empty((0, frame.ndim))}
    return fit_frame(frame, **maps, **options)[:0]


def _fit_rows(rois: np.ndarray, first: int, per_row: dict[str, Any], options: Any) -> Any:
    """The table of some ROIs, of which ``first`` is the number of the first."""
    columns = fit_rows(rois, **per_row, **options).to_dict()
    columns["id"] = columns["id"] + first
    return _table(columns, first)


def fit_rois(
    rois: Any,
    model: str | Model = "symmetric",
    *,
    guess: Any = None,
    weights: Any = None,
    error: Any = None,
    variance: Any = None,
    mask: Any = None,
    fixed: dict[str, Any] | None = None,
    bounds: dict[str, Any] | None = None,
    coords: Any = None,
    threads: int | None = 1,
    **options: Any,
) -> Any:
    """Fit a Gaussian to each of many ROIs: a lazy table, one partition for each chunk.

    Parameters
    ----------
    rois : dask array (n, x), (n, y, x) or (n, z, y, x)
        A dask array, or anything that ``dask.array.asarray`` accepts. Chunks along all axes except
        the first are merged.
    model : {"symmetric", "elliptic", "rotated"} or Model
        As in `fastgauss.fit_rois`.
    guess, weights, error, variance, mask, fixed, bounds, coords : optional
        As in `fastgauss.fit_rois`; arrays with a row or number for each ROI may be of dask or numpy
        and are divided like `rois`.
    threads : int, optional
        Threads of a task.
    **options
        All other options of `fastgauss.fit_rois` except `progress`, and `shared`, which needs all
        ROIs at once.

    Returns
    -------
    dask DataFrame
        The columns of ``FitResult.to_dict``, one row for each ROI, with its number as the index.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.
    ImportError
        If pandas is missing.

    Examples
    --------
    >>> import dask.array as da, fastgauss as fg, fastgauss.dask
    >>> rois = fg.image([[90.0, 5.0, 4.0, 1.3, 5.0]] * 5, (11, 11), model="symmetric")
    >>> fits = fg.dask.fit_rois(da.from_array(rois, chunks=(2, -1, -1)))
    >>> fits.sigma.mean().compute(scheduler="sync").round(6)
    np.float64(1.3)
    """
    for name in ("progress", "shared"):
        if options.get(name):
            raise TypeError(f"{name} is not for ROIs in chunks: use fastgauss.fit_rois")
    rois, weights, error, variance, mask = lay_out(
        "rois", rois, weights=weights, error=error, variance=variance, mask=mask
    )
    stack = with_known_chunks("rois", da.asarray(rois))
    if stack.ndim not in (2, 3, 4):
        raise ValueError(f"rois must have 2, 3 or 4 dimensions, got shape {stack.shape}")
    stack = stack.rechunk({axis: -1 for axis in range(1, stack.ndim)})
    lengths, ndim = stack.chunks[0], stack.ndim

    def divide(value: Any, *per_row: int) -> Any:
        array = as_array(value)
        rows = array is not None and array.ndim in per_row and array.shape[0] == len(stack)
        return None if array is None else Divided(array, rows, lengths)

    tree = {
        "guess": divide(guess, 2),
        "coords": divide(coords, 2),
        "weights": divide(weights, ndim, *[1] * (ndim > 2)),
        "error": divide(error, ndim, *[1] * (ndim > 2)),
        "variance": divide(variance, ndim),
        "mask": divide(mask, ndim),
        "fixed": fixed,
        "bounds": bounds,
    }
    if isinstance(fixed, dict):
        tree["fixed"] = {name: divide(value, 1) for name, value in fixed.items()}
    if isinstance(bounds, dict):
        tree["bounds"] = {
            name: tuple(divide(end, 1) for end in pair) if isinstance(pair, tuple | list) else pair
            for name, pair in bounds.items()
        }
    options |= {"model": model, "threads": threads}
    none = np.empty((0, *stack.shape[1:]), stack.dtype)
    empty = _fit_rows(none, 0, none_of(tree), options)
    parts = per_chunk(partial(_fit_rows, options=options), stack, tree)
    starts = [0, *accumulate(lengths)][:-1]
    divisions = (*starts, len(stack) - 1) if all(lengths) else None
    return _tables(parts, empty, divisions)


def _read(path: Path, first: int, end: int) -> np.ndarray:
    """Some frames of a file."""
    with images.open_image(path) as frames:
        return np.stack([frames[k] for k in range(first, end)])


def open_stack(path: str | os.PathLike, frames: int | None = None) -> Any:
    """The frames of an image file as a dask array, read by the tasks that use them.

    Parameters
    ----------
    path : path-like
        TIFF, Zarr, NPY or FITS, as for the command ``fastgauss fit``. Workers on other machines
        need the file at the same path.
    frames : int, optional
        Frames in a chunk; by default as many as fit in 64 MB.

    Returns
    -------
    dask array (t, y, x)
        All axes before the last two become one, in the order of the file.

    Raises
    ------
    FileNotFoundError, ValueError, ImportError
        If there is no such file, it cannot be read, or the library for it is missing.

    Examples
    --------
    >>> import fastgauss.dask
    >>> stack = fastgauss.dask.open_stack("movie.tif")  # doctest: +SKIP
    >>> fastgauss.dask.fit_spots(stack).to_parquet("spots")  # doctest: +SKIP
    """
    file = Path(path).resolve()
    with images.open_image(file) as opened:
        count, frame = len(opened), opened[0]
    if frames is None:
        frames = max(1, _CHUNK_BYTES // max(frame.nbytes, 1))
    step = min(check.integer("frames", frames, at_least=1), count)
    starts = range(0, count, step)
    name = "frames-" + tokenize(str(file), file.stat().st_mtime_ns, step)
    graph: dict[Any, Any] = {
        (name, k, 0, 0): (partial(_read, file, first, min(first + step, count)),)
        for k, first in enumerate(starts)
    }
    layers = HighLevelGraph.from_collections(name, graph)
    lengths = tuple(min(step, count - first) for first in starts)
    chunks = (lengths, *((n,) for n in frame.shape))
    return da.Array(layers, name, chunks=chunks, dtype=frame.dtype)
