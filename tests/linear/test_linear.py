"""``fit_lines`` and ``level`` against numpy.polyfit, a twin and scipy.signal.detrend."""

import naive_linear
import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

compiled = pytest.mark.skipif(JIT_DISABLED, reason="too much work for the interpreter")
CLOSE = TOLERANCE["lines"]


def _compare(fit, at, expected):
    coefficients, covariance, rms, count = expected
    scale = np.abs(coefficients).max() + 1e-300
    assert_allclose(fit.coefficients[at], coefficients, rtol=0, atol=CLOSE * scale)
    finite = np.nan_to_num(np.abs(covariance).max(), posinf=0.0)
    assert_allclose(fit.covariance[at], covariance, rtol=1e3 * CLOSE, atol=CLOSE * finite)
    assert_allclose(fit.rms[at], rms, rtol=10 * CLOSE, atol=CLOSE * scale)
    assert fit.count[at] == count
    with np.errstate(invalid="ignore"):
        assert_array_equal(fit.errors[at], np.sqrt(np.diag(fit.covariance[at])))


# -- fits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_equal_to_polyfit(order, offset):
    rng = np.random.default_rng(order)
    y, x = rng.normal(offset, 1, (6, 19)), rng.uniform(-2, 5, 19)
    fit = fg.fit_lines(y, x, order=order)
    for row in range(len(y)):
        c, v = np.polyfit(x, y[row], order, cov=True)
        assert_allclose(fit.coefficients[row, ::-1], c, rtol=1e-9, atol=1e-10 * (1 + offset))
        assert_allclose(fit.covariance[row, ::-1, ::-1], v, rtol=1e-6)
    assert_array_equal(fit.status, fg.LineStatus.GOOD)
    assert_allclose(fit.evaluate(x) + 0.0, [np.polyval(c[::-1], x) for c in fit.coefficients])


@pytest.mark.parametrize("kind", ["row", "each"])
@pytest.mark.parametrize("covariance", ["residual", "absolute"])
def test_weights_equal_polyfits(covariance, kind):
    rng = np.random.default_rng(1)
    y = rng.normal(3, 1, (5, 23))
    w = rng.uniform(0.2, 2, (5, 23) if kind == "each" else 23)
    fit = fg.fit_lines(y, weights=w**2, covariance=covariance)
    for row in range(len(y)):
        own = w[row] if kind == "each" else w
        scaled = True if covariance == "residual" else "unscaled"
        c, v = np.polyfit(np.arange(23), y[row], 1, w=own, cov=scaled)
        assert_allclose(fit.coefficients[row, ::-1], c, rtol=1e-9, atol=1e-12)
        assert_allclose(fit.covariance[row, ::-1, ::-1], v, rtol=1e-8)


