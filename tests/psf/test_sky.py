"""The sky between stars: what it says of the planes in their boxes."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fastgauss.psf.picture import read_picture
from fastgauss.psf.sky import measure_sky

SIDE, HALF, NOISE = 130, 12, 4.0
Y, X = np.mgrid[:SIDE, :SIDE]
PLACES = np.array([[20.0, 30.0], [64.0, 64.0], [100.0, 25.0]])  # x, y


def sky_of(background, star=0.0, seed=0):
    """What is found at three places, in the unit of the pixels."""
    noise = np.sqrt(NOISE) * np.random.default_rng(seed).normal(size=background.shape)
    picture = read_picture(background + star + noise, None, None, 7)
    light = np.pad(np.broadcast_to(star, background.shape) / picture.unit, 7)
    found = measure_sky(picture, light, NOISE / picture.unit**2, PLACES, HALF)
    planes = found.planes * picture.unit + [picture.level, 0.0, 0.0]
    return planes, found.precisions / picture.unit**2


def surface(y, x):
    return 50.0 + 0.1 * x - 0.05 * y + 6e-4 * x * y - 2e-4 * y**2


def test_planes_are_those_of_the_surface_within_their_errors():
    star = 500.0 * np.exp(-0.5 * np.hypot(X - 60.3, Y - 71.8) ** 2 / 9.0)
    planes, precisions = sky_of(surface(Y, X), star)
    x, y = PLACES.T
    rises = HALF * (-0.05 + 6e-4 * x - 4e-4 * y), HALF * (0.1 + 6e-4 * y)
    wanted = np.stack([surface(y, x), *rises], axis=1)
    assert (np.abs(planes - wanted) * np.sqrt(precisions) < 4.0).all()
    assert (precisions > 0.15**-2).all()


def test_structure_in_the_sky_makes_it_say_less():
    waves = 8.0 * np.sin(X / 7.0) * np.cos(Y / 9.0)
    _, precisions = sky_of(surface(Y, X) + waves)
    assert (precisions < 1.0).all()


@pytest.mark.parametrize("lost", ["light", "pixels"])
def test_an_image_without_sky_says_nothing(lost):
    star = 500.0 * np.exp(-0.5 * np.hypot(X - 60.0, Y - 70.0) ** 2 / 90.0**2)
    background = surface(Y, X) if lost == "light" else surface(Y, X)[:25, :25]
    planes, precisions = sky_of(background, star if lost == "light" else 0.0)
    assert not precisions.any()
    assert_allclose(planes, planes[:1] * [[1.0, 0.0, 0.0]] * np.ones((3, 1)))
