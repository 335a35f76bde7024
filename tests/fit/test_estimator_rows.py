"""Rows of estimators: the loss that a row names is that of its functions, and fits follow it."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastgauss as fg
from fastgauss.fit.batch import Job
from fastgauss.fit.options import options
from fastgauss.kernels.fit import estimators, outliers
from fastgauss.kernels.fit.estimators import DEVIANCE, ESTIMATORS, METHODS, OTHER_LOSS, SQUARES
from fastgauss.models.model import get_model


@pytest.mark.parametrize("method", METHODS)
def test_both_estimators_of_a_method_have_one_loss(method):
    plain, with_second = (ESTIMATORS[name].loss for name in METHODS[method])
    assert plain == with_second
    assert Job(options(get_model("symmetric", 2), 3, method=method)).loss == plain


@pytest.mark.parametrize("kind", [SQUARES, DEVIANCE])
@pytest.mark.parametrize("second", [None, 0.7])
def test_the_loss_of_one_pixel_is_that_of_its_definition(kind, second):
    other = (1.0 if kind == SQUARES else 0.0) if second is None else second
    data, value = 7.0, 4.5
    if kind == SQUARES:
        expected = other * (data - value) ** 2
    else:
        d, m = data + other, value + other
        expected = 2 * (m - d + d * np.log(d / m))
    found = outliers.loss_of_pixel(data, value, other, kind, second is not None)
    assert found == pytest.approx(expected, rel=1e-14)


@pytest.fixture
def hot():
    rng = np.random.default_rng(8)
    rois = rng.poisson(fg.image(np.tile([60.0, 5, 5, 1.3, 10], (4, 1)), (11, 11), "symmetric"))
    rois[1, 1, 9] += 900
    return rois.astype(float)


@pytest.mark.parametrize("method", METHODS)
def test_a_pixel_is_judged_only_where_the_row_tells_its_loss(method, hot, monkeypatch):
    judged = fg.fit_rois(hot, method=method)
    for name in METHODS[method]:
        row = ESTIMATORS[name]._replace(loss=OTHER_LOSS)
        monkeypatch.setitem(estimators.ESTIMATORS, name, row)
    unjudged = fg.fit_rois(hot, method=method)
    assert judged.status[1] == fg.Status.OUTLIER
    assert fg.Status.OUTLIER not in unjudged.status
    assert_array_equal(judged.params[[0, 2, 3]], unjudged.params[[0, 2, 3]])
