"""Which covariances a source may have behind a point spread function, and starts that have one.

A covariance xx, yy, xy is possible if its sum with that of each component is positive definite.
Those of m sources are (m, 3); those of K components, ``own``, are three arrays (m or 1, K).
"""

from __future__ import annotations

import numpy as np

from ..kernels.fit import psf_basis as kernels

_INSIDE = 0.9  # of the range of possible xy: where a start is put
_RAISED = 4.0  # times the least product of the variances that xy allows: to what a start is raised

Own = tuple[np.ndarray, np.ndarray, np.ndarray]


def own_covariances(known: np.ndarray) -> Own:
    """xx, yy and xy of the components in the constants of kernels (m, C)."""
    along, rotated = int(known[0, 0]), int(known[0, kernels.ROTATED])
    numbers = known[:, kernels.FIRST :].reshape(len(known), kernels.MOST, kernels.NUMBERS)
    a, b, c = np.moveaxis(numbers[:, : along + rotated, 3:], -1, 0).copy()
    straight, rest = np.s_[:, :along], np.s_[:, along:]
    a[straight], b[straight] = a[straight] ** 2, b[straight] ** 2
    scale = 1.0 / (a[rest] * b[rest] - c[rest] ** 2)
    a[rest], b[rest], c[rest] = b[rest] * scale, a[rest] * scale, -c[rest] * scale
    return a, b, c


def is_possible(own: Own, source: np.ndarray) -> np.ndarray:
    """Which covariances of sources are possible, (m,)."""
    xx, yy, xy = (one[:, np.newaxis] + part for one, part in zip(source.T, own, strict=True))
    with np.errstate(all="ignore"):
        return ((xx > 0.0) & (xx * yy > xy * xy)).all(axis=1)


def can_be_possible(own: Own, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Whether there is a possible covariance between bounds (m, 3), (m,)."""
    low, high = _range_of_xy(own, upper[:, 0], upper[:, 1])
    return (low < high) & (lower[:, 2] < high) & (upper[:, 2] > low)


def made_possible(own: Own, source: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Covariances between the bounds, with larger variances where they are not possible."""
    inside = np.clip(source, lower, upper)
    xx, yy, xy = inside.T
    a, b, c = own
    size = np.abs(xy[:, np.newaxis] + c)
    most = 2.0 * size.max(axis=1)
    with np.errstate(all="ignore"):
        xx = np.minimum(np.maximum(np.maximum(xx, 0.0), most), upper[:, 0])
        yy = np.minimum(np.maximum(np.maximum(yy, 0.0), most), upper[:, 1])
        least = (_RAISED * size**2 / (yy[:, np.newaxis] + b) - a).max(axis=1)
        xx = np.minimum(np.maximum(xx, least), upper[:, 0])
        least = (_RAISED * size**2 / (xx[:, np.newaxis] + a) - b).max(axis=1)
        yy = np.minimum(np.maximum(yy, least), upper[:, 1])
        low, high = _range_of_xy(own, xx, yy)
        middle, reach = 0.5 * (low + high), 0.5 * _INSIDE * (high - low)
        xy = np.clip(np.clip(xy, middle - reach, middle + reach), lower[:, 2], upper[:, 2])
    raised = np.column_stack([xx, yy, xy])
    better = ~is_possible(own, inside) & is_possible(own, raised)
    return np.where(better[:, np.newaxis], raised, inside)


def _range_of_xy(own: Own, xx: np.ndarray, yy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Between which values xy is possible for these variances (m,); NaN if for none."""
    a, b, c = own
    wide, high = xx[:, np.newaxis] + a, yy[:, np.newaxis] + b
    with np.errstate(invalid="ignore"):
        reach = np.where((wide > 0.0) & (high > 0.0), np.sqrt(wide * high), np.nan)
    return (-c - reach).max(axis=1), (reach - c).min(axis=1)
