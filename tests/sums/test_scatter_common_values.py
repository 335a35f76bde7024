"""add_at of one value for all, of careful sums over pairs that lie anyhow, and what it says."""

import tracemalloc
from functools import partial

import naive_scatter as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.sums import schedule

compiled = pytest.mark.skipif(JIT_DISABLED, reason="needs compiled code")


def peak(call):
    """Bytes that a call takes at most, beside what was there."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from([(6,), (4, 3), (3, 4, 2)]),
    st.integers(1, 3),
    st.sampled_from([(1,), (5,), (2, 3), (40, 1), (0,)]),
    st.sampled_from(["number", "one", "row", "broadcast", "big-endian", "bool"]),
    st.sampled_from(["raise", "wrap", "drop"]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_one_value_for_all(shape, axes, many, kind, mode, careful, seed):
    rng = np.random.default_rng(seed)
    axes = min(axes, len(shape))
    arrays = tuple(rng.integers(0, n, many) for n in shape[:axes])
    trail = shape[axes:]
    values = {
        "number": 0.3,
        "one": np.full((1,) * (len(many) + len(trail)), 0.3),
        "row": rng.normal(size=trail),
        "broadcast": np.broadcast_to(rng.normal(size=trail), many + trail),
        "big-endian": rng.normal(size=many + trail).astype(">f8"),
        "bool": True,
    }[kind]
    begin = rng.normal(size=shape)
    ours, theirs = begin.copy(), begin.copy()
    fg.add_at(ours, arrays[0] if axes == 1 else arrays, values, mode, compensated=careful)
    naive.add_at(theirs, arrays, values, mode)
    if careful:
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    else:
        assert_array_equal(ours, theirs)


@compiled
@pytest.mark.parametrize("value", [1, np.float32(2.5), "row"])
@pytest.mark.parametrize("size", [50, 100_000])
def test_one_value_is_not_spread_out(value, size):
    n = 1_500_000
    k = np.random.default_rng(0).integers(0, size, n)
    shape = (size, 3) if value == "row" else (size,)
    v = np.array([1.0, 2.0, 3.0]) if value == "row" else value
    out = np.zeros(shape)
    fg.add_at(out, k, v, threads=2)
    assert peak(lambda: fg.add_at(out, k, v, threads=2)) < out.nbytes + (1 << 19)
    expected = np.bincount(k, minlength=size)
    assert_array_equal(out, 2 * np.multiply.outer(expected, v))


@compiled
@pytest.mark.parametrize("lie", ["tuple", "steps", "big-endian", "rotated", "rows"])
def test_careful_sums_take_little_memory(lie, monkeypatch):
    monkeypatch.setattr(schedule, "_NEAR", 0)
    rng = np.random.default_rng(3)
    n, size = 3_000_000, 1_000_000
    k, v, out = rng.integers(0, size, n), rng.normal(size=n), np.zeros(size)
    where, one = k, slice(None, None, 2 if lie == "steps" else 1)
    expected = np.bincount(k[one], v[one], size)
    if lie == "tuple":
        out, where = out.reshape(1000, 1000), (k // 1000, k % 1000)
    elif lie == "steps":
        where, v = k[one], v[one]
    elif lie == "big-endian":
        v = v.astype(">f8")
    elif lie == "rotated":
        where, v = k.reshape(3, -1).T, v.reshape(3, -1).T
    else:
        out, v = np.zeros((size, 2)), np.broadcast_to(v[:, None], (n, 2))
    for options in ({"compensated": True}, {"accumulate": "float64"}):
        out[...] = 0
        assert peak(partial(fg.add_at, out, where, v, threads=2, **options)) < 64 << 20
        found = out[:, 1] if lie == "rows" else out.ravel()
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("threads", [1, 3])
def test_careful_sums_of_few_pairs_at_a_time(threads, monkeypatch):
    """The same bits, however many are copied at a time."""
    monkeypatch.setattr(schedule, "_PARALLEL", 1)
    rng = np.random.default_rng(1)
    places = tuple(rng.integers(0, 5, (2, 400)))
    v = rng.normal(size=400) * 10.0 ** rng.integers(0, 12, 400)
    found = []
    for copies in (1, 5_000, 1 << 23):
        monkeypatch.setattr(schedule, "_COPIES", copies)
        out = np.zeros((5, 5))
        fg.add_at(out, places, v, compensated=True, threads=threads)
        found.append(out)
    assert_array_equal(found[0], found[1])
    assert_array_equal(found[0], found[2])
    exact = naive.exact_sums(25, places[0] * 5 + places[1], v)
    np.testing.assert_allclose(found[0].ravel(), exact, rtol=1e-14)


def test_what_is_needed_is_said():
    out, k = np.zeros(4), np.array([1, 2])
    for to, values, say in (
        (out, 1j, "compensated .* need values that cast to out, got complex128 for float64"),
        (out, np.ones(3), r"need values that broadcast to out\[indices\], got shape \(3,\)"),
        (np.zeros((3, 4)).T, np.ones((2, 3)), "need out whose rows are contiguous, got strides"),
        (out.astype(">f8"), 1.0, "need out in the machine's byte order, got >f8"),
    ):
        with pytest.raises(TypeError, match=say):
            fg.add_at(to, k, values, compensated=True)
    with pytest.raises(TypeError, match="need arrays of integers as indices"):
        fg.add_at(out, slice(2), 1.0, compensated=True)
    with pytest.raises(TypeError, match="needs index arrays for at most the 1 axes of out, got 2"):
        fg.add_at(out, (k, k), 1.0, "wrap")
