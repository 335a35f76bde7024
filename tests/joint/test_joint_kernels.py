"""The parts of a joint fit: derivatives, blocks, linear systems, ownership."""

import numpy as np
import pytest
from naive_joint import cluster
from numpy.testing import assert_allclose, assert_array_equal
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.fit import options
from fastgauss.joint import neighbours
from fastgauss.joint.arguments import read_picture
from fastgauss.joint.driver import _Fit
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.kernels.joint import block_cg

compiled = pytest.mark.skipif(JIT_DISABLED, reason="too many pixels for plain Python")
TINY = 1e-300


def prepared(name="symmetric", ndim=2, pixel="sample", method="lsq", background="plane"):
    """A joint fit before its first round: the solver, its unknowns and its background's."""
    image, _, start = cluster(name, ndim, pixel)
    places = start[:, 1 : 1 + ndim][:, ::-1]
    picture, places = read_picture(image, places, None, method, None, None, None)
    chosen = options.options(
        fg.models.get_model(name, ndim), len(places), method=method, pixel=pixel, polarity=0,
        guess=start, fixed=None, bounds=None, shared=(), weighted=False, camera=False,
        covariance="auto", max_iter=1, tol=1e-6, threads=1, progress=False,
    )  # fmt: skip
    whole = _Fit(picture, places, chosen, (11,) * ndim, background, False)
    u = whole.coordinates.start(start)
    half = np.full((len(u), 3), 40)
    half[:, 0] = 40 if ndim == 3 else 0
    order, crowd = neighbours.gather(
        whole._at(u), whole._widths(u), whole._windows(u, half), whole._zones()
    )
    fit = whole._joint(crowd, order, (-np.inf, np.inf))
    ground = np.zeros((1, whole.terms))
    ground[:, 0], ground[:, 1:] = 10.0, 0.3
    return fit, u[order], ground


CASES = [
    ("symmetric", 2, "sample", "lsq"), ("elliptic", 2, "integrate", "mle"),
    ("rotated", 2, "sample", "mle"), ("rotated", 2, "integrate", "lsq"),
    ("elliptic", 3, "integrate", "lsq"),
]  # fmt: skip


def dense(fit, u, ground):
    """Weighted residuals and weights of owned pixels, and derivatives by differences."""
    here = fit.scene.owner >= 0
    everyone = np.arange(len(u))

    def model(vector):
        inner = vector[: u.size].reshape(u.shape)
        state = fit.look(inner, vector[u.size :].reshape(ground.shape), everyone)
        image = fit.model.copy()
        z, y, x = np.indices(fit.scene.extent).reshape(3, -1).astype(float)
        terms = [np.ones_like(x)]
        for k, axis in ((2, x), (1, y), (0, z)):
            terms.append((axis - fit.scale[k]) * fit.scale[3 + k])
        image += np.stack(terms[: fit.terms]).T @ state.ground[0]
        return image[here]

    vector = np.concatenate([u.ravel(), ground.ravel()])
    columns = []
    for k, value in enumerate(vector):
        step = np.zeros(len(vector))
        step[k] = 1e-5 * max(abs(value), 1.0)
        columns.append((model(vector + step) - model(vector - step)) / (2 * step[k]))
    m, data = model(vector), fit.scene.data[here]
    w = 1 / m if fit.scene.counts else np.ones_like(m)
    return (data - m) * w, w, np.stack(columns, axis=1)


@compiled
@pytest.mark.parametrize(("name", "ndim", "pixel", "method"), CASES)
def test_gradients_and_blocks_are_products_of_columns_by_differences(name, ndim, pixel, method):
    fit, u, ground = prepared(name, ndim, pixel, method)
    r, w, j = dense(fit, u, ground)
    state = fit.look(u, ground, np.arange(len(u)))
    fit.normal(u, np.arange(len(u)))
    n, p = u.shape
    g, h = j.T @ r, j.T @ (w[:, np.newaxis] * j)
    scale = np.sqrt(np.diag(h))
    rtol = TOLERANCE["finite difference"]
    gradient, matrix = fit.ground_equations(state.sums)
    both = np.concatenate([fit.gradient.ravel(), gradient.ravel()])
    assert_allclose(both / scale, g / scale, atol=rtol * np.sqrt((r**2 / w).sum()))
    scaled = np.outer(scale, scale)
    for i in range(n):
        rows = slice(i * p, i * p + p)
        assert_allclose(fit.diagonal[i] / scaled[rows, rows], (h / scaled)[rows, rows], atol=rtol)
        border = (slice(i * p, i * p + p), slice(n * p, None))
        assert_allclose(fit.border[i] / scaled[border], (h / scaled)[border], atol=rtol)
        for link in range(fit.crowd.pair_starts[i], fit.crowd.pair_starts[i + 1]):
            other = fit.crowd.pair_others[link]
            block = (rows, slice(other * p, other * p + p))
            assert_allclose(fit.blocks[link] / scaled[block], (h / scaled)[block], atol=rtol)
    last = (slice(n * p, None),) * 2
    assert_allclose(matrix[0] / scaled[last], (h / scaled)[last], atol=rtol)


