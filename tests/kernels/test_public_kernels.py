"""The public kernels: what they give in compiled code is what the package gives."""

import inspect
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError
from numpy.testing import assert_allclose, assert_array_equal
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss import kernels
from fastgauss.kernels import load, store
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.kernels.fit.models import model_named
from fastgauss.models.model import get_model

ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(5)
PARAMS = {
    ("symmetric", 1): [5.0, 3.0, 1.5, 1.0],
    ("symmetric", 2): [5.0, 3.0, 2.0, 1.5, 1.0],
    ("elliptic", 2): [5.0, 3.0, 2.0, 1.5, 1.1, 1.0],
    ("rotated", 2): [5.0, 3.0, 2.0, 1.5, 1.1, 0.3, 1.0],
    ("symmetric", 3): [5.0, 3.0, 2.0, 1.0, 1.5, 1.0],
    ("elliptic", 3): [5.0, 3.0, 2.0, 1.0, 1.5, 1.1, 0.9, 1.0],
}
EVERY = [(*key, pixel) for key in PARAMS for pixel in ("sample", "integrate")]
# compiled, each kind of block is there; all are tried as plain Python
SOME = [("symmetric", 1, "integrate"), ("rotated", 2, "sample")]
POINT = {
    1: njit(lambda c, i: c[0, i]),
    2: njit(lambda c, i: (c[0, i], c[1, i])),
    3: njit(lambda c, i: (c[0, i], c[1, i], c[2, i])),
}
LANES = {
    1: njit(lambda c, i: load(c[0], i)),
    2: njit(lambda c, i: (load(c[0], i), load(c[1], i))),
    3: njit(lambda c, i: (load(c[0], i), load(c[1], i), load(c[2], i))),
}


# -- the list ----------------------------------------------------------------------------------


def test_the_public_names_are_sorted_and_each_is_listed_in_the_guide():
    names = kernels.__all__
    assert sorted(names) == sorted(set(names)) and set(names) <= set(dir(kernels))
    assert not {name for name in names if f"`{name}`" not in kernels.__doc__}
    guide = (ROOT / "docs" / "guide" / "kernels.md").read_text()
    assert not {name for name in names if name not in guide}


@pytest.mark.parametrize("name", [n for n in kernels.__all__ if callable(getattr(kernels, n))])
def test_each_public_function_shows_itself(name):
    value = getattr(kernels, name)
    text = inspect.getdoc(value)
    assert inspect.isclass(value) or "Examples\n--------\n>>>" in text
    if name.startswith("make_"):
        wanted = ("Parameters", "Returns", "Raises", "Notes", "NaN", "hread", "llocates")
        assert not [word for word in wanted if word not in text]


@pytest.mark.parametrize(("model", "ndim"), PARAMS)
def test_widths_stand_where_the_models_have_them(model, ndim):
    row = model_named(model, ndim, "sample")
    assert row.parameters == get_model(model, ndim).names and len(row.widths) == row.axes == ndim
    assert all(row.parameters[k].startswith("sigma") for k in row.widths)


@pytest.mark.parametrize(
    ("make", "options", "named"),
    [
        (kernels.make_evaluate, ("round", 2), "model"),
        (kernels.make_evaluate, ("rotated", 3), "model"),
        (kernels.make_jacobian, ("symmetric", 4), "ndim"),
        (kernels.make_image, ("symmetric", 2, "mean"), "pixel"),
        (kernels.make_roi_fit, ("symmetric", 2, "sample", "best"), "method"),
        (kernels.make_normal_equations, ("symmetric", 2, "sample", "best"), "method"),
        (kernels.make_damped_step, (0,), "size"),
        (kernels.make_paint, (2, "mean"), "combine"),
        (kernels.make_paint, (2, "sum", "sample", "ball"), "support"),
        (kernels.make_project, (0,), "ndim"),
        (kernels.make_deposit, (2, "linear", (True,)), "periodic"),
        (kernels.make_gather, (2, "quartic"), "kernel"),
        (kernels.make_stencil, ("quartic",), "kernel"),
    ],
)
def test_a_choice_that_is_none_is_refused_by_name(make, options, named):
    with pytest.raises(ValueError, match=f"^{named} must be"):
        make(*options)


