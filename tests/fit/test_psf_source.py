"""Gaussian sources behind a point spread function: twins, statistics, sizes and their limits."""

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
from fastgauss.models.source_covariances import (
    can_be_possible,
    is_possible,
    made_possible,
    own_covariances,
)
from fastgauss.results.intrinsic_shapes import shapes_of

ROUND = [(0.6, 0, 0, 1.1, 1.1), (0.3, 0, 0, 1.9, 1.9), (0.1, 0, 0, 4.5, 4.5)]
ROTATED = [(0.7, 0.1, 0, 1.9, 1.2, 0.5), (0.3, 0.3, -0.2, 3.0, 2.6, 0)]
PARAMS = (870.0, 4.3, 5.2, 2.4, 1.1, -0.6, 12.0)
rare = pytest.mark.skipif(
    not (JIT_DISABLED or os.environ.get("FASTGAUSS_EVERY_COMBINATION")),
    reason="its kernels are compiled for this alone",
)


def psf_of(parts):
    weights, x, y, sigma_x, sigma_y, *theta = np.array(parts, float).T
    sigmas, offsets = np.column_stack([sigma_y, sigma_x]), np.column_stack([y, x])
    return fg.psf_model(weights, sigmas, offsets=offsets, theta=theta[0] if theta else None)


def galaxies(count, rng, least=0.5, most=3.0, middle=12.0):
    """Parameters of rotated Gaussians of these sigmas."""
    axes = np.sort(rng.uniform(least, most, (2, count)), axis=0) ** 2
    angle = rng.uniform(-np.pi / 2, np.pi / 2, count)
    cos, sin = np.cos(angle), np.sin(angle)
    truth = np.empty((count, 7))
    truth[:, 0], truth[:, 6] = 1.0, 20.0
    truth[:, 1:3] = middle + rng.uniform(-0.5, 0.5, (count, 2))
    truth[:, 3] = axes[1] * cos**2 + axes[0] * sin**2
    truth[:, 4] = axes[1] * sin**2 + axes[0] * cos**2
    truth[:, 5] = (axes[1] - axes[0]) * sin * cos
    return truth


@pytest.mark.parametrize("pixel", ["sample", "integrate"])
@pytest.mark.parametrize("parts", [ROUND, ROTATED], ids=["round", "rotated"])
def test_values_and_derivatives_are_those_of_the_twin(parts, pixel):
    model = psf_of(parts).with_source()
    assert model.names == ("flux", "x", "y", "xx", "yy", "xy", "offset")
    assert model.with_source() == model and pickle.loads(pickle.dumps(model)) == model
    y, x = np.indices((9, 11)).astype(float)
    for more in ({}, {3: 0.0, 4: 0.0, 5: 0.0}, {3: -0.3, 4: -0.2}):  # a star, less than a star
        params = np.array(PARAMS)
        params[list(more)] = list(more.values())
        expected = naive_psf.source_values(parts, x, y, params, pixel)
        atol = 3e-6 * expected.max() if parts is ROUND and pixel == "integrate" else 0.0
        assert_allclose(fg.evaluate((x, y), params, model, pixel), expected, 1e-12, atol)
        assert_allclose(fg.image(params, (9, 11), model, pixel), expected, 1e-12, atol)
        slopes = naive_psf.slopes(parts, x, y, params, pixel, naive_psf.source_values)
        size = np.abs(slopes).max(axis=(0, 1))
        assert_allclose(fg.jacobian((x, y), params, model, pixel) / size, slopes / size, atol=1e-12)
    many = np.array([params, PARAMS])
    assert_allclose(
        fg.jacobian((3.0, 4.0), many, model)[1], fg.jacobian((3.0, 4.0), PARAMS, model), rtol=1e-12
    )
    assert np.isnan(fg.image([*PARAMS[:3], -9.0, 1.0, 0.0, 1.0], (3, 3), model)).all()


