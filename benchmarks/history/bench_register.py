"""asv: one pair of images, and a thousand windows."""

from __future__ import annotations

import numpy as np

import fastgauss as fg
from benchmarks.comparisons.register import cloud, pairs, scene


class TwoImages:
    """Noisy clouds."""

    params = (128, 512)
    param_names = ("side (px)",)

    def setup(self, n: int) -> None:
        self.a, self.b, _, _ = next(pairs("crop", n, 0.1, 1))
        self.time_align(n)

    def time_align(self, n: int) -> None:
        fg.register.align(self.a, self.b, 0.1, 0.1)

    def time_align_periodic(self, n: int) -> None:
        fg.register.align(self.a, self.b, 0.1, 0.1, boundary="wrap")

    def time_chi2_shift(self, n: int) -> None:
        fg.register.chi2_shift(self.a, self.b, 0.1)


class Windows:
    """1024 windows of 64 x 64, one thread."""

    def setup(self) -> None:
        rng = np.random.default_rng(0)
        spectrum = cloud(1056, rng)
        self.a, self.b = (
            scene(spectrum, 1056, *d) + rng.normal(0, 0.05, (1056, 1056)) for d in ((0, 0), (3, 1))
        )
        self.time_displacement_field()

    def time_displacement_field(self) -> None:
        fg.register.displacement_field(self.a, self.b, 64, 32, 0.05, threads=1)

    def peakmem_displacement_field(self) -> None:
        self.time_displacement_field()
