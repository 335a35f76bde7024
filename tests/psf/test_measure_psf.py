"""Point spread functions measured from images of stars whose profile is known."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial import KDTree

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.models.field_terms import Extent
from fastgauss.psf.profiles import Form, free_of, local, numbers_of, values, with_order
from fastgauss.psf.result import _coefficient_errors, _model
from fastgauss.psf.rounds import check_stars

pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="the search of spots is slow")
SIDE = 115
PLACES = np.stack(np.meshgrid(np.arange(22.0, SIDE, 35), np.arange(22.0, SIDE, 35)), axis=-1)
PLACES = PLACES.reshape(-1, 2) + np.random.default_rng(1).uniform(-0.5, 0.5, (9, 2))  # x, y
FLUX = np.geomspace(6e3, 9e4, 9)
NUMBERS = np.array([0.65, 0.35]), np.array([1.2, 2.3]), np.array([0.15, 0.1])


def light(places, flux, shape="round", pixel="sample", numbers=NUMBERS, side=SIDE):
    """Stars without sky."""
    form = Form(len(numbers[0]), shape, pixel)
    grid = np.arange(float(side))
    x, y = (grid - place[:, None] for place in np.asarray(places, float).T)
    return np.tensordot(flux, values(form, free_of(form, *numbers), y, x), 1)


def counts(shape="round", pixel="sample", seed=0):
    sky = 30.0 + 0.1 * np.arange(SIDE)
    return np.random.default_rng(seed).poisson(light(PLACES, FLUX, shape, pixel) + sky)


def near(found, places):
    return KDTree(places).query(np.stack([found["x"], found["y"]], axis=1))


@pytest.mark.parametrize(
    ("shape", "pixel"), [("round", "sample"), ("elliptic", "integrate"), ("rotated", "sample")]
)
def test_the_shape_and_its_errors_are_right(shape, pixel):
    found = fg.measure_psf(counts(shape, pixel), components=2, shape=shape, pixel=pixel)
    size = np.hypot(*NUMBERS[2])
    further = {
        "round": [], "elliptic": [np.exp(-NUMBERS[2][0])],
        "rotated": [np.exp(-size), 0.5 * np.arctan2(NUMBERS[2][1], NUMBERS[2][0])],
    }  # fmt: skip
    truth = np.concatenate([*NUMBERS[:2], further[shape]])
    assert len(found.stars) >= 8
    pulls = (found.params - truth) / found.errors
    assert np.abs(pulls).max() < 4.0, dict(zip(found.names, pulls, strict=True))
    assert (found.errors < 0.1 * truth).all()
    assert 0.9 < found.reduced_chi2 < 1.1
    assert found.pixel == pixel and found.names[-1] in ("sigma_2", "ratio", "theta")
    side = np.arange(-8.0, 9.0)[None]
    form = Form(2, shape, pixel)
    wanted = values(form, free_of(form, *NUMBERS), side, side)[0]
    assert_allclose(found.model.image((17, 17), pixel=pixel), wanted, atol=0.01 * wanted.max())


def test_stars_have_fluxes_and_places_with_errors():
    told = []
    found = fg.measure_psf(counts(), components=2, progress=lambda *given: told.append(given))
    assert told == [(k, 7) for k in range(1, 8)]
    assert (np.diff(found.stars["flux"]) < 0).all()
    _, row = near(found.stars, PLACES)
    assert len(set(row)) == len(row) >= 8
    for name, truth in (("x", PLACES[row, 0]), ("y", PLACES[row, 1]), ("flux", FLUX[row])):
        pulls = (found.stars[name] - truth) / found.stars[f"{name}_error"]
        assert np.abs(pulls).max() < 4.5 and 0.5 < pulls.std() < 1.6, name
    assert_allclose(found.stars["offset"], 30 + 0.1 * PLACES[row, 0], atol=1.5)
    assert found.residuals.shape == (len(row), *found.residuals.shape[1:])
    assert_allclose(found.growth["data"], found.growth["model"], atol=0.01)
    assert (np.diff(found.growth["model"])[found.growth["radius"][1:] < 15] > 0).all()
    profile = found.profile
    assert_allclose(profile["data"], profile["model"], atol=6 * profile["error"].max())


def test_the_wings_of_a_moffat_profile_need_several_gaussians():
    psf = fg.moffat_psf(3.0, 3.0, tol=1e-4)
    parts = psf.components
    numbers = parts["weight"], parts["sigma_x"], np.zeros(2)
    image = np.random.default_rng(2).poisson(light(PLACES, 5 * FLUX, numbers=numbers) + 50.0)
    biases = []
    for components in ("auto", 1):
        found = fg.measure_psf(image, components=components)
        ratio = found.stars["flux"] / (5 * FLUX)[near(found.stars, PLACES)[1]]
        biases.append(abs(np.median(ratio) - 1.0))
        wings = (found.profile["radius"] > 6) & (found.profile["radius"] < 15)
        misses = found.profile["data"] - found.profile["model"]
        biases.append(np.sqrt(np.mean(misses[wings] ** 2)))
    assert biases[0] < 0.01 < 0.05 < biases[2]
    assert biases[1] < 0.15 * biases[3]


def test_wings_are_not_taken_for_sky():
    side, places = 210, np.array([[52.2, 51.7], [158.4, 53.0], [51.8, 157.9], [157.6, 158.1]])
    alpha2, beta = 1.5**2 / (2.0 ** (1 / 2.5) - 1.0), 2.5
    y, x = np.mgrid[: 3 * side, : 3 * side] / 3.0 - 1 / 3
    light = np.zeros((side, side))
    for column, row in places:  # means over 3 x 3 points
        r2 = (x - column) ** 2 + (y - row) ** 2
        fine = (beta - 1) / (np.pi * alpha2) * (1.0 + r2 / alpha2) ** -beta
        light += fine.reshape(side, 3, side, 3).mean(axis=(1, 3))
    image = np.random.default_rng(3).poisson(2e6 * light + 100.0)
    found = fg.measure_psf(image, pixel="integrate")
    assert len(found.stars) == 4
    assert abs(np.median(found.stars["flux"]) / 2e6 - 1.0) < 0.003


# -- what varies over the image ----------------------------------------------------------------


def varying_counts(seed=0):
    """Stars whose widths grow by 30 percent along x, and the same stars' true widths."""
    y, x = np.mgrid[:SIDE, :SIDE]
    wide = 1.0 + 0.3 * ((PLACES[:, 0] + 0.5) / SIDE - 0.5)
    total = np.full((SIDE, SIDE), 30.0)
    for (column, row), flux, scale in zip(PLACES, 10 * FLUX[::-1], wide, strict=True):
        r2 = (x - column) ** 2 + (y - row) ** 2
        for weight, sigma in zip(NUMBERS[0], scale * NUMBERS[1], strict=True):
            total += flux * weight / (2 * np.pi * sigma**2) * np.exp(-0.5 * r2 / sigma**2)
    return np.random.default_rng(seed).poisson(total), wide


