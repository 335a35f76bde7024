"""The components of a point spread function: their numbers, checked."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..base import check, wording
from ..kernels.fit.psf_basis import MOST

NAMES = ("weight", "x", "y", "sigma_x", "sigma_y", "theta")
LEAST_SIGMA, MOST_SIGMA = 1e-3, 1e6  # pixels
_FARTHEST = 1e6  # pixels between the centre and a component
_LOST = 1e-9  # sum of the weights, relative to that of their sizes, of which nothing is left
_HUGE = 1e300  # of which no few have a sum beyond the range of float64
_ROUNDING = 1e-14  # by which weights that are read back may miss 1


def read_components(
    weights: Any, sigmas: Any, offsets: Any, theta: Any, covariances: Any
) -> np.ndarray:
    """The numbers of all components, (K, 6), as `psf_model` takes them."""
    parts = _weights(weights)
    count = len(parts)
    if covariances is None:
        shape = _of_sigmas(count, sigmas, theta)
    elif sigmas is None and theta is None:
        shape = _of_covariances(count, covariances)
    else:
        raise ValueError("sigmas and theta must be None with covariances")
    places = np.zeros((count, 2))
    if offsets is not None:
        places = check.finite_array("offsets", offsets, 2)
        if places.shape != (count, 2):
            raise ValueError(f"offsets must have shape ({count}, 2), got {places.shape}")
        if np.abs(places).max() > _FARTHEST:
            raise ValueError(
                f"offsets must be at most {_FARTHEST:g} pixels, got {np.abs(places).max()}"
            )
    return np.column_stack([parts, places[:, ::-1], shape]) + 0.0  # without -0.0


def _of_sigmas(count: int, sigmas: Any, theta: Any) -> np.ndarray:
    """sigma_x, sigma_y and theta (K, 3)."""
    widths = check.finite_array("sigmas", sigmas, (1, 2))
    if widths.shape not in ((count,), (count, 2)):
        raise ValueError(
            f"sigmas must have shape ({count},) or ({count}, 2) for "
            f"{wording.plural(count, 'weight')}, got {widths.shape}"
        )
    _check_widths("sigmas", widths)
    widths = np.stack([widths, widths], axis=1) if widths.ndim == 1 else widths
    angles = np.zeros(count)
    if theta is not None:
        angles = check.finite_array("theta", theta, 1)
        if angles.shape != (count,):
            raise ValueError(f"theta must have shape ({count},), got {angles.shape}")
        angles = np.where(widths[:, 0] == widths[:, 1], 0.0, angles)
    return np.column_stack([widths[:, ::-1], angles])


def _of_covariances(count: int, covariances: Any) -> np.ndarray:
    """sigma_x, sigma_y and theta (K, 3)."""
    matrices = check.finite_array("covariances", covariances, 3)
    if matrices.shape != (count, 2, 2):
        raise ValueError(f"covariances must have shape ({count}, 2, 2), got {matrices.shape}")
    largest = np.abs(matrices).max(axis=(1, 2))
    if (np.abs(matrices[:, 0, 1] - matrices[:, 1, 0]) > 1e-12 * largest).any():
        raise ValueError("covariances must be symmetric")
    yy, xx = matrices[:, 0, 0], matrices[:, 1, 1]
    xy = 0.5 * (matrices[:, 0, 1] + matrices[:, 1, 0])
    mean, half = 0.5 * (xx + yy), 0.5 * (xx - yy)
    radius = np.hypot(half, xy)
    along = xy == 0.0
    high, low = np.where(along, xx, mean + radius), np.where(along, yy, mean - radius)
    if not (np.minimum(high, low) > 0.0).all():
        raise ValueError("covariances must be positive definite")
    widths = np.sqrt(np.stack([high, low], axis=1))
    _check_widths("the square roots of the principal values of covariances", widths)
    return np.column_stack([widths, np.where(along, 0.0, 0.5 * np.arctan2(xy, half))])


def _check_widths(name: str, widths: np.ndarray) -> None:
    wrong = np.argwhere(~((widths >= LEAST_SIGMA) & (widths <= MOST_SIGMA)))
    if len(wrong):
        at = tuple(wrong[0].tolist())
        raise ValueError(
            f"{name} must be between {LEAST_SIGMA:g} and {MOST_SIGMA:g} pixels, got "
            f"{widths[at]} at index {at}"
        )


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
