"""Gradients by covariances and their Cholesky factors, with weights, missing nodes and channels."""

import tracemalloc

import naive_field
import numpy as np
import pytest
from field_cases import RADIUS, compiled, dense, field_and_twin
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.fields import sweeps

RNG = np.random.default_rng
NAMES = ("amplitudes", "positions", "covariances", "cholesky")
SPACINGS = (1.3, 0.9, 1.1)


def _measured(rng, shape):
    """A volume with missing nodes, weights, and what these mean together."""
    volume, weights = rng.normal(size=shape), rng.uniform(0.5, 2.0, shape)
    volume.flat[::7] = np.nan
    weights.flat[3::11] = 0.0
    mask = rng.random(shape) < 0.1
    return volume, weights, mask, np.where(mask, 0.0, weights)


@pytest.mark.parametrize("kind", ["own covariance", "covariance", "own axes"])
@pytest.mark.parametrize("channels", [None, 1, 3, 5])
@pytest.mark.parametrize("shape", [(7, 9), (4, 5, 6)])
def test_gradients_are_those_of_the_same_weighted_sum(shape, channels, kind):
    rng, n = RNG(len(shape)), 3
    grid = {"spacing": SPACINGS[: len(shape)], "periodic": (False, True, False)[: len(shape)]}
    field, twin, amplitudes = field_and_twin(rng, shape, n, kind, **grid)
    if channels:
        amplitudes = rng.uniform(-1, 2, (n, channels))
    volume, weights, mask, each = _measured(rng, shape + ((channels,) if channels else ()))
    names = NAMES if "covariance" in kind else ("amplitudes", "positions", "sigmas")
    loss, gradient = field.loss_and_gradient(volume, amplitudes, names, weights=weights, mask=mask)
    assert_allclose(loss, twin.loss(volume, amplitudes, each), rtol=1e-12)
    for name in names:
        known = "covariance" if name == "covariances" else name
        expected = twin.gradient(volume, amplitudes, known, each)
        if name == "cholesky":
            expected = np.tril(expected)
        assert gradient[name].shape == expected.shape
        error = abs(gradient[name] - expected).max() / abs(expected).max()
        assert error < TOLERANCE["field gradient"], name


