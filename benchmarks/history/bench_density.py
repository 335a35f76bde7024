"""asv: kernel densities at arbitrary points, one thread."""

from __future__ import annotations

import numpy as np

import fastgauss as fg

POINTS = 10_000


class Kde:
    """Normal samples, Scott's bandwidth."""

    params = ((1, 2, 3), (1e-3, 1e-6))
    param_names = ("dimensions", "tol")

    def setup(self, dimensions: int, tol: float) -> None:
        rng = np.random.default_rng(0)
        n = 100_000 if dimensions < 3 else 10_000
        self.samples = rng.normal(size=(n, dimensions))
        self.points = rng.normal(size=(POINTS, dimensions))
        self.time_kde(dimensions, tol)

    def time_kde(self, dimensions: int, tol: float) -> None:
        fg.kde(self.samples, self.points, tol=tol, threads=1)

    def peakmem_kde(self, dimensions: int, tol: float) -> None:
        fg.kde(self.samples, self.points, tol=tol, threads=1)


class KdeBounded:
    """Positive data in one dimension."""

    params = ("reflect", "renormalize", "linear", "log")
    param_names = ("boundary",)

    def setup(self, boundary: str) -> None:
        self.samples = np.random.default_rng(0).exponential(size=100_000)
        self.time_kde(boundary)
        self.time_isj_bandwidth(boundary)

    def time_kde(self, boundary: str) -> None:
        fg.kde(self.samples, self.samples[:POINTS], bounds=(0, None), boundary=boundary, threads=1)

    def time_isj_bandwidth(self, boundary: str) -> None:
        fg.kde(self.samples, bandwidth="isj", bounds=(0, None), boundary=boundary, threads=1)