def test_widths_that_vary_over_the_image_are_measured():
    image, wide = varying_counts()
    slopes = []
    for order in (0, 1):
        found = fg.measure_psf(image, components=2, order=order)
        stars = fg.fit_spots(image, PLACES[:, ::-1], found.model, box=15)
        ratio = stars.flux / (10 * FLUX[::-1]) - 1
        slopes.append(abs(np.polyfit(PLACES[:, 0], ratio, 1)[0] * SIDE))
    assert slopes[1] < 0.003 + 0.003 < 0.05 < slopes[0]  # and its noise
    assert 0.9 < found.reduced_chi2 < 1.1 and len(found.stars) >= 8
    for place, scale in zip(PLACES, wide, strict=True):
        own = found.model.at(place[::-1]).components["sigma_x"]
        assert_allclose(own, scale * NUMBERS[1], rtol=0.03)
    assert found.coefficient_errors.shape == found.model.coefficients.shape == (3, 2)
    pulls = found.model.coefficients[1] / found.coefficient_errors[1]  # along y nothing varies
    assert np.abs(pulls).max() < 4.0
    assert_allclose(found.params, np.concatenate(NUMBERS[:2]), atol=5 * found.errors.max())
    assert_allclose(found.growth["data"], found.growth["model"], atol=0.01)
    assert_allclose(found.profile["data"], found.profile["model"], atol=0.002)


