"""Maximum likelihood and weighted least squares: solutions, objectives, uncertainties."""

import naive_fit
import numpy as np
import pytest
from naive_fit import CASES
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

PIXELS = ("sample", "integrate")
COUNT = 1 if JIT_DISABLED else 4
MANY = 4000
statistic = pytest.mark.skipif(JIT_DISABLED, reason="a statistic over thousands of fits")


def _options(kind, rois, rng):
    """Options of a call with per-pixel numbers for each ROI, and how to get those of one ROI."""
    if kind == "mle":
        return {"method": "mle"}, lambda k: {"method": "mle"}
    if kind == "lsq":
        return {}, lambda k: {}
    if kind == "camera":
        variance = rng.uniform(0, 40, rois.shape)
        variance[:, ..., 0] = 0.0
        return ({"method": "mle", "variance": variance},
                lambda k: {"method": "mle", "variance": variance[k]})  # fmt: skip
    weights = rng.uniform(0.5, 2, rois.shape) / 20
    return {"weights": weights}, lambda k: {"weights": weights[k]}


@pytest.mark.parametrize("kind", ["lsq", "weights", "mle", "camera"])
@pytest.mark.parametrize("pixel", PIXELS)
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_solution_objective_and_errors_are_those_of_the_twin(name, shape, pixel, kind):
    if JIT_DISABLED and len(shape) == 3 and (pixel, kind) != ("sample", "mle"):
        pytest.skip("slow as plain Python")
    rng = np.random.default_rng(sum(shape))
    rois, truth = naive_fit.poisson_spots(rng, COUNT, shape, name, pixel)
    together, alone = _options(kind, rois, rng)
    result = fg.fit_rois(rois, name, pixel=pixel, **together)
    naive_fit.assert_fits(result, rois, truth, name, lambda k: {"pixel": pixel, **alone(k)})
    assert_allclose(result.reduced_chi2, result.objective / result.dof, rtol=1e-14)
    assert result.names == fg.models.get_model(name, len(shape)).names


@pytest.mark.parametrize("covariance", ["auto", "residual", "absolute", "sandwich"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "shape"), CASES[:1] + CASES[2:4])
def test_each_covariance_is_its_definition(name, shape, weighted, covariance):
    if covariance == "absolute" and not weighted:
        pytest.skip("needs weights")
    rng = np.random.default_rng(1)
    rois, truth = naive_fit.poisson_spots(rng, COUNT, shape, name)
    together, alone = _options("weights" if weighted else "lsq", rois, rng)
    result = fg.fit_rois(rois, name, covariance=covariance, **together)
    naive_fit.assert_fits(result, rois, truth, name, alone, covariance)


@pytest.mark.parametrize(("name", "shape"), (*CASES[:4], CASES[5]))
def test_weights_and_variances_come_in_several_shapes(name, shape):
    rng = np.random.default_rng(2)
    rois, _ = naive_fit.poisson_spots(rng, 3, shape, name)
    for option, more in (("weights", {}), ("variance", {"method": "mle"})):
        one = rng.uniform(1, 2, shape)
        full = fg.fit_rois(rois, name, **{option: np.stack([one] * 3)}, **more)
        shared = fg.fit_rois(rois, name, **{option: one}, **more)
        single = fg.fit_rois(rois, name, **{option: one.astype("f4").tolist()}, **more)
        assert_array_equal(full.params, shared.params)
        assert_array_equal(full.errors, shared.errors)
        assert_allclose(single.params, shared.params, rtol=1e-4)
    if len(shape) > 1:
        each = np.array([0.5, 1.0, 4.0])
        full = fg.fit_rois(rois, name, weights=each.reshape(-1, *[1] * len(shape)) + 0 * rois)
        a_number = fg.fit_rois(rois, name, weights=each)
        assert_allclose(a_number.params, full.params, rtol=1e-9)
        assert_allclose(a_number.errors, full.errors, rtol=1e-9)


