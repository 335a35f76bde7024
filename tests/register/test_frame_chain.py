"""``align_stack(reference="previous")``: scenes that change, errors of sums, gaps, threads."""

import itertools

import naive_register as naive
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.register import ChainAlignment, Status, align, align_stack

compiled = pytest.mark.skipif(JIT_DISABLED, reason="many images")
N = 32 if JIT_DISABLED else 48  # the search of plain Python takes a time as N**4


def changing(rng, count, n=48, noise=0.1, replaced=0.2):
    """Frames of spots, a share of which is replaced from frame to frame, and their places."""
    many = n * n // 64
    spots, peaks = rng.uniform(-8, n + 8, (many, 2)), rng.uniform(0.5, 2, many)
    places = rng.uniform(-1, 1, (count, 2)).cumsum(axis=0)
    places -= places[0]
    frames = []
    for place in places:
        frames.append(naive_frame(n, spots + place, peaks) + rng.normal(0, noise, (n, n)))
        new = rng.random(many) < replaced
        spots[new] = rng.uniform(-8, n + 8, (np.count_nonzero(new), 2))
    return np.array(frames), places


def naive_frame(n, spots, peaks, sigma=1.5):
    """Gaussian spots, as a product of two matrices."""
    y, x = (np.exp(-0.5 * ((np.arange(n) - c[:, None]) / sigma) ** 2) for c in spots.T)
    return (y * peaks[:, None]).T @ x


@compiled
def test_a_scene_that_changes_is_followed_and_errors_add_up():
    pulls = []
    for seed in range(4):
        frames, places = changing(np.random.default_rng(seed), 12, 64)
        found = align_stack(frames, reference="previous")
        assert found.converged.all()
        assert_array_equal(found.previous, np.arange(-1, 11))
        steps = np.diff(found.displacements - places, axis=0)
        own = np.sqrt(np.diagonal(found.frame_covariance[1:], axis1=1, axis2=2))
        pulls.append(steps / own)
        assert (np.diff(found.errors, axis=0) > 0).all()
    assert 0.6 < np.sqrt(np.mean(np.square(pulls))) < 1.25  # of 88 numbers
    assert not align_stack(frames, reference="first").converged.all()


@compiled
def test_the_displacements_are_the_sums_of_those_of_pairs():
    frames, _ = changing(np.random.default_rng(5), 4, N, replaced=0.0)
    gain = np.array([1.0, 2.0, 0.5, 3.0])
    bright = frames * gain[:, None, None] + 7.0 * gain[:, None, None]
    found = align_stack(bright, reference="previous")
    pairs = [align(a, b) for a, b in itertools.pairwise(bright)]
    expected = np.cumsum([[p.dy, p.dx] for p in pairs], axis=0)
    assert_allclose(found.displacements[1:], expected, rtol=0, atol=1e-4)
    assert_allclose(
        found.frame_covariance[1:, 1, 1], [p.covariance[0, 0] for p in pairs], rtol=0.01
    )
    assert_allclose(found.gain, 1 / gain, rtol=0.1)
    assert_allclose(
        found.gain * bright.mean(axis=(1, 2)) + found.offset, bright[0].mean(), atol=0.5
    )
    assert_allclose(np.sqrt(found.noise) / gain, 0.1, rtol=0.3)
    known = align_stack(frames, reference="previous", err=0.1)
    assert_allclose(known.noise, 1, rtol=0.3)


def test_covariances_are_those_of_sums_of_independent_steps():
    rng = np.random.default_rng(1)
    previous = np.array([-1, 0, 1, 1, 3, 4])  # frame 2 is not in the chain
    roots = rng.normal(size=(6, 2, 2))
    steps = roots @ roots.transpose(0, 2, 1)
    steps[0] = 0
    found = ChainAlignment(
        np.zeros((6, 2)), np.zeros(6, int), np.zeros((2, 2)), np.zeros(2),
        *np.ones((4, 6)), steps, np.eye(6)[0], np.zeros((2, 2)), previous,
    )  # fmt: skip
    paths = np.zeros((6, 6))  # which steps lead to a frame
    for k in range(6):
        step = k
        while previous[step] >= 0:
            paths[k, step] = 1
            step = previous[step]
    expected = np.einsum("ks,ls,sij->kilj", paths, paths, steps)
    assert_allclose(found.covariance, expected, atol=1e-14)
    diagonal = np.diag(expected.reshape(12, 12)).reshape(6, 2)
    assert_allclose(found.errors, np.sqrt(diagonal), rtol=1e-12)


