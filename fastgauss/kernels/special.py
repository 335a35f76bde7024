"""exp, log, erf and erfc for scalars and lanes, float64.

One text serves both: operators, ``select`` and the bit functions of ``lanes``
mean the same for a number and for a register of numbers. No branches, no tables.

* ``exp(x) = 2**k exp(r)`` with k = round(x / ln 2) and r = x - k ln 2, |r| <= ln(2)/2;
  exp(r) = 1 + r + r**2 p(r), summed so that only the last addition rounds a full
  bit. k is read off the low bits of x / ln 2 + 1.5 * 2**52, where the rounding of
  that sum puts it.
* ``log(x) = k ln 2 + log(m)``, m in [sqrt(1/2), sqrt(2)), and with f = m - 1,
  s = f / (2 + f):  log(m) = 2 atanh(s) = f - (f**2 / 2 - s (f**2 / 2 + s**2 p(s**2))).
* ``erfc(x) = exp(-x**2) p(t) / (1 + 2 x)``, t = (x - 4) / (x + 4), for x >= 0, with
  x = h + l split so that h**2 is exact: exp(-x**2) = exp(-h**2) exp(-(x + h) l).
* ``erf(x) = x p(x**2)`` up to 1, and 1 - erfc beyond.

The polynomials are interpolations at Chebyshev nodes, computed with 50 digits; their
own errors are below 2e-17 relative. Bounds in units of the last place (ULP) are
checked against mpmath over the whole domains in the tests.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._compile import device
from .lanes import absolute, exponent_and_mantissa, power_of_two, select

_LOG2_E = 1.4426950408889634
_ROUND = 6755399441055744.0  # 1.5 * 2**52: adding it rounds to an integer
_LN2_HIGH = 6.93147180369123816490e-1  # few bits, so that k * _LN2_HIGH is exact
_LN2_LOW = 1.90821492927058770002e-10
_ROUND_21 = 3221225472.0  # 1.5 * 2**31: adding it rounds to multiples of 2**-21


@device
def _exp_reduced(r: Any) -> Any:
    """exp(r) for |r| <= ln(2) / 2."""
    p = r * 2.4999999887036e-08 + 2.763030593332016e-07
    p = p * r + 2.7557586861269417e-06
    p = p * r + 2.4801492950619054e-05
    p = p * r + 0.0001984126950571367
    p = p * r + 0.001388888894375891
    p = p * r + 0.008333333333495003
    p = p * r + 0.04166666666652973
    p = p * r + 0.1666666666666641
    p = p * r + 0.5000000000000011
    high = r + 1.0
    low = r - (high - 1.0)
    return high + ((p * r) * r + low)


@device
def exp_negative(x: Any) -> Any:
    """exp(x) for x <= 0, at most 0.8 ULP; below -700 it stays at exp(-700); NaN stays NaN.

    The same holds up to x = 700; beyond that the result means nothing.
    """
    x = select(x < -700.0, -700.0, x)
    t = x * _LOG2_E + _ROUND
    k = t - _ROUND
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    return _exp_reduced(r) * power_of_two(t)


@device
def exp(x: Any) -> Any:
    """exp(x), at most 0.8 ULP (1 ULP where the result is denormal), for all x."""
    x = select(x > 800.0, 800.0, x)
    x = select(x < -800.0, -800.0, x)
    k = (x * _LOG2_E + _ROUND) - _ROUND
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    half = k * 0.5 + _ROUND  # 2**k in two factors: k may lie beyond the exponents there are
    rest = (k - (half - _ROUND)) + _ROUND
    return (_exp_reduced(r) * power_of_two(half)) * power_of_two(rest)


@device
def expm1_negative(x: Any) -> Any:
    """exp(x) - 1 for x <= 0, at most 2 ULP; NaN stays NaN."""
    p = x * 1.514826562852119e-09 + 2.4057828051204933e-08
    p = p * x + 2.7455304710435046e-07
    p = p * x + 2.7550603743691316e-06
    p = p * x + 2.480129359522053e-05
    p = p * x + 0.00019841261243318207
    p = p * x + 0.001388888872285185
    p = p * x + 0.008333333331297805
    p = p * x + 0.04166666666651928
    p = p * x + 0.16666666666666116
    p = p * x + 0.49999999999999994
    return select(x > -0.7, (p * x) * x + x, exp(x) - 1.0)


@device
def log_normal(x: Any) -> Any:
    """Natural logarithm of a positive normal number, at most 1 ULP."""
    k, m = exponent_and_mantissa(x)
    large = m > 1.4142135623730951
    m = select(large, m * 0.5, m)
    k = select(large, k + 1.0, k)
    f = m - 1.0
    s = f / (f + 2.0)
    z = s * s
    p = z * 0.13086626147840102 + 0.13268773138656886
    p = p * z + 0.15386239702814658
    p = p * z + 0.18181795640132906
    p = p * z + 0.22222222391713917
    p = p * z + 0.28571428570803614
    p = p * z + 0.4000000000000088
    p = p * z + 0.6666666666666666
    half = f * f * 0.5
    return k * _LN2_HIGH - ((half - (s * (half + z * p) + k * _LN2_LOW)) - f)


@device
def log(x: Any) -> Any:
    """Natural logarithm, at most 1 ULP; -inf at 0, NaN below it, inf at inf."""
    tiny = x < 2.2250738585072014e-308
    result = log_normal(select(tiny, x * 18014398509481984.0, x))  # 2**54: denormals get normal
    result = select(tiny, result - 54.0 * _LN2_HIGH - 54.0 * _LN2_LOW, result)
    result = select(x > 0.0, result, select(x == 0.0, -np.inf, x - x + np.nan))
    return select(x == np.inf, np.inf, result)


@device
def _erfc_positive(x: Any) -> Any:
    """erfc(x) for x >= 0."""
    x = select(x > 28.0, 28.0, x)
    t = (x - 4.0) / (x + 4.0)
    p = t * 2.9111659955327447e-10 + 2.1031095817570338e-09
    p = p * t + 1.6868082625932292e-09
    p = p * t + -1.660879467182853e-08
    p = p * t + -1.9106294487779176e-08
    p = p * t + 1.1328048304274549e-07
    p = p * t + 7.703495881102781e-08
    p = p * t + -8.277591913537945e-07
    p = p * t + 2.916445562939141e-07
    p = p * t + 5.710769473216913e-06
    p = p * t + -1.1220902504340601e-05
    p = p * t + -2.4399505458525544e-05
    p = p * t + 0.00015062131217624512
    p = p * t + -0.00019925664291065565
    p = p * t + -0.0007577732147971718
    p = p * t + 0.005031969972225688
    p = p * t + -0.016197734067039865
    p = p * t + 0.03716751553787908
    p = p * t + -0.06633036581154421
    p = p * t + 0.09373283499833329
    p = p * t + -0.10103906603632955
    p = p * t + 0.06809705425469303
    p = p * t + 0.015379652102620111
    p = p * t + -0.13962111684056253
    p = p * t + 1.2329951186255526
    high = (x + _ROUND_21) - _ROUND_21
    e = (x + high) * (x - high)
    small = 1.0 - e * (1.0 - e * (0.5 - e * (1.0 / 6.0)))
    return exp(-(high * high)) * (small * (p / (x + x + 1.0)))


@device
def erfc(x: Any) -> Any:
    """1 - erf(x), at most 4 ULP everywhere above the denormal numbers; NaN stays NaN."""
    tail = _erfc_positive(absolute(x))
    far = select(x < 0.0, 2.0 - tail, tail)
    return select(absolute(x) < 0.5, 1.0 - _erf_small(x), far)


@device
def _erf_small(x: Any) -> Any:
    """erf(x) for |x| <= 1."""
    z = x * x
    p = z * -7.795898827002142e-10 + 1.3720064546777686e-08
    p = p * z + -1.6208483801871705e-07
    p = p * z + 1.6447424703317362e-06
    p = p * z + -1.492473690741966e-05
    p = p * z + 0.00012055294904839707
    p = p * z + -0.0008548325975389692
    p = p * z + 0.0052239776071164225
    p = p * z + -0.02686617064323777
    p = p * z + 0.11283791670945006
    p = p * z + -0.37612638903183543
    p = p * z + 0.12837916709551256
    return x + x * p  # 2 / sqrt(pi) = 1 + 0.128...: the small part rounds less


@device
def erf(x: Any) -> Any:
    """Error function, at most 2 ULP; NaN stays NaN."""
    size = absolute(x)
    tail = 1.0 - _erfc_positive(size)
    return select(size < 1.0, _erf_small(x), select(x < 0.0, -tail, tail))
