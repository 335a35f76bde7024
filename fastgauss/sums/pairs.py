"""Pairs of index and value as kernels take them."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import schedule
from .bounds import _BATCH, check_bounds

_BYTES = 32 << 20  # of such copies of values


@cache
def can_add(out: np.dtype, values: np.dtype) -> bool:
    """Whether the kernels add such values to such an array, by numpy's rules of casting."""
    known = out.isnative and values.isnative and out.kind in "iufc" and values.kind in "biufc"
    if not known or {out.char, values.char} & set("egG"):
        return False
    return np.can_cast(np.result_type(out, values), out, "same_kind")


def index_arrays(indices: Any) -> tuple[np.ndarray, ...] | None:
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


def spread_values(values: Any, arrays: tuple[np.ndarray, ...] | None, out: np.ndarray) -> Any:
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


def plan_job(
    out: np.ndarray, arrays: tuple[np.ndarray, ...], values: ArrayLike, mode: str
) -> _Job | None:
    """The job, or None if it is numpy's."""
    if isinstance(values, np.ma.MaskedArray) or len(arrays) > out.ndim:
        return _decline(mode, "index arrays for at most the axes of out, and plain values")
    given = np.asarray(values)
    if not can_add(out.dtype, given.dtype):
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


def run_job(job: _Job, compensated: bool, accumulate: str | None, threads: int | None) -> None:
    """Check the indices, then add all pairs, in whole or in batches."""
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


def _run_batches(job: _Job, threads: int | None) -> None:
    """Copies of the arrays, a batch at a time."""
    place = "drop" if job.mode == "drop" else "plain"
    length = max(1, min(_BATCH, _BYTES // (job.channels * job.values.itemsize)))
    for start in range(0, job.n, length):
        stop = min(start + length, job.n)
        values, kind = job.values_of(start, stop)
        work = schedule.adding(job.out, values, kind, place)
        schedule.sweep(work, job.bins_of(start, stop), place, threads)


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
    schedule.careful(target, bins, rows, place, dtype, compensated, threads)
