"""Sweeps over the particles of a field: to the grid, and back from it.

A sweep visits particles in the order of the plan, each with its images
(``kernels/fields/windows.py``), and calls a building block for each of them. For sweeps to the grid
a task owns a range of the first axis; for sweeps from the grid it owns a range of particles.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from .._compile import device, kernel
from ..simd.lane_types import WIDTH
from ..simd.lanes import broadcast
from ..simd.masked import lanes_within, load_double, total
from . import axis_aligned, ellipsoid_columns, ellipsoid_painting, full_covariance, painting
from .windows import images, layer_range, window


def make_visit(shape_of: Callable, half_widths: Callable, act: Callable) -> Callable:
    """Call ``act`` for each image of a particle that meets nodes [low, high) of the first axis."""

    @device
    def visit(flat, layout, support, centres, widths, q, low, high, table, row):
        axes = centres.shape[1]
        n, wraps = layout.shape, layout.periodic
        shape = shape_of(widths, q)
        half_z, half_y, half_x = half_widths(support, axes, shape)
        centre_z = centres[q, 0] if axes == 3 else 0.0
        centre_y = centres[q, axes - 2] if axes >= 2 else 0.0
        centre_x = centres[q, axes - 1]
        low_z, high_z = (low, high) if axes == 3 else (0, 1)
        low_y, high_y = (low, high) if axes == 2 else (layout.low[1], layout.high[1])
        low_x, high_x = (low, high) if axes == 1 else (layout.low[2], layout.high[2])
        kz, last_z = images(centre_z, half_z, n[0], wraps[0], low_z, high_z)
        first_y, last_y = images(centre_y, half_y, n[1], wraps[1], low_y, high_y)
        first_x, last_x = images(centre_x, half_x, n[2], wraps[2], low_x, high_x)
        while kz <= last_z:
            z = centre_z + float(kz * n[0])
            begin_z, count_z = window(z, half_z, low_z, high_z)
            kz += 1
            ky = first_y if count_z > 0 else last_y + 1
            while ky <= last_y:
                y = centre_y + float(ky * n[1])
                begin_y, count_y = window(y, half_y, low_y, high_y)
                ky += 1
                kx = first_x if count_y > 0 else last_x + 1
                while kx <= last_x:
                    x = centre_x + float(kx * n[2])
                    begin_x, count_x = window(x, half_x, low_x, high_x)
                    kx += 1
                    if count_x > 0:
                        begin = begin_z, begin_y, begin_x
                        count = count_z, count_y, count_x
                        place = z, y, x
                        act(flat, layout, support, axes, shape, begin, count, place, table, row)

    return visit


def _family(rotated: bool) -> Any:
    """The kernels of a kind of particle: a product of profiles, or an ellipsoid."""
    return full_covariance if rotated else axis_aligned


def sums_of(rotated: bool) -> int:
    """Columns of ``make_gather`` with derivatives, for one channel."""
    return _family(rotated).SUMS


def variant_of(rotated: bool, channels: int) -> int:
    """The kernel for this number of channels."""
    return min(channels, ellipsoid_columns.VARIANTS) if rotated else 0


@cache
def make_scatter(rotated: bool, combine: str, sphere: bool, channels: int) -> Callable:
    """The kernel that combines particles with nodes [low, high) of the first axis.

    Particles with covariances have one for each number of ``channels`` (``variant_of``).

    Amplitudes (n, channels) are in the order of the particles, because reading from random places
    would be slow.
    """
    family, how = _family(rotated), axis_aligned.COMBINE[combine]
    if rotated:
        paint = ellipsoid_painting.make_paint(how, sphere, channels)
    else:
        paint = painting.make_paint(how, sphere)
    visit = make_visit(family.shape_of, family.half_widths, paint)

    @kernel
    def scatter(flat, layout, support, particles, amplitudes, table, row, low, high):
        centres, widths = particles.centres, particles.widths
        lead = 3 - centres.shape[1]
        n, wraps = layout.shape[lead], layout.periodic[lead]
        weights = axis_aligned.weights_at(support)
        for layer in range(particles.reach.size):
            begin, end = layer_range(particles, n, wraps, low, high, layer)
            for q in range(begin, end):
                for c in range(layout.channels):
                    table[weights + c] = amplitudes[q, c]
                visit(flat, layout, support, centres, widths, q, low, high, table, row)

    return scatter


@cache
def make_gather(rotated: bool, derivatives: bool, sphere: bool, channels: int) -> Callable:
    """The kernel that writes the sums of particles [begin, end) to their rows of ``out``.

    ``channels`` as of ``make_scatter``.

    Those of each channel, then of the derivatives; the latter are of the channels' sum by the
    particle's amplitudes (n or 1, channels), which are in the order of ``out``.
    """
    family = _family(rotated)
    size = family.SUMS
    own = (channels,) * rotated
    project = family.make_project(derivatives, sphere, *own)
    visit = make_visit(family.shape_of, family.half_widths, project)

    @kernel
    def gather(flat, layout, support, particles, amplitudes, out, table, row, begin, end):
        centres, widths, order = particles.centres, particles.widths, particles.order
        n, channels = layout.shape[3 - centres.shape[1]], layout.channels
        weights = axis_aligned.weights_at(support)
        for q in range(begin, end):
            to = order[q]
            own = to if amplitudes.shape[0] > 1 else 0
            for c in range(channels):
                table[weights + c] = amplitudes[own, c]
                table[weights + channels + c] = 0.0
            for k in range(1, size):
                table[k] = 0.0
            visit(flat, layout, support, centres, widths, q, 0, n, table, row)
            for c in range(channels):
                out[to, c] = table[weights + channels + c]
            for k in range(channels, out.shape[1]):
                out[to, k] = table[k - channels + 1]

    return gather


@cache
def make_tangent(rotated: bool, sphere: bool) -> Callable:
    """The adjoint of ``make_gather`` with derivatives: coefficients (n, K) to the grid.

    Coefficients stand in the order of the particles.
    """
    family = _family(rotated)
    visit = make_visit(family.shape_of, family.half_widths, family.make_tangent(sphere))

    @kernel
    def tangent(flat, layout, support, particles, coefficients, table, row, low, high):
        centres, widths = particles.centres, particles.widths
        lead = 3 - centres.shape[1]
        n, wraps = layout.shape[lead], layout.periodic[lead]
        for layer in range(particles.reach.size):
            begin, end = layer_range(particles, n, wraps, low, high, layer)
            for q in range(begin, end):
                for k in range(coefficients.shape[1]):
                    table[k] = coefficients[q, k]
                visit(flat, layout, support, centres, widths, q, low, high, table, row)

    return tangent


@cache
def make_blocks(rotated: bool) -> Callable:
    """The kernel that writes each particle's packed products of columns (n, K (K + 1) / 2)."""
    family = _family(rotated)
    visit = make_visit(family.shape_of, family.half_widths, family.make_blocks(False))

    @kernel
    def blocks(flat, layout, support, particles, out, table, row, begin, end):
        centres, widths, order = particles.centres, particles.widths, particles.order
        n = layout.shape[3 - centres.shape[1]]
        for q in range(begin, end):
            for k in range(out.shape[1]):
                table[axis_aligned.BLOCK_AT + k] = 0.0
            visit(flat, layout, support, centres, widths, q, 0, n, table, row)
            for k in range(out.shape[1]):
                out[order[q], k] = table[axis_aligned.BLOCK_AT + k]

    return blocks


