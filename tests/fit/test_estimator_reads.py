"""What estimators read of counts and of single-precision maps, without a fit around it."""

from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgauss.kernels._compile import kernel
from fastgauss.kernels.fit.estimators import ESTIMATORS, HEADER
from fastgauss.kernels.simd.lanes import lane_rows


@cache
def make_read(name):
    """A function that returns all that an estimator makes of each spot."""
    read, kinds = ESTIMATORS[name].read, ESTIMATORS[name].kinds

    @kernel
    def read_all(pixels, second, pivot):
        found = np.empty((len(pixels), 4 + HEADER + kinds * pixels.shape[1]))
        m = lane_rows(found.shape[1] - 4)
        for item in range(len(pixels)):
            m[:] = 0.0
            found[item, :4] = read(m, HEADER, 0, pixels, second, item, pivot)
            found[item, 4:] = m[:, 0]
        return found

    return read_all


@pytest.mark.parametrize("name", ["plain", "poisson"])
@pytest.mark.parametrize("pixels", [1, 3, 8, 11, 49])
def test_pixels_that_are_read_a_register_at_a_time_are_those_one_by_one(name, pixels):
    rng, read = np.random.default_rng(pixels), make_read(name)
    data = rng.poisson(3.0, (4, pixels)).astype(np.float32) - 1.0
    data[1, -1], data[2, 0], data[3, pixels // 2] = np.nan, np.inf, -np.inf
    pivot = 0.25 if name == "plain" else 0.0
    found = read(data, np.empty((1, 0)), pivot)
    numbers = data - pivot
    if name == "poisson":
        numbers = np.where(data > 0.0, data, np.where(data == -np.inf, np.inf, 0.0))
        numbers[np.isnan(data)] = np.nan
    assert_array_equal(found[:, 4 + HEADER :], numbers)
    with np.errstate(invalid="ignore"):
        sums, squares = numbers.sum(axis=1), (numbers.astype(float) ** 2).sum(axis=1)
    assert_array_equal(found[:, 0], pixels)
    if name == "plain":
        assert_allclose(found[:, 4 + HEADER - 3 : 4 + HEADER], np.c_[[pixels] * 4, sums, squares])
    else:
        assert_allclose(found[:, 2:4], np.c_[sums, sums / pixels])


@pytest.mark.parametrize("name", ["camera", "residual"])  # fits read so with the others
@pytest.mark.parametrize("rows", [1, 3])
def test_counts_and_single_precision_are_read_as_float64(name, rows):
    rng, read = np.random.default_rng(0), make_read(name)
    counts = rng.integers(0, 65536, (3, 7), dtype=np.uint16)
    counts[0, :2] = 0, 65535
    numbers = rng.uniform(0.1, 2.0, (rows, 7)).astype(np.float32)
    numbers[0, 4] = 0.0
    expected = read(counts.astype(np.float64), numbers.astype(np.float64), 0.7)
    assert_array_equal(read(counts, numbers, 0.7), expected)
    assert np.isfinite(expected).all() and expected[:, 4:].any(axis=1).all()
