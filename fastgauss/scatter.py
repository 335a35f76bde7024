"""numpy.add.at with threads: values added to bins, repeated indices counted each time.

Each bin receives its values in the order of the indices, one rounded addition after another, so
the result has the bits of numpy.add.at for any number of threads.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _scatter
from .base import check, thread_pool
from .kernels.sums import scatter_add as kernels

MODES = ("raise", "wrap", "clip", "drop")
_SMALL = 1 << 15  # pairs that are checked and added by one call of one kernel
_BATCH = 1 << 20  # pairs of which a copy is made where the arrays do not lie as needed
_BYTES = 32 << 20  # of such copies of values


@cache
def _adds(out: np.dtype, values: np.dtype) -> bool:
    """Whether the kernels add such values to such an array, by numpy's rules of casting."""
    known = out.isnative and values.isnative and out.kind in "iufc" and values.kind in "biufc"
    if not known or {out.char, values.char} & set("egG"):
        return False
    return np.can_cast(np.result_type(out, values), out, "same_kind")


def add_at(
    out: np.ndarray,
    indices: Any,
    values: ArrayLike,
    mode: str = "raise",
    *,
    compensated: bool = False,
    accumulate: str | None = None,
    threads: int | None = None,
) -> None:
    """Add values to elements of an array in place, as ``numpy.add.at(out, indices, values)``.

    Parameters
    ----------
    out : array
        Of any dtype that numpy adds; changed in place.
    indices : array of int, or anything that indexes `out`
        Bins along the first axis, in any order, repeated as often as wanted; or a tuple of such
        arrays, one for each of the first axes. Slices, boolean masks, single integers and mixed
        indices are left to numpy.add.at, with its speed.
    values : array
        Broadcast to the shape of ``out[indices]``. What does not cast to `out` by numpy's rule
        "same_kind" is left to numpy.add.at, which casts it all the same.
    mode : {"raise", "wrap", "clip", "drop"}
        What to do with an index outside an axis of n elements: raise IndexError before anything
        is written (negative ones down to -n count from the end); take it modulo n; take the
        nearest; leave the value out (every negative index is outside). Modes other than
        "raise" need arrays of integers.
    compensated : bool
        Carry what rounding loses along, and add it at the end: the error of a sum is then
        that of rounding it once, nearly. Floating dtypes.
    accumulate : {"float64"}, optional
        Sum in double precision and round once to the dtype of `out` at the end. Floating
        dtypes.
    threads : int, optional
        Threads at most. The result does not depend on it.

    Returns
    -------
    None
        As numpy.add.at.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value; numpy's own errors where it does
        the job.
    IndexError
        If an index is outside under ``mode="raise"``; nothing has been written then.

    Notes
    -----
    While `out` is 16 MB or less, one thread adds. Where it also has less than an eighth of the
    bytes of `indices`, these are checked on the way, and the sums made in a copy of `out`. Beyond
    16 MB, from 2**18 pairs on, each thread goes through all pairs and adds those of its own slice
    of the bins; ``fastgauss/_scatter.py`` has the rule. Takes up to 64 MB beside the arguments.
    `compensated` and `accumulate` read all pairs once for every window of the bins: one a thread,
    or more where sums of 8 or 16 bytes a bin would take more than 48 MB.

    numpy 2.4 writes to a read-only `out`, and reads past the end of ``values`` (3,) for indices
    (2, 3); here the one is refused and the other broadcast.

    From compiled code of your own, also ``njit(cache=True)``, call what
    ``fastgauss.kernels.make_add("raise", "value")`` returns, bound to a name of your
    module: ``add(out, indices, values, start, stop)``, which does not check the indices.

    Arrays that overlap with `out` are copied first. Indices of dtype uint64 are read modulo
    2**64 as numpy reads them. ``out[k]`` must be contiguous, else numpy.add.at does the job.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> out = np.zeros(4)
    >>> fg.add_at(out, [0, 2, 2, -1], [1.0, 2.0, 3.0, 4.0])
    >>> out
    array([1., 0., 5., 4.])
    >>> fg.add_at(out, [1, 4, 7], 1.0, mode="drop")
    >>> out
    array([1., 1., 5., 4.])
    """
    if mode == "raise" and compensated is False and accumulate is None and threads is None:
        bad = _try_small(out, indices, values)
        if bad == _DONE:
            return
        if bad >= 0:
            raise _index_error(bad, indices[bad], 0, len(out))
    for name, given in (("out", out), ("values", values), ("indices", indices)):
        if isinstance(given, np.ma.MaskedArray):
            raise TypeError(f"{name} must be a plain array, got a masked array")
    _check_options(out, mode, compensated, accumulate)
    thread_pool.resolve_threads(threads)
    arrays = _index_arrays(indices)
    job = None if arrays is None else _plan(out, arrays, values, mode)
    if job is None:
        if arrays is None and mode != "raise":
            raise TypeError(f"mode={mode!r} needs arrays of integers as indices")
        if compensated or accumulate is not None:
            raise TypeError(
                "compensated and accumulate need arrays of integers as indices, an out whose rows "
                "are contiguous, and values that cast to it and broadcast to out[indices]"
            )
        np.add.at(out, indices, _spread(values, arrays, out))
        return
    _run(job, compensated, accumulate, threads)


