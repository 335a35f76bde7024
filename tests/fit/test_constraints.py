"""Fixed, bounded and shared parameters."""

import naive_fit
import numpy as np
import pytest
from naive_fit import CASES
from numpy.testing import assert_allclose, assert_array_equal
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.models.model import get_model

COUNT = 1 if JIT_DISABLED else 3
FLAT = CASES[1:4]  # the images
METHODS = {"lsq": {}, "weights": {"weights": 0.05}, "mle": {"method": "mle"}}


def _method(kind, shape):
    return {k: v if isinstance(v, str) else np.full(shape, v) for k, v in METHODS[kind].items()}


def _spots(seed, shape, name, count=COUNT):
    """Rounds of poisson_spots, and the names of the model's parameters."""
    rois, truth = naive_fit.poisson_spots(np.random.default_rng(seed), count, shape, name)
    return rois, truth, get_model(name, len(shape)).names


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_any_one_parameter_is_fixed(name, shape, kind):
    if JIT_DISABLED and (len(shape) == 3 or kind == "weights"):
        pytest.skip("slow as plain Python")
    rois, truth, names = _spots(1, shape, name)
    own = _method(kind, shape)
    for k, key in enumerate(names):
        values = truth[:, k] * (1.0 + 0.01 * (key != "theta"))
        result = fg.fit_rois(rois, name, fixed={key: values}, **own)
        assert_array_equal(result.params[:, k], values)
        assert (result.errors[:, k] == 0).all() and (result.covariance[:, k] == 0).all()
        naive_fit.assert_fits(
            result, rois, truth, name,
            lambda i, key=key, values=values: {"fixed": {key: values[i]}, **own},
        )  # fmt: skip


@pytest.mark.parametrize("kind", ["lsq", "mle"])
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_several_parameters_are_fixed_by_numbers(name, shape, kind):
    if JIT_DISABLED and len(shape) == 3:
        pytest.skip("slow as plain Python")
    rois, truth, names = _spots(2, shape, name)
    own = _method(kind, shape)
    known = dict(zip(names, truth.mean(axis=0), strict=True))
    centre = set(names) & set("xyz")
    for kept in ({"amplitude", "offset"}, centre, {"amplitude"}, {"offset"}, set(names) - centre):
        fixed = {key: value for key, value in known.items() if key not in kept}
        result = fg.fit_rois(rois, name, fixed=fixed, **own)
        naive_fit.assert_fits(result, rois, truth, name, lambda k, f=fixed: {"fixed": f, **own})


def test_a_number_is_the_same_as_one_for_each_spot():
    rois, _, _ = _spots(3, (9, 8), "symmetric", 4)
    one = fg.fit_rois(rois, fixed={"sigma": 1.3, "offset": np.float32(10)})
    each = fg.fit_rois(rois, fixed={"sigma": [1.3] * 4, "offset": np.full(4, 10)})
    assert_array_equal(one.params, each.params)
    assert_array_equal(one.covariance, each.covariance)
    nothing = fg.fit_rois(rois, fixed={}, bounds={}, shared=())
    assert_array_equal(nothing.params, fg.fit_rois(rois).params)


def test_errors_with_a_parameter_fixed_are_conditional_and_smaller():
    rois, _, _ = _spots(4, (9, 8), "symmetric", 4)
    free = fg.fit_rois(rois, method="mle")
    held = fg.fit_rois(rois, method="mle", fixed={"sigma": free.sigma})
    assert_allclose(held.params, free.params, rtol=1e-6)
    conditional = np.linalg.inv(np.delete(np.delete(np.linalg.inv(free.covariance), 3, 1), 3, 2))
    left = np.delete(np.delete(held.covariance, 3, 1), 3, 2)
    assert_allclose(left, conditional, rtol=1e-4, atol=1e-9)
    assert (held.errors[:, 0] < 0.95 * free.errors[:, 0]).all()


