"""Groups of localisations: the least sum of squares, by brute force, and what is combined."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

import fastgauss as fg


def least_sum(squares):
    """The least cost of one frame, by trying all links: rows stay alone at a cost of 1."""
    rows, ends = squares.shape
    best = np.inf
    for choice in itertools.product(range(-1, ends), repeat=rows):
        taken = [k for k in choice if k >= 0]
        if len(set(taken)) == len(taken):
            cost = sum(squares[r, k] if k >= 0 else 1.0 for r, k in enumerate(choice))
            best = min(best, cost)
    return best


def links(group, frame):
    """The localisation that each one continues, -1 for none; all in order of frames."""
    last, before = {}, np.full(len(group), -1)
    for j in np.argsort(frame, kind="stable"):
        before[j] = last.get(group[j], -1)
        last[group[j]] = j
    return before


@pytest.mark.parametrize("seed", range(8))
def test_each_frame_has_the_least_sum_of_all_assignments(seed):
    rng = np.random.default_rng(seed)
    for _ in range(25):
        ndim, gap, radius = rng.integers(1, 4), rng.integers(0, 3), rng.uniform(0.3, 2.0)
        frame = np.repeat(np.arange(4), rng.integers(0, 4, 4))
        places = rng.uniform(0.0, rng.choice([1.0, 3.0]), (len(frame), ndim))
        before = links(fg.group((frame, places), radius, gap).group, frame)
        ends = []
        for f in range(4):
            rows = np.flatnonzero(frame == f)
            ends = [i for i in ends if f - frame[i] - 1 <= gap]
            squares = ((places[rows][:, None] - places[ends]) ** 2).sum(-1) / radius**2
            squares = np.where(squares <= 1.0, squares, np.inf)
            linked = [j for j in rows if before[j] >= 0]
            assert {before[j] for j in linked} <= set(ends)
            cost = sum(((places[j] - places[before[j]]) ** 2).sum() / radius**2 for j in linked)
            cost += len(rows) - len(linked)
            assert cost == pytest.approx(least_sum(squares), abs=1e-8)
            ends = [i for i in ends if i not in before[rows]] + list(rows)


def test_links_of_two_frames_are_those_of_linear_sum_assignment():
    rng = np.random.default_rng(40)
    for _ in range(200):
        count, radius = rng.integers(1, 13, 2), rng.uniform(0.3, 2.0)
        places = rng.uniform(0.0, 4.0, (count.sum(), 2))
        ends, rows = np.split(places, count[:1])
        squares = ((rows[:, None] - ends) ** 2).sum(-1) / radius**2
        alone = np.where(np.eye(len(rows)) > 0, 1.0, 1e6)  # a column of its own for each row
        costs = np.hstack([np.where(squares <= 1.0, squares, 1e6), alone])
        chosen = linear_sum_assignment(costs)[1]
        expected = np.where(chosen < len(ends), chosen, -1)
        frame = np.repeat([0, 1], count)
        before = links(fg.group((frame, places), radius, 0).group, frame)
        np.testing.assert_array_equal(before[len(ends) :], expected)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.integers(0, 60), st.integers(0, 4))
def test_fluxes_are_conserved_and_no_frame_has_two_of_a_group(seed, count, gap):
    rng = np.random.default_rng(seed)
    frame = rng.integers(-5, 12, count)
    places = rng.normal(0.0, 1.0, (count, 2))
    flux = rng.integers(1, 1000, count)
    groups = fg.group((frame, places, np.full(count, 0.1)), 0.8, gap, flux=flux)
    assert groups.flux.sum() == flux.sum()
    assert groups.count.sum() == count
    assert set(groups.group) == set(range(len(groups)))
    for k in range(len(groups)):
        own = np.sort(frame[groups.group == k])
        assert (np.diff(own) >= 1).all() and (np.diff(own) - 1 <= gap).all()
        assert (groups.first[k], groups.last[k]) == (own[0], own[-1])


def test_the_order_of_localisations_does_not_matter():
    rng = np.random.default_rng(3)
    frame, places = rng.integers(0, 30, 300), rng.uniform(0, 6, (300, 3))
    rotated = rng.permutation(300)
    one = fg.group((frame, places), 0.7, 1).group
    other = fg.group((frame[rotated], places[rotated]), 0.7, 1).group
    assert len(set(zip(one[rotated], other, strict=True))) == len(set(one)) == len(set(other))


def test_combined_positions_are_those_of_weighted_least_squares():
    rng = np.random.default_rng(5)
    places, errors = rng.normal(7.0, 0.1, (6, 2)), rng.uniform(0.05, 0.3, (6, 2))
    groups = fg.group((np.arange(6), places, errors), 2.0)
    assert len(groups) == 1
    for axis in range(2):
        design = np.ones((6, 1)) / errors[:, axis : axis + 1]
        solved = np.linalg.lstsq(design, places[:, axis] / errors[:, axis], rcond=None)[0]
        assert groups.positions[0, axis] == pytest.approx(solved[0], rel=1e-13)
        expected = np.sqrt(np.linalg.inv(design.T @ design))[0, 0]
        assert groups.errors[0, axis] == pytest.approx(expected, rel=1e-13)
    one_error = fg.group((np.arange(6), places, np.full(6, 0.1)), 2.0)
    np.testing.assert_allclose(one_error.positions[0], places.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(one_error.errors[0], 0.1 / np.sqrt(6), rtol=1e-13)


def test_the_errors_hold_for_molecules_that_shine_several_frames():
    rng = np.random.default_rng(8)
    truth = np.stack(np.mgrid[:20, :20], -1).reshape(-1, 2) * 5.0
    frame = np.tile(np.arange(4), 400)
    errors = rng.uniform(0.02, 0.2, (1600, 2))
    places = np.repeat(truth, 4, axis=0) + errors * rng.normal(size=(1600, 2))
    kept = (rng.random(1600) < 0.8) | (frame % 3 == 0)
    groups = fg.group((frame[kept], places[kept], errors[kept]), 1.5, 2)
    assert len(groups) == 400
    nearest = np.rint(groups.positions / 5.0) * 5.0
    pulls = (groups.positions - nearest) / groups.errors
    assert 0.9 < pulls.std() < 1.1
    assert (groups.errors < 0.2).all()


def test_a_pair_at_the_radius_is_joined_and_one_beyond_it_is_not():
    places = np.array([[0.0, 0.0], [0.0, 0.5], [0.0, np.nextafter(1.0, 2.0)]])
    assert fg.group(([0, 1, 2], places), 0.5).group.tolist() == [0, 0, 1]
    assert fg.group(([0, 2, 4], places[[0, 0, 0]]), 0.5, 1).group.tolist() == [0, 0, 0]
    assert fg.group(([0, 3, 5], places[[0, 0, 0]]), 0.5, 1).group.tolist() == [0, 1, 1]


def test_half_axes_of_an_ellipse():
    frame, places = [0, 1, 2], [[0.0, 1.0, 1.0], [90.0, 1.1, 1.0], [150.0, 1.1, 1.4]]
    assert fg.group((frame, places), (100.0, 0.5, 0.5)).group.tolist() == [0, 0, 0]
    assert fg.group((frame, places), (100.0, 0.5, 0.3)).group.tolist() == [0, 0, 1]
    assert fg.group((frame, places), 0.5).group.tolist() == [0, 1, 2]


def test_what_is_not_known_is_in_no_group():
    places = np.array([[1.0, 1.0], [np.nan, 1.0], [1.0, 1.1], [1.0, 1.0]])
    errors = np.array([0.1, 0.1, np.nan, 0.1])
    groups = fg.group((np.arange(4), places, errors), 0.5, 2, flux=np.ones(4))
    assert groups.group.tolist() == [0, -1, -1, 0]
    assert groups.flux.tolist() == [2.0]
    assert repr(groups) == "Groups(1 group of 2 localisations)"
    empty = fg.group((np.empty(0, int), np.empty((0, 2)), np.empty((0, 2))), 1.0)
    assert len(empty) == 0 and empty.errors.shape == (0, 2)


def test_a_result_of_a_movie_with_its_fluxes_and_depths():
    lens = fg.astigmatic_model((1.3, -250.0, 400.0), (1.3, 250.0, 400.0), (-500.0, 500.0))
    rng = np.random.default_rng(1)
    truth = np.array([[300.0, 6.2, 5.9, 120.0, 5.0], [250.0, 5.0, 6.3, -80.0, 5.0]])
    rois = rng.poisson(fg.image(np.repeat(truth, 3, axis=0), (13, 13), lens))
    fits = fg.fit_rois(rois, lens, method="mle")
    result = fg.FitResult.concatenate([fits[i] for i in range(6)], frames=[0, 1, 2, 0, 1, 2])
    groups = fg.group(result, (200.0, 0.5, 0.5))
    assert groups.axes == ("z", "y", "x")
    assert groups.group.tolist() == [0, 0, 0, 1, 1, 1]
    assert (np.abs(groups.positions - truth[:, [3, 2, 1]]) < 4 * groups.errors).all()
    assert groups.flux.sum() == pytest.approx(result.flux.sum(), rel=1e-14)
    np.testing.assert_allclose(
        groups.flux_error**2, (result.flux_error**2).reshape(2, 3).sum(1), rtol=1e-12
    )
    with pytest.raises(ValueError, match="radius must be 3 numbers for z, y, x"):
        fg.group(result, 0.5)
    with pytest.raises(ValueError, match="has no frames"):
        fg.group(fits, 0.5)
    with pytest.raises(ValueError, match="flux must be None for a FitResult"):
        fg.group(result, (200.0, 0.5, 0.5), flux=np.ones(6))


def test_a_table_of_groups():
    pytest.importorskip("pandas")
    table = fg.group(
        ([0, 1], [[5.0, 4.0], [5.2, 4.0]], [0.1, 0.1]), 0.5, flux=[3, 4]
    ).to_dataframe()
    assert list(table) == ["first", "last", "count", "y", "x", "y_error", "x_error", "flux"]
    assert table["flux"].tolist() == [7.0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((([0, 1], [[1.0, 2.0]]), 1.0), "positions must have as many rows as frame has 2"),
        ((([0], [[1.0, 2.0]], [0.0]), 1.0), "errors must be above 0, got 0.0 at index"),
        ((([0], [[1.0, 2.0]], [[0.1]]), 1.0), "errors must have shape"),
        ((([0], [[1.0] * 4]), 1.0), "positions must have shape"),
        ((([0], [[1.0, 2.0]]), 0.0), "radius must be"),
        ((([0], [[1.0, 2.0]]), (1.0, 1.0, 1.0)), "radius must be one number or 2"),
        ((([0], [[1.0, 2.0]]), 1.0, -1), "gap must be at least 0"),
        ((([2**63], [[1.0, 2.0]]), 1.0), "frame must be between"),
    ],
)
def test_wrong_values_are_named(arguments, words):
    if arguments[0][0] == [2**63]:
        arguments = ((np.array([2**63], np.uint64), arguments[0][1]), 1.0)
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        fg.group(*arguments)


def test_wrong_kinds_are_named():
    with pytest.raises(TypeError, match="frame must be integers"):
        fg.group(([0.0], [[1.0, 2.0]]), 1.0)
    for wrong in ([[0, 1.0, 2.0]], (1,), 3):
        with pytest.raises(TypeError, match="localisations must be a FitResult with frames"):
            fg.group(wrong, 1.0)
