"""Losses and gradients of ``GaussianField``, against the same truncated sum in other numbers."""

import naive_field
import numpy as np
import pytest
from field_cases import WIDTHS, field_and_twin
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import approx_fprime
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.kernels.fields import sweeps

SHAPES = [(9,), (5, 7), (3, 4, 6)]
SPACINGS = (0.8, 1.7, 1.1)


def _relative(value, expected):
    """Largest error in units of the largest derivative of its kind."""
    value, expected = np.asarray(value), np.asarray(expected)
    assert value.shape == expected.shape and value.dtype == np.float64
    return abs(value - expected).max() / abs(expected).max()


@pytest.mark.parametrize("support", ["box", "sphere"])
@pytest.mark.parametrize("pixel", ["sample", "integrate"])
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("kind", WIDTHS)
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_those_of_the_same_truncated_sum(shape, kind, periodic, pixel, support):
    """Of its digits: by a complex step, and by differences of 40 digits where pixels are means."""
    axes, covariance = len(shape), "covariance" in kind
    if axes == 3 and pixel == "integrate" and (periodic or covariance) and JIT_DISABLED:
        pytest.skip("slow as plain Python")
    common = kind == "covariance"
    if axes == 3 and pixel == "integrate" and (periodic or support == "sphere" or common):
        pytest.skip("the twin is slow, and two axes try the same")
    if axes == 3 and pixel == "integrate" and covariance:
        shape = (2, 3, 3)
    rng = np.random.default_rng(7)
    grid = {"spacing": SPACINGS[:axes], "origin": (5.0, -3.0, 1.0)[:axes]}
    grid["periodic"] = ((True, False, True) if periodic else (False,) * 3)[:axes]
    n = 2 if pixel == "integrate" else 3
    field, twin, amplitudes = field_and_twin(rng, shape, n, kind, pixel, support, **grid)
    volume = rng.normal(size=shape)
    names = ("amplitudes", "positions", "covariance" if covariance else "sigmas")
    loss, gradient = field.loss_and_gradient(volume, amplitudes, wrt=names)
    assert tuple(gradient) == names
    assert_allclose(loss, twin.loss(volume, amplitudes), rtol=1e-12)
    for name in names:
        expected = twin.gradient(volume, amplitudes, name)
        assert _relative(gradient[name], expected) < TOLERANCE["field gradient"], name
        alone = field.loss_and_gradient(volume, amplitudes, wrt=name)
        assert alone[0] == loss
        assert_allclose(alone[1], gradient[name], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", WIDTHS)
def test_gradients_agree_with_finite_differences_of_the_loss_itself(kind):
    """A second opinion that shares no line with the twin; supports are too wide to end anywhere."""
    rng = np.random.default_rng(8)
    n, grid = 3, fg.Grid((5, 6), (0.8, 1.7), (5.0, -3.0))
    positions = grid.position(rng.uniform(0, 5, (n, 2)))
    given = {"amplitudes": rng.uniform(1, 2, n), "positions": positions}
    options = naive_field.widths(rng, n, grid, kind)
    (option, width), *_ = options.items()
    last = "sigmas" if option == "sigma" else option
    given[last] = np.asarray(width)
    volume = rng.normal(size=grid.shape)
    for pixel in ("sample", "integrate"):

        def loss(moved, wrt=None, pixel=pixel):
            own = {option: moved[last], "radius": 20.0, "pixel": pixel}
            field = fg.GaussianField(grid, moved["positions"], **own)
            value, slopes = field.loss_and_gradient(volume, moved["amplitudes"], wrt or last)
            return slopes if wrt else value

        gradient = loss(given, tuple(given))
        for name, start in given.items():

            def along(flat, name=name, start=start):
                moved = flat.reshape(start.shape)
                if name == "covariance":  # its two halves move together
                    moved = (moved + moved.swapaxes(-1, -2)) / 2
                return loss({**given, name: moved})

            expected = approx_fprime(start.ravel(), along, 1e-6).reshape(start.shape)
            assert _relative(gradient[name], expected) < TOLERANCE["finite difference"], name


@pytest.mark.parametrize("kind", WIDTHS)
@pytest.mark.parametrize("support", ["box", "sphere"])
def test_the_loss_and_gradient_of_a_float32_volume_are_near_those_of_float64(kind, support):
    rng = np.random.default_rng(9)
    field, _, amplitudes = field_and_twin(rng, (4, 5, 20), 5, kind, support=support)
    names = ("amplitudes", "positions", "covariance" if "covariance" in kind else "sigmas")
    volume = rng.normal(size=(4, 5, 20)).astype(np.float32)
    loss, gradient = field.loss_and_gradient(volume.astype(float), amplitudes, names)
    single, rough = field.loss_and_gradient(volume, amplitudes, names)
    assert_allclose(single, loss, rtol=TOLERANCE["field gradient, float32"])
    for name in names:
        assert _relative(rough[name], gradient[name]) < TOLERANCE["field gradient, float32"]


@pytest.mark.skipif(JIT_DISABLED, reason="about compiled code")
def test_amplitudes_as_a_number_a_list_and_an_array_are_read_by_one_kernel():
    field = fg.GaussianField((9,), [[4.0], [6.0]], 1.2)
    kernel = sweeps.make_gather(False, True, False, 0)
    losses, kinds = [], []
    for amplitudes in (2.0, [2.0, 2.0], np.full(2, 2.0)):
        losses.append(field.loss_and_gradient(np.zeros(9), amplitudes, "positions")[0])
        kinds.append(len(kernel.signatures))
    assert kinds[0] == kinds[1] == kinds[2] >= 1
    assert losses[0] == losses[1] == losses[2]


def test_a_width_of_many_particles_or_axes_has_the_sum_of_their_gradients():
    rng = np.random.default_rng(10)
    shape, n = (6, 8, 7), 4
    positions = rng.uniform(0, 6, (n, 3))
    volume = rng.normal(size=shape)
    found = {}
    for name, sigma in {
        "scalar": 1.3, "one": [1.3], "axes": [1.3] * 3, "a row": [[1.3] * 3], "a number": [[1.3]],
        "own": [[1.3]] * n, "own axes": [[1.3] * 3] * n,
    }.items():  # fmt: skip
        if name == "one":
            continue
        field = fg.GaussianField(shape, positions, sigma)
        found[name] = field.loss_and_gradient(volume, 1.5, "sigmas")[1]
        assert np.shape(found[name]) == np.shape(sigma)
    each = found["own axes"]
    assert_allclose(found["own"], each.sum(axis=1, keepdims=True), rtol=1e-12)
    assert_allclose(found["axes"], each.sum(axis=0), rtol=1e-12)
    assert_allclose(found["a row"], each.sum(axis=0, keepdims=True), rtol=1e-12)
    for one in ("scalar", "a number"):
        assert_allclose(found[one], np.reshape(each.sum(), np.shape(found[one])), rtol=1e-11)
    covariance = 1.69 * np.eye(3)
    for own in (covariance, covariance[np.newaxis], np.stack([covariance] * n)):
        field = fg.GaussianField(shape, positions, covariance=own)
        slopes = field.loss_and_gradient(volume, 1.5, "covariance")[1]
        assert slopes.shape == own.shape
        assert_allclose(slopes, slopes.swapaxes(-1, -2), rtol=1e-12)
        rows = slopes.reshape(-1, 3, 3)
        by_sigma = 2 * 1.3 * np.diagonal(rows, axis1=1, axis2=2)
        assert_allclose(by_sigma, each if len(rows) == n else found["a row"], rtol=1e-10)


def test_positions_in_one_dimension_keep_their_shape():
    volume = np.arange(9.0)
    flat = fg.GaussianField(9, [3.0, 4.5]).loss_and_gradient(volume, 1.0, "positions")[1]
    column = fg.GaussianField(9, [[3.0], [4.5]]).loss_and_gradient(volume, 1.0, "positions")[1]
    assert flat.shape == (2,) and column.shape == (2, 1)
    assert_array_equal(flat, column[:, 0])


@pytest.mark.parametrize("kind", ["own axes", "own covariance"])
def test_a_field_of_nothing_has_a_loss_and_empty_gradients(kind):
    for shape, n in (((4, 5), 0), ((0, 5), 3), ((0, 5), 0)):
        width = {"sigma": np.ones((n, 2))}
        if "covariance" in kind:
            width = {"covariance": np.stack([np.eye(2)] * n) if n else np.ones((0, 2, 2))}
        field = fg.GaussianField(shape, np.ones((n, 2)), **width)
        volume = np.full(shape, 2.0)
        names = ("amplitudes", "positions", "covariance" if "covariance" in kind else "sigmas")
        loss, gradient = field.loss_and_gradient(volume, np.ones(n), names)
        assert loss == 2.0 * volume.size
        assert [gradient[name].shape for name in names[:2]] == [(n,), (n, 2)]
        assert not any(gradient[name].any() for name in names)
        assert field.adjoint(volume).shape == (n,)
        assert field.as_sparse().shape == (volume.size, n)
        assert field.as_sparse().nnz == 0


def test_what_cannot_be_differentiated_is_refused():
    volume = np.zeros((5, 5))
    round_, rotated = (
        fg.GaussianField((5, 5), [[2.0, 2.0]], **width) for width in ({}, {"covariance": np.eye(2)})
    )
    for field, wrt, error in (
        (round_, "covariance", ValueError), (rotated, "sigmas", ValueError),
        (round_, "sigma", ValueError), (round_, (), ValueError), (round_, 3, TypeError),
        (round_, ("amplitudes", None), TypeError),
    ):  # fmt: skip
        with pytest.raises(error, match="wrt"):
            field.loss_and_gradient(volume, 1.0, wrt)
    for call in (round_.adjoint, lambda v: round_.loss_and_gradient(v, 1.0)):
        for bad, error in (
            (np.zeros((5, 6)), ValueError), (np.zeros(25), ValueError),
            (np.zeros((5, 5), complex), TypeError), (np.zeros((5, 5), object), TypeError),
            ("volume", TypeError),
        ):  # fmt: skip
            with pytest.raises(error, match="volume"):
                call(bad)
    with pytest.raises(TypeError, match="volume"):
        round_.adjoint(np.ma.masked_all((5, 5)))  # nothing says what a missing node is worth
    for bad in ([1.0, 2.0], np.nan, [[1.0]]):
        with pytest.raises(ValueError, match="amplitudes"):
            round_.loss_and_gradient(volume, bad)
        with pytest.raises(ValueError, match="amplitudes"):
            round_.render(bad, out=volume)
    assert not volume.any()
    with pytest.raises(ValueError, match="out"):
        round_.render(out=np.zeros((4, 5)))
    for options, name in (
        ({"positions": [[np.nan, 1.0]]}, "positions"), ({"sigma": -1.0}, "sigma"),
        ({"covariance": -np.eye(2)}, "covariance"), ({"tol": 2.0}, "tol"),
        ({"support": "ball"}, "support"), ({"pixel": "mean"}, "pixel"), ({"threads": 0}, "threads"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=name):
            fg.GaussianField(**{"grid_or_shape": (5, 5), "positions": [[1.0, 1.0]], **options})
