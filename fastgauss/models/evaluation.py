"""Values, derivatives and images of Gaussian models.

numpy's iterator broadcasts the coordinates against each other and against the leading axes of the
parameters. It converts a few thousand elements at a time, and hands out the arrays themselves where
there is nothing to convert or to repeat. The kernels compute each point by itself, so that a result
depends neither on how the points were divided nor on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, thread_pool
from ..base.duck_arrays import foreign, of_points
from ..kernels.models.model_kernels import ModelKernels
from ..kernels.models.points import make_image, make_points
from ..kernels.models.profiles import PIXELS
from .model import Model, get_model
from .psf_source import SourceModel
from .sloped import SlopedModel

_CHUNK = 1 << 16  # points or pixels that one thread takes at a time
_BUFFER = 4096  # elements of one array that are converted at a time
_READ: Any = ["readonly", "contig", "aligned", "nbo"]


def _axes(arguments: dict[str, Any]) -> dict[str, int | None]:
    """The axes of images, by name."""
    shape = check.shape("shape", arguments["shape"], (1, 2, 3))
    return dict(zip("zyx"[3 - len(shape) :], shape, strict=True))


_VALUES = of_points({"coords": (), "params": ("parameter",)}, lambda _: {})
_DERIVATIVES = of_points({"coords": (), "params": ("parameter",)}, lambda _: {"parameter": None})
_IMAGES = of_points({"params": ("parameter",)}, _axes)


def _coordinates(coords: Any) -> tuple[np.ndarray, ...]:
    """The coordinate arrays of ``coords``: a tuple is x, y, z; anything else is x."""
    given = coords if isinstance(coords, tuple) else (coords,)
    if not 1 <= len(given) <= 3:
        raise ValueError(f"coords must be x, (x, y) or (x, y, z), got {len(given)} arrays")
    names = ("coords",) if len(given) == 1 else ("x", "y", "z")
    return tuple(check.real_array(name, value) for name, value in zip(names, given, strict=False))


def _parameters(params: Any, model: Model) -> np.ndarray:
    """Parameters ``(..., P)`` of the model."""
    array = check.real_array("params", params, columns=model.names)
    if array.ndim == 0 or array.shape[-1] != model.size:
        raise ValueError(
            f"params must have a last axis of {model.size} for {model.names}, "
            f"got shape {array.shape}"
        )
    return array


def _variant(model: Model, pixel: str) -> tuple[ModelKernels, bool]:
    """The arguments of the kernel factories for a model."""
    check.choice("pixel", pixel, PIXELS)
    return model.kernels, pixel == "integrate"


def _result(out: Any, shape: tuple[int, ...], *inputs: np.ndarray) -> np.ndarray:
    """A C-ordered array to write to: ``out``, unless that would change what is yet to be read."""
    if out is None:
        return np.empty(shape)
    array = check.out_array("out", out, shape)
    if any(np.may_share_memory(array, given) for given in inputs):
        return np.empty(shape)
    return array if array.flags.c_contiguous and array.flags.aligned else np.empty(shape)


def _given(out: Any, result: np.ndarray) -> np.ndarray:
    """``out`` with the result copied to it, or the result itself if there is no ``out``."""
    if out is None:
        return result
    array = check.out_array("out", out, result.shape)
    if not np.may_share_memory(array, result):
        array[...] = result
    return out


def _in_place(points: tuple[np.ndarray, ...], shape: tuple[int, ...]) -> list[np.ndarray]:
    """Each flat and read-only, as numpy's iterator gives it; none if there is work for that."""
    flat = []
    for array in points:
        lies_well = array.flags.c_contiguous and array.flags.aligned
        if array.dtype != np.float64 or array.shape != shape or not lies_well:
            return []
        flat.append(array.reshape(-1))
        flat[-1].flags.writeable = False
    return flat


