"""asv: fields of particles, planned once and used often, and fits of their amplitudes."""

from __future__ import annotations

import numpy as np

import fastgauss as fg

from ..common.amplitude_fits import NOISE
from ..common.grid_peers import TOL, Scene, make_scene

DTYPES = ("float64", "float32")
COUNT = 100_000
ALL = ("amplitudes", "positions", "sigmas")


def scene_of(count: int, dtype: str = "float64", threads: int = 1, side: int = 128) -> Scene:
    """Particles of sigma 1 in a cube."""
    return make_scene(side, count, np.dtype(dtype).type, threads)


class FieldSweeps:
    """1e5 particles in 128**3 nodes: into an array, back, and with all derivatives."""

    params = (DTYPES, (1, 2))
    param_names = ("dtype", "threads")

    def setup(self, dtype: str, threads: int) -> None:
        scene = scene_of(COUNT, dtype, threads)
        self.field, self.amplitudes = scene.field(), scene.amplitudes
        self.out, self.volume = np.zeros(scene.shape, dtype), scene.volume()
        self.time_render(dtype, threads)
        self.time_adjoint(dtype, threads)
        self.time_loss_and_gradient(dtype, threads)

    def time_render(self, dtype: str, threads: int) -> None:
        self.field.render(self.amplitudes, out=self.out)

    def time_adjoint(self, dtype: str, threads: int) -> None:
        self.field.adjoint(self.volume)

    def time_loss_and_gradient(self, dtype: str, threads: int) -> None:
        self.field.loss_and_gradient(self.volume, self.amplitudes, wrt=ALL)


class FieldWidths:
    """One sigma, a sigma for each particle and axis, a covariance for each."""

    params = ("common", "each", "covariance")
    param_names = ("widths",)

    def setup(self, widths: str) -> None:
        scene = scene_of(COUNT)
        options = {
            "common": {},
            "each": {"sigma": np.ones((COUNT, 3))},
            "covariance": {"covariance": np.tile(np.eye(3), (COUNT, 1, 1))},
        }[widths]
        self.field, self.out = scene.field(**options), np.zeros(scene.shape)
        self.time_render(widths)

    def time_render(self, widths: str) -> None:
        self.field.render(1.0, out=self.out)


class FieldPlan:
    """From particles in random order."""

    def setup(self) -> None:
        self.scene = scene_of(COUNT)
        self.out = np.zeros(self.scene.shape)
        self.time_plan()
        self.time_render_unsorted()

    def time_plan(self) -> None:
        self.scene.field()

    def time_render_unsorted(self) -> None:
        scene = self.scene
        fg.render(scene.shape, scene.positions, scene.amplitudes, tol=TOL, out=self.out, threads=1)


class FieldFew:
    """1e3 particles in 128**3 nodes that are there: the grid must cost nothing."""

    def setup(self) -> None:
        self.scene = scene_of(1000)
        self.field, self.out = self.scene.field(), np.zeros(self.scene.shape)
        self.time_render_few()

    def time_render_few(self) -> None:
        self.field.render(self.scene.amplitudes, out=self.out)


class FieldFits:
    """Amplitudes of 1e4 particles in 128**3 nodes; errors are computed when asked for."""

    params = (1, 2)
    param_names = ("threads",)

    def setup(self, threads: int) -> None:
        scene = scene_of(10_000, threads=threads)
        self.field = scene.field()
        self.data = self.field.render(scene.amplitudes) + NOISE * scene.volume()
        self.time_fit_amplitudes(threads)
        self.time_fit_amplitudes_nonnegative(threads)
        self.time_fit_amplitudes_with_errors(threads)

    def time_fit_amplitudes(self, threads: int) -> None:
        self.field.fit_amplitudes(self.data)

    def time_fit_amplitudes_nonnegative(self, threads: int) -> None:
        self.field.fit_amplitudes(self.data, nonnegative=True)

    def time_fit_amplitudes_with_errors(self, threads: int) -> None:
        _ = self.field.fit_amplitudes(self.data).errors


class FieldMemory:
    """Peak of the whole process: 1e6 particles (32 MB with amplitudes) in a grid of 17 MB."""

    def setup(self) -> None:
        self.scene = scene_of(1000)

    def peakmem_plan_and_render(self) -> None:
        scene = scene_of(1_000_000)
        scene.field().render(scene.amplitudes, out=np.zeros(scene.shape))

    def peakmem_fit_amplitudes(self) -> None:
        scene = scene_of(10_000)
        scene.field().fit_amplitudes(scene.volume())
