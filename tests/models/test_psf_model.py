"""Point spread functions: values, derivatives, shape, equality, files, and what is refused."""

import json
import pickle

import naive_psf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

PARAMS = (870.0, 4.3, 5.2, 12.0)
ROUND = [(0.6, 0, 0, 1.1, 1.1), (0.3, 0, 0, 1.9, 1.9), (0.1, 0, 0, 4.5, 4.5)]
SKEW = [(0.7, 0.2, -0.1, 1.0, 1.3), (0.5, -0.4, 0.3, 2.2, 1.7), (-0.2, 0.1, 0.0, 0.7, 0.9)]
ALONE = [(1.0, 0, 0, 1.4, 1.4)]
MANY = [(0.125, 0.05 * k, 0.0, 0.8 + 0.3 * k, 1.0 + 0.2 * k) for k in range(8)]


ROTATED = [(0.7, 0, 0, 1.9, 1.2, 0.5), (0.2, 0.3, -0.2, 3.0, 3.0, 0), (0.1, 0, 0, 2.0, 4.0, -1.1)]


def psf_of(parts):
    weights, x, y, sigma_x, sigma_y, *theta = np.array(parts, float).T
    sigmas, offsets = np.column_stack([sigma_y, sigma_x]), np.column_stack([y, x])
    return fg.psf_model(weights, sigmas, offsets=offsets, theta=theta[0] if theta else None)


# -- values ------------------------------------------------------------------------------------


def assert_is_the_twin(psf, parts, params, pixel):
    y, x = np.indices((9, 11)).astype(float)
    expected = naive_psf.values(parts, x, y, params, pixel)
    assert_allclose(fg.evaluate((x, y), params, psf, pixel), expected, rtol=1e-13)
    assert_allclose(fg.image(params, (9, 11), psf, pixel), expected, rtol=1e-13)
    slopes = naive_psf.slopes(parts, x, y, params, pixel)
    size = np.abs(slopes).max(axis=(0, 1))
    assert_allclose(fg.jacobian((x, y), params, psf, pixel) / size, slopes / size, atol=1e-12)


@pytest.mark.parametrize("pixel", ["sample", "integrate"])
@pytest.mark.parametrize(
    "parts", [ALONE, ROUND, SKEW, MANY, ROTATED], ids=["1", "3", "skew", "8", "rotated"]
)
def test_values_and_derivatives_are_those_of_the_twin(parts, pixel):
    psf = psf_of(parts)
    assert_is_the_twin(psf, parts, PARAMS, pixel)


@pytest.mark.parametrize("pixel", ["sample", "integrate"])
@pytest.mark.parametrize("parts", [ROUND, SKEW, ROTATED], ids=["3", "skew", "rotated"])
def test_a_free_width_scales_the_whole_profile(parts, pixel):
    psf, params = psf_of(parts).with_width(), [*PARAMS[:3], 1.17, PARAMS[3]]
    assert psf.names == ("flux", "x", "y", "width", "offset") and psf.with_width() == psf
    assert_is_the_twin(psf, parts, params, pixel)
    many = np.array([params, [10.0, 3.0, 3.5, 0.8, 0.0]])
    some = fg.jacobian((3.0, 4.0), many, psf, pixel)
    assert_allclose(some[0], fg.jacobian((3.0, 4.0), params, psf, pixel), rtol=1e-13)
    assert_allclose(psf.widths(many)[:, 0], psf_of(parts).own_sigma * many[:, 3], rtol=1e-15)
    if not JIT_DISABLED:  # of many pixels
        whole = fg.image([250.0, 61.3, 64.8, 1.17, 0.0], (121, 131), psf, "integrate")
        assert_allclose(whole.sum(), 250.0, rtol=1e-10 if parts is not ROTATED else 1e-6)
    assert pickle.loads(pickle.dumps(psf)) == psf
    assert repr(psf) == f"{repr(psf_of(parts))[:-1]}, free width>"


def test_one_component_is_the_symmetric_model():
    psf, sigma = psf_of(ALONE), ALONE[0][3]
    same = [PARAMS[0] / (2 * np.pi * sigma**2), *PARAMS[1:3], sigma, PARAMS[3]]
    for pixel in ("sample", "integrate"):
        expected = fg.image(same, (9, 11), "symmetric", pixel)
        assert_allclose(fg.image(PARAMS, (9, 11), psf, pixel), expected, rtol=1e-12)
    by_symmetric = fg.jacobian((3.0, 4.0), same, "symmetric")
    expected = by_symmetric[[0, 1, 2, 4]] / [2 * np.pi * sigma**2, 1, 1, 1]
    assert_allclose(fg.jacobian((3.0, 4.0), PARAMS, psf), expected, rtol=1e-12)


