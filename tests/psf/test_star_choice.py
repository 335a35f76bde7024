"""Which stars show the point spread function: those of one width, with their cores."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.psf.picture import read_picture
from fastgauss.psf.star_choice import WIDTH, log_widths, width_of_stars

searches = pytest.mark.skipif(JIT_DISABLED, reason="the search of spots is slow")
PSF = fg.psf_model([0.65, 0.35], [1.2, 2.3])
TRUTH = [0.65, 0.35, 1.2, 2.3]
SIDE = 240
RNG = np.random.default_rng(11)
PLACES = np.stack(np.meshgrid(*[np.arange(24.0, SIDE, 48)] * 2), axis=-1).reshape(-1, 2)
PLACES = PLACES + RNG.uniform(-0.5, 0.5, PLACES.shape)  # row and column of 25 stars
FLUX = np.geomspace(2e4, 3e5, 25)[RNG.permutation(25)]
FACTORS = np.append(np.ones(12), RNG.uniform(1.25, 2.0, 13))  # of widths: the last are galaxies


def field(factors, flux=FLUX, places=PLACES):
    stars = np.column_stack([flux, places[:, ::-1], factors, np.zeros(len(flux))])
    return fg.image(stars, (SIDE, SIDE), PSF.with_width()).sum(axis=0) + 40.0


def distances(rows, places=PLACES):
    """How far the nearest of the places is, and which it is."""
    away = np.hypot(rows["y"][:, None] - places[:, 0], rows["x"][:, None] - places[:, 1])
    return away.min(axis=1), away.argmin(axis=1)


@searches
@pytest.mark.parametrize("order", [0, 1])
def test_galaxies_are_no_part_of_the_shape(order):
    # thirteen of 25 objects are wider than stars: the FWHM was 3.97 pixels instead of 3.04
    found = fg.measure_psf(
        np.random.default_rng(1).poisson(field(FACTORS)), components=2, order=order
    )
    reasons = found.refused[distances(found.refused)[0] < 1.0]
    most = 1.6 if order else 1.2
    assert (FACTORS[distances(found.stars)[1]] < most).all() and len(found.stars) >= 10
    refused = distances(reasons[reasons["reason"] == WIDTH])[1]
    assert set(np.flatnonzero(most < FACTORS)) <= set(refused)
    assert FACTORS[refused].min() > 1.2
    if not order:
        assert_allclose(found.params, TRUTH, atol=5 * found.errors.max())


@searches
def test_stars_whose_width_varies_by_a_third_are_all_used():
    factors = 1.0 + 0.33 * (PLACES[:, 1] / SIDE - 0.5)
    image = np.random.default_rng(2).poisson(field(factors))
    found = fg.measure_psf(image, components=2, order=1)
    assert len(found.stars) >= 23 and WIDTH not in found.refused["reason"]
    for place in PLACES:
        wanted = PSF.fwhm * (1.0 + 0.33 * (place[1] / SIDE - 0.5))
        assert_allclose(found.model.at(place).fwhm, wanted, rtol=0.01)


@searches
def test_the_cores_of_bright_stars_that_are_no_sums_of_round_gaussians_are_used():
    model = fg.psf_model([1.0], [[1.15, 1.25]])
    stars = np.column_stack([100 * FLUX, PLACES[:, ::-1], np.zeros(25)])
    image = fg.image(stars, (SIDE, SIDE), model).sum(axis=0) + 40.0
    found = fg.measure_psf(np.random.default_rng(3).poisson(image), components=2)
    assert len(found.stars) >= 18
    half = found.residuals.shape[1] // 2
    assert np.isfinite(found.residuals[:, half - 1 : half + 2, half - 1 : half + 2]).all()
    assert_allclose(found.model.fwhm, 1.2 * np.sqrt(8 * np.log(2)), rtol=0.01)


@pytest.mark.parametrize("sigma", [0.8, 1.4, 2.5])
def test_widths_of_gaussians_are_found_without_bias(sigma):
    rng = np.random.default_rng(4)
    stars = np.column_stack([np.full(25, 1e4), PLACES[:, ::-1], np.zeros(25)])
    light = fg.image(stars, (SIDE, SIDE), fg.psf_model([1.0], [sigma])).sum(axis=0)
    good = rng.random(light.shape) > 0.02
    picture = read_picture(light + rng.normal(100.0, 1.0, light.shape), ~good, None, 20)
    found = log_widths(picture, PLACES[:, ::-1], 1.3)
    assert_allclose(np.exp(found), sigma, rtol=0.03)
    alone = read_picture(np.zeros((50, 50)), None, None, 20)
    assert np.isfinite(log_widths(alone, np.array([[25.0, 25.0]]), 1.3)).all()


@pytest.mark.parametrize("galaxies", [0, 10, 30])
def test_the_width_of_stars_is_the_narrowest_one_that_many_have(galaxies):
    rng = np.random.default_rng(5)
    errors = rng.uniform(0.005, 0.1, 20 + galaxies)
    truth = np.append(np.zeros(20), rng.uniform(0.2, 1.0, galaxies))
    narrow = np.append(truth + errors * rng.normal(size=len(errors)), -0.9)  # a hot pixel
    found = width_of_stars(narrow, np.append(errors, 0.02))
    assert abs(found) < 0.05
