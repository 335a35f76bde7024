"""Shared parameters among rows that are no spots: hot pixels, faint and empty ROIs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize_scalar

import fastgauss as fg
from fastgauss.fit import shared_parameters
from fastgauss.kernels._compile import JIT_DISABLED

compiled = pytest.mark.skipif(JIT_DISABLED, reason="many fits")


def spots(rng, count, height, sigma=1.4):
    params = np.column_stack([
        rng.uniform(0.5, 1.5, count) * height, rng.uniform(4, 6, count), rng.uniform(4, 6, count),
        np.full(count, sigma), np.full(count, 12.0),
    ])  # fmt: skip
    return rng.poisson(fg.image(params, (11, 11), model="symmetric")).astype(float)


@compiled
@pytest.mark.parametrize("method", ["lsq", "mle"])
@given(
    seed=st.integers(0, 2**16),
    hot=st.sampled_from([500.0, 7e3, 65535.0, 1e7]),
    count=st.integers(1, 4),
)
@settings(max_examples=6, deadline=None, derandomize=True)
def test_hot_pixels_take_no_part_and_say_so(method, seed, hot, count):
    rng = np.random.default_rng(seed)
    good, bad = spots(rng, 40, 200.0), rng.poisson(12.0, (count, 11, 11)).astype(float)
    bad[:, 5, 6] = hot
    alone = fg.fit_rois(good, shared="sigma", method=method)
    result = fg.fit_rois(np.concatenate([good, bad]), shared="sigma", method=method)
    assert result.converged[:40].all()
    assert not result.converged[40:].any()
    assert_allclose(result.sigma[0], alone.sigma[0], atol=0.2 * alone.errors[0, 3])
    assert abs(result.sigma[0] - 1.4) < 5 * result.errors[0, 3]


@compiled
@pytest.mark.parametrize("height", [0.0, 4.0])
def test_the_shared_value_is_at_the_minimum_over_the_rows_that_converged(height):
    rng = np.random.default_rng(11)
    rois = np.concatenate([spots(rng, 40, 250.0), spots(rng, 40, height)])
    result = fg.fit_rois(rois, shared="sigma")
    good = result.converged
    assert good[:40].all()
    assert (result.sigma[good] == result.sigma[0]).all()

    def objective(sigma):
        fit = fg.fit_rois(rois[good], fixed={"sigma": sigma}, guess=result.params[good])
        return fit.objective.sum()

    middle = result.sigma[0]
    best = minimize_scalar(objective, bracket=(0.99 * middle, 1.01 * middle), tol=1e-8).x
    assert abs(best - middle) < 0.05 * result.errors[0, 3]


@compiled
@pytest.mark.parametrize("method", ["lsq", "mle"])
def test_hot_pixels_of_an_image_leave_the_shared_width(method):
    rng = np.random.default_rng(5)
    places = np.stack(np.meshgrid(*[np.arange(12, 150, 15.0)] * 2), -1).reshape(-1, 2)
    places += rng.uniform(-2, 2, places.shape)
    image = rng.poisson(fg.render((160, 160), places, 150.0, sigma=1.3) + 10.0).astype(float)
    image[tuple(rng.integers(5, 155, (2, 5)))] = 2e4
    result = fg.fit_spots(image, shared="sigma", method=method)
    assert result.converged.sum() >= 90
    assert abs(result.sigma[result.converged][0] - 1.3) < 0.02
    told = {fg.Status.NOT_SHARED, fg.Status.OUTLIER, fg.Status.MAX_ITERATIONS}
    assert set(result.status[~result.converged]) <= told
    assert not result.converged[np.abs(result.amplitude) > 5000].any()
    assert "shared" in fg.Status.NOT_SHARED.message


def test_which_values_are_far_from_the_others():
    values = np.array([[1.3], [1.31], [1.28], [1.32], [0.3], [2.9]])
    known, floor = np.ones(6, bool), np.array([0.3])
    sure = np.full((6, 1), 0.02)
    far = shared_parameters.outliers(values, sure, known, floor)
    assert_array_equal(far, [False, False, False, False, True, True])
    unsure = np.where(np.arange(6)[:, None] > 3, 2.0, 0.02)
    assert not shared_parameters.outliers(values, unsure, known, floor).any()
    none = np.zeros(6, bool)
    assert not shared_parameters.outliers(values, sure, none, floor).any()
