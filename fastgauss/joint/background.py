"""The background where a joint fit has no spot: that of all pixels of the image or frame."""

from __future__ import annotations

import numpy as np


def complete(
    terms: np.ndarray, data: np.ndarray, weights: np.ndarray, scale: np.ndarray,
    limits: tuple[float, float],
) -> np.ndarray:  # fmt: skip
    """Terms (frames or 1, t) of a background; rows of NaN are made those of the pixels."""
    for row in np.flatnonzero(~np.isfinite(terms).all(axis=1)):
        part = slice(row, row + 1) if len(terms) > 1 else slice(None)
        terms[row] = _level(data[part], weights[part], scale, terms.shape[1], limits)
    return terms


def _level(
    data: np.ndarray, weights: np.ndarray, scale: np.ndarray, terms: int,
    limits: tuple[float, float],
) -> np.ndarray:  # fmt: skip
    """Constant and slopes (t,) that fit pixels (z, y, x) best; NaN where there is no pixel.

    Weights are 0 where a pixel does not exist; ``scale`` is that of ``results/background.py``.
    """
    if not weights.any():
        return np.full(terms, np.nan)
    places = (
        (np.arange(n, dtype=np.float64) - middle) * stretch
        for n, middle, stretch in zip(data.shape, scale[:3], scale[3:], strict=True)
    )
    z, y, x = np.meshgrid(*places, indexing="ij", sparse=True)
    basis = [np.ones((1, 1, 1)), x, y, z][:terms]
    matrix = np.array([[(weights * one * other).sum() for one in basis] for other in basis])
    known = weights * np.where(weights > 0, data, 0.0)
    right = np.array([(known * one).sum() for one in basis])
    found = np.linalg.lstsq(matrix, right, rcond=None)[0]
    if terms == 1:
        return np.clip(found, *limits)
    return found
