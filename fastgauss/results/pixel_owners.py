"""The owner of each pixel: the nearest spot whose box covers the pixel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..base import thread_pool
from ..kernels.results import pixel_owners

_ROWS = 64  # smallest number of image rows of a task


def assign_owners(
    extent: np.ndarray, exists: np.ndarray, centres: np.ndarray, boxes: np.ndarray,
    threads: int | None,
) -> np.ndarray:  # fmt: skip
    """The index of the spot that owns each pixel, -1 where there is none."""
    owner = np.full(exists.size, -1, np.int32)
    nearest = np.full(exists.size, np.inf, np.float32)

    def work(spots: np.ndarray, low: int, high: int) -> None:
        pixel_owners.assign_owners(centres, boxes, exists, extent, owner, nearest, spots, low, high)

    each_slab(boxes, np.arange(len(boxes)), extent, work, threads)
    return owner


def each_slab(
    windows: np.ndarray, spots: np.ndarray, extent: np.ndarray,
    work: Callable[[np.ndarray, int, int], None], threads: int | None,
) -> None:  # fmt: skip
    """Call ``work(spots, low, high)`` for slabs of image rows, with the spots that reach them."""
    first = (windows[spots, 0] * extent[1]) + windows[spots, 1]
    span = np.where(windows[spots, 3] > 0, (windows[spots, 3] - 1) * extent[1], 0)
    longest = int((span + windows[spots, 4]).max(initial=1))
    order = np.argsort(first, kind="stable")
    first, spots = first[order], spots[order]
    begin = int(first[0]) if len(first) else 0
    rows = (int(first[-1]) + longest - begin) if len(first) else 0

    def task(low: int, high: int) -> None:
        low, high = low + begin, high + begin
        near = spots[np.searchsorted(first, low - longest) : np.searchsorted(first, high)]
        if len(near):
            work(near, low, high)

    thread_pool.run(lambda: task, rows, max(_ROWS, 2 * longest), threads)


def boxes_around(
    centres: np.ndarray, before: np.ndarray, extents: np.ndarray, extent: np.ndarray
) -> np.ndarray:
    """Boxes (n, 6) that begin ``before`` pixels before the rounded centre, clipped to the image."""
    far = np.abs(extents).max(initial=1) + extent.max()
    first = np.rint(np.clip(centres, -far, extent + far)).astype(np.int64) - before
    last = np.clip(first + extents, 0, extent)
    first = np.clip(first, 0, extent)
    return np.concatenate([first, np.maximum(last - first, 0)], axis=1)