def test_a_source_is_the_same_with_others_and_alone():
    psf = psf_of([(0.7, 0, 0, 1.2, 1.2), (0.3, 0, 0, 2.4, 2.4)])
    model = psf.with_source()
    y, x = np.indices((7, 8)).astype(float)
    one, other = [9.0, 3.0, 3.3, 2.0, 1.0, 0.0, 0.0], [9.0, 3.0, 3.3, 2.0, 1.0, 0.5, 0.0]
    for pixel in ("sample", "integrate"):
        both = fg.image([one, other], (7, 8), model, pixel)
        assert_array_equal(fg.image(one, (7, 8), model, pixel), both[0])
        slopes = fg.jacobian((x, y), one, model, pixel)
        assert_allclose(9.0 * slopes[..., 0], both[0], rtol=1e-12, atol=1e-13)
    linear = np.array([[1.1, 0.2], [0.1, 0.1], [0.0, 0.1]])
    field = psf_field(1, 1, Extent(60, 66), np.ones(1), linear)
    assert not field.always_rotated and field.with_source().always_rotated
    rotated = psf_field(1, 2, Extent(60, 66), np.ones(1), np.insert(linear, 2, [0.0, 0.2, 0], 1))
    stars = [[9.0, 30.0, 29.5, 0.0], [9.0, 30.0, 50.0, 0.0]]  # the first is along the axes
    for wrapped in (rotated, rotated.with_width()):
        params = np.insert(stars, 3, 1.1, axis=1) if wrapped is not rotated else stars
        both = fg.image(params, (60, 66), wrapped, "integrate")
        assert_array_equal(fg.image(params[0], (60, 66), wrapped, "integrate"), both[0])


@pytest.mark.parametrize("kind", ["with_width", "with_source"])
def test_derivatives_of_a_wrapped_star_refuse_what_others_refuse(kind):
    model = getattr(psf_of(ROUND), kind)()
    y, x = np.indices((5, 6)).astype(float)
    params = np.ones(model.size)
    for function in (fg.jacobian, fg.evaluate):
        with pytest.raises(ValueError, match="threads must be at least 1, got -3"):
            function((x, y), params, model, threads=-3)
        with pytest.raises(
            ValueError, match=r"coords of shapes \[\(5, 6\), \(5, 6\)\] and params of"
        ):
            function((x, y), np.ones((3, model.size)), model)
        with pytest.raises(ValueError, match="do not broadcast"):
            function((x, y[:3]), params, model)


@pytest.mark.filterwarnings("error")
def test_what_is_no_gaussian_is_nan_without_a_warning():
    psf = psf_of(ROUND)
    cases = (psf.with_width(), [900, 0, 0, 0.0, 0]), (psf.with_width(), [900, 0, 0, -1.0, 0])
    own = [-9.0, 1.0, 0.0], [1.0, -9.0, 0.0], [-9.0, -9.0, 0.0], [1.0, 1.0, 9.0]
    for model, params in (*cases, *((psf.with_source(), [900, 0, 0, *each, 0]) for each in own)):
        assert np.isnan(fg.evaluate((0.0, 0.5), params, model))
        assert np.isnan(fg.image(params, (3, 3), model)).all()
        slopes = fg.jacobian((0.0, 0.5), params, model)
        assert np.isnan(slopes[:-1]).all() and slopes[-1] == 1.0


def test_a_point_is_a_star_and_one_component_is_a_rotated_gaussian():
    psf = psf_of(ROTATED)
    star = [PARAMS[0], 4.3, 5.2, 12.0]
    point = [*star[:3], 0.0, 0.0, 0.0, 12.0]
    expected = fg.image(star, (9, 11), psf)
    assert_allclose(fg.image(point, (9, 11), psf.with_source()), expected, rtol=1e-12)
    rng = np.random.default_rng(5)
    spots = [[200.0, 10.2, 9.7, 3.0, 1.9, 0.5, 10.0]] * 4
    rois = fg.image(spots, (21, 21), "rotated") + rng.normal(0.0, 3.0, (4, 21, 21))
    one = fg.fit_rois(rois, fg.psf_model([1.0], [1.2]).with_source(), tol=1e-10)
    other = fg.fit_rois(rois, "rotated", tol=1e-10)
    shapes = fg.source_shapes(one)
    squares = shapes["sigma_major"] ** 2, shapes["sigma_minor"] ** 2
    assert_allclose(squares[0] + squares[1], other.sigma_x**2 + other.sigma_y**2 - 2.88, rtol=1e-8)
    assert_allclose(shapes["sigma_major"], np.sqrt(other.sigma_x**2 - 1.44), rtol=1e-4)
    assert_allclose(shapes["theta"], other.theta, rtol=1e-8)
    assert_allclose(shapes["theta_error"], other.theta_error, rtol=1e-6)
    assert_allclose(one.objective, other.objective, rtol=1e-12)
    wide = other.sigma_x_error * other.sigma_x / shapes["sigma_major"]
    assert_allclose(shapes["sigma_major_error"], wide, rtol=1e-6)
    assert_allclose(one.flux_error, other.flux_error, rtol=1e-6)


