"""Filter taps and boundary modes: sampled Gaussian profiles, and maps of an axis beyond its ends.

A profile is symmetric or antisymmetric and given by its half f(0) .. f(r). Correlated with the
image, the derivative of order m of the sampled Gaussian g of sum 1 is

    f(k) = He_m(k / sigma) / sigma**m g(k),    f(-k) = (-1)**m f(k)

with the probabilist's Hermite polynomial He_m: the coefficients of scipy.ndimage.
"""

from __future__ import annotations

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
        """Number of elements on either side of the middle element."""
        return len(self.half) - 1

    @property
    def trivial(self) -> bool:
        """Whether the filter changes nothing."""
        return len(self.half) == 1 and self.half[0] == 1.0


Term = tuple[Profile, ...]  # one profile for each axis
NOTHING = Profile(np.ones(1))


def axis_map(n: int, reach: int, mode: str) -> np.ndarray:
    """The index of the element at each of the places ``-reach .. n + reach - 1``; -1 is a constant.

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
