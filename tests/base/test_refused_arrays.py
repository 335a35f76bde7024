"""Masks, frames and weights that are none are refused in the same words everywhere."""

import numpy as np
import pytest

import fastgauss as fg

IMAGE = np.random.default_rng(3).normal(10, 1, (9, 11))
ROIS = IMAGE[np.newaxis]
PLACES = np.array([[4.0, 5.0]])
MASKED = {
    "fit_rois": lambda mask: fg.fit_rois(ROIS, mask=mask),
    "fit_spots": lambda mask: fg.fit_spots(IMAGE, PLACES, mask=mask),
    "fit_joint": lambda mask: fg.fit_joint(IMAGE, PLACES, mask=mask),
    "find_spots": lambda mask: fg.find_spots(IMAGE, mask=mask),
    "gaussian_filter": lambda mask: fg.gaussian_filter(IMAGE, 1.0, mask=mask),
    "fit_lines": lambda mask: fg.fit_lines(IMAGE, mask=mask),
    "fit_amplitudes": lambda mask: fg.GaussianField(IMAGE.shape, PLACES, 1.5).fit_amplitudes(
        IMAGE, mask=mask
    ),
}


@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("wrong", [IMAGE, IMAGE.astype(np.uint8), IMAGE.astype(str)])
def test_a_mask_is_boolean(name, wrong):
    words = f"mask must be boolean, True where there are no data; got {wrong.dtype}"
    with pytest.raises(TypeError, match=words.replace("<", "[<]")):
        MASKED[name](wrong)


@pytest.mark.parametrize("wrong", [np.zeros(1), np.zeros(1, bool)])
def test_frames_are_integers(wrong):
    words = f"frames must be integers, got {wrong.dtype}"
    with pytest.raises(TypeError, match=words):
        fg.fit_joint(ROIS, PLACES, frames=wrong)
    result = fg.fit_rois(np.full((1, 2, 2), np.nan))
    with pytest.raises(TypeError, match=words):
        fg.FitResult.concatenate([result], frames=wrong)


@pytest.mark.parametrize("wrong", [-2.5, np.nan, np.inf])
def test_a_weight_that_is_none_is_told_with_its_place(wrong):
    weights = np.ones(IMAGE.shape)
    weights[3, 4] = wrong
    words = rf"weights must be finite and not negative, got {wrong} at index \(3, 4\)"
    for fit in (fg.fit_lines, lambda data, weights: fg.fit_rois(data[np.newaxis], weights=weights)):
        with pytest.raises(ValueError, match=words):
            fit(IMAGE, weights=weights)
