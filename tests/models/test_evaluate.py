"""evaluate, jacobian, image: against 400 digits, and in every shape and dtype."""

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import dblquad
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.models.model import get_model

KINDS = [
    ("symmetric", 1), ("symmetric", 2), ("elliptic", 2), ("rotated", 2),
    ("symmetric", 3), ("elliptic", 3),
]  # fmt: skip
PIXELS = ("sample", "integrate")
EXACT = [(*kind, pixel) for kind in KINDS for pixel in PIXELS if (kind[0], pixel) != (
    "rotated", "integrate")]  # fmt: skip


def _random(rng, name, ndim, count, widths=(0.6, 4.0)):
    """Points and parameters near a spot: coords (ndim, count), params (count, P)."""
    model = get_model(name, ndim)
    params = np.empty((count, model.size))
    params[:, 0] = rng.uniform(50, 200, count)
    params[:, 1 : 1 + ndim] = rng.uniform(4, 6, (count, ndim))
    for k in set(model.sigmas):
        low, high = np.log(widths)
        params[:, k] = np.exp(rng.uniform(low, high, count))
    if "theta" in model.names:
        params[:, 5] = rng.uniform(-3, 3, count)
    params[:, -1] = rng.uniform(-5, 5, count)
    spread = params[:, list(model.sigmas)] * 6 + 0.5
    coords = params[:, 1 : 1 + ndim] + spread * rng.uniform(-1, 1, (count, ndim))
    return tuple(coords.T), params


@pytest.mark.parametrize(("name", "ndim", "pixel"), EXACT)
@pytest.mark.parametrize("widths", [(0.6, 4.0), (0.08, 0.6), (1.9, 2.1), (5.0, 800.0)])
def test_values_and_derivatives_have_all_their_digits(name, ndim, pixel, widths):
    rng = np.random.default_rng(ndim)
    coords, params = _random(rng, name, ndim, 6 if JIT_DISABLED else 16, widths)
    values = fg.evaluate(coords, params, name, pixel)
    slopes = fg.jacobian(coords, params, name, pixel)
    for k, row in enumerate(params):
        exact, value = naive.jacobian([c[k] for c in coords], row, name, pixel)
        scale = abs(row[0]) * 1e-290
        assert_allclose(slopes[k], exact, rtol=TOLERANCE["jacobian"], atol=scale)
        assert_allclose(values[k], value, rtol=TOLERANCE["evaluate"], atol=1e-13)


@pytest.mark.parametrize("sigma", [0.5, 0.7, 1.0, 2.0, 10.0])
def test_the_quadrature_of_round_spots_is_near_the_exact_integral(sigma):
    rng = np.random.default_rng(3)
    x, y = sigma * np.mgrid[-3:3:25j, -3:3:25j]
    rotated = np.zeros((*x.shape, 7))
    rotated[..., [0, 3, 4]] = 1.0, sigma, sigma
    rotated[..., 5] = rng.uniform(-3, 3, x.shape)
    exact = fg.evaluate((x, y), [1.0, 0.0, 0.0, sigma, 0.0], "symmetric", "integrate")
    error = np.abs(fg.evaluate((x, y), rotated, pixel="integrate") - exact)
    assert error.max() < 3e-8 * (0.7 / sigma) ** 10 + 1e-15


@pytest.mark.parametrize("sigma", [0.7, 1.0, 1.5])
def test_the_quadrature_of_the_rotated_model_keeps_its_bound(sigma):
    params = [1.0, 0.2, -0.1, sigma, 1.7 * sigma, 0.6, 0.0]

    def mean(x, y):
        return dblquad(
            lambda b, a: fg.evaluate((a, b), params), x - 0.5, x + 0.5, y - 0.5, y + 0.5,
            epsabs=1e-11, epsrel=1e-11,
        )[0]  # fmt: skip

    for x, y in ((0.0, 0.0), (1.0, 0.0), (1.0, -2.0)):
        error = abs(fg.evaluate((x, y), params, pixel="integrate") - mean(x, y))
        assert error < 3e-8 * (0.7 / sigma) ** 10 + 1e-11


def test_the_derivatives_of_the_quadrature_are_its_own():
    rng = np.random.default_rng(4)
    coords, params = _random(rng, "rotated", 2, 8)
    slopes = fg.jacobian(coords, params, "rotated", "integrate")
    for k in range(params.shape[1]):
        step = np.zeros(params.shape[1])
        step[k] = 1e-5
        high = fg.evaluate(coords, params + step, "rotated", "integrate")
        low = fg.evaluate(coords, params - step, "rotated", "integrate")
        assert_allclose(slopes[:, k], (high - low) / 2e-5, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "ndim"), KINDS)
