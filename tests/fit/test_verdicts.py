"""Statuses that say what a fit is worth: too wide or narrow, out of range; which bound holds."""

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

COUNT = 4 if JIT_DISABLED else 400
LENS = fg.astigmatic_model((1.3, -250.0, 400.0), (1.3, 250.0, 400.0), (-400.0, 400.0))


def photons(params, shape, seed=0, model="symmetric"):
    rng = np.random.default_rng(seed)
    return rng.poisson(np.maximum(fg.image(params, shape, model), 0.0)).astype(float)


@pytest.mark.parametrize("sigma", [9.0, 14.0])
@pytest.mark.parametrize("method", ["lsq", "mle"])
def test_a_spot_wider_than_its_box_is_not_called_converged(sigma, method):
    truth = np.tile([200.0, 4.8, 5.3, sigma, 10.0], (COUNT, 1))
    result = fg.fit_rois(photons(truth, (11, 11)), method=method)
    wide = result.converged & (result.sigma > 0.75 * 11)
    told = np.isin(result.status, (fg.Status.TOO_WIDE, fg.Status.SINGULAR))
    assert not wide.any() and told.mean() > 0.5
    assert (result.status == fg.Status.TOO_WIDE).any()
    known = fg.fit_rois(photons(truth, (11, 11)), method=method, fixed={"sigma": sigma})
    assert known.converged.mean() > 0.9  # a width that is known is not judged


@pytest.mark.parametrize("model", ["symmetric", "rotated"])
@pytest.mark.parametrize("method", ["lsq", "mle"])
def test_no_amplitude_beyond_the_data_is_called_converged(model, method):
    rng = np.random.default_rng(1)
    count, side = (COUNT, 7) if JIT_DISABLED else (4 * COUNT, 9)
    rois = rng.poisson(rng.uniform(1, 40, (count, 1, 1)) * np.ones((1, side, side)))
    result = fg.fit_rois(rois, model, method=method)
    found = result[result.converged]
    assert (np.abs(found.amplitude) < 1e6 * rois.max()).all()
    assert np.isfinite(found.errors).all()


@pytest.mark.parametrize("method", ["lsq"] if JIT_DISABLED else ["lsq", "mle"])
def test_an_ellipse_too_narrow_for_its_angle_is_not_called_converged(method):
    count = 2 if JIT_DISABLED else COUNT // 4 + 2
    truth = np.tile([200.0, 5.2, 4.9, 1.6, 0.3, 0.5, 10.0], (count, 1))
    rois = photons(truth, (11, 11), seed=5, model="rotated")
    result = fg.fit_rois(rois, "rotated", method=method)
    narrow = result.status == fg.Status.TOO_NARROW
    least = (result.params[:, 3:5] - 2.0 * result.errors[:, 3:5]).min(axis=1)
    assert narrow.any() and (narrow == (least < 0.3))[narrow | result.converged].all()
    assert "too narrow" in str(result.explain(int(np.flatnonzero(narrow)[0])))
    held = fg.fit_rois(rois, "rotated", method=method, fixed={"theta": 0.5})
    assert not (held.status == fg.Status.TOO_NARROW).any()  # an angle that is known is not judged
    truth[:, 4] = 0.9
    seen = fg.fit_rois(photons(truth, (11, 11), seed=6, model="rotated"), "rotated", method=method)
    assert seen.converged.all()


def test_a_height_beyond_the_calibration_is_outside():
    truth = np.tile([400.0, 8.1, 7.8, 900.0, 5.0], (COUNT // 4, 1))
    rois = photons(truth, (17, 17), model=LENS)
    result = fg.fit_rois(rois, LENS, method="mle")
    assert not result.converged.any()
    truth[:, 3] = 150.0
    inside = fg.fit_rois(photons(truth, (17, 17), model=LENS), LENS, method="mle")
    assert inside.converged.all()


def test_which_parameter_is_on_a_bound_is_told(tmp_path):
    truth = np.tile([100.0, 5.2, 4.9, 1.4, 10.0], (12, 1))
    rois = photons(truth, (11, 11), seed=2)
    result = fg.fit_rois(rois, bounds={"sigma": (None, 1.0), "offset": (0, None)}, fixed={"y": 5.0})
    assert result.at_bound.shape == result.params.shape and result.at_bound.dtype == bool
    assert result.at_bound[:, 3].all() and not result.at_bound[:, [0, 1, 2, 4]].any()
    assert (result.status == fg.Status.AT_BOUND).all() and result.converged.all()
    free = fg.fit_rois(rois)
    assert not free.at_bound.any()
    assert fg.FitResult.concatenate([result, free]).at_bound.sum() == 12
    assert result[:3].at_bound.shape == (3, 5)
    for ending in ("npz", "csv"):
        result.save(tmp_path / f"spots.{ending}")
        again = fg.FitResult.load(tmp_path / f"spots.{ending}")
        np.testing.assert_array_equal(again.at_bound, result.at_bound)


def test_a_fit_that_ends_a_hair_off_its_bound_is_on_it():
    roi = photons(np.array([[100.0, 5.2, 4.9, 1.4, 10.0]]), (11, 11), seed=3)
    best = float(fg.fit_rois(roi, tol=1e-9).sigma[0])
    for hair in (0.0, 1e-15, 1e-12, 1e-10):
        for low, high in ((best * (1 - hair), None), (None, best * (1 + hair))):
            result = fg.fit_rois(roi, bounds={"sigma": (low, high)}, tol=1e-9)
            bound = low if high is None else high
            assert result.sigma[0] == bound and result.at_bound[0, 3]
            assert result.status[0] == fg.Status.AT_BOUND and result.errors[0, 3] == 0.0


def test_an_angle_between_equal_widths_has_the_error_of_any_angle():
    roi = photons(np.array([[100.0, 5.2, 4.9, 1.4, 10.0]]), (11, 11), seed=4)
    bounds = {"sigma_x": (None, 1.0), "sigma_y": (None, 1.0)}
    result = fg.fit_rois(roi, "rotated", bounds=bounds)
    assert (result.sigma_x, result.sigma_y) == (1.0, 1.0)
    assert 0.5 < result.errors[0, 5] < 2.0
