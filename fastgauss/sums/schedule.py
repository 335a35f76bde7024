"""The schedule of sums by index: which kernel adds which pairs, on how many threads.

Each bin is added to in the order of its pairs. The rule, measured
(``python -m benchmarks.comparisons.scatter``):

- With one thread, few pairs, little memory to write to, or indices in increasing order: one loop
  over the pairs. Bins are prefetched 48 pairs ahead, and pairs 768 ahead: with random bins a
  processor does not recognise the pairs as a stream.
- If at most 16 MB are written to, one thread adds: it reads pairs at half of the speed of the
  memory, and two threads that divide the pairs were slower.
- Several threads otherwise: each owns a slice of the bins, reads all pairs and adds those of its
  slice (``kernels/sums/partition.py``). The slices are bounded by quantiles of a sample, so that
  clustered indices are divided evenly too. If a few bins have most pairs, one thread adds all.
- If a sample shows that indices repeat many times in a row, the repeated ones are added in a
  register.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..base import thread_pool
from ..kernels.simd.compress import HAS_COMPRESSION
from ..kernels.sums import partition
from ..kernels.sums import scatter_add as kernels

_PARALLEL = 1 << 18  # pairs from which several threads are faster
_NEAR = 16 << 20  # bytes to write to that fit into the caches
_UNDONE = 8  # bytes of indices by bytes of bins from which on a copy of these costs less than
# a look at all indices before the first is used
_TEAM = 8  # largest number of threads that read all pairs
_SAMPLE = 4096
_LEAST = 1 << 16  # pairs from which a sample is taken
_SCRATCH = 40 << 20  # bytes of sums
_COPIES = 8 << 20  # bytes of pairs that are copied at a time
_HEAVY = 0.8  # part of the pairs in one slice from which they are not divided
_REPEATS = 0.85  # part of equal neighbours: runs of 7

Scratch = tuple[np.ndarray, np.ndarray]  # bins and what is taken along


class Work(NamedTuple):
    """What is done with pairs, and by which kernels."""

    size: int  # bins
    memory: int  # bytes that are written to
    direct: Callable[[np.ndarray, int, int], None]  # with pairs [start, stop), by index
    own: Callable[[np.ndarray, int, int, bool, Scratch], None]  # with those of bins [low, high)
    taken: np.dtype | None  # dtype of what is taken along with an index


def adding(out: np.ndarray, values: np.ndarray, kind: str, place: str) -> Work:
    """The work of adding values to ``out``."""
    add = kernels.make_add(place, kind)

    def direct(indices: np.ndarray, start: int, stop: int) -> None:
        plain = place == "plain" and kind != "row" and stop - start >= _LEAST
        repeats = plain and _repeats(indices[start:stop])
        fast = kernels.make_add_runs(kind) if repeats else add
        fast(out, indices, values, start, stop)

    def own(indices: np.ndarray, low: int, high: int, together: bool, scratch: Scratch) -> None:
        kernels.make_add_own(place, kind, together)(out, indices, values, low, high, *scratch)

    taken = {"value": values.dtype, "row": np.dtype(np.int64)}.get(kind)
    return Work(out.shape[0], out.nbytes, direct, own, taken)


def _repeats(indices: np.ndarray) -> bool:
    """Whether most indices of a sample are equal to the next one."""
    step = max(1, len(indices) // _SAMPLE)
    return bool((indices[1::step] == indices[:-1:step]).mean() > _REPEATS)


def _rises(indices: np.ndarray) -> bool:
    """Whether a sample increases; then one loop also writes to memory in order."""
    sample = indices[:: max(1, len(indices) // _SAMPLE)]
    return bool((sample[1:] >= sample[:-1]).all())


def add_or_undo(out: np.ndarray, indices: np.ndarray, values: np.ndarray, kind: str) -> bool:
    """Add on one thread to a copy of ``out``, which it becomes if all indices are in [0, K).

    Where indices are many and bins few, that is faster than to check all indices first. False
    if it is not done, for any reason.
    """
    few = kernels.NEAR < out.nbytes <= _NEAR and indices.nbytes >= _UNDONE * out.nbytes
    if not (few and out.ndim == 1 and out.flags.c_contiguous and indices.flags.c_contiguous):
        return False
    if (indices[:: max(1, len(indices) // _SAMPLE)] < 0).any() or _repeats(indices):
        return False
    sums = out.copy()
    if not kernels.make_add_below(kind)(sums, indices, values):
        return False
    out[...] = sums
    return True


def _together(work: Work, indices: np.ndarray, place: str) -> bool:
    """Whether eight pairs are selected at a time in registers."""
    words = indices.itemsize in (4, 8) and (work.taken is None or work.taken.itemsize in (4, 8))
    return HAS_COMPRESSION and words and place in ("plain", "raise")


def sweep(work: Work, indices: np.ndarray, place: str, threads: int | None) -> None:
    """Do the work for all pairs; ``indices`` is one-dimensional."""
    n = len(indices)
    together = _together(work, indices, place)
    far = n >= _PARALLEL and work.memory > _NEAR
    team = min(_TEAM, thread_pool.resolve_threads(threads)) if far else 1
    cuts = [] if team == 1 or _rises(indices) else _cuts(indices, work.size, place, team)
    if not cuts:
        work.direct(indices, 0, n)
        return
    narrow = work.size <= np.iinfo(np.uint32).max
    bounds = [0, *cuts, work.size]

    def make_task() -> thread_pool.Task:
        bins = np.empty(kernels.OWN, dtype=np.uint32 if narrow else np.int64)
        load = np.empty(kernels.OWN if work.taken else 0, dtype=work.taken)

        def task(begin: int, end: int) -> None:
            for part in range(begin, end):
                work.own(indices, bounds[part], bounds[part + 1], together, (bins, load))

        return task

    thread_pool.run(make_task, len(bounds) - 1, 1, team)


def _bins_of(sample: np.ndarray, size: int, place: str) -> np.ndarray:
    """The bins of indices by ``place``, without those that it leaves out."""
    k = sample.astype(np.int64)
    if place == "raise":
        return np.where(k < 0, k + size, k)
    if place == "wrap":
        return k % size
    if place == "clip":
        return k.clip(0, size - 1)
    return k[(k >= 0) & (k < size)]


def _cuts(indices: np.ndarray, size: int, place: str, team: int) -> list[int]:
    """Inner bounds of slices with similar numbers of pairs; none if they cannot be divided."""
    found = np.sort(_bins_of(indices[:: max(1, len(indices) // _SAMPLE)], size, place))
    if not found.size:
        return []
    cuts = np.unique(found[np.arange(1, team) * found.size // team])
    cuts = cuts[cuts > 0]
    shares = np.diff(np.searchsorted(found, cuts), prepend=0, append=found.size)
    return cuts.tolist() if shares.max() < _HEAVY * found.size else []


def extent(indices: np.ndarray, threads: int | None) -> tuple[int, int]:
    """Smallest and largest of some indices."""
    n, chunk = len(indices), 1 << 20
    if n <= chunk:
        least, greatest = partition.extent(indices, 0, n)
        return int(least), int(greatest)
    found: list[tuple[int, int]] = []
    thread_pool.run(
        lambda: lambda start, stop: found.append(partition.extent(indices, start, stop)),
        n,
        chunk,
        threads,
    )
    return int(min(low for low, _ in found)), int(max(high for _, high in found))


class Pairs(NamedTuple):
    """Indices, each with a row of values."""

    n: int
    read: Callable[[int, int], Scratch]  # those of pairs [start, stop)
    copied: int  # bytes that a pair takes to be read; 0 where it is as it lies


def careful(
    out: np.ndarray,
    pairs: Pairs,
    place: str,
    dtype: np.dtype,
    compensated: bool,
    threads: int | None,
) -> None:
    """Add rows to ``out (K, C)`` in sums of ``dtype``, one window of the bins at a time."""
    size, channels = out.shape
    team = thread_pool.resolve_threads(threads) if pairs.n * channels >= _PARALLEL else 1
    step = max(1, _COPIES // (team * pairs.copied)) if pairs.copied else pairs.n
    bytes_a_bin = max(1, channels) * dtype.itemsize * (2 if compensated else 1)
    width = min(-(-size // team), max(1, _SCRATCH // (team * bytes_a_bin)))
    kernel = kernels.make_add_careful(place, compensated)

    def make_task() -> thread_pool.Task:
        sums = np.empty((width, channels), dtype=dtype)
        lost = np.empty((width if compensated else 0, channels), dtype=dtype)

        def task(low: int, high: int) -> None:
            total = sums[: high - low]
            total[...] = out[low:high]
            lost[...] = 0
            for start in range(0, pairs.n, step):
                bins, values = pairs.read(start, min(start + step, pairs.n))
                kernel(total, lost, bins, values, size, low, high)
            if compensated:
                rest = lost[: high - low]
                np.add(total, rest, out=total, where=np.isfinite(rest))
            out[low:high] = total

        return task

    thread_pool.run(make_task, size, width, team)
