"""Fields of dask arrays: particles to volumes in chunks; sums by index in trees."""

from __future__ import annotations

import math
from functools import partial
from itertools import product
from operator import getitem
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from ..base import check
from ..base.grid import Grid, as_grid
from ..fields import arguments, boxes
from ..fields.rendering import COMBINE
from ..sums.particle_mesh import deposit as deposit_rows
from ..sums.scatter_add import add_at as add_rows
from .chunks import Divided, as_array, is_dask, none_of, per_chunk, tree_sum, with_known_chunks


def _draw(
    base: np.ndarray | None, *shares: boxes.Share, shape: Any, dtype: Any, **rest: Any
) -> Any:
    """One chunk of a volume."""
    box = np.zeros(shape, dtype) if base is None else np.array(base, dtype, order="C")
    return boxes.draw(box=box, shares=shares, **rest)


def render(
    grid_or_shape: Grid | tuple[int, ...],
    positions: Any,
    amplitudes: Any = 1.0,
    sigma: Any = 1.0,
    *,
    covariance: Any = None,
    tol: float = 1e-4,
    radius: float | None = None,
    support: str = "box",
    pixel: str = "sample",
    combine: str = "sum",
    out: Any = None,
    chunks: Any = "auto",
    threads: int | None = 1,
) -> Any:
    """Draw particles on a grid in chunks, each from the particles that reach into it.

    Parameters
    ----------
    grid_or_shape, tol, radius, support, pixel, combine
        As in `fastgauss.render`.
    positions, amplitudes, sigma, covariance : array
        As in `fastgauss.render`, dask's or numpy's. Particles in numpy arrays are assigned to the
        chunks at once, and the graph holds them, once for each chunk that they reach; with
        positions of dask a task assigns each chunk of particles.
    out : dask array of float32 or float64, optional
        An array of the grid's shape with which the particles are combined; it is not changed.
    chunks : optional
        Chunks of the result, as for ``dask.array.zeros``; with `out` its chunks.
    threads : int, optional
        Threads of a task.

    Returns
    -------
    dask array of the grid's shape
        The result of `fastgauss.render`, to the bit, for any chunks. Float64 unless `out` is
        float32.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    Notes
    -----
    A task gets only the particles that reach its chunk, 80 bytes for each particle in three
    dimensions with individual sigmas. A particle that reaches several chunks is drawn in each of
    them.

    Examples
    --------
    >>> import fastgauss as fg, fastgauss.dask
    >>> volume = fg.dask.render((40, 40, 40), [[10.2, 19.8, 20.1]], 5.0, 1.5, chunks=20)
    >>> same = fg.render((40, 40, 40), [[10.2, 19.8, 20.1]], 5.0, 1.5)
    >>> bool((volume.compute(scheduler="sync") == same).all())
    True
    """
    grid, positions = as_grid(grid_or_shape, "grid_or_shape"), as_array(positions)
    check.choice("combine", combine, COMBINE)
    dtype = np.dtype(np.float64)
    if out is not None:
        if not is_dask(out) or out.dtype not in arguments.KINDS:
            raise TypeError(
                f"out must be a dask array of float32 or float64, got {type(out).__name__} of "
                f"{getattr(out, 'dtype', 'no dtype')}"
            )
        if out.shape != grid.shape:
            raise ValueError(f"out must have shape {grid.shape}, got {out.shape}")
        if chunks != "auto":
            raise ValueError("chunks must be 'auto' with out, whose chunks the result has")
        chunks, dtype = out.chunks, out.dtype
    chunks = da.core.normalize_chunks(chunks, grid.shape, dtype=dtype)
    options = {
        "sigma": as_array(sigma), "covariance": as_array(covariance), "tol": tol,
        "radius": radius, "support": support, "pixel": pixel,
    }  # fmt: skip
    name = "render-" + tokenize(grid, positions, amplitudes, options, combine, out, chunks)
    share = f"share-{name}"
    graph: dict[Any, Any] = {}
    dealt = _deal(grid, chunks, positions, as_array(amplitudes), options)
    for j, shares in enumerate(dealt):
        for i in range(math.prod(map(len, chunks))):
            graph[share, j, i] = (getitem, shares.key, i) if is_dask(shares) else shares[i]
    places = product(*(range(len(lengths)) for lengths in chunks))
    for i, (place, begin) in enumerate(zip(places, boxes.corners(chunks), strict=True)):
        shape = tuple(lengths[k] for lengths, k in zip(chunks, place, strict=True))
        work = partial(
            _draw,
            shape=shape,
            dtype=dtype,
            grid=grid,
            begin=begin,
            combine=combine,
            threads=threads,
        )
        base = None if out is None else (out.name, *place)
        key = (name, *place)
        graph[key] = (work, base, *((share, j, i) for j in range(len(dealt))))
    needed = [part for part in (out, *dealt) if is_dask(part)]
    layers = HighLevelGraph.from_collections(name, graph, dependencies=needed)
    return da.Array(layers, name, chunks=chunks, dtype=dtype)


