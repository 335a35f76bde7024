"""exp, log, erf, erfc against mpmath over their whole domains, for lanes and scalars."""

import mpmath as mp
import numpy as np
import pytest
from tolerances import TOLERANCE

from fastgauss.kernels import lanes, special
from fastgauss.kernels._compile import JIT_DISABLED, kernel

RNG = np.random.default_rng(11)
COUNT = 96 if JIT_DISABLED else 2000


def _make(function):
    @kernel
    def over_lanes(x, out):
        for i in range(0, x.size, lanes.WIDTH):
            lanes.store(out, i, function(lanes.load(x, i)))

    return over_lanes


def _make_scalar(function):
    @kernel
    def over_scalars(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    return over_scalars


def _ulps(values, x, exact):
    """Largest distance to the exact function in units of the last place of the result."""
    worst = 0.0
    with mp.workprec(160):
        for value, point in zip(values, x, strict=True):
            truth = exact(mp.mpf(float(point)))
            nearest = float(truth)
            if np.isinf(nearest) or nearest == 0.0:
                assert value == nearest, point
                continue
            unit = abs(np.spacing(nearest))
            worst = max(worst, abs(float((mp.mpf(float(value)) - truth) / mp.mpf(float(unit)))))
    return worst


_NEGATIVE = -np.concatenate([RNG.exponential(5, COUNT), RNG.uniform(0, 700, COUNT), [0.0, 1e-300]])
_SIGNED = np.concatenate([RNG.uniform(-745, 709.7, COUNT), RNG.normal(0, 1e-3, COUNT)])
_CASES = {
    "exp_negative": (mp.exp, _NEGATIVE),
    "exp": (mp.exp, np.concatenate([_SIGNED, [709.78, -708.4, -744.9, 0.0, 1e-320]])),
    "expm1_negative": (mp.expm1, np.concatenate([_NEGATIVE, -RNG.uniform(0.6, 0.8, COUNT)])),
    "log": (
        mp.log,
        np.concatenate(
            [10.0 ** RNG.uniform(-323, 308, COUNT), RNG.uniform(0.5, 2, COUNT), [5e-324, 1.0]]
        ),
    ),
    "erf": (mp.erf, np.concatenate([RNG.normal(0, 1.5, COUNT), RNG.uniform(-7, 7, COUNT)])),
    "erfc": (mp.erfc, np.concatenate([RNG.uniform(-6, 26.5, COUNT), RNG.normal(0, 1, COUNT)])),
}


def _padded(x):
    return np.concatenate([x, np.full(-x.size % lanes.WIDTH, x[-1])])


@pytest.mark.parametrize("name", _CASES)
def test_errors_stay_within_the_stated_bounds(name):
    exact, points = _CASES[name]
    x = _padded(points)
    out = np.empty_like(x)
    _make(getattr(special, name))(x, out)
    assert _ulps(out, x, exact) <= TOLERANCE["ulp"][name]
    single = np.empty_like(x)
    _make_scalar(getattr(special, name))(x, single)
    np.testing.assert_array_equal(single, out)


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("exp", [np.nan, np.inf, -np.inf, 710.0, -746.0, 0.0, -0.0, 1e308],
         [np.nan, np.inf, 0.0, np.inf, 0.0, 1.0, 1.0, np.inf]),
        ("exp_negative", [np.nan, -0.0, 0.0, -1e-320, 0.0, 0.0, 0.0, 0.0],
         [np.nan, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("expm1_negative", [np.nan, -0.0, -np.inf, -1e-300, -800.0, 0.0, 0.0, 0.0],
         [np.nan, 0.0, -1.0, -1e-300, -1.0, 0.0, 0.0, 0.0]),
        ("log", [np.nan, 0.0, -0.0, -1.0, np.inf, 1.0, -np.inf, -1e-320],
         [np.nan, -np.inf, -np.inf, np.nan, np.inf, 0.0, np.nan, np.nan]),
        ("erf", [np.nan, 0.0, np.inf, -np.inf, 1e300, -1e300, 1e-320, -0.0],
         [np.nan, 0.0, 1.0, -1.0, 1.0, -1.0, 1e-320, 0.0]),
        ("erfc", [np.nan, 0.0, np.inf, -np.inf, 1e300, -1e300, 1e-320, 28.0],
         [np.nan, 1.0, 0.0, 2.0, 0.0, 2.0, 1.0, 0.0]),
    ],
)  # fmt: skip
def test_special_arguments(name, x, expected):
    out = np.empty(8)
    _make(getattr(special, name))(np.array(x), out)
    np.testing.assert_allclose(out, expected, rtol=1e-15, atol=1e-320)
