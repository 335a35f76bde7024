"""Which spots of a crowd go, how noisy a residual is, and results of some rows put together."""

from __future__ import annotations

import numpy as np

from ..base.status import Status
from ..results.fit_result import FitResult

LEAST_STRENGTH = 4.0  # standard errors of the amplitude that a spot must have
LEAST_OF_TWO = 1.0  # and one of two spots that a test found to be two
SAME_SPOT = 0.5  # sigmas, within which two are one
_NEIGHBOURS = 3.0  # sigmas, within which weak spots may stand for one another
_LEAST_BIN = 64  # pixels of a brightness from which noise is measured
_SAMPLES = 1 << 18  # pixels that are looked at for it, about


def surplus(strength: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Which spots go, by amplitudes in standard errors and places in sigmas."""
    from scipy.spatial import KDTree

    weak = strength < LEAST_STRENGTH
    if len(places) < 2:
        return weak
    i, j = KDTree(places).query_pairs(_NEIGHBOURS, output_type="ndarray").T
    first = strength[i] <= strength[j]
    weaker, other = np.where(first, i, j), np.where(first, j, i)
    near = ((places[i] - places[j]) ** 2).sum(axis=1) < SAME_SPOT**2
    weak[weaker[near]] = True
    both = weak[weaker] & weak[other]
    weak[other[both]] = False
    return weak


def noise_by_brightness(light: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Noise of the residual as a function of the model's light, never falling with it.

    Pixels are ranked by light; the fainter half, the next quarter, eighth and so on give a
    median of light and a median absolute residual each, and between those it is linear.
    """
    step = residual.size // _SAMPLES | 1
    values, rest = light.reshape(-1)[::step], np.abs(residual.reshape(-1)[::step])
    values, rest = values[np.isfinite(rest)], rest[np.isfinite(rest)]
    order = np.argsort(values, kind="stable")
    values, rest = values[order], rest[order]
    brightness, noise, low = [], [], 0
    while low < len(values):
        half = (len(values) - low) // 2
        high = low + half if half >= _LEAST_BIN else len(values)
        brightness.append(float(np.median(values[low:high])))
        noise.append(1.4826 * float(np.median(rest[low:high])))
        low = high
    if not noise:
        return np.ones(light.shape)
    return np.interp(light, brightness, np.maximum.accumulate(noise))


def with_dropped(result: FitResult, rows: np.ndarray, count: int) -> FitResult:
    """The result with all its rows, those that were fitted where they belong."""
    if len(rows) == count:
        return result
    return result.with_rows(result.rows.scatter(rows, count, Status.DROPPED))
