"""Block matching: where a window of one image is in another, from coarse pixels to fine.

The images are compared by their gradients, which do not depend on an offset and weigh coarse and
fine structure alike, on pyramids whose levels halve the pixels. The score of a lag is

    sum (z_a . z_b) / sqrt(sum |z_a|^2 sum |z_b|^2) * sqrt(share of the window that overlaps)

over the pixels x of the window whose x + lag is in the image. The coarsest level is searched
whole; each finer one climbs from twice the lag before. A gradient is 0 where a pixel is missing.

The levels of a pyramid stand one after the other in flat arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._compile import device, kernel
from ..simd.lanes import broadcast, load
from ..simd.masked import lane_count, lanes_within, load_some, total

LEAST_OVERLAP = 0.2  # of a window
_CLIMBS = 4  # steps from the lag of a coarser level


class Levels(NamedTuple):
    """The gradients of two images on levels whose pixels are 1, 2, 4 .. wide, flat."""

    ax: np.ndarray  # float32
    ay: np.ndarray
    bx: np.ndarray
    by: np.ndarray
    firsts: np.ndarray  # (L,) where each level begins
    shapes: np.ndarray  # (L, 2)
    finest: int  # the last level to climb on


class Range(NamedTuple):
    """Where to search."""

    rows: int  # of the coarsest level, in each direction
    columns: int
    bound: float  # pixels along an axis beyond which no lag is looked at


@kernel
def halve(source, valid, out, out_valid):
    """Means of 2 x 2 pixels, and whether all four exist."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            i, j = 2 * y, 2 * x
            out[y, x] = np.float32(0.25) * (
                (source[i, j] + source[i, j + 1]) + (source[i + 1, j] + source[i + 1, j + 1])
            )
            out_valid[y, x] = valid[i, j] & valid[i, j + 1] & valid[i + 1, j] & valid[i + 1, j + 1]


@kernel
def gradients(source, valid, zx, zy, begin, end):
    """Central differences of rows [begin, end); 0 at the border and beside missing pixels."""
    height, width = source.shape
    for y in range(begin, end):
        for x in range(width):
            zx[y, x] = zy[y, x] = np.float32(0.0)
        if y < 1 or y >= height - 1:
            continue
        for x in range(1, width - 1):
            exists = valid[y, x - 1] & valid[y, x + 1] & valid[y - 1, x] & valid[y + 1, x]
            keep = np.float32(exists)
            zx[y, x] = keep * (source[y, x + 1] - source[y, x - 1])
            zy[y, x] = keep * (source[y + 1, x] - source[y - 1, x])


@device
def _score(levels, level, box, move_y, move_x):
    """The score of a lag; -1 where too little overlaps."""
    first, height, width = levels.firsts[level], levels.shapes[level, 0], levels.shapes[level, 1]
    top, bottom = max(box[0], -move_y), min(box[1], height - move_y)
    left, right = max(box[2], -move_x), min(box[3], width - move_x)
    area = max(bottom - top, 0) * max(right - left, 0)
    share = area / ((box[1] - box[0]) * (box[3] - box[2]))
    if share < LEAST_OVERLAP:
        return -1.0
    ax, ay, bx, by = levels.ax, levels.ay, levels.bx, levels.by
    lanes = lane_count(ax)
    zero = broadcast(np.float32(0.0))
    cross, energy_a, energy_b = zero, zero, zero
    for y in range(top, bottom):
        p = first + y * width + left
        q = p + move_y * width + move_x
        for x in range(0, right - left, lanes):
            if x + lanes <= right - left:
                ux, uy = load(ax, p + x), load(ay, p + x)
                vx, vy = load(bx, q + x), load(by, q + x)
            else:
                some = lanes_within(np.float32(0.0), 0, right - left - x)
                ux, uy = load_some(ax, p + x, some), load_some(ay, p + x, some)
                vx, vy = load_some(bx, q + x, some), load_some(by, q + x, some)
            cross = cross + ux * vx + uy * vy
            energy_a = energy_a + ux * ux + uy * uy
            energy_b = energy_b + vx * vx + vy * vy
    product = np.float64(total(energy_a)) * np.float64(total(energy_b))
    return total(cross) / np.sqrt(product) * np.sqrt(share) if product > 0.0 else -1.0


