"""Volumes and amplitudes near the ends of what numbers can be: no warning, the same results."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastgauss as fg

WHERE = [[4.2, 5.1], [7.0, 9.5], [9.1, 6.0]]
SIZES = [1e-300, 1e-200, 1e-120, 1e120, 1e200, 1e300]


def _volume():
    rng = np.random.default_rng(0)
    return fg.render((14, 15), WHERE, [5.0, 3.0, 4.0], 1.6) + 0.01 * rng.standard_normal((14, 15))


@pytest.mark.parametrize("size", SIZES)
def test_refinement_finds_the_same_particles(size):
    start = fg.GaussianField((14, 15), np.array(WHERE) + 0.2, 1.5)
    volume = _volume()
    one, two = start.refine(volume), start.refine(size * volume)
    assert one.status == two.status == fg.Status.CONVERGED
    assert_allclose(two.positions, one.positions, atol=1e-9)
    assert_allclose(two.sigmas, one.sigmas, rtol=1e-9)
    assert_allclose(two.amplitudes / size, one.amplitudes, rtol=1e-9)
    assert_allclose(two.residual_norm / size, one.residual_norm, rtol=1e-9)


@pytest.mark.parametrize("size", [1e-120, 1e120])
def test_refinement_by_weights_stops_at_the_same_errors(size):
    start = fg.GaussianField((14, 15), np.array(WHERE) + 0.2, 1.5)
    volume, weights = _volume(), np.full((14, 15), 1e4)
    one = start.refine(volume, weights=weights)
    two = start.refine(size * volume, weights=weights / size**2)
    assert one.iterations == two.iterations and two.converged
    assert_allclose(two.positions, one.positions, atol=1e-9)
    assert_allclose(two.residual_norm, one.residual_norm, rtol=1e-9)


@pytest.mark.parametrize("size", [1e-30, 1e-20, 1e20, 1e30])
def test_refinement_in_single_precision(size):
    start = fg.GaussianField((14, 15), np.array(WHERE) + 0.2, 1.5)
    volume = _volume().astype(np.float32)
    one, two = start.refine(volume), start.refine(np.float32(size) * volume)
    assert one.converged and two.converged
    assert_allclose(two.positions, one.positions, atol=1e-3)
    assert_allclose(two.amplitudes / size, one.amplitudes, rtol=1e-3)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("nonnegative", [False, True])
def test_amplitudes_and_errors(size, nonnegative):
    field = fg.GaussianField((14, 15), WHERE, 1.5)
    volume = _volume()
    one = field.fit_amplitudes(volume, nonnegative)
    two = field.fit_amplitudes(size * volume, nonnegative)
    assert two.status == one.status
    assert_allclose(two.amplitudes / size, one.amplitudes, rtol=1e-9)
    assert_allclose(two.errors / size, one.errors, rtol=1e-9)
    assert_allclose(two.residual_norm / size, one.residual_norm, rtol=1e-9)


@pytest.mark.parametrize("size", [1e300, 1e308])
def test_what_is_beyond_the_range_is_infinite_without_a_warning(size):
    field = fg.GaussianField((14, 15), WHERE, 1.5)
    loss, gradient = field.loss_and_gradient(
        size * np.ones((14, 15)), size, ("positions", "sigmas")
    )
    assert loss == np.inf and not np.isfinite(gradient["positions"]).all()
    field.multiplicative_update(size * np.ones((14, 15)), size)
    assert np.isfinite(fg.render((14, 15), WHERE[:1], size, 1.5)).all()


def test_a_regularization_beyond_the_range_leaves_nothing():
    field = fg.GaussianField((14, 15), WHERE, 1.5)
    weights = np.full((14, 15), 1e-300)
    for nonnegative in (False, True):
        fit = field.fit_amplitudes(_volume(), nonnegative, weights, regularization=1e300)
        assert_allclose(fit.amplitudes, 0.0, atol=1e-100)
