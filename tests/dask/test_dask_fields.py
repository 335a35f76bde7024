"""Volumes drawn and images filtered in chunks: the bits of the whole."""

import itertools

import naive_field
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
import fastgauss.dask as fd  # noqa: E402


@pytest.fixture(autouse=True)
def _synchronous():
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.mark.parametrize("rotated", [False, True])
def test_a_volume_does_not_depend_on_its_chunks(rotated):
    @settings(max_examples=5 if JIT_DISABLED else 40, deadline=None)
    @given(naive_field.scenes(rotated, most=2 if rotated else 6), st.integers(1, 9), st.booleans())
    def check(scene, side, lazy):
        grid, positions, amplitudes, options = scene
        if lazy and len(positions):
            places = da.from_array(np.asarray(positions), chunks=(2, 1))
        else:
            places = positions
        found = fd.render(grid, places, amplitudes, chunks=side, **options).compute()
        assert found.tobytes() == fg.render(grid, positions, amplitudes, **options).tobytes()

    check()


@pytest.mark.parametrize("combine", ["sum", "max", "union"])
@pytest.mark.parametrize("periodic", [False, True])
def test_a_crowd_in_a_volume_is_drawn_in_chunks(combine, periodic):
    rng = np.random.default_rng(0)
    shape, n = ((7, 8, 9), 12) if JIT_DISABLED else ((30, 31, 29), 400)
    grid = fg.Grid(shape, spacing=0.7, origin=0.3, periodic=periodic)
    places = rng.uniform(-4, 26, (n, 3))
    heights = rng.uniform(0.1, 0.5, n)
    sigma = rng.uniform(0.3, 2.0, (n, 3))
    start = rng.random(shape).astype(np.float32 if combine == "sum" else np.float64)
    expected = start.copy()
    fg.render(grid, places, heights, sigma, combine=combine, out=expected)
    volume = da.from_array(start, chunks=(11, 7, 13))
    for where in (places, da.from_array(places, chunks=(150, 3))):
        found = fd.render(grid, where, heights, sigma, combine=combine, out=volume)
        assert found.dtype == start.dtype
        assert found.chunks == volume.chunks
        assert found.compute().tobytes() == expected.tobytes()


def test_a_chunk_gets_its_own_particles_alone():
    places = np.arange(100.0)[:, np.newaxis]
    volume = fd.render((100,), places, sigma=0.5, radius=2.0, chunks=10)
    layer = volume.dask.layers[volume.name]
    shares = [len(v.heights) for key, v in layer.mapping.items() if key[0].startswith("share")]
    assert len(shares) == 10
    assert max(shares) <= 10 + 2 * 3


MODES = ("reflect", "mirror", "nearest", "wrap", "constant")


@pytest.mark.parametrize("dtype", ["f4", "f8", "u2"])
@pytest.mark.parametrize("mode", MODES)
def test_a_filter_does_not_depend_on_chunks(mode, dtype):
    shape = (14, 17) if JIT_DISABLED else (26, 33)  # the filter reaches 6 and 8 pixels
    image = (np.random.default_rng(1).normal(size=shape) * 50 + 300).astype(dtype)
    options = {"mode": mode, "cval": 3.0}
    for chunks, order in itertools.product((shape, (7, 33), (20, 17), (1, 5)), (0, (0, 1))):
        expected = fg.gaussian_filter(image, (1.5, 2.0), order, **options)
        lazy = da.from_array(image, chunks=chunks)
        found = fd.gaussian_filter(lazy, (1.5, 2.0), order, **options)
        assert found.dtype == expected.dtype
        assert found.chunks == lazy.chunks
        assert found.compute().tobytes() == expected.tobytes()


@pytest.mark.parametrize("mode", ["reflect", "wrap", "constant"])
def test_missing_elements_of_chunks_are_missing(mode):
    rng = np.random.default_rng(2)
    volume = rng.normal(size=(8, 9, 10) if JIT_DISABLED else (20, 31, 33))
    volume[3, 4, 5] = np.nan
    mask = rng.random(volume.shape) < 0.1
    options = {"mode": mode, "nan_policy": "omit"}
    expected = fg.gaussian_filter(volume, 1.1, mask=mask, **options)
    lazy = da.from_array(volume, chunks=(7, 9, 12))
    found = fg.gaussian_filter(lazy, 1.1, mask=da.from_array(mask, chunks=5), **options)
    assert found.compute().tobytes() == expected.tobytes()


def test_a_periodic_axis_may_be_empty():
    grid = fg.Grid((0, 4), periodic=(True, False))
    found = fd.render(grid, [[0.0, 1.0]], [1.0], sigma=1.2, chunks=2).compute()
    assert found.shape == fg.render(grid, [[0.0, 1.0]], [1.0], sigma=1.2).shape == (0, 4)
