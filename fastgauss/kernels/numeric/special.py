"""exp, log, erf, erfc, erfcx and sin for scalars and lanes.

The same code serves both: operators, ``select`` and the functions of bits mean the same for a
number and for a register of numbers. No function branches, so that the result of a lane never
depends on its neighbours.

The bounds are in units in the last place (ULP) of the exact result. They hold where the
processor fuses products and sums, as all x86 of the AVX2 kind and all ARM64 do, and
grow by about 0.5 ULP where it does not. All polynomials are minimax fits (Remez) to
the functions named beside them, made in 40 digits.

**exp.** With k = round(x / ln 2) and r = x - k ln 2, |r| <= ln(2) / 2,

    exp(x) = 2**k (1 + r + r**2 q(r)).

k is in the low bits of x / ln 2 + 1.5 * 2**52, because this sum is rounded to an integer. The
rounding error of the sum 1 + r is added to the small term. The scale 2**k is applied in two halves,
so that results overflow to infinity and underflow through the denormal numbers; ``exp_negative``
and ``exp_flushed`` apply it at once.

**log.** With x = 2**k m, sqrt(1/2) < m <= sqrt(2), f = m - 1, s = f / (2 + f),

    log(m) = 2 artanh(s) = f - (f**2 / 2 - s (f**2 / 2 + s**2 R(s**2))).

**log of a ratio** d / m = 2**k c / m, where 1 / m is needed as well: with t = c + m, q = 1 / (m t),

    1 / m = t q,  log(d / m) = k ln 2 + 2 artanh(s),  s = (c - m) / t = (c - m) m q,

one division for both. k is such that |s| < 0.2005.

**erfcx**, exp(x**2) erfc(x) for x >= 0: a polynomial in t = (x - 3) / (x + 3), which
takes [0, inf] to [-1, 1], for (x + 3) erfcx(x) (Shepherd & Laframboise 1981, Math. Comp.
36, 249). **erfc** = exp(-x**2) erfcx(x), the square taken in two parts. **erf** is
x + x p(x**2) below 1, and 1 - erfc(x) above. **sin** of an octant is x + x**3 p(x**2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from .._compile import device, variants
from ..simd.float_bits import exponent_and_mantissa, power_of_two, ratio_power
from ..simd.lane_types import LaneType
from ..simd.lanes import absolute, minimum, select

_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 6.93145751953125e-1, 1.42860682030941723212e-6  # the first of 20 bits
_LN2_SINGLE = 6.93359375e-1, -2.12194440054690583e-4  # the first of 10 bits
_LN2 = 0.6931471805599453
_MAGIC = 1.5 * 2.0**52  # adding it rounds to an integer
_SQRT2 = 1.4142135623730951

# (exp(r) - 1 - r) / r**2 for |r| <= ln(2) / 2, relative error of exp(r) 4e-18
_EXP = (
    0.5000000000000011,
    0.1666666666666641,
    0.04166666666652973,
    0.008333333333495003,
    0.001388888894375891,
    0.0001984126950571367,
    2.4801492950619054e-05,
    2.7557586861269417e-06,
    2.763030593332016e-07,
    2.4999999887036e-08,
)
# the same for float32, relative error 3e-9
_EXP_SINGLE = (
    0.4999999343212834,
    0.16666520399498505,
    0.04166839081105885,
    0.008368745078931329,
    0.0013814537971340707,
)
# (2 artanh(s) - 2 s) / s**3 in s**2 for |s| <= 0.1716, relative error of log 1e-18
_LOG = (
    0.6666666666666734,
    0.3999999999941468,
    0.2857142874238752,
    0.22222198573186236,
    0.1818356432638401,
    0.15314050538060367,
    0.14795949901311373,
)
# the same for |s| <= 0.2006, relative error of log 1.6e-17
_LOG_RATIO = (
    0.6666666666667295,
    0.39999999996033353,
    0.2857142941855537,
    0.22222136585895416,
    0.18186435029640435,
    0.1524860063872905,
    0.15380591917305841,
)
# erf(x) / x - 1 in x**2 for |x| <= 1, relative error of erf 8e-18
_ERF = (
    0.1283791670955126,
    -0.3761263890318352,
    0.11283791670944185,
    -0.02686617064311147,
    0.005223977606118475,
    -0.0008548325929314553,
    0.00012055293576902076,
    -1.4924712302032856e-05,
    1.644713157152376e-06,
    -1.6206313760149827e-07,
    1.371098040441698e-08,
    -7.779468499565477e-10,
)
# (x + 3) erfcx(x) in t = (x - 3) / (x + 3) for x >= 0, relative error 2e-17
_ERFCX = (
    1.0740069070883398,
    -0.8833944531698836,
    0.5902283571041065,
    -0.31046726190056695,
    0.11952776128705907,
    -0.026827234624484213,
    -0.0012124166227857266,
    0.0030340620013498587,
    -0.0005483097349690414,
    -0.00027677784986628463,
    0.00010756173406496753,
    3.039819957720366e-05,
    -1.7471463616659067e-05,
    -4.749419936355208e-06,
    2.767543597788187e-06,
    9.994953984904776e-07,
    -4.1143630052363763e-07,
    -2.34618783609672e-07,
    4.977061547863637e-08,
    5.172366198310158e-08,
    -3.4886069580419147e-09,
    -8.911821086903423e-09,
    -7.626464707876871e-12,
    8.492327575604164e-10,
)

# (sin(x) - x) / x**3 in x**2 for |x| <= pi / 4, relative error of sin 2e-18
_SIN = (
    -0.1666666666666663,
    0.008333333333322113,
    -0.00019841269829584844,
    2.7557313619699034e-06,
    -2.5050747490141173e-08,
    1.5896213874468115e-10,
)


def _make_polynomial(coefficients: tuple[float, ...]) -> Callable:
    """sum c[k] x**k, even and odd powers separately: half the latency of Horner's rule."""
    c = coefficients
    n = len(c)
    odd = n % 2 == 1

    @device
    def polynomial(x):
        square = x * x
        p = x * c[n - 1] + c[n - 2]
        if odd:
            p = square * c[n - 1] + (x * c[n - 2] + c[n - 3])
        for k in range(n - 4 - odd, -1, -2):
            p = p * square + (x * c[k + 1] + c[k])
        return p

    return polynomial


