"""Linear systems of a joint fit beside LAPACK."""

from typing import NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from tolerances import TOLERANCE

from fastgauss.kernels.joint import block_cg, local_inverses
from fastgauss.kernels.joint.arrays import Damped, Factors, Links, Members, Pairs, Vector
from fastgauss.kernels.joint.clusters import unite
from fastgauss.kernels.simd.lanes import lane_rows

P, T = 3, 2  # parameters of a spot, unknowns that a group has in common


class System(NamedTuple):
    """Two groups of random blocks as the kernels take them."""

    members: Members
    ends: Pairs
    links: Links
    diagonal: np.ndarray
    pairs: np.ndarray
    border: np.ndarray
    common: np.ndarray
    free: np.ndarray


def system(n=6, seed=0, reach=5, free=None, cluster=2):
    """Two groups of n spots, in clusters of so many."""
    rng = np.random.default_rng(seed)
    pixels = 60
    columns = rng.normal(size=(2 * n, pixels, P)) * rng.uniform(0.1, 10, P)
    backgrounds = rng.normal(size=(2, pixels, T))
    group_of = np.repeat([0, 1], n)
    pairs = [
        (i, j) for i in range(2 * n) for j in range(i + 1, 2 * n)
        if group_of[i] == group_of[j] and j - i <= reach
    ]  # fmt: skip
    starts, others, places = [0], [], []
    for i in range(2 * n):
        links = [(abs(a - b), b if a == i else a, k if a == i else ~k)
                 for k, (a, b) in enumerate(pairs) if i in (a, b)]  # fmt: skip
        for _, other, place in sorted(links):
            others.append(other)
            places.append(place)
        starts.append(len(others))
    lows = sorted({*range(0, n, cluster), *range(n, 2 * n, cluster), 2 * n})
    group_spots = np.array([0, n, 2 * n])
    return System(
        Members(group_spots, np.searchsorted(lows, group_spots), np.array(lows)),
        Pairs(
            np.searchsorted([i for i, _ in pairs], np.arange(2 * n + 1)),
            np.array([j for _, j in pairs], np.intp),
        ),
        Links(np.array(starts), np.array(others, np.intp), np.array(places, np.intp)),
        np.einsum("nap,naq->npq", columns, columns),
        np.array([columns[i].T @ columns[j] for i, j in pairs]).reshape(-1, P, P),
        np.einsum("nap,nat->npt", columns, backgrounds[group_of]),
        np.einsum("nat,nau->ntu", backgrounds, backgrounds),
        np.ones((2 * n, P), bool) if free is None else free,
    )


def dense(made, damping):
    """The matrix of each group over all its unknowns, nothing left out; damping by spot."""
    whole, links = [], made.links
    for g in range(2):
        low, high = made.members.group_spots[g : g + 2]
        n = high - low
        a = np.zeros((n * P + T, n * P + T))
        for k, i in enumerate(range(low, high)):
            rows = slice(k * P, k * P + P)
            block = made.diagonal[i]
            a[rows, rows] = block + damping[i] * np.diag(np.diag(block))
            a[rows, n * P :], a[n * P :, rows] = made.border[i], made.border[i].T
            for link in range(links.starts[i], links.starts[i + 1]):
                j, b = links.others[link] - low, links.places[link]
                a[rows, j * P : j * P + P] = made.pairs[b] if b >= 0 else made.pairs[~b].T
        a[n * P :, n * P :] = made.common[g]
        whole.append(a)
    return whole