@cache
def make_list(rotated: bool, sphere: bool) -> tuple[Callable, Callable]:
    """The kernels that count the nodes of each particle, and that list them with their values."""
    family = _family(rotated)

    @device
    def tally(flat, layout, support, axes, shape, first, count, centre, table, row):
        table[0] += float(count[0] * count[1] * count[2])

    measure = make_visit(family.shape_of, family.half_widths, tally)
    visit = make_visit(family.shape_of, family.half_widths, family.make_collect(sphere))

    @kernel
    def count(flat, layout, support, particles, counts, table, row):
        centres, widths, order = particles.centres, particles.widths, particles.order
        n = layout.shape[3 - centres.shape[1]]
        for q in range(order.size):
            table[0] = 0.0
            measure(flat, layout, support, centres, widths, q, 0, n, table, row)
            counts[order[q]] = int(table[0])

    @kernel
    def collect(lists, layout, support, particles, starts, table, row):
        centres, widths, order = particles.centres, particles.widths, particles.order
        n = layout.shape[3 - centres.shape[1]]
        for q in range(order.size):
            table[0] = float(starts[order[q]])
            visit(lists, layout, support, centres, widths, q, 0, n, table, row)

    return count, collect


@kernel
def sum_of_squares(flat, begin, end):
    """Sum of the squares of the elements [begin, end), in an order that begin alone decides."""
    sums = broadcast(0.0)
    for i in range(begin, end, WIDTH):
        value = load_double(flat, i, lanes_within(0.0, 0, end - i))
        sums = sums + value * value
    return total(sums)
