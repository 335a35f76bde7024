"""``kde`` against sums over all pairs, scipy, quadrature and theorems of densities."""

import itertools
import math

import naive_density as naive
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.density import gauss_transform
from fastgauss.kernels._compile import JIT_DISABLED

compiled = pytest.mark.skipif(JIT_DISABLED, reason="too much work for the interpreter")
WHAT = ("value", "slope", "integral")
ROUNDING = TOLERANCE["density"]


def _cloud(seed, n, axes, spread):
    rng = np.random.default_rng(seed)
    return rng.normal(0, spread, (n, axes)), rng.uniform(0, 1, n)


def _peak(sources, weights, what):
    if what == "integral":
        return weights.sum()
    return naive.gauss_sum(sources, weights, sources).max()


# -- the sums ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tol", [1e-2, 1e-6, 1e-10])
@pytest.mark.parametrize(
    "axes", [1, pytest.param(2, marks=compiled), pytest.param(3, marks=compiled)]
)
@pytest.mark.parametrize("what", WHAT)
def test_sums_over_cells_keep_the_bound(what, axes, tol):
    spread = (8.0, 3.0, 0.4)[axes - 1]  # memory of cells in three dimensions
    sources, weights = _cloud(1, 20 if JIT_DISABLED else 500, axes, spread)
    points, _ = _cloud(2, 30 if JIT_DISABLED else 300, axes, 1.5 * spread + 1)
    points[0] = 1e6
    points[1] = -1e6
    points[2] = sources.max(axis=0) + 30.0
    job = gauss_transform._Job(gauss_transform.make_plan(tol, axes), what, axes - 1, 1)
    given = gauss_transform.make_sources(sources, weights)
    cells, numbers = gauss_transform._box(job.plan, given, axes)
    assert numbers <= gauss_transform._BUDGET
    found = gauss_transform._by_cells(job, given, points, cells)
    expected = naive.gauss_sum(sources, weights, points, what, axes - 1)
    assert_allclose(found, expected, rtol=0, atol=tol * _peak(sources, weights, what))


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("what", WHAT)
def test_sums_over_pairs_are_exact(what, axes):
    sources, weights = _cloud(1, 21, axes, 2.0)
    points, _ = _cloud(2, 9, axes, 4.0)
    job = gauss_transform._Job(gauss_transform.make_plan(1e-6, axes), what, axes - 1, 1)
    found = gauss_transform._all_pairs(job, gauss_transform.make_sources(sources, weights), points)
    expected = naive.gauss_sum(sources, weights, points, what, axes - 1)
    assert_allclose(found, expected, rtol=0, atol=ROUNDING * _peak(sources, weights, what))


def test_the_worst_place_for_a_bound_is_a_single_cell():
    plan = gauss_transform.make_plan(1e-6, 1)
    job = gauss_transform._Job(plan, "value", 0, 1)
    places = np.linspace(0, plan.edge, 9)[:, np.newaxis]
    points = np.linspace(-6, 6 + plan.edge, 400)[:, np.newaxis]
    for place in places:
        given = gauss_transform.make_sources(np.array([[0.0], place]), np.array([0.0, 1.0]))
        cells, _ = gauss_transform._box(plan, given, 1)
        found = gauss_transform._by_cells(job, given, points, cells)
        error = np.abs(found - naive.phi(points[:, 0] - place)).max()
        assert error <= plan.bound * naive.phi(0.0)


