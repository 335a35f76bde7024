"""Fits of point spread functions against their twin, the Cramer-Rao bound and known fluxes."""

import os

import naive_fit
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.models.field_terms import Extent
from fastgauss.models.psf_field import psf_field

PSF = fg.psf_model([0.6, 0.3, 0.1], [1.1, 1.9, 4.5])
SKEW = fg.psf_model([0.8, 0.2], [[1.0, 1.3], [2.1, 1.8]], offsets=[[0.0, 0.1], [0.4, -0.3]])
ROTATED = fg.psf_model([0.8, 0.2], [[1.1, 1.6], [3.0, 2.0]], theta=[0.6, -0.3])
WIDE = PSF.with_width()
COUNT = 2 if JIT_DISABLED else 4
SHAPE = (6, 11) if JIT_DISABLED else (9, 12)
rare = pytest.mark.skipif(
    not (JIT_DISABLED or os.environ.get("FASTGAUSS_EVERY_COMBINATION")),
    reason="its kernels are compiled for this alone",
)
KINDS = {  # method, pixel, and options by the row
    "plain": ("lsq", "sample", lambda _: {}),
    "weights": (
        "lsq",
        "sample",
        lambda _: {"fixed": {"offset": 10.0}, "bounds": {"x": (4.0, 7.0)}},
    ),
    "camera": ("mle", "integrate", lambda _: {}),
}


def stars(rng, count, psf, peak=200.0, shape=(11, 11), pixel="sample"):
    """Counts of stars of this height, and their parameters."""
    middle = 0.5 * (np.array(shape) - 1)
    truth = np.empty((count, 4))
    truth[:, 0] = peak / psf.peak * rng.uniform(0.9, 1.1, count)
    truth[:, 1:3] = middle[::-1] + rng.uniform(-0.5, 0.5, (count, 2))
    truth[:, 3] = 10.0
    return rng.poisson(fg.image(truth, shape, psf, pixel)).astype(np.float64), truth


def with_widths(truth, rng):
    """Parameters with a width near 1."""
    return np.insert(truth, 3, rng.uniform(0.9, 1.1, len(truth)), axis=1)


def own_options(kind, rng, rois):
    """The options of a kind of fit; some pixels of a camera's ``rois`` become NaN."""
    method, pixel, options = KINDS[kind]
    maps = {}
    if kind == "weights":
        maps = {"weights": rng.uniform(0.5, 2.0, SHAPE), "mask": np.eye(*SHAPE, dtype=bool)}
    if kind == "camera":
        maps = {"variance": rng.uniform(0.0, 9.0, SHAPE)}
        rois[:, 2, 3] = np.nan
    return maps | options(0) | {"method": method, "pixel": pixel}