def test_both_pixels_agree_for_wide_spots(name, ndim):
    coords, params = _random(np.random.default_rng(5), name, ndim, 20, (300.0, 400.0))
    sampled = fg.evaluate(coords, params, name)
    assert_allclose(fg.evaluate(coords, params, name, "integrate"), sampled, atol=1e-3)


def test_theta_turns_the_long_axis_from_x_towards_y():
    params = [1.0, 0.0, 0.0, 4.0, 1.0, 0.3, 0.0]
    along = fg.evaluate((3 * np.cos(0.3), 3 * np.sin(0.3)), params)
    assert along > fg.evaluate((3 * np.cos(0.3), -3 * np.sin(0.3)), params)
    assert_allclose(along, np.exp(-0.5 * (3 / 4) ** 2), rtol=1e-14)


_SHAPES = [((5,), (5,)), ((4, 1), (1, 6)), ((), (3,)), ((2, 1, 3), (4, 1)), ((0, 3), (1, 3))]


@pytest.mark.parametrize("shapes", _SHAPES)
@pytest.mark.parametrize("lead", [(), (1,), (3,), (2, 1, 1)])
@pytest.mark.parametrize("derivatives", [False, True])
def test_shapes_broadcast_as_in_numpy(shapes, lead, derivatives):
    rng = np.random.default_rng(6)
    x, y = (rng.uniform(0, 9, shape) for shape in shapes)
    params = np.array([9.0, 4.0, 4.0, 1.0, 2.0, 0.4, 1.0]) * rng.uniform(0.9, 1.1, (*lead, 7))
    function = fg.jacobian if derivatives else fg.evaluate
    try:
        shape = np.broadcast_shapes(*shapes, lead)
    except ValueError:
        with pytest.raises(ValueError, match="broadcast"):
            function((x, y), params)
        return
    result = function((x, y), params)
    assert result.shape == shape + (7,) * derivatives
    xs, ys = np.broadcast_to(x, shape), np.broadcast_to(y, shape)
    rows = np.broadcast_to(params, (*shape, 7))
    for index in np.ndindex(shape):
        assert_array_equal(result[index], function((xs[index], ys[index]), rows[index]))


def test_scalars_give_a_scalar():
    value = fg.evaluate(1.0, [2.0, 1.0, 1.0, 0.5])
    assert value == 2.5 and np.ndim(value) == 0 and isinstance(value, np.float64)
    assert fg.jacobian((1, 2, 3), np.ones(6), "symmetric").shape == (6,)


@settings(max_examples=15 if JIT_DISABLED else 60, deadline=None)
@given(
    dtype=st.sampled_from(["f8", "f4", "f2", "i4", "u1", "?", ">f8", ">i2", "g"]),
    count=st.integers(0, 70),
    step=st.sampled_from([1, 2, -1]),
    threads=st.sampled_from([1, 3]),
)
def test_any_dtype_stride_and_byte_order_is_read(dtype, count, step, threads):
    x = (np.arange(140) % 11).astype(dtype)[::step][:count]
    x.flags.writeable = False
    params = [3.0, 4.0, 2.0, 1.0]
    expected = fg.evaluate(np.array(x, dtype=np.float64), params)
    assert_array_equal(fg.evaluate(x, params, threads=threads), expected)


@pytest.mark.skipif(JIT_DISABLED, reason="many points")
def test_chunks_and_threads_do_not_change_a_bit():
    x, y = np.random.default_rng(7).uniform(0, 9, (2, 50001))
    params = [9.0, 4.0, 4.0, 1.0, 2.0, 0.4, 1.0]
    whole = fg.evaluate((x, y), params, threads=1)
    assert_array_equal(whole, fg.evaluate((x, y), params, threads=4))
    assert_array_equal(whole[123:20124], fg.evaluate((x[123:20124], y[123:20124]), params))
    assert_array_equal(whole, fg.evaluate((x, y), np.tile(params, (50001, 1))))
    slopes = fg.jacobian((x, y), params)
    assert_array_equal(slopes[9:17], fg.jacobian((x[9:17], y[9:17]), params, threads=1))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["f8", "f4", ">f8", "i2"])