def test_a_common_weight_scales_objective_and_errors_only():
    rois, _ = naive_fit.poisson_spots(np.random.default_rng(3), 4, (9, 9), "elliptic")
    plain = fg.fit_rois(rois, "elliptic")
    for covariance in ("absolute", "residual"):
        one, four = (
            fg.fit_rois(rois, "elliptic", weights=np.full((9, 9), w), covariance=covariance)
            for w in (1.0, 4.0)
        )
        assert_allclose(one.params, plain.params, rtol=TOLERANCE["fit, default tol"])
        assert_allclose(four.params, plain.params, rtol=TOLERANCE["fit, default tol"])
        assert_allclose(four.objective, 4 * plain.objective, rtol=TOLERANCE["fit objective"])
        shrink = 2 if covariance == "absolute" else 1
        assert_allclose(four.errors * shrink, one.errors, rtol=TOLERANCE["fit errors"])
    assert_allclose(one.errors, plain.errors, rtol=TOLERANCE["fit errors"])


@pytest.mark.parametrize("pixel", PIXELS)
@pytest.mark.parametrize(("name", "shape"), CASES[:4])
def test_the_likeliest_model_has_as_many_photons_as_the_data(name, shape, pixel):
    rois, _ = naive_fit.poisson_spots(np.random.default_rng(4), 4, shape, name, pixel)
    result = fg.fit_rois(rois, name, method="mle", pixel=pixel)
    fitted = fg.image(result.params, shape, name, pixel)
    axes = tuple(range(1, rois.ndim))
    assert_allclose(fitted.sum(axes), rois.sum(axes), rtol=1e-7)


@pytest.mark.parametrize(("name", "shape"), CASES[:4])
def test_few_counts_with_many_zeros(name, shape):
    rng = np.random.default_rng(5)
    rois, truth = naive_fit.poisson_spots(rng, COUNT, shape, name, amplitude=20.0, offset=0.9)
    assert (rois == 0).any(axis=tuple(range(1, rois.ndim))).all()
    result = fg.fit_rois(rois, name, method="mle")
    naive_fit.assert_fits(result, rois, truth, name, lambda k: {"method": "mle"})


@pytest.mark.parametrize(("amplitude", "offset"), [(20.0, 0.02), (3.0, 0.05)])
def test_where_nothing_is_counted_the_model_may_be_zero_but_not_negative(amplitude, offset):
    shape = (9, 8)
    rois, _ = naive_fit.poisson_spots(
        np.random.default_rng(6),
        1 if JIT_DISABLED else 8,
        shape,
        "symmetric",
        "sample",
        amplitude,
        offset,
    )
    result = fg.fit_rois(rois, method="mle", max_iter=200)
    assert (fg.image(result.params, shape, "symmetric") > -1e-9).all()
    for k, roi in enumerate(rois):
        best = naive_fit.least_deviance(roi, result.params[k], "symmetric")
        if result.converged[k]:  # others creep along the wall, and say so
            assert result.objective[k] < best + 0.01
    bounds = {"offset": (0.0, None)}
    result = fg.fit_rois(rois, method="mle", bounds=bounds)
    assert result.converged.all() and (result.offset >= 0).all()
    for k, roi in enumerate(rois):
        expected = naive_fit.estimate(roi, result.params[k], "symmetric", "mle", bounds=bounds)
        value = naive_fit.deviance(roi, expected, "symmetric")
        assert_allclose(result.objective[k], value, rtol=TOLERANCE["fit objective"])


@pytest.mark.parametrize("variance", [None, 2.0, 30.0])
def test_negative_data_count_as_nothing(variance):
    rng = np.random.default_rng(7)
    rois, truth = naive_fit.poisson_spots(rng, COUNT, (9, 9), "symmetric", offset=4.0)
    rois += rng.normal(0, 3, rois.shape)
    assert (rois < 0).any()
    own = {"method": "mle"}
    if variance is not None:
        own["variance"] = np.full((9, 9), variance)
    result = fg.fit_rois(rois, **own)
    naive_fit.assert_fits(result, rois, truth, "symmetric", lambda k: own)
    cut = fg.fit_rois(np.maximum(rois, -(variance or 0.0)), **own)
    assert_allclose(cut.objective, result.objective, rtol=TOLERANCE["fit objective"])
    assert_allclose(cut.params, result.params, rtol=TOLERANCE["fit, default tol"])


