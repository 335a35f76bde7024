"""Rows of arrays put into lanes, and the farthest pixel of a row, against numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from fastgauss.kernels._compile import kernel
from fastgauss.kernels.fit import verdicts
from fastgauss.kernels.simd.lane_types import WIDTH
from fastgauss.kernels.simd.stack_memory import flat_view
from fastgauss.kernels.simd.transpose import put_rows


@kernel
def put(array, first, present, m, to):
    put_rows(flat_view(array), first, present, array.shape[1], m, to)


@kernel
def far(array, row, offset, least):
    n = array.shape[1]
    flat = flat_view(array)
    most = verdicts._farthest(flat, row * n, n, offset)
    return most, verdicts._first_as_far(flat, row * n, n, offset, least)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 19), st.integers(1, WIDTH), st.integers(0, 3), st.integers(0, 2))
def test_every_lane_holds_its_row_and_absent_lanes_the_last(count, present, first, to):
    array = np.random.default_rng(count).normal(size=(first + present, count))
    m = np.full((to + count + WIDTH, WIDTH), -7.0)
    put(array, first, present, m, to)
    rows = first + np.minimum(np.arange(WIDTH), present - 1)
    assert_array_equal(m[to : to + count], array[rows].T)
    assert (m[:to] == -7.0).all() and (m[to + count + WIDTH - 1 :] == -7.0).all()


@pytest.mark.parametrize("count", [1, WIDTH - 1, WIDTH, 3 * WIDTH + 2])
def test_the_farthest_pixel_is_numpys(count):
    rng = np.random.default_rng(count)
    array = rng.normal(size=(3, count))
    array[1, rng.random(count) < 0.3] = np.nan
    for row in range(3):
        away = np.abs(array[row] - 0.3)
        known = away[~np.isnan(away)]
        largest = known.max(initial=-1.0)
        most, first = far(array, row, 0.3, largest)
        assert most == largest
        assert first == (np.flatnonzero(away >= largest)[0] if len(known) else count)
