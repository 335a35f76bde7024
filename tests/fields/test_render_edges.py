"""``render`` at every edge: of a grid, of memory, of threads, of numbers and of good sense."""

import naive_field
import numpy as np
import pytest
from field_cases import RADIUS, compare, compiled, render_tolerance, scene_of
from hypothesis import example, given, settings
from numpy.testing import assert_allclose, assert_array_equal

import fastgauss as fg
from fastgauss.base import thread_pool
from fastgauss.fields import sweeps
from fastgauss.kernels._compile import JIT_DISABLED

# -- the target --------------------------------------------------------------------------------


def _strided(shape, dtype):
    """Targets of this shape that lie in memory in every way, each with the memory around it."""
    long = (*shape[:-1], 2 * shape[-1] + 3)
    for offset in range(3):
        yield np.zeros(long, dtype), (..., slice(offset, offset + shape[-1]))
    yield np.zeros(long, dtype), (..., slice(1, 1 + 2 * shape[-1], 2))
    yield np.zeros(long, dtype), (..., slice(shape[-1], 0, -1))
    yield np.zeros(shape, dtype, order="F"), ()
    yield np.zeros(shape, dtype)[::-1], ()
    yield np.zeros((2, *shape), dtype), (1,)
    yield np.zeros((3 * shape[0], *shape[1:]), dtype), (slice(None, None, 3),)
    raw = np.zeros(np.prod(shape) * np.dtype(dtype).itemsize + 1, np.uint8)
    yield raw[1:].view(dtype).reshape(shape), ()
    record = np.zeros(shape, [("flag", np.int8), ("value", dtype), ("other", np.int16)])
    yield record["value"], ()


@pytest.mark.parametrize("dtype", ["d", "f"])
@pytest.mark.parametrize("kind", ["own axes", "own covariance"])
@pytest.mark.parametrize("shape", [(25,), (4, 21), (2, 3, 19)])
def test_the_target_may_lie_anyhow_in_memory(shape, kind, dtype):
    rng = np.random.default_rng(6)
    grid, positions, amplitudes, options = scene_of(rng, shape, 4, kind)
    start = rng.normal(size=shape).astype(dtype)
    expected = fg.render(grid, positions, amplitudes, out=start.copy(), **options)
    assert (expected != start).any()
    for memory, part in _strided(shape, dtype):
        memory[...] = 7.0
        out = memory[part]
        out[...] = start
        around = memory.copy()
        assert fg.render(grid, positions, amplitudes, out=out, **options) is out
        assert_array_equal(out, expected)
        around[part] = expected
        assert_array_equal(memory, around)


@pytest.mark.parametrize("dtype", ["d", "f"])
def test_calls_accumulate_in_the_target(dtype):
    grid, positions, amplitudes, options = scene_of(np.random.default_rng(7), (9, 31), 30, "axes")
    start = np.random.default_rng(8).normal(size=grid.shape).astype(dtype)
    together = fg.render(grid, positions, amplitudes, out=start.copy(), **options)
    apart = start.copy()
    for part in (slice(0, 7), slice(7, 7), slice(7, 20), slice(20, 30)):
        fg.render(grid, positions[part], amplitudes[part], out=apart, **options)
    atol = render_tolerance(dtype, amplitudes, start)
    assert_allclose(apart, together, rtol=0, atol=atol)
    assert_allclose(
        together - start, fg.render(grid, positions, amplitudes, **options), rtol=0, atol=atol
    )


@pytest.mark.parametrize("kind", ["own axes", "own covariance"])
@pytest.mark.parametrize("support", ["box", "sphere"])
def test_nodes_outside_all_supports_keep_their_bits(kind, support):
    shape = (6, 7, 20)
    grid, positions, amplitudes, options = scene_of(np.random.default_rng(9), shape, 2, kind)
    twin = naive_field.Field(grid, positions, radius=RADIUS, support=support, **options)
    covered = twin.matrix().any(axis=1).reshape(shape) | twin.unsure
    assert covered.any() and not covered.all()
    for ill in (np.nan, np.inf, -0.0):
        out = np.full(shape, ill)
        own = {"radius": RADIUS, "support": support, "combine": "max", **options}
        fg.render(grid, positions, amplitudes, out=out, **own)
        untouched = out[~covered]
        assert_array_equal(untouched.view(np.int64), np.full(untouched.shape, ill).view(np.int64))


