"""``align_stack``: the joint bound, covariances, brightness, doubt, inputs; stacks moved back."""

import tracemalloc

import naive_register as naive
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastgauss as fg
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.register import align, scene, shift_image, shift_stack

compiled = pytest.mark.skipif(JIT_DISABLED, reason="many images")
REACH, SEARCH = (1.5, 4.0) if JIT_DISABLED else (4.0, None)


def align_stack(*frames, **options):
    """``align_stack``; in plain Python the search, which takes most of the time, goes less far."""
    return fg.register.align_stack(*frames, **{"search": SEARCH, **options})


def spots(n, rng, many=300, sigma=1.5):
    """Half the spectrum of a periodic scene of Gaussian spots."""
    rows, columns = (2 * np.pi * k for k in (np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)))
    shape = np.exp(-0.5 * sigma**2 * (rows**2 + columns**2)) * 2 * np.pi * sigma**2
    out = np.zeros(shape.shape, complex)
    for (y, x), bright in zip(rng.uniform(0, n, (many, 2)), rng.uniform(0.5, 2, many), strict=True):
        out += bright * np.exp(-1j * (rows * y + columns * x))
    return out * shape


def stack(rng, count, n, noise, kind="spots", reach=REACH):
    """Frames, their displacements from the mean, and the covariance of the joint bound."""
    big = 2 * n
    spectrum = spots(big, rng) if kind == "spots" else naive.cloud(big, rng, 2.0)
    moves = rng.uniform(-reach, reach, (count, 2))
    moves -= moves.mean(axis=0)
    cut = (slice(n // 2, n // 2 + n),) * 2
    frames = np.array([naive.scene(spectrum, big, dx, dy)[cut] for dy, dx in moves])
    slopes = [g[cut].ravel() for g in naive.gradients(spectrum, big)[::-1]]
    return (
        frames + rng.normal(0, noise, frames.shape),
        moves,
        naive.joint_bound(slopes, count, noise),
    )


# -- exactness ---------------------------------------------------------------------------------


def test_the_joint_bound_is_the_inverse_of_the_information_of_all_unknowns():
    rng = np.random.default_rng(1)
    slopes, noise, count = rng.normal(size=(2, 20)), 0.3, 4
    # frame k at pixel x: scene[x] - slopes[:, x] @ d[k]; unknown are scene and displacements
    design = np.zeros((count, 20, 20 + 2 * count))
    for k in range(count):
        design[k, :, :20] = np.eye(20)
        design[k, :, 20 + 2 * k : 22 + 2 * k] = -slopes.T
    design = design.reshape(-1, 20 + 2 * count)
    full = noise**2 * np.linalg.pinv(design.T @ design)[20:, 20:]
    centre = np.eye(2 * count) - np.kron(np.ones((count, count)) / count, np.eye(2))
    assert_allclose(
        np.diag(centre @ full @ centre).reshape(count, 2),
        np.tile(np.diag(naive.joint_bound(slopes, count, noise)), (count, 1)),
        rtol=1e-9,
    )


@compiled
@pytest.mark.parametrize(("kind", "noise"), [("spots", 0.1), ("spots", 0.5), ("cloud", 0.1)])
def test_stacks_reach_the_joint_bound(kind, noise):
    misses, pulls, pairs, joint = [], [], [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        frames, moves, bound = stack(rng, 32, 128, noise, kind)
        found = align_stack(frames, err=noise if seed % 2 else None)
        assert found.converged.all()
        miss = found.displacements - moves
        misses.append(miss / np.sqrt(np.diag(bound)))
        pulls.append(miss / found.errors)
        joint.append(miss)
        if noise == 0.5:
            shifts = [align(frames[0], frame) for frame in frames[1:8]]
            truth = (moves - moves[0])[1:8]
            pairs += [
                [s.dy - dy, s.dx - dx]
                for s, (dy, dx) in zip(shifts, truth, strict=True)
                if s.converged
            ]
    assert np.sqrt(np.mean(np.square(misses))) < 1.2  # of 192 numbers
    assert 0.88 < np.sqrt(np.mean(np.square(pulls))) < 1.12
    if pairs:  # against the first frame, whose error they have as well
        assert np.mean(np.square(pairs)) > 1.3**2 * np.mean(np.square(joint))


@compiled
def test_frames_without_noise_are_found_exactly():
    frames, moves, _ = stack(np.random.default_rng(2), 5, 48, 0.0)
    found = align_stack(frames)
    assert_allclose(found.displacements, moves, rtol=0, atol=2e-3)
    same = align_stack([frames[0]] * 3)
    assert_allclose(same.displacements, 0, rtol=0, atol=1e-6)
    assert same.converged.all()


def test_the_scene_without_a_frame_is_the_mean_of_the_others():
    rng = np.random.default_rng(3)
    many = [rng.normal(size=(20, 21)) for _ in range(3)]
    frames = [scene.put_on_grid(fg.register.inputs.read(image, None, None)) for image in many]
    poses = [
        scene.Pose(np.array(place), gain, 0.5, weight)
        for place, gain, weight in [
            ((0.0, 0.0), 1.0, 1.0),
            ((1.0, -2.0), 2.0, 3.0),
            ((0.3, 0.6), 1.5, 2.0),
        ]
    ]
    sums = scene.Scene((20, 21))
    for frame, pose in zip(frames, poses, strict=True):
        sums.add(frame, pose)
    rest, weights = sums.without(frames[2], poses[2])
    twin = scene.Scene((20, 21))
    for frame, pose in zip(frames[:2], poses[:2], strict=True):
        twin.add(frame, pose)
    expected, known = twin.under(poses[2])
    assert_allclose(weights, known, atol=1e-6)
    assert_allclose(rest[known > 0], expected[known > 0], atol=1e-3)
    # whole pixels are moved as they are
    values, where = scene.seen(frames[1], poses[1])
    pixels = 2.0 * frames[1].pixels.values + 0.5
    assert_allclose(scene.crop(values, (20, 21)), pixels, atol=1e-3)
    assert where.max() == 3.0


# -- covariances -------------------------------------------------------------------------------


@compiled
@pytest.mark.parametrize("reference", ["mean", "first", 2, "image"])
def test_covariances_are_those_of_the_errors_against_the_reference(reference):
    frames, moves, _ = stack(np.random.default_rng(4), 4, 32, 0.05)
    image = frames[0] if reference == "image" else reference
    some = frames[1:] if reference == "image" else frames
    found = align_stack(some, reference=image)
    n = len(found)
    table = found.covariance.reshape(2 * n, 2 * n)
    assert_allclose(table, table.T, rtol=0, atol=1e-15)
    assert np.linalg.eigvalsh(table).min() > -1e-12
    assert_allclose(np.sqrt(np.diag(table)).reshape(n, 2), found.errors, rtol=1e-9, atol=1e-12)
    weights = np.kron(found.anchor, np.eye(2))
    if reference != "image":
        assert_allclose(weights @ table, 0, atol=1e-12)
        assert_allclose(found.anchor @ found.displacements, 0, atol=1e-9)
    zero = {"mean": moves.mean(axis=0), "first": moves[0], "image": moves[0]}
    truth = moves - zero.get(reference, moves[2])
    truth = truth[1:] if reference == "image" else truth
    assert_allclose(found.displacements, truth, rtol=0, atol=0.05)


# -- what frames may have ----------------------------------------------------------------------


@compiled
def test_frames_of_other_brightness_and_with_holes():
    rng = np.random.default_rng(5)
    frames, moves, _ = stack(rng, 5, 48, 0.02)
    gain, offset = rng.uniform(0.5, 2, (5, 1, 1)), rng.uniform(-50, 50, (5, 1, 1))
    changed = 100 * gain * frames + offset
    changed[2, 20:26] = np.nan
    mask = np.zeros((48, 48), bool)
    mask[:, 30] = True
    found = align_stack(changed, reference="first", mask=mask)
    assert found.converged.all()
    assert_allclose(found.displacements, moves - moves[0], rtol=0, atol=0.03)
    expected = gain[0].ravel() / gain.ravel()
    assert_allclose(found.gain, expected, rtol=0.02)
    assert_allclose(found.offset, offset[0].ravel() - expected * offset.ravel(), atol=3)
    same = align_stack(frames, brightness="same")
    assert_allclose(same.gain, 1, rtol=1e-12)
    assert_allclose(same.offset, 0, atol=1e-9)
    # the scene lies on the reference
    y, x = np.rint(found.origin).astype(int)
    view, first = found.scene[10 - y : 38 - y, 10 - x : 28 - x], changed[0, 10:38, 10:28]
    assert np.abs(found.origin - [y, x]).max() < 0.05
    assert np.std(view - first) < 0.2 * np.std(first)


@compiled
def test_errors_of_pixels_tell_the_noise():
    frames, _, _ = stack(np.random.default_rng(6), 6, 48, 0.1)
    known, own = align_stack(frames, err=0.1), align_stack(frames)
    assert_allclose(known.noise, 1, rtol=0.2)
    assert_allclose(own.noise, 0.01, rtol=0.25)
    assert_allclose(known.errors, own.errors, rtol=0.25)
    each = np.full(frames.shape, 0.1)
    each[3, :10] = 0  # missing
    again = align_stack(frames, err=each)
    assert_allclose(again.displacements, known.displacements, rtol=0, atol=0.05)
    assert again.errors[3].mean() > known.errors[3].mean()


@compiled
def test_a_frame_of_another_scene_is_no_part_of_this_one():
    rng = np.random.default_rng(7)
    frames, moves, _ = stack(rng, 6, 48, 0.05)
    for place in (0, 3):
        some = frames.copy()
        some[place] = rng.normal(size=(48, 48))
        found = align_stack(some)
        assert_array_equal(found.converged, np.arange(6) != place)
        rest = moves[found.converged]
        assert_allclose(found.displacements[found.converged], rest - rest.mean(axis=0), atol=0.03)


@compiled
@pytest.mark.parametrize("kind", ["noise", "scenes", "blank"])
def test_unrelated_frames_do_not_converge(kind):
    rng = np.random.default_rng(8)
    frames = {
        "noise": lambda: rng.normal(size=(48, 48)),
        "scenes": lambda: naive.scene(naive.cloud(48, rng), 48),
        "blank": lambda: np.ones((48, 48)),
    }[kind]
    found = align_stack([frames() for _ in range(6)])
    assert np.count_nonzero(found.converged) <= (2 if kind == "scenes" else 0)


@compiled
def test_frames_that_drift_away_from_the_first():
    rng = np.random.default_rng(9)
    big = naive.scene(spots(256, rng, 900), 256)
    frames = [
        big[8 + 6 * k : 72 + 6 * k, 40:104] + rng.normal(0, 0.05, (64, 64)) for k in range(14)
    ]
    found = align_stack(frames, reference="first")
    assert found.converged.all()
    assert_allclose(found.dy, -6.0 * np.arange(14), rtol=0, atol=0.05)
    assert found.scene.shape[0] > 130
    assert not align_stack(frames, search=3).converged.any()


# -- inputs ------------------------------------------------------------------------------------


@compiled
def test_the_same_bits_for_any_threads_and_any_kind_of_array():
    count, n = (3, 24) if JIT_DISABLED else (5, 32)
    frames, _, _ = stack(np.random.default_rng(10), count, n, 0.1)
    found = align_stack(frames, threads=1)
    calls = []
    others = [
        align_stack(frames, threads=3, progress=lambda done, total: calls.append((done, total))),
        align_stack(list(frames)),
        align_stack(np.moveaxis(frames, 0, -1), axes=(0, 1)),
        align_stack(np.ma.masked_array(frames)),
    ]
    for other in others:
        assert_array_equal(other.displacements, found.displacements)
        assert_array_equal(other.scene, found.scene)
    assert calls[-1] == (3 * count, 3 * count)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


@compiled
def test_dask_and_files_are_read_frame_by_frame(tmp_path):
    array = pytest.importorskip("dask.array")
    frames, _, _ = stack(np.random.default_rng(11), 5, 32, 0.1)
    found = align_stack(frames)
    lazy = array.from_array(frames, chunks=(2, 32, 32))
    assert_array_equal(align_stack(lazy).displacements, found.displacements)
    np.save(tmp_path / "movie.npy", frames)
    mapped = np.load(tmp_path / "movie.npy", mmap_mode="r")
    assert_array_equal(align_stack(mapped).displacements, found.displacements)


@pytest.mark.parametrize(
    ("frames", "options", "words"),
    [
        (np.zeros((3, 8, 30)), {}, "frames must have 12 rows"),
        (np.zeros((1, 20, 20)), {}, "frames must hold 2 images"),
        ([], {}, "frames must hold 2 images"),
        (np.zeros((20, 20)), {}, "frames must have 3 dimensions"),
        ([np.zeros((20, 20)), np.zeros((20, 21))], {}, r"frames\[1\] must have shape"),
        (np.zeros((3, 20, 20), complex), {}, "frames must hold real"),
        (None, {"reference": "last"}, "reference must be one of"),
        (None, {"reference": 3}, "reference must be"),
        (None, {"reference": 1.5}, "reference must be"),
        (None, {"reference": np.zeros((20, 21))}, "reference must have the shape"),
        (None, {"err": np.ones(3)}, "err must have shape"),
        (None, {"err": -1.0}, "err must be"),
        (None, {"mask": np.zeros((3, 20, 20))}, "mask must hold booleans"),
        (None, {"axes": (0, 0)}, "axes must be different"),
        (None, {"axes": 1}, "axes must be the 2 axes"),
        (None, {"brightness": "gain"}, "brightness must be"),
        (None, {"search": 0}, "search must be"),
        (None, {"threads": 0}, "threads must be"),
        (None, {"progress": 1}, "progress must be"),
    ],
)
def test_bad_input_is_named(frames, options, words):
    with pytest.raises((ValueError, TypeError), match=words):
        align_stack(np.zeros((3, 20, 20)) if frames is None else frames, **options)


# -- what becomes of the result ----------------------------------------------------------------


@compiled
def test_other_channels_are_moved_back():
    rng = np.random.default_rng(12)
    frames, moves, _ = stack(rng, 4, 48, 0.0)
    found = align_stack(frames, reference="first")
    moved = found.apply(2 * frames + 1)
    assert_array_equal(moved, shift_stack(2 * frames + 1, -found.displacements))
    inner = (slice(None), slice(12, -12), slice(12, -12))
    assert_allclose(moved[inner], (2 * frames + 1)[[0] * 4][inner], atol=0.02)
    assert np.isnan(moved).any()
    broken = found.displacements.copy()
    broken[1] = np.nan
    assert np.isnan(shift_stack(frames, broken)[1]).all()
    assert np.isfinite(shift_stack(frames, broken, "fourier")[[0, 2, 3]]).all()
    for wrong, words in (
        (found, "StackAlignment"), (moves[:2], "displacements must have shape"),
        (np.full((4, 2), np.inf), "displacements must be finite"),
    ):  # fmt: skip
        with pytest.raises((ValueError, TypeError), match=words):
            shift_stack(frames, wrong)
    with pytest.raises(ValueError, match="method"):
        shift_stack(frames, moves, "cubic")


@pytest.mark.parametrize("method", ["spline", "fourier"])
@pytest.mark.parametrize("dtype", ["u1", ">i2", "?", "f4"])
def test_a_stack_of_any_dtype_is_moved_frame_by_frame(method, dtype):
    frames = np.random.default_rng(3).integers(0, 2, (40, 32, 32)).astype(dtype)
    moves = np.tile([0.25, -1.5], (40, 1))
    expected = shift_stack(frames.astype(float), moves, method, threads=1)
    tracemalloc.start()
    moved = shift_stack(frames, moves, method, threads=1)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(moved, expected)
    np.testing.assert_array_equal(moved[1], shift_image(frames[1], (0.25, -1.5), method))
    if dtype != "f4":  # no second array of float64
        assert most < 1.5 * moved.nbytes
    if method == "spline":
        hole = np.zeros((32, 32), bool)
        hole[5, 6] = True
        for mask in (hole, np.broadcast_to(hole, frames.shape)):
            np.testing.assert_array_equal(
                shift_stack(frames, moves, mask=mask, threads=1),
                shift_stack(np.where(hole, np.nan, frames), moves, threads=1),
            )


@compiled
def test_the_table_and_the_picture_have_a_row_for_each_frame():
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    frames, _, _ = stack(np.random.default_rng(13), 4, 32, 0.1)
    frames[2] = np.random.default_rng(14).normal(size=(32, 32))
    found = align_stack(frames)
    table = found.to_dataframe()
    assert len(table) == len(found) == 4
    assert_array_equal(table["dx"], found.dx)
    assert_array_equal(table["dy_error"], found.errors[:, 0])
    assert table.attrs["units"]["dx"] == "px"
    assert repr(found) == "<StackAlignment of 4 frames, 3 converged>"
    axes = fg.register.plot_drift(found).axes[0]
    assert axes.get_title() == "4 frames, 3 converged"
    line = axes.get_lines()[0]
    assert np.isnan(line.get_ydata()[2])
    with pytest.raises(TypeError, match="alignment must be"):
        fg.register.plot_drift(frames)
