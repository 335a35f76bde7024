"""Plain NumPy twins of the kernels that look how far the response falls around maxima."""

from __future__ import annotations

import numpy as np
from scipy import special


def light_of(at, others, number):
    """The response at points (..., 3) to other spots than the one of a number."""
    places, light, quarter, reach = others
    light = np.where(np.arange(len(light)) == number, 0.0, light)
    away = at[..., None, :] - places
    near = np.abs(away[..., 0]) <= reach
    return np.sum(np.where(near, light * np.exp(-(away**2 @ quarter)), 0.0), axis=-1)


def chance_of_falls(response, point, error, rays, others, own):
    """The chance that the response falls as little around a spot as around a maximum."""
    offsets, opposite = rays
    at = point + offsets
    there = np.all((at >= 0) & (at < response.shape), axis=-1)
    inside = np.clip(at, 0, np.array(response.shape) - 1)
    values = response[tuple(np.moveaxis(inside, -1, 0))].astype(float) - light_of(
        inside, others, own
    )
    middle = float(response[tuple(point)]) - light_of(point.astype(float), others, own)
    number = max(offsets.shape[1] // 3, 1)
    dark = np.sort(values[0][there[0]])[:number].mean() if there[0].any() else np.inf
    if not dark < middle:
        return 1.0
    heights = np.where(there, (values - dark) / (middle - dark), 0.0)  # (radii, directions)
    if not heights[0].max() > 0.3:
        return 1.0
    two = np.where(opposite, np.minimum(heights[0][:, None], heights[0]), 0.3).max()
    rows = heights[0] > 0.3
    least = heights.min(axis=0)
    least = least - np.maximum(heights.max(axis=0) - 2.0 * least, 0.0)
    one = np.clip(heights, -0.3, 1.0).mean(axis=0)
    other = np.roll(one, len(one) // 2)
    both = np.minimum(0.5 * (one + other), 2.0 * np.minimum(one, other))
    excess = max(two - 0.5, (least[rows] - 0.5).max(), (both[rows] - 0.45).max())
    return special.ndtr(-excess / (0.22 * max(error / (middle - dark), 1e-9)))


def count_near(points, others, reach):
    """How many of the others are near points."""
    places, _, quarter, _ = others
    away = points[:, None] - places
    near = (away**2 @ quarter <= reach[0]) & (np.abs(away[..., 0]) <= reach[1])
    return near.sum(axis=1)
