"""The options fwhm and error: other words for sigma and weights, with the same bits."""

import numpy as np
import pytest

import fastgauss as fg

FWHM = 2 * np.sqrt(2 * np.log(2))
RNG = np.random.default_rng(6)
SPOTS = [[90.0, 12.2, 9.1, 1.4, 0.0], [70.0, 27.0, 20.4, 1.4, 0.0]]
IMAGE = 5.0 + fg.image(SPOTS, (30, 40), "symmetric").sum(axis=0) + RNG.normal(size=(30, 40))
ERROR = RNG.uniform(0.5, 2.0, IMAGE.shape)
PLACES = [[9, 12], [20, 27]]
ROIS = np.stack([IMAGE[4:15, 7:18], IMAGE[15:26, 22:33]])


def assert_same(one, other):
    np.testing.assert_array_equal(one.params, other.params)
    np.testing.assert_array_equal(one.covariance, other.covariance)
    assert one.absolute and other.absolute


def test_errors_are_weights():
    for error in (ERROR[:11, :11], ERROR[:22, :11].reshape(2, 11, 11), np.array([1.5, 0.5])):
        assert_same(fg.fit_rois(ROIS, error=error), fg.fit_rois(ROIS, weights=error**-2.0))
    weights = ERROR**-2.0
    assert_same(
        fg.fit_spots(IMAGE, PLACES, error=ERROR), fg.fit_spots(IMAGE, PLACES, weights=weights)
    )
    assert_same(fg.fit_spots(IMAGE, error=ERROR), fg.fit_spots(IMAGE, weights=weights))
    assert_same(
        fg.fit_joint(IMAGE, PLACES, error=ERROR), fg.fit_joint(IMAGE, PLACES, weights=weights)
    )


def test_a_pixel_of_infinite_error_is_missing():
    error = np.full((11, 11), 2.0)
    error[3, 4] = np.inf
    hidden = ROIS.copy()
    hidden[:, 3, 4] = 1e6
    found = fg.fit_rois(hidden, error=error)
    assert (found.pixels == 120).all()
    np.testing.assert_array_equal(found.params, fg.fit_rois(ROIS, error=error).params)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"error": np.zeros((11, 11))}, "error must be positive, got 0.0"),
        ({"error": np.full((11, 11), np.nan)}, "error must be positive, got nan"),
        ({"error": [-1.0, 2.0]}, "error must be positive, got -1.0"),
        ({"error": [1.0, 2.0], "weights": [1.0, 1.0]}, "error must be None where weights"),
        ({"error": [1.0, 2.0], "method": "mle"}, "error must be None with method='mle'"),
        ({"error": "large"}, "error must"),
        ({"error": np.ones((3, 4))}, "must have shape"),
    ],
)
def test_errors_that_say_nothing(options, reason):
    with pytest.raises((ValueError, TypeError), match=reason):
        fg.fit_rois(ROIS, **options)


@pytest.mark.parametrize("sigma", [1.4, (1.5, 1.2)])
def test_a_width_at_half_maximum_is_a_sigma(sigma):
    fwhm = FWHM * sigma if isinstance(sigma, float) else tuple(FWHM * s for s in sigma)
    places = fg.find_spots(IMAGE, sigma)
    np.testing.assert_allclose(fg.find_spots(IMAGE, fwhm=fwhm), places, rtol=1e-6)
    one, other = fg.fit_spots(IMAGE, sigma=sigma), fg.fit_spots(IMAGE, fwhm=fwhm)
    np.testing.assert_allclose(one.params, other.params, rtol=1e-6)
    np.testing.assert_array_equal(one.pixels, other.pixels)
    np.testing.assert_allclose(other.fwhm, FWHM * other.sigma)


def test_widths_that_contradict_each_other_or_are_none():
    for call in (fg.find_spots, fg.fit_spots):
        with pytest.raises(ValueError, match="fwhm must be None where sigma is given"):
            call(IMAGE, sigma=2.0, fwhm=4.0)
        with pytest.raises(ValueError, match=r"fwhm must be .*at least 0.706"):
            call(IMAGE, fwhm=0.5)
        with pytest.raises(ValueError, match="fwhm must be one number or 2 numbers"):
            call(IMAGE, fwhm=(3.0, 3.0, 3.0))
        with pytest.raises(TypeError, match="fwhm must be a real number"):
            call(IMAGE, fwhm="3 px")
    assert len(fg.find_spots(IMAGE, fwhm=0.3 * FWHM)) >= 0  # the least width is a width
