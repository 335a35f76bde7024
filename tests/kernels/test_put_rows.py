"""Rows of arrays put into lanes, and the sharpest pixel of a row, against numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from fastgauss.kernels._compile import kernel
from fastgauss.kernels.fit import outliers
from fastgauss.kernels.simd.lane_types import WIDTH
from fastgauss.kernels.simd.stack_memory import flat_view
from fastgauss.kernels.simd.transpose import put_rows

from ..naive.naive_outliers import sharpness


@kernel
def put(array, first, present, m, to):
    put_rows(flat_view(array), first, present, array.shape[1], m, to)


@kernel
def sharp(array, row, least, steps):
    n = array.shape[1]
    flat = flat_view(array)
    most, bent = outliers.sharpest(flat, row * n, n, steps)
    return most, bent, outliers.first_as_sharp(flat, row * n, n, least)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 19), st.integers(1, WIDTH), st.integers(0, 3), st.integers(0, 2))
def test_every_lane_holds_its_row_and_absent_lanes_the_last(count, present, first, to):
    array = np.random.default_rng(count).normal(size=(first + present, count))
    m = np.full((to + count + WIDTH, WIDTH), -7.0)
    put(array, first, present, m, to)
    rows = first + np.minimum(np.arange(WIDTH), present - 1)
    assert_array_equal(m[to : to + count], array[rows].T)
    assert (m[:to] == -7.0).all() and (m[to + count + WIDTH - 1 :] == -7.0).all()


@pytest.mark.parametrize("count", [1, 2, WIDTH + 1, WIDTH + 2, 3 * WIDTH + 4])
def test_the_sharpest_pixel_is_numpys(count):
    rng = np.random.default_rng(count)
    array = rng.normal(size=(5, count))
    array[1, rng.random(count) < 0.3] = np.nan
    array[2, 0] += 9.0
    array[3, -1] -= 9.0
    for row in range(5):
        expected = sharpness(array[row])
        for steps in ((1, count), (1, max(count // 3, 1)), (1, 0), (0, 0)):
            most, bent, first = sharp(array, row, expected.max(), steps)
            bends = [-1.0]
            for step in filter(None, steps):
                middle, ends = array[row, step:-step], array[row, : -2 * step]
                bends.extend(np.abs(middle - 0.5 * (ends + array[row, 2 * step :])))
            assert bent == np.nanmax(bends)
        assert most == expected.max()
        assert first == (expected.argmax() if most > -1.0 else count)


@kernel
def far(array, row, top, sign):
    n = array.shape[1]
    return outliers.farthest(flat_view(array), row * n, n, top, sign)


@pytest.mark.parametrize("count", [1, 2, WIDTH, WIDTH + 1, 3 * WIDTH + 4])
@pytest.mark.parametrize("sign", [2.0, -2.0])
def test_the_farthest_pixel_is_numpys(count, sign):
    rng = np.random.default_rng(count)
    array = rng.normal(size=(4, count))
    array[1, rng.random(count) < 0.3] = np.nan
    array[2] = np.nan
    for row in range(4):
        away = (array[row] - 0.1) * np.sign(sign)
        most, where = far(array, row, 0.1, sign)
        assert most == np.max(away[np.isfinite(away)], initial=-np.inf)
        if most > 0.0:
            assert where == np.nanargmax(away)
