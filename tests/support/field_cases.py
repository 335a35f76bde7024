"""Fields that tests are about: random particles on grids, with their twins and dense matrices."""

import naive_field
import numpy as np
import pytest
from numpy.testing import assert_allclose
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

compiled = pytest.mark.skipif(JIT_DISABLED, reason="large: threads take part, or many nodes")
KINDS = [(t, s) for t in (False, True) for s in ("box", "sphere")]
WIDTHS = [*naive_field.SIGMAS, *naive_field.COVARIANCES]
RADIUS = 2.7


def render_tolerance(dtype, amplitudes, start=0.0):
    scale = 1.0 + np.abs(amplitudes).sum() + np.abs(start).max(initial=0.0)
    return TOLERANCE["render"][np.dtype(dtype).name] * scale


def compare(out, start, scene, combine="sum", support="box", radius=RADIUS, edge=None):
    """Assert that ``out`` is the twin's, wherever rounding decides on no support."""
    grid, positions, amplitudes, options = scene
    edge = (1e-9 if out.dtype == np.float64 else 1e-5) if edge is None else edge
    twin = naive_field.Field(grid, positions, radius=radius, support=support, edge=edge, **options)
    expected = twin.render(amplitudes, start, combine)
    expected[twin.unsure] = out[twin.unsure]
    assert_allclose(out, expected, rtol=0, atol=render_tolerance(out.dtype, amplitudes, start))


def scene_of(rng, shape, n=5, kind="own axes", pixel="sample", **grid):
    """Random particles on a grid and around it."""
    grid = fg.Grid(shape, **grid)
    positions = grid.position(rng.uniform(-3, np.array(shape) + 2, (n, len(shape))))
    options = {**naive_field.widths(rng, n, grid, kind), "pixel": pixel}
    return grid, positions, rng.uniform(-1, 2, n), options


def field_and_twin(rng, shape, n, kind, pixel="sample", support="box", **grid):
    """A field, its twin and amplitudes; particles on the grid and around it."""
    grid = fg.Grid(shape, **grid)
    positions = grid.position(rng.uniform(-2, np.array(shape) + 1, (n, len(shape))))
    options = naive_field.widths(rng, n, grid, kind)
    own = {"radius": RADIUS, "support": support, "pixel": pixel, **options}
    twin = naive_field.Field(grid, positions, **own)
    return fg.GaussianField(grid, positions, **own), twin, rng.uniform(-1, 2, n)


def dense(field):
    """A' (n, nodes): each particle rendered alone."""
    return np.stack([field.render(row).ravel() for row in np.eye(len(field))])


def some_field(shape, n, rng, *, periodic=False, outside=1.5, **options):
    grid = fg.Grid(shape, spacing=0.5, origin=2.0, periodic=periodic)
    low, high = grid.position(np.zeros(grid.ndim)), grid.position(np.array(shape) - 1.0)
    where = rng.uniform(low - outside, high + outside, (n, grid.ndim))
    options.setdefault("sigma", rng.uniform(0.2, 0.6, (n, grid.ndim)))
    return fg.GaussianField(grid, where, tol=options.pop("tol", 1e-3), **options)


def covariances(n, ndim, rng):
    root = rng.standard_normal((n, ndim, ndim)) * 0.2 + 0.4 * np.eye(ndim)
    return root @ root.swapaxes(1, 2) + 0.02 * np.eye(ndim)


def problem(seed=0, shape=(12, 14), n=20, noise=0.05, **options):
    """A field whose amplitudes are determined, true ones of either sign, and a noisy volume."""
    rng = np.random.default_rng(seed)
    options.setdefault("sigma", rng.uniform(0.4, 0.7, (n, len(shape))))
    field = some_field(shape, n, rng, outside=-0.2, **options)
    truth = rng.uniform(-0.5, 2.0, n)
    volume = field.render(truth) + noise * rng.standard_normal(shape)
    return field, truth, volume, rng
