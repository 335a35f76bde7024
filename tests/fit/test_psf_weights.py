"""Point spread functions with free weights: twins, statistics, files, and what is refused."""

import os
import pickle

import naive_fit
import naive_psf
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.models.field_terms import Extent
from fastgauss.models.psf_field import psf_field

ROUND = [(0.6, 0, 0, 1.1, 1.1), (0.3, 0, 0, 1.9, 1.9), (0.1, 0, 0, 4.5, 4.5)]
ROTATED = [(0.7, 0.1, 0, 1.9, 1.2, 0.5), (0.3, 0.3, -0.2, 3.0, 2.6, 0)]
COUNT = 2 if JIT_DISABLED else 4
SHAPE = (6, 11) if JIT_DISABLED else (11, 13)
rare = pytest.mark.skipif(
    not (JIT_DISABLED or os.environ.get("FASTGAUSS_EVERY_COMBINATION")),
    reason="its kernels are compiled for this alone",
)
compiled = pytest.mark.skipif(JIT_DISABLED, reason="a statistic over many fits")


def psf_of(parts):
    weights, x, y, sigma_x, sigma_y, *theta = np.array(parts, float).T
    sigmas, offsets = np.column_stack([sigma_y, sigma_x]), np.column_stack([y, x])
    return fg.psf_model(weights, sigmas, offsets=offsets, theta=theta[0] if theta else None)


TWO = fg.psf_model([0.7, 0.3], [1.1, 2.4])
SIDED = psf_of(ROTATED).with_weights()  # one component is turned


def stars(rng, model, count, shape=SHAPE, flux=4000.0, width=1.05):
    """Parameters of stars near the middle."""
    truth = np.empty((count, model.size))
    truth[:, 0] = flux * rng.uniform(0.9, 1.1, count)
    truth[:, 1:3] = 0.5 * (np.array(shape[::-1]) - 1) + rng.uniform(-0.5, 0.5, (count, 2))
    if "width" in model.names:
        truth[:, 3] = width
    own = model.free_weights
    truth[:, own] = 0.35 / len(own) + rng.uniform(-0.05, 0.05, (count, len(own)))
    truth[:, -1] = 10.0
    return truth


# -- values ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pixel", ["sample", "integrate"])
@pytest.mark.parametrize("wide", [False, True], ids=["known", "free"])
@pytest.mark.parametrize("parts", [ROUND, ROTATED], ids=["round", "rotated"])
def test_values_and_derivatives_are_those_of_the_twin(parts, wide, pixel):
    psf = psf_of(parts)
    model = psf.with_width().with_weights() if wide else psf.with_weights()
    own = parts if parts is ROUND else parts[::-1]  # the rotated component comes last
    names = [f"weight_{k}" for k in range(2, len(parts) + 1)]
    assert model.names == ("flux", "x", "y", *(["width"] if wide else []), *names, "offset")
    weights = [0.45, -0.08][: len(parts) - 1]
    params = [870.0, 4.3, 5.2, *([1.17] if wide else []), *weights, 12.0]
    y, x = np.indices((9, 11)).astype(float)
    expected = naive_psf.weighted_values(own, x, y, params, pixel)
    assert_allclose(fg.evaluate((x, y), params, model, pixel), expected, rtol=1e-12)
    assert_allclose(fg.image(params, (9, 11), model, pixel), expected, rtol=1e-12)
    slopes = naive_psf.slopes(own, x, y, params, pixel, naive_psf.weighted_values)
    size = np.abs(slopes).max(axis=(0, 1))
    assert_allclose(fg.jacobian((x, y), params, model, pixel) / size, slopes / size, atol=1e-12)
    assert_allclose(model.weights_of(params), [1.0 - sum(weights), *weights], rtol=1e-15)
    many = np.array([params, np.array(params) * 0.9])
    assert_allclose(fg.jacobian((3.0, 4.0), many, model)[0], fg.jacobian((3.0, 4.0), params, model))


