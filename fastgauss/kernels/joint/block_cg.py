"""Sparse symmetric systems of small blocks: conjugate gradients, preconditioned by clusters.

The unknowns are p parameters of each of n spots and, for a group of spots, c that they have in
common: terms of the background, shared parameters. In a group

    A = ( H_ii + damping diag(scale)    H_ij    B_i )
        (                                        Z  )

H_ij being there for linked pairs alone, B_i and Z the border. Parameters that are not *free*
are left out.

Conjugate gradients are preconditioned by the blocks of clusters, in which all links between
their spots are kept, and by Z (Saad 2003, Iterative Methods for Sparse Linear Systems, algorithm
9.1). They begin at 0, or *warm*: at the multiple of a given x at which x'A x / 2 - right'x is
least. Either way this number never grows, so that every solution, however early the end, leads
downhill. The order of all sums depends on the group alone.
"""

from __future__ import annotations

from .._compile import device, kernel
from ..simd.lane_types import WIDTH
from ..simd.lanes import broadcast, load, store
from ..simd.masked import lanes_within, load_some, store_some, total
from .cholesky import factorise, substitute

LEAST_DAMPING, MOST_DAMPING = 1e-10, 1e10


@device
def _fill_cluster(a, size, low, high, system, pairs, links, damping, diagonal):
    """The lower triangle of the block of spots low <= i < high, parameters that rest left out."""
    for i in range(low, high):
        at = (i - low) * size
        for p in range(size):
            free = system.free[i, p]
            for b in range(at):
                a[at + p, b] = 0.0
            for q in range(p):
                a[at + p, at + q] = diagonal[i, p, q] if free and system.free[i, q] else 0.0
            a[at + p, at + p] = diagonal[i, p, p] + damping * system.scale[i, p] if free else 1.0
        for link in range(links.starts[i], links.starts[i + 1]):
            j, b = links.others[link], links.places[link]
            if j < low or j >= i:
                continue
            to = (j - low) * size
            for p in range(size):
                for q in range(size):
                    value = pairs[b, p, q] if b >= 0 else pairs[~b, q, p]
                    both = system.free[i, p] and system.free[j, q]
                    a[at + p, to + q] = value if both else 0.0


@kernel
def factorise_clusters(
    clusters, members, links, pairs, gauss_newton, curvature, newton, system, factors
):
    """Factors of the blocks of these clusters, and the diagonal blocks that they are made of.

    A cluster takes part with its second derivatives (``newton``, (k,)) where the block is
    positive with them; that is written to ``system.diagonal``. Damping grows where a block
    is not positive without.
    """
    size = gauss_newton.shape[1]
    for s in range(clusters.size):
        c = clusters[s]
        low, high = members.cluster_spots[c], members.cluster_spots[c + 1]
        whole = (high - low) * size
        first = factors.starts[c]
        a = factors.values[first : first + whole * whole].reshape((whole, whole))
        if newton[c]:
            for i in range(low, high):
                for p in range(size):
                    for q in range(size):
                        system.diagonal[i, p, q] = gauss_newton[i, p, q] - curvature[i, p, q]
            _fill_cluster(
                a, size, low, high, system, pairs, links, system.damping[c], system.diagonal
            )
            if factorise(a, 0, whole):
                continue
            newton[c] = False
        for i in range(low, high):
            for p in range(size):
                for q in range(size):
                    system.diagonal[i, p, q] = gauss_newton[i, p, q]
        for _ in range(20):
            _fill_cluster(
                a, size, low, high, system, pairs, links, system.damping[c], system.diagonal
            )
            if factorise(a, 0, whole):
                break
            system.damping[c] = min(max(10.0 * system.damping[c], LEAST_DAMPING), MOST_DAMPING)


@device
def _dot(a, b, g, low, high):
    part = 0.0
    for i in range(low, high):
        for p in range(a.spots.shape[1]):
            part += a.spots[i, p] * b.spots[i, p]
    for t in range(a.common.shape[1]):
        part += a.common[g, t] * b.common[g, t]
    return part


@device
def _scale_add(a, x, factor, g, low, high):
    """a = a + factor x for one group."""
    for i in range(low, high):
        for p in range(a.spots.shape[1]):
            a.spots[i, p] += factor * x.spots[i, p]
    for t in range(a.common.shape[1]):
        a.common[g, t] += factor * x.common[g, t]


