"""Amplitudes of particles that overlap closely, against scipy's dense solvers."""

import numpy as np
import pytest
from field_cases import compiled
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

import fastgauss as fg
from fastgauss.fields import (
    active_set,
    gram_matrix,
    least_squares,
    nonnegative_programs,
    normal_equations,
)
from fastgauss.kernels._compile import JIT_DISABLED

NEAR = 1 + 1e-6

# particles per sigma**d, sigma, shape
CROWDS = [
    (1.0, 1.5, (18, 18)),
    (2.0, 2.0, (20, 20)),
    (3.0, 2.5, (21, 20)),
    (4.0, 3.0, (22, 20)),
    (1.0, 1.5, (8, 8, 8)),
    (2.0, 2.0, (9, 9, 8)),
    (4.0, 2.5, (9, 9, 9)),
]


def a_crowd(per, sigma, shape, seed=0, noise=0.02, empty=0.5, **options):
    """A field of random particles, and a noisy volume of amplitudes some of which are 0."""
    rng = np.random.default_rng(seed)
    n = int(per * np.prod(shape) / sigma ** len(shape))
    field = fg.GaussianField(
        shape, rng.uniform(0, np.array(shape) - 1, (n, len(shape))), sigma, **options
    )
    truth = rng.uniform(0.5, 2.0, n) * (rng.uniform(size=n) >= empty)
    return field, field.render(truth) + noise * rng.standard_normal(shape)


def a_candidate_a_pixel(side, sigma, seed=0, noise=0.1):
    """The textbook's deconvolution: few sources, and a particle at every pixel."""
    rng = np.random.default_rng(seed)
    nodes = np.argwhere(np.ones((side, side))).astype(float)
    field = fg.GaussianField((side, side), nodes, sigma, tol=1e-9)
    truth = np.where(rng.uniform(size=len(nodes)) < 0.05, rng.uniform(5, 10, len(nodes)), 0.0)
    return field, field.render(truth) + noise * rng.standard_normal((side, side))


def least_of_scipy(field, volume, nonnegative, weights=None, ridge=0.0):
    """The least residual norm: with the regularization's part, and without it."""
    matrix, right = field.as_sparse().toarray(), volume.ravel()
    root = 1.0 if weights is None else np.sqrt(weights).ravel()
    own = np.sqrt(ridge) * np.eye(len(field))
    whole = np.concatenate([(matrix.T * root).T, own])
    target = np.concatenate([right * root, np.zeros(len(field))])
    solve = nnls if nonnegative else np.linalg.lstsq
    a = solve(whole, target)[0]
    return np.linalg.norm(whole @ a - target), a


def check(field, volume, nonnegative, weights=None, ridge=0.0):
    """Assert that a fit converged to scipy's least residual, and return it."""
    least, expected = least_of_scipy(field, volume, nonnegative, weights, ridge)
    fit = field.fit_amplitudes(volume, nonnegative, weights, regularization=ridge)
    root = 1.0 if weights is None else np.sqrt(weights)
    left = np.linalg.norm((field.render(fit.amplitudes) - volume) * root)
    assert fit.status == fg.Status.CONVERGED and fit.kkt_residual <= 1e-8
    np.testing.assert_allclose(fit.residual_norm, left, rtol=1e-9)
    assert np.hypot(left, np.sqrt(ridge) * np.linalg.norm(fit.amplitudes)) <= least * NEAR
    if nonnegative:
        assert fit.amplitudes.min() >= 0.0
        assert left <= np.linalg.norm(volume * root)
    return fit, expected


@compiled
@pytest.mark.parametrize("crowd", CROWDS, ids=str)
@pytest.mark.parametrize("nonnegative", [False, True])
def test_fits_of_crowds_have_the_least_residual(crowd, nonnegative):
    fit, expected = check(*a_crowd(*crowd), nonnegative)
    if nonnegative:
        np.testing.assert_array_equal(fit.amplitudes > 0, expected > 0)


def test_fits_of_a_small_crowd():
    for nonnegative in (False, True):
        check(*a_crowd(1.5, 2.0, (9, 8)), nonnegative)