def solved(made, right, damping, curvature=None, common_free=None, most=500, begin=None):
    """The solution, which groups are found positive, and clusters that keep their curvature.

    ``begin`` is where the conjugate gradients begin, 0 without.
    """
    members, n = made.members, len(made.diagonal)
    clusters = len(members.cluster_spots) - 1
    scale = np.einsum("npp->np", made.diagonal).copy()
    common_free = np.ones((2, T), bool) if common_free is None else common_free
    damped = Damped(
        np.zeros_like(made.diagonal), damping.copy(), scale, made.free, made.common.copy(),
        common_free,
    )  # fmt: skip
    whole = np.diff(members.cluster_spots) * P
    starts = np.concatenate([[0], np.cumsum(whole**2)])
    factors = Factors(starts, np.zeros(starts[-1]), np.zeros((2, T, T)))
    newton = np.full(clusters, curvature is not None)
    curved = np.zeros_like(made.diagonal) if curvature is None else curvature
    block_cg.factorise_clusters(
        np.arange(clusters), members, made.links, made.pairs, made.diagonal, curved, newton, damped,
        factors,
    )  # fmt: skip
    x, *vectors = (Vector(np.zeros((n, P)), np.zeros((2, T))) for _ in range(5))
    if begin is not None:
        x.spots[:], x.common[:] = begin
    definite = np.ones(2, np.bool_)
    block_cg.solve(
        np.arange(2), members, made.ends, (made.pairs, made.border), damped, factors, right,
        (1e-12, most, begin is not None), x, tuple(vectors), lane_rows(P), definite,
    )  # fmt: skip
    return x, definite, newton


def some_right(n, seed=1):
    rng = np.random.default_rng(seed)
    return Vector(rng.normal(size=(2 * n, P)), rng.normal(size=(2, T)))


def by_spot(made, damping):
    return np.repeat(damping, np.diff(made.members.cluster_spots))


@pytest.mark.parametrize("cluster", [1, 3, 8])
@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("n", [1, 6])
def test_conjugate_gradients_solve_what_lapack_solves(n, held, cluster):
    rng = np.random.default_rng(1)
    free = rng.random((2 * n, P)) < 0.7 if held else None
    made, right = system(n, free=free, cluster=cluster), some_right(n)
    common_free = np.array([[True, True], [not held, True]])
    damping = rng.uniform(0, 0.2, len(made.members.cluster_spots) - 1)
    x, definite, _ = solved(made, right, damping, common_free=common_free)
    assert definite.all()
    for g, a in enumerate(dense(made, by_spot(made, damping))):
        rows = slice(*made.members.group_spots[g : g + 2])
        keep = np.append(made.free[rows].ravel(), common_free[g])
        both = np.append(right.spots[rows].ravel(), right.common[g])
        expected = np.zeros(len(both))
        expected[keep] = np.linalg.solve(a[np.ix_(keep, keep)], both[keep])
        found = np.append(x.spots[rows].ravel(), x.common[g])
        assert_allclose(found, expected, atol=TOLERANCE["joint step"] * 1e-6 * abs(expected).max())


def test_a_warm_start_ends_at_the_same_solution_and_never_above_zero():
    made, right = system(n=6), some_right(6)
    x, _, _ = solved(made, right, np.zeros(6))
    rng = np.random.default_rng(6)
    a = dense(made, np.zeros(12))

    def objective(x, g):
        rows = slice(*made.members.group_spots[g : g + 2])
        v, b = (np.append(y.spots[rows].ravel(), y.common[g]) for y in (x, right))
        return 0.5 * v @ a[g] @ v - b @ v

    for begin in (
        (1.1 * x.spots, 0.9 * x.common), (x.spots + rng.normal(size=x.spots.shape), x.common),
        (-x.spots, -x.common), (np.full_like(x.spots, np.nan), x.common),
    ):  # fmt: skip
        y, definite, _ = solved(made, right, np.zeros(6), begin=begin)
        assert definite.all()
        for found, expected in zip(y, x, strict=True):
            assert_allclose(found, expected, rtol=1e-6, atol=1e-8 * abs(expected).max())
        at_once, _, _ = solved(made, right, np.zeros(6), begin=begin, most=0)
        assert all(objective(at_once, g) <= 0.0 for g in (0, 1))


def test_second_derivatives_are_used_where_a_cluster_stays_positive_with_them():
    made, right = system(cluster=3), some_right(6)
    curvature = np.zeros_like(made.diagonal)
    curvature[:3] = 0.2 * made.diagonal[:3]
    curvature[9:] = 5.0 * made.diagonal[9:]  # more than there is
    x, _, newton = solved(made, right, np.zeros(4), curvature)
    assert_array_equal(newton, [True, True, True, False])
    curvature[9:] = 0.0
    known = made._replace(diagonal=made.diagonal - curvature)
    expected, _, _ = solved(known, right, np.zeros(4))
    assert_allclose(x.spots, expected.spots, rtol=1e-7, atol=1e-10)


