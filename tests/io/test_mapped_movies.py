"""Movies of mapped files: their frames, what was changed in memory, and the memory they take."""

import sys
from pathlib import Path

import numpy as np
import pytest

from fastgauss.io import movies

MOVIE = np.random.default_rng(0).integers(0, 60_000, (40, 33, 47)).astype("u2")


def read(source):
    with movies.open_movie("frames", source) as movie:
        return np.array(list(movie.frames))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "movie.raw"
    path.write_bytes(b"header!" + MOVIE.tobytes())
    return path


def mapped(path, mode):
    return np.memmap(path, MOVIE.dtype, mode, offset=7, shape=MOVIE.shape)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_frames_and_changes_are_those_of_the_map(path, mode):
    array, expected = mapped(path, mode), MOVIE.copy()
    if mode != "r":
        array[3, :, 5] = expected[3, :, 5] = 9
        array[-1, -1, -1] = expected[-1, -1, -1] = 9
    for part in (
        np.s_[:], np.s_[5:30], np.s_[::-3], np.s_[:, 3:20, ::2], np.s_[:, ::-1],
    ):  # fmt: skip
        np.testing.assert_array_equal(read(array[part]), expected[part])
    np.testing.assert_array_equal(read(array.transpose(0, 2, 1)), expected.transpose(0, 2, 1))
    np.testing.assert_array_equal(array, expected)  # the map itself is as before
    array.flush()
    stored = MOVIE if mode == "c" else expected
    np.testing.assert_array_equal(mapped(path, "r"), stored)


def test_one_frame_for_all_times(path):
    array = np.broadcast_to(mapped(path, "r")[:1], (5, 33, 47), subok=True)
    np.testing.assert_array_equal(read(array), np.repeat(MOVIE[:1], 5, axis=0))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pages_that_were_read_are_given_back(tmp_path):
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

    frames, frame = 96, 1 << 19  # 96 MiB of frames of one MiB
    array = np.memmap(tmp_path / "large.raw", "u2", "w+", shape=(frames, 512, frame // 512))
    array[:] = 1
    del array
    array = np.memmap(tmp_path / "large.raw", "u2", "r", shape=(frames, 512, frame // 512))
    before = resident()
    with movies.open_movie("frames", array) as movie:
        sums = [int(each.sum()) for each in movie.frames]
    assert sums == [frame] * frames
    assert resident() - before < 32
