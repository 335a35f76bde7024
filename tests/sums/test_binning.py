"""bin_statistics and histogram beside textbook formulas and numpy.histogramdd."""

import math

import naive_scatter as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.kernels.sums import binning
from fastgauss.sums import schedule

compiled = pytest.mark.skipif(JIT_DISABLED, reason="needs compiled code")


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["f4", "f8", "i4", "u1", "?", "f2", ">f8"]),
    st.sampled_from(["i4", "i8", "u1", "u8"]),
    st.booleans(),
    st.integers(1, 9),
    st.integers(0, 60),
    st.integers(0, 2**32 - 1),
)
def test_statistics(dtype, index, weighted, size, n, seed):
    rng = np.random.default_rng(seed)
    k = rng.integers(0, size, n).astype(index)
    v = (100 * rng.random(n)).astype(dtype)
    w = rng.random(n).round(1) if weighted else None
    found = fg.bin_statistics(k, v, size, weights=w)
    for name, ours, theirs in zip(
        found._fields, found, naive.bin_statistics(k, v, size, w), strict=True
    ):
        assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12, err_msg=name)
    if w is None:  # else the product is not rounded
        assert_array_equal(found.sum, np.bincount(k.astype(int), v.astype(float), size))
    assert found.count.dtype == np.int64


def test_variance_far_from_zero():
    rng = np.random.default_rng(0)
    v = 1e9 + rng.normal(size=20_000 if not JIT_DISABLED else 200)
    k = np.arange(v.size) % 2
    found = fg.bin_statistics(k, v, 2)
    assert_allclose(found.variance, [v[::2].var(), v[1::2].var()], rtol=1e-9)


def test_statistics_of_what_is_not_finite():
    found = fg.bin_statistics([0, 0, 1, 1, 2], [np.nan, 1, np.inf, 1, 3], 4)
    assert_array_equal(found.min, [np.nan, 1, 3, np.nan])
    assert_array_equal(found.max, [np.nan, np.inf, 3, np.nan])
    assert_array_equal(found.mean, [np.nan, np.inf, 3, np.nan])
    assert_array_equal(found.variance, [np.nan, np.nan, 0, np.nan])
    assert_array_equal(found.count, [2, 2, 1, 0])


def test_modes_of_statistics():
    k, v = [-1, 5, 1], [1.0, 2.0, 4.0]
    assert_array_equal(fg.bin_statistics(k, v, 3, mode="wrap").sum, [0, 4, 3])
    assert_array_equal(fg.bin_statistics(k, v, 3, mode="clip").sum, [1, 4, 2])
    assert_array_equal(fg.bin_statistics(k, v, 3, mode="drop").sum, [0, 4, 0])
    with pytest.raises(IndexError, match="index 5 at position 1"):
        fg.bin_statistics(k, v, 3)
    assert_array_equal(fg.bin_statistics([], [], 2).count, [0, 0])


@pytest.mark.parametrize("n", [3000, pytest.param(700_000, marks=compiled)])
def test_statistics_on_any_number_of_threads(n, monkeypatch):
    monkeypatch.setattr(schedule, "_NEAR", 0)
    if n < 10_000:
        monkeypatch.setattr(schedule, "_PARALLEL", 1)
    rng = np.random.default_rng(1)
    k, v, w = rng.integers(0, 500, n), rng.normal(size=n), rng.random(n)
    for weights in (None, w):
        one, *others = (
            fg.bin_statistics(k, v, 500, weights=weights, threads=t) for t in (1, 2, 3, 8)
        )
        for other in others:
            for a, b in zip(one, other, strict=True):
                assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("args", "error", "text"),
    [
        (([0.5], [1.0], 3), TypeError, "indices must hold integers"),
        (([[1]], [[1.0]], 3), ValueError, "indices must have 1 dimension"),
        (([1], [1.0, 2.0], 3), ValueError, "values must have shape"),
        (([1], [1j], 3), TypeError, "values must hold real numbers"),
        (([1], [1.0], -1), ValueError, "size must be at least 0"),
    ],
)
def test_arguments_of_statistics(args, error, text):
    with pytest.raises(error, match=text):
        fg.bin_statistics(*args)
    with pytest.raises(ValueError, match="weights must not be negative"):
        fg.bin_statistics([1], [1.0], 3, weights=[-1.0])


