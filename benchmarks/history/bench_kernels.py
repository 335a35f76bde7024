"""asv: public kernels in a caller's own compiled loop, one thread; and its first call."""

from __future__ import annotations

import numpy as np
from numba import njit

import fastgauss as fg
from fastgauss import kernels

COUNT, ROI = 100_000, 11

spot = kernels.make_evaluate("symmetric", 2)
fit = kernels.make_roi_fit("symmetric", 2)
paint = kernels.make_paint(3)
deposit = kernels.make_deposit(3)
gather = kernels.make_gather(3)


@njit
def numbers(p, x, y, out):
    """One point after the other."""
    for i in range(x.size):
        out[i] = spot((x[i], y[i]), p)


@njit
def lanes(p, x, y, out):
    """Eight points at a time."""
    for i in range(0, x.size, kernels.WIDTH):
        kernels.store(out, i, spot((kernels.load(x, i), kernels.load(y, i)), p))


@njit
def fit_each(rois, out):
    """One ROI a call."""
    for i in range(len(rois)):
        out[i] = fit(rois[i : i + 1], 1e-6, 50)[0][0, 3]


@njit
def paint_each(grid, places):
    """Windows of nine nodes an axis."""
    for i in range(len(places)):
        paint(grid, (places[i, 0], places[i, 1], places[i, 2]), 1.0, 1.0, 4.2919)


@njit
def share_each(grid, places):
    """Cloud in cell, particle by particle."""
    for i in range(len(places)):
        deposit(grid, (places[i, 0], places[i, 1], places[i, 2]), 1.0)


@njit
def read_each(grid, places, out):
    """The same, the other way."""
    for i in range(len(places)):
        out[i] = gather(grid, (places[i, 0], places[i, 1], places[i, 2]))


class OwnLoop:
    """A hundred thousand points, particles, or a thousand ROIs."""

    def setup(self) -> None:
        rng = np.random.default_rng(0)
        self.p = (5.0, 30.0, 40.0, 9.0, 1.0)
        self.x, self.y = rng.uniform(0, 60, (2, COUNT))
        self.out = np.empty(COUNT)
        self.places = rng.uniform(0, 64, (COUNT, 3))
        self.grid = np.zeros((64, 64, 64))
        params = np.column_stack([np.full(1000, 50.0), rng.uniform(4, 6, (1000, 2))])
        params = np.column_stack([params, np.full(1000, 1.3), np.full(1000, 5.0)])
        self.rois = fg.image(params, (ROI, ROI), "symmetric") + rng.normal(0, 1, (1000, ROI, ROI))
        for name in dir(self):
            if name.startswith("time_"):
                getattr(self, name)()

    def time_evaluate_numbers(self) -> None:
        numbers(self.p, self.x, self.y, self.out)

    def time_evaluate_lanes(self) -> None:
        lanes(self.p, self.x, self.y, self.out)

    def time_fit_one_roi_a_call(self) -> None:
        fit_each(self.rois, self.out)

    def time_paint(self) -> None:
        paint_each(self.grid, self.places[:10_000])

    def time_deposit(self) -> None:
        share_each(self.grid, self.places)

    def time_gather(self) -> None:
        read_each(self.grid, self.places, self.out)
