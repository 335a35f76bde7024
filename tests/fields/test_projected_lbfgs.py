"""Minima within bounds by projected L-BFGS."""

import naive_quasi_newton
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import lsq_linear, rosen, rosen_der

from fastgauss.fields.projected_lbfgs import minimise
from fastgauss.kernels.fields.quasi_newton import quasi_newton_step

RNG = np.random.default_rng
ANYWHERE = np.array([[-np.inf], [np.inf]])


@pytest.mark.parametrize("n", [1, 7, 19])
@pytest.mark.parametrize("count", [0, 1, 3, 5])
@pytest.mark.parametrize("held", [0.0, 0.4, 1.0])
def test_the_step_is_that_of_the_dense_matrix(n, count, held):
    rng = RNG(n + 100 * count)
    most, begin = 5, 3
    steps = rng.normal(size=(most, n))
    changes = steps * rng.uniform(0.5, 2, n) + 0.1 * rng.normal(size=(most, n))
    changes[4] *= -1.0  # a pair of negative curvature
    slope, free = rng.normal(size=n), 1.0 * (rng.random(n) >= held)
    out = np.full(n, np.nan)
    quasi_newton_step(steps, changes, begin, count, slope, free, out)
    rows = (begin + np.arange(count)) % most
    expected = naive_quasi_newton.step(steps[rows], changes[rows], slope, free)
    assert_allclose(out, expected, rtol=1e-10, atol=1e-10 * abs(expected).max(initial=0.0))


@pytest.mark.parametrize("bound", [0.0, 0.3])
def test_a_bounded_least_squares_problem_has_the_minimum_of_scipy(bound):
    rng = RNG(int(10 * bound))
    a, b = rng.normal(size=(60, 40)), rng.normal(size=60)
    bounds = np.stack([np.full(40, -bound), np.full(40, 0.1)])
    told = []

    def square(x):
        left = a @ x - b
        return 0.5 * left @ left, a.T @ left

    start = np.full(40, 0.05)
    found = minimise(square, start, bounds, 500, 1e-14, told.append)
    expected = lsq_linear(a, b, (bounds[0], bounds[1]), tol=1e-12)
    held = (found.x == bounds[0]) | (found.x == bounds[1])
    assert (found.x >= bounds[0]).all() and (found.x <= bounds[1]).all() and held.sum() > 5
    assert_allclose(found.value, expected.cost, rtol=1e-9)
    assert_allclose(found.x, expected.x, atol=1e-4)
    assert len(told) == found.iterations and told[-1] == found.value
    assert (np.diff([square(start)[0], *told]) < 0).all()


def test_a_curved_valley_is_followed_to_its_end():
    start = np.array([-1.2, 1.0, -1.0, 1.5, 0.0])

    def valley(x):
        return rosen(x), rosen_der(x)

    found = minimise(valley, start, ANYWHERE, 500, 0.0)
    assert_allclose(found.x, np.ones(5), atol=1e-6)
    few = minimise(valley, start, ANYWHERE, 7, 0.0)
    assert few.iterations == 7 and found.value < few.value < valley(start)[0]


def test_it_stops_where_nothing_can_be_lower():
    flat = minimise(lambda _: (2.0, np.zeros(3)), np.ones(3), ANYWHERE, 9, 0.0)
    assert flat.iterations == 0
    corner = np.array([[0.0, 0.0], [1.0, 1.0]])
    pushed = minimise(lambda x: (5.0 - x.sum(), -np.ones(2)), np.ones(2), corner, 9, 0.0)
    assert pushed.iterations == 0 and pushed.value == 3.0
    wrong = minimise(lambda x: (3.0 + x @ x, -x), np.ones(2), ANYWHERE, 9, 0.0)
    assert wrong.iterations == 0
    assert_array_equal(wrong.x, 1.0)
    infinite = minimise(lambda x: (np.inf, x), np.ones(2), ANYWHERE, 9, 0.0)
    assert infinite.iterations == 0


def test_a_step_beyond_numbers_is_shortened():
    def narrow(x):
        near = np.abs(x).max() < 3.0
        return (0.5 * x @ x + 1.0, x) if near else (np.nan, np.full(2, np.nan))

    found = minimise(narrow, np.array([2.9, -1.0]), ANYWHERE, 50, 0.0)
    assert_allclose(found.x, 0.0, atol=1e-6)
