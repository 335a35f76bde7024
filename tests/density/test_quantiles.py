"""Quantiles and bandwidths of a density: against scipy, and against its own integral."""

import numpy as np
import pytest
from scipy import stats

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

RNG = np.random.default_rng(11)
SHARES = np.array([1e-3, 0.05, 0.25, 0.5, 0.9, 0.999])


def test_quantiles_of_one_sample_are_those_of_a_normal_distribution():
    density = fg.kde([3.0], bandwidth=0.25)
    expected = stats.norm(3.0, 0.25).ppf(SHARES)
    np.testing.assert_allclose(density.quantile(SHARES), expected, atol=0.25 * 2e-4)
    assert density.bandwidth.tolist() == [0.25]


@pytest.mark.parametrize("scale", [1e30] if JIT_DISABLED else [1e-30, 1.0, 1e30])
@pytest.mark.parametrize(
    ("bounds", "boundary"),
    [
        (None, "reflect"),
        ((0, None), "reflect"),
        ((0, None), "linear"),
        ((0, None), "renormalize"),
        ((0, None), "log"),
        ((0, 40), "log"),
        ((0, None), None),
    ],
)
def test_quantiles_invert_the_integral(bounds, boundary, scale):
    samples = RNG.exponential(2.0, 300)[: 20 if JIT_DISABLED else 300] * scale
    ends = bounds and tuple(None if end is None else end * scale for end in bounds)
    density = fg.kde(samples, bounds=ends, boundary=boundary)
    places = density.quantile(SHARES)
    assert np.all(np.diff(places) > 0)
    whole = density.integrate()
    np.testing.assert_allclose(density.cdf(places), SHARES * whole, rtol=0, atol=3e-6)


def test_the_ends_are_the_bounds_and_nan_stays():
    density = fg.kde(RNG.uniform(2, 5, 50), bounds=(2, 5))
    assert density.quantile([[0.0, 1.0]]).tolist() == [[2.0, 5.0]]
    assert np.isnan(density.quantile(np.nan))
    assert fg.kde([1.0, 2.0]).quantile([0, 1]).tolist() == [-np.inf, np.inf]
    assert density.quantile([]).shape == (0,)
    assert np.ndim(density.quantile(0.5)) == 0


def test_a_far_outlier_does_not_hide_the_others():
    samples = np.r_[RNG.normal(0, 1, 200)[: 60 if JIT_DISABLED else 200], 1e9]
    density = fg.kde(samples, bandwidth=0.3)
    assert abs(density.quantile(0.5) - np.median(samples)) < 0.2
    assert abs(density.quantile(0.999) - 1e9) < 2


@pytest.mark.parametrize("bad", [-0.1, 1.5, [0.5, 2.0]])
def test_shares_are_between_0_and_1(bad):
    with pytest.raises(ValueError, match="q must be between 0 and 1"):
        fg.kde([1.0, 2.0]).quantile(bad)
    with pytest.raises(ValueError, match="one dimension, got 2"):
        fg.kde(np.eye(3)[:, :2], bandwidth=[1, 1]).quantile(0.5)


def test_bandwidths_are_those_of_the_covariance():
    samples = RNG.normal(size=(100, 2)) * [1.0, 5.0]
    density = fg.kde(samples)
    theirs = stats.gaussian_kde(samples.T)
    np.testing.assert_allclose(density.bandwidth, np.sqrt(np.diag(theirs.covariance)), rtol=1e-12)
