"""Point spread functions outside of the package: JSON files and models of astropy."""

import copy
import json
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastgauss as fg
from fastgauss.models import psf_files

PSF = fg.psf_model([0.7, 0.4, -0.1], [[1.1, 1.3], [2.0, 2.2], [0.9, 0.9]], theta=[0.3, 0.0, 0.0])


def written(path, change):
    """A file of a model, changed."""
    PSF.save(path)
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))
    return path


def test_a_file_has_plain_keys_and_a_version(tmp_path):
    PSF.save(tmp_path / "psf.json")
    told = json.loads((tmp_path / "psf.json").read_text())
    assert list(told) == ["format", "version", "components"] and told["version"] == 1
    assert told["components"][2] == {
        "weight": -0.1 / (0.7 + 0.4 - 0.1), "x": 0.0, "y": 0.0, "sigma_x": 0.9, "sigma_y": 0.9,
        "theta": 0.0,
    }  # fmt: skip
    assert fg.PsfModel.load(str(tmp_path / "psf.json")) == PSF


@pytest.mark.parametrize("pixel", ["sample", "integrate"])
def test_a_file_keeps_the_kind_of_pixel_that_it_is_for(tmp_path, pixel):
    path = tmp_path / "psf.json"
    PSF.save(path)
    assert psf_files.pixel_of(path) is None
    PSF.save(path, pixel=pixel)
    assert psf_files.pixel_of(path) == pixel and fg.PsfModel.load(path) == PSF


def test_other_kinds_of_pixels_are_refused(tmp_path):
    with pytest.raises(ValueError, match="pixel must be one of"):
        PSF.save(tmp_path / "psf.json", pixel="mean")
    assert not list(tmp_path.iterdir())
    for pixel in ("mean", None, 1):
        path = written(tmp_path / "psf.json", lambda told, pixel=pixel: told.update(pixel=pixel))
        with pytest.raises(ValueError, match="holds no point spread function: pixel must be"):
            psf_files.pixel_of(path)


def test_a_file_that_is_no_json_is_told_without_the_words_of_the_parser(tmp_path):
    path = tmp_path / "one.csv"
    path.write_text("y,x\n1,2\n")
    with pytest.raises(ValueError, match=r"function: it is no JSON file$"):
        fg.PsfModel.load(path)


@pytest.mark.parametrize("version", [2, 0, "1", None, True, 1.0, 1e400])
def test_other_versions_are_refused(tmp_path, version):
    path = written(tmp_path / "psf.json", lambda told: told.update(version=version))
    with pytest.raises(ValueError, match=r"its version is .*, and version 1 can be read"):
        fg.PsfModel.load(path)


@pytest.mark.parametrize("missing", ["version", "components"])
def test_what_a_file_lacks_is_named(tmp_path, missing):
    path = written(tmp_path / "psf.json", lambda told: told.pop(missing))
    with pytest.raises(ValueError, match=f"it has no '{missing}'"):
        fg.PsfModel.load(path)


@pytest.mark.parametrize("part", range(0, 400, 37))
def test_a_file_that_ends_too_early_is_refused_in_one_line(tmp_path, part):
    path = tmp_path / "psf.json"
    PSF.save(path)
    whole = path.read_bytes()
    for damaged in (whole[:part], whole[:part] + b"\xff\0" + whole[part + 2 :]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="holds no point spread function") as refusal:
            fg.PsfModel.load(path)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("components", [{}, {"weight": 1.0}, "weight", 3, None, [3], [None]])
def test_components_of_another_kind_are_refused(tmp_path, components):
    path = written(tmp_path / "psf.json", lambda told: told.update(components=components))
    with pytest.raises(ValueError, match="holds no point spread function"):
        fg.PsfModel.load(path)


# -- astropy -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pixel", ["sample", "integrate"])
def test_a_model_of_astropy_has_the_same_values_and_slopes(pixel):
    modeling = pytest.importorskip("astropy.modeling")
    star = PSF.to_astropy(pixel)
    star.flux, star.x_0, star.y_0 = 40.0, 4.2, 3.1
    assert isinstance(star, modeling.Fittable2DModel)
    y, x = np.mgrid[:7.0, :9.0]
    expected = PSF.image((7, 9), (3.1, 4.2), flux=40.0, pixel=pixel)
    assert_allclose(star(x, y), expected, rtol=1e-12)
    slopes = star.fit_deriv(x, y, 40.0, 4.2, 3.1)
    for k, (name, slope) in enumerate(zip(star.param_names, slopes, strict=True)):
        ahead, behind = star.parameters.copy(), star.parameters.copy()
        ahead[k], behind[k] = ahead[k] + 1e-5, behind[k] - 1e-5
        rise = star.evaluate(x, y, *ahead) - star.evaluate(x, y, *behind)
        assert_allclose(slope, rise / 2e-5, atol=1e-7, err_msg=name)


def test_astropy_fits_copies_and_stores_the_model():
    fitting = pytest.importorskip("astropy.modeling.fitting")
    y, x = np.mgrid[:11.0, :11.0]
    data = PSF.image((11, 11), (5.3, 4.8), flux=500.0, pixel="integrate")
    start = PSF.to_astropy("integrate")
    start.flux, start.x_0, start.y_0 = 300.0, 5.0, 5.0
    found = fitting.TRFLSQFitter()(start, x, y, data)
    assert_allclose(found.parameters, [500.0, 4.8, 5.3], rtol=1e-6)
    for other in (found.copy(), copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert_array_equal(other(x, y), found(x, y))


def test_a_pixel_of_another_name_is_refused():
    with pytest.raises(ValueError, match="pixel must be one of"):
        PSF.to_astropy("whole")