@device
def _add_pairs(i, pairs, flat, size, x, y, sums):
    """Of spot i and its pairs i < j: H_ji x_i into y_j, and terms of H_ij x_j into rows of sums.

    ``flat``, ``x`` and ``y`` are flat; row p of ``sums`` holds terms whose total belongs to y_i.
    """
    for p in range(size):
        store(sums, p, broadcast(0.0))
    for k in range(pairs.starts[i], pairs.starts[i + 1]):
        j = pairs.others[k] * size
        for first in range(0, size, WIDTH):
            some = lanes_within(0.0, 0, size - first)
            theirs, out = load_some(x, j + first, some), load_some(y, j + first, some)
            for p in range(size):
                row = load_some(flat, (k * size + p) * size + first, some)
                store(sums, p, load(sums, p) + row * theirs)
                out = out + row * x[i * size + p]
            store_some(y, j + first, out, some)


@device
def _multiply(g, members, pairs, blocks, system, x, y, sums):
    """y = A x for one group."""
    values, border = blocks
    size, terms = x.spots.shape[1], x.common.shape[1]
    flat, x_flat, y_flat = values.reshape(-1), x.spots.reshape(-1), y.spots.reshape(-1)
    for t in range(terms):
        y.common[g, t] = 0.0
        for u in range(terms):
            y.common[g, t] += system.common[g, t, u] * x.common[g, u]
    for i in range(members.group_spots[g], members.group_spots[g + 1]):
        for p in range(size):
            y.spots[i, p] = 0.0
    for c in range(members.group_clusters[g], members.group_clusters[g + 1]):
        damping = system.damping[c]
        for i in range(members.cluster_spots[c], members.cluster_spots[c + 1]):
            _add_pairs(i, pairs, flat, size, x_flat, y_flat, sums)
            for p in range(size):
                part = damping * system.scale[i, p] * x.spots[i, p] + total(load(sums, p))
                for q in range(size):
                    part += system.diagonal[i, p, q] * x.spots[i, q]
                for t in range(terms):
                    part += border[i, p, t] * x.common[g, t]
                    y.common[g, t] += border[i, p, t] * x.spots[i, p]
                y.spots[i, p] = y.spots[i, p] + part if system.free[i, p] else 0.0
    for t in range(terms):
        if not system.common_free[g, t]:
            y.common[g, t] = 0.0


@device
def _precondition(g, members, factors, system, r, z):
    """z = M**-1 r for one group, M the blocks of its clusters and of its common unknowns."""
    size, terms = r.spots.shape[1], r.common.shape[1]
    flat, matrices, shared = z.spots.reshape(-1), factors.common.reshape(-1), z.common.reshape(-1)
    for c in range(members.group_clusters[g], members.group_clusters[g + 1]):
        low, high = members.cluster_spots[c], members.cluster_spots[c + 1]
        for i in range(low, high):
            for p in range(size):
                z.spots[i, p] = r.spots[i, p] if system.free[i, p] else 0.0
        substitute(factors.values, factors.starts[c], (high - low) * size, flat, low * size)
    for t in range(terms):
        z.common[g, t] = r.common[g, t]
    substitute(matrices, g * terms * terms, terms, shared, g * terms)


@device
def _begin(g, members, system, factors, right, warm, x, r):
    """x and r = right for one group, without what rests; the factor of the common unknowns."""
    size, terms = right.spots.shape[1], right.common.shape[1]
    for i in range(members.group_spots[g], members.group_spots[g + 1]):
        for p in range(size):
            free = system.free[i, p]
            x.spots[i, p] = x.spots[i, p] if warm and free else 0.0
            r.spots[i, p] = right.spots[i, p] if free else 0.0
    for t in range(terms):
        free = system.common_free[g, t]
        x.common[g, t] = x.common[g, t] if warm and free else 0.0
        r.common[g, t] = right.common[g, t] if free else 0.0
        for u in range(terms):
            both = free and system.common_free[g, u]
            value = system.common[g, t, u] if both else 0.0
            factors.common[g, t, u] = value if free or t != u else 1.0
    factorise(factors.common[g], 0, terms)


