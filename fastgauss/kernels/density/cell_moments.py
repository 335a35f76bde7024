"""Power moments of points in cells, and sums of smooth functions of distance by them.

Space is cut into cells, and a place in a cell is u in [-1, 1] along each axis. With the powers
u**k, k < p, the moments of a cell are m[k] = sum of weight u**k over its points, products of powers
in several axes. A smooth function of the distance between two cells is sum B[j, k] u**j v**k to
a known error, so that its sum over all points is, in each cell, a polynomial

    sum over points of w K(y - x) = sum_j a[j] u(y)**j,   a = sum over cells near by of B m.

    collect    points to moments
    translate  moments to polynomials, axis by axis, in place
    evaluate   polynomials at points

An array holds the cells in C order, each the p**d numbers of its axes' powers in C order, as rows
of ``WIDTH``; p is a multiple of 8. A task of ``translate`` owns lines of cells.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from .._compile import device, kernel
from ..simd.lane_types import WIDTH
from ..simd.lanes import broadcast, load, select, store
from ..simd.lanes import floor as floor_of
from ..simd.mask_bits import mask_from_bits
from ..simd.masked import total

_OCTET = 8  # rows of a matrix whose products are formed together
_LATER = divmod(4, WIDTH)  # register and lane of the fifth number of eight


class Axis(NamedTuple):
    """An axis along which moments become polynomials, and the axes beside it."""

    n: int  # its cells
    inner: int  # cells of all later axes together: the distance of neighbours along this one
    pre: int  # powers of the axes before, together
    post: int  # rows of the powers of the axes after; 0 for the last axis


@device
def _powers(u):
    """1, u, ..., u**(WIDTH - 1) in the lanes."""
    u2 = u * u
    one = broadcast(1.0)
    low = select(mask_from_bits(0b10101010), broadcast(u), one)
    middle = select(mask_from_bits(0b11001100), broadcast(u2), one)
    return low * middle * select(mask_from_bits(0b11110000), broadcast(u2 * u2), one)


@device
def _last_power(u):
    """u**WIDTH, for 4 or 8 lanes."""
    u2 = u * u
    u4 = u2 * u2
    return u4 * u4 if WIDTH == 8 else u4


@device
def _locate(x, low, per_cell, n):
    """Cell of a coordinate and place in it; cell -1 outside of n cells and for NaN."""
    t = (x - low) * per_cell
    if not 0.0 <= t <= float(n):
        return -1, 0.0
    q = min(floor_of(t), float(n - 1))
    return int(q), 2.0 * (t - q) - 1.0


@cache
def make_collect(axes: int, registers: int) -> Callable:
    """Add points [begin, end) of (n, axes) to the moments; weights (n,) or one for all."""
    p0 = WIDTH * registers if axes == 3 else 1
    p1 = WIDTH * registers if axes >= 2 else 1

    @kernel
    def collect(points, weights, low, per_cell, shape, moments, begin, end):
        each = weights.shape[0] > 1
        for i in range(begin, end):
            q0, u0, q1, u1 = 0, 0.0, 0, 0.0
            if axes == 3:
                q0, u0 = _locate(points[i, 0], low[0], per_cell, shape[0])
            if axes >= 2:
                q1, u1 = _locate(points[i, axes - 2], low[1], per_cell, shape[1])
            q2, u2 = _locate(points[i, axes - 1], low[2], per_cell, shape[2])
            if q0 < 0 or q1 < 0 or q2 < 0:
                continue
            row = ((q0 * shape[1] + q1) * shape[2] + q2) * (p0 * p1 * registers)
            last = _powers(u2)
            more = _last_power(u2)
            f0 = weights[i if each else 0]
            for _ in range(p0):
                f1 = f0
                for _ in range(p1):
                    v = last * f1
                    for _ in range(registers):
                        store(moments, row, load(moments, row) + v)
                        v = v * more
                        row += 1
                    f1 = f1 * u1
                f0 = f0 * u0

    return collect


@cache
def make_evaluate(axes: int, registers: int) -> Callable:
    """Write the polynomials' values at points [begin, end); 0 where there is no cell."""
    p0 = WIDTH * registers if axes == 3 else 1
    p1 = WIDTH * registers if axes >= 2 else 1

    @kernel
    def evaluate(points, low, per_cell, shape, moments, out, begin, end):
        for i in range(begin, end):
            q0, u0, q1, u1 = 0, 0.0, 0, 0.0
            if axes == 3:
                q0, u0 = _locate(points[i, 0], low[0], per_cell, shape[0])
            if axes >= 2:
                q1, u1 = _locate(points[i, axes - 2], low[1], per_cell, shape[1])
            q2, u2 = _locate(points[i, axes - 1], low[2], per_cell, shape[2])
            if q0 < 0 or q1 < 0 or q2 < 0:
                out[i] = 0.0
                continue
            row = ((q0 * shape[1] + q1) * shape[2] + q2) * (p0 * p1 * registers)
            last = _powers(u2)
            more = _last_power(u2)
            value = broadcast(0.0)
            f0 = 1.0
            for _ in range(p0):
                f1 = f0
                for _ in range(p1):
                    v = last * f1
                    for _ in range(registers):
                        value = value + load(moments, row) * v
                        v = v * more
                        row += 1
                    f1 = f1 * u1
                f0 = f0 * u0
            out[i] = total(value)

    return evaluate


