"""`fit_movie` and `iter_movie` against `fit_spots` of one frame after the other."""

import gc
import itertools
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastgauss as fg
from fastgauss.base import thread_pool
from fastgauss.kernels._compile import JIT_DISABLED

SHAPE = (24, 28)


def light(count, seed=0):
    """Frames of none to three separate spots."""
    rng = np.random.default_rng(seed)
    sites = np.array([[6.0, 7.0], [7.0, 21.0], [17.0, 13.0]])
    frames = []
    for _ in range(count):
        places = sites[rng.random(3) < 0.7] + rng.uniform(-1, 1, 2)
        frames.append(fg.render(SHAPE, places, 90.0, 1.3) + 10.0)
    return np.array(frames)


def counts(number, seed=0):
    """The same as a camera writes them."""
    return (np.random.default_rng(seed).poisson(light(number, seed)) * 2 + 100).astype("u2")


CAMERA = fg.Camera(np.full(SHAPE, 100.0), 0.5, 1.0, saturation=60_000)
MOVIE = counts(7)


def frame_by_frame(frames, *given, **options):
    each = [fg.fit_spots(frame, *given, **options) for frame in frames]
    return fg.FitResult.concatenate(each, range(len(each)))


def assert_same(found, expected):
    one, other = found.to_dict(), expected.to_dict()
    assert list(one) == list(other)
    for name, column in one.items():
        np.testing.assert_array_equal(column, other[name], err_msg=name)
    np.testing.assert_array_equal(found.covariance, expected.covariance)


EXPECTED = frame_by_frame(MOVIE, camera=CAMERA)


class Chunked:
    """An array in chunks, as h5py and Zarr have them, which counts what is read."""

    def __init__(self, array, chunks):
        self.array, self.chunks, self.shape, self.read = array, chunks, array.shape, []

    def __getitem__(self, where):
        self.read.append(where)
        return self.array[where]


SOURCES = {
    "array": lambda movie: movie,
    "Fortran": np.asfortranarray,
    "big-endian": lambda movie: movie.astype(">u2"),
    "list": list,
    "tuple": tuple,
    "lists": lambda movie: [frame.tolist() for frame in movie],
    "generator": lambda movie: (frame for frame in movie),
    "chunks": lambda movie: Chunked(movie, (3, 24, 28)),
    "uneven chunks": lambda movie: Chunked(movie, ((1, 4, 2), (24,), (28,))),
}


@pytest.mark.parametrize("threads", [1, 2, 5, 9])
@pytest.mark.parametrize("source", SOURCES)
def test_a_movie_is_its_frames_to_the_bit(source, threads):
    if source == "lists" and threads > 1:
        pytest.skip("as with one")
    found = fg.fit_movie(SOURCES[source](MOVIE), camera=CAMERA, threads=threads)
    assert 7 < len(found) < 21
    assert_same(found, EXPECTED)


def test_chunks_are_read_once_and_in_order():
    source = Chunked(MOVIE, (3, 24, 28))
    fg.fit_movie(source, camera=CAMERA)
    assert source.read == [slice(0, 3), slice(3, 6), slice(6, 7)]


@pytest.mark.parametrize("kind", ["npy", "tif", "zarr", "dask", "memmap", "h5py", "xarray"])
def test_files_and_arrays_of_others(tmp_path, kind):
    path = tmp_path / f"movie.{kind}"
    if kind == "npy":
        np.save(path, MOVIE)
        source = str(path)
    elif kind == "tif":
        pytest.importorskip("tifffile").imwrite(path, MOVIE, photometric="minisblack")
        source = path
    elif kind == "zarr":
        zarr = pytest.importorskip("zarr")
        zarr.save_array(str(path), MOVIE)
        assert_same(fg.fit_movie(zarr.open(str(path), mode="r"), camera=CAMERA), EXPECTED)
        source = path
    elif kind == "dask":
        source = pytest.importorskip("dask.array").from_array(MOVIE, chunks=(2, 10, -1))
    elif kind == "memmap":
        source = np.memmap(path, MOVIE.dtype, "w+", shape=MOVIE.shape)
        source[:] = MOVIE
    elif kind == "h5py":
        file = pytest.importorskip("h5py").File(path, "w")
        source = file.create_dataset("movie", data=MOVIE)
    else:
        source = pytest.importorskip("xarray").DataArray(MOVIE, dims=("t", "y", "x"))
    assert_same(fg.fit_movie(source, camera=CAMERA), EXPECTED)


def test_options_are_those_of_fit_spots():
    mask = np.zeros(SHAPE, bool)
    mask[5:8, 20:22] = True
    positions = np.array([[6.0, 7.0], [7.0, 21.0], [17.0, 13.0]])
    movie = MOVIE.astype(np.float64)  # no option depends on the dtype
    for given_, options in (
        ((positions,), {"box": 9, "mask": mask, "fixed": {"sigma": 1.3}}),
        ((positions,), {"shared": "sigma", "bounds": {"amplitude": (0, None)}}),
        ((), {"threshold": 40.0, "weights": np.full(SHAPE, 0.5)}),
    ):
        found = fg.fit_movie(movie, *given_, **options, threads=2)
        assert_same(found, frame_by_frame(movie, *given_, **options))


