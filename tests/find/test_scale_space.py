"""Spots of several sizes: one significance for all, each spot at its size, sizes from the image."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.spatial import cKDTree

import fastgauss as fg
from fastgauss.find import maxima_counts, scale_space, significance
from fastgauss.kernels._compile import JIT_DISABLED

compiled = pytest.mark.skipif(JIT_DISABLED, reason="large images")
LADDER = np.array([[1.0], [1.5], [2.2]])


def field(shape, pitch, sigmas, seed):
    """Places on a shaken grid, and the sigma of each."""
    rng = np.random.default_rng(seed)
    axes = [np.arange(pitch // 2 + 3, n - pitch // 2, pitch) for n in shape]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(shape))
    return places + rng.uniform(-1, 1, places.shape), rng.choice(sigmas, len(places))


@compiled
@pytest.mark.parametrize("sigma", [[[1.3], [3.5]], LADDER])
@pytest.mark.parametrize("counts", [None, 4.0])
def test_as_many_false_spots_as_asked_at_all_sizes_together(sigma, counts):
    rng = np.random.default_rng(31)
    asked, images, found = 20.0, 6, 0
    for _ in range(images):
        shape = 256, 256
        image = rng.normal(3.0, 0.2, shape) if counts is None else rng.poisson(counts, shape)
        found += len(fg.find_spots(image, sigma, false_alarms=asked))
    low, high = stats.poisson.ppf([1e-4, 1 - 1e-4], asked * images * np.array([0.7, 1.4]))
    assert low <= found <= high


def test_the_expected_number_is_that_of_one_size_or_of_two_that_are_far_apart():
    one, other, far = (1.3, 0.0, 1.3), (1.3000001, 0.0, 1.3000001), (130.0, 0.0, 130.0)
    least = maxima_counts.least_significance(3.0, 1e5, significance.correlations(one))
    assert scale_space.least_significance(3.0, 1e5, [one]) == least
    # Two sizes that are alike have the maxima of one.
    assert_allclose(scale_space.least_significance(3.0, 1e5, [one, other]), least, rtol=1e-3)
    both = scale_space.least_significance(3.0, 1e5, [one, far])
    assert least < both < least + 0.02
    table = ((significance.correlations(one), (0.0, 0.0, 0.0)),)
    alone = maxima_counts.least_of_scales(3.0, 1e5, table)
    assert_allclose(alone, least, atol=1e-3)  # a value as high has none beside it as high


def test_the_chance_that_both_neighbours_are_smaller():
    z, one, other, between = np.array([-1.0, 0.0, 0.8, 2.5]), 0.9, 0.7, 0.6
    mean = z[:, None] * [one, other]
    cov = np.array([[1 - one**2, between - one * other], [between - one * other, 1 - other**2]])
    expected = [stats.multivariate_normal(m, cov).cdf([v, v]) for m, v in zip(mean, z, strict=True)]
    assert_allclose(maxima_counts._below(z, one, other, between), expected, atol=1e-5)
    assert_allclose(
        maxima_counts._below(z, one, one, 1.0), stats.norm.cdf(z * np.sqrt(0.1 / 1.9)), atol=1e-9
    )


@compiled
@pytest.mark.parametrize("options", [{}, {"threshold": 60.0}, {"significance": 6.0}])
def test_each_spot_is_found_at_its_own_size(options):
    places, sigmas = field((150, 170), 20, [1.3, 3.5], 32)
    light = fg.render((150, 170), places, np.where(sigmas < 2, 300.0, 150.0), sigma=sigmas[:, None])
    image = np.random.default_rng(33).poisson(light + 30.0)
    spots = fg.find_spots(image, [[3.5], [1.3]], details=True, **options)
    away, which = cKDTree(places).query(spots.positions)
    assert len(places) <= len(spots.positions) <= len(places) + 3
    right = away < 1.5
    assert np.count_nonzero(right) >= len(places) - 1
    assert_array_equal(spots.sigma[right], sigmas[which[right]])
    dark = fg.find_spots(-1.0 * image, [[1.3], [3.5]], polarity="dark", threads=3, **options)
    assert_allclose(np.sort(dark, axis=0), np.sort(spots.positions, axis=0), atol=0.5)


@compiled
def test_bright_large_spots_have_no_small_ones_on_them_nor_between_them():
    places, _ = field((180, 180), 25, [3.3], 34)
    light = fg.render((180, 180), places, 400.0, sigma=3.3)
    image = np.random.default_rng(35).poisson(light + 20.0)
    spots = fg.find_spots(image, [[1.0], [1.4], [2.0], [3.3]], details=True, threads=1)
    assert cKDTree(places).query(spots.positions)[0].max() < 1.5
    assert len(spots.positions) == len(places)
    again = fg.find_spots(image, [[1.0], [1.4], [2.0], [3.3]], details=True, threads=4)
    for one, other in zip(spots, again, strict=True):
        assert_array_equal(one, other)


@compiled
@pytest.mark.parametrize("sizes", [[0.9], [2.6], [1.2, 3.6]])
def test_none_takes_the_sizes_of_the_image(sizes):
    places, sigmas = field((170, 190), 24, sizes, 36)
    light = fg.render((170, 190), places, 400.0 / sigmas, sigma=sigmas[:, None], tol=1e-6)
    image = np.random.default_rng(37).normal(light, 5.0).astype(np.float32)
    spots = fg.find_spots(image, None, details=True)
    assert_allclose(np.unique(spots.sigma), sizes, rtol=0.15)
    assert np.mean(cKDTree(spots.positions).query(places)[0] < 1.5) > 0.97
    assert len(fg.find_spots(np.zeros((30, 40)), None)) == 0
    assert len(fg.find_spots(np.random.default_rng(1).normal(size=(90, 90)), None)) <= 6


@compiled
def test_volumes_with_missing_pixels_and_one_size_for_each_axis():
    shape, wide = (24, 50, 60), ((1.2, 1.0, 1.0), (2.4, 2.0, 2.0))
    places = np.array([[8.0, 12.0, 14.0], [15.0, 33.0, 20.0], [12.0, 20.0, 44.0]])
    sigmas = np.array([wide[0], wide[1], wide[0]])
    image = fg.render(shape, places, 60.0, sigma=sigmas) + np.random.default_rng(38).normal(
        10, 2, shape
    )
    image[:, 40:45, 30:50] = np.nan
    spots = fg.find_spots(image, wide, false_alarms=0.01, details=True)
    which = cKDTree(places).query(spots.positions)[1]
    assert sorted(which) == [0, 1, 2]
    assert_allclose(spots.sigma, sigmas[which])
    assert {"sigma_z", "sigma_y", "sigma_x"} < set(spots.to_dataframe())


@compiled
@pytest.mark.parametrize("sigma", [[[1.3], [3.5]], None])
def test_fits_start_at_the_size_of_each_spot(sigma):
    places, sigmas = field((160, 160), 19, [1.3, 3.5], 39)
    light = fg.render((160, 160), places, np.where(sigmas < 2, 400.0, 250.0), sigma=sigmas[:, None])
    image = np.random.default_rng(40).poisson(light + 30.0)
    fits = fg.fit_spots(image, sigma=sigma)
    away, which = cKDTree(places).query(fits.positions)
    good = fits.converged & (away < 1.0)
    assert np.count_nonzero(good) >= 0.95 * len(places)
    assert np.median(np.abs(fits.sigma[good] / sigmas[which[good]] - 1)) < 0.05
    for options in ({"positions": places}, {"joint": True}):
        with pytest.raises(ValueError, match="sigma must be one size with"):
            fg.fit_spots(image, sigma=sigma, **options)


def test_rows_are_sizes_and_a_sequence_is_one_for_each_axis():
    image = np.random.default_rng(41).normal(size=(30, 34))
    image[15, 17] += 30.0
    plain = fg.find_spots(image, 1.3, false_alarms=0.1, details=True)
    assert plain.sigma.shape == (len(plain.positions),)
    assert fg.find_spots(image, (1.3, 1.3), false_alarms=0.1, details=True).sigma.ndim == 2
    one = fg.find_spots(image, [[1.3], [1.3]], false_alarms=0.1, details=True)
    for a, b in zip(plain, one, strict=True):
        assert_array_equal(a, b)
    by_fwhm = fg.find_spots(image, fwhm=2.3548200450309493 * LADDER, significance=4.0)
    assert_allclose(by_fwhm, fg.find_spots(image, LADDER, significance=4.0))


@pytest.mark.parametrize(
    ("sigma", "error", "text"),
    [
        ([[1.3], 2.0], ValueError, "sigma must have rows of numbers"),
        ([[1.3, 1.3, 1.3]], ValueError, r"sigma\[0\] must be one number or 2 numbers, got 3"),
        ([[1.3], [0.1]], ValueError, r"sigma\[1\] must be finite and at least 0.3"),
        ([[]], ValueError, r"sigma\[0\] must be one number or 2 numbers, got 0"),
        ([["a"], [1.0]], TypeError, r"sigma\[0\] must be a real number"),
        ([], ValueError, "sigma must be one number or 2 numbers, got 0"),
    ],
)
def test_wrong_sizes_are_named(sigma, error, text):
    with pytest.raises(error, match=text):
        fg.find_spots(np.zeros((20, 20)), sigma)
    with pytest.raises(error, match=text):
        fg.fit_spots(np.zeros((20, 20)), sigma=sigma)
