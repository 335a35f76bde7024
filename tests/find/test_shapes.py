"""What find_spots leaves out for its shape, what it keeps, and what it tells of each spot."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

import fastgauss as fg
from fastgauss.find import lines, noise, peaks, shapes
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.kernels.find import shape_chances

compiled = pytest.mark.skipif(JIT_DISABLED, reason="large images")
SIDE = 220
Y, X = np.mgrid[:SIDE, :SIDE].astype(float)
TRUTH = np.stack(np.meshgrid(*[np.arange(16, SIDE - 10, 24.0)] * 2, indexing="ij"), -1)
TRUTH = TRUTH.reshape(-1, 2) + np.random.default_rng(1).uniform(-3, 3, (TRUTH.size // 2, 2))


def hot_pixels(rng):
    light = np.zeros_like(X)
    light.flat[rng.choice(X.size, 40, replace=False)] = 120.0
    return light


def hot_columns(rng):
    light = np.zeros_like(X)
    light[:, [41, 128]] = 60.0
    light[77] = 60.0
    return light


def filaments(rng):
    light = np.zeros_like(X)
    for angle, place in ((0.3, 90.0), (1.4, 170.0), (2.2, -40.0)):
        light += 60 * np.exp(-0.5 * ((X * np.cos(angle) + Y * np.sin(angle) - place) / 1.3) ** 2)
    return light


def tracks(rng):
    light = np.zeros_like(X)
    for turn, row, column in rng.uniform([0, 30, 30], [np.pi, 190, 190], (12, 3)):
        for step in np.arange(0, 9, 0.3):
            light[int(row + step * np.sin(turn)), int(column + step * np.cos(turn))] += 70.0
    return light


def plateau(rng):
    return np.where(np.hypot(Y - 110.0, X - 104.0) < 6.0, 4000.0, 0.0)


STRUCTURES = [hot_pixels, hot_columns, filaments, tracks, plateau]


def near(positions, truth, distance=2.0):
    """Which positions are at a true one."""
    return cKDTree(truth).query(positions)[0] < distance


@compiled
@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda make: make.__name__)
def test_structures_are_left_out_and_spots_beside_them_are_found(structure):
    light = structure(np.random.default_rng(2))
    found = fg.find_spots(np.random.default_rng(3).poisson(90 + light), false_alarms=0.1)
    assert len(found) <= 5
    every = fg.find_spots(
        np.random.default_rng(3).poisson(90 + light), false_alarms=0.1, shape_level=0
    )
    assert len(every) >= len(found)
    spots = fg.render(X.shape, TRUTH, 90.0, sigma=1.3)
    beside = np.hypot(*(TRUTH - [110, 104]).T) > 20
    found = fg.find_spots(np.random.default_rng(4).poisson(90 + light + spots), false_alarms=0.1)
    assert np.mean(cKDTree(found).query(TRUTH[beside])[0] < 2) >= 0.9


@compiled
def test_bright_particles_with_neighbours_on_many_sides_are_no_lines():
    rng = np.random.default_rng(6)
    truth = np.c_[rng.uniform(5, 35, 150), rng.uniform(6, 90, (150, 2))]
    bright = rng.uniform(60, 300, 150)
    volume = fg.render((40, 96, 96), truth, bright, sigma=(2.6, 2.0, 2.0))
    found = fg.find_spots(rng.poisson(volume + 20), sigma=(2.6, 2.0, 2.0))
    widths = np.array([2.6, 2.0, 2.0])
    apart = cKDTree(truth / widths).query(truth / widths, k=2)[0][:, 1] > 4
    hit = cKDTree(found).query(truth)[0] < 2
    assert np.mean(hit[apart & (bright > 150)]) >= 0.95
    assert np.mean(cKDTree(truth).query(found)[0] < 2) >= 0.98


@compiled
@pytest.mark.parametrize("width", [0.6, 0.8])
def test_filaments_of_a_volume_that_are_narrower_than_the_filter_are_no_spots(width):
    rng = np.random.default_rng(7)
    z, y, x = np.indices((30, 70, 70)).astype(float)
    volume = np.full(z.shape, 20.0)
    for row, turn in ((15.0, 0.2), (45.0, -0.3)):
        across = np.hypot(z - 15 - 0.05 * (x - 35), y - row - turn * (x - 35))
        waves = 1 + 0.3 * np.sin(x / 5.0)
        volume += 300 * waves * np.exp(-0.5 * (across / (2.0 * width)) ** 2)
    assert len(fg.find_spots(rng.poisson(volume), sigma=2.0)) <= 2


def line(angle, place, middle=110.0):
    """A straight line of light of height 1."""
    away = (X - middle) * np.cos(angle) + (Y - middle) * np.sin(angle) - place
    return np.exp(-0.5 * (away / 1.3) ** 2)


@compiled
def test_lines_that_cross_are_left_out_and_spots_beside_them_are_found():
    false = found = spots = 0
    for seed in (1, 4, 5):
        rng = np.random.default_rng(seed)
        angles, places = rng.uniform(0, np.pi, 9), rng.uniform(-60, 60, 9)
        light = [line(angle, place) for angle, place in zip(angles, places, strict=True)]
        beside = np.max(light, axis=0)[tuple(TRUTH.astype(int).T)] < 1e-8
        counts = 90 + 60 * np.sum(light, axis=0)
        false += len(fg.find_spots(rng.poisson(counts), false_alarms=0.1))
        counts += fg.render(X.shape, TRUTH[beside], 90.0, sigma=1.3)
        seen = fg.find_spots(rng.poisson(counts), false_alarms=0.1)
        found, spots = found + np.sum(near(TRUTH[beside], seen)), spots + beside.sum()
    assert false <= 4
    assert found >= 0.9 * spots


@compiled
def test_a_texture_is_no_spot_and_bright_spots_on_it_are_found():
    """Its response is skewed, so that its deviation alone would explain too little."""
    false = 0
    for seed in (2, 5, 6):
        rng = np.random.default_rng(seed)
        texture = gaussian_filter(rng.normal(size=X.shape), 4.0)
        light = 60.0 * (np.maximum(texture / texture.std(), -1.0) + 1.2)
        false += len(fg.find_spots(rng.poisson(light), false_alarms=0.3))
    assert false <= 5  # 14 by the deviation alone
    spots = fg.render(X.shape, TRUTH, 1000.0, sigma=1.3)
    found = fg.find_spots(rng.poisson(light + spots), false_alarms=0.3)
    assert np.mean(near(TRUTH, found)) >= 0.9


def test_the_arms_of_lines_and_of_a_spots_neighbours():
    middle = np.array([[110, 0, 110]])
    sigmas = (1.3, 0.0, 1.3)

    def chance(light, error=0.02):
        response = gaussian_filter(light, 1.3)[:, None].astype("f4")
        high = response[110, 0, 110]
        peaks = lines.Peaks(middle, np.zeros(1), np.full(1, error * high))
        rows = lines.rows_with_arms(response, peaks, sigmas, 1)[0]
        peaks = peaks.take(rows)
        moments = np.full((len(rows), 2, 2), 0.7) * np.eye(2)  # smaller than those of a line
        doubt = np.full(len(rows), 0.01)
        tails = lines.chance_of_arms(
            response, peaks, moments, doubt, lambda some: peaks.error[some], sigmas, 1
        )
        return float(tails.min(initial=1.0))

    crossings = [(0.4, 1.9), (0.4, 0.9), (0.1, 1.2, 2.3), (0.1, 0.5, 1.9)]
    for angles in crossings:
        assert chance(sum(line(angle, 0.0) for angle in angles)) < 1e-3
    assert chance(sum(line(angle, 0.0) for angle in crossings[0]) - 0.3) < 1e-3
    spot = fg.render(X.shape, [[110.0, 110.0]], 1.0, sigma=1.3)
    assert chance(spot) == 1.0
    beside = 110.0 + 5.2 * np.array([[0, 1], [0, -1], [1, 0], [-1, 0]])
    assert chance(spot + fg.render(X.shape, beside, 1.0, sigma=1.3)) > 0.1
    assert chance(spot + 0.4 * line(0.4, 0.0), error=0.1) > 0.01


def test_the_noise_of_fine_differences():
    rng = np.random.default_rng(13)
    for shape in ((1, 1, 900), (60, 1, 70), (20, 24, 26)):
        points = np.stack([rng.integers(0, n, 40) for n in shape], axis=1)
        volume = rng.normal(0, 3.0, shape) + 5.0 * np.arange(shape[2])
        volume[:, :, 13] += 400.0 if min(shape[0], shape[2]) > 1 else 0.0
        got = noise.fine_deviation(volume.astype("f4"), None, points)
        assert_allclose(np.median(got), 3.0, rtol=0.2)
        assert_allclose(got, 3.0, rtol=0.6)
        gap = rng.random(shape) < 0.02
        volume[gap] = 0.0
        got = noise.fine_deviation(volume.astype("f4"), gap, points)
        assert_allclose(np.median(got[got > 0]), 3.0, rtol=0.2)
        assert_array_equal(noise.fine_deviation(np.zeros(shape, "f4"), None, points), 0.0)
        hidden = np.ones(shape, bool)
        assert_array_equal(noise.fine_deviation(volume.astype("f4"), hidden, points), 0.0)
    assert_array_equal(noise.fine_deviation(np.ones((2, 1, 2), "f4"), None, points[:1] * 0), 0.0)


@compiled
@pytest.mark.parametrize(
    "sigma, width", [(0.8, 1.0), (1.3, 0.65), (1.3, 1.0), (1.3, 2.5), (2.4, 1)]
)
@pytest.mark.parametrize("level", [0.3, 40.0])
def test_spots_of_many_widths_are_kept(sigma, width, level):
    rng = np.random.default_rng(5)
    lost = seen = 0
    for strength in (9.0, 30.0, 300.0):
        amplitude = strength * np.sqrt(max(level, 1.0) / np.pi) / sigma
        light = fg.render(X.shape, TRUTH, amplitude, sigma=sigma * width)
        spots = fg.find_spots(rng.poisson(level + light), sigma, false_alarms=0.1, details=True,
                              shape_level=0)  # fmt: skip
        real = near(spots.positions, TRUTH, max(2.0, sigma))
        lost, seen = lost + np.sum(spots.p_value[real] < 0.01), seen + real.sum()
    assert seen > 80
    assert lost <= stats.binom.ppf(0.9999, seen, 0.01)


@compiled
def test_spots_of_a_crowd_are_kept():
    rng = np.random.default_rng(6)
    truth = rng.uniform(3, SIDE - 3, (480, 2))  # one in 100 pixels
    image = rng.poisson(40 + fg.render(X.shape, truth, 70.0, sigma=1.3))
    spots = fg.find_spots(image, false_alarms=0.1, details=True, shape_level=0)
    assert np.mean(spots.p_value[near(spots.positions, truth)] < 0.01) < 0.01


@compiled
def test_cameras_missing_pixels_and_volumes():
    rng = np.random.default_rng(7)
    spots = fg.render(X.shape, TRUTH, 60.0, sigma=1.3)
    variance = rng.lognormal(1, 2, X.shape)
    noisy = rng.poisson(20 + spots) + rng.normal(0, np.sqrt(variance))
    assert np.mean(near(TRUTH, fg.find_spots(noisy, variance=variance))) > 0.97
    blind = fg.find_spots(noisy, false_alarms=1)
    every = fg.find_spots(noisy, false_alarms=1, shape_level=0)
    assert np.sum(~near(blind, TRUTH)) < 0.5 * np.sum(~near(every, TRUTH))
    holes = np.where(rng.random(X.shape) < 0.1, np.nan, noisy)
    assert np.mean(near(TRUTH, fg.find_spots(holes, variance=variance))) > 0.95
    place = np.array([[10.0, 14.0, 30.0], [20.0, 40.0, 16.0]])
    volume = rng.poisson(20 + fg.render((32, 56, 48), place, 80.0, sigma=(1.8, 1.2, 1.2)))
    volume[15, 20, 12] += 400  # a hot pixel
    volume[:, 44, 40] += 120  # a line through all planes
    found = fg.find_spots(volume, (1.8, 1.2, 1.2), false_alarms=1e-5)
    assert_allclose(found[np.argsort(found[:, 0])], place, atol=0.4)


@compiled
def test_details_are_those_of_the_spots():
    place = [[12.2, 30.0], [30.0, 21.4]]
    image = 500.0 + fg.render((144, 152), place, [60.0, 100.0], sigma=1.5)
    image = np.random.default_rng(8).normal(image, 4.0)
    spots = fg.find_spots(image, 1.5, false_alarms=1e-3, details=True)
    assert_allclose(spots.positions, place[::-1], atol=0.3)
    assert_allclose(spots.amplitude, [100.0, 60.0], atol=6.0)
    assert_allclose(spots.background, 500.0, rtol=0.02)
    error = 4.0 / np.sqrt(np.pi * 1.5**2)  # of an amplitude, by least squares
    assert_allclose(spots.significance, spots.amplitude / error, rtol=0.1)
    assert_allclose(spots.sharpness, 1.0, atol=0.1)
    assert np.all(spots.p_value > 0.5)
    plain = fg.find_spots(image, 1.5, false_alarms=1e-3)
    assert_array_equal(plain, spots.positions)
    for scale in (-1.0, 2.0**-200):
        polarity = "dark" if scale < 0 else "bright"
        other = fg.find_spots(
            scale * image, 1.5, false_alarms=1e-3, details=True, polarity=polarity
        )
        assert_allclose(other.amplitude, scale * spots.amplitude, rtol=1e-3)
        assert_allclose(other.background, scale * spots.background, rtol=1e-3)
        assert_allclose(other.sharpness, spots.sharpness, rtol=1e-3)


def test_details_of_spots_that_the_laplacian_finds():
    image = fg.render((50, 60), [[20.0, 18.0], [33.0, 40.0]], [90.0, 60.0], sigma=1.3)
    image[40, 12] = 400.0  # a hot pixel
    image = np.random.default_rng(9).poisson(image + 30.0)
    spots = fg.find_spots(image, threshold=30.0, details=True)
    assert_array_equal(spots.positions, fg.find_spots(image, threshold=30.0))
    hot = near(spots.positions, [[40, 12]], 1.5)
    assert hot.sum() == 1
    assert np.all((spots.p_value < 0.01) == hot)
    assert_array_equal(
        fg.find_spots(image, threshold=30.0, shape_level=0.01), spots.positions[~hot]
    )
    table = spots.to_dataframe()
    assert list(table) == [
        "y", "x", "significance", "amplitude", "background", "sharpness", "p_value", "sigma",
    ]  # fmt: skip
    assert_array_equal(table["y"], spots.positions[:, 0])


def test_images_without_noise_or_spots():
    for image in (np.zeros((30, 40)), np.full((30, 40), np.nan), np.zeros((1, 1))):
        spots = fg.find_spots(image, false_alarms=1, details=True)
        assert isinstance(spots, fg.FoundSpots)
        assert spots.positions.shape == (0, 2)
        assert len(spots.p_value) == 0
    clean = fg.render((30, 40), [[14.0, 20.0]], 50.0, sigma=1.3)
    spots = fg.find_spots(clean, false_alarms=1, details=True)
    assert np.any(near(spots.positions, [[14, 20]]))
    profile = np.random.default_rng(10).poisson(50 + 90 * np.exp(-0.5 * ((X[0] - 70) / 1.3) ** 2))
    spots = fg.find_spots(profile, significance=6, details=True)
    assert_allclose(spots.positions, [[70.0]], atol=0.5)


def test_wrong_levels_are_refused():
    image = np.zeros((20, 20))
    for wrong in (-0.1, 1.5):
        with pytest.raises(ValueError, match="shape_level must be"):
            fg.find_spots(image, false_alarms=1, shape_level=wrong)
    with pytest.raises(TypeError, match="details must be"):
        fg.find_spots(image, details="yes")
    with pytest.raises(ValueError, match=r"shape_level must be None with joint=True, got 0\.1"):
        fg.fit_spots(image, joint=True, shape_level=0.1)


def test_fit_spots_leaves_out_what_find_spots_does():
    image = fg.render((50, 60), [[20.0, 18.0]], 90.0, sigma=1.3)
    image[40, 12] = 400.0
    image = np.random.default_rng(11).poisson(image + 30.0)
    assert len(fg.fit_spots(image, false_alarms=1e-3)) == 1
    assert len(fg.fit_spots(image, false_alarms=1e-3, shape_level=0)) == 2


@pytest.mark.parametrize("sigmas", [(0.0, 0.0, 1.1), (1.3, 0.0, 2.0), (1.0, 1.4, 0.7)])
def test_the_limits_are_those_of_the_extreme_spots(sigmas):
    size = tuple(31 if sigma else 1 for sigma in sigmas)
    volume = np.zeros(size, np.float32)
    middle = np.array([[n // 2 for n in size]])
    grid = np.meshgrid(*(np.arange(n) - n // 2 for n in size), indexing="ij")
    r2 = sum((axis / sigma) ** 2 for axis, sigma in zip(grid, sigmas, strict=True) if sigma)
    template = shapes._template(sigmas)
    count, ndim = 1 + len(template.slices), len(template.slices[-1])
    for width, (limit, *_) in zip((0.6, 3.0, 0.66), template.moment, strict=True):
        volume[:] = 7.0 * np.exp(-0.5 * r2 / width**2)
        sums = peaks.window_sums(volume, middle, template.profiles, template.radii, 1)
        matrix = np.empty((ndim, ndim))
        shape_chances._moments(sums[0], ndim, matrix)
        moments = np.linalg.eigvalsh(matrix)
        assert_allclose(moments[0 if width < 1 else -1], limit, rtol=1e-4)
        if width == 0.6:
            heights = sums[0, :count] / template.squares
            assert_allclose(heights[-1], template.sharp[-1, 0] * heights[0], rtol=1e-4)
    images = np.random.default_rng(12).normal(size=(400, *size)).astype("f4")
    values = np.array(
        [peaks.window_sums(one, middle, template.profiles, template.radii, 1)[0] for one in images]
    )
    for k, (limit, variance, *_) in enumerate(template.sharp, 1):
        value = values[:, k] / template.squares[k] - limit * values[:, 0] / template.squares[0]
        assert_allclose(value.std(), np.sqrt(variance), rtol=0.15)
