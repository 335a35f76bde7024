"""exp, log, erf, erfc, sin against mpmath over their whole domains, for lanes and scalars."""

import mpmath as mp
import numpy as np
import pytest
from tolerances import TOLERANCE

from fastgauss.kernels._compile import JIT_DISABLED, kernel
from fastgauss.kernels.numeric import special
from fastgauss.kernels.simd import lane_types, lanes

RNG = np.random.default_rng(11)
COUNT = 96 if JIT_DISABLED else 2000
LEAST = 2.2250738585072014e-308  # normal number


def _make(function):
    @kernel
    def over_lanes(x, out):
        for i in range(0, x.size, lane_types.WIDTH):
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


def _exact_erfcx(x):
    """By the asymptotic series where exp(x**2) is large."""
    if x < 20:
        with mp.workprec(800):
            return mp.exp(x * x) * mp.erfc(x)
    terms = [(-1) ** k * mp.fac2(2 * k - 1) / (2 * x * x) ** k for k in range(12)]
    return sum(terms) / (x * mp.sqrt(mp.pi))


_NEGATIVE = -np.concatenate([RNG.exponential(5, COUNT), RNG.uniform(0, 700, COUNT), [0.0, 1e-300]])
_SIGNED = np.concatenate([RNG.uniform(-708.39, 709.7, COUNT), RNG.normal(0, 1e-3, COUNT)])
_NEAR_ONE = 1.0 + RNG.choice([-1.0, 1.0], COUNT) * 10.0 ** RNG.uniform(-16, -1, COUNT)
_CASES = {
    "exp_negative": (mp.exp, _NEGATIVE),
    "exp_flushed": (mp.exp, np.concatenate([_NEGATIVE, -RNG.uniform(700, 708.39, COUNT)])),
    "exp": (mp.exp, np.concatenate([_SIGNED, [709.78, 0.0, 1e-320]])),
    "exp, denormal": (mp.exp, np.append(RNG.uniform(-745.1, -708.4, COUNT), -745.2)),
    "log": (
        mp.log,
        np.concatenate(
            [
                10.0 ** RNG.uniform(-323, 308, COUNT),
                RNG.uniform(0.5, 2, COUNT),
                _NEAR_ONE,
                [5e-324, LEAST, 1.0, np.finfo(float).max],
            ]
        ),
    ),
    "erf": (
        mp.erf,
        np.concatenate(
            [
                RNG.normal(0, 1.5, COUNT),
                RNG.uniform(-7, 7, COUNT),
                10.0 ** RNG.uniform(-320, 0, COUNT // 4),
            ]
        ),
    ),
    "erfc": (
        mp.erfc,
        np.concatenate([RNG.uniform(-6, 26.5, COUNT), RNG.normal(0, 1, COUNT), [27.0, 27.2, 27.3]]),
    ),
    "erfcx": (
        _exact_erfcx,
        np.concatenate(
            [RNG.uniform(0, 9, COUNT), 10.0 ** RNG.uniform(-9, 4, COUNT), [0.0, 1e9, 1e299]]
        ),
    ),
    "sin_octant": (
        mp.sin,
        np.concatenate(
            [RNG.uniform(-np.pi / 4, np.pi / 4, 2 * COUNT), 10.0 ** RNG.uniform(-300, -1, COUNT)]
        ),
    ),
}


def _padded(x):
    return np.concatenate([x, np.full(-x.size % lane_types.WIDTH, x[-1])])


@pytest.mark.parametrize("name", _CASES)
def test_errors_stay_within_the_stated_bounds(name):
    exact, points = _CASES[name]
    x = _padded(points)
    out = np.empty_like(x)
    function = getattr(special, name.split(",")[0])
    _make(function)(x, out)
    assert _ulps(out, x, exact) <= TOLERANCE["ulp"][name]
    single = np.empty_like(x)
    _make_scalar(function)(x, single)
    np.testing.assert_array_equal(single, out)


def test_exp_to_single_is_as_accurate_as_float32_shows():
    x = _padded(-np.concatenate([RNG.uniform(0, 87.336, 4 * COUNT), RNG.exponential(1, COUNT)]))
    out, single = np.empty_like(x), np.empty_like(x)
    _make(special.exp_to_single)(x, out)
    _make_scalar(special.exp_to_single)(x, single)
    np.testing.assert_array_equal(single, out)
    np.testing.assert_allclose(out, np.exp(x), rtol=TOLERANCE["exp to float32"])
    assert np.abs(out / np.exp(x) - 1).max() > 0.3 * TOLERANCE["exp to float32"]


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("exp", [np.nan, np.inf, -np.inf, 710.0, -746.0, 0.0, -0.0, 1e308],
         [np.nan, np.inf, 0.0, np.inf, 0.0, 1.0, 1.0, np.inf]),
        ("exp_negative", [np.nan, -0.0, 0.0, -1e-320, 0.0, 0.0, 0.0, 0.0],
         [np.nan, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("exp_flushed", [np.nan, -np.inf, -708.5, -0.0, 1e-320, -1e308, -745.0, 0.0],
         [np.nan, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]),
        ("exp_to_single", [np.nan, -np.inf, -87.4, -0.0, 1e-320, -1e308, -745.0, 0.0],
         [np.nan, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]),
        ("log", [np.nan, 0.0, -0.0, -1.0, np.inf, 1.0, -np.inf, -1e-320],
         [np.nan, -np.inf, -np.inf, np.nan, np.inf, 0.0, np.nan, np.nan]),
        ("erf", [np.nan, 0.0, np.inf, -np.inf, 1e300, -1e300, 1e-320, -0.0],
         [np.nan, 0.0, 1.0, -1.0, 1.0, -1.0, 1.128e-320, 0.0]),
        ("erfc", [np.nan, 0.0, np.inf, -np.inf, 1e300, -1e300, 1e-320, 28.0],
         [np.nan, 1.0, 0.0, 2.0, 0.0, 2.0, 1.0, 0.0]),
        ("erfcx", [np.nan, 0.0, 1e-320, 0.0, 0.0, 0.0, 0.0, 0.0],
         [np.nan, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
    ],
)  # fmt: skip
def test_special_arguments(name, x, expected):
    for make in (_make, _make_scalar):
        out = np.empty(8)
        make(getattr(special, name))(np.array(x), out)
        np.testing.assert_allclose(out, expected, rtol=1e-15, atol=1e-323)


def test_a_lane_does_not_depend_on_its_neighbours():
    x = RNG.uniform(-30, 3, lane_types.WIDTH)
    rough = np.array([np.nan, np.inf, -np.inf, 1e300, -1e300, 0.0, 5e-324])
    for name in (
        "exp",
        "exp_negative",
        "exp_flushed",
        "exp_to_single",
        "log",
        "erf",
        "erfc",
        "erfcx",
    ):
        run, out = _make(getattr(special, name)), np.empty(lane_types.WIDTH)
        run(x, out)
        for others in (rough, rough[::-1]):
            mixed = np.append(x[:1], others)[: lane_types.WIDTH]
            other = np.empty_like(mixed)
            run(mixed, other)
            assert other[0] == out[0] or np.isnan(out[0])


def test_exp_of_float32_lanes_stays_float32():
    x = np.concatenate(
        [
            RNG.uniform(-103, 88.7, 4000).astype(np.float32),
            np.array([0, -0.0, 100, -200, np.inf, -np.inf, np.nan, -103.9, 88.72] + [1e-30] * 7),
        ],
        dtype=np.float32,
    )

    width = lane_types.WIDTH if JIT_DISABLED else 2 * lane_types.WIDTH

    @kernel
    def single(x, out):
        for i in range(0, x.size, width):
            lanes.store(out, i, special.exp(lanes.load(x, i)))

    out = np.empty_like(x)
    single(x, out)
    with np.errstate(over="ignore", under="ignore"):
        exact = np.exp(x.astype(np.float64))
        nearest = exact.astype(np.float32)
    finite = np.isfinite(nearest)
    error = np.abs(out[finite] - exact[finite]) / np.spacing(nearest[finite])
    assert error.max() <= TOLERANCE["ulp"]["exp, float32"]
    np.testing.assert_array_equal(out[~finite], nearest[~finite])


def test_a_float32_scalar_gives_all_digits_of_float64():
    x = np.linspace(-5, 5, 16, dtype=np.float32)
    out = np.empty(x.size)
    _make_scalar(special.exp)(x, out)
    np.testing.assert_allclose(out, np.exp(x.astype(np.float64)), rtol=3e-16)


@kernel
def _ratios(d, m, inverse, logarithm):
    for i in range(0, d.size, lane_types.WIDTH):
        w, s, k = special.divide_ratio(lanes.load(d, i), lanes.load(m, i))
        lanes.store(inverse, i, w)
        lanes.store(logarithm, i, special.log_of_ratio(s, k))


@pytest.mark.parametrize("near", [True, False])
def test_one_division_gives_a_reciprocal_and_the_logarithm_of_a_ratio(near):
    m = np.exp(RNG.uniform(-340, 340, COUNT // 8 * 8))
    d = m * np.exp(RNG.normal(0, 0.1, m.size)) if near else np.exp(RNG.uniform(-340, 340, m.size))
    inverse, logarithm = np.empty_like(m), np.empty_like(m)
    _ratios(d, m, inverse, logarithm)
    assert _ulps(inverse, m, lambda x: 1 / x) <= 2.0
    with mp.workprec(160):
        pairs = zip(d, m, strict=True)
        truth = [float(mp.log(mp.mpf(float(a)) / mp.mpf(float(b)))) for a, b in pairs]
    assert (np.abs(logarithm - truth) / np.spacing(np.abs(truth))).max() <= 5.0


def test_the_logarithm_of_a_ratio_stays_finite_where_nothing_was_counted():
    m = np.resize([1e-150, 3e-8, 1.0, 1e150], 8)
    inverse, logarithm = np.empty(8), np.empty(8)
    _ratios(np.zeros(8), m, inverse, logarithm)
    assert np.isfinite(logarithm).all() and (logarithm < -300).all()
    np.testing.assert_allclose(inverse, 1 / m, rtol=5e-16)