@pytest.mark.parametrize("parts", [ROUND, ROTATED], ids=["round", "rotated"])
def test_with_its_own_weights_it_is_the_known_function(parts):
    psf = psf_of(parts)
    model = psf.with_weights()
    weights = model.weights_of(np.zeros(model.size))
    assert weights[0] == 1.0
    assert_allclose(psf.weights_of([9.0, 1, 1, 0]), [part[0] for part in parts], rtol=1e-15)
    own = sorted(parts, key=lambda part: bool(part[5:] and part[5]))
    params = [900.0, 4.4, 5.1, *(part[0] for part in own[1:]), 10.0]
    plain = [*params[:3], 10.0]
    expected = fg.image(plain, (9, 11), psf, "integrate")
    assert_allclose(fg.image(params, (9, 11), model, "integrate"), expected, rtol=1e-14)
    assert_allclose(model.widths(np.array(params)), psf.widths(np.array(plain)), rtol=1e-12)
    assert model.with_weights() == model == psf.with_weights()
    assert pickle.loads(pickle.dumps(model)) == model != psf
    assert psf.with_width().with_weights() == psf.with_weights().with_width()
    assert repr(model).endswith(", free weights>")


def test_the_width_follows_the_weights():
    model = TWO.with_weights()
    other = fg.psf_model([0.4, 0.6], [1.1, 2.4])
    params = np.array([[900.0, 5, 5, 0.6, 0.0], [900.0, 5, 5, 0.3, 0.0], [900.0, 5, 5, 40.0, 0.0]])
    expected = [other.own_sigma, TWO.own_sigma, np.nan]  # the last is below 0 in its centre
    assert_allclose(model.widths(params)[:, 0], expected, rtol=1e-9)
    wide = np.insert(params, 3, 1.5, axis=1)
    assert_allclose(model.with_width().widths(wide)[:2, 0], 1.5 * np.array(expected[:2]), rtol=1e-9)


# -- fits --------------------------------------------------------------------------------------


def own_options(kind, rng, rois):
    """The options of a kind of fit; some pixels of a camera's ``rois`` become NaN."""
    if kind == "weights":
        maps = {"weights": rng.uniform(0.5, 2.0, SHAPE), "mask": np.eye(*SHAPE, dtype=bool)}
        held = {"fixed": {"offset": 10.0}, "bounds": {"weight_2": (0.0, 0.36)}}
        return {"method": "lsq", "pixel": "sample", **maps, **held}
    if kind == "camera":
        rois[:, 2, 3] = np.nan
        maps = {"variance": rng.uniform(0.0, 9.0, SHAPE)}
        return {"method": "mle", "pixel": "integrate", **maps}
    return {"method": "lsq", "pixel": "sample"}


@pytest.mark.parametrize("model", [TWO.with_weights(), SIDED], ids=["round", "rotated"])
@pytest.mark.parametrize("kind", ["plain", "weights", "camera"])
def test_a_fit_is_what_its_twin_finds(kind, model):
    rng = np.random.default_rng(3)
    truth = stars(rng, model, COUNT)
    pixel = "integrate" if kind == "camera" else "sample"
    rois = rng.poisson(fg.image(truth, SHAPE, model, pixel)).astype(np.float64)
    own = own_options(kind, rng, rois)
    result = fg.fit_rois(rois, model, tol=1e-9, **own)
    naive_fit.assert_fits(result, rois, truth, model, lambda _: own)
    assert_allclose(result.flux_error, result.errors[:, 0], rtol=1e-15)


@rare
@pytest.mark.parametrize("kind", ["plain", "camera"])
def test_a_fit_of_both_is_what_its_twin_finds(kind):
    rng, model = np.random.default_rng(5), TWO.with_width().with_weights()
    truth = stars(rng, model, COUNT, flux=4e5)
    pixel = "integrate" if kind == "camera" else "sample"
    rois = rng.poisson(fg.image(truth, SHAPE, model, pixel)).astype(np.float64)
    own = own_options(kind, rng, rois)
    result = fg.fit_rois(rois, model, tol=1e-9, **own)
    naive_fit.assert_fits(result, rois, truth, model, lambda _: own)