@compiled
@pytest.mark.parametrize(("side", "sigma"), [(12, 1.5), (13, 2.0), (14, 3.0)])
def test_deconvolution_with_a_candidate_at_every_pixel(side, sigma):
    fit, _ = check(*a_candidate_a_pixel(side, sigma), True)
    assert (fit.amplitudes > 0).sum() < 60


@compiled
@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("ridge", [0.0, 1e-9, 1e-3])
def test_weights_holes_and_regularization_in_crowds(nonnegative, ridge):
    rng = np.random.default_rng(3)
    field, volume = a_crowd(2.0, 2.0, (16, 15), seed=3)
    weights = rng.uniform(0.1, 4.0, volume.shape) * (rng.uniform(size=volume.shape) > 0.1)
    check(field, volume, nonnegative, weights, ridge)


@compiled
@pytest.mark.parametrize("kind", ["sphere", "covariance", "integrate", "periodic", "widths"])
def test_crowds_of_every_kind(kind):
    rng = np.random.default_rng(4)
    n, shape = 90, (14, 13)
    options = {
        "sphere": {"support": "sphere"},
        "covariance": {"covariance": [[4.0, 1.0], [1.0, 3.0]]},
        "integrate": {"pixel": "integrate"},
        "periodic": {"radius": 2.5},
        "widths": {"sigma": rng.uniform(0.3, 3.0, (n, 2))},
    }[kind]
    grid = fg.Grid(shape, periodic=kind == "periodic")
    field = fg.GaussianField(grid, rng.uniform(0, 13, (n, 2)), **{"sigma": 2.0, **options})
    volume = field.render(rng.uniform(0, 1, n)) + 0.05 * rng.standard_normal(shape)
    check(field, volume, True)


@given(seed=st.integers(0, 2**32), sigma=st.floats(0.5, 6.0), n=st.integers(1, 40))
@settings(max_examples=5 if JIT_DISABLED else 60, deadline=None)
@example(seed=2837, sigma=4.0, n=16)  # a small gradient far from the minimum, before a dense factor
def test_converged_means_the_least_residual_at_any_condition(seed, sigma, n):
    rng = np.random.default_rng(seed)
    shape = (8, 7) if JIT_DISABLED else (14, 15)
    field = fg.GaussianField(shape, rng.uniform(0, 12, (n, 2)), sigma, tol=1e-9)
    volume = field.render(rng.uniform(-1, 2, n)) + 0.1 * rng.standard_normal(shape)
    fit = field.fit_amplitudes(volume)
    if fit.converged:
        assert fit.residual_norm <= least_of_scipy(field, volume, False)[0] * NEAR
    check(field, volume, True)


@compiled
@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-9, 1e-12, 0.0])
def test_two_particles_that_hardly_differ(distance):
    rng = np.random.default_rng(5)
    where = rng.uniform(2, 28, (30, 2))
    where = np.concatenate([where, where[:1] + distance])
    field = fg.GaussianField((31, 30), where, 1.0)
    volume = field.render(rng.uniform(0.5, 2.0, 31)) + 0.05 * rng.standard_normal((31, 30))
    fit = field.fit_amplitudes(volume)
    if distance in (1e-3, 0.0):
        assert fit.converged
    if fit.converged:
        assert fit.residual_norm <= least_of_scipy(field, volume, False)[0] * NEAR
    check(field, volume, True)


@compiled
def test_volumes_without_noise_are_explained():
    for empty in (0.0, 0.7):
        field, volume = a_crowd(2.0, 2.0, (16, 15), seed=6, noise=0.0, empty=empty)
        for nonnegative in (False, True):
            fit = field.fit_amplitudes(volume, nonnegative)
            assert fit.converged and fit.residual_norm < 1e-11 * np.linalg.norm(volume)


# -- beyond what is solved directly --------------------------------------------------------------