@compiled
@pytest.mark.parametrize("place", [0, 1, 3, 7])
def test_a_frame_that_does_not_match_is_stepped_over(place):
    frames, places = changing(np.random.default_rng(6), 8, 48, 0.02, 0.05)
    frames[place] = np.random.default_rng(7).normal(size=(48, 48))
    found = align_stack(frames, reference="previous")
    good = np.arange(8) != place
    assert_array_equal(found.converged, good)
    off = found.displacements[good] - (places - places[good][0])[good]
    assert (np.abs(off) <= 4 * found.errors[good]).all()
    assert (found.errors[good] < 0.3).all()
    if place == 3:
        assert found.previous[4] == 2
        assert np.isfinite(found.covariance[4][:, [0, 1, 2, 4, 5, 6, 7]]).all()
    if place == 1:  # the chain begins before it
        assert_array_equal(found.previous[:3], [-1, -1, 0])
    if place == 0:
        assert_array_equal(found.previous[:3], [-1, -1, 1])
        assert np.isnan(found.displacements[0]).all()


@compiled
def test_frames_that_have_nothing_in_common_do_not_converge():
    rng = np.random.default_rng(8)
    for frames in (rng.normal(size=(5, 48, 48)), np.ones((3, 48, 48))):
        found = align_stack(frames, reference="previous")
        assert not found.converged.any()
        assert found.status[0] == Status.AMBIGUOUS
        assert_allclose(found.displacements[0], 0)
        assert np.isfinite(found.scene).any()


@compiled
def test_search_bounds_each_step_alone():
    rng = np.random.default_rng(9)
    big = naive.scene(naive.cloud(160, rng, 2.0), 160)
    frames = [big[4 * k : 4 * k + 64, 20:84] + rng.normal(0, 0.02, (64, 64)) for k in range(20)]
    found = align_stack(frames, reference="previous", search=5)
    assert found.converged.all()
    assert_allclose(found.dy, -4.0 * np.arange(20), atol=0.2)
    assert not align_stack(frames, reference="previous", search=3).converged.any()


@compiled
def test_bad_frames_between_good_ones_are_stepped_over_within_the_search():
    rng = np.random.default_rng(11)
    big = naive.scene(naive.cloud(160, rng, 2.0), 160)
    frames = np.array([big[2 * k : 2 * k + 64, 20:84] for k in range(8)])
    frames += rng.normal(0, 0.02, frames.shape)
    frames[1::2] = rng.normal(size=(4, 64, 64))
    found = align_stack(frames, reference="previous", search=2.5)
    assert_array_equal(found.converged, np.arange(8) % 2 == 0)
    assert_allclose(found.dy[::2], -4.0 * np.arange(4), atol=0.1)


@pytest.mark.parametrize("reference", ["mean", "first", "previous"])
def test_frames_without_pixels_have_a_status(reference):
    found = align_stack(np.full((3, 20, 20), np.nan), reference=reference)
    assert not found.converged.any()
    assert found.scene.size == 0


@compiled
def test_the_same_bits_for_any_threads_and_progress_to_the_end():
    frames, _ = changing(np.random.default_rng(10), 20, 32)
    calls = []
    one = align_stack(frames, reference="previous", threads=1)
    more = align_stack(
        frames, reference="previous", threads=3,
        progress=lambda done, total: calls.append((done, total)),
    )  # fmt: skip
    for name, value in one.to_dict().items():
        assert_array_equal(value, more.to_dict()[name], err_msg=name)
    assert calls[-1] == (20, 20)
