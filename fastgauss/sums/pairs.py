"""Pairs of index and value, prepared for the kernels of `add_at`."""

from __future__ import annotations

import math
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import schedule
from .bounds import _BATCH, check_bounds

_BYTES = 32 << 20  # bytes of values that are copied at a time
_INDICES = 40  # bytes of the arrays in which the bin of a pair is computed


@cache
def can_add(out: np.dtype, values: np.dtype) -> bool:
    """Whether the kernels can add such values to such an array, by numpy's rules of casting."""
    known = out.isnative and out.kind in "iufc" and values.kind in "biufc"
    if not known or {out.char, values.char} & set("egG"):
        return False
    return np.can_cast(np.result_type(out, values), out, "same_kind")


def index_arrays(indices: Any) -> tuple[np.ndarray, ...] | None:
    """The index arrays of a fancy index, or None for an index that is left to numpy."""
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


def spread_values(values: Any, arrays: tuple[np.ndarray, ...] | None, out: np.ndarray) -> Any:
    """Values for numpy: numpy 2.4 reads past the end of one row that is for rows of indices."""
    if arrays is None or len(arrays) > out.ndim or isinstance(values, np.ma.MaskedArray):
        return values
    try:
        many = np.broadcast_shapes(*(array.shape for array in arrays))
        return np.broadcast_to(values, many + out.shape[len(arrays) :])
    except ValueError:
        return values


def _readable(values: np.ndarray) -> np.ndarray:
    """Values as the kernels read them, in the machine's byte order."""
    if values.dtype == bool:
        return values.view(np.uint8)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


class Job:
    """Rows of values for rows of ``out``, both flat, and the indices of these rows."""

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

    @cached_property
    def common(self) -> np.ndarray | None:
        """The value, or row of values, that all pairs share; None if each has its own."""
        many = self.arrays[0].shape
        steps = zip(many, self.values.strides, strict=False)
        if self.n < 2 or any(step for n, step in steps if n > 1):
            return None
        return _readable(self.values[(0,) * len(many)].reshape(-1))

    @property
    def whole(self) -> bool:
        """Whether the kernels can read indices and values in place."""
        first, values = self.arrays[0], self.values
        plain = first.flags.c_contiguous and first.dtype.isnative and len(self.arrays) == 1
        as_it_lies = values.flags.c_contiguous and values.dtype.isnative
        return plain and (as_it_lies or self.common is not None)

    def values_of(self, start: int, stop: int) -> tuple[np.ndarray, str]:
        """Values of pairs [start, stop), flat or in rows, and their kind."""
        if self.common is not None and self.kind == "value":
            return self.common, "scalar"
        if self.common is not None:
            return np.broadcast_to(self.common, (stop - start, self.channels)), "row"
        if self.values.flags.c_contiguous:
            part = self.values.reshape(-1)[start * self.channels : stop * self.channels]
        else:
            part = self.values.flat[start * self.channels : stop * self.channels]
        part = _readable(part)
        return (part.reshape(-1, self.channels) if self.kind == "row" else part), self.kind

    def bins_of(self, start: int, stop: int) -> np.ndarray:
        """Bins of pairs [start, stop) after `mode` is applied; -1 for none."""
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


def plan_job(
    out: np.ndarray, arrays: tuple[np.ndarray, ...] | None, values: ArrayLike, mode: str
) -> Job | str:
    """The job, or what it would need so as not to be numpy's."""
    if arrays is None:
        return "arrays of integers as indices"
    if len(arrays) > out.ndim:
        return f"index arrays for at most the {out.ndim} axes of out, got {len(arrays)}"
    given = np.asarray(values)
    if not out.dtype.isnative:
        return f"out in the machine's byte order, got {out.dtype.str}"
    if not can_add(out.dtype, given.dtype):
        return f"values that cast to out, got {given.dtype} for {out.dtype}"
    rows = out.ndim > 1 and len(arrays) == 1 and out.shape[0] > 0 and out[0].flags.c_contiguous
    apart = out.ndim == 1 and (abs(out.strides[0]) >= out.itemsize or out.size < 2)
    if not (out.flags.c_contiguous or apart or (rows and out.strides[0] >= out[0].nbytes)):
        return f"out whose rows are contiguous, got strides {out.strides}"
    try:
        arrays = tuple(np.broadcast_arrays(*arrays)) if len(arrays) > 1 else arrays
        full = np.broadcast_to(given, arrays[0].shape + out.shape[len(arrays) :])
    except ValueError:
        return f"values that broadcast to out[indices], got shape {given.shape}"
    if out.size and np.may_share_memory(out, full):
        full = np.broadcast_to(given.copy(), full.shape)
    arrays = tuple(a.copy() if np.may_share_memory(out, a) else a for a in arrays)
    arrays = tuple(a.view(np.int64) if a.dtype == np.uint64 else a for a in arrays)
    return Job(out, arrays, full, mode)


def run_job(job: Job, compensated: bool, accumulate: str | None, threads: int | None) -> None:
    """Check the indices, then add all pairs, at once or in batches."""
    plain = job.mode == "raise" and len(job.arrays) == 1 and job.whole and job.kind == "value"
    if plain and not compensated and accumulate is None and job.n:
        values, kind = job.values_of(0, job.n)
        if schedule.add_or_undo(job.out, job.arrays[0].reshape(-1), values, kind):
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
        work = schedule.adding(job.out, values, kind, place)
        schedule.sweep(work, job.arrays[0].reshape(-1), place, threads)
    else:
        _run_batches(job, threads)


def _run_batches(job: Job, threads: int | None) -> None:
    """Add copies of the pairs, a batch at a time."""
    place = "drop" if job.mode == "drop" else "plain"
    length = max(1, min(_BATCH, _BYTES // (job.channels * job.values.itemsize)))
    for start in range(0, job.n, length):
        stop = min(start + length, job.n)
        values, kind = job.values_of(start, stop)
        work = schedule.adding(job.out, values, kind, place)
        schedule.sweep(work, job.bins_of(start, stop), place, threads)


def _run_careful(
    job: Job, place: str, compensated: bool, accumulate: str | None, threads: int | None
) -> None:
    """Add the pairs, or copies of some at a time, in each window of the bins."""
    dtype = np.result_type(job.out, job.values if compensated else job.out)
    if accumulate is not None:
        dtype = np.result_type(dtype, np.float64)
    flat = job.arrays[0].reshape(-1) if job.whole else None
    if flat is None:
        place = "drop" if job.mode == "drop" else "plain"

    def pairs(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        bins = job.bins_of(start, stop) if flat is None else flat[start:stop]
        values, kind = job.values_of(start, stop)
        if kind == "scalar":
            values = np.broadcast_to(values, stop - start)
        return bins, values if kind == "row" else values[:, np.newaxis]

    target = job.out if job.kind == "row" else job.out[:, np.newaxis]
    copied = 0 if flat is not None else _INDICES + 2 * job.channels * job.values.itemsize
    schedule.careful(
        target, schedule.Pairs(job.n, pairs, copied), place, dtype, compensated, threads
    )