@pytest.mark.parametrize(
    "kind", ["plain", *(pytest.param(kind, marks=rare) for kind in ("weights", "camera"))]
)
def test_a_fit_is_what_its_twin_finds(kind):
    rng, model = (
        np.random.default_rng(3),
        psf_of(ROUND if kind == "plain" else ROTATED).with_source(),
    )
    truth = galaxies(1 if kind == "camera" else 3, rng, 1.0, 1.8, 6.0)
    truth[:, 0] = 9e3
    pixel = "integrate" if kind == "camera" else "sample"
    rois = rng.poisson(fg.image(truth, (13, 14), model, pixel)).astype(np.float64)
    own = {"pixel": pixel}
    if kind == "weights":
        own |= {"weights": rng.uniform(0.5, 2.0, (13, 14)), "mask": np.eye(13, 14, dtype=bool)}
        own |= {"fixed": {"xy": 0.1}, "bounds": {"xx": (0.0, 3.0)}}
    if kind == "camera":
        own |= {"variance": rng.uniform(0.0, 9.0, (13, 14)), "method": "mle"}
    result = fg.fit_rois(rois, model, tol=1e-9, **own)
    naive_fit.assert_fits(result, rois, truth, model, lambda _: own)


@rare
def test_a_source_on_a_plane():
    rng, model = np.random.default_rng(6), psf_of(ROTATED).with_source()
    truth = galaxies(2, rng, 1.0, 1.8, 6.0)
    truth[:, 0] = 9e3
    rois = fg.image(truth, (13, 13), model) + 1.5 * np.arange(13.0)
    rois += rng.normal(0.0, 1.0, rois.shape)
    found = fg.fit_rois(rois, model, background="plane")
    start = np.insert(truth, [6, 6], [1.5, 0.0], axis=1)
    naive_fit.assert_fits(found, rois, start, found.model, lambda _: {})
    assert fg.source_shapes(found)["sigma_major"].shape == (2,)


@pytest.mark.skipif(JIT_DISABLED, reason="a statistic over thousands of fits")
def test_shapes_behind_a_moffat_have_no_bias_and_right_errors():
    rng = np.random.default_rng(0)
    model = fg.moffat_psf(3.0, 3.0, tol=1e-3).with_source()
    truth = galaxies(2000, rng)
    light = fg.image(truth - [0, 0, 0, 0, 0, 0, 20.0], (25, 25), model)
    truth[:, 0] = 50.0 * 5.0 / np.sqrt((light**2).sum(axis=(1, 2)))  # S/N 50 for noise of 5
    rois = fg.image(truth, (25, 25), model)
    result = fg.fit_rois(rois + rng.normal(0.0, 5.0, rois.shape), model)
    assert result.converged.all()
    pulls = (result.params - truth) / result.errors
    assert_allclose(pulls.std(axis=0), 1.0, atol=0.05)
    missed = (result.params - truth).mean(axis=0)
    assert abs(missed[3:6]).max() < 0.01 * truth[:, 3:5].mean()
    assert abs(np.mean(result.flux / truth[:, 0]) - 1.0) < 0.01
    shapes, (xx, yy, xy) = fg.source_shapes(result), truth[:, 3:6].T
    major = np.sqrt(0.5 * (xx + yy) + np.hypot(0.5 * (xx - yy), xy))
    minor = np.sqrt(0.5 * (xx + yy) - np.hypot(0.5 * (xx - yy), xy))
    assert all(np.isfinite(shapes[name]).all() for name in shapes.dtype.names)
    for name, axis in (("sigma_major", major), ("sigma_minor", minor)):
        assert abs(np.mean(shapes[name] - axis)) < 0.01 * axis.mean(), name
    fitted = result.params[:, 3:6]
    for true, found in ((xx - yy, fitted[:, 0] - fitted[:, 1]), (2 * xy, 2 * fitted[:, 2])):
        shape = true / (xx + yy)
        slope, rest = np.polyfit(shape, found / fitted[:, :2].sum(axis=1) - shape, 1)
        assert abs(slope) < 0.01 and abs(rest) < 0.005
    assert (minor < shapes["sigma_minor_limit"]).mean() > 0.94
    assert (major < shapes["sigma_major_limit"]).mean() > 0.9
    long = major > 1.5 * minor  # of others the axes are not known apart
    angle = 0.5 * np.arctan2(xy, 0.5 * (xx - yy))
    rotated = (shapes["theta"] - angle + np.pi / 2) % np.pi - np.pi / 2
    assert 0.9 < (rotated / shapes["theta_error"])[long & (shapes["theta_error"] < 0.2)].std() < 1.1
    pull = (shapes["sigma_major"] - major) / shapes["sigma_major_error"]
    assert 0.9 < pull[long].std() < 1.1 and abs(pull[long].mean()) < 0.3


