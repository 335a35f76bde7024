"""Stencils of B-splines: particles to the nodes around them, and back.

The spline of p nodes (p = 1 to 4) is the p-fold convolution of the unit box: node i gets the
weight B_p(u - i) of a particle at u, in index units, and the weight of a point in several
dimensions is the product of those of its axes. The p nodes around u are those from ``cell`` on;
one weight of an axis is 1 minus the others, so that their sum is 1.

Particles are processed in blocks: first the addresses and weights of all, whose nodes are
prefetched, then the sums. Each node receives its contributions in the order of the particles, for
any division of the first axis among tasks.

Grids of one and two axes are grids of three whose leading axes have one node. A node's
channels are neighbours in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from .._compile import device, kernel
from ..simd.lane_types import ALL_LANES, WIDTH
from ..simd.lanes import absolute, floor, load
from ..simd.mask_bits import mask_bits
from ..simd.prefetch import prefetch
from ..simd.short_rows import add_row

BLOCK = 32  # particles of a block
NEAR = 1 << 19  # bytes of nodes up to which nothing is prefetched


class Frame(NamedTuple):
    """The three axes of a grid in index units and in the caller's; one node where there is none."""

    shape: tuple[int, int, int]
    periodic: tuple[bool, bool, bool]
    origin: tuple[float, float, float]
    spacing: tuple[float, float, float]


class Block(NamedTuple):
    """Scratch of one thread."""

    which: np.ndarray  # (BLOCK,) indices of the particles
    cells: np.ndarray  # (BLOCK, 3) first node of the stencil along each axis
    inside: np.ndarray  # (BLOCK,) whether the whole stencil is in the grid and in the task's range
    weights: np.ndarray  # (BLOCK, 12) four for each axis


def make_block() -> Block:
    """Scratch for a thread."""
    counts = np.zeros(BLOCK, dtype=np.int64)
    cells = np.zeros((BLOCK, 3), dtype=np.int64)
    weights = np.ones((BLOCK, 12))
    return Block(counts, cells, np.zeros(BLOCK, dtype=np.bool_), weights)


@device
def place(x, origin, spacing, n, wraps):
    """Index of coordinate x, wrapped; far outside the grid, an index that no stencil reaches."""
    u = np.float64(x) - origin
    if spacing != 1.0:  # a division takes as long as everything else
        u = u / spacing
    if wraps:
        if not 0.0 <= u < n:
            u = u - n * floor(u / n)
            u = 0.0 if u >= n or u < 0.0 else u  # after rounding, which for a huge u may be large
        return u
    return min(max(u, -8.0), n + 8.0)


@device
def _nearest(u, weights, k, at):
    base = floor(u)
    weights[k, at] = 1.0
    return int(base) + (1 if u - base >= 0.5 else 0)


@device
def _linear(u, weights, k, at):
    base = floor(u)
    weights[k, at] = 1.0 - (u - base)
    weights[k, at + 1] = u - base
    return int(base)


@device
def _quadratic(u, weights, k, at):
    base = floor(u)
    base = base + 1.0 if u - base >= 0.5 else base
    low, high = 0.5 - (u - base), 0.5 + (u - base)
    before, after = 0.5 * (low * low), 0.5 * (high * high)
    weights[k, at] = before
    weights[k, at + 1] = 1.0 - (before + after)
    weights[k, at + 2] = after
    return int(base) - 1


@device
def _cubic(u, weights, k, at):
    base = floor(u)
    f = u - base
    g = 1.0 - f
    before, after = g * g * g * (1.0 / 6.0), f * f * f * (1.0 / 6.0)
    near = 2.0 / 3.0 - f * f * (1.0 - 0.5 * f)
    weights[k, at] = before
    weights[k, at + 1] = near
    weights[k, at + 2] = 1.0 - (before + near + after)
    weights[k, at + 3] = after
    return int(base) - 1


@device
def _row_1(weights, k, at):
    return (weights[k, at],)


@device
def _row_2(weights, k, at):
    return weights[k, at], weights[k, at + 1]


@device
def _row_3(weights, k, at):
    return weights[k, at], weights[k, at + 1], weights[k, at + 2]


@device
def _row_4(weights, k, at):
    return weights[k, at], weights[k, at + 1], weights[k, at + 2], weights[k, at + 3]


class Stencil(NamedTuple):
    """A deposit kernel along one axis.

    ``weigh(u, weights, k, at)`` writes the weights of the ``nodes`` nodes nearest to the point u to
    ``weights[k, at:]`` and returns the first of these nodes.
    """

    nodes: int  # 1 to 4
    weigh: Callable


STENCILS = {
    "nearest": Stencil(1, _nearest),
    "linear": Stencil(2, _linear),
    "quadratic": Stencil(3, _quadratic),
    "cubic": Stencil(4, _cubic),
}
ROW = {1: _row_1, 2: _row_2, 3: _row_3, 4: _row_4}


