"""Spots of images in any unit: the same places, whatever the size of the numbers."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastgauss.find.detection import find_spots
from fastgauss.kernels._compile import JIT_DISABLED

RNG = np.random.default_rng(0)
PLACES = np.array([[20.3, 18.2], [9.0, 31.4]])
Y, X = np.mgrid[:40, :42]
IMAGE = RNG.normal(10.0, 1.0, Y.shape) + sum(
    height * np.exp(-((Y - y) ** 2 + (X - x) ** 2) / 3.4)
    for height, (y, x) in zip((100.0, 40.0), PLACES, strict=True)
)


POWERS = (-308, -200, -45, -30, -24, 0, 24, 29, 30, 36, 200, 300)


@pytest.mark.parametrize("power", (-308, -30, 36, 300) if JIT_DISABLED else POWERS)
def test_the_unit_of_the_pixels_does_not_matter(power):
    image = IMAGE * 10.0**power
    found = find_spots(image)
    assert_allclose(found, PLACES, atol=0.2)
    assert_allclose(found, find_spots(IMAGE), atol=1e-4)
    high = find_spots(image, threshold=60.0 * 10.0**power)
    assert_allclose(high, PLACES[:1], atol=0.2)
    assert_allclose(find_spots(-image, polarity="dark"), found, atol=1e-4)


@pytest.mark.parametrize("power", [-42, -36, 36])
def test_float32_of_any_unit(power):
    image = (IMAGE * 10.0**power).astype(np.float32)
    assert_allclose(find_spots(image), PLACES, atol=0.2)


@pytest.mark.parametrize("power", [0, 40])
def test_what_is_far_beyond_the_others_is_missing_in_any_unit(power):
    image = IMAGE * 10.0**power
    image[30:33, 5:8] = 1e36 * 10.0**power
    assert_allclose(find_spots(image), PLACES, atol=0.2)


def test_powers_of_two_change_nothing():
    expected = find_spots(IMAGE * 2.0**300)
    for exponent in (301, 500, 900):
        np.testing.assert_array_equal(find_spots(IMAGE * 2.0**exponent), expected)
