"""Scatter-add, numpy.add.at with threads: `add_at`.

Each bin receives its values in the order of the indices, one rounded addition after the other, so
the result has the bits of numpy.add.at for any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, thread_pool
from ..base.wrappers import is_array
from ..kernels.sums import scatter_add as kernels
from .bounds import MODES, index_error
from .pairs import Job, can_add, index_arrays, plan_job, run_job, spread_values

_SMALL = 1 << 15  # pairs that one call of one kernel checks and adds


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
        Array of any dtype that numpy can add; changed in place. A masked array is refused. An array
        with a unit is passed to numpy.add.at, which converts the unit of `values`.
    indices : array of int, or anything that indexes `out`
        Bins along the first axis, in any order and repeated any number of times; or a tuple of such
        arrays, one for each of the first axes. Slices, boolean masks, single integers and mixed
        indices are passed to numpy.add.at, at its speed.
    values : array
        Values that broadcast to the shape of ``out[indices]``. Values that cannot be cast to `out`
        by numpy's rule "same_kind" are passed to numpy.add.at, which casts them.
    mode : {"raise", "wrap", "clip", "drop"}
        The meaning of an index outside an axis of n elements. "raise": an IndexError, before
        anything is written; indices from -n to -1 count from the end. "wrap": the index modulo n.
        "clip": the nearest index. "drop": the value is left out; every negative index is outside.
        Modes other than "raise" need arrays of integers.
    compensated : bool
        Also sum the rounding errors and add them at the end: the error of a sum is then nearly that
        of a single rounding. For floating dtypes.
    accumulate : {"float64"}, optional
        Sum in double precision and round once to the dtype of `out` at the end. For floating
        dtypes.
    threads : int, optional
        Largest number of threads. The result does not depend on it.

    Returns
    -------
    None
        As numpy.add.at.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value. Calls that are passed to numpy raise
        the errors of numpy.
    IndexError
        If an index is outside with ``mode="raise"``; `out` is then unchanged.

    Notes
    -----
    If `out` has 16 MB or less, one thread adds. If it also has less than an eighth of the bytes of
    `indices`, the indices are checked while the values are added to a copy of `out`. If `out` is
    larger, from 2**18 pairs on, each thread reads all pairs and adds those of its own slice of the
    bins. Up to 64 MB of memory are used besides the arguments. `compensated` and `accumulate` read
    all pairs once for every window of the bins: one window for each thread, or more if sums of 8 or
    16 bytes for each bin would need more than 40 MB. A single value for all indices, as in
    counting, is not expanded into an array.

    numpy 2.4 writes to a read-only `out`, and reads past the end of ``values`` (3,) for indices
    (2, 3); here the first is refused and the second broadcasts.

    In your own compiled code, also with ``njit(cache=True)``, use ``add =
    fastgauss.kernels.make_add("raise", "value")``, a global of your module: ``add(out, indices,
    values, start, stop)`` does not check the indices.

    Arrays that overlap with `out` are copied first. Indices of dtype uint64 are read modulo
    2**64 as numpy reads them. If ``out[k]`` is not contiguous, numpy.add.at does the job.

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
            raise index_error(bad, indices[bad], 0, len(out))
    if isinstance(out, np.ma.MaskedArray):
        raise TypeError("out must be a plain array, got a masked array")
    if is_array(indices):
        indices = check.plain_array("indices", indices)
    if _adds_itself(out):
        if mode != "raise" or compensated or accumulate is not None or threads is not None:
            raise TypeError("mode, compensated, accumulate and threads need plain arrays")
        _leave(out, indices, values)
        return
    values = check.plain_array("values", values)
    target = check.target("out", out)
    _check_options(target, mode, compensated, accumulate)
    thread_pool.resolve_threads(threads)
    arrays = index_arrays(indices)
    job = plan_job(target, arrays, values, mode)
    if isinstance(job, Job):
        run_job(job, compensated, accumulate, threads)
    elif mode != "raise":
        raise TypeError(f"mode={mode!r} needs {job}")
    elif compensated or accumulate is not None:
        raise TypeError(f"compensated and accumulate need {job}")
    else:
        np.add.at(target, indices, spread_values(values, arrays, target))


def _adds_itself(value: Any) -> bool:
    """Whether an array is of a class with its own addition, such as quantities with units."""
    own = isinstance(value, np.ndarray) and type(value) is not np.ndarray
    return own and type(value).__array_ufunc__ is not np.ndarray.__array_ufunc__


def _leave(out: np.ndarray, indices: Any, values: Any) -> None:
    """Pass the job to such a class, which may raise errors of any kind."""
    try:
        np.add.at(out, indices, values)
    except (TypeError, ValueError, IndexError):
        raise
    except Exception as error:
        kinds = " to ".join(type(array).__name__ for array in (values, out))
        raise TypeError(f"values must add to out, got {kinds}: {error}") from error


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
    if not (can_add(out.dtype, values.dtype) and flags.c_contiguous and flags.writeable and n):
        return _NOT
    if values.dtype.kind == "b" or not values.dtype.isnative:
        return _NOT
    if np.may_share_memory(out, values) or np.may_share_memory(out, indices):
        return _NOT
    return int(kernels.make_add_checked(kind)(out, indices, values))


def _check_options(out: np.ndarray, mode: str, compensated: bool, accumulate: str | None) -> None:
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