def test_no_variance_is_plain_and_a_huge_one_is_least_squares():
    rois, _ = naive_fit.poisson_spots(np.random.default_rng(8), 4, (9, 9), "elliptic")
    fits = [
        fg.fit_rois(rois, "elliptic", method="mle", variance=np.full((9, 9), v)) for v in (0.0, 1e7)
    ]
    plain = fg.fit_rois(rois, "elliptic", method="mle")
    assert_allclose(fits[0].params, plain.params, rtol=TOLERANCE["fit, default tol"])
    assert_allclose(fits[0].errors, plain.errors, rtol=TOLERANCE["fit errors"])
    weights = np.full((9, 9), 1e-7)
    squares = fg.fit_rois(rois, "elliptic", weights=weights, tol=1e-12)
    assert_allclose(fits[1].params, squares.params, rtol=1e-3)
    assert_allclose(fits[1].errors, squares.errors, rtol=1e-3)


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e6])
def test_the_likeliest_spot_does_not_depend_on_the_unit_but_its_errors_do(factor):
    rois, _ = naive_fit.poisson_spots(np.random.default_rng(9), 4, (9, 9), "symmetric")
    plain = fg.fit_rois(rois, method="mle")
    scaled = fg.fit_rois(factor * rois, method="mle")
    assert_allclose((scaled.params - plain.params * [factor, 1, 1, 1, factor])
                    / (plain.errors * [factor, 1, 1, 1, factor]), 0, atol=1e-4)  # fmt: skip
    assert_allclose(scaled.objective, factor * plain.objective, rtol=1e-6)
    assert_allclose(scaled.errors[:, 1:4] * np.sqrt(factor), plain.errors[:, 1:4], rtol=1e-4)


def test_p_values():
    rois, _ = naive_fit.poisson_spots(np.random.default_rng(10), 6, (9, 9), "symmetric")
    rois[3] = np.nan
    good = np.arange(6) != 3
    for own in ({"method": "mle"}, {"weights": 1 / (rois[0] + 10)}):
        result = fg.fit_rois(rois, **own)
        expected = stats.chi2.sf(result.objective, result.dof)
        assert_allclose(result.p_value[good], expected[good], rtol=1e-12)
        assert np.isnan(result.p_value[3]) and np.isnan(result.reduced_chi2[3])
        assert result.p_value.shape == (6,) and result[good].p_value.shape == (5,)
    assert np.isnan(fg.fit_rois(rois).p_value).all()
    assert result.pixels.tolist() == [81, 81, 81, 0, 81, 81]


def _many(name, shape, pixel, noise, amplitude, offset):
    """Many noisy copies of one spot, its parameters, and the variance of its camera."""
    rng = np.random.default_rng(11)
    _, truth = naive_fit.poisson_spots(rng, 1, shape, name, pixel, amplitude, offset)
    clean = fg.image(truth[0], shape, name, pixel)
    read = np.where(rng.random(shape) < 0.2, 60.0, 3.0)
    full = (MANY, *shape)
    rois = np.broadcast_to(clean, full).copy()
    if noise != "normal":
        rois = rng.poisson(clean, full).astype(np.float64)
    if noise != "poisson":
        rois += rng.normal(0, np.sqrt(read), full)
    return rois, truth[0], read


