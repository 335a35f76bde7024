"""Close spots in the search by likelihood ratio: pairs, crowds, and none beside single spots."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

SIDE = 60 if JIT_DISABLED else 160
PLACES = np.stack(np.meshgrid(*[np.arange(18, SIDE - 12, 28)] * 2), axis=-1).reshape(-1, 2)


def pairs(apart, seed, angle=0.4):
    step = 0.65 * apart * np.array([np.sin(angle), np.cos(angle)])  # sigma is 1.3
    places = PLACES + np.random.default_rng(seed).uniform(-0.5, 0.5, PLACES.shape)
    return np.concatenate([places - step, places + step])


def image(places, height, seed, width=1.3):
    light = fg.render((SIDE, SIDE), places, height, sigma=width) + 20.0
    return np.random.default_rng(seed).poisson(light)


def matched(found, truth):
    """How many true spots have a spot of their own within a pixel and a half."""
    if not len(found):
        return 0
    away, nearest = cKDTree(found).query(truth)
    return len(np.unique(nearest[away < 1.5]))


@pytest.mark.parametrize(("apart", "least"), [(2.4, 0.45), (2.7, 0.9), (3.2, 0.98)])
def test_pairs_are_found_as_by_curvature(apart, least):
    number = several = curved = 0
    for seed in range(1 if JIT_DISABLED else 4):
        truth = pairs(apart, seed)
        picture = image(truth, 150.0, seed)
        several += matched(fg.find_spots(picture, false_alarms=0.01), truth)
        curved += matched(fg.find_spots(picture, detector="laplacian"), truth)
        number += len(truth)
    assert several >= least * number
    assert several >= curved - 0.05 * number


@pytest.mark.parametrize("height", [40.0, 3000.0])
@pytest.mark.parametrize("width", [0.8, 1.3, 2.6, 3.6])
def test_single_spots_of_any_width_have_no_neighbours(height, width):
    for seed in range(1 if JIT_DISABLED else 4):
        truth = pairs(0.0, seed)[: len(PLACES)]
        found = fg.find_spots(image(truth, height, seed, width), false_alarms=0.01)
        assert len(found) == matched(found, truth)
        assert len(found) == len(truth) or (width > 3.0 and height < 100.0)  # seen at a third
        for false_alarms in (1, 10):
            more = fg.find_spots(image(truth, height, seed, width), false_alarms=false_alarms)
            near = cKDTree(truth).query(more)[0]
            assert np.count_nonzero((near > 1.5) & (near < 8.0)) <= 1 + 0.5 * false_alarms


def test_crowds_that_are_mostly_spots():
    rng = np.random.default_rng(3)
    truth = rng.uniform(5, SIDE - 5, (SIDE**2 // 80, 2))
    picture = image(truth, rng.uniform(50, 200, len(truth)), 4)
    found = fg.find_spots(picture)
    curved = fg.find_spots(picture, detector="laplacian")
    assert matched(found, truth) >= 0.93 * matched(curved, truth)
    assert len(found) - matched(found, truth) <= 0.03 * len(truth) + 2


def test_neighbours_beside_noisy_pixels():
    truth = pairs(2.6, 0)
    variance = np.full((SIDE, SIDE), 2.0)
    noisy = np.random.default_rng(5).random(variance.shape) < 0.01
    variance[noisy] = 4e3
    picture = image(truth, 300.0, 6) + np.random.default_rng(7).normal(0, np.sqrt(variance))
    found = fg.find_spots(picture, variance=variance, false_alarms=0.01)
    clear = far_from(truth, noisy)
    assert matched(found, truth[clear]) >= 0.8 * clear.sum()
    assert len(found) <= len(truth) + 1
    apart = pairs(2.8, 0)
    variance = np.geomspace(2.0, 2e3, SIDE) * np.ones((SIDE, SIDE))
    picture = image(apart, 600.0, 6) + np.random.default_rng(7).normal(0, np.sqrt(variance))
    seen = fg.find_spots(picture, variance=variance, false_alarms=0.01, details=True)
    assert matched(seen.positions, apart) >= 0.7 * len(apart)
    assert np.all((seen.amplitude > 300) & (seen.amplitude < 1300))


def test_a_missing_pixel_is_no_hole():
    truth = pairs(2.8, 2)
    picture = image(truth, 300.0, 3).astype(float)
    whole = matched(fg.find_spots(picture, false_alarms=0.01), truth)
    row, column = np.rint(truth).astype(int).T
    picture[row, column] = np.nan
    assert matched(fg.find_spots(picture, false_alarms=0.01), truth) >= 0.7 * whole


@pytest.mark.skipif(JIT_DISABLED, reason="large images")
@pytest.mark.parametrize("background", [0.05, 0.3, 1.0])
def test_bright_spots_on_few_counts_have_no_more_false_ones(background):
    rng = np.random.default_rng(9)
    truth = np.stack(np.meshgrid(*[np.arange(30, 490, 40)] * 2), axis=-1).reshape(-1, 2)
    light = fg.render((512, 512), truth, rng.uniform(3, 30, len(truth)), sigma=1.3)
    false = 0
    for seed in range(4):
        counts = np.random.default_rng(seed).poisson(light + background)
        away = cKDTree(truth).query(fg.find_spots(counts, false_alarms=3))[0]
        false += np.count_nonzero(away > 2.0)
        assert np.count_nonzero((away > 2.0) & (away < 6.0)) <= 2
    assert false <= 4 * 3 * 1.5


def far_from(places, noisy):
    """Which places have no noisy pixel within three pixels."""
    return cKDTree(np.argwhere(noisy)).query(places)[0] > 3.0


def test_the_answer_has_the_order_of_significance_and_no_pair_within_the_distance():
    truth = pairs(2.4, 1)
    found = fg.find_spots(image(truth, 150.0, 1), min_distance=3.0, details=True)
    away = cKDTree(found.positions).query(found.positions, k=2)[0][:, 1]
    pixels = np.rint(found.positions)
    assert cKDTree(pixels).query(pixels, k=2)[0][:, 1].min() >= 3.0 and away.min() > 2.0
    assert np.all(np.diff(found.significance) <= 0)
    assert np.all(np.isfinite(found.p_value))


@pytest.mark.skipif(JIT_DISABLED, reason="large images")
def test_wings_of_bright_stars_do_not_hide_faint_ones():
    # the wings are noise of the matched filter: by it alone no faint star is found here
    number = seen = wrong = 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        truth = rng.uniform(6, SIDE - 6, (SIDE**2 // 550, 2))
        faint = np.arange(len(truth)) % 2 == 1
        heights = np.where(faint, 30.0, 10.0 ** rng.uniform(3, 4.7, len(truth)))
        y, x = np.mgrid[:SIDE, :SIDE]
        light = np.full((SIDE, SIDE), 40.0)
        for (row, column), height in zip(truth, heights, strict=True):  # Moffat of FWHM 3
            light += height * (1 + ((y - row) ** 2 + (x - column) ** 2) / 3.84) ** -2.5
        found = fg.find_spots(rng.poisson(light))
        alone = truth[faint & (cKDTree(truth).query(truth, k=2)[0][:, 1] > 9.0)]
        number, seen = number + len(alone), seen + matched(found, alone)
        wrong += len(found) - matched(found, truth)
    assert seen >= 0.5 * number
    assert wrong <= 1
