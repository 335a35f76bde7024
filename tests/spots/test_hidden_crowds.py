"""Crowds so dense that their own light looks like noise."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.spots.noise_scaling import fine_noise, local_level

SIGMA = 1.3
needs_speed = pytest.mark.skipif(JIT_DISABLED, reason="rounds of many fits")


def crowd(seed, side=56, density=0.055, photons=3000.0, sky=20.0):
    """Counts of equal spots at random places, and these."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(3, side - 4, (round(density * side**2), 2))
    light = fg.render((side, side), places, photons / (2 * np.pi * SIGMA**2), SIGMA, tol=1e-7)
    return rng.poisson(light + sky).astype(float), places


def count_right(found, places, reach=1.0):
    """Spots within reach of a place, each place once."""
    distance, nearest = KDTree(places).query(found, distance_upper_bound=reach)
    return len(np.unique(nearest[np.isfinite(distance)]))


@needs_speed
@pytest.mark.parametrize("method", ["lsq", "mle"])
def test_equal_spots_of_a_dense_crowd_are_found(method):
    image, places = crowd(3)
    found = fg.fit_spots(image, joint=True, method=method, fixed={"sigma": SIGMA}).positions
    right = count_right(found, places)
    assert right > 0.7 * len(places)
    assert right > 0.95 * len(found)


@needs_speed
def test_faint_spots_of_a_crowd_are_found_by_likelihood():
    image, places = crowd(3, photons=500.0)
    options = {"joint": True, "method": "mle", "fixed": {"sigma": SIGMA}}
    found = fg.fit_spots(image, **options).positions
    right = count_right(found, places)
    assert right > 0.55 * len(places)
    assert right > 0.9 * len(found)


def test_fine_differences_tell_the_noise_below_a_crowd():
    rng = np.random.default_rng(0)
    light = crowd(1, side=80)[0]
    light = gaussian_filter(light, 1.0)
    image = light + rng.normal(0, 30, light.shape)
    image[10:12, 20] = np.nan
    noise = fine_noise(image, local_level(image, np.full(2, SIGMA)))
    assert noise.shape == image.shape
    assert_allclose(np.median(noise), 30, rtol=0.1)
    deep = rng.normal(0, 2, (5, 30, 40))  # an axis too short for differences
    level = np.broadcast_to(np.arange(40.0), deep.shape)
    assert_allclose(np.median(fine_noise(deep, level)), 2, rtol=0.05)


def test_the_level_of_a_whole_image_is_that_of_one_with_missing_pixels():
    image = np.random.default_rng(4).normal(5, 1, (70, 90))
    part = image.copy()
    part[:2, :2] = np.nan
    level, apart = (local_level(each, np.full(2, SIGMA)) for each in (image, part))
    assert_allclose(level[40:, 40:], apart[40:, 40:], rtol=1e-12)
    assert_allclose(level[30, 40], image[14:46, 24:56].mean(), rtol=1e-12)
    assert_allclose(local_level(np.full((9, 9), np.nan), np.full(2, SIGMA)), 0.0)
    alone = np.full((90, 90), np.nan)
    alone[:3, :3] = 7.0
    assert_allclose(local_level(alone, np.full(2, SIGMA)), 7.0)


def test_noise_that_is_not_white_is_not_told():
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(0, 5, (60, 60)), 0.8)
    for image in (smooth, np.zeros((60, 60)), np.full((60, 60), np.nan), rng.normal(size=(9, 9))):
        assert fine_noise(image, np.zeros(image.shape)) is None


@needs_speed
def test_a_texture_is_no_crowd():
    rng = np.random.default_rng(2)
    texture = gaussian_filter(rng.normal(0, 1, (80, 80)), 2)
    image = rng.normal(12 * texture / texture.std(), 4)
    image += fg.render(image.shape, [[20.2, 30.4], [60.1, 50.3]], 400.0, SIGMA)
    assert len(fg.fit_spots(image, joint=True)) == 2


@needs_speed
def test_two_spots_of_which_one_has_no_fit_are_not_taken_for_one():
    found = fg.fit_spots(crowd(2)[0], joint=True, method="mle")
    assert np.isfinite(found.positions).all()
