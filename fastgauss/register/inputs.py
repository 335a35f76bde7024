"""An image of registration: checked, its missing pixels filled, its mean subtracted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base import check

_LEAST = 12  # pixels, the shortest side of an image


@dataclass(frozen=True)
class Pixels:
    """An image as it was given, checked."""

    values: np.ndarray  # (Y, X) float32 above the level, missing pixels filled
    valid: np.ndarray  # (Y, X) bool
    variance: float | np.ndarray | None  # of the noise; None if unknown
    level: float


def image(name: str, value: Any) -> np.ndarray:
    """A two-dimensional image that is large enough."""
    array = check.real_array(name, value, 2)
    if min(array.shape) < _LEAST:
        raise ValueError(f"{name} must have {_LEAST} rows and columns or more, got {array.shape}")
    return array


def error(name: str, value: Any, shape: tuple[int, ...]) -> float | np.ndarray | None:
    """Errors of pixels: None, one positive number, or one number a pixel, 0 where missing."""
    if value is None:
        return None
    array = check.real_array(name, value)
    if array.ndim == 0:
        return check.number(name, array, above=0)
    if array.shape != shape:
        raise ValueError(f"{name} must be one number or have shape {shape}, got {array.shape}")
    return array


def missing(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """A mask of an image, True where a pixel is missing."""
    if value is None:
        return None
    array = check.plain_array(name, value)
    if array.dtype != bool:
        raise TypeError(f"{name} must hold booleans, True = missing, got dtype {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    return array


def _fill(values: np.ndarray, valid: np.ndarray) -> None:
    """Give missing pixels the mean of those around; in place."""
    from scipy.ndimage import gaussian_filter

    known = np.where(valid, values, 0.0)
    holes = ~valid
    for sigma in (2.0, 8.0):
        weight = gaussian_filter(valid.astype(np.float32), sigma)
        near = holes & (weight > 1e-3)
        values[near] = gaussian_filter(known, sigma)[near] / weight[near]
        holes &= ~near
    values[holes] = 0.0


def read(
    array: np.ndarray,
    err: float | np.ndarray | None,
    mask: np.ndarray | None,
    level: float | None = None,
) -> Pixels:
    """An image's values above ``level`` (their mean), what exists of them, their variances."""
    with np.errstate(all="ignore"):
        mean = array.mean(dtype=np.float64)
    valid = None
    if array.dtype.kind == "f" and not math.isfinite(mean):
        valid = np.isfinite(array)
    if mask is not None and mask.any():
        valid = ~mask if valid is None else valid & ~mask
    variance: float | np.ndarray | None = None
    if isinstance(err, np.ndarray):
        fine = np.isfinite(err) & (err != 0)
        valid = fine if valid is None else valid & fine
        variance = np.where(fine, err, 1.0).astype(np.float64) ** 2
    elif err is not None:
        variance = err * err
    if valid is None or valid.all():
        values = np.empty(array.shape, dtype=np.float32)
        level = mean if level is None else level
        np.subtract(array, level, out=values, casting="unsafe")
        return Pixels(values, np.ones(array.shape, dtype=bool), variance, level)
    kept = array[valid]
    if level is None:
        level = kept.mean(dtype=np.float64) if kept.size else 0.0
    values = np.zeros(array.shape, dtype=np.float32)
    values[valid] = kept - level
    _fill(values, valid)
    return Pixels(values, valid, variance, level)
