"""Units of data, weights and abscissae: none spoils a fit."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

PARAMS = np.array([[100.0, 5.2, 4.9, 1.3, 10.0], [60.0, 4.1, 5.6, 1.7, 30.0]])
ROIS = np.random.default_rng(0).poisson(fg.image(PARAMS, (11, 11), "symmetric")).astype(float)


@cache
def plain(method="lsq"):
    return fg.fit_rois(ROIS, method=method)


def _scaled(result, unit):
    factors = np.ones(5)
    factors[[0, -1]] = unit
    return result.params / factors, result.errors / factors


@settings(deadline=None, max_examples=25)
@given(st.integers(-900, 900))
def test_a_power_of_two_changes_no_bit_of_least_squares(exponent):
    unit = 2.0**exponent
    result = fg.fit_rois(ROIS * unit)
    params, errors = _scaled(result, unit)
    np.testing.assert_array_equal(params, plain().params)
    np.testing.assert_array_equal(errors, plain().errors)
    np.testing.assert_array_equal(result.status, plain().status)


@pytest.mark.parametrize("power", [-250, -200, -160, 150, 200, 290])
def test_least_squares_take_any_unit(power):
    result = fg.fit_rois(ROIS * 10.0**power)
    params, errors = _scaled(result, 10.0**power)
    np.testing.assert_allclose(params, plain().params, rtol=1e-6)
    np.testing.assert_allclose(errors, plain().errors, rtol=1e-5)
    assert result.converged.all()


@pytest.mark.parametrize("power", [-200, -12, -4, 120])
def test_likelihoods_take_any_unit(power):
    result = fg.fit_rois(ROIS * 10.0**power, method="mle")
    assert result.converged.all()
    np.testing.assert_allclose(_scaled(result, 10.0**power)[0], plain("mle").params, rtol=1e-4)
    expected = plain("mle").errors[:, 1] * 10.0 ** (-power / 2)
    np.testing.assert_allclose(result.errors[:, 1], expected, rtol=1e-3)


@pytest.mark.parametrize("power", [-230, 200])
def test_weights_take_any_unit(power):
    weights = 1.0 / (ROIS + 5.0)
    usual = fg.fit_rois(ROIS, weights=weights)
    result = fg.fit_rois(ROIS, weights=weights * 10.0**power)
    np.testing.assert_allclose(result.params, usual.params, rtol=1e-6)
    np.testing.assert_allclose(result.errors, usual.errors * 10.0 ** (-power / 2), rtol=1e-5)
    assert result.converged.all()


def test_data_in_another_unit_keep_their_holes_and_bounds():
    rois = ROIS * 1e-190
    rois[0, 0, 0] = np.nan
    rois[1, 3, 3] = np.inf
    result = fg.fit_rois(rois, bounds={"amplitude": (0, 5e-189), "sigma": (0.5, 3.0)})
    assert result.pixels[0] == 120 and result.status[1] == fg.Status.NOT_FINITE
    assert result.params[0, 0] == 5e-189 and result.at_bound[0, 0]


@pytest.mark.parametrize(
    ("origin", "step"),
    [(2460000.5, 0.001), (0.0, 1e-180), (1.7e9, 0.5), (-3.2e12, 300.0), (1.42e9, 200.0)][
        : 2 if JIT_DISABLED else 5
    ],
)
def test_profiles_far_from_zero_converge_to_the_same(origin, step):
    rng = np.random.default_rng(1)
    places = np.arange(80.0)
    centre = rng.uniform(30, 50, (20, 1))
    rows = 3.0 * np.exp(-0.5 * ((places - centre) / 6.0) ** 2) + rng.normal(0, 0.05, (20, 80))
    near = fg.fit_rois(rows, coords=places)
    far = fg.fit_rois(rows, coords=origin + step * places)
    assert far.converged.all() and near.converged.all()
    away = 4 * np.spacing(abs(origin)) / step
    np.testing.assert_allclose((far.x - origin) / step, near.x, atol=away + 1e-6)
    np.testing.assert_allclose(far.sigma / step, near.sigma, rtol=away + 1e-6)
    np.testing.assert_allclose(far.errors[:, 1] / step, near.errors[:, 1], rtol=away + 1e-4)
    bounds = {"x": (origin + 41.0 * step, None)}
    held = fg.fit_rois(rows, coords=origin + step * places, bounds=bounds)
    at = held.at_bound[:, 1]
    assert at.any() and (held.x[at] == bounds["x"][0]).all()


def test_errors_whose_squares_float64_does_not_hold_are_saved_and_joined(tmp_path):
    tiny = fg.fit_rois(ROIS * 2.0**-700)
    both = fg.FitResult.concatenate([plain(), tiny])
    np.testing.assert_array_equal(both.errors[:2], plain().errors)
    np.testing.assert_array_equal(both[2:].errors * [2.0**700, 1, 1, 1, 2.0**700], plain().errors)
    for ending in ("npz", "csv"):
        both.save(tmp_path / f"spots.{ending}")
        again = fg.FitResult.load(tmp_path / f"spots.{ending}")
        np.testing.assert_array_equal(again.errors, both.errors)


def test_pixels_that_are_all_alike_are_no_spot_in_any_unit():
    for value in (0.0, 1e-300, 1e-200, 3.0, 1e200):
        assert not fg.fit_rois(np.full((2, 9, 9), value)).converged.any()
