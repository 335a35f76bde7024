"""An image as a sum of Gaussians."""

import numpy as np
import pytest
from field_cases import compiled
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import approx_fprime

import fastgauss as fg
from fastgauss.fields import arguments, placement
from fastgauss.fields.image_descent import Descent, State, raised
from fastgauss.fields.placement import Shapes

RNG = np.random.default_rng
MEMBERS = [[[9.0, 2.0], [2.0, 3.0]], [[4.0, -1.5], [-1.5, 6.0]]]
PLACES = [[6.2, 6.9], [12.4, 14.8]]


def _truth(heights, shape=(19, 22)):
    return fg.render(shape, PLACES, heights, covariance=np.array(MEMBERS), radius=8.0)


def _shapes(rng, n, ndim):
    root = 0.4 * rng.normal(size=(n, ndim, ndim)) + np.eye(ndim)
    lower = np.linalg.cholesky(2.0 * root @ root.swapaxes(1, 2) + 0.4 * np.eye(ndim))
    return Shapes(rng.uniform(1, 6, (n, ndim)), lower)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("channels", [None, 2])
def test_the_slope_of_the_descent_is_that_of_its_loss(ndim, channels):
    rng, n = RNG(ndim), 2
    shape = (7, 8, 6)[:ndim]
    image = rng.normal(size=shape + ((channels,) if channels else ()))
    data = arguments.measured(image, None, rng.random(shape) < 0.1, fg.Grid(shape))
    pattern = fg.GaussianField(shape, np.zeros((0, ndim)), covariance=np.eye(ndim), radius=20.0)
    state = State(_shapes(rng, n, ndim), rng.normal(size=(n, channels or 1)))
    descent = Descent(pattern, data, state, False)
    start = descent.start()
    assert_allclose(descent.at(start).shapes.lower, state.shapes.lower)
    assert_allclose(descent.at(start).amplitudes, state.amplitudes)
    x = start + 0.1 * rng.normal(size=start.size)
    slope = descent.loss(x)[1]
    expected = approx_fprime(x, lambda moved: descent.loss(moved)[0], 1e-6)
    assert_allclose(slope, expected, atol=2e-5 * abs(expected).max())


@pytest.mark.parametrize("channels", [None, 2])
def test_amplitudes_alone_rise_to_those_that_fit_best(channels):
    rng, shape = RNG(5), (11, 12)
    pattern = fg.GaussianField(shape, np.zeros((0, 2)), covariance=np.eye(2), radius=4.0)
    shapes = _shapes(rng, 3, 2)
    image = rng.normal(size=shape + ((channels,) if channels else ()))
    weights = rng.random(shape)
    data = arguments.measured(image, weights, None, fg.Grid(shape))
    state = State(shapes, np.zeros((3, channels or 1)))
    field = pattern.moved(shapes.positions, shapes.covariance)
    for nonnegative in (False, True):
        found = raised(pattern, data, state, nonnegative, 60)
        best = field.fit_amplitudes(image, nonnegative, weights=weights, tol=1e-10).amplitudes
        assert_allclose(found.amplitudes.reshape(best.shape), best, atol=1e-6)
        assert found.shapes is shapes


@compiled
@pytest.mark.parametrize("heights", [[3.0, -2.0], [[3.0, 1.0, 0.5], [-1.0, 2.0, 4.0]]])
def test_an_image_of_two_gaussians_is_found_again(heights):
    image = _truth(heights)
    fit = fg.fit_image(image, 2, init=np.array(PLACES) + 0.7, radius=8.0, max_iter=150, tol=1e-9)
    order = np.argsort(fit.field.positions[:, 0])
    assert_allclose(fit.field.positions[order], PLACES, atol=2e-3)
    assert_allclose(fit.field.widths[order], MEMBERS, atol=2e-2)
    assert_allclose(fit.amplitudes[order], heights, atol=1e-2)
    assert fit.psnr > 60 and len(fit) == 2
    assert_allclose(fit.residual_norm, np.linalg.norm(fit.render() - image), atol=1e-12)


