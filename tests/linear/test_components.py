"""``pca`` against numpy's covariance and singular values, theorems, and a spot's angle."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastgauss as fg
from fastgauss.linear import principal_components


def _cloud(n, d, seed=0, offset=3.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * np.geomspace(3, 0.3, d) @ rng.normal(size=(d, d)) + offset


@pytest.mark.parametrize(("n", "d"), [(50, 4), (4, 50), (7, 7), (2, 1), (200, 3)])
@pytest.mark.parametrize("offset", [0.0, 3.0, 1e6])
def test_variances_are_those_along_the_components(n, d, offset):
    data = _cloud(n, d, offset=offset)
    found = fg.pca(data)
    k = min(n, d)
    assert_allclose(found.components @ found.components.T, np.eye(k), atol=1e-12)
    values = np.linalg.svd(data - data.mean(axis=0), compute_uv=False) ** 2 / (n - 1)
    assert_allclose(found.explained_variance, values, rtol=1e-7, atol=1e-9 * values[0])
    assert found.explained_variance_ratio.sum() == pytest.approx(1)
    kept = values > 1e-12 * values[0]
    assert_allclose(found.scores.var(axis=0, ddof=1)[kept], values[kept], rtol=1e-6)
    assert_allclose(found.scores.mean(axis=0), 0, atol=1e-9 * (1 + offset))
    assert_allclose(found.inverse_transform(found.scores), data, atol=1e-9 * (1 + offset))
    assert_array_equal(found.transform(data), found.scores)
    largest = np.abs(found.components).argmax(axis=1)
    assert (found.components[np.arange(k), largest] > 0).all()


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_routes_agree(monkeypatch, offset):
    data = _cloud(300, 5, offset=offset)
    found = [fg.pca(data, 4)]
    monkeypatch.setattr(principal_components, "_CENTRED", 1.0)  # then from centred data
    found.append(fg.pca(data, 4))
    monkeypatch.setattr(principal_components, "_SQUARED", 1.0)  # then by singular values
    found.append(fg.pca(data, 4))
    for other in found[1:]:
        assert_allclose(other.components, found[0].components, atol=1e-9)
        assert_allclose(other.explained_variance, found[0].explained_variance, rtol=1e-9)
        assert_allclose(
            other.explained_variance_ratio, found[0].explained_variance_ratio, rtol=1e-9
        )


def test_a_variance_far_below_the_others_keeps_its_digits():
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    data = rng.normal(size=(400, 3)) * [1.0, 1e-3, 1e-7]
    expected = np.linalg.svd(data - data.mean(axis=0), compute_uv=False) ** 2 / 399
    found = fg.pca(data @ turn)
    assert_allclose(found.explained_variance, expected, rtol=1e-6)


def test_whitening():
    data = _cloud(100, 4)
    found = fg.pca(data, 3, whiten=True)
    assert_allclose(np.cov(found.scores.T), np.eye(3), atol=1e-9)
    whole = fg.pca(data, whiten=True)
    assert_allclose(whole.inverse_transform(whole.scores), data, atol=1e-9)
    flat = fg.pca([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], whiten=True)
    assert_allclose(flat.scores, [[-1, 0], [0, 0], [1, 0]], atol=1e-12)
    assert np.isfinite(fg.pca(np.ones((4, 3)), whiten=True).scores).all()


def test_weights_are_how_often_a_point_counts():
    data = _cloud(40, 3)
    counts = np.random.default_rng(1).integers(0, 4, 40)
    weighted = fg.pca(data, weights=counts)
    repeated = fg.pca(np.repeat(data, counts, axis=0))
    n = counts.sum()
    assert_allclose(weighted.components, repeated.components, atol=1e-9)
    assert_allclose(weighted.mean, repeated.mean)
    assert_allclose(weighted.explained_variance, repeated.explained_variance * (n - 1) / n)


@pytest.mark.parametrize("theta", [-1.2, -0.3, 0.0, 0.7, 1.5, np.pi / 2])
def test_theta_is_that_of_a_spot(theta):
    spot = fg.image([9.0, 20.0, 20.0, 4.0, 2.0, theta, 0.0], (41, 41))
    pixels = np.indices(spot.shape).reshape(2, -1).T
    found = fg.pca(pixels, weights=spot.ravel())
    assert found.theta == pytest.approx(theta, abs=1e-3)
    assert_allclose(np.sqrt(found.explained_variance), [4, 2], rtol=2e-3)
    assert_allclose(found.mean, 20, atol=1e-3)
    with pytest.raises(ValueError, match="theta is of points of 2"):
        _ = fg.pca(_cloud(9, 3)).theta


def test_readings():
    data = np.arange(12).reshape(4, 3) ** 2
    expected = fg.pca(data.astype(float)).scores
    for read in (data.tolist(), data.astype("i2"), np.asfortranarray(data), data.astype(">f4")):
        assert_allclose(fg.pca(read).scores, expected, rtol=1e-12, atol=1e-12)


BAD = [
    (ValueError, r"data must be finite, got nan at index \(1, 0\)", {"data": [[1.0], [np.nan]]}),
    (ValueError, "data must be finite, got inf", {"data": [[1.0], [np.inf]]}),
    (ValueError, "data must have 2 dimensions", {"data": [1.0, 2.0]}),
    (ValueError, "data must have 2 rows", {"data": [[1.0, 2.0]]}),
    (TypeError, "data must hold real numbers", {"data": [["a"], ["b"]]}),
    (ValueError, "n_components must be 1 to 2", {"n_components": 3}),
    (TypeError, "n_components must be an integer", {"n_components": 0.9}),
    (TypeError, "whiten must be True or False", {"whiten": 1}),
    (ValueError, "weights must have shape", {"weights": [1.0]}),
    (ValueError, "weights must not be negative", {"weights": [1.0, 1.0, -1.0]}),
]


@pytest.mark.parametrize(("error", "message", "options"), BAD)
def test_bad_input(error, message, options):
    with pytest.raises(error, match=message):
        fg.pca(**{"data": np.arange(6.0).reshape(3, 2) ** 2, **options})


def test_columns_are_checked():
    found = fg.pca(_cloud(9, 3), 2)
    with pytest.raises(ValueError, match="data must have 3 columns"):
        found.transform([[1.0, 2.0]])
    with pytest.raises(ValueError, match="scores must have 2 columns"):
        found.inverse_transform([[1.0, 2.0, 3.0]])
    assert "2 components in 3" in repr(found)