@rare
def test_the_sandwich_is_that_of_the_definition():
    rng, model = np.random.default_rng(8), TWO.with_weights()
    truth = stars(rng, model, 3)
    rois = rng.poisson(fg.image(truth, SHAPE, model)).astype(np.float64)
    result = fg.fit_rois(rois, model, covariance="sandwich", tol=1e-9)
    naive_fit.assert_fits(result, rois, truth, model, lambda _: {}, "sandwich")


@rare
def test_free_weights_on_a_plane():
    rng, model = np.random.default_rng(9), TWO.with_weights()
    truth = stars(rng, model, 4)
    y, x = np.indices(SHAPE)
    rois = fg.image(truth, SHAPE, model) + 1.5 * x - 0.7 * y + rng.normal(0.0, 0.3, (4, *SHAPE))
    found = fg.fit_rois(rois, model, background="plane")
    assert found.converged.all()
    assert found.names == ("flux", "x", "y", "weight_2", "slope_x", "slope_y", "offset")
    assert (abs(found.params[:, :4] - truth[:, :4]) < 5 * found.errors[:, :4]).all()
    naive_fit.assert_fits(found, rois, [found.params.mean(axis=0)] * 4, found.model, lambda _: {})


@compiled
@pytest.mark.parametrize("method", ["lsq", "mle"])
def test_estimates_scatter_as_the_information_says(method):
    rng, side = np.random.default_rng(1), (21, 21)
    psf = fg.psf_model([0.6, 0.3, 0.1], [1.1, 1.9, 4.5])
    model = psf.with_weights()
    truth = stars(rng, model, 8000, side, flux=200.0 / psf.peak)
    clean = fg.image(truth, side, model)
    rois = rng.poisson(clean) if method == "mle" else clean + rng.normal(0.0, 5.0, clean.shape)
    result = fg.fit_rois(rois, model, method=method)
    assert result.converged.mean() > 0.999
    bound = np.empty((300, model.size))
    y, x = (each.ravel() for each in np.indices(side))
    for k, params in enumerate(truth[:300]):
        slopes = fg.jacobian((x, y), params, model)
        noise = fg.evaluate((x, y), params, model) if method == "mle" else 25.0
        bound[k] = np.sqrt(np.diag(np.linalg.inv((slopes.T / noise) @ slopes)))
    away = (result.params - truth)[result.converged]
    ratio = away.std(axis=0) / np.sqrt((bound**2).mean(axis=0))
    assert (ratio > 0.97).all() and (ratio < 1.04).all(), ratio
    pulls = (away / result.errors[result.converged]).std(axis=0)
    assert_allclose(pulls, 1.0, atol=0.04)


@compiled
def test_weights_of_all_stars_that_are_held_or_bounded():
    rng, model = np.random.default_rng(4), TWO.with_weights()
    truth = stars(rng, model, 40)
    truth[:, 3] = 0.45
    rois = rng.poisson(fg.image(truth, SHAPE, model)).astype(np.float64)
    flat = {"weights": np.full(SHAPE, 0.01)}  # no noise of this light is larger by much
    own = fg.fit_rois(rois, model, **flat, bounds={"weight_2": (-0.5, 1.5)})
    one = fg.fit_rois(rois, model, **flat, shared="weight_2")
    assert one.converged.all() and len(set(one.weight_2)) == 1
    assert abs(one.weight_2[0] - 0.45) < 4 * one.weight_2_error[0]
    assert (one.weight_2_error < 0.3 * own.weight_2_error).all()
    held = fg.fit_rois(rois, model, **flat, fixed={"weight_2": 0.3})
    known = fg.fit_rois(rois, TWO, **flat, bounds={"flux": (0.0, None)})
    assert_allclose(held.params[:, [0, 1, 2, 4]], known.params, rtol=1e-6)
    assert (held.weight_2_error == 0.0).all() and (held.dof == known.dof).all()
    low = fg.fit_rois(rois, model, **flat, bounds={"weight_2": (0.0, 0.4)})
    assert (low.weight_2 <= 0.4).all() and (low.status == fg.Status.AT_BOUND).any()


