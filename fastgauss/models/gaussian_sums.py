"""Concentric Gaussians of one axis ratio and angle, in numbers that are free of singularities."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..base.widths import FWHM
from .psf import PsfModel, psf_model

_HALVINGS, _FAR = 60, 37.0  # of an interval; sigmas beyond which a Gaussian is 0


class Shapes(NamedTuple):
    """Sums of Gaussians at places."""

    weights: np.ndarray  # (K,)
    sigmas: np.ndarray  # (..., K), increasing
    ellipse: np.ndarray  # (..., 2): e and d


def gaussian_sum(shapes: Shapes, rotated: bool) -> PsfModel:
    """The model of one place."""
    weights, sigmas, (e, d) = shapes
    size = math.hypot(e, d) if rotated else e
    widths = np.stack([sigmas * math.exp(-0.5 * size), sigmas * math.exp(0.5 * size)], axis=1)
    if rotated and size > 0.0:
        return psf_model(weights, widths, theta=np.full(len(weights), 0.5 * math.atan2(d, e)))
    return psf_model(weights, widths)


def own_sigmas(shapes: Shapes) -> np.ndarray:
    """The sigmas of the round Gaussians of the same full width at half maximum (...)."""
    weights, sigmas, _ = shapes
    heights = weights / sigmas**2
    half = 0.5 * heights.sum(axis=-1)
    near, far = np.zeros(half.shape), 12.0 * sigmas[..., -1]
    for _ in range(_HALVINGS):
        radius = 0.5 * (near + far)
        value = heights * np.exp(-0.5 * np.minimum(radius[..., np.newaxis] / sigmas, _FAR) ** 2)
        high = value.sum(axis=-1) > half
        near, far = np.where(high, radius, near), np.where(high, far, radius)
    return near * (2.0 / FWHM)
