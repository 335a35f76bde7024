"""``GaussianField``: adjoint, matrix and operator of one and the same truncated sum."""

import copy
import os
import pickle
import subprocess
import sys
import textwrap
import tracemalloc

import naive_field
import numpy as np
import pytest
from field_cases import KINDS, RADIUS, WIDTHS, compiled, field_and_twin
from hypothesis import given, settings
from numpy.testing import assert_allclose, assert_array_equal
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.base import thread_pool
from fastgauss.kernels._compile import JIT_DISABLED

KERNELS = [(t, s, d) for t, s in KINDS for d in ("d", "f")]

# -- the adjoint -------------------------------------------------------------------------------


@pytest.mark.parametrize(("rotated", "support", "dtype"), KERNELS)
def test_the_adjoint_is_the_transpose_of_render(rotated, support, dtype):
    """<A a, v> = <a, A'v>, relative to what the sums would be without cancellation."""
    single = np.dtype(dtype) == np.float32

    @settings(max_examples=6 if JIT_DISABLED else 50, deadline=None)
    @given(naive_field.scenes(rotated, most=2 if rotated else 4))
    def check(scene):
        grid, positions, amplitudes, options = scene
        field = fg.GaussianField(grid, positions, radius=RADIUS, support=support, **options)
        volume = np.random.default_rng(1).normal(size=grid.shape).astype(dtype)
        drawn = field.render(amplitudes, out=np.zeros(grid.shape, dtype)).astype(float)
        back = field.adjoint(volume)
        assert back.dtype == np.float64
        size = field.render(abs(amplitudes)).ravel() @ abs(volume.astype(float)).ravel()
        error = drawn.ravel() @ volume.astype(float).ravel() - amplitudes @ back
        assert abs(error) <= TOLERANCE["dot test"][np.dtype(dtype).name] * size + 1e-30
        twin = naive_field.Field(
            grid, positions, radius=RADIUS, support=support, edge=1e-5 if single else 1e-9,
            **options,
        )  # fmt: skip
        if not twin.unsure.any():
            expected = twin.matrix().T @ volume.astype(float).ravel()
            atol = (3e-6 if single else 1e-12) * (1 + abs(volume).sum())
            assert_allclose(back, expected, rtol=0, atol=atol)

    check()


def _views(volume):
    """The same numbers, lying elsewhere and otherwise in memory."""
    shape, dtype = volume.shape, volume.dtype
    for offset in (0, 1, 3, 7):
        line = np.zeros(volume.size + offset, dtype)
        line[offset:] = volume.ravel()
        yield line[offset:].reshape(shape)
    wide = np.full((*shape[:-1], shape[-1] + 5), np.nan, dtype)
    for offset in (0, 2, 5):
        part = wide[..., offset : offset + shape[-1]]
        part[...] = volume
        yield part
    yield np.asfortranarray(volume)
    yield np.ascontiguousarray(volume[::-1])[::-1]
    yield np.ascontiguousarray(volume[..., ::-1])[..., ::-1]
    raw = np.zeros(volume.nbytes + 1, np.uint8)[1:].view(dtype).reshape(shape)
    raw[...] = volume
    yield raw


@pytest.mark.parametrize(("rotated", "support", "dtype"), KERNELS)
@pytest.mark.parametrize("shape", [(30,), (5, 21), (3, 5, 18)])
def test_bits_of_the_adjoint_do_not_depend_on_where_the_volume_lies(
    shape, rotated, support, dtype
):  # fmt: skip
    rng = np.random.default_rng(2)
    kind = "own covariance" if rotated else "own axes"
    field, _, amplitudes = field_and_twin(rng, shape, 4, kind, support=support)
    volume = rng.normal(size=shape).astype(dtype)
    expected = field.adjoint(volume)
    names = ("amplitudes", "positions")
    loss, gradient = field.loss_and_gradient(volume, amplitudes, names)
    for view in _views(volume):
        assert_array_equal(view, volume)
        before = view.copy()
        assert_array_equal(field.adjoint(view), expected)
        again, slopes = field.loss_and_gradient(view, amplitudes, names)
        assert again == loss
        for name in names:
            assert_array_equal(slopes[name], gradient[name])
        assert_array_equal(view, before)


