"""Densities of data that people have: counts, outliers, tails, steep ends, odd units."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp

import fastgauss as fg
from fastgauss.density import kernel_sums
from fastgauss.kernels._compile import JIT_DISABLED

compiled = pytest.mark.skipif(JIT_DISABLED, reason="too much work for the interpreter")


def log_of_sum(samples, sigma, points, weights=None):
    """The logarithm of the density by all pairs, (n, d) and (m, d)."""
    share = np.ones(len(samples)) if weights is None else weights
    t = (points[:, np.newaxis] - samples) / sigma
    terms = -0.5 * (t**2).sum(axis=2) + np.log(share / share.sum())
    axes = samples.shape[1]
    volume = np.log(np.broadcast_to(sigma, axes)).sum() + 0.5 * axes * math.log(2 * math.pi)
    return logsumexp(terms, axis=1) - volume


def integral(density, *axes):
    """Of a density over the lattice of these nodes, by trapezoids."""
    values = density(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))
    for nodes in reversed(axes):
        values = 0.5 * (values[..., 1:] + values[..., :-1]) @ np.diff(nodes)
    return float(values)


# -- logarithms --------------------------------------------------------------------------------


@settings(max_examples=8 if JIT_DISABLED else 25, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 2 if JIT_DISABLED else 3),
    st.floats(0.05, 3.0),
    st.integers(-8, 8),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_logarithms_have_their_digits_everywhere(n, axes, sigma, decade, weighted, seed):
    rng = np.random.default_rng(seed)
    samples = rng.normal(size=(n, axes))
    weights = rng.uniform(size=n) ** 9 if weighted else None
    points = rng.normal(size=(12, axes)) * 10.0**decade
    density = fg.kde(samples, bandwidth=sigma, weights=weights)
    expected = log_of_sum(samples, sigma, points, weights)
    assert_allclose(density.logpdf(points), expected, rtol=1e-14, atol=1e-6)


def test_ratios_of_far_densities_are_posteriors():
    rng = np.random.default_rng(3)
    one, other = rng.normal(0, 1, (800, 1)), rng.normal(4, 1, (700, 1))
    points = np.linspace(-60, 60, 41)[:, np.newaxis]
    found = fg.kde(one, bandwidth=0.2).logpdf(points) - fg.kde(other, bandwidth=0.3).logpdf(points)
    expected = log_of_sum(one, 0.2, points) - log_of_sum(other, 0.3, points)
    assert np.isfinite(found).all()
    assert_allclose(found, expected, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("ends", [(0, None), (None, 30), (-1, 25.0)])
def test_logarithms_know_the_mirror_images_of_far_samples(ends):
    samples = np.random.default_rng(1).normal(12, 1, (60, 1))
    points = np.array([[0.0], [0.5], [3.0], [12.0], [24.5]])
    images = [samples, *(2 * end - samples for end in ends if end is not None)]
    expected = log_of_sum(np.concatenate(images), 0.5, points) + math.log(len(images))
    density = fg.kde(samples, bandwidth=0.5, bounds=ends)
    assert_allclose(density.logpdf(points), expected, rtol=1e-12)


@pytest.mark.parametrize("boundary", [None, "reflect", "renormalize", "linear", "log"])
def test_logarithms_are_those_of_the_density(boundary):
    samples = np.random.default_rng(2).exponential(1.0, 50) + 0.01
    density = fg.kde(samples, bandwidth=0.3, bounds=(0, None), boundary=boundary, tol=1e-10)
    points = np.array([0.05, 0.4, 1.0, 2.0, 3.5])
    assert_allclose(density.logpdf(points), np.log(density(points)), rtol=0, atol=1e-6)
    assert_array_equal(density.logpdf([-1.0, np.inf]), -np.inf)
    assert np.isnan(density.logpdf(np.nan))
    assert np.isfinite(density.logpdf([900.0, 1e100])).all()


def test_logarithms_of_a_covariance_and_of_no_points():
    samples = np.random.default_rng(0).normal(size=(30, 2)) @ [[1, 2], [0, 0.3]]
    density = fg.kde(samples)
    scale = np.linalg.cholesky(density.covariance)
    points = np.array([[0.0, 0.0], [40.0, -90.0]])
    shift = np.log(np.diag(scale)).sum()
    solved = [np.linalg.solve(scale, part.T).T for part in (samples, points)]
    expected = log_of_sum(solved[0], 1.0, solved[1]) - shift
    assert_allclose(density.logpdf(points), expected, rtol=1e-12)
    assert density.logpdf(np.empty((0, 2))).shape == (0,)


# -- mass --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 40])
@pytest.mark.parametrize("ends", [(0, None), (0, 9.0), (None, 9.0)])
def test_a_linear_density_has_mass_one(n, ends):
    samples = np.minimum(np.random.default_rng(n).gamma(0.5, 1.0, n), 9.0)
    density = fg.kde(samples, bounds=ends, boundary="linear", bandwidth=0.4)
    low = -6.0 if ends[0] is None else 0.0
    nodes = np.linspace(low, 14.0 if ends[1] is None else 9.0, 4001)
    assert integral(lambda x: density(x[..., 0]), nodes) == pytest.approx(1.0, abs=1e-4)
    assert density.integrate() == pytest.approx(1.0, abs=1e-5)
    assert density.cdf(np.inf) == pytest.approx(1.0, abs=1e-5)
    assert (density(nodes) >= 0).all()


@compiled
@pytest.mark.parametrize("n", [4, 1500])
def test_a_linear_density_of_two_axes_has_mass_one(n):
    samples = np.random.default_rng(n).exponential(1.0, (n, 2))
    density = fg.kde(samples, bounds=[(0, None), (0, 12)], boundary="linear", bandwidth=0.5)
    nodes = np.linspace(0, 12, 241)
    assert integral(density, nodes, nodes) == pytest.approx(1.0, abs=0.01)


@compiled
def test_a_linear_density_of_three_axes_has_mass_one():
    samples = np.abs(np.random.default_rng(0).normal(size=(40, 3)))
    density = fg.kde(samples, bounds=[(0, None), (None, None), (0, 6)], boundary="linear")
    nodes = np.linspace(0, 6, 61)
    assert integral(density, nodes, nodes - 2, nodes) == pytest.approx(1.0, abs=0.01)


def test_a_linear_density_far_from_its_bounds_is_the_plain_one():
    samples = np.random.default_rng(0).normal(100, 1, (50, 2))
    points = samples[:5]
    plain = fg.kde(samples, points, 0.5)
    assert_allclose(fg.kde(samples, points, 0.5, bounds=(0, None), boundary="linear"), plain)


@pytest.mark.parametrize("bandwidth", [0.7, 30.0, 1e6, 1e100])
def test_a_linear_density_of_wide_kernels_is_a_straight_line(bandwidth):
    samples = (np.arange(100) + 0.5) / 100
    density = fg.kde(samples, bandwidth=bandwidth, bounds=(0, 1), boundary="linear")
    assert_allclose(density([0.0, 0.3, 1.0]), 1.0, atol=2e-3)


def test_no_sample_reaches_a_bound_that_is_far_away():
    """Where the sum is rounding, its slope is, too: the product must not be anything."""
    samples = np.random.default_rng(0).normal(30, 1, 5000)
    density = fg.kde(samples, bounds=(0, None), boundary="linear")
    assert density(np.linspace(0, 20, 101)).max() < 1e-5


# -- counts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0.03, 0.25, 1.0])
@pytest.mark.parametrize("n", [300, 4000])
def test_rounding_does_not_change_botevs_bandwidth(n, step):
    exact = np.random.default_rng(n).gamma(20.0, 1.0, n)
    expected = math.sqrt(fg.kde(exact, bandwidth="isj").covariance[0, 0])
    rounded = np.round(exact / step) * step
    found = math.sqrt(fg.kde(rounded, bandwidth="isj").covariance[0, 0])
    assert found == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    "samples",
    [
        np.random.default_rng(3).poisson(20, 60_000),
        np.random.default_rng(1).binomial(20, 0.5, 10_000),
        np.round(np.random.default_rng(0).uniform(18, 90, 40_000)),
    ],
)
def test_many_counts_have_half_a_step_or_more(samples):
    variance = fg.kde(samples, bandwidth="isj").covariance[0, 0]
    assert 0.2499 < variance < 1.0
    third = fg.kde(samples / 3, bandwidth="isj").covariance[0, 0]
    assert third == pytest.approx(variance / 9, rel=1e-6)


def test_counts_with_weights_are_counts():
    values = np.arange(12.0)
    counts = np.array([1, 3, 9, 20, 33, 41, 40, 30, 18, 8, 3, 1])
    one = fg.kde(np.repeat(values, counts), bandwidth="isj").covariance[0, 0]
    assert one > 0.2
    logs = fg.kde(np.repeat(values + 1, counts), bandwidth="isj", bounds=(0, None), boundary="log")
    assert 0.02 < math.sqrt(logs.covariance[0, 0]) < 0.5


def test_half_a_step_is_the_least():
    counts = np.random.default_rng(1).binomial(20, 0.5, 10_000)
    assert fg.kde(counts, bandwidth="isj").covariance[0, 0] == pytest.approx(0.25, rel=1e-9)


def test_many_zeros_are_not_rounded():
    """As rainfall has them: no bandwidth suits a peak and what is beside it."""
    rain = np.random.default_rng(0).exponential(1.0, 600)
    rain[:200] = 0.0
    with pytest.raises(ValueError, match="no solution"):
        fg.kde(rain, bandwidth="isj")


def test_no_solution_is_told_with_what_is_true():
    flips = np.random.default_rng(0).integers(0, 2, 500)
    with pytest.raises(ValueError, match="no solution for these samples, 500 of 2 different"):
        fg.kde(flips, bandwidth="isj")


# -- grids -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "axes", [1, pytest.param(2, marks=compiled), pytest.param(3, marks=compiled)]
)
@pytest.mark.parametrize("spoil", ["one outlier", "two crowds", "small"])
def test_an_automatic_grid_shows_the_samples(axes, spoil):
    samples = np.random.default_rng(axes).normal(size=(400, axes))
    if JIT_DISABLED and spoil == "two crowds":
        pytest.skip("a grid of many nodes")
    if spoil == "one outlier":
        samples[0] = 1e6
    elif spoil == "two crowds":
        samples[200:] += 1e5
    shape = (9,) * axes if spoil == "small" else None
    grid, values = fg.kde(samples, bandwidth=0.3).grid(shape)
    assert values.sum() * np.prod(grid.spacing) == pytest.approx(1.0, abs=0.03)
    if spoil == "one outlier":
        assert max(grid.spacing) < 0.3
        assert np.count_nonzero(values > 0.1 * values.max()) > 10


def test_a_grid_of_ranging_sizes_keeps_their_mass():
    sizes = np.random.default_rng(0).pareto(1.0, 3000) + 1
    density = fg.kde(sizes, bandwidth="isj", bounds=(0, None), boundary="log")
    grid, values = density.grid()
    assert values.sum() * grid.spacing[0] == pytest.approx(1.0, abs=0.03)


# -- units, weights, draws ---------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, 2.46e6])
@pytest.mark.parametrize("bandwidth", ["scott", "silverman", "isj"])
def test_the_unit_of_samples_is_that_of_the_result(bandwidth, offset):
    samples = np.random.default_rng(5).normal(size=200)
    points = np.array([0.0, 0.5, 9.0])
    expected = fg.kde(samples, bandwidth=bandwidth)
    for decade in range(-30, 31, 30 if JIT_DISABLED else 12):
        unit = 10.0**decade
        density = fg.kde((samples + offset) * unit, bandwidth=bandwidth)
        where = (points + offset) * unit
        close = {"rtol": 1e-6, "atol": 1e-9}
        assert_allclose(density(where) * unit, expected(points), **close)
        assert_allclose(density.logpdf(where) + math.log(unit), expected.logpdf(points), rtol=1e-6)
        assert_allclose(density.cdf(where), expected.cdf(points), **close)


def test_samples_without_weight_do_not_exist():
    weights = [0.0, 1.0, 2.0, 1.0, 0.0]
    found = fg.kde([-5.0, 2.0, 3.0, 4.0, np.nan], weights=weights, bounds=(0, None))
    expected = fg.kde([2.0, 3.0, 4.0], weights=[1.0, 2.0, 1.0], bounds=(0, None))
    assert_array_equal(found([1.0, 2.5]), expected([1.0, 2.5]))
    with pytest.raises(ValueError, match="index 4"):
        fg.kde([-5.0, 2.0, 3.0, 4.0, np.nan], weights=[0, 1, 1, 1, 1], bounds=(0, None))


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("bandwidth must be between 1e-150 and 1e.150, got 1e-300", {"bandwidth": 1e-300}),
        ("bandwidth must be between 1e-150 and 1e.150, got 1e.300", {"bandwidth": 1e300}),
        ("at least 2 of a weight above 0", {"weights": [1, 0, 0]}),
        ("samples must vary by 1e-150 to", {"samples": [0.0, 1e-160, 2e-160]}),
        ("samples must vary by 1e-150 to", {"samples": [0.0, 1e160, 2e300], "bandwidth": "isj"}),
    ],
)
def test_what_is_told_is_true(message, options):
    with pytest.raises(ValueError, match=message):
        fg.kde(**{"samples": [5.0, 6.0, 8.0], **options})


@pytest.mark.parametrize("bandwidth", [0.2, 1e3, 1e9, 1e40])
def test_draws_inside_of_bounds_that_kernels_spill_over(bandwidth):
    density = fg.kde([0.1, 0.2], bandwidth=bandwidth, bounds=(0, 1), boundary=None)
    drawn = density.sample(4000, seed=2)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    middle = density.cdf(0.5) / density.integrate() if bandwidth < 10 else 0.5
    assert np.mean(drawn < 0.5) == pytest.approx(middle, abs=0.03)


def test_the_peak_is_looked_for_among_some_samples():
    assert kernel_sums._SUMMED < 1e-3
    samples = np.random.default_rng(0).normal(size=(5000, 1))
    points = np.linspace(-9, 9, 25)[:, np.newaxis]
    found = fg.kde(samples, bandwidth=0.05).logpdf(points)
    assert_allclose(found, log_of_sum(samples, 0.05, points), rtol=1e-12, atol=1e-6)