@pytest.mark.parametrize("parts", [ROUND, SKEW, MANY], ids=["3", "skew", "8"])
def test_the_flux_is_the_sum_over_pixels(parts):
    picture = psf_of(parts).image((121, 131), (61.3, 64.8), flux=250.0, pixel="integrate")
    assert_allclose(picture.sum(), 250.0, rtol=1e-10)


def test_many_stars_broadcast_and_write_to_out():
    psf = psf_of(ROUND)
    params = np.array([PARAMS, (10.0, 3.0, 3.5, 0.0)])
    out = np.zeros((2, 7, 8))
    assert fg.image(params, (7, 8), psf, out=out) is out
    y, x = np.indices((7, 8))
    assert_allclose(fg.evaluate((x, y), params[:, None, None], psf), out, rtol=1e-14)
    slopes = np.zeros((7, 8, 4))
    assert fg.jacobian((x, y), params[1], psf, out=slopes) is slopes
    assert_array_equal(slopes, fg.jacobian((x, y), params[1], psf))


# -- shape -------------------------------------------------------------------------------------


def test_the_width_is_that_at_half_the_peak():
    gauss = 2 * np.sqrt(2 * np.log(2))
    assert_allclose(fg.psf_model([2.0], [1.4]).fwhm, gauss * 1.4, rtol=1e-9)
    assert_allclose(fg.psf_model([1.0], [[1.2, 2.1]]).fwhm, gauss * np.sqrt(1.2 * 2.1), rtol=1e-6)
    psf = psf_of(ROUND)
    middle, half = (fg.evaluate((r, 0.0), [1.0, 0.0, 0.0, 0.0], psf) for r in (0.0, 0.5 * psf.fwhm))
    assert_allclose([middle, half], [psf.peak, 0.5 * psf.peak], rtol=1e-9)


def test_the_peak_is_found_where_components_lie_apart():
    psf = fg.psf_model([0.5, 0.5], [1.0, 1.5], offsets=[[0.0, 2.0], [0.0, 2.5]])
    grid = np.linspace(1.0, 3.0, 4001)
    best = fg.evaluate((grid, np.zeros(1)), [1.0, 0.0, 0.0, 0.0], psf).max()
    assert_allclose(psf.peak, best, rtol=1e-7)


def test_a_model_is_a_value(tmp_path):
    psf = fg.psf_model([6, 3, 1], [1.1, 1.9, 4.5])
    assert psf == psf_of(ROUND) and hash(psf) == hash(psf_of(ROUND)) and len({psf, psf}) == 1
    assert psf != fg.psf_model([6, 3, 1], [1.1, 1.9, 4.6])
    assert pickle.loads(pickle.dumps(psf)) == psf
    assert repr(psf) == "<PsfModel of 3 Gaussians, FWHM 2.78 px>"
    assert_allclose(psf.components["weight"], [0.6, 0.3, 0.1], rtol=1e-15)
    assert_array_equal(psf.components["sigma_x"], [1.1, 1.9, 4.5])
    with pytest.raises(AttributeError):
        psf.constants = ()
    psf.save(tmp_path / "psf.json")
    assert fg.PsfModel.load(tmp_path / "psf.json") == psf