def _total(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """The sum of arrays of one shape, in their order."""
    first, *others = map(np.asarray, arrays)
    for array in others:
        first += array
    return first


def _common_shape(points: tuple[np.ndarray, ...], params: np.ndarray) -> tuple[int, ...]:
    """The shape to which coordinates and parameters (..., P) broadcast."""
    try:
        return np.broadcast(*points, params[..., 0]).shape
    except ValueError:
        raise ValueError(
            f"coords of shapes {[p.shape for p in points]} and params of shape {params.shape} "
            "do not broadcast"
        ) from None


def _points(
    coords: Any,
    params: Any,
    model: str | Model,
    pixel: str,
    out: Any,
    threads: int | None,
    derivatives: bool,
) -> np.ndarray:
    """What `evaluate` and `jacobian` share: check, chunks, kernel, result."""
    points = _coordinates(coords)
    own = get_model(model, len(points))
    given = _parameters(params, own)
    shape = _common_shape(points, given)
    if isinstance(own, SlopedModel):
        rest = _points(coords, own.spot(given), own.base, pixel, None, threads, derivatives)
        if derivatives:
            return _given(out, own.derivatives(rest, points, given))
        return _given(out, rest + own.tilt(points, given))
    if derivatives and isinstance(own, SourceModel):
        check.choice("pixel", pixel, PIXELS)
        thread_pool.resolve_threads(threads)
        return _given(out, own.derivatives(points, np.asarray(given, np.float64), pixel))
    parts = own.parts(given)
    found, array = parts[0]
    variant = _variant(found, pixel)
    if len(parts) > 1 or (derivatives and own is not found):
        each = [
            _points(coords, values, part, pixel, None, threads, derivatives)
            for part, values in parts
        ]
        return _given(out, own.from_parts(each, given) if derivatives else _total(each))
    count = math.prod(shape)
    outputs = found.size if derivatives else 1
    result = _result(out, (*shape, outputs) if derivatives else shape, *points, array)
    rows = result.reshape(count, outputs)
    kernel = make_points(*variant, derivatives)
    common: tuple[np.ndarray, ...] = ()
    sources = [*points]
    if array.size == found.size:
        values = np.array(array, dtype=np.float64).reshape(-1, 1)
        values.flags.writeable = False
        common = tuple(values)
    else:
        sources += [array[..., k] for k in range(found.size)]

    flat = _in_place(points, shape) if common else []

    def task_in_place(start: int, stop: int) -> None:
        kernel(tuple(p[start:stop] for p in flat), common, rows[start:stop])

    def make_task() -> thread_pool.Task:
        walk: Any = np.nditer(
            sources,
            flags=["external_loop", "buffered", "ranged", "grow_inner", "zerosize_ok"],
            op_flags=[_READ] * len(sources),
            op_dtypes=[np.float64] * len(sources),
            casting="same_kind",
            order="C",
            buffersize=_BUFFER,
        )

        def task(start: int, stop: int) -> None:
            walk.iterrange = (start, stop)
            at = start
            for pieces in walk:
                arrays = pieces if len(sources) > 1 else (pieces,)
                end = at + arrays[0].size
                kernel(arrays[: len(points)], common or arrays[len(points) :], rows[at:end])
                at = end

        return task

    thread_pool.run((lambda: task_in_place) if flat else make_task, count, _CHUNK, threads)
    return _given(out, result)


def evaluate(
    coords: Any,
    params: ArrayLike,
    model: str | Model = "rotated",
    pixel: str = "sample",
    *,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> Any:
    """Values of a Gaussian model at given points.

    Parameters
    ----------
    coords : array or tuple of arrays
        ``x`` in one dimension, ``(x, y)`` or ``(x, y, z)``, in pixels, of any real dtype. A tuple
        holds coordinates; anything else is x. For arrays of dask or xarray the result is an array
        of that library: lazy, or with the dimensions and coordinates broadcast by name.
    params : array (..., P)
        Parameters in the order of the model (see Notes); the leading axes broadcast with the
        coordinates. A sigma that is not positive gives NaN.
    model : {"symmetric", "elliptic", "rotated"}
        In one dimension all three are the same model.
    pixel : {"sample", "integrate"}
        The value at the point, or its mean over a unit pixel around it. The latter is
        exact for unrotated models; for the rotated one a 5 x 5 quadrature with an error of
        at most 3e-8 (0.7 / sigma)**10 of the amplitude, sigma the smaller one.
    out : array, optional
        Float64 array of the broadcast shape to write to, of any layout; it may share
        memory with the other arguments.
    threads : int, optional
        Largest number of threads, for large jobs. The result does not depend on it.

    Returns
    -------
    array or float64
        Values of the broadcast shape; `out` if it was given.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    Notes
    -----
    The parameters are ``amplitude, x, y, sigma, offset`` for the symmetric model, with ``sigma_x,
    sigma_y`` in place of ``sigma`` for the elliptic one and ``sigma_x, sigma_y, theta`` for the
    rotated one; a profile has no y, a volume has a z.

    On one AVX-512 core a sampled point takes about 2 ns, an integrated one 7 ns for each axis (10
    ns for the rotated model), a point with parameters of its own 7 to 45 ns, and a call 15 us. The
    relative error of the profile is a few 1e-16 times 1 + u**2, u the distance in sigmas, wherever
    the profile is a normal number; where it would be smaller, it is 0.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> fg.evaluate((3.0, 4.0), [100.0, 3.0, 4.0, 1.5, 1.0, 0.3, 10.0])
    np.float64(110.0)
    >>> x = np.arange(5.0)
    >>> fg.evaluate(x, [1.0, 2.0, 1.0, 0.0]).round(3)
    array([0.135, 0.607, 1.   , 0.607, 0.135])
    """
    if foreign(coords, params):
        return _VALUES(evaluate, locals())
    result = _points(coords, params, model, pixel, out, threads, False)
    return result if out is not None else result[()]


def jacobian(
    coords: Any,
    params: ArrayLike,
    model: str | Model = "rotated",
    pixel: str = "sample",
    *,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Derivatives of a Gaussian model by its parameters at given points.

    Parameters
    ----------
    coords, params, model, pixel, threads
        As in `evaluate`.
    out : array, optional
        Float64 array of the broadcast shape with a last axis P to write to.

    Returns
    -------
    array (..., P)
        Derivative by each parameter; `out` if it was given.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    Notes
    -----
    The derivatives are analytic and as exact as the values of `evaluate`. On one AVX-512 core a
    sampled point takes 4 to 8 ns, an integrated one 10 to 25 ns. At a sigma that is not positive
    all derivatives except the one by the offset are NaN.

    Examples
    --------
    >>> import fastgauss as fg
    >>> fg.jacobian(3.0, [2.0, 3.0, 1.5, 0.0])
    array([1., 0., 0., 1.])
    """
    if foreign(coords, params):
        return _DERIVATIVES(jacobian, locals())
    return _points(coords, params, model, pixel, out, threads, True)


def image(
    params: ArrayLike,
    shape: tuple[int, ...],
    model: str | Model = "rotated",
    pixel: str = "sample",
    *,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Images of Gaussian models: one image for each row of parameters.

    Parameters
    ----------
    params : array (..., P)
        Parameters in the order of the model (see `evaluate`). A sigma that is not positive gives
        NaN. Parameters of dask or xarray give images of that library.
    shape : tuple of int
        Lengths in pixels ``(x,)``, ``(y, x)`` or ``(z, y, x)``, in the order of the array's axes.
        Its length is the number of dimensions of the model.
    model, pixel, threads
        As in `evaluate`.
    out : array (...) + shape, optional
        Float64 array to write to.

    Returns
    -------
    array (...) + shape
        The centre of pixel ``[i, j]`` is y = i, x = j.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    Notes
    -----
    An unrotated model is a product of one table for each axis: on one AVX-512 core an image of 11 x
    11 pixels takes 0.13 us sampled and 0.3 us integrated, and a large image 0.2 ns a pixel. A
    rotated model takes 1.4 to 2.5 ns a pixel sampled, 12 to 15 ns integrated. For many spots on one
    image, sum over the leading axis, in chunks.

    Examples
    --------
    >>> import fastgauss as fg
    >>> fg.image([8.0, 1.0, 1.0, 1.0, 0.0], (3, 3), model="symmetric").round(2)
    array([[2.94, 4.85, 2.94],
           [4.85, 8.  , 4.85],
           [2.94, 4.85, 2.94]])
    """
    if foreign(params):
        return _IMAGES(image, locals())
    lengths = check.shape("shape", shape, (1, 2, 3))
    own = get_model(model, len(lengths))
    given = _parameters(params, own)
    if isinstance(own, SlopedModel):
        rest = image(own.spot(given), lengths, own.base, pixel, threads=threads)
        points = np.meshgrid(*map(np.arange, lengths), indexing="ij", sparse=True)[::-1]
        spots = given.reshape(*given.shape[:-1], *[1] * len(lengths), own.size)
        return _given(out, rest + own.tilt(points, spots))
    parts = own.parts(given)
    found, array = parts[0]
    variant = _variant(found, pixel)
    if len(parts) > 1:
        each = [image(values, lengths, part, pixel, threads=threads) for part, values in parts]
        return _given(out, _total(each))
    full = (*array.shape[:-1], *lengths)
    result = _result(out, full, array)
    pixels = result.reshape(-1)
    count = math.prod(array.shape[:-1])
    spots = array.reshape(count, found.size)  # a copy, if it has to be one, is small
    grid = (1,) * (3 - len(lengths)) + lengths
    width = lengths[-1]
    rows = math.prod(grid[:-1])
    kernel = make_image(*variant)

    def task(start: int, stop: int) -> None:
        first, last = start // rows, -(-stop // rows)
        own = np.array(spots[first:last], dtype=np.float64, order="C")
        shift = first * rows
        kernel(own, grid, pixels[start * width : stop * width], start - shift, stop - shift)

    chunk = max(1, _CHUNK // max(width, 1))
    if chunk > rows > 0:
        chunk -= chunk % rows  # whole images
    thread_pool.run(lambda: task, count * rows if width else 0, chunk, threads)
    return _given(out, result)
