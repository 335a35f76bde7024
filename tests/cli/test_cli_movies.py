"""``fastgauss fit`` of movies: the result of fit_movie, also of a file that ends too early."""

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.cli.command import main


def movie():
    places = np.array([[8.0, 9.0], [9.0, 25.0], [21.0, 17.0]])
    rng = np.random.default_rng(1)
    frames = [fg.render((30, 34), places + k / 5, 120.0, 1.3) + 10 for k in range(6)]
    return rng.poisson(frames).astype("u2")


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_the_table_of_a_movie_is_that_of_fit_movie(tmp_path, threads):
    frames = movie()
    np.save(tmp_path / "movie.npy", frames)
    options = "--threads", str(threads), "--sigma", "1.4", "--false-alarms", "0.01"
    table = tmp_path / "spots.npz"
    assert main(["fit", str(tmp_path / "movie.npy"), *options, "-o", str(table)]) == 0
    found = fg.FitResult.load(table)
    expected = fg.fit_movie(frames, sigma=1.4, false_alarms=0.01)
    assert len(found) == 18
    for name, column in expected.to_dict().items():
        np.testing.assert_array_equal(found.to_dict()[name], column, err_msg=name)


def test_frames_before_the_end_of_a_file_are_written(tmp_path, capsys):
    frames = movie()
    np.save(tmp_path / "movie.npy", frames)
    content = (tmp_path / "movie.npy").read_bytes()
    (tmp_path / "movie.npy").write_bytes(content[: len(content) - 2 * frames[0].nbytes])
    table = tmp_path / "spots.csv"
    assert main(["fit", str(tmp_path / "movie.npy"), "-o", str(table)]) == 2
    out, err = capsys.readouterr()
    assert "12 spots in movie.npy, 4 frames" in out and f"wrote {table}" in out
    (error,) = [line for line in err.splitlines() if "error" in line]
    assert error.startswith("fastgauss: error: frame 4: cannot read") and "cut short" in error
    assert error.endswith("; the frames before it were fitted")
    found = fg.FitResult.load(table)
    np.testing.assert_array_equal(found.frames, np.repeat(np.arange(4), 3))


def test_the_first_picture_with_data_is_shown(tmp_path):
    pytest.importorskip("matplotlib")
    frames = movie().astype("f4")
    frames[:2] = np.nan
    np.save(tmp_path / "movie.npy", frames)
    options = ("--plot", str(tmp_path / "spots.png"), "-o", str(tmp_path / "spots.csv"))
    assert main(["fit", str(tmp_path / "movie.npy"), *options]) == 0
    assert fg.FitResult.load(tmp_path / "spots.csv").frames.min() == 2
    assert (tmp_path / "spots.png").stat().st_size > 1000
