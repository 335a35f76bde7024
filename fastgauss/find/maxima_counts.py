"""How many local maxima noise has above a significance.

The expected number of local maxima of a stationary normal field above z, on the lattice of the
pixels, is (Worsley 2005) in n pixels

    n integral_z^inf phi(x) prod_a Q_a(x) dx,    Q_a(x) = Phi(t) - 2 T(t, sqrt((1 - c) / (1 + c)))

with T Owen's function, t = x sqrt((1 - rho_1) / (1 + rho_1)), rho_1 and rho_2 the correlations of
the responses one and two pixels apart along axis a, and c = (rho_2 - rho_1**2) / (1 - rho_1**2): Q
is the probability that both neighbours are smaller. Where the pixels are small beside the spots,
this is the density of Euler characteristic (Worsley 1996).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import special

Correlations = tuple[tuple[float, float], ...]  # one and two pixels apart, along each axis

_HIGHEST = 40.0  # significance up to which maxima are counted


@lru_cache(maxsize=8)
def _table(correlations: Correlations) -> tuple[np.ndarray, np.ndarray]:
    """Significances, and the logarithm of the number of maxima above them in a pixel."""
    z = np.linspace(-4.0, _HIGHEST, 4401)
    log_density = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    for one, two in correlations:
        t = z * math.sqrt((1 - one) / (1 + one))
        c = (two - one**2) / (1 - one**2)
        both = special.ndtr(t) - 2 * special.owens_t(t, math.sqrt((1 - c) / (1 + c)))
        log_density += np.log(np.maximum(both, 1e-300))
    step = z[1] - z[0]
    pieces = np.logaddexp(log_density[:-1], log_density[1:]) + math.log(0.5 * step)
    return z[:-1], np.logaddexp.accumulate(pieces[::-1])[::-1]


def expected_maxima(z: np.ndarray, pixels: float, correlations: Correlations) -> np.ndarray:
    """How many maxima noise is expected to have that are as significant or more."""
    at, logs = _table(correlations)
    return pixels * np.exp(np.interp(z, at, logs))


def least_significance(false_alarms: float, pixels: float, correlations: Correlations) -> float:
    """The significance above which noise is expected to have so many maxima."""
    at, logs = _table(correlations)
    wanted = math.log(false_alarms) - math.log(max(pixels, 1.0))
    return max(float(np.interp(-wanted, -logs, at)), 0.0)
