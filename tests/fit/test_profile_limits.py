"""fit_profile with values that are known and ranges that are not left, beside curve_fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit

import fastgauss as fg

X = np.linspace(-4.0, 16.0, 121)
TWO = np.array([[40.0, 2.0, 0.9], [70.0, 5.1, 1.2]])


def curve(x, peaks, offset=0.0, slope=0.0):
    a, c, s = np.transpose(peaks)
    shape = np.exp(-((x[:, np.newaxis] - c) ** 2) / (2 * s**2))
    return (a * shape).sum(axis=1) + offset + slope * x


def noisy(seed=0, slope=0.0, peaks=TWO):
    return curve(X, peaks, 10.0, slope) + np.random.default_rng(seed).normal(size=len(X))


def test_known_widths_are_those_of_curve_fit():
    y = noisy(1)

    def model(x, a, c, b, d, offset):
        return curve(x, [[a, c, 0.9], [b, d, 1.2]], offset)

    values, covariance = curve_fit(model, X, y, [40, 2, 70, 5, 10], np.ones(len(X)),
                                   absolute_sigma=True, ftol=1e-13, xtol=1e-13)  # fmt: skip
    errors = np.sqrt(np.diag(covariance))
    fit = fg.fit_profile(X, y, 1.0, peaks=2, fixed={"sigma": [0.9, 1.2]})
    np.testing.assert_allclose(fit.params[:, :2].ravel(), values[:4], rtol=1e-6)
    np.testing.assert_allclose(fit.errors[:, :2].ravel(), errors[:4], rtol=1e-5)
    np.testing.assert_array_equal(fit.sigma, [0.9, 1.2])
    np.testing.assert_array_equal(fit.sigma_error, 0.0)
    assert (fit.status == fg.Status.CONVERGED).all() and not fit.at_bound.any()
    assert (fit.dof == len(X) - 5).all()
    other = fg.fit_profile(X, y, 1.0, peaks=2, fixed={"sigma": [1.2, 0.9]})
    np.testing.assert_allclose(other.objective, fit.objective)  # which is which, they find out
    np.testing.assert_allclose(other.params, fit.params[::-1], rtol=1e-6)


@settings(max_examples=10, deadline=None)
@given(
    st.floats(0.5, 1.1), st.floats(0.05, 1.0), st.floats(-200.0, 200.0), st.floats(1e-6, 1e6),
    st.floats(1e-50, 1e50),
)  # fmt: skip
def test_minima_within_ranges_are_those_of_curve_fit_in_any_unit(low, more, shift, a, c):
    y = noisy(2)
    ends = np.array([[-np.inf] * 7, [np.inf] * 7])
    ends[:, [2, 5]] = [[low], [low + more]]
    start = np.clip([*TWO.ravel(), 10.0], *ends)

    def model(x, *p):
        return curve(x, np.reshape(p[:6], (2, 3)), p[6])

    values, _ = curve_fit(model, X, y, start, bounds=ends, ftol=1e-14, xtol=1e-14, gtol=1e-14,
                          max_nfev=3000)  # fmt: skip
    bounds = {"sigma": (a * low, a * (low + more))}
    fit = fg.fit_profile(a * (X + shift), c * y, peaks=2, bounds=bounds)
    assert (fit.sigma >= bounds["sigma"][0]).all() and (fit.sigma <= bounds["sigma"][1]).all()
    cost = ((y - model(X, *values)) ** 2).sum()
    assert (fit.objective / c / c <= cost * (1 + 1e-7)).all()
    on = np.isin(fit.sigma, bounds["sigma"])
    np.testing.assert_array_equal(fit.at_bound[:, 2], on)
    np.testing.assert_array_equal(fit.status, np.where(on, fg.Status.AT_BOUND, 0))
    np.testing.assert_array_equal(fit.sigma_error == 0, on)


def test_a_range_of_places_finds_the_weak_peak_beside_the_strong_one():
    y = noisy(3, peaks=np.array([[6.0, 11.0, 0.7], [300.0, 3.0, 1.0]]))
    known = {"sigma": 0.7, "offset": 10.0}
    fit = fg.fit_profile(X, y, bounds={"x": (9.0, 13.0)}, fixed=known)
    assert fit.x[0] == pytest.approx(11.0, abs=0.5) and fit.converged.all()
    both = fg.fit_profile(X, y, 1.0, peaks=2, bounds={"x": ([9.0, -4.0], [13.0, 6.0])})
    np.testing.assert_allclose(both.x, [11.0, 3.0], atol=0.4)  # in the order of the ranges
    dip = fg.fit_profile(X, 50 - y, bounds={"amplitude": (None, 0.0)})
    assert dip.x[0] == pytest.approx(3.0, abs=0.1) and dip.amplitude[0] < 0


def test_each_profile_has_its_own_numbers():
    y = np.stack([noisy(k, peaks=[[50.0, 3.0 + k, 1.0]]) for k in range(3)])
    centres = np.array([3.0, 4.0, 5.0])
    fit = fg.fit_profile(X, y, fixed={"x": centres, "offset": [9.0, 10.0, 11.0]})
    np.testing.assert_array_equal(fit.x, centres)
    np.testing.assert_array_equal(fit.offset, [9.0, 10.0, 11.0])
    alone = fg.fit_profile(X, y[1], fixed={"x": 4.0, "offset": 10.0})
    np.testing.assert_array_equal(fit[1].params, alone.params)


def test_a_line_has_a_slope_that_may_be_known():
    y = noisy(4, slope=0.5)
    fit = fg.fit_profile(X, y, 1.0, peaks=2, background="linear", fixed={"slope": 0.5})
    np.testing.assert_array_equal(fit.slope, 0.5)
    assert (fit.dof == len(X) - 7).all() and fit.p_value[0] > 1e-3
    held = fg.fit_profile(X, y, 1.0, peaks=2, background="linear", bounds={"slope": (None, 0.2)})
    assert (held.slope == 0.2).all() and held.at_bound[:, 3].all()
    assert (held.status == fg.Status.AT_BOUND).all()
    base = fg.fit_profile(X, y - 0.5 * X, 1.0, peaks=2, bounds={"offset": (12.0, None)})
    assert (base.offset == 12.0).all() and (base.offset_error == 0).all()


def test_a_guess_starts_within_the_ranges():
    y = noisy(5)
    fit = fg.fit_profile(X, y, 1.0, peaks=2, guess=[9.0, 2.0], bounds={"x": ([4, 1], [6, 3])})
    np.testing.assert_allclose(fit.x, [5.1, 2.0], atol=0.1)
    whole = {"amplitude": [70, 40], "x": [5.1, 2.0], "sigma": [1.2, 0.9], "offset": 10.0}
    known = fg.fit_profile(X, y, 1.0, peaks=2, fixed=whole)
    assert (known.dof == len(X)).all() and known.converged.all() and (known.errors == 0).all()
    expected = ((y - curve(X, TWO, 10.0)) ** 2).sum()
    np.testing.assert_allclose(known.objective, expected, rtol=1e-12)
    assert np.isnan(fg.fit_profile(X, np.full(121, np.nan), fixed={"offset": 1.0}).params).all()


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"fixed": {"width": 1.0}}, ValueError, "fixed must be one of"),
        ({"fixed": 3.0}, TypeError, "fixed must be a dict"),
        ({"fixed": {"sigma": -1.0}}, ValueError, "sigma must be allowed to be positive"),
        ({"fixed": {"sigma": np.nan}}, ValueError, r"fixed\['sigma'\] must"),
        ({"fixed": {"x": None}}, TypeError, r"fixed\['x'\] must be a number or an array, got None"),
        ({"fixed": {"x": [1.0, 2.0, 3.0]}}, ValueError, r"shape \(2,\) or \(1, 2\), got \(3,\)"),
        ({"fixed": {"slope": 1.0}}, ValueError, "fixed must be one of"),
        ({"background": "linear", "bounds": {"offset": (0, 1)}}, ValueError, "'slope'"),
        ({"bounds": {"x": (3.0, 3.0)}}, ValueError, "lower < upper; use fixed="),
        ({"bounds": {"x": 3.0}}, ValueError, r"bounds\['x'\] must be a pair"),
        ({"bounds": {"x": "ab"}}, ValueError, "must be a pair"),
        ({"bounds": {"x": (np.nan, 1.0)}}, ValueError, "must not be NaN"),
        ({"bounds": {"x": (0, 1)}, "fixed": {"x": 1.0}}, ValueError, "both fixed and bounds"),
    ],
)
def test_what_is_wrong_is_named(options, error, reason):
    with pytest.raises(error, match=reason):
        fg.fit_profile(X, noisy(), peaks=2, **options)
