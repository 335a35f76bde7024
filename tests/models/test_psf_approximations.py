"""Sums of Gaussians for Moffat profiles and for images, with the errors that they promise."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

compiled = pytest.mark.skipif(JIT_DISABLED, reason="whole fits")


def moffat(r, fwhm, beta):
    """The profile of flux 1."""
    alpha = 0.5 * fwhm / np.sqrt(2 ** (1 / beta) - 1)
    return (beta - 1) / (np.pi * alpha**2) * (1 + (r / alpha) ** 2) ** -beta


# -- Moffat profiles ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("beta", "tol", "most"),
    [(1.5, 2e-3, 8), (2.5, 1e-4, 7), (3.0, 1e-4, 7), (4.765, 1e-4, 5), (90, 1e-4, 3)],
)  # fmt: skip
def test_profile_and_flux_of_a_moffat_are_within_the_tolerance(beta, tol, most):
    psf = fg.moffat_psf(3.2, beta, tol)
    assert len(psf.components) <= most
    r = np.concatenate([np.linspace(0, 20, 401), np.geomspace(20, 2000, 100)])
    found = fg.evaluate((r, np.zeros(1)), [1.0, 0.0, 0.0, 0.0], psf)
    peak = moffat(0.0, 3.2, beta)
    assert abs(found - moffat(r, 3.2, beta)).max() <= 1.05 * tol * peak  # between its own radii
    alpha = 1.6 / np.sqrt(2 ** (1 / beta) - 1)
    weights, sigmas = psf.components["weight"], psf.components["sigma_x"]
    inside = (weights * -np.expm1(-0.5 * (r[:, None] / sigmas) ** 2)).sum(axis=1)
    assert abs(inside - (1 - (1 + (r / alpha) ** 2) ** (1 - beta))).max() <= 1.05 * tol
    assert (weights > 0).all()
    assert_allclose(psf.fwhm, 3.2, rtol=5 * tol)


def test_a_moffat_scales_with_its_width():
    one, other = fg.moffat_psf(2.0, 3.0, 1e-3).components, fg.moffat_psf(5.0, 3.0, 1e-3).components
    assert_allclose(other["weight"], one["weight"], rtol=1e-12)
    assert_allclose(other["sigma_x"], 2.5 * one["sigma_x"], rtol=1e-12)


def test_a_moffat_that_eight_gaussians_do_not_reach_is_refused():
    with pytest.raises(ValueError, match=r"tol must be at least 0\.0\d+ for beta=1\.5: 8 Gau"):
        fg.moffat_psf(3.0, 1.5)
    with pytest.raises(ValueError, match="beta must be finite and at least"):
        fg.moffat_psf(3.0, 1.0)
    with pytest.raises(ValueError, match="fwhm must be finite and at least"):
        fg.moffat_psf(0.0, 3.0)
    with pytest.raises(TypeError, match="tol must be a real number"):
        fg.moffat_psf(3.0, 3.0, tol=None)


@compiled
def test_fluxes_of_moffat_stars_have_no_bias():
    truth = np.array([[5e4, 9.3, 8.8, 100.0], [5e4, 8.7, 9.4, 100.0]])
    y, x = np.indices((19, 19))
    steps = (np.arange(7) - 3) / 7  # the mean of each pixel
    r = [np.hypot(x + u - p[1], y + v - p[2]) for p in truth for u in steps for v in steps]
    stars = 5e4 * moffat(np.array(r), 3.0, 3.0).reshape(2, 49, 19, 19).mean(axis=1) + 100
    found = fg.fit_rois(stars, fg.moffat_psf(3.0, 3.0), method="mle", pixel="integrate")
    assert_allclose(found.flux, 5e4, rtol=1e-3)
    single = fg.fit_rois(stars, "symmetric", method="mle", pixel="integrate")
    assert (single.flux < 0.95 * 5e4).all()


# -- images ------------------------------------------------------------------------------------


def sampled(psf, shape, oversampling):
    """An image with this many points a pixel, its middle the centre of the star."""
    y, x = (np.arange(n) - 0.5 * (n - 1) for n in shape)
    step = np.broadcast_to(oversampling, 2)
    grid = x / step[1], (y / step[0])[:, None]
    return fg.evaluate(grid, [1.0, 0.0, 0.0, 0.0], psf)


@pytest.mark.parametrize("oversampling", [1, 2, (2, 3)])
def test_sums_of_gaussians_are_found_as_they_are(oversampling):
    psf = fg.psf_model([0.75, 0.25], [1.2, 2.6])
    found = fg.psf_from_image(7.0 * sampled(psf, (33, 36), oversampling), oversampling, tol=1e-6)
    numbers = np.sort(found.components, order="sigma_x")
    assert_allclose(numbers["weight"], psf.components["weight"], rtol=1e-3)
    assert_allclose(numbers["sigma_x"], psf.components["sigma_x"], rtol=1e-3)
    assert_allclose(found.fwhm, psf.fwhm, rtol=1e-4)


def test_elliptic_and_displaced_images():
    psf = fg.psf_model([0.8, 0.2], [[1.2, 1.7], [2.4, 3.1]], offsets=[[0.2, -0.3], [0.5, 0.4]])
    found = fg.psf_from_image(sampled(psf, (41, 45), 2), 2, tol=1e-4)
    one, other = (sampled(each, (30, 31), 1) for each in (found, psf))
    assert abs(one - other).max() < 2e-4 * other.max()


def test_the_error_of_an_image_is_within_the_tolerance_or_told():
    y, x = np.indices((61, 61)) - 30
    image = moffat(np.hypot(x, y) / 3, 3.0, 3.5)
    found = fg.psf_from_image(image, 3, tol=2e-3)
    again = sampled(found, (61, 61), 3)
    scale = (again * image).sum() / (again**2).sum()
    assert abs(scale * again - image).max() < 3e-3 * image.max()
    small = image[20:41, 20:41]
    noisy = small + np.random.default_rng(0).normal(0.0, 0.02 * image.max(), small.shape)
    with pytest.raises(ValueError, match=r"tol must be larger .*: 8 Gaussians reach 0\.0\d+, got"):
        fg.psf_from_image(noisy, 3)
    with pytest.warns(UserWarning, match=r"larger than tol=0.001: 1 Gaussians? reach"):
        single = fg.psf_from_image(image, 3, components=1)
    assert len(single.components) == 1


@compiled
def test_an_effective_psf_measures_fluxes():
    psf = fg.moffat_psf(2.6, 3.0, 1e-3)
    places = np.array([[7.3, 7.6], [8.4, 7.1], [7.8, 8.2]])
    stars = fg.image(np.column_stack([[900.0, 500.0, 70.0], places, [4.0] * 3]), (16, 16), psf,
                     "integrate")  # fmt: skip
    y, x = (np.arange(81) - 40) / 4, ((np.arange(81) - 40) / 4)[:, None]
    effective = fg.evaluate((x, y), [1.0, 0.0, 0.0, 0.0], psf, "integrate")
    found = fg.fit_rois(stars, fg.psf_from_image(effective, 4, tol=2e-3))
    assert_allclose(found.flux, [900.0, 500.0, 70.0], rtol=0.02)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((np.ones((3, 9)),), r"array must have at least 5 rows and columns, got \(3, 9\)"),
        ((np.zeros((9, 9)),), "array must have a positive maximum, got 0"),
        ((np.full((9, 9), np.nan),), "array must be finite"),
        ((np.ones(9),), "array must have 2 dimensions"),
        ((np.eye(9), 0), "oversampling must be finite and above 0, got 0"),
        ((np.eye(9), 1, "best"), "components must be one of"),
        ((np.eye(9), 1, 9), "components must be at most 8, got 9"),
        ((np.eye(9), 1, 2, 0.0), "tol must be finite and at least"),
    ],
)
def test_bad_input_is_named(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        fg.psf_from_image(*arguments)
