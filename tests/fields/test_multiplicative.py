"""Multiplicative updates of amplitudes: MLEM and simultaneous MART."""

import numpy as np
import pytest
from field_cases import dense, problem
from numpy.testing import assert_allclose

import fastgauss as fg


def poisson(field, volume, a, w=1.0):
    model = field.render(a)
    lit = model > 0
    part = np.where(lit, volume * np.log(np.where(lit, model, 1.0)) - model, 0.0)
    return (w * part).sum()


def test_mlem_climbs_the_likelihood_and_keeps_counts():
    field, truth, _, rng = problem(16)
    volume = rng.poisson(20 * field.render(np.abs(truth))).astype(float)
    lit = field.render(np.ones(20)) > 0
    w = rng.uniform(0.5, 1.5, volume.shape)
    for weights, factor in ((None, 1.0), (w, w)):
        a = np.ones(20)
        best = poisson(field, volume, a, factor)
        for _ in range(12):
            a = field.multiplicative_update(volume, a, weights=weights)
            now = poisson(field, volume, a, factor)
            assert now >= best - 1e-9 * abs(best)
            best = now
            counts = (factor * field.render(a)).sum()
            np.testing.assert_allclose(counts, (factor * volume)[lit].sum(), rtol=1e-12)


@pytest.mark.parametrize("rule", ["mlem", "smart"])
@pytest.mark.parametrize("relaxation", [1.0, 0.5])
def test_an_update_is_what_it_says(rule, relaxation):
    field, _, _, rng = problem(17)
    volume, a = rng.uniform(0.5, 2, field.grid.shape), rng.uniform(0.5, 2, 20)
    volume[3, 4] = np.nan
    matrix = dense(field)
    w = np.where(np.isnan(volume), 0, 1.0).ravel()
    model = a @ matrix
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where((w > 0) & (model > 0), volume.ravel() / model, 1.0)
    if rule == "mlem":
        ratio = np.where(model > 0, ratio, 0.0)
        factor = ((matrix @ (w * ratio)) / (matrix @ w)) ** relaxation
    else:
        factor = np.exp(relaxation * (matrix @ (w * np.log(ratio))) / (matrix @ w))
    got = field.multiplicative_update(volume, a, rule, relaxation)
    np.testing.assert_allclose(got, a * factor, rtol=1e-12)


@pytest.mark.parametrize("rule", ["mlem", "smart"])
def test_updates_find_the_amplitudes_and_leave_the_unseen(rule):
    field = fg.GaussianField((30,), [[6.0], [12.0], [80.0], [21.0]], 1.2)
    truth = np.array([3.0, 1.0, 5.0, 2.0])
    volume = field.render(truth)
    a = np.array([1.0, 1.0, 7.0, 1.0])
    for _ in range(40):
        a = field.multiplicative_update(volume, a, rule)
    np.testing.assert_allclose(a, [3, 1, 7, 2], rtol=1e-4)
    zero = field.multiplicative_update(volume, [0.0, 1.0, 0.0, 1.0], rule)
    assert zero[0] == 0 and zero[2] == 0 and np.isfinite(zero).all()
    dark = field.multiplicative_update(np.zeros(30), 1.0, rule)
    assert dark.tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"volume": np.full(9, -1.0)}, ValueError, "volume must not be negative, got -1"),
        ({"amplitudes": [-2.0]}, ValueError, "amplitudes must not be negative, got -2"),
        ({"amplitudes": [1.0, 2.0]}, ValueError, "amplitudes must be one number or of shape"),
        ({"rule": "art"}, ValueError, "rule must be one of"),
        ({"relaxation": 0.0}, ValueError, "relaxation must be"),
        ({"weights": np.ones(3)}, ValueError, r"weights must have the grid's shape \(9,\)"),
    ],
)
def test_bad_updates_are_refused(options, error, words):
    field = fg.GaussianField((9,), [[3.0]], 1.0)
    with pytest.raises(error, match=words):
        field.multiplicative_update(**{"volume": np.ones(9), "amplitudes": 1.0, **options})


def test_a_dark_node_far_out_puts_a_particle_out_without_nan():
    field = fg.GaussianField((100,), [[20.0], [75.0]], 1.0, radius=60)
    volume = field.render([1.0, 2.0])
    volume[70:] = 0.0
    assert_allclose(field.multiplicative_update(volume, 1.0, "smart"), [1.0, 0.0])
