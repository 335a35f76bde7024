"""Spots that are wider than their pixels are not called converged; those that fit into them are."""

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="many fits")


def photons(height, sigma, side=13, count=300, seed=0):
    rng = np.random.default_rng(seed)
    middle = 0.5 * (side - 1)
    truth = np.column_stack([
        np.full(count, height), rng.uniform(middle - 0.5, middle + 0.5, (count, 2)),
        np.full(count, sigma), np.full(count, 15.0),
    ])  # fmt: skip
    return rng.poisson(fg.image(truth, (side, side), "symmetric"))


@pytest.mark.parametrize("method", ["lsq", "mle"])
@pytest.mark.parametrize(("height", "sigma"), [(60.0, 11.0), (300.0, 15.0), (900.0, 25.0)])
def test_tops_of_wide_spots_are_no_spots(method, height, sigma):
    result = fg.fit_rois(photons(height, sigma), method=method)
    assert result.converged.mean() < 0.08
    assert np.isin(result.status, [fg.Status.TOO_WIDE, fg.Status.SINGULAR]).mean() > 0.9


@pytest.mark.parametrize("method", ["lsq", "mle"])
@pytest.mark.parametrize(("height", "sigma"), [(20.0, 1.4), (30.0, 2.5), (200.0, 4.5)])
def test_spots_that_the_pixels_show_are_converged(method, height, sigma):
    covariance = "sandwich" if method == "lsq" else "auto"
    result = fg.fit_rois(photons(height, sigma), method=method, covariance=covariance)
    assert result.converged.mean() > 0.95
    pulls = (result.sigma - sigma)[result.converged] / result.errors[result.converged, 3]
    assert 0.85 < pulls.std() < 1.2


def test_no_variance_is_negative():
    """Of needles in noise, rounding leaves a tenth of the sandwich's variances below 0."""
    noise = np.random.default_rng(0).poisson(30.0, (300, 11, 11))
    needle = [20.0, 5.3, 4.6, 5.0, 0.12, 0.6, 30.0]
    for max_iter in (5, 20):
        result = fg.fit_rois(
            noise, "rotated", covariance="sandwich", guess=needle, max_iter=max_iter
        )
        variances = np.einsum("nii->ni", result.covariance)
        assert not (variances < 0.0).any()
        assert (np.isfinite(result.errors).all(axis=1) | ~result.converged).all()