# -- models ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "ndim", "pixel"), EVERY if JIT_DISABLED else SOME)
def test_values_and_slopes_are_those_of_evaluate_and_jacobian(model, ndim, pixel):
    evaluate = kernels.make_evaluate(model, ndim, pixel)
    jacobian = kernels.make_jacobian(model, ndim, pixel)
    point, lanes = POINT[ndim], LANES[ndim]

    @njit
    def fill(c, params, values, slopes, wide):
        for i in range(values.size):
            values[i] = evaluate(point(c, i), params)
            value, by = jacobian(point(c, i), params)
            slopes[i, 0] = value
            for k in range(params.size):
                slopes[i, 1 + k] = by[k]
        for i in range(0, values.size, kernels.WIDTH):
            value, by = jacobian(lanes(c, i), params)
            store(wide, i, evaluate(lanes(c, i), params))
            store(wide, values.size + i, value - by[len(by) - 1])

    params = np.array(PARAMS[model, ndim])
    c = RNG.uniform(0, 5, (3, 16))[:ndim].copy()
    values, slopes, wide = np.empty(16), np.empty((16, 1 + params.size)), np.empty(32)
    fill(c, params, values, slopes, wide)
    given = tuple(c) if ndim > 1 else c[0]
    expected = fg.evaluate(given, params, model, pixel)
    assert_allclose(values, expected, rtol=TOLERANCE["evaluate"])
    assert_allclose(slopes[:, 0], expected, rtol=TOLERANCE["evaluate"])
    assert_allclose(wide[:16], expected, rtol=TOLERANCE["evaluate"])
    assert_allclose(wide[16:], expected - 1.0, rtol=TOLERANCE["evaluate"])
    assert_allclose(
        slopes[:, 1:],
        fg.jacobian(given, params, model, pixel),
        rtol=TOLERANCE["jacobian"],
        atol=1e-15,
    )
    c[0, 3] = np.nan
    fill(c, params, values, slopes, wide)
    assert np.flatnonzero(np.isnan(values)).tolist() == [3]
    params[ndim + 1] = -1.0
    fill(c, params, values, slopes, wide)
    assert np.isnan(values).all()


# -- fits --------------------------------------------------------------------------------------


ROWS = 11 if JIT_DISABLED else 300  # so many that a sum in another order shows in some


def rois_of(model, ndim, count=11):
    spread = {1: 0.2, 2: 0.15, 3: 0.1}[ndim]
    params = np.array(PARAMS[model, ndim]) * RNG.uniform(1 - spread, 1 + spread, (count, 1))
    shape = (6, 7, 8)[-ndim:]
    return fg.image(params, shape, model) + RNG.normal(0, 0.05, (count, *shape)), params


@pytest.mark.parametrize("method", ["lsq", "mle"] if JIT_DISABLED else ["lsq"])
@pytest.mark.parametrize("weighted", [False, True] if JIT_DISABLED else [False])
@pytest.mark.parametrize(("model", "ndim"), PARAMS if JIT_DISABLED else [("symmetric", 2)])
def test_a_fit_is_that_of_fit_rois_to_the_bit(model, ndim, weighted, method):
    fit = kernels.make_roi_fit(model, ndim, "sample", method, weighted)
    rois, _ = rois_of(model, ndim, ROWS)
    options, second = {}, ()
    if weighted:
        second = (RNG.uniform(0.5, 2.0, rois.shape),)
        options = {"weights" if method == "lsq" else "variance": second[0]}
        if method == "lsq":  # a pixel of weight 0 does not exist, whatever its value
            at = (4, *(1,) * ndim)
            rois[at], second[0][at] = 1e6, 0.0
    rois[(3, *(1,) * ndim)] = np.nan
    found = fit(rois, *second, 1e-6, 50)
    kept = np.arange(ROWS) != 3  # fit_rois would fit the spot without that pixel
    expected = fg.fit_rois(rois, model, method=method, **options)
    assert found[3][3] == (expected.status[3] if weighted else fg.Status.NOT_FINITE)
    kept |= weighted
    assert_array_equal(found[0][kept], expected.params[kept])
    assert_array_equal(found[1][kept], expected.covariance[kept])
    assert_array_equal(found[3][kept], expected.status[kept])
    assert_array_equal(found[4][kept], expected.iterations[kept])


