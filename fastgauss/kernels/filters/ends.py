"""Ends: the elements beyond the ends of a line or row, copied to their places by the axis map."""

from __future__ import annotations

from collections.abc import Callable

from .._compile import device
from ..simd.lanes import broadcast, load, store


@device
def _copy_register(lines, begin, at, fill, to):
    store(lines, to, load(lines, begin + at) if at >= 0 else broadcast(fill))


@device
def _copy_element(rows, begin, at, fill, to):
    rows[to] = rows[begin + at] if at >= 0 else fill


def _make_extend(copy: Callable) -> Callable:
    """The building block that fills the ends of a line or row."""

    @device
    def extend(plan, maps, memory, begin):
        nx, reach = plan.shape[2], plan.reach[2]
        for i in range(reach):
            for k in (i, reach + nx + i):
                copy(memory, begin + plan.shift, maps.x[k], maps.fill, begin + k)

    return extend


extend_line = _make_extend(_copy_register)
extend_row = _make_extend(_copy_element)
