"""fit_spots: windows in the image, its border, and its coordinates."""

import naive_fit
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastgauss as fg


def _field(rng, centres, shape, sigma=1.3, amplitude=200.0, noise=2.0):
    image = rng.normal(10.0, noise, shape) if noise else np.full(shape, 10.0)
    for y, x in centres:
        image += naive_fit.model([amplitude, x, y, sigma, 0.0], shape, "symmetric")
    return image


def test_coordinates_are_those_of_the_image():
    centres = np.array([[20.3, 40.8], [33.7, 12.2], [50.1, 55.9]])
    image = _field(np.random.default_rng(0), centres, (64, 72), noise=0)
    for name in ("symmetric", "elliptic", "rotated"):
        result = fg.fit_spots(image, centres.round(), name)
        assert_allclose(result.positions, centres, rtol=1e-9)
        assert_allclose(np.stack([result.y, result.x], axis=1), centres, rtol=1e-9)


def test_spots_are_found_and_fitted_without_any_start():
    centres = np.array([[20.3, 40.8], [33.7, 12.2], [50.1, 55.9]])
    image = _field(np.random.default_rng(1), centres, (64, 72))
    result = fg.fit_spots(image, false_alarms=0.001)
    assert result.converged.all() and len(result) == 3
    order = np.argsort(result.y)
    assert (abs(result.positions[order] - centres) < 5 * result.errors[order, 2:0:-1]).all()


def test_a_window_is_the_roi_around_the_rounded_position():
    centres = np.array([[20.3, 40.8], [33.7, 12.2]])
    image = _field(np.random.default_rng(2), centres, (64, 72))
    for box in (7, 8, (9, 13)):
        height, width = np.broadcast_to(box, 2)
        result = fg.fit_spots(image, centres, box=box)
        for k, (y, x) in enumerate(np.rint(centres).astype(int)):
            top, left = y - height // 2, x - width // 2
            roi = image[top : top + height, left : left + width]
            alone = fg.fit_rois(roi[np.newaxis])
            assert_allclose(result.errors[k], alone.errors[0], rtol=1e-6)  # another start
            assert_allclose(result.x[k], alone.x[0] + left, rtol=1e-7)
            assert_allclose(result.y[k], alone.y[0] + top, rtol=1e-7)


@pytest.mark.parametrize("centre", [(1.2, 30.4), (30.3, 0.6), (62.8, 70.1), (0.3, 70.6)])
def test_at_the_border_the_pixels_that_exist_are_fitted(centre):
    image = _field(np.random.default_rng(3), [centre], (64, 72))
    result = fg.fit_spots(image, [centre])
    y, x = np.rint(centre).astype(int)
    top, left = max(y - 5, 0), max(x - 5, 0)
    roi = image[top : y + 6, left : x + 6]
    alone = fg.fit_rois(roi[np.newaxis])
    assert_allclose(result.errors, alone.errors, rtol=1e-6)
    assert_allclose(result.positions[0], centre, atol=0.2)


def test_positions_off_the_image_keep_their_rows():
    image = _field(np.random.default_rng(4), [(20.0, 20.0)], (40, 40))
    positions = [(20.0, 20.0), (-100.0, 5.0), (1e300, 5.0), (41.0, 47.0), (-6.0, 20.0)]
    result = fg.fit_spots(image, positions)
    names = [fg.Status(s).name for s in result.status]
    assert names == ["CONVERGED"] + 4 * ["TOO_FEW_PIXELS"]


def test_a_neighbour_is_cut_off_half_way():
    centres = np.array([[20.0, 20.0], [20.2, 27.1], [34.0, 24.0]])
    image = _field(np.random.default_rng(5), centres, (48, 48), sigma=1.5, noise=1.0)
    result = fg.fit_spots(image, centres, box=13)
    pull = (result.params[:, 1:3] - centres[:, ::-1]) / result.errors[:, 1:3]
    assert (abs(pull) < 5).all()
    whole = fg.fit_spots(image, centres[:1], box=13)
    assert abs(whole.x[0] - 20.0) > abs(result.x[0] - 20.0)


def test_windows_of_all_shapes_in_one_call_equal_single_calls():
    rng = np.random.default_rng(6)
    image = rng.normal(10, 1, (40, 40))
    centres = rng.uniform(-2, 42, (60, 2))
    centres[:, 0] += 100 * np.arange(60)  # far apart: no window is cut by a neighbour
    tall = np.tile(image, (160, 1))[: 100 * 60 + 60]
    result = fg.fit_spots(tall, centres)
    for k in range(0, 60, 7):
        assert_array_equal(result.params[k], fg.fit_spots(tall, centres[k : k + 1]).params[0])
    assert_array_equal(result.params, fg.fit_spots(tall, centres, threads=3).params)