def test_parameters_of_each_point_are_read_as_they_are(order, dtype):
    rng = np.random.default_rng(9)
    params = rng.uniform(1, 9, (5, 6, 7)).astype(dtype, order=order)[::-1, ::2]
    params.flags.writeable = False
    x, y = rng.uniform(0, 9, (2, 5, 3))
    plain = np.array(params, dtype=np.float64)
    for function in (fg.evaluate, fg.jacobian):
        result = function((x, y), params)
        for index in np.ndindex(5, 3):
            assert_array_equal(result[index], function((x[index], y[index]), plain[index]))


@pytest.mark.skipif(JIT_DISABLED, reason="many points")
@pytest.mark.parametrize("pixel", PIXELS)
def test_groups_of_points_that_share_parameters_change_nothing(pixel):
    rng = np.random.default_rng(10)
    params = np.array([9.0, 4.0, 4.0, 1.0, 2.0, 0.4, 1.0]) * rng.uniform(0.9, 1.1, (700, 1, 7))
    params[3, 0, 1] = np.nan
    x, y = rng.uniform(0, 9, (2, 121))
    result = fg.evaluate((x, y), params, pixel=pixel, threads=2)
    assert np.isnan(result[3]).all()
    for k in (0, 1, 3, 4, 350, 699):
        assert_array_equal(result[k], fg.evaluate((x, y), params[k, 0], pixel=pixel))


@pytest.mark.skipif(JIT_DISABLED, reason="many points")
@pytest.mark.parametrize(
    ("name", "shape"),
    [("rotated", (300, 501)), ("elliptic", (300, 501)), ("elliptic", (20, 50, 130)),
     ("symmetric", (3, 2, 70000)), ("symmetric", (3, 300, 500)), ("symmetric", (200001,))],
)  # fmt: skip
def test_large_images_are_the_same_in_pieces(name, shape):
    ndim = len(shape)
    centre = [n / 2.1 for n in shape[::-1]]
    widths = {"symmetric": [7.0], "elliptic": [9.0, 7.0, 4.0][:ndim], "rotated": [9.0, 7.0, 0.3]}
    params = np.array([[5.0, *centre, *widths[name], 1.0], [2.0, *centre, *widths[name], 0.5]])
    pictures = fg.image(params, shape, name, threads=3)
    assert_array_equal(pictures, fg.image(params, shape, name, threads=1))
    grid = np.meshgrid(*map(np.arange, shape), indexing="ij", sparse=True)[::-1]
    expected = fg.evaluate(tuple(grid), params[1], name)
    assert_allclose(pictures[1], expected, rtol=TOLERANCE["evaluate"])


@pytest.mark.parametrize(("name", "ndim"), KINDS)
@pytest.mark.parametrize("pixel", PIXELS)
def test_images_are_evaluations_on_the_grid(name, ndim, pixel):
    _, params = _random(np.random.default_rng(8), name, ndim, 6)
    params = params.reshape(2, 3, -1)
    shape = (4, 5, 11)[-ndim:]
    grid = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")[::-1]
    lead = params.reshape(2, 3, *(1,) * ndim, -1)
    expected = fg.evaluate(tuple(grid), lead, name, pixel)
    pictures = fg.image(params, shape, name, pixel, threads=2)
    assert_allclose(pictures, expected, rtol=TOLERANCE["evaluate"], atol=1e-12)
    assert_array_equal(pictures, fg.image(params, shape, name, pixel, threads=1))
    assert_array_equal(pictures[1, 2], fg.image(params[1, 2], shape, name, pixel))


def test_out_is_written_in_any_layout():
    x, params = np.arange(12.0), [3.0, 4.0, 2.0, 1.0]
    expected = fg.evaluate(x, params)
    room = np.zeros((12, 2))
    assert fg.evaluate(x, params, out=room[:, 1]).base is room
    assert_array_equal(room[:, 1], expected)
    assert not room[:, 0].any()
    out = np.empty((12, 4))
    assert fg.jacobian(x, params, out=out) is out
    rotated = np.empty((5, 6)).T
    fg.image([1.0, 2.0, 2.0, 1.0, 0.0], (6, 5), "symmetric", out=rotated)
    assert_array_equal(rotated, fg.image([1.0, 2.0, 2.0, 1.0, 0.0], (6, 5), "symmetric"))


def test_out_may_overlap_the_input():
    room = np.linspace(0.0, 9.0, 20001)
    expected = fg.evaluate(room[:-1].copy(), [3.0, 4.0, 2.0, 1.0])
    fg.evaluate(room[:-1], [3.0, 4.0, 2.0, 1.0], out=room[1:], threads=1)
    assert_array_equal(room[1:], expected)