@pytest.mark.parametrize("method", ["lsq", "mle"] if JIT_DISABLED else ["lsq"])
@pytest.mark.parametrize(("model", "ndim"), PARAMS if JIT_DISABLED else [("symmetric", 2)])
def test_normal_equations_are_sums_of_the_jacobian(model, ndim, method):
    equations = kernels.make_normal_equations(model, ndim, "sample", method)
    rois, params = rois_of(model, ndim)
    second = RNG.uniform(0.5, 2.0, rois.shape)
    grams, gradients, objectives = equations(rois, second, params)
    places = tuple(np.meshgrid(*map(np.arange, rois.shape[1:]), indexing="ij")[::-1])
    places = places if ndim > 1 else places[0]
    every = params.reshape(11, *(1,) * ndim, -1)
    slopes = fg.jacobian(places, every, model).reshape(11, -1, params.shape[1])
    values = fg.evaluate(places, every, model)
    data = rois if method == "lsq" else np.maximum(rois + second, 0)
    values = values if method == "lsq" else values + second
    weights = (second if method == "lsq" else 1.0 / values).reshape(11, -1)
    residuals = (data - values).reshape(11, -1)
    gram = np.einsum("npi,npj,np->nij", slopes, slopes, weights)
    gradient = np.einsum("npi,np->ni", slopes, weights * residuals)
    assert_allclose(grams, gram, rtol=1e-10, atol=1e-12 * np.abs(gram).max())
    assert_allclose(gradients, gradient, rtol=1e-9, atol=1e-11 * np.abs(gradient).max())
    if method == "lsq":
        assert_allclose(objectives, (weights * residuals**2).sum(axis=1), rtol=1e-9)
    else:
        deviance = values - data + data * np.log(np.maximum(data, 1e-300) / values)
        assert_allclose(objectives, 2 * deviance.reshape(11, -1).sum(axis=1), rtol=1e-9)


def test_damped_steps_solve_their_systems():
    solve = kernels.make_damped_step(5)

    @njit
    def steps_of(grams, gradients, dampings, steps):
        solve(grams, gradients, dampings, steps)

    roots = RNG.normal(size=(11, 5, 5))
    grams, gradients = roots @ roots.transpose(0, 2, 1), RNG.normal(size=(11, 5))
    dampings, steps = RNG.uniform(0, 1, 11), np.empty((11, 5))
    gradients[4, 2] = np.nan
    steps_of(grams, gradients, dampings, steps)
    for i in range(11):
        if i != 4:
            damped = grams[i] + dampings[i] * np.diag(np.diag(grams[i]))
            assert_allclose(steps[i], np.linalg.solve(damped, gradients[i]), rtol=1e-9)
    assert np.isnan(steps[4]).any() and np.isfinite(np.delete(steps, 4, axis=0)).all()


# -- fields ------------------------------------------------------------------------------------

KINDS = [(2, "float32", {"periodic": True})]
if JIT_DISABLED:
    KINDS += [
        (2, "float64", {}),
        (1, "float64", {"pixel": "integrate"}),
        (3, "float32", {"support": "sphere"}),
        (3, "float64", {"periodic": (True, False, True)}),
    ]


@pytest.mark.parametrize(("ndim", "dtype", "options"), KINDS)
def test_paint_and_project_are_render_and_adjoint(ndim, dtype, options):
    paint, project = kernels.make_paint(ndim, **options), kernels.make_project(ndim, **options)
    slopes = kernels.make_project(ndim, derivatives=True, **options)
    shape = (9, 12, 14)[-ndim:]
    rest = dict(options)
    grid = fg.Grid(shape, periodic=rest.pop("periodic", False))
    centre, sigma = (tuple(map(float, RNG.uniform(0.8, b, ndim))) for b in (8.0, 1.5))
    drawn = np.zeros(shape, dtype)
    paint(drawn, centre, sigma, 2.0, 3.0)
    expected = np.zeros(shape, dtype)
    fg.render(grid, [centre], 2.0, [sigma], radius=3.0, out=expected, **rest)
    assert_array_equal(drawn, expected)
    volume = RNG.normal(size=shape).astype(dtype)
    field = fg.GaussianField(grid, [centre], [sigma], radius=3.0, **rest)
    assert_allclose(
        project(volume, centre, sigma, 3.0), field.adjoint(volume)[0], rtol=1e-6, atol=1e-6
    )
    by = slopes(volume, centre, sigma, 3.0)
    assert by[0] == project(volume, centre, sigma, 3.0)
    wanted = ("amplitudes", "positions", "sigmas")
    _, gradient = field.loss_and_gradient(volume - volume, 1.0, wrt=wanted)
    painted = field.render(1.0).astype(dtype)
    by = slopes(painted, centre, sigma, 3.0)
    assert_allclose(by[0], np.ravel(gradient["amplitudes"])[0], rtol=1e-5)
    assert_allclose(by[1 : 1 + ndim], gradient["positions"][0], rtol=1e-4, atol=1e-4)
    assert_allclose(by[1 + ndim :], gradient["sigmas"][0], rtol=1e-4, atol=1e-4)


