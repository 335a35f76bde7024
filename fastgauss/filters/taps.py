"""Gaussian profiles as filters, and what lies beyond the end of an axis.

A profile is symmetric or antisymmetric and given by its half f(0) .. f(r). The derivative of
order m of the sampled Gaussian g of sum 1 is, correlated with the image,

    f(k) = He_m(k / sigma) / sigma**m g(k),    f(-k) = (-1)**m f(k)

with the probabilist's Hermite polynomial He_m: the coefficients of scipy.ndimage.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

TRUNCATE = 4.0  # radius of a profile in sigmas
MODES = ("reflect", "constant", "nearest", "mirror", "wrap")


class Profile(NamedTuple):
    """Half a profile, and whether the other half has the opposite sign."""

    half: np.ndarray
    odd: bool = False

    @property
    def radius(self) -> int:
        """Elements on either side of the middle one."""
        return len(self.half) - 1

    @property
    def trivial(self) -> bool:
        """Whether it leaves everything as it is."""
        return len(self.half) == 1 and self.half[0] == 1.0


Term = tuple[Profile, ...]  # one an axis
NOTHING = Profile(np.ones(1))


def axis_map(n: int, reach: int, mode: str) -> np.ndarray:
    """Which of n elements lie at the places ``-reach .. n + reach - 1``; -1 is a constant.

    reflect ``d c b a | a b c d | d c b a``, mirror ``d c b | a b c d | c b a``,
    nearest ``a a a | a b c d | d d d``, wrap ``b c d | a b c d | a b c``.
    """
    i = np.arange(-reach, n + reach)
    if mode == "nearest":
        return i.clip(0, n - 1)
    if mode == "constant":
        return np.where((i >= 0) & (i < n), i, -1)
    if mode == "wrap":
        return i % n
    period = 2 * n if mode == "reflect" else max(2 * n - 2, 1)
    i %= period
    return np.where(i < n, i, period - i - (mode == "reflect"))


def radius_of(sigma: float, truncate: float = TRUNCATE) -> int:
    """Radius in pixels of the profile of a Gaussian."""
    return int(truncate * sigma + 0.5)


def gaussian(sigma: float, order: int = 0, radius: int | None = None) -> Profile:
    """A sampled Gaussian of sum 1, or a derivative of it, cut at a radius."""
    k = np.arange((radius_of(sigma) if radius is None else radius) + 1)
    half = np.exp(-0.5 * (k / sigma) ** 2)
    half /= 2.0 * half.sum() - half[0]
    if order:
        hermite = np.polynomial.hermite_e.hermeval(k / sigma, [0.0] * order + [1.0])
        half = hermite / sigma**order * half
    return Profile(half, order % 2 == 1)


# -- the filter of find_spots ------------------------------------------------------------------


def smoothing(sigmas: tuple[float, ...]) -> Term:
    """A Gaussian of sum 1; a sigma of 0 leaves its axis alone."""
    return tuple(gaussian(s, radius=max(1, radius_of(s))) if s > 0 else NOTHING for s in sigmas)


def curvature(smooth: np.ndarray) -> np.ndarray:
    """Half the negative second derivative of a Gaussian profile, without sum or first moment.

    The continuous one is (sigma**2 - k**2) G(k) / sigma**4. With the second moment of
    the *sampled* profile for sigma**2 its sum vanishes exactly; the factor is left out.
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
