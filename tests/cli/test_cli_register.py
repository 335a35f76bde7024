"""``fastgauss register``: what the two files may hold."""

import numpy as np
import pytest
from scipy import ndimage

from fastgauss.cli.command import main
from fastgauss.io import tables
from fastgauss.register import displacement_field


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
