"""Arguments of fields, checked: amplitudes, volumes, weights, masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check
from ..base.grid import Grid

KINDS = (np.dtype(np.float32), np.dtype(np.float64))


def amplitudes_of(value: ArrayLike, n: int) -> np.ndarray:
    """Amplitudes (n,) from one number or n."""
    array = check.finite_array("amplitudes", value)
    if array.shape not in ((), (n,)):
        raise ValueError(f"amplitudes must be one number or of shape ({n},), got {array.shape}")
    return np.ascontiguousarray(np.broadcast_to(array, (n,)))


def target(out: np.ndarray | None, grid: Grid, dtype: Any = np.float64) -> np.ndarray:
    """A writable array of the grid's shape: the memory of ``out``, or a new one of zeros."""
    if out is None:
        return np.zeros(grid.shape, dtype=dtype)
    return check.out_array("out", out, grid.shape, KINDS)


def volume_of(value: ArrayLike, grid: Grid) -> np.ndarray:
    """An array of real numbers of the grid's shape."""
    array = check.real_array("volume", value)
    if array.shape != grid.shape:
        raise ValueError(f"volume must have the grid's shape {grid.shape}, got {array.shape}")
    if array.dtype.kind == "f" and array.itemsize not in (4, 8):  # unknown to the kernels
        return array.astype(np.float32 if array.itemsize < 4 else np.float64)
    return array


@dataclass(frozen=True)
class Data:
    """The volume, 0 at missing nodes, and the weights of its nodes."""

    volume: np.ndarray
    weights: np.ndarray | None  # None: all nodes have the same weight
    nodes: int  # number of valid nodes
    absolute: bool  # whether weights are inverse variances


def measured(volume: Any, weights: Any, mask: Any, grid: Grid) -> Data:
    """Check a volume with its weights and mask; NaN, mask True and weight 0 are missing nodes."""
    volume, mask, weights, _ = check.measured("volume", volume, mask, weights)
    array = _shaped("volume", volume, grid)
    kind = array.dtype if array.dtype in KINDS else np.dtype(np.float64)
    good = ~np.isnan(array) if array.dtype.kind == "f" else np.ones(grid.shape, dtype=bool)
    each = None
    if weights is not None:
        each = np.array(_shaped("weights", weights, grid), dtype=np.float64)
        if not np.isfinite(each).all():
            raise ValueError("weights must be finite")
        if each.size and each.min() < 0:
            raise ValueError(f"weights must not be negative, got {each.min()}")
        good &= each > 0
    if mask is not None:
        good &= ~_shaped("mask", check.boolean_array("mask", mask), grid)
    infinite = np.isinf(array) & good
    if infinite.any():
        where = tuple(np.argwhere(infinite)[0].tolist())
        raise ValueError(f"volume must not be infinite, got {array[where]} at index {where}")
    nodes = int(np.count_nonzero(good))
    whole = nodes == grid.size
    if each is None and not whole:
        each = good.astype(np.float64)
    elif each is not None:
        each *= good
    clean = array if whole else np.where(good, array, 0)
    return Data(np.ascontiguousarray(clean, dtype=kind), each, nodes, weights is not None)


def _shaped(name: str, value: Any, grid: Grid) -> np.ndarray:
    array = check.real_array(name, value)
    if array.shape != grid.shape:
        raise ValueError(f"{name} must have the grid's shape {grid.shape}, got {array.shape}")
    return array
