"""Rotated spots whose sigmas are equal, on bounds or fixed: the angle means nothing."""

import numpy as np
import pytest

import fastgauss as fg

ANY_ANGLE = np.pi / np.sqrt(12.0)  # the deviation of an angle of which nothing is known


def picture(*spots, shape=(21, 24), seed=12):
    light = sum(fg.image(spot, shape, model="rotated") for spot in spots)
    return np.random.default_rng(seed).poisson(light + 9.0).astype(float)


SPOT = [210.0, 12.3, 9.6, 2.6, 2.1, -0.4, 0.0]


@pytest.mark.parametrize("method", ["lsq", "mle"])
@pytest.mark.parametrize(
    "how",
    [
        {"bounds": {"sigma_x": (0.4, 1.7), "sigma_y": (0.4, 1.7)}},  # both at the upper end
        {"bounds": {"sigma_x": (3.2, 7.0), "sigma_y": (3.2, 7.0)}},
        {"fixed": {"sigma_x": 2.3, "sigma_y": 2.3}},
    ],
)
def test_a_spot_alone_has_the_errors_of_the_round_model(how, method):
    image = picture(SPOT)
    found = fg.fit_joint(image, [[9.6, 12.3]], "rotated", method=method, box=15, tol=1e-8, **how)
    kind = next(iter(how))
    ends = how[kind]["sigma_x"]
    value = ends if kind == "fixed" else ends[0] if ends[0] > 3 else ends[1]
    known = fg.fit_joint(
        image, [[9.6, 12.3]], method=method, box=15, tol=1e-8, fixed={"sigma": value}
    )
    assert found.status[0] == (fg.Status.CONVERGED if kind == "fixed" else fg.Status.AT_BOUND)
    np.testing.assert_allclose(found.params[0, [0, 1, 2, 6]], known.params[0, [0, 1, 2, 4]], 1e-5)
    np.testing.assert_allclose(found.errors[0, [0, 1, 2, 6]], known.errors[0, [0, 1, 2, 4]], 0.02)
    assert found.errors[0, 3] == found.errors[0, 4] == 0.0
    assert found.errors[0, 5] == pytest.approx(ANY_ANGLE)
    np.testing.assert_array_equal(found.at_bound[0, 3:5], kind == "bounds")


def test_neighbours_on_one_bound_have_errors_of_their_own():
    image = picture(SPOT, [170.0, 17.0, 13.2, 2.3, 2.2, 0.9, 0.0])
    bounds = {"sigma_x": (0.5, 1.9), "sigma_y": (0.5, 1.9)}
    found = fg.fit_joint(image, [[9.6, 12.3], [13.2, 17.0]], "rotated", bounds=bounds, max_iter=200)
    assert np.isfinite(found.errors).all() and found.errors[:, 5].max() < 1.0
    held = np.abs(found.params[:, 3:5] - 1.9) <= 1e-9
    np.testing.assert_array_equal(found.at_bound[:, 3:5], held)  # a hair off is on the bound
    np.testing.assert_array_equal(found.errors[:, 3:5] == 0.0, held)


def test_a_fixed_angle_has_no_error():
    fixed = {"sigma_x": 2.3, "sigma_y": 2.3, "theta": 0.3}
    found = fg.fit_joint(picture(SPOT), [[9.6, 12.3]], "rotated", fixed=fixed)
    assert found.errors[0, 5] == 0.0 and found.status[0] == fg.Status.CONVERGED
