"""How far the response falls around maxima: edges and ends of lines are no spots."""

from __future__ import annotations

import naive_falls
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

import fastgauss as fg
from fastgauss.find import falls
from fastgauss.find.lines import Peaks, rows_with_arms
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.kernels.find import falls as kernels

compiled = pytest.mark.skipif(JIT_DISABLED, reason="large images")
SIDE = 320
Y, X = np.mgrid[:SIDE, :SIDE].astype(float)
TRUTH = np.stack(np.meshgrid(*[np.arange(20.0, SIDE - 15, 40.0)] * 2, indexing="ij"), -1)
TRUTH = TRUTH.reshape(-1, 2)


def along(rng, row, column):
    """Coordinates along and across a line from a place in some direction."""
    turn = rng.uniform(0, 2 * np.pi)
    x, y = X - column, Y - row
    return x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)


def discs(rng):
    light = np.zeros_like(X)
    for row, column, radius in rng.uniform([0, 0, 10], [SIDE, SIDE, 40], (12, 3)):
        light += 60.0 * (np.hypot(Y - row, X - column) < radius)
    return gaussian_filter(light, 0.8)


def tracks(rng):
    light = np.zeros_like(X)
    for row, column, half in rng.uniform([0, 0, 4], [SIDE, SIDE, 15], (12, 3)):
        t, u = along(rng, row, column)
        light += 200.0 * np.exp(-0.5 * (u / 0.5) ** 2) * (np.abs(t) < half)
    return light


def fading_tracks(rng):
    light = np.zeros_like(X)
    for row, column, length in rng.uniform([20, 20, 15], [SIDE - 20, SIDE - 20, 40], (10, 3)):
        t, u = along(rng, row, column)
        bright = rng.uniform(60, 300) * np.exp(-0.5 * (u / rng.choice([0.6, 1.0, 1.3])) ** 2)
        light += bright * np.where((t > 0) & (t < length), 1 - 0.7 * t / length, 0.0)
    return light


def spikes(rng):
    middle = rng.uniform(130, 190, 2)
    r = np.hypot(Y - middle[0], X - middle[1])
    light = 60000 * (1 + (r / 4) ** 2) ** -2.5
    t, u = along(rng, *middle)
    for one, other in ((t, u), (u, t)):
        light += 3000 * np.exp(-0.5 * (one / 1.5) ** 2) / (1 + np.abs(other) / 10) ** 2
    return np.minimum(light, 30000)


MOST = {discs: 5, tracks: 12, fading_tracks: 18, spikes: 10}  # false spots in three images


@compiled
@pytest.mark.parametrize("make", MOST, ids=lambda make: make.__name__)
def test_edges_and_ends_of_lines_are_left_out_and_spots_beside_them_are_kept(make):
    false = kept = spots = 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        light = make(rng)
        image = rng.poisson(40.0 + light + fg.render(X.shape, TRUTH, 45.0, sigma=1.3))
        found, every = fg.find_spots(image), fg.find_spots(image, shape_level=0)
        false += np.count_nonzero(cKDTree(TRUTH).query(found)[0] > 2.6)
        beside = TRUTH[gaussian_filter(light, 4.0)[tuple(TRUTH.astype(int).T)] < 1.0]
        kept += np.count_nonzero(cKDTree(found).query(beside)[0] < 2.0)
        spots += np.count_nonzero(cKDTree(every).query(beside)[0] < 2.0)
    assert false <= MOST[make]  # 10, 18, 46 and 30 without the falls
    assert kept >= 0.98 * spots > 50


def none_apart(rows, pairs):
    return np.zeros(len(rows), bool)


def chances(truth, amplitude, error=0.02, sigmas=(1.3, 0.0, 1.3), apart=None):
    """The chances at true places, of spots or of an image."""
    image = truth if truth.shape == X.shape else fg.render(X.shape, truth, amplitude, sigma=1.3)
    points = np.array([[160, 0, 160]])
    if truth.shape != X.shape:
        points = np.insert(np.rint(truth).astype(int), 1, 0, axis=1)
    response = gaussian_filter(image, 1.3)[:, None].astype("f4")
    count = len(points)
    peaks = Peaks(points, np.zeros(count), np.full(count, error * response[160, 0, 160]))
    high = rows_with_arms(response, peaks, sigmas, 1)[1]
    good = np.ones(count, bool)
    return falls.chance_of_falls(response, peaks, high, good, apart or none_apart, sigmas, 1)


