"""Point spread functions that vary over an image: each place has a sum of Gaussians of its own."""

import json
import pickle

import naive_psf
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastgauss as fg
from fastgauss.models.field_terms import Extent, least, terms
from fastgauss.models.psf_field import from_constants, psf_field

HIGH, WIDE = 60, 80
WEIGHTS = np.array([0.7, 0.3])
PLACES = np.array([[12.3, 9.1], [70.2, 8.8], [40.1, 30.4], [9.7, 50.2], [69.9, 49.6]])  # x, y


def field(order=1, further=0):
    """Sigmas from about 1 to 1.4 along x, and an ellipse that turns."""
    rows = [[1.2, 2.3, 0.1, 0.05], [0.03, -0.04, 0.1, 0.1], [0.2, 0.3, -0.15, 0.2]]
    rows += [[0.02, 0.0, 0.01, 0.0], [0.0, 0.03, 0.0, 0.05], [-0.04, 0.01, 0.02, 0.0]]
    part = np.array(rows)[: (3, 6)[order - 1], : 2 + further]
    return psf_field(order, further, Extent(HIGH, WIDE), WEIGHTS, part)


EVERY = [(1, 0), (1, 1), (1, 2), (2, 0), (2, 2)]
of_every_kind = pytest.mark.parametrize("kind", EVERY)


def twin(model, place):
    """The components of a place, from the definition."""
    y, x = 2 * (place[1] + 0.5) / HIGH - 1, 2 * (place[0] + 0.5) / WIDE - 1
    numbers = np.array([1, y, x, y * y, y * x, x * x])[: len(model.coefficients)]
    *sigmas, e, d = np.append(numbers @ model.coefficients, [0.0, 0.0])[:4]
    values, vectors = np.linalg.eigh(np.array([[e, d], [d, -e]]))
    theta = np.arctan2(vectors[1, 1], vectors[0, 1])
    found = []
    for w, s in zip(WEIGHTS, sigmas, strict=True):
        found.append((w, 0, 0, s * np.exp(values[1] / 2), s * np.exp(values[0] / 2), theta))
    return found


@of_every_kind
def test_each_star_has_the_function_of_its_place(kind):
    model = field(*kind)
    params = np.column_stack([np.arange(500.0, 505.0), PLACES, np.arange(5.0)])
    images = fg.image(params, (HIGH, WIDE), model)
    y, x = np.mgrid[:HIGH, :WIDE]
    for image, row in zip(images, params, strict=True):
        assert_allclose(
            image, naive_psf.values(twin(model, row[1:3]), x, y, row), rtol=1e-10, atol=1e-30
        )
        alone = model.at(row[2:0:-1]).image((HIGH, WIDE), row[2:0:-1], flux=row[0], offset=row[3])
        assert_allclose(image, alone, rtol=1e-10, atol=1e-30)
    assert_allclose(model.widths(params)[:, 0], [model.at(p[::-1]).own_sigma for p in PLACES])
    assert_array_equal(model.flux(params), params[:, 0])


@of_every_kind
def test_kernels_get_the_numbers_of_each_place(kind):
    model = field(*kind)
    placed = model.placed(PLACES)
    wanted = [model.at(place[::-1]).known for place in PLACES]
    assert_allclose(placed.known, wanted, rtol=1e-9, atol=1e-14)
    assert_array_equal(placed.rows(np.array([3, 1])).known, placed.known[[3, 1]])
    start = np.array([[10.0, 1.0, 2.0, 1.3, 5.0]] * 5)
    wanted = [model.at(place[::-1]).from_start(start[:1])[0] for place in PLACES]
    assert_allclose(placed.from_start(start), wanted, rtol=1e-9)


@pytest.mark.parametrize("order", [1, 2])
def test_the_least_value_of_a_polynomial_is_found(order):
    numbers = np.random.default_rng(3).normal(size=((3, 6)[order - 1], 400))
    numbers[3:, ::7] = 0.0  # some are planes, some are level along an axis
    y, x = (each.ravel() for each in np.meshgrid(*[np.linspace(-1, 1, 301)] * 2))
    shown = (terms(order, y, x) @ numbers).min(axis=0)
    found = least(order, numbers)
    assert (found <= shown + 1e-12).all()
    assert_allclose(found, shown, atol=1e-3)


def test_derivatives_hold_the_function_of_the_place():
    model, row = field(2, 2), [500.0, 40.1, 30.4, 3.0]
    x, y = np.array([39.0, 41.5]), np.array([30.0, 31.0])
    wanted = naive_psf.slopes(twin(model, PLACES[2]), x, y, row)
    assert_allclose(fg.jacobian((x, y), row, model), wanted, rtol=1e-9, atol=1e-12)


def test_middle_and_range_are_told():
    model = field()
    assert model.order == 1 and model.shape == (HIGH, WIDE)
    middle = model.at(((HIGH - 1) / 2, (WIDE - 1) / 2))
    assert (model.fwhm, model.peak, model.own_sigma) == (middle.fwhm, middle.peak, middle.own_sigma)
    assert_array_equal(model.components, middle.components)
    assert "2 Gaussians, order 1, 60 x 80 px, FWHM" in repr(model)


@of_every_kind
def test_files_and_pickles_keep_it(kind, tmp_path):
    model, path = field(*kind), tmp_path / "psf.json"
    model.save(path)
    assert json.loads(path.read_text())["version"] == 3
    assert fg.PsfField.load(path) == pickle.loads(pickle.dumps(model)) == model
    with pytest.raises(ValueError, match="its version is 3, and version 1 can be read"):
        fg.PsfModel.load(path)
    model.at((0, 0)).save(path)
    with pytest.raises(ValueError, match="its version is 1, and version 3 can be read"):
        fg.PsfField.load(path)


@pytest.mark.parametrize(
    "change",
    [
        {0: 0.0}, {0: 9.0}, {0: 1.5}, {1: 0.0}, {1: 3.0}, {2: 3.0}, {3: 0.0}, {3: 200.5},
        {4: 1e300}, {7: 0.9}, {9: float("nan")}, {9: 1e9}, {9: 0.1}, {11: -1.3}, {14: 2.5},
        {9: "a"}, {9: None}, {9: True},
    ],
)  # fmt: skip
def test_numbers_that_are_none_of_it_are_refused(change, tmp_path):
    numbers = list(field().constants)
    for where, value in change.items():
        numbers[where] = value
    with pytest.raises(ValueError, match=r"^it(s| has) "):
        from_constants(numbers)
    with pytest.raises(ValueError, match="it has"):
        from_constants(field().constants[:-1])
    path = tmp_path / "psf.json"
    told = {"format": "fastgauss point spread function", "version": 3, "constants": numbers}
    for content in (told, told | {"constants": 3}, told | {"constants": numbers[:5]}):
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError, match="holds no point spread function"):
            fg.PsfField.load(path)


def test_other_coordinates_and_places_outside():
    model = field()
    moved = model.shifted(10, 20.0)
    assert moved.at((5.0, 7.0)) == model.at((15.0, 27.0))
    with pytest.raises(ValueError, match=r"position must be inside .* \(60, 80\).*\(59.6, 3.0\)"):
        model.at((59.6, 3.0))
    with pytest.raises(ValueError, match="position must be inside"):
        moved.at((55.0, 3.0))
    with pytest.raises(ValueError, match="row must be finite"):
        model.shifted(np.inf, 0)
    with pytest.raises((TypeError, ValueError), match="position"):
        model.at("here")
