"""Separable filters of whole arrays: units of work, scratch memory, threads.

``kernels/filters/separable.py`` filters one unit. A unit that the kernel cannot read in place
(another dtype, strides, missing elements, rows too long for the scratch memory) is copied first,
together with the elements around it that the filter needs.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..base import thread_pool
from ..base.progress import Progress
from ..kernels._compile import JIT_DISABLED
from ..kernels.filters import separable as kernels
from ..kernels.filters.lines import ROWS
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
_DIRECT_REACH = 8 * _PER_LINE  # up to this radius, shifted loads are faster than transposition
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
    """As `_piece` for a part of a row, and the place in the line at which the elements begin."""
    if whole:
        return slice(None), axis, reach
    index = axis.clip(0)
    alike = bool(np.all(np.diff(index) == 1))
    some = slice(int(index[0]), int(index[-1]) + 1) if alike else index
    return some, np.where(axis < 0, -1, np.arange(len(axis))), 0


class _Extent(NamedTuple):
    """The properties of a filter on which the division into units depends."""

    terms: int
    reach: tuple[int, int, int]
    half: int
    deep: bool
    odd: bool  # whether a profile is antisymmetric


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
    extent = _Extent(len(terms), (z, y, x), half, deep, bool(odd.any()))
    return Filter(tuple(profiles), extent, cost)


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
    height = (groups * width + ROWS + 2 * reach_y) | 1  # odd: for the cache
    tile = min(_DEEP_TILE if extent.deep else _TILE, -(-longest // width), _STRIPS // height)
    direct = reach_x <= _DIRECT_REACH
    line = _PER_LINE * width  # elements of a cache line
    length = (longest + 2 * width + ROWS) | 1
    if direct:  # an odd number of cache lines, with room for whole steps
        length = ((longest + 4 * width + 2 * line) // line | 1) * line
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
        depth=(planes + ROWS + 2 * reach_z) | 1,
        height=height,
        length=length,
        direct=direct,
        lead=-reach_x % line,
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


class _Unit(NamedTuple):
    """A part of a volume, and what the kernel gets if it can read the volume in place."""

    plan: kernels.Plan
    maps: tuple[np.ndarray, ...]  # of each axis
    first: int  # the first element of the result


class _Units(NamedTuple):
    """How a volume is divided into units."""

    plan: kernels.Plan  # of the largest unit
    each: tuple[_Unit, ...]
    whole_rows: bool


def _divide(
    shape: tuple[int, int, int],
    extent: _Extent,
    modes: tuple[str, ...],
    squares: bool,
    width: int,
    team: int,
) -> _Units:
    plan = _plan_of(shape, extent, width, team)._replace(squares=squares)
    maps = tuple(axis_map(*of) for of in zip(shape, extent.reach, modes, strict=True))
    starts = (range(0, n, step) for n, step in zip(shape, plan.shape, strict=True))
    units = []
    for begin in itertools.product(*starts):
        nz, ny, nx = (min(s, n - b) for b, s, n in zip(begin, plan.shape, shape, strict=True))
        own = tuple(
            axis[b : b + n + 2 * reach]
            for axis, b, n, reach in zip(maps, begin, (nz, ny, nx), extent.reach, strict=True)
        )
        first = (begin[0] * shape[1] + begin[1]) * shape[2] + begin[2]
        units.append(_Unit(plan._replace(shape=(nz, ny, nx)), own, first))
    return _Units(plan, tuple(units), plan.shape[2] == shape[2])


_divide_again = lru_cache(maxsize=16)(_divide)  # for small volumes: its maps stay in memory


class _Job(NamedTuple):
    """A volume to filter and all that is the same for every unit."""

    source: Source
    work: Filter
    units: _Units
    fill: np.floating
    out: np.ndarray
    in_place: bool
    kernel: Callable[..., None]

    def unit(self, index: int, scratch: tuple[np.ndarray, ...]) -> None:
        """Filter one unit."""
        plan, maps, first = self.units.each[index]
        flat = self.source.volume
        if not self.in_place:
            plan, maps, flat = self._copy(plan, maps)
        out = self.out.reshape(-1)
        self.kernel(
            flat.reshape(-1),
            self.work.profiles,
            tuple(plan),
            (*maps, self.fill),
            out[first:] if first else out,
            scratch,
        )

    def _copy(
        self, plan: kernels.Plan, maps: tuple[np.ndarray, ...]
    ) -> tuple[kernels.Plan, tuple[np.ndarray, ...], np.ndarray]:
        """The plan and maps of a unit for a copy of the elements that it needs, and the copy."""
        z, y, x = maps
        where_x, x, shift = _columns(x, self.work.extent.reach[2], self.units.whole_rows)
        (where_z, z), (where_y, y) = _piece(z), _piece(y)
        block = self.source.read((where_z, where_y, where_x), self.out.dtype)
        return plan._replace(source=block.shape[1:], shift=shift), (z, y, x), block


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
    units = divide(out.shape, work.extent, tuple(modes), squares, _lanes(out.dtype), team)
    in_place = units.whole_rows and source.lies_well(out.dtype)
    flat = units.plan.direct and not (work.extent.deep or work.extent.odd)
    kernel = kernels.correlate_planes if flat else kernels.correlate
    job = _Job(source, work, units, out.dtype.type(cval), out, in_place, kernel)

    def make_task() -> thread_pool.Task:
        scratch = _scratch(units.plan, out.dtype)

        def task(start: int, stop: int) -> None:
            for index in range(start, stop):
                job.unit(index, scratch)

        return task

    thread_pool.run(make_task, len(units.each), 1, team, report)
