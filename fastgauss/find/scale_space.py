"""Spots of several sizes: each is found at the scale at which it is most significant.

Every scale is searched separately, with the same least significance. The expected number of false
spots is that of maxima over places and scales (``maxima_counts``), with the correlations of two
filters

    rho(s, t) = prod_a sqrt(2 s_a t_a / (s_a**2 + t_a**2))

Then spots are accepted one after the other, the one with the largest signal-to-noise ratio first. A
weaker maximum at another scale is rejected where it is close to an accepted spot, or where the
light of the accepted spots explains so much of it that the rest is not significant.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from . import maxima_counts
from .significance import correlations

Sigmas = tuple[float, ...]

_RING = 2.8  # sigmas from a maximum to the middle of the ring around it
_NEAR = 3.0  # sigmas of the wider one within which spots of two scales are compared


def _correlation(one: Sigmas, other: Sigmas) -> float:
    """The correlation of the responses of two scales to white noise."""
    return math.prod(
        math.sqrt(2.0 * s * t / (s**2 + t**2)) for s, t in zip(one, other, strict=True) if s > 0
    )


def least_significance(
    false_alarms: float, pixels: float, scales: list[tuple[float, float, float]]
) -> float:
    """Significance above which noise has ``false_alarms`` maxima over places and scales."""
    known: list[tuple[maxima_counts.Correlations, maxima_counts.ScaleCorrelations]] = []
    for k, sigmas in enumerate(scales):
        beside = [scales[m] for m in (k - 1, k + 1) if 0 <= m < len(scales)]
        rho = [_correlation(sigmas, other) for other in beside]
        along: maxima_counts.ScaleCorrelations = ()
        if rho:
            along = rho[0], rho[-1], _correlation(beside[0], beside[-1])
        known.append((correlations(sigmas), along))
    return maxima_counts.least_of_scales(false_alarms, pixels, tuple(known))


class Maxima:
    """Maxima at several scales."""

    def __init__(
        self, places: np.ndarray, scale: np.ndarray, amplitude: np.ndarray,
        strength: np.ndarray, sigmas: np.ndarray, distances: np.ndarray,
    ) -> None:  # fmt: skip
        self.places = places.astype(np.float64)  # (n, D)
        self.scale = scale  # (n,) rows of the next two
        self.amplitude = np.abs(np.nan_to_num(amplitude))
        self.strength = strength  # significance, or the height of the response
        self.sigmas, self.distances = sigmas, distances  # (K, D)

    def spots(self, level: float | None) -> np.ndarray:
        """Which maxima are spots of their own, the strongest first.

        ``level`` is the least significance that has to be left; None: the strength is none.
        """
        # A spot's light is noise, too: significance favours what is narrow where it is bright.
        size = np.sqrt(self.sigmas.prod(axis=1))[self.scale]
        clear = self.strength if level is None else self.amplitude * size
        order = np.lexsort((self.scale, -self.strength, -clear))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        first, second = self._pairs(rank)
        close = self._are_close(first, second)
        light = np.zeros(len(first)) if level is None else self._light(first, second)
        keep = np.ones(len(order), bool)
        explained = np.zeros(len(order))
        by_second = np.lexsort((rank[first], rank[second]))
        for pair in by_second:
            one, other = first[pair], second[pair]
            if not keep[one]:
                continue
            explained[other] += light[pair]
            rest = 1.0 - explained[other] / max(self.amplitude[other], 1e-300)
            if close[pair] or (level is not None and self.strength[other] * rest < level):
                keep[other] = False
        own = np.flatnonzero(keep)
        return own[np.lexsort((rank[own], -self.strength[own]))]

    def _pairs(self, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of near maxima of two scales: the stronger one and the other one."""
        from scipy.spatial import KDTree

        ones, others = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        rows = [np.flatnonzero(self.scale == k) for k in range(len(self.sigmas))]
        for m, larger in enumerate(rows):
            reach = max(_NEAR * self.sigmas[m].max(), self.distances[m].max())
            if not len(larger):
                continue
            tree = KDTree(self.places[larger])
            for smaller in rows[:m]:
                near = tree.query_ball_point(self.places[smaller], reach)
                counts = np.fromiter(map(len, near), np.int64, len(near))
                ones.append(np.repeat(smaller, counts))
                others.append(larger[np.fromiter(itertools.chain.from_iterable(near), np.int64)])
        one, other = np.concatenate(ones), np.concatenate(others)
        swap = rank[one] > rank[other]
        return np.where(swap, other, one), np.where(swap, one, other)

    def _are_close(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Which pairs are closer than two spots of the smaller scale may be."""
        least = np.minimum(self.distances[self.scale[first]], self.distances[self.scale[second]])
        away = (self.places[first] - self.places[second]) / np.maximum(least, 0.5)
        return (away**2).sum(axis=1) < 1.0

    def _light(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The amplitude that the first of each pair adds to the second, beside its ring."""
        own, seen = self.sigmas[self.scale[first]], self.sigmas[self.scale[second]]
        away = self.places[second] - self.places[first]
        both = own**2 + seen**2
        middle = np.prod(
            math.sqrt(2.0) * own / np.sqrt(both) * np.exp(-0.5 * away**2 / both), axis=1
        )
        ring = np.zeros(len(first))
        ndim = away.shape[1]
        for axis in range(ndim):
            for side in (-_RING, _RING):
                moved = away.copy()
                moved[:, axis] += side * seen[:, axis]
                ring += np.exp(-0.5 * ((moved / own) ** 2).sum(axis=1)) / (2 * ndim)
        light = middle - 2.0 ** (0.5 * ndim) * ring
        return self.amplitude[first] * np.maximum(light, 0.0)