def test_stars_of_an_image_are_found_drawn_and_kept(tmp_path):
    places = np.array([[14.3, 15.2], [16.8, 50.1], [45.6, 30.7], [47.2, 63.4]])
    truth = np.column_stack([[9e3, 4e3, 2e4, 3e3], places[:, ::-1], [0.4, 0.3, 0.2, 0.35]])
    truth = np.column_stack([truth, np.zeros(4)])
    corners = np.array([[1.1, 2.4], [0.1, 0.1], [0.2, 0.2]])
    field = psf_field(1, 0, Extent(64, 80), np.array([0.7, 0.3]), corners).with_weights()
    for model in (TWO.with_weights(), field):
        light = fg.image(truth, (64, 80), model).sum(axis=0) + 20.0
        found = fg.fit_spots(light, places, model, box=15)
        assert found.converged.all()
        assert_allclose(found.flux, truth[:, 0], rtol=2e-2)
        assert_allclose(found.weight_2, truth[:, 3], atol=2e-2)
        for name in ("a.npz", "a.json"):
            found.save(tmp_path / name)
            again = fg.FitResult.load(tmp_path / name)
            assert again.model == model
            assert_array_equal(again.covariance, found.covariance)
        left = light - found.render((64, 80), background=20.0)
        assert abs(left).max() < 0.02 * (light.max() - 20.0)
    table = pytest.importorskip("astropy.table") and found.to_table()
    assert "component 2" in table["weight_2"].info.description
    with pytest.raises(ValueError, match=r"take model\.base\.at"):
        fg.fit_rois(light[None], field)


@rare
def test_a_result_of_both_is_kept(tmp_path):
    model = TWO.with_width().with_weights()
    truth = stars(np.random.default_rng(2), model, 3)
    found = fg.fit_rois(fg.image(truth, SHAPE, model), model)
    found.save(tmp_path / "a.json")
    assert fg.FitResult.load(tmp_path / "a.json").model == model


@compiled
def test_a_result_has_the_same_bits_in_any_company():
    rng, model = np.random.default_rng(5), TWO.with_weights()
    rois = rng.poisson(fg.image(stars(rng, model, 5000), SHAPE, model)).astype(np.float64)
    whole = fg.fit_rois(rois, model, threads=1)
    assert_array_equal(fg.fit_rois(rois, model, threads=3).params, whole.params)
    some = np.arange(0, len(rois), 7)
    assert_array_equal(fg.fit_rois(rois[some], model).params, whole.params[some])


def test_a_dark_star_and_one_below_zero_in_its_wings():
    model = TWO.with_weights()
    cases = [-900.0, 6.1, 4.9, 0.4, 90.0], [900.0, 6.1, 4.9, -0.4, 60.0]
    for truth, polarity in zip(cases, ("dark", "bright"), strict=True):
        roi = fg.image([truth], (11, 13), model)
        found = fg.fit_rois(roi, model, method="mle", polarity=polarity)
        assert_allclose(found.params, [truth], rtol=1e-4)


# -- what is refused ---------------------------------------------------------------------------


def test_what_has_no_meaning_with_free_weights_is_refused():
    model, image, place = TWO.with_weights(), np.ones((31, 33)), [[15.0, 15.0]]
    with pytest.raises(ValueError, match="two Gaussians or more: one alone has the whole flux"):
        fg.psf_model([2.0], [1.2]).with_weights()
    with pytest.raises(ValueError, match="of known weights, got free ones"):
        model.with_source()
    with pytest.raises(ValueError, match="of stars alone, got a model with a source"):
        TWO.with_source().with_weights()
    with pytest.raises(ValueError, match="of known width, got a free one"):
        model.with_width().with_source()
    for each in (model, model.with_width()):
        with pytest.raises(ValueError, match="have known weights for a joint fit, got"):
            fg.fit_joint(image, place, each)
        with pytest.raises(ValueError, match="free weights"):
            fg.fit_spots(image, model=each, joint=True)
    with pytest.raises(ValueError, match="params must have a last axis of 5"):
        model.weights_of([1.0, 2.0])
