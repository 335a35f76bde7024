"""What is known of pixels is used where spots are searched for, not only where they are fitted."""

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

SHAPE = (64, 64)
SPOT = np.array([[20.4, 40.7]])
pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="whole images")


def camera(seed=0, spots=SPOT):
    """Counts, the variance of each pixel, and where the camera is noisy."""
    rng = np.random.default_rng(seed)
    noisy = rng.random(SHAPE) < 0.01
    noisy[15:26, 35:46] = False
    variance = np.where(noisy, 400.0, 1.0)
    light = fg.render(SHAPE, spots, 120.0, sigma=1.25) if len(spots) else np.zeros(SHAPE)
    return rng.poisson(light + 8.0) + rng.normal(0, np.sqrt(variance)), variance, noisy


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("empty", [False, True])
def test_noisy_pixels_of_a_known_variance_are_no_spots(joint, empty):
    places = SPOT[:0] if empty else SPOT
    more = 0
    for seed in range(5):
        image, variance, noisy = camera(seed, places)
        options = {"method": "mle", "variance": variance, "joint": joint, "false_alarms": 0.01}
        found = fg.fit_spots(image, sigma=1.25, **options)
        more += len(found) - len(places)
        if len(places):
            assert np.abs(found.positions - places).max(axis=1).min() < 0.3
    assert more <= 1  # of hundreds of noisy pixels
    assert noisy.sum() > 20


@pytest.mark.parametrize("joint", [False, True])
def test_pixels_of_little_or_no_weight_are_no_spots(joint):
    image, variance, noisy = camera(7)
    options = {"sigma": 1.25, "joint": joint, "false_alarms": 0.01}
    for weights in (1.0 / (8.0 + variance), np.where(noisy, 0.0, 0.1)):
        found = fg.fit_spots(image, weights=weights, **options)
        assert len(found) == 1
        assert np.abs(found.positions - SPOT).max() < 0.3
    hidden = fg.fit_spots(image, mask=noisy, **options)
    assert len(hidden) == 1


@pytest.mark.parametrize("joint", [False, True])
def test_a_threshold_in_units_of_the_image_is_met_besides(joint):
    image, variance, _ = camera(3)
    options = {"sigma": 1.25, "method": "mle", "variance": variance, "joint": joint}
    assert len(fg.fit_spots(image, threshold=1e4, **options)) == 0
    assert len(fg.fit_spots(image, threshold=1.0, **options)) == 1
