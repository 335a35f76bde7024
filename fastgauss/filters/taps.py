"""Filter taps and boundary modes: sampled Gaussian profiles, and maps of an axis beyond its ends.

A profile is symmetric or antisymmetric and given by its half f(0) .. f(r). Correlated with the
image, the derivative of order m of the sampled Gaussian g of sum 1 is

    f(k) = He_m(k / sigma) / sigma**m g(k),    f(-k) = (-1)**m f(k)

with the probabilist's Hermite polynomial He_m: the coefficients of scipy.ndimage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

TRUNCATE = 4.0  # radius of a profile in sigmas


@dataclass(frozen=True, eq=False)  # the same profile is the same object: caches know it by that
class Profile:
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


# -- boundary modes: the index of the element at place i of an axis of n elements; -1 is a constant


def _reflect(i: np.ndarray, n: int) -> np.ndarray:
    """``d c b a | a b c d | d c b a``."""
    i = i % (2 * n)
    return np.where(i < n, i, 2 * n - 1 - i)


def _mirror(i: np.ndarray, n: int) -> np.ndarray:
    """``d c b | a b c d | c b a``."""
    period = max(2 * n - 2, 1)
    i = i % period
    return np.where(i < n, i, period - i)


def _nearest(i: np.ndarray, n: int) -> np.ndarray:
    """``a a a | a b c d | d d d``."""
    return i.clip(0, n - 1)


def _wrap(i: np.ndarray, n: int) -> np.ndarray:
    """``b c d | a b c d | a b c``."""
    return i % n


def _constant(i: np.ndarray, n: int) -> np.ndarray:
    """``v v v | a b c d | v v v``."""
    return np.where((i >= 0) & (i < n), i, -1)


MODES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "reflect": _reflect,
    "constant": _constant,
    "nearest": _nearest,
    "mirror": _mirror,
    "wrap": _wrap,
}


def axis_map(n: int, reach: int, mode: str) -> np.ndarray:
    """The index of the element at each of the places ``-reach .. n + reach - 1``."""
    return MODES[mode](np.arange(-reach, n + reach), n)


# -- profiles ----------------------------------------------------------------------------------


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
