"""The profiles of one axis: all digits in all regimes, for lanes, scalars and numpy twins."""

import naive
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from tolerances import TOLERANCE

from fastgauss.kernels._compile import JIT_DISABLED, kernel
from fastgauss.kernels.models import profiles
from fastgauss.kernels.simd import lane_types, lanes

PROFILES = {"sample": profiles.sampled, "integrate": profiles.integrated}
COUNT = 48 if JIT_DISABLED else 96


def _over_lanes(profile):
    @kernel
    def run(x, centre, sigma, out):
        for i in range(0, x.size, lane_types.WIDTH):
            f, by_centre, by_sigma = profile(
                lanes.load(x, i), lanes.load(centre, i), lanes.load(sigma, i)
            )
            lanes.store(out[0], i, f)
            lanes.store(out[1], i, by_centre)
            lanes.store(out[2], i, by_sigma)

    return run


def _over_scalars(profile):
    @kernel
    def run(x, centre, sigma, out):
        for i in range(x.size):
            out[0, i], out[1, i], out[2, i] = profile(x[i], centre[i], sigma[i])

    return run


def _points(regime):
    """x, centre, sigma in one part of the domain."""
    rng = np.random.default_rng(2)
    sigma = np.exp(rng.uniform(np.log(0.05), np.log(1e3), COUNT))
    reach = rng.uniform(-6, 6, COUNT) * sigma + rng.uniform(-0.5, 0.5, COUNT)
    if regime == "tails":
        reach = rng.choice([-1.0, 1.0], COUNT) * rng.uniform(6, 37, COUNT) * sigma
    elif regime == "centre":
        reach = rng.normal(size=COUNT) * 10.0 ** rng.uniform(-12, 0, COUNT)
    elif regime == "narrow":
        sigma = rng.uniform(0.05, 0.5, COUNT)
        reach = rng.uniform(-1.5, 1.5, COUNT)
    elif regime == "where formulas change":
        sigma = np.sqrt(2.0) * (1.0 + rng.normal(size=COUNT) * 1e-3)
        sigma[::2] = rng.uniform(1.4, 30, COUNT // 2)
        reach = 0.5 * sigma**2 * (1.0 + rng.normal(size=COUNT) * 1e-3)
    centre = rng.uniform(-5, 5, COUNT)
    return centre + reach, centre, sigma


@pytest.mark.parametrize("pixel", PROFILES)
@pytest.mark.parametrize("regime", ["all", "tails", "centre", "narrow", "where formulas change"])
def test_value_and_derivatives_have_all_their_digits(pixel, regime):
    x, centre, sigma = _points(regime)
    out = np.empty((3, COUNT))
    _over_lanes(PROFILES[pixel])(x, centre, sigma, out)
    tolerance = TOLERANCE["profile"] * (1 + ((x - centre) / sigma) ** 2 / 100)
    for k in range(COUNT):
        params = [1.0, centre[k], sigma[k], 0.0]
        slopes, value = naive.jacobian([x[k]], params, "symmetric", pixel, digits=100)
        exact = [value, slopes[1], slopes[2]]
        assert_allclose(out[:, k], exact, rtol=tolerance[k], atol=1e-306 * (1 + 1 / sigma[k]))


@pytest.mark.parametrize("pixel", PROFILES)
def test_scalars_and_lanes_are_the_same_to_the_bit(pixel):
    x, centre, sigma = _points("all")
    wide, single = np.empty((3, COUNT)), np.empty((3, COUNT))
    _over_lanes(PROFILES[pixel])(x, centre, sigma, wide)
    _over_scalars(PROFILES[pixel])(x, centre, sigma, single)
    assert_array_equal(wide, single)


@pytest.mark.parametrize("pixel", PROFILES)
def test_a_profile_is_even_and_its_slope_odd(pixel):
    sigma = np.exp(np.linspace(np.log(0.05), np.log(100), COUNT))
    d = np.linspace(0, 4, COUNT) * sigma
    run, right, left = _over_lanes(PROFILES[pixel]), np.empty((3, COUNT)), np.empty((3, COUNT))
    run(d, np.zeros(COUNT), sigma, right)
    run(-d, np.zeros(COUNT), sigma, left)
    assert_array_equal(left, right * [[1], [-1], [1]])
    assert (right[0] > 0).all() and (right[1] >= 0).all() and (right[2] >= 0).all()


@pytest.mark.parametrize("pixel", PROFILES)
def test_far_away_all_is_zero_and_nan_stays(pixel):
    x = np.array([np.inf, -np.inf, 1e300, 1e9, np.nan, 0.0, 0.0, 40.0])
    centre = np.array([0.0, 0.0, 0.0, 0.0, 0.0, np.nan, 0.0, 0.0])
    sigma = np.array([1.0, 2.0, 1e-3, 5.0, 1.0, 1.0, np.nan, 1.0])
    out = np.empty((3, 8))
    _over_lanes(PROFILES[pixel])(x, centre, sigma, out)
    assert np.isnan(out[:, 4:7]).all()
    assert not out[:, [0, 1, 2, 3, 7]].any()


def test_pixels_that_share_edges_add_up_to_the_whole():
    sigma = np.full(64, 1.3)
    out = np.empty((3, 64))
    _over_lanes(profiles.integrated)(np.arange(64.0), np.full(64, 30.3), sigma, out)
    assert_allclose(out[0].sum(), np.sqrt(2 * np.pi) * 1.3, rtol=1e-15)
    assert_allclose(out[1].sum(), 0.0, atol=1e-15)
    assert_allclose(out[2].sum(), np.sqrt(2 * np.pi), rtol=1e-15)
