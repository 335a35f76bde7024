"""When a joint fit ends, and which spots it holds before."""

from typing import NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastgauss as fg
from fastgauss.joint import stopping
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.kernels.joint.arrays import Members, Pairs

TOL = 1e-6
COMPILED = pytest.mark.skipif(JIT_DISABLED, reason="images of many pixels")


class Clusters(NamedTuple):
    """What says which clusters belong to a group, and which spots overlap."""

    members: Members
    group_of: np.ndarray
    cluster_of: np.ndarray
    cluster_groups: np.ndarray
    pairs: Pairs


def two_groups(first, second, pairs=()):
    """Two groups of clusters of these many spots; the spots of these pairs i < j overlap."""
    sizes = np.array([*first, *second])
    clusters = np.concatenate([[0], np.cumsum(sizes)])
    groups = np.array([0, len(first), len(first) + len(second)])
    cluster_of = np.repeat(np.arange(len(sizes)), sizes)
    cluster_groups = np.repeat([0, 1], [len(first), len(second)])
    pairs = np.array(sorted(pairs), int).reshape(-1, 2)
    starts = np.searchsorted(pairs[:, 0], np.arange(len(cluster_of) + 1))
    members = Members(clusters[groups], groups, clusters)
    ends = Pairs(starts, pairs[:, 1])
    return Clusters(members, cluster_groups[cluster_of], cluster_of, cluster_groups, ends)


def held(crowd, lengths, own=None, before=(), active=(True, True), left=6):
    """The spots that are held, where these are the lengths of the last steps of clusters."""
    steps = np.atleast_2d(np.asarray(lengths, float))
    steps = np.concatenate([steps, steps[-1:], steps[-1:]])
    own = steps[0][crowd.cluster_of] if own is None else np.array(own)
    mask = np.isin(np.arange(len(own)), before)
    away = stopping.spots_to_hold(crowd, steps, own, mask, np.array(active), TOL, left)
    return np.flatnonzero(away).tolist()


def test_clusters_that_move_more_than_their_neighbours_are_held_first():
    crowd = two_groups([1] * 10, [1] * 5, [(0, 1), (1, 2), (4, 5), (11, 12)])
    steps = [1.0, 0.9, 0.5, 0.0, 0.3, 0.4, 0.0, 0.09, 0.0, 0.0, 0.0, 1e-3, 2e-3, 1e-5, 0.0]
    assert held(crowd, steps) == [0, 5, 12]
    assert held(crowd, steps, active=(False, True)) == [12]
    assert held(crowd, steps, before=[0], active=(True, False)) == [5]


def test_steps_are_as_exact_as_the_fit_must_be():
    assert stopping.precision(1e-6, False) == 1e-3 < stopping.precision(3e-2, False)
    assert stopping.precision(1e-6, True) > stopping.precision(0.5, False) == 1e-2


def test_all_that_are_far_are_held_the_last_time():
    crowd = two_groups([1] * 10, [1] * 2, [(0, 1), (1, 2)])
    steps = np.zeros(12)
    steps[:4] = 1.0, 0.9, 1e-3, 90 * TOL
    assert held(crowd, steps) == [0]
    assert held(crowd, steps, left=4) == [0, 1, 2]


def test_the_farthest_are_held_where_too_many_are_far():
    crowd = two_groups([1] * 10, [1] * 2)
    steps = np.append(np.linspace(0.5, 1.0, 10), [0.0, 0.0])
    assert held(crowd, steps) == [5, 6, 7, 8, 9]
    assert held(crowd, steps, before=[0, 3]) == [7, 8, 9]
    assert held(crowd, steps, before=[0, 3, 4, 5, 6]) == []
    assert held(two_groups([1], [1]), [1.0, 1.0]) == []  # half of it is no spot


