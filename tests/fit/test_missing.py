"""Pixels that do not exist: masks, NaN and zero weights, and what is left of a spot."""

import naive_fit
import numpy as np
import pytest
from naive_fit import CASES
from numpy.testing import assert_allclose, assert_array_equal
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED

COUNT = 1 if JIT_DISABLED else 4
FIELDS = ("params", "covariance", "objective", "status", "iterations", "pixels", "dof")
TOO_FEW, NOT_FINITE = fg.Status.TOO_FEW_PIXELS, fg.Status.NOT_FINITE
METHODS = {
    "lsq": {},
    "weights": {"weights": 0.05},
    "mle": {"method": "mle"},
    "camera": {"method": "mle", "variance": 5.0},
}


def _method(kind, shape):
    """Options with a map of the shape of a ROI where there is a number."""
    return {k: v if isinstance(v, str) else np.full(shape, v) for k, v in METHODS[kind].items()}


def _gaps(rng, rois, truth, share=0.2):
    """A mask a ROI that leaves the pixels next to the centre."""
    mask = rng.random(rois.shape) < share
    for gone, params in zip(mask, truth, strict=True):
        middle = np.rint(params[rois.ndim - 1 : 0 : -1]).astype(int)
        gone[tuple(slice(c - 1, c + 2) for c in middle)] = False
    return mask


def _same_bits(one, other, rows=slice(None)):
    for field in FIELDS:
        assert_array_equal(getattr(one, field)[rows], getattr(other, field)[rows], field)


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_mask_nan_and_zero_weight_are_the_fit_of_the_pixels_that_exist(name, shape, kind):
    if JIT_DISABLED and len(shape) == 3 and kind != "mle":
        pytest.skip("slow as plain Python")
    rng = np.random.default_rng(1)
    rois, truth = naive_fit.poisson_spots(rng, COUNT, shape, name)
    mask = _gaps(rng, rois, truth)
    own = _method(kind, shape)
    masked = fg.fit_rois(rois, name, mask=mask, **own)
    naive_fit.assert_fits(masked, rois, truth, name, lambda k: {"mask": mask[k], **own})
    fits = [
        fg.fit_rois(np.where(mask, np.nan, rois), name, **own),
        fg.fit_rois(np.where(mask, -1e9, rois), name, mask=mask, **own),
        fg.fit_rois(np.where(mask, np.inf, rois), name, mask=mask, **own),
    ]
    if kind == "weights":
        zero = np.where(mask, 0.0, 0.05)
        fits += [
            fg.fit_rois(np.where(mask, garbage, rois), name, weights=zero)
            for garbage in (1e9, np.nan, np.inf)
        ]
    for again in fits:
        assert_array_equal(again.status, masked.status)
        assert_array_equal(again.pixels, masked.pixels)
        assert_allclose((again.params - masked.params) / masked.errors, 0,
                        atol=TOLERANCE["fit, standard errors"])  # fmt: skip
        assert_allclose(again.errors, masked.errors, rtol=TOLERANCE["fit errors"])
        assert_allclose(again.objective, masked.objective, rtol=TOLERANCE["fit objective"])


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_without_its_border_a_roi_is_a_smaller_roi(name, shape, kind):
    rois, _ = naive_fit.poisson_spots(np.random.default_rng(2), 2, shape, name)
    inner = (slice(1, -1),) * len(shape)
    mask = np.ones(shape, bool)
    mask[inner] = False
    small = rois[(slice(None), *inner)]
    whole = fg.fit_rois(rois, name, mask=mask, **_method(kind, shape))
    cut = fg.fit_rois(small, name, **_method(kind, small.shape[1:]))
    cut.params[:, 1 : len(shape) + 1] += 1
    assert_array_equal(whole.pixels, cut.pixels)
    assert_allclose(whole.params, cut.params, rtol=1e-6)
    assert_allclose(whole.errors, cut.errors, rtol=1e-4)


@pytest.mark.parametrize("pixel", ["sample", "integrate"])
@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize(("name", "shape"), CASES[1:2] if JIT_DISABLED else CASES)
def test_a_neighbour_does_not_change_the_bits_of_a_clean_roi(name, shape, kind, pixel):
    rois, _ = naive_fit.poisson_spots(np.random.default_rng(3), 18, shape, name, pixel)
    own = {"pixel": pixel, **_method(kind, shape)}
    clean = fg.fit_rois(rois, name, **own)
    assert clean.converged.all()
    changed = [0, 3, 9, 17]
    others = np.setdiff1d(np.arange(18), changed)
    for value in (np.nan, np.inf) if JIT_DISABLED else (np.nan, np.inf, -np.inf, 1e300, -1e30, 0):
        for where in ((0,) * len(shape), ...):
            ill = rois.copy()
            for k in changed:
                ill[k][where] = value
            _same_bits(fg.fit_rois(ill, name, **own), clean, others)
    _same_bits(fg.fit_rois(rois[others], name, **own), clean[others])