@compiled
def test_pixels_belong_to_the_nearest_spot_whose_box_covers_them():
    fit, u, _ = prepared()
    owner = fit.scene.owner.reshape(fit.scene.extent)[0]
    seen = np.indices(owner.shape)
    boxes = fit.scene.boxes
    for (y, x), who in np.ndenumerate(owner):
        point = seen[:, y, x]
        inside = ((point >= boxes[:, 1:3]) & (point < boxes[:, 1:3] + boxes[:, 4:])).all(axis=1)
        if not inside.any():
            assert who == -1
            continue
        away = np.linalg.norm(u[:, 2:0:-1] - point, axis=1)
        assert away[who] <= away[inside].min() + 1e-6


# -- systems -----------------------------------------------------------------------------------


def system(n=6, p=3, t=2, seed=0, reach=5, free=None, tied=()):
    """Two groups of random blocks as the kernels take them, and the dense matrix of each."""
    rng = np.random.default_rng(seed)
    pixels = 60
    columns = rng.normal(size=(2 * n, pixels, p)) * rng.uniform(0.1, 10, p)
    grounds = rng.normal(size=(2, pixels, t))
    lows = np.array([0, n, 2 * n])
    group_of = np.repeat([0, 1], n)
    pairs = [
        (i, j) for i in range(2 * n) for j in range(i + 1, 2 * n)
        if group_of[i] == group_of[j] and j - i <= reach
    ]  # fmt: skip
    starts = [0]
    others, places = [], []
    for i in range(2 * n):
        links = [(abs(a - b), b if a == i else a, k if a == i else ~k)
                 for k, (a, b) in enumerate(pairs) if i in (a, b)]  # fmt: skip
        for _, other, place in sorted(links):
            others.append(other)
            places.append(place)
        starts.append(len(others))
    diagonal = np.einsum("nap,naq->npq", columns, columns)
    blocks = np.array([columns[i].T @ columns[j] for i, j in pairs]).reshape(-1, p, p)
    border = np.einsum("nap,nat->npt", columns, grounds[group_of])
    ground = np.einsum("nat,nau->ntu", grounds, grounds)
    free = np.ones((2 * n, p), bool) if free is None else free
    held = np.isin(np.arange(p), tied)
    links = np.array(starts), np.array(others, np.intp), np.array(places, np.intp)
    return lows, group_of, diagonal, blocks, links, border, ground, free, held


def dense_system(made, damping):
    """The matrix of each group over all p n + t unknowns, nothing left out."""
    lows, _, diagonal, blocks, (starts, others, places), border, ground, _, _ = made
    p, t = border.shape[1:]
    whole = []
    for g in range(2):
        n = lows[g + 1] - lows[g]
        a = np.zeros((n * p + t, n * p + t))
        for k, i in enumerate(range(lows[g], lows[g + 1])):
            rows = slice(k * p, k * p + p)
            a[rows, rows] = diagonal[i] + damping[i] * np.diag(np.diag(diagonal[i]))
            a[rows, n * p :], a[n * p :, rows] = border[i], border[i].T
            for link in range(starts[i], starts[i + 1]):
                j = others[link] - lows[g]
                b = places[link]
                a[rows, j * p : j * p + p] = blocks[b] if b >= 0 else blocks[~b].T
        a[n * p :, n * p :] = ground[g]
        whole.append(a)
    return whole


