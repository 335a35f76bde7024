"""Sums over windows and blocks, against slow ones."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.ndimage import correlate1d

from fastgauss.kernels._compile import kernel
from fastgauss.kernels.register import covariance, misfit, window_columns

SMOOTH = np.array([0.3, 0.2, 0.1, 0.04, 0.01], dtype=np.float32)


@kernel
def score_covariance(box, smooth, mean, scratch):
    return covariance._score_covariance(box, smooth, mean, scratch)


@pytest.mark.parametrize(
    ("rows", "columns"), [(16, 16), (9, 33), (20, 84), (13, 144), (11, 530), (4, 7)]
)
def test_the_covariance_of_a_score_does_not_depend_on_what_was_in_memory(rows, columns):
    rng = np.random.default_rng(columns)
    scratch = window_columns.make_scratch(rows, columns, SMOOTH.size)
    stride = window_columns.stride_of(columns)
    inner = []
    for field in (scratch.px, scratch.py, scratch.r, scratch.a):
        view = field[: rows * stride].reshape(rows, stride)[:, :columns]
        view[:] = rng.normal(size=view.shape)
        inner.append(np.pad(view.astype(float), 2 * SMOOTH.size))
    for line in (scratch.value, scratch.slope, scratch.first, scratch.second):
        line[:] = 7.0
    full = np.concatenate([SMOOTH[:0:-1], SMOOTH]).astype(float)
    p, q = (
        correlate1d(correlate1d(v, full, 0, mode="constant"), full, 1, mode="constant")
        for v in inner[:2]
    )
    box = window_columns.Box(0, 0, rows, columns)
    found = score_covariance(box, SMOOTH, 2.0, scratch)
    for own, noise in zip(found, inner[2:], strict=True):
        v = noise + 2.0
        wanted = [(v * p * p).sum(), (v * p * q).sum(), (v * q * q).sum()]
        assert_allclose(own, wanted, rtol=1e-4, atol=1e-5 * wanted[0])


@pytest.mark.parametrize("move", [(0, 0), (3, -2), (-5, 1)])
def test_what_is_left_in_blocks(move):
    rng = np.random.default_rng(3)
    shape, side, gain, offset = (37, 42), 8, 0.7, 0.2
    images, fields = (tuple(rng.normal(size=(2, *shape)).astype(np.float32)) for _ in range(2))
    precisions = tuple((rng.random((2, *shape)) > 0.1).astype(np.float32))
    out = np.empty((5, 6, 4))
    misfit.block_sums(images, fields, precisions, move, (gain, offset), side, out)
    line = np.array([1.0, -2.0, 1.0])
    bends = [correlate1d(correlate1d(v.astype(float), line, 0), line, 1) for v in images]
    wanted = np.zeros_like(out)
    for y, x in np.ndindex(shape):
        u, v = y + move[0], x + move[1]
        if not all(
            2 <= i < n - 3 and 4 <= j < n - 5 for i, j, n in zip((y, x), (u, v), shape, strict=True)
        ):
            continue
        if precisions[0][y, x] and precisions[1][u, v]:
            rest = fields[0][y, x] - gain * fields[1][y, x] - offset
            row = [1.0, rest**2, bends[0][y, x] ** 2, bends[1][u, v] ** 2]
            wanted[y // side, x // side] += row
    assert_allclose(out, wanted, rtol=1e-4, atol=1e-4)
    assert out[..., 0].sum() > 500