def test_a_matrix_that_is_not_positive_is_told():
    made, right = system(cluster=1), some_right(6)
    rotated = made._replace(pairs=3.0 * made.pairs)
    _, definite, _ = solved(rotated, right, np.zeros(12))
    assert not definite.all()


def test_shared_parameters_are_columns_of_the_border():
    made, rng = system(n=5), np.random.default_rng(2)
    member = rng.random(10) < 0.7
    shared = np.array([1])
    border = np.concatenate([made.border, np.zeros((10, P, 1))], axis=2)
    block_cg.share_columns(0, 10, made.links, made.pairs, made.diagonal, member, shared, T, border)
    for g, a in enumerate(dense(made, np.zeros(10))):
        rows = slice(*made.members.group_spots[g : g + 2])
        spread = np.zeros(len(a))
        spread[1 : 5 * P : P] = member[rows]
        assert_allclose(border[rows, :, T].ravel(), (a @ spread)[: 5 * P], rtol=1e-12, atol=1e-12)


def test_a_group_does_not_see_the_other():
    made, right = system(), some_right(6, 3)
    x, _, _ = solved(made, right, np.zeros(6))
    right.spots[6:], right.common[1] = 0.0, 0.0
    y, _, _ = solved(made, right, np.zeros(6))
    assert_array_equal(x.spots[:6], y.spots[:6])
    assert not y.spots[6:].any() and not y.common[1].any()


