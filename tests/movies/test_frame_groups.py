"""Frames that are fitted as one batch against frames that are fitted one after the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastgauss as fg
from fastgauss.fit.windows import windows
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.movies import fitting, frame_groups
from fastgauss.movies.frame_groups import FrameFits, group_size
from fastgauss.spots import prepared_images

SHAPE = (24, 28)
SITES = np.array([[5.2, 7.1], [8.4, 12.7], [14.1, 24.9], [20.6, 5.3]])  # two are close


def movie(frames=6):
    """Frames of none to four spots, the second without one and the fourth with a bright one."""
    rng = np.random.default_rng(3)
    counts = np.empty((frames, *SHAPE), "u2")
    for k in range(frames):
        lit = SITES[rng.random(4) < (0.0 if k == 1 else 0.8)]
        light = fg.render(SHAPE, lit, np.full(len(lit), 3000.0 if k == 3 else 90.0), 1.3)
        counts[k] = rng.poisson(light + 10.0) * 2 + 100
    return counts


MOVIE = movie()
CAMERA = fg.Camera(np.full(SHAPE, 100.0), 0.5, np.full(SHAPE, 1.5), saturation=3_000)


def rows_of(result):
    """All columns and covariances."""
    return {**result.to_dict(), "covariance": result.covariance}


def assert_frame_by_frame(found, frames, *given_, **options):
    each = [fg.fit_spots(frame, *given_, **options) for frame in frames]
    expected = rows_of(fg.FitResult.concatenate(each, range(len(each))))
    for name, column in rows_of(found).items():
        np.testing.assert_array_equal(column, expected[name], err_msg=name)


@pytest.fixture
def no_single_fits(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a frame was fitted alone")

    monkeypatch.setattr(frame_groups, "fit_spots", refuse)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [2, 3, 6])
def test_groups_are_their_frames_to_the_bit(monkeypatch, no_single_fits, size, threads):
    monkeypatch.setattr(fitting, "group_size", lambda *_: size)
    options = {"camera": CAMERA, "false_alarms": 0.001}  # none in the frame without spots
    found = fg.fit_movie(MOVIE, threads=threads, **options)
    assert (CAMERA.lost(MOVIE[3]) is not None) and (CAMERA.lost(MOVIE[2]) is None)
    assert_frame_by_frame(found, MOVIE, **options)
    each = list(fg.iter_movie(MOVIE, threads=threads, **options))
    assert len(each) == len(MOVIE) and len(each[1]) == 0
    for number, spots in enumerate(each):
        assert (spots.frames == number).all()
    assert_frame_by_frame(fg.FitResult.concatenate(each), MOVIE, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"box": 9, "fixed": {"sigma": 1.3}, "weights": np.full(SHAPE, 0.5)},
        {"sigma": [[1.3], [2.6]], "threshold": 15.0, "min_distance": 3.0},
        pytest.param(
            {"method": "mle", "camera": CAMERA},
            marks=pytest.mark.skipif(JIT_DISABLED, reason="too slow as plain Python"),
        ),
    ],
)
def test_options_of_groups(no_single_fits, options):
    frames = MOVIE if "camera" in options else MOVIE.astype(np.float64)
    found = fg.fit_movie(frames, threads=1, **options)
    assert len(found) > 8
    assert_frame_by_frame(found, frames, **options)


def test_options_that_tell_spots_apart_are_for_single_frames():
    frames = MOVIE[2:4].astype(np.float64)
    widths = {"sigma": np.array([1.2, 1.3, 1.4, 1.5])}
    start = np.column_stack([np.full(4, 80.0), SITES[:, ::-1], np.full((4, 2), [1.3, 10.0])])
    for options in (
        {"fixed": widths}, {"bounds": {"sigma": (0.5, widths["sigma"] + 1)}}, {"guess": start},
    ):  # fmt: skip
        found = fg.fit_movie(frames, SITES, threads=1, **options)
        assert_frame_by_frame(found, frames, SITES, **options)


def test_frames_of_several_dtypes():
    frames = [MOVIE[0], MOVIE[1].astype("f4"), MOVIE[2].astype("f8"), MOVIE[3]]
    assert_frame_by_frame(fg.fit_movie(frames, threads=1), frames)


@pytest.mark.parametrize("broken", [0, 1, 4])
def test_a_frame_that_cannot_be_fitted_ends_its_group_there(monkeypatch, broken):
    def failing(do):
        def done(frame, *given_, **options):
            if frame is frames[broken]:
                raise ValueError("no light")
            return do(frame, *given_, **options)

        return done

    frames = list(MOVIE)
    for name in ("check_image", "fit_image"):
        monkeypatch.setattr(frame_groups, name, failing(getattr(frame_groups, name)))
    with pytest.raises(ValueError, match="no light") as info:
        fg.fit_movie(frames, camera=CAMERA, threads=1)
    assert isinstance(info.value, fg.MovieError) == (broken > 0)
    if broken:
        assert info.value.frame == broken
        assert_frame_by_frame(info.value.result, frames[:broken], camera=CAMERA)


def test_a_group_without_a_frame_that_fails_is_not_given_up():
    fits = FrameFits({"positions": SITES, "camera": CAMERA}, 1, None)
    fitted = fits(5, list(MOVIE[:2]))
    assert fitted.failed is None and fitted.frames == 2
    assert fitted.result.frames.tolist() == [5] * 4 + [6] * 4


def test_frames_of_a_group_are_few_where_they_are_large_or_few():
    assert group_size(256 * 256, 2000, 2) == group_size(256 * 256, 0, 2) == 32
    assert group_size(2048 * 2048, 2000, 2) == 1
    assert group_size(256 * 256, 40, 2) == 10  # two groups for each thread
    assert group_size(256 * 256, 3, 2) == group_size(0, 1, 8) == 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 12))
def test_windows_of_several_images_are_those_of_each(seed, images, box):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 5, images)
    positions = rng.uniform(-4.0, 30.0, (counts.sum(), 2))
    number = np.repeat(np.arange(images), counts)
    first, extent = windows(positions, (box, 7), (25, 20), number)
    for k in range(images):
        alone = windows(positions[number == k], (box, 7), (25, 20))
        np.testing.assert_array_equal(first[number == k], alone[0])
        np.testing.assert_array_equal(extent[number == k], alone[1])


class _Wrapped:
    """A frame that shows the memory of a camera."""

    def __init__(self, memory):
        self.memory, self.shape, self.ndim, self.dtype = memory, memory.shape, 2, memory.dtype

    def __array__(self, dtype=None, copy=None):
        return np.array(self.memory, dtype=dtype)


class _Reader:
    """An array of frames, each read into the same memory."""

    shape, ndim, dtype = MOVIE.shape, 3, MOVIE.dtype

    def __init__(self):
        self.memory = np.empty(SHAPE, "u2")

    def __len__(self):
        return len(MOVIE)

    def __getitem__(self, number):
        self.memory[:] = MOVIE[number]
        return self.memory


def _rewritten(wrap):
    """Frames that share their memory."""
    memory = np.empty(SHAPE, "u2")
    frame = wrap(memory)
    for picture in MOVIE:
        memory[:] = picture
        yield frame


@pytest.mark.parametrize("kind", ["reader", "wrapped", "xarray"])
def test_frames_may_be_written_into_the_same_memory(kind):
    if kind == "reader":
        frames = _Reader()
    elif kind == "wrapped":
        frames = _rewritten(_Wrapped)
    else:
        xarray = pytest.importorskip("xarray")
        frames = _rewritten(lambda memory: xarray.DataArray(memory, dims=("y", "x")))
    assert_frame_by_frame(fg.fit_movie(frames, threads=1), MOVIE)


def test_frames_of_unlike_kinds_are_searched_once(monkeypatch, no_single_fits):
    searched = []
    place = frame_groups.place_spots
    monkeypatch.setattr(
        frame_groups, "place_spots", lambda *given_: searched.append(1) or place(*given_)
    )
    frames = [frame if k % 2 else frame.astype("f4") for k, frame in enumerate(MOVIE)]
    assert_frame_by_frame(fg.fit_movie(frames, threads=1), frames)
    assert len(searched) == len(frames)


def test_options_are_checked_once_for_all_frames(monkeypatch, no_single_fits):
    checked = []
    read = prepared_images.read_options
    monkeypatch.setattr(
        prepared_images, "read_options", lambda *given_: checked.append(1) or read(*given_)
    )
    assert fg.fit_movie(MOVIE, camera=CAMERA, threads=1).frames.max() == len(MOVIE) - 1
    assert len(checked) == 1
