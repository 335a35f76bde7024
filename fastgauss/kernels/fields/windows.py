"""Windows of compact support on a grid, and particles in the order of the grid's tiles.

Everything here is in index units: node i of an axis lies at i. A particle's *window* along an axis
is the nodes within ``half`` of its centre; its support is the product of its windows (a box). On a
periodic axis of n nodes the particle has *images* at centre + k n, and the window of each image is
clipped to the grid like any other, so that wrapping needs no further code.

Grids of one and two axes are grids of three whose leading axes have one node.

Memory holds a box of the grid, or all of it. A *task* owns a range of nodes of the box's first
axis: it visits the particles that reach this range, in the order of the plan, and writes only its
own nodes. Each node thus receives the same numbers in the same order for any division of the grid
into tasks or boxes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._compile import device, entry, kernel
from ..simd.lanes import floor

TILE = 8  # nodes along an edge: the windows of a tile's particles share the cache


class Layout(NamedTuple):
    """Three axes of a grid and how the nodes of a box lie in memory, in elements."""

    shape: tuple[int, int, int]
    strides: tuple[int, int, int]
    phase: int  # elements from the boundary of a register to node 0; -1 if rows differ
    periodic: tuple[bool, bool, bool]
    low: tuple[int, int, int]  # the box is the nodes [low, high)
    high: tuple[int, int, int]
    start: int  # where node 0 lies, or would lie: negative unless the box begins there
    channels: int  # numbers of a node, one plane of memory after another
    plane: int  # elements from one of these to the next


class Particles(NamedTuple):
    """Particles in the order of tiles; d is the number of the grid's own axes."""

    centres: np.ndarray  # (n, d) in index units, on periodic axes within [0, n)
    widths: np.ndarray  # (n or 1, d) sigmas, or (n or 1, d, d) covariances, in index units
    order: np.ndarray  # (n,) index of the particle at this place
    first: np.ndarray  # (layers + 1,) where each layer of tiles along the first axis begins
    reach: np.ndarray  # (layers,) largest half width along the first axis of its particles
    layer: int  # nodes of the first axis in a layer


@device
def address(layout, z, y, x):
    """Where a node of the box lies in memory."""
    across = z * layout.strides[0] + y * layout.strides[1]
    return layout.start + across + x * layout.strides[2]


@entry
def window(centre: float, half: float, low: int, high: int) -> tuple[int, int]:
    """First node and number of nodes of [centre - half, centre + half] in [low, high).

    For compiled code. The number is 0 if there is no node, also for NaN. The function is
    thread-safe, allocates nothing and is inlined.

    Examples
    --------
    >>> window(3.2, 2.0, 0, 5)
    (2, 3)
    """
    begin = max(-floor(half - centre), float(low))
    end = min(floor(centre + half), float(high - 1))
    if not begin <= end:
        return low, 0
    return int(begin), int(end) - int(begin) + 1


@entry
def images(
    centre: float, half: float, n: int, periodic: bool, low: int, high: int
) -> tuple[int, int]:
    """First and last k for which the window of centre + k n may meet [low, high).

    For compiled code. The numbers must be finite, and half at most some periods, because a loop
    over k visits every image. The function is thread-safe, allocates nothing and is inlined.

    Examples
    --------
    >>> images(0.5, 2.0, 10, True, 0, 10)
    (0, 1)
    """
    if not periodic:
        return 0, 0
    slack = 1e-6  # so that rounding loses no image; a window outside the grid is empty
    begin = (float(low) - half - centre) / float(n) - slack
    end = (float(high - 1) + half - centre) / float(n) + slack
    return int(-floor(-begin)), int(floor(end))


@device
def layer_range(particles, n, periodic, low, high, layer):
    """Where the particles of a layer begin and end; nothing if none reaches [low, high)."""
    begin, end = particles.first[layer], particles.first[layer + 1]
    if begin == end:
        return begin, end
    reach = particles.reach[layer] + 1.0
    centre = particles.layer * (layer + 0.5)
    half = reach + 0.5 * particles.layer
    first, last = images(centre, half, n, periodic, low, high)
    for k in range(first, last + 1):
        middle = centre + float(k) * float(n)
        if middle + half >= float(low) and middle - half <= float(high - 1):
            return begin, end
    return begin, begin


@kernel
def to_indices(positions, origin, spacing, shape, periodic, centres):
    """Write centres (n, d) in index units, wrapped on periodic axes; False if one is not finite."""
    fine = True
    for axis in range(positions.shape[1]):
        start, step, n = origin[axis], spacing[axis], float(shape[axis])
        wraps = periodic[axis]
        for i in range(positions.shape[0]):
            u = (np.float64(positions[i, axis]) - start) / step
            if wraps:
                u = u - n * floor(u / n)
                u = 0.0 if u >= n or u < 0.0 else u  # after rounding of a huge u
            centres[i, axis] = u
            fine = fine and abs(u) < np.inf
    return fine


@kernel
def sort_by_tile(centres, shape, edges, counts, keys, order, ordered):
    """Counting sort by tile, stable: fills keys, order (n,) and the ordered centres (n, d).

    A centre outside the grid belongs to the nearest tile. ``counts`` has one zero for each tile and
    one more; afterwards it holds the end of each tile.
    """
    n, axes = centres.shape
    for i in range(n):
        key = 0
        for axis in range(axes):
            length = shape[axis]
            u = min(max(centres[i, axis], 0.0), float(max(length - 1, 0)))
            key = key * max(1, -(-length // edges[axis])) + int(u) // edges[axis]
        keys[i] = key
        counts[key + 1] += 1
    for k in range(1, counts.size):
        counts[k] += counts[k - 1]
    for i in range(n):
        at = counts[keys[i]]
        counts[keys[i]] = at + 1
        order[at] = i
        for axis in range(axes):
            ordered[at, axis] = centres[i, axis]


@kernel
def layer_reach(first, half, reach):
    """Largest of half (n or 1,) over the particles of each layer."""
    for layer in range(reach.size):
        largest = 0.0
        for q in range(first[layer], first[layer + 1]):
            largest = max(largest, half[q if half.size > 1 else 0])
        reach[layer] = largest
