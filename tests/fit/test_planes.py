"""Fits of spots on a plane of background: twins, the Cramer-Rao bound, statuses, results."""

import os
import pickle

import naive_fit
import naive_plane
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.kernels.fit.plane_starts import level_spots
from fastgauss.models.field_terms import Extent
from fastgauss.models.model import get_model
from fastgauss.models.psf_field import psf_field
from fastgauss.models.sloped import with_background

SPOT = [200.0, 5.2, 4.9, 1.3, 60.0]
SLOPES = [2.0, -3.0]
rare = pytest.mark.skipif(
    not (JIT_DISABLED or os.environ.get("FASTGAUSS_EVERY_COMBINATION")),
    reason="its kernels are compiled for this alone",
)

LENS = fg.astigmatic_model((1.3, -250.0, 400.0), (1.3, 250.0, 400.0), (-500.0, 500.0))
PSF = fg.psf_model([0.6, 0.3, 0.1], [[1.1, 1.1], [1.6, 1.9], [3.0, 2.0]], theta=[0.0, 0.0, 0.4])


def counts(count, truth=(SPOT, SLOPES), shape=(11, 11), seed=0):
    """Poisson ROIs of a symmetric spot on a plane, and their parameters."""
    params = naive_plane.on_plane(np.tile(truth[0], (count, 1)), truth[1])
    rng = np.random.default_rng(seed)
    return rng.poisson(naive_plane.images(params, shape, "symmetric")).astype(float), params


def model_of(name, ndim):
    """A model on a plane."""
    return with_background(get_model(name, ndim) if isinstance(name, str) else name, "plane")


# -- the model ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "spot"),
    [
        ("symmetric", (9,), [90.0, 4.2, 1.3, 10.0]),
        ("rotated", (8, 9), [90.0, 4.2, 3.9, 1.7, 1.2, 0.4, 10.0]),
        ("symmetric", (5, 6, 7), [90.0, 3.2, 2.9, 2.1, 1.3, 10.0]),
        (PSF, (8, 9), [900.0, 4.2, 3.9, 10.0]),
    ],
)
def test_values_are_those_of_spot_and_plane(name, shape, spot):
    model = model_of(name, len(shape))
    params = naive_plane.on_plane(spot, [2.0, -1.5, 0.7][: len(shape)])
    wanted = naive_plane.images(params, shape, name)
    assert_allclose(fg.image(params, shape, model), wanted, rtol=1e-13)
    points = tuple(axis.astype(float) for axis in np.indices(shape)[::-1])
    assert_allclose(fg.evaluate(points, params[0], model), wanted[0], rtol=1e-13)
    steps = 1e-6 * np.eye(model.size)
    slopes = [
        (fg.evaluate(points, params[0] + s, model) - fg.evaluate(points, params[0] - s, model))
        / 2e-6
        for s in steps
    ]
    found = fg.jacobian(points, params[0], model)
    assert_allclose(found, np.stack(slopes, axis=-1), atol=1e-6 * abs(found).max())


def test_slopes_to_start_from_are_those_of_the_medians_of_the_sides():
    for shape in ((12,), (7, 11), (3, 6, 10)):
        rois = np.random.default_rng(4).normal(size=(3, *shape))
        rois.reshape(3, -1)[1, 0] = np.nan
        slopes, level = np.empty((3, len(shape))), np.empty((3, rois[0].size))
        whole = (1,) * (3 - len(shape)) + shape
        level_spots(rois.reshape(3, -1), np.empty((1, 0)), *whole, slopes, level)
        for roi, slope, flat in zip(rois, slopes, level, strict=True):
            wanted = naive_plane.level(roi)
            assert_allclose(slope, wanted[0], rtol=1e-12, atol=1e-14)
            assert_allclose(flat.reshape(shape), wanted[1], rtol=1e-12, atol=1e-12)


# -- fits --------------------------------------------------------------------------------------

