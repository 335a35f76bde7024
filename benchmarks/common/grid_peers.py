"""How each package spreads particles on a grid and reads it back: one table for fields.py.

A spreader is prepared for a scene, which includes all planning, and gives a call without
arguments; ``prepare`` raises ImportError where the package is not installed. All particles keep
their whole support inside the grid, so that clipping and wrapping packages do the same work.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

TOL = 1e-4
RADIUS = math.sqrt(-2 * math.log(TOL))  # in sigmas, 4.29
NODES = (2 * RADIUS) ** 3  # mean number of nodes in a box of sigma 1: 633
MARGIN = 6.0

Call = Callable[[], Any]


class Scene(NamedTuple):
    """Particles of sigma 1 on a cube, and a volume to read."""

    side: int
    positions: np.ndarray  # (n, 3), in random order
    amplitudes: np.ndarray  # (n,)
    dtype: Any = np.float64
    threads: int = 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the grid."""
        return (self.side,) * 3

    def first(self, count: int) -> Scene:
        """The first so many particles."""
        return self._replace(positions=self.positions[:count], amplitudes=self.amplitudes[:count])

    def volume(self) -> np.ndarray:
        """Something to read back."""
        return np.random.default_rng(1).normal(size=self.shape).astype(self.dtype)

    def field(self, **options: Any) -> Any:
        """The particles planned by fastgauss."""
        import fastgauss as fg

        options = {"sigma": 1.0, "tol": TOL, "threads": self.threads} | options
        return fg.GaussianField(self.shape, self.positions, **options)


def make_scene(side: int, count: int, dtype: Any = np.float64, threads: int = 1) -> Scene:
    """Particles at random places, in random order."""
    rng = np.random.default_rng(0)
    positions = rng.uniform(MARGIN, side - 1 - MARGIN, (count, 3))
    return Scene(side, positions, rng.uniform(0.5, 1.5, count), dtype, threads)


class Spreader(NamedTuple):
    """A package, how it is called, and how many particles a timed call of it takes."""

    splat: Callable[[Scene], Call] | None = None
    adjoint: Callable[[Scene], Call] | None = None
    gradient: Callable[[Scene], Call] | None = None
    most: int = 10**9
    dtypes: tuple = (np.float64, np.float32)
    threads: tuple[int, ...] = (1,)


def fastgauss_splat(scene: Scene) -> Call:
    """Into an array that is there, as a loop would do it."""
    field, out = scene.field(), np.zeros(scene.shape, scene.dtype)
    return functools.partial(field.render, scene.amplitudes, out=out)


def fastgauss_adjoint(scene: Scene) -> Call:
    """Of an array of the scene's dtype."""
    return functools.partial(scene.field().adjoint, scene.volume())


def fastgauss_loss_and_gradient(scene: Scene) -> Call:
    """Loss and gradient in all parameters: residual, render, sum of squares and gradient pass."""
    wrt = ("amplitudes", "positions", "sigmas")
    return functools.partial(
        scene.field().loss_and_gradient, scene.volume(), scene.amplitudes, wrt=wrt
    )


def fastgauss_gradient_pass(scene: Scene) -> Call:
    """The sums behind the gradient alone, of a residual that is there."""
    from fastgauss.fields import sweeps

    plan, volume = scene.field().plan, scene.volume()
    return lambda: sweeps.gather(plan, volume, scene.threads, derivatives=True)


def _finufft_plan(scene: Scene, kind: int) -> Any:
    """A plan with a kernel 9 nodes wide; 8 in single precision, its widest."""
    import finufft

    single = scene.dtype == np.float32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan = finufft.Plan(
            kind, scene.shape, eps=2e-7 if single else 1e-8, spreadinterponly=1, upsampfac=2.0,
            nthreads=scene.threads, dtype="complex64" if single else "complex128",
        )  # fmt: skip
    plan.setpts(*_finufft_points(scene))
    return plan


def _finufft_points(scene: Scene) -> list[np.ndarray]:
    angles = scene.positions.T * (2 * np.pi / scene.side) - np.pi
    return [np.ascontiguousarray(axis, dtype=scene.dtype) for axis in angles]


