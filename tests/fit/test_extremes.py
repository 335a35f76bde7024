"""Data that no spot makes: finite parameters, a true status, and undisturbed neighbours."""

import naive_fit
import numpy as np
import pytest
from naive_fit import CASES
from numpy.testing import assert_allclose, assert_array_equal

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

FIELDS = ("params", "covariance", "objective", "status", "iterations", "pixels")
METHODS = ("lsq", "weights", "mle", "camera")
LOST = (fg.Status.NOT_FINITE, fg.Status.TOO_FEW_PIXELS)


def _ill(shape, name):
    """ROIs that are hard, by what is hard about them."""
    rng = np.random.default_rng(1)
    rois, truth = naive_fit.poisson_spots(rng, 1, shape, name)
    clean, params = rois[0], truth[0]
    middle = tuple(n // 2 for n in shape)
    widths = [k for k, key in enumerate(fg.models.get_model(name, len(shape)).names)
              if key.startswith("sigma")]  # fmt: skip
    wide = params.copy()
    wide[widths] = 60.0
    ill = {"clean": clean, "tiny": clean * 1e-30, "huge": clean * 1e30}
    for value in (1e4, 1e9, 1e100):
        ill[f"hot {value:g}"] = clean.copy()
        ill[f"hot {value:g}"][(0,) * len(shape)] = value
    ill["equal"] = np.full(shape, 17.0)
    ill["zero"] = np.zeros(shape)
    ill["negative"] = np.full(shape, -3.0)
    ill["narrow"] = rng.poisson(np.full(shape, 10.0)).astype(np.float64)
    ill["narrow"][middle] = 1000.0
    ill["single count"] = np.zeros(shape)
    ill["single count"][middle] = 1.0
    ill["wide"] = rng.poisson(10 * fg.image(wide, shape, name)).astype(np.float64)
    ill["slope"] = np.indices(shape).sum(axis=0) * 1.0
    ill["noise"] = rng.poisson(np.full(shape, 10.0)).astype(np.float64)
    ill["dark"] = np.maximum(250.0 - clean, 0.0)
    ill["clean too"] = clean[(..., slice(None, None, -1))].copy()
    return ill


def _options(method, shape):
    return {
        "lsq": {},
        "weights": {"weights": np.full(shape, 0.05)},
        "mle": {"method": "mle"},
        "camera": {"method": "mle", "variance": np.full(shape, 4.0)},
    }[method]


def _away(roi, params, name, own):
    """Standard errors from here to the minimum, by the score, and the rounding error of that.

    In least squares by the scatter of the residuals, whatever the unit of the weights. A
    likeliest model of 0 is where its score need not vanish.
    """
    points, d, w, v = naive_fit.existing(
        roi, **{k: own[k] for k in ("weights", "variance") if k in own}
    )
    pixel = own["pixel"]
    m = fg.evaluate(points, params, name, pixel) + v
    d, j = d + v, fg.jacobian(points, params, name, pixel)
    if "method" in own:
        if m.min() < 1e-6 * m.max():
            return 0.0, 0.0
        w, residual = 1 / m, np.maximum(d, 0) - m
    else:
        residual = d - m
        w = w * (d.size - len(params)) / max((w * residual**2).sum(), 1e-300)
    root = np.sqrt(w)[:, np.newaxis] * j
    norm = np.sqrt((root**2).sum(axis=0))
    root = root / np.where(norm > 0, norm, 1.0)
    step, *_ = np.linalg.lstsq(root, np.sqrt(w) * residual, rcond=None)
    return np.linalg.norm(root @ step), 1e-11 * np.linalg.norm(np.sqrt(w) * (abs(d) + abs(m)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pixel", ["sample", "integrate"])
@pytest.mark.parametrize(("name", "shape"), CASES[1:2] if JIT_DISABLED else CASES)
def test_hard_data_end_finite_with_a_true_status_and_alone(name, shape, pixel, method):
    if JIT_DISABLED and pixel == "integrate":
        pytest.skip("slow as plain Python")
    ill, rounds = _ill(shape, name), 60 if JIT_DISABLED else 200
    own = {"pixel": pixel, **_options(method, shape)}
    rois = np.stack(list(ill.values()))
    result = fg.fit_rois(rois, name, max_iter=rounds, **own)
    status = dict(zip(ill, result.status.tolist(), strict=True))
    assert status["clean"] == status["clean too"] == fg.Status.CONVERGED
    for flat in ("equal", "zero", "negative"):
        assert status[flat] not in LOST
        if method in ("lsq", "weights") or flat == "equal":
            assert status[flat] == fg.Status.SINGULAR
    widths = sorted(set(result.model.sigmas))
    for k, kind in enumerate(ill):
        if result.status[k] in LOST:
            assert kind == "hot 1e+100" and np.isnan(result.params[k]).all()
            continue
        assert np.isfinite(result.params[k]).all(), kind
        assert np.isfinite(result.objective[k]), kind
        assert (result.params[k, widths] > 0).all(), kind
        if result.status[k] == fg.Status.CONVERGED:
            assert np.isfinite(result.errors[k]).all(), kind
            if kind in ("zero", "negative"):  # are nowhere in particular
                assert result.errors[k, 1] > max(shape), kind
            away, rounding = _away(rois[k], result.params[k], name, own)
            assert away < 1e-3 + rounding, kind
        alone = fg.fit_rois(rois[k : k + 1], name, max_iter=rounds, **own)
        for field in FIELDS:
            assert_array_equal(getattr(alone, field)[0], getattr(result, field)[k], kind)


@pytest.mark.parametrize("kind", ["lsq", "weights"])
@pytest.mark.parametrize("pixel", ["sample", "integrate"])
@pytest.mark.parametrize(("name", "shape"), CASES[1:3] if JIT_DISABLED else CASES)
def test_the_unit_of_the_data_does_not_matter_to_least_squares(name, shape, pixel, kind):
    rois, _ = naive_fit.poisson_spots(np.random.default_rng(2), 2, shape, name, pixel)
    own = {"pixel": pixel}
    if kind == "weights":
        weights = np.linspace(1, 2, rois[0].size).reshape(shape)
        own |= {"covariance": "residual", "weights": weights}
    plain = fg.fit_rois(rois, name, **own)
    for scale in (1e-30, 1e30):
        scaled = fg.fit_rois(rois * scale, name, **own)
        unit = np.ones(plain.params.shape[1])
        unit[[0, -1]] = scale
        assert scaled.converged.all()
        assert_allclose(scaled.params / unit, plain.params, rtol=1e-6)
        assert_allclose(scaled.errors / unit, plain.errors, rtol=1e-4)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_the_unit_of_the_weights_does_not_matter(scale):
    rois, _ = naive_fit.poisson_spots(np.random.default_rng(3), 3, (9, 8), "symmetric")
    weights = 1 / (rois + 5)
    own = {"covariance": "residual"}
    plain = fg.fit_rois(rois, weights=weights, **own)
    scaled = fg.fit_rois(rois, weights=scale * weights, **own)
    assert scaled.converged.all()
    assert_allclose(scaled.params, plain.params, rtol=1e-6)
    assert_allclose(scaled.errors, plain.errors, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("name", "shape"), CASES[1:2] if JIT_DISABLED else CASES)
def test_constraints_hold_on_hard_data(name, shape, method):
    rois = np.stack(list(_ill(shape, name).values()))
    width = fg.models.get_model(name, len(shape)).names[len(shape) + 1]
    own = _options(method, shape)
    bounds = {width: (0.3, 4.0), "x": (0.0, shape[-1] - 1.0)}
    result = fg.fit_rois(rois, name, bounds=bounds, fixed={"offset": 10.0}, max_iter=200, **own)
    good = ~np.isin(result.status, LOST)
    assert good.sum() >= len(rois) - 3 and np.isfinite(result.params[good]).all()
    kept = result[good]
    sigma = getattr(kept, width)
    assert ((sigma >= 0.3) & (sigma <= 4.0) & (kept.x >= 0) & (kept.x <= shape[-1] - 1)).all()
    assert (kept.offset == 10.0).all()