THIN = [(0,), (1,), (3, 0), (0, 4), (1, 7), (7, 1), (1, 1, 1), (2, 0, 3), (1, 1, 5), (5, 1, 1)]


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("shape", THIN)
def test_thin_and_empty_grids(shape, rotated, periodic):
    kind = "own covariance" if rotated else "own axes"
    scene = scene_of(np.random.default_rng(10), shape, 3, kind, periodic=periodic)
    grid, positions, amplitudes, options = scene
    start = np.full(shape, 0.25)
    out = fg.render(grid, positions, amplitudes, radius=RADIUS, out=start.copy(), **options)
    compare(out, start, scene)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_no_particles_draw_nothing(axes):
    shape = (3, 4, 5)[:axes]
    widths = [{}, {"sigma": np.ones(axes)}, {"sigma": np.ones((0, 1))},
              {"sigma": np.ones((0, axes))}, {"covariance": np.eye(axes)},
              {"covariance": np.ones((0, axes, axes))}]  # fmt: skip
    for width in widths:
        for amplitudes in (1.0, np.zeros(0)):
            out = fg.render(shape, np.zeros((0, axes)), amplitudes, **width)
            assert_array_equal(out, np.zeros(shape))


# -- threads -----------------------------------------------------------------------------------


@compiled
@pytest.mark.parametrize("shape", [(60_000,), (300, 250), (40, 33, 45)])
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("dtype", ["d", "f"])
@pytest.mark.parametrize(
    ("kind", "support", "combine"),
    [("own axes", "box", "sum"), ("scalar", "sphere", "union"), ("own covariance", "box", "max")],
)
def test_bits_depend_neither_on_threads_nor_on_stages(
    monkeypatch, shape, periodic, dtype, kind, support, combine
):  # fmt: skip
    chunks = []
    run = thread_pool.run

    def spy(make_task, items, chunk, threads, *rest):
        chunks.append(min(items, threads))
        return run(make_task, items, chunk, threads, *rest)

    monkeypatch.setattr(thread_pool, "run", spy)
    n = 3e6 / (7.0 ** len(shape))
    grid, positions, amplitudes, options = scene_of(
        np.random.default_rng(11), shape, int(n / 4), kind, periodic=periodic, origin=0.3
    )
    own = {"radius": 3.0, "support": support, "combine": combine, **options}
    results = []
    for threads, stage in ((1, 1e8), (2, 1e8), (3, 1e8), (8, 1e8), (8, 2e5), (None, 1e5)):
        monkeypatch.setattr(sweeps, "_STAGE", stage)
        out = np.zeros(shape, dtype)
        fg.render(grid, positions, amplitudes, out=out, threads=threads, **own)
        results.append(out)
    assert chunks[:3] == [1, 2, 3] and chunks[3] >= 5
    for other in results[1:]:
        assert_array_equal(other, results[0])
    assert (results[0] != 0).mean() > 0.5


@pytest.mark.parametrize("rotated", [False, True])
def test_bits_do_not_depend_on_how_the_grid_is_divided(monkeypatch, rotated):
    """Particles anywhere, also where slabs end and beyond the grid, in jobs of any size."""
    monkeypatch.setattr(sweeps, "_SMALL", 0.0)
    divided = []
    width = {"covariance": np.array([[4.0]])} if rotated else {"sigma": 2.0}
    line = fg.Grid((70,)), np.array([[12.3], [50.6]]), np.array([1.0, -0.5]), width

    @settings(max_examples=10 if JIT_DISABLED else 80, deadline=None)
    @given(naive_field.scenes(rotated, most=2 if rotated else 6))
    @example(line)  # the other scenes differ from run to run
    def check(scene):
        grid, positions, amplitudes, options = scene
        one, *others = (
            fg.render(grid, positions, amplitudes, threads=t, **options) for t in (1, 2, 3, 8)
        )
        for other in others:
            assert_array_equal(other, one)
        plan = fg.GaussianField(grid, positions, **options).plan
        divided.append(len(sweeps._slabs(plan, 8, 0, grid.shape[0])) if plan.n and grid.size else 0)

    check()
    assert max(divided) > 4


@compiled
def test_particles_in_one_place_are_shared_by_threads_too():
    rng = np.random.default_rng(12)
    crowd = rng.normal([5.0, 20.0, 20.0], 0.5, (3000, 3))
    one, two, eight = (fg.render((40, 40, 40), crowd, threads=t) for t in (1, 2, 8))
    assert_array_equal(two, one)
    assert_array_equal(eight, one)
    assert one.max() > 100


# -- extremes ----------------------------------------------------------------------------------


