"""Polynomials fitted to rows of numbers, all with the same abscissae.

With polynomials q_k that are orthonormal under the weights, sum_i w_i q_j(x_i) q_k(x_i) = [j = k], the
least-squares coefficients of a row y are c_k = sum_i w_i q_k(x_i) y_i, and the residuals
r_i = y_i - sum_k c_k q_k(x_i) are formed from the data again, not from sums of squares.

``fit_common`` takes rows that share x and w, whose q_k are a table. In ``fit_own`` a row has
weights of its own, 0 where nothing was measured, and so polynomials of its own, by Forsythe's
recurrence (1957, J. SIAM 5, 74)

    p_0 = 1,   p_k+1 = (x - a_k) p_k - b_k p_k-1,
    a_k = sum w x p_k^2 / g_k,   b_k = g_k / g_k-1,   g_k = sum w p_k^2.

A row is read from memory once; it stays in the nearest cache while it is worked on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from ._compile import device, kernel
from .lanes import WIDTH, broadcast, load, select, store
from .masked import lanes_within, load_double, store_double, total

MOST_ORDER = 3
_LEAST = 1e-28  # of a norm, to that of polynomials of this spread: what rounding leaves of 0


@device
def _project(rows, start, table, at, n):
    """sum of table row ``at`` times the row of data, four registers at a time."""
    a0 = broadcast(0.0)
    a1 = a0
    a2 = a0
    a3 = a0
    every = lanes_within(0.0, 0, WIDTH)
    block = 4 * WIDTH
    whole = n - n % block
    for i in range(0, whole, block):
        a0 = a0 + load_double(rows, start + i, every) * load(table, at + i)
        a1 = a1 + load_double(rows, start + i + WIDTH, every) * load(table, at + i + WIDTH)
        a2 = a2 + load_double(rows, start + i + 2 * WIDTH, every) * load(table, at + i + 2 * WIDTH)
        a3 = a3 + load_double(rows, start + i + 3 * WIDTH, every) * load(table, at + i + 3 * WIDTH)
    for i in range(whole, n, WIDTH):
        a0 = a0 + load_double(rows, start + i, lanes_within(0.0, 0, n - i)) * load(table, at + i)
    return total((a0 + a1) + (a2 + a3))


@cache
def make_fit_common(order: int, write: bool) -> Callable:
    """Fit rows [begin, end) of n that share abscissae and weights.

    ``table`` holds 2 (order + 1) + 1 rows of ``stride`` numbers: the q_k, the w q_k, and w.
    Writes the coefficients to q, (rows, order + 1), and the sums of w r^2; with ``write`` also the
    residuals to ``out``. A missing number leaves NaN.
    """

    @device
    def residual(rows, i, table, at, stride, c0, c1, c2, c3, mask):
        r = load_double(rows, i, mask) - load(table, at) * c0
        if order >= 1:
            r = r - load(table, at + stride) * c1
        if order >= 2:
            r = r - load(table, at + 2 * stride) * c2
        if order >= 3:
            r = r - load(table, at + 3 * stride) * c3
        return r

    @kernel
    def fit_common(rows, n, table, stride, coefficients, squares, out, begin, end):
        last = 2 * (order + 1) * stride
        for row in range(begin, end):
            start = row * n
            c = coefficients[row]
            for k in range(order + 1):
                c[k] = _project(rows, start, table, (order + 1 + k) * stride, n)
            c0 = c[0]
            c1 = c[1] if order >= 1 else 0.0
            c2 = c[2] if order >= 2 else 0.0
            c3 = c[3] if order >= 3 else 0.0
            even = broadcast(0.0)
            odd = even
            every = lanes_within(0.0, 0, WIDTH)
            whole = n - n % (2 * WIDTH)
            for i in range(0, whole, 2 * WIDTH):
                r = residual(rows, start + i, table, i, stride, c0, c1, c2, c3, every)
                even = even + load(table, last + i) * r * r
                j = i + WIDTH
                s = residual(rows, start + j, table, j, stride, c0, c1, c2, c3, every)
                odd = odd + load(table, last + j) * s * s
                if write:
                    store_double(out, start + i, r, every)
                    store_double(out, start + j, s, every)
            for i in range(whole, n, WIDTH):
                mask = lanes_within(0.0, 0, n - i)
                r = residual(rows, start + i, table, i, stride, c0, c1, c2, c3, mask)
                even = even + load(table, last + i) * r * r
                if write:
                    store_double(out, start + i, r, mask)
            squares[row] = total(even + odd)

    return fit_common


@device
def _advance(scratch, size, order, k, a, b):
    """p_k+1 from p_k and p_k-1, in the place of p_k-1."""
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
def fit_own(
    rows, weights, per_row, x, n, order, scratch, alphas, betas, norms, coefficients,
    squares, counts, begin, end,
):  # fmt: skip
    """Fit rows [begin, end) of n with weights of their own; NaN and weight 0 count as missing.

    ``weights`` (rows * n or n) and ``per_row`` whether each row has its own. Writes a_k, b_k, g_k,
    the coefficients to p_k, the sum of w r^2 and the number of points: where these are too few
    for the order, the g_k that would be 0 and all after are NaN. An infinity makes NaN of all.
    ``scratch`` holds five rows: x, w, data, and two polynomials.
    """
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
def subtract(rows, n, x, coefficients, centres, out, begin, end):
    """Write rows [begin, end) without their polynomials sum_k c_k (x - centre)^k."""
    top = coefficients.shape[1] - 1
    for row in range(begin, end):
        for i in range(0, n, WIDTH):
            mask = lanes_within(0.0, 0, n - i)
            u = load(x, i) - centres[row]
            p = broadcast(coefficients[row, top])
            for k in range(top - 1, -1, -1):
                p = p * u + coefficients[row, k]
            store_double(out, row * n + i, load_double(rows, row * n + i, mask) - p, mask)

