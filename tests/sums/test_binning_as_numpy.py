"""Histograms with numpy's arguments: edges, ranges, dtypes, lists; statistics of large integers."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.sums import schedule

compiled = pytest.mark.skipif(JIT_DISABLED, reason="needs compiled code")


# -- histogram ---------------------------------------------------------------------------------


@settings(deadline=None, max_examples=120)
@given(
    st.sampled_from(["f4", "f2", "f8", "i4", "u1", "i8"]),
    st.integers(1, 40),
    st.integers(-30, 30),
    st.integers(1, 60),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_one_array_is_binned_as_by_numpy_histogram(dtype, n, low, tenths, narrow, seed):
    """Decimal numbers lie on decimal edges of their own dtype."""
    rng = np.random.default_rng(seed)
    ends = (low / 10, (low + tenths) / 10)
    ends = tuple(map(np.float32, ends)) if narrow else ends
    x = (rng.integers(-40, 100, 200) / 10).astype(dtype)
    if np.dtype(dtype).kind == "f":
        x[:3] = np.nan
    known = x[~np.isnan(x)]
    expected, edges = np.histogram(known, n, ends)
    found, (own,) = fg.histogram(x, n, ends)
    assert_array_equal(found, expected)
    assert_array_equal(own, edges)
    assert own.dtype == edges.dtype
    found, (own,) = fg.histogram(known, n)
    assert_array_equal(found, np.histogram(known, n)[0])
    assert_array_equal(own, np.histogram(known, n)[1])


@settings(deadline=None, max_examples=80)
@given(
    st.integers(1, 3),
    st.sampled_from(["f4", "f8", "i8"]),
    st.sampled_from(["f4", "f8", "i8"]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_edges_that_are_given(ndim, dtype, kind, even, seed):
    rng = np.random.default_rng(seed)
    edges = []
    for _ in range(ndim):
        steps = np.full(7, 3) if even else rng.integers(0, 9, rng.integers(1, 9))
        steps[0] += 1
        edges.append((np.cumsum(steps) / (10 if kind != "i8" else 1) - 2).astype(kind))
        edges[-1] = np.append(edges[-1], edges[-1][-1] + 1)
    points = np.stack([rng.choice(edge, 150) + rng.integers(-2, 3, 150) / 10 for edge in edges], 1)
    points = points.astype(dtype)
    weights = rng.normal(size=150)
    mixed = [edge if rng.random() < 0.7 else 5 for edge in edges]
    ranges = [None if rng.random() < 0.5 else (-1.0, 3.5) for _ in edges]
    expected, theirs = np.histogramdd(points, mixed, ranges, weights=weights)
    found, own = fg.histogram(points, mixed, ranges, weights)
    assert_array_equal(found, expected)
    for one, other in zip(own, theirs, strict=True):
        assert_array_equal(one, other)
        assert one.dtype == other.dtype


def test_edges_of_one_axis():
    x = np.array([-1.0, 0.0, 0.3, 1.0, 5.0, 7.0, np.nan])
    for edges in ([0, 0.3, 5], (0.0, 1.0), np.array([0, 0.1, 0.1, 5.0]), [-np.inf, 0, np.inf]):
        assert_array_equal(fg.histogram(x, edges)[0], np.histogram(x[:-1], edges)[0])
        assert_array_equal(fg.histogram(x[:, None], [edges])[0], np.histogram(x[:-1], edges)[0])
    big = 2**53 + np.arange(6)  # as float64 every other one is another
    assert_array_equal(fg.histogram(big, big)[0], np.histogram(big, big)[0])
    for wrong in ([3, 2, 1], [0.0, np.nan, 1.0], [2, 2], "auto"):
        with pytest.raises((ValueError, TypeError), match="bins must be"):
            fg.histogram(x, wrong)


def test_ranges_of_the_data():
    assert_array_equal(fg.histogram([2.0, 2.0], 3)[0], np.histogram([2.0, 2.0], 3)[0])
    counts, edges = fg.histogram(np.empty((0, 2)), (2, 3))
    assert counts.shape == (2, 3) and edges[1].tolist() == np.linspace(0, 1, 4).tolist()
    pairs = np.random.default_rng(0).normal(size=(50, 2))
    expected = np.histogramdd(pairs, 4, [(-1, 1), None])[0]
    assert_array_equal(fg.histogram(pairs, 4, [(-1, 1), None])[0], expected)
    with pytest.raises(ValueError, match=r"range must be given .* for axis 0"):
        fg.histogram([1.0, np.nan])
    for wrong in (3, "ab", (0, 1, 2), [(0, 1), (0, 1)], ((0, 1, 2),)):
        with pytest.raises((ValueError, TypeError), match="range must"):
            fg.histogram([1.0, 2.0], 3, wrong)


def test_lists_of_lists_mean_one_thing_or_are_refused():
    x, y = np.random.default_rng(0).uniform(0, 1, (2, 50))
    expected = np.histogramdd([x, y], 2, [(0, 1)] * 2)[0]
    for coords in ([x, y], [x.tolist(), y.tolist()], (x, y), np.stack([x, y], 1).tolist()):
        assert_array_equal(fg.histogram(coords, 2, (0, 1))[0], expected)
    a, b = [0.1, 0.2, 0.3], [0.6, 0.7, 0.8]
    with pytest.raises(ValueError, match="coords as a list of 2 lists of 3 could be 2 points or 3"):
        fg.histogram([a, b], 2, (0, 1))
    for own in ({"bins": (2, 2), "range": (0, 1)}, {"bins": 2, "range": [(0, 1), (0, 1)]}):
        assert_array_equal(
            fg.histogram([a, b], **own)[0], np.histogramdd([a, b], 2, [(0, 1)] * 2)[0]
        )
    assert fg.histogram([a, b], 2, [(0, 1)] * 3)[0].shape == (2, 2, 2)


@pytest.mark.parametrize("n", [1000, pytest.param(300_000, marks=compiled)])
def test_a_histogram_added_to_its_own_coordinates_and_weights(n, monkeypatch):
    monkeypatch.setattr(sys.modules[fg.histogram.__module__], "_BATCH", 256)
    rng = np.random.default_rng(0)
    x, w = rng.uniform(0, 1, (2, n))
    expected = np.histogram(x, n, (0, 1), weights=w)[0]
    for out, weights in ((x.copy(), w), (x.copy(), None)):
        given = out if weights is None else w
        right = (out + expected) if weights is not None else None
        found, _ = fg.histogram(out, n, (0, 1), weights=given, out=out)
        assert found is out
        if right is not None:
            np.testing.assert_allclose(out, right, rtol=1e-14)
        else:
            own = np.histogram(x, n, (0, 1), weights=x)[0] + x
            np.testing.assert_allclose(out, own, rtol=1e-14)
    whole = rng.integers(0, 50, n)
    counts = whole.copy()
    fg.histogram(counts, n, (0, n), out=counts)
    assert_array_equal(counts, whole + np.histogram(whole, n, (0, n))[0])


# -- statistics --------------------------------------------------------------------------------


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from(["i8", "u8", ">i8"]),
    st.integers(0, 60),
    st.integers(1, 9),
    st.integers(0, 63),
    st.sampled_from([None, 1, 3]),
    st.integers(0, 2**32 - 1),
)
def test_integers_of_64_bits_are_exact(dtype, n, size, bits, weight, seed):
    rng = np.random.default_rng(seed)
    k = rng.integers(0, size, n)
    kind = np.dtype(dtype).newbyteorder("=")
    middle = rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, dtype=kind, endpoint=True)
    spread = 1 << bits
    low = max(int(middle) - spread, np.iinfo(kind).min)
    high = min(int(middle) + spread, np.iinfo(kind).max)
    v = rng.integers(low, high, n, dtype=kind, endpoint=True)
    w = None if weight is None else np.full(n, weight)
    found = fg.bin_statistics(k, v.astype(dtype), size, weights=w)
    assert found.min.dtype == found.max.dtype == kind
    assert found.sum.dtype == (kind if w is None else np.float64)
    for bin in range(size):
        own = v[k == bin]
        assert found.count[bin] == own.size
        if not own.size:
            assert found.min[bin] == np.iinfo(kind).max and found.max[bin] == np.iinfo(kind).min
            assert found.sum[bin] == 0 and np.isnan(found.mean[bin])
            continue
        assert found.min[bin] == own.min() and found.max[bin] == own.max()
        numbers = [int(x) for x in own]
        if w is None:
            assert int(found.sum[bin]) % 2**64 == sum(numbers) % 2**64
        mean = sum(numbers) / len(numbers)
        assert found.mean[bin] == pytest.approx(mean, rel=1e-12, abs=1e-3 * abs(float(high)) / 1e9)
        square = sum((len(numbers) * x - sum(numbers)) ** 2 for x in numbers) / len(numbers) ** 3
        assert found.variance[bin] == pytest.approx(square, rel=1e-9)


@pytest.mark.parametrize("threads", [2, 3])
def test_exact_statistics_on_threads(threads, monkeypatch):
    monkeypatch.setattr(schedule, "_NEAR", 0)
    monkeypatch.setattr(schedule, "_PARALLEL", 1)
    rng = np.random.default_rng(1)
    n = 3000
    k, v = rng.integers(0, 400, n), 1_700_000_000_123_456_789 + rng.integers(0, 10**6, n)
    one = fg.bin_statistics(k, v, 400, threads=1)
    for a, b in zip(one, fg.bin_statistics(k, v, 400, threads=threads), strict=True):
        assert_array_equal(a, b)
    total = np.zeros(400, np.int64)
    np.add.at(total, k, v)
    assert_array_equal(one.sum, total)
    # chunks of a larger set are put together
    parts = [fg.bin_statistics(k[at::2], v[at::2], 400) for at in (0, 1)]
    assert_array_equal(np.minimum(parts[0].min, parts[1].min), one.min)
    assert_array_equal(np.maximum(parts[0].max, parts[1].max), one.max)


@pytest.mark.parametrize("dtype", ["i4", "u4", "i1", "?"])
def test_narrow_integers_stay_float64_and_exact(dtype):
    v = np.array([np.iinfo(dtype).max, np.iinfo(dtype).min]) if dtype != "?" else [True, False]
    found = fg.bin_statistics([0, 0], np.array(v, dtype), 2)
    assert found.min.dtype == found.sum.dtype == np.float64
    assert found.max[0] == v[0] and found.min[0] == v[1] and np.isnan(found.min[1])