def test_a_huge_sigma_covers_all_and_a_tiny_one_a_node():
    for sigma in (1e6, 1e100):
        for pixel in ("sample", "integrate"):
            for width in ({"sigma": sigma}, {"covariance": np.eye(2) * sigma**2}):
                out = fg.render((3, 20), [[1.0, 9.5]], 2.0, pixel=pixel, **width)
                assert_allclose(out, 2.0, rtol=1e-9)
    positions = [[1.0, 9.0], [0.0, 9.5]]
    for sigma in (1e-6, 1e-100):
        for width in ({"sigma": sigma}, {"covariance": np.eye(2) * sigma**2}):
            out = fg.render((3, 20), positions, 2.0, **width)
            assert out[1, 9] == 2.0 and np.count_nonzero(out) == 1


@pytest.mark.parametrize("sigma", [1e-2, 1e-6, 1e-100])
def test_a_tiny_sigma_leaves_its_integral_in_its_pixel(sigma):
    area = sigma * np.sqrt(2 * np.pi)
    out = fg.render((3, 20), [[1.2, 9.3], [0.0, 4.5]], 2.0, sigma, pixel="integrate")
    expected = np.zeros((3, 20))
    expected[1, 9] = 2.0
    expected[0, [4, 5]] = 1.0
    assert_allclose(out / area / area, expected, rtol=1e-9)


@pytest.mark.parametrize("sigma", [1e-101, 1e101, 1e-320, 1e150])
@pytest.mark.parametrize("spacing", [1.0, 1e-3])
def test_a_sigma_beyond_all_measure_is_refused(sigma, spacing):
    grid = fg.Grid((5, 5), spacing * 1e-10 if sigma > 1 else spacing * 1e10)
    with pytest.raises(ValueError, match="sigma"):
        fg.render(grid, [[1.0, 1.0]], sigma=sigma)
    with pytest.raises(ValueError, match="covariance"):
        fg.render(grid, [[1.0, 1.0]], covariance=np.eye(2) * min(sigma**2, 1e308))


def test_a_support_of_very_many_periods_is_refused():
    grid = fg.Grid((5, 5), periodic=(False, True))
    assert_allclose(fg.render(grid, [[2.0, 2.0]], sigma=(1e9, 30.0)).sum(), 5 * 75.2, rtol=1e-3)
    for width in ({"sigma": (1.0, 1e3)}, {"covariance": np.diag([1.0, 1e6])}):
        with pytest.raises(ValueError, match="64 periods of axis 1"):
            fg.render(grid, [[2.0, 2.0]], **width)


@pytest.mark.parametrize("far", [1e5, 1e17, 1e300])
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("width", [{"sigma": 1.2}, {"covariance": np.eye(3) * 1.44}])
def test_positions_very_far_away(width, periodic, far):
    grid = fg.Grid((8, 9, 10), (0.9, 1.1, 0.7), 0.1, periodic)
    corners = np.array([[far, 4, 4], [4, -far, 4], [4, 4, far], [-far, -far, -far]])
    out = fg.render(grid, corners, **width)
    if not periodic:
        assert not out.any()
        return
    area = (1.2 * np.sqrt(2 * np.pi)) ** 3 / np.prod(grid.spacing)
    assert_allclose(out.sum(), len(corners) * area, rtol=1e-2)  # all are somewhere


@compiled
def test_threads_agree_about_positions_very_far_away():
    rng = np.random.default_rng(13)
    grid = fg.Grid((16, 17, 18), (0.9, 1.1, 0.7), 0.1, True)
    sign = rng.choice([-1.0, 1.0], (2000, 3))
    positions = sign * 10 ** rng.uniform(0, 20, (2000, 3))
    one, many = (fg.render(grid, positions, 1.0, threads=t) for t in (1, 8))
    assert_array_equal(many, one)
    assert one.min() > 0


def test_mixed_near_and_far_particles_keep_the_near_ones():
    """Particles outside count as in the outermost tiles."""
    near = np.array([[4.0, 4.0, 4.0]])
    far = np.array([[-1e300, 4, 4], [1e300, 4, 4], [4, 1e9, -1e9], [-5.5, 4, 4]])
    alone = fg.render((8, 9, 10), near)
    assert_array_equal(fg.render((8, 9, 10), np.concatenate([far, near, far])), alone)
    assert alone.any()


# -- arguments ---------------------------------------------------------------------------------