@pytest.mark.parametrize("shape", ["round", "rotated"])
def test_errors_of_coefficients_are_those_of_the_parameters(shape):
    rng, further = np.random.default_rng(1), {"round": 0, "rotated": 2}[shape]
    form, start = with_order(
        Form(2, shape, "sample"),
        np.array([0.7, 0.1, 0.2, 0.1, -0.1])[: 3 + further],
        2,
        Extent(80.0, 90.0),
    )
    start = start + 0.05 * rng.normal(size=start.shape)
    root = 1e-4 * rng.normal(size=(form.whole, form.whole))
    drawn = start + rng.normal(size=(4000, form.whole)) @ root.T
    models = np.stack([_model(form, each).coefficients for each in drawn])
    places = np.array([[3.0, 40.0], [70.0, 9.0]])
    wanted = numbers_of(form, local(form, start, places)).sigmas
    middle = _model(form, start)
    for place, sigmas in zip(places, wanted, strict=True):
        assert_allclose(middle._shapes(place).sigmas, sigmas, rtol=1e-12)
    errors = _coefficient_errors(form, start, root @ root.T)
    assert_allclose(errors, models.std(axis=0), rtol=0.06)


def test_stars_must_tell_how_the_shape_varies():
    image, _ = varying_counts()
    with pytest.raises(ValueError, match=r"order=2 needs 12 stars .*, got 9"):
        fg.measure_psf(image, order=2)
    with pytest.raises(ValueError, match=r"order=1 needs 6 stars .*, got 3"):
        fg.measure_psf(image, PLACES[:3, ::-1], order=1)

    class Line:
        class known:
            places = np.array([[x, 57.0] for x in range(10, 100, 9)])

        class picture:
            shape = (SIDE, SIDE)

        chosen = slice(None)

    with pytest.raises(ValueError, match="order=1 needs stars that are spread over the image"):
        check_stars(Line, 1)


# -- what disturbs -----------------------------------------------------------------------------


def test_neighbours_in_the_boxes_do_no_harm():
    rng = np.random.default_rng(7)
    beside = PLACES + 11.0 * np.stack([np.cos(a := rng.uniform(0, 6, 9)), np.sin(a)], axis=1)
    scene = light(np.concatenate([PLACES, beside]), np.concatenate([FLUX, 0.3 * FLUX]))
    found = fg.measure_psf(rng.poisson(scene + 40.0), PLACES[:, ::-1], components=2)
    assert len(found.stars) >= 8
    pulls = (found.params - np.concatenate(NUMBERS[:2])) / found.errors
    assert np.abs(pulls).max() < 5.0


def test_stars_in_the_wings_of_others_are_found_and_are_no_part_of_the_shape():
    rng = np.random.default_rng(7)
    beside = PLACES + 6.0 * np.stack([np.cos(a := rng.uniform(0, 6, 9)), np.sin(a)], axis=1)
    scene = light(np.concatenate([PLACES, beside]), 20 * np.concatenate([FLUX, 0.008 * FLUX]))
    found = fg.measure_psf(rng.poisson(scene + 40.0), components=2)
    assert len(found.stars) == 9
    late = found.refused[found.refused["reason"] == "found beside brighter stars"]
    assert len(late) == 9 and (near(late, beside)[0] < 1.0).all()
    assert_allclose(found.params, np.concatenate(NUMBERS[:2]), rtol=0.005)  # 0.01 without them
    told = fg.measure_psf(rng.poisson(scene + 40.0), PLACES[:, ::-1], components=2)
    assert_allclose(told.params, np.concatenate(NUMBERS[:2]), rtol=0.005)
    assert len(told.refused) == 0  # only those that were given have reasons


def test_a_star_whose_neighbour_is_found_late_is_refused():
    places = np.append(PLACES, PLACES[-1:] + np.array([4.5, 0.0]), axis=0)
    scene = light(places, np.append(FLUX, 0.04 * FLUX[-1]))
    found = fg.measure_psf(np.random.default_rng(8).poisson(scene + 40.0), components=2)
    reasons = found.refused["reason"][near(found.refused, places[-2:])[0] < 1.0]
    assert sorted(reasons) == ["a neighbour too near or too bright", "found beside brighter stars"]


