"""Arrays of subclasses that are written to, in all public functions: their memory counts, not what
their reshape or indexing means; what would lose a mask or a unit is refused."""

import warnings

import numpy as np
import pytest
from public_calls import CALLS

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

WRITING = [call for call in CALLS if call.out and not (JIT_DISABLED and "gradient" in call.name)]
by_call = pytest.mark.parametrize("call", WRITING, ids=str)


class Stubborn(np.ndarray):
    """Keeps its shape, and shows other numbers than it holds."""

    def reshape(self, *shape, **options):
        return self

    def ravel(self, *args):
        return self

    def __getitem__(self, key):
        return np.zeros(3)

    def __setitem__(self, key, value):
        raise RuntimeError("not this way")


def matrix(array):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return array.view(np.matrix)


def begin(call):
    """An array that the call can write to."""
    if call.name == "add_at":
        return np.full(3, 0.25)
    if call.name == "healpix_add":
        return np.full(12, 0.25)
    answer = call()
    array = answer[0] if isinstance(answer, tuple) else answer
    return np.full(array.shape, 0.25, array.dtype)


@by_call
def test_the_memory_of_a_subclass_is_written(call, tmp_path):
    plain = begin(call)
    expected = plain.copy()
    call(**{call.out: expected})
    on_disk = np.memmap(tmp_path / "out", plain.dtype, "w+", shape=plain.shape)
    on_disk[...] = plain
    strided = np.repeat(plain, 2, axis=-1)[..., ::2]
    for out in (plain.copy().view(Stubborn), plain.copy().view(np.recarray), on_disk,
                strided.view(Stubborn)):  # fmt: skip
        answer = call(**{call.out: out})
        np.testing.assert_array_equal(np.asarray(out), expected)
        answer = answer[0] if isinstance(answer, tuple) else answer
        assert answer is out or call.name == "add_at"


@by_call
def test_masks_and_units_are_refused(call):
    plain = begin(call)
    masked = np.ma.array(plain.copy(), mask=plain > 1)
    with pytest.raises(TypeError, match=f"{call.out} must be .*masked"):
        call(**{call.out: masked})
    assert (masked.data == plain).all()
    units = pytest.importorskip("astropy.units")
    metres = plain.copy() * units.m
    if call.name != "add_at":
        with pytest.raises(TypeError, match=f"{call.out} must be .*got a Quantity"):
            call(**{call.out: metres})
        assert (metres.value == plain).all()


@pytest.mark.parametrize("side", [5, 40])
@pytest.mark.parametrize("order", "CF")
def test_sums_in_a_matrix(side, order):
    """What scipy.sparse's todense() gives."""
    rng = np.random.default_rng(side)
    where, values = rng.integers(0, side, (2, 300)), rng.normal(size=300)
    expected = np.zeros((side, side))
    np.add.at(expected, tuple(where), values)
    point = where.T + 0.5

    def empty():
        return matrix(np.zeros((side, side), order=order))

    added = empty()
    fg.add_at(added, tuple(where), values)
    wrapped = empty()
    if order == "C":
        fg.add_at(wrapped, tuple(where - side), values, mode="wrap")
    else:
        np.add.at(wrapped, tuple(where), values)
    counted, _ = fg.histogram(point, side, (0, side), weights=values, out=empty())
    laid = fg.deposit((side, side), where.T, values, kernel="nearest", out=empty())
    for found in (added, wrapped, counted, laid):
        assert isinstance(found, np.matrix)
        np.testing.assert_array_equal(np.asarray(found), expected)
    rows = empty()
    fg.add_at(rows, where[0], np.ones(side))
    np.testing.assert_array_equal(rows[:, 0].A1, np.bincount(where[0], minlength=side))


def test_images_in_a_matrix():
    image = np.random.default_rng(0).normal(size=(9, 7))
    places = [[2.0, 3.0], [7.5, 1.0], [4.0, 4.0]]
    for draw in (
        lambda out: fg.gaussian_filter(image, 1.0, out=out),
        lambda out: fg.gaussian_filter(image, 1.0, out=out, mask=image > 1),
        lambda out: fg.difference_of_gaussians(image, 1.0, out=out),
        lambda out: fg.render((9, 7), places, sigma=1.0, out=out),
        lambda out: fg.GaussianField((9, 7), places, 1.0).render(2.0, out=out),
        lambda out: fg.image([5.0, 3.0, 4.0, 1.0, 0.5], (9, 7), model="symmetric", out=out),
        lambda out: fg.evaluate((np.arange(7.0), np.arange(9.0)[:, None]),
                                [5.0, 3.0, 4.0, 1.0, 0.5], model="symmetric", out=out),
    ):  # fmt: skip
        out = matrix(np.zeros((9, 7)))
        assert draw(out) is out
        np.testing.assert_array_equal(np.asarray(out), draw(np.zeros((9, 7))))


def test_numpy_converts_units_in_add_at():
    units = pytest.importorskip("astropy.units")
    ours, theirs = np.zeros(3) * units.m, np.zeros(3) * units.m
    fg.add_at(ours, [0, 0, 2], [1, 2, 3] * units.km)
    np.add.at(theirs, [0, 0, 2], [1, 2, 3] * units.km)
    assert (ours == theirs).all() and ours.unit == units.m
    with pytest.raises(TypeError, match=r"values must be .*got a Quantity"):
        fg.add_at(np.zeros(3), [0], [1.0] * units.m)
    with pytest.raises(TypeError, match="need plain arrays"):
        fg.add_at(ours, [0], [1.0] * units.m, mode="wrap")


def test_derivatives_go_to_an_out_that_lies_in_steps():
    """Those of a model that is computed by another one too."""
    model = fg.astigmatic_model([1.3, -250.0, 400.0], [1.4, 250.0, 400.0, 0.0, 0.0], (-400, 400))
    params = [100.0, 3.0, 3.0, 50.0, 1.0]
    coords = np.arange(5.0), np.arange(4.0)[:, None]
    expected = fg.jacobian(coords, params, model=model)
    out = np.zeros((*expected.shape[:-1], 2 * expected.shape[-1]))[..., ::2]
    assert fg.jacobian(coords, params, model=model, out=out) is out
    np.testing.assert_array_equal(out, expected)