WHERE = [[1.0, 2.0], [3.0, 4.0]]
TURN = np.array([[2.0, 1.0], [1.0, 2.0]])
BAD = [
    ({"positions": [[1.0, np.nan]]}, ValueError, "positions"),
    ({"positions": [[1.0, 2.0], [np.inf, 0.0]]}, ValueError, "positions"),
    ({"positions": [[1.0, 2.0, 3.0]]}, ValueError, "positions"),
    ({"positions": [1.0, 2.0]}, ValueError, "positions"),
    ({"positions": [[1.0], [1.0, 2.0]]}, ValueError, "positions"),
    ({"positions": np.array(WHERE, dtype=object)}, TypeError, "positions"),
    ({"positions": np.array(WHERE) + 0j}, TypeError, "positions"),
    ({"positions": [["1", "2"]]}, TypeError, "positions"),
    ({"positions": np.ma.masked_greater(WHERE, 2)}, TypeError, "positions"),
    ({"amplitudes": [1.0, np.nan]}, ValueError, "amplitudes"),
    ({"amplitudes": [1.0, 2.0, 3.0]}, ValueError, "amplitudes"),
    ({"amplitudes": [[1.0, 2.0]]}, ValueError, "amplitudes"),
    ({"amplitudes": np.array([1, 2], dtype=object)}, TypeError, "amplitudes"),
    ({"amplitudes": 1j}, TypeError, "amplitudes"),
    ({"sigma": 0.0}, ValueError, "sigma"),
    ({"sigma": -1.0}, ValueError, "sigma"),
    ({"sigma": np.nan}, ValueError, "sigma"),
    ({"sigma": [1.0, np.inf]}, ValueError, "sigma"),
    ({"sigma": [[1.0], [-2.0]]}, ValueError, "sigma"),
    ({"sigma": [1.0, 2.0, 3.0]}, ValueError, "sigma"),
    ({"sigma": [[1.0], [2.0], [3.0]]}, ValueError, "sigma"),
    ({"sigma": np.ones((2, 3))}, ValueError, "sigma"),
    ({"sigma": "wide"}, TypeError, "sigma"),
    ({"sigma": None}, TypeError, "sigma"),
    ({"covariance": 1.0}, ValueError, "covariance"),
    ({"covariance": np.eye(3)}, ValueError, "covariance"),
    ({"covariance": np.ones((3, 2, 2))}, ValueError, "covariance"),
    ({"covariance": TURN * 1j}, TypeError, "covariance"),
    ({"covariance": TURN + np.array([[0, 1e-3], [0, 0]])}, ValueError, "symmetric"),
    ({"covariance": -TURN}, ValueError, "positive definite"),
    ({"covariance": TURN * 0}, ValueError, "positive definite"),
    ({"covariance": np.ones((2, 2))}, ValueError, "positive definite"),
    ({"covariance": np.array([TURN, [[1.0, 3.0], [3.0, 1.0]]])}, ValueError, "positive definite"),
    ({"covariance": TURN * np.nan}, ValueError, "covariance"),
    ({"tol": 0.0}, ValueError, "tol"),
    ({"tol": 1.0}, ValueError, "tol"),
    ({"tol": -1e-3}, ValueError, "tol"),
    ({"tol": np.nan}, ValueError, "tol"),
    ({"tol": "small"}, TypeError, "tol"),
    ({"radius": 0.0}, ValueError, "radius"),
    ({"radius": -3.0}, ValueError, "radius"),
    ({"radius": np.inf}, ValueError, "radius"),
    ({"radius": [3.0, 3.0]}, TypeError, "radius"),
    ({"support": "cube"}, ValueError, "support"),
    ({"support": 3}, TypeError, "support"),
    ({"pixel": "mean"}, ValueError, "pixel"),
    ({"combine": "min"}, ValueError, "combine"),
    ({"threads": 0}, ValueError, "threads"),
    ({"threads": 1.5}, TypeError, "threads"),
    ({"grid_or_shape": (6, 8, 7, 5)}, ValueError, "grid"),
    ({"grid_or_shape": (6, -8)}, ValueError, "grid"),
    ({"grid_or_shape": (6.0, 8.0)}, TypeError, "grid"),
    ({"grid_or_shape": (6, 9)}, ValueError, "out"),
    ({"out": [[0.0] * 8] * 6}, TypeError, "out"),
    ({"out": np.zeros((6, 8), int)}, TypeError, "out"),
    ({"out": np.zeros((6, 8), np.float16)}, TypeError, "out"),
    ({"out": np.zeros((6, 8), ">f8")}, TypeError, "out"),
    ({"out": np.zeros((6, 8), complex)}, TypeError, "out"),
    ({"out": np.zeros((6, 7))}, ValueError, "out"),
    ({"out": np.broadcast_to(0.0, (6, 8))}, ValueError, "out"),
]


