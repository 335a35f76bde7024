"""Joint fits tell which parameter of which spot is on a bound."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastgauss as fg
from fastgauss.joint.coordinates import Coordinates
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.models.model import get_model

compiled = pytest.mark.skipif(JIT_DISABLED, reason="images of many pixels")
PLACES = np.array([[9.2, 10.1], [11.9, 12.3], [26.0, 24.6]])


def picture(sigma=1.3, height=400.0, level=20.0, seed=0):
    image = fg.render((36, 36), PLACES, height, sigma=sigma) + level
    return np.random.default_rng(seed).poisson(image).astype(float)


@compiled
@pytest.mark.parametrize("method", ["lsq", "mle"])
@pytest.mark.parametrize("shared", [(), "sigma"])
def test_a_width_that_may_not_be_as_small_as_it_is(method, shared):
    options = {"method": method, "shared": shared, "bounds": {"sigma": (1.6, 4.0)}}
    result = fg.fit_joint(picture(), PLACES, **options)
    names = result.model.names
    expected = np.zeros(result.params.shape, bool)
    expected[:, names.index("sigma")] = True
    assert_array_equal(result.at_bound, expected)
    assert (result.status == fg.Status.AT_BOUND).all() and (result.sigma == 1.6).all()
    assert (result.errors[:, names.index("sigma")] == 0).all()
    free = fg.fit_joint(picture(), PLACES, **options | {"bounds": {"sigma": (0.5, 4.0)}})
    assert not free.at_bound.any() and (free.status == fg.Status.CONVERGED).all()


@compiled
def test_bounds_of_each_spot_and_what_is_fixed():
    high = np.array([300.0, 600.0, 600.0])
    result = fg.fit_joint(
        picture(), PLACES, "elliptic", bounds={"amplitude": (None, high)}, fixed={"sigma_x": 1.3}
    )
    expected = np.zeros(result.params.shape, bool)
    expected[0, 0] = True
    assert_array_equal(result.at_bound, expected)
    assert_array_equal(result.status == fg.Status.AT_BOUND, expected.any(axis=1))


@compiled
def test_bounds_that_nobody_gave():
    """A centre stays near its position, and a rotated spot is no wider than its box."""
    moved = PLACES[2:] + np.array([0.0, 3.0])
    options = {"fixed": {"sigma": 1.3}}
    assert not fg.fit_joint(picture(), moved, box=15, **options).at_bound.any()
    held = fg.fit_joint(picture(), moved, box=5, **options)  # it may go half a box
    assert_array_equal(held.at_bound, [[False, True, False, False, False]])
    assert held.x[0] == moved[0, 1] - 2.5
    y = np.arange(36.0)[:, np.newaxis] - 18.0
    stripe = np.repeat(400.0 * np.exp(-0.5 * (y / 1.5) ** 2), 36, axis=1)
    rotated = fg.fit_joint(stripe, [[18.0, 18.0]], "rotated", box=9, background=0.0)
    assert_array_equal(rotated.at_bound, [[False, False, False, True, False, False, False]])
    assert rotated.sigma_x[0] == pytest.approx(9.0, abs=1e-6)


@compiled
def test_the_background_of_a_likelihood_that_ends_at_zero():
    options = {"method": "mle", "background": "constant"}
    none = fg.fit_joint(picture(level=0.0), PLACES, **options)
    assert none.at_bound[:, -1].all() and not none.at_bound[:, :-1].any()
    assert none.converged.all()
    some = fg.fit_joint(picture(level=5.0), PLACES, **options)
    assert not some.at_bound.any()


@compiled
def test_the_search_keeps_them():
    places = np.concatenate([PLACES, [[26.2, 9.0]]])  # the last shows nothing
    result = fg.fit_spots(picture(), places, joint=True, bounds={"sigma": (1.6, 4.0)})
    assert result.status[3] == fg.Status.DROPPED and not result.at_bound[3].any()
    assert result.at_bound[:3, 3].all()
    found = fg.fit_spots(picture(), joint=True, sigma=1.4, bounds={"sigma": (1.6, 4.0)})
    assert found.at_bound[:, 3].all() and found[1:].at_bound.shape == (len(found) - 1, 5)


def test_the_sigma_matrix_says_which_width_is_held():
    matrix = Coordinates(get_model("rotated", 2), direct=False)
    lower, upper = np.zeros((2, 4, 6), bool)
    lower[0, 4] = lower[1, 1] = upper[2, 3] = lower[3, 5] = True
    expected = np.zeros((4, 6), bool)
    expected[0, 4] = expected[1, 1] = expected[2, 3] = expected[3, 3] = True
    assert_array_equal(matrix.report_held(lower, upper), expected)
