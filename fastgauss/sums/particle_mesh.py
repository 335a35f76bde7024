"""Particles to a regular grid and back, by B-splines: `deposit` and `gather`.

With the B-spline B_p of p nodes (``kernel``) and the indices u of a particle of value v

    deposit   F(i) = sum over particles of v prod_k B_p(u_k - i_k)
    gather    g(particle) = sum over nodes of F(i) prod_k B_p(u_k - i_k),

each is the exact adjoint of the other: <deposit(v), F> = <v, gather(F)>. Every node receives its
contributions in the order of the particles, for any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, thread_pool, wording
from ..base.grid import Grid, as_grid
from ..base.named_axes import channels_last
from ..kernels.sums import bspline_stencils

NONFINITE = ("raise", "drop")
_KINDS = (np.dtype(np.float32), np.dtype(np.float64))
_CHUNK = 1 << 17  # particles of a task that only reads
_SAMPLE = 1 << 14  # particles of a sample, from which the ends of slabs are chosen
_SMALL = 2e5  # node updates that take as long as waking another thread


def _nodes(kernel: str) -> int:
    """Number of nodes along an axis of the deposit kernel of this name."""
    if kernel == "gaussian":
        raise ValueError("kernel='gaussian' is what render draws: use fastgauss.render")
    stencils = bspline_stencils.STENCILS
    return int(stencils[check.choice("kernel", kernel, stencils)].nodes)


def _readable(array: np.ndarray) -> np.ndarray:
    """The array as the kernels read it, converted only if they do not know its dtype."""
    if array.dtype == bool:
        return array.view(np.uint8)
    if array.dtype.kind == "f" and array.itemsize not in (4, 8):
        return array.astype(np.float32 if array.itemsize < 4 else np.float64)
    if not (array.dtype.isnative and array.flags.aligned):
        return array.astype(array.dtype.newbyteorder("="))
    return array


def _points(value: ArrayLike, ndim: int | None) -> np.ndarray:
    """Positions (n, ndim); (n,) is allowed where there is one axis."""
    columns = check.axis_names(check.axes_named(value) if ndim is None else ndim)
    array = check.real_array("positions", value, columns=columns)
    if array.shape == (0,) or (array.ndim == 1 and ndim in (1, None)):
        array = array.reshape(-1, ndim or 1)
    if array.ndim != 2 or array.shape[1] not in ((1, 2, 3) if ndim is None else (ndim,)):
        expected = "(n, 1) to (n, 3)" if ndim is None else f"(n, {ndim})"
        raise ValueError(f"positions must have shape {expected}, got {array.shape}")
    return _readable(array)


def _values(value: ArrayLike, n: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """Values (n or 1, channels) and the shape of the channels."""
    array = check.real_array("values", value)
    if array.ndim and len(array) != n:
        raise ValueError(
            f"values must be one number or have {wording.plural(n, 'row')}, one for each particle, "
            f"got shape {array.shape}"
        )
    trail = array.shape[1:]
    rows = _readable(array).reshape(n if array.ndim else 1, math.prod(trail))
    if not (array.ndim or np.isfinite(rows).all()):  # n values are checked with the positions
        raise ValueError(f"values must be finite, got {wording.shown(value)}")
    return rows, trail


def _frame(grid: Grid) -> bspline_stencils.Frame:
    """The grid as a grid of three axes."""
    lead = 3 - grid.ndim
    return bspline_stencils.Frame(
        (1,) * lead + grid.shape,  # type: ignore[arg-type]
        (False,) * lead + grid.periodic,  # type: ignore[arg-type]
        (0.0,) * lead + grid.origin,  # type: ignore[arg-type]
        (1.0,) * lead + grid.spacing,  # type: ignore[arg-type]
    )


def _flat(array: np.ndarray) -> np.ndarray | None:
    """All numbers in one row, if they are contiguous and float64."""
    plain = array.dtype == np.float64 and array.flags.c_contiguous
    return array.reshape(-1) if plain else None


def _survey(
    positions: np.ndarray, values: np.ndarray, frame: bspline_stencils.Frame, threads: int
) -> int:
    """First particle that is not finite, or -1."""
    n = len(positions)
    bad = np.full(-(-n // _CHUNK), -1)
    # coordinates below the bound, nearly all, have a finite index on every axis
    bound = 8e307 * min(1.0, *frame.spacing)
    own = len(values) == n
    flat = _flat(positions) if max(map(abs, frame.origin)) < bound else None
    rows = _flat(values) if own else np.empty(0)
    axes, channels = positions.shape[1], values.shape[1] if own else 0

    def fine(start: int, stop: int) -> bool:
        return (
            flat is not None
            and rows is not None
            and bspline_stencils.all_below(flat, bound, start * axes, stop * axes)
            and bspline_stencils.all_below(rows, np.inf, start * channels, stop * channels)
        )

    def task(start: int, stop: int) -> None:
        if not fine(start, stop):
            bad[start // _CHUNK] = bspline_stencils.survey(positions, values, frame, start, stop)

    thread_pool.run(lambda: task, n, _CHUNK, threads)
    found = bad[bad >= 0]
    return int(found[0]) if found.size else -1


def _refuse(positions: np.ndarray, values: np.ndarray, first: int) -> None:
    """Raise an error that says which particle is not finite."""
    row = positions[first].tolist()
    if not np.isfinite(row).all():
        raise ValueError(f"positions must be finite, got {row} at index {first}")
    if len(values) == len(positions) and not np.isfinite(values[first]).all():
        raise ValueError(f"values must be finite, got {values[first].tolist()} at index {first}")
    raise ValueError(
        f"positions must be finite numbers of spacings from the origin, got {row} at index {first}"
    )


def _finite_rows(positions: np.ndarray, values: np.ndarray, grid: Grid) -> np.ndarray:
    """Which particles have a finite position and finite values."""
    with np.errstate(over="ignore", invalid="ignore"):
        fine = np.isfinite(grid.index(positions)).all(axis=1)
    return fine & np.isfinite(values).all(axis=1) if len(values) == len(fine) else fine


def _slabs(grid: Grid, positions: np.ndarray, team: int) -> list[int]:
    """Bounds of slabs of the first axis, one for each thread, with similar numbers of particles."""
    n = grid.shape[0]
    some = positions[:: max(1, len(positions) // _SAMPLE)]
    along = grid.index(some)[:, 0]
    along = np.sort(along % n if grid.periodic[0] else along.clip(0, n))
    inner = np.rint(along[np.arange(1, team) * len(along) // team]).astype(int)
    return np.unique(np.concatenate([[0], inner, [n]])).tolist()


def _apart(array: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The array, copied if it shares memory with the result."""
    return array.copy() if np.may_share_memory(array, out) else array


