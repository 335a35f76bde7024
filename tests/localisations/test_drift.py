"""Drift: the overlap and its derivatives, simulated movies, noise, and what may be given."""

import naive_localisations as naive
import numpy as np
import pytest

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.localisations import overlap
from fastgauss.localisations.drift_stages import Movie, _Stages
from fastgauss.localisations.drift_start import field_of, first_guess

needs_compiled_code = pytest.mark.skipif(JIT_DISABLED, reason="thousands of localisations")


def movie(rng, ndim, count=6000, frames=2000, far=1.5, noise=0.0):
    """Localisations of fixed molecules in a field of 60 px that drifts smoothly, and the drift."""
    sites = rng.uniform(0, 60, (80, ndim))
    frame = rng.integers(0, frames, count)
    places = sites[rng.integers(0, len(sites), count)]
    t = np.arange(frames) / frames
    drift = far * np.stack([np.sin(4 * t + 2 * axis) + axis * t for axis in range(ndim)], axis=1)
    errors = np.full((count, ndim), 0.1) * rng.uniform(0.6, 1.4, (count, 1))
    places = places + errors * rng.normal(size=places.shape) + drift[frame]
    lost = rng.random(count) < noise
    places[lost] = rng.uniform(0, 60, (lost.sum(), ndim))
    return frame, places, errors, drift


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_the_overlap_is_that_of_all_pairs_and_its_derivatives_are_right(ndim):
    rng = np.random.default_rng(ndim)
    places, segments = rng.uniform(-2, 3, (70, ndim)), np.sort(rng.integers(0, 4, 70))
    low, high = np.full(ndim, -1.8), np.full(ndim, 2.7)
    sample = overlap.Sample(places, segments.astype(np.int32), 4, low, high)
    found = overlap.sum_overlaps(sample, 1, True)
    value, forces, change = naive.overlap(places, segments, 4, low, high)
    assert found.value == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(found.forces, forces, rtol=1e-11, atol=1e-12)
    expected = change.transpose(0, 2, 1, 3).copy()
    for s in range(4):
        expected[s, :, s, :] -= change[s].sum(axis=0)
    np.testing.assert_allclose(found.curvature, expected, rtol=1e-11, atol=1e-11)
    whole, single = naive.squared_forces(places, segments, 4, low, high)
    np.testing.assert_allclose(found.squares, whole, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(found.single, single, rtol=1e-11, atol=1e-11)

    everywhere = np.full(ndim, np.inf)
    moved = places.copy()
    moved[segments == 2, 0] += 1e-6
    one, other = (
        overlap.sum_overlaps(
            overlap.Sample(p, segments.astype(np.int32), 4, -everywhere, everywhere), 1, False
        )
        for p in (places, moved)
    )
    assert (other.value - one.value) / 1e-6 == pytest.approx(2 * one.forces[2, 0], rel=1e-4)
    slope = (one.forces - other.forces) / 1e-6
    np.testing.assert_allclose(slope, one.curvature[:, :, 2, 0], rtol=1e-3, atol=1e-3)


@needs_compiled_code
@pytest.mark.parametrize("along", ["y", "x"])
def test_far_places_are_in_the_same_cells_and_overlap_the_same(along):
    rng = np.random.default_rng(4)
    places, segments = rng.uniform(0, 40, (500, 2)), np.arange(500, dtype=np.int32) // 250
    places = np.concatenate([places, [[2.0**45, 3.0], [-(2.0**40), 7.0]]])
    if along == "x":
        places = np.ascontiguousarray(places[:, ::-1])
    segments = np.append(segments, [1, 1]).astype(np.int32)
    box = np.full(2, -np.inf), np.full(2, np.inf)
    found = overlap.sum_overlaps(overlap.Sample(places, segments, 2, *box), 2, False)
    again = overlap.sum_overlaps(overlap.Sample(places, segments, 2, *box), 1, False, found)
    assert (again.value, again.pairs) == (found.value, found.pairs)
    np.testing.assert_array_equal(again.forces, found.forces)
    np.testing.assert_array_equal(again.squares, found.squares)
    assert again.curvature is found.curvature and again.weights is found.weights
    value = naive.overlap(places, segments, 2, *box)[0]
    assert found.value == pytest.approx(value, rel=1e-12)


@needs_compiled_code
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_a_drift_is_found_with_errors_that_hold(ndim):
    rng = np.random.default_rng(20 + ndim)
    frame, places, errors, truth = movie(rng, ndim, noise=0.1 * (ndim > 1))
    drift = fg.estimate_drift((frame, places, errors), segments=20)
    assert drift.converged and drift.axes == ("z", "y", "x")[3 - ndim :]
    middles = np.rint(drift.segment_frames).astype(int)
    miss = drift.segment_positions - truth[middles]
    miss -= miss.mean(axis=0)
    pulls = miss / drift.segment_errors
    assert 0.7 < pulls.std() < 1.3
    assert miss.std() < 0.02
    miss = drift.positions - truth[drift.frames]
    assert (miss - miss.mean(axis=0)).std() < 0.03
    assert drift.errors.shape == drift.positions.shape == (len(drift.frames), ndim)


@needs_compiled_code
def test_a_few_localisations_far_away_do_not_hide_the_drift():
    frame, places, errors, truth = movie(np.random.default_rng(8), 2)
    strays = places.copy()
    strays[5], strays[77] = 1e6, (-3e4, 20.0)
    for far in (1.5, 12.0):
        moved = (far / 1.5 - 1.0) * truth[frame]
        drift = fg.estimate_drift((frame, strays + moved, errors), segments=20)
        assert drift.converged
        miss = drift.positions - far / 1.5 * truth[drift.frames]
        assert (miss - miss.mean(axis=0)).std() < 0.05 * far


@needs_compiled_code
def test_the_drift_has_the_same_bits_for_any_number_of_threads():
    frame, places, errors, _ = movie(np.random.default_rng(3), 2, count=3000)
    one, *others = (
        fg.estimate_drift((frame, places, errors), frames_per_segment=150, threads=n)
        for n in (1, 2, 5)
    )
    for other in others:
        assert one.positions.tobytes() == other.positions.tobytes()
        assert one.errors.tobytes() == other.errors.tobytes()


@needs_compiled_code
def test_the_unit_of_lengths_and_the_origin_do_not_matter():
    frame, places, errors, _ = movie(np.random.default_rng(5), 2, count=3000)
    drift = fg.estimate_drift((frame, places, errors), segments=10)
    scaled = fg.estimate_drift((frame - 700, 128.0 * places + 1024.0, 128.0 * errors), segments=10)
    np.testing.assert_allclose(scaled.positions, 128.0 * drift.positions, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(scaled.errors, 128.0 * drift.errors, rtol=1e-5)
    assert scaled.frames[0] == drift.frames[0] - 700


@needs_compiled_code
def test_a_random_walk_stays_within_the_errors_of_frames():
    rng = np.random.default_rng(6)
    frame, places, errors, still = movie(rng, 2, count=20000, far=0.0)
    walk = rng.normal(0, 2.0 / np.sqrt(len(still)), still.shape).cumsum(axis=0)
    drift = fg.estimate_drift((frame, places + walk[frame], errors), segments=40)
    pulls = (drift.positions - walk[drift.frames]) / drift.errors
    assert 0.6 < (pulls - pulls.mean(axis=0)).std() < 1.4


@needs_compiled_code
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_the_first_guess_is_where_the_segments_are(ndim):
    rng = np.random.default_rng(30 + ndim)
    count = 30 if ndim > 1 else 8
    sites = rng.uniform(0, 60, (count, ndim))
    segments = np.repeat(np.arange(4), 300)
    there = np.array([[0.0, 0.0, 0.0], [9.0, 14.0, -20.0], [-8.0, 3.0, 11.0], [1.0, 21.0, 0.5]])
    there = there[:, 3 - ndim :]
    places = sites[rng.integers(0, count, 1200)] + rng.normal(0, 0.1, (1200, ndim))

    def guess(places, segments):
        return first_guess(places, segments, 4, field_of(places), None)

    found = guess(places + there[segments], segments)
    bins = np.ptp(places + there[segments], axis=0) / 128
    assert (np.abs(found - (there - there.mean(axis=0))) < bins).all()
    assert guess(rng.uniform(0, 60, (1200, ndim)), segments) is None
    assert guess(places[::8], segments[::8]) is None


@needs_compiled_code
@pytest.mark.parametrize("kind", ["line", "there and back", "jump"])
def test_a_drift_of_many_pixels_is_found(kind):
    rng = np.random.default_rng(8)
    frame, places, errors, truth = movie(rng, 2, far=0.0)
    t = np.arange(len(truth)) / len(truth)
    way = {"line": t, "there and back": np.sin(5 * t), "jump": t >= 0.4}[kind]
    truth = way[:, np.newaxis] * [20.0, -11.0]
    drift = fg.estimate_drift((frame, places + truth[frame], errors), segments=20)
    middles = np.rint(drift.segment_frames).astype(int)
    miss = drift.segment_positions - truth[middles]
    assert drift.converged
    # the spline swings about a jump, which is between two segments here
    far_from_it = np.abs(middles - 800) > (250 if kind == "jump" else -1)
    assert (miss - np.median(miss, axis=0))[far_from_it].std() < (0.05 if kind == "jump" else 0.03)


@needs_compiled_code
@pytest.mark.parametrize("jump", [1.0, 10.0])
def test_errors_are_large_at_a_jump_and_nowhere_else(jump):
    rng = np.random.default_rng(11)
    frame, places, errors, still = movie(rng, 2, far=0.0)
    expected = np.median(fg.estimate_drift((frame, places, errors), segments=20).errors)
    truth = (np.arange(len(still)) >= 830)[:, np.newaxis] * [jump, -0.6 * jump]
    drift = fg.estimate_drift((frame, places + truth[frame], errors), segments=20)
    away = np.abs(drift.frames - 830)
    near, far = away <= 100, away > 400
    miss = drift.positions - truth[drift.frames]
    pulls = (miss - np.median(miss[far], axis=0)) / drift.errors
    assert pulls[near].std() < 2.0 and np.abs(pulls[near]).max() < 5.0
    assert drift.errors[near].min() > 0.1 * jump
    assert pulls[far].std() < 1.5 and np.median(drift.errors[far]) < 2.0 * expected


@needs_compiled_code
def test_a_second_descent_ends_where_it_meets_the_first_or_is_surpassed():
    rng = np.random.default_rng(12)
    frame, places, _, truth = movie(rng, 2)
    order, segments = np.argsort(frame, kind="stable"), np.sort(frame) // 100
    moments, middles = np.sort(frame) * 1.0, np.arange(20) * 100 + 49.5
    sample = Movie(places[order], moments, segments.astype(np.int32), middles, np.ones(2))
    stages = _Stages(sample, field_of(sample.places), 1)
    knots = truth[sample.middles.astype(int)]
    best = stages.descend(knots - knots.mean(axis=0), None)
    assert best is not None and stages.descend(best.knots, None, best) is None
    wrong = best.knots + np.where(np.arange(20) % 2, 13.0, -13.0)[:, np.newaxis]
    assert stages.descend(wrong, None, best) is None
    lost = stages.descend(wrong, None)
    assert lost is None or stages.larger_overlap(lost, best) is best
    assert stages.larger_overlap(best, None) is best


@needs_compiled_code
@pytest.mark.parametrize("kind", ["uniform", "blob"])
def test_noise_shows_no_drift_and_says_so(kind):
    rng = np.random.default_rng(7)
    places = rng.uniform(0, 50, (5000, 2)) if kind == "uniform" else rng.normal(0, 9, (5000, 2))
    drift = fg.estimate_drift((rng.integers(0, 1000, 5000), places), segments=20)
    assert drift.status == fg.DriftStatus.NO_STRUCTURE and not drift.converged
    assert "nothing in common" in drift.status.message
    assert (drift.positions == 0).all() and (drift.errors == np.inf).all()
    assert repr(drift) == f"Drift({len(drift.frames)} frames, range y 0, x 0, NO_STRUCTURE)"


@needs_compiled_code
def test_the_drift_is_taken_off_a_result_and_drawn():
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(9)
    frame, places, _, truth = movie(rng, 2, count=4000)
    params = np.column_stack([np.full(4000, 90.0), places[:, ::-1], np.full((4000, 2), 1.3)])
    few = fg.fit_rois(fg.image([90.0, 3.2, 2.9, 1.3, 4.0], (7, 7), model="symmetric")[np.newaxis])
    result = few[np.zeros(4000, int)]
    packed = np.tile(np.eye(5)[np.tril_indices(5)] * 0.01, (4000, 1))
    result = result.with_rows(
        result.rows._replace(params=params, packed=packed, frames=frame, errors=None)
    )
    drift = fg.estimate_drift(result, segments=10)
    corrected = drift.apply(result)
    np.testing.assert_array_equal(corrected.positions, result.positions - drift.at(frame))
    np.testing.assert_array_equal(corrected.amplitude, result.amplitude)
    assert fg.estimate_drift(corrected, segments=10).positions.std() < 0.02
    same_frame, moved, errors = drift.apply((frame, places, result.errors[:, 1:3]))
    np.testing.assert_allclose(moved, corrected.positions)
    assert same_frame is frame and errors.shape == (4000, 2)
    figure = drift.plot()
    assert [axes.get_ylabel() for axes in figure.axes] == ["y", "x"]
    assert "converged" in figure.axes[0].get_title()
    assert np.ptp(truth[:, 0]) == pytest.approx(np.ptp(drift.positions[:, 0]), abs=0.1)


def test_frames_outside_have_the_drift_of_the_nearest():
    frame, places = [3, 3, 5, 5], [[1.0, 2.0], [5.0, 7.0], [1.0, 2.0], [5.0, 7.0]]
    drift = fg.estimate_drift((frame, places))
    assert drift.frames.tolist() == [3, 4, 5]
    np.testing.assert_array_equal(drift.at([-9, 99]), drift.positions[[0, -1]])
    with pytest.raises(ValueError, match="localisations must have the axes y, x, got z, y, x"):
        drift.apply((frame, np.zeros((4, 3))))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"segments": 1}, "segments must be at least 2"),
        ({"segments": 5}, "segments must make 2 to 4 segments, got 5 for 4 frames"),
        ({"frames_per_segment": 4}, "frames_per_segment must make 2 to 4 segments"),
        ({"segments": 2, "frames_per_segment": 2}, "segments must be None"),
        ({"tol": 0.0}, "tol must be finite and above 0"),
        ({"threads": 0}, "threads must be at least 1"),
    ],
)
def test_wrong_options_are_named(options, words):
    frame, places = [0, 1, 2, 3], np.zeros((4, 2))
    with pytest.raises(ValueError, match=words):
        fg.estimate_drift((frame, places), **options)


def test_movies_without_two_segments_are_refused():
    with pytest.raises(ValueError, match="must span 2 to 10000000 frames"):
        fg.estimate_drift(([4, 4], np.zeros((2, 2))))
    with pytest.raises(ValueError, match="must span 2 to 10000000 frames"):
        fg.estimate_drift(([0, 1], np.full((2, 2), np.nan)))
    with pytest.raises(ValueError, match="got 1000000000001"):
        fg.estimate_drift(([0, 10**12], np.zeros((2, 2))))
