"""Pictures of localisations: sums, oracles by scipy and numpy, and what may be given."""

import numpy as np
import pytest
from scipy.special import ndtr

import fastgauss as fg

RNG = np.random.default_rng(4)
FRAME = np.arange(60)
PLACES = RNG.uniform(2.0, [9.0, 14.0], (60, 2))
ERRORS = RNG.uniform(0.05, 0.4, (60, 2))


def test_gaussians_are_integrated_over_each_pixel():
    picture = fg.render_localisations((FRAME, PLACES, ERRORS), 0.25, shape=(12, 17))
    expected = np.ones((60, 1, 1))
    for axis, n in enumerate(picture.shape):
        edges = -0.5 + 0.25 * np.arange(n + 1)
        parts = np.diff(ndtr((edges - PLACES[:, [axis]]) / ERRORS[:, [axis]]), axis=1)
        expected = expected * np.expand_dims(parts, 2 - axis)
    assert picture.shape == (48, 68)
    np.testing.assert_allclose(picture, expected.sum(axis=0), atol=2e-3)
    assert picture.sum() == pytest.approx(60, rel=2e-3)


def test_a_histogram_counts_each_in_its_pixel():
    picture = fg.render_localisations((FRAME, PLACES), (0.5, 0.2), "histogram", shape=(12, 17))
    edges = [-0.5 + 0.5 * np.arange(25), -0.5 + 0.2 * np.arange(86)]
    np.testing.assert_array_equal(picture, np.histogramdd(PLACES, edges)[0])


def test_an_average_of_shifted_histograms_is_the_limit_of_many_shifts():
    picture = fg.render_localisations((FRAME, PLACES), 0.5, "average shift", shape=(12, 17))
    mean, steps = np.zeros_like(picture), 40
    for j in range(steps):
        for i in range(steps):
            moves = ((j + 0.5) / steps - 0.5, (i + 0.5) / steps - 0.5)
            edges = [
                -0.5 + 0.5 * (np.arange(n + 1) + m) for n, m in zip((24, 34), moves, strict=True)
            ]
            mean += np.histogramdd(PLACES, edges)[0] / steps**2
    np.testing.assert_allclose(picture, mean, atol=0.2)
    assert np.abs(picture - mean).mean() < 0.01
    assert picture.sum() == pytest.approx(60)


@pytest.mark.parametrize("mode", ["gaussian", "histogram", "average shift"])
def test_the_picture_covers_the_frames_that_hold_all(mode):
    far = [[0.0, 0.0], [6.4, 3.6]]
    picture = fg.render_localisations(([0, 1], far, [0.1, 0.1]), 0.1, mode)
    assert picture.shape == (70, 50)
    outside = fg.render_localisations(([0, 1], far, [0.1, 0.1]), 0.1, mode, shape=(5, 5))
    assert outside.shape == (50, 50) and outside.sum() == pytest.approx(1.0, rel=2e-3)


def test_what_is_not_known_is_not_drawn_and_volumes_and_profiles_are():
    places = [[1.0, 2.0, 3.0], [np.nan, 2.0, 3.0]]
    volume = fg.render_localisations(([0, 1], places), 1.0, "histogram")
    assert volume.shape == (2, 3, 4) and volume[1, 2, 3] == volume.sum() == 1
    line = fg.render_localisations(([0, 1], [[1.0], [2.2]]), 0.5, "histogram")
    assert line.tolist() == [0, 0, 0, 1, 0, 1]
    assert (
        fg.render_localisations((np.empty(0, int), np.empty((0, 2))), 0.5, "histogram").sum() == 0
    )


def test_results_and_groups_are_drawn():
    frames = np.stack(
        [fg.image([90.0, x, 9.0, 1.3, 4.0], (20, 20), "symmetric") for x in (8.0, 8.1)]
    )
    fits = [fg.fit_spots(frame, [[9, 8]], error=np.ones((20, 20))) for frame in frames]
    one = fg.render_localisations(fits[0], 0.5)
    assert one.shape == (20, 18) and one.sum() == pytest.approx(1.0, rel=2e-3)
    groups = fg.group(fg.FitResult.concatenate(fits, [0, 1]), 0.5)
    assert len(groups) == 1
    assert fg.render_localisations(groups, 0.5, "histogram").sum() == 1
    moved = fg.estimate_drift(([0, 1], [[9.0, 8.0]] * 2)).apply(groups)
    np.testing.assert_array_equal(moved.positions, groups.positions)


def test_the_depth_of_an_astigmatic_result_is_left_out():
    lens = fg.astigmatic_model((1.3, -250.0, 400.0), (1.3, 250.0, 400.0), (-500.0, 500.0))
    roi = fg.image([300.0, 6.2, 5.9, 120.0, 5.0], (13, 13), lens)
    result = fg.fit_rois(roi[np.newaxis], lens, method="mle")
    picture = fg.render_localisations(result, 1.0, "histogram", shape=(13, 13))
    assert picture[6, 6] == picture.sum() == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "ash"}, "mode must be one of"),
        ({"mode": "gaussian"}, "localisations must have errors"),
        ({"pixel": 0.0, "mode": "histogram"}, "pixel must be"),
        ({"pixel": 1e-6, "mode": "histogram"}, "pixel must give a picture of at most 2147483648"),
        ({"shape": (3,), "mode": "histogram"}, "shape must have 2 axes"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        fg.render_localisations(([0], [[1.0, 2.0]]), **options)
