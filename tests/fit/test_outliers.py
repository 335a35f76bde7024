"""Single pixels that no spot explains: the fit says so, wherever it went, and good spots keep."""

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.fit.batch import Job
from fastgauss.kernels._compile import JIT_DISABLED

from ..naive import naive_outliers

COUNT = 6 if JIT_DISABLED else 300
METHODS = ("lsq", "mle")
BOUNDS = ({}, {"sigma": (0.8, 2.0)}, {"sigma": (0.7, None), "amplitude": (0, None)})
OUTLIER = fg.Status.OUTLIER


def spots(seed, count=COUNT, side=11, sigma=1.3, height=90.0, background=8.0):
    """Images of spots, and their centres."""
    rng = np.random.default_rng(seed)
    centres = (side - 1) / 2 + rng.uniform(-0.5, 0.5, (count, 2))
    columns = np.full((count, 1), height), centres, np.full((count, 2), [sigma, background])
    return rng.poisson(fg.image(np.hstack(columns), (side, side), "symmetric")) * 1.0, centres


def wrong(result, centres):
    return np.hypot(result.x - centres[:, 0], result.y - centres[:, 1]) > 0.3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("peaks", [1.0, 11.0, 45.0])
def test_a_fit_that_a_hot_pixel_beside_the_spot_takes_has_not_converged(method, bounds, peaks):
    rois, centres = spots(1)
    rois[:, 2, 7] += 90.0 * peaks
    result = fg.fit_rois(rois, method=method, bounds=bounds)
    assert not (result.converged & wrong(result, centres)).any()
    assert result.converged.mean() < 0.02  # the right ones, too: their errors do not hold


@pytest.mark.parametrize("method", METHODS)
def test_a_hot_pixel_is_told_where_the_fit_had_a_guess(method):
    rois, centres = spots(2)
    rois[:, 3, 8] += 100.0
    guess = np.hstack([np.full((COUNT, 1), 90.0), centres, np.full((COUNT, 2), [1.3, 8.0])])
    result = fg.fit_rois(rois, method=method, guess=guess)
    assert (result.status == OUTLIER).mean() > 0.95


@pytest.mark.parametrize("where", [(0, 0), (10, 10), (10, 0), (0, 4)])
def test_hot_pixels_at_the_edges_are_seen(where):
    rois, _ = spots(3, count=8)
    rois[(slice(None), *where)] += 900.0
    assert (fg.fit_rois(rois, method="mle").status == OUTLIER).all()


def test_a_dead_pixel_and_one_beside_a_missing_pixel_are_seen():
    rois, _ = spots(4, count=8)
    rois[:4, 5, 5] = 0.0
    rois[4:, 2, 8] += 400.0
    rois[4:6, 2, 9] = np.nan
    rois[6:, 2, 7] = np.nan
    assert (fg.fit_rois(rois).status == OUTLIER).all()


def test_a_spike_in_a_spectrum_is_told():
    rng = np.random.default_rng(5)
    x = np.linspace(400.0, 420.0, 60)
    lines = 5.0 * np.exp(-0.5 * ((x - rng.uniform(405, 415, (20, 1))) / 1.2) ** 2)
    lines += rng.normal(0.0, 0.2, lines.shape)
    assert fg.fit_rois(lines, coords=x).converged.all()
    lines[:, 9] += 8.0
    assert (fg.fit_rois(lines, coords=x).status == OUTLIER).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("side", [7, 11])
@pytest.mark.parametrize("sigma", [0.6, 0.9, 1.4])
@pytest.mark.parametrize(("height", "background"), [(30.0, 10.0), (1000.0, 10.0), (20.0, 0.02)])
def test_spots_without_an_outlier_keep_their_status(method, side, sigma, height, background):
    rois, _ = spots(
        6, count=4 * COUNT, side=side, sigma=sigma, height=height, background=background
    )
    result = fg.fit_rois(rois, method=method)
    assert (result.status == OUTLIER).sum() <= 0.003 * len(rois)


@pytest.mark.parametrize("method", METHODS)
def test_narrow_spots_of_pixels_with_an_area_keep_their_status(method):
    rng = np.random.default_rng(7)
    centres = rng.uniform(3.0, 5.0, (COUNT, 2))
    truth = np.hstack([np.full((COUNT, 1), 900.0), centres, np.full((COUNT, 2), [0.35, 5.0])])
    rois = rng.poisson(fg.image(truth, (9, 9), "symmetric", pixel="integrate"))
    result = fg.fit_rois(rois, method=method, pixel="integrate")
    assert not (result.status == OUTLIER).any()


@pytest.mark.parametrize("method", METHODS)
def test_who_has_an_outlier_is_told_as_by_plain_numpy(method, monkeypatch):
    """By one step of the fit; fits without a pixel, in test_core_pixels.py, tell of more."""
    monkeypatch.setattr(Job, "_leave_out", lambda *_: None)
    count = 12 if JIT_DISABLED else 400
    rng = np.random.default_rng(8)
    rois, _ = spots(9, count=count)
    rois[np.arange(count), rng.integers(0, 11, count), rng.integers(0, 11, count)] += rng.choice(
        [0.0, 40.0, 80.0, 200.0, 900.0], count
    )
    for bounds in BOUNDS[:2]:
        result = fg.fit_rois(rois, method=method, bounds=bounds)
        judged = result.converged | (result.status == OUTLIER)
        expected = [
            naive_outliers.has_outlier(roi, params, method)
            for roi, params in zip(rois[judged], result.params[judged], strict=True)
        ]
        assert 0.2 < np.mean(expected) < 0.9
        np.testing.assert_array_equal(result.status[judged] == OUTLIER, expected)


@pytest.mark.parametrize("method", METHODS)
def test_one_step_tells_how_far_the_objective_falls_without_a_pixel(method):
    """Against fits without the pixel. Where the fit moves far, the step tells too little."""
    rois, _ = spots(10, count=8)
    rois[:, 4, 7] += 150.0  # on the flank
    rois[4:, 4, 7] += 100.0
    result = fg.fit_rois(rois, method=method, fixed={"sigma": 1.3})
    mask = np.zeros((11, 11), bool)
    mask[4, 7] = True
    without = fg.fit_rois(rois, method=method, fixed={"sigma": 1.3}, mask=mask)
    falls = result.objective - without.objective
    for roi, params, fall in zip(rois, result.params, falls, strict=True):
        _, drop = naive_outliers.without_pixel(roi, params, method, 4 * 11 + 7)
        assert 0.5 * fall < drop < 1.1 * fall
