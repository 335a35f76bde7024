"""Polynomials fitted to rows of numbers, all with the same abscissae.

With polynomials q_k that are orthonormal under the weights, sum_i w_i q_j(x_i) q_k(x_i) = [j = k],
the least-squares coefficients of a row y are c_k = sum_i w_i q_k(x_i) y_i, and the residuals are
r_i = y_i - sum_k c_k q_k(x_i).

``fit_common`` fits rows that share x and w; their q_k are a table. ``fit_own`` fits rows that have
their own weights, 0 where a number is missing, and so their own polynomials, by Forsythe's
recurrence (1957, J. SIAM 5, 74)

    p_0 = 1,   p_k+1 = (x - a_k) p_k - b_k p_k-1,
    a_k = sum w x p_k^2 / g_k,   b_k = g_k / g_k-1,   g_k = sum w p_k^2.

A row is read from memory once and stays in the nearest cache until it is done.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device, kernel
from ..simd.lane_types import WIDTH
from ..simd.lanes import broadcast, load, select, store
from ..simd.masked import lanes_within, load_double, store_double, total

MOST_ORDER = 3
_DIGITS = 1e-6  # part of sum w y^2: a remainder above it has ten digits
_LEAST = 1e-28  # ratio of norms below which a norm is 0 except for rounding


@cache
def make_fit_common(order: int, write: bool) -> Callable:
    """Fit rows [begin, end) of n that share abscissae and weights.

    ``table`` holds 2 (order + 1) + 1 rows of ``stride`` numbers: the q_k, the w q_k, and w.
    Writes the coefficients to q, (rows, order + 1), and the sums of w r^2; with ``write`` also the
    residuals to ``out``. A missing number leaves NaN.

    Four rows share the table. Where that keeps ten digits, sum w r^2 = sum w y^2 - sum c_k^2.
    """

    # -- one group of rows ---------------------------------------------------------------------

    @device
    def include(sums, y, q0, q1, q2, q3):
        c0, c1, c2, c3, square = sums
        t = y * q0
        if order >= 1:
            c1 = c1 + y * q1
        if order >= 2:
            c2 = c2 + y * q2
        if order >= 3:
            c3 = c3 + y * q3
        return c0 + t, c1, c2, c3, square + t * y

    @device
    def columns(table, at, stride):
        q0 = load(table, at)
        q1 = load(table, at + stride) if order >= 1 else q0
        q2 = load(table, at + 2 * stride) if order >= 2 else q0
        q3 = load(table, at + 3 * stride) if order >= 3 else q0
        return q0, q1, q2, q3

    @device
    def project(rows, n, table, stride, r0, r1, r2, r3):
        """Sums of four rows of data with the w q_k and with q_0 times themselves."""
        zero = broadcast(0.0)
        s0 = zero, zero, zero, zero, zero
        s1, s2, s3 = s0, s0, s0
        first = (order + 1) * stride
        every = lanes_within(0.0, 0, WIDTH)
        whole = n - n % WIDTH
        for i in range(0, whole, WIDTH):
            q0, q1, q2, q3 = columns(table, first + i, stride)
            s0 = include(s0, load_double(rows, r0 * n + i, every), q0, q1, q2, q3)
            s1 = include(s1, load_double(rows, r1 * n + i, every), q0, q1, q2, q3)
            s2 = include(s2, load_double(rows, r2 * n + i, every), q0, q1, q2, q3)
            s3 = include(s3, load_double(rows, r3 * n + i, every), q0, q1, q2, q3)
        if whole < n:
            mask = lanes_within(0.0, 0, n - whole)
            q0, q1, q2, q3 = columns(table, first + whole, stride)
            s0 = include(s0, load_double(rows, r0 * n + whole, mask), q0, q1, q2, q3)
            s1 = include(s1, load_double(rows, r1 * n + whole, mask), q0, q1, q2, q3)
            s2 = include(s2, load_double(rows, r2 * n + whole, mask), q0, q1, q2, q3)
            s3 = include(s3, load_double(rows, r3 * n + whole, mask), q0, q1, q2, q3)
        return s0, s1, s2, s3

    @device
    def residuals(rows, n, row, table, stride, c, out):
        """sum w r^2 of a row; with ``write`` its residuals."""
        last = 2 * (order + 1) * stride
        squares = broadcast(0.0)
        for i in range(0, n, WIDTH):
            mask = lanes_within(0.0, 0, n - i)
            r = load_double(rows, row * n + i, mask)
            for k in range(order + 1):
                r = r - load(table, k * stride + i) * c[k]
            squares = squares + load(table, last + i) * r * r
            if write:
                store_double(out, row * n + i, r, mask)
        return total(squares)

    @device
    def finish(rows, n, row, sums, scale, table, stride, coefficients, squares, out):
        c = coefficients[row]
        square = total(sums[4]) * scale
        rest = square
        c[0] = total(sums[0])
        if order >= 1:
            c[1] = total(sums[1])
        if order >= 2:
            c[2] = total(sums[2])
        if order >= 3:
            c[3] = total(sums[3])
        for k in range(order + 1):
            rest -= c[k] * c[k]
        if write or not rest > _DIGITS * square:
            rest = residuals(rows, n, row, table, stride, c, out)
        squares[row] = rest

    # -- all rows ------------------------------------------------------------------------------

    @kernel
    def fit_common(rows, n, table, stride, coefficients, squares, out, begin, end):
        scale = 1.0 / table[0]  # q_0
        for r0 in range(begin, end, 4):
            r1, r2, r3 = min(r0 + 1, end - 1), min(r0 + 2, end - 1), min(r0 + 3, end - 1)
            s0, s1, s2, s3 = project(rows, n, table, stride, r0, r1, r2, r3)
            finish(rows, n, r0, s0, scale, table, stride, coefficients, squares, out)
            finish(rows, n, r1, s1, scale, table, stride, coefficients, squares, out)
            finish(rows, n, r2, s2, scale, table, stride, coefficients, squares, out)
            finish(rows, n, r3, s3, scale, table, stride, coefficients, squares, out)

    return fit_common


@device
def _advance(scratch, size, order, k, a, b):
    """Compute p_k+1 from p_k and p_k-1 and write it over p_k-1."""
    now, before = size * (3 + k % 2), size * (3 + (k + 1) % 2)
    for i in range(0, size, WIDTH):
        p = (load(scratch, i) - a) * load(scratch, now + i)
        if k > 0:
            p = p - load(scratch, before + i) * b
        store(scratch, before + i, p)


@device
def _norm(scratch, size, k):
    """sum w p^2, sum w x p^2 and sum w p r."""
    now = size * (3 + k % 2)
    g = broadcast(0.0)
    gx = g
    gr = g
    for i in range(0, size, WIDTH):
        p = load(scratch, now + i)
        wp = load(scratch, size + i) * p
        g = g + wp * p
        gx = gx + wp * p * load(scratch, i)
        gr = gr + wp * load(scratch, 2 * size + i)
    return total(g), total(gx), total(gr)


@kernel
def fit_own(rows, weights, per_row, x, n, order, scratch, fits, begin, end):
    """Fit rows [begin, end) of n with weights of their own; NaN and weight 0 count as missing.

    ``weights`` (rows * n or n) and ``per_row`` whether each row has its own. ``fits`` is a tuple
    of arrays to write to: a_k, b_k, g_k, the coefficients to p_k, the sums of w r^2 and the numbers
    of points. If these are too few for the order, the g_k that would be 0 and all later ones are
    NaN. An infinity makes all results NaN. ``scratch`` holds five rows: x, w, data, and two
    polynomials.
    """
    alphas, betas, norms, coefficients, squares, counts = fits
    size = -(-n // WIDTH) * WIDTH
    for row in range(begin, end):
        count = 0
        for i in range(0, size, WIDTH):
            mask = lanes_within(0.0, 0, n - i)
            y = load_double(rows, row * n + i, mask)
            w = load_double(weights, row * n + i if per_row else i, mask)
            known = (y == y) & (w > 0.0)
            w = select(known, w, 0.0)
            store(scratch, i, load(x, i))
            store(scratch, size + i, w)
            store(scratch, 2 * size + i, select(known, y, 0.0))
            store(scratch, 3 * size + i, broadcast(1.0))
            store(scratch, 4 * size + i, broadcast(0.0))
            count += int(total(select(known, broadcast(1.0), 0.0)))
        counts[row] = count
        before, least, spread = 1.0, 0.0, 1.0
        for k in range(order + 1):
            g, gx, gr = _norm(scratch, size, k)
            if count <= k or not g > least:
                g = np.nan
            if k == 0:
                least = _LEAST * g
            else:
                spread = g / before if k == 1 else spread
                least = least * spread * (spread if k == 1 else 1.0)
            a, b, c = gx / g, g / before, gr / g
            alphas[row, k], betas[row, k], norms[row, k] = a, b, g
            coefficients[row, k] = c
            now = size * (3 + k % 2)
            for i in range(0, size, WIDTH):
                r = load(scratch, 2 * size + i) - load(scratch, now + i) * c
                store(scratch, 2 * size + i, r)
            if k < order:
                _advance(scratch, size, order, k, a, b)
            before = g
        sum_of = broadcast(0.0)
        for i in range(0, size, WIDTH):
            r = load(scratch, 2 * size + i)
            w = load(scratch, size + i)
            sum_of = sum_of + select(w > 0.0, w * r * r, 0.0)
        squares[row] = total(sum_of)


@kernel
def subtract(rows, n, x, coefficients, out, begin, end):
    """Write rows [begin, end) without their polynomials sum_k c_k x^k."""
    top = coefficients.shape[1] - 1
    for row in range(begin, end):
        for i in range(0, n, WIDTH):
            mask = lanes_within(0.0, 0, n - i)
            u = load(x, i)
            p = broadcast(coefficients[row, top])
            for k in range(top - 1, -1, -1):
                p = p * u + coefficients[row, k]
            store_double(out, row * n + i, load_double(rows, row * n + i, mask) - p, mask)
