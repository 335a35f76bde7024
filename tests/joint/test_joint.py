"""fit_joint beside its twin, beside single fits, and on many threads."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from naive_joint import PLACES, Twin, both, cluster
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial import KDTree
from tolerances import TOLERANCE

import fastgauss as fg
from fastgauss.joint import covariances
from fastgauss.joint.coordinates import Coordinates
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.models.model import get_model

plain = pytest.mark.skipif(not JIT_DISABLED, reason="larger tests try these compiled")
compiled = pytest.mark.skipif(JIT_DISABLED, reason="too many pixels for plain Python")
MODELS = [("symmetric", 2), ("elliptic", 2), ("rotated", 2), ("symmetric", 3), ("elliptic", 3)]


@compiled
@pytest.mark.parametrize("method", ["lsq", "mle"])
@pytest.mark.parametrize(("name", "ndim"), MODELS)
def test_solution_and_errors_are_those_of_one_dense_model(name, ndim, method):
    image, truth, start = cluster(name, ndim)
    both(image, truth, start, name, method=method)


def test_two_spots_are_fitted_as_one_model():
    image, truth, start = cluster(count=2)
    both(image, truth, start, box=15, background=10.0, fixed={"sigma": 1.3})


@compiled
@pytest.mark.parametrize("method", ["lsq", "mle"])
def test_light_below_the_noise_moves_nothing_that_can_be_seen(method):
    image, truth, start = cluster()
    places = start[:, 2:0:-1]
    result = fg.fit_joint(image, places, guess=start, box=11, method=method)
    twin = Twin(image, places, box=11, method=method)
    params, spread = twin.report(twin.solve(truth, np.zeros_like(truth, bool)))
    errors = np.sqrt(np.diagonal(spread, axis1=1, axis2=2))
    assert_allclose((result.params - params) / errors, 0, atol=TOLERANCE["far light"])
    assert_allclose(result.errors, errors, rtol=TOLERANCE["far light"])


@compiled
def test_the_unit_of_the_image_does_not_matter():
    image, _, start = cluster()
    places, unit = start[:, 2:0:-1], np.array([1e3, 1, 1, 1, 1e3])
    result = fg.fit_joint(image, places, guess=start)
    scaled = fg.fit_joint(1e3 * image, places, guess=start * unit)
    assert_allclose(result.params * unit, scaled.params, rtol=1e-6)
    assert_allclose(result.errors * unit, scaled.errors, rtol=1e-6)


@compiled
@pytest.mark.parametrize(
    ("name", "method"),
    [("symmetric", "lsq"), ("symmetric", "mle"), ("elliptic", "mle"), ("rotated", "lsq")],
)
def test_an_isolated_spot_has_the_solution_of_fit_spots(name, method):
    image, truth, _ = cluster(name, count=1)
    places = truth[:, 2:0:-1].round()
    alone = fg.fit_spots(image, places, name, box=13, method=method, tol=1e-7)
    joint = fg.fit_joint(image, places, name, box=13, method=method, tol=1e-7)
    tolerance = TOLERANCE["fit, standard errors"]
    assert_allclose((joint.params - alone.params) / alone.errors, 0, atol=tolerance)
    assert_allclose(joint.errors, alone.errors, rtol=TOLERANCE["fit errors"])
    assert_allclose(joint.covariance, alone.covariance, rtol=1e-3, atol=1e-6)
    assert_allclose(joint.objective, alone.objective, rtol=TOLERANCE["fit objective"])
    for key in ("pixels", "dof", "status"):
        assert_array_equal(getattr(joint, key), getattr(alone, key))
    assert_allclose(joint.p_value, alone.p_value, rtol=1e-6)


def crowd(count=300, side=150, seed=1):
    """A Poisson image of spots at random places, many of which overlap, and their parameters."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(5, side - 5, (count, 2))
    heights = rng.uniform(100, 300, count)
    image = rng.poisson(fg.render((side, side), places, heights, 1.3, tol=1e-8) + 10.0)
    truth = np.column_stack([heights, places[:, ::-1], np.full(count, 1.3), np.full(count, 10.0)])
    return image.astype(np.float64), truth


@compiled
@pytest.mark.parametrize("background", ["local", "plane"])
@pytest.mark.parametrize("method", ["lsq", "mle"])
def test_the_same_bits_for_any_number_of_threads(method, background):
    image, truth = crowd(800, 250)  # four tasks of 256 spots
    options = {"method": method, "background": background, "max_iter": 8}
    places = truth[:, 2:0:-1]
    first = fg.fit_joint(image, places, threads=1, **options)
    for threads in (2, 3):
        other = fg.fit_joint(image, places, threads=threads, **options)
        for key in ("params", "covariance", "objective", "status", "iterations"):
            assert_array_equal(getattr(first, key), getattr(other, key))


