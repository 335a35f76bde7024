"""add_at beside numpy.add.at, to the bit."""

import tracemalloc

import naive_scatter as naive
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED, kernel
from fastgauss.kernels.simd import compress, integers
from fastgauss.sums import schedule

FLOATS = ("f4", "f8", "c8", "c16")
INTEGERS = ("i1", "u2", "i4", "i8", "u8")
INDICES = ("i1", "u1", "i2", "i4", "u4", "i8", "u8", ">i4")
MODES = ("raise", "wrap", "clip", "drop")
compiled = pytest.mark.skipif(JIT_DISABLED, reason="needs compiled code")


@kernel
def below(k, i, size):
    return integers.all_below(k, i, size)


def draw(rng, shape, dtype):
    """Numbers of any dtype; sums of them round."""
    x = rng.normal(size=shape) * 10.0 ** rng.integers(-3, 3, size=shape)
    kind = np.dtype(dtype).kind
    if kind == "c":
        return (x + 1j * rng.normal(size=shape)).astype(dtype)
    if kind == "u":
        x = abs(x)
    return (x * (1 if kind == "f" else 10)).astype("i8" if kind in "iu" else "f8").astype(dtype)


def same(ours, theirs):
    assert ours.dtype == theirs.dtype
    assert_array_equal(ours, theirs)
    assert ours.dtype == object or ours.tobytes() == theirs.tobytes()


def outcome(function, out, *args):
    """The result or the kind of error, and ``out``."""
    try:
        return function(out, *args), out
    except (TypeError, ValueError, IndexError) as error:
        return type(error), out


@pytest.mark.filterwarnings("ignore")  # numpy's, of casts
@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(FLOATS + INTEGERS),
    st.sampled_from((*FLOATS, *INTEGERS, "?", "f2", ">f8")),
    st.sampled_from(INDICES),
    st.integers(1, 30),
    st.integers(0, 60),
    st.integers(0, 2**32 - 1),
)
def test_dtypes(out, values, index, size, n, seed):
    read = "u1" if values == "?" else values  # booleans are read as bytes
    fits = np.can_cast(np.result_type(out, read), out)
    assume(fits or not JIT_DISABLED)  # plain numpy refuses to store a wider scalar
    rng = np.random.default_rng(seed)
    begin = draw(rng, size, out)
    low = 0 if np.dtype(index).kind == "u" else -size
    k = rng.integers(low, size, n).astype(index)
    v = draw(rng, n, values)
    ours, theirs = begin.copy(), begin.copy()
    assert outcome(fg.add_at, ours, k, v)[0] == outcome(np.add.at, theirs, k, v)[0]
    same(ours, theirs)


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(((6,), (4, 3), (3, 4, 2), (5, 0))),
    st.integers(1, 3),
    st.sampled_from(((5,), (2, 3), (4, 1), (0,), (1, 0))),
    st.integers(0, 3),
    st.sampled_from(MODES),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_shapes(shape, axes, many, given_axes, mode, rotated, seed):
    """Tuples of index arrays, rows of values, broadcasting, and arrays that lie otherwise."""
    rng = np.random.default_rng(seed)
    axes = min(axes, len(shape))
    if 0 in shape[:axes]:
        return
    reach = 0 if mode == "raise" else 4
    arrays = [rng.integers(-n - reach, n + reach, many) for n in shape[:axes]]
    if rotated:
        arrays = [np.asfortranarray(k)[..., ::-1] for k in arrays]
    full = many + shape[axes:]
    v = draw(rng, full[len(full) - min(given_axes, len(full)) :], "f8")
    begin = draw(rng, shape, "f8")
    k = arrays[0] if axes == 1 and seed % 2 else tuple(arrays)
    ours, theirs = begin.copy(), begin.copy()
    fg.add_at(ours, k, v, mode)
    naive.add_at(theirs, k, v, mode)
    same(ours, theirs)
    if mode == "raise":
        again = begin.copy()
        np.add.at(again, k, np.broadcast_to(v, full))  # numpy 2.4 reads past the end of v
        same(ours, again)