@pytest.mark.parametrize("turn", [0.0, np.pi / 2])
@pytest.mark.parametrize("kind", ["lsq", "mle"])
def test_a_fixed_angle_stays_even_along_the_short_axis(kind, turn):
    rois, truth, names = _spots(5, (11, 10), "rotated", 2)
    theta = truth[:, 5] + turn
    theta -= np.pi * (theta > np.pi / 2)
    start = truth.copy()
    start[:, 5] = theta
    if turn:
        start[:, [3, 4]] = truth[:, [4, 3]]
    own = _method(kind, rois.shape[1:])
    result = fg.fit_rois(rois, "rotated", fixed={"theta": theta}, **own)
    assert_array_equal(result.theta, theta)
    assert ((result.sigma_x > result.sigma_y) == (turn == 0)).all()
    naive_fit.assert_fits(result, rois, start, "rotated",
                          lambda k: {"fixed": {"theta": theta[k]}, **own})  # fmt: skip
    widths = {"sigma_x": 1.7, "sigma_y": 1.2}
    result = fg.fit_rois(rois, "rotated", fixed=widths, **own)
    naive_fit.assert_fits(result, rois, truth, "rotated", lambda k: {"fixed": widths, **own})
    assert names.index("theta") == 5


BOUNDS = {  # what is bounded, beside the truth
    "above": ("sigma", None, 0.93),
    "below": ("sigma", 1.07, np.inf),
    "centre": ("x", 1.05, None),
    "offset": ("offset", None, 0.9),
    "amplitude": ("amplitude", 1.1, 2.0),
    "between": ("sigma", 0.99999, 1.00001),
}


@pytest.mark.parametrize("side", BOUNDS)
@pytest.mark.parametrize("kind", ["weights", "mle"])
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_a_solution_at_a_bound_is_that_of_scipy(name, shape, kind, side):
    if JIT_DISABLED and (len(shape) == 3 or side not in ("above", "centre", "offset")):
        pytest.skip("slow as plain Python")
    rois, truth, names = _spots(6, shape, name)
    key, low, high = BOUNDS[side]
    key = "sigma_x" if key not in names else key
    k = names.index(key)
    ends = [None if e is None else truth[:, k] * e for e in (low, high)]
    own = _method(kind, shape)
    result = fg.fit_rois(rois, name, bounds={key: tuple(ends)}, max_iter=200, **own)
    low, high = (np.full(len(rois), e if e is not None else s * np.inf)
                 for e, s in zip(ends, (-1, 1), strict=True))  # fmt: skip
    assert ((result.params[:, k] >= low) & (result.params[:, k] <= high)).all()
    at_bound = (result.params[:, k] == low) | (result.params[:, k] == high)
    assert_array_equal(result.status, np.where(at_bound, fg.Status.AT_BOUND, 0))
    assert at_bound.any()
    naive_fit.assert_fits(result, rois, truth, name,
                          lambda i: {"bounds": {key: (low[i], high[i])}, **own})  # fmt: skip
    assert_array_equal(result.errors[:, k] == 0, at_bound)


