"""asv: deposits and gathers of a million particles in a cube of 128 nodes, one thread."""

from __future__ import annotations

import numpy as np

import fastgauss as fg

SIDE, COUNT = 128, 1_000_000


class Deposit:
    """Unsorted particles."""

    params = ("nearest", "linear", "quadratic", "cubic")
    param_names = ("kernel",)

    def setup(self, kernel: str) -> None:
        self.grid = fg.Grid((SIDE,) * 3, periodic=True)
        self.positions = np.random.default_rng(0).uniform(0, SIDE, (COUNT, 3))
        self.values = np.ones(COUNT)
        self.out = np.zeros(self.grid.shape)
        self.time_deposit(kernel)
        self.time_gather(kernel)

    def time_deposit(self, kernel: str) -> None:
        fg.deposit(self.grid, self.positions, self.values, kernel, self.out, threads=1)

    def time_gather(self, kernel: str) -> None:
        fg.gather(self.out, self.positions, kernel, self.grid, threads=1)

    def peakmem_deposit(self, kernel: str) -> None:
        fg.deposit(self.grid, self.positions, self.values, kernel, self.out, threads=1)