@pytest.mark.parametrize(
    ("shape", "index", "values"),
    [
        ((5,), slice(1, 4), 2.0),
        ((5,), np.array([True, False, True, False, False]), [1.0, 2.0]),
        ((5,), 3, 1.5),
        ((5,), np.array(3), 1.5),
        ((5,), [], []),
        ((5,), [1, 1], 2),
        ((4, 3), (slice(None), np.array([0, 0, 2])), 1.0),
        ((4, 3), (np.array([1, 1]), 2), [1.0, 2.0]),
        ((4, 3), (np.array([1, 1]), slice(0, 2)), 1.0),
        ((4, 3), (..., np.array([1, 1])), 1.0),
        ((4, 3), np.array([1, 1]), [[1.0, 2.0, 3.0]]),
        ((), (), 3.0),
        ((), ..., 3.0),
    ],
)
def test_whatever_else_indexes(shape, index, values):
    ours, theirs = np.zeros(shape), np.zeros(shape)
    fg.add_at(ours, index, values)
    np.add.at(theirs, index, values)
    same(ours, theirs)


@pytest.mark.parametrize(
    "make",
    [
        lambda a: a[::2],
        lambda a: a[::-1],
        lambda a: a.reshape(4, 3).T,
        lambda a: a.reshape(4, 3)[:, 1],
        lambda a: a.reshape(2, 3, 2)[:, ::-1],
        lambda a: a.reshape(2, 3, 2)[::-1],
        lambda a: a.astype(">f8"),
    ],
)
def test_out_that_lies_otherwise(make):
    k = np.array([1, 0, 1, -1, 1])
    ours, theirs = make(np.arange(12.0)), make(np.arange(12.0))
    fg.add_at(ours, k, 0.1)
    np.add.at(theirs, k, 0.1)
    assert_array_equal(ours, theirs)


def test_overlapping_memory():
    """What would change is copied first."""
    for view in (slice(None), slice(None, None, -1)):
        ours, theirs = np.arange(6.0), np.arange(6.0)
        fg.add_at(ours, np.array([1, 0, 3, 2, 5, 4]), ours[view])
        np.add.at(theirs, np.array([1, 0, 3, 2, 5, 4]), theirs[view].copy())
        same(ours, theirs)
    out = np.array([2, 0, 1, 1])
    fg.add_at(out, out, 1)
    assert_array_equal(out, [3, 2, 2, 1])


def test_errors_are_numpys():
    out = np.zeros(4)
    out.flags.writeable = False
    for k in (np.array([1]), slice(2)):  # numpy 2.4 writes there
        with pytest.raises(ValueError, match="read-only"):
            fg.add_at(out, k, 1.0)
    ours, theirs = np.zeros(3, int), np.zeros(3, int)
    fg.add_at(ours, np.array([1, 1]), 1.5)  # no error in numpy: cast without asking
    np.add.at(theirs, np.array([1, 1]), 1.5)
    same(ours, theirs)
    with pytest.raises(TypeError, match="mode='clip' needs values that cast"):
        fg.add_at(ours, np.array([1, 1]), 1.5, "clip")
    with pytest.raises(ValueError, match="broadcast"):
        fg.add_at(np.zeros(3), np.array([1, 2, 0]), np.ones(2))
    with pytest.raises(IndexError):
        fg.add_at(np.zeros(3), (np.array([1]), np.array([1])), 1.0)
    objects = np.array([1, "a"], dtype=object)
    fg.add_at(objects, [1], ["b"])
    assert objects[1] == "ab"


def test_arguments():
    out, k = np.zeros(4), np.array([1])
    with pytest.raises(TypeError, match="out must be a numpy array"):
        fg.add_at([0.0], k, 1.0)
    with pytest.raises(ValueError, match="mode must be one of"):
        fg.add_at(out, k, 1.0, "ignore")
    with pytest.raises(TypeError, match="mode='wrap' needs arrays"):
        fg.add_at(out, slice(2), 1.0, "wrap")
    with pytest.raises(TypeError, match="mode='wrap' needs"):
        fg.add_at(out.astype("f2"), k, 1.0, "wrap")
    with pytest.raises(ValueError, match="threads must be at least 1"):
        fg.add_at(out, k, 1.0, threads=0)
    with pytest.raises(ValueError, match="accumulate must be one of"):
        fg.add_at(out, k, 1.0, accumulate="float80")
    with pytest.raises(TypeError, match="compensated and accumulate need"):
        fg.add_at(np.zeros(3, int), k, 1, compensated=True)
    with pytest.raises(TypeError, match="compensated and accumulate need"):
        fg.add_at(out, slice(2), 1.0, accumulate="float64")
    for mode in ("wrap", "clip"):
        with pytest.raises(IndexError, match="size 0"):
            fg.add_at(np.zeros(0), k, 1.0, mode)
    fg.add_at(np.zeros(0), k, 1.0, "drop")


