"""The parts of a joint fit: derivatives, blocks, second derivatives, gains, ownership."""

import numpy as np
import pytest
from naive_joint import ASIDE, ROTATED, THREE, cluster
from numpy.testing import assert_allclose
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.fit import options
from fastgauss.joint.arguments import make_problem, read_picture
from fastgauss.joint.driver import _At, _Fit
from fastgauss.kernels._compile import JIT_DISABLED

compiled = pytest.mark.skipif(JIT_DISABLED, reason="too many pixels for plain Python")


def prepared(name="symmetric", ndim=2, pixel="sample", method="lsq", background="plane"):
    """A joint fit before its first round: the solver, its unknowns and its background's."""
    image, _, start = cluster(name, ndim, pixel)
    places = start[:, 1 : 1 + ndim][:, ::-1]
    maps = {"weights": None, "variance": None, "mask": None}
    picture, places = read_picture(image, places, None, method, **maps)
    chosen = options.options(
        fg.models.get_model(name, ndim), len(places), method=method, pixel=pixel, polarity=0,
        guess=start, fixed=None, bounds=None, shared=(), weighted=False, camera=False,
        covariance="auto", max_iter=1, tol=1e-6, threads=1, progress=False,
    )  # fmt: skip
    box = (11,) * ndim
    problem = make_problem(picture, image, maps, chosen, box, background, None, "bright")
    whole = _Fit(problem, places, chosen)
    u = whole.coordinates.start(start)
    half = np.full((len(u), 3), 40)
    half[:, 0] = 40 if ndim == 3 else 0
    nothing = np.full(len(u), np.nan)
    at = _At(u, nothing, nothing, nothing, np.ones(len(u), bool))
    solver, order = whole._plan(at, half, (-np.inf, np.inf))
    background = np.zeros((1, whole.terms))
    background[:, 0], background[:, 1:] = 10.0, 0.3
    return solver, u[order], background


def stand(solver, u, background):
    """Let the fit stand at a point; the state there."""
    everyone = np.arange(len(u))
    state = solver.image.look(u, background, everyone)
    solver.image.keep(everyone)
    return state


CASES = [
    ("symmetric", 2, "sample", "lsq"), ("elliptic", 2, "integrate", "mle"),
    ("rotated", 2, "sample", "mle"), ("rotated", 2, "integrate", "lsq"),
    (THREE, 2, "integrate", "lsq"), (ASIDE, 2, "sample", "mle"), (ROTATED, 2, "sample", "lsq"),
    ("elliptic", 3, "integrate", "lsq"),
]  # fmt: skip
SEPARABLE = [case for case in CASES if case[0] not in ("rotated", ROTATED, ASIDE)]


def dense(solver, u, background):
    """Weighted residuals and weights of owned pixels, and derivatives by differences."""
    image, pixels = solver.image, solver.image.scene.pixels
    here = pixels.owner >= 0

    def model(vector):
        inner = vector[: u.size].reshape(u.shape)
        state = image.look(inner, vector[u.size :].reshape(background.shape), np.arange(len(u)))
        return (image.trial.model + image.background(state.background))[here]

    vector = np.concatenate([u.ravel(), background.ravel()])
    columns = []
    for k, value in enumerate(vector):
        step = np.zeros(len(vector))
        step[k] = 1e-5 * max(abs(value), 1.0)
        columns.append((model(vector + step) - model(vector - step)) / (2 * step[k]))
    m, data = model(vector), pixels.data[here]
    w = 1 / m if image.scene.counts else np.ones_like(m)
    return (data - m) * w, w, np.stack(columns, axis=1)


@compiled
@pytest.mark.parametrize(("name", "ndim", "pixel", "method"), CASES)
def test_gradients_and_blocks_are_products_of_columns_by_differences(name, ndim, pixel, method):
    solver, u, background = prepared(name, ndim, pixel, method)
    r, w, j = dense(solver, u, background)
    equations = solver.equations
    equations.form(stand(solver, u, background), np.arange(len(u)), newton=False)
    equations.damping[:] = 0.0
    equations.factorise(np.arange(len(solver.crowd.boxes)))
    n, p = u.shape
    g, h = j.T @ r, j.T @ (w[:, np.newaxis] * j)
    scale = np.sqrt(np.diag(h))
    rtol = TOLERANCE["finite difference"]
    gradient, diagonal, blocks, borders = equations.equations
    both = np.concatenate([gradient.ravel(), equations.right.common.ravel()])
    assert_allclose(both / scale, g / scale, atol=rtol * np.sqrt((r**2 / w).sum()))
    scaled = np.outer(scale, scale)
    pairs = solver.crowd.pairs
    for i in range(n):
        rows = slice(i * p, i * p + p)
        assert_allclose(diagonal[i] / scaled[rows, rows], (h / scaled)[rows, rows], atol=rtol)
        border = (slice(i * p, i * p + p), slice(n * p, None))
        assert_allclose(borders[i] / scaled[border], (h / scaled)[border], atol=rtol)
        for link in range(pairs.starts[i], pairs.starts[i + 1]):
            other = pairs.others[link]
            block = (rows, slice(other * p, other * p + p))
            assert_allclose(blocks[link] / scaled[block], (h / scaled)[block], atol=rtol)
    last = (slice(n * p, None),) * 2
    assert_allclose(equations.system.common[0] / scaled[last], (h / scaled)[last], atol=rtol)


