"""How many local maxima noise has above a significance.

The expected number of local maxima of a stationary normal field above z, on the lattice of the
pixels, is (Worsley 2005) in n pixels

    n integral_z^inf phi(x) prod_a Q_a(x) dx,    Q_a(x) = Phi(t) - 2 T(t, sqrt((1 - c) / (1 + c)))

with T Owen's function, t = x sqrt((1 - rho_1) / (1 + rho_1)), rho_1 and rho_2 the correlations of
the responses one and two pixels apart along axis a, and c = (rho_2 - rho_1**2) / (1 - rho_1**2): Q
is the probability that both neighbours are smaller. Where the pixels are small beside the spots,
this is the density of Euler characteristic (Worsley 1996).

Where spots of several sizes are searched for, the scales are one more axis: Q is the probability
that the responses of the next smaller and the next larger filter are below x, too.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import special

Correlations = tuple[tuple[float, float], ...]  # one and two pixels apart, along each axis
ScaleCorrelations = tuple[float, float, float] | tuple[()]  # as `_below` takes them; (): one scale

_HIGHEST = 40.0  # significance up to which maxima are counted
_SAME = 1.0 - 1e-9  # correlation from which two values are one


@lru_cache(maxsize=64)
def _table(correlations: Correlations, scales: ScaleCorrelations) -> tuple[np.ndarray, np.ndarray]:
    """Significances, and the logarithm of the number of maxima above them in a pixel."""
    z = np.linspace(-4.0, _HIGHEST, 4401)
    log_density = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    for one, two in correlations:
        t = z * math.sqrt((1 - one) / (1 + one))
        c = (two - one**2) / (1 - one**2)
        both = special.ndtr(t) - 2 * special.owens_t(t, math.sqrt((1 - c) / (1 + c)))
        log_density += np.log(np.maximum(both, 1e-300))
    if scales:
        log_density += np.log(np.maximum(_below(z, *scales), 1e-300))
    step = z[1] - z[0]
    pieces = np.logaddexp(log_density[:-1], log_density[1:]) + math.log(0.5 * step)
    return z[:-1], np.logaddexp.accumulate(pieces[::-1])[::-1]


def _below(z: np.ndarray, one: float, other: float, between: float) -> np.ndarray:
    """The probability that the values beside a value z are smaller than z.

    They have the correlations ``one`` and ``other`` with it, and ``between`` with each other.
    """
    near = np.where(np.abs(z) < 1e-9, 1e-9, z)
    h, k = (near * math.sqrt((1 - rho) / (1 + rho)) for rho in (one, other))
    c = (between - one * other) / math.sqrt((1 - one**2) * (1 - other**2))
    if c > _SAME:
        return special.ndtr(np.minimum(h, k))
    root = math.sqrt(1 - c**2)
    mixed = special.owens_t(h, (k / h - c) / root) + special.owens_t(k, (h / k - c) / root)
    return 0.5 * (special.ndtr(h) + special.ndtr(k)) - mixed


def expected_maxima(z: np.ndarray, pixels: float, correlations: Correlations) -> np.ndarray:
    """The expected number of maxima of noise that are at least as significant."""
    at, logs = _table(correlations, ())
    return pixels * np.exp(np.interp(z, at, logs))


def least_significance(false_alarms: float, pixels: float, correlations: Correlations) -> float:
    """The significance above which noise is expected to have ``false_alarms`` maxima."""
    return least_of_scales(false_alarms, pixels, ((correlations, ()),))


@lru_cache(maxsize=64)
def least_of_scales(
    false_alarms: float, pixels: float, scales: tuple[tuple[Correlations, ScaleCorrelations], ...]
) -> float:
    """As `least_significance`, for maxima over places and scales, the smallest scale first."""
    tables = [_table(*scale) for scale in scales]
    at, logs = tables[0][0], np.logaddexp.reduce([table[1] for table in tables], axis=0)
    wanted = math.log(false_alarms) - math.log(max(pixels, 1.0))
    return max(float(np.interp(-wanted, -logs, at)), 0.0)