@device
def _vertex(before, here, after):
    """The place of the maximum of a parabola through three values, -0.5 to 0.5."""
    bend = 2.0 * here - before - after
    at = 0.5 * (after - before) / bend if bend > 0.0 else 0.0
    return min(max(at, -0.5), 0.5)


@device
def _bounds(guess, bound, size):
    """The least and the largest lag of a level whose pixels are ``size`` wide."""
    return int(np.ceil((guess - bound) / size - 0.5)), int(np.floor((guess + bound) / size + 0.5))


@device
def _climb(levels, level, box, move_y, move_x, rows, columns, around):
    """Move a lag to its best neighbour, at most ``_CLIMBS`` times; the scores around the last."""
    for _ in range(_CLIMBS):
        best, at_y, at_x = -1.0, move_y, move_x
        for j in range(3):
            for i in range(3):
                y, x = move_y + j - 1, move_x + i - 1
                score = -1.0
                if rows[0] <= y <= rows[1] and columns[0] <= x <= columns[1]:
                    score = _score(levels, level, box, y, x)
                around[j, i] = score
                if score > best:
                    best, at_y, at_x = score, y, x
        if at_y == move_y and at_x == move_x:
            break
        move_y, move_x = at_y, at_x
    return move_y, move_x


@kernel
def match(levels, windows, guesses, span, starts, begin, end):
    """Lags of windows [begin, end), to a fraction of a pixel of the finest level used.

    Parameters
    ----------
    levels : Levels
    windows : ndarray (n, 4) int64
        Top, left, rows, columns in pixels.
    guesses : ndarray (n, 2)
        dx, dy in pixels around which to search.
    span : Range
    starts : ndarray (n, 2)
        dx, dy.
    """
    coarsest = levels.firsts.size - 1
    around = np.empty((3, 3))
    for n in range(begin, end):
        guess_x, guess_y = guesses[n, 0], guesses[n, 1]
        move_x = int(np.rint(guess_x / (1 << coarsest)))
        move_y = int(np.rint(guess_y / (1 << coarsest)))
        fine_x = fine_y = 0.0
        for level in range(coarsest, levels.finest - 1, -1):
            box = (
                windows[n, 0] >> level,
                min((windows[n, 0] + windows[n, 2]) >> level, levels.shapes[level, 0]),
                windows[n, 1] >> level,
                min((windows[n, 1] + windows[n, 3]) >> level, levels.shapes[level, 1]),
            )
            rows = _bounds(guess_y, span.bound, 1 << level)
            columns = _bounds(guess_x, span.bound, 1 << level)
            if level == coarsest:
                best, at_y, at_x = -1.0, move_y, move_x
                for j in range(
                    max(move_y - span.rows, rows[0]), min(move_y + span.rows, rows[1]) + 1
                ):
                    for i in range(
                        max(move_x - span.columns, columns[0]),
                        min(move_x + span.columns, columns[1]) + 1,
                    ):
                        score = _score(levels, level, box, j, i)
                        if score > best:
                            best, at_y, at_x = score, j, i
                move_y, move_x = at_y, at_x
            else:
                move_y, move_x = 2 * move_y, 2 * move_x
            move_y, move_x = _climb(levels, level, box, move_y, move_x, rows, columns, around)
            fine_x = _vertex(around[1, 0], around[1, 1], around[1, 2])
            fine_y = _vertex(around[0, 1], around[1, 1], around[2, 1])
        size = 1 << levels.finest
        x, y = (move_x + fine_x) * size, (move_y + fine_y) * size
        starts[n, 0] = min(max(x, guess_x - span.bound), guess_x + span.bound)
        starts[n, 1] = min(max(y, guess_y - span.bound), guess_y + span.bound)