@compiled
def test_a_crowd_is_recovered_and_its_errors_are_true():
    image, truth = crowd()
    result = fg.fit_joint(image, truth[:, 2:0:-1], method="mle", fixed={"sigma": 1.3})
    apart = KDTree(truth[:, 1:3]).query(truth[:, 1:3], k=2)[0][:, 1] > 2.6
    assert result.converged.mean() > 0.95
    good = result.converged & apart & (result.status != fg.Status.AT_BOUND)
    assert good.sum() > 200
    pull = (result.params - truth)[good, :3] / result.errors[good, :3]
    assert_allclose(pull.std(axis=0), 1.0, atol=0.15)
    assert abs(pull.mean(axis=0)).max() < 4 / np.sqrt(good.sum())


@compiled
def test_errors_in_a_long_chain_are_those_of_the_whole_matrix():
    rng = np.random.default_rng(3)
    truth = np.column_stack([
        np.full(25, 200.0), 8 + 3.1 * np.arange(25), 12 + rng.uniform(-1, 1, 25),
        np.full(25, 1.3), np.full(25, 10.0),
    ])  # fmt: skip
    light = truth * [1, 1, 1, 1, 0]
    image = rng.poisson(10 + fg.image(light, (24, 90), "symmetric").sum(axis=0)).astype(float)
    result = fg.fit_joint(image, truth[:, 2:0:-1], guess=truth, tol=1e-7)
    twin = Twin(image, truth[:, 2:0:-1])
    vector = twin.solve(truth, np.zeros_like(truth, bool))
    params, spread = twin.report(vector)
    errors = np.sqrt(np.diagonal(spread, axis1=1, axis2=2))
    assert_allclose((result.params - params) / errors, 0, atol=TOLERANCE["far light"])
    assert_allclose(result.errors, errors, rtol=TOLERANCE["joint errors, chain"])


@compiled
@pytest.mark.parametrize("seed", range(8))
def test_ten_turned_spots_come_back_overlapping_ones_too(seed):
    path = Path(__file__).resolve().parents[2] / "examples" / "ten_turned_spots.py"
    truth, each = runpy.run_path(str(path))["make"](seed)
    result = fg.fit_joint(each.sum(axis=0), truth[:, 2:0:-1], "rotated", box=25)
    assert result.converged.all()
    assert_allclose(result.params, truth, atol=TOLERANCE["ten rotated spots"])


@compiled
def test_the_order_of_positions_does_not_matter():
    image, _, _ = cluster()
    rotated = fg.fit_joint(image, PLACES[2][::-1], box=13)
    assert_allclose(rotated.params[::-1], fg.fit_joint(image, PLACES[2], box=13).params, rtol=1e-5)


SMALL = {  # a few pixels, so that the kernels run as plain Python too
    "local": {},
    "plane": {"background": "plane"},
    "shared": {"background": "constant", "shared": "sigma"},
    "counts": {"method": "mle", "background": "constant", "bounds": {"sigma": (0.5, 3.0)}},
    "known": {"background": np.full((11, 13), 10.0), "fixed": {"sigma": 1.2}},
}


@plain
@pytest.mark.parametrize("word", SMALL)
def test_two_spots_of_a_small_image_are_found_again(word):
    truth = np.array([[90.0, 4.2, 5.1, 1.2, 10.0], [60.0, 7.4, 5.8, 1.2, 0.0]])
    image = fg.image(truth, (11, 13), model="symmetric").sum(axis=0)
    start = truth[:, [2, 1]] + [[0.3, -0.2], [-0.2, 0.3]]
    result = fg.fit_joint(image, start, box=9, **SMALL[word])
    assert result.converged.all()
    np.testing.assert_allclose(result.params[:, :4], truth[:, :4], rtol=1e-4)


@plain
def test_two_turned_spots_of_a_small_image_are_found_again():
    truth = np.array([[90.0, 4.2, 5.1, 1.5, 1.0, 0.4, 10.0], [60.0, 7.9, 5.8, 1.4, 0.9, 1.1, 0.0]])
    image = fg.image(truth, (11, 13)).sum(axis=0)
    result = fg.fit_joint(image, truth[:, [2, 1]], "rotated", box=9)
    np.testing.assert_allclose(result.params[:, :6], truth[:, :6], rtol=1e-3)


def test_a_spot_with_a_variance_below_zero_has_no_errors(monkeypatch):
    blocks = np.array([np.eye(6), np.diag([1.0, 1.0, 1.0, -1e-9, 1.0, 1.0])])
    monkeypatch.setattr(covariances, "_blocks", lambda *_: (blocks, np.array([True, True])))
    ends = np.full((2, 5), -np.inf), np.full((2, 5), np.inf), None
    shared = SimpleNamespace(columns=())
    image = SimpleNamespace(coordinates=Coordinates(get_model("elliptic", 2), True))
    solver = SimpleNamespace(
        image=image, limits=ends, tied=np.zeros(5, bool), terms=1, shared=shared
    )
    state = SimpleNamespace(u=np.zeros((2, 5)))
    _, sound = covariances.covariances(solver, state, np.ones((2, 1)))
    assert sound.tolist() == [True, False]