def near_edges(rng, edges, n, dtype):
    """Points anywhere, on edges, and one step of the dtype beside them."""
    low, high = edges[0], edges[-1]
    x = rng.uniform(low - 0.2 * (high - low), high + 0.2 * (high - low), n).astype(dtype)
    on = rng.choice(edges, n).astype(dtype)
    step = rng.integers(-1, 2, n)
    beside = np.where(step == 0, on, np.nextafter(on, np.where(step > 0, np.inf, -np.inf)))
    x = np.where(rng.random(n) < 0.6, beside, x).astype(dtype)
    x[rng.random(n) < 0.05] = rng.choice([np.nan, np.inf, -np.inf])
    return x


@settings(deadline=None, max_examples=100)
@given(
    st.integers(1, 3),
    st.sampled_from(["f8", "f4", "i4"]),
    st.booleans(),
    st.booleans(),
    st.floats(-1e3, 1e3),
    st.sampled_from([0.0, 1e-12, 0.1, 1.0, 3.3, 1e5]),
    st.integers(0, 2**32 - 1),
)
def test_histogram(ndim, dtype, weighted, columns, low, width, seed):
    rng = np.random.default_rng(seed)
    bins = tuple(rng.integers(1, 12, ndim).tolist())
    limits = [(low + j, low + j + width) for j in range(ndim)]
    n = 200
    w = rng.normal(size=n) if weighted else None
    _, edges = np.histogramdd(np.zeros((0, ndim)), bins, limits)
    if dtype == "i4":
        axes = [rng.integers(int(low) - 3, int(low) + 5, n) for _ in edges]
    else:
        axes = [near_edges(rng, edge, n, dtype) for edge in edges]
    sample = np.stack(axes, axis=-1)
    with np.errstate(invalid="ignore"):
        expected, expected_edges = np.histogramdd(sample, bins, limits, weights=w)
    found, found_edges = fg.histogram(tuple(axes) if columns else sample, bins, limits, w)
    assert_array_equal(found, expected)
    assert found.dtype == (np.float64 if weighted else np.int64)
    for a, b in zip(found_edges, expected_edges, strict=True):
        assert_array_equal(a, b)


def test_histogram_of_one_axis_and_one_range():
    x = np.array([0, 0.1, 0.3, 0.6, 0.7, 1.0, np.nan, -1e-300])
    assert_array_equal(fg.histogram(x, 10, (0, 1))[0], np.histogram(x[:6], 10, (0, 1))[0])
    counts, edges = fg.histogram(np.zeros((4, 2)), 3, (0, 1))
    assert counts.shape == (3, 3) and counts[0, 0] == 4 and len(edges) == 2


def test_histogram_adds_to_out():
    x, w = np.array([0.1, 0.6, 0.7]), np.array([1.0, 2.0, 4.0])
    out = np.ones(2, dtype=np.int64)
    assert fg.histogram(x, 2, (0, 1), out=out)[0] is out
    assert_array_equal(out, [2, 3])
    rotated = np.ones((2, 3)).T
    fg.histogram((x, x), (3, 2), (0, 1), w, out=rotated)
    assert_array_equal(rotated, 1 + np.histogram2d(x, x, (3, 2), ((0, 1), (0, 1)), weights=w)[0])
    with pytest.raises(TypeError, match="out must be of dtype int64"):
        fg.histogram(x, 2, (0, 1), out=np.zeros(2))
    with pytest.raises(ValueError, match="out must have shape"):
        fg.histogram(x, 3, (0, 1), out=out)


