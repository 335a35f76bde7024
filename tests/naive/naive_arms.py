"""Plain NumPy twins of the kernels that look for the arms of lines."""

from __future__ import annotations

import numpy as np
from scipy import special

LEAST_ERROR = 1e-9


def look(response, point, level, error, offsets):
    """Heights (directions, radii, 2) around a maximum, which are in the image, and the error."""
    at = point + offsets
    there = np.all((at >= 0) & (at < response.shape), axis=-1)
    at = np.clip(at, 0, np.array(response.shape) - 1)
    height = max(float(response[tuple(point)]) - level, 1e-40)
    values = (response[tuple(np.moveaxis(at, -1, 0))].astype(float) - level) / height
    return values, there, max(error / height, LEAST_ERROR)


def chance_of_arms(values, there, error, units, limits, cosines, moments, doubt):
    """The chance that a spot has arms of a line."""
    sides = np.where(there, values, 0.0).mean(axis=2).min(axis=0)
    limit = np.maximum(limits, sides + 0.15)
    z = (values - limit[..., None]) / (error * np.sqrt(1.0 + limit**2))[..., None]
    number = there.sum(axis=(1, 2))
    lowest = np.where(there, z, np.inf).min(axis=(1, 2))
    tails = np.where(number >= there.shape[1], special.ndtr(-lowest) ** np.maximum(number, 1), 1.0)
    gap = np.einsum("da,ab,db->d", units, moments, units) < 0.9 - 1.5 * doubt
    other = np.where(cosines < 0.75, tails, 1.0).min(axis=1)
    return np.where(gap, np.maximum(tails, other), tails).min()


def chance_of_crossing(values, there, error, cosines):
    """The chance that a spot has arms of lines that cross."""
    values = np.where(there, values, np.inf)
    far = np.sort(values[:, 1:].ravel())
    between = far[int(0.25 * np.isfinite(far).sum())]
    floor = min(between - special.ndtri(0.25) * error, 0.0)
    enough = there.sum(axis=(1, 2)) > there.shape[1]
    left = np.where(enough, values.min(axis=(1, 2)) - floor, 0.0)
    total, lines = 0.0, 0
    for _ in range(3):
        best = left.argmax()
        total += max(left[best], 0.0)
        lines += left[best] > 0.0
        left = np.where(cosines[best] < 0.87, left, 0.0)
    return special.ndtr((0.5 * (1.0 - floor) - total) / (error * np.sqrt(0.4 * lines + 0.25)))