@settings(max_examples=15 if JIT_DISABLED else 100, deadline=None)
@given(
    st.integers(0, 3),
    st.integers(0, 20),
    st.floats(0, 1),
    st.sampled_from(["none", "all", "each"]),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_missing_numbers(order, n, holes, weighting, absolute, seed):
    rng = np.random.default_rng(seed)
    y = rng.normal(10, 3, (3, n))
    x = rng.uniform(0, 9, n)
    mask = rng.uniform(size=y.shape) < holes
    y[rng.uniform(size=y.shape) < holes / 2] = np.nan
    weights = {
        "none": None,
        "all": rng.integers(0, 4, n) + 0.5 * rng.integers(0, 2),
        "each": rng.integers(0, 4, (3, n)) / 2,
    }[weighting]
    kind = "absolute" if absolute and weights is not None else "residual"
    fit = fg.fit_lines(y, x, weights=weights, mask=mask, order=order, covariance=kind)
    each = np.broadcast_to(1.0 if weights is None else weights, y.shape) * ~mask
    for row in range(3):
        expected = naive_linear.fit_line(y[row], x, each[row], order, kind == "absolute")
        good = np.isfinite(expected[0]).all()
        assert (fit.status[row] == fg.LineStatus.GOOD) == good
        if not good or np.linalg.cond(np.vander(_scaled(y, x, each, row), order + 1)) < 1e4:
            _compare(fit, row, expected)


def _scaled(y, x, each, row):
    u = x[~np.isnan(y[row]) & (each[row] > 0)]
    return (u - u.mean()) / (np.ptp(u) or 1)


def test_points_close_together_far_away():
    x = 1e4 + np.arange(2000.0)
    y = np.full((2, 2000), np.nan)
    y[0, 700:704] = [1.0, 2.0, 4.0, 7.0]  # 1 + i (i + 1) / 2
    y[1, 0], y[1, 1998:] = 3.0, [5.0, 6.0]
    fit = fg.fit_lines(y, x, order=2)
    assert_array_equal(fit.status, 0)
    assert_allclose(fit.coefficients[0, 2], 0.5, rtol=1e-9)
    at = fit.evaluate([10_701.0])[:, 0]
    assert at[0] == pytest.approx(2.0, abs=1e-5)  # what cancels of numbers of 1e8


def test_rows_that_cannot_be_fitted():
    y = np.ones((4, 5))
    y[1, 1:] = np.nan
    y[2, 3] = np.inf
    fit = fg.fit_lines(y)
    assert_array_equal(fit.status, [0, 1, 2, 0])
    assert_array_equal(fit.count, [5, 1, 5, 5])
    assert np.isnan(fit.coefficients[1:3]).all()
    assert np.isnan(fit.rms[1:3]).all()
    assert_allclose(fit.coefficients[[0, 3]], [[1, 0], [1, 0]], atol=1e-15)
    same = fg.fit_lines(np.ones((2, 4)), [2.0, 2.0, 2.0, 2.0])
    assert_array_equal(same.status, fg.LineStatus.FEW_POINTS)
    two = fg.fit_lines([[1.0, 2.0]])
    assert_allclose(two.coefficients, [[1, 1]])
    assert np.isinf(two.errors).all()
    level = fg.level(y)
    assert np.isnan(level[1]).all()
    assert np.isnan(level[2]).all()
    assert_allclose(level[[0, 3]], 0, atol=1e-15)


@pytest.mark.parametrize("axis", [0, 1, 2, -2])
def test_any_axis(axis):
    y = np.random.default_rng(0).normal(size=(4, 5, 6))
    y[2, 3, 1] = np.nan
    mask = np.zeros(y.shape, bool)
    mask[1, 1, 1] = True
    fit = fg.fit_lines(y, axis=axis, mask=mask)
    rows = np.moveaxis(y, axis, -1)
    expected = fg.fit_lines(np.ascontiguousarray(rows), mask=np.moveaxis(mask, axis, -1))
    for name in ("coefficients", "covariance", "rms", "count", "status"):
        assert_array_equal(getattr(fit, name), getattr(expected, name))
    result = fg.level(y, axis=axis, mask=mask)
    x = np.arange(rows.shape[-1])
    assert_allclose(np.moveaxis(result, axis, -1), rows - fit.evaluate(x), atol=1e-13)


READINGS = {
    "float32": lambda a: a.astype("f"),
    "float16": lambda a: a.astype(np.float16),
    "longdouble": lambda a: a.astype(np.longdouble),
    "swapped": lambda a: a.astype(">f8"),
    "int16": lambda a: a.astype("i2"),
    "uint8": lambda a: a.astype("u1"),
    "bool": lambda a: a > 50,
    "Fortran": np.asfortranarray,
    "reversed": lambda a: a[:, ::-1],
    "strided": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "list": lambda a: a.tolist(),
}


@pytest.mark.parametrize("reading", READINGS)
def test_any_real_dtype_and_layout(reading):
    y = np.random.default_rng(3).uniform(0, 100, (5, 9))
    read = READINGS[reading](y)
    plain = np.array(read, dtype=float)
    assert_allclose(
        fg.fit_lines(read).coefficients, fg.fit_lines(plain).coefficients, rtol=1e-12, atol=1e-13
    )
    single = reading in ("float32", "float16")
    result = fg.level(read)
    assert result.dtype == (np.float32 if single else np.float64)
    assert_allclose(result, fg.level(plain), atol=1e-5 if single else 1e-12)


def test_nothing():
    assert fg.fit_lines(np.zeros((0, 5))).coefficients.shape == (0, 2)
    empty = fg.fit_lines(np.zeros((3, 0)))
    assert_array_equal(empty.status, 1)
    assert fg.fit_lines(np.arange(5.0)).coefficients.shape == (2,)
    assert fg.level(np.zeros((3, 0))).shape == (3, 0)


# -- levelling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["d", "f"])
@pytest.mark.parametrize("axis", [0, 1])
def test_level_equals_detrend(axis, dtype):
    image = (np.random.default_rng(0).normal(50, 1, (13, 29)) + np.arange(29)).astype(dtype)
    result = fg.level(image, axis=axis)
    expected = scipy.signal.detrend(image.astype("d"), axis=axis)
    assert_allclose(result, expected, atol=1e-5 if dtype == "f" else 1e-12)
    means = fg.level(image, axis=axis, order=0)
    assert_allclose(means, image - image.mean(axis=axis, keepdims=True, dtype="d"), atol=1e-5)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_polynomials_vanish_and_twice_is_once(order):
    x = np.linspace(-1, 1, 40)
    image = (
        np.random.default_rng(0).normal(size=(3, order + 1)) @ x ** np.arange(order + 1)[:, None]
    )
    assert_allclose(fg.level(image, order=order), 0, atol=1e-14)
    image = image + np.random.default_rng(1).normal(size=image.shape)
    once = fg.level(image, order=order)
    assert_allclose(fg.level(once, order=order), once, atol=1e-14)


@compiled
@pytest.mark.parametrize("axis", [0, 1])
def test_the_same_bits_for_any_number_of_threads(axis):
    image = np.random.default_rng(0).normal(size=(900, 1100))
    image[3, 5] = np.nan
    first = fg.fit_lines(image, axis=axis, threads=1)
    level = fg.level(image, axis=axis, threads=1)
    for threads in (2, 5):
        other = fg.fit_lines(image, axis=axis, threads=threads)
        assert_array_equal(other.coefficients, first.coefficients)
        assert_array_equal(other.covariance, first.covariance)
        assert_array_equal(fg.level(image, axis=axis, threads=threads), level)
    if axis == 1:
        part = fg.fit_lines(image[10:13], threads=1)
        assert_array_equal(part.coefficients, first.coefficients[10:13])


BAD = [
    (TypeError, "y must hold real numbers", {"y": [["a"]]}),
    (ValueError, "y must have 1 dimension or more", {"y": 3.0}),
    (ValueError, r"x must have shape \(4,\)", {"x": [1.0, 2.0]}),
    (ValueError, "x must be finite", {"x": [1.0, np.nan, 2.0, 3.0]}),
    (ValueError, "axis must be one of 2", {"axis": 2}),
    (TypeError, "axis must be an integer", {"axis": 1.0}),
    (ValueError, "order must be at most 3", {"order": 4}),
    (ValueError, "order must be at least 0", {"order": -1}),
    (ValueError, "weights must have shape", {"weights": [1.0]}),
    (ValueError, "weights must be finite and not negative", {"weights": [1.0, -1.0, 1.0, 1.0]}),
    (ValueError, "weights must be finite and not negative", {"weights": [1.0, np.nan, 1.0, 1.0]}),
    (TypeError, "mask must be boolean", {"mask": np.zeros((3, 4))}),
    (ValueError, "mask must have shape", {"mask": np.zeros(4, bool)}),
    (ValueError, "covariance must be one of", {"covariance": "true"}),
    (ValueError, "covariance='absolute' needs weights", {"covariance": "absolute"}),
    (ValueError, "threads must be", {"threads": 0}),
]


@pytest.mark.parametrize(("error", "message", "options"), BAD)
def test_bad_input(error, message, options):
    with pytest.raises(error, match=message):
        fg.fit_lines(**{"y": np.ones((3, 4)), **options})