def _scene(shape=(24, 26)):
    y, x = np.indices(shape[:2])
    return 40.0 * ((y - 11) ** 2 + (x - 12) ** 2 < 50) + 15.0 * (x > 17) + y


@compiled
def test_more_gaussians_bring_less_residual_and_each_iteration_lowers_it():
    image = _scene()
    found = [fg.fit_image(image, n, max_iter=30) for n in (3, 12)]
    assert found[0].psnr + 3 < found[1].psnr
    for fit, n in zip(found, (3, 12), strict=True):
        assert len(fit) <= n and fit.history["components"].max() == n
        history = fit.history[:-1]
        assert (np.diff(history["iteration"]) == 1).all()
        same = np.diff(history["components"]) == 0
        assert (np.diff(history["square"])[same] <= 1e-9 * history["square"][0]).all()
        assert_allclose(history["square"][0], (image**2).sum())
        error = ((fit.render() - image) ** 2).mean()
        assert_allclose(fit.psnr, 10 * np.log10(np.ptp(image) ** 2 / error), atol=1e-6)
    again = fg.fit_image(image, 12, max_iter=30)
    assert_array_equal(again.amplitudes, found[1].amplitudes)
    other = fg.fit_image(image, 12, max_iter=30, seed=1)
    assert not np.array_equal(other.field.positions, again.field.positions)


@compiled
def test_what_is_missing_has_no_part():
    image = _scene()
    gone = np.zeros(image.shape, dtype=bool)
    gone[4:9, 15:20] = True
    wild = np.where(gone, -1e6, image)
    options = {"max_iter": 12, "init": RNG(1).uniform(2, 20, (4, 2))}
    expected = fg.fit_image(np.where(gone, np.nan, image), 4, **options)
    for fit in (
        fg.fit_image(wild, 4, mask=gone, **options),
        fg.fit_image(np.ma.masked_array(wild, gone), 4, **options),
        fg.fit_image(wild, 4, weights=1.0 * ~gone, **options),
    ):
        assert fit.nodes == expected.nodes == image.size - gone.sum()
        assert_array_equal(fit.amplitudes, expected.amplitudes)


def test_channels_may_be_any_axis_and_amplitudes_nonnegative():
    image = np.stack([_scene(), 60.0 - _scene(), 0.5 * _scene()], axis=-1)
    fit = fg.fit_image(image, 5, max_iter=12, nonnegative=True)
    assert fit.amplitudes.shape == (len(fit), 3) and (fit.amplitudes >= 0).all()
    assert fit.render().shape == image.shape
    first = fg.fit_image(
        np.moveaxis(image, -1, 0), 5, max_iter=12, nonnegative=True, channel_axis=0
    )
    assert_array_equal(first.amplitudes, fit.amplitudes)
    volume = _truth([3.0, 2.0])[:9, :11, np.newaxis] * np.ones(3)
    solid = fg.fit_image(volume, 2, max_iter=3, channel_axis=None)
    assert solid.field.grid.ndim == 3 and solid.amplitudes.shape == (2,)
    profile = fg.fit_image(_scene()[11], 3, max_iter=10)
    assert profile.field.grid.ndim == 1


def test_it_goes_to_a_file_and_comes_back(tmp_path):
    fit = fg.fit_image(_scene(), 4, max_iter=6)
    fit.save(tmp_path / "fit.npz")
    back = fg.ImageFit.load(tmp_path / "fit.npz")
    assert_array_equal(back.render(), fit.render())
    assert_array_equal(back.history, fit.history)
    assert repr(back) == repr(fit) and back.status == fit.status
    with np.load(tmp_path / "fit.npz", allow_pickle=False) as file:
        assert_array_equal(file["amplitudes"], fit.amplitudes)
    for name, contents in (("text.npz", b"text"), ("empty.npz", b"")):
        (tmp_path / name).write_bytes(contents)
        with pytest.raises(ValueError, match=r"path must name a file that ImageFit\.save wrote"):
            fg.ImageFit.load(tmp_path / name)
    np.savez(tmp_path / "other.npz", positions=[[1.0]])
    with pytest.raises(ValueError, match=r"other\.npz"):
        fg.ImageFit.load(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError):
        fg.ImageFit.load(tmp_path / "none.npz")


