"""Gram matrices and amplitude fits against dense linear algebra."""

import pickle

import numpy as np
import pytest
from field_cases import compiled, covariances, dense, problem, some_field
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.fields import (
    amplitudes,
    conjugate_gradients,
    gram_matrix,
    nonnegative_programs,
    normal_equations,
)
from fastgauss.kernels._compile import JIT_DISABLED


def is_close(got, expected, what="amplitudes"):
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[what] * np.abs(expected).max())


def least_squares(field, volume, w, ridge=0.0):
    """The solution of the dense problem."""
    root = np.sqrt(w).ravel()
    matrix = np.concatenate([(dense(field) * root).T, np.sqrt(ridge) * np.eye(len(field))])
    data = np.concatenate([np.where(root > 0, volume.ravel(), 0.0) * root, np.zeros(len(field))])
    return np.linalg.lstsq(matrix, data, rcond=None)[0], matrix, data


# -- the Gram matrix -----------------------------------------------------------------------------

SHAPES = {
    (30,): False,
    (29,): True,
    (3,): True,
    (9, 13): False,
    (19, 6): (True, False),
    (6, 7, 5): False,
    (5, 20, 6): (False, True, True),
}


@pytest.mark.parametrize("pixel", ["sample", "integrate"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_gram_matrix_is_that_of_rendered_particles(shape, pixel):
    field = some_field(shape, 12, np.random.default_rng(1), periodic=SHAPES[shape], pixel=pixel)
    expected = dense(field) @ dense(field).T
    gram = field.gram()
    assert gram.format == "csr" and gram.has_sorted_indices
    is_close(gram.toarray(), expected, "gram")
    assert (gram != gram.T).nnz == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_the_weighted_gram_matrix_is_that_of_rendered_particles(shape):
    rng = np.random.default_rng(2)
    field = some_field(shape, 12, rng, periodic=SHAPES[shape])
    w = np.where(rng.uniform(size=shape) < 0.3, 0.0, rng.uniform(size=shape))
    rows = gram_matrix.rows_of(field.plan, w, 1)
    got = gram_matrix.in_callers_order(rows, field.plan.particles.order).toarray()
    is_close(got, dense(field) * w.ravel() @ dense(field).T, "gram")


@pytest.mark.parametrize("kind", ["sphere", "covariance", "common sigma"])
@pytest.mark.parametrize("shape", [(20,), (9, 8), (6, 7, 5)])
def test_other_particles_have_gram_matrices_too(shape, kind):
    rng = np.random.default_rng(3)
    options = {
        "sphere": {"support": "sphere"},
        "covariance": {"covariance": covariances(8, len(shape), rng)},
        "common sigma": {"sigma": 0.5},
    }[kind]
    field = some_field(shape, 8, rng, **options)
    is_close(field.gram().toarray(), dense(field) @ dense(field).T, "gram")


@pytest.mark.parametrize("periodic", [False, True])
def test_one_wide_particle_among_narrow_ones_has_all_its_neighbours(periodic):
    rng = np.random.default_rng(21)
    sigma = np.where(np.arange(14) == 3, 4.0, 0.2)[:, np.newaxis]
    field = some_field((40, 37), 14, rng, sigma=sigma, periodic=periodic)
    expected = dense(field) @ dense(field).T
    is_close(field.gram().toarray(), expected, "gram")


@given(seed=st.integers(0, 2**32), data=st.data())
@settings(max_examples=4 if JIT_DISABLED else 60, deadline=None)
def test_gram_matrices_of_any_field(seed, data):
    ndim = data.draw(st.integers(1, 2 if JIT_DISABLED else 3))
    shape = tuple(data.draw(st.lists(st.integers(1, 20), min_size=ndim, max_size=ndim)))
    periodic = tuple(data.draw(st.lists(st.booleans(), min_size=ndim, max_size=ndim)))
    n = data.draw(st.integers(0, 10))
    rng = np.random.default_rng(seed)
    field = some_field(shape, n, rng, periodic=periodic, outside=6.0)
    gram = field.gram().toarray()
    if n:
        expected = dense(field) @ dense(field).T
        np.testing.assert_allclose(gram, expected, rtol=0, atol=1e-13 * max(1, expected.max()))
    else:
        assert gram.shape == (0, 0)


@compiled
def test_crowded_gram_matrices_and_fits_have_the_same_bits_for_any_threads():
    rng = np.random.default_rng(4)
    where, volume = rng.uniform(0, 30, (6000, 3)), rng.standard_normal((30, 30, 30))
    fields = [fg.GaussianField((30,) * 3, where, 0.7, threads=k) for k in (1, 2, 3, 8)]
    grams = [field.gram() for field in fields]
    for nonnegative in (False, True):
        fits = [f.fit_amplitudes(volume, nonnegative, max_iter=40) for f in fields]
        for gram, fit in zip(grams, fits, strict=True):
            assert (gram.data == grams[0].data).all()
            assert (fit.amplitudes == fits[0].amplitudes).all()
            assert (fit.errors == fits[0].errors).all()
            assert fit.residual_norm == fits[0].residual_norm


# -- fits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("missing", [None, "mask", "nan", "both"])
@pytest.mark.parametrize("weighted", [False, True])
def test_fits_solve_the_dense_problem(weighted, missing, ridge):
    field, _, volume, rng = problem()
    w = rng.uniform(0.5, 2.0, volume.shape) if weighted else np.ones(volume.shape)
    options = {"weights": w} if weighted else {}
    gone = np.zeros(volume.shape, bool)
    if missing in ("mask", "both"):
        options["mask"] = rng.uniform(size=volume.shape) < 0.1
        gone |= options["mask"]
    if missing in ("nan", "both"):
        holes = rng.uniform(size=volume.shape) < 0.1
        volume[holes] = np.nan
        gone |= holes
    w = np.where(gone, 0.0, w)
    expected, matrix, data = least_squares(field, volume, w, ridge)
    fit = field.fit_amplitudes(volume, regularization=ridge, tol=1e-12, **options)
    assert fit.converged and fit.kkt_residual <= 1e-12 and fit.method == "gram"
    is_close(fit.amplitudes, expected)
    nodes = volume.size - int(gone.sum())
    left = data[: volume.size] - matrix[: volume.size] @ expected
    np.testing.assert_allclose(fit.residual_norm, np.linalg.norm(left), rtol=1e-10)
    assert fit.nodes == nodes
    unit = 1.0 if weighted else left @ left / (nodes - len(field))
    errors = np.sqrt(np.diag(np.linalg.inv(matrix.T @ matrix)) * unit)
    np.testing.assert_allclose(fit.errors, errors, rtol=TOLERANCE["amplitude errors"])


@pytest.mark.parametrize("seed", range(2 if JIT_DISABLED else 12))
def test_nonnegative_fits_are_those_of_scipy(seed):
    from scipy.optimize import nnls

    field, _, volume, rng = problem(seed, shape=(9, 11), n=25)
    w = rng.uniform(0.5, 2.0, volume.shape)
    root = np.sqrt(w).ravel()
    matrix = (dense(field) * root).T
    expected, length = nnls(matrix, volume.ravel() * root)
    fit = field.fit_amplitudes(volume, nonnegative=True, weights=w, tol=1e-11)
    assert fit.converged and (expected == 0).any()
    is_close(fit.amplitudes, expected)
    assert ((fit.amplitudes == 0) == (expected == 0)).all()
    np.testing.assert_allclose(fit.residual_norm, length, rtol=1e-10)
    free = expected > 0
    errors = np.zeros(len(field))
    errors[free] = np.sqrt(np.diag(np.linalg.inv((matrix.T @ matrix)[np.ix_(free, free)])))
    np.testing.assert_allclose(fit.errors, errors, rtol=TOLERANCE["amplitude errors"])


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("kind", ["sphere", "covariance", "integrate", "periodic", "3-D"])
def test_fits_of_other_fields(kind, nonnegative):
    from scipy.optimize import nnls

    rng = np.random.default_rng(5)
    options = {
        "sphere": {"support": "sphere"},
        "covariance": {"covariance": covariances(15, 2, rng)},
        "integrate": {"pixel": "integrate"},
        "periodic": {"periodic": True},
        "3-D": {"shape": (6, 7, 5)},
    }[kind]
    field, _, volume, _ = problem(6, n=15, **options)
    fit = field.fit_amplitudes(volume, nonnegative, tol=1e-11, max_iter=3000)
    matrix = dense(field).T
    solve = nnls if nonnegative else np.linalg.lstsq
    assert fit.converged
    is_close(fit.amplitudes, solve(matrix, volume.ravel())[0])


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("kind", ["plain", "weights", "covariance", "integrate"])
def test_fits_without_the_matrix_agree_with_those_with_it(monkeypatch, kind, nonnegative):
    rng = np.random.default_rng(7)
    options = {
        "covariance": {"covariance": covariances(15, 2, rng)},
        "integrate": {"pixel": "integrate"},
    }.get(kind, {})
    field, _, volume, _ = problem(8, n=15, **options)
    more = {"weights": rng.uniform(0.5, 1, volume.shape)} if kind == "weights" else {}
    more |= {"regularization": 0.1, "tol": 1e-11, "nonnegative": nonnegative}
    expected = field.fit_amplitudes(volume, **more)
    monkeypatch.setattr(normal_equations, "MOST_ENTRIES", 3)
    fit = field.fit_amplitudes(volume, **more)
    assert (fit.method, expected.method) == ("matrix-free", "gram")
    assert fit.converged
    is_close(fit.amplitudes, expected.amplitudes)
    assert np.isnan(fit.errors).all()


@compiled
@pytest.mark.parametrize("nonnegative", [False, True])
def test_a_crowded_volume_is_fitted_to_the_residual_of_lsqr(nonnegative):
    from scipy.optimize import nnls
    from scipy.sparse import csr_matrix
    from scipy.sparse.linalg import lsqr

    rng = np.random.default_rng(9)
    n, shape = 900, (26, 26, 26)
    field = fg.GaussianField(shape, rng.uniform(0, 25, (n, 3)), 1.0)
    truth = rng.uniform(0.5, 1.5, n) * (rng.uniform(size=n) < 0.4)
    volume = field.render(truth) + 0.01 * rng.standard_normal(shape)
    matrix = csr_matrix(dense(field).T)
    fit = field.fit_amplitudes(volume, nonnegative=nonnegative)
    assert fit.converged and fit.iterations < 60
    if nonnegative:
        factor = np.linalg.cholesky((matrix.T @ matrix).toarray())
        expected, _ = nnls(factor.T, np.linalg.solve(factor, matrix.T @ volume.ravel()))
        norm = np.linalg.norm(matrix @ expected - volume.ravel())
    else:
        norm = lsqr(matrix, volume.ravel(), atol=1e-12, btol=1e-12)[3]
    assert fit.residual_norm <= norm * (1 + 1e-10)


@pytest.mark.parametrize("nonnegative", [False, True])
def test_particles_that_no_node_sees(nonnegative):
    where = [[5.0, 5.0], [-40.0, 3.0], [12.0, 9.0], [5.0, 90.0]]
    field = fg.GaussianField((15, 15), where, 0.7, tol=1e-2)
    volume = field.render([1.0, 1.0, 1.0, 1.0])
    mask = np.zeros(volume.shape, bool)
    mask[9:, 6:] = True
    fit = field.fit_amplitudes(volume, nonnegative=nonnegative, mask=mask)
    np.testing.assert_allclose(fit.amplitudes, [1, 0, 0, 0], atol=1e-7)
    assert np.isfinite(fit.errors[0]) and np.isinf(fit.errors[1:]).all()


@pytest.mark.parametrize("nonnegative", [False, True])
def test_nothing_to_fit(nonnegative):
    for shape, where in [
        ((5, 4), np.zeros((0, 2))),
        ((0, 4), [[1.0, 1.0]]),
        ((3, 3), [[1.0, 1.0]]),
    ]:
        field = fg.GaussianField(shape, where, 1.0)
        fit = field.fit_amplitudes(np.full(shape, np.nan), nonnegative=nonnegative)
        assert fit.converged and (fit.amplitudes == 0).all() and fit.residual_norm == 0
        assert fit.errors.shape == (len(where),)
        assert fit.amplitudes.shape == (len(where),)


@pytest.mark.parametrize("nonnegative", [False, True])
def test_particles_at_the_same_place_share_an_amplitude(nonnegative):
    rng = np.random.default_rng(10)
    where = rng.uniform(2, 12, (6, 2))
    field = fg.GaussianField((15, 15), np.concatenate([where, where[:3]]), 1.0)
    volume = field.render(rng.uniform(1, 2, 9)) + 0.01 * rng.standard_normal((15, 15))
    fit = field.fit_amplitudes(volume, nonnegative=nonnegative)
    alone = fg.GaussianField((15, 15), where, 1.0).fit_amplitudes(volume)
    assert fit.converged
    np.testing.assert_allclose(fit.residual_norm, alone.residual_norm, rtol=1e-12)
    joined = fit.amplitudes[:6] + np.concatenate([fit.amplitudes[6:], np.zeros(3)])
    np.testing.assert_allclose(joined, alone.amplitudes, rtol=1e-6)


def test_errors_are_the_scatter_of_fits_to_noisy_volumes():
    field, truth, _, rng = problem(11, n=8)
    rounds, sigma = (40, 0.6) if JIT_DISABLED else (400, 0.15)
    w = rng.uniform(1.0, 4.0, field.grid.shape)
    clean = field.render(truth)
    fits = [
        field.fit_amplitudes(clean + rng.standard_normal(w.shape) / np.sqrt(w), weights=w)
        for _ in range(rounds)
    ]
    scatter = np.std([fit.amplitudes for fit in fits], axis=0)
    np.testing.assert_allclose(scatter, fits[0].errors, rtol=sigma)
    plain = [
        field.fit_amplitudes(clean + 0.1 * rng.standard_normal(w.shape)) for _ in range(rounds)
    ]
    scatter = np.std([fit.amplitudes for fit in plain], axis=0)
    np.testing.assert_allclose(scatter, np.mean([f.errors for f in plain], axis=0), rtol=sigma)


@compiled
def test_errors_from_blocks_are_near_and_below_the_exact_ones(monkeypatch):
    rng = np.random.default_rng(12)
    field = fg.GaussianField((32,) * 3, rng.uniform(0, 31, (1500, 3)), 1.0)
    volume = rng.standard_normal((32,) * 3)
    for nonnegative in (False, True):
        exact = field.fit_amplitudes(volume, nonnegative).errors
        with monkeypatch.context() as patch:
            patch.setattr(amplitudes, "_EXACT", 10)
            ratio = field.fit_amplitudes(volume, nonnegative).errors[exact > 0] / exact[exact > 0]
        assert ratio.max() <= 1 + 1e-9 and ratio.min() > 0.98 and np.median(ratio) > 0.998


@pytest.mark.parametrize("seed", range(2 if JIT_DISABLED else 10))
def test_the_backup_of_block_pivoting_finds_the_same_minimum(monkeypatch, seed):
    field, _, volume, _ = problem(seed, shape=(9, 11), n=30)
    expected = field.fit_amplitudes(volume, nonnegative=True, tol=1e-11)
    monkeypatch.setattr(nonnegative_programs, "_PATIENCE", 0)
    monkeypatch.setattr(nonnegative_programs, "_BACKUP", -1)
    fit = field.fit_amplitudes(volume, nonnegative=True, tol=1e-11)
    assert fit.converged
    is_close(fit.amplitudes, expected.amplitudes)


def test_groups_are_broken_at_their_last_member():
    field = fg.GaussianField((40,), [[3.0], [4.0], [5.0], [20.0], [33.0], [34.0]], 0.8)
    rows = gram_matrix.build(field.plan, None, 1)
    system = normal_equations.GramSystem(rows, field.plan.particles.order, 0.0, 1)
    marked = np.array([True, True, False, True, True, True])
    assert system.apart(marked).tolist() == [False, True, False, True, False, True]


def test_what_max_iter_cuts_short_says_so():
    field, _, volume, _ = problem(13)
    for nonnegative in (False, True):
        fit = field.fit_amplitudes(volume, nonnegative, tol=1e-15, max_iter=2)
        assert fit.status == fg.Status.MAX_ITERATIONS and not fit.converged
        assert fit.iterations <= 6 and fit.kkt_residual > 0


def test_kkt_residual_is_what_it_says():
    field, _, volume, _ = problem(14, n=25)
    fit = field.fit_amplitudes(volume, nonnegative=True, tol=1e-3)
    matrix = dense(field).T
    scale = 1 / np.linalg.norm(matrix, axis=0)
    gradient = (matrix.T @ (matrix @ fit.amplitudes - volume.ravel())) * scale
    left = np.where(fit.amplitudes > 0, gradient, np.minimum(gradient, 0))
    start = np.linalg.norm(matrix.T @ volume.ravel() * scale)
    np.testing.assert_allclose(
        fit.kkt_residual, np.linalg.norm(left) / start, rtol=1e-6, atol=1e-12
    )


def test_results_travel():
    field, _, volume, _ = problem(15)
    fit = field.fit_amplitudes(volume)
    again = pickle.loads(pickle.dumps(fit))
    assert (again.amplitudes == fit.amplitudes).all() and (again.errors == fit.errors).all()
    assert again.status is fg.Status.CONVERGED and repr(again) == repr(fit)
    assert repr(fit).startswith(
        "<AmplitudeFit of 20 particles, the fit met its tolerance, residual norm "
    )
    nothing = fg.GaussianField((8, 9), np.empty((0, 2)), sigma=1.5).fit_amplitudes(np.ones((8, 9)))
    assert repr(nothing).startswith("<AmplitudeFit of 0 particles, nothing to fit, residual norm ")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"volume": np.zeros((3, 3))}, ValueError, "volume must have the grid's shape"),
        (
            {"volume": np.full((8, 9), np.inf)},
            ValueError,
            r"not be infinite, got inf at index \(0,",
        ),
        ({"nonnegative": 1}, TypeError, "nonnegative must be True or False"),
        ({"weights": np.ones(3)}, ValueError, r"weights must have the grid's shape \(8, 9\)"),
        ({"weights": np.full((8, 9), -1.0)}, ValueError, "weights must not be negative, got -1"),
        ({"weights": np.full((8, 9), np.nan)}, ValueError, "weights must be finite"),
        (
            {"mask": np.ones((8, 9))},
            TypeError,
            "mask must be boolean, True where there are no data",
        ),
        ({"mask": np.ones(3, bool)}, ValueError, r"mask must have the grid's shape \(8, 9\)"),
        ({"regularization": -1.0}, ValueError, "regularization must be"),
        ({"tol": 0.0}, ValueError, "tol must be"),
        ({"max_iter": 0}, ValueError, "max_iter must be at least 1"),
    ],
)
def test_bad_options_are_refused(options, error, words):
    field = fg.GaussianField((8, 9), [[3.0, 4.0]], 1.0)
    with pytest.raises(error, match=words):
        field.fit_amplitudes(**{"volume": np.zeros((8, 9)), **options})