ROTATED = [200.0, 5.2, 3.9, 1.8, 1.2, 0.5, 60.0]
SOLID = [200.0, 2.7, 2.9, 2.4, 1.1, 1.3, 1.2, 60.0]
FITS = {  # model, shape, spot, method, pixel, kind of options
    "plain": ("symmetric", (9, 10), SPOT, "lsq", "sample", "free"),
    "mle": ("symmetric", (9, 10), SPOT, "mle", "sample", "free"),
    "profile": ("symmetric", (16,), [200.0, 7.2, 1.5, 60.0], "mle", "integrate", "held"),
    "weights": ("elliptic", (9, 10), [*SPOT[:4], 1.6, 60.0], "lsq", "integrate", "gaps"),
    "camera": ("symmetric", (9, 10), SPOT, "mle", "sample", "gaps"),
    "volume": ("elliptic", (6, 7, 6), SOLID, "lsq", "sample", "free"),
    "held volume": ("symmetric", (6, 7, 6), [*SOLID[:5], 60.0], "lsq", "sample", "held"),
    "rotated": ("rotated", (9, 10), ROTATED, "lsq", "sample", "free"),
    "held rotated": ("rotated", (9, 10), ROTATED, "mle", "sample", "held"),
    "integrated": (
        "rotated",
        (6, 7),
        [200.0, 3.2, 2.6, 1.4, 1, 0.5, 60],
        "mle",
        "integrate",
        "free",
    ),
    "astigmatic": (LENS, (11, 11), [200.0, 5.2, 4.9, 120.0, 60.0], "mle", "sample", "free"),
    "psf": (PSF, (9, 10), [2000.0, 5.2, 3.9, 60.0], "lsq", "sample", "free"),
    "held psf": (PSF, (9, 10), [2000.0, 5.2, 3.9, 60.0], "mle", "sample", "held"),
}
COMPILED = ("plain", "mle")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in COMPILED else rare) for n in FITS]
)
def test_a_fit_is_what_its_twin_finds(name):
    kind, shape, spot, method, pixel, how = FITS[name]
    model = model_of(kind, len(shape))
    truth = naive_plane.on_plane(np.tile(spot, (2, 1)), [2.0, -3.0, 1.0][: len(shape)])
    rng = np.random.default_rng(5)
    rois = rng.poisson(naive_plane.images(truth, shape, kind, pixel)).astype(float)
    slope = naive_plane.NAMES[len(shape)][0]
    own = {"method": method, "pixel": pixel}
    if how == "held":
        most = 2.05 if method == "mle" else 9.0  # the noise of least squares counts what is free
        own |= {"fixed": {"offset": 60.0}, "bounds": {slope: (-1.0, most)}}
    if how == "gaps":
        own["mask"] = np.eye(*shape, dtype=bool)
        numbers = rng.uniform(0.5, 2.0, shape)
        own |= {"weights": numbers} if method == "lsq" else {"variance": numbers}
        rois[1, 2, 5] = np.nan
    result = fg.fit_rois(rois, kind, background="plane", tol=1e-9, **own)
    assert result.model == model
    assert result.converged.all()
    naive_fit.assert_fits(result, rois, truth, model, lambda _: own)


@pytest.mark.skipif(JIT_DISABLED, reason="thousands of fits")
def test_estimates_reach_the_bound_with_right_errors_where_a_constant_is_biased():
    rois, truth = counts(6000)
    result = fg.fit_rois(rois, background="plane", method="mle")
    assert result.converged.all()
    y, x = np.indices(rois.shape[1:]).astype(float)
    columns = fg.jacobian((x, y), truth[0], result.model).reshape(-1, truth.shape[1])
    values = fg.evaluate((x, y), truth[0], result.model).reshape(-1, 1)
    bound = np.sqrt(np.diag(np.linalg.inv(columns.T @ (columns / values))))
    assert_allclose(result.params.std(axis=0) / bound, 1.0, atol=0.03)
    assert_allclose(((result.params - truth) / result.errors).std(axis=0), 1.0, atol=0.03)
    assert (abs(result.params.mean(axis=0) - truth[0]) < 0.08 * bound).all()
    flat = fg.fit_rois(rois, method="mle")
    assert (abs(flat.params[:, 1:3].mean(axis=0) - truth[0, 1:3]) > 2 * bound[1:3]).all()


@pytest.mark.skipif(JIT_DISABLED, reason="hundreds of fits")
def test_a_level_background_gives_the_same_estimates_with_larger_errors():
    rois, _ = counts(500, (SPOT, [0.0, 0.0]))
    one, other = (fg.fit_rois(rois, background=background) for background in ("constant", "plane"))
    assert other.converged.all()
    for name in one.names:
        gap = getattr(one, name) - getattr(other, name)
        assert abs(gap).max() < 2.5 * getattr(one, f"{name}_error").max()
        assert np.median(getattr(other, f"{name}_error") / getattr(one, f"{name}_error")) > 0.99
    assert_allclose((other.slope_x / other.slope_x_error).std(), 1.0, atol=0.15)


