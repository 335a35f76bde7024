"""The table of models: each row says once what all rooms need to know of a model."""

import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastgauss as fg
from fastgauss.kernels.fit.estimators import ESTIMATORS
from fastgauss.kernels.fit.models import MODELS, NAMES
from fastgauss.kernels.models.points import make_points
from fastgauss.models.model import get_model

PACKAGE = Path(fg.__file__).parent
ROWS = [(name, ndim) for name, kinds in MODELS.items() for ndim in kinds]
NAMED = [(name, ndim) for name, ndim in ROWS if name in NAMES]


@pytest.mark.parametrize(("name", "ndim"), ROWS)
def test_the_blocks_of_a_fit_have_the_parameters_of_the_row(name, ndim):
    row = MODELS[name][ndim]
    assert row.axes == ndim
    pixels = ("sample", "integrate", "places")[: 3 if ndim == 1 else 2]
    for pixel, estimator, bounded in product(pixels, ESTIMATORS.values(), (False, True)):
        blocks = row.blocks(pixel, estimator, bounded)
        assert blocks.size == len(row.parameters) and blocks.constants == row.constants
        assert blocks.theta in (0, row.angle) and blocks.judged <= ndim
        assert blocks is row.blocks(pixel, estimator, bounded)  # composed once, compiled once


@pytest.mark.parametrize(("name", "ndim"), NAMED)
def test_the_volume_is_the_integral_of_the_profile(name, ndim):
    model = get_model(name, ndim)
    params = np.zeros(model.size)
    params[0], params[1 : 1 + ndim] = 3.0, 6.2
    params[list(model.sigmas)] = np.linspace(0.8, 1.1, ndim)
    light = fg.image(params, (13,) * ndim, model, pixel="integrate")
    volume = params[0] * model.kernels.volume * model.widths(params).prod()
    assert_allclose(light.sum(), volume, rtol=1e-6)


def test_models_of_one_kind_are_one_row_and_compile_once():
    profiles = {id(MODELS[name][1]) for name in NAMES}
    assert len(profiles) == 1
    first, second = (get_model(name, 1).kernels for name in ("symmetric", "rotated"))
    assert make_points(first, False, True) is make_points(second, False, True)


def test_who_needs_a_sum_of_gaussians_refuses_another_model():
    model = get_model("symmetric", 2)
    assert model.check_gaussian("a joint fit") is None
    other = model.kernels._replace(gaussian=False)
    kinds = MODELS | {"cusp": {2: other}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastgauss.kernels.fit.models.MODELS", kinds)
        cusp = type(model)("cusp", 2, model.names)
        with pytest.raises(ValueError, match="a Gaussian for a joint fit, got 'cusp'"):
            fg.fit_joint(np.ones((9, 9)), [[4.0, 4.0]], cusp)


def test_no_code_asks_for_the_name_of_a_model():
    names = "|".join(MODELS)
    asks = re.compile(rf"(?:[!=]= *|\b(?:not )?in \(?)[\"'](?:{names})[\"']")
    found = []
    for path in PACKAGE.rglob("*.py"):
        text = re.sub(r'"""(?:.|\n)*?"""', "", path.read_text(encoding="utf-8"))
        found += [f"{path.name}: {line}" for line in text.splitlines() if asks.search(line)]
    assert not found