@pytest.mark.parametrize("kind", ["own axes", "own covariance"])
def test_a_volume_may_be_read_only(kind):
    rng = np.random.default_rng(2)
    field, _, amplitudes = field_and_twin(rng, (5, 21), 4, kind)
    volume = rng.normal(size=(5, 21))
    frozen = volume.copy()
    frozen.flags.writeable = False
    names = ("amplitudes", "positions")
    assert_array_equal(field.adjoint(frozen), field.adjoint(volume))
    loss, gradient = field.loss_and_gradient(volume, amplitudes, names)
    again, slopes = field.loss_and_gradient(frozen, amplitudes, names)
    assert again == loss
    for name in names:
        assert_array_equal(slopes[name], gradient[name])


@pytest.mark.parametrize("kind", ["axes", "covariance"])
def test_volumes_may_be_of_any_real_kind(kind):
    """Those of at most float32 are read in that precision, all others in float64."""
    rng = np.random.default_rng(3)
    field, _, amplitudes = field_and_twin(rng, (9, 21), 4, kind)
    volume = rng.integers(0, 100, (9, 21))

    def results(given):
        return field.adjoint(given), *field.loss_and_gradient(given, amplitudes)

    expected, single = results(volume.astype("f8")), results(volume.astype("f4"))
    for dtype in ("u1", "i8", ">i2", ">f8", np.longdouble):
        for value, same in zip(results(volume.astype(dtype)), expected, strict=True):
            assert_array_equal(value, same)
    for value, same in zip(results(volume.astype("f2")), single, strict=True):
        assert_array_equal(value, same)
    assert_array_equal(field.adjoint(volume.astype(">f4")), single[0])
    assert_array_equal(field.adjoint(volume.tolist()), expected[0])
    assert_array_equal(field.adjoint(-volume.astype("i2")[::-1, ::-1]), field.adjoint(
        -1.0 * volume[::-1, ::-1]))  # fmt: skip
    for value, same in zip(results(volume > 50), results((volume > 50) * 1.0), strict=True):
        assert_array_equal(value, same)


@pytest.mark.parametrize(("rotated", "support"), KINDS)
def test_the_adjoint_sees_nothing_outside_a_support(rotated, support):
    shape = (5, 7, 20)
    kind = "own covariance" if rotated else "own axes"
    field, twin, _ = field_and_twin(np.random.default_rng(4), shape, 2, kind, support=support)
    covered = (twin.matrix().any(axis=1).reshape(shape)) | twin.unsure
    assert covered.any() and not covered.all()
    volume = np.random.default_rng(5).normal(size=shape)
    expected = field.adjoint(np.where(covered, volume, 0.0))
    for ill in (np.nan, np.inf, 1e308):
        assert_array_equal(field.adjoint(np.where(covered, volume, ill)), expected)
    if support == "box":
        sick = np.full(shape, np.nan)
        assert np.isnan(field.adjoint(sick)[twin.matrix().any(axis=0)]).all()


