"""Shared parameters in any unit of the data: the same answer times the unit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import fastgauss as fg
from fastgauss.fit.picture_units import in_one_unit
from fastgauss.fit.pixel_maps import PixelMap
from fastgauss.kernels._compile import JIT_DISABLED

compiled = pytest.mark.skipif(JIT_DISABLED, reason="many fits")
RNG = np.random.default_rng(0)
PARAMS = np.column_stack([
    RNG.uniform(80, 200, 30), RNG.uniform(4, 6, (30, 2)), np.full(30, 1.4), np.full(30, 12.0),
])  # fmt: skip
ROIS = RNG.poisson(fg.image(PARAMS, (11, 11), "symmetric")).astype(float)
ROIS[7], ROIS[7, 5, 6] = 12.0, 1e4  # no spot


def compare(result, plain, unit, rtol=1e-6):
    factors = np.array([unit, 1, 1, 1, unit])
    assert_array_equal(result.status, plain.status)
    good = plain.converged
    assert_allclose(result.params[good] / factors, plain.params[good], rtol=rtol)
    assert_allclose(result.errors[good] / factors, plain.errors[good], rtol=1e-4)
    assert len(np.unique(result.sigma[good])) == 1


@compiled
@settings(max_examples=8, deadline=None)
@given(st.floats(-30, 30))
def test_least_squares_in_units_that_people_have(power):
    unit = 10.0**power
    compare(fg.fit_rois(ROIS * unit, shared="sigma"), fg.fit_rois(ROIS, shared="sigma"), unit)


@compiled
@pytest.mark.parametrize("unit", [1e-290, 1e-160, 1e200])
@pytest.mark.parametrize("shared", ["sigma", ("sigma", "offset")])
def test_least_squares_at_the_ends_of_float64(unit, shared):
    bounds = {"offset": (None, 11.5)}
    plain = fg.fit_rois(ROIS, shared=shared, bounds=bounds)
    result = fg.fit_rois(ROIS * unit, shared=shared, bounds={"offset": (None, 11.5 * unit)})
    compare(result, plain, unit)
    assert_array_equal(result.at_bound, plain.at_bound)


@compiled
@pytest.mark.parametrize("unit", [1e-100, 1e-30, 1e30, 1e140])
def test_weights_likelihoods_and_images(unit):
    weights = 1 / (ROIS + 5)
    plain = fg.fit_rois(ROIS, shared="sigma", weights=weights)
    result = fg.fit_rois(ROIS * unit, shared="sigma", weights=weights / unit / unit)
    compare(result, plain, unit)
    assert_allclose(result.objective, plain.objective, rtol=1e-5)
    plain = fg.fit_rois(ROIS, shared="sigma", method="mle")
    result = fg.fit_rois(ROIS * unit, shared="sigma", method="mle")
    good = plain.converged
    assert_array_equal(result.status, plain.status)
    assert_allclose(result.params[good] / [unit, 1, 1, 1, unit], plain.params[good], rtol=1e-4)
    assert_allclose(result.errors[good, 1] * np.sqrt(unit), plain.errors[good, 1], rtol=1e-3)
    image, places = (
        np.concatenate(ROIS[:7]),
        np.column_stack([np.arange(7) * 11 + 5, np.full(7, 5)]),
    )
    plain = fg.fit_spots(image, places, shared="sigma", box=9)
    compare(fg.fit_spots(image * unit, places, shared="sigma", box=9), plain, unit)


def test_what_goes_with_the_pixels_has_their_unit():
    rois = np.full((2, 3, 3), 3e-200)
    for method, size in (("lsq", 1.0), ("mle", 32.0)):
        second = PixelMap(np.full((1, 3, 3), 7e290), False)
        moved, other, unit = in_one_unit(rois, second, method)
        assert size <= moved[0, 0, 0] == 3e-200 * unit < 2 * size
        expected = np.inf if method == "mle" else 7e290 / unit / unit
        assert other.array[0, 0, 0] == expected
    usual = np.ones((2, 3, 3), np.uint16)
    assert in_one_unit(usual, None, "mle")[0] is usual