@pytest.mark.skipif(JIT_DISABLED, reason="too slow as plain Python")
def test_likelihood_and_joint_fits_of_movies():
    movie = MOVIE.astype(np.float64)
    for options in ({"method": "mle", "camera": CAMERA}, {"joint": True}):
        found = fg.fit_movie(movie, **options, threads=2)
        assert_same(found, frame_by_frame(movie, **options))


def test_frames_without_spots_and_without_data():
    movie = light(5)
    movie[1] = 10.0
    movie[3] = np.nan
    found = fg.fit_movie(movie)
    assert not np.isin([1, 3], found.frames).any() and found.frames[-1] == 4
    each = list(fg.iter_movie(movie, threads=2))
    assert [len(spots) for spots in each] == [int((found.frames == k).sum()) for k in range(5)]
    none = fg.fit_movie(np.full((2, *SHAPE), 10.0))
    assert len(none) == 0 and none.frames.shape == (0,)


def test_volumes_in_time():
    places = np.array([[4.0, 6.0, 7.0], [5.0, 12.0, 13.0]])
    movie = np.array([fg.render((10, 18, 19), places + k / 4, 50.0, 1.3) + 3 for k in range(2)])
    found = fg.fit_movie(movie, places)
    assert_same(found, frame_by_frame(movie, places))


# -- while frames arrive -----------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 6), st.integers(0, 12), st.randoms(use_true_random=False))
def test_results_are_in_order_and_reading_is_bounded(threads, length, random):
    read = 0
    moments = [random.random() * 2e-3 for _ in range(length)]

    def source():
        nonlocal read
        for k in range(length):
            read += 1
            yield np.full(SHAPE, float(k))

    def slow(image, **options):
        threading.Event().wait(moments[int(image[0, 0])])
        return fits(image, **options)

    with pytest.MonkeyPatch.context() as patch:
        from fastgauss.movies import frame_groups

        fits = frame_groups.fit_spots
        patch.setattr(frame_groups, "fit_spots", slow)
        given_ = 0
        for spots in fg.iter_movie(source(), [[9.0, 9.0]], threads=threads):
            assert spots.frames.tolist() == [given_]
            assert spots.offset.tolist() in ([given_], pytest.approx([given_], nan_ok=True))
            assert read - given_ <= (1 if threads == 1 else 3 * threads)
            given_ += 1
        assert given_ == read == length


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_fits_faster_than_frames_wait_for_one_more_frame_at_most(monkeypatch, threads):
    begun, asked, begin = [], 0, thread_pool._begin

    def recorded(*work):
        begun.append(begin(*work))
        return begun[-1]

    def camera():
        nonlocal asked
        for frame in MOVIE:
            asked += 1
            if begun:
                begun[-1].result()  # each fit ends before the next frame arrives
            yield frame

    monkeypatch.setattr(thread_pool, "_begin", recorded)
    for number, spots in enumerate(fg.iter_movie(camera(), camera=CAMERA, threads=threads)):
        assert (spots.frames == number).all()
        assert asked <= number + (1 if threads == 1 else 2)
    assert asked == len(MOVIE) == number + 1


def test_a_camera_without_end_and_one_memory_for_all_frames():
    memory = np.empty(SHAPE, "u2")

    def camera():
        for k in itertools.count():
            memory[:] = MOVIE[k % len(MOVIE)]
            yield memory

    source = camera()
    results = fg.iter_movie(source, camera=CAMERA, threads=2)
    each = list(itertools.islice(results, 7))
    results.close()
    assert_same(fg.FitResult.concatenate(each), EXPECTED)


def test_nothing_is_read_before_a_result_is_asked_for():
    read = []
    fg.iter_movie(map(read.append, [1]))
    assert not read
    with pytest.raises(TypeError, match="modle is no option of fit_movie, nor of fit_spots"):
        fg.iter_movie(MOVIE, modle="rotated")


@pytest.mark.skipif(JIT_DISABLED, reason="hundreds of frames")
def test_a_long_movie_holds_its_rows_and_no_result_of_each_frame():
    alive = []

    def source():
        for k in range(700):
            if k == 600:
                alive.append(sum(type(each) is fg.FitResult for each in gc.get_objects()))
            yield MOVIE[k % 7]

    positions = [[6.0, 7.0], [7.0, 21.0]]
    before = sum(type(each) is fg.FitResult for each in gc.get_objects())
    found = fg.fit_movie(source(), positions, camera=CAMERA, threads=1)
    assert alive[0] - before < 300
    once = fg.fit_movie(MOVIE, positions, camera=CAMERA, threads=1)
    expected = fg.FitResult.concatenate([once] * 100)
    rows = expected.rows._replace(frames=np.repeat(np.arange(700), 2))
    assert_same(found, expected.with_rows(rows))