_single_series = _make_polynomial(_EXP_SINGLE)
_log_series = _make_polynomial(_LOG)
_log_ratio_series = _make_polynomial(_LOG_RATIO)
_erf_series = _make_polynomial(_ERF)
_erfcx_series = _make_polynomial(_ERFCX)
_sin_series = _make_polynomial(_SIN)


def _make_exp(
    coefficients: tuple[float, ...], magic: float, ln2_high: float, ln2_low: float
) -> tuple[Callable, ...]:
    """The parts of exp for one dtype.

    Adding ``magic`` rounds to an integer; ``ln2_high`` has so few bits that k * ln2_high is
    exact.
    """
    series = _make_polynomial(coefficients)

    @device
    def reduce(x):
        """``(t, r)``: x = k ln 2 + r, and k in the low bits of t = k + magic."""
        t = x * _LOG2_E + magic
        k = t - magic
        return t, x - k * ln2_high - k * ln2_low

    @device
    def reduced(r):
        """exp(r) for |r| <= ln(2) / 2."""
        one_and_r = r + 1.0
        return one_and_r + (series(r) * (r * r) + (r - (one_and_r - 1.0)))

    @device
    def scale(y, t):
        """y * 2**k, also where 2**k is no normal number."""
        half = (t - magic) * 0.5 + magic
        return y * power_of_two(half) * power_of_two(t - (half - magic))

    return reduce, reduced, scale


_reduce, _reduced, _scale = _make_exp(_EXP, _MAGIC, _LN2_HIGH, _LN2_LOW)
_reduce_single, _reduced_single, _scale_single = _make_exp(_EXP_SINGLE, 1.5 * 2.0**23, *_LN2_SINGLE)


@device
def _exp_double(x):
    t, r = _reduce(minimum(710.0, select(x < -746.0, -746.0, x)))
    return _scale(_reduced(r), t)


@device
def _exp_single(x):
    t, r = _reduce_single(minimum(89.0, select(x < -104.0, -104.0, x)))
    return _scale_single(_reduced_single(r), t)


def exp(x: Any) -> Any:
    """exp(x) for all x, at most 0.85 ULP, 1 ULP where the result is denormal.

    Overflows to inf above 709.78, underflows through the denormal numbers to 0 below -745.13; NaN
    stays NaN. float32 lanes stay float32 (1.1 ULP); a float32 scalar gives float64. About 1 ns a
    value in lanes.

    Examples
    --------
    >>> exp(1.0)
    np.float64(2.718281828459045)
    """
    single = np.ndim(x) > 0 and x.dtype == np.float32
    return _exp_single(x) if single else _exp_double(np.float64(x))


@variants(exp)
def _choose_exp(x: Any) -> Callable:
    single = isinstance(x, LaneType) and x.dtype == types.float32
    return _exp_single if single else _exp_double


@device
def exp_negative(x: Any) -> Any:
    """exp(x) for x <= 0, at most 0.85 ULP; below -700 it stays at exp(-700); NaN stays NaN.

    Faster than ``exp``, for float64: 0.65 ns a value in lanes. It is as accurate up to x = 700;
    beyond that the result is meaningless.

    Examples
    --------
    >>> exp_negative(-1.0), exp_negative(-1e9) > 0.0
    (np.float64(0.36787944117144233), np.True_)
    """
    t, r = _reduce(select(x < -700.0, -700.0, x))
    return _reduced(r) * power_of_two(t)