_DONE, _NOT = -1, -2


def _try_small(out: Any, indices: Any, values: Any) -> int:
    """Small jobs over prepared arrays: done, position of a bad index, or not of that kind."""
    if not (type(out) is type(indices) is np.ndarray and out.ndim == indices.ndim == 1):
        return _NOT
    n = indices.size
    if n > _SMALL or indices.dtype.char not in "lqiLQI" or not indices.dtype.isnative:
        return _NOT
    if type(values) is np.ndarray:
        kind = "value"
        if values.shape != indices.shape:
            return _NOT
    elif type(values) is float:
        kind, values = "scalar", np.array([values])
    else:
        return _NOT
    flags = out.flags
    if not (_adds(out.dtype, values.dtype) and flags.c_contiguous and flags.writeable and n):
        return _NOT
    if values.dtype.kind == "b":
        return _NOT
    if np.may_share_memory(out, values) or np.may_share_memory(out, indices):
        return _NOT
    return int(kernels.make_add_checked(kind)(out, indices, values))


def _check_options(out: Any, mode: str, compensated: bool, accumulate: str | None) -> None:
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a numpy array, got {type(out).__name__}")
    if not out.flags.writeable:
        raise ValueError("out must be writable, got a read-only array")
    check.choice("mode", mode, MODES)
    check.flag("compensated", compensated)
    if accumulate is not None:
        check.choice("accumulate", accumulate, ("float64",))
    if (compensated or accumulate is not None) and out.dtype.char not in "fdFD":
        raise TypeError(
            "compensated and accumulate need out of dtype float32, float64, complex64 or "
            f"complex128, got {out.dtype}"
        )


def _index_arrays(indices: Any) -> tuple[np.ndarray, ...] | None:
    """Index arrays of a fancy index, or None for what numpy should look at."""
    items = indices if isinstance(indices, tuple) else (indices,)
    if not items or any(isinstance(item, np.ma.MaskedArray) for item in items):
        return None
    if not all(isinstance(item, (np.ndarray, list)) for item in items):
        return None
    try:
        arrays = tuple(np.asarray(item) for item in items)
    except ValueError:  # ragged
        return None
    whole = all(array.dtype.kind in "iu" and array.ndim for array in arrays)
    return arrays if whole else None


def _spread(values: Any, arrays: tuple[np.ndarray, ...] | None, out: np.ndarray) -> Any:
    """Values for numpy: numpy 2.4 reads past the end of one row meant for rows of indices."""
    if arrays is None or len(arrays) > out.ndim or isinstance(values, np.ma.MaskedArray):
        return values
    try:
        many = np.broadcast_shapes(*(array.shape for array in arrays))
        return np.broadcast_to(values, many + out.shape[len(arrays) :])
    except ValueError:
        return values