def deposit(
    grid_or_shape: Grid | Sequence[int] | int,
    positions: ArrayLike,
    values: ArrayLike = 1.0,
    kernel: str = "linear",
    out: np.ndarray | None = None,
    *,
    nonfinite: str = "raise",
    threads: int | None = None,
) -> np.ndarray:
    """Distribute the values of particles to the nodes around them (NGP, CIC, TSC, PCS).

    Parameters
    ----------
    grid_or_shape : Grid or tuple of int
        The positions of the nodes; a shape means spacing 1 and origin 0. A node is what other
        packages call the centre of a cell: a box [0, L) of n cells has its nodes at ``Grid(n,
        spacing=L / n, origin=0.5 * L / n)``.
    positions : array (n, d)
        In the grid's coordinates, one column for each axis of the array, of any real dtype. They
        may lie outside the grid.
    values : float or array (n,) or (n, ...)
        The value of each particle; further axes are channels.
    kernel : {"nearest", "linear", "quadratic", "cubic"}
        The B-spline of 1, 2, 3 or 4 nodes along each axis: nearest grid point, cloud in cell,
        triangular-shaped cloud, piecewise cubic. Half-way between two nodes "nearest" uses the node
        with the higher index.
    out : array, optional
        Array of float32 or float64 of the grid's shape, channels last, to which the sums are added
        in place. By default a new float64 array of zeros.
    nonfinite : {"raise", "drop"}
        "raise": a particle with a NaN or infinite position or value is an error. "drop": it is left
        out. A single value for all particles must be finite.
    threads : int, optional
        Largest number of threads. The result has the same bits for any number.

    Returns
    -------
    array
        `out` if it was given.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value; `out` is then unchanged.

    Notes
    -----
    On a periodic axis the stencil wraps around. On other axes the part of a stencil outside the
    grid is lost. The weights of a particle sum to 1 except for rounding, so that mass is conserved
    where no stencil leaves the grid.

    Values and weights are float64; with an `out` of float32 each sum is rounded to it. An
    `out` that is not C-contiguous is copied and written back.

    The threads divide the first axis of the grid: if it has few nodes, few threads take part. Each
    thread reads the first coordinates of all particles, which costs some 5 % of the work of one
    thread.

    References
    ----------
    Hockney & Eastwood 1988, Computer Simulation Using Particles, section 5-3.

    Examples
    --------
    >>> import fastgauss as fg
    >>> fg.deposit((2, 4), [[0.5, 1.25], [1.0, 3.0]], values=[8.0, 1.0])
    array([[0., 3., 1., 0.],
           [0., 3., 1., 1.]])
    """
    frame_of = as_grid(grid_or_shape, "grid_or_shape")
    nodes = _nodes(kernel)
    drop = check.choice("nonfinite", nonfinite, NONFINITE) == "drop"
    where = _points(positions, frame_of.ndim)
    what, trail = _values(values, len(where))
    shape = frame_of.shape + trail
    target = np.zeros(shape) if out is None else check.out_array("out", out, shape, _KINDS)
    team = thread_pool.resolve_threads(threads)
    team = team if len(where) * nodes**frame_of.ndim * what.shape[1] > _SMALL else 1
    frame = _frame(frame_of)
    first = _survey(where, what, frame, team)
    if first >= 0:
        if not drop:
            _refuse(where, what, first)
        fine = _finite_rows(where, what, frame_of)
        where, what = where[fine], what[fine] if len(what) == len(fine) else what
    if target.size and len(where):
        where, what = _apart(where, target), _apart(what, target)
        bounds = _slabs(frame_of, where, team) if team > 1 else [0, frame_of.shape[0]]
        _scatter(target, where, what, frame, kernel, bounds)
    return target if out is None else out


