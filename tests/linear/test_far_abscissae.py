"""Polynomials at times that do not begin at 0: days since antiquity, seconds since 1970."""

import numpy as np
import pytest

import fastgauss as fg

TIMES = {
    "Julian days": 2460000.5 + np.arange(150.0) / 24,
    "seconds": 1.7e9 + np.arange(150.0),
    "minutes before": -1e8 + 60.0 * np.arange(150.0),
}


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("times", TIMES)
def test_evaluate_gives_the_data_back(times, order):
    x, t = TIMES[times], np.linspace(-1, 1, 150)
    rows = np.stack([4.0 + 30 * t, 4.0 - 20 * t**2 + 7 * t, 9 * t**3 - t])[:order]
    rows = np.concatenate([rows, rows])
    rows[-1, 5] = np.nan  # a row that lacks a number goes another way
    fit = fg.fit_lines(rows, x=x, order=order)
    assert (fit.status == fg.linear.line_fits.LineStatus.GOOD).all()
    there = np.isfinite(rows)
    np.testing.assert_allclose(fit.evaluate(x)[there], rows[there], atol=1e-6)
    assert fit.centred.shape == fit.coefficients.shape
    assert set(fit.to_dict()) == {
        "coefficients", "errors", "covariance", "rms", "count", "status"
    }  # fmt: skip
