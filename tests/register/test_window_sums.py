"""Sums over windows and blocks, against slow ones."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.ndimage import correlate1d, gaussian_filter

from fastgauss.kernels._compile import kernel
from fastgauss.kernels.register import covariance, misfit, window_columns
from fastgauss.register import preparation

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


def views_of(rng, shape):
    """Images as the kernels know them, of smoothed noise, with holes."""
    size = shape[0] * shape[1]

    def flat(values):
        return np.concatenate([values.ravel(), np.zeros(window_columns.ROOM)]).astype(np.float32)

    def smooth():
        return flat(gaussian_filter(rng.normal(size=shape), 1.5))

    a, b = smooth(), smooth()
    b[:size] = a[:size] + 0.2 * b[:size]
    precisions = [flat(rng.random(shape) > 0.1) for _ in range(2)]
    fields = preparation.sample(a, shape, (0.0, 0.0))
    return window_columns.Views(a, *fields, precisions[0], b, precisions[1], *shape)


def slow_block_sums(views, move, line, step):
    side = misfit.SIDE
    shape = views.rows, views.columns
    size = shape[0] * shape[1]
    fields = views.value, views.slope_x, views.slope_y
    a, ax, ay = (v[:size].reshape(shape).astype(float) for v in fields)
    known, other = (v[:size].reshape(shape) > 0 for v in (views.precision_a, views.precision_b))
    b = preparation.sample(views.b, shape, move[::-1])[0][:size].reshape(shape)
    out = np.zeros((misfit.SUMS, -(-shape[0] // side), -(-shape[1] // side)))
    dx, dy = (int(np.floor(m + 0.5)) for m in move)
    for y, x in np.ndindex(shape):
        u, v = y + dy, x + dx
        if not all(
            2 <= i < n - 3 and 4 <= j < n - 5 for i, j, n in zip((y, x), (u, v), shape, strict=True)
        ):
            continue
        if known[y, x] and other[u, v]:
            r, p, q = a[y, x] - line[0] * b[y, x] - line[1], ax[y, x], ay[y, x]
            out[:, y // side, x // side] += [1, r, r * r, p, q, p * r, q * r, p * p, q * q]
    return out[:, ::step]


@pytest.mark.parametrize("move", [(0.0, 0.0), (-2.3, 3.6), (1.5, -4.8)])
@pytest.mark.parametrize("step", [1, 2])
def test_what_is_left_in_blocks(move, step):
    views, line = views_of(np.random.default_rng(3), (37, 42)), (0.7, 0.2)
    wanted = slow_block_sums(views, move, line, step)
    out = np.empty(wanted.shape, dtype=np.float32)
    misfit.block_sums(views, move, line, step, misfit.make_lines(42), out)
    assert_allclose(out, wanted, rtol=1e-4, atol=1e-4)
    assert out[misfit.COUNT].sum() > 200


def slow_imbalance(sums, least, likeness, variances, share):
    count, rest, square, *others = sums[:, sums[misfit.COUNT] >= least]
    slopes, scores, energies = (np.array(others[k : k + 2]) for k in (0, 2, 4))
    strength = energies.sum(axis=0) / count
    shared = 0.25 * misfit.SIDE**2
    noise = (square + shared * square.sum() / count.sum()) / (count + shared)
    worst = [0.0, 0.0]
    for slope, product, power, variance in zip(slopes, scores, energies, variances, strict=True):
        mean = slope.sum() / count.sum()
        score, energy = product - mean * rest, power - 2.0 * mean * slope + mean**2 * count
        smooth, own = (slope / count - mean) * rest, count * (slope / count - mean) ** 2
        total = (energy * noise).sum()
        all_slope = likeness * energy.sum()
        wide = np.clip(variance * all_slope**2 / total, 0.5, 60.0)
        bins = np.floor(4.0 * np.log2(strength))
        for weakest in np.unique(bins)[1:]:
            strong = bins >= weakest
            t = (energy * noise)[strong].sum() / total
            off = abs(score[strong].sum() - t * score.sum())
            if off > 0.05 * all_slope * t * (1.0 - t):
                worst[0] = max(worst[0], off / np.sqrt(total * wide * max(t * (1.0 - t), 0.02)))
        one, two = share * (own * noise).sum(), wide * (np.maximum(energy - own, 0) * noise).sum()
        part = smooth.sum() * two - (score - smooth).sum() * one
        if abs(part) > 0.05 * all_slope * one * two / (one + two):
            worst[1] = max(worst[1], abs(part) / np.sqrt(one * two * (one + two)))
    return worst


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_how_much_parts_differ(seed):
    rng = np.random.default_rng(seed)
    sums = slow_block_sums(views_of(rng, (61, 70)), (0.4, -0.3), (1.0, 0.0), 1)
    sums = sums.reshape(misfit.SUMS, -1)
    given = 32.0, 0.8, tuple(rng.uniform(1e-4, 1e-2, 2)), 3.0
    out = np.empty(2)
    misfit.imbalance(sums, *given, np.empty((2, 2, misfit.BINS)), out)
    assert_allclose(out, slow_imbalance(sums, *given), rtol=1e-6)
    assert (out > 0.1).all()


def test_parts_of_few_blocks_do_not_differ():
    out = np.ones(2)
    misfit.imbalance(
        np.ones((misfit.SUMS, 5)), 0.5, 1.0, (1.0, 1.0), 1.0, np.empty((2, 2, misfit.BINS)), out
    )
    assert (out == 0.0).all()
