"""Blocks of the inverse of a sparse symmetric matrix, from a spot and the few around it."""

from __future__ import annotations

from .._compile import kernel
from .cholesky import factorise


@kernel
def invert_local(
    low, high, diagonal, pairs, links, near, free, most, matrix, members, out, sound
):  # fmt: skip
    """Block (p, p) of spot i of the inverse, from the system of i and others, ``most[i]`` at most.

    The others are spots that ``near`` links to i, then spots that it links to these; all ``links``
    between them take part. Spots further away are taken as known; so are parameters of the others
    that the system does not determine. ``sound`` tells whether the system determines the parameters
    of spot i. ``matrix`` and ``members`` are scratch.
    """
    size = diagonal.shape[1]
    for i in range(low, high):
        count, turn, around = 0, 0, i
        while count < most[i] and turn <= count:  # those linked to i, then those linked to them
            for link in range(near.starts[around], near.starts[around + 1]):
                j = near.others[link]
                new = j != i
                for c in range(count):
                    new = new and members[c] != j
                if new and count < most[i]:
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
            for link in range(links.starts[j], links.starts[j + 1]):
                h, b = links.others[link], links.places[link]
                for c in range(a):
                    if members[c] != h:
                        continue
                    for p in range(size):
                        for q in range(size):
                            value = pairs[b, p, q] if b >= 0 else pairs[~b, q, p]
                            both = free[j, p] and free[h, q]
                            matrix[at + p, c * size + q] = value if both else 0.0
        sound[i] = factorise(matrix, edge, whole)
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