def finufft_splat(scene: Scene) -> Call:
    """Of complex strengths, which is all that it has; zeroes the grid first."""
    plan = _finufft_plan(scene, 1)
    kind = np.complex64 if scene.dtype == np.float32 else np.complex128
    strengths, out = scene.amplitudes.astype(kind), np.zeros(scene.shape, kind)
    return lambda: plan.execute(strengths, out)


def finufft_adjoint(scene: Scene) -> Call:
    """Its interpolation, of a complex grid."""
    plan = _finufft_plan(scene, 2)
    kind = np.complex64 if scene.dtype == np.float32 else np.complex128
    volume, out = scene.volume().astype(kind), np.zeros(len(scene.positions), kind)
    return lambda: plan.execute(volume, out)


def finufft_unsorted(scene: Scene) -> Call:
    """Its sort and its spreading."""
    points = _finufft_points(scene)
    plan = _finufft_plan(scene, 1)
    strengths, out = scene.amplitudes.astype(complex), np.zeros(scene.shape, complex)

    def call() -> None:
        plan.setpts(*points)
        plan.execute(strengths, out)

    return call


def gemmi_splat(scene: Scene) -> Call:
    """Neutron density of carbon with B = 8 pi**2, one Gaussian an atom, on a sphere of 4.29 A."""
    import gemmi

    carbon = gemmi.Element("C")
    unit = carbon.neutron92.get_coefs()[0] * (2 * np.pi) ** -1.5
    model, chain, residue = gemmi.Model(1), gemmi.Chain("A"), gemmi.Residue()
    for place, height in zip(scene.positions.tolist(), scene.amplitudes.tolist(), strict=True):
        atom = gemmi.Atom()
        atom.element, atom.pos, atom.b_iso = carbon, gemmi.Position(*place), 8 * np.pi**2
        atom.occ = height / unit
        residue.add_atom(atom)
    chain.add_residue(residue)
    model.add_chain(chain)
    calculator = gemmi.DensityCalculatorN()
    calculator.d_min, calculator.rate, calculator.cutoff = 2.0, 1.0, TOL * unit
    calculator.grid.set_unit_cell(gemmi.UnitCell(*scene.shape, 90, 90, 90))
    calculator.grid.spacegroup = gemmi.SpaceGroup("P1")
    calculator.grid.set_size(*scene.shape)
    return lambda: calculator.add_model_density_to_grid(model)


def sparse_splat(scene: Scene) -> Call:
    """A matrix-vector product; the matrix, 7.6 kB a particle, is there."""
    matrix = scene.field().as_sparse().astype(scene.dtype)
    amplitudes = scene.amplitudes.astype(scene.dtype)
    return lambda: matrix @ amplitudes


def sparse_adjoint(scene: Scene) -> Call:
    """A product with the transpose."""
    matrix = scene.field().as_sparse().T.astype(scene.dtype)
    volume = scene.volume().ravel()
    return lambda: matrix @ volume


