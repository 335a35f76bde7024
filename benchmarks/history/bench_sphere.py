"""asv: pixels and maps of the sphere."""

from __future__ import annotations

import numpy as np

import fastgauss as fg

from ..comparisons.sphere import make_directions

COUNT = 1_000_000


class HealpixPixel:
    """Pixels of a million directions, one thread."""

    params = ((1024, 2**29), (False, True))
    param_names = ("nside", "nest")

    def setup(self, nside: int, nest: bool) -> None:
        self.theta, self.phi = make_directions(COUNT)
        self.time_healpix_pixel(nside, nest)

    def time_healpix_pixel(self, nside: int, nest: bool) -> None:
        fg.healpix_pixel(self.theta, self.phi, nside, nest, threads=1)


class HealpixAdd:
    """A million directions added to a map."""

    params = ((64, 1024), (1, 2))
    param_names = ("nside", "threads")

    def setup(self, nside: int, threads: int) -> None:
        self.theta, self.phi = make_directions(COUNT)
        self.values = np.ones(COUNT)
        self.sums = np.zeros(12 * nside**2)
        self.time_healpix_add(nside, threads)

    def time_healpix_add(self, nside: int, threads: int) -> None:
        fg.healpix_add(self.sums, self.theta, self.phi, self.values, threads=threads)

    def peakmem_healpix_add(self, nside: int, threads: int) -> None:
        fg.healpix_add(self.sums, self.theta, self.phi, self.values, threads=threads)