@statistic
@pytest.mark.parametrize("pixel", PIXELS)
@pytest.mark.parametrize("noise", ["poisson", "camera", "normal"])
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_the_scatter_is_the_cramer_rao_bound_and_the_reported_error(name, shape, noise, pixel):
    rois, truth, read = _many(name, shape, pixel, noise, 400.0, 40.0)
    own = {
        "poisson": {"method": "mle"},
        "camera": {"method": "mle", "variance": read},
        "normal": {"weights": 1 / read},
    }[noise]
    result = fg.fit_rois(rois, name, pixel=pixel, **own)
    assert result.converged.mean() > 0.999
    good = result[result.converged]
    expected = naive_fit.uncertainty(rois[0], truth, name, pixel=pixel, **own)
    bound = np.sqrt(np.diag(expected))
    scatter = np.sqrt(((good.params - truth) ** 2).mean(axis=0))
    assert_allclose(scatter / bound, 1.0, atol=0.07)
    pull = (good.params - truth) / good.errors
    assert_allclose(pull.std(axis=0), 1.0, atol=0.06)
    assert_allclose(pull.mean(axis=0), 0.0, atol=0.15)
    correlation = np.corrcoef(good.params.T)
    assert_allclose(correlation, expected / np.outer(bound, bound), atol=0.08)
    chance = good.p_value
    assert abs(chance.mean() - 0.5) < 0.04 and abs((chance < 0.1).mean() - 0.1) < 0.03


@statistic
def test_likelihood_beats_least_squares_and_the_sandwich_knows_by_how_much():
    rois, _, _ = _many("symmetric", (11, 11), "sample", "poisson", 300.0, 2.0)
    likely = fg.fit_rois(rois, method="mle")
    squares = fg.fit_rois(rois, covariance="sandwich")
    assert likely.converged.mean() > 0.999 and squares.converged.mean() > 0.999
    scatter = [r.params[r.converged].std(axis=0) for r in (likely, squares)]
    assert (scatter[1][1:] > 1.1 * scatter[0][1:]).all()
    assert_allclose(np.median(squares.errors, axis=0) / scatter[1], 1.0, atol=0.06)
    plain = fg.fit_rois(rois)
    assert abs(np.median(plain.errors, axis=0) / scatter[1] - 1).max() > 0.2


BAD = [
    ({"method": "MLE"}, ValueError, "method"),
    ({"method": None}, TypeError, "method"),
    ({"pixel": "mean"}, ValueError, "pixel"),
    ({"covariance": "magic"}, ValueError, "covariance"),
    ({"covariance": True}, TypeError, "covariance"),
    ({"covariance": "absolute"}, ValueError, "covariance"),
    ({"covariance": "sandwich", "method": "mle"}, ValueError, "covariance"),
    ({"covariance": "residual", "method": "mle"}, ValueError, "covariance"),
    ({"variance": np.ones((7, 7))}, ValueError, "variance"),
    ({"weights": np.ones((7, 7)), "method": "mle"}, ValueError, "weights"),
]
for _word, _more in (("weights", {}), ("variance", {"method": "mle"})):
    BAD += [
        ({_word: np.full((7, 7), -1.0), **_more}, ValueError, _word),
        ({_word: np.full((7, 7), np.nan), **_more}, ValueError, _word),
        ({_word: np.ones((7, 8)), **_more}, ValueError, _word),
        ({_word: np.ones((3, 7, 7)), **_more}, ValueError, _word),
        ({_word: np.ones((1, 2, 7, 7)), **_more}, ValueError, _word),
        ({_word: np.ones((7, 7), complex), **_more}, TypeError, _word),
        ({_word: "many", **_more}, TypeError, _word),
        ({_word: [[1.0], [1.0, 2.0]], **_more}, ValueError, _word),
    ]
BAD.append(({"weights": np.ones(3)}, ValueError, "weights"))
BAD.append(({"weights": np.full((2, 7, 7), np.inf)}, ValueError, "weights"))


@pytest.mark.parametrize(("arguments", "error", "word"), BAD)
def test_bad_input_is_named(arguments, error, word):
    with pytest.raises(error, match=word):
        fg.fit_rois(np.ones((2, 7, 7)), **arguments)
