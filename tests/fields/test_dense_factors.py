"""Dense factors against numpy's, and errors that no BLAS has a part in."""

import numpy as np
import pytest
from field_cases import problem
from numpy.testing import assert_allclose

import fastgauss as fg
from fastgauss.fields import dense_factors, gram_matrix
from fastgauss.kernels._compile import JIT_DISABLED

SIZES = (1, 2, 9, 17) if JIT_DISABLED else (1, 7, 8, 31, 33, 70, 150)


def as_rows(matrix):
    """All entries of a matrix by rows."""
    n = len(matrix)
    starts = np.arange(n + 1) * n
    return gram_matrix.Rows(starts, np.tile(np.arange(n, dtype=np.int32), n), matrix.ravel())


def a_positive_matrix(n, rng):
    root = rng.standard_normal((n, n + 3))
    return root @ root.T


def lower(factor):
    """L as a matrix."""
    out = np.zeros((factor.size, factor.size))
    out[np.tril_indices(factor.size)] = factor.rows[: factor.size * (factor.size + 1) // 2]
    return out


@pytest.mark.parametrize("n", SIZES)
def test_cholesky_factors_are_those_of_numpy(n):
    rng = np.random.default_rng(n)
    matrix = a_positive_matrix(n, rng)
    factors = [dense_factors.cholesky(as_rows(matrix), 0.5, 1e-14, k) for k in (1, 3)]
    expected = matrix + 0.5 * np.eye(n)
    assert_allclose(lower(factors[0]), np.linalg.cholesky(expected), rtol=1e-9, atol=1e-12)
    assert (factors[0].rows == factors[1].rows).all()
    right = rng.standard_normal(n)
    assert_allclose(factors[0].solve(right), np.linalg.solve(expected, right), rtol=1e-8)
    diagonal = np.diag(np.linalg.inv(expected))
    assert_allclose(factors[0].inverse_diagonal(2), diagonal, rtol=1e-9)
    assert (factors[0].inverse_diagonal(1) == factors[0].inverse_diagonal(3)).all()


def test_the_smallest_eigenvalue_is_found_from_above():
    rng = np.random.default_rng(1)
    vectors = np.linalg.qr(rng.standard_normal((20, 20)))[0]
    for least in (1e-9, 1e-3, 0.3):
        matrix = (vectors * np.geomspace(least, 1.0, 20)) @ vectors.T
        found = dense_factors.cholesky(as_rows(matrix), 0.0, 1e-14, 1).smallest()
        assert least * 0.99 <= found <= 2 * least


def test_pivots_that_vanish_are_raised():
    matrix = np.ones((4, 4))
    factor = dense_factors.cholesky(as_rows(matrix), 0.0, 1e-10, 1)
    assert_allclose(factor.pivots, [1.0, 0.0, 0.0, 0.0], atol=1e-15)
    assert_allclose(np.diag(lower(factor)), np.sqrt([1.0, 1e-10, 1e-10, 1e-10]))


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 5), (5, 40), (20, 20), (12, 7)])
def test_reflections_solve_what_lstsq_solves(n, m):
    rng = np.random.default_rng(n + m)
    columns, right = rng.standard_normal((n, m)), rng.standard_normal(m)
    found = dense_factors.orthogonal(columns.copy())
    x = found.solve(right)
    expected = np.linalg.lstsq(columns.T, right, rcond=None)[0]
    assert found.definite and found.factor.size == min(n, m)
    assert_allclose(columns.T @ x, columns.T @ expected, atol=1e-11)
    if n <= m:
        assert_allclose(x, expected, rtol=1e-9)
        inverse = np.linalg.inv(columns @ columns.T)
        assert_allclose(found.variances(1), np.diag(inverse), rtol=1e-9)
    else:
        assert np.isinf(found.variances(1)).sum() == n - m


def test_columns_that_add_nothing_are_not_taken():
    rng = np.random.default_rng(2)
    columns = rng.standard_normal((6, 30))
    columns[4] = columns[0] - columns[1]
    found = dense_factors.orthogonal(columns.copy())
    assert found.definite and found.factor.size == 5
    columns[4] += 1e-13 * rng.standard_normal(30)  # more than rounding, too little to tell
    assert not dense_factors.orthogonal(columns.copy()).definite


@pytest.mark.parametrize("nonnegative", [False, True])
def test_errors_do_not_come_from_a_blas(monkeypatch, nonnegative):
    field, _, volume, _ = problem(3, n=12)
    matrix = field.as_sparse().toarray()
    fit = field.fit_amplitudes(volume, nonnegative)
    free = fit.amplitudes != 0
    left = fit.residual_norm**2 / (volume.size - free.sum())
    inverse = np.linalg.inv((matrix.T @ matrix)[np.ix_(free, free)])

    def refuse(*_, **__):
        raise AssertionError("LAPACK's bits depend on the threads of its BLAS")

    for name in ("eigh", "eigvalsh", "inv", "solve", "cholesky", "qr", "svd", "lstsq"):
        monkeypatch.setattr(np.linalg, name, refuse)
    again = field.fit_amplitudes(volume, nonnegative)
    assert_allclose(again.errors[free], np.sqrt(np.diag(inverse) * left), rtol=1e-8)
    assert (again.errors[~free] == 0).all()


def test_errors_are_right_where_the_normal_equations_have_lost_their_digits():
    rng = np.random.default_rng(4)
    where = np.linspace(10, 20, 9)[:, np.newaxis]
    field = fg.GaussianField((31,), where, 6.0, radius=8.0)
    weights = rng.uniform(0.5, 2.0, 31)
    matrix = (field.as_sparse().toarray().T * np.sqrt(weights)).T
    _, values, turn = np.linalg.svd(matrix, full_matrices=False)
    assert values[0] / values[-1] > 1e7  # whose square is beyond 1e14
    fit = field.fit_amplitudes(field.render(rng.uniform(1, 2, 9)), weights=weights)
    expected = np.sqrt(((turn.T / values) ** 2).sum(axis=1))
    assert fit.converged
    assert_allclose(fit.errors, expected, rtol=1e-4)