def test_pixels_that_do_not_exist_have_no_say():
    image = counts().astype(float)
    rng = np.random.default_rng(4)
    missing = rng.random(image.shape) < 0.02
    found = fg.measure_psf(np.where(missing, np.nan, image), components=2)
    other = fg.measure_psf(np.where(missing, 1e9, image), components=2, mask=missing)
    masked = fg.measure_psf(np.ma.array(image, mask=missing), components=2)
    for again in (other, masked):
        assert_allclose(again.params, found.params, rtol=1e-9)
        assert_array_equal(again.stars["pixels"], found.stars["pixels"])
    assert "saturated or missing pixels in the core" in found.refused["reason"]
    assert_allclose(found.params, np.concatenate(NUMBERS[:2]), atol=5 * found.errors.max())


def test_saturated_stars_are_refused_with_and_without_being_told():
    image = counts()
    top = int(np.sort(image.ravel())[-6])
    flat = np.minimum(image, top)
    alone, told = (
        fg.measure_psf(flat, components=2),
        fg.measure_psf(flat, saturation=top, components=2),
    )
    real = fg.measure_psf(0.37 * flat, components=2)  # no longer integers
    assert_allclose(real.params, told.params, rtol=1e-6)
    assert len(real.refused) == len(told.refused)
    for found in (alone, told):
        assert "saturated or missing pixels in the core" in found.refused["reason"]
        assert_allclose(found.params, np.concatenate(NUMBERS[:2]), atol=5 * found.errors.max())


def test_wild_pixels_and_a_galaxy_are_left_out():
    image = counts(seed=6).astype(float)
    hit = np.random.default_rng(5).integers(0, SIDE, (2, 40))
    image[tuple(hit)] += 3000.0
    places = np.array([[74.0, 74.0]])
    image += light(places, [3e4], numbers=(np.ones(1), np.array([2.6]), np.zeros(2)))
    found = fg.measure_psf(image, components=2)
    reasons = found.refused["reason"][near(found.refused, places)[0] < 2]
    assert set(reasons) & {"unlike the other stars", "a neighbour too near or too bright"}
    assert near(found.stars, places)[0].min() > 5
    assert np.abs((found.params - np.concatenate(NUMBERS[:2])) / found.errors).max() < 5.0


def test_the_unit_of_the_pixels_does_not_matter():
    image = counts().astype(float)
    found = fg.measure_psf(image, components=2)
    other = fg.measure_psf(3e-7 * image - 5e-3, components=2)
    assert_allclose(other.params, found.params, rtol=1e-3)
    assert_allclose(other.stars["flux"], 3e-7 * found.stars["flux"], rtol=1e-3)
    assert_allclose(other.stars["offset"], 3e-7 * found.stars["offset"] - 5e-3, rtol=1e-3)
    huge = fg.measure_psf(1e300 * image, components=2)  # squares of its light overflow
    for name in huge.profile.dtype.names:
        assert_allclose(huge.profile[name], found.profile[name], rtol=1e-3, atol=1e-6)


def test_threads_and_a_wrong_width_of_the_search_change_nothing():
    image = counts()
    found = fg.measure_psf(image, components=2, threads=1)
    other = fg.measure_psf(image, components=2, threads=3)
    assert_allclose(other.params, found.params, rtol=1e-12)
    for option in ({"sigma": 0.7}, {"fwhm": 8.0}):
        assert_allclose(
            fg.measure_psf(image, components=2, **option).params, found.params, rtol=0.1
        )


def test_known_errors_are_used():
    rng = np.random.default_rng(9)
    error = np.where(np.arange(SIDE) < 65, 3.0, 30.0) * np.ones((SIDE, 1))
    image = light(PLACES, FLUX) + 10 + error * rng.normal(size=error.shape)
    found = fg.measure_psf(image, components=2, error=error)
    assert 0.9 < found.reduced_chi2 < 1.1
    ratio = found.stars["flux_error"] / 3.0
    right = found.stars["x"] > 85
    assert ratio[right].min() > 5 * np.median(ratio[found.stars["x"] < 50])
    assert np.abs((found.params - np.concatenate(NUMBERS[:2])) / found.errors).max() < 4.0


