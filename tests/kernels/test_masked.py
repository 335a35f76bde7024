"""Accesses of some lanes only: each function against its numpy twin, and what it must not touch."""

import ctypes
import mmap
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastgauss.kernels._compile import JIT_DISABLED, kernel
from fastgauss.kernels.simd import lane_types, lanes, mask_bits, masked

RNG = np.random.default_rng(17)
WIDTH = lane_types.WIDTH
DTYPES = ["d", "f"]


def _full(dtype):
    """Lanes of a register of this dtype; of a numpy twin, ``WIDTH``."""
    return WIDTH if JIT_DISABLED else lane_types.REGISTER_BITS // (8 * np.dtype(dtype).itemsize)


def _line(n, dtype):
    return RNG.normal(size=n).astype(dtype)


@kernel
def _count(array):
    return masked.lane_count(array)


@kernel
def _ramps(start, out):
    lanes.store(out, 0, masked.ramp(start))


@kernel
def _windows(zero, out, begin, end):
    mask = masked.lanes_within(zero, begin, end)
    lanes.store(out, 0, lanes.select(mask, lanes.broadcast(zero) + 1.0, lanes.broadcast(zero)))


@kernel
def _copy(source, i, target, j, begin, end):
    mask = masked.lanes_within(source.dtype.type(0.0), begin, end)
    masked.store_some(target, j, masked.load_some(source, i, mask) * source.dtype.type(3.0), mask)


@kernel
def _read(source, i, target, begin, end):
    mask = masked.lanes_within(source.dtype.type(0.0), begin, end)
    lanes.store(target, 0, masked.load_some(source, i, mask))


@kernel
def _read_wide(source, i, target, begin, end):
    lanes.store(target, 0, masked.load_some(source, i, masked.lanes_within(0.0, begin, end)))


@kernel
def _read_double(source, i, target, begin, end):
    lanes.store(target, 0, masked.load_double(source, i, masked.lanes_within(0.0, begin, end)))


@kernel
def _write_double(source, target, j, begin, end):
    masked.store_double(target, j, lanes.load(source, 0), masked.lanes_within(0.0, begin, end))


@kernel
def _write_rounded(source, target, j):
    masked.store_rounded(target, j, lanes.load(source, 0))


@kernel
def _total(source):
    return masked.total(lanes.load(source, 0))


