"""What estimators read of counts and of single-precision maps, without a fit around it."""

from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_array_equal

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