def test_out_may_share_memory_with_the_input():
    params = np.array([3.0, 4.0, 2.0, 1.0])
    expected = fg.evaluate(np.arange(12.0), params)
    for first in (0, 1, 3):
        room = np.arange(16.0)
        fg.evaluate(room[:12], params, out=room[first : first + 12])
        assert_array_equal(room[first : first + 12], expected)
    room = np.zeros((4, 12))
    room[0], room[1, :4] = np.arange(12.0), params
    fg.jacobian(room[0], room[1, :4], out=room.T)
    assert_array_equal(room.T, fg.jacobian(np.arange(12.0), params))


def test_infinitely_far_away_there_is_only_the_offset():
    for (name, ndim), pixel in [(kind, pixel) for kind in KINDS for pixel in PIXELS]:
        _, (params,) = _random(np.random.default_rng(1), name, ndim, 1)
        for far in (np.inf, -np.inf, 1e200):
            coords = (far,) * ndim
            assert fg.evaluate(coords, params, name, pixel) == params[-1]
            slopes = fg.jacobian(coords, params, name, pixel)
            assert not slopes[:-1].any() and slopes[-1] == 1.0


def test_what_is_not_a_number_stays_so():
    assert np.isnan(fg.evaluate(np.nan, [1.0, 0.0, 1.0, 0.0]))
    for k in range(4):
        params = np.array([1.0, 0.0, 1.0, 0.0])
        params[k] = np.nan
        assert np.isnan(fg.evaluate(0.5, params))
    for sigma in (0.0, -1.0):
        assert np.isnan(fg.evaluate(0.5, [1.0, 0.0, sigma, 0.0]))
        assert np.isnan(fg.image([1.0, 0.0, sigma, 0.0], (3,), "symmetric")).all()
    assert fg.evaluate(np.inf, [1.0, 0.0, 1.0, 7.0]) == 7.0


def test_empty_input_gives_empty_output():
    assert fg.evaluate(np.empty(0), np.ones(4)).shape == (0,)
    assert fg.jacobian((np.empty((0, 2)), 1.0), np.ones(7)).shape == (0, 2, 7)
    assert fg.image(np.empty((0, 5)), (4, 4), "symmetric").shape == (0, 4, 4)
    assert fg.image(np.ones(5), (0, 4), "symmetric").shape == (0, 4)


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        (lambda: fg.evaluate(1.0, [1.0, 2.0]), ValueError, "params"),
        (lambda: fg.evaluate(1.0, 3.0), ValueError, "params"),
        (lambda: fg.evaluate((1.0, 2.0), np.ones(5)), ValueError, "params"),
        (lambda: fg.evaluate((1.0, 2.0), np.ones(7, complex)), TypeError, "params"),
        (lambda: fg.evaluate((1.0, "a"), np.ones(7)), TypeError, "y"),
        (lambda: fg.evaluate((), np.ones(7)), ValueError, "coords"),
        (lambda: fg.evaluate((1, 2, 3, 4), np.ones(7)), ValueError, "coords"),
        (lambda: fg.evaluate((1, 2, 3), np.ones(8), "rotated"), ValueError, "model"),
        (lambda: fg.evaluate(1.0, np.ones(4), pixel="round"), ValueError, "pixel"),
        (lambda: fg.evaluate(1.0, np.ones(4), threads=-1), ValueError, "threads"),
        (lambda: fg.evaluate(np.ones(3), np.ones(4), out=np.ones(4)), ValueError, "out"),
        (lambda: fg.evaluate(np.ones(3), np.ones(4), out=np.ones(3, "f4")), TypeError, "out"),
        (lambda: fg.evaluate(np.ones(3), np.ones(4), out=[0, 0, 0]), TypeError, "out"),
        (lambda: fg.image(np.ones(5), 5, "symmetric"), TypeError, "shape"),
        (lambda: fg.image(np.ones(5), (5, -1), "symmetric"), ValueError, "shape"),
        (lambda: fg.image(np.ones(5), (5, 2.5), "symmetric"), TypeError, "shape"),
        (lambda: fg.image(np.ones(5), (2, 2, 2, 2), "symmetric"), ValueError, "shape"),
        (lambda: fg.image(np.ones(4), (2, 2), "symmetric"), ValueError, "params"),
    ],
)
def test_bad_input_is_named(call, error, word):
    with pytest.raises(error, match=word):
        call()


def test_a_read_only_out_is_left_alone():
    out = np.zeros(3)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        fg.evaluate(np.ones(3), np.ones(4), out=out)
    assert not out.any()