@pytest.mark.parametrize(
    ("bad", "error", "name"), BAD, ids=[f"{k}-{'-'.join(b[0])}" for k, b in enumerate(BAD)]
)
def test_a_bad_argument_is_named_and_nothing_is_written(bad, error, name):
    good = {
        "grid_or_shape": (6, 8),
        "positions": WHERE,
        "amplitudes": 1.0,
        "out": np.full((6, 8), 3.0),
    }
    with pytest.raises(error, match=name):
        fg.render(**{**good, **bad})
    assert (good["out"] == 3.0).all()


def test_a_covariance_that_is_symmetric_but_for_rounding_is_taken():
    rough = TURN * (1 + 1e-13 * np.array([[0, 1], [-1, 0]]))
    assert_allclose(
        fg.render((6, 8), WHERE, covariance=rough), fg.render((6, 8), WHERE, covariance=TURN)
    )


def test_positions_may_be_of_any_real_kind():
    rng = np.random.default_rng(14)
    whole = rng.integers(0, 9, (6, 2))
    expected = fg.render((9, 9), whole.astype(float))
    for dtype in ("i1", "u2", "i8", ">i4", "f2", "f4", "f8", ">f8", ">f4", np.longdouble):
        assert_array_equal(fg.render((9, 9), whole.astype(dtype)), expected)
    wide = np.zeros((12, 5))
    wide[::2, 1:4:2] = whole
    ways = [np.asfortranarray(whole, float), wide[::2, 1:4:2], whole.astype(float)[::-1][::-1]]
    raw = np.zeros(whole.size * 8 + 1, np.uint8)[1:].view(float).reshape(whole.shape)
    raw[...] = whole
    frozen = whole.astype(float)
    frozen.flags.writeable = False
    for same in (*ways, raw, frozen, whole.tolist()):
        assert_array_equal(fg.render((9, 9), same), expected)
    assert_array_equal(fg.render((9, 9), whole > 4), fg.render((9, 9), (whole > 4).astype(float)))


def test_amplitudes_and_sigmas_may_be_of_any_real_kind():
    expected = fg.render((9, 9), WHERE, [3.0, 1.0], [[2.0, 1.0]])
    for dtype in ("i1", ">u2", "f2", "f4", ">f8", np.longdouble):
        heights, sigma = np.array([3, 1], dtype), np.array([[2, 1]], dtype)
        assert_array_equal(fg.render((9, 9), WHERE, heights, sigma), expected)
        covariance = np.array([[4, 0], [0, 1]], dtype)
        again = fg.render((9, 9), WHERE, heights, covariance=covariance)
        assert_allclose(again, expected, rtol=0, atol=1e-14)
    assert_array_equal(fg.render((9, 9), WHERE, [3, 1], [(2, 1)]), expected)
    assert_array_equal(fg.render((9, 9), WHERE, [3, 1], [[2, 1], [2, 1]]), expected)


def test_arguments_are_not_changed():
    grid, positions, amplitudes, options = scene_of(
        np.random.default_rng(15), (9, 9), periodic=True
    )
    given = (positions, amplitudes, options["sigma"])
    before = [array.copy() for array in given]
    fg.render(grid, positions, amplitudes, **options)
    for array, copy in zip(given, before, strict=True):
        assert_array_equal(array, copy)


def test_amplitudes_may_share_memory_with_out():
    rng = np.random.default_rng(5)
    positions, amplitudes = rng.uniform(0, 64, (64, 1)), rng.uniform(1, 2, 64)
    expected = amplitudes + fg.render((64,), positions, amplitudes, sigma=2.0)
    fg.render((64,), positions, amplitudes, sigma=2.0, out=amplitudes)
    assert_allclose(amplitudes, expected, rtol=1e-14)


def test_out_may_not_overlap_itself():
    strange = np.lib.stride_tricks.as_strided(np.zeros(200), (10, 10), (8, 8))
    with pytest.raises(ValueError, match="out must not overlap itself"):
        fg.render((10, 10), [[1.0, 1.0]], out=strange)


def test_a_tolerance_is_checked_beside_a_radius():
    with pytest.raises(ValueError, match="tol must be"):
        fg.render((10,), [[1.0]], tol=-3, radius=2)