@pytest.mark.parametrize("image", [np.zeros((9, 8)), np.full((9, 8), np.nan), np.ones((1, 1))])
def test_an_image_of_nothing_is_fitted_as_well(image):
    fit = fg.fit_image(image, 3, max_iter=5)
    assert np.isfinite(fit.render()).all()
    assert fg.fit_image(image, 3, max_iter=0).status == fg.Status.MAX_ITERATIONS


def test_given_places_stay_without_iterations():
    light = fg.render((14, 15), [[4.0, 4.0], [8.0, 9.0]], [3.0, 2.0], 1.5)
    fit = fg.fit_image(light, 4, max_iter=0, init=[[4.0, 4.0], [8.0, 9.0]])
    for place in ([4.0, 4.0], [8.0, 9.0]):
        assert np.abs(fit.field.positions - place).max(axis=1).min() < 1e-9


@compiled
def test_the_fit_has_the_same_bits_for_any_number_of_threads():
    y, x = np.indices((96, 96))
    image = np.stack([np.sin(y / 9.0) * x, np.cos(x / 7.0) * y, 0.3 * (x + y)], axis=-1)
    found = [fg.fit_image(image, 300, max_iter=9, threads=threads) for threads in (1, 3)]
    assert_array_equal(found[0].amplitudes, found[1].amplitudes)
    assert_array_equal(found[0].field.positions, found[1].field.positions)


@given(st.integers(0, 1 << 16), st.integers(1, 60), st.sampled_from([(5,), (4, 6), (2, 3, 4)]))
def test_places_are_on_the_grid_however_many_there_are(seed, n, shape):
    rng = RNG(seed)
    density = rng.random(shape) * (rng.random(shape) < 0.5)
    places = placement._drawn(density, n, rng)
    assert places.shape == (n, len(shape))
    nodes = np.rint(places).astype(int)
    assert (nodes >= 0).all() and (nodes < shape).all()
    if n <= np.count_nonzero(density):
        assert (density[tuple(nodes.T)] > 0).all()
        assert len(np.unique(nodes, axis=0)) == n


@given(st.integers(0, 1 << 16), st.integers(1, 3))
def test_halves_have_the_mean_and_the_covariance_of_the_whole(seed, ndim):
    whole = _shapes(RNG(seed), 4, ndim)
    halves = placement.split(whole, np.arange(4))
    first, second = halves.positions[:4], halves.positions[4:]
    assert_allclose((first + second) / 2, whole.positions, atol=1e-12)
    away = (first - second) / 2
    spread = halves.covariance[:4] + away[:, :, np.newaxis] * away[:, np.newaxis, :]
    assert_allclose(spread, whole.covariance, atol=1e-10)


def test_what_is_no_image_is_refused():
    image = _scene()
    for options, name, error in (
        ({"image": image[0, 0]}, "image", ValueError), ({"image": "a"}, "image", TypeError),
        ({"image": np.zeros((0, 4))}, "image", ValueError),
        ({"image": np.zeros((9, 9, 9, 9, 2))}, "image", ValueError),
        ({"image": np.where(image > 50, np.inf, image)}, "image", ValueError),
        ({"components": 0}, "components", ValueError), ({"init": "edges"}, "init", ValueError),
        ({"init": np.zeros((3, 2))}, "init", ValueError),
        ({"init": np.zeros((1, 3))}, "init", ValueError),
        ({"max_iter": -1}, "max_iter", ValueError), ({"tol": 0.0}, "tol", ValueError),
        ({"channel_axis": 2}, "channel_axis", ValueError), ({"seed": -1}, "seed", ValueError),
        ({"channel_axis": "last"}, "channel_axis", ValueError),
        ({"weights": np.ones(3)}, "weights", ValueError), ({"radius": 0.0}, "radius", ValueError),
        ({"nonnegative": 1}, "nonnegative", TypeError), ({"progress": 3}, "progress", TypeError),
    ):  # fmt: skip
        with pytest.raises(error, match=name):
            fg.fit_image(**{"image": image, "components": 2, "max_iter": 1, **options})


