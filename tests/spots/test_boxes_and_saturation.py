"""The default box follows sigma; saturated pixels are missing, or told."""

import numpy as np
import pytest
from scipy import ndimage

import fastgauss as fg
from fastgauss.cli.command import main
from fastgauss.fit.saturation import plateau


def scene(sigma=1.3, top=300.0, shape=(90, 95), seed=0):
    rng = np.random.default_rng(seed)
    places = np.array([[25.2, 24.7], [30.1, 66.4], [63.8, 40.3]])
    return rng.poisson(fg.render(shape, places, top, sigma=sigma, tol=1e-6) + 20.0), places


@pytest.mark.parametrize(("sigma", "side"), [(0.5, 7), (1.0, 9), (1.3, 11), (2.5, 21), (4.0, 33)])
def test_the_default_box_reaches_four_sigmas(sigma, side):
    image, places = scene(sigma)
    result = fg.fit_spots(image, places[1:2], sigma=sigma)
    assert result.pixels.tolist() == [side * side]
    assert fg.fit_spots(image, places[1:2], sigma=sigma, box=9).pixels.tolist() == [81]


def test_the_default_box_of_a_volume_has_a_side_for_each_axis():
    volume = np.random.default_rng(1).poisson(5.0, (40, 40, 40))
    result = fg.fit_spots(volume, [[20, 20, 20]], sigma=(2.0, 1.0, 1.5), max_iter=2)
    assert result.pixels.tolist() == [17 * 9 * 13]


def test_wide_spots_are_measured_in_their_own_box():
    image, places = scene(6.0, 200.0, (220, 220))
    result = fg.fit_spots(image, places * 2 + 25, sigma=6.0)
    blank = fg.fit_spots(image, places, sigma=6.0, method="mle")
    assert len(result) == len(blank) == 3
    true = fg.render((220, 220), places * 2 + 25, 200.0, sigma=6.0, tol=1e-6) + 20.0
    found = fg.fit_spots(np.random.default_rng(2).poisson(true), places * 2 + 25, sigma=6.0)
    assert found.converged.all() and (np.abs(found.sigma - 6.0) < 5 * found.errors[:, 3]).all()


def test_saturated_pixels_are_missing_in_search_and_fit():
    image, places = scene(top=3000.0)
    clipped = np.minimum(image, 1500).astype(np.uint16)
    told = fg.fit_spots(clipped, places, saturation=1500)
    assert told.converged.all() and (told.pixels < 121).all()
    assert (np.abs(told.amplitude - 3000.0) < 6 * told.errors[:, 0]).all()
    masked = fg.fit_spots(clipped, places, mask=clipped >= 1500)
    np.testing.assert_array_equal(masked.params, told.params)
    np.testing.assert_array_equal(
        fg.find_spots(clipped, saturation=1500.0), fg.find_spots(clipped, mask=clipped >= 1500)
    )
    hidden = np.zeros(image.shape, bool)
    hidden[25, 25] = True
    both = fg.fit_spots(clipped, places, saturation=1500, mask=hidden)
    np.testing.assert_array_equal(
        both.params, fg.fit_spots(clipped, places, mask=hidden | (clipped >= 1500)).params
    )
    with pytest.raises((TypeError, ValueError), match="saturation"):
        fg.fit_spots(clipped, places, saturation="full")


def test_a_plateau_that_nobody_told_is_told():
    image, places = scene(top=3000.0)
    clipped = np.minimum(image, 1500).astype(np.uint16)
    assert (fg.fit_spots(clipped, places).status == fg.Status.SATURATED).all()
    assert fg.fit_spots(image, places).converged.all()  # one pixel is the largest
    few = np.minimum(image, 30).astype(np.uint8)
    assert not (fg.fit_spots(few, places).status == fg.Status.SATURATED).any()


def test_a_plateau_of_real_numbers_is_told_where_it_is_evident():
    image, places = scene(top=3000.0)
    noise = np.random.default_rng(1).normal(0.0, 1.0, image.shape)
    for each in (image.astype(float), 0.37 * image - 5.0, image + noise, np.float32(image + noise)):
        clipped = np.minimum(each, each.dtype.type(0.5) * each.max())
        clipped[40, 3] = np.nan
        clipped[41, 3] = np.inf
        assert (fg.fit_spots(clipped, places).status == fg.Status.SATURATED).all()
        assert fg.fit_spots(each, places).converged.all()
    few = np.minimum(image, 30) * 0.37  # numbers as coarse as counts
    assert not (fg.fit_spots(few, places).status == fg.Status.SATURATED).any()


@pytest.mark.parametrize("at", [(10.5, 10.5), (10.5, 10.2), (10.0, 10.5)])
def test_equal_pixels_of_a_symmetric_spot_are_no_plateau(at):
    light = fg.render((21, 21), [at], 300.0, sigma=1.3) + 20.0
    assert fg.fit_spots(light, [at]).converged.all()
    assert plateau(light, None) is None and plateau(np.ones((9, 9)), None) is None
    assert plateau(np.array([[0.0, 9.0, 9.0]] * 3), None) is None


def test_what_profiles_and_filters_repeat_is_no_plateau():
    profile = 100.0 * np.exp(-((np.arange(61.0) - 30.5) ** 2) / 8.0) + 5.0
    assert fg.fit_spots(profile, [[30.0]]).converged.all()
    image, _ = scene(top=3000.0)
    for seed in range(10):
        noisy = image + np.random.default_rng(seed).normal(0.0, 3.0, image.shape)
        assert plateau(ndimage.median_filter(noisy, 3), None) is None


def test_a_masked_hot_pixel_hides_no_plateau():
    image, places = scene(top=3000.0)
    for dtype in (np.uint16, np.float64):
        clipped, mask = np.minimum(image, 1500).astype(dtype), np.zeros(image.shape, bool)
        clipped[3, 3], mask[3, 3] = 9000, True
        result = fg.fit_spots(clipped, places, mask=mask)
        assert (result.status == fg.Status.SATURATED).all()


def test_the_command_has_both(tmp_path):
    image, _ = scene(top=3000.0)
    path, table = tmp_path / "image.npy", tmp_path / "spots.csv"
    np.save(path, np.minimum(image, 1500).astype(np.uint16))
    assert main(["fit", str(path), "-o", str(table), "--saturation", "1500"]) == 0
    found = fg.FitResult.load(table)
    assert len(found) and (found.pixels < 121).any()
    assert (found.status != fg.Status.SATURATED).all()