def test_one_mask_serves_all_and_each_may_have_its_own():
    rng = np.random.default_rng(4)
    rois, truth = naive_fit.poisson_spots(rng, 4, (9, 8), "symmetric")
    mask = _gaps(rng, rois, truth)
    shared = fg.fit_rois(rois, mask=mask[0])
    stacked = fg.fit_rois(rois, mask=np.stack([mask[0]] * 4))
    _same_bits(shared, stacked)
    together = fg.fit_rois(rois, mask=mask)
    for k in range(4):
        _same_bits(together[k], fg.fit_rois(rois[k : k + 1], mask=mask[k]))
    integers = fg.fit_rois(rois.astype(np.uint16), mask=mask)
    assert_allclose(integers.params, together.params, rtol=1e-9)
    listed = fg.fit_rois(rois.tolist(), mask=mask.tolist())
    _same_bits(listed, together)


def test_an_empty_mask_is_no_mask():
    rois, _ = naive_fit.poisson_spots(np.random.default_rng(5), 4, (9, 8), "elliptic")
    for own in ({}, {"method": "mle"}):
        plain = fg.fit_rois(rois, "elliptic", **own)
        masked = fg.fit_rois(rois, "elliptic", mask=np.zeros((9, 8), bool), **own)
        assert_allclose(masked.params, plain.params, rtol=TOLERANCE["fit, default tol"])
        assert_allclose(masked.errors, plain.errors, rtol=TOLERANCE["fit errors"])
        assert_array_equal(masked.pixels, plain.pixels)


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_too_few_pixels_are_a_status(name, shape, kind):
    rois, truth = naive_fit.poisson_spots(np.random.default_rng(6), 5, shape, name)
    size = truth.shape[1]
    flat = rois.reshape(5, -1)
    flat[1, size - 1 :] = np.nan
    flat[2, : 1 - size] = np.nan
    flat[3] = np.nan
    own = _method(kind, shape)
    result = fg.fit_rois(rois, name, **own)
    assert result.status[[0, 4]].tolist() == [0, 0]
    assert (result.status[1:4] == TOO_FEW).all()
    assert result.pixels.tolist() == [flat.shape[1], size - 1, size - 1, 0, flat.shape[1]]
    for field in ("params", "errors", "covariance", "objective"):
        assert np.isnan(getattr(result, field)[1:4]).all()
    flat[1, size - 1] = 12.0
    assert (fg.fit_rois(rois, name, **own).status == TOO_FEW).tolist() == [0, 0, 1, 1, 0]


@pytest.mark.parametrize("kind", METHODS)
def test_a_constraint_lets_fewer_pixels_do(kind):
    name, shape = CASES[2]
    rois, truth = naive_fit.poisson_spots(np.random.default_rng(6), 3, shape, name)
    size = truth.shape[1]
    flat = rois.reshape(3, -1)
    flat[1, size - 1 :] = np.nan
    flat[2] = np.nan
    own = _method(kind, shape)
    result = fg.fit_rois(rois, name, fixed={"offset": 10.0}, **own)
    assert (result.status[:2] != TOO_FEW).all() and result.status[2] == TOO_FEW
    assert result.dof.tolist()[1:] == [0, 1 - size]


@pytest.mark.parametrize("kind", METHODS)
def test_nan_is_missing_and_infinity_is_an_error(kind):
    rois, _ = naive_fit.poisson_spots(np.random.default_rng(7), 6, (9, 9), "symmetric")
    rois[0, 0, 0] = np.nan
    rois[1, 0, 0] = np.inf
    rois[2, 0, 0] = -np.inf
    rois[3] = np.inf
    rois[4, 0] = np.nan
    rois[4, 8, 8] = np.inf
    for data in (rois, rois.astype(np.float32)):
        result = fg.fit_rois(data, **_method(kind, (9, 9)))
        expected = [0, NOT_FINITE, NOT_FINITE, NOT_FINITE, NOT_FINITE, 0]
        assert result.status.tolist() == expected
        assert np.isnan(result.params[1:5]).all() and np.isfinite(result.params[[0, 5]]).all()
        assert result.pixels[[0, 5]].tolist() == [80, 81]