def test_sums_do_not_go_through_a_blas():
    x = np.random.default_rng(18).standard_normal(50)
    assert conjugate_gradients.dot(x, x) == np.add.reduce(x * x)


@pytest.mark.parametrize("scale", [1e-200, 1e-165, 1e155])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_amplitudes_of_any_size_are_found(scale, nonnegative):
    field = fg.GaussianField((12, 13), [[4.0, 5.0], [7.0, 7.0]], 1.5)
    image = field.render([3.0, 2.0])
    fit = field.fit_amplitudes(scale * image, nonnegative)
    assert_allclose(fit.amplitudes / scale, [3.0, 2.0], rtol=1e-6)


@pytest.mark.parametrize("weight", [1e-300, 1e300])
def test_weights_of_any_size_mean_the_same(weight):
    field = fg.GaussianField((12, 13), [[4.0, 5.0], [7.0, 7.0]], 1.5)
    image = field.render([3.0, 2.0])
    one = field.fit_amplitudes(image, weights=np.ones((12, 13)))
    fit = field.fit_amplitudes(image, weights=np.full((12, 13), weight))
    assert_allclose(fit.amplitudes, [3.0, 2.0], rtol=1e-6)
    assert_allclose(fit.errors * np.sqrt(weight), one.errors, rtol=1e-6)


def test_weights_on_a_short_period_take_no_more_memory_than_they_must():
    grid = fg.Grid((6, 6), periodic=True)
    field = fg.GaussianField(grid, [[1.0, 2.0], [4.0, 4.5]], 4.0)
    fit = field.fit_amplitudes(field.render([3.0, 2.0]), weights=np.ones((6, 6)), tol=1e-12)
    assert_allclose(fit.residual_norm, 0.0, atol=1e-5)