@kernel
def all_below(numbers, bound, start, stop):
    """Whether the magnitudes of numbers [start, stop) are below the bound."""
    i = start
    while i + WIDTH <= stop:
        if mask_bits(absolute(load(numbers, i)) < bound) != ALL_LANES:
            return False
        i += WIDTH
    fine = True
    for k in range(i, stop):
        fine = fine and abs(numbers[k]) < bound
    return fine


@kernel
def survey(positions, values, frame, begin, end):
    """First particle in [begin, end) whose place or value is not finite, -1 if there is none."""
    axes = positions.shape[1]
    lead = 3 - axes
    own = values.shape[0] == positions.shape[0]
    for i in range(begin, end):
        fine = True
        for axis in range(axes):
            limit = 1.7e308 * frame.spacing[lead + axis]  # so that the index does not overflow
            fine = fine and abs(np.float64(positions[i, axis]) - frame.origin[lead + axis]) < limit
        if own:
            for c in range(values.shape[1]):
                fine = fine and abs(np.float64(values[i, c])) < np.inf
        if not fine:
            return i
    return -1


@device
def _meets(cell, nodes, n, wraps, low, high):
    """Whether a stencil of an axis may have a node in [low, high)."""
    last = cell + nodes  # without branches, half of which would be mispredicted
    return ((cell < high) & (last > low)) | (wraps & ((cell < 0) | (last > n)))