def test_of_a_cluster_the_spots_that_move_most_are_held():
    crowd = two_groups([4, 1, 1, 1, 1], [2])
    steps = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    own = [0.1, 4.0, 3.0, 0.9, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert held(crowd, steps, own) == [1, 2]


def test_clusters_that_come_to_rest_are_not_held():
    crowd = two_groups([2] * 5, [2] * 5)
    assert not held(crowd, np.full(10, 90 * TOL))
    assert not held(crowd, np.zeros(10))
    steps = np.zeros((2, 10))
    steps[:, 0] = 1e-3, 0.5  # shrinks fast
    steps[:, 6] = 1e-3, 5e-3
    assert held(crowd, steps) == [12, 13]


def test_clusters_of_which_all_spots_are_held():
    crowd = two_groups([1, 2], [3])
    spots = np.array([True, True, False, True, True, True])
    assert_array_equal(stopping.whole_clusters(crowd, spots), [True, False, True])


@pytest.mark.parametrize("most", [1, 2, 4, 12, 14, 50, 200, 400])
def test_rounds_in_which_clusters_are_held_leave_some_to_the_others(most):
    left = [rounds for rounds in range(most) if stopping.may_hold(rounds, most)]
    assert all(4 <= rounds <= max(4, min(most // 2, 100)) for rounds in left)
    assert bool(left) == (most > 4)


def follow(rest, clusters, common=(0.0, 0.0), damping=1e-9, active=(True, True), rounds=1):
    """Rounds of three clusters, two in the first of two groups, with steps of these lengths."""
    lengths = stopping.Lengths(np.array(clusters), np.array(common), np.zeros(3))
    for _ in range(rounds):
        rest.follow(
            lengths, np.broadcast_to(damping, 3), np.zeros(3, bool), np.array(active),
            np.array([0, 0, 1]),
        )  # fmt: skip
    return rest


def test_clusters_are_quiet_after_six_short_steps():
    rest = follow(stopping.Rest(3, 2, TOL), [9e-4, 2e-3, 0.0], (9e-4, 2e-3), rounds=5)
    assert not rest.quiet[:2].any() and not rest.common_quiet.any()
    follow(rest, [9e-4, 2e-3, 0.0], (9e-4, 2e-3))
    assert_array_equal(rest.quiet, [True, False, True])
    assert_array_equal(rest.near, [False, False, True])
    assert_array_equal(rest.common_quiet, [True, False])
    follow(rest, [2e-3, 9e-4, 1.0], active=(True, False))
    assert_array_equal(rest.quiet, [False, False, True])  # the second group is done
    assert_array_equal(rest.near, [False, False, True])


def test_damped_clusters_are_not_quiet():
    rest = follow(stopping.Rest(3, 2, TOL), [9e-4] * 3, damping=[1.0, 1e-4, 1e-6], rounds=9)
    assert_array_equal(rest.quiet, [False, False, True])
    follow(rest, [9e-4] * 3, damping=[1.0, 1e-6, 1.0])
    assert_array_equal(rest.quiet, [False, True, True])


def crowded(seed, noise, count=49, side=42):
    """An image of so many spots at random places, where they start, and the places."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(4, side - 5, (count, 2))
    image = fg.render((side, side), places, rng.uniform(100, 300, count), 1.3, tol=1e-9) + 20.0
    return image + noise * rng.normal(size=image.shape), places + rng.normal(0, 0.3, places.shape)


def slopes(image, result, start):
    """The slopes of half the sum of squares in standard errors: 0 at a minimum."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    a, cx, cy, s, _ = result.params.T[:, :, None, None]
    dx, dy = x - cx, y - cy
    light = np.exp(-0.5 * (dx**2 + dy**2) / s**2)
    columns = np.stack([light, a * light * dx / s**2, a * light * dy / s**2,
                        a * light * (dx**2 + dy**2) / s**3], 1)  # fmt: skip
    residual = image - result.params[0, -1] - (a * light).sum(axis=0)
    inside = np.zeros(image.shape, bool)
    for row, column in np.rint(start).astype(int):
        inside[max(row - 5, 0) : row + 6, max(column - 5, 0) : column + 6] = True
    residual[~inside] = 0.0
    scale = np.sqrt((columns**2)[..., inside].sum(axis=-1))
    return (columns * residual).sum(axis=(2, 3)) / np.where(scale > 0, scale, np.inf)


@COMPILED
@pytest.mark.parametrize(("noise", "side"), [(0.0, 42), (1.0, 46)])
def test_few_spots_of_a_dense_image_are_left_and_the_others_are_at_a_minimum(noise, side):
    left = []
    for seed in (2, 4, 6):
        image, start = crowded(seed, noise, side=side)
        result = fg.fit_joint(image, start, background="constant")
        left.append(result.status == fg.Status.MAX_ITERATIONS)
        sigma = np.sqrt(result.objective.sum() / result.pixels.sum())
        converged = result.status == fg.Status.CONVERGED
        assert np.abs(slopes(image, result, start)[converged]).max(initial=0.0) < 0.1 * sigma + 0.01
    assert np.mean(left) < 0.2


@COMPILED
@pytest.mark.parametrize("level", [0.0, 1e6, 1e8])
def test_a_high_background_hinders_no_spot_from_rest(level):
    image, start = crowded(1, 1.0, count=30, side=70)
    plain = fg.fit_joint(image, start)
    result = fg.fit_joint(image + level, start)
    assert_array_equal(result.status, plain.status)
    assert result.converged.sum() >= 28
    assert np.abs((result.x - plain.x) / plain.errors[:, 1])[plain.converged].max() < 1e-3


def close_pairs(count, side, seed):
    """Images (t, y, x) without noise of two spots 0.3 to 0.5 pixels apart, and where they begin."""
    rng = np.random.default_rng(seed)
    first = side / 2 - 0.5 + rng.uniform(-0.5, 0.5, (count, 2))
    angle, apart = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.3, 0.5, count)
    away = apart[:, np.newaxis] * np.column_stack([np.cos(angle), np.sin(angle)])
    places = np.stack([first, first + away], axis=1)
    heights = rng.uniform(200, 600, (count, 2))
    images = [
        20.0 + fg.render((side, side), place, height, sigma=1.3, tol=1e-14)
        for place, height in zip(places, heights, strict=True)
    ]
    return np.stack(images), places + rng.normal(0, 0.1, places.shape)


@COMPILED
def test_close_pairs_without_noise_come_to_rest_at_the_truth():
    count, side = 12, 15
    images, start = close_pairs(count, side, 1)
    frames = np.repeat(np.arange(count), 2)
    result = fg.fit_joint(
        images, start.reshape(-1, 2), "elliptic", frames=frames, background="constant", max_iter=150
    )
    assert (result.status == fg.Status.CONVERGED).all()
    assert_allclose(result.params[:, 3:5], 1.3, rtol=1e-8)
    assert (result.objective / result.pixels).max() < 1e-12


@COMPILED
def test_a_close_pair_without_noise_does_not_keep_the_others_from_rest():
    rng, side = np.random.default_rng(1), 96
    places = rng.uniform(3, side - 4, (184, 2))
    image = 20.0 + fg.render((side, side), places, rng.uniform(200, 600, 184), sigma=1.3, tol=1e-14)
    start = places + np.random.default_rng(6).normal(0, 0.2, places.shape)
    result = fg.fit_joint(image, start, "elliptic", background="constant", max_iter=200)
    assert np.mean(result.converged) > 0.9
    away = np.hypot(result.y - places[:, 0], result.x - places[:, 1])
    assert np.median(away) < 1e-7


@COMPILED
def test_clusters_that_are_not_at_a_minimum_do_not_take_second_derivatives_from_the_others():
    rng, side = np.random.default_rng(2), 90
    places, heights = rng.uniform(3, side - 4, (405, 2)), rng.uniform(200, 600, 405)
    image = 20.0 + fg.render((side, side), places, heights, sigma=1.3, tol=1e-14)
    start = places + np.random.default_rng(7).normal(0, 0.2, places.shape)
    result = fg.fit_joint(image, start, background="constant", max_iter=200)
    assert np.mean(result.status == fg.Status.MAX_ITERATIONS) < 0.03  # 0.077 as it was


@COMPILED
@pytest.mark.parametrize(("model", "method"), [("symmetric", "lsq"), ("elliptic", "mle")])
def test_dense_noisy_images_come_to_rest_and_stay_there(model, method):
    rng, side = np.random.default_rng(3), 40
    places, heights = rng.uniform(3, side - 4, (80, 2)), rng.uniform(200, 600, 80)
    image = rng.poisson(20.0 + fg.render((side, side), places, heights, sigma=1.3)).astype(float)
    start = places + rng.normal(0, 0.2, places.shape)
    options = {"model": model, "method": method, "background": "constant", "max_iter": 400}
    result = fg.fit_joint(image, start, **options)
    assert not (result.status == fg.Status.MAX_ITERATIONS).any()
    again = fg.fit_joint(image, start, **options, guess=result.params)
    converged = result.status == fg.Status.CONVERGED
    moved = np.abs(again.params - result.params)[converged] / result.errors[converged]
    assert converged.sum() > 55 and moved.max() < 0.03