@compiled
@pytest.mark.parametrize("what", ["value", "integral"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_clusters_light_years_apart_fit_into_memory(axes, what):
    sources, weights = _cloud(3, 3000, axes, 1.0)
    sources[1000:2000] += 1e7
    sources[2000:] *= 1e3
    points = np.concatenate([sources[::30], sources[1::40] + 0.5])
    found = gauss_transform.gauss_sum(
        gauss_transform.make_sources(sources, weights), points, 1e-6, what
    )
    expected = naive.gauss_sum(sources, weights, points, what)
    assert_allclose(found, expected, rtol=0, atol=1e-6 * _peak(sources, weights, what))


@compiled
@pytest.mark.parametrize("axes", [1, 2])
def test_the_same_bits_for_any_number_of_threads(axes):
    samples, weights = _cloud(5, 300_000, axes, 1.0)
    points, _ = _cloud(6, 20_000, axes, 1.0)
    first, *others = (
        fg.kde(samples, points, weights=weights, threads=threads) for threads in (1, 2, 3)
    )
    for other in others:
        assert_array_equal(other, first)


# -- against scipy -----------------------------------------------------------------------------


@settings(max_examples=10 if JIT_DISABLED else 40, deadline=None)
@given(
    st.integers(2, 40),
    st.integers(1, 2 if JIT_DISABLED else 3),
    st.sampled_from(["scott", "silverman"]),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_equal_to_scipy(n, axes, bandwidth, weighted, seed):
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 1, (n + axes, axes)) @ rng.normal(0, 1, (axes, axes)) + 1000
    weights = rng.uniform(0.1, 1, len(samples)) if weighted else None
    points = samples[: n // 2 + 1] + rng.normal(0, 0.1, (n // 2 + 1, axes))
    expected = scipy.stats.gaussian_kde(samples.T, bandwidth, weights)
    density = fg.kde(samples, bandwidth=bandwidth, weights=weights)
    assert_allclose(density.covariance, expected.covariance, rtol=1e-7)
    values = expected(points.T)
    assert_allclose(density(points), values, rtol=1e-5, atol=2e-6 * expected(samples.T).max())


def test_cdf_and_integrals_equal_scipys():
    samples = np.random.default_rng(0).normal(size=50)
    expected = scipy.stats.gaussian_kde(samples)
    density = fg.kde(samples)
    points = np.array([-np.inf, -1.0, 0.3, 9.0, np.inf])
    masses = [expected.integrate_box_1d(-np.inf, p) for p in points]
    assert_allclose(density.cdf(points), masses, rtol=0, atol=1e-6)
    assert density.integrate(-0.5, 1.0) == pytest.approx(
        expected.integrate_box_1d(-0.5, 1.0), abs=2e-6
    )
    two = np.random.default_rng(0).normal(size=(30, 2))
    density = fg.kde(two, bandwidth=(0.3, 0.5))
    low, high = np.array([-1, -0.5]), np.array([0.7, np.inf])
    box = naive.KERNELS["integral"]((high - two) / [0.3, 0.5])
    box -= naive.KERNELS["integral"]((low - two) / [0.3, 0.5])
    assert density.integrate(low, high) == pytest.approx(box.prod(axis=1).mean(), abs=4e-6)
    assert density.integrate(high, low) == 0.0


# -- bandwidths --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["normal", "two", "logistic"])
def test_isj_is_the_root_that_pairs_give(shape):
    rng = np.random.default_rng(3)
    draws = {
        "normal": rng.normal(3, 2, 300),
        "two": np.concatenate([rng.normal(0, 1, 150), rng.normal(8, 0.5, 150)]),
        "logistic": rng.logistic(0, 1, 300),
    }
    samples = draws[shape]
    h = math.sqrt(fg.kde(samples, bandwidth="isj").covariance[0, 0])
    assert h == pytest.approx(naive.sheather_jones(samples), rel=TOLERANCE["isj"])


def test_isj_refines_for_long_tails_and_says_where_it_has_no_root():
    samples = np.random.default_rng(0).normal(0, 1, 1000)
    h = math.sqrt(fg.kde(samples, bandwidth="isj").covariance[0, 0])
    far = math.sqrt(fg.kde(np.append(samples, 20_000.0), bandwidth="isj").covariance[0, 0])
    assert far == pytest.approx(h, rel=0.05)
    with pytest.raises(ValueError, match="isj' has no solution"):
        fg.kde([1.0, 2.0], bandwidth="isj")


# -- bounds ------------------------------------------------------------------------------------


def _exponential(n=200):
    return np.random.default_rng(0).exponential(1.0, n)


@pytest.mark.parametrize("ends", [(0, np.inf), (0, 7), (-np.inf, 7), (0.0, 12.0)])
def test_reflection(ends):
    samples = _exponential()
    assert samples.max() < 7
    points = np.linspace(max(0, ends[0]), min(7, ends[1]), 50)
    density = fg.kde(samples, bandwidth=0.4, bounds=ends)
    wide = max(ends[0], -100.0), min(ends[1], 100.0)
    expected = naive.reflected(samples, 0.4, *wide, points)
    assert_allclose(density(points), expected, rtol=0, atol=2e-6 * expected.max())
    assert density.integrate() == pytest.approx(1, abs=2e-6)
    outside = [ends[0] - 1e-9, ends[1] + 1e-9, -np.inf, np.inf]
    assert_array_equal(density(outside), 0.0)


def test_reflection_of_a_kernel_wider_than_the_interval_is_uniform():
    density = fg.kde([0.2, 0.3], bandwidth=1e9, bounds=(0, 2))
    assert_allclose(density([0, 0.5, 1.9, 2]), 0.5, rtol=2e-6)
    assert density.integrate() == pytest.approx(1, abs=4e-6)


@pytest.mark.parametrize("ends", [(0, 7), (0, np.inf), (-np.inf, 7)])
def test_renormalized_and_linear_are_what_quadrature_gives(ends):
    samples = _exponential(60)
    points = [0.0, 0.1, 0.5, 2.0, 6.9] if ends[1] == 7 else [0.0, 0.2, 2.0]
    plain = fg.kde(samples, points, 0.5, bounds=ends, boundary="renormalize")
    line = fg.kde(samples, points, 0.5, bounds=ends, boundary="linear")
    masses = []
    for k, point in enumerate(points):
        where = np.array([point])
        own, other = naive.linear_fit(samples[:, np.newaxis], np.ones(60), 0.5, [ends], where)
        assert plain[k] == pytest.approx(own, rel=1e-4, abs=1e-6)
        masses.append(other / line[k])
    assert_allclose(masses, masses[0], rtol=1e-4)
    low, high = max(ends[0], -30.0), min(ends[1], 30.0)
    nodes = np.linspace(low, high, 4001)
    values = fg.kde(samples, nodes, 0.5, bounds=ends, boundary="linear")
    assert 0.5 * (values[1:] + values[:-1]) @ np.diff(nodes) == pytest.approx(1.0, abs=1e-4)


def test_linear_in_two_dimensions():
    n = 15 if JIT_DISABLED else 30
    u = (np.arange(n) + 0.5) / n  # a lattice of weights instead of samples: no noise
    samples = np.stack(np.meshgrid(u, u, indexing="ij"), axis=-1).reshape(-1, 2)
    weights = 0.4 + 0.8 * samples[:, 0] + 0.4 * samples[:, 1]
    bounds = [(0, 1), (0, np.inf)]
    density = fg.kde(samples, None, 0.1, weights, bounds, "linear")
    points = np.array([[0.0, 0.0], [0.0, 0.5], [0.5, 0.7], [1.0, 0.1], [0.4, 0.4]])
    expected = [naive.linear_fit(samples, weights, 0.1, bounds, point)[1] for point in points]
    masses = density(points) / expected
    assert_allclose(masses, masses[0], rtol=1e-4)
    straight = 0.4 + 0.8 * points[:, 0] + 0.4 * points[:, 1]
    assert_allclose(density(points), straight, rtol=0.03)  # exact but for the exponential


@pytest.mark.parametrize("boundary", ["renormalize", "linear"])
@pytest.mark.parametrize("ends", [(0, None), (0, 3), (None, 3.0)])
def test_integrals_of_corrected_densities(boundary, ends):
    samples = _exponential(60)
    samples = samples[samples < 3]
    density = fg.kde(samples, bandwidth=0.3, bounds=ends, boundary=boundary)
    low = -3.0 if ends[0] is None else 0.0
    at = [0.5, 1.7, 2.9]
    masses = density.cdf(at)
    for point, mass in zip(at, masses, strict=True):
        cuts = sorted({0.2, 1.0, 1.6, point})
        parts = [low, *(c for c in cuts if c <= point)]
        expected = sum(
            quad(lambda t: float(density(t)), a, b, epsabs=1e-7)[0]
            for a, b in itertools.pairwise(parts)
        )
        assert mass == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("ends", [(0, None), (None, 0), (0, 1)])
def test_log_is_the_density_of_the_logarithm_carried_back(ends):
    rng = np.random.default_rng(0)
    samples = rng.beta(2, 3, 200) * (-1 if ends[0] is None else 1)
    density = fg.kde(samples, bounds=ends, boundary="log")
    t = {
        (0, None): np.log(samples) if ends[0] == 0 else None,
        (None, 0): -np.log(np.abs(samples)),
        (0, 1): scipy.special.logit(np.abs(samples)),
    }[ends]
    inner = scipy.stats.gaussian_kde(t)
    points = np.array([0.01, 0.3, 0.9]) * (-1 if ends[0] is None else 1)
    line = {
        (0, None): (np.log(np.abs(points)), 1 / np.abs(points)),
        (None, 0): (-np.log(np.abs(points)), 1 / np.abs(points)),
        (0, 1): (scipy.special.logit(np.abs(points)), 1 / (points * (1 - points))),
    }[ends]
    assert_allclose(density(points), inner(line[0]) * line[1], rtol=1e-3, atol=1e-5)
    assert density.integrate() == pytest.approx(1, abs=2e-6)
    masses = [inner.integrate_box_1d(-np.inf, place) for place in line[0]]
    assert_allclose(density.cdf(points), masses, rtol=0, atol=2e-6)
    assert_array_equal(density([v for v in ends if v is not None]), 0.0)


def test_without_correction_what_spills_over_is_lost():
    density = fg.kde([0.0], bandwidth=1.0, bounds=(0, None), boundary=None)
    assert density.integrate() == pytest.approx(0.5, abs=2e-6)
    assert density(0.0) == pytest.approx(naive.phi(0.0))
    assert density(-0.1) == 0.0


@compiled
@pytest.mark.parametrize(
    ("name", "bandwidth", "boundary", "most"),
    [
        ("expon", "scott", "linear", 0.025),
        ("gamma", "isj", "log", 0.03),
        ("lognorm", "isj", "log", 0.03),
        ("pareto", "isj", "log", 0.10),
    ],
)
def test_positive_data_as_recommended(name, bandwidth, boundary, most):
    family = getattr(scipy.stats, name)
    shape = {"expon": (), "gamma": (1.5,), "lognorm": (1.0,), "pareto": (1.0,)}[name]
    distribution = family(*shape)
    grid = np.concatenate([np.geomspace(1e-5, 1, 9999, endpoint=False), np.geomspace(1, 1e7, 9999)])
    errors = []
    for seed in range(7):
        samples = distribution.rvs(10_000, random_state=np.random.default_rng(seed))
        density = fg.kde(samples, bandwidth=bandwidth, bounds=(0, None), boundary=boundary)
        errors.append(np.trapezoid(np.abs(density(grid) - distribution.pdf(grid)), grid))
        assert density.integrate() == pytest.approx(1, abs=1e-3 if boundary == "log" else 2e-2)
    assert np.median(errors) <= most


# -- sampling, grids ---------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", ["reflect", "log", None])
def test_samples_have_the_density(boundary):
    density = fg.kde(_exponential(50), bandwidth=0.5, bounds=(0, None), boundary=boundary)
    drawn = density.sample(2000, seed=1)
    assert drawn.shape == (2000,)
    mass = density.integrate()
    result = scipy.stats.kstest(drawn, lambda x: density.cdf(x) / mass)
    assert result.pvalue > 1e-3
    weighted = fg.kde([[0.0, 0.0], [5.0, 5.0]], bandwidth=1, weights=[3, 1]).sample(4000, seed=2)
    assert weighted.shape == (4000, 2)
    assert np.mean(weighted[:, 0] > 2.5) == pytest.approx(0.25, abs=0.03)


def test_samples_of_a_covariance():
    samples = np.random.default_rng(0).normal(size=(50, 2)) @ [[1, 2], [0, 0.3]]
    density = fg.kde(samples)
    drawn = density.sample(20_000, seed=3)
    expected = np.cov(samples.T, bias=True) + density.covariance
    assert_allclose(np.cov(drawn.T), expected, rtol=0.05)


def test_grid():
    density = fg.kde(_exponential(), bounds=(0, None))
    grid, values = density.grid()
    assert values.shape == grid.shape == (1024,)
    assert grid.nodes(0)[0] == pytest.approx(0.5 * grid.spacing[0])
    assert values.sum() * grid.spacing[0] == pytest.approx(1, abs=1e-3)
    assert_array_equal(values, density(grid.nodes(0)))
    grid, values = fg.kde(np.eye(3)[:, :2], bandwidth=0.5).grid((7, 9))
    assert values.shape == (7, 9)
    nodes = np.stack(np.meshgrid(grid.nodes(0), grid.nodes(1), indexing="ij"), axis=-1)
    assert values[2, 3] == fg.kde(np.eye(3)[:, :2], nodes, 0.5)[2, 3]


# -- what may be given -------------------------------------------------------------------------


def test_readings_and_shapes():
    samples = np.array([1, 2, 4, 7])
    expected = fg.kde(samples.astype(float), [1.0, 3.0], 0.5)
    for read in (samples.tolist(), samples.astype("u1"), samples.astype(">f4"), samples[::-1]):
        assert_allclose(fg.kde(read, [1.0, 3.0], 0.5), expected, rtol=1e-15)
    density = fg.kde(samples, bandwidth=0.5)
    assert density(2.0).shape == ()
    assert density(np.zeros((2, 0, 3))).shape == (2, 0, 3)
    assert fg.kde(samples[:, np.newaxis], np.zeros((5, 4, 1)), 0.5).shape == (5, 4)
    assert_array_equal(np.isnan(density([np.nan, 1.0, np.inf])), [True, False, False])
    assert_array_equal(np.isnan(density.cdf([np.nan, 1.0, np.inf])), [True, False, False])
    assert "4 samples" in repr(density)
    huge = fg.kde([-1e140, 1e140], [0.0, 1e140, -1e140, 1e300], 1.0)
    assert_allclose(huge, [0, 0.5 * naive.phi(0), 0.5 * naive.phi(0), 0])
    three = fg.kde([[-1e140] * 3, [1e140] * 3], [[1e140] * 3, [-1e300] * 3], 1.0)
    assert_allclose(three, [0.5 * naive.phi(0) ** 3, 0])


BAD = [
    (ValueError, "samples must be finite, got nan at index", {"samples": [1.0, np.nan]}),
    (ValueError, r"samples must be \(n,\) or \(n, 1\) to", {"samples": np.zeros((3, 4))}),
    (ValueError, "n at least 1, got none", {"samples": []}),
    (TypeError, "samples must hold real numbers", {"samples": ["a"]}),
    (ValueError, "samples must vary", {"samples": [2.0, 2.0]}),
    (ValueError, "samples must be at least 2", {"samples": [2.0]}),
    (ValueError, "samples must not lie in a plane", {"samples": [[0, 0], [1, 1], [2, 2]]}),
    (ValueError, "bandwidth must be one of", {"bandwidth": "scot"}),
    (ValueError, "bandwidth must be .*above 0", {"bandwidth": 0.0}),
    (ValueError, "less than 1e.150 bandwidths", {"samples": [-1e200, 1e200], "bandwidth": 1}),
    (ValueError, "samples must vary", {"samples": [-1e200, 1e200]}),
    (ValueError, "bandwidth must be one number, got 2", {"bandwidth": (1, 2)}),
    (ValueError, "isj' is for samples of one", {"samples": np.eye(3)[:, :2], "bandwidth": "isj"}),
    (ValueError, "weights must have shape", {"weights": [1.0]}),
    (ValueError, "weights must not be negative", {"weights": [1.0, -1.0, 1.0]}),
    (ValueError, "nor all 0", {"weights": [0.0, 0.0, 0.0]}),
    (ValueError, "bounds must have low < high", {"bounds": (1, 1)}),
    (ValueError, "bounds must be one pair or 1", {"bounds": ((0, 1), (0, 1))}),
    (TypeError, "bounds must be a pair", {"bounds": 3}),
    (ValueError, r"within bounds .* got \[0.5\] at index 0", {"bounds": (0.7, None)}),
    (ValueError, "strictly within", {"bounds": (0.5, None), "boundary": "log"}),
    (ValueError, "boundary must be one of", {"boundary": "mirror"}),
    (ValueError, r"boundary='log' needs bounds, as bounds=\(0, None\)", {"boundary": "log"}),
    (ValueError, r"needs bounds.*got \(None, None\)", {"boundary": "log", "bounds": (None, None)}),
    (ValueError, "tol must be", {"tol": 1e-13}),
    (ValueError, "threads must be", {"threads": 0}),
    (TypeError, "points must hold real numbers", {"points": ["a"]}),
]


@pytest.mark.parametrize(("error", "message", "options"), BAD)
def test_bad_input(error, message, options):
    with pytest.raises(error, match=message):
        fg.kde(**{"samples": [0.5, 1.0, 3.0], **options})


def test_a_table_of_one_column_has_points_of_any_shape():
    samples = np.random.default_rng(1).exponential(2.0, 300)
    flat, column = (fg.kde(s, bounds=(0, None)) for s in (samples, samples[:, np.newaxis]))
    points = np.linspace(0.0, 5.0, 6)
    assert_array_equal(column(points), flat(points))
    assert_array_equal(column(points[:, np.newaxis]), flat(points))
    assert_array_equal(column(points.reshape(2, 3)), flat(points.reshape(2, 3)))
    assert column(1.5).shape == column([1.5]).shape == ()


def test_what_has_no_meaning_is_refused():
    two = fg.kde(np.eye(3)[:, :2])
    with pytest.raises(ValueError, match="bandwidth must be one for each axis"):
        two.cdf([0.0, 0.0])
    with pytest.raises(ValueError, match="last axis of 2"):
        two([1.0, 2.0, 3.0])
    box = fg.kde(np.eye(3)[:, :2], bounds=(0, None), boundary="linear")
    with pytest.raises(ValueError, match="no integrals in several"):
        box.integrate()
    with pytest.raises(ValueError, match="no sampler"):
        box.sample(3)
    with pytest.raises(ValueError, match="low must be one number or 2"):
        fg.kde(np.eye(3)[:, :2], bandwidth=1).integrate([1, 2, 3])
    with pytest.raises(ValueError, match="size must be at least 0"):
        two.sample(-1)
    with pytest.raises(ValueError, match="shape must be positive"):
        two.grid(0)
