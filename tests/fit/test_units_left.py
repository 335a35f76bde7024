"""Results leave the unit of a fit: of one spot each or of all, by the same rules."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from fastgauss.fit.picture_units import in_callers_unit
from fastgauss.fit.units import Numbers, Unit
from fastgauss.kernels.numeric.packed_cholesky import packed_size, packed_symmetric
from fastgauss.models.model import get_model
from fastgauss.results.fit_result import FitResult
from fastgauss.results.rows import Rows

MODEL = get_model("elliptic", 2)
SIZE, SPOTS = MODEL.size, 5


def numbers(seed=0):
    rng = np.random.default_rng(seed)
    return Numbers(
        params=rng.normal(size=(SPOTS, SIZE)),
        errors=rng.uniform(size=(SPOTS, SIZE)),
        packed=rng.uniform(size=(SPOTS, packed_size(SIZE))),
        objective=rng.uniform(size=SPOTS),
        gradient=rng.normal(size=(SPOTS, SIZE)),
        grams=rng.normal(size=(SPOTS, packed_size(SIZE))),
    )


def powers(data, length):
    """Binary digits by which a unit raises each parameter, and each entry of a matrix of two."""
    own = np.zeros(SIZE, int)
    own[[0, -1]] = data
    own[1:-1] = length
    pairs = np.empty(packed_size(SIZE), int)
    for i in range(SIZE):
        for j in range(SIZE):
            pairs[packed_symmetric(i, j)] = own[i] + own[j]
    return own, pairs


@settings(deadline=None, max_examples=40)
@given(st.integers(-80, 80), st.integers(-80, 80), st.integers(-20, 20))
def test_every_number_leaves_by_the_powers_of_its_definition(data, root, length):
    unit = Unit(*(np.full(SPOTS, 2.0**k) for k in (data, root, length)))
    own, pairs = powers(data, length)
    for least_squares, covariance, known in (
        (True, "residual", 0), (True, "absolute", -2 * (root + data)), (True, "sandwich", -data),
        (False, "absolute", -data),
    ):  # fmt: skip
        loss = 2 * (root + data) if least_squares else data
        before, after = numbers(), numbers()
        unit.leave(unit.factors(MODEL), covariance, least_squares, after)
        assert_array_equal(after.params, np.ldexp(before.params, -own))
        assert_array_equal(after.packed, np.ldexp(before.packed, -pairs - known))
        assert_array_equal(after.objective, np.ldexp(before.objective, -loss))
        assert_array_equal(after.gradient, np.ldexp(before.gradient, own - loss))
        assert_array_equal(after.grams, np.ldexp(before.grams, pairs - loss))
        errors = before.errors * 2.0 ** (-own - known / 2)
        np.testing.assert_allclose(after.errors, errors, rtol=1e-15)


@pytest.mark.parametrize("unit", [2.0**-700, 2.0**-40, 2.0**90, 2.0**600])
@pytest.mark.parametrize(("counts", "weighted"), [(False, False), (False, True), (True, False)])
def test_the_unit_of_all_is_that_of_each(unit, counts, weighted):
    inside = numbers()
    column = np.zeros(SPOTS, int)
    rows = Rows(*inside[:1], inside.packed, inside.objective, *(column,) * 4, errors=inside.errors)
    result = FitResult(MODEL, rows, absolute=counts or weighted)
    found = in_callers_unit(result, unit, counts, weighted)
    power = np.log2(unit)
    own, _ = powers(int(power), 0)
    assert_array_equal(found.params, np.ldexp(inside.params, -own))
    assert_array_equal(inside.params, numbers().params)  # the result that was given keeps its own
    with np.errstate(over="ignore", under="ignore"):
        loss = power * (1 if counts else 0 if weighted else 2)
        halved = np.ldexp(inside.objective, -int(loss) // 2)
        assert_array_equal(found.objective, np.ldexp(halved, -(int(loss) - int(loss) // 2)))
    errors = np.ldexp(inside.errors, -own) * np.sqrt(unit if counts else 1.0)
    np.testing.assert_allclose(found.errors, errors, rtol=1e-15)
