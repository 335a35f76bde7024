"""Sweeps of a plan over a grid, on several threads: chunks of the grid, or of the particles."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from ..base import thread_pool
from ..base.progress import Progress, report_part
from ..kernels.fields import sweeps as kernels
from ..kernels.fields.windows import Particles
from ..kernels.numeric.packed_cholesky import packed_size
from . import arguments, node_memory
from .plan import Plan, contiguous_layout, fits_in_place, layout_of, scratch

_GATHER_CHUNK = 1024  # particles
SLABS = 64  # slabs of a grid whose progress is reported
_SMALL = 3e5  # node updates that take as long as waking another thread
_STRIP = 1 << 20  # bytes of a strip of an image of channels, at least
_ALIAS = 4096  # bytes between rows of which each waits for the one before
_COPIED, _UPDATES = 1 << 25, 16  # bytes of an image that is copied, updates a node that pay for it
_STAGE = 3e7  # node updates of one call of a kernel, 0.1 s: Ctrl-C takes effect after it


def _team(plan: Plan, threads: int | None) -> int:
    team = thread_pool.resolve_threads(threads)
    return team if plan.n * plan.volume > _SMALL else 1


def _slabs(plan: Plan, team: int, low: int, high: int) -> np.ndarray:
    """Bounds of slabs of nodes [low, high) of the first axis, one a thread.

    They have about equal numbers of particles. A particle that reaches into two slabs costs its
    tables twice, so there are no more of them.
    """
    team = min(team, max(high - low, 1))
    first = plan.particles.first
    shares = np.arange(1, team) * (plan.n / team)
    edges = np.arange(len(first)) * float(plan.particles.layer)
    inner = np.rint(np.interp(shares, first, edges)).clip(low, high).astype(np.int64)
    return np.unique(np.concatenate([[low], inner, [high]]))


def _stages(plan: Plan) -> list[Particles]:
    """The particles of each call on a slab, one after another in the order of all."""
    count = min(max(math.ceil(plan.n * plan.volume / _STAGE), 1), plan.n)
    edges = [plan.n * k // count for k in range(count + 1)]
    first = plan.particles.first
    return [plan.particles._replace(first=first.clip(*pair)) for pair in pairwise(edges)]


def _over_slabs(
    plan: Plan,
    out: np.ndarray,
    threads: int | None,
    kernel: Callable,
    numbers: np.ndarray,
    begin: tuple[int, ...] | None = None,
    report: Progress | None = None,
) -> None:
    """Run a kernel that writes slabs of ``out``; ``numbers`` (n, K) are the caller's particles'."""
    flat, layout = layout_of(out, plan.grid, begin)
    team = _team(plan, threads)
    lead = 3 - plan.grid.ndim
    slabs = team if report is None else max(team, SLABS)
    bounds = _slabs(plan, slabs, layout.low[lead], layout.high[lead]).tolist()
    numbers = numbers[plan.particles.order]
    stages = _stages(plan)

    def make_task() -> thread_pool.Task:
        own = scratch(plan, out.dtype, layout.channels)

        def task(start: int, stop: int) -> None:
            low, high = bounds[start], bounds[stop]
            for particles in stages:
                if thread_pool.stopped():
                    return
                kernel(flat, layout, plan.support, particles, numbers, *own, low, high)

        return task

    thread_pool.run(make_task, len(bounds) - 1, 1, team, report_part(report, SLABS, 0, SLABS))


def _collide(plan: Plan, out: np.ndarray) -> bool:
    """Whether rows of an image lie so that a copy without it pays.

    A load waits for a store that is under way to an address with the same last 12 bits: in an image
    of 512 float64 that of the row above. A copy takes as long as a few updates of each node.
    """
    rows = out.strides[-2] if out.ndim > 1 else 0
    small = out.nbytes <= _COPIED and plan.n * plan.volume >= _UPDATES * out.size
    return small and plan.grid.ndim == 2 and rows > 0 and rows % _ALIAS == 0


def scatter(
    plan: Plan,
    out: np.ndarray,
    amplitudes: np.ndarray,
    combine: str,
    threads: int | None,
    begin: tuple[int, ...] | None = None,
    report: Progress | None = None,
) -> None:
    """Combine all particles with ``out``: the grid, or the box of it whose first node is begin.

    For several channels, amplitudes are (n, channels) and ``out`` (channels, ...).
    """
    if not out.size or not plan.n:
        if report is not None:
            report(SLABS, SLABS)
        return
    if not fits_in_place(out) or _collide(plan, out):
        own = node_memory.copied(out)
        scatter(plan, own, amplitudes, combine, threads, begin, report)
        out[...] = own
        return
    numbers = amplitudes.reshape(plan.n, -1)
    variant = kernels.variant_of(plan.rotated, numbers.shape[1])
    kernel = kernels.make_scatter(plan.rotated, combine, plan.sphere, variant)
    _over_slabs(plan, out, threads, kernel, numbers, begin, report)


def draw(
    plan: Plan,
    on: arguments.Drawing,
    combine: str,
    threads: int | None,
    report: Progress | None = None,
) -> np.ndarray:
    """Combine all particles with an image, which is returned.

    Kernels write channels as planes. Unless these lie so in memory, strips of the image do, one
    after another: no more than an eighth of it, or ``_STRIP`` bytes, is held twice.
    """
    planes = on.image if on.heights.ndim == 1 else np.moveaxis(on.image, -1, 0)
    if planes is on.image or fits_in_place(planes) or not on.image.size:
        scatter(plan, planes, on.heights, combine, threads, report=report)
        return on.result
    length = on.image.shape[0]
    count = min(max(on.image.nbytes // max(_STRIP, on.image.nbytes // 8), 1), length)
    rest = (0,) * (plan.grid.ndim - 1)

    def draw_strip(low: int, high: int, tell: Progress | None) -> None:
        part = planes[:, low:high]
        strip = node_memory.zeros(part.shape, part.dtype) if on.blank else node_memory.copied(part)
        scatter(plan, strip, on.heights, combine, threads, (low, *rest), tell)
        for own, to in zip(strip, part, strict=True):  # three times as fast as all at once
            to[...] = own

    for k in range(count):
        tell = report_part(report, SLABS, SLABS * k // count, SLABS * (k + 1) // count)
        draw_strip(length * k // count, length * (k + 1) // count, tell)
    return on.result


def columns(plan: Plan) -> int:
    """Columns of a particle of one channel: its value and its derivatives."""
    return kernels.sums_of(plan.rotated)


class _Gatherer:
    """Products of particles with a volume, made ready to be summed by several threads."""

    def __init__(
        self, plan: Plan, volume: np.ndarray, derivatives: bool, amplitudes: np.ndarray | None
    ) -> None:
        self.plan = plan
        self.channels = len(volume) if volume.ndim > plan.grid.ndim else 1
        self.width = self.channels + (columns(plan) - 1 if derivatives else 0)
        self.empty = not volume.size or not plan.n
        if self.empty:
            return
        self.heights = np.ones((1, self.channels))
        if amplitudes is not None:
            self.heights = amplitudes.reshape(plan.n, -1)
        if volume.dtype == bool:
            volume = volume.view(np.uint8)
        self.volume = volume if fits_in_place(volume) else node_memory.copied(volume)
        flat, layout = layout_of(self.volume, plan.grid)
        flat.flags.writeable = False  # one kernel for all volumes, also those that are read-only
        self.memory = flat, layout
        variant = kernels.variant_of(plan.rotated, self.channels)
        self.kernel = kernels.make_gather(plan.rotated, derivatives, plan.sphere, variant)

    def scratch(self) -> tuple[np.ndarray, np.ndarray]:
        """Memory for the tables of a thread."""
        kind = np.float32 if self.volume.dtype == np.float32 else np.float64
        return scratch(self.plan, kind, self.channels)

    def write(
        self, particles: Particles, heights: np.ndarray, out: np.ndarray, own: Any,
        start: int, stop: int,
    ) -> None:  # fmt: skip
        """Write the rows of some particles to ``out``, to the places that their order tells."""
        support = self.plan.support
        self.kernel(*self.memory, support, particles, heights, out, *own, start, stop)

    def run(self, make_task: Callable[[], thread_pool.Task], threads: int | None) -> None:
        """Give all particles to tasks, unless there is nothing to sum."""
        if not self.empty:
            thread_pool.run(make_task, self.plan.n, _GATHER_CHUNK, _team(self.plan, threads))


def gather(
    plan: Plan,
    volume: np.ndarray,
    threads: int | None,
    derivatives: bool = False,
    amplitudes: np.ndarray | None = None,
) -> np.ndarray:
    """Products of each particle with the volume (n, 1), or with its derivatives too (n, K).

    The volume is read in place, for any dtype, unless its last axis is not contiguous. One of
    several channels is (channels, ...): a particle has one product with each, (n, channels), and
    its derivatives' are with the sum of the channels times its ``amplitudes`` (n, channels), by
    default 1.

    Columns are those of ``kernels/fields/axis_aligned.py`` or of
    ``kernels/fields/full_covariance.py``, in index units.
    """
    sums = _Gatherer(plan, volume, derivatives, amplitudes)
    out = np.zeros((plan.n, sums.width))

    def make_task() -> thread_pool.Task:
        own = sums.scratch()
        return lambda start, stop: sums.write(plan.particles, sums.heights, out, own, start, stop)

    sums.run(make_task, threads)
    return out


def gather_parts(
    plan: Plan,
    volume: np.ndarray,
    threads: int | None,
    amplitudes: np.ndarray,
    use: Callable[[np.ndarray, int], None],
) -> None:
    """Give ``use`` the rows of `gather` with derivatives, some particles at a time.

    They stand in the order of the plan, and ``use`` gets the place of the first. So no more than
    some rows for each thread are in memory.
    """
    sums = _Gatherer(plan, volume, True, amplitudes)
    every = plan.particles
    places = np.arange(min(_GATHER_CHUNK, plan.n), dtype=every.order.dtype)

    def make_task() -> thread_pool.Task:
        own, rows = sums.scratch(), np.empty((len(places), sums.width))

        def task(start: int, stop: int) -> None:
            some = every._replace(
                centres=every.centres[start:stop],
                widths=every.widths[start:stop] if len(every.widths) > 1 else every.widths,
                order=places[: stop - start],
            )
            heights = sums.heights[every.order[start:stop]]
            sums.write(some, heights, rows, own, 0, stop - start)
            use(rows[: stop - start], start)

        return task

    sums.run(make_task, threads)


def sparse(plan: Plan, most: float = np.inf) -> Any:
    """The matrix (nodes, n) of all profiles as scipy.sparse.csc_array.

    None if it would have more than ``most`` entries.
    """
    from scipy.sparse import csc_array

    shape = plan.grid.size, plan.n
    count, collect = kernels.make_list(plan.rotated, plan.sphere)
    common = contiguous_layout(plan.grid), plan.support, plan.particles
    own = scratch(plan, np.float64)
    counts = np.zeros(plan.n + 1, dtype=np.int64)
    if plan.grid.size:
        count(own[1], *common, counts[1:], *own)
    starts = np.cumsum(counts)
    total = int(starts[-1])
    if total > most:
        return None
    index = np.int32 if max(total, *shape) < 2**31 else np.int64
    nodes, values = np.empty(total, dtype=index), np.empty(total)
    if total:
        collect((nodes, values), *common, starts, *own)
    matrix = csc_array((values, nodes, starts.astype(index)), shape=shape)
    matrix.sum_duplicates()  # images of a support that is wider than its period
    if plan.sphere:
        matrix.eliminate_zeros()
    return matrix


def tangent(plan: Plan, out: np.ndarray, coefficients: np.ndarray, threads: int | None) -> None:
    """Add to ``out`` the particles' columns times coefficients (n, K): the adjoint of `gather`."""
    if not out.size or not plan.n:
        return
    kernel = kernels.make_tangent(plan.rotated, plan.sphere)
    _over_slabs(plan, out, threads, kernel, coefficients)


def blocks(plan: Plan, threads: int | None) -> np.ndarray:
    """Products of each particle's columns with one another (n, K, K), over its box."""
    size = columns(plan)
    packed = np.zeros((plan.n, packed_size(size)))
    if plan.grid.size and plan.n:
        kernel = kernels.make_blocks(plan.rotated)
        layout = contiguous_layout(plan.grid)

        def make_task() -> thread_pool.Task:
            own = scratch(plan, np.float64)

            def task(start: int, stop: int) -> None:
                kernel(own[1], layout, plan.support, plan.particles, packed, *own, start, stop)

            return task

        thread_pool.run(make_task, plan.n, _GATHER_CHUNK, _team(plan, threads))
    lower = np.tril_indices(size)
    full = np.empty((plan.n, size, size))
    full[:, lower[0], lower[1]] = packed
    full[:, lower[1], lower[0]] = packed
    return full
