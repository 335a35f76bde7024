"""Noise that jumps from one part of an image to the next, and images clipped at zero."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial import cKDTree

import fastgauss as fg
from fastgauss.find import noise
from fastgauss.find.cells import Cells
from fastgauss.kernels._compile import JIT_DISABLED

compiled = pytest.mark.skipif(JIT_DISABLED, reason="large images")
SIDE = 400
TRUTH = np.stack(np.meshgrid(*[np.arange(14, SIDE - 10, 24.0)] * 2, indexing="ij"), -1)
TRUTH = TRUTH.reshape(-1, 2) + np.random.default_rng(1).uniform(-3, 3, (TRUTH.size // 2, 2))


@compiled
def test_both_sides_of_a_mosaic_have_their_own_noise():
    rng = np.random.default_rng(2)
    deviation = np.where(np.arange(SIDE) < 210, 3.0, 30.0) * np.ones((SIDE, 1))
    found = sum(len(fg.find_spots(rng.normal(100, deviation), false_alarms=1)) for _ in range(4))
    assert found <= 4 + 10
    light = fg.render((SIDE, SIDE), TRUTH, 0.0 + 10 * deviation[0][TRUTH[:, 1].astype(int)],
                      sigma=1.3)  # fmt: skip
    image = rng.normal(100 + light, deviation)
    assert np.mean(cKDTree(fg.find_spots(image, false_alarms=1)).query(TRUTH)[0] < 2) > 0.95


@compiled
@pytest.mark.parametrize("clip, dtype", [(117, "u1"), (105, "u2"), (110, "i4")])
def test_images_clipped_at_zero(clip, dtype):
    rng = np.random.default_rng(3)
    spots = fg.render((SIDE, SIDE), TRUTH, 60.0, sigma=1.3)
    for light in (0.0, spots):
        counts = rng.poisson(100 + light * np.ones((SIDE, SIDE)))
        image = np.clip(counts - clip, 0, 255).astype(dtype)
        found = fg.find_spots(image, false_alarms=1)
        real = cKDTree(TRUTH).query(found)[0] < 2 if np.ndim(light) else np.zeros(len(found), bool)
        assert np.sum(~real) <= 6
    assert real.sum() >= 0.97 * len(TRUTH)


@pytest.mark.parametrize("shape", [(1, 1, 700), (50, 1, 60), (12, 20, 24)])
def test_the_noise_around_points(shape):
    rng = np.random.default_rng(4)
    volume = rng.normal(3, 2.0, shape).astype("f4")
    points = rng.integers(0, shape, (40 if JIT_DISABLED else 200, 3))
    measured = noise._deviation_around(volume, points, 1)
    assert_allclose(np.median(measured), 2.0, rtol=0.2)
    cells = Cells(shape, tuple(min(3, n) for n in shape))
    values = np.arange(1.0, len(cells) + 1)
    corners = cells.of(np.array([[0, 0, 0], np.array(shape) - 1]))
    low, high = (extreme[corners] for extreme in cells.extremes(values))
    assert low[0] == 1.0
    assert high[1] == len(cells)
    assert np.all(low <= high)