@pytest.mark.skipif(JIT_DISABLED, reason="hundreds of fits")
def test_results_have_the_same_bits_in_any_company():
    rois, _ = counts(300, seed=2)
    whole = fg.fit_rois(rois, background="plane")
    parts = [
        fg.fit_rois(rois[k : k + 37], background="plane", threads=3) for k in range(0, 300, 37)
    ]
    again = fg.FitResult.concatenate(parts)
    assert_array_equal(again.params, whole.params)
    assert_array_equal(again.covariance, whole.covariance)


def test_spots_far_from_the_middle_of_a_steep_plane_are_found():
    rois, truth = [], []
    for x, y in ((2.2, 2.6), (7.6, 3.1), (8.2, 8.4), (2.9, 7.3)):
        offset = 200.0 + 14.0 * (x - 5.0) - 10.0 * (y - 5.0)
        data, params = counts(3, ([120.0, x, y, 1.2, offset], [14.0, -10.0]), seed=int(10 * x))
        rois.append(data)
        truth.append(params)
    for method in ("lsq", "mle"):
        result = fg.fit_rois(np.concatenate(rois), background="plane", method=method)
        assert result.converged.all()
        assert abs(result.params - np.concatenate(truth))[:, 1:3].max() < 0.8


def test_what_cannot_be_fitted_has_a_status():
    few = fg.fit_rois(np.arange(6.0).reshape(1, 2, 3), background="plane")
    assert few.status == fg.Status.TOO_FEW_PIXELS
    data, _ = counts(2)
    data[0, 3, 3] = np.inf
    found = fg.fit_rois(data, background="plane")
    assert_array_equal(found.status, [fg.Status.NOT_FINITE, fg.Status.CONVERGED])
    ramp = 3.0 * np.arange(11.0) + np.zeros((1, 11, 11))
    assert not fg.fit_rois(ramp, background="plane").converged.any()
    hot, _ = counts(1, ([1.0, 5.2, 4.9, 1.3, 60.0], SLOPES))
    hot[0, 8, 1] += 900.0
    assert fg.fit_rois(hot, background="plane", guess=[300, 5, 5, 1.5, 0, 0, 60]).status != 0
    small, _ = counts(3, ([200.0, 1.1, 0.9, 0.8, 60.0], SLOPES), (3, 3))
    assert np.isin(fg.fit_rois(small, background="plane").status, list(fg.Status)).all()


@rare
def test_missing_pixels_and_shared_widths():
    rois, _ = counts(8)
    rois[0] = np.nan
    rois[1, 0, 0] = np.nan
    own = fg.fit_rois(rois, background="plane", shared="sigma")
    assert own.status[0] == fg.Status.TOO_FEW_PIXELS
    assert own.pixels[1] == rois[1].size - 1
    assert len(set(own.sigma[1:])) == 1
    assert abs(own.slope_x[1:] - SLOPES[0]).max() < 4 * own.slope_x_error[1:].max()
    rois, _ = counts(8)
    tilts = fg.fit_rois(rois, background="plane", shared=("slope_x", "slope_y"))
    assert tilts.converged.all()
    assert len(set(tilts.slope_y)) == 1
    assert (tilts.slope_x_error < 0.6 * fg.fit_rois(rois, background="plane").slope_x_error).all()


@rare
def test_profiles_at_places_have_the_slope_of_these():
    places = np.linspace(2450000.0, 2450003.0, 40)
    spot = [100.0, 2450001.4, 0.3, 20.0]
    truth = [*spot[:3], 5.0, spot[3]]
    model = model_of("symmetric", 1)
    data = fg.evaluate(places, truth, model)[np.newaxis]
    result = fg.fit_rois(data, background="plane", coords=places)
    assert_allclose(result.params[0], truth, rtol=1e-8)
    assert_allclose(result.slope[0], 5.0, rtol=1e-7)
    scaled = fg.fit_rois(data * 1e-200, background="plane", coords=places)
    assert_allclose(scaled.slope[0], 5e-200, rtol=1e-6)


@pytest.mark.skipif(JIT_DISABLED, reason="hundreds of fits")
def test_a_likelihood_with_hardly_any_background_stays_positive():
    data, _ = counts(200, ([40.0, 5.2, 4.9, 1.3, 0.3], [0.0, 0.0]))
    result = fg.fit_rois(data, background="plane", method="mle")
    assert result.converged.mean() > 0.95
    assert (result.status == fg.Status.AT_BOUND).any()
    good = result[result.converged]
    assert (fg.image(good.params, (11, 11), good.model) > -1e-9).all()


# -- whole images, results, files --------------------------------------------------------------


