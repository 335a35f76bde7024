"""Sparse symmetric systems of small blocks: conjugate gradients, and parts of the inverse.

The unknowns are p parameters of each of n spots and, for a *group* of spots, t terms of its
background. In a group of spots low <= i < high

    A = ( H_ii + damping_i diag H_ii      H_ij      B_i )
        (                                            Z  )

H_ij being there for linked pairs alone, B_i and Z the border. Parameters that are not *free*
are left out. A *tied* parameter is one unknown for all spots of the group: vectors hold its value
in every row, and a row of a product the sum over the group.

Conjugate gradients are preconditioned by the diagonal blocks (block Jacobi), the tied and the
background by theirs (Saad 2003, Iterative Methods for Sparse Linear Systems, algorithm 9.1).
The order of all sums depends on the group alone.
"""

from __future__ import annotations

import numpy as np

from .._compile import device, kernel

_TINY = 1e-290


@device
def factorise(a, size):
    """Cholesky factor in the lower triangle of ``a``, in place; False if it is not positive."""
    sound = True
    for i in range(size):
        for j in range(i + 1):
            part = a[i, j]
            for k in range(j):
                part -= a[i, k] * a[j, k]
            if i > j:
                a[i, j] = part / a[j, j]
            elif part > 1e-14 * abs(a[i, i]) and part > _TINY:
                a[i, i] = np.sqrt(part)
            else:
                sound = False
                a[i, i] = np.sqrt(abs(a[i, i])) + 1.0
    return sound


@device
def substitute(a, size, x):
    """Solve in place, given ``factorise``'s result."""
    for i in range(size):
        part = x[i]
        for k in range(i):
            part -= a[i, k] * x[k]
        x[i] = part / a[i, i]
    for i in range(size - 1, -1, -1):
        part = x[i]
        for k in range(i + 1, size):
            part -= a[k, i] * x[k]
        x[i] = part / a[i, i]


@device
def _unite(v, tied, low, high) -> None:
    """Give every spot of the group the sum over the group of what is tied."""
    for p in range(v.shape[1]):
        if tied[p]:
            part = 0.0
            for i in range(low, high):
                part += v[i, p]
            for i in range(low, high):
                v[i, p] = part


@device
def _dot(a, b, a_ground, b_ground, tied, g, low, high):
    part = 0.0
    for i in range(low, high):
        for p in range(a.shape[1]):
            if i == low or not tied[p]:
                part += a[i, p] * b[i, p]
    for t in range(a_ground.shape[1]):
        part += a_ground[g, t] * b_ground[g, t]
    return part


@device
def _multiply(
    diagonal, blocks, starts, others, places, border, ground, damping, free, tied, g, low, high,
    x, x_ground, y, y_ground,
):  # fmt: skip
    """y = A x for one group."""
    size, terms = x.shape[1], x_ground.shape[1]
    for t in range(terms):
        y_ground[g, t] = 0.0
        for u in range(terms):
            y_ground[g, t] += ground[g, t, u] * x_ground[g, u]
    for i in range(low, high):
        for p in range(size):
            part = damping[i] * diagonal[i, p, p] * x[i, p]
            for q in range(size):
                part += diagonal[i, p, q] * x[i, q]
            for t in range(terms):
                part += border[i, p, t] * x_ground[g, t]
                y_ground[g, t] += border[i, p, t] * x[i, p]
            y[i, p] = part
        for link in range(starts[i], starts[i + 1]):
            j, b = others[link], places[link]
            if b >= 0:
                for p in range(size):
                    part = y[i, p]
                    for q in range(size):
                        part += blocks[b, p, q] * x[j, q]
                    y[i, p] = part
            else:
                for p in range(size):
                    part = y[i, p]
                    for q in range(size):
                        part += blocks[~b, q, p] * x[j, q]
                    y[i, p] = part
        for p in range(size):
            if not free[i, p]:
                y[i, p] = 0.0
    _unite(y, tied, low, high)


@device
def _precondition(factor, ground_factor, sums, free, tied, g, low, high, r, r_ground, z, z_ground):
    size, terms = r.shape[1], r_ground.shape[1]
    for i in range(low, high):
        for p in range(size):
            z[i, p] = r[i, p] if free[i, p] and not tied[p] else 0.0
        substitute(factor[i], size, z[i])
        for p in range(size):
            if tied[p]:
                z[i, p] = r[i, p] / sums[g, p] if free[i, p] else 0.0
    for t in range(terms):
        z_ground[g, t] = r_ground[g, t]
    substitute(ground_factor[g], terms, z_ground[g])


