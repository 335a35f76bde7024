"""``deposit`` and ``gather`` against scipy's splines, at edges of grids, memory and sense."""

import naive_deposit
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

KERNELS = tuple(naive_deposit.NODES)
SHAPES = [(40,), (7, 21), (5, 6, 9)]
SINGLE = {kernel: k % 3 + 1 for k, kernel in enumerate(KERNELS)}  # axes that float32 is tried on:
# adding a row of nodes, which differs by dtype and kernel, knows no axes
compiled = pytest.mark.skipif(JIT_DISABLED, reason="threads take part in large jobs only")


@st.composite
def scenes(draw, most=9, axes=None):
    """A grid, particles on it and around it, and their values."""
    axes = axes or draw(st.integers(1, 3))
    shape = tuple(draw(st.lists(st.integers(0, most), min_size=axes, max_size=axes)))
    periodic = tuple(draw(st.lists(st.booleans(), min_size=axes, max_size=axes)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    grid = fg.Grid(shape, rng.uniform(0.1, 3, axes), rng.uniform(-5, 5, axes), periodic)
    n = draw(st.integers(0, 8))
    reach = draw(st.sampled_from([0.0, 3.0, 50.0]))
    where = rng.uniform(-reach, np.array(shape) + reach, (n, axes))
    if draw(st.booleans()):
        grid = fg.Grid(shape, 0.5, -2.0, periodic)  # exact: nodes and half-way between them
        where = np.rint(2 * where) / 2
    channels = draw(st.sampled_from([(), (1,), (3,), (2, 2)]))
    return grid, grid.position(where), rng.uniform(-1, 2, (n, *channels))


def _scene(rng, shape, n=30, channels=(), **grid):
    grid = fg.Grid(shape, **grid)
    where = grid.position(rng.uniform(-3, np.array(shape) + 2, (n, len(shape))))
    return grid, where, rng.uniform(-1, 2, (n, *channels))


# -- the sums ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["d", "f"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_deposit_is_the_sum_of_splines(kernel, dtype):
    tolerance = TOLERANCE["deposit"][np.dtype(dtype).name]
    axes = SINGLE[kernel] if dtype == "f" else None

    @settings(max_examples=15 if JIT_DISABLED else 100, deadline=None)
    @given(scenes(most=4 if JIT_DISABLED else 9, axes=axes))
    def check(scene):
        grid, positions, values = scene
        start = np.random.default_rng(1).uniform(-1, 1, grid.shape + values.shape[1:])
        out = start.astype(dtype)
        start = out.astype("d")
        assert fg.deposit(grid, positions, values, kernel, out) is out
        expected = start + naive_deposit.deposit(grid, positions, values, kernel)
        assert_allclose(out, expected, rtol=0, atol=tolerance * (2 + abs(values).sum()))

    check()


@pytest.mark.parametrize("kernel", KERNELS)
def test_gather_is_the_mean_over_a_spline(kernel):
    @settings(max_examples=15 if JIT_DISABLED else 100, deadline=None)
    @given(scenes(most=4 if JIT_DISABLED else 9))
    def check(scene):
        grid, positions, values = scene
        field = np.random.default_rng(1).uniform(-1, 1, grid.shape + values.shape[1:])
        result = fg.gather(field, positions, kernel, grid)
        assert result.shape == values.shape
        assert result.dtype == np.float64
        expected = naive_deposit.gather(field, grid, positions, kernel)
        assert_allclose(result, expected, rtol=0, atol=TOLERANCE["deposit"]["float64"])

    check()


@pytest.mark.parametrize("kernel", KERNELS)
def test_gather_is_the_adjoint(kernel):
    @settings(max_examples=15 if JIT_DISABLED else 100, deadline=None)
    @given(scenes(most=4 if JIT_DISABLED else 9))
    def check(scene):
        grid, positions, values = scene
        field = np.random.default_rng(1).uniform(-1, 1, grid.shape + values.shape[1:])
        drawn = fg.deposit(grid, positions, values, kernel)
        left = np.vdot(drawn, field)
        right = np.vdot(values, fg.gather(field, positions, kernel, grid))
        scale = np.linalg.norm(drawn) * np.linalg.norm(field) + np.abs(values).sum()
        assert abs(left - right) <= 1e-14 * (1 + scale)

    check()


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("kernel", KERNELS)
def test_mass_is_conserved_and_weights_are_a_partition_of_unity(kernel, periodic):
    n = 30 if JIT_DISABLED else 5000
    grid = fg.Grid((9, 8, 11), (0.3, 1.0, 2.0), (7.0, 0.1, -3.0), periodic)
    rng = np.random.default_rng(4)
    positions = grid.position(rng.uniform(2, np.array(grid.shape) - 3, (n, 3)))
    ones = fg.gather(np.ones(grid.shape), positions, kernel, grid)
    assert_allclose(ones, 1.0, rtol=0, atol=4 * np.finfo(float).eps)
    for position in positions[:30]:
        mass = fg.deposit(grid, [position], 1.0, kernel).sum()
        assert abs(mass - 1.0) <= 4 * np.finfo(float).eps
    total = fg.deposit(grid, positions, kernel=kernel).sum()
    assert total == pytest.approx(n, rel=1e-15 * np.sqrt(n), abs=0)


def test_a_tie_goes_to_the_higher_node():
    result = fg.deposit(4, [-0.5, 0.5, np.nextafter(0.5, 0), 2.5, 3.5], kernel="nearest")
    assert_array_equal(result, [2, 1, 0, 1])
    result = fg.deposit(fg.Grid((4,), periodic=True), [-0.5, 3.5, -1e-300, 1e300], kernel="nearest")
    assert result.sum() == 4


@pytest.mark.parametrize("kernel", KERNELS)
def test_far_outside_nothing_is_left_and_nothing_overflows(kernel):
    far = np.array([[-1e300, 0.0], [1e19, 1.0], [1.0, -1e19], [2.0**63, 2.0], [-9.0, 1.0]])
    assert not fg.deposit((5, 6), far, kernel=kernel).any()
    assert_array_equal(fg.gather(np.ones((5, 6)), far, kernel), 0.0)
    wrapped = fg.deposit(fg.Grid((5, 6), periodic=True), far, kernel=kernel)
    assert wrapped.sum() == pytest.approx(5, rel=1e-14)


# -- what may be given -------------------------------------------------------------------------


READINGS = {
    "float32": lambda a: a.astype("f"),
    "float16": lambda a: a.astype(np.float16),
    "longdouble": lambda a: a.astype(np.longdouble),
    "swapped": lambda a: a.astype(">f8"),
    "int32": lambda a: a.astype("i4"),
    "uint8": lambda a: abs(a).astype("u1"),
    "bool": lambda a: a > 2,
    "Fortran": np.asfortranarray,
    "reversed": lambda a: a[::-1],
    "strided": lambda a: np.repeat(a, 2, axis=0)[::2],
    "list": lambda a: a.tolist(),
}


@pytest.mark.parametrize("reading", READINGS)
def test_arrays_of_any_real_dtype_and_layout(reading):
    rng = np.random.default_rng(3)
    positions, values = rng.uniform(0, 5, (9, 2)), rng.uniform(0, 5, 9)
    field = rng.uniform(0, 5, (6, 7))
    read = READINGS[reading]
    where, what, volume = (np.asarray(read(a), dtype="d") for a in (positions, values, field))
    result = fg.deposit((6, 7), read(positions), read(values))
    assert_array_equal(result, fg.deposit((6, 7), where, what))
    result = fg.gather(read(field), read(positions))
    assert_array_equal(result, fg.gather(volume, where))


@pytest.mark.parametrize("dtype", ["d", "f"])
def test_out_may_lie_anyhow(dtype):
    grid, positions, values = _scene(np.random.default_rng(2), (6, 7), channels=(3,))
    start = np.random.default_rng(1).uniform(-1, 1, (6, 7, 3)).astype(dtype)
    expected = fg.deposit(grid, positions, values, out=start.copy())
    fortran = np.asfortranarray(start)
    wide = np.zeros((6, 7, 6), dtype)
    wide[..., ::2] = start
    part = wide[..., ::2]
    for out in (fortran, part, start[::-1].copy()[::-1]):
        assert fg.deposit(grid, positions, values, out=out) is out
        assert_array_equal(out, expected)
    assert not wide[..., 1::2].any()


def test_out_may_be_the_memory_of_what_is_read():
    memory = np.random.default_rng(0).uniform(0, 5, (6, 6))
    expected = memory + fg.deposit((6, 6), memory[:, :2].copy(), memory[:, 3].copy())
    assert_allclose(fg.deposit((6, 6), memory[:, :2], memory[:, 3], out=memory), expected)


def test_shapes_one_dimension_and_nothing():
    assert_array_equal(fg.deposit(3, [1.0]), [0, 1, 0])
    assert_array_equal(fg.gather([1.0, 2.0], [0.5]), [1.5])
    assert fg.deposit((3, 0), np.zeros((2, 2))).shape == (3, 0)
    assert_array_equal(fg.gather(np.zeros((3, 0)), np.zeros((2, 2))), [0, 0])
    assert_array_equal(fg.deposit((2, 2), np.zeros((0, 2)), np.zeros(0)), np.zeros((2, 2)))
    assert fg.deposit((2, 2), np.zeros((1, 2)), np.zeros((1, 0))).shape == (2, 2, 0)
    assert fg.gather(np.zeros((2, 2, 0)), np.zeros((4, 2))).shape == (4, 0)


# -- what may not ------------------------------------------------------------------------------


BAD = [
    (ValueError, r"positions must be finite, got \[nan, 1.0\] at index 1", {"where": (1, np.nan)}),
    (ValueError, "positions must be finite.*at index 2", {"where": (2, -np.inf)}),
    (ValueError, "values must be finite, got .*nan.* at index 1", {"values": [0, np.nan, 1]}),
    (ValueError, "values must be finite, got inf", {"values": np.inf}),
    (ValueError, "values must be one number or have 3 rows", {"values": [0, 1]}),
    (TypeError, "values must hold real numbers", {"values": [0, 1j, 1]}),
    (ValueError, "use fastgauss.render", {"kernel": "gaussian"}),
    (ValueError, "kernel must be one of", {"kernel": "spline"}),
    (ValueError, "nonfinite must be one of", {"nonfinite": "keep"}),
    (ValueError, r"positions must have shape \(n, 2\)", {"positions": [[1.0, 2.0, 3.0]]}),
    (ValueError, r"positions must have shape \(n, 2\)", {"positions": [1.0, 2.0]}),
    (ValueError, "threads must be at least 1", {"threads": 0}),
    (ValueError, "out must have shape", {"values": np.ones((3, 2))}),
]


@pytest.mark.parametrize(("error", "message", "options"), BAD)
def test_bad_input_leaves_out_untouched(error, message, options):
    options = dict(options)
    positions = np.ones((3, 2))
    if "where" in options:
        row, value = options.pop("where")
        positions[row, 0] = value
    out = np.arange(12.0).reshape(3, 4)
    arguments = {"positions": positions, "out": out, **options}
    with pytest.raises(error, match=message):
        fg.deposit((3, 4), **arguments)
    assert_array_equal(out, np.arange(12.0).reshape(3, 4))


def test_what_cannot_be_an_out_or_a_field():
    with pytest.raises(TypeError, match="out must be of dtype"):
        fg.deposit((3, 4), [[1.0, 1.0]], out=np.zeros((3, 4), int))
    with pytest.raises(ValueError, match="field must have the grid's shape"):
        fg.gather(np.zeros((3, 4)), [[1.0, 1.0]], grid=(3, 5))
    with pytest.raises(ValueError, match="field must have 2 axes or more"):
        fg.gather(np.zeros(3), [[1.0, 1.0]])
    with pytest.raises(ValueError, match=r"\(n, 1\) to \(n, 3\)"):
        fg.gather(np.zeros((3, 3)), [[1.0, 1.0, 1.0, 1.0]])
    with pytest.raises(ValueError, match=r"positions must be finite, got .* at index 1"):
        fg.gather(np.zeros((3, 3)), [[1.0, 1.0], [np.nan, 0.0]])
    tiny = fg.Grid((3,), spacing=1e-300)
    with pytest.raises(ValueError, match="finite numbers of spacings"):
        fg.deposit(tiny, [1e30])


def test_what_is_not_finite_can_be_dropped():
    grid, positions, values = _scene(np.random.default_rng(2), (6, 7), channels=(3,))
    bad_positions, bad_values = positions.copy(), values.copy()
    bad_positions[3, 1], bad_positions[11, 0], bad_values[20, 2] = np.nan, np.inf, -np.inf
    rest = np.setdiff1d(np.arange(len(positions)), [3, 11, 20])
    result = fg.deposit(grid, bad_positions, bad_values, nonfinite="drop")
    assert_array_equal(result, fg.deposit(grid, positions[rest], values[rest]))
    result = fg.deposit(grid, bad_positions, 2.0, nonfinite="drop")
    rest = np.setdiff1d(np.arange(len(positions)), [3, 11])
    assert_array_equal(result, fg.deposit(grid, positions[rest], 2.0))
    assert not fg.deposit(4, [1.0], [np.nan], nonfinite="drop").any()
    assert not fg.deposit(4, [np.nan], nonfinite="drop").any()


# -- threads -----------------------------------------------------------------------------------


@compiled
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("channels", [(), (2,)])
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("shape", [(5000,), (90, 70), (31, 20, 25), (3, 30, 30)])
def test_the_same_bits_for_any_number_of_threads(shape, periodic, channels, kernel):
    scene = _scene(np.random.default_rng(5), shape, 250_000, channels, periodic=periodic)
    grid, positions, values = scene
    positions[:50_000] = positions[:50_000] / 10  # uneven
    first = fg.deposit(grid, positions, values, kernel, threads=1)
    read = fg.gather(first, positions, kernel, grid, threads=1)
    for threads in (2, 3, 7):
        result = fg.deposit(grid, positions, values, kernel, threads=threads)
        assert_array_equal(result, first)
        again = fg.gather(first, positions, kernel, grid, threads=threads)
        assert_array_equal(again, read)
    if len(shape) != SINGLE[kernel]:
        return
    small = np.zeros(first.shape, "f")
    fg.deposit(grid, positions, values, kernel, small, threads=1)
    two = fg.deposit(grid, positions, values, kernel, np.zeros_like(small), threads=2)
    assert_array_equal(two, small)


@compiled
def test_the_first_that_is_not_finite_is_named_whoever_finds_it():
    positions = np.ones((600_000, 2))
    positions[[599_999, 300_001, 420_000], 1] = np.nan
    out = np.zeros((9, 9))
    for threads in (1, 2):
        with pytest.raises(ValueError, match="at index 300001"):
            fg.deposit((9, 9), positions, out=out, threads=threads)
    assert not out.any()
    dropped = fg.deposit((9, 9), positions, out=out, nonfinite="drop", threads=2)
    assert dropped[1, 1] == 599_997