def _deal(
    grid: Grid, chunks: Any, positions: Any, amplitudes: Any, options: dict[str, Any]
) -> list[Any]:
    """The particles of each block for each chunk: lists, or delayed lists."""
    if not any(map(is_dask, (positions, amplitudes, options["sigma"], options["covariance"]))):
        where = check.real_array("positions", positions)
        return [boxes.deal(grid, chunks, len(where), where, amplitudes, options)]
    where = with_known_chunks("positions", da.asarray(positions))
    where = where.rechunk({axis: -1 for axis in range(1, where.ndim)})
    lengths, n = where.chunks[0], len(where)

    def divide(value: Any, ndim: int) -> Any:
        rows = value is not None and value.ndim == ndim and value.shape[0] == n
        return None if value is None else Divided(value, rows, lengths)

    own = {
        "amplitudes": divide(amplitudes, 1),
        "sigma": divide(options["sigma"], 2),
        "covariance": divide(options["covariance"], 3),
    }
    work = partial(_deal_rows, grid=grid, chunks=chunks, total=n, options=options)
    if not any(
        option is not None and is_dask(option.value) and not option.per_row
        for option in own.values()
    ):
        work(np.empty((0, *where.shape[1:]), where.dtype), 0, none_of(own))
    return per_chunk(work, where, own)


def _deal_rows(
    where: np.ndarray, _: int, own: Any, grid: Grid, chunks: Any, total: int, options: Any
) -> list[boxes.Share]:
    """The particles of one block for each chunk."""
    widths = {name: own[name] for name in ("sigma", "covariance")}
    return boxes.deal(grid, chunks, total, where, own["amplitudes"], options | widths)


def _add_rows(_: Any, __: int, own: Any, shape: Any, dtype: Any, options: Any) -> np.ndarray:
    """The sums of some rows."""
    sums = np.zeros(shape, dtype)
    bins = own["indices"]
    add_rows(sums, bins if len(bins) > 1 else bins[0], own["values"], **options)
    return sums


def _deposit_rows(where: np.ndarray, _: int, own: Any, grid: Grid, options: Any) -> np.ndarray:
    """The grid of the sums of some particles."""
    return deposit_rows(grid, where, own["values"], **options)