@pytest.mark.parametrize("kind", ["own covariance", "own axes"])
def test_a_missing_node_is_one_of_weight_0(kind):
    rng, shape = RNG(5), (6, 11)
    field, _, amplitudes = field_and_twin(rng, shape, 4, kind)
    name = field.width_name
    volume = rng.normal(size=shape)
    gone = rng.random(shape) < 0.2
    expected = field.loss_and_gradient(volume, amplitudes, (name,), weights=1.0 * ~gone)
    holed = np.where(gone, np.nan, volume)
    for found in (
        field.loss_and_gradient(holed, amplitudes, (name,)),
        field.loss_and_gradient(volume, amplitudes, (name,), mask=gone),
        field.loss_and_gradient(np.ma.masked_array(volume, gone), amplitudes, (name,)),
    ):
        assert found[0] == expected[0]
        assert_array_equal(found[1][name], expected[1][name])
    several = field.loss_and_gradient(
        np.stack([volume, holed], axis=-1), np.stack([amplitudes] * 2, axis=1), (name,)
    )
    whole = field.loss_and_gradient(volume, amplitudes, (name,))
    assert_allclose(several[1][name], whole[1][name] + expected[1][name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["own covariance", "own axes"])
@pytest.mark.parametrize("support", ["box", "sphere"])
@pytest.mark.parametrize("pixel", ["sample", "integrate"])
@pytest.mark.parametrize("shape", [(8, 13), (3, 5, 8)])
def test_channels_are_as_many_fields(shape, pixel, support, kind):
    rng, n = RNG(6), 5
    field, _, _ = field_and_twin(rng, shape, n, kind, pixel, support)
    heights, image = rng.normal(size=(n, 5)), rng.normal(size=(*shape, 5))
    drawn, sums = field.render(heights), field.adjoint(image)
    assert drawn.flags.c_contiguous
    for c in range(5):
        assert_array_equal(drawn[..., c], field.render(heights[:, c]))
        assert_allclose(sums[:, c], field.adjoint(image[..., c]), rtol=0, atol=1e-13)
    inner = (drawn * image).sum(), (heights * sums).sum()
    assert abs(inner[0] - inner[1]) < 1e-12 * np.linalg.norm(drawn) * np.linalg.norm(image)
    out = np.ones((*shape, 5), np.float32)
    field.render(heights, out=out)
    assert_allclose(out, drawn + 1, atol=1e-5)
    options = {"covariance" if "cov" in kind else "sigma": field.widths}
    options |= {"radius": RADIUS, "pixel": pixel, "support": support}
    assert_array_equal(fg.render(shape, field.positions, heights, **options), drawn)
    largest = fg.render(
        shape, field.positions, heights, combine="max", out=-np.ones((*shape, 5)), **options
    )
    for c in range(5):
        own = -np.ones(shape)
        fg.render(shape, field.positions, heights[:, c], combine="max", out=own, **options)
        assert_array_equal(largest[..., c], own)


def test_amplitudes_of_channels_are_fitted_as_each_alone():
    rng, shape = RNG(7), (12, 15)
    field, _, _ = field_and_twin(rng, shape, 4, "own covariance")
    field = field.moved(rng.uniform(2, 10, (4, 2)), field.widths)
    image = field.render(rng.normal(size=(4, 2))) + 0.1 * rng.normal(size=(*shape, 2))
    image[3, 4, 1] = np.nan
    for options in ({}, {"nonnegative": True}, {"weights": rng.uniform(1, 2, shape)}):
        fit = field.fit_amplitudes(image, **options)
        assert fit.converged and fit.nodes == 2 * 12 * 15 - 1
        each = [field.fit_amplitudes(image[..., c], **options) for c in range(2)]
        for c, one in enumerate(each):
            assert_allclose(fit.amplitudes[:, c], one.amplitudes, rtol=1e-12)
            assert_allclose(fit.errors[:, c], one.errors, rtol=1e-12)
            assert_array_equal(fit.to_dict()[f"amplitude_{c}"], fit.amplitudes[:, c])
        assert_allclose(fit.residual_norm, np.hypot(*(one.residual_norm for one in each)))


@pytest.mark.parametrize("shape", [(7, 9), (4, 5, 6)])
def test_gradients_are_those_of_torchs_autograd(shape):
    torch = pytest.importorskip("torch")
    rng, n, ndim = RNG(10), 3, len(shape)
    places = rng.uniform(1, 4, (n, ndim))
    lower = np.linalg.cholesky(np.eye(ndim) * 2.0 + 0.3) * rng.uniform(0.7, 1.4, (n, 1, 1))
    heights, image = rng.normal(size=(n, 3)), rng.normal(size=(*shape, 3))
    weights = rng.uniform(size=shape)
    own = [torch.tensor(value, requires_grad=True) for value in (heights, places, lower)]
    nodes = torch.tensor(np.indices(shape).reshape(ndim, -1, 1))
    offsets = nodes - own[1].T[:, np.newaxis]  # (d, nodes, n)
    inverse = torch.linalg.inv(own[2])
    distance = (torch.einsum("nij,jmn->imn", inverse, offsets) ** 2).sum(0)
    drawn = torch.exp(-0.5 * distance) @ own[0]
    each = torch.tensor(weights.reshape(-1, 1))
    expected = 0.5 * (each * (drawn - torch.tensor(image.reshape(-1, 3))) ** 2).sum()
    expected.backward()
    field = fg.GaussianField(shape, places, covariance=lower @ lower.swapaxes(1, 2), radius=30.0)
    names = ("amplitudes", "positions", "cholesky")
    loss, slope = field.loss_and_gradient(image, heights, names, weights=weights)
    assert_allclose(loss, float(expected.detach()), rtol=1e-12)
    for name, value in zip(names, own, strict=True):
        grad = value.grad.numpy() if name != "cholesky" else np.tril(value.grad.numpy())
        error = abs(slope[name] - grad).max() / abs(grad).max()
        assert error < TOLERANCE["field gradient"], name


@compiled
@pytest.mark.parametrize("shape", [(60, 64), (12, 12, 16)])
def test_a_gradient_takes_less_than_100_bytes_a_particle(shape):
    rng, n, ndim = RNG(11), 40_000, len(shape)
    field = fg.GaussianField(
        shape, rng.uniform(0, 12, (n, ndim)), covariance=np.tile(np.eye(ndim), (n, 1, 1)),
        radius=1.5, threads=1,
    )  # fmt: skip
    heights, image = rng.normal(size=n), rng.normal(size=shape)
    field.loss_and_gradient(image, heights, NAMES[:3])
    tracemalloc.start()
    _, slope = field.loss_and_gradient(image, heights, NAMES[:3])
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    results = sum(value.nbytes for value in slope.values())
    assert held < results + image.nbytes
    assert peak - results < 100 * n + 3 * image.nbytes


def _truth(offsets, covariance):
    """exp(-d'C**-1 d / 2) in long double, by a Cholesky factor of long doubles."""
    c = covariance.astype(np.longdouble)
    yy = np.sqrt(c[0, 0])
    xy = c[1, 0] / yy
    xx = np.sqrt(c[1, 1] - xy * xy)
    u = offsets[0].astype(np.longdouble) / yy
    v = (offsets[1].astype(np.longdouble) - xy * u) / xx
    return np.exp(-(u * u + v * v) / 2)


@given(
    st.floats(0.15, 60.0), st.floats(0.15, 60.0), st.floats(0.0, 3.1416), st.integers(0, 1 << 16)
)
def test_ellipses_of_any_shape_are_drawn_to_13_digits(long, short, angle, seed):
    rng, shape = RNG(seed), (41, 23)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    covariance = turn.T @ np.diag([long**2, short**2]) @ turn
    covariance = (covariance + covariance.T) / 2
    centre = rng.uniform(-5, np.array(shape) + 5)
    found = fg.render(shape, [centre], covariance=covariance, radius=40.0)
    offsets = np.meshgrid(*(np.arange(m) - x for m, x in zip(shape, centre, strict=True)),
                          indexing="ij")  # fmt: skip
    ratio = max(long, short) / min(long, short)
    digits = 1e-13 + 1e-15 * ratio**2  # those of the covariance itself
    assert_allclose(found, _truth(offsets, covariance).astype(float), rtol=0, atol=digits)


@compiled
def test_the_same_bits_for_any_number_of_threads():
    rng, n, shape = RNG(8), 3000, (150, 160)
    root = 0.3 * rng.normal(size=(n, 2, 2)) + np.eye(2)
    widths = 4.0 * root @ root.swapaxes(1, 2) + 0.2 * np.eye(2)
    places = rng.uniform(0, 150, (n, 2))
    heights, image = rng.normal(size=(n, 3)), rng.normal(size=(*shape, 3))
    weights = rng.uniform(size=shape)
    first = None
    for threads in (1, 2, 3):
        field = fg.GaussianField(shape, places, covariance=widths, threads=threads)
        found = field.loss_and_gradient(image, heights, NAMES, weights=weights)
        bits = [np.float64(found[0]).tobytes(), *(found[1][name].tobytes() for name in NAMES)]
        first = first or bits
        assert bits == first


def test_a_step_along_the_cholesky_factor_stays_definite_and_descends():
    rng = RNG(9)
    field, twin, amplitudes = field_and_twin(rng, (9, 12), 3, "own covariance")
    volume = rng.normal(size=(9, 12))
    lower = np.linalg.cholesky(field.widths)
    loss, slope = field.loss_and_gradient(volume, amplitudes, "cholesky")
    assert not np.triu(slope, 1).any()
    step = lower - 1e-4 / abs(slope).max() * slope
    moved = field.moved(field.positions, step @ step.swapaxes(1, 2))
    assert moved.loss_and_gradient(volume, amplitudes)[0] < loss
    assert isinstance(twin, naive_field.Field)


def test_what_is_no_image_of_channels_is_refused():
    field = fg.GaussianField((5, 6), [[2.0, 2.0], [3.0, 1.0]], covariance=np.eye(2))
    image = np.zeros((5, 6, 3))
    with pytest.raises(ValueError, match=r"amplitudes must be one number or of shape \(2, 3\)"):
        field.loss_and_gradient(image, [1.0, 2.0])
    for bad in (np.zeros((5, 6, 0)), np.zeros((5, 6, 2, 2)), np.zeros((3, 5, 6))):
        for call in (field.adjoint, field.fit_amplitudes):
            with pytest.raises(ValueError, match="volume must have the grid's shape"):
                call(bad)
    for call in (field.refine, lambda v: field.multiplicative_update(v, 1.0)):
        with pytest.raises(ValueError, match="volume must have the grid's shape"):
            call(image)
    with pytest.raises(ValueError, match=r"weights must have the grid's shape .* or the volume's"):
        field.loss_and_gradient(image, 1.0, weights=np.ones((5, 6, 2)))
    with pytest.raises(ValueError, match="weights must not be negative"):
        field.loss_and_gradient(image, 1.0, weights=-np.ones((5, 6)))
    with pytest.raises(ValueError, match="amplitudes"):
        field.render(np.ones((2, 3)), out=np.zeros((5, 6)))
    with pytest.raises(ValueError, match="out"):
        field.render(np.ones((2, 3)), out=np.zeros((5, 7, 3)))
    with pytest.raises(ValueError, match="wrt"):
        fg.GaussianField((5, 6), [[2.0, 2.0]]).loss_and_gradient(image[..., 0], 1.0, "cholesky")
    assert dense(field).shape == (2, 30) and sweeps.columns(field.plan) == 10
