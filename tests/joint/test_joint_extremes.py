"""Joint fits of images whose squares, or whose noise, leave the range of float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import fastgauss as fg
from fastgauss.fit.picture_units import unit_of_picture
from fastgauss.kernels._compile import JIT_DISABLED

compiled = pytest.mark.skipif(JIT_DISABLED, reason="images of many pixels")
PLACES = np.array([[9.2, 10.1], [11.9, 12.3], [26.0, 24.6], [24.1, 9.0]])
IMAGE = np.random.default_rng(0).poisson(
    fg.render((36, 36), PLACES, [400.0, 300.0, 350.0, 250.0], sigma=1.3) + 20.0
).astype(float)  # fmt: skip


def compare(result, plain, unit, weighted=False, rtol=1e-6):
    factors = np.ones(plain.model.size)
    factors[[0, -1]] = unit
    assert_array_equal(result.status, plain.status)
    assert_allclose(result.params / factors, plain.params, rtol=rtol)
    assert_allclose(result.errors / factors, plain.errors, rtol=1e-4)
    if not weighted:
        objective = result.objective / unit / unit
        held = np.isfinite(objective) & (objective > 0)  # by float64
        assert_allclose(objective[held], plain.objective[held], rtol=1e-5)


@compiled
@pytest.mark.parametrize("power", [-300, -200, -160, -40, 40, 120, 160, 200, 290])
def test_least_squares_take_any_unit(power):
    unit = 10.0**power
    plain = fg.fit_joint(IMAGE, PLACES, background="constant")
    result = fg.fit_joint(IMAGE * unit, PLACES, background="constant")
    compare(result, plain, unit)
    assert_allclose(result.render((36, 36)) / unit, plain.render((36, 36)), rtol=1e-5)


@compiled
@pytest.mark.parametrize("unit", [1e-200, 3e180])
def test_all_that_has_the_unit_of_the_image_follows(unit):
    guess = fg.fit_joint(IMAGE, PLACES, background="constant").params * 1.02
    weights = 1 / (IMAGE + 5)
    for options, scaled in (
        ({"fixed": {"amplitude": 300.0}}, {"fixed": {"amplitude": 300 * unit}}),
        ({"bounds": {"amplitude": (None, 350.0)}}, {"bounds": {"amplitude": (None, 350 * unit)}}),
        ({"background": 19.0}, {"background": 19 * unit}),
        ({"guess": guess}, {"guess": guess * [unit, 1, 1, 1, unit]}),
        ({"error": weights**-0.5}, {"error": weights**-0.5 * unit}),
        ({"shared": "sigma"}, {"shared": "sigma"}),
    ):
        if "error" in options and not 1e-150 < unit < 1e150:
            continue  # whose inverse squares are no numbers
        plain = fg.fit_joint(IMAGE, PLACES, **options)
        result = fg.fit_joint(IMAGE * unit, PLACES, **scaled)
        compare(result, plain, unit)
        assert_array_equal(result.at_bound, plain.at_bound)


@compiled
def test_weights_of_an_image_in_tiny_units():
    weights, unit = 1 / (IMAGE + 5), 1e-120
    plain = fg.fit_joint(IMAGE, PLACES, weights=weights)
    result = fg.fit_joint(IMAGE * unit, PLACES, weights=weights * 1e120 * 1e120)
    compare(result, plain, unit, weighted=True)
    assert_allclose(result.objective, plain.objective, rtol=1e-6)
    assert_allclose(result.p_value, plain.p_value, rtol=1e-4)


@compiled
@pytest.mark.parametrize("power", [-200, -12, 150])
def test_likelihoods_have_the_parameters_of_any_unit(power):
    unit = 10.0**power
    plain = fg.fit_joint(IMAGE, PLACES, method="mle", background="constant")
    result = fg.fit_joint(IMAGE * unit, PLACES, method="mle", background="constant")
    assert result.converged.all()
    assert_allclose(result.params / [unit, 1, 1, 1, unit], plain.params, rtol=1e-5)
    assert_allclose(result.errors[:, 1], plain.errors[:, 1] / np.sqrt(unit), rtol=1e-4)


@compiled
@pytest.mark.parametrize("power", [-200, 170])
def test_the_search_finds_the_same_spots(power):
    unit = 10.0**power
    plain = fg.fit_spots(IMAGE, joint=True, threshold=20.0)
    result = fg.fit_spots(IMAGE * unit, joint=True, threshold=20.0 * unit)
    assert len(result) == len(plain) == 4
    compare(result, plain, unit, rtol=1e-4)


@compiled
def test_one_wild_pixel_is_missing_and_no_unit():
    image = IMAGE.copy()
    image[30, 30] = 1e200
    mask = image > 1e100
    plain = fg.fit_joint(IMAGE, PLACES, mask=mask)
    assert_allclose(fg.fit_joint(image, PLACES).params, plain.params, rtol=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-300, 1e300), st.booleans(), st.sampled_from([np.float64, np.float32]))
def test_units_are_powers_of_two_that_make_pixels_moderate(size, counts, kind):
    with np.errstate(over="ignore", under="ignore"):
        image = np.array([[0.0, size], [2 * size, 1e300]]).astype(kind)
    exists = np.isfinite(image)
    exists[1, 1] = False
    unit = unit_of_picture(image, exists, counts)
    shown = np.abs(image[exists].astype(float))
    if not (shown > 0).any():
        assert unit == 1.0
        return
    usual = shown[shown > 0].max() * unit
    assert np.frexp(unit)[0] == 0.5 and 1e-7 < usual < 1e13
