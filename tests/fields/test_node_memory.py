"""Memory whose rows lie at different places of a cache, and sweeps over channels in it."""

import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastgauss as fg
from fastgauss.fields import arguments, node_memory, sweeps
from fastgauss.kernels._compile import JIT_DISABLED

RNG = np.random.default_rng


@pytest.mark.parametrize("shape", [(3, 512, 512), (64, 64, 64), (2, 8, 16, 64), (512, 512)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neighbouring_rows_do_not_meet_in_the_cache(shape, dtype):
    array = node_memory.zeros(shape, dtype)
    assert array.shape == shape and array.dtype == dtype and not array.any()
    assert array.strides[-1] == array.itemsize
    rows = np.indices((*(min(n, 8) for n in shape[:-1]),)).reshape(len(shape) - 1, -1)
    sets = array.strides[:-1] @ rows % 4096 // 64
    assert np.bincount(sets).max() <= 4  # a set of 64 has 8 lines or more
    assert array.base.nbytes < 1.3 * array.size * array.itemsize


@pytest.mark.parametrize("shape", [(3, 512, 512), (5, 300), (3, 70, 333), (2, 3, 40, 177), (90,)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_that_are_not_short_begin_at_lines_of_the_cache(shape, dtype):
    array = node_memory.empty(shape, dtype)
    assert array.__array_interface__["data"][0] % 64 == 0
    assert all(step % 64 == 0 for step in array.strides[:-1])
    assert array.base.nbytes < 1.3 * array.size * array.itemsize + 64


@pytest.mark.parametrize("shape", [(7,), (3, 64), (3, 5, 64), (2, 3, 4, 128), (0, 4), (3, 0)])
def test_numbers_are_kept_and_gaps_are_0(shape):
    values = RNG(0).normal(size=shape)
    for source in (values, values.astype(">f4"), values[::-1], np.asfortranarray(values)):
        for change, sign in ((node_memory.copied, 1.0), (node_memory.negated, -1.0)):
            found = change(source)
            assert_array_equal(found, sign * source)
            assert found.dtype == source.dtype.newbyteorder("=")
            assert_allclose(abs(found.base).sum(), abs(source).sum(), rtol=1e-5)


@pytest.mark.parametrize("widths", [{"sigma": 1.0}, {"covariance": np.diag([1.0, 2.0])}])
def test_crowds_in_images_whose_rows_collide_are_drawn_in_a_copy_with_the_same_bits(
    widths, monkeypatch
):
    shape, n, copies = (16, 512), 3000, []
    copied = node_memory.copied
    monkeypatch.setattr(node_memory, "copied", lambda array: copies.append(1) or copied(array))
    field = fg.GaussianField(shape, RNG(1).uniform(0, (16, 512), (n, 2)), **widths)
    heights, start = RNG(2).normal(size=n), RNG(3).normal(size=shape)
    narrow, wide = start.copy(), np.zeros((16, 520))
    wide[:, :512] = start
    field.render(heights, out=narrow)
    assert len(copies) == 1
    field.render(heights, out=wide[:, :512])
    assert len(copies) == 1
    assert_array_equal(narrow, wide[:, :512])
    assert not wide[:, 512:].any()
    few = fg.GaussianField(shape, RNG(1).uniform(0, (16, 512), (9, 2)), **widths)
    few.render(heights[:9], out=narrow)
    assert len(copies) == 1


@pytest.mark.parametrize("channels", [2, 5])
def test_any_number_of_channels_is_as_many_fields(channels):
    rng, shape, n = RNG(channels), (9, 64), 6
    root = rng.normal(size=(n, 2, 2))
    widths = root @ root.swapaxes(1, 2) + np.eye(2)
    field = fg.GaussianField(shape, rng.uniform(0, 9, (n, 2)), covariance=widths, radius=3.0)
    heights, image = rng.normal(size=(n, channels)), rng.normal(size=(*shape, channels))
    drawn, sums = field.render(heights), field.adjoint(image)
    names = ("amplitudes", "positions", "covariances")
    loss, slope = field.loss_and_gradient(image, heights, names)
    each = [field.loss_and_gradient(image[..., c], heights[:, c], names) for c in range(channels)]
    for c in range(channels):
        assert_array_equal(drawn[..., c], field.render(heights[:, c]))
        assert_allclose(sums[:, c], field.adjoint(image[..., c]), rtol=0, atol=1e-13)
        assert_allclose(slope["amplitudes"][:, c], each[c][1]["amplitudes"], atol=1e-12)
    assert_allclose(loss, sum(one[0] for one in each), rtol=1e-13)
    for name in names[1:]:
        assert_allclose(slope[name], sum(one[1][name] for one in each), rtol=1e-10, atol=1e-11)


def test_an_image_of_channels_is_not_changed_and_may_lie_anyhow():
    rng = RNG(1)
    field = fg.GaussianField((6, 64), rng.uniform(0, 6, (4, 2)), covariance=2.0 * np.eye(2))
    heights, image = rng.normal(size=(4, 3)), rng.normal(size=(6, 64, 3))
    kept = image.copy()
    expected = field.loss_and_gradient(image, heights, ("positions",))
    planes = np.ascontiguousarray(np.moveaxis(image, -1, 0))
    for view in (np.moveaxis(planes, 0, -1), np.asfortranarray(image), image.astype(">f8")):
        found = field.loss_and_gradient(view, heights, ("positions",))
        assert found[0] == expected[0]
        assert_array_equal(found[1]["positions"], expected[1]["positions"])
        assert_array_equal(field.adjoint(view), field.adjoint(image))
        assert field.fit_amplitudes(view).residual_norm == field.fit_amplitudes(image).residual_norm
    assert_array_equal(image, kept)
    out = np.ones((6, 64, 3))
    assert field.render(heights, out=out) is out
    assert_allclose(out, 1.0 + field.render(heights), atol=1e-14)


@pytest.mark.parametrize("shape", [(6, 64), (6, 9, 3)])
def test_weights_and_missing_nodes_may_lie_anyhow(shape):
    rng = RNG(2)
    heights = rng.normal(size=(4, *shape[2:]))
    field = fg.GaussianField(shape[:2], rng.uniform(0, 6, (4, 2)), covariance=2.0 * np.eye(2))
    image, weights = rng.normal(size=shape), rng.uniform(0.5, 2.0, shape)
    image[2, 3] = np.nan
    expected = field.loss_and_gradient(image, heights, weights=weights)
    plain = field.loss_and_gradient(image, heights)
    image, weights = np.asfortranarray(image), np.asfortranarray(weights)
    assert field.loss_and_gradient(image, heights, weights=weights)[0] == expected[0]
    assert field.loss_and_gradient(image, heights)[0] == plain[0]


def test_weights_of_all_channels_are_one_plane_unless_other_nodes_are_missing():
    grid, image = fg.Grid((6, 9)), RNG(3).normal(size=(6, 9, 3))
    weights = RNG(4).uniform(0.5, 2.0, (6, 9))
    image[2, 3] = np.nan
    for own, expected in ((weights, weights), (None, np.ones((6, 9)))):
        data = arguments.measured(image, own, None, grid)
        assert data.weights.shape == (3, 6, 9) and data.weights.strides[0] == 0
        assert_array_equal(data.weights[0], np.where(np.isnan(image[..., 0]), 0.0, expected))
        first, _, last = data.split()
        assert last.weights is first.weights and data.nodes == 3 * 53
    image[4, 5, 1] = np.nan
    data = arguments.measured(image, weights, None, grid)
    assert data.weights.flags.c_contiguous
    assert_array_equal(
        data.weights, np.moveaxis(weights[..., np.newaxis] * ~np.isnan(image), -1, 0)
    )


@pytest.mark.parametrize(
    ("shape", "channels"), [((70, 40), 3), ((70, 40), 1), ((9, 8, 7), 5), ((90,), 2)]
)
@pytest.mark.parametrize("rotated", [True, False])
def test_strips_of_an_image_are_the_image(shape, channels, rotated, monkeypatch):
    rng, n, d = RNG(6), 30, len(shape)
    widths = {"covariance": np.tile(2.0 * np.eye(d), (n, 1, 1))} if rotated else {"sigma": 1.5}
    places, heights = rng.uniform(0, 1, (n, d)) * shape, rng.normal(size=(n, channels))
    done = []
    for bytes_ in (1 << 20, 1):
        monkeypatch.setattr(sweeps, "_STRIP", bytes_)
        image = np.ones((*shape, channels))
        done.append(fg.render(shape, places, heights, **widths))
        done.append(fg.render(shape, places, heights, out=image, **widths) - 1.0)
        assert done[-2].flags.c_contiguous
    assert_array_equal(done[0], done[2])
    assert_array_equal(done[1], done[3])
    assert_allclose(done[0], done[1], atol=1e-14)
    told = []
    fg.render(shape, places, heights, progress=lambda *part: told.append(part), **widths)
    assert told == sorted(told) and told[-1][0] == told[-1][1]


@pytest.mark.skipif(JIT_DISABLED, reason="slow in plain Python")
def test_an_image_of_channels_is_held_once():
    rng, shape = RNG(7), (700, 600)
    places, heights = rng.uniform(0, 600, (20, 2)), rng.normal(size=(20, 3))
    fg.render(shape, places, heights, covariance=2.0 * np.eye(2), threads=1)  # compiles
    tracemalloc.start()
    try:
        image = fg.render(shape, places, heights, covariance=2.0 * np.eye(2), threads=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.25 * image.nbytes


@pytest.mark.skipif(JIT_DISABLED, reason="slow in plain Python")
def test_a_gradient_takes_less_than_40_bytes_a_particle_beyond_its_result():
    rng, n = RNG(5), 20_000
    field = fg.GaussianField(
        (6, 7, 8), rng.uniform(0, 6, (n, 3)), covariance=[0.01 * np.eye(3)] * n, threads=1
    )
    heights, image = rng.normal(size=(n, 3)), rng.normal(size=(6, 7, 8, 3))
    names = ("amplitudes", "positions", "covariances")
    field.loss_and_gradient(image, heights, names)  # compiles
    tracemalloc.start()
    try:
        _, slope = field.loss_and_gradient(image, heights, names)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    beyond = peak - sum(one.nbytes for one in slope.values()) - 4 * image.nbytes
    assert beyond < 40 * n
