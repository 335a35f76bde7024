"""Kernels of scatter, binning, deposit and sphere from the caller's own compiled code."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from numba import njit
from numpy.testing import assert_array_equal

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.kernels.sums import binning, bspline_stencils, healpix, scatter_add

pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="needs compiled code")

ADD = scatter_add.make_add("raise", "value")
CHECKED = scatter_add.make_add_checked("value")
STATISTICS = binning.make_statistics("plain", False)
LOCATE = binning.locate
DEPOSIT = bspline_stencils.make_deposit("linear", 2, False)
GATHER = bspline_stencils.make_gather("linear", 2)
PIXELS = healpix.make_pixels(False)


@njit
def scattered(out, k, v):
    bad = CHECKED(out, k, v)
    ADD(out, k, v, 0, k.size)
    return bad


@njit
def described(count, state, k, v):
    STATISTICS(count, state, k, v, v, 0, k.size)


@njit
def located(bins, x, edges):
    LOCATE(x, edges, bins)


@njit
def spread(flat, positions, values, frame, block, back):
    DEPOSIT(flat, positions, values, frame, block, 0, frame.shape[1])
    GATHER(flat, positions, frame, block, back, 0, len(positions))


@njit
def mapped(theta, phi, nside, frame, sums, found):
    bad = PIXELS(theta, phi, nside, frame, found)
    healpix.add_in_order(sums, found, np.ones(1))
    return bad


def test_add():
    out, k, v = np.zeros(4), np.array([3, -1, 0]), np.array([1.0, 2.0, 3.0])
    assert scattered(out, k, v) == -1
    assert_array_equal(out, [6, 0, 0, 6])


def test_statistics_and_intervals():
    k, v = np.array([0, 2, 2]), np.array([5.0, 1.0, 4.0])
    count, state = np.zeros(3, dtype=np.int64), np.empty((3, len(binning.EMPTY)))
    state[:] = binning.EMPTY
    described(count, state, k, v)
    found = fg.bin_statistics(k, v, 3)
    assert_array_equal(count, found.count)
    assert_array_equal(state[:, binning.SUM], found.sum)
    bins = np.zeros(4)
    located(bins, np.array([0.0, 0.5, 2.0, 7.0]), np.linspace(0, 2, 5))
    assert_array_equal(bins, [0, 1, 3, -1])


def test_deposit_and_gather():
    frame = bspline_stencils.Frame((1, 3, 4), (False,) * 3, (0.0,) * 3, (1.0,) * 3)
    places, values = np.array([[0.5, 1.25], [1.0, 2.0]]), np.array([[8.0], [1.0]])
    flat, back = np.zeros(12), np.zeros((2, 1))
    spread(flat, places, values, frame, bspline_stencils.make_block(), back)
    volume = fg.deposit((3, 4), places, values[:, 0])
    assert_array_equal(flat.reshape(3, 4), volume)
    assert_array_equal(back[:, 0], fg.gather(volume, places))


def test_pixels():
    theta, phi = np.array([0.1, 1.5, 0.2]), np.full(3, 0.3)
    sums, found = np.zeros(12), np.empty(3, dtype=np.int64)
    assert mapped(theta, phi, 1, healpix.RADIANS, sums, found) == 3
    assert_array_equal(sums, fg.healpix_add(np.zeros(12), theta, phi))


def test_a_new_process_finds_the_callers_code_in_its_cache(tmp_path):
    (tmp_path / "program.py").write_text(
        textwrap.dedent(
            """
            import numpy as np
            from numba import njit
            from fastgauss import kernels

            ADD = kernels.make_add("raise", "value")

            @njit(cache=True)
            def twice(out, k, v):
                ADD(out, k, v, 0, k.size)
                ADD(out, k, v, 0, k.size)

            out = np.zeros(3)
            twice(out, np.array([0, -1, 0]), np.ones(3))
            assert out.tolist() == [4.0, 0.0, 2.0], out
            print(sum(twice.stats.cache_hits.values()), sum(twice.stats.cache_misses.values()))
            """
        )
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    said = [
        subprocess.run(
            [sys.executable, "program.py"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for _ in range(2)
    ]
    assert said == [["0", "1"], ["1", "0"]]