@pytest.mark.parametrize(
    "truth", [(0.8, 0.8, 0.0), (4, 4, 0), (4, 1, 0), (0.05, 0.05, 0), (0, 0, 0)]
)
@pytest.mark.parametrize("flux", [1500.0, 15000.0])
def test_limits_hold_as_often_as_they_say(truth, flux):
    """Estimates are drawn from the covariance of a least-squares fit with noise of 5."""
    model = psf_of([(0.7, 0, 0, 1.2, 1.2), (0.3, 0, 0, 2.4, 2.4)]).with_source()
    y, x = np.indices((25, 25)).astype(float)
    rng, at = np.random.default_rng(1), np.array([flux, 12.2, 11.9, *truth, 20.0])

    def covariance(params):
        slopes = fg.jacobian((x, y), params[:, None, None], model).reshape(len(params), -1, 7)
        return 25.0 * np.linalg.inv(slopes.swapaxes(1, 2) @ slopes)

    params = rng.multivariate_normal(at, covariance(at[np.newaxis])[0], 1200)
    own = np.concatenate([covariance(part) for part in np.array_split(params, 6)])[:, 3:6, 3:6]
    for level in (0.9, 0.95):
        found = shapes_of(params[:, 3:6], own, 1.0 - level)
        for name, value in (("major", max(truth)), ("minor", min(truth[:2]))):
            held = (found[f"sigma_{name}_limit"] ** 2 >= value).mean()
            # four standard errors, and what first order misses where the axes are far apart
            assert held > level - 4 * np.sqrt(level * (1 - level) / 1200) - 0.01, (name, level)


def test_noise_does_not_split_axes_on_average():
    rng, noise = np.random.default_rng(2), np.array([0.04, 0.04, 0.02])  # of xx, yy, xy: round
    covariance = np.broadcast_to(np.diag(noise), (40_000, 3, 3))
    for radius, most in ((0.0, 0.8), (0.3, 0.2), (0.6, 0.1)):  # the error across is 0.14
        drawn = rng.multivariate_normal([4.0 + radius, 4.0 - radius, 0.0], np.diag(noise), 40_000)
        shapes = shapes_of(drawn, covariance, 0.05)
        squares = shapes["sigma_major"] ** 2, shapes["sigma_minor"] ** 2
        assert_allclose(squares[0] + squares[1], drawn[:, 0] + drawn[:, 1], rtol=1e-12)
        split = np.mean(squares[0] - squares[1]) / 2.0
        raw = np.hypot(0.5 * (drawn[:, 0] - drawn[:, 1]), drawn[:, 2]).mean()
        assert abs(split - radius) < most * (raw - radius), radius
    exact = shapes_of(drawn[:5], np.zeros((5, 3, 3)), 0.05)
    unknown = shapes_of(drawn[:5], np.full((5, 3, 3), np.nan), 0.05)
    for name, sign in (("sigma_major", 1.0), ("sigma_minor", -1.0)):
        xx, yy, xy = drawn[:5].T
        value = 0.5 * (xx + yy) + sign * np.hypot(0.5 * (xx - yy), xy)
        assert_allclose(exact[name] ** 2, value, rtol=1e-12)
        assert_allclose(unknown[name] ** 2, value, rtol=1e-12)


def test_angles_of_held_and_of_turned_sources():
    parts = np.array([[4.0, 4.0, 0.0], [1.0, 4.0, -0.0], [1.0, 4.0, -1e-300], [4.0, 1.0, 0.0]])
    covariance = np.zeros((4, 3, 3))
    shapes = shapes_of(parts, covariance, 0.05)
    assert_array_equal(shapes["theta"], [0.0, np.pi / 2, np.pi / 2, 0.0])
    assert_allclose(shapes["theta_error"], [np.pi / np.sqrt(12), 0.0, 0.0, 0.0])
    assert_array_equal(shapes["sigma_minor_limit"], [2.0, 1.0, 1.0, 1.0])
    parts[0], covariance[1] = np.nan, np.nan
    shapes = shapes_of(parts, covariance, 0.05)
    assert np.isnan(shapes["theta_error"]).tolist() == [True, True, False, False]
    assert np.isnan(shapes["sigma_minor_limit"]).tolist() == [True, True, False, False]


