"""Core and ring of maxima: whether a spot's core stands out of the ring around it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..kernels.find import surroundings
from .response import NO_GAP, Picture, each_item

_PROOF = 0.5  # part of the contrast of a noiseless spot that a spot must have


class Around(NamedTuple):
    """The core and the ring of maxima (n,)."""

    core: np.ndarray  # mean
    ring: np.ndarray  # median
    lower: np.ndarray  # of the two middle pixels of the ring
    number: np.ndarray  # of pixels in the ring
    contrast: float  # of a noiseless spot of amplitude 1

    def take(self, chosen: np.ndarray) -> Around:
        """The core and the ring of the chosen maxima."""
        core, ring, lower, number = (column[chosen] for column in self[:4])
        return Around(core, ring, lower, number, self.contrast)

    def stand_out(self, amplitude: np.ndarray) -> np.ndarray:
        """Which maxima have half of the contrast that noiseless spots of an amplitude have."""
        return self.core - (_PROOF * self.contrast) * amplitude >= self.lower


def look_around(
    picture: Picture, points: np.ndarray, sigmas: tuple[float, float, float], threads: int | None
) -> Around:
    """The core and the ring of points (n, 3)."""
    core, ring, contrast = surroundings.core_and_ring(sigmas)
    around = np.empty((4, len(points)))
    gap = NO_GAP if picture.gap is None else picture.gap

    def task(start: int, stop: int) -> None:
        surroundings.look_around(picture.volume, gap, points, core, ring, around, start, stop)

    each_item(len(points), len(ring), task, threads)
    mean, median, lower, number = around
    return Around(mean, median, lower, number, contrast)


class Looked:
    """What was seen around maxima of a picture: at most of them several responses have a maximum.

    To look around a maximum of a large image is to wait for memory; no place is looked at twice.
    """

    def __init__(self, picture: Picture, sigmas: tuple[float, float, float]) -> None:
        self._picture, self._sigmas = picture, sigmas
        self._places = np.full(1, np.iinfo(np.int64).max)  # flat, in order, and one beyond all
        self._seen = np.zeros((4, 1))

    def around(self, points: np.ndarray, threads: int | None) -> Around:
        """As `look_around`."""
        places = np.ravel_multi_index(tuple(points.T), self._picture.volume.shape)
        new = np.flatnonzero(self._places[np.searchsorted(self._places, places)] != places)
        fresh = look_around(self._picture, points[new], self._sigmas, threads)
        every = np.concatenate([self._places, places[new]])
        order = np.argsort(every, kind="stable")  # which merges runs that are in order
        self._places = every[order]
        self._seen = np.concatenate([self._seen, np.stack(fresh[:4])], axis=1).take(order, axis=1)
        at = np.searchsorted(self._places, places)
        core, ring, lower, number = self._seen.take(at, axis=1)
        return Around(core, ring, lower, number, fresh.contrast)


def contrast_noise(sigmas: tuple[float, float, float]) -> float:
    """The deviation of half of a contrast, as an amplitude, in noise of deviation 1."""
    core, ring, contrast = surroundings.core_and_ring(sigmas)
    return math.sqrt(1.0 / len(core) + 0.5 * math.pi / len(ring)) / contrast / _PROOF
