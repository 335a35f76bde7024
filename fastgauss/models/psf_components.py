"""The components of a point spread function: their numbers, checked."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..base import check, wording
from ..kernels.fit.psf import MOST

NAMES = ("weight", "x", "y", "sigma_x", "sigma_y", "theta")
_LEAST_SIGMA, _MOST_SIGMA = 1e-3, 1e6  # pixels
_FARTHEST = 1e6  # pixels between the centre and a component
_LOST = 1e-9  # sum of the weights, relative to that of their sizes, of which nothing is left
_HUGE = 1e300  # of which no few have a sum beyond the range of float64
_ROUNDING = 1e-14  # by which weights that are read back may miss 1


def read_components(weights: Any, sigmas: Any, offsets: Any) -> np.ndarray:
    """The numbers of all components, (K, 6), as `psf_model` takes them."""
    parts = _weights(weights)
    count = len(parts)
    widths = check.finite_array("sigmas", sigmas, (1, 2))
    if widths.shape not in ((count,), (count, 2)):
        raise ValueError(
            f"sigmas must have shape ({count},) or ({count}, 2) for "
            f"{wording.plural(count, 'weight')}, got {widths.shape}"
        )
    wrong = np.argwhere(~((widths >= _LEAST_SIGMA) & (widths <= _MOST_SIGMA)))
    if len(wrong):
        at = tuple(wrong[0].tolist())
        raise ValueError(
            f"sigmas must be between {_LEAST_SIGMA:g} and {_MOST_SIGMA:g} pixels, got {widths[at]} "
            f"at index {at}"
        )
    widths = np.stack([widths, widths], axis=1) if widths.ndim == 1 else widths
    places = np.zeros((count, 2))
    if offsets is not None:
        places = check.finite_array("offsets", offsets, 2)
        if places.shape != (count, 2):
            raise ValueError(f"offsets must have shape ({count}, 2), got {places.shape}")
        if np.abs(places).max() > _FARTHEST:
            raise ValueError(f"offsets must be at most {_FARTHEST:g} pixels, got {places.max()}")
    columns = parts, places[:, 1], places[:, 0], widths[:, 1], widths[:, 0], np.zeros(count)
    return np.column_stack(columns) + 0.0  # without -0.0


def _weights(weights: Any) -> np.ndarray:
    """The parts of the flux, whose sum is 1."""
    parts = check.finite_array("weights", weights, 1)
    if not 1 <= len(parts) <= MOST:
        raise ValueError(f"weights must be of 1 to {MOST} components, got {len(parts)}")
    if np.abs(parts).max() > _HUGE:
        parts = parts / _HUGE
    total = math.fsum(parts.tolist())
    if not total > _LOST * np.abs(parts).sum():
        raise ValueError(f"weights must have a positive sum, got {wording.shown(weights)}")
    return parts if abs(total - 1.0) <= _ROUNDING else parts / total