def solved(made, gradient, ground_gradient, damping, tolerance=1e-12, most=2000):
    """What ``conjugate.solve`` gives."""
    lows, _, diagonal, blocks, links, border, ground, free, tied = made
    n, p, t = border.shape
    x, x_ground = np.zeros((n, p)), np.zeros((2, t))
    work = [np.zeros(shape) for _ in range(4) for shape in ((n, p), (2, t))]
    block_cg.solve(
        lows, np.arange(2), diagonal, blocks, *links, border, ground, damping, free, tied,
        gradient, ground_gradient, tolerance, most, np.zeros((n, p, p)), np.zeros((2, t, t)),
        np.zeros((2, p)), x, x_ground, *work,
    )  # fmt: skip
    return x, x_ground


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("n", [1, 6])
def test_conjugate_gradients_solve_what_lapack_solves(n, held):
    rng = np.random.default_rng(1)
    free = rng.random((2 * n, 3)) < 0.7 if held else None
    made = system(n, free=free)
    damping = rng.uniform(0, 0.2, 2 * n)
    gradient, ground_gradient = rng.normal(size=(2 * n, 3)), rng.normal(size=(2, 2))
    x, x_ground = solved(made, gradient, ground_gradient, damping)
    for g, a in enumerate(dense_system(made, damping)):
        rows = slice(made[0][g], made[0][g + 1])
        keep = np.append(made[7][rows].ravel(), np.ones(2, bool))
        right = np.append(gradient[rows].ravel(), ground_gradient[g])
        expected = np.zeros(len(right))
        expected[keep] = np.linalg.solve(a[np.ix_(keep, keep)], right[keep])
        found = np.append(x[rows].ravel(), x_ground[g])
        atol = TOLERANCE["joint step"] * 1e-6 * abs(expected).max()
        assert_allclose(found, expected, atol=atol)


def test_a_tied_parameter_is_one_unknown():
    rng = np.random.default_rng(2)
    n, p, t = 5, 3, 2
    made = system(n, tied=[1])
    damping = np.zeros(2 * n)
    gradient, ground_gradient = rng.normal(size=(2 * n, p)), rng.normal(size=(2, t))
    given = gradient.copy()  # vectors hold what is tied in every row; the sum is taken inside
    x, x_ground = solved(made, given, ground_gradient, damping)
    for g, a in enumerate(dense_system(made, damping)):
        rows = slice(made[0][g], made[0][g + 1])
        unknown = np.empty((n, p), int)
        unknown[:, [0, 2]] = np.arange(2 * n).reshape(n, 2)
        unknown[:, 1] = 2 * n
        spread = np.zeros((len(a), 2 * n + 1 + t))
        spread[np.arange(n * p), unknown.ravel()] = 1
        spread[n * p :, 2 * n + 1 :] = np.eye(t)
        right = spread.T @ np.append(gradient[rows].ravel(), ground_gradient[g])
        expected = spread @ np.linalg.solve(spread.T @ a @ spread, right)
        found = np.append(x[rows].ravel(), x_ground[g])
        atol = TOLERANCE["joint step"] * 1e-6 * abs(expected).max()
        assert_allclose(found, expected, atol=atol)


def test_a_group_does_not_see_the_other():
    rng = np.random.default_rng(3)
    made = system()
    gradient, ground_gradient = rng.normal(size=(12, 3)), rng.normal(size=(2, 2))
    x, _ = solved(made, gradient, ground_gradient, np.zeros(12))
    gradient[6:], ground_gradient[1] = 0.0, 0.0
    y, y_ground = solved(made, gradient, ground_gradient, np.zeros(12))
    assert_array_equal(x[:6], y[:6])
    assert not y[6:].any() and not y_ground[1].any()


def inverted(made, most=11):
    """Blocks by ``conjugate.invert_local``, and which are sound."""
    _, _, diagonal, blocks, links, _, _, free, _ = made
    n, p, _ = diagonal.shape
    out, sound = np.empty((n, p, p)), np.empty(n, np.bool_)
    block_cg.invert_local(
        0, n, diagonal, blocks, *links, free, most, np.empty(((most + 1) * p,) * 2),
        np.empty(most + 1, np.int64), out, sound,
    )  # fmt: skip
    return out, sound


@pytest.mark.parametrize("held", [False, True])
def test_blocks_of_the_inverse_in_small_groups_are_lapacks(held):
    free = np.random.default_rng(4).random((12, 3)) < 0.7 if held else None
    made = system(free=free)
    out, sound = inverted(made)
    assert sound.all()
    p, n = 3, 6
    for g, whole in enumerate(dense_system(made, np.zeros(12))):
        a = whole[: n * p, : n * p]
        keep = made[7][made[0][g] : made[0][g + 1]].ravel()
        a[~keep], a[:, ~keep] = 0.0, 0.0
        a[~keep, ~keep] = 1.0
        inverse = np.linalg.inv(a)
        for k in range(n):
            own = np.arange(k * p, k * p + p)
            block = inverse[np.ix_(own, own)]
            scale = np.sqrt(np.diag(block))
            found = out[made[0][g] + k] / np.outer(scale, scale)
            atol = TOLERANCE["joint covariance"]
            assert_allclose(found, block / np.outer(scale, scale), atol=atol)


def test_what_the_pixels_do_not_determine_is_not_sound():
    made = system()
    made[2][0], made[5][0] = 0.0, 0.0  # a spot that no pixel sees
    made[3][: made[4][0][1]] = 0.0
    _, sound = inverted(made)
    assert not sound[0] and sound[6:].all()
