"""The Laplacian-of-Gaussian filter: its taps and its noise gain."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ..filters.taps import NOTHING, Profile, Term, gaussian, radius_of

# -- the filter of find_spots ------------------------------------------------------------------


@lru_cache(maxsize=32)
def smoothing(sigmas: tuple[float, ...]) -> Term:
    """A Gaussian of sum 1; an axis of sigma 0 is not filtered."""
    return tuple(gaussian(s, radius=max(1, radius_of(s))) if s > 0 else NOTHING for s in sigmas)


def curvature(smooth: np.ndarray) -> np.ndarray:
    """Half of the negative second derivative of a Gaussian, with zero sum and first moment.

    The continuous function is (sigma**2 - k**2) G(k) / sigma**4. With the second moment of the
    *sampled* profile in place of sigma**2 the sum is exactly zero. The factor 1 / sigma**4 is left
    out.
    """
    k2 = np.arange(len(smooth)) ** 2.0
    return (2.0 * np.sum(k2 * smooth) - k2) * smooth


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    """Scalar product of two symmetric profiles given by their halves."""
    return float(2.0 * np.dot(a, b) - a[0] * b[0])


@lru_cache(maxsize=4)
def spot_filter(sigmas: tuple[float, ...]) -> tuple[tuple[Term, ...], float]:
    """Scale-normalised negative Laplacian of Gaussian, and its noise gain.

    The sum over the axes of -sigma_a**2 d2/dx_a2 of the Gaussian, times the number that
    makes the response to a sampled Gaussian spot of these sigmas equal its amplitude
    at its centre. The noise gain is the standard deviation of the response to
    independent noise of standard deviation 1.

    Returns
    -------
    terms : tuple of Term
        One for each axis whose sigma is not 0.
    gain : float
    """
    active = [axis for axis, sigma in enumerate(sigmas) if sigma > 0]
    smooth = [profile.half for profile in smoothing(sigmas)]
    curved = {a: curvature(smooth[a]) / sigmas[a] ** 2 for a in active}
    spot = {a: smooth[a] / smooth[a][0] for a in active}
    terms = [[curved[a] if a == b else smooth[b] for b in range(len(sigmas))] for a in active]
    height = sum(math.prod(_dot(term[a], spot[a]) for a in active) for term in terms)
    for axis, term in zip(active, terms, strict=True):
        term[axis] = term[axis] / height
    power = sum(math.prod(_dot(p[a], q[a]) for a in active) for p in terms for q in terms)
    return tuple(tuple(map(Profile, term)) for term in terms), math.sqrt(power)
