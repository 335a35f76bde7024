"""Derivatives along axes that are smoothed, and windows narrower than an element."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import fastgauss as fg

DERIVATIVES = ["gaussian_laplace", "gaussian_gradient_magnitude"]


@pytest.mark.parametrize("name", DERIVATIVES)
@pytest.mark.parametrize("sigma", [(0, 1.2, 0.8), (0, 1.5, 0), (1.0, 0.0, 2.0), (0, 1e-16, 1.1)])
def test_an_axis_of_sigma_0_is_left_alone(name, sigma):
    stack = np.random.default_rng(0).normal(50, 1, (4, 9, 11))
    smooth = tuple(axis for axis, width in enumerate(sigma) if width > 1e-15)
    own = [sigma[axis] for axis in smooth]
    expected = getattr(fg, name)(stack, own, axes=smooth)
    found = getattr(fg, name)(stack, sigma)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    if smooth == (1, 2):
        frames = [getattr(ndimage, name)(frame, own) for frame in stack]
        np.testing.assert_allclose(found, frames, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", DERIVATIVES)
def test_no_derivative_without_a_width(name):
    for sigma in (0, 0.0, (0, 0)):
        with pytest.raises(ValueError, match="sigma must be above 0 along one axis or more"):
            getattr(fg, name)(np.ones((4, 5)), sigma)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 12), st.floats(-323, 308).map(lambda e: 10.0**e))
def test_a_window_of_any_width_has_the_sum_1(n, sigma):
    window = fg.gaussian_kernel(n, sigma)
    assert np.isfinite(window).all() and window.sum() == pytest.approx(1.0, rel=1e-14)
    np.testing.assert_array_equal(window, window[::-1])


def test_a_narrow_window_lies_in_its_middle():
    np.testing.assert_array_equal(fg.gaussian_kernel(4, 0.0125), [0, 0.5, 0.5, 0])
    np.testing.assert_array_equal(fg.gaussian_kernel(7, 1e-9), [0, 0, 0, 1, 0, 0, 0])
    assert fg.gaussian_kernel((2, 3), (1e-3, 1e-3)).tolist() == [[0, 0.5, 0], [0, 0.5, 0]]
    # log of the ratio of neighbours, which the values of 1e-200 still hold
    window = fg.gaussian_kernel(6, 0.1)
    assert np.log(window[1] / window[2]) == pytest.approx(-0.5 * (1.5**2 - 0.5**2) / 0.01)