def test_progress_is_told():
    told = []
    fg.fit_image(_scene(), 2, max_iter=4, progress=lambda *done: told.append(done))
    assert told[-1] == (4, 4) and told == sorted(told)


@pytest.mark.parametrize("unit", [1e-300, 1e-120, 1e-30, 1e30, 1e120, 1e300])
def test_the_unit_of_the_image_changes_nothing_but_the_unit(unit):
    image = RNG(4).uniform(0.2, 1.0, (9, 10))
    plain, fit = (fg.fit_image(own, 4, max_iter=6) for own in (image, image * unit))
    assert_allclose(fit.psnr, plain.psnr, rtol=1e-6)
    assert_allclose(fit.amplitudes / unit, plain.amplitudes, rtol=1e-4, atol=1e-6)
    assert_allclose(fit.field.positions, plain.field.positions, atol=1e-4)


@pytest.mark.parametrize("unit", [1e-300, 1e-30, 1e30, 1e300])
def test_the_unit_of_the_weights_changes_nothing_but_the_sum_of_squares(unit):
    rng = RNG(5)
    image, weights = rng.uniform(0.2, 1.0, (9, 10)), rng.uniform(0.5, 2.0, (9, 10))
    plain, fit = (
        fg.fit_image(image, 4, weights=own, max_iter=6) for own in (weights, weights * unit)
    )
    assert_allclose(fit.psnr, plain.psnr, rtol=1e-6)
    assert_allclose(fit.amplitudes, plain.amplitudes, rtol=1e-4, atol=1e-6)
    assert_allclose(fit.residual_norm / np.sqrt(unit), plain.residual_norm, rtol=1e-6)


def test_psnr_knows_valid_pixels_and_the_weighted_mean_alone():
    rng = RNG(6)
    image, hidden = rng.uniform(0.0, 1.0, (9, 10)), np.zeros((9, 10), dtype=bool)
    hidden[2:4, 3:7] = True
    clean = fg.fit_image(np.where(hidden, np.nan, image), 4, max_iter=5)
    for junk in (1e300, -np.inf):
        fit = fg.fit_image(np.ma.array(np.where(hidden, junk, image), mask=hidden), 4, max_iter=5)
        assert (fit.psnr, fit.peak) == (clean.psnr, clean.peak)
    assert clean.peak == image[~hidden].max() - image[~hidden].min()
    weights = rng.uniform(0.5, 2.0, (9, 10))
    fit = fg.fit_image(image, 4, weights=weights, max_iter=5)
    mean = np.average((fit.render() - image) ** 2, weights=weights)
    assert_allclose(fit.psnr, 10.0 * np.log10(fit.peak**2 / mean), rtol=1e-10)


def test_flags_are_an_image_of_0_and_1():
    flags = RNG(7).uniform(size=(9, 10)) > 0.5
    fit, same = (fg.fit_image(own, 4, max_iter=5) for own in (flags, flags.astype(float)))
    assert_array_equal(fit.amplitudes, same.amplitudes)
    assert (fit.peak, fit.psnr) == (1.0, same.psnr)


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("kind", [np.int64, np.uint64, np.float16])
def test_the_range_of_an_image_is_not_rounded_to_its_dtype(kind, channels):
    extreme = np.finfo(kind) if kind is np.float16 else np.iinfo(kind)
    image = np.zeros((9, 10, *channels), kind)
    image[2, 3], image[6, 7] = extreme.min, extreme.max
    fit = fg.fit_image(image, 3, max_iter=2)
    assert fit.peak == float(extreme.max) - float(extreme.min)
    assert np.isfinite(fit.psnr)