def test_missing_pixels_cost_only_their_own_spot():
    centres = np.array([[20.0, 20.0], [40.0, 40.0]])
    image = _field(np.random.default_rng(7), centres, (64, 64))
    clean = fg.fit_spots(image, centres)
    image[19, 22] = np.nan
    result = fg.fit_spots(image, centres)
    assert result.converged.all() and result.pixels.tolist() == [120, 121]
    assert_array_equal(result.params[1], clean.params[1])
    image[19, 22] = np.inf
    result = fg.fit_spots(image, centres)
    assert result.status.tolist() == [fg.Status.NOT_FINITE, fg.Status.CONVERGED]


def test_a_guess_is_in_image_coordinates():
    centres = np.array([[20.3, 40.8], [1.7, 12.2]])
    image = _field(np.random.default_rng(8), centres, (64, 72))
    own = fg.fit_spots(image, centres)
    guess = [[150.0, x, y, 1.0, 0.0] for y, x in centres]
    assert_allclose(fg.fit_spots(image, centres, guess=guess).params, own.params, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "f4", "f8", "i4"])
def test_any_dtype_of_image(dtype):
    image = _field(np.random.default_rng(9), [(20.0, 20.0)], (40, 40)).astype(dtype)
    expected = fg.fit_spots(image.astype(np.float64), [(20.0, 20.0)])
    assert_array_equal(fg.fit_spots(image, [(20.0, 20.0)]).params, expected.params)
    strided = np.repeat(image, 2, axis=0)[::2]
    strided.flags.writeable = False
    assert_array_equal(fg.fit_spots(strided, [(20.0, 20.0)]).params, expected.params)


def test_no_positions_and_empty_images():
    assert len(fg.fit_spots(np.zeros((30, 30)), np.empty((0, 2)))) == 0
    assert len(fg.fit_spots(np.zeros((30, 30)))) == 0
    assert len(fg.fit_spots(np.empty((0, 0)))) == 0
    for sizes in (None, [[1.3], [2.6]], [[1.3, 1.4], [2.6, 2.4]]):  # no spot of any
        assert len(fg.fit_spots(np.ones((40, 30)), sigma=sizes, threshold=9.0)) == 0
    assert fg.fit_spots(np.empty((0, 7)), [[0, 0]]).status[0] == fg.Status.TOO_FEW_PIXELS


@pytest.mark.parametrize(
    ("arguments", "error", "word"),
    [
        ({"image": np.zeros((5, 5), "O")}, TypeError, "image"),
        ({"image": "cells.tif"}, TypeError, "got 'cells.tif': a file has to be read first"),
        ({"image": np.zeros((5, 5, 5, 5))}, ValueError, "image"),
        ({"positions": [[1.0, np.nan]]}, ValueError, "positions"),
        ({"positions": [1.0, 2.0]}, ValueError, "positions"),
        ({"positions": [[1.0, 2.0, 3.0]]}, ValueError, "positions"),
        ({"box": 0}, ValueError, "box"),
        ({"box": -3}, ValueError, "box"),
        ({"box": 5.5}, TypeError, "box"),
        ({"box": (3, 4, 5)}, ValueError, "box"),
        ({"box": "wide"}, TypeError, "box"),
        ({"sigma": -1.0, "positions": None}, ValueError, "sigma"),
        ({"polarity": "grey", "positions": None}, ValueError, "polarity"),
        ({"bounds": {"sigma": (2, 1)}}, ValueError, "bounds"),
    ],
)
def test_bad_input_is_named(arguments, error, word):
    arguments = {"image": np.ones((32, 32)), "positions": [[9.0, 9.0]], **arguments}
    with pytest.raises(error, match=word):
        fg.fit_spots(**arguments)


def test_progress_counts_every_spot_once():
    image = _field(np.random.default_rng(10), [(20.0, 20.0)], (40, 40))
    calls = []
    positions = [(20.0, 20.0), (1.0, 1.0), (-90.0, 1.0), (38.0, 20.0)]
    fg.fit_spots(image, positions, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (4, 4) and calls == sorted(calls)


def test_dark_spots_start_dark_beside_a_brighter_neighbour():
    centres = np.array([[20.0, 20.0], [40.3, 41.2]])
    image = _field(np.random.default_rng(11), centres, (64, 64), amplitude=-40.0)
    image += naive_fit.model([300.0, 24.5, 20.0, 1.3, 0.0], image.shape, "symmetric")
    result = fg.fit_spots(image, centres, polarity="dark", box=9)
    assert result.amplitude[1] < 0 and abs(result.x[1] - 41.2) < 0.5
    found = fg.fit_spots(300.0 - _field(np.random.default_rng(12), centres, (64, 64)),
                         polarity="dark", false_alarms=0.001)  # fmt: skip
    assert (found.amplitude < 0).all() and len(found) == 2
    with pytest.raises(ValueError, match="polarity"):
        fg.fit_spots(image, centres, polarity="grey")
