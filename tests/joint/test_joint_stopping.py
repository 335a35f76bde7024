"""When a joint fit ends, and which spots it holds before."""

from typing import NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastgauss as fg
from fastgauss.joint import stopping
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.kernels.joint.arrays import Members

TOL = 1e-6
COMPILED = pytest.mark.skipif(JIT_DISABLED, reason="images of many pixels")


class Clusters(NamedTuple):
    """What says which clusters belong to a group."""

    members: Members


def two_groups(first, second):
    """Two groups of clusters of these many spots."""
    clusters = np.concatenate([[0], np.cumsum([*first, *second])])
    groups = np.array([0, len(first), len(first) + len(second)])
    return Clusters(Members(clusters[groups], groups, clusters))


def held(crowd, steps, before=None, active=(True, True), left=6):
    steps = np.atleast_2d(np.asarray(steps, float))
    before = np.zeros(steps.shape[1], bool) if before is None else np.array(before)
    return stopping.clusters_to_hold(crowd, steps, before, np.array(active), TOL, left)


def test_only_the_farthest_cluster_of_each_group_is_held():
    crowd = two_groups([1] * 5, [1] * 5)
    steps = [1.0, 0.09, 1e-3, 0.0, 0.0, 1e-5, 0.0, 2e-3, 1.9e-4, 0.0]
    assert_array_equal(np.flatnonzero(held(crowd, steps)), [0, 7])
    assert_array_equal(np.flatnonzero(held(crowd, steps, active=(False, True))), [7])
    already = np.arange(10) == 0  # then the next one
    assert_array_equal(np.flatnonzero(held(two_groups([1] * 7, [1] * 3), steps, already)), [1])


def test_all_that_are_far_are_held_the_last_time():
    crowd = two_groups([1] * 8, [1] * 2)
    steps = np.zeros(10)
    steps[:3] = 1.0, 1e-2, 90 * TOL
    assert_array_equal(np.flatnonzero(held(crowd, steps)), [0])
    assert_array_equal(np.flatnonzero(held(crowd, steps, left=3)), [0, 1])
    steps[1:8] = 1e-2  # too many
    assert_array_equal(np.flatnonzero(held(crowd, steps, left=3)), [0])
    steps[1:8] = 0.5
    assert_array_equal(np.flatnonzero(held(crowd, steps)), [0])


def test_clusters_at_rest_are_not_held():
    crowd = two_groups([2] * 5, [2] * 5)
    assert not held(crowd, np.full(10, 90 * TOL)).any()
    assert not held(crowd, np.zeros(10)).any()


def test_many_spots_are_not_held():
    crowd = two_groups([3, 4, 1, 1, 1], [2, 8])
    assert not held(crowd, [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]).any()
    assert_array_equal(np.flatnonzero(held(crowd, [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0])), [0, 5])
    already = [False, False, True, False, False, False, False]
    assert not held(crowd, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], already).any()


def test_a_single_step_decides_nothing():
    crowd = two_groups([1] * 5, [1] * 5)
    steps = np.zeros((3, 10))
    steps[:, 0] = 1e-6, 0.5, 0.4  # damped in the last round
    steps[:, 1] = 0.9, 0.0, 0.0  # moved once
    assert_array_equal(np.flatnonzero(held(crowd, steps)), [0])


@pytest.mark.parametrize("most", [1, 2, 4, 12, 14, 50, 200])
def test_rounds_in_which_clusters_are_held_leave_some_to_the_others(most):
    left = [rounds for rounds in range(most) if stopping.may_hold(rounds, most)]
    assert all(3 <= rounds <= max(3, most // 4) for rounds in left)
    assert bool(left) == (most > 3)


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