def _busy(monkeypatch):
    """A list that the number of threads of each job is added to."""
    teams = []
    run = thread_pool.run

    def spy(make_task, items, chunk, threads, *rest):
        teams.append(min(-(-items // chunk), threads or 1))
        return run(make_task, items, chunk, threads, *rest)

    monkeypatch.setattr(thread_pool, "run", spy)
    return teams


@compiled
@pytest.mark.parametrize("shape", [(600_000,), (300, 250), (40, 33, 45)])
@pytest.mark.parametrize("dtype", ["d", "f"])
@pytest.mark.parametrize(
    ("kind", "support"), [("own axes", "box"), ("scalar", "sphere"), ("own covariance", "box")]
)
def test_bits_of_a_gradient_do_not_depend_on_threads(monkeypatch, shape, dtype, kind, support):
    rng = np.random.default_rng(6)
    n = 9000
    grid = fg.Grid(shape, 0.7, 3.0, True)
    positions = grid.position(rng.uniform(0, np.array(shape), (n, len(shape))))
    own = {"radius": 6.0 if len(shape) == 1 else 3.0, "support": support}
    own |= naive_field.widths(rng, n, grid, kind, 2.0 if len(shape) == 1 else 0.6, 3.0)
    volume = rng.normal(size=shape).astype(dtype)
    amplitudes = rng.normal(size=n)
    names = ("amplitudes", "positions", "covariance" if "covariance" in own else "sigmas")
    teams = _busy(monkeypatch)
    results = []
    for threads in (1, 2, 3, 8, 8):
        field = fg.GaussianField(grid, positions, threads=threads, **own)
        loss, gradient = field.loss_and_gradient(volume, amplitudes, names)
        results.append([loss, field.adjoint(volume), field.render(amplitudes), *gradient.values()])
    assert {1, 2, 3} < set(teams) and max(teams) >= 5
    half = 0.5 * ((results[0][2] - volume) ** 2).sum()
    assert_allclose(results[0][0], half, rtol=1e-12 if dtype == "d" else 1e-6)
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            assert_array_equal(a, b)


# -- the matrix and the operator ---------------------------------------------------------------


@pytest.mark.parametrize(("rotated", "support"), KINDS)
def test_the_sparse_matrix_has_the_columns_that_render_draws(rotated, support):
    @settings(max_examples=6 if JIT_DISABLED else 50, deadline=None)
    @given(naive_field.scenes(rotated, most=2 if rotated else 4))
    def check(scene):
        grid, positions, _, options = scene
        field = fg.GaussianField(grid, positions, radius=RADIUS, support=support, **options)
        matrix = field.as_sparse()
        assert matrix.format == "csc" and matrix.shape == (grid.size, len(positions))
        assert matrix.has_canonical_format and matrix.dtype == np.float64
        dense = matrix.toarray()
        for p in range(len(positions)):
            column = field.render(np.arange(len(positions)) == p).ravel()
            assert_allclose(dense[:, p], column, rtol=0, atol=1e-13)
            assert_array_equal(dense[:, p] != 0, column != 0)
        twin = naive_field.Field(grid, positions, radius=RADIUS, support=support, **options)
        stored = len({(node, p) for p, flat, _ in twin.columns() for node in flat.tolist()})
        if not twin.unsure.any():
            assert matrix.nnz == stored

    check()


@pytest.mark.parametrize("rotated", [False, True])
def test_the_sparse_matrix_and_render_agree_on_every_node_near_a_sphere(rotated):
    """Sigmas for which rounding decides about many nodes."""
    shape = (11, 12, 13)
    for k in range(4 if JIT_DISABLED else 40):
        sigma = 1.0 / (2.0 + 0.1 * k)
        width = {"covariance": np.eye(3) * sigma**2} if rotated else {"sigma": sigma}
        own = {"radius": 3 / sigma, "support": "sphere", **width}
        field = fg.GaussianField(shape, [[5.0, 6.0, 6.0]], **own)
        drawn = field.render().ravel()
        column = field.as_sparse().toarray()[:, 0]
        assert_array_equal(column != 0, drawn != 0)
        ball = ((np.indices(shape).T - [6, 6, 5][::-1]) ** 2).sum(axis=-1).T
        assert (drawn.reshape(shape)[ball < 9] > 0).all()
        assert not drawn.reshape(shape)[ball > 9].any()
        assert_allclose(field.adjoint(drawn.reshape(shape)), [drawn @ drawn], rtol=1e-13)


@pytest.mark.parametrize("kind", ["own axes", "covariance"])
def test_the_linear_operator_passes_scipys_tests(kind):
    rng = np.random.default_rng(11)
    field, twin, amplitudes = field_and_twin(rng, (4, 5, 6), 5, kind, periodic=(False, True, False))
    operator = field.as_linear_operator()
    assert operator.shape == (120, 5) and operator.dtype == np.float64
    volume = rng.normal(size=120)
    matrix = twin.matrix()
    assert_allclose(operator @ amplitudes, matrix @ amplitudes, atol=1e-12)
    assert_allclose(operator.T @ volume, matrix.T @ volume, atol=1e-12)
    assert_allclose(operator.H @ volume, matrix.T @ volume, atol=1e-12)
    assert_allclose(operator @ np.eye(5), matrix, atol=1e-12)
    assert_allclose(operator.T @ rng.normal(size=(120, 2)) * 0, np.zeros((5, 2)))
    both = (operator @ amplitudes) @ volume, amplitudes @ (operator.T @ volume)
    assert_allclose(both[0], both[1], rtol=1e-12)
    assert_allclose((operator.T @ operator) @ amplitudes, matrix.T @ matrix @ amplitudes)
    column = amplitudes[:, np.newaxis]
    assert (operator @ column).shape == (120, 1)


# -- the object --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WIDTHS)
def test_a_field_draws_what_render_draws_again_and_again(kind):
    rng = np.random.default_rng(12)
    shape, n = (5, 6, 9), 6
    grid = fg.Grid(shape, 0.5, 1.0, (True, False, True))
    positions = grid.position(rng.uniform(-2, 8, (n, 3)))
    options = {**naive_field.widths(rng, n, grid, kind), "tol": 1e-3, "support": "sphere"}
    field = fg.GaussianField(grid, positions, **options)
    amplitudes = [rng.normal(size=n) for _ in range(2)]
    expected = [fg.render(grid, positions, a, **options) for a in amplitudes]
    ones = fg.render(grid, positions, **options)
    volume = rng.normal(size=shape)
    back = field.adjoint(volume)
    positions[...] = 0.0  # the field has its own
    for option in ("sigma", "covariance"):
        if isinstance(options.get(option), np.ndarray):
            options[option][...] = np.nan
    for _ in range(2):
        for a, image in zip(amplitudes, expected, strict=True):
            assert_array_equal(field.render(a), image)
    assert_array_equal(field.render(), ones)
    assert_array_equal(field.adjoint(volume), back)
    out = np.ones(shape)
    assert field.render(amplitudes[0], out=out) is out
    assert_allclose(out, 1 + expected[0], rtol=0, atol=1e-14)
    for other in (pickle.loads(pickle.dumps(field)), copy.deepcopy(field)):
        assert other.grid == grid and len(other) == n
        assert_array_equal(other.render(amplitudes[1]), expected[1])
        assert_array_equal(other.adjoint(volume), back)


@pytest.mark.parametrize("kind", WIDTHS)
def test_a_field_tells_its_particles_and_can_be_made_anew_with_others(kind):
    rng = np.random.default_rng(13)
    n, grid = 5, fg.Grid((5, 6, 9), (0.5, 2.0, 0.7), (1.0, -4.0, 0.0), (True, False, False))
    positions = grid.position(rng.uniform(-4, 9, (n, 3)))
    options = naive_field.widths(rng, n, grid, kind)
    (name, width), *_ = options.items()
    own = {"radius": 2.5, "support": "sphere"}
    own["pixel"] = "sample" if JIT_DISABLED else "integrate"
    field = fg.GaussianField(grid, positions, **options, **own)
    wrapped = positions.copy()
    wrapped[:, 0] = 1.0 + (positions[:, 0] - 1.0) % 2.5
    assert_allclose(field.positions, wrapped, atol=1e-12)
    assert np.shape(field.widths) == np.shape(width)
    assert_allclose(field.widths, width, rtol=1e-14)
    for where, widths in ((positions[::-1], width), (positions + 0.25, np.multiply(1.5, width))):
        moved = field.moved(where, widths)
        again = fg.GaussianField(grid, where, **{name: widths}, **own)
        assert_array_equal(moved.render(2.0), again.render(2.0))
        assert_array_equal(moved.positions, again.positions)


def test_a_plan_is_small_and_no_grid_is_copied():
    """Bytes that Python and numpy ask for while they run."""
    rng = np.random.default_rng(14)
    n, shape = 3000, (96, 96, 96)
    positions = rng.uniform(0, 2, (n, 3)) if JIT_DISABLED else rng.uniform(0, 96, (n, 3))
    out = np.zeros(shape)
    covariance = np.broadcast_to(np.eye(3), (n, 3, 3)).copy()
    few = slice(0, 20)
    fg.render(shape, positions[few], out=out)  # compiled, if need be
    for width, most in (
        ({}, 32),
        ({"sigma": np.ones((n, 3))}, 56),
        ({"covariance": covariance}, 104),
    ):
        field = fg.GaussianField(shape, positions, **width)
        kept = [a for a in (*field.plan.particles, *field.plan) if isinstance(a, np.ndarray)]
        assert sum(array.nbytes for array in kept) < most * n + 5000
    flat = fg.GaussianField((1, 96, 96), positions[few])
    for work in (
        lambda: fg.render(shape, positions[few], out=out),
        lambda: fg.GaussianField(shape, positions[few]).adjoint(out),
        lambda: flat.loss_and_gradient(out[1:2], 1.0),
    ):
        work()  # compiled, if need be
        tracemalloc.start()
        try:
            work()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < out.nbytes / 20


def test_a_grid_that_no_memory_holds_has_a_plan_and_a_matrix():
    shape = (1 << 20, 1 << 20, 1 << 20)
    where = np.array([[5.0, 6.0, 7.0], [(1 << 20) - 1] * 3, [1e9, 0.0, 0.0]])
    field = fg.GaussianField(fg.Grid(shape, periodic=(False, False, True)), where, 0.5, radius=2.0)
    matrix = field.as_sparse()
    assert matrix.shape == (1 << 60, 3) and matrix.nnz == 27 + 12
    block = np.array([[4], [5], [6]]) + np.indices((3, 3, 3)).reshape(3, -1)
    assert_array_equal(matrix.indices[:27], np.ravel_multi_index(tuple(block), shape))
    assert matrix.indices[-1] == (1 << 60) - 1


def test_a_field_says_what_it_is():
    field = fg.GaussianField((5, 5), np.ones((3, 2)))
    assert len(field) == 3
    for words in ("3 particles", "sigmas", "shape=(5, 5)"):
        assert words in repr(field)
    rotated = fg.GaussianField((5, 5), np.ones((3, 2)), covariance=np.eye(2))
    assert "covariances" in repr(rotated)


_PROGRAM = """
    import numpy as np, fastgauss as fg
    rng = np.random.default_rng(0)
    field = fg.GaussianField((40, 41, 42), rng.uniform(0, 40, (4000, 3)), threads=2)
    heights = rng.normal(size=4000)
    names = ("amplitudes", "positions", "sigmas")
    def work(_):
        image = field.render(heights)
        loss, gradient = field.loss_and_gradient(image, 1.0, names)
        return [image, field.adjoint(image), loss, *(gradient[name] for name in names)]
    first = work(0)
    def again(k):
        return all(np.array_equal(a, b) for a, b in zip(work(k), first))
"""


def _python(code):
    """Run code in a new process; its standard output."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@compiled
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_can_use_its_parents_field():
    program = """
    import multiprocessing as mp, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads is what is tested
    with mp.get_context("fork").Pool(2) as pool:
        print(pool.map(again, range(4)))
    """
    assert _python(_PROGRAM + program) == str([True] * 4)


@compiled
def test_many_python_threads_use_one_field_at_once():
    program = """
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(8) as pool:
        print(list(pool.map(again, range(8))))
    """
    assert _python(_PROGRAM + program) == str([True] * 8)