def test_products_of_clusters_are_those_of_their_blocks():
    made, x = system(cluster=3), np.random.default_rng(5).normal(size=(12, P))
    damping, scale = np.linspace(0.1, 0.4, 4), np.abs(x) + 1.0
    products = np.zeros((4, 2))
    block_cg.multiply_clusters(
        np.arange(4),
        made.members,
        made.links,
        made.pairs,
        made.diagonal,
        damping,
        scale,
        x,
        products,
    )
    for c in range(4):
        rows = slice(3 * c, 3 * c + 3)
        low = 3 * (c % 2) * P
        a = dense(made, np.zeros(12))[c // 2][low : low + 3 * P, low : low + 3 * P]
        v = x[rows].ravel()
        assert_allclose(products[c, 0], v @ a @ v, rtol=1e-12)
        assert_allclose(products[c, 1], damping[c] * (scale[rows] * x[rows] ** 2).sum(), rtol=1e-12)


def inverted(made, most=11, near=None):
    """Blocks of the inverse, and which are sound; spots of a system by these links or by all."""
    n = len(made.diagonal)
    out, sound = np.empty((n, P, P)), np.empty(n, np.bool_)
    local_inverses.invert_local(
        0, n, made.diagonal, made.pairs, made.links, near or made.links, made.free,
        np.full(n, most), np.empty(((most + 1) * P,) * 2), np.empty(most + 1, np.int64), out,
        sound,
    )  # fmt: skip
    return out, sound


@pytest.mark.parametrize("held", [False, True])
def test_blocks_of_the_inverse_in_small_groups_are_lapacks(held):
    free = np.random.default_rng(4).random((12, P)) < 0.7 if held else None
    made, n = system(free=free), 6
    out, sound = inverted(made)
    assert sound.all()
    for g, whole in enumerate(dense(made, np.zeros(12))):
        a = whole[: n * P, : n * P]
        low = made.members.group_spots[g]
        keep = made.free[low : low + n].ravel()
        a[~keep], a[:, ~keep] = 0.0, 0.0
        a[~keep, ~keep] = 1.0
        inverse = np.linalg.inv(a)
        for k in range(n):
            own = np.arange(k * P, k * P + P)
            block = inverse[np.ix_(own, own)]
            scale = np.sqrt(np.diag(block))
            atol = TOLERANCE["joint covariance"]
            assert_allclose(
                out[low + k] / np.outer(scale, scale), block / np.outer(scale, scale), atol=atol
            )


def test_all_links_take_part_between_spots_that_a_few_of_them_bring_together():
    made = system()
    chain, links = system(reach=1).links, system().links
    assert len(chain.others) < len(links.others)
    for most, expected in ((11, inverted(made)), (5, inverted(made, most=5))):
        out, sound = inverted(made, most, near=chain)
        assert sound.all()
        assert_allclose(out, expected[0], rtol=1e-9)


def test_a_spot_that_no_pixel_sees_is_not_sound_and_the_others_are():
    made = system()
    made.diagonal[0], made.border[0] = 0.0, 0.0
    made.pairs[made.links.places[: made.links.starts[1]]] = 0.0
    _, sound = inverted(made)
    assert not sound[0] and sound[1:].all()


def test_two_spots_that_are_one_have_no_errors_and_the_others_those_beside_one():
    made = system()
    links, n = made.links, 6
    place = {}
    for i in range(n):
        for link in range(links.starts[i], links.starts[i + 1]):
            place[i, int(links.others[link])] = int(links.places[link])

    def block(i, j):
        b = place[i, j]
        return made.pairs[b] if b >= 0 else made.pairs[~b].T

    made.diagonal[1] = made.diagonal[0]  # spot 1 has the columns of spot 0
    for j in range(2, n):
        made.pairs[place[1, j]] = block(0, j)
    made.pairs[place[0, 1]] = made.diagonal[0]
    out, sound = inverted(made)
    assert_array_equal(sound[:n], [False, False, True, True, True, True])
    a = dense(made, np.zeros(12))[0][P : n * P, P : n * P]  # without spot 0
    inverse = np.linalg.inv(a)
    for k in range(2, n):
        own = np.arange((k - 1) * P, k * P)
        assert_allclose(out[k], inverse[np.ix_(own, own)], rtol=1e-6)


def test_clusters_are_united_in_order_and_stay_small():
    pairs = np.array([[0, 1], [2, 3], [1, 2], [4, 5], [0, 4]])
    label = np.arange(7)
    unite(pairs, 4, label, np.ones(7, np.intp))
    assert_array_equal(label, [0, 0, 0, 0, 4, 4, 6])


@pytest.mark.parametrize("room", [2, 4, 12])
def test_a_cluster_is_as_positive_as_the_matrix_of_it_and_of_the_spots_around_it(room):
    rng = np.random.default_rng(8)
    free = rng.random((12, P)) < 0.8
    made, damping = system(reach=2, free=free), rng.uniform(0, 1e-3, 6)
    scale = np.einsum("npp->np", made.diagonal).copy()
    made.diagonal[:] -= np.where(np.arange(12) % 6 < 1, 0.98, 0.1)[:, None, None] * made.diagonal
    damped = Damped(made.diagonal, damping, scale, made.free, made.common, np.ones((2, T), bool))
    spots, cluster_of = made.members.cluster_spots, by_spot(made, np.arange(6))
    out, clusters = np.ones(5, np.bool_), np.arange(5)
    local_inverses.is_positive_around(
        clusters, spots, made.links, made.pairs, damped, cluster_of,
        np.full((room * P, room * P), np.nan), np.empty(room, np.int64), out,
    )  # fmt: skip
    expected = []
    for c in clusters:
        low = 6 * (c // 3)  # the first spot of the group; clusters have two spots
        own = [spots[c], spots[c] + 1]
        ranks = [made.links.others[made.links.starts[i] : made.links.starts[i + 1]] for i in own]
        for rank in range(max(map(len, ranks))):
            own += [r[rank] for r in ranks if rank < len(r) and r[rank] not in own]
        own = np.array(list(dict.fromkeys(own))[:room])
        a = dense(made, np.zeros(12))[c // 3][: 6 * P, : 6 * P]
        a += np.diag((damping[cluster_of[low : low + 6], None] * scale[low : low + 6]).ravel())
        rows = (P * (own - low)[:, None] + np.arange(P))[made.free[own]]
        expected.append(np.linalg.eigvalsh(a[np.ix_(rows, rows)])[0] > 0)
    assert_array_equal(out, expected)
    assert out.any() and not out.all()