@kernel
def solve(
    lows, groups, diagonal, blocks, starts, others, places, border, ground, damping, free, tied,
    gradient, ground_gradient, tolerance, most, factor, ground_factor, sums,
    x, x_ground, r, r_ground, z, z_ground, d, d_ground, y, y_ground,
):  # fmt: skip
    """x = A**-1 gradient for some groups, to ``tolerance`` in the norm of the preconditioner.

    Group g is the spots lows[g] <= i < lows[g + 1]; what follows ``tolerance`` is scratch but for
    x. ``most`` iterations at most.
    """
    size, terms = gradient.shape[1], ground_gradient.shape[1]
    for s in range(groups.size):
        g = groups[s]
        low, high = lows[g], lows[g + 1]
        for p in range(size):
            sums[g, p] = _TINY
        for i in range(low, high):
            for p in range(size):
                sums[g, p] += diagonal[i, p, p] * (1.0 + damping[i]) if free[i, p] else 0.0
                x[i, p] = 0.0
                r[i, p] = gradient[i, p] if free[i, p] else 0.0
                keep = free[i, p] and not tied[p]
                for q in range(p):
                    both = keep and free[i, q] and not tied[q]
                    factor[i, p, q] = diagonal[i, p, q] if both else 0.0
                factor[i, p, p] = diagonal[i, p, p] * (1.0 + damping[i]) if keep else 1.0
            factorise(factor[i], size)
        for t in range(terms):
            x_ground[g, t] = 0.0
            r_ground[g, t] = ground_gradient[g, t]
            for u in range(terms):
                ground_factor[g, t, u] = ground[g, t, u]
        factorise(ground_factor[g], terms)
        _unite(r, tied, low, high)
        _precondition(
            factor, ground_factor, sums, free, tied, g, low, high, r, r_ground, z, z_ground
        )
        for i in range(low, high):
            for p in range(size):
                d[i, p] = z[i, p]
        for t in range(terms):
            d_ground[g, t] = z_ground[g, t]
        old = _dot(r, z, r_ground, z_ground, tied, g, low, high)
        target = tolerance * tolerance * old
        for _ in range(most):
            if not old > target:
                break
            _multiply(
                diagonal, blocks, starts, others, places, border, ground, damping, free, tied,
                g, low, high, d, d_ground, y, y_ground,
            )  # fmt: skip
            curve = _dot(d, y, d_ground, y_ground, tied, g, low, high)
            if not curve > 0.0:
                break
            step = old / curve
            for i in range(low, high):
                for p in range(size):
                    x[i, p] += step * d[i, p]
                    r[i, p] -= step * y[i, p]
            for t in range(terms):
                x_ground[g, t] += step * d_ground[g, t]
                r_ground[g, t] -= step * y_ground[g, t]
            _precondition(
                factor, ground_factor, sums, free, tied, g, low, high, r, r_ground, z, z_ground
            )
            new = _dot(r, z, r_ground, z_ground, tied, g, low, high)
            ratio = new / old
            old = new
            for i in range(low, high):
                for p in range(size):
                    d[i, p] = z[i, p] + ratio * d[i, p]
            for t in range(terms):
                d_ground[g, t] = z_ground[g, t] + ratio * d_ground[g, t]


@kernel
def invert_local(
    low, high, diagonal, blocks, starts, others, places, free, most, matrix, members, out, sound
):
    """Block (p, p) of spot i of the inverse, from the system of i and ``most`` others at most.

    These are linked to i, or to those that are; spots further off are taken as known.
    """
    size = diagonal.shape[1]
    for i in range(low, high):
        count, turn, around = 0, 0, i
        while count < most and turn <= count:  # those linked to i, then those linked to them
            for link in range(starts[around], starts[around + 1]):
                j = others[link]
                new = j != i
                for c in range(count):
                    new = new and members[c] != j
                if new and count < most:
                    members[count] = j
                    count += 1
            around = members[turn]
            turn += 1
        members[count] = i
        edge = count * size
        whole = edge + size
        for a in range(whole):
            for b in range(a + 1):
                matrix[a, b] = 0.0
        for a in range(count + 1):
            j, at = members[a], a * size
            for p in range(size):
                for q in range(p + 1):
                    both = free[j, p] and free[j, q]
                    matrix[at + p, at + q] = diagonal[j, p, q] if both else 0.0
                if not free[j, p]:
                    matrix[at + p, at + p] = 1.0
            for link in range(starts[j], starts[j + 1]):
                h, b = others[link], places[link]
                for c in range(a):
                    if members[c] != h:
                        continue
                    for p in range(size):
                        for q in range(size):
                            value = blocks[b, p, q] if b >= 0 else blocks[~b, q, p]
                            both = free[j, p] and free[h, q]
                            matrix[at + p, c * size + q] = value if both else 0.0
        sound[i] = factorise(matrix, whole)
        for a in range(size):  # the inverse of the trailing factor, column by column
            for b in range(a, size):
                part = 1.0 if a == b else 0.0
                for k in range(a, b):
                    part -= matrix[edge + b, edge + k] * out[i, k, a]
                out[i, b, a] = part / matrix[edge + b, edge + b]
        for a in range(size):
            for b in range(a + 1):
                part = 0.0
                for k in range(a, size):
                    part += out[i, k, a] * out[i, k, b]
                out[i, b, a] = part
        for a in range(size):
            for b in range(a):
                out[i, a, b] = out[i, b, a]
