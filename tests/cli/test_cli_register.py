"""``fastgauss register``: what the two files may hold."""

import numpy as np
import pytest
from scipy import ndimage

from fastgauss.cli.command import main
from fastgauss.io import tables
from fastgauss.register import align, displacement_field


def test_a_stack_is_refused(tmp_path, capsys):
    image = np.random.default_rng(0).normal(size=(40, 44)).cumsum(0).astype(np.float32)
    np.save(tmp_path / "one.npy", image)
    np.save(tmp_path / "movie.npy", np.stack([image, image]))
    for names in (("movie.npy", "one.npy"), ("one.npy", "movie.npy")):
        assert main(["register", *(str(tmp_path / name) for name in names)]) == 2
        assert "must hold one image, got a stack of 2 frames" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".ecsv", ".fits"])
def test_a_table_has_a_row_for_each_window(suffix, tmp_path, capsys):
    scene = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(96, 104)), 2)
    np.save(tmp_path / "one.npy", scene[:, :96])
    np.save(tmp_path / "two.npy", scene[:, 3:99])
    table = tmp_path / f"field{suffix}"
    names = [str(tmp_path / name) for name in ("one.npy", "two.npy")]
    assert main(["register", *names, "--window", "32", "-o", str(table)]) == 0
    assert f"wrote {table}" in capsys.readouterr().out
    columns, _ = tables.read_table(table)
    dx = columns["dx"].astype(float)
    field = displacement_field(scene[:, :96], scene[:, 3:99], 32, 32)
    assert np.array_equal(dx, field.dx.ravel(), equal_nan=True)
    assert abs(np.median(dx) + 3) < 0.1
    assert {"x", "y", "dx_error", "status"} <= set(columns)


def test_a_table_of_an_unknown_kind_is_refused_first(tmp_path, capsys):
    assert main(["register", "none.npy", "none.npy", "-o", str(tmp_path / "field.doc")]) == 2
    assert ".csv" in capsys.readouterr().err


@pytest.mark.parametrize("motion", ["translation", "rigid"])
def test_one_motion_of_the_whole_image(motion, tmp_path, capsys):
    scene = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(72, 76)), 2)
    images = scene[4:68, 6:70], scene[5:69, 4:68]
    for name, image in zip(("one", "two"), images, strict=True):
        np.save(tmp_path / f"{name}.npy", image)
    names = [str(tmp_path / f"{name}.npy") for name in ("one", "two")]
    table = tmp_path / "motion.csv"
    assert main(["register", *names, "--motion", motion, "-o", str(table)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("converged") and "\ndx " in said and f"wrote {table}" in said
    columns, _ = tables.read_table(table)
    assert columns["dy"].astype(float) == pytest.approx(-1, abs=0.01)
    assert ("angle_error" in columns) == (motion == "rigid")
    found = align(*images, motion=motion)
    assert columns["dx_error"].astype(float) == pytest.approx(found.errors[0])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["b.npy", "--motion", "rigid", "--window", "32"], "--window is no option with --motion"),
        (["b.npy", "--motion", "rigid", "--plot", "a.png"], "--plot is no option with --motion"),
        (["--motion", "rigid"], "--motion is an option of two images A B"),
    ],
)
def test_options_of_windows_are_refused_with_a_motion(options, told, capsys):
    assert main(["register", "a.npy", *options]) == 2
    assert told in capsys.readouterr().err
