"""exp, log and erf for scalars and lanes, float64.

One text serves both: operators, ``select`` and the bit functions of ``lanes``
mean the same for a number and for a register of numbers.

``exp(x) = 2**k exp(r)`` with k = round(x / ln 2) and r = x - k ln 2, |r| <= ln(2)/2;
exp(r) is a minimax polynomial. k is read off the low bits of
x / ln 2 + 1.5 * 2**52, where the sum's rounding puts it.
"""

from __future__ import annotations

from typing import Any

from ._compile import device
from .lanes import power_of_two, select

_LOG2_E = 1.4426950408889634
_ROUND = 6755399441055744.0  # 1.5 * 2**52: adding it rounds to an integer
_LN2_HIGH = 6.93145751953125e-1  # few bits, so that k * _LN2_HIGH is exact
_LN2_LOW = 1.42860682030941723212e-6


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
    return (p * r) * r + r + 1.0


@device
def exp_negative(x: Any) -> Any:
    """exp(x) for x <= 0, at most 0.8 ULP; below -700 it stays at exp(-700); NaN stays NaN."""
    x = select(x < -700.0, -700.0, x)
    t = x * _LOG2_E + _ROUND
    k = t - _ROUND
    r = x - k * _LN2_HIGH - k * _LN2_LOW
    return _exp_reduced(r) * power_of_two(t)