@pytest.mark.skipif(JIT_DISABLED, reason="dozens of fits")
def test_a_source_smaller_than_its_errors_has_a_limit():
    rng, psf = np.random.default_rng(7), psf_of(ROUND)
    stars = fg.image([[2e3, 10.1, 9.8, 20.0]] * 60, (21, 21), psf)
    result = fg.fit_rois(stars + rng.normal(0.0, 2.0, stars.shape), psf.with_source())
    assert result.converged.all() and (result.params[:, 3:5] < 0).any()
    shapes = fg.source_shapes(result)
    assert all(np.isfinite(shapes[name]).all() for name in shapes.dtype.names)
    assert (shapes["sigma_minor"] == 0.0).mean() > 0.3
    assert (shapes["sigma_minor_limit"] > 0.0).all() and (shapes["sigma_minor_limit"] < 1.0).all()
    assert (shapes["sigma_minor"] <= shapes["sigma_minor_limit"]).all()
    assert (shapes["theta_error"] <= np.pi / np.sqrt(12)).all()
    wider = fg.source_shapes(result, level=0.99)
    assert (wider["sigma_major_limit"] > shapes["sigma_major_limit"]).all()


def test_sources_of_an_image_are_drawn_and_kept(tmp_path):
    places = np.array([[14.3, 15.2], [16.8, 50.1], [45.6, 30.7]])
    truth = np.column_stack([[9e3, 4e3, 2e4], places[:, ::-1], [3.0, 1.0, 2.0], [1.0, 2.0, 2.0]])
    truth = np.column_stack([truth, [0.5, -0.4, 0.0], np.zeros(3)])
    field = psf_field(1, 0, Extent(60, 66), np.ones(1), np.array([[1.1], [0.1], [0.2]]))
    for model in (psf_of(ROUND).with_source(), field.with_source()):
        light = fg.image(truth, (60, 66), model).sum(axis=0) + 20.0
        found = fg.fit_spots(light, places, model, box=21)
        assert found.converged.all()
        assert_allclose(found.params[:, 3:6], truth[:, 3:6], atol=0.1)
        found.save(tmp_path / "a.npz")
        again = fg.FitResult.load(tmp_path / "a.npz")
        assert again.model == model
        assert_array_equal(fg.source_shapes(again), fg.source_shapes(found))
        left = light - found.render((60, 66), background=20.0)
        assert abs(left).max() < 0.02 * (light.max() - 20.0)
    with pytest.raises(ValueError, match="no source for a joint fit, got 'psf_source'"):
        fg.fit_joint(light, places, psf_of(ROUND).with_source())


def test_covariances_of_components_and_possible_ones_are_those_of_numpy():
    rng, own = np.random.default_rng(4), own_covariances(psf_of(ROTATED).known[np.newaxis])
    turns = [np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]]) for t in (0.0, 0.5)]
    matrices = [t @ np.diag(s) @ t.T for t, s in zip(turns, ([9, 6.76], [3.61, 1.44]), strict=True)]
    assert_allclose(np.stack(own)[:, 0].T, [[m[0, 0], m[1, 1], m[0, 1]] for m in matrices])
    lower = rng.uniform(-12.0, 6.0, (2000, 3))
    upper = lower + rng.exponential(1.0, (2000, 3)) * rng.choice([1e-9, 1.0, 9.0], (2000, 3))
    lower[rng.random(lower.shape) < 0.2], upper[rng.random(upper.shape) < 0.2] = -np.inf, np.inf
    starts = np.clip(rng.normal(0.0, 5.0, (2000, 3)), lower, upper)

    def naive(sources):
        whole = [m + np.array([[s[0], s[2]], [s[2], s[1]]]) for s in sources for m in matrices]
        return (np.linalg.eigvalsh(whole)[:, 0] > 0.0).reshape(-1, 2).all(axis=1)

    allowed, good = can_be_possible(own, lower, upper), naive(starts)
    assert_array_equal(is_possible(own, starts), good)
    found = made_possible(own, starts, lower, upper)
    assert_array_equal(found[good], starts[good])
    assert_array_equal(naive(found), allowed)
    assert ((found >= lower) & (found <= upper)).all()
    assert (allowed & ~good).sum() > 200 and (~allowed).sum() > 200