@pytest.mark.parametrize("pixel", ["sample", "integrate"])
@pytest.mark.parametrize("kind", ["lsq", "mle"])
@pytest.mark.parametrize("shape", [(6, 6), (3, 11), (12, 3), (4, 7), (3, 6, 7), (7, 8, 3), (5,)])
def test_even_and_narrow_rois_with_gaps(shape, kind, pixel):
    if JIT_DISABLED and len(shape) == 3:
        pytest.skip("slow as plain Python")
    rng, name = np.random.default_rng(8), "elliptic" if len(shape) == 3 else "symmetric"
    rois, truth = naive_fit.poisson_spots(rng, COUNT, shape, name, pixel, 900.0)
    if len(shape) > 1 and pixel == "sample":
        rois[_gaps(rng, rois, truth)] = np.nan
    own = {"pixel": pixel, "method": kind}
    result = fg.fit_rois(rois, name, max_iter=200, **own)
    naive_fit.assert_fits(result, rois, truth, name, lambda k: own)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("kind", METHODS)
def test_maps_of_an_image_are_cut_for_each_spot(kind, ndim):
    rng = np.random.default_rng(9)
    shape = (40, 44) if ndim == 2 else (11, 24, 26)
    centres = np.array([[5.2, 12.3, 8.6], [4.8, 12.1, 19.9]])[:, -ndim:] + (ndim == 2) * 7
    name = "elliptic"
    _, truth = naive_fit.poisson_spots(rng, 2, shape, name)
    truth[:, ndim:0:-1] = centres
    truth[:, -1] = 5.0
    image = rng.poisson(fg.image(truth, shape, name).sum(axis=0)).astype(float)
    mask = rng.random(shape) < 0.1
    image[rng.random(shape) < 0.05] = np.nan
    own = {k: v if isinstance(v, str) else v * rng.uniform(0.5, 2, shape)
           for k, v in METHODS[kind].items()}  # fmt: skip
    result = fg.fit_spots(image, centres, name, box=9, mask=mask, **own)
    assert result.converged.all()
    for k, centre in enumerate(np.rint(centres).astype(int)):
        first, last = np.maximum(centre - 4, 0), np.minimum(centre + 5, shape)
        window = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        cut = {n: v if isinstance(v, str) else v[window] for n, v in own.items()}
        alone = fg.fit_rois(image[window][np.newaxis], name, mask=mask[window], **cut)
        assert_array_equal(result.pixels[k], alone.pixels[0])
        assert_allclose(result.params[k, ndim:0:-1], alone.params[0, ndim:0:-1] + first, rtol=1e-7)
        assert_allclose(result.errors[k], alone.errors[0], rtol=TOLERANCE["fit errors"])


def test_a_window_without_data_keeps_its_row():
    image = np.random.default_rng(10).poisson(10.0, (40, 40)).astype(float)
    image += fg.image([300.0, 30.0, 30.0, 1.3, 0.0], (40, 40), "symmetric")
    image[:20, :20] = np.nan
    centres = [[8.0, 8.0], [30.0, 30.0], [-50.0, 8.0], [30.0, 31.0]]
    result = fg.fit_spots(image, centres[:3])
    assert result.status.tolist() == [TOO_FEW, 0, TOO_FEW]
    masked = fg.fit_spots(np.nan_to_num(image), centres[:3], mask=np.isnan(image), method="mle")
    assert masked.status.tolist() == [TOO_FEW, 0, TOO_FEW]
    assert result.pixels.tolist() == masked.pixels.tolist() == [0, 121, 0]


@pytest.mark.parametrize(
    ("mask", "error"),
    [
        (np.zeros((7, 8), bool), ValueError),
        (np.zeros((3, 7, 7), bool), ValueError),
        (np.zeros(2, bool), ValueError),
        (True, ValueError),
        (np.zeros((7, 7)), TypeError),
        (np.zeros((7, 7), int), TypeError),
        ("none", TypeError),
        ([[True], [True, False]], ValueError),
    ],
)
def test_a_bad_mask_is_named(mask, error):
    with pytest.raises(error, match="mask"):
        fg.fit_rois(np.ones((2, 7, 7)), mask=mask)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"mask": np.zeros((11, 11), bool)}, "mask"),
        ({"weights": np.ones((11, 11))}, "weights"),
        ({"weights": -np.ones((32, 32))}, "weights"),
        ({"variance": np.ones((32, 31)), "method": "mle"}, "variance"),
        ({"variance": np.full((32, 32), np.nan), "method": "mle"}, "variance"),
        ({"variance": np.ones((32, 32))}, "variance"),
    ],
)
def test_maps_must_fit_the_image(arguments, word):
    with pytest.raises(ValueError, match=word):
        fg.fit_spots(np.ones((32, 32)), [[9.0, 9.0]], **arguments)
