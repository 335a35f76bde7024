"""Separable filters of whole arrays: units of work, scratch memory, threads.

``kernels/filters/separable.py`` filters one unit. A unit that the kernel cannot read in place
(another dtype, strides, missing elements, rows too long for the scratch memory) is copied first,
together with the elements around it that the filter needs.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..base import thread_pool
from ..base.progress import Progress
from ..kernels._compile import JIT_DISABLED
from ..kernels.filters import separable as kernels
from ..kernels.simd.lane_types import REGISTER_BITS, WIDTH
from .taps import Term, axis_map

_PLANES = 8  # planes of a unit that is filtered along z
_SMALL_PLANES = 1 << 15  # elements of a unit of several small planes
_PER_LINE = 512 // REGISTER_BITS  # registers in a cache line of 64 bytes
_TILE, _DEEP_TILE = 32 * _PER_LINE, 16 * _PER_LINE  # registers
_LINES = _PER_LINE << 13  # registers of the scratch ``lines``
_STRIPS = _PER_LINE << 15  # registers of the scratch ``strips``
_KEPT = _PER_LINE << 17  # registers of scratch that a thread keeps between calls
_GROUPS = 8
_ELEMENTS = 1 << 20  # of the largest unit
_LONGEST = 1 << 14  # elements of a row that is filtered in one piece
_SMALL = 1.5e7  # additions that take as long as waking another thread
_LINE_COST = 20  # additions that cost as much as moving one register along an axis


class Source(NamedTuple):
    """A volume of any real dtype and strides, with its missing elements."""

    volume: np.ndarray
    mask: np.ndarray | None = None  # True where missing
    omit_nan: bool = False
    weigh: bool = False  # read 1 instead of the value of each element that is not missing

    def lies_well(self, dtype: np.dtype) -> bool:
        """Whether the kernel can read the volume in place."""
        array = self.volume
        missing = self.mask is not None or self.omit_nan
        flags = array.flags
        return array.dtype == dtype and flags.carray and not missing  # flags: aligned, writable

    def read(self, where: Sequence[Any], dtype: np.dtype) -> np.ndarray:
        """A contiguous copy of a part; missing elements are 0."""
        block = _part(self.volume, where).astype(dtype, order="C")
        gap = np.zeros(block.shape, bool) if self.mask is None else _part(self.mask, where)
        if self.omit_nan:
            gap = gap | np.isnan(block)
        if self.weigh:
            return np.logical_not(gap).astype(dtype)
        block[gap] = 0.0
        return block


def _part(volume: np.ndarray, where: Sequence[Any]) -> np.ndarray:
    z, y, x = where
    return volume[z][:, y][:, :, x]


def _piece(axis: np.ndarray) -> tuple[Any, np.ndarray]:
    """The elements that a part of an axis map needs, and the map to those elements."""
    inside = axis >= 0
    used = np.unique(axis[inside]) if inside.any() else np.zeros(1, dtype=np.int64)
    first, last = int(used[0]), int(used[-1])
    if last - first + 1 == len(used):
        return slice(first, last + 1), np.where(inside, axis - first, -1)
    return used, np.where(inside, np.searchsorted(used, axis), -1)


def _columns(axis: np.ndarray, reach: int, whole: bool) -> tuple[Any, np.ndarray, int]:
    """The same for a part of a row, and at which place of the line the elements begin."""
    if whole:
        return slice(None), axis, reach
    index = axis.clip(0)
    alike = bool(np.all(np.diff(index) == 1))
    some = slice(int(index[0]), int(index[-1]) + 1) if alike else index
    return some, np.where(axis < 0, -1, np.arange(len(axis))), 0


class _Extent(NamedTuple):
    """What the division into units needs to know of a filter."""

    terms: int
    reach: tuple[int, int, int]
    half: int
    deep: bool


class Filter(NamedTuple):
    """The profiles of all terms as the kernel reads them."""

    profiles: tuple[np.ndarray, ...]  # the fields of kernels.Profiles
    extent: _Extent
    cost: float  # additions for each element and 8 bytes


def _lanes(dtype: np.dtype) -> int:
    """Elements of a register."""
    return WIDTH if JIT_DISABLED else REGISTER_BITS // (8 * dtype.itemsize)


def _rows(count: int, dtype: np.dtype) -> np.ndarray:
    """Registers in memory, aligned to cache lines."""
    width, line = _lanes(dtype), 64 // dtype.itemsize
    raw = np.empty(count * width + line, dtype=dtype)
    skip = (-raw.__array_interface__["data"][0] % 64) // dtype.itemsize
    return raw[skip : skip + count * width].reshape(count, width)


@lru_cache(maxsize=16)
def _pack(terms: tuple[Term, ...], dtype: np.dtype) -> Filter:
    """All profiles in one array, padded with zeros."""
    radii = np.array([[profile.radius for profile in term] for term in terms])
    half = int(radii.max()) + 1
    taps = np.zeros((*radii.shape, half), dtype=dtype)
    for term, halves in zip(terms, taps, strict=True):
        for profile, row in zip(term, halves, strict=True):
            row[: len(profile.half)] = profile.half
    odd = np.array([[profile.odd for profile in term] for term in terms])
    z, y, x = radii.max(axis=0).tolist()
    deep = not all(term[0].trivial for term in terms)
    rows = _rows(taps.size, dtype)
    rows[...] = taps.reshape(-1, 1)
    cost = float((radii + _LINE_COST).sum())
    profiles = kernels.Profiles(rows, radii, odd)
    return Filter(tuple(profiles), _Extent(len(terms), (z, y, x), half, deep), cost)


def _plan_of(shape: tuple[int, int, int], extent: _Extent, width: int, team: int) -> kernels.Plan:
    """The sizes of the largest unit of a contiguous volume, for the kernel."""
    nz, ny, nx = shape
    columns = min(nx, _LONGEST)
    reach_z, reach_y, reach_x = extent.reach
    longest = columns + 2 * reach_x
    most = max(1, _LINES // (extent.terms * longest))
    planes = min(nz, _PLANES if extent.deep else max(1, _SMALL_PLANES // (ny * columns)), most)
    groups = max(1, min(_GROUPS, most // planes, -(-ny // width)))
    share = -(-4 * team // -(-nz // planes)) if team > 1 else 1  # units of a plane
    rows = min(-(-ny // share), _ELEMENTS // (planes * columns))
    rows = max(1, rows // (groups * width)) * groups * width
    height = (groups * width + kernels.ROWS + 2 * reach_y) | 1  # odd: for the cache
    tile = min(_DEEP_TILE if extent.deep else _TILE, -(-longest // width), _STRIPS // height)
    return kernels.Plan(
        shape=(planes, min(rows, ny), columns),
        strides=(ny * nx, nx),
        source=(ny, nx),
        shift=reach_x,
        reach=extent.reach,
        terms=extent.terms,
        half=extent.half,
        deep=extent.deep,
        squares=False,
        planes=planes,
        groups=groups,
        tile=max(tile, 1),
        depth=(planes + kernels.ROWS + 2 * reach_z) | 1,
        height=height,
        length=(longest + 2 * width + kernels.ROWS) | 1,
    )


_memory = threading.local()  # the scratch that a thread used last: new memory costs page faults


def _scratch(plan: kernels.Plan, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """Scratch memory of one thread: the fields of kernels.Scratch."""
    each = plan.planes * plan.groups * plan.length
    strips = plan.planes * plan.tile * plan.height * (plan.terms if plan.deep else 1)
    counts = [plan.tile * plan.depth if plan.deep else 1, strips, plan.terms * each]
    key = dtype, *counts
    if getattr(_memory, "key", None) != key:
        _memory.key = _memory.arrays = None
        arrays = tuple(_rows(count, dtype) for count in (*counts, 2 * _lanes(dtype)))
        if sum(counts) > _KEPT:
            return arrays
        _memory.key, _memory.arrays = key, arrays
    return _memory.arrays


class _Units(NamedTuple):
    """How a volume is divided into units."""

    plan: kernels.Plan  # of the largest unit
    maps: tuple[np.ndarray, ...]  # of each axis
    counts: tuple[int, ...]  # units along each axis


def _divide(
    shape: tuple[int, int, int], extent: _Extent, modes: tuple[str, ...], width: int, team: int
) -> _Units:
    plan = _plan_of(shape, extent, width, team)
    maps = tuple(axis_map(*of) for of in zip(shape, extent.reach, modes, strict=True))
    counts = tuple(-(-n // step) for n, step in zip(shape, plan.shape, strict=True))
    return _Units(plan, maps, counts)


_divide_again = lru_cache(maxsize=16)(_divide)  # for small volumes: its maps stay in memory


class _Job(NamedTuple):
    """A volume to filter and all that is the same for every unit."""

    source: Source
    work: Filter
    plan: kernels.Plan
    maps: tuple[np.ndarray, ...]
    fill: np.floating
    out: np.ndarray
    counts: tuple[int, ...]  # units along each axis
    in_place: bool

    def unit(self, index: int, scratch: tuple[np.ndarray, ...]) -> None:
        """Filter one unit."""
        shape, work, plan = self.out.shape, self.work, self.plan
        step = plan.shape
        before, column = divmod(index, self.counts[2])
        layer, row = divmod(before, self.counts[1])
        begin = [layer * step[0], row * step[1], column * step[2]]
        size = [min(s, n - b) for b, s, n in zip(begin, step, shape, strict=True)]
        z, y, x = (
            axis[b : b + n + 2 * reach]
            for axis, b, n, reach in zip(self.maps, begin, size, work.extent.reach, strict=True)
        )
        plan = plan._replace(shape=tuple(size))
        flat = self.source.volume
        if not self.in_place:
            where_x, x, shift = _columns(x, work.extent.reach[2], self.counts[2] == 1)
            (where_z, z), (where_y, y) = _piece(z), _piece(y)
            flat = self.source.read((where_z, where_y, where_x), self.out.dtype)
            plan = plan._replace(source=flat.shape[1:], shift=shift)
        at = (begin[0] * shape[1] + begin[1]) * shape[2] + begin[2]
        out = self.out.reshape(-1)[at:]
        maps = z, y, x, self.fill
        kernels.correlate(flat.reshape(-1), work.profiles, tuple(plan), maps, out, scratch)


def correlate(
    source: Source,
    terms: Sequence[Term],
    modes: Sequence[str],
    cval: float,
    out: np.ndarray,
    threads: int | None,
    squares: bool = False,
    report: Progress | None = None,
) -> None:
    """Filter a volume (z, y, x); ``out`` is contiguous and shares no memory with it.

    With ``squares`` the result is the root of the sum of the squares of the terms.
    """
    if not out.size:
        return
    work = _pack(tuple(terms), out.dtype)
    additions = out.size * work.cost * out.itemsize / 8
    team = thread_pool.resolve_threads(threads) if additions > _SMALL else 1
    longest = max(map(sum, zip(out.shape, work.extent.reach, strict=True)))
    divide = _divide if longest > _LONGEST else _divide_again
    units = divide(out.shape, work.extent, tuple(modes), _lanes(out.dtype), team)
    plan = units.plan._replace(squares=squares)
    in_place = units.counts[2] == 1 and source.lies_well(out.dtype)
    job = _Job(source, work, plan, units.maps, out.dtype.type(cval), out, units.counts, in_place)

    def make_task() -> thread_pool.Task:
        scratch = _scratch(plan, out.dtype)

        def task(start: int, stop: int) -> None:
            for index in range(start, stop):
                job.unit(index, scratch)

        return task

    thread_pool.run(make_task, math.prod(units.counts), 1, team, report)