@pytest.mark.parametrize("n", [3, 50_000, 1_200_000])
@pytest.mark.parametrize("bad", [10, -11])
@pytest.mark.parametrize("threads", [None, 2])
def test_a_bad_index_leaves_out_untouched(n, bad, threads):
    if JIT_DISABLED and n > 3:
        pytest.skip("slow")
    out, k = np.zeros(10), np.zeros(n, dtype=np.int64)
    k[-1] = bad
    with pytest.raises(IndexError, match=f"index {bad} at position {n - 1} of indices"):
        fg.add_at(out, k, np.ones(n), threads=threads)
    assert not out.any()
    pair = k[: n // 3 * 3].reshape(3, -1)
    pair[2, -1] = bad
    with pytest.raises(IndexError, match=rf"\(2, {pair.shape[1] - 1}\) .* axis 1 with size 10"):
        fg.add_at(np.zeros((5, 10)), (0 * pair, pair), 1.0, threads=threads)


ORDERS = {
    "random": lambda rng, k: k,
    "sorted": lambda rng, k: np.sort(k),
    "falling": lambda rng, k: np.sort(k)[::-1].copy(),
    "clustered": lambda rng, k: np.sort(k + rng.normal(0, 5, k.size).astype(k.dtype).clip(-9, 9)),
    "one": lambda rng, k: 0 * k + k.max() // 2,
    "crowded": lambda rng, k: np.where(rng.random(k.size) < 0.9, k.max() // 3, k),
}


@compiled
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", [2, 16, 49_152, 3_000_000])
@pytest.mark.parametrize("index", ["i4", "i8"])
def test_any_number_of_threads(order, size, index, monkeypatch):
    """Sizes where threads take part, and several batches."""
    monkeypatch.setattr(schedule, "_NEAR", 0)
    rng = np.random.default_rng(size)
    n = 2_300_000
    k = ORDERS[order](rng, rng.integers(0, size, n).astype(index)).clip(0, size - 1)
    v = draw(rng, n, "f8")
    expected = np.ones(size)
    np.add.at(expected, k, v)
    for threads in (1, 2, 3, 8):
        out = np.ones(size)
        fg.add_at(out, k, v, threads=threads)
        same(out, expected)


@compiled
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["value", "scalar", "row", "float32", "count"])
@pytest.mark.parametrize("threads", [2, 3])
def test_kinds_and_modes_on_threads(mode, kind, threads, monkeypatch):
    monkeypatch.setattr(schedule, "_NEAR", 0)
    rng = np.random.default_rng(5)
    n, size = 600_000, 1000
    reach = 0 if mode == "raise" else 300
    k = rng.integers(-size - reach, size + reach, n)
    v = {
        "value": draw(rng, n, "f8"),
        "scalar": 0.1,
        "row": draw(rng, (n, 2), "f8"),
        "float32": draw(rng, n, "f8"),
        "count": 1,
    }[kind]
    dtype = {"float32": "f4", "count": "i8"}.get(kind, "f8")
    ours = np.zeros((size, 2) if kind == "row" else size, dtype)
    theirs = ours.copy()
    fg.add_at(ours, k, v, mode, threads=threads)
    if mode == "wrap":
        k = k % size
    elif mode == "clip":
        k = k.clip(0, size - 1)
    elif mode == "drop":
        inside = (k >= 0) & (k < size)
        k, v = k[inside], (v[inside] if np.ndim(v) else v)
    np.add.at(theirs, k, v)
    same(ours, theirs)


@pytest.mark.parametrize("compresses", [True, False])
def test_threads_share_few_pairs(compresses, monkeypatch):
    """The machinery of threads over a few pairs, for the plain run too."""
    monkeypatch.setattr(schedule, "HAS_COMPRESSION", compresses and compress.HAS_COMPRESSION)
    monkeypatch.setattr(schedule, "_PARALLEL", 1)
    monkeypatch.setattr(schedule, "_NEAR", 0)
    rng = np.random.default_rng(2)
    for size, many in ((7, ()), (40, ()), (40, (3,))):
        for threads in (2, 3, 5):
            k, v = rng.integers(-size, size, 2400), draw(rng, (2400, *many), "f8")
            ours, theirs = np.zeros((size, *many)), np.zeros((size, *many))
            fg.add_at(ours, k, v, threads=threads)
            np.add.at(theirs, k, v)
            same(ours, theirs)


@pytest.mark.parametrize("place", [0, 31, 32, 3000, 3_999])
@pytest.mark.parametrize("bad", [5000, -1, -5001, 2**31 - 1])
@pytest.mark.parametrize("index", ["i4", "i8"])
def test_many_pairs_for_few_bins_are_undone(place, bad, index):
    """Checked on the way: a negative index counts from the end, a bad one leaves all as it was."""
    n, size = 4_000 if JIT_DISABLED else 400_000, 5000 if not JIT_DISABLED else 300
    rng = np.random.default_rng(0)
    bad = min(bad, size) if bad == 5000 else max(bad, -size - 1) if bad == -5001 else bad
    k, v = rng.integers(0, size, n).astype(index), draw(rng, n, "f8")
    k[place * (n // 4000)] = bad
    ours, theirs = np.ones(size), np.ones(size)
    if bad == -1:
        fg.add_at(ours, k, v)
        np.add.at(theirs, k, v)
    else:
        with pytest.raises(IndexError, match=f"index {bad} at position {place * (n // 4000)} "):
            fg.add_at(ours, k, v)
    same(ours, theirs)


@pytest.mark.parametrize("index", ["i1", "u1", "i2", "u2", "i4", "u4", "i8"])
def test_all_below(index):
    """One look at many indices, at the limits of their dtype."""
    least, most = int(np.iinfo(index).min), int(np.iinfo(index).max)
    k = np.zeros(integers.MANY + 1, index)
    for size in (0, 1, 100, most, min(most + 1, 2**63 - 1), min(2 * most + 2, 2**63 - 1)):
        for value in (0, 1, most, least, size - 1, size):
            if least <= value <= most:
                k[-1] = value
                assert below(k, 1, size) == (0 <= value < size), (value, size)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("mode", MODES)
def test_compensated(mode, threads, monkeypatch):
    """Rounded nearly once, where sums cancel."""
    monkeypatch.setattr(schedule, "_PARALLEL", 1)
    rng = np.random.default_rng(0)
    size, n = 7, 1000
    k = rng.integers(0, size, n)
    v = rng.normal(size=n) * 10.0 ** rng.integers(0, 16, n)
    k, v = np.concatenate([k, k]), np.concatenate([v, -v + rng.normal(size=n)])
    out = np.zeros(size)
    fg.add_at(out, k, v, mode, compensated=True, threads=threads)
    np.testing.assert_allclose(out, naive.exact_sums(size, k, v), rtol=1e-10)


def test_compensated_and_infinite():
    out = np.zeros(3)
    fg.add_at(out, [0, 0, 1, 2], [np.inf, 1.0, np.nan, 2.0], compensated=True)
    assert_array_equal(out, [np.inf, np.nan, 2.0])


@pytest.mark.parametrize("shape", [(5,), (5, 2)])
@pytest.mark.parametrize("dtype", ["f4", "c8", "f8"])
@pytest.mark.parametrize("compensated", [False, True])
def test_accumulate(shape, dtype, compensated):
    """The sum in double precision, rounded once."""
    rng = np.random.default_rng(1)
    k = rng.integers(-5, 5, 3000)
    v = draw(rng, (3000, *shape[1:]), dtype)
    out = draw(rng, shape, dtype)
    wide = out.astype(np.result_type(dtype, "f8"))
    np.add.at(wide, k, v)
    fg.add_at(out, k, v, accumulate="float64", compensated=compensated)
    np.testing.assert_allclose(out, wide.astype(dtype), rtol=1e-12 if dtype == "f8" else 1e-7)
    ones = np.zeros(2, "f4")
    fg.add_at(ones, np.zeros(1000, int), 0.1, accumulate="float64")
    assert ones[0] == np.float32(100.0)


@compiled
@pytest.mark.parametrize("job", ["random", "strided", "tuple", "row", "careful"])
def test_memory_is_bounded(job, monkeypatch):
    monkeypatch.setattr(schedule, "_NEAR", 0)
    rng = np.random.default_rng(3)
    n, size = 5_000_000, 1_000_000
    k, v, out = rng.integers(0, size, n), np.ones(n, "f4"), np.zeros(size, "f4")
    options = {}
    if job == "strided":
        k, v = k[::2], v[::2]
    elif job == "tuple":
        out, k = out.reshape(1000, 1000), (k // 1000, k % 1000)
    elif job == "row":
        out, v = np.zeros((size, 3), "f4"), np.broadcast_to(v[:, None], (n, 3))
    elif job == "careful":
        options = {"accumulate": "float64", "compensated": True}
    fg.add_at(out.copy(), k, v, threads=2, **options)
    tracemalloc.start()
    try:
        fg.add_at(out, k, v, threads=2, **options)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert out.sum() == v.sum()


class TestNumpysOwnCases:
    """numpy's tests of add.at and bincount, as far as they ask for addition."""

    def test_inplace_fancy_indexing(self):
        a = np.arange(10)
        fg.add_at(a, [2, 5, 2], 1)
        assert_array_equal(a, [0, 1, 4, 3, 4, 6, 6, 7, 8, 9])
        a = np.arange(10)
        fg.add_at(a, [2, 5, 3], np.array([100, 100, 100]))
        assert_array_equal(a, [0, 1, 102, 103, 4, 105, 6, 7, 8, 9])
        a = np.arange(9).reshape(3, 3)
        fg.add_at(a, (slice(None), [1, 2, 1]), [100, 200, 300])
        assert_array_equal(a, [[0, 401, 202], [3, 404, 205], [6, 407, 208]])
        a = np.arange(27).reshape(3, 3, 3)
        fg.add_at(a, (slice(None), [1, 2, 1], slice(None)), [100, 200, 300])
        b = np.arange(27).reshape(3, 3, 3)
        np.add.at(b, (slice(None), [1, 2, 1], slice(None)), [100, 200, 300])
        assert_array_equal(a, b)

    def test_values_of_another_dtype(self):
        values = np.array(["a", 1], dtype=object)
        with pytest.raises(TypeError):
            fg.add_at(values, [0, 1], 1)
        assert_array_equal(values, np.array(["a", 1], dtype=object))

    def test_multiple_outputs_not_needed_and_0d(self):
        a = np.array(3.0)
        fg.add_at(a, ..., 1.0)
        assert a == 4.0

    def test_no_loop_gives_all_true_shape(self):
        arr = np.zeros(3)
        with pytest.raises(ValueError):
            fg.add_at(arr, np.array([0, 1]), np.ones(3))

    def test_repeats_and_unaligned(self):
        raw = np.zeros(8 * 4 + 1, dtype=np.uint8)[1:].view(np.float64)
        fg.add_at(raw, np.array([0, 0, 3]), np.array([1.0, 2.0, 3.0]))
        assert_array_equal(raw, [3, 0, 0, 3])

    def test_bincount(self):
        x = np.array([1, 2, 4, 3, 1, 7, 5, 6])
        w = np.array([0.2, 0.3, 0.5, 0.1, 0.2, 0.9, 0.4, 0.6])
        for minlength in (8, 12):
            out = np.zeros(minlength)
            fg.add_at(out, x, w)
            assert_array_equal(out, np.bincount(x, w, minlength))
            counts = np.zeros(minlength, dtype=np.int64)
            fg.add_at(counts, x, 1)
            assert_array_equal(counts, np.bincount(x, minlength=minlength))