def field():
    """An image of two spots on two planes, and the fit."""
    params = naive_plane.on_plane(
        [[300.0, 9.2, 9.9, 1.3, 60.0], [250.0, 31.4, 10.3, 1.3, 90.0]], SLOPES
    )
    image = 60.0 + 2.0 * (np.arange(41.0) - 9.2) - 3.0 * (np.arange(21.0)[:, None] - 9.9)
    for row in params:
        image = image + fg.image([*row[:4], 0.0], (21, 41), "symmetric")
    image += 0.01 * np.random.default_rng(1).normal(size=image.shape)
    return image, fg.fit_spots(image, [[10, 9], [10, 31]], background="plane")


def test_spots_of_an_image_have_slopes():
    image, result = field()
    assert_allclose(result.slope_x, 2.0, atol=0.02)
    assert_allclose(result.slope_y, -3.0, atol=0.02)
    assert_allclose(result.offset, [60.0, 104.4 - 1.2], atol=0.2)
    inside = np.s_[6:15, 5:14]
    assert abs(image - result.render(image.shape, box=11))[inside].max() < 0.1
    said = str(result.explain(0, image))
    assert "slope_x  " in said
    assert "residual: rms 0.0" in said
    with pytest.raises(ValueError, match="without joint=True, got 'local'"):
        fg.fit_spots(image, background="local")
    with pytest.raises(ValueError, match="background must be one of"):
        fg.fit_rois(image[np.newaxis], background="flat")
    with pytest.raises(ValueError, match="model must have no slopes for a joint fit"):
        fg.fit_spots(image, model=result.model, joint=True)


@rare
def test_stars_of_a_varying_function_have_planes_of_their_own():
    side, places = 60, np.array([[12.3, 44.8], [29.6, 31.1], [47.2, 13.4]])
    terms = np.array([[1.2, 0.1, 0.05], [2.2, 0.1, 0.15]])
    model = psf_field(1, 0, Extent(side, side), np.array([0.7, 0.3]), terms.T)
    stars = np.column_stack([[4e3, 2e4, 9e3], places[:, ::-1], np.zeros(3)])
    image = fg.image(stars, (side, side), model).sum(axis=0) + 0.7 * np.arange(side)
    found = fg.fit_spots(image, places, model, box=13, background="plane")
    assert found.model.base == model
    assert_allclose(found.slope_x, 0.7, rtol=1e-3)
    assert_allclose(found.flux, stars[:, 0], rtol=1e-4)
    for k, place in enumerate(places):
        alone = fg.fit_spots(image, [place], model.at(place), box=13, background="plane")
        assert_allclose(found.params[k], alone.params[0], rtol=1e-7, atol=1e-7)
    with pytest.raises(ValueError, match="model must be the same everywhere"):
        fg.fit_rois(image[np.newaxis], model, background="plane")


@rare
@pytest.mark.parametrize("options", [{"fixed": {"offset": 2.0}}, {"bounds": {"offset": (0, 2.2)}}])
def test_planes_of_a_likelihood_begin_positive_where_the_offset_is_bounded(options):
    data, _ = counts(12, ([60.0, 5.1, 4.9, 1.3, 2.0], [0.2, 0.15]), seed=7)
    result = fg.fit_rois(data, background="plane", method="mle", **options)
    assert (result.status != fg.Status.NOT_FINITE).all()
    assert result.converged.mean() > 0.5


@pytest.mark.parametrize("ending", ["csv", "npz", "ecsv", "fits", "parquet"])
def test_slopes_are_saved_and_loaded(ending, tmp_path):
    for need in {"ecsv": ["astropy"], "fits": ["astropy"], "parquet": ["pyarrow"]}.get(ending, []):
        pytest.importorskip(need)
    _, result = field()
    result.save(tmp_path / f"spots.{ending}")
    again = fg.FitResult.load(tmp_path / f"spots.{ending}")
    assert again.model == result.model
    assert_array_equal(again.params, result.params)
    assert_array_equal(again.errors, result.errors)
    assert_array_equal(pickle.loads(pickle.dumps(result)).params, result.params)
    assert_array_equal(fg.FitResult.concatenate([result, again]).slope_y[2:], result.slope_y)


def test_slopes_have_units():
    units = pytest.importorskip("astropy.units")
    _, result = field()
    table = result.to_table(pixel_size=0.1 * units.um)
    assert_allclose(table["slope_y"].to_value(1 / units.um), 10 * result.slope_y)
    assert_allclose(table["slope_y_error"].to_value(1 / units.um), 10 * result.slope_y_error)
    assert "along y" in table["slope_y"].info.description
