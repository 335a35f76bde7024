"""fit_spots(joint=True, split=): tests of one spot against two."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial import KDTree
from scipy.special import chdtri

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.spots import pair_tests

SIGMA = 1.3
PEAK = 2000 / (2 * np.pi * SIGMA**2)  # photons
KNOWN = {"joint": True, "split": 1e-3, "fixed": {"sigma": SIGMA}, "background": "constant"}
COMPILED = pytest.mark.skipif(JIT_DISABLED, reason="rounds of many fits")


def sites(count, pitch, seed):
    """Places that no spot of another place overlaps with."""
    at = (np.arange(count) + 0.5) * pitch
    places = np.stack(np.meshgrid(at, at, indexing="ij"), -1).reshape(-1, 2)
    return places + np.random.default_rng(seed).uniform(-0.5, 0.5, places.shape)


def pairs(places, apart, seed):
    """Two spots at each place, in random directions, so many sigmas apart."""
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, len(places))
    half = 0.5 * apart * SIGMA * np.column_stack([np.sin(angle), np.cos(angle)])
    return np.concatenate([places - half, places + half])


def counts(truth, side, seed=0, background=10.0, peak=PEAK):
    image = fg.render((side, side), truth, peak, SIGMA, tol=1e-7) + background
    return np.random.default_rng(seed).poisson(image).astype(float)


def with_noise(truth, side, seed=0):
    light = fg.render((side, side), truth, PEAK, SIGMA, tol=1e-7)
    return light + np.random.default_rng(seed).normal(scale=10.0, size=light.shape)


def spots_at(result, places, reach=4.0):
    return KDTree(result.positions).query_ball_point(places, reach, return_length=True)


@COMPILED
@pytest.mark.parametrize("method", ["lsq", "mle"])
@pytest.mark.parametrize(("apart", "part"), [(1.0, 0.9), (1.3, 0.95)])
def test_pairs_are_two_and_single_spots_are_one(method, apart, part):
    places = sites(8, 16, 1)
    two = pairs(places[::2], apart, 2)
    make = counts if method == "mle" else with_noise
    image = make(np.concatenate([two, places[1::2]]), 128)
    found = fg.fit_spots(image, sigma=SIGMA, method=method, **KNOWN)
    assert np.mean(spots_at(found, places[::2]) == 2) >= part
    assert_array_equal(spots_at(found, places[1::2]), 1)
    assert found.converged.all()
    near, row = KDTree(found.positions).query(two)
    seen = spots_at(found, np.concatenate([places[::2]] * 2)) == 2
    pull = (found.positions[row] - two) / found.errors[row, 2:0:-1]
    assert 0.6 < np.sqrt(np.mean(pull[seen] ** 2)) < 1.5  # errors hold
    assert near[seen].max() < 1.0


@COMPILED
def test_spots_fitted_beside_others_do_not_count_the_light_of_those_twice(monkeypatch):
    places = np.random.default_rng(1).uniform(2, 61, (200, 2))
    ask, left = pair_tests.PairTests._ask, []

    def noted(tests, found, residual, error):
        left.append(np.mean((residual / error) ** 2))
        return ask(tests, found, residual, error)

    monkeypatch.setattr(pair_tests.PairTests, "_ask", noted)
    fg.fit_spots(counts(places, 64), sigma=SIGMA, method="mle", exclude_border=False, **KNOWN)
    assert max(left) < 1.1  # up to 2.8 if they do


@COMPILED
def test_a_shared_width_is_that_of_one_spot_though_all_are_pairs():
    places = sites(6, 16, 3)
    image = counts(pairs(places, 1.0, 4), 96)
    options = {"joint": True, "method": "mle", "shared": "sigma", "background": "constant"}
    found = fg.fit_spots(image, sigma=SIGMA, split=1e-3, **options)
    assert np.mean(spots_at(found, places) == 2) > 0.9
    assert_allclose(np.median(found.sigma), SIGMA, atol=0.02)
    assert len(fg.fit_spots(image, sigma=SIGMA, **options)) < 1.2 * len(places)


@COMPILED
def test_wide_spots_of_free_width_are_not_two():
    places = sites(6, 18, 5)
    image = fg.render((108, 108), places, PEAK, 1.6, tol=1e-7) + 10
    image = np.random.default_rng(6).poisson(image)
    options = {
        "joint": True,
        "split": 1e-3,
        "sigma": SIGMA,
        "method": "mle",
        "background": "constant",
    }
    assert_array_equal(spots_at(fg.fit_spots(image, **options), places), 1)


@COMPILED
def test_a_width_that_is_fixed_too_small_does_not_make_two_of_one():
    places = sites(6, 16, 3)
    image = counts(places, 96, peak=10 * PEAK)
    for wrong in (0.9, 0.95):
        options = KNOWN | {"fixed": {"sigma": wrong * SIGMA}, "method": "mle"}
        assert_array_equal(spots_at(fg.fit_spots(image, sigma=SIGMA, **options), places), 1)


@COMPILED
def test_what_is_not_there_is_not_made_of_a_mask_and_threads_do_not_matter():
    places = np.array([[15.0, 14.0], [16.0, 33.0], [34.0, 24.0]])
    image = counts(np.concatenate([places[1:], pairs(places[:1], 1.3, 1)]), 48)
    mask = np.zeros(image.shape, bool)
    mask[14:17, 32:34], mask[5, 5] = True, True  # much of a single spot
    image[mask] = 1e6
    options = KNOWN | {"sigma": SIGMA, "method": "mle", "mask": mask}
    found = fg.fit_spots(image, variance=np.full(image.shape, 2.0), threads=1, **options)
    assert_array_equal(spots_at(found, places), [2, 1, 1])
    again = fg.fit_spots(image, variance=np.full(image.shape, 2.0), threads=3, **options)
    assert_array_equal(found.params, again.params)
    assert_array_equal(found.covariance, again.covariance)
    assert spots_at(found, places[:1], 1.5) == 2
    assert KDTree(places[:1]).query(found.positions[-1:])[0] < 1.5  # the second of two is last


@COMPILED
def test_weights_dark_spots_and_missing_pixels():
    places = sites(3, 20, 7)
    two = np.concatenate([pairs(places[:3], 1.2, 8), places[3:]])
    light = fg.render((60, 60), two, 150.0, SIGMA, tol=1e-7)
    noise = np.where(np.arange(60) < 30, 2.0, 6.0)  # of each column
    image = 40 - light + noise * np.random.default_rng(9).normal(size=light.shape)
    image[40, 41] = np.nan
    options = KNOWN | {"sigma": SIGMA, "polarity": "dark"}
    for weights in (np.broadcast_to(noise**-2.0, light.shape), None):
        found = fg.fit_spots(image, weights=weights, **options)
        assert_array_equal(spots_at(found, places), [2, 2, 2] + 6 * [1])


@COMPILED
def test_pairs_of_a_volume():
    places = np.array([[9.0, 12.0, 12.0], [9.0, 12.0, 34.0]])
    apart = 0.65 * SIGMA * np.array([0.6, 0.0, 0.8])
    truth = np.stack([places[0] - apart, places[0] + apart, places[1]])
    image = fg.render((18, 24, 46), truth, 200.0, SIGMA, tol=1e-7) + 10.0
    image = np.random.default_rng(2).poisson(image)
    found = fg.fit_spots(image, sigma=SIGMA, method="mle", **KNOWN)
    assert_array_equal(spots_at(found, places), [2, 1])


@COMPILED
def test_two_that_one_explains_as_well_are_one():
    """A search that starts with a pair at each spot ends with one: k against k - 1."""
    rng = np.random.default_rng(0)
    places = sites(4, 16, 1)
    image = counts(places, 64)
    search = fits_of(image)
    start = np.repeat(search.usual(places), 2, axis=0)
    start[::2, 1:3] += 0.4
    start[1::2, 1:3] -= 0.4 + 0.05 * rng.normal(size=(len(places), 2))
    start[:, 0] *= 0.5
    found, changed = search.resolve(start)
    assert len(found) == len(places) == changed
    assert_allclose(KDTree(found[:, 2:0:-1]).query(places)[0], 0, atol=0.3)


class fits_of:
    """The tests of an image, with spots to begin with."""

    def __init__(self, image):
        from fastgauss.models.model import get_model
        from fastgauss.spots import iterative_search

        find = {"sigma": SIGMA, "polarity": "bright", "threads": None, "threshold": None,
                "min_distance": None, "exclude_border": False, "false_alarms": None,
                "significance": None}  # fmt: skip
        fit = {"method": "mle", "pixel": "sample", "guess": None, "fixed": {"sigma": SIGMA},
               "bounds": None, "shared": (), "covariance": "auto", "max_iter": 50, "tol": 1e-6,
               "threads": None, "progress": False, "weights": None, "variance": None,
               "mask": None, "box": (11, 11), "background": "constant", "split": 1e-3}  # fmt: skip
        self.search = iterative_search._Search(image, get_model("symmetric", 2), find, fit, 0)

    def usual(self, places):
        start = np.tile([PEAK, 0.0, 0.0, SIGMA, 10.0], (len(places), 1))
        start[:, 2:0:-1] = places
        return start

    def resolve(self, start):
        from fastgauss.spots.width_choice import Choice

        choice = Choice(start, start[:, [3]], np.zeros(len(start), bool))
        result = self.search.fits.fit_between(start[:, 2:0:-1], start, choice.hold)
        found, _ = self.search._tested(choice, result, None)
        return found.params, len(start) - len(found.params)


def test_the_level_is_the_tail_of_as_many_degrees_as_a_spot_has():
    search = fits_of(np.random.default_rng(1).poisson(10.0, (30, 30)).astype(float)).search
    tests = pair_tests.PairTests(search.fits, search.noise, 1e-3)
    assert_allclose(tests.level, chdtri(3, 1e-3))
    assert pair_tests.PairTests(search.fits, search.noise, 0.0).level == np.inf


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_best_direction_is_that_of_a_covariance_of_rank_one(ndim):
    """Of light whose covariance is one axis squared, without noise, the reason gives this axis."""
    image = np.zeros((21,) * ndim)
    axis = np.array([0.3, 0.5, -0.2])[:ndim]  # x, y, z
    middle = np.full(ndim, 10.0)
    at = np.stack(np.meshgrid(*[np.arange(21.0)] * ndim, indexing="ij"), -1)[..., ::-1]
    one, image = (
        sum(np.exp(-0.5 * ((at - middle - shift) ** 2).sum(-1) / SIGMA**2) for shift in shifts)
        for shifts in ((0.0, 0.0), (axis, -axis))
    )
    search = fits_of(np.random.default_rng(1).poisson(10.0, (30, 30)).astype(float)).search
    tests = pair_tests.PairTests(search.fits, search.noise, 1e-3)
    tests.ndim, tests.shape = ndim, image.shape
    gain, half, excess = tests._reasons(
        np.array([[2.0, *middle, SIGMA, 0.0]]), np.full((1, ndim), SIGMA), image - one,
        np.full(image.shape, 0.01),
    )  # fmt: skip
    assert gain[0] > 10
    assert_allclose(excess, (axis @ axis) / (ndim * SIGMA**2), rtol=0.2)
    sign = np.sign(half[0] @ axis)
    assert_allclose(sign * half[0], axis, atol=0.12)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"split": 1e-3}, ValueError, "split needs joint=True"),
        ({"split": 1e-3, "joint": True, "positions": [[5.0, 5.0]]}, ValueError, "no positions"),
        ({"joint": True, "split": 0.0}, ValueError, "split must be"),
        ({"joint": True, "split": -1e-3}, ValueError, "split must be"),
        ({"joint": True, "split": 0.7}, ValueError, "at most 0.5"),
        ({"joint": True, "split": np.nan}, ValueError, "split must be"),
        ({"joint": True, "split": "yes"}, TypeError, "split must be a real number"),
    ],
)
def test_bad_levels_are_named(options, error, word):
    with pytest.raises(error, match=word):
        fg.fit_spots(np.ones((20, 20)), **options)