class _Job:
    """Rows of values for rows of ``out``, both flat, and the indices that say where."""

    def __init__(
        self, out: np.ndarray, arrays: tuple[np.ndarray, ...], values: np.ndarray, mode: str
    ) -> None:
        self.mode = mode
        self.shape = out.shape[: len(arrays)]
        self.channels = math.prod(out.shape[len(arrays) :])
        self.kind = "row" if out.ndim > len(arrays) else "value"
        lead = math.prod(self.shape)
        flat = (lead, self.channels) if self.kind == "row" else (lead,)
        self.out = out if out.ndim == 1 else out.reshape(flat)
        self.arrays, self.values = arrays, values
        self.n = arrays[0].size

    @property
    def whole(self) -> bool:
        """Whether kernels can read indices and values as they lie."""
        first = self.arrays[0]
        plain = first.flags.c_contiguous and first.dtype.isnative and len(self.arrays) == 1
        return plain and (self.values.size == 1 or self.values.flags.c_contiguous)

    def values_of(self, start: int, stop: int) -> tuple[np.ndarray, str]:
        """Values of pairs [start, stop), flat or in rows, and their kind."""
        if self.values.size == 1 or not any(self.values.strides):
            one = self.values[(slice(0, 1),) * self.values.ndim].reshape(-1)
            one = one.view(np.uint8) if one.dtype == bool else one
            if self.kind == "value":
                return one, "scalar"
            return np.broadcast_to(one, (stop - start, self.channels)), "row"
        if self.values.flags.c_contiguous:
            part = self.values.reshape(-1)[start * self.channels : stop * self.channels]
        else:
            part = self.values.flat[start * self.channels : stop * self.channels]
        part = part.view(np.uint8) if part.dtype == bool else part
        return (part.reshape(-1, self.channels) if self.kind == "row" else part), self.kind

    def bins_of(self, start: int, stop: int) -> np.ndarray:
        """Bins of pairs [start, stop) as they are after `mode`; -1 for none."""
        total = np.zeros(stop - start, dtype=np.int64)
        outside = np.zeros(stop - start, dtype=bool)
        for array, n in zip(self.arrays, self.shape, strict=True):
            k = array.flat[start:stop].astype(np.int64)
            if self.mode == "raise":
                k[k < 0] += n
            elif self.mode == "wrap":
                k %= n
            elif self.mode == "clip":
                k = k.clip(0, n - 1)
            else:
                outside |= (k < 0) | (k >= n)
            total *= n
            total += k
        total[outside] = -1
        return total


def _plan(
    out: np.ndarray, arrays: tuple[np.ndarray, ...], values: ArrayLike, mode: str
) -> _Job | None:
    """The job, or None if it is numpy's."""
    if isinstance(values, np.ma.MaskedArray) or len(arrays) > out.ndim:
        return _decline(mode, "index arrays for at most the axes of out, and plain values")
    given = np.asarray(values)
    if not _adds(out.dtype, given.dtype):
        return _decline(mode, f"values that cast to out, got {given.dtype} for {out.dtype}")
    rows = out.ndim > 1 and len(arrays) == 1 and out.shape[0] > 0 and out[0].flags.c_contiguous
    apart = out.ndim == 1 and (abs(out.strides[0]) >= out.itemsize or out.size < 2)
    if not (out.flags.c_contiguous or apart or (rows and out.strides[0] >= out[0].nbytes)):
        return _decline(mode, "out whose rows are contiguous")
    try:
        arrays = tuple(np.broadcast_arrays(*arrays)) if len(arrays) > 1 else arrays
        full = np.broadcast_to(given, arrays[0].shape + out.shape[len(arrays) :])
    except ValueError:
        return _decline(mode, f"values that broadcast to out[indices], got shape {given.shape}")
    if out.size and np.may_share_memory(out, full):
        full = np.broadcast_to(given.copy(), full.shape)
    arrays = tuple(a.copy() if np.may_share_memory(out, a) else a for a in arrays)
    arrays = tuple(a.view(np.int64) if a.dtype == np.uint64 else a for a in arrays)
    return _Job(out, arrays, full, mode)


def _decline(mode: str, need: str) -> _Job | None:
    """Leave the job to numpy, if it can do it."""
    if mode != "raise":
        raise TypeError(f"mode={mode!r} needs {need}")
    return None


def _index_error(position: Any, value: Any, axis: int, size: int) -> IndexError:
    return IndexError(
        f"index {value} at position {position} of indices is out of bounds for axis {axis} "
        f"with size {size}"
    )


def _least_and_greatest(array: np.ndarray, threads: int | None) -> tuple[int, int]:
    if array.ndim == 1 and array.flags.c_contiguous and array.dtype.isnative:
        return _scatter.extent(array, threads)
    return int(array.min()), int(array.max())