@compiled
@pytest.mark.parametrize("kind", ["gram", "matrix-free", "full"])
@pytest.mark.parametrize("max_iter", [1, 3, 10, 100])
def test_projected_steps_are_never_worse_than_zero_and_say_how_far_they_came(
    monkeypatch, kind, max_iter
):
    field, volume = a_candidate_a_pixel(13, 2.0)
    if kind == "full":
        monkeypatch.setattr(active_set, "MOST_FREE", 5)
    elif kind == "gram":
        monkeypatch.setattr(least_squares, "_MANY", 0)
    else:
        monkeypatch.setattr(normal_equations, "MOST_ENTRIES", 0)
    fits = [field.fit_amplitudes(volume, True, max_iter=m) for m in (max_iter, 4 * max_iter)]
    zero = np.linalg.norm(volume)
    assert zero >= fits[0].residual_norm >= fits[1].residual_norm * 0.999
    matrix = field.as_sparse().toarray()
    scale = 1 / np.linalg.norm(matrix, axis=0)
    for fit in fits:
        gradient = matrix.T @ (matrix @ fit.amplitudes - volume.ravel()) * scale
        left = np.where(fit.amplitudes > 0, gradient, np.minimum(gradient, 0))
        size = np.linalg.norm(matrix.T @ volume.ravel() * scale)
        np.testing.assert_allclose(fit.kkt_residual, np.linalg.norm(left) / size, rtol=1e-2)
        assert fit.converged == (fit.kkt_residual <= 1e-8)


@compiled
def test_more_products_never_fit_worse_in_crowds(monkeypatch):
    monkeypatch.setattr(least_squares, "_MANY", 0)
    field, volume = a_crowd(2.0, 2.0, (18, 18), seed=11)
    fits = [field.fit_amplitudes(volume, True, max_iter=m) for m in (5, 10, 20, 40, 80, 160)]
    norms = np.array([np.linalg.norm(volume), *(fit.residual_norm for fit in fits)])
    assert np.all(np.diff(norms) < 0.0) and norms[-1] < 0.1 * norms[0]


@compiled
def test_each_projected_step_lowers_the_quadratic():
    field, volume = a_crowd(2.0, 2.0, (14, 14), seed=7)
    rows = gram_matrix.rows_of(field.plan, None, 1)
    system = normal_equations.GramSystem(rows, field.plan.particles.order, 0.0, 1)
    b = system.inner(field.adjoint(volume)) * system.scale
    start, values = np.maximum(b, 0.0), []
    for most in range(2, 60):
        x = nonnegative_programs.project(system, b, start, 1e-9, most, lambda _: None).x
        assert x.min() >= 0.0
        values.append(x @ (0.5 * system.multiply(x) - b))
    assert values[0] < 0.0 and np.all(np.diff(values) <= 1e-12 * abs(values[-1]))


@compiled
def test_more_particles_above_zero_than_the_active_set_holds(monkeypatch):
    field, volume = a_crowd(0.6, 1.5, (20, 20), seed=8, empty=0.0)
    monkeypatch.setattr(least_squares, "_CROWD", 1.0)  # pivoting is not tried
    expected = field.fit_amplitudes(volume, True)
    monkeypatch.setattr(active_set, "MOST_FREE", 20)
    fit = field.fit_amplitudes(volume, True, max_iter=300)
    assert expected.converged and (expected.amplitudes > 0).sum() > 20
    assert expected.residual_norm <= fit.residual_norm < 0.1 * np.linalg.norm(volume)


@compiled
@pytest.mark.parametrize("nonnegative", [False, True])
def test_crowds_have_the_same_bits_for_any_threads(nonnegative):
    fields = [a_crowd(2.0, 2.0, (16, 15), seed=9, threads=k) for k in (1, 2, 5)]
    fits = [field.fit_amplitudes(volume, nonnegative) for field, volume in fields]
    for fit in fits[1:]:
        assert (fit.amplitudes == fits[0].amplitudes).all()
        assert (fit.errors == fits[0].errors).all()
        assert fit.residual_norm == fits[0].residual_norm and fit.iterations == fits[0].iterations


@compiled
def test_large_ill_conditioned_fields_that_cannot_be_factorised_say_so(monkeypatch):
    monkeypatch.setattr(least_squares, "_REFLECTED", 0)
    field, volume = a_crowd(4.0, 3.0, (20, 20), seed=10)
    assert field.fit_amplitudes(volume).status in (fg.Status.SINGULAR, fg.Status.STALLED)
    monkeypatch.setattr(least_squares, "_DENSE", 0)
    assert not field.fit_amplitudes(volume).converged
