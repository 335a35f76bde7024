"""Dips between maxima: spots in rows and grids are spots, maxima along a line are none."""

from __future__ import annotations

import naive_dips
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.spatial import cKDTree

import fastgauss as fg
from fastgauss.find import dips
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.kernels.find import pairs as kernels

compiled = pytest.mark.skipif(JIT_DISABLED, reason="large images")
BACKGROUND = 40.0
LINE = np.arange(5.0) - 2.0
GRID = np.stack(np.meshgrid([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]), -1).reshape(-1, 2)


def row(number):
    return np.stack([np.zeros(number), LINE[:number]], axis=1)


def bent(degrees):
    turn = np.radians(180.0 - degrees)
    return np.array([[0.0, 0.0], [0.0, 1.0], [np.sin(turn), np.cos(turn)]])


def scene(rng, pattern, heights, distance, signal, sigma):
    """Places and an image of 16 patterns at random angles, far from each other."""
    step = int(36 * sigma)
    middles = step * (np.stack(np.meshgrid(*[np.arange(4)] * 2), -1).reshape(-1, 2) + 0.5)
    places = []
    for middle in middles + rng.uniform(-0.5, 0.5, (16, 2)):
        c, s = np.cos(turn := rng.uniform(0, np.pi / 2)), np.sin(turn)
        places.append(middle + distance * sigma * pattern @ np.array([[c, s], [-s, c]]))
    amplitude = signal * np.sqrt(BACKGROUND / np.pi) / sigma * np.tile(heights, 16)
    places = np.concatenate(places)
    light = fg.render((4 * step, 4 * step), places, amplitude, sigma=sigma)
    return places, rng.poisson(BACKGROUND + light)


@compiled
@pytest.mark.parametrize("sigma", [1.3, 2.5])
@pytest.mark.parametrize(
    ("pattern", "heights"),
    [(row(3), [1, 1, 1]), (row(4), [1] * 4), (GRID, [1] * 9), (row(3), [1, 2, 1]),
     (bent(15), [1] * 3), (bent(30), [1] * 3)],
    ids=["three", "four", "grid", "unequal", "bent by 15", "bent by 30"],
)  # fmt: skip
def test_spots_in_a_row_are_spots(pattern, heights, sigma):
    every = found = 0
    for distance, signal in ((4.0, 15.0), (4.0, 30.0), (5.0, 8.0)):
        places, image = scene(np.random.default_rng(7), pattern, heights, distance, signal, sigma)
        tree = cKDTree(fg.find_spots(image, sigma, shape_level=0))
        there = tree.query(places)[0] < 1.3 * sigma
        tree = cKDTree(fg.find_spots(image, sigma))
        every += np.count_nonzero(there)
        found += np.count_nonzero(there & (tree.query(places)[0] < 1.3 * sigma))
    assert found >= 0.97 * every > 0.9 * 3 * len(places)


@compiled
def test_maxima_along_noisy_lines_are_not_apart():
    number = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:320, :320].astype(float)
        light = np.zeros_like(x)
        for place in np.arange(20.0, 320.0, 40.0):
            across = y - place - rng.uniform(-0.2, 0.2) * x
            light += rng.uniform(20, 200) * np.exp(-0.5 * (across / 1.3) ** 2) * (x % 80 < 50)
        number += len(fg.find_spots(rng.poisson(BACKGROUND + light), 1.3))
    assert number <= 95  # at 320 ends; 82 without dips


@pytest.mark.parametrize("sigmas", [(0.0, 0.0, 1.5), (1.3, 0.0, 1.3), (1.0, 1.2, 1.1)])
def test_dips_equal_naive(sigmas):
    rng = np.random.default_rng(3)
    shape = tuple({1: 300, 2: 60, 3: 24}[np.count_nonzero(sigmas)] if s else 1 for s in sigmas)
    volume = rng.normal(10.0, 1.0, shape)
    edge = np.where(np.array(sigmas) > 0, 4, 0)
    points = rng.integers(edge, np.array(shape) - edge, (60, 3))
    points = np.unique(points, axis=0)
    count = len(points)
    volume[tuple(points[::2].T)] += 20.0
    volume = volume.astype("f4")
    chosen = rng.uniform(size=count) < 0.5
    pairs = dips.neighbours(points.astype(float), chosen, sigmas)
    unit = np.array([1 / s if s else 0.0 for s in sigmas])
    assert_array_equal(pairs, naive_dips.neighbours(points, chosen, unit, dips._BESIDE))
    assert len(pairs) > 10
    few = np.empty((3, 2), np.int64)
    reach = dips._BESIDE * sigmas[0]
    number = kernels.neighbours(points.astype(float), chosen, unit, dips._BESIDE, reach, few)
    assert number == len(pairs)
    assert_array_equal(few, pairs[:3])
    for scale in (0.1, 1.0):
        known = (
            scale * rng.uniform(0.5, 1.5, count),
            rng.uniform(0, 0.1, count),
            np.full(count, 9.0),
        )
        depth = naive_dips.depths(volume, points, pairs, *known, sigmas, dips._NARROW)
        limits = dips._LEAST, dips._ENOUGH, dips._MOST
        theirs = naive_dips.are_deep(depth, pairs, count, *limits)
        ours = dips.are_apart(volume, points, pairs, *known, sigmas, 1)
        assert_array_equal(ours, theirs)
        if scale == 0.1:
            assert 0 < np.count_nonzero(ours) < count


def test_points_without_neighbours_are_not_apart():
    points = np.array([[5, 0, 5], [5, 0, 90]])
    pairs = dips.neighbours(points.astype(float), np.ones(2, bool), (1.3, 0.0, 1.3))
    assert pairs.shape == (0, 2)
    one = np.ones(2)
    volume = np.zeros((10, 1, 100), "f4")
    assert not dips.are_apart(volume, points, pairs, one, one, one, (1.3, 0.0, 1.3), 1).any()


@compiled
def test_a_row_without_noise_is_spots():
    places = np.array([[40.3, 40.1], [40.3, 45.3], [40.3, 50.5]])
    image = fg.render((80, 90), places, 50.0, sigma=1.3)
    assert len(fg.find_spots(image, 1.3, threshold=10.0)) == 3