def test_covariances_are_turned_sigmas(tmp_path):
    psf, parts = psf_of(ROTATED), []
    for _, _, _, sigma_x, sigma_y, theta in ROTATED:
        along, across = (
            np.array([np.sin(theta), np.cos(theta)]),
            np.array([np.cos(theta), -np.sin(theta)]),
        )  # y before x
        parts.append(sigma_x**2 * np.outer(along, along) + sigma_y**2 * np.outer(across, across))
    offsets = [part[2:0:-1] for part in ROTATED]
    other = fg.psf_model([7, 2, 1], covariances=parts, offsets=offsets)
    for pixel in ("sample", "integrate"):
        expected = fg.image(PARAMS, (9, 11), psf, pixel)
        assert_allclose(fg.image(PARAMS, (9, 11), other, pixel), expected, rtol=1e-12)
    assert_allclose(other.fwhm, psf.fwhm, rtol=1e-9)
    along = fg.psf_model([1.0], covariances=[np.diag([4.0, 9.0])])
    assert along == fg.psf_model([1.0], [[2.0, 3.0]])
    psf.save(tmp_path / "psf.json")
    assert fg.PsfModel.load(tmp_path / "psf.json") == psf


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"theta": [0.1]}, r"theta must have shape \(2,\), got \(1,\)"),
        ({"theta": [0.1, np.nan]}, "theta must be finite"),
        ({"covariances": np.ones((2, 2, 2))}, "must be None with covariances"),
        ({"sigmas": None}, "sigmas must hold real numbers"),
        ({"sigmas": None, "covariances": np.ones((2, 2))}, "covariances must have 3 dimensions"),
        ({"sigmas": None, "covariances": np.ones((1, 2, 2))}, r"covariances must have shape \(2"),
        ({"sigmas": None, "covariances": np.ones((2, 2, 2))}, "must be positive definite"),
        ({"sigmas": None, "covariances": [[[2, 1], [0, 2]]] * 2}, "must be symmetric"),
        ({"sigmas": None, "covariances": [1e-9 * np.eye(2)] * 2}, "must be between 0.001"),
    ],
)
def test_bad_angles_and_covariances_are_named(options, reason):
    given = {"sigmas": [[1.0, 2.0]] * 2} | options
    with pytest.raises((ValueError, TypeError), match=reason):
        fg.psf_model([1.0, 1.0], **given)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.floats(1e-9, 1e9), st.floats(0.01, 1e5)), min_size=1, max_size=8),
    st.floats(1e-3, 1e3),
)
def test_weights_are_parts_and_numbers_come_back_to_the_bit(tmp_path_factory, parts, factor):
    weights, sigmas = np.array(parts).T
    psf = fg.psf_model(weights, sigmas)
    assert_allclose(psf.components["weight"], weights / weights.sum(), rtol=1e-13)
    assert_allclose(fg.psf_model(factor * weights, sigmas).constants, psf.constants, rtol=1e-13)
    path = tmp_path_factory.mktemp("psf") / "a.json"
    psf.save(path)
    assert fg.PsfModel.load(path) == psf
    assert psf.peak > 0 and psf.fwhm > 0


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "sigmas", "offsets", "reason"),
    [
        ([], [], None, r"weights must be of 1 to 8 components, got 0"),
        ([1.0] * 9, [1.0] * 9, None, r"weights must be of 1 to 8 components, got 9"),
        ([1.0, -2.0], [1.0, 2.0], None, r"weights must have a positive sum, got \[1.0, -2.0\]"),
        ([1.0, -1.0], [1.0, 2.0], None, r"weights must have a positive sum, got \[1.0, -1.0\]"),
        ([0.0], [1.0], None, r"weights must have a positive sum, got \[0.0\]"),
        ([1.0, np.nan], [1.0, 2.0], None, r"weights must be finite, got nan at index \(1,\)"),
        (2.0, [1.0], None, r"weights must have 1 dimension"),
        ([1.0, 1.0], [1.0, 0.0], None, r"sigmas must be between .* got 0.0 at index \(1,\)"),
        ([1.0], [-1.0], None, r"sigmas must be between .* got -1.0"),
        ([1.0], [np.inf], None, r"sigmas must be finite"),
        ([1.0, 1.0], [1.0], None, r"sigmas must have shape \(2,\) or \(2, 2\) for 2 weights"),
        ([1.0], [[1.0, 2.0, 3.0]], None, r"sigmas must have shape"),
        ([1.0], [1.0], [[1.0]], r"offsets must have shape \(1, 2\), got \(1, 1\)"),
        ([1.0], [1.0], [[1.0, -1e9]], r"offsets must be at most"),
    ],
)
def test_bad_numbers_are_named(weights, sigmas, offsets, reason):
    with pytest.raises(ValueError, match=reason):
        fg.psf_model(weights, sigmas, offsets=offsets)


def test_bad_kinds_are_named():
    with pytest.raises(TypeError, match="weights must hold real numbers"):
        fg.psf_model(["a"], [1.0])
    psf = fg.psf_model([1.0], [1.0])
    with pytest.raises(ValueError, match="params must have a last axis of 4"):
        fg.image([1.0, 2.0, 3.0, 1.0, 0.0], (5, 5), psf)
    with pytest.raises(ValueError, match="model must have 3 dimensions for this"):
        fg.image([1.0, 2.0, 3.0, 1.0], (5, 5, 5), psf)
    with pytest.raises(TypeError, match="path must be the name of a file, got 3"):
        psf.save(3)


@pytest.mark.parametrize(
    "text",
    [
        "", "nothing", "[]", "{}", '{"format": "fastgauss point spread function"}', "[" * 10**5,
        '{"format": "fastgauss point spread function", "components": []}',
        '{"format": "fastgauss point spread function", "components": [{"weight": 1}]}',
    ],
    ids=range(8),
)  # fmt: skip
def test_files_of_anything_are_refused(tmp_path, text):
    path = tmp_path / "psf.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"psf\.json holds no point spread function"):
        fg.PsfModel.load(path)


@pytest.mark.parametrize("value", [None, "1", True, [1.0], -1.0, float("nan"), 10**400])
def test_wrong_numbers_in_a_file_are_refused(tmp_path, value):
    path = tmp_path / "psf.json"
    fg.psf_model([1.0, 2.0], [1.0, 2.0]).save(path)
    told = json.loads(path.read_text())
    told["components"][1]["sigma_x"] = value
    path.write_text(json.dumps(told))
    with pytest.raises(ValueError, match=r"psf\.json holds no point spread function"):
        fg.PsfModel.load(path)
