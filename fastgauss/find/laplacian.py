"""Spots by their curvature: maxima of a Laplacian of a Gaussian above the noise threshold.

In an image, the Laplacian has two thirds of the signal-to-noise ratio of a matched filter, and it
separates closer spots. It serves for a threshold in the image's units, and for crowds.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ..base.progress import Progress
from ..kernels.find import noise_samples
from . import cells, log_filter
from .cells import Cells
from .maxima_counts import least_significance
from .noise import LIVE, cell_samples
from .peaks import candidates
from .response import Picture, correlate_picture
from .surroundings import look_around


def curved_spots(
    picture: Picture,
    sigmas: tuple[float, float, float],
    threshold: float | None,
    factor: float,
    least: float,
    threads: int | None,
    report: Progress | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The response, and its maxima ``(n, 3)`` that are spots, the strongest first.

    Spots exceed a threshold in the image's units, else ``factor`` times the local noise, which is
    not less than that of pixels with the deviation ``least``.
    """
    terms, gain = log_filter.spot_filter(sigmas)
    response = correlate_picture(picture.volume, terms, threads, report)
    division = cells.divide(response.shape, sigmas)
    if threshold is not None:
        levels = np.full(len(division), threshold / picture.unit)
    else:
        centres, noise = response_noise(picture, response, division, least * gain)
        levels = centres + factor * noise
    points, strength = candidates(picture, response, float(levels.min()), sigmas[0], threads)
    good = strength > division.values(levels, straight=False).at(points)[0]
    points, strength = points[good], strength[good]
    good = look_around(picture, points, sigmas, threads).stand_out(strength.astype(np.float64))
    order = np.argsort(-strength[good], kind="stable")
    return response, points[good][order]


def response_noise(
    picture: Picture, response: np.ndarray, division: Cells, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """The centre of the response in each cell, and its noise, which is ``least`` or more."""
    ordered, live = cell_samples(picture, response, division, picture.blocked)
    noise = np.empty((5, len(ordered)))
    noise_samples.clipped_noise(ordered, live, noise)
    centres, deviations = noise[:2]
    shown = live >= LIVE * ordered.shape[1]
    for values in () if shown.all() else (centres, deviations):
        values[~shown] = np.median(values[shown]) if shown.any() else 0.0
    return centres, np.maximum(deviations, least)


@lru_cache(maxsize=8)
def _correlations(sigmas: tuple[float, float, float]) -> tuple[tuple[float, float], ...]:
    """Correlations of responses to white noise one and two pixels apart, along each axis."""
    terms, _ = log_filter.spot_filter(sigmas)
    active = [axis for axis in range(3) if sigmas[axis] > 0]
    full = [
        [np.concatenate([p.half[:0:-1], p.half]) for p in (term[a] for a in active)]
        for term in terms
    ]

    def covariance(lags: list[int]) -> float:
        return sum(
            math.prod(
                float(p[lag:] @ q[: len(q) - lag]) for p, q, lag in zip(a, b, lags, strict=True)
            )
            for a in full
            for b in full
        )

    unit = np.eye(len(active), dtype=int)
    whole = covariance([0] * len(active))
    return tuple(
        (covariance(one.tolist()) / whole, covariance((2 * one).tolist()) / whole) for one in unit
    )


def noise_factor(false_alarms: float, pixels: float, sigmas: tuple[float, float, float]) -> float:
    """Deviations of the response above which noise has ``false_alarms`` maxima."""
    return least_significance(false_alarms, pixels, _correlations(sigmas))
