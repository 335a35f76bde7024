"""asv: lines through 2500 rows of 1500 numbers, and principal components; one thread."""

from __future__ import annotations

import numpy as np

import fastgauss as fg


class FitLines:
    """Whole rows and columns, and rows with holes."""

    params = (("float32", "float64"), (0, 1), (False, True))
    param_names = ("dtype", "axis", "with NaN")

    def setup(self, dtype: str, axis: int, holes: bool) -> None:
        rng = np.random.default_rng(0)
        self.image = rng.normal(size=(2500, 1500)).astype(dtype)
        if holes:
            self.image[rng.uniform(size=self.image.shape) < 0.01] = np.nan
        self.time_fit_lines(dtype, axis, holes)
        self.time_level(dtype, axis, holes)

    def time_fit_lines(self, dtype: str, axis: int, holes: bool) -> None:
        fg.fit_lines(self.image, axis=axis, threads=1)

    def time_level(self, dtype: str, axis: int, holes: bool) -> None:
        fg.level(self.image, axis=axis, threads=1)


class Pca:
    """Covariance route."""

    params = (((10_000, 50), (100_000, 64), (1_000_000, 10)),)
    param_names = ("rows and columns",)

    def setup(self, shape: tuple[int, int]) -> None:
        self.data = np.random.default_rng(0).normal(size=shape)

    def time_pca(self, shape: tuple[int, int]) -> None:
        fg.pca(self.data)
