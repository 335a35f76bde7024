"""fit_spots(joint=True): crowded images, searched again in what the fit leaves."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial import KDTree

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.spots import pruning

SIGMA = 1.3
PLACES = np.array([[12.3, 12.1], [12.3, 15.2], [30.2, 34.0], [33.1, 35.0], [38.0, 10.2]])
HEIGHTS = np.array([300.0, 200.0, 300.0, 250.0, 150.0])
SHAPE = (48, 48)
OPTIONS = {"joint": True, "method": "mle", "shared": "sigma", "background": "constant"}
needs_speed = pytest.mark.skipif(JIT_DISABLED, reason="rounds of many fits")


def scene(places=PLACES, heights=HEIGHTS, shape=SHAPE, seed=0):
    image = fg.render(shape, np.asarray(places), heights, SIGMA, tol=1e-7) + 20.0
    return np.random.default_rng(seed).poisson(image).astype(float)


def crowd(count, side, seed=1):
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, side - 1, (count, 2))
    heights = rng.uniform(100, 400, count)
    return places, heights, scene(places, heights, (side, side), seed)


def matched(found, places, reach=SIGMA):
    """Pairs of rows, each used once, nearest first."""
    distance, nearest = KDTree(places).query(found, distance_upper_bound=reach)
    pairs = {}
    for k in np.argsort(distance):
        if np.isfinite(distance[k]):
            pairs.setdefault(nearest[k], k)
    return np.array(list(pairs.values())), np.array(list(pairs))


def test_pairs_are_parted_and_nothing_is_invented():
    result = fg.fit_spots(scene(), **OPTIONS)
    ours, theirs = matched(result.positions, PLACES)
    assert len(result) == len(ours) == len(PLACES)
    assert result.converged.all()
    pull = (result.amplitude[ours] - HEIGHTS[theirs]) / result.errors[ours, 0]
    assert np.abs(pull).max() < 4
    assert np.abs(result.positions[ours] - PLACES[theirs]).max() < 0.25


@needs_speed
def test_a_crowd_is_found_without_false_ones_and_duplicates():
    places, heights, image = crowd(600, 256)
    result = fg.fit_spots(image, **OPTIONS)
    ours, theirs = matched(result.positions, places)
    assert len(theirs) > 0.94 * len(places)
    assert len(result) - len(ours) < 0.02 * len(result)
    nearest = KDTree(result.positions).query(result.positions, k=2)[0][:, 1]
    assert nearest.min() > 0.5 * SIGMA
    alone = fg.fit_spots(image, method="mle")
    assert len(alone) < len(result)
    room = KDTree(places).query(places, k=2)[0][:, 1]
    misses = []
    for each in (result, alone):
        ours, theirs = matched(each.positions, places)
        miss = np.abs(each.amplitude[ours] / heights[theirs] - 1)
        misses.append(np.median(miss[(room[theirs] > 1.5 * SIGMA) & (room[theirs] < 4 * SIGMA)]))
    assert misses[0] < 0.08
    assert misses[1] > 1.2 * misses[0]


@needs_speed
def test_five_times_as_dense_the_threshold_still_works():
    places, _, image = crowd(800, 128)
    result = fg.fit_spots(image, **OPTIONS, tol=1e-2)
    ours, _ = matched(result.positions, places)
    assert len(ours) > 0.72 * len(places)
    assert len(result) - len(ours) < 0.03 * len(result)
    assert len(fg.find_spots(image)) < 0.5 * len(result)


def test_dropped_positions_keep_their_rows():
    ghosts = [[22.0, 24.0], PLACES[0] + 0.2, [-50.0, 3.0]]
    result = fg.fit_spots(scene(), np.concatenate([PLACES, ghosts]), **OPTIONS)
    assert len(result) == len(PLACES) + 3
    assert result.status[5] == fg.Status.DROPPED
    assert sorted(result.status[[0, 6]]) == [fg.Status.CONVERGED, fg.Status.DROPPED]
    assert result.status[7] == fg.Status.TOO_FEW_PIXELS
    assert np.isnan(result.params[result.status == fg.Status.DROPPED]).all()
    assert result.converged[1:5].all()
    assert_allclose(result.amplitude[1:5], HEIGHTS[1:], rtol=0.15)
    assert np.isfinite(result.render(SHAPE)).all()


def test_given_positions_are_not_added_to():
    result = fg.fit_spots(scene(), PLACES[2:], **OPTIONS)
    assert len(result) == 3
    assert_allclose(result.positions, PLACES[2:], atol=0.5)


@needs_speed
def test_a_volume():
    places = np.array([[10.0, 12.2, 13.1], [10.4, 12.0, 16.1], [11.0, 30.0, 30.0]])
    image = scene(places, HEIGHTS[:3], (20, 40, 40))
    result = fg.fit_spots(image, joint=True, method="mle", box=9)
    ours, theirs = matched(result.positions, places)
    assert len(result) == len(ours) == 3
    assert_allclose(result.amplitude[ours], HEIGHTS[theirs], rtol=0.15)


@needs_speed
def test_any_number_of_threads_gives_the_same_bits():
    _, _, image = crowd(150, 128)
    one, three = (fg.fit_spots(image, **OPTIONS, threads=n) for n in (1, 3))
    assert_array_equal(one.params, three.params)
    assert_array_equal(one.status, three.status)


@needs_speed
def test_dark_spots_missing_pixels_and_other_types():
    image = scene()
    bright = fg.fit_spots(image, joint=True, shared="sigma")
    dark = fg.fit_spots(500 - image, joint=True, shared="sigma", polarity="dark")
    assert len(bright) == len(PLACES)
    assert_allclose(dark.positions, bright.positions, atol=1e-3)
    assert_allclose(dark.amplitude, -bright.amplitude, rtol=1e-3)
    counts = fg.fit_spots(image.astype(np.uint16), joint=True, shared="sigma")
    assert_allclose(counts.positions, bright.positions, atol=1e-3)
    mask = np.zeros(SHAPE, bool)
    mask[25:, :] = True
    half = fg.fit_spots(image, **OPTIONS, mask=mask)
    assert len(half) == 2
    image[mask] = np.nan
    assert_array_equal(fg.fit_spots(image, **OPTIONS).params, half.params)


@needs_speed
@pytest.mark.parametrize(
    "options",
    [
        {"weights": np.full(SHAPE, 0.02)},
        {"method": "mle", "variance": np.full(SHAPE, 3.0)},
        {"fixed": {"sigma": SIGMA}, "method": "mle"},
        {"fixed": {"sigma": SIGMA}},
        {"bounds": {"sigma": (0.8, 2.0), "offset": (0, 50)}},
        {"background": np.full(SHAPE, 20.0)},
        {"background": "plane", "pixel": "integrate"},
        {"model": "elliptic"},
        {"model": "rotated", "method": "mle"},
    ],
    ids="-".join,
)
def test_options_of_the_fit_are_handed_on(options):
    result = fg.fit_spots(scene(), joint=True, **options)
    assert len(matched(result.positions, PLACES)[0]) == len(PLACES)
    assert len(result) <= len(PLACES) + 1
    assert result.model.name == options.get("model", "symmetric")
    if "fixed" in options:
        assert (result.sigma == SIGMA).all()
    if isinstance(options.get("background"), np.ndarray):
        assert (result.offset == 20.0).all()


def test_options_of_the_search_are_obeyed():
    image = scene()
    assert len(fg.fit_spots(image, **OPTIONS, threshold=1e4)) == 0
    inner = fg.fit_spots(image, **OPTIONS, exclude_border=11)
    assert inner.positions.min() > 10


def test_nothing_to_find():
    assert len(fg.fit_spots(np.zeros((30, 30)), joint=True)) == 0
    assert len(fg.fit_spots(np.full((30, 30), np.nan), joint=True)) == 0
    noise = np.random.default_rng(0).normal(size=(40, 40))
    assert len(fg.fit_spots(noise, joint=True)) == 0
    assert len(fg.fit_spots(noise, np.empty((0, 2)), joint=True)) == 0


@pytest.mark.parametrize(
    ("arguments", "error", "word"),
    [
        ({"joint": 1}, TypeError, "joint"),
        ({"joint": False, "background": "local"}, ValueError, "background"),
        ({"background": "wavy"}, ValueError, "background"),
        ({"background": np.zeros((3, 3))}, ValueError, "background"),
        ({"guess": np.ones(5)}, ValueError, "guess needs positions"),
        ({"fixed": {"sigma": [1.0, 1.2]}}, ValueError, r"fixed\['sigma'\]"),
        ({"bounds": {"sigma": ([1.0, 1.0], 2.0)}}, ValueError, r"bounds\['sigma'\]"),
        ({"covariance": "sandwich"}, ValueError, "covariance"),
        ({"box": 0}, ValueError, "box"),
        ({"sigma": -1.0}, ValueError, "sigma"),
        ({"polarity": "grey"}, ValueError, "polarity"),
        ({"threshold": -1.0}, ValueError, "threshold"),
        ({"positions": [[1.0, np.nan]]}, ValueError, "positions"),
        ({"positions": [[1.0, 2.0, 3.0]]}, ValueError, "positions"),
        ({"image": np.zeros((2, 2, 5, 5))}, ValueError, "image"),
        ({"tol": 0.0}, ValueError, "tol"),
        ({"shared": "width"}, ValueError, "shared"),
        ({"method": "mle", "weights": np.ones(SHAPE)}, ValueError, "weights"),
        ({"threads": 0}, ValueError, "threads"),
    ],
)
def test_bad_input_is_named(arguments, error, word):
    with pytest.raises(error, match=word):
        fg.fit_spots(**{"image": np.ones(SHAPE), "joint": True} | arguments)


def test_progress_ends_with_all():
    calls = []
    fg.fit_spots(scene(), **OPTIONS, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (5, 5)


def test_which_spots_go():
    places = np.array([[0.0, 0.0], [0.0, 0.3], [5.0, 5.0], [5.0, 6.0], [9.0, 9.0]])
    strength = np.array([30.0, 20.0, 1.0, 2.0, 3.9])
    assert_array_equal(pruning.surplus(strength, places), [False, True, True, False, True])
    assert_array_equal(pruning.surplus(strength[:1], places[:1]), [False])


def test_noise_follows_the_brightness():
    rng = np.random.default_rng(0)
    light = rng.exponential(100.0, 200_000).reshape(400, 500)
    error = np.sqrt(4 + light)
    noise = pruning.noise_by_brightness(light, rng.normal(size=light.shape) * error)
    assert_allclose(noise[light > 20], error[light > 20], rtol=0.25)
    assert (np.diff(noise.flat[np.argsort(light, axis=None)]) >= 0).all()
