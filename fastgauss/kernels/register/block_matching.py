"""Block matching: where a window of one image is in another, from coarse pixels to fine.

The images are compared by their gradients, which know no offset and weigh coarse and fine structure
alike, on pyramids whose levels halve the pixels. The score of a lag is

    sum (z_a . z_b) / sqrt(sum |z_a|^2 sum |z_b|^2) * sqrt(share of the window that overlaps)

over the pixels x of the window whose x + lag is in the image. The coarsest level is searched
whole; each finer one climbs from twice the lag before. A gradient is 0 where a pixel is missing.

The levels of a pyramid stand one after the other in flat arrays.
"""

from __future__ import annotations

import numpy as np

from .._compile import device, kernel
from ..simd.lanes import broadcast, load
from ..simd.masked import lane_count, lanes_within, load_some, total

LEAST_OVERLAP = 0.2  # of a window
_CLIMBS = 4  # steps from the lag of a coarser level


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
def _score(ax, ay, bx, by, first, height, width, box, move_y, move_x):
    """The score of a lag; -1 where too little overlaps."""
    top, bottom = max(box[0], -move_y), min(box[1], height - move_y)
    left, right = max(box[2], -move_x), min(box[3], width - move_x)
    area = max(bottom - top, 0) * max(right - left, 0)
    share = area / ((box[1] - box[0]) * (box[3] - box[2]))
    if share < LEAST_OVERLAP:
        return -1.0
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
    """Where a parabola through three values has its top, -0.5 to 0.5."""
    bend = 2.0 * here - before - after
    at = 0.5 * (after - before) / bend if bend > 0.0 else 0.0
    return min(max(at, -0.5), 0.5)


@kernel
def match(ax, ay, bx, by, firsts, shapes, finest, windows, guesses, reach, starts, begin, end):
    """Lags of windows [begin, end), to a fraction of a pixel of the finest level used.

    Parameters
    ----------
    ax, ay, bx, by : ndarray float32
        The levels' gradients, flat.
    firsts, shapes : ndarray (L,), (L, 2) int64
        Where each level begins and its shape; level k has pixels of 2**k.
    finest : int
        The last level to climb on.
    windows : ndarray (n, 4) int64
        Top, left, rows, columns in pixels.
    guesses : ndarray (n, 2)
        dx, dy in pixels around which to search.
    reach : ndarray (2,) int64
        Rows and columns of the coarsest level to search in each direction.
    starts : ndarray (n, 2)
        dx, dy.
    """
    coarsest = firsts.size - 1
    for n in range(begin, end):
        move_x = int(np.rint(guesses[n, 0] / (1 << coarsest)))
        move_y = int(np.rint(guesses[n, 1] / (1 << coarsest)))
        fine_x = fine_y = 0.0
        for level in range(coarsest, finest - 1, -1):
            first, height, width = firsts[level], shapes[level, 0], shapes[level, 1]
            box = (
                windows[n, 0] >> level,
                min((windows[n, 0] + windows[n, 2]) >> level, height),
                windows[n, 1] >> level,
                min((windows[n, 1] + windows[n, 3]) >> level, width),
            )
            if level == coarsest:
                best, at_y, at_x = -1.0, move_y, move_x
                for j in range(move_y - reach[0], move_y + reach[0] + 1):
                    for i in range(move_x - reach[1], move_x + reach[1] + 1):
                        score = _score(ax, ay, bx, by, first, height, width, box, j, i)
                        if score > best:
                            best, at_y, at_x = score, j, i
                move_y, move_x = at_y, at_x
            else:
                move_y, move_x = 2 * move_y, 2 * move_x
            around = np.empty((3, 3))
            for _ in range(_CLIMBS):
                best, at_y, at_x = -1.0, move_y, move_x
                for j in range(3):
                    for i in range(3):
                        score = _score(
                            ax, ay, bx, by, first, height, width, box,
                            move_y + j - 1, move_x + i - 1,
                        )  # fmt: skip
                        around[j, i] = score
                        if score > best:
                            best, at_y, at_x = score, move_y + j - 1, move_x + i - 1
                if at_y == move_y and at_x == move_x:
                    break
                move_y, move_x = at_y, at_x
            fine_x = _vertex(around[1, 0], around[1, 1], around[1, 2])
            fine_y = _vertex(around[0, 1], around[1, 1], around[2, 1])
        starts[n, 0] = (move_x + fine_x) * (1 << finest)
        starts[n, 1] = (move_y + fine_y) * (1 << finest)
