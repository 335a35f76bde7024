"""Lane types against plain numpy, compiled and as numpy twins."""

import numpy as np
import pytest

from fastgauss.kernels._compile import JIT_DISABLED, kernel
from fastgauss.kernels.numeric import packed_cholesky
from fastgauss.kernels.simd import float_bits, lane_types, lanes, mask_bits

RNG = np.random.default_rng(3)


@kernel
def _arithmetic(a, b, out):
    x = lanes.load(a, 0)
    y = lanes.load(b, 0)
    lanes.store(out, 0, x + y)
    lanes.store(out, 1, x - 2.0)
    lanes.store(out, 2, 3 * x)
    lanes.store(out, 3, x / y)
    lanes.store(out, 4, -x)
    lanes.store(out, 5, lanes.select((x < y) & ~(x == 0.5), x, 7.0))
    lanes.store(out, 6, lanes.maximum(x, y))
    lanes.store(out, 7, lanes.minimum(x, y))
    lanes.store(out, 8, lanes.sqrt(lanes.absolute(x)))
    lanes.store(out, 9, lanes.floor(x))
    lanes.store(out, 10, lanes.select((x >= y) | (x != x), 1.0, x))
    lanes.store(out, 11, lanes.select((x > 0.0) ^ (y <= 0.0), x, y))
    return mask_bits.mask_bits(x > y)


def test_operators_are_those_of_numpy():
    a = np.concatenate([[0.5, np.nan, np.inf], RNG.normal(size=lane_types.WIDTH - 3)])[None]
    b = RNG.normal(size=(1, lane_types.WIDTH))
    out = np.zeros((12, lane_types.WIDTH))
    bits = _arithmetic(a, b, out)
    x, y = a[0], b[0]
    expected = [
        x + y,
        x - 2,
        3 * x,
        x / y,
        -x,
        np.where((x < y) & (x != 0.5), x, 7.0),
        np.where(x > y, x, y),
        np.where(x < y, x, y),
        np.sqrt(np.abs(x)),
        np.floor(x),
        np.where((x >= y) | np.isnan(x), 1.0, x),
        np.where((x > 0) ^ (y <= 0), x, y),
    ]
    np.testing.assert_array_equal(out, expected)
    assert bits == sum(1 << k for k in range(lane_types.WIDTH) if x[k] > y[k])


@kernel
def _bits(a, out, word):
    x = lanes.load(a, 0)
    exponent, mantissa = float_bits.exponent_and_mantissa(x)
    lanes.store(out, 0, exponent)
    lanes.store(out, 1, mantissa)
    lanes.store(out, 2, float_bits.power_of_two(exponent + 1.5 * 2.0**52) * mantissa)
    lanes.store(out, 3, lanes.select(mask_bits.mask_from_bits(word), 1.0, lanes.broadcast(0.0)))


def test_bits_split_and_rebuild_numbers():
    a = 10.0 ** RNG.uniform(-300, 300, (1, lane_types.WIDTH))
    out = np.zeros((4, lane_types.WIDTH))
    _bits(a, out, 0b10010110)
    mantissa, exponent = np.frexp(a[0])
    np.testing.assert_array_equal(out[0], exponent - 1)
    np.testing.assert_array_equal(out[1], mantissa * 2)
    np.testing.assert_array_equal(out[2], a[0])
    np.testing.assert_array_equal(out[3], [0, 1, 1, 0, 1, 0, 0, 1][: lane_types.WIDTH])


@kernel
def _scalars(x, y):
    return lanes.select(x < y, x, y), lanes.maximum(x, y), lanes.sqrt(x), lanes.absolute(-x)


def test_the_same_functions_take_scalars():
    assert _scalars(2.0, 3.0) == (2.0, 3.0, np.sqrt(2.0), 2.0)
    assert np.isnan(_scalars(np.nan, 3.0)[2])


@kernel
def _from_flat(a, out, i):
    lanes.store(out, i, lanes.load(a, i + 1) + 1.0)