def make_choose(nodes: int) -> Callable:
    """Make the choice of the next particles, at most a block, that may touch planes [low, high)."""
    first_cell = float((nodes - 1) // 2)
    shift = 0.5 if nodes % 2 else 0.0

    @device
    def choose(positions, frame, block, i, end, low, high):
        lead = 3 - positions.shape[1]
        n, wraps = frame.shape[lead], frame.periodic[lead]
        origin, spacing = frame.origin[lead], frame.spacing[lead]
        found = 0
        if low == 0 and high == n:  # all particles are chosen
            found = min(BLOCK, end - i)
            for k in range(found):
                block.which[k] = i + k
            return i + found, found
        while i < end and found < BLOCK:
            u = place(positions[i, 0], origin, spacing, n, wraps)
            cell = int(floor(u + shift) - first_cell)
            block.which[found] = i
            # one node more on either side; ``make_locate`` decides exactly
            found += int(_meets(cell - 1, nodes + 2, n, wraps, low, high))
            i += 1
        return i, found

    return choose


def make_locate(stencil: str, axes: int) -> Callable:
    """Make the step that computes cells and weights of a block and prefetches its nodes."""
    nodes, weigh = STENCILS[stencil]
    lead = 3 - axes
    rows_z = nodes if axes == 3 else 1
    rows_y = nodes if axes >= 2 else 1

    @device
    def locate(flat, positions, frame, block, count, channels, low, high):
        far = flat.nbytes > NEAR
        for k in range(count):
            q = block.which[k]
            inside = True
            for axis in range(axes):
                n = frame.shape[lead + axis]
                wraps = frame.periodic[lead + axis]
                x = positions[q, axis]
                u = place(x, frame.origin[lead + axis], frame.spacing[lead + axis], n, wraps)
                cell = weigh(u, block.weights, k, 4 * (lead + axis))
                block.cells[k, lead + axis] = cell
                least, most = (low, high) if axis == 0 else (0, n)
                inside = inside and cell >= least and cell + nodes <= most
            block.inside[k] = inside
            if inside and far:
                cells = block.cells
                at = (cells[k, 0] * frame.shape[1] + cells[k, 1]) * frame.shape[2] + cells[k, 2]
                for z in range(rows_z):
                    for y in range(rows_y):
                        node = at + (z * frame.shape[1] + y) * frame.shape[2]
                        prefetch(flat, node * channels)

    return locate


@device
def node_of(i, n, wraps):
    """The node of index i, -1 if there is none."""
    if wraps:
        return i % n
    return i if 0 <= i < n else -1


@device
def plane_of(i, n, wraps, low, high):
    """The node of index i, -1 if it is not in [low, high)."""
    node = node_of(i, n, wraps)
    return node if low <= node < high else -1


@cache
def make_deposit(stencil: str, axes: int, many: bool, wrap: Callable = kernel) -> Callable:
    """The kernel that adds values times weights to the planes [low, high) of the first axis.

    ``many``: nodes have channels. ``values`` is (n or 1, channels).
    ``wrap`` may be ``inner_kernel``.
    """
    nodes = STENCILS[stencil].nodes
    choose, locate, row_of = make_choose(nodes), make_locate(stencil, axes), ROW[nodes]
    rows_z = nodes if axes == 3 else 1
    rows_y = nodes if axes >= 2 else 1

    @device
    def add_node(flat, node, outer, weight, values, v):
        """All channels of a node."""
        channels = values.shape[1]
        for c in range(channels):
            value = outer * np.float64(values[v, c])
            add_row(flat, node * channels + c, value, (weight,))

    @device
    def add_whole(flat, frame, block, k, values, v):
        weights, cells = block.weights, block.cells
        row = row_of(weights, k, 8)
        at = (cells[k, 0] * frame.shape[1] + cells[k, 1]) * frame.shape[2] + cells[k, 2]
        for z in range(rows_z):
            for y in range(rows_y):
                node = at + (z * frame.shape[1] + y) * frame.shape[2]
                outer = weights[k, z] * weights[k, 4 + y]
                if many:
                    for x in range(nodes):
                        add_node(flat, node + x, outer, weights[k, 8 + x], values, v)
                else:
                    add_row(flat, node, outer * np.float64(values[v, 0]), row)

    @device
    def add_part(flat, frame, block, k, values, v, low, high):
        weights, cells = block.weights, block.cells
        low_z, high_z = (low, high) if axes == 3 else (0, 1)
        low_y, high_y = (low, high) if axes == 2 else (0, frame.shape[1])
        low_x, high_x = (low, high) if axes == 1 else (0, frame.shape[2])
        for z in range(rows_z):
            i = plane_of(cells[k, 0] + z, frame.shape[0], frame.periodic[0], low_z, high_z)
            for y in range(rows_y if i >= 0 else 0):
                j = plane_of(cells[k, 1] + y, frame.shape[1], frame.periodic[1], low_y, high_y)
                outer = weights[k, z] * weights[k, 4 + y]
                for x in range(nodes if j >= 0 else 0):
                    m = cells[k, 2] + x
                    m = plane_of(m, frame.shape[2], frame.periodic[2], low_x, high_x)
                    if m >= 0:
                        node = (i * frame.shape[1] + j) * frame.shape[2] + m
                        add_node(flat, node, outer, weights[k, 8 + x], values, v)

    @wrap
    def deposit(flat, positions, values, frame, block, low, high):
        i, end = 0, positions.shape[0]
        own = values.shape[0] == positions.shape[0]
        while i < end:
            i, count = choose(positions, frame, block, i, end, low, high)
            locate(flat, positions, frame, block, count, values.shape[1], low, high)
            for k in range(count):
                v = block.which[k] if own else 0
                if block.inside[k]:
                    add_whole(flat, frame, block, k, values, v)
                else:
                    add_part(flat, frame, block, k, values, v, low, high)

    return deposit


@cache
def make_gather(stencil: str, axes: int, wrap: Callable = kernel) -> Callable:
    """The adjoint: weighted sums of the nodes around particles [begin, end), in every channel."""
    nodes, locate = STENCILS[stencil].nodes, make_locate(stencil, axes)
    lead = 3 - axes
    rows_z = nodes if axes == 3 else 1
    rows_y = nodes if axes >= 2 else 1

    @device
    def sum_whole(flat, frame, block, k, channels, c):
        weights, cells = block.weights, block.cells
        at = (cells[k, 0] * frame.shape[1] + cells[k, 1]) * frame.shape[2] + cells[k, 2]
        total = 0.0
        for z in range(rows_z):
            for y in range(rows_y):
                node = at + (z * frame.shape[1] + y) * frame.shape[2]
                row = 0.0
                for x in range(nodes):
                    row += np.float64(flat[(node + x) * channels + c]) * weights[k, 8 + x]
                total += row * (weights[k, z] * weights[k, 4 + y])
        return total

    @device
    def sum_part(flat, frame, block, k, channels, c):
        weights, cells = block.weights, block.cells
        total = 0.0
        for z in range(rows_z):
            i = node_of(cells[k, 0] + z, frame.shape[0], frame.periodic[0])
            for y in range(rows_y if i >= 0 else 0):
                j = node_of(cells[k, 1] + y, frame.shape[1], frame.periodic[1])
                row = 0.0
                for x in range(nodes if j >= 0 else 0):
                    m = node_of(cells[k, 2] + x, frame.shape[2], frame.periodic[2])
                    if m >= 0:
                        node = (i * frame.shape[1] + j) * frame.shape[2] + m
                        row += np.float64(flat[node * channels + c]) * weights[k, 8 + x]
                total += row * (weights[k, z] * weights[k, 4 + y])
        return total

    @wrap
    def gather(flat, positions, frame, block, out, begin, end):
        channels = out.shape[1]
        n = frame.shape[lead]
        for start in range(begin, end, BLOCK):
            count = min(BLOCK, end - start)
            for k in range(count):
                block.which[k] = start + k
            locate(flat, positions, frame, block, count, channels, 0, n)
            for k in range(count):
                for c in range(channels):
                    if block.inside[k]:
                        out[start + k, c] = sum_whole(flat, frame, block, k, channels, c)
                    else:
                        out[start + k, c] = sum_part(flat, frame, block, k, channels, c)

    return gather