def add_at(
    out: Any,
    indices: Any,
    values: Any,
    mode: str = "raise",
    *,
    split_every: int = 8,
    threads: int | None = 1,
    **options: Any,
) -> Any:
    """Add values to elements of an array; sums of chunks are added in a tree.

    Parameters
    ----------
    out : array, numpy's or dask's
        The array to add to; it is not changed.
    indices : dask array (n,) of int, or tuple of them
        Bins along the first axis, or the first axes.
    values : array
        Values that broadcast to the shape of ``out[indices]``, of dask or numpy.
    mode : {"raise", "wrap", "clip", "drop"}
        As in `fastgauss.add_at`; the IndexError of "raise" comes when the result is computed.
    split_every : int
        Number of partial sums that one task adds.
    threads : int, optional
        Threads of a task.
    **options
        `compensated` and `accumulate` of `fastgauss.add_at`, for the sums of each chunk.

    Returns
    -------
    dask array of the shape and dtype of `out`
        Integers are equal to those of `fastgauss.add_at`. Sums of floats are grouped by chunks and
        differ from sums in the order of the indices by rounding; the same chunks and `split_every`
        give the same bits.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    Notes
    -----
    Every task needs an array of the size of `out`, and a task of the tree ``split_every + 1``.

    Examples
    --------
    >>> import dask.array as da, numpy as np, fastgauss.dask
    >>> k = da.from_array(np.array([0, 2, 2, 1, 2]), chunks=2)
    >>> fastgauss.dask.add_at(np.zeros(4, int), k, 1).compute(scheduler="sync")
    array([1, 1, 3, 0])
    """
    target = as_array(out)
    several = isinstance(indices, tuple)
    given = [
        with_known_chunks("indices", da.asarray(k)) for k in (indices if several else (indices,))
    ]
    if not given or any(k.ndim != 1 or k.shape != given[0].shape for k in given):
        raise ValueError(f"indices must be of one shape (n,), got {[k.shape for k in given]}")
    lengths, n = given[0].chunks[0], len(given[0])
    trail = target.shape[len(given) :]
    amounts = as_array(values)
    rows = amounts.ndim == 1 + len(trail) and amounts.shape[0] == n
    options |= {"mode": mode, "threads": threads}
    own = {
        "indices": tuple(Divided(k, True, lengths) for k in given),
        "values": Divided(amounts, rows, lengths),
    }
    work = partial(_add_rows, shape=target.shape, dtype=target.dtype, options=options)
    work(None, 0, none_of(own))
    parts = per_chunk(work, given[0], own)
    sums = da.from_delayed(tree_sum(parts, split_every), target.shape, target.dtype)
    return da.asarray(out) + (sums.rechunk(target.chunks) if is_dask(out) else sums)


def deposit(
    grid_or_shape: Grid | tuple[int, ...] | int,
    positions: Any,
    values: Any = 1.0,
    kernel: str = "linear",
    *,
    nonfinite: str = "raise",
    split_every: int = 8,
    threads: int | None = 1,
) -> Any:
    """Distribute the values of particles to the nodes around them; sums of chunks in a tree.

    Parameters
    ----------
    grid_or_shape, kernel, nonfinite
        As in `fastgauss.deposit`.
    positions : dask array (n, d)
        In the grid's coordinates.
    values : float or array (n,) or (n, ...)
        The value of each particle, of dask or numpy.
    split_every : int
        Number of partial sums that one task adds.
    threads : int, optional
        Threads of a task.

    Returns
    -------
    dask array of the grid's shape, float64
        The result of `fastgauss.deposit` except for rounding, because sums are grouped by chunks.
        The same chunks and `split_every` give the same bits.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value; values that are not finite raise when
        the result is computed.

    Notes
    -----
    Every task needs an array of the grid's size, and a task of the tree ``split_every + 1``.

    Examples
    --------
    >>> import dask.array as da, fastgauss.dask
    >>> where = da.asarray([[0.5, 1.25], [1.0, 3.0]])
    >>> fastgauss.dask.deposit((2, 4), where, [8.0, 1.0]).compute(scheduler="sync")
    array([[0., 3., 1., 0.],
           [0., 3., 1., 1.]])
    """
    grid = as_grid(grid_or_shape, "grid_or_shape")
    where = with_known_chunks("positions", da.asarray(positions))
    where = where.rechunk({axis: -1 for axis in range(1, where.ndim)})
    amounts, lengths = as_array(values), where.chunks[0]
    rows = amounts.ndim > 0 and amounts.shape[0] == len(where)
    own = {"values": Divided(amounts, rows, lengths)}
    options: dict[str, Any] = {"kernel": kernel, "nonfinite": nonfinite, "threads": threads}
    work = partial(_deposit_rows, grid=grid, options=options)
    shape = work(np.empty((0, *where.shape[1:]), where.dtype), 0, none_of(own)).shape
    parts = per_chunk(work, where, own)
    return da.from_delayed(tree_sum(parts, split_every), shape, np.float64)