@pytest.mark.parametrize("background", ["constant", "plane"])
def test_bounds_and_guesses_without_a_covariance_are_refused(background):
    psf = psf_of([(0.7, 0, 0, 1.2, 1.2), (0.3, 0, 0, 2.4, 2.4)])
    model, spot = psf.with_source(), {"background": background}
    truth = [900.0, 6.2, 5.9, 4.0, 2.0, 1.0, 10.0]
    rois = fg.image([truth] * 2, (13, 13), model)
    wrong = (
        {"fixed": {"xx": -5.0}},
        {"fixed": {"xx": [0.0, -1.44]}},
        {"bounds": {"xx": (-10, -5)}},
        {"fixed": {"xx": 4.0, "yy": 2.0}, "bounds": {"xy": (6, 9)}},
        {"bounds": {"yy": (-9, 0.0), "xx": (0.0, 1.0), "xy": (3, 9)}},
        {"fixed": {"xx": -5.0}, "shared": "yy"},
    )
    for own in wrong:
        with pytest.raises(ValueError, match="xx, yy and xy must be allowed to be a covariance by"):
            fg.fit_rois(rois, model, **own, **spot)
    guess = np.array([truth[:6] + [0.0] * (2 * (background == "plane")) + truth[6:]] * 2)
    guess[1, 3] = -50.0
    match = r"guess must have a covariance .* got \[-50.0, 2.0, 1.0\] at index 1"
    for own in ({}, {"bounds": {"xx": (-90.0, 9.0)}}):
        with pytest.raises(ValueError, match=match):
            fg.fit_rois(rois, model, guess=guess, **own, **spot)
    field = psf_field(1, 0, Extent(13, 13), np.ones(1), np.array([[1.1], [0.1], [0.2]]))
    with pytest.raises(ValueError, match=r"xx, yy and xy must be allowed .* got none at index 0"):
        fg.fit_spots(rois[0], [[5.9, 6.2]], field.with_source(), fixed={"yy": -5.0}, **spot)
    none = fg.fit_spots(rois[0], np.empty((0, 2)), field.with_source(), fixed={"yy": -5.0}, **spot)
    assert len(none) == 0


@rare
def test_starts_get_a_covariance_within_bounds():
    model = psf_of([(0.7, 0, 0, 1.2, 1.2), (0.3, 0, 0, 2.4, 2.4)]).with_source()
    truth = np.array([[900.0, 6.2, 5.9, 4.0, 2.0, 1.0, 10.0]] * 2)
    rois, guess = fg.image(truth, (13, 13), model), truth.copy()
    guess[1, 3] = -50.0
    held = fg.fit_rois(rois, model, guess=guess, fixed={"xx": 4.0}, bounds={"yy": (0.0, 9.0)})
    assert_allclose(held.params, truth, rtol=1e-4, atol=1e-4)
    far = fg.fit_rois(rois, model, bounds={"xy": (6.0, 9.0)})
    assert (far.status == fg.Status.AT_BOUND).all() and (far.params[:, 5] == 6.0).all()
    again = fg.fit_rois(rois, model, bounds={"xy": (6.0, 9.0)}, guess=truth)
    assert_allclose(again.params, far.params, rtol=1e-3)
    plane = fg.fit_rois(rois, model, bounds={"xy": (6.0, 9.0)}, background="plane")
    assert (plane.params[:, 5] == 6.0).all() and np.isfinite(plane.objective).all()


def test_what_has_no_source_is_refused():
    psf, roi = psf_of(ROUND), np.ones((1, 5, 5))
    with pytest.raises(ValueError, match="must have a point spread function of known width"):
        psf.with_width().with_source()
    with pytest.raises(ValueError, match="a width must be of stars alone"):
        psf.with_source().with_width()
    with pytest.raises(ValueError, match=r"result must be of a model with_source\(\), got 'psf'"):
        fg.source_shapes(fg.fit_rois(roi, psf))
    with pytest.raises(TypeError, match="result must be a FitResult, got 3"):
        fg.source_shapes(3)
    flat = fg.fit_rois(roi[:, :2, :2], psf.with_source())
    assert flat.status == fg.Status.TOO_FEW_PIXELS
    assert np.isnan(fg.source_shapes(flat)["sigma_major_limit"]).all()
    with pytest.raises(ValueError, match="level must be finite and at least 0"):
        fg.source_shapes(flat, level=0.3)