@compiled
@pytest.mark.parametrize("weighted", [False, True])
def test_histogram_on_any_number_of_threads(weighted, monkeypatch):
    monkeypatch.setattr(schedule, "_NEAR", 0)
    rng = np.random.default_rng(4)
    n = 1_300_000
    x, w = rng.normal(size=(n, 2)), rng.normal(size=n) if weighted else None
    expected = np.histogramdd(x, (50, 60), [(-3, 3)] * 2, weights=w)[0]
    for threads in (1, 2, 3, 8):
        assert_array_equal(fg.histogram(x, (50, 60), (-3, 3), w, threads=threads)[0], expected)


@pytest.mark.parametrize(
    ("args", "error", "text"),
    [
        ((np.zeros((2, 4)), 3, (0, 1)), ValueError, "coords must have 1 to 3 axes"),
        ((np.zeros((2, 2, 2)), 3, (0, 1)), ValueError, "coords must have 1 or 2 dimensions"),
        (((np.zeros(2), np.zeros(3)), 3, (0, 1)), ValueError, "coords must have equal lengths"),
        ((np.zeros(2), 0, (0, 1)), ValueError, r"bins\[0\] must be at least 1"),
        ((np.zeros(2), 2.5, (0, 1)), TypeError, r"bins\[0\] must be an integer"),
        ((np.zeros(2), (2, 2), (0, 1)), ValueError, r"bins must be an integer, .*, got \(2, 2\)"),
        ((np.zeros(2), 2, (1, 0)), ValueError, "range must not fall"),
        ((np.zeros(2), 2, (0, np.inf)), ValueError, "range must be finite"),
        ((np.zeros(2), 2, (0, 1, 2)), ValueError, "range must be a pair"),
        ((np.zeros(2), 2, (0, 1), np.zeros(3)), ValueError, "weights must have shape"),
    ],
)
def test_arguments_of_histogram(args, error, text):
    with pytest.raises(error, match=text):
        fg.histogram(*args)


@compiled
def test_within_the_callers_own_compiled_code():
    from numba import njit

    interval, include, scale_of = binning.interval, binning.update_statistics, binning.scale_of

    @njit(cache=False)
    def moments(x, edges, rows):
        for value in x:
            j = interval(value, edges, edges[0], edges[-1], scale_of(edges))
            if j >= 0:
                include(rows[j], value, 1.0)

    rows = np.array([binning.EMPTY] * 2)
    moments(np.array([0.2, 0.4, 1.0, 7.0]), np.array([0.0, 0.5, 1.0]), rows)
    assert_allclose(rows[0], [2, 0.6, 0.2, 0.1, 0.02, 0.2, 0.4])
    assert math.isclose(rows[1, binning.SUM], 1.0)


@pytest.mark.parametrize("limits", [(0.0, 1.0), (-0.3, 0.7), (1e6, 1e6 + 0.1), (-1e-9, 3e-9)])
@pytest.mark.parametrize("n", [1, 7, 100, 1000 if not JIT_DISABLED else 20])
def test_edges_and_their_neighbours(limits, n):
    """Points that a product alone would misplace, among others."""
    edges = np.linspace(*limits, n + 1)
    rng = np.random.default_rng(n)
    x = np.concatenate(
        [edges, np.nextafter(edges, -9e9), np.nextafter(edges, 9e9), rng.uniform(*limits, 3 * n)]
    )
    x = rng.permutation(np.concatenate([x, [np.nan, np.inf, -np.inf]]))
    counts, _ = fg.histogram(x, n, limits)
    expected = np.histogram(x[np.isfinite(x)], edges)[0]
    assert_array_equal(counts, expected)
    y = rng.permutation(x)
    both = np.isfinite(x) & np.isfinite(y)
    counts, _ = fg.histogram((x, y), (n, 3), limits)
    pairs = np.stack([x, y], 1)[both]
    thirds = np.linspace(*limits, 4)
    assert_array_equal(counts, np.histogramdd(pairs, (edges, thirds))[0])