def _refuse_outside(array: np.ndarray, axis: int, n: int) -> None:
    """IndexError with the first index outside."""
    for start in range(0, array.size, _BATCH):
        part = array.flat[start : start + _BATCH]
        bad = np.flatnonzero((part < -n) | (part >= n))
        if bad.size:
            place = np.unravel_index(start + int(bad[0]), array.shape)
            position = int(place[0]) if array.ndim == 1 else tuple(map(int, place))
            raise _index_error(position, part[bad[0]], axis, n)


def check_bounds(
    array: np.ndarray, n: int, mode: str, threads: int | None = None, axis: int = 0
) -> str:
    """How the indices of an axis of n elements are to be read, by the kernels' names.

    Parameters
    ----------
    array : array of int
        Indices; some or none.
    n : int
        Length of the axis.
    mode : str
        One of ``MODES``.
    threads : int, optional
        Threads at most.
    axis : int
        Number of the axis, for the error.

    Returns
    -------
    str
        `mode`, or "plain" if that is "raise" and all indices are in [0, n).

    Raises
    ------
    IndexError
        If an index is outside under "raise", or if there is no bin to wrap or clip it to.

    Examples
    --------
    >>> import numpy as np
    >>> check_bounds(np.array([2, 0, 1]), 3, "raise")
    'plain'
    >>> check_bounds(np.array([2, -1]), 3, "raise")
    'raise'
    """
    if not array.size:
        return "plain"
    if mode != "raise":
        if not n and mode != "drop":
            raise IndexError(f"mode={mode!r} finds no bin on axis {axis} of size 0")
        return mode
    least, greatest = _least_and_greatest(array, threads)
    if least < -n or greatest >= n:
        _refuse_outside(array, axis, n)
    return "raise" if least < 0 else "plain"


def _run(job: _Job, compensated: bool, accumulate: str | None, threads: int | None) -> None:
    """Check the indices, then add all pairs, in whole or in batches."""
    plain = job.mode == "raise" and len(job.arrays) == 1 and job.whole and job.kind == "value"
    if plain and not compensated and accumulate is None and job.n:
        values, kind = job.values_of(0, job.n)
        if _scatter.add_or_undo(job.out, job.arrays[0].reshape(-1), values, kind):
            return
    axes = zip(job.arrays, job.shape, strict=True)
    places = [
        check_bounds(array, n, job.mode, threads, axis) for axis, (array, n) in enumerate(axes)
    ]
    place = places[0]
    if not job.n or not job.out.size:
        return
    if compensated or accumulate is not None:
        _run_careful(job, place, compensated, accumulate, threads)
    elif job.whole:
        values, kind = job.values_of(0, job.n)
        work = _scatter.adding(job.out, values, kind, place)
        _scatter.sweep(work, job.arrays[0].reshape(-1), place, threads)
    else:
        _run_batches(job, threads)


def _run_batches(job: _Job, threads: int | None) -> None:
    """Copies of the arrays, a batch at a time."""
    place = "drop" if job.mode == "drop" else "plain"
    length = max(1, min(_BATCH, _BYTES // (job.channels * job.values.itemsize)))
    for start in range(0, job.n, length):
        stop = min(start + length, job.n)
        values, kind = job.values_of(start, stop)
        work = _scatter.adding(job.out, values, kind, place)
        _scatter.sweep(work, job.bins_of(start, stop), place, threads)


def _run_careful(
    job: _Job, place: str, compensated: bool, accumulate: str | None, threads: int | None
) -> None:
    """All pairs at once: indices and values are copied if they do not lie as needed."""
    dtype = np.result_type(job.out, job.values if compensated else job.out)
    if accumulate is not None:
        dtype = np.result_type(dtype, np.float64)
    if len(job.arrays) == 1 and job.arrays[0].dtype.isnative:
        bins = np.ascontiguousarray(job.arrays[0]).reshape(-1)
    else:
        bins, place = job.bins_of(0, job.n), "drop" if job.mode == "drop" else "plain"
    values, kind = job.values_of(0, job.n)
    if kind == "scalar":
        values = np.broadcast_to(values, job.n)
    rows = values if kind == "row" else values[:, np.newaxis]
    target = job.out if job.kind == "row" else job.out[:, np.newaxis]
    _scatter.careful(target, bins, rows, place, dtype, compensated, threads)
