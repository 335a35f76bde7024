"""Principal components of data near the ends of what numbers can be."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastgauss as fg

SIZES = [5e-300, 1e-180, 1e180, 7e300]


def _cloud(n=40):
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    return (rng.standard_normal((n, 3)) * [3.0, 1.0, 0.2]) @ turn + [5.0, -2.0, 1.0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n", [2, 40])
@pytest.mark.parametrize("weighted", [False, True])
def test_components_do_not_depend_on_the_unit(size, n, weighted):
    cloud = _cloud(n)
    weights = np.linspace(0.5, 1.0, n) if weighted else None
    heavy = None if weights is None else weights * 1e300
    one, two = fg.pca(cloud, 1, weights=weights), fg.pca(cloud * size, 1, weights=heavy)
    assert_allclose(two.components, one.components, atol=1e-9)
    assert_allclose(two.explained_variance_ratio, one.explained_variance_ratio, rtol=1e-9)
    assert_allclose(two.mean / size, one.mean, rtol=1e-9)
    assert_allclose(two.scores / size, one.scores, atol=1e-9)
    assert_allclose(two.transform(cloud * size) / size, one.scores, atol=1e-9)
    assert_allclose(two.inverse_transform(two.scores) / size, one.inverse_transform(one.scores))


@pytest.mark.parametrize("size", SIZES)
def test_whitened_scores_do_not_depend_on_the_unit(size):
    one, two = fg.pca(_cloud(), whiten=True), fg.pca(_cloud() * size, whiten=True)
    assert_allclose(two.scores, one.scores, atol=1e-9)
    assert_allclose(two.inverse_transform(two.scores) / size, _cloud(), rtol=1e-9)


def test_variances_beyond_the_range_are_infinite():
    assert (fg.pca(_cloud() * 1e200).explained_variance == np.inf).all()
    assert (fg.pca(_cloud() * 1e-200).explained_variance == 0.0).all()
    assert_allclose(fg.pca(_cloud() * 1e-150).explained_variance_ratio.sum(), 1.0)