@kernel
def _scattered(source, target, bits):
    mask = mask_bits.mask_from_bits(bits)
    masked.store_some(target, 0, masked.load_some(source, 0, mask), mask)
    masked.store_double(target, 2 * lane_types.WIDTH, masked.load_double(source, 3, mask), mask)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_register_holds_as_many_lanes_as_it_says(dtype):
    assert _count(np.zeros(3, dtype)) == _full(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("start", [0.0, -3.0, 1000.5, 16777210.0])
def test_a_ramp_grows_by_one(dtype, start):
    kind = np.dtype(dtype).type
    out = np.zeros(_full(dtype), dtype)
    _ramps(kind(start), out)
    expected = kind(start) + np.arange(len(out), dtype=dtype)
    assert_array_equal(out, expected)
    assert_array_equal(out[:WIDTH], masked.ramp(kind(start)))
    assert masked.ramp(kind(start)).dtype == np.dtype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_lanes_within_are_those_from_begin_to_before_end(dtype):
    out = np.zeros(_full(dtype), dtype)
    k = np.arange(len(out))
    for begin in (-20, -1, 0, 1, 5, 8, 40):
        for end in (-5, 0, 1, 4, 7, 8, 9, 16, 100):
            _windows(np.dtype(dtype).type(0.0), out, begin, end)
            assert_array_equal(out, (k >= begin) & (k < end))


WINDOWS = [(0, 0), (0, 1), (3, 4), (2, 7), (0, 8), (7, 8), (5, 3), (-4, 30)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("begin", "end"), WINDOWS)
def test_some_lanes_are_read_and_written_and_no_others(dtype, begin, end):
    width = _full(dtype)
    inside = np.arange(max(begin, 0), max(min(end, width), begin, 0))
    source, target = _line(60, dtype), _line(60, dtype)
    for i, j in ((0, 0), (5, 11), (60 - width, 1), (2, 60 - width)):
        expected, out = target.copy(), target.copy()
        expected[j + inside] = source[i + inside] * source.dtype.type(3.0)
        _copy(source, i, out, j, begin, end)
        assert_array_equal(out, expected)
        row = np.full(width, np.nan, dtype)
        _read(source, i, row, begin, end)
        expected = np.zeros(width, dtype)
        expected[inside] = source[i + inside]
        assert_array_equal(row, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("begin", "end"), WINDOWS)
def test_a_register_of_any_float_is_float64_lanes(dtype, begin, end):
    inside = np.arange(max(begin, 0), max(min(end, WIDTH), begin, 0))
    source, target, wide = _line(40, dtype), _line(40, dtype), _line(WIDTH, "d") * 1e3
    for i in (0, 3, 40 - WIDTH):
        row = np.full(WIDTH, np.nan)
        _read_double(source, i, row, begin, end)
        expected = np.zeros(WIDTH)
        expected[inside] = source[i + inside].astype(float)
        assert_array_equal(row, expected)
        expected, out = target.copy(), target.copy()
        expected[i + inside] = wide[inside].astype(dtype)
        _write_double(wide, out, i, begin, end)
        assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_integers_become_float64_lanes(dtype):
    limits = np.iinfo(dtype)
    source = RNG.integers(limits.min, limits.max, 30, dtype=dtype, endpoint=True)
    source[:2] = limits.min, limits.max
    for i, end in ((0, WIDTH), (3, WIDTH - 1), (30 - WIDTH, WIDTH), (30 - 3, 3)):
        for read in (_read_double, _read_wide):
            row = np.full(WIDTH, np.nan)
            read(source, i, row, 0, end)
            expected = np.zeros(WIDTH)
            expected[:end] = source[i : i + end].astype(float)
            assert_array_equal(row, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_float64_lanes_are_rounded_to_the_nearest(dtype):
    all_ = np.array([1 + 2.0**-24, 1 + 3 * 2.0**-24, 1 + 2.0**-24 + 1e-12, -1e-46, 1e39, np.nan,
                     -np.inf, 1 / 3])  # fmt: skip
    for wide in all_.reshape(-1, WIDTH):
        out = np.full(20, 7.0, dtype)
        _write_rounded(wide, out, 5)
        with np.errstate(over="ignore"):
            expected = wide.astype(dtype)
        assert_array_equal(out[5 : 5 + WIDTH], expected)
        assert (out[:5] == 7).all() and (out[5 + WIDTH :] == 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_sum_of_lanes_adds_halves_to_halves(dtype):
    for _ in range(20):
        row = _line(_full(dtype), dtype) * 10 ** RNG.uniform(-8, 8, _full(dtype)).astype(dtype)
        result = _total(row)
        assert result == masked.total(row.copy())
        halves = row
        while len(halves) > 1:
            halves = halves[: len(halves) // 2] + halves[len(halves) // 2 :]
        assert result == halves[0]
    assert np.isnan(_total(np.full(_full(dtype), np.nan, dtype)))


def test_any_pattern_of_lanes_is_a_mask():
    source = _line(40, "d")
    for bits in (0, 1, 0b10000001, 0b01010101, 0b11111111):
        chosen = np.flatnonzero([bits >> k & 1 for k in range(WIDTH)])
        out, expected = np.zeros(40), np.zeros(40)
        expected[chosen] = source[chosen]
        expected[2 * WIDTH + chosen] = source[3 + chosen]
        _scattered(source, out, bits)
        assert_array_equal(out, expected)


@pytest.mark.skipif(JIT_DISABLED, reason="numpy reads no further than its arrays")
@pytest.mark.skipif(sys.platform == "win32", reason="pages are guarded otherwise there")
@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_of_other_lanes_need_not_exist(dtype):
    """A page that must not be touched begins where the array ends, and one ends where it begins."""
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 3 * page)
    whole = np.frombuffer(memory, dtype)
    length = page // whole.itemsize
    middle = whole[length : 2 * length]
    middle[:] = np.arange(length)
    protect = ctypes.CDLL(None).mprotect
    address = whole.ctypes.data
    guards = (address, address + 2 * page)
    for guard in guards:
        assert protect(ctypes.c_void_p(guard), ctypes.c_size_t(page), 0) == 0
    try:
        width = _full(dtype)
        row, double = np.zeros(width, dtype), np.zeros(WIDTH)
        for k in range(1, WIDTH + 1):
            _read(middle, length - k, row, 0, k)
            assert_array_equal(row[:k], middle[length - k :])
            _read(middle, k - width, row, width - k, width)
            assert_array_equal(row[width - k :], middle[:k])
            _read_double(middle, length - k, double, 0, k)
            assert_array_equal(double[:k], middle[length - k :])
            _copy(middle, 0, middle, length - k, 0, k)
            assert_array_equal(middle[length - k :], 3 * middle[:k])
            _write_double(double, middle, length - k, 0, k)
            assert_array_equal(middle[length - k :], double[:k])
            middle[:] = np.arange(length)
    finally:
        for guard in guards:
            protect(ctypes.c_void_p(guard), ctypes.c_size_t(page), mmap.PROT_READ | mmap.PROT_WRITE)


@pytest.mark.skipif(JIT_DISABLED, reason="numpy's twins take what numpy takes")
def test_what_has_no_meaning_does_not_compile():
    from numba.core.errors import TypingError

    readonly = np.zeros(20)
    readonly.flags.writeable = False
    for call in (
        lambda: _copy(readonly, 0, readonly, 0, 0, 3),
        lambda: _write_double(np.zeros(8), readonly, 0, 0, 3),
        lambda: _write_rounded(np.zeros(8), readonly, 0),
        lambda: _write_rounded(np.zeros(16, "f"), np.zeros(16, "f"), 0),
        lambda: _copy(np.zeros(20, "f"), 0, np.zeros(20), 0, 0, 3),
        lambda: _count(np.float64(3.0)),
        lambda: _ramps(3, np.zeros(8)),
    ):
        with pytest.raises(TypingError):
            call()
