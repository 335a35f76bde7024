"""A sparse symmetric matrix near some spots: inverse blocks, and whether it is positive there."""

from __future__ import annotations

from .._compile import device, kernel
from .cholesky import factorise


@device
def _fill(matrix, members, count, diagonal, pairs, links, free):
    """The lower triangle of the system of the first ``count`` of ``members``."""
    size = diagonal.shape[1]
    for a in range(count * size):
        for b in range(a + 1):
            matrix[a, b] = 0.0
    for a in range(count):
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
        _fill(matrix, members, count + 1, diagonal, pairs, links, free)
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


@kernel
def is_positive_around(clusters, spots, links, pairs, system, cluster_of, matrix, members, out):
    """Whether the damped matrix of each cluster and of the spots around it is positive.

    ``spots`` (k + 1,) is where clusters begin. Around are the spots that are linked to one of the
    cluster, the closest first, as many as fit into ``members``. ``matrix`` and ``members`` are
    scratch; ``out`` has one value for each of ``clusters``.
    """
    size = system.scale.shape[1]
    for s in range(clusters.size):
        low, high = spots[clusters[s]], spots[clusters[s] + 1]
        count, rank, more = high - low, 0, True
        for i in range(low, high):
            members[i - low] = i
        while more and count < members.size:  # the closest of each spot, then the next of each
            more = False
            for i in range(low, high):
                link = links.starts[i] + rank
                if link >= links.starts[i + 1]:
                    continue
                more = True
                new = True
                for c in range(count):
                    new = new and members[c] != links.others[link]
                if new and count < members.size:
                    members[count] = links.others[link]
                    count += 1
            rank += 1
        _fill(matrix, members, count, system.diagonal, pairs, links, system.free)
        for a in range(count):
            j = members[a]
            for p in range(size):
                if system.free[j, p]:
                    damped = system.damping[cluster_of[j]] * system.scale[j, p]
                    matrix[a * size + p, a * size + p] += damped
        out[s] = factorise(matrix, 0, count * size)