def test_a_window_wider_than_the_stack_and_one_that_is_none():
    paint = kernels.make_paint(2)
    drawn, expected = np.zeros((20, 200)), np.zeros((20, 200))
    paint(drawn, (10.0, 90.0), 25.0, 1.0, 4.0)
    fg.render((20, 200), [[10.0, 90.0]], 1.0, 25.0, radius=4.0, out=expected)
    assert_array_equal(drawn, expected)
    for centre, sigma, radius in [
        ((np.nan, 1.0), 1.0, 4.0),
        ((1.0, 1.0), 0.0, 4.0),
        ((1.0, 1.0), np.nan, 4.0),
        ((1.0, 1.0), 1.0, np.nan),
        ((1e300, 1.0), 1.0, 4.0),
        ((-50.0, 1.0), 1.0, 4.0),
    ]:
        paint(drawn, centre, sigma, 1.0, radius)
    paint(np.zeros((0, 3)), (0.0, 0.0), 1.0, 1.0, 4.0)
    with pytest.raises((TypingError, ValueError)):
        paint(drawn, (1.0, 2.0, 3.0), 1.0, 1.0, 4.0)
    assert_array_equal(drawn, expected)
    ring = np.zeros((2, 2), "f4")
    kernels.make_paint(2, periodic=True)(ring, (0.0, 0.0), (1e9, 1.0), 1.0, 4.0)  # it ends
    assert not ring.any()


# -- scatter -----------------------------------------------------------------------------------

SPLINES = ["nearest", "linear", "quadratic", "cubic"] if JIT_DISABLED else ["linear"]


@pytest.mark.parametrize("periodic", [False, True] if JIT_DISABLED else [False])
@pytest.mark.parametrize("ndim", [1, 2, 3] if JIT_DISABLED else [2])
@pytest.mark.parametrize("kernel", SPLINES)
def test_one_particle_is_deposited_and_gathered_as_many_are(kernel, ndim, periodic):
    deposit, gather = (
        make(ndim, kernel, periodic) for make in (kernels.make_deposit, kernels.make_gather)
    )
    stencil = kernels.make_stencil(kernel)
    grid = fg.Grid((5, 6, 7)[-ndim:], periodic=periodic)
    places = [tuple(place) for place in RNG.uniform(-2, 8, (40, ndim)).tolist()]
    drawn, volume = np.zeros(grid.shape), RNG.normal(size=grid.shape)
    for place in places:
        deposit(drawn, place, 3.0)
    assert_array_equal(drawn, fg.deposit(grid, places, 3.0, kernel))
    found = [gather(volume, place) for place in places]
    assert_array_equal(found, fg.gather(volume, places, kernel, grid=grid))
    deposit(drawn, (np.nan,) * ndim, 3.0)
    assert_array_equal(drawn, fg.deposit(grid, places, 3.0, kernel))
    assert gather(volume, (np.inf,) * ndim) == 0.0
    line = np.zeros(12)
    first, weights = njit(stencil)(5.3)
    line[first : first + len(weights)] = weights
    assert_array_equal(line, fg.deposit(12, [5.3], 1.0, kernel))


# -- in other people's code --------------------------------------------------------------------


def run(program, folder):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "NUMBA_THREADING_LAYER": "workqueue",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", program.name], cwd=folder, env=environment,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(JIT_DISABLED, reason="about compiled code")
def test_cached_and_parallel_loops_of_a_caller_are_found_by_a_new_process(tmp_path):
    program = tmp_path / "own_loops.py"
    program.write_text((ROOT / "examples" / program.name).read_text())
    first, second = (run(program, tmp_path) for _ in range(2))
    count = first[3]
    assert first == ["cache_hits", "0", "cache_misses", count]
    assert second == ["cache_hits", count, "cache_misses", "0"]


@pytest.mark.skipif(not JIT_DISABLED, reason="its compiled run is a process of its own")
def test_the_loops_of_a_caller_as_plain_python():
    runpy.run_path(str(ROOT / "examples" / "own_loops.py"))["main"]()
