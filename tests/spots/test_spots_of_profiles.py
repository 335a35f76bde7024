"""Spots of profiles: one-dimensional images in `fit_spots` and `fit_joint`."""

import numpy as np
import pytest
from scipy.optimize import least_squares

import fastgauss as fg

PEAKS = np.array([[200.0, 50.3, 2.0], [150.0, 120.7, 2.2], [90.0, 126.9, 1.8], [300.0, 180.2, 2.1]])
NEAR = [50.0, 121.0, 127.0, 180.0]


def curve(peaks, offset, size=230, half=0.0):
    """The sum of the peaks at the points, or its means over pixels by many points."""
    x = np.arange(float(size)) if not half else np.arange(size)[:, None] + _NODES * half
    terms = peaks.reshape(*peaks.shape, *[1] * x.ndim)
    total = offset + (terms[:, 0] * np.exp(-((x - terms[:, 1]) ** 2) / 2 / terms[:, 2] ** 2)).sum(0)
    return total if not half else total @ _WEIGHTS / 2.0


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


def by_scipy(data, error=1.0, half=0.0):
    def residual(p):
        return (curve(p[:-1].reshape(-1, 3), p[-1], len(data), half) - data) / error

    start = np.append(np.column_stack([np.full(4, 100.0), NEAR, np.full(4, 2.0)]).ravel(), 5.0)
    found = least_squares(residual, start, x_scale="jac", xtol=1e-13, ftol=1e-13, gtol=1e-13)
    covariance = np.linalg.inv(found.jac.T @ found.jac)
    return found.x, np.sqrt(covariance.diagonal()), 2 * found.cost


@pytest.mark.parametrize("half", [0.0, 0.5])
def test_a_joint_fit_of_all_points_is_the_least_squares_solution(half):
    data = curve(PEAKS, 10.0) + np.random.default_rng(3).normal(0, 3, 230)
    result = fg.fit_joint(
        data, NEAR, background="constant", box=501, error=3.0, tol=1e-10, max_iter=200,
        pixel="integrate" if half else "sample",
    )  # fmt: skip
    best, errors, chi2 = by_scipy(data, 3.0, half)
    assert result.converged.all() and result.names == ("amplitude", "x", "sigma", "offset")
    np.testing.assert_allclose(result.params[:, :3], best[:-1].reshape(-1, 3), rtol=1e-6)
    np.testing.assert_allclose(result.offset, best[-1], rtol=1e-6)
    np.testing.assert_allclose(result.errors[:, :3], errors[:-1].reshape(-1, 3), rtol=1e-3)
    model = result.render(data.shape)
    assert (((model - data) / 3) ** 2).sum() == pytest.approx(chi2, rel=1e-7)


def test_spots_are_found_and_fitted_where_they_are():
    data = curve(PEAKS, 10.0) + np.random.default_rng(4).normal(0, 3, 230)
    data[70] = np.nan
    for joint in (False, True):
        close = {"joint": True} if joint else {"detector": "laplacian"}  # one pair is close
        result = fg.fit_spots(data, sigma=2.0, **close)
        assert len(result) == 4
        order = np.argsort(result.x)
        np.testing.assert_allclose(result.x[order], PEAKS[:, 1], atol=0.2 if joint else 1.0)
        together = np.abs(result.x[order] - PEAKS[:, 1])[1:3] / result.x_error[order][1:3]
        assert not joint or (together < 4).all()
    alone = fg.fit_spots(data, [[50.0], [180.0]], sigma=2.0)
    for row, first in zip(alone.params, (42, 172), strict=True):  # windows of 17 points
        one = fg.fit_rois(data[np.newaxis, first : first + 17], guess=[100.0, 8.0, 2.0, 10.0])
        np.testing.assert_allclose(one.params[0] + [0, first, 0, 0], row, rtol=1e-4)


def test_counts_shared_widths_and_frames():
    rng = np.random.default_rng(5)
    same = np.column_stack([PEAKS[:, :2], np.full(4, 2.0)])
    counts = rng.poisson(curve(same, 10.0), (2, 230))
    frames = np.repeat([0, 1], 4)
    result = fg.fit_joint(
        counts, NEAR * 2, frames=frames, method="mle", shared="sigma", background="plane", box=21
    )
    assert result.converged.all() and np.ptp(result.sigma) == 0
    assert abs(result.sigma[0] - 2.0) < 4 * result.sigma_error[0]
    pulls = (result.x - np.tile(same[:, 1], 2)) / result.x_error
    assert np.abs(pulls).max() < 4.5
    two = fg.fit_joint(
        counts, NEAR * 2, frames=frames, method="mle", shared="sigma", background="plane", box=21,
        threads=2,
    )  # fmt: skip
    assert two.params.tobytes() == result.params.tobytes()


def test_one_error_for_all_pixels_is_a_map_of_it():
    data = curve(PEAKS, 10.0)
    for call in (fg.fit_spots, fg.fit_joint):
        one, each = (call(data, NEAR, error=error) for error in (2.5, np.full(230, 2.5)))
        assert one.errors.tobytes() == each.errors.tobytes() and one.absolute
    rois = np.stack([data[40:61], data[170:191]])
    one, each = (fg.fit_rois(rois, error=error) for error in (2.5, np.full(21, 2.5)))
    assert one.errors.tobytes() == each.errors.tobytes()
    with pytest.raises(ValueError, match="error must be positive, got -1"):
        fg.fit_spots(data, NEAR, error=-1.0)


def test_bad_positions_and_models_are_refused():
    with pytest.raises(ValueError, match=r"positions must have shape \(n, 1\)"):
        fg.fit_spots(np.ones(40), [[3.0, 4.0]])
    with pytest.raises(ValueError, match="model"):
        fg.fit_spots(np.ones(40), [3.0], model="astigmatic")
    assert len(fg.fit_spots(np.ones(0))) == 0
