"""asv: Gaussian filters, one thread."""

from __future__ import annotations

import numpy as np

import fastgauss as fg


class GaussianFilter:
    """Smoothing of an image."""

    params = ((512, 2048), ("float32", "float64"), (1.0, 3.0, 10.0))
    param_names = ("side (px)", "dtype", "sigma (px)")

    def setup(self, side: int, dtype: str, sigma: float) -> None:
        self.image = np.random.default_rng(0).normal(size=(side, side)).astype(dtype)
        self.time_gaussian_filter(side, dtype, sigma)

    def time_gaussian_filter(self, side: int, dtype: str, sigma: float) -> None:
        fg.gaussian_filter(self.image, sigma, threads=1)

    def peakmem_gaussian_filter(self, side: int, dtype: str, sigma: float) -> None:
        fg.gaussian_filter(self.image, sigma, threads=1)


class OtherFilters:
    """The other filters, and a volume."""

    def setup(self) -> None:
        rng = np.random.default_rng(0)
        self.image = rng.normal(size=(1024, 1024)).astype(np.float32)
        self.volume = rng.normal(size=(128, 128, 128)).astype(np.float32)
        self.mask = self.image > 2
        for name in dir(self):
            if name.startswith("time_"):
                getattr(self, name)()

    def time_gaussian_laplace(self) -> None:
        fg.gaussian_laplace(self.image, 2.0, threads=1)

    def time_gaussian_gradient_magnitude(self) -> None:
        fg.gaussian_gradient_magnitude(self.image, 2.0, threads=1)

    def time_difference_of_gaussians(self) -> None:
        fg.difference_of_gaussians(self.image, 2.0, threads=1)

    def time_gaussian_filter_masked(self) -> None:
        fg.gaussian_filter(self.image, 2.0, mask=self.mask, threads=1)

    def time_gaussian_filter_fft_sigma_300(self) -> None:
        fg.gaussian_filter(self.image, 300.0, method="fft", threads=1)

    def time_gaussian_filter_volume(self) -> None:
        fg.gaussian_filter(self.volume, 2.0, threads=1)
