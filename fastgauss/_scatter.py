"""Pairs of index and value on several threads, each bin served in the order of its pairs.

The rule, measured (``python -m benchmarks.scatter``):

- One thread, or fewer than 2**19 pairs: one loop over the pairs, with the bins asked for 32 pairs
  ahead. Dealing pairs out to slices of a cache's size first was slower at 5e4, 1e6 and 1e8 bins:
  it costs two to four nanoseconds a pair, and a sum that misses the caches costs no more.
- Several threads: batches of pairs are dealt out to as many parts of the bins as there are
  threads (``kernels.partition``), chunk by chunk; then each part is added by its owner. Cuts are
  quantiles of a sample of the batch, so that sorted and clustered indices are shared out as well.
  Where a few bins hold most of a batch, one thread adds it.
- Indices that repeat many times in a row (a sample says so) are added up in a register.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from . import _runtime
from .kernels import partition
from .kernels import scatter as kernels

_PARALLEL = 1 << 19  # pairs from which on threads pay for their hand-overs
_CHUNKS = 8  # of a batch
_SAMPLE = 1024
_SCRATCH = 48 << 20  # bytes
_LONGEST = 1 << 20  # pairs of a batch: its scratch memory stays near the cores
_HEAVY = 0.8  # of a batch in one part: nothing to share out
_REPEATS = 0.95  # of neighbours alike: runs of 20


class Work(NamedTuple):
    """What is done with pairs, by which kernels."""

    size: int  # bins
    direct: Callable[[np.ndarray, int, int], None]  # with pairs [start, stop), by index
    carry: str  # what travels with an index
    values: np.ndarray  # where that comes from
    owned: Callable[[np.ndarray, np.ndarray, int, int, int], None]  # bins, load, base, [begin, end)


def adding(out: np.ndarray, values: np.ndarray, kind: str, place: str) -> Work:
    """The work of adding values to ``out``."""
    add = kernels.make_add(place, kind)
    size = out.shape[0]
    if kind == "row":
        rows = kernels.make_add_rows_at()

        def direct(indices: np.ndarray, start: int, stop: int) -> None:
            add(out, indices, values, start, stop)

        def owned_rows(
            bins: np.ndarray, load: np.ndarray, base: int, start: int, stop: int
        ) -> None:
            rows(out, bins, load, values, base, start, stop)

        return Work(size, direct, "position", values, owned_rows)

    def direct_or_runs(indices: np.ndarray, start: int, stop: int) -> None:
        fast = _fastest(indices, start, stop, add, kind, place)
        fast(out, indices, values, start, stop)

    def owned(bins: np.ndarray, load: np.ndarray, base: int, start: int, stop: int) -> None:
        fast = _fastest(bins, start, stop, kernels.make_add("plain", kind), kind, "plain")
        fast(out, bins, load if kind == "value" else values, start, stop)

    return Work(size, direct_or_runs, "value" if kind == "value" else "nothing", values, owned)


def _fastest(
    indices: np.ndarray, start: int, stop: int, add: Callable, kind: str, place: str
) -> Callable:
    """``add``, or the kernel for indices that repeat."""
    if place != "plain" or stop - start < 64 * _SAMPLE:
        return add
    step = (stop - start) // _SAMPLE
    alike = indices[start + 1 : stop : step] == indices[start : stop - 1 : step]
    return kernels.make_add_runs(kind) if alike.mean() > _REPEATS else add


def sweep(work: Work, indices: np.ndarray, place: str, threads: int | None) -> None:
    """Do the work for all pairs; ``indices`` is one-dimensional."""
    n = len(indices)
    team = _runtime.resolve_threads(threads) if n >= _PARALLEL else 1
    if team == 1:
        work.direct(indices, 0, n)
        return
    pairs = _Dealer(work, indices, place, team)
    batches = -(-n // pairs.longest)
    for j in range(batches):
        pairs.batch(j * n // batches, (j + 1) * n // batches)


def _bins_of(sample: np.ndarray, size: int, place: str) -> np.ndarray:
    """What ``place`` makes of indices, without those that it leaves out."""
    k = sample.astype(np.int64)
    if place == "raise":
        return np.where(k < 0, k + size, k)
    if place == "wrap":
        return k % size
    if place == "clip":
        return k.clip(0, size - 1)
    return k[(k >= 0) & (k < size)]


class _Dealer:
    """Scratch memory of a batch, and its two passes: deal out, then add."""

    def __init__(self, work: Work, indices: np.ndarray, place: str, team: int) -> None:
        self.work, self.indices, self.place, self.team = work, indices, place, team
        narrow = work.size <= np.iinfo(np.uint32).max
        bins = np.dtype(np.uint32 if narrow else np.int64)
        load = work.values.dtype if work.carry == "value" else np.dtype(np.uint32)
        pair = bins.itemsize + (load.itemsize if work.carry != "nothing" else 0)
        self.longest = min(_LONGEST, _SCRATCH // (2 * pair))
        room = 2 * min(self.longest, len(indices))
        self.bins = np.empty(room, dtype=bins)
        self.load = np.empty(room if work.carry != "nothing" else 0, dtype=load)

    def _cuts(self, start: int, stop: int) -> np.ndarray:
        """Where parts of about equal numbers of pairs begin, but for the first; none if none."""
        step = max(1, (stop - start) // _SAMPLE)
        found = np.sort(_bins_of(self.indices[start:stop:step], self.work.size, self.place))
        if not found.size:
            return np.empty(0, dtype=np.int64)
        cuts = np.unique(found[np.arange(1, self.team) * found.size // self.team])
        shares = np.diff(np.searchsorted(found, cuts), prepend=0, append=found.size)
        return cuts if shares.max() < _HEAVY * found.size else cuts[:0]

    def batch(self, start: int, stop: int) -> None:
        """Serve pairs [start, stop)."""
        cuts = self._cuts(start, stop)
        if not cuts.size:
            self.work.direct(self.indices, start, stop)
            return
        bounds = np.linspace(start, stop, _CHUNKS * self.team + 1).astype(np.int64)
        first = np.zeros((len(bounds) - 1, len(cuts) + 1), dtype=np.int64)
        last = np.zeros_like(first)
        self._deal(start, bounds.tolist(), cuts, first, last)
        self._add(start, first.tolist(), last.tolist())

    def _deal(
        self, base: int, bounds: list[int], cuts: np.ndarray, first: np.ndarray, last: np.ndarray
    ) -> None:
        make = partition.make_halves if len(cuts) == 1 else partition.make_parts
        deal = make(self.place, self.work.carry)
        work, indices = self.work, self.indices

        def task(begin: int, end: int) -> None:
            for c in range(begin, end):
                where = base, bounds[c], bounds[c + 1], first[c], last[c]
                deal(indices, work.values, work.size, cuts, self.bins, self.load, *where)

        _runtime.run(lambda: task, len(first), 1, self.team)

    def _add(self, base: int, first: list[list[int]], last: list[list[int]]) -> None:
        def task(begin: int, end: int) -> None:
            for part in range(begin, end):
                for low, high in zip(first, last, strict=True):
                    self.work.owned(self.bins, self.load, base, low[part], high[part])

        _runtime.run(lambda: task, len(first[0]), 1, self.team)


def extent(indices: np.ndarray, threads: int | None) -> tuple[int, int]:
    """Least and greatest of some indices."""
    n, chunk = len(indices), 1 << 20
    if n <= chunk:
        least, greatest = partition.extent(indices, 0, n)
        return int(least), int(greatest)
    found: list[tuple[int, int]] = []
    _runtime.run(
        lambda: lambda start, stop: found.append(partition.extent(indices, start, stop)),
        n,
        chunk,
        threads,
    )
    return int(min(low for low, _ in found)), int(max(high for _, high in found))


def careful(
    out: np.ndarray,
    indices: np.ndarray,
    values: np.ndarray,
    place: str,
    dtype: np.dtype,
    compensated: bool,
    threads: int | None,
) -> None:
    """Add rows to ``out (K, C)`` in sums of ``dtype``, a window of the bins at a time."""
    size, channels = out.shape
    team = _runtime.resolve_threads(threads) if len(indices) * channels >= _PARALLEL else 1
    bytes_a_bin = max(1, channels) * dtype.itemsize * (2 if compensated else 1)
    width = min(-(-size // team), max(1, _SCRATCH // (team * bytes_a_bin)))
    kernel = kernels.make_add_careful(place, compensated)

    def make_task() -> _runtime.Task:
        sums = np.empty((width, channels), dtype=dtype)
        lost = np.empty((width if compensated else 0, channels), dtype=dtype)

        def task(low: int, high: int) -> None:
            total = sums[: high - low]
            total[...] = out[low:high]
            lost[...] = 0
            kernel(total, lost, indices, values, size, low, high)
            if compensated:
                rest = lost[: high - low]
                np.add(total, rest, out=total, where=np.isfinite(rest))
            out[low:high] = total

        return task

    _runtime.run(make_task, size, width, team)