def test_progress_counts_frames():
    told = []
    fg.fit_movie(MOVIE, progress=lambda *done: told.append(done), threads=2)
    assert told == [(k, 7) for k in range(1, 8)]
    told.clear()
    fg.fit_movie(iter(MOVIE), progress=lambda *done: told.append(done))
    assert told == [(k, 0) for k in range(1, 8)]


# -- what goes wrong ---------------------------------------------------------------------------


def dies(after, error):
    yield from MOVIE[:after]
    raise error


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_what_was_fitted_before_an_error_is_kept(threads):
    odd = [*MOVIE[:5], MOVIE[5][:-1], MOVIE[6]]
    words = [*MOVIE[:5], np.full(SHAPE, "x")]
    for frames, cause, text in (
        (dies(5, OSError("the cable is out")), OSError, "frame 5: the cable is out"),
        (odd, ValueError, r"frame 5: frames\[5\] must have the shape \(24, 28\), got \(23, 28\)"),
        (words, TypeError, r"frame 5: frames\[5\] must hold real numbers"),
    ):
        with pytest.raises(fg.MovieError, match=text) as info:
            fg.fit_movie(frames, camera=CAMERA, threads=threads)
        error = info.value
        assert error.frame == 5 and isinstance(error.__cause__, cause)
        assert_same(error.result, EXPECTED[EXPECTED.frames < 5])
        assert f"{len(error.result)} spots of the frames before" in str(error)
    given_ = []
    with pytest.raises(fg.MovieError, match=": out") as info:
        for spots in fg.iter_movie(dies(5, OSError("out")), camera=CAMERA, threads=threads):
            given_.append(spots)
    assert len(given_) == info.value.frame == 5 and info.value.result is None


@pytest.mark.parametrize("kind", ["npy", "shaped", "ome", "imagej", "pages"])
def test_a_file_that_ends_too_early(tmp_path, kind):
    path = tmp_path / ("movie.npy" if kind == "npy" else "movie.tif")
    if kind == "npy":
        np.save(path, MOVIE)
        left = path.stat().st_size - 3 * MOVIE[0].nbytes + 9
        path.write_bytes(path.read_bytes()[:left])
    else:
        tifffile = pytest.importorskip("tifffile")
        if kind == "pages":  # compressed, as a camera's program may write them
            options = {"photometric": "minisblack", "metadata": None, "compression": "zlib"}
            with tifffile.TiffWriter(path) as file:
                for frame in MOVIE:
                    file.write(frame, **options)
        else:
            options = {} if kind == "shaped" else {kind: True}
            tifffile.imwrite(path, MOVIE, photometric="minisblack", **options)
        content = bytearray(path.read_bytes())
        with tifffile.TiffFile(path) as file:
            if kind == "pages":
                start = file.pages[4].dataoffsets[0]
                content[start : start + 9] = bytes(9)
            else:
                del content[file.series[0].dataoffset + 4 * MOVIE[0].nbytes + 9 :]
        path.write_bytes(content)
    with pytest.raises(fg.MovieError, match="frame 4: cannot read") as info:
        fg.fit_movie(path, camera=CAMERA)
    assert_same(info.value.result, EXPECTED[EXPECTED.frames < 4])


@pytest.mark.parametrize(
    ("frames", "error", "text"),
    [
        ([], ValueError, "frames must hold at least one frame, got none"),
        (np.empty((0, 5, 5)), ValueError, "at least one frame"),
        (MOVIE[0], ValueError, "3 or 4 dimensions.*fit_spots fits one image"),
        (np.ones(4), ValueError, "frames must have 3 or 4 dimensions"),
        (5, TypeError, "frames must be an array, a path or an iterable of frames, got 5"),
        ({"a": 1}, TypeError, "frames must be an array, a path or an iterable"),
        ([1.0, 2.0], ValueError, r"frames\[0\] must have 2 or 3 dimensions"),
        (MOVIE.astype(complex), TypeError, r"frames\[0\] must hold real numbers"),
        ("nowhere.tif", FileNotFoundError, "nowhere.tif"),
        (dies(0, OSError("no camera")), OSError, "^no camera$"),
    ],
)
def test_what_is_no_movie(frames, error, text):
    with pytest.raises(error, match=text) as info:
        fg.fit_movie(frames)
    assert not isinstance(info.value, fg.MovieError)


def test_wrong_options_are_told_at_the_first_frame():
    for options, text in (
        ({"camera": 3}, "camera must be a Camera"),
        ({"camera": fg.Camera(np.ones((3, 3)))}, "camera's shape"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"method": "best"}, "method must be one of"),
        ({"progress": 3}, "progress must be"),
    ):
        with pytest.raises((TypeError, ValueError), match=text) as info:
            fg.fit_movie(MOVIE, **options)
        assert not isinstance(info.value, fg.MovieError)


def test_ctrl_c_ends_the_work(monkeypatch):
    threads = threading.active_count()

    def source():
        yield from MOVIE[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fg.fit_movie(source(), threads=3)
    assert threading.active_count() <= threads


def test_a_system_without_threads(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert_same(fg.fit_movie(MOVIE, camera=CAMERA, threads=2), EXPECTED)