@pytest.mark.parametrize("psf", [PSF, SKEW, ROTATED], ids=["round", "skew", "rotated"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_is_what_its_twin_finds(kind, psf):
    pixel, rng = KINDS[kind][1], np.random.default_rng(3)
    rois, truth = stars(rng, COUNT, psf, shape=SHAPE, pixel=pixel)
    own = own_options(kind, rng, rois)
    result = fg.fit_rois(rois, psf, tol=1e-9, **own)
    naive_fit.assert_fits(result, rois, truth, psf, lambda _: own)


def test_the_sandwich_is_that_of_the_definition():
    rois, truth = stars(np.random.default_rng(8), 3, PSF)
    result = fg.fit_rois(rois, PSF, covariance="sandwich", tol=1e-9)
    naive_fit.assert_fits(result, rois, truth, PSF, lambda _: {}, "sandwich")


@pytest.mark.parametrize("parts", [1, 2, 5, 8])
def test_stars_without_noise_come_back(parts):
    sigmas = np.geomspace(1.0, 1.0 + parts, parts)
    psf = fg.psf_model(1 / sigmas, sigmas)
    truth = np.array([[900.0, 5.2, 4.8, 10.0], [50.0, 4.6, 5.5, -3.0], [1e6, 5.0, 5.0, 0.0]])
    result = fg.fit_rois(fg.image(truth, (11, 12), psf), psf, tol=1e-10)
    assert result.converged.all()
    assert_allclose(result.flux, truth[:, 0], rtol=1e-10)
    assert_allclose(result.params, truth, rtol=1e-9, atol=1e-6)


def test_one_component_is_a_symmetric_spot_of_that_sigma():
    rois, _ = stars(np.random.default_rng(2), 5, fg.psf_model([1.0], [1.3]))
    area = 2 * np.pi * 1.3**2
    one = fg.fit_rois(rois, fg.psf_model([1.0], [1.3]), tol=1e-12)
    other = fg.fit_rois(rois, "symmetric", fixed={"sigma": 1.3}, tol=1e-12)
    assert_allclose(one.params[:, 1:], other.params[:, [1, 2, 4]], rtol=1e-10)
    assert_allclose(one.flux, area * other.amplitude, rtol=1e-10)
    assert_allclose(one.flux_error, area * other.errors[:, 0], rtol=1e-9)
    assert_allclose(one.objective, other.objective, rtol=1e-12)
    assert_allclose(one.fwhm, other.fwhm, rtol=1e-9)


@pytest.mark.skipif(JIT_DISABLED, reason="a statistic over thousands of fits")
@pytest.mark.parametrize("psf", [PSF, WIDE], ids=["known", "free"])
@pytest.mark.parametrize("method", ["lsq", "mle"])
def test_estimates_scatter_as_the_information_says(method, psf):
    rng = np.random.default_rng(1)
    rois, truth = stars(rng, 20_000, PSF)
    if psf is WIDE:
        truth = with_widths(truth, rng)
        rois = rng.poisson(fg.image(truth, (11, 11), WIDE)).astype(np.float64)
    if method == "lsq":  # at its bound where the noise is the same everywhere
        rois = fg.image(truth, (11, 11), psf) + rng.normal(0.0, 5.0, rois.shape)
    result = fg.fit_rois(rois, psf, method=method)
    assert result.converged.all()
    bound = np.empty_like(truth)
    y, x = np.indices((11, 11))
    for k, params in enumerate(truth[:300]):
        slopes = fg.jacobian((x.ravel(), y.ravel()), params, psf)
        noise = fg.evaluate((x.ravel(), y.ravel()), params, psf) if method == "mle" else 25.0
        bound[k] = np.sqrt(np.diag(np.linalg.inv((slopes.T / noise) @ slopes)))
    ratio = (result.params - truth).std(axis=0) / np.sqrt((bound[:300] ** 2).mean(axis=0))
    assert (ratio > 0.98).all() and (ratio < 1.03).all(), ratio


def test_a_result_has_the_same_bits_in_any_company():
    rois, _ = stars(np.random.default_rng(5), 40 if JIT_DISABLED else 9000, PSF)
    whole = fg.fit_rois(rois, PSF, threads=1)
    assert_array_equal(fg.fit_rois(rois, PSF, threads=3).params, whole.params)
    some = np.arange(0, len(rois), 7)
    assert_array_equal(fg.fit_rois(rois[some], PSF).params, whole.params[some])


def test_a_model_that_is_dark_or_falls_below_zero_has_a_start():
    narrow = fg.psf_model([1.0], [0.3])  # its peak is above 1
    hole = fg.image([-40.0, 5.0, 5.0, 60.0], (11, 11), narrow, "integrate")
    result = fg.fit_rois(hole[None], narrow, method="mle", pixel="integrate", polarity="dark")
    assert_allclose(result.params[0], [-40.0, 5.0, 5.0, 60.0], rtol=1e-5)
    ringed = fg.psf_model([2.0, -1.0], [1.5, 2.2])  # below 0 in its wings
    assert ringed.known[3] > 0
    star = fg.image([300.0, 5.2, 4.9, 40.0], (11, 11), ringed, "integrate")
    found = fg.fit_rois(star[None], ringed, method="mle", pixel="integrate")
    assert_allclose(found.params[0], [300.0, 5.2, 4.9, 40.0], rtol=1e-5)


def test_the_model_of_a_file_and_of_a_table(tmp_path):
    rois, _ = stars(np.random.default_rng(6), 3, PSF)
    result = fg.fit_rois(rois, PSF)
    assert result.names == ("flux", "x", "y", "offset")
    assert list(result.to_dict()).count("flux") == 1 and len(set(result.columns)) == len(
        result.columns
    )
    assert_array_equal(result.flux, result.params[:, 0])
    assert_allclose(result.flux_error, result.errors[:, 0], rtol=1e-15)
    result.save(tmp_path / "a.npz")
    again = fg.FitResult.load(tmp_path / "a.npz")
    assert again.model == PSF
    assert_array_equal(again.covariance, result.covariance)
    with pytest.raises(ValueError, match="CSV table cannot hold the constants of the model 'psf'"):
        result.save(tmp_path / "a.csv")


def test_stars_of_an_image_are_fitted_drawn_and_subtracted():
    rng = np.random.default_rng(4)
    places = np.array([[14.3, 15.2], [16.8, 50.1], [45.6, 30.7], [47.2, 63.4]])
    flux = np.array([9e3, 4e3, 2e4, 3e3])
    truth = np.column_stack([flux, places[:, ::-1], [20.0, 0.0, 0.0, 0.0]])
    clean = fg.image(truth, (64, 80), PSF, "integrate").sum(axis=0)
    picture = rng.poisson(clean)
    found = fg.fit_spots(picture, places + 0.3, PSF, pixel="integrate", method="mle", box=13)
    assert found.converged.all()
    assert (abs(found.flux - flux) < 5 * found.flux_error).all()
    drawn = found.render((64, 80), background=20.0)
    light = fg.image(found.params * [1, 1, 1, 0], (64, 80), PSF, "integrate").sum(axis=0)
    assert_allclose(drawn - 20.0, light, atol=1e-6 * light.max())
    searched = fg.fit_spots(picture, model=PSF, pixel="integrate", method="mle")
    assert len(searched) == 4


def test_a_window_is_as_wide_as_the_star_unless_it_is_told():
    wide = fg.psf_model([0.8, 0.2], [2.5, 5.0])
    picture = fg.image([5e4, 30.4, 29.7, 50.0], (61, 61), wide)
    place = [[29.7, 30.4]]
    assert fg.fit_spots(picture, place, wide).pixels[0] == 21 * 21
    assert fg.fit_spots(picture, place, wide, sigma=2.0).pixels[0] == 17 * 17
    assert fg.fit_spots(picture, place, "symmetric").pixels[0] == 11 * 11


def test_a_hot_pixel_is_told_and_a_known_place_is_not_judged():
    rois, truth = stars(np.random.default_rng(7), 2, PSF)
    rois[0, 1, 9] += 3000.0
    result = fg.fit_rois(rois, PSF, guess=truth)
    assert result.status[1] == fg.Status.CONVERGED and result.status[0] != fg.Status.CONVERGED
    held = {"x": truth[1:, 1], "y": truth[1:, 2]}
    forced = fg.fit_rois(rois[1:], PSF, fixed=held, weights=np.full((11, 11), 0.01))
    assert forced.converged.all() and forced.errors[0, 1] == 0
    assert abs(forced.flux[0] - truth[1, 0]) < 5 * forced.flux_error[0]


# -- a free width ------------------------------------------------------------------------------


@pytest.mark.parametrize("psf", [PSF, SKEW, ROTATED], ids=["round", "skew", "rotated"])
@pytest.mark.parametrize(
    "kind", ["weights", *(pytest.param(kind, marks=rare) for kind in ("plain", "camera"))]
)
def test_a_fit_with_a_free_width_is_what_its_twin_finds(kind, psf):
    pixel, rng, wide = KINDS[kind][1], np.random.default_rng(3), psf.with_width()
    truth = with_widths(stars(rng, COUNT, psf, shape=SHAPE, pixel=pixel)[1], rng)
    rois = rng.poisson(fg.image(truth, SHAPE, wide, pixel)).astype(np.float64)
    own = own_options(kind, rng, rois)
    result = fg.fit_rois(rois, wide, tol=1e-9, **own)
    naive_fit.assert_fits(result, rois, truth, wide, lambda _: own)
    assert_allclose(result.fwhm, result.width * psf.fwhm, rtol=1e-12)


def test_the_width_of_one_component_is_a_sigma():
    rois, _ = stars(np.random.default_rng(2), 5, fg.psf_model([1.0], [1.3]))
    psf = fg.psf_model([1.0], [1.2]).with_width()
    one = fg.fit_rois(rois, psf, tol=1e-12)
    other = fg.fit_rois(rois, "symmetric", tol=1e-12)
    assert_allclose(1.2 * one.width, other.sigma, rtol=1e-12)
    assert_allclose(one.params[:, [1, 2, 4]], other.params[:, [1, 2, 4]], rtol=1e-11)
    assert_allclose(one.flux, other.flux, rtol=1e-12)
    assert_allclose(one.flux_error, other.flux_error, rtol=1e-9)
    assert_allclose(1.2 * one.width_error, other.errors[:, 3], rtol=1e-9)
    assert_allclose(one.objective, other.objective, rtol=1e-12)


@pytest.mark.skipif(JIT_DISABLED, reason="dozens of fits")
def test_a_width_that_is_known_or_that_of_all_stars():
    rng = np.random.default_rng(4)
    rois, truth = stars(rng, 30, PSF.with_width().base)
    flat = np.full((11, 11), 0.01)  # no noise of this light is larger by much
    known, held = (
        fg.fit_rois(rois, PSF, weights=flat, bounds={"flux": (0.0, None)}),
        fg.fit_rois(rois, WIDE, weights=flat, fixed={"width": 1.0}),
    )
    assert_allclose(held.params[:, [0, 1, 2, 4]], known.params, rtol=1e-6)
    assert (held.width == 1.0).all() and (held.width_error == 0.0).all()
    assert_array_equal(held.dof, known.dof)
    truth = np.insert(truth, 3, 1.15, axis=1)
    rois = rng.poisson(fg.image(truth, (11, 11), WIDE)).astype(np.float64)
    own = fg.fit_rois(rois, WIDE, weights=flat, bounds={"width": (0.5, 2.0)})
    one = fg.fit_rois(rois, WIDE, weights=flat, shared="width")
    assert one.converged.all() and len(set(one.width)) == 1
    assert abs(one.width[0] - 1.15) < 4 * one.width_error[0]
    assert (one.width_error < 0.4 * own.width_error).all()
    low = fg.fit_rois(rois, WIDE, weights=flat, bounds={"width": (0.5, 1.0)})
    assert (low.width <= 1.0).all() and (low.status == fg.Status.AT_BOUND).any()


@rare
def test_a_free_width_on_a_plane():
    rng = np.random.default_rng(9)
    truth = with_widths(stars(rng, 4, SKEW)[1], rng)
    y, x = np.indices((11, 11))
    rois = fg.image(truth, (11, 11), SKEW.with_width()) + 1.5 * x - 0.7 * y
    rois += rng.normal(0.0, 0.3, rois.shape)
    found = fg.fit_rois(rois, SKEW.with_width(), background="plane")
    assert found.converged.all()
    assert found.names == ("flux", "x", "y", "width", "slope_x", "slope_y", "offset")
    assert (abs(found.slope_x - 1.5) < 5 * found.slope_x_error).all()
    assert (abs(found.params[:, :4] - truth[:, :4]) < 5 * found.errors[:, :4]).all()
    start = found.params.mean(axis=0)
    naive_fit.assert_fits(found, rois, [start] * 4, found.model, lambda _: {})


def test_stars_out_of_focus_are_found_drawn_and_kept(tmp_path):
    places = np.array([[14.3, 15.2], [16.8, 50.1], [45.6, 30.7], [47.2, 63.4]])
    truth = np.column_stack([[9e3, 4e3, 2e4, 3e3], places[:, ::-1], [1.2, 1.0, 0.9, 1.1]])
    truth = np.column_stack([truth, np.zeros(4)])
    field = psf_field(1, 0, Extent(64, 80), np.ones(1), np.array([[1.1], [0.1], [0.2]]))
    for model in (WIDE, field.with_width()):
        light = fg.image(truth, (64, 80), model).sum(axis=0) + 20.0
        found = fg.fit_spots(light, places, model, box=13)
        assert found.converged.all()
        if model is WIDE:
            assert_allclose(found.width, truth[:, 3], rtol=2e-2)
        found.save(tmp_path / "a.npz")
        again = fg.FitResult.load(tmp_path / "a.npz")
        assert again.model == model
        assert_array_equal(again.covariance, found.covariance)
        left = light - found.render((64, 80), background=20.0)
        assert abs(left).max() < 0.02 * (light.max() - 20.0)
    table = pytest.importorskip("astropy.table") and found.to_table()
    assert "width" in table.colnames and "factor" in table["width"].info.description


@pytest.mark.skipif(JIT_DISABLED, reason="dozens of fits")
def test_widths_that_the_pixels_cannot_tell_or_that_are_none():
    faint = fg.image([[60.0, 5.1, 4.9, 4.0, 10.0]] * 24, (11, 11), "symmetric")
    faint += np.random.default_rng(5).normal(0.0, 6.0, faint.shape)
    one = fg.fit_rois(faint, fg.psf_model([1.0], [1.2]).with_width())
    other = fg.fit_rois(faint, "symmetric")
    assert_array_equal(one.status, other.status)
    assert 2 < (one.status == fg.Status.TOO_WIDE).sum() < 24
    hole = fg.image([[-400.0, 5.1, 4.9, 0.7, 90.0]], (11, 11), WIDE)
    found = fg.fit_rois(hole, WIDE, method="mle", polarity="dark")
    assert_allclose(found.params, [[-400.0, 5.1, 4.9, 0.7, 90.0]], rtol=1e-5)
    with pytest.raises(ValueError, match="guess must have a positive width"):
        fg.fit_rois(hole, WIDE, guess=[900.0, 5.0, 5.0, 0.0, 90.0])
    with pytest.raises(ValueError, match="width must be allowed to be positive"):
        fg.fit_rois(hole, WIDE, bounds={"width": (-2.0, 0.0)})
    with pytest.raises(ValueError, match="width must be allowed to be positive"):
        fg.fit_rois(hole, WIDE, fixed={"width": 0.0})