def _window(centre: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Nodes and profile of one particle along each axis."""
    nodes = [np.arange(math.ceil(c - RADIUS), math.floor(c + RADIUS) + 1) for c in centre]
    return nodes, [np.exp(-0.5 * (x - c) ** 2) for x, c in zip(nodes, centre, strict=True)]


def numpy_splat(scene: Scene) -> Call:
    """The loop over np.ix_ that people write."""
    out = np.zeros(scene.shape, scene.dtype)

    def call() -> None:
        for centre, height in zip(scene.positions, scene.amplitudes, strict=True):
            nodes, (z, y, x) = _window(centre)
            out[np.ix_(*nodes)] += height * z[:, None, None] * y[:, None] * x

    return call


def numpy_adjoint(scene: Scene) -> Call:
    """The same backwards."""
    volume, out = scene.volume(), np.zeros(len(scene.positions))

    def call() -> None:
        for i, centre in enumerate(scene.positions):
            nodes, (z, y, x) = _window(centre)
            out[i] = (volume[np.ix_(*nodes)] * (z[:, None, None] * y[:, None] * x)).sum()

    return call


@functools.cache
def _numba_loops() -> tuple[Callable, Callable, Callable]:
    """A plain loop over particles with a table an axis, as one writes it in an hour."""
    import numba

    @numba.njit
    def table(centre, values):
        first = math.ceil(centre - RADIUS)
        count = math.floor(centre + RADIUS) - first + 1
        for k in range(count):
            values[k] = math.exp(-0.5 * (first + k - centre) ** 2)
        return first, count

    @numba.njit
    def splat(out, positions, amplitudes):
        z, y, x = np.empty(16), np.empty(16), np.empty(16)
        for p in range(len(positions)):
            k0, nz = table(positions[p, 0], z)
            j0, ny = table(positions[p, 1], y)
            i0, nx = table(positions[p, 2], x)
            for k in range(nz):
                for j in range(ny):
                    factor = amplitudes[p] * z[k] * y[j]
                    for i in range(nx):
                        out[k0 + k, j0 + j, i0 + i] += factor * x[i]

    @numba.njit(fastmath={"reassoc", "contract"})
    def adjoint(volume, positions, sums):
        z, y, x = np.empty(16), np.empty(16), np.empty(16)
        for p in range(len(positions)):
            k0, nz = table(positions[p, 0], z)
            j0, ny = table(positions[p, 1], y)
            i0, nx = table(positions[p, 2], x)
            total = 0.0
            for k in range(nz):
                for j in range(ny):
                    row = 0.0
                    for i in range(nx):
                        row += volume[k0 + k, j0 + j, i0 + i] * x[i]
                    total += z[k] * y[j] * row
            sums[p] = total

    @numba.njit(fastmath={"reassoc", "contract"})
    def gradient(volume, positions, amplitudes, sums):
        z, y, x = np.empty(16), np.empty(16), np.empty(16)
        for p in range(len(positions)):
            k0, nz = table(positions[p, 0], z)
            j0, ny = table(positions[p, 1], y)
            i0, nx = table(positions[p, 2], x)
            total = by_z = by_y = by_x = by_sigma = 0.0
            for k in range(nz):
                w = k0 + k - positions[p, 0]
                for j in range(ny):
                    v = j0 + j - positions[p, 1]
                    plain = first = second = 0.0
                    for i in range(nx):
                        u = i0 + i - positions[p, 2]
                        value = volume[k0 + k, j0 + j, i0 + i] * x[i]
                        plain += value
                        first += value * u
                        second += value * u * u
                    factor = z[k] * y[j]
                    total += factor * plain
                    by_z += factor * w * plain
                    by_y += factor * v * plain
                    by_x += factor * first
                    by_sigma += factor * ((w * w + v * v) * plain + second)
            sums[p, 0] = total
            sums[p, 1] = amplitudes[p] * by_z
            sums[p, 2] = amplitudes[p] * by_y
            sums[p, 3] = amplitudes[p] * by_x
            sums[p, 4] = amplitudes[p] * by_sigma

    return splat, adjoint, gradient


def numba_splat(scene: Scene) -> Call:
    """A plain compiled loop, in the particles' own order."""
    out = np.zeros(scene.shape, scene.dtype)
    return lambda: _numba_loops()[0](out, scene.positions, scene.amplitudes)


def numba_adjoint(scene: Scene) -> Call:
    """The same backwards."""
    volume, sums = scene.volume(), np.zeros(len(scene.positions))
    return lambda: _numba_loops()[1](volume, scene.positions, sums)


def numba_gradient(scene: Scene) -> Call:
    """The gradient pass alone, of a residual that is there."""
    volume, sums = scene.volume(), np.zeros((len(scene.positions), 5))
    return lambda: _numba_loops()[2](volume, scene.positions, scene.amplitudes, sums)


US = "fastgauss"
PASS = "fastgauss, gradient pass alone"
SPREADERS = {
    US: Spreader(
        fastgauss_splat, fastgauss_adjoint, fastgauss_loss_and_gradient, threads=(1, 2)
    ),
    PASS: Spreader(gradient=fastgauss_gradient_pass, threads=(1, 2)),
    "finufft": Spreader(finufft_splat, finufft_adjoint, threads=(1, 2)),
    "numba loop": Spreader(numba_splat, numba_adjoint, numba_gradient),
    "scipy.sparse": Spreader(sparse_splat, sparse_adjoint, most=20_000),
    "gemmi": Spreader(gemmi_splat, most=20_000, dtypes=(np.float32,)),
    "numpy loop": Spreader(numpy_splat, numpy_adjoint, most=2_000),
}  # fmt: skip