def test_a_single_star_and_a_small_image_do():
    image = light([[14.2, 15.7]], [5e4], side=31)
    image = image + np.random.default_rng(0).normal(0, 2, image.shape)
    found = fg.measure_psf(image, components=2)
    assert len(found.stars) == 1 and len(found.refused) == 0
    assert np.abs((found.params - np.concatenate(NUMBERS[:2])) / found.errors).max() < 4.0
    assert "1 star, 0 refused" in repr(found)


def test_a_gaussian_is_one_component():
    # two of nearly the same width made the FWHM 1 % too small
    rng = np.random.default_rng(1)
    places = np.stack([rng.uniform(8, 248, 100), rng.uniform(8, 292, 100)], axis=1)
    fluxes = 10 ** rng.uniform(3, 5, 100)
    light = fg.render((256, 300), places, fluxes / (2 * np.pi * 1.6**2), 1.6, tol=1e-8)
    found = fg.measure_psf(rng.poisson(light + 200.0))
    assert len(found.params) == 2 and found.params[0] == 1.0
    assert_allclose(found.params[1], 1.6, atol=4 * found.errors[1])
    assert_allclose(found.model.fwhm, 1.6 * np.sqrt(8 * np.log(2)), rtol=2e-3)


@pytest.mark.parametrize("components", [1, 3, 8])
def test_as_many_components_as_are_asked_for(components):
    found = fg.measure_psf(counts(), components=components)
    assert len(found.model.components) == components
    assert_allclose(found.model.components["weight"].sum(), 1.0, rtol=1e-12)


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"components": 0}, "components must be at least 1, got 0"),
        ({"components": 9}, "components must be at most 8"),
        ({"components": "many"}, "components must be one of"),
        ({"order": 3}, "order must be at most 2, got 3"),
        ({"order": -1}, "order must be at least 0"),
        ({"shape": "square"}, "shape must be one of"),
        ({"pixel": "whole"}, "pixel must be one of"),
        ({"box": 10}, "box must be odd, got 10"),
        ({"box": 3}, "box must be at least 7"),
        ({"box": 7}, "box must be at least 9 pixels for these stars, whose sigma is 1.3"),
        ({"positions": [[9.0, 500.0]]}, r"positions must be inside .* \(9.0, 500.0\) at index 0"),
        ({"positions": np.empty((0, 2))}, "positions must hold a star"),
        ({"positions": [[np.nan, 3.0]]}, "positions must be finite"),
        ({"sigma": 0.0}, "sigma must be .* at least 0.3"),
        ({"mask": np.zeros((3, 3), bool)}, "mask must have the image's shape"),
        ({"error": np.zeros((SIDE, SIDE))}, "error must be positive"),
        ({"mask": np.ones((SIDE, SIDE), bool)}, "image must"),
        ({"saturation": 0.0}, "image must"),
        ({"saturation": 60.0}, "of whose pixels .* are masked or saturated"),
        ({"saturation": 600.0, "positions": PLACES[-3:, ::-1]},
         "of 3 stars, 3 with the reason 'saturated or missing pixels in the core'"),
        ({"positions": [[3.0, 75.0]]}, r"of 1 star, 1 with the reason 'too faint'"),
        ({"positions": [[0.0, 70.0]]}, r"of 1 star, 1 with the reason 'too near the border'"),
    ],
)  # fmt: skip
def test_bad_input_is_named(options, reason):
    with pytest.raises(ValueError, match=reason):
        fg.measure_psf(counts(), **options)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.full((40, 40), np.nan), "image must"),
        (np.zeros((40, 40)), "image must show stars"),
        (np.random.default_rng(0).normal(size=(60, 60)), "image must"),
        (np.zeros((3, 40, 40)), "image must have 2 dimensions"),
        (np.zeros((0, 40)), "image must"),
    ],
)
def test_images_without_stars_are_told(image, reason):
    with pytest.raises(ValueError, match=reason):
        fg.measure_psf(image)