@device
def exp_flushed(x: Any) -> Any:
    """exp(x) for x <= 0, at most 0.85 ULP; 0 where that is no normal number; NaN stays NaN.

    For float64, up to x = 700 like ``exp_negative``, and as fast. ``exp`` is slower where its
    result is a denormal number or 0, as on most of a grid around a narrow spot.

    Examples
    --------
    >>> exp_flushed(-1.0), exp_flushed(-1e9)
    (np.float64(0.36787944117144233), np.float64(0.0))
    """
    lost = x < -708.3964185322641  # log of the least normal number
    t, r = _reduce(select(lost, -708.0, x))
    return select(lost, 0.0, _reduced(r) * power_of_two(t))


@device
def exp_to_single(x: Any) -> Any:
    """exp(x) for x <= 0 in float64, for float32: relative error 3.1e-9; NaN stays NaN.

    0 where exp(x) is no normal float32. It takes two thirds of the time of ``exp_flushed``.
    """
    lost = x < -87.33654475055310  # log of the least normal float32
    x = select(lost, -87.0, x)
    t = x * _LOG2_E + _MAGIC
    r = x - (t - _MAGIC) * _LN2
    return select(lost, 0.0, (r * r * _single_series(r) + (r + 1.0)) * power_of_two(t))


@device
def _log_of(k: Any, m: Any) -> Any:
    """log(2**k m) for 1 <= m < 2."""
    large = m > _SQRT2
    m = select(large, m * 0.5, m)
    k = select(large, k + 1.0, k)
    f = m - 1.0
    s = f / (f + 2.0)
    z = s * s
    half_square = f * f * 0.5
    correction = s * (half_square + z * _log_series(z)) + k * _LN2_LOW
    return k * _LN2_HIGH - ((half_square - correction) - f)


@device
def divide_ratio(d: Any, m: Any) -> tuple[Any, Any, Any]:
    """``(1 / m, s, k)``: what ``log_of_ratio`` makes log(d / m) of, by one division; float64.

    For positive normal d, or 0, and m of 1e-150 to 1e150. 1 / m is right to 2 ULP.
    """
    k, near = ratio_power(d, m)
    total = near + m
    q = 1.0 / (m * total)
    return total * q, (near - m) * (m * q), k


@device
def log_of_ratio(s: Any, k: Any) -> Any:
    """log(d / m) of what ``divide_ratio`` gives, at most 5 ULP, also near 0; finite for d = 0."""
    z = s * s
    return k * _LN2_HIGH + (s * (z * _log_ratio_series(z) + 2.0) + k * _LN2_LOW)


@device
def log(x: Any) -> Any:
    """Natural logarithm, at most 1 ULP: -inf at 0, NaN below, inf at inf, NaN at NaN.

    float64; denormal numbers included.

    Examples
    --------
    >>> log(2.0)
    np.float64(0.6931471805599453)
    """
    tiny = x < 2.2250738585072014e-308
    k, m = exponent_and_mantissa(select(tiny, x * 2.0**54, x))
    y = _log_of(select(tiny, k - 54.0, k), m)
    y = select(x < np.inf, y, x)
    y = select(x == 0.0, -np.inf, y)
    return select(x < 0.0, np.nan, y)


@device
def erfcx(x: Any) -> Any:
    """exp(x**2) erfc(x) for 0 <= x < 1e300, at most 4 ULP; float64.

    Examples
    --------
    >>> round(float(erfcx(10.0)), 12)
    0.056140992744
    """
    w = 1.0 / (x + 3.0)
    return _erfcx_series((x + x) * w - 1.0) * w


@device
def erfc(x: Any) -> Any:
    """1 - erf(x) without cancellation, at most 4.5 ULP, also where it is tiny; float64.

    Underflows through the denormal numbers to 0 above 27.2; NaN stays NaN.

    Examples
    --------
    >>> float(erfc(0.0))
    1.0
    """
    a = minimum(28.0, absolute(x))
    high = (a + 1.5 * 2.0**31) - 1.5 * 2.0**31  # 26 bits, so that its square is exact
    low = (a - high) * (a + high)
    t, r = _reduce(-(high * high))
    y = _scale(_reduced(r - low) * erfcx(a), t)
    return select(x < 0.0, 2.0 - y, y)


@device
def erf(x: Any) -> Any:
    """The error function, at most 1.5 ULP; float64. NaN stays NaN.

    Examples
    --------
    >>> erf(0.5)
    np.float64(0.5204998778130465)
    """
    a = absolute(x)
    far = 1.0 - erfc(a)
    far = select(x < 0.0, -far, far)
    return select(a < 1.0, x + x * _erf_series(x * x), far)


@device
def sin_octant(x: Any) -> Any:
    """sin(x) for |x| <= pi / 4, at most 0.8 ULP; float64. NaN stays NaN."""
    square = x * x
    return x + x * square * _sin_series(square)