@compiled
@pytest.mark.parametrize(("name", "ndim", "pixel", "method"), SEPARABLE)
def test_second_derivatives_are_those_of_the_gradient_for_a_residual_that_stays(
    name, ndim, pixel, method
):
    solver, u, background = prepared(name, ndim, pixel, method)
    stand(solver, u, background)
    n, p = u.shape
    everyone, out = np.arange(n), np.zeros((n, p, p))
    solver.image.curvature(u, everyone, out)
    residual = solver.image.fitted.residual
    scratch = solver.equations.equations

    def gradient(at):
        solver.image.normal(at, everyone, residual, solver.terms, scratch)
        return scratch.gradient.copy()

    for k in range(p):
        step = np.zeros(p)
        step[k] = 1e-5 * max(1.0, np.abs(u[:, k]).max())
        expected = (gradient(u + step) - gradient(u - step)) / (2 * step[k])
        scale = np.abs(out).max(axis=(1, 2))[:, None]
        assert_allclose(out[:, :, k] / scale, expected / scale, atol=TOLERANCE["finite difference"])


@compiled
@pytest.mark.parametrize(("name", "ndim", "pixel", "method"), CASES[:2] + CASES[-3:])
def test_a_gain_is_what_the_objective_would_be_had_a_cluster_stayed(name, ndim, pixel, method):
    solver, u, background = prepared(name, ndim, pixel, method)
    stand(solver, u, background)
    moved = u * np.random.default_rng(0).uniform(0.98, 1.02, u.shape)
    everyone, clusters = np.arange(len(u)), np.arange(len(solver.crowd.boxes))
    trial = solver.image.look(moved, background, everyone)
    gains = solver.image.gains(u, trial, clusters)
    for c in clusters:
        mine = (solver.crowd.cluster_of == c)[:, np.newaxis]
        stayed = solver.image.look(np.where(mine, u, moved), background, everyone)
        expected = stayed.sums[:, 0].sum() - trial.sums[:, 0].sum()
        assert_allclose(gains[c], expected, rtol=1e-8, atol=1e-8 * trial.sums[:, 0].sum())


@compiled
def test_pixels_belong_to_the_nearest_spot_whose_box_covers_them():
    solver, u, _ = prepared()
    scene = solver.image.scene
    owner = scene.pixels.owner.reshape(scene.pixels.extent)[0]
    seen = np.indices(owner.shape)
    boxes = scene.boxes
    for (y, x), who in np.ndenumerate(owner):
        point = seen[:, y, x]
        inside = ((point >= boxes[:, 1:3]) & (point < boxes[:, 1:3] + boxes[:, 4:])).all(axis=1)
        if not inside.any():
            assert who == -1
            continue
        away = np.linalg.norm(u[:, 2:0:-1] - point, axis=1)
        assert away[who] <= away[inside].min() + 1e-6


@compiled
def test_newton_takes_the_weights_of_the_counts_and_not_the_expected_ones():
    solver, u, background = prepared("elliptic", 2, "integrate", "mle")
    r, w, j = dense(solver, u, background)
    equations = solver.equations
    equations.form(stand(solver, u, background), np.arange(len(u)), newton=True)
    h = j.T @ ((w * (1 + r))[:, np.newaxis] * j)  # counts / model**2
    expected = j.T @ (w[:, np.newaxis] * j)
    scale = np.sqrt(np.diag(h))
    p = u.shape[1]
    for i in range(len(u)):
        rows = slice(i * p, i * p + p)
        scaled = np.outer(scale[rows], scale[rows])
        block = equations.equations.diagonal[i] / scaled
        assert_allclose(block, h[rows, rows] / scaled, atol=TOLERANCE["finite difference"])
    assert np.abs((h - expected) / np.outer(scale, scale)).max() > 0.01