def test_one_dimensional_memory_is_read_from_any_element():
    a = RNG.normal(size=20)
    out = np.zeros(20)
    _from_flat(a, out, 3)
    np.testing.assert_array_equal(out[3 : 3 + lane_types.WIDTH], a[4 : 4 + lane_types.WIDTH] + 1)
    assert not out[:3].any() and not out[3 + lane_types.WIDTH :].any()


@kernel
def _single(a, out):
    lanes.store(out, 0, lanes.load(a, 0) * lanes.broadcast(np.float32(0.5)))


@pytest.mark.skipif(JIT_DISABLED, reason="the width of a numpy twin is that of float64")
def test_float32_lanes_fill_the_same_register():
    a = RNG.normal(size=(1, 2 * lane_types.WIDTH)).astype(np.float32)
    out = np.zeros_like(a)
    _single(a, out)
    np.testing.assert_array_equal(out, a * np.float32(0.5))


@kernel
def _aligned(rows):
    return lanes.lane_rows(rows)


def test_lane_memory_is_zero_and_aligned():
    for rows in (0, 1, 7):
        memory = _aligned(rows)
        assert memory.shape == (rows, lane_types.WIDTH)
        assert memory.flags.c_contiguous and not memory.any()
        assert rows == 0 or memory.ctypes.data % 64 == 0


def _solve_kernel(size):
    @kernel
    def solve(m, matrix, right, solution, damping):
        packed_cholesky.solve_damped(m, matrix, lanes.broadcast(damping), right, solution, size)

    return solve


def _invert_kernel(size):
    @kernel
    def invert(m, matrix, inverse, out):
        lanes.store(out, 0, packed_cholesky.invert(m, matrix, inverse, size))

    return invert


def _positive(size, condition=1.0):
    """WIDTH random positive matrices with badly scaled diagonals."""
    a = RNG.normal(size=(lane_types.WIDTH, size + 3, size))
    full = np.einsum("lki,lkj->lij", a, a)
    scale = 10.0 ** RNG.uniform(-condition, condition, (lane_types.WIDTH, size))
    return full * scale[:, :, None] * scale[:, None, :]


def _packed(full):
    rows, columns = np.tril_indices(full.shape[1])
    return full[:, rows, columns].T


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 7, 9])
def test_damped_solve_is_that_of_numpy(size):
    full = _positive(size)
    right = RNG.normal(size=(lane_types.WIDTH, size))
    entries = packed_cholesky.packed_size(size)
    m = np.zeros((entries + 2 * size, lane_types.WIDTH))
    m[:entries] = _packed(full)
    m[entries : entries + size] = right.T
    _solve_kernel(size)(m, 0, entries, entries + size, 0.3)
    damped = full + 0.3 * np.einsum("lij,ij->lij", full, np.eye(size))
    expected = np.linalg.solve(damped, right[..., None])[..., 0]
    np.testing.assert_allclose(m[entries + size :].T, expected, rtol=1e-9)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 7, 9])
def test_inverse_is_that_of_numpy(size):
    full = _positive(size)
    entries = packed_cholesky.packed_size(size)
    m = np.zeros((2 * entries, lane_types.WIDTH))
    m[:entries] = _packed(full)
    out = np.zeros((1, lane_types.WIDTH))
    _invert_kernel(size)(m, 0, entries, out)
    np.testing.assert_allclose(m[entries:], _packed(np.linalg.inv(full)), rtol=1e-8)
    assert (out > 1e-6).all() and (out <= 1.0 + 1e-12).all()


def test_singular_matrices_are_told_and_give_finite_steps():
    full = _positive(4)
    full[:, 3] = full[:, 2]
    full[:, :, 3] = full[:, :, 2]
    m = np.zeros((30, lane_types.WIDTH))
    m[:10] = _packed(full)
    m[20:24] = 1.0
    out = np.zeros((1, lane_types.WIDTH))
    _invert_kernel(4)(m, 0, 10, out)
    assert (out < 1e-12).all()
    _solve_kernel(4)(m, 0, 20, 24, 0.0)
    assert np.isfinite(m[24:28]).all()
    m[:10] = 0.0
    _solve_kernel(4)(m, 0, 20, 24, 0.0)
    assert np.isfinite(m[20:24]).all()
