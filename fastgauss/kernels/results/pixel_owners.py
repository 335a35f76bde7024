"""The owner of each pixel: the nearest spot whose box covers the pixel."""

from __future__ import annotations

import numpy as np

from .._compile import device, kernel


@device
def box_of(windows, i):
    """First pixel and extent of window i along three axes."""
    return (
        (windows[i, 0], windows[i, 1], windows[i, 2]),
        (windows[i, 3], windows[i, 4], windows[i, 5]),
    )


@kernel
def assign_owners(centres, boxes, exists, extent, owner, nearest, spots, low, high):
    """Write the nearest spot whose box covers each pixel of the rows [low, high) to ``owner``.

    ``owner`` is -1 where there is no such spot, or the pixel is missing.
    """
    height, width = extent[1], extent[2]
    for s in range(spots.size):
        i = spots[s]
        first, count = box_of(boxes, i)
        for z in range(count[0]):
            row = (first[0] + z) * height + first[1]
            dz = float(first[0] + z) - centres[i, 0]
            for y in range(max(low - row, 0), min(high - row, count[1])):
                dy = float(first[1] + y) - centres[i, 1]
                at = (row + y) * width + first[2]
                for x in range(count[2]):
                    dx = float(first[2] + x) - centres[i, 2]
                    square = np.float32(dx * dx + dy * dy + dz * dz)
                    if exists[at + x] and square < nearest[at + x]:
                        nearest[at + x] = square
                        owner[at + x] = i