@device
def _stretch(g, low, high, x, r, y):
    """The best multiple of x, given y = A x and r = right; then r is what is left."""
    work, curve = _dot(x, r, g, low, high), _dot(x, y, g, low, high)
    part = work / curve if work > 0.0 and curve > 0.0 else 0.0
    if part > 0.0:
        _scale_add(x, x, part - 1.0, g, low, high)
        _scale_add(r, y, -part, g, low, high)
        return
    for i in range(low, high):
        for p in range(x.spots.shape[1]):
            x.spots[i, p] = 0.0
    for t in range(x.common.shape[1]):
        x.common[g, t] = 0.0


@kernel
def solve(
    groups, members, pairs, blocks, system, factors, right, stop, x, scratch, sums, definite
):  # fmt: skip
    """x = A**-1 right for some groups.

    ``blocks`` are the blocks of pairs and the border, ``stop`` the tolerance in the norm of the
    preconditioner, the largest number of iterations, and whether to begin at what is in ``x``;
    ``scratch`` the fields of Scratch: plain tuples, which numba takes from Python several times as
    fast as named ones. ``sums`` is lane memory of p rows. Where A is found not to be positive,
    ``definite[g]`` becomes False and x is as good as it was before.
    """
    r, z, d, y = scratch
    tolerance, most, warm = stop
    for s in range(groups.size):
        g = groups[s]
        low, high = members.group_spots[g], members.group_spots[g + 1]
        _begin(g, members, system, factors, right, warm, x, r)
        _precondition(g, members, factors, system, r, z)
        old = _dot(r, z, g, low, high)
        target = tolerance * tolerance * old
        if warm:
            _multiply(g, members, pairs, blocks, system, x, y, sums)
            _stretch(g, low, high, x, r, y)
            _precondition(g, members, factors, system, r, z)
            old = _dot(r, z, g, low, high)
        ratio = 0.0
        for turn in range(most):
            if not old > target:
                break
            for i in range(low, high):
                for p in range(d.spots.shape[1]):
                    before = ratio * d.spots[i, p] if turn else 0.0
                    d.spots[i, p] = z.spots[i, p] + before
            for t in range(d.common.shape[1]):
                before = ratio * d.common[g, t] if turn else 0.0
                d.common[g, t] = z.common[g, t] + before
            _multiply(g, members, pairs, blocks, system, d, y, sums)
            curve = _dot(d, y, g, low, high)
            if not curve > 0.0:
                definite[g] = False
                break
            step = old / curve
            _scale_add(x, d, step, g, low, high)
            _scale_add(r, y, -step, g, low, high)
            _precondition(g, members, factors, system, r, z)
            new = _dot(r, z, g, low, high)
            ratio = new / old
            old = new


@kernel
def multiply_clusters(clusters, members, links, pairs, diagonal, damping, scale, x, products):
    """For clusters, x'Hx and x'Dx of their own blocks: (k, 2); D is damping times scale."""
    size = x.shape[1]
    for s in range(clusters.size):
        c = clusters[s]
        low, high = members.cluster_spots[c], members.cluster_spots[c + 1]
        whole, damped = 0.0, 0.0
        for i in range(low, high):
            for p in range(size):
                part = 0.0
                for q in range(size):
                    part += diagonal[i, p, q] * x[i, q]
                whole += x[i, p] * part
                damped += damping[c] * scale[i, p] * x[i, p] * x[i, p]
            for link in range(links.starts[i], links.starts[i + 1]):
                j, b = links.others[link], links.places[link]
                if j < low or j >= i:
                    continue
                for p in range(size):
                    part = 0.0
                    for q in range(size):
                        part += (pairs[b, p, q] if b >= 0 else pairs[~b, q, p]) * x[j, q]
                    whole += 2.0 * x[i, p] * part
        products[c, 0], products[c, 1] = whole, damped


@kernel
def share_columns(low, high, links, pairs, diagonal, member, shared, terms, border):
    """Columns from ``terms`` on of the border: between spots and parameters that members share."""
    size = diagonal.shape[1]
    for i in range(low, high):
        for k in range(shared.size):
            q = shared[k]
            for p in range(size):
                border[i, p, terms + k] = diagonal[i, p, q] if member[i] else 0.0
        for link in range(links.starts[i], links.starts[i + 1]):
            j, b = links.others[link], links.places[link]
            if not member[j]:
                continue
            for k in range(shared.size):
                q = shared[k]
                for p in range(size):
                    value = pairs[b, p, q] if b >= 0 else pairs[~b, q, p]
                    border[i, p, terms + k] += value