def _scatter(
    target: np.ndarray,
    positions: np.ndarray,
    values: np.ndarray,
    frame: bspline_stencils.Frame,
    stencil: str,
    bounds: list[int],
) -> None:
    """Add to ``target``, one slab of the first axis for each thread."""
    as_it_lies = target.flags.c_contiguous and target.flags.aligned
    own = target if as_it_lies else np.array(target, order="C")
    flat = own.reshape(-1)
    kernel = bspline_stencils.make_deposit(stencil, positions.shape[1], values.shape[1] > 1)

    def make_task() -> thread_pool.Task:
        block = bspline_stencils.make_block()

        def task(start: int, stop: int) -> None:
            kernel(flat, positions, values, frame, block, bounds[start], bounds[stop])

        return task

    thread_pool.run(make_task, len(bounds) - 1, 1, len(bounds) - 1)
    if own is not target:
        target[...] = own


def _field(value: ArrayLike, grid: Grid | Sequence[int] | int | None, axes: int) -> Any:
    """The field as the kernels read it, its grid and the shape of its channels."""
    array = check.real_array("field", channels_last("field", value))
    if grid is not None:
        known = as_grid(grid)
    elif array.ndim < axes:
        raise ValueError(
            f"field must have {wording.plural(axes, 'axis')} or more, got shape {array.shape}"
        )
    else:
        known = Grid(array.shape[:axes])
    if array.shape[: known.ndim] != known.shape:
        raise ValueError(
            f"field must have the grid's shape {known.shape} before its channels, got {array.shape}"
        )
    return np.ascontiguousarray(_readable(array)), known, array.shape[known.ndim :]


def gather(
    field: ArrayLike,
    positions: ArrayLike,
    kernel: str = "linear",
    grid: Grid | Sequence[int] | int | None = None,
    *,
    threads: int | None = None,
) -> np.ndarray:
    """Weighted means of a field's nodes around particles: the exact adjoint of `deposit`.

    Parameters
    ----------
    field : array of the grid's shape
        Of any real dtype; further axes are channels.
    positions : array (n, d)
        In the grid's coordinates, of any real dtype. They may lie outside the grid.
    kernel : {"nearest", "linear", "quadratic", "cubic"}
        The spline, as for `deposit`.
    grid : Grid or tuple of int, optional
        The positions of the nodes. By default the first d axes of `field` have spacing 1 and origin
        0.
    threads : int, optional
        Largest number of threads. The result has the same bits for any number.

    Returns
    -------
    array (n,) or (n, ...)
        Float64, channels last.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value, or a position is not finite.

    Notes
    -----
    Nodes outside the grid count as 0, as in the adjoint of `deposit`. The linear spline
    interpolates; quadratic and cubic splines smooth. A NaN of the field gives NaN for every
    particle whose stencil contains its node, also if the weight is 0. A field that is not
    C-contiguous is copied.

    Examples
    --------
    >>> import fastgauss as fg
    >>> fg.gather([[0.0, 1.0], [2.0, 3.0]], [[0.5, 0.5], [1.0, 0.25]])
    array([1.5 , 2.25])
    """
    nodes = _nodes(kernel)
    known = None if grid is None else as_grid(grid)
    where = _points(positions, None if known is None else known.ndim)
    volume, known, trail = _field(field, known, where.shape[1])
    team = thread_pool.resolve_threads(threads)
    out = np.zeros((len(where), math.prod(trail)))
    team = team if out.size * nodes**known.ndim > _SMALL else 1
    frame = _frame(known)
    first = _survey(where, np.zeros((1, 1)), frame, team)
    if first >= 0:
        _refuse(where, np.zeros((1, 1)), first)
    if out.size and volume.size:
        _collect(
            volume.reshape(-1),
            where,
            frame,
            out,
            bspline_stencils.make_gather(kernel, known.ndim),
            team,
        )
    return out.reshape(len(where), *trail)


def _collect(
    flat: np.ndarray,
    positions: np.ndarray,
    frame: bspline_stencils.Frame,
    out: np.ndarray,
    kernel: Callable,
    team: int,
) -> None:
    """Fill ``out`` (n, channels), chunks of particles on several threads."""

    def make_task() -> thread_pool.Task:
        block = bspline_stencils.make_block()

        def task(start: int, stop: int) -> None:
            kernel(flat, positions, frame, block, out, start, stop)

        return task

    thread_pool.run(make_task, len(positions), _CHUNK // 8, team)
