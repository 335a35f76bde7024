"""Likelihood fits whose model rests on 0 where nothing was counted."""

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

COUNT = 4 if JIT_DISABLED else 250


def photons(amplitude, offset, sigma=1.2, shape=(12, 11), model="symmetric", seed=0):
    rng = np.random.default_rng(seed)
    widths = [np.full(COUNT, sigma)] * (1 if model == "symmetric" else 2)
    centres = rng.uniform(4.5, 6.5, (2, COUNT))
    angle = [np.full(COUNT, 0.3)] if model == "rotated" else []
    truth = [np.full(COUNT, amplitude), *centres, *widths, *angle, np.full(COUNT, offset)]
    truth = np.column_stack(truth)
    return rng.poisson(np.maximum(fg.image(truth, shape, model), 0.0)), truth


@pytest.mark.parametrize("amplitude", [6.0, 40.0, 700.0])
@pytest.mark.parametrize("offset", [0.0, 0.01, 0.1])
def test_fits_without_background_converge(amplitude, offset):
    rois, truth = photons(amplitude, offset)
    result = fg.fit_rois(rois, method="mle")
    assert result.converged.mean() > 0.98
    assert (result.iterations < 30).mean() > 0.95
    images = fg.image(result.params[result.converged], rois.shape[1:], "symmetric")
    assert (images > -1e-12).all()
    held = result.status == fg.Status.AT_BOUND
    assert (result.at_bound[held, -1]).all() and not result.at_bound[:, :-1].any()
    assert (np.abs(result.offset[held]) < 1e-3).all()
    if not JIT_DISABLED and amplitude > 6.0:
        pull = ((result.x - truth[:, 1]) / result.errors[:, 1])[result.converged]
        assert 0.8 < pull.std() < 1.25


def test_the_edge_is_no_worse_than_a_bound_at_zero():
    rois, _ = photons(30.0, 0.0, sigma=2.6, shape=(9, 9), seed=1)
    free = fg.fit_rois(rois, method="mle")
    bound = fg.fit_rois(rois, method="mle", bounds={"offset": (0.0, None)})
    both = free.converged & bound.converged
    assert both.mean() > 0.9
    assert (free.objective[both] <= bound.objective[both] * (1 + 1e-7) + 1e-7).all()


@pytest.mark.skipif(JIT_DISABLED, reason="the same lines in another model")
def test_other_models_rest_there_as_well():
    rois, _ = photons(40.0, 0.0, model="rotated", seed=2)
    assert fg.fit_rois(rois, "rotated", method="mle").converged.mean() > 0.95
    assert fg.fit_rois(rois, method="mle", pixel="integrate").converged.mean() > 0.95
    bounded = fg.fit_rois(rois, method="mle", bounds={"sigma": (0.5, 3.0)})
    assert bounded.converged.mean() > 0.95 and (bounded.at_bound[:, -1]).mean() > 0.5
