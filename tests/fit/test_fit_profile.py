"""fit_profile: the peaks of curve_fit, without its starting values."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import curve_fit

import fastgauss as fg


def curve(x, peaks, offset=0.0, slope=0.0):
    x = np.asarray(x)[..., np.newaxis]
    a, c, s = np.transpose(peaks)
    return (a * np.exp(-((x - c) ** 2) / (2 * s**2))).sum(axis=-1) + offset + slope * x[..., 0]


X = np.linspace(-4.0, 16.0, 161)
TWO = [[40.0, 2.0, 0.9], [70.0, 5.1, 1.2]]


@pytest.mark.parametrize("background", ["constant", "linear"])
@pytest.mark.parametrize("known", [False, True])
def test_peaks_and_errors_are_those_of_curve_fit(background, known):
    rng = np.random.default_rng(4)
    slope = 0.7 if background == "linear" else 0.0
    yerr = rng.uniform(0.5, 2.0, len(X))
    y = curve(X, TWO, 10.0, slope) + rng.normal(0, yerr)
    fit = fg.fit_profile(X, y, yerr if known else None, peaks=2, background=background)

    def model(x, a, c, s, a2, c2, s2, offset, *rest):
        return curve(x, [[a, c, s], [a2, c2, s2]], offset, *rest)

    start = [*np.ravel(TWO), 10.0, *([0.7] if slope else [])]
    sigma = {"sigma": yerr, "absolute_sigma": True} if known else {}
    values, covariance = curve_fit(model, X, y, start, ftol=1e-13, xtol=1e-13, **sigma)
    errors = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(fit.params[:, :3].ravel(), values[:6], rtol=1e-6)
    np.testing.assert_allclose(fit.errors[:, :3].ravel(), errors[:6], rtol=1e-4)
    np.testing.assert_allclose(fit.evaluate(X), model(X, *values), rtol=1e-6)
    lines = values[6] + (values[7] * fit.x if slope else 0.0)
    np.testing.assert_allclose(fit.offset, lines, rtol=1e-6)
    np.testing.assert_allclose(fit.slope, values[7] if slope else 0.0, rtol=1e-5)
    assert (fit.dof == len(X) - len(values)).all() and fit.absolute == known
    assert fit.converged.all() and fit.length == "coords" and fit.frames is None
    under = np.zeros((2, len(values)))
    under[:, 6] = 1.0
    if slope:
        under[:, 7], under[[0, 1], [1, 4]] = fit.x, values[7]
    expected = np.sqrt(np.einsum("ki,ij,kj->k", under, covariance, under))
    np.testing.assert_allclose(fit.offset_error, expected, rtol=1e-3)


def test_one_peak_is_that_of_fit_rois():
    y = curve(X, [[30.0, 9.7, 0.6]], 4.0) + np.random.default_rng(1).normal(size=(3, len(X)))
    many = fg.fit_profile(X, y, 1.0)
    rois = fg.fit_rois(y, coords=X, error=np.ones(len(X)))
    np.testing.assert_allclose(many.params, rois.params, rtol=1e-6)
    np.testing.assert_allclose(many.errors, rois.errors, rtol=1e-5)
    np.testing.assert_allclose(many.objective, rois.objective, rtol=1e-9)
    assert many.frames.tolist() == [0, 1, 2] and many.evaluate(X).shape == (3, len(X))
    one = fg.fit_profile(np.tile(X, (3, 1)), y, np.ones(len(X)))[1]
    np.testing.assert_array_equal(one.params, many[1].params)


def test_crowded_peaks_are_found():
    rng = np.random.default_rng(7)
    for _ in range(8):
        centres = np.cumsum(rng.uniform(2.0, 3.0, 3))
        peaks = np.column_stack([rng.uniform(50, 200, 3), centres, rng.uniform(0.6, 0.9, 3)])
        x = np.sort(rng.uniform(0, 11, 140))
        y = curve(x, peaks, 10.0) + rng.normal(size=140)
        fit = fg.fit_profile(x, y, 1.0, peaks=3)
        best = fg.fit_profile(x, y, 1.0, peaks=3, guess=peaks)
        np.testing.assert_allclose(fit.objective, best.objective, rtol=1e-6)
        order = rng.permutation(140)
        again = fg.fit_profile(x[order], y[order], 1.0, peaks=3)
        np.testing.assert_allclose(again.params, fit.params, rtol=1e-4)


def test_p_values_are_uniform():
    rng = np.random.default_rng(2)
    x = np.arange(30.0)
    y = curve(x, [[20.0, 12.3, 2.5]], 5.0, 0.1) + rng.normal(size=(150, 30))
    fit = fg.fit_profile(x, y, 1.0, background="linear")
    assert stats.kstest(fit.p_value, "uniform").pvalue > 1e-3
    assert 0.85 < ((fit.x - 12.3) / fit.x_error).std() < 1.15


@settings(max_examples=20, deadline=None)
@given(
    st.floats(1e-6, 1e6), st.floats(-1e4, 1e4), st.floats(1e-100, 1e100), st.floats(-1e3, 1e3),
    st.sampled_from([-1.0, 1.0]),
)  # fmt: skip
def test_units_do_not_matter(a, b, c, d, side):
    rng = np.random.default_rng(3)
    y = curve(X, [[30.0, 9.7, 0.6]], 4.0) + rng.normal(size=len(X))
    plain = fg.fit_profile(X, y)
    fit = fg.fit_profile(a * (X + b), side * c * (y + d))
    np.testing.assert_allclose(fit.x / a - b, plain.x, rtol=1e-6)
    np.testing.assert_allclose(fit.sigma / a, plain.sigma, rtol=1e-5)
    np.testing.assert_allclose(side * fit.amplitude / c, plain.amplitude, rtol=1e-5)
    np.testing.assert_allclose(fit.x_error / a, plain.x_error, rtol=1e-4)


def test_absorption_lines_and_polarity():
    dip, bump = [-40.0, 3.0, 0.7], [25.0, 11.0, 1.0]
    y = curve(X, [dip, bump], 100.0)
    np.testing.assert_allclose(fg.fit_profile(X, y, peaks=2).params[:, :3], [dip, bump], rtol=1e-6)
    assert fg.fit_profile(X, y).x[0] == pytest.approx(3.0, abs=0.2)
    for polarity, place in (("bright", 11.0), ("dark", 3.0)):
        fit = fg.fit_profile(X, y, polarity=polarity)
        assert fit.x[0] == pytest.approx(place, abs=0.3)
    for guess in ([11.0], [[1.0, 11.0, 1.0]]):
        assert fg.fit_profile(X, y, guess=guess).x[0] == pytest.approx(11.0, abs=0.3)


@pytest.mark.parametrize("apart", [6.0, 7.5])
def test_peaks_that_overlap_do_not_cancel_unless_allowed(apart):
    x, rng = np.linspace(0, 50, 150), np.random.default_rng(8)
    peaks = [[100.0, 22.0, 2.5], [60.0, 22.0 + apart, 2.5]]
    y = curve(x, peaks, 20.0) + rng.normal(0, 4, (25, 150))
    fit = fg.fit_profile(x, y, 4.0, peaks=2)
    assert (fit.amplitude > 0).all() and fit.converged.all()
    free = fg.fit_profile(x, y, 4.0, peaks=2, bounds={"amplitude": (None, None)})
    assert (free.objective <= fit.objective * (1 + 1e-9)).all()
    assert (free.amplitude < 0).any() or apart > 7
    dark = fg.fit_profile(x, -y[:5], 4.0, peaks=2)
    np.testing.assert_allclose(dark.amplitude, -fit.amplitude[:10], rtol=1e-3)


def test_a_pair_of_opposite_sign_that_the_data_show_stays():
    peaks = [[60.0, 5.0, 2.0], [-60.0, 8.0, 1.5]]
    y = curve(X, peaks, 10.0) + np.random.default_rng(1).normal(size=len(X))
    for bounds in (None, {"amplitude": (None, None)}):
        fit = fg.fit_profile(X, y, 1.0, peaks=2, bounds=bounds)
        np.testing.assert_allclose(fit.amplitude, [60.0, -60.0], rtol=0.1)


def test_missing_values_and_what_cannot_be_fitted():
    y = np.tile(curve(X, [[30.0, 9.7, 0.6]], 4.0), (5, 1))
    y[0, ::7] = np.nan
    y[1, 3] = np.inf
    y[2, 3:] = np.nan
    y[3] = 8.0
    fit = fg.fit_profile(X, y)
    np.testing.assert_allclose(fit.x[[0, 1, 4]], 9.7, rtol=1e-6)
    names = [fg.Status(code).name for code in fit.status]
    assert names == ["CONVERGED", "CONVERGED", "TOO_FEW_PIXELS", "SINGULAR", "CONVERGED"]
    assert fit.pixels.tolist() == [138, 160, 3, 161, 161]
    known = np.where(np.isfinite(y), 0.1, np.nan)  # NaN where y is missing
    with_errors = fg.fit_profile(X, y, known)
    assert with_errors.pixels.tolist() == fit.pixels.tolist()
    np.testing.assert_allclose(with_errors.x, fit.x, rtol=1e-6)
    assert np.isnan(fit.params[2]).all() and np.isnan(fit.errors[3]).all()
    assert "fewer pixels" in fit.explain(2).text
    assert fg.fit_profile(np.full(161, 2.0), y[4]).status[0] == fg.Status.SINGULAR
    assert fg.fit_profile(X, y[4] * 1e300, 1e-300).status[0] == fg.Status.NOT_FINITE
    assert fg.fit_profile(X, y[4], max_iter=1).status[0] == fg.Status.MAX_ITERATIONS
    none = fg.fit_profile(X, np.empty((0, 161)), peaks=2)
    assert len(none) == 0 and none.evaluate(X).shape == (0, 161) and len(none.slope) == 0


def test_a_number_guesses_the_centre_of_one_peak():
    y = curve(X, TWO)
    one = fg.fit_profile(X, y, guess=TWO[0][1])
    assert (one.params == fg.fit_profile(X, y, guess=[TWO[0][1]]).params).all()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"x": X[:-1]}, "x must have shape"),
        ({"x": 3.0}, "x must have shape"),
        ({"x": "one.csv"}, "x must hold real numbers, got 'one.csv': a file has to be read first"),
        ({"x": "one.csv", "y": None}, "x must hold real numbers, got 'one.csv': a file has to"),
        (
            {"y": None},
            r"y must be given beside x, .*\(161,\): if these are values y.*arange\(n\), y\)",
        ),
        ({"x": np.ones((9, 2)), "y": None}, r"\(9, 2\): give its columns, x\[:, 0\] and x\[:, 1\]"),
        ({"x": np.ones((3, 9)), "y": None}, r"which has shape \(3, 9\): .* x\[0\] and x\[1\]"),
        ({"guess": 2.0, "peaks": 2}, r"guess must have shape \(2,\) or \(2, 3\) for 2 peaks"),
        ({"y": np.ones((161, 2))}, r"y must have shape \(161,\) or \(n, 161\), as x, .*y\.T"),
        ({"x": [], "y": []}, r"y must have points, got none in shape \(0,\)"),
        (
            {"yerr": np.where(np.arange(161) == 5, np.nan, 1)},
            r"got nan at index \(5,\), where y is .*; make y",
        ),
        ({"x": np.full(161, np.nan)}, "x must be finite, got nan"),
        ({"y": 3.0}, "y must have 1 or 2 dimensions"),
        ({"yerr": np.zeros(161)}, "yerr must be positive, got 0.0"),
        ({"yerr": np.ones(3)}, "yerr must have shape"),
        ({"peaks": 0}, "peaks must be"),
        ({"peaks": 1.5}, "peaks must be an integer"),
        ({"background": "cubic"}, "background must be one of"),
        ({"polarity": "up"}, "polarity must be one of"),
        ({"guess": [1.0, 2.0]}, r"guess must have shape \(1,\) or \(1, 3\) for 1 peak, got"),
        ({"guess": [[1.0, 2.0, -1.0]]}, "guess must have positive sigmas"),
        ({"max_iter": 0}, "max_iter must be"),
    ],
)
def test_arguments_that_are_wrong(options, reason):
    arguments = {"x": X, "y": curve(X, TWO)} | options
    with pytest.raises((ValueError, TypeError), match=reason):
        fg.fit_profile(**arguments)


def test_a_fit_is_a_result_and_draws_itself(tmp_path):
    pytest.importorskip("matplotlib")
    fit = fg.fit_profile(X, np.stack([curve(X, TWO, 1.0)] * 2), peaks=2)
    assert repr(fit).startswith("ProfileFit(symmetric, 4 peaks, 4 converged")
    figure = fit.plot(1)
    assert [axes.get_ylabel() for axes in figure.axes] == ["y", "residual"]
    assert np.abs(figure.axes[1].lines[0].get_ydata()).max() < 1e-6
    assert [len(axes.collections) for axes in figure.axes] == [0, 0]
    y, error = curve(X, TWO, 1.0), np.linspace(0.1, 0.2, 161)
    y[3], error[3] = np.nan, np.nan
    for axes, middle in zip(
        fg.fit_profile(X, y, error, peaks=2).plot().axes, (y, 0.0 * y), strict=True
    ):
        (bars,) = axes.collections
        ends = np.array([part for part in bars.get_segments() if len(part)])[:, :, 1]
        shown = np.isfinite(y)
        wanted = middle[shown, None] + error[shown, None] * [-1, 1]
        np.testing.assert_allclose(ends[np.isfinite(ends).all(axis=1)], wanted, atol=1e-5)
    assert figure._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="profile must be below 2, got 2"):
        fit.plot(2)
    fit.save(tmp_path / "a.csv")
    again = fg.FitResult.load(tmp_path / "a.csv")
    np.testing.assert_array_equal(again.params, fit.params)
    assert again.length == "coords" and again["frame"].tolist() == [0, 0, 1, 1]
    copy = pickle.loads(pickle.dumps(fit))
    np.testing.assert_array_equal(copy.evaluate(X), fit.evaluate(X))
    assert type(fit[:1]) is fg.FitResult