@pytest.mark.parametrize("kind", ["lsq", "mle"])
@pytest.mark.parametrize(("name", "shape"), FLAT)
def test_several_bounds_of_which_some_hold(name, shape, kind):
    rois, truth, names = _spots(7, shape, name, 1 if JIT_DISABLED else 6)
    width = next(n for n in names if n.startswith("sigma"))
    bounds = {width: (0.5, 1.4), "x": (truth[:, 1] - 0.02, truth[:, 1] + 0.01),
              "offset": (9.0, None)}  # fmt: skip
    own = _method(kind, shape)
    result = fg.fit_rois(rois, name, bounds=bounds, max_iter=200, **own)
    assert result.converged.all()
    assert (result.params[:, names.index(width)] <= 1.4).all() and (result.offset >= 9.0).all()
    assert ((result.x >= bounds["x"][0]) & (result.x <= bounds["x"][1])).all()
    for k, roi in enumerate(rois):
        mine = {n: tuple(e[k] if np.ndim(e) else e for e in pair) for n, pair in bounds.items()}
        expected = naive_fit.estimate(roi, truth[k], name, bounds=mine, **own)
        spread = naive_fit.uncertainty(roi, expected, name, bounds=mine, **own)
        naive_fit.assert_same(result.params[k], expected, spread)
        assert_array_equal(result.errors[k] == 0, np.diag(spread) == 0)


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_bounds_that_do_not_hold_change_nothing(name, shape, kind):
    rois, _, names = _spots(8, shape, name)
    own = _method(kind, shape)
    free = fg.fit_rois(rois, name, **own)
    wide = {n: (-1e4, 1e4) for n in names if not n.startswith("sigma")}
    wide |= {n: (1e-3, np.inf) for n in names if n.startswith("sigma")}
    for bounds in (wide, {"offset": (None, None)}, {"x": (-np.inf, np.inf)}):
        result = fg.fit_rois(rois, name, bounds=bounds, **own)
        assert (result.status == 0).all()
        assert_allclose((result.params - free.params) / free.errors, 0,
                        atol=TOLERANCE["fit, standard errors"])  # fmt: skip
        assert_allclose(result.errors, free.errors, rtol=TOLERANCE["fit errors"])


@pytest.mark.skipif(JIT_DISABLED, reason="thousands of fits")
@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_thousands_of_bounded_fits_converge(name, shape, kind):
    rois, truth, names = _spots(15, shape, name, 2000)
    width = names[len(shape) + 1]
    bounds = {width: (0.5, 1.4), "x": (truth[:, 1] - 0.02, truth[:, 1] + 0.01),
              "offset": (9.0, None)}  # fmt: skip
    result = fg.fit_rois(rois, name, bounds=bounds, **_method(kind, shape))
    least = 0.97 if name == "rotated" else 0.999  # theta swings where a bound contradicts the data
    assert result.converged.mean() > least
    assert (result.status == fg.Status.AT_BOUND).mean() > 0.5


def test_a_start_outside_the_bounds_is_no_obstacle():
    rois, truth, _ = _spots(9, (9, 8), "symmetric", 4)
    bounds = {"sigma": (1.0, 1.2), "x": (truth[:, 1] - 1, truth[:, 1] + 1)}
    own = fg.fit_rois(rois, bounds=bounds)
    guided = fg.fit_rois(rois, bounds=bounds, guess=[100.0, 0.0, 4.0, 3.0, 0.0])
    assert (own.sigma <= 1.2).all() and (guided.sigma <= 1.2).all()
    assert_allclose(guided.params, own.params, rtol=1e-6)
    assert fg.Status.AT_BOUND == 7 and fg.Status(7).message
    held = own[own.status == 7]
    assert len(held) and held.converged.all() and "converged" in repr(held)


def test_fixed_and_bounds_stand_together():
    rois, truth, _ = _spots(10, (8, 10), "elliptic", COUNT)
    own = {"method": "mle", "fixed": {"offset": 10.0}, "bounds": {"sigma_x": (None, 1.4)}}
    result = fg.fit_rois(rois, "elliptic", **own)
    assert (result.status == 7).all() and (result.sigma_x == 1.4).all()
    naive_fit.assert_fits(result, rois, truth, "elliptic", lambda k: own)


def test_spots_of_an_image_are_constrained_in_its_coordinates():
    rng = np.random.default_rng(11)
    centres = np.array([[20.3, 40.8], [33.7, 12.2]])
    truth = [[200.0, x, y, 1.3, 0.0] for y, x in centres]
    image = rng.poisson(10 + fg.image(truth, (64, 72), "symmetric").sum(axis=0))
    fixed = fg.fit_spots(image, centres, fixed={"x": centres[:, 1], "sigma": 1.3})
    assert_array_equal(fixed.x, centres[:, 1])
    assert_allclose(fixed.y, centres[:, 0], atol=0.1)
    bounds = {"y": (centres[:, 0] + 0.1, 50.0)}
    bounded = fg.fit_spots(image, centres, bounds=bounds, method="mle")
    assert_array_equal(bounded.y, centres[:, 0] + 0.1)
    assert (bounded.status == 7).all() and (bounded.errors[:, 2] == 0).all()


