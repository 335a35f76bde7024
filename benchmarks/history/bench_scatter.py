"""asv: adding to bins, statistics by bin, histograms."""

from __future__ import annotations

import numpy as np

import fastgauss as fg

from ..comparisons.scatter import BINS, Job, pairs


class AddAt:
    """Two million pairs."""

    params = (list(BINS.values())[:2], ["random", "sorted"], [1, 2])
    param_names = ("bins", "order", "threads")

    def setup(self, bins: int, order: str, threads: int) -> None:
        self.indices, self.values = pairs(Job(bins, order, "int64"), 2_000_000)
        self.out = np.zeros(bins)
        self.time_add_at(bins, order, threads)
        self.time_bin_statistics(bins, order, threads)

    def time_add_at(self, bins: int, order: str, threads: int) -> None:
        fg.add_at(self.out, self.indices, self.values, threads=threads)

    def time_bin_statistics(self, bins: int, order: str, threads: int) -> None:
        fg.bin_statistics(self.indices, self.values, bins, threads=threads)


class AddAtSmall:
    """What a call costs that has next to nothing to do."""

    def setup(self) -> None:
        self.out, self.indices, self.values = np.zeros(100), np.arange(10), np.ones(10)
        self.time_add_at_10_pairs()

    def time_add_at_10_pairs(self) -> None:
        fg.add_at(self.out, self.indices, self.values)


class Histogram:
    """Two million weighted points in a plane."""

    params = ([256, 1024], [1, 2])
    param_names = ("bins an axis", "threads")

    def setup(self, side: int, threads: int) -> None:
        *self.points, self.weights = np.random.default_rng(0).random((3, 2_000_000))
        self.time_histogram(side, threads)

    def time_histogram(self, side: int, threads: int) -> None:
        limits = ((0.0, 1.0), (0.0, 1.0))
        fg.histogram(tuple(self.points), side, limits, self.weights, threads=threads)
