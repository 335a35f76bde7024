"""Joint fits with point spread functions: beside their twin, single fits, and in a crowd."""

import numpy as np
import pytest
from naive_joint import ASIDE, PLACES, ROTATED, THREE, both, cluster
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial import KDTree

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.models.field_terms import Extent
from fastgauss.models.psf_field import psf_field

compiled = pytest.mark.skipif(JIT_DISABLED, reason="too many pixels for plain Python")
WINGS = fg.psf_model([0.6, 0.3, 0.1], [1.2, 2.0, 4.0])
FIELD = psf_field(
    1, 0, Extent(80, 80), np.array([0.7, 0.3]), np.array([[1.2, 2.2], [0.1, 0.1], [0.25, 0.25]])
)


@compiled
@pytest.mark.parametrize(
    ("model", "method", "pixel"),
    [
        (THREE, "lsq", "sample"), (THREE, "mle", "integrate"), (ROTATED, "mle", "integrate"),
        (ASIDE, "lsq", "integrate"), (ASIDE, "mle", "sample"),
    ],
)  # fmt: skip
def test_solution_and_errors_are_those_of_one_dense_model(model, method, pixel):
    image, truth, start = cluster(model, pixel=pixel)
    both(image, truth, start, model, method=method, pixel=pixel)


def test_two_stars_are_fitted_as_one_model():
    image, truth, start = cluster(THREE, count=2)
    both(image, truth, start, THREE, box=15, background=10.0, fixed={"x": start[:, 1]})


@compiled
def test_stars_may_be_bounded_and_share_a_width():
    image, truth, start = cluster(ASIDE)
    truth[:, 3] = 1.05
    light = truth.copy()
    light[1:, -1] = 0.0
    image = np.random.default_rng(3).poisson(fg.image(light, image.shape, ASIDE).sum(axis=0))
    options = {"positions": start[:, 2:0:-1], "model": ASIDE, "box": 23, "shared": "width"}
    found = fg.fit_joint(image, **options)
    assert found.converged.all()
    assert_array_equal(found.width, found.width[0])
    assert abs(found.width[0] - 1.05) < 5 * found.errors[0, 3]
    most = 0.95 * found.flux.max()
    held = fg.fit_joint(image, **options, bounds={"flux": (0.0, most)})
    brightest = np.arange(4) == found.flux.argmax()
    assert_array_equal(held.at_bound[:, 0], brightest)
    assert_array_equal(held.status, np.where(brightest, fg.Status.AT_BOUND, fg.Status.CONVERGED))
    assert held.flux.max() == most and held.objective.sum() > found.objective.sum()


@compiled
@pytest.mark.parametrize("model", [WINGS, WINGS.with_width(), ROTATED, FIELD])
def test_an_isolated_star_has_the_solution_of_fit_spots(model):
    star = [5000.0, 40.2, 39.7, *[1.1] * (len(model.names) - 4), 10.0]
    image = np.random.default_rng(1).poisson(fg.image(star, (80, 80), model))
    options = {"box": 13, "tol": 1e-9}
    alone = fg.fit_spots(image, [[40, 40]], model, **options)
    joint = fg.fit_joint(image, [[40, 40]], model, **options)
    assert joint.model == model and joint.converged.all()
    assert_allclose(joint.params, alone.params, rtol=1e-8)
    assert_allclose(joint.errors, alone.errors, rtol=1e-8)
    assert_allclose(joint.objective, alone.objective, rtol=1e-8)
    assert_allclose(joint.flux_error, joint.errors[:, 0])


@compiled
def test_a_bright_star_shines_as_far_as_its_wings_stand_out_of_the_noise():
    stars = np.array([[1e6, 30.2, 40.1, 0.0], [500.0, 48.7, 40.4, 0.0]])
    image = fg.image(stars, (80, 80), WINGS).sum(axis=0) + 50.0
    found = fg.fit_joint(image, stars[:, 2:0:-1] + 0.2, WINGS, weights=1.0 / image)
    assert found.converged.all()
    assert_allclose(found.params[:, :3], stars[:, :3], rtol=1e-6)
    assert_allclose(found.render(image.shape), image, atol=0.01)  # of a noise of 7