SHARED = [
    ("symmetric", (15,), ("sigma",)),
    ("symmetric", (9, 8), ("sigma",)),
    ("symmetric", (9, 8), ("sigma", "offset")),
    ("elliptic", (8, 10), ("sigma_x", "sigma_y")),
    ("elliptic", (8, 10), ("sigma_y",)),
    ("rotated", (11, 10), ("sigma_x", "sigma_y", "theta")),
    ("symmetric", (6, 7, 8), ("sigma",)),
]


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize(("name", "shape", "shared"), SHARED)
def test_shared_parameters_are_the_joint_solution(name, shape, shared, kind):
    if JIT_DISABLED and len(shape) == 3:
        pytest.skip("slow as plain Python")
    names = get_model(name, len(shape)).names
    common = [names.index(n) for n in shared]
    rng = np.random.default_rng(12)
    _, truth = naive_fit.poisson_spots(rng, 3, shape, name)
    truth[:, common] = truth[0, common]
    rois = rng.poisson(fg.image(truth, shape, name)).astype(np.float64)
    own = _method(kind, shape)
    result = fg.fit_rois(rois, name, shared=shared, max_iter=200, **own)
    assert result.converged.all()
    assert (result.params[:, common] == result.params[0, common]).all()
    expected, spread = naive_fit.estimate_shared(rois, truth, name, shared, **own)
    if kind == "lsq":  # whose noise is known from the residuals only
        spread *= result.objective.mean() / rois[0].size
    for k in range(len(rois)):
        naive_fit.assert_same(result.params[k], expected[k], spread[k])
        value = naive_fit.objective(rois[k], expected[k], name, **own)
        assert_allclose(result.objective[k], value, rtol=1e-5)
        if kind != "lsq":
            errors = np.sqrt(np.diag(spread[k]))
            assert_allclose(result.errors[k], errors, rtol=TOLERANCE["fit errors"])
            assert_allclose(
                result.covariance[k] / np.outer(errors, errors),
                spread[k] / np.outer(errors, errors),
                atol=TOLERANCE["fit errors"],
            )


def test_a_shared_width_is_known_better_and_survives_a_lost_spot():
    rng = np.random.default_rng(13)
    count = 6 if JIT_DISABLED else 400
    _, truth = naive_fit.poisson_spots(rng, count, (9, 9), "symmetric")
    truth[:, 3] = 1.3
    rois = rng.poisson(fg.image(truth, (9, 9), "symmetric")).astype(np.float64)
    alone = fg.fit_rois(rois, method="mle")
    shared = fg.fit_rois(rois, method="mle", shared=("sigma",))
    error = shared.errors[0, 3]
    assert (shared.errors[:, 3] == error).all()
    assert_allclose(error, 1 / np.sqrt((1 / alone.errors[:, 3] ** 2).sum()), rtol=0.02)
    assert abs(shared.sigma[0] - 1.3) < 5 * error
    ill = rois.copy()
    ill[2], ill[4, 0, 0] = np.nan, np.inf
    good = np.setdiff1d(np.arange(count), [2, 4])
    result = fg.fit_rois(ill, method="mle", shared=["sigma"])
    assert result.status[[2, 4]].tolist() == [fg.Status.TOO_FEW_PIXELS, fg.Status.NOT_FINITE]
    assert np.isnan(result.params[[2, 4]]).all() and result.converged[good].all()
    expected = fg.fit_rois(rois[good], method="mle", shared=("sigma",))
    assert_allclose(result.params[good], expected.params, rtol=1e-6)
    for threads in (1, 2, 3):
        again = fg.fit_rois(ill, method="mle", shared=("sigma",), threads=threads)
        assert_array_equal(again.params, result.params)
        assert_array_equal(again.covariance, result.covariance)


