"""Fits of stars whose point spread function varies over the image."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastgauss as fg
from fastgauss.models.field_terms import Extent
from fastgauss.models.psf_field import psf_field

SIDE = 120
PLACES = np.stack(np.meshgrid(*[np.arange(12.0, SIDE, 24)] * 2), axis=-1).reshape(-1, 2)
PLACES = PLACES + np.random.default_rng(0).uniform(-0.4, 0.4, PLACES.shape)  # x, y
PARAMS = np.column_stack([np.geomspace(2e3, 4e4, 25), PLACES, np.zeros(25)])
COEFFICIENTS = np.array([[1.2, 2.3, 0.05], [0.06, 0.06, 0.1], [0.25, 0.45, -0.1]])
KINDS = {"round": 0, "elliptic": 1}


def field(kind="round"):
    further = KINDS[kind]
    part = COEFFICIENTS[:, : 2 + further]
    return psf_field(1, further, Extent(SIDE, SIDE), np.array([0.7, 0.3]), part)


def picture(model):
    light = fg.image(PARAMS, (SIDE, SIDE), model).sum(axis=0)
    return light + np.random.default_rng(1).normal(20.0, 5.0, light.shape)


@pytest.mark.parametrize("kind", KINDS)
def test_each_fit_is_that_with_the_function_of_its_place(kind):
    model = field(kind)
    image = picture(model)
    found = fg.fit_spots(image, PLACES[:, ::-1], model, box=13)
    assert found.model == model and found.converged.all()
    for k, place in enumerate(PLACES[:, ::-1]):
        alone = fg.fit_spots(image, [place], model.at(place), box=13)
        assert_allclose(found.params[k], alone.params[0], rtol=1e-7)
        assert_allclose(found.errors[k], alone.errors[0], rtol=1e-6)
    pulls = (found.flux - PARAMS[:, 0]) / found.flux_error
    assert np.abs(pulls).max() < 4.0 and 0.6 < pulls.std() < 1.5


def test_the_bits_are_the_same_in_any_company():
    model = field()
    image = picture(model)
    every = fg.fit_spots(image, PLACES[:, ::-1], model, box=13, threads=1)
    order = np.random.default_rng(2).permutation(25)
    for rows in (order[:7], order[7:]):
        some = fg.fit_spots(image, PLACES[rows, ::-1], model, box=13, threads=2)
        assert_array_equal(some.params, every.params[rows])
        assert_array_equal(some.errors, every.errors[rows])


def test_stars_are_found_drawn_and_kept(tmp_path):
    model = field()
    image = picture(model)
    found = fg.fit_spots(image, model=model, box=13)
    assert len(found) == 25
    rest = image - found.render((SIDE, SIDE))
    assert np.abs(rest - np.median(rest)).max() < 0.1 * image.max()
    found.save(tmp_path / "stars.npz")
    again = fg.FitResult.load(tmp_path / "stars.npz")
    assert again.model == model
    assert_array_equal(again.params, found.params)


def test_starts_are_in_the_order_that_fits_of_other_models_have():
    """Arrays in another order are another type, for which the same kernel compiles once more."""
    start = field().placed(PLACES).from_start(np.arange(125.0).reshape(25, 5))
    assert start.flags.c_contiguous and start[3, 1:].tolist() == [16.0, 17.0, 19.0]


def test_an_image_may_have_no_stars():
    blank = np.random.default_rng(3).normal(10.0, 1.0, (SIDE, SIDE))
    assert len(fg.fit_spots(blank, np.empty((0, 2)), field())) == 0
    assert len(fg.fit_spots(blank, model=field(), threshold=1e3)) == 0


def test_what_has_no_places_is_refused():
    model = field()
    with pytest.raises(ValueError, match=r"model must be the same everywhere .* model.at\(pos"):
        fg.fit_rois(np.ones((2, 9, 9)), model)
    for wrapped, more in ((model.with_width(), "free width"), (model.with_source(), "Gaussian so")):
        with pytest.raises(ValueError, match=rf"take model.base.at\(.*, got <PsfField .*, {more}"):
            fg.fit_rois(np.ones((2, 9, 9)), wrapped)
    wide = np.ones((SIDE, SIDE + 1))
    for fit in (fg.fit_spots, fg.fit_joint):
        with pytest.raises(ValueError, match=r"image, of shape \(120, 121\), must be inside"):
            fit(wide, PLACES[:, ::-1], model)
        assert fit(wide[:, 1:], PLACES[:1, ::-1], model).model == model
    with pytest.raises(ValueError, match=r"positions must be inside .* at index 1"):
        fg.fit_spots(picture(model), [[3.0, 3.0], [3.0, 130.0]], model)
