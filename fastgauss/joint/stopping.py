"""The stopping rule of a joint fit: how far a group still is from its minimum."""

from __future__ import annotations

import numpy as np


def distance_left(longest: np.ndarray, before: np.ndarray, tol: float) -> np.ndarray:
    """The distance left after the longest step (g,) of each group, from the last two."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = np.stack([longest / before[0], before[0] / before[1]])
    rate = np.where(np.isnan(rates), 0.0, rates).max(axis=0)
    rate = np.maximum(rate, min(1.0, 1e-6 / tol))
    left = np.where(rate < 0.999, longest * rate / np.maximum(1 - rate, 1e-3), np.inf)
    return np.minimum(longest, left)