def test_one_spot_and_none_may_share():
    rois, _, _ = _spots(14, (9, 8), "symmetric", 1)
    alone, shared = fg.fit_rois(rois), fg.fit_rois(rois, shared=("sigma",))
    assert_allclose(shared.params, alone.params, rtol=1e-6)
    assert_allclose(shared.errors, alone.errors, rtol=1e-4)
    assert len(fg.fit_rois(rois[:0], shared=("sigma",))) == 0


BAD = [
    ({"fixed": {"width": 1.0}}, ValueError, "fixed"),
    ({"fixed": {3: 1.0}}, (TypeError, ValueError), "fixed"),
    ({"fixed": ("sigma", 1.0)}, TypeError, "fixed"),
    ({"fixed": "sigma"}, TypeError, "fixed"),
    ({"fixed": {"sigma": np.ones(3)}}, ValueError, "fixed"),
    ({"fixed": {"sigma": np.ones((2, 1))}}, ValueError, "fixed"),
    ({"fixed": {"sigma": 0.0}}, ValueError, "fixed"),
    ({"fixed": {"sigma": [1.0, -1.0]}}, ValueError, "fixed"),
    ({"fixed": {"sigma": np.nan}}, ValueError, "fixed"),
    ({"fixed": {"x": np.inf}}, ValueError, "fixed"),
    ({"fixed": {"sigma": "wide"}}, TypeError, "fixed"),
    ({"fixed": {"sigma": None}}, (TypeError, ValueError), "fixed"),
    ({"fixed": {"sigma": 1j}}, TypeError, "fixed"),
    ({"bounds": {"width": (0, 1)}}, ValueError, "bounds"),
    ({"bounds": [("sigma", 0, 1)]}, TypeError, "bounds"),
    ({"bounds": {"sigma": 1.0}}, (TypeError, ValueError), "bounds"),
    ({"bounds": {"sigma": (1.0,)}}, ValueError, "bounds"),
    ({"bounds": {"sigma": (1.0, 2.0, 3.0)}}, ValueError, "bounds"),
    ({"bounds": {"sigma": (2.0, 1.0)}}, ValueError, "bounds"),
    ({"bounds": {"sigma": ([1.0, 3.0], 2.0)}}, ValueError, "bounds"),
    ({"bounds": {"sigma": (np.ones(3), None)}}, ValueError, "bounds"),
    ({"bounds": {"sigma": (np.nan, 2.0)}}, ValueError, "bounds"),
    ({"bounds": {"sigma": (-2.0, -1.0)}}, ValueError, "bounds"),
    ({"bounds": {"x": (np.inf, None)}}, ValueError, "bounds"),
    ({"bounds": {"sigma": ("low", 2.0)}}, TypeError, "bounds"),
    ({"fixed": {"sigma": 1.0}, "bounds": {"sigma": (0.5, 2.0)}}, ValueError, "sigma"),
    ({"shared": ("width",)}, ValueError, "shared"),
    ({"shared": 3}, TypeError, "shared"),
    ({"shared": (3,)}, TypeError, "shared"),
    ({"shared": ("sigma",), "fixed": {"sigma": 1.0}}, ValueError, "sigma"),
]


@pytest.mark.parametrize(("arguments", "error", "word"), BAD)
def test_bad_input_is_named(arguments, error, word):
    with pytest.raises(error, match=word):
        fg.fit_rois(np.ones((2, 7, 7)), **arguments)
    if "shared" not in arguments:
        with pytest.raises(error, match=word):
            fg.fit_spots(np.ones((32, 32)), [[9.0, 9.0], [20.0, 20.0]], **arguments)
