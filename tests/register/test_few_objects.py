"""Images with a few objects: those that are the same move together, others are no match."""

import numpy as np
import pytest

from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.register import Status, align, inputs
from fastgauss.register.few_objects import same_objects

compiled = pytest.mark.skipif(JIT_DISABLED, reason="many images")


def stars(places, heights, sigma, rng, n=64, move=(0.0, 0.0), level=20.0, gain=1.0):
    """Photons of stars at (x, y)."""
    grid = np.arange(n)[:, np.newaxis]
    rows, columns = (
        np.exp(-0.5 * ((grid - places[:, axis] - move[axis]) / sigma) ** 2) for axis in (1, 0)
    )
    return rng.poisson(gain * (level + (rows * heights) @ columns.T)).astype(float)


def some(rng, count, n=64):
    heights = np.exp(rng.uniform(np.log(40), np.log(3000), count))
    return rng.uniform(6, n - 6, (count, 2)), heights


@compiled
@pytest.mark.parametrize("boundary", ["overlap", "wrap"])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_unrelated_stars_are_ambiguous_and_the_same_are_found(count, boundary):
    rng = np.random.default_rng(count)
    wrong = right = off = 0
    for k in range(40):
        sigma = (1.3, 2.5)[k % 2]
        pair = [stars(*some(rng, count), sigma, rng) for _ in range(2)]
        shift = align(*pair, boundary=boundary)
        wrong += shift.converged
        assert shift.converged or not shift.errors.max() < 1
        scene, truth = some(rng, count), rng.uniform(-2, 2, 2)
        moved = stars(*scene, sigma, rng, move=truth, gain=rng.uniform(0.5, 2))
        shift = align(stars(*scene, sigma, rng), moved, boundary=boundary)
        right += shift.converged
        off += shift.converged and (np.abs(shift[:2] - truth) > 5 * shift.errors).any()
    assert wrong <= 1 and right >= 36 and off == 0


def both(first, second, shift, wrap=False):
    return same_objects(inputs.read(first, None, None), inputs.read(second, None, None),
                        shift, wrap)  # fmt: skip


def test_most_objects_must_be_there():
    rng = np.random.default_rng(0)
    places = np.array([[20.0, 20.0], [40.0, 25.0], [30.0, 45.0], [50.0, 50.0]])
    heights, move = np.array([300.0, 200.0, 500.0, 250.0]), (3.0, -2.0)
    one = stars(places, heights, 1.5, rng)
    assert both(one, stars(places, heights, 1.5, rng, move=move), move)
    assert not both(one, stars(places, heights, 1.5, rng, move=move), (13.0, -22.0))
    three, two = heights * [1, 1, 1, 0], heights * [1, 0, 0, 1]
    assert both(one, stars(places, three, 1.5, rng, move=move), move)
    assert not both(one, stars(places, two, 1.5, rng, move=move), move)
    hot = stars(places, heights, 1.5, rng, move=move)
    hot[5, 5:9] = hot[60, 3] = hot[3, 60] = 2000.0  # one track of a muon, and two hot pixels
    assert both(one, hot, move)


def test_objects_that_leave_the_view_or_are_too_faint_are_not_missed():
    rng = np.random.default_rng(1)
    places = np.array([[4.0, 30.0], [40.0, 25.0], [30.0, 45.0]])
    heights, move = np.array([900.0, 300.0, 400.0]), (-9.0, 1.0)
    one = stars(places, heights, 1.5, rng)
    assert both(one, stars(places, heights, 1.5, rng, move=move), move)
    assert not both(one, stars(places, heights, 1.5, rng, move=move), move, wrap=True)
    faint = stars(places, [20.0, 300.0, 400.0], 1.5, rng)
    bright = stars(places, [20.0, 300.0, 400.0], 1.5, rng, level=500.0, move=move)
    assert both(faint, bright, move)


def test_what_has_no_objects_or_many_is_not_judged():
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(2, 64, 64))
    assert both(*noise, (1.0, 1.0))
    many = [stars(*some(rng, 60), 1.3, rng) for _ in range(2)]
    assert both(*many, (1.0, 1.0))
    assert both(np.zeros((64, 64)), noise[0], (0.0, 0.0))
    assert both(*many, (np.nan, 0.0))


@compiled
def test_one_object_each_is_the_same_and_a_given_start_is_believed():
    rng = np.random.default_rng(3)
    one = stars(np.array([[30.0, 30.0]]), [400.0], 2.0, rng)
    two = stars(np.array([[33.0, 31.0]]), [400.0], 2.0, rng)
    shift = align(one, two)
    assert shift.converged and shift[:2] == pytest.approx((3.0, 1.0), abs=0.2)
    places = np.array([[30.0, 30.0], [50.0, 12.0]])
    moved = places + np.array([[0, 0], [8, 0]])
    first, second = (stars(where, [900.0, 90.0], 2.0, rng) for where in (places, moved))
    assert align(first, second).status == Status.AMBIGUOUS
    assert align(first, second, start=(0.0, 0.0)).converged
