"""Painting: a particle with a full covariance, combined with the nodes of a grid.

Whole registers are stored where the task owns the memory of all their lanes; masked stores take
long on some processors.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._compile import device
from ..simd.lane_types import WIDTH
from ..simd.lanes import select
from ..simd.masked import lanes_within, load_double, store_double, store_rounded
from . import ellipsoid_columns
from .axis_aligned import larger, weights_at
from .ellipsoid_columns import HELD
from .ellipsoid_rows import averaged, half_widths, limit_of, make_along_rows


def make_paint(combine: Callable, sphere: bool, channels: int) -> Callable:
    """The building block that combines a particle with the grid; a variant of ``VARIANTS``."""
    held = min(channels, HELD)
    largest = combine is larger  # a 0 would replace a negative value
    kept_at = ellipsoid_columns.make_kept(sphere)

    @device
    def put_whole(flat, at, mask, value):
        # a choice between old and new numbers would become a masked store
        if largest:
            value = select(mask, value, -np.inf)
        old = load_double(flat, at, lanes_within(0.0, 0, WIDTH))
        store_rounded(flat, at, combine(old, value))

    @device
    def put_some(flat, at, mask, value):
        old = load_double(flat, at, mask)
        store_double(flat, at, combine(old, value), mask)

    @device
    def put_averaged(flat, layout, support, at, left, mask, columns, table, state):
        f, whole = select(mask, columns[0], 0.0), left >= WIDTH
        for c in range(layout.channels):
            value = f * table[weights_at(support) + c]
            if whole:
                put_whole(flat, at + c * layout.plane, mask, value)
            else:
                put_some(flat, at + c * layout.plane, mask, value)
        return state

    @device
    def put_sampled(flat, layout, support, at, own, mask, f, u_y, table, column):
        plane, weights = layout.plane, weights_at(support)
        if own:  # some processors take long over masked stores
            f = select(mask, f, 0.0)
            for c in range(held):
                put_whole(flat, at + c * plane, mask, f * table[weights + c])
        else:
            for c in range(held):
                put_some(flat, at + c * plane, mask, f * table[weights + c])
        return column

    @device
    def put_others(flat, layout, support, start, own, mask, run, table, column):
        kept, nodes, step = run[:3]
        for c in range(HELD, layout.channels):
            weight, at = table[weights_at(support) + c], start + c * layout.plane
            for i in range(nodes):
                f, within = kept_at(kept, i, mask)
                if own:
                    put_whole(flat, at + i * step, within, select(within, f, 0.0) * weight)
                else:
                    put_some(flat, at + i * step, within, f * weight)
        return column

    @device
    def fold(sums, column, u_z, u_x):
        return sums

    over_rows = make_along_rows(averaged, sphere, put_averaged)
    over_columns = ellipsoid_columns.make_over(sphere, channels, put_sampled, put_others, fold)

    @device
    def paint(flat, layout, support, axes, factor, first, count, centre, table, row):
        limit = limit_of(support, axes, factor)
        if support.integrate:
            over_rows(flat, layout, support, axes, factor, limit, first, count, centre, table, 0)
        else:
            reach, window = (half_widths(support, axes, factor)[1], limit), (first, count, centre)
            over_columns(flat, layout, support, factor, reach, window, table, 0, 0)

    return paint
