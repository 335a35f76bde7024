"""The outline of a sum of Gaussians: its peak, its dip and its full width."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

_RAYS, _RADII, _HALVINGS = 64, 600, 60
_EMPTY = 1400.0  # of which the exponential is 0


class Outline(NamedTuple):
    """Peak, dip and full width at half maximum of a profile of flux 1."""

    peak: float  # its highest value,
    x: float  # and where that is
    y: float
    dip: float  # how far it falls below 0
    fwhm: float


def profile(components: np.ndarray, x: Any, y: Any) -> Any:
    """The profile of flux 1 at distances from the centre."""
    total = 0.0
    for weight, dx, dy, sigma_x, sigma_y, theta in components.tolist():
        cos, sin = math.cos(theta), math.sin(theta)
        u = ((x - dx) * cos + (y - dy) * sin) / sigma_x
        v = ((y - dy) * cos - (x - dx) * sin) / sigma_y
        height = weight / (2.0 * math.pi * sigma_x * sigma_y)
        total = total + height * np.exp(-0.5 * np.minimum(u * u + v * v, _EMPTY))
    return total


def outline_of(components: np.ndarray) -> Outline:
    """The outline of components ``weight, x, y, sigma_x, sigma_y, theta``.

    Along rays from the peak the radius is searched at which the profile falls below half the peak;
    the width is the diameter of the circle of the same area.
    """
    widths = np.stack([components["sigma_x"], components["sigma_y"]])
    xs, ys = components["x"], components["y"]
    positive = bool((components["weight"] >= 0).all())
    together = bool((xs == xs[0]).all() and (ys == ys[0]).all())
    x, y = (float(xs[0]), float(ys[0])) if positive and together else _highest(components)
    peak = float(profile(components, x, y))
    same = positive and together and bool((widths[0] == widths[1]).all())
    angle = 2.0 * math.pi * np.arange(1 if same else _RAYS)[:, np.newaxis] / _RAYS
    reach = 12.0 * widths.max() + np.hypot(xs - x, ys - y).max()
    radii = np.geomspace(1e-3 * widths.min(), reach, _RADII)
    cos, sin = np.cos(angle), np.sin(angle)
    values = profile(components, x + radii * cos, y + radii * sin)
    below = (values < 0.5 * peak).argmax(axis=1)
    near, far = radii[np.maximum(below - 1, 0)], radii[below]
    for _ in range(_HALVINGS):
        middle = 0.5 * (near + far)
        high = profile(components, x + middle * cos[:, 0], y + middle * sin[:, 0]) > 0.5 * peak
        near, far = np.where(high, middle, near), np.where(high, far, middle)
    fwhm = 2.0 * math.sqrt(float(np.mean(near * far)))
    return Outline(peak, x, y, 0.0 if positive else max(0.0, -float(values.min())), fwhm)


def _highest(components: np.ndarray) -> tuple[float, float]:
    """Where the profile is highest."""
    from scipy.optimize import minimize

    widths = np.maximum(components["sigma_x"], components["sigma_y"])
    away = np.multiply.outer(widths, np.linspace(-2.0, 2.0, 33))
    x = (components["x"][:, np.newaxis] + away)[:, :, np.newaxis]
    y = (components["y"][:, np.newaxis] + away)[:, np.newaxis, :]
    values = profile(components, x, y)
    k, i, j = np.unravel_index(int(values.argmax()), values.shape)
    start, scale = np.array([x[k, i, 0], y[k, 0, j]]), float(widths.min())
    found = minimize(
        lambda d: -profile(components, *(start + scale * d)) / values.max(),
        np.zeros(2),
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-15},
    )
    best = start + scale * found.x
    return float(best[0]), float(best[1])