@device
def _columns(line, source, matrices, at, target, powers, rows, post, chunk, moments, registers):
    """Products along an axis that is not the last: a register of the axes after it at a time.

    ``source`` is the row of ``line`` where the window's first cell has its part, ``at`` the row
    of ``matrices`` for it; ``rows`` are those of a cell.
    """
    for octet in range(powers // _OCTET):
        a0 = broadcast(0.0)
        a1 = a0
        a2 = a0
        a3 = a0
        a4 = a0
        a5 = a0
        a6 = a0
        a7 = a0
        for j in range(chunk):
            for k in range(powers):
                x = load(line, source + j * rows + k * post)
                b = at + (j * powers + k) * registers + octet * (_OCTET // WIDTH)
                c, d = b + _LATER[0], _LATER[1]
                a0 = a0 + x * matrices[b, 0]
                a1 = a1 + x * matrices[b, 1]
                a2 = a2 + x * matrices[b, 2]
                a3 = a3 + x * matrices[b, 3]
                a4 = a4 + x * matrices[c, d]
                a5 = a5 + x * matrices[c, d + 1]
                a6 = a6 + x * matrices[c, d + 2]
                a7 = a7 + x * matrices[c, d + 3]
        to = target + _OCTET * octet * post
        store(moments, to, a0)
        store(moments, to + post, a1)
        store(moments, to + 2 * post, a2)
        store(moments, to + 3 * post, a3)
        store(moments, to + 4 * post, a4)
        store(moments, to + 5 * post, a5)
        store(moments, to + 6 * post, a6)
        store(moments, to + 7 * post, a7)


@device
def _rows(line, source, matrices, at, target, powers, rows, pre, chunk, moments, registers):
    """Products along the last axis: four rows of powers at a time share the matrix."""
    for e in range(0, pre, 4):
        e1, e2, e3 = min(e + 1, pre - 1), min(e + 2, pre - 1), min(e + 3, pre - 1)
        for block in range(registers):
            a0 = broadcast(0.0)
            a1 = a0
            a2 = a0
            a3 = a0
            for j in range(chunk):
                for part in range(registers):
                    r = source + j * rows + part
                    b = at + (j * powers + part * WIDTH) * registers + block
                    for k in range(WIDTH):
                        matrix = load(matrices, b + k * registers)
                        a0 = a0 + matrix * line[r + e * registers, k]
                        a1 = a1 + matrix * line[r + e1 * registers, k]
                        a2 = a2 + matrix * line[r + e2 * registers, k]
                        a3 = a3 + matrix * line[r + e3 * registers, k]
            to = target + block
            store(moments, to + e * registers, a0)
            store(moments, to + e1 * registers, a1)
            store(moments, to + e2 * registers, a2)
            store(moments, to + e3 * registers, a3)


@device
def _add_below(moments, row, below, pre, step, post, line, source, fresh):
    """Add what lies below the window: the sums of the moments of order 0 so far.

    First the cell that has left the window, if any (``source`` >= 0), is added to the sums.
    """
    for e in range(pre):
        for f in range(post if post > 0 else 1):
            if post > 0:
                r, at = e * step * post + f, e * post + f
                if source >= 0:
                    store(below, at, load(below, at) + load(line, source + r))
                if fresh:
                    store(moments, row + r, load(moments, row + r) + load(below, at))
            else:
                r = e * step
                if source >= 0:
                    below[e, 0] += line[source + r, 0]
                if fresh:
                    moments[row + r, 0] += below[e, 0]


@cache
def make_translate(axes: int, registers: int) -> Callable:
    """The kernel that makes polynomials of moments along one axis, for lines [begin, end).

    A line is the n cells of the axis at one place of the others: line (o, s) begins at cell
    o n inner + s and steps by ``inner``. ``matrices`` has rows of ``WIDTH`` numbers B[j, k] for
    each cell of the window (2 reach + 1), each k, all j. With ``whole`` cells below the window
    count with their moment of order 0. ``alive`` says which cells are not all 0. ``axis`` has
    the fields of Axis, as a plain tuple, at less cost. ``scratch`` has
    room for the rows of n + 1 cells, ``marks`` for n cells.
    """
    powers = WIDTH * registers
    rows = powers ** (axes - 1) * registers

    @kernel
    def translate(moments, alive, matrices, reach, whole, axis, scratch, marks, begin, end):
        n, inner, pre, post = axis
        step = powers if post > 0 else registers
        line, below = scratch[: n * rows], scratch[n * rows :]
        for which in range(begin, end):
            first = (which // inner) * n * inner + which % inner
            for j in range(n):
                cell = first + j * inner
                marks[j] = alive[cell]
                if marks[j]:
                    for r in range(rows):
                        store(line, j * rows + r, load(moments, cell * rows + r))
            if whole:
                for r in range(rows):
                    store(below, r, broadcast(0.0))
            living = False
            for i in range(n):
                low, high = max(i - reach, 0), min(i + reach + 1, n)
                while low < high and not marks[low]:
                    low += 1
                while high > low and not marks[high - 1]:
                    high -= 1
                cell = first + i * inner
                left = i - reach - 1
                if whole and left >= 0 and marks[left]:
                    living = True
                alive[cell] = living or low < high
                at = (low - i + reach) * powers * registers
                if low < high:
                    for j in range(low, high):
                        if not marks[j]:  # a hole: zeros
                            for r in range(rows):
                                store(line, j * rows + r, broadcast(0.0))
                    if post > 0:
                        for e in range(pre):
                            for f in range(post):
                                r = e * powers * post + f
                                _columns(
                                    line, low * rows + r, matrices, at, cell * rows + r, powers,
                                    rows, post, high - low, moments, registers,
                                )  # fmt: skip
                    else:
                        _rows(
                            line, low * rows, matrices, at, cell * rows, powers,
                            rows, pre, high - low, moments, registers,
                        )  # fmt: skip
                elif alive[cell]:
                    for r in range(rows):
                        store(moments, cell * rows + r, broadcast(0.0))
                if whole:
                    source = left * rows if left >= 0 and marks[left] else -1
                    _add_below(
                        moments, cell * rows, below, pre, step, post, line, source, alive[cell]
                    )

    return translate