def field_of_stars(model, count, seed=0, side=80):
    """Counts of stars of three decades of flux at random places, and their parameters."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(3, side - 4, (count, 2))
    truth = np.column_stack([10 ** rng.uniform(2.5, 5, count), places, np.zeros(count)])
    clean = fg.image(truth, (side, side), model).sum(axis=0) + 50.0
    return rng.poisson(clean).astype(np.float64), clean, truth


@compiled
@pytest.mark.parametrize("model", [WINGS, FIELD])
def test_the_errors_of_a_crowd_are_true(model):
    pulls = []
    for seed in range(2):
        image, clean, truth = field_of_stars(model, 128, seed)
        places = truth[:, 2:0:-1]
        options = {"weights": 1.0 / clean, "background": "constant", "threads": 1}
        found = fg.fit_joint(image, places, model, **options)
        apart = KDTree(places).query(places, k=2)[0][:, 1] > 3.0
        good = apart & found.converged
        assert good.sum() > 0.97 * apart.sum()
        pulls.append((found.params - truth)[good, :3] / found.errors[good, :3])
    pulls = np.concatenate(pulls)
    assert_allclose(np.sqrt((pulls**2).mean(axis=0)), 1.0, atol=0.2)


@compiled
def test_stars_of_a_crowd_are_found_with_their_function():
    image, _, truth = field_of_stars(WINGS, 60, seed=4)
    places = truth[:, 2:0:-1]
    found = fg.fit_spots(image, model=WINGS, joint=True, background="constant", threads=1)
    alone = fg.fit_spots(image, model=WINGS)
    assert len(found) > len(alone)
    false = KDTree(places).query(found.positions)[0] > 1.0
    bright = truth[:, 0] > 3e3
    missed = KDTree(found.positions).query(places)[0] > 0.5
    assert false.sum() <= 1 and (missed & bright).sum() <= 3
    again = fg.fit_spots(image, model=WINGS, joint=True, background="constant", threads=2)
    assert_array_equal(again.params, found.params)


def moffat(stars, side, beta=2.5, fwhm=3.0):
    """The means over pixels of stars behind the atmosphere, from 5 x 5 points."""
    alpha = 0.5 * fwhm / np.sqrt(2 ** (1 / beta) - 1)
    points = (np.arange(5 * side) - 2) / 5
    total = np.zeros((5 * side, 5 * side))
    for flux, x, y in stars:
        square = np.add.outer((points - y) ** 2, (points - x) ** 2)
        total += flux * (beta - 1) / (np.pi * alpha**2) * (1 + square / alpha**2) ** -beta
    return total.reshape(side, 5, side, 5).mean(axis=(1, 3))


@compiled
def test_the_wings_of_bright_stars_are_no_stars():
    rng = np.random.default_rng(2)
    flux = np.append([1e6, 3e5, 5e5], 10 ** rng.uniform(2.7, 4.0, 20))
    stars = np.column_stack([flux, rng.uniform(8, 120, (23, 2))])
    image = rng.poisson(moffat(stars, 128) + 100.0 + 0.1 * np.arange(128))
    psf = fg.moffat_psf(3.0, 2.5)
    found = fg.fit_spots(
        image, model=psf, joint=True, background="plane", method="mle", pixel="integrate"
    )
    places = stars[:, :0:-1]
    assert (KDTree(places).query(found.positions)[0] < 1.0).all()
    missed = KDTree(found.positions).query(places)[0] > 1.0
    assert not missed[:3].any() and missed.sum() <= 2


@compiled
def test_two_stars_at_half_a_width_are_told_apart_by_a_test():
    stars = np.array([[2e4, 20.2, 19.8, 0.0], [2e4, 22.0, 20.2, 0.0]])
    clean = fg.image(stars, (40, 41), WINGS).sum(axis=0) + 20.0
    image = np.random.default_rng(0).poisson(clean)
    found = fg.fit_spots(image, model=WINGS, joint=True, split=1e-3, method="mle")
    assert len(found) == 2
    order = np.argsort(found.x)
    assert (abs(found.params[order, :3] - stars[:, :3]) < 5 * found.errors[order, :3]).all()


def test_what_has_no_meaning_in_a_joint_fit_is_refused():
    image = np.ones((31, 33))
    with pytest.raises(ValueError, match="model must have no source for a joint fit"):
        fg.fit_joint(image, PLACES[2], THREE.with_source())
    with pytest.raises(
        ValueError,
        match=r"model must have a known width .* free width>; fit with .* fit_joint with the free",
    ):
        fg.fit_spots(image, model=ASIDE, joint=True)
    with pytest.raises(ValueError, match=r"positions must be inside .* at index 1"):
        fg.fit_joint(np.ones((80, 80)), [[3.0, 3.0], [3.0, 130.0]], FIELD)