def test_a_spot_with_neighbours_is_a_spot_and_lines_and_edges_are_none():
    middle = np.full((1, 2), 160.0)
    assert chances(middle, 1.0)[0] == 1.0
    for bright in (1.0, 5.0):
        beside = np.vstack([middle, middle + np.array([0.0, 5.2])])
        assert chances(beside, np.array([1.0, bright]))[0] > 0.1
    turns = np.array([0.0, np.radians(150)])
    bent = np.vstack([middle, middle + 3.6 * np.stack([np.sin(turns), np.cos(turns)], axis=1)])
    assert chances(bent[[0, 1, 2]], 1.0)[0] > 0.1  # the light of the others explains it
    image = fg.render(X.shape, bent, 1.0, sigma=1.3)
    assert chances(image, None)[0] < 1e-3
    step = np.array([0.0, 4.4])
    row = np.vstack([middle, middle + step, middle - step])
    assert chances(row, 1.0)[0] < 1e-3
    assert chances(row, 1.0, apart=lambda rows, pairs: np.ones(len(rows), bool)).min() > 0.1
    spread = 160.0 + 8.0 * np.stack(np.meshgrid(*[np.arange(-2.0, 3.0)] * 2), -1).reshape(-1, 2)
    spread = spread[np.abs(spread - 160.0).max(axis=1) > 8.0]
    assert chances(np.vstack([row, spread]), 1.0)[0] > 1e-2  # by chance where spots are dense
    line = np.exp(-0.5 * ((Y - 160.0) / 1.3) ** 2)
    disc = np.where(np.hypot(Y - 180.0, X - 160.0) < 20.5, 1.0, 0.0)
    for light in (line, line * (X >= 158), np.where(Y >= 160, 1.0, 0.0), disc):
        assert chances(light, None)[0] < 1e-3


@pytest.mark.parametrize("sigmas", [(0.0, 0.0, 1.5), (1.3, 0.0, 1.3), (1.0, 1.2, 0.8)])
@pytest.mark.parametrize("number", [0, 30])
def test_chances_equal_naive(sigmas, number):
    rng = np.random.default_rng(3)
    shape = tuple(24 if s else 1 for s in sigmas)
    response = gaussian_filter(rng.normal(size=shape), sigmas).astype("f4")
    points = rng.integers(0, shape, (60 if not JIT_DISABLED else 20, 3))
    error = rng.uniform(0.0, 0.1, len(points)) * response.std()
    places = rng.uniform(0, shape, (number, 3))
    places = places[np.lexsort(places.T[::-1])]
    quarter = np.array([0.25 / s**2 if s else 0.0 for s in sigmas])
    others = places, rng.uniform(0, 0.1, number) * response.max(), quarter, 6.0
    rays = falls._rays(sigmas)
    ours = np.empty(len(points))
    none = np.empty((0, rays[0].shape[1]), np.float32)
    own = rng.integers(-1, max(number, 1), len(points))
    kernels.fall_chances(response, points, error, rays, none, others, own, ours, 0, len(points))
    theirs = [
        naive_falls.chance_of_falls(response, *point, rays, others, k)
        for *point, k in zip(points, error, own, strict=True)
    ]
    assert_allclose(ours, theirs, rtol=1e-6, atol=1e-300)
    if not number:
        peaks = Peaks(points, np.zeros(len(points)), error)
        high, again = rows_with_arms(response, peaks, sigmas, 1)[1], np.empty(len(points))
        kernels.fall_chances(
            response, points, error, rays, high, others, own, again, 0, len(points)
        )
        assert_array_equal(again, ours)
    if sum(np.array(sigmas) > 0) > 1:
        assert 0 < np.mean(ours < 0.5) < 1
    counted = np.empty(len(points))
    kernels.count_near(points, others, (5.0, 4.0), counted)
    assert_array_equal(counted, naive_falls.count_near(points, others, (5.0, 4.0)))


def test_what_leaves_the_image_is_no_line():
    response = np.zeros((40, 1, 40), "f4")
    y, x = np.mgrid[:40, :40]
    response[:, 0] = np.exp(-0.25 * ((y - 1) ** 2 + (x - 20) ** 2) / 1.3**2)
    peaks = Peaks(np.array([[1, 0, 20]]), np.zeros(1), np.full(1, 0.05))
    sigmas, good = (1.3, 0.0, 1.3), np.ones(1, bool)
    high = rows_with_arms(response, peaks, sigmas, 1)[1]
    assert falls.chance_of_falls(response, peaks, high, good, none_apart, sigmas, 1)[0] == 1.0
