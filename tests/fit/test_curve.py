"""Models of the caller: the solver behind make_curve_fit, and its place in other people's code."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from numba import njit
from numpy.testing import assert_allclose

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.kernels.fit.curve_fit import make_curve_fit
from fastgauss.kernels.numeric.special import exp

LANCZOS = np.array([0.0951, 1.0, 0.8607, 3.0, 1.5576, 5.0])


def _decays(x, p):
    a, b, c, d, e, f = p
    u, v, w = exp(-b * x), exp(-d * x), exp(-f * x)
    return a * u + c * v + e * w, (u, -a * x * u, v, -c * x * v, w, -e * x * w)


def _line(x, p):
    return p[0] + p[1] * x, (1.0, x)


_fit_decays = make_curve_fit(_decays, 6)
_fit_line = make_curve_fit(_line, 2)


@njit
def decays(x, y, start, tol, max_iter):
    return _fit_decays(x, y, np.ones_like(x), start, tol, max_iter)


@njit
def line(x, y, weights, start):
    return _fit_line(x, y, weights, start, 1e-6, 50)


def _line_of_parts(x, p):
    def by_place(value):
        return value * x

    return p[0] + by_place(p[1]), (1.0, x)


def test_the_callers_function_may_contain_all_that_numba_knows():
    fit = make_curve_fit(_line_of_parts, 2)

    @njit
    def run(x, y):
        return fit(x, y, np.ones_like(x), np.ones((1, 2)), 1e-6, 50)

    x = np.arange(1.0, 9.0)[None]
    assert_allclose(run(x, 3.0 - 0.5 * x)[0], [[3.0, -0.5]], rtol=1e-9)


@pytest.mark.parametrize("start", [[1.2, 0.3, 5.6, 5.5, 6.5, 7.6], [0.5, 0.7, 3.6, 4.2, 4.0, 6.3]])
@pytest.mark.parametrize("places", [14, 6, 4])
def test_lanczos_comes_out_to_seven_digits_of_scipy(start, places):
    from scipy.optimize import least_squares

    x = np.arange(24) * 0.05
    y = _decays(x, tuple(LANCZOS))[0].round(places)
    max_iter = 40 if JIT_DISABLED else 1000
    params, *_, status, _ = decays(x[None], y[None], np.array([start]), 1e-9, max_iter)
    best = least_squares(
        lambda p: _decays(x, tuple(p))[0] - y, LANCZOS, x_scale="jac", method="lm",
        xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=5000,
    ).x  # fmt: skip
    if JIT_DISABLED and status[0] != fg.Status.CONVERGED:
        pytest.skip("slow as plain Python")
    assert status[0] == fg.Status.CONVERGED
    assert_allclose(params[0], best, rtol={14: 1e-7, 6: 1e-7, 4: 1e-4}[places])  # scipy's own


def test_a_line_is_the_closed_form_with_its_covariance():
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 7, (1, 30))
    y = 2.0 + 0.7 * x + rng.normal(0, 0.3, (11, 30))
    weights = rng.uniform(0.5, 2.0, (11, 30))
    weights[3, 4:9] = 0.0
    y[5, 6] = np.nan
    y[7, 2:] = np.nan
    params, covariance, objective, status, _ = line(x, y, weights, np.zeros((11, 2)))
    assert status.tolist() == [0] * 11
    for k in range(11):
        there = np.isfinite(y[k]) & (weights[k] > 0)
        a = np.stack([np.ones(there.sum()), x[0, there]], axis=1)
        w = weights[k, there]
        gram = a.T @ (w[:, None] * a)
        expected = np.linalg.solve(gram, a.T @ (w * y[k, there]))
        assert_allclose(params[k], expected, rtol=1e-9)
        residual = (w * (y[k, there] - a @ expected) ** 2).sum()
        assert_allclose(objective[k], residual, rtol=1e-9, atol=1e-20)
        if there.sum() > 2:
            variance = residual / (there.sum() - 2)
            assert_allclose(covariance[k], variance * np.linalg.inv(gram), rtol=1e-9)
    few = line(x[:, :1], y[:2, :1], np.ones((1, 1)), np.zeros((2, 2)))
    assert few[3].tolist() == [fg.Status.TOO_FEW_PIXELS] * 2 and np.isnan(few[0]).all()
    flat = line(np.ones((1, 9)), y[:1, :9], np.ones((1, 9)), np.zeros((1, 2)))
    assert flat[3][0] == fg.Status.SINGULAR and np.isnan(flat[1]).all()


@pytest.mark.skipif(JIT_DISABLED, reason="about compiled code")
def test_the_callers_cache_is_hit_in_a_new_process(tmp_path):
    (tmp_path / "mine.py").write_text(
        textwrap.dedent(
            """
            import numpy as np
            from numba import njit
            from fastgauss.kernels.fit.curve_fit import make_curve_fit

            def line(x, p):
                return p[0] + p[1] * x, (1.0, x)

            fit = make_curve_fit(line, 2)

            @njit(cache=True)
            def mine(x, y, start):
                return fit(x, y, np.ones_like(x), start, 1e-6, 50)

            x = np.arange(9.0).reshape(1, 9)
            print(mine(x, 2 + 3 * x, np.zeros((1, 2)))[0].round(9).tolist())
            print(sum(mine.stats.cache_hits.values()), sum(mine.stats.cache_misses.values()))
            """
        )
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    for hits in ("0 1", "1 0"):
        done = subprocess.run(
            [sys.executable, "mine.py"], cwd=tmp_path, env=environment, capture_output=True,
            text=True, timeout=120, check=True,
        )  # fmt: skip
        assert done.stdout.splitlines() == ["[[2.0, 3.0]]", hits]
