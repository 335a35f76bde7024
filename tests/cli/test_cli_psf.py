"""The command ``psf``, and point spread functions as the model of ``fit``."""

import csv
import sys

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.cli import main
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.models.field_terms import Extent
from fastgauss.models.psf_field import psf_field

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="the search of spots is slow")

PLACES = np.array([[22.3, 20.8], [60.4, 25.1], [35.2, 61.7]])


def stars():
    """Three stars of two Gaussians, with the noise of photons."""
    y, x = np.indices((85, 83))
    light = np.full(y.shape, 30.0)
    for row, column in PLACES:
        r2 = (y - row) ** 2 + (x - column) ** 2
        for weight, sigma in ((0.7, 1.2), (0.3, 2.4)):
            light += 4e4 * weight / (2 * np.pi * sigma**2) * np.exp(-0.5 * r2 / sigma**2)
    return np.random.default_rng(3).poisson(light).astype(float)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "field.npy"
    np.save(path, stars())
    return path


def fails(capsys, *arguments):
    """The line of an error."""
    assert main([str(each) for each in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) in (1, 2)
    return err.splitlines()[-1]


def test_a_model_is_measured_written_and_drawn(image, tmp_path, capsys):
    target, plot = tmp_path / "psf.json", tmp_path / "psf.svg"
    call = ["psf", image, "-o", target, "--plot", plot, "--components", "2"]
    assert main([str(each) for each in call]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("fastgauss: field.npy: an image of 85 x 83 pixels; a hundred stars take")
    assert "step" not in err  # a bar is for a terminal
    assert out.startswith("2 Gaussians, FWHM ") and "from 3 stars" in out
    assert f"wrote {target}" in out and plot.read_bytes()
    found = fg.PsfModel.load(target)
    wanted = fg.measure_psf(stars(), components=2).model
    np.testing.assert_allclose(found.constants, wanted.constants, rtol=1e-6)


def test_steps_are_shown_on_a_terminal_and_the_header_is_told(tmp_path, capsys, monkeypatch):
    fits = pytest.importorskip("astropy.io.fits")
    pytest.importorskip("tqdm")
    path, header = tmp_path / "field.fits", fits.Header({"SATURATE": 60000.0})
    fits.writeto(path, stars().astype(np.float32), header)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main(["psf", str(path), "--components", "2"]) == 0
    out, err = capsys.readouterr()
    assert "85 x 83 pixels; its header says: saturation 60000; a hundred" in err
    assert "7/7" in err and "step" in err and "from 3 stars" in out


def test_fits_take_the_model_of_a_file_and_measure_their_own(image, tmp_path, capsys):
    target, table = tmp_path / "psf.json", tmp_path / "stars.csv"
    fg.psf_model([0.7, 0.3], [1.2, 2.4]).save(target)
    for psf in (target, "measure"):
        assert main(["fit", str(image), "--psf", str(psf), "-o", str(table)]) == 0
        assert "flux" in capsys.readouterr().out
        with table.open() as lines:
            rows = list(csv.DictReader(lines))
        flux = [float(row["flux"]) for row in rows]
        assert len(flux) >= 3 and "amplitude" not in rows[0]
        np.testing.assert_allclose(sorted(flux)[-3:], 4e4, rtol=0.04)


def test_a_fit_follows_the_pixel_with_which_the_model_was_measured(image, tmp_path, capsys):
    target, table = tmp_path / "psf.json", tmp_path / "stars.npz"
    call = ["psf", image, "--pixel", "integrate", "--components", "2", "-o", target]
    assert main([str(each) for each in call]) == 0
    call = ["fit", image, "--psf", target, "-o", table]
    assert main([str(each) for each in call]) == 0
    assert "fitted with --pixel integrate as psf.json was measured" in capsys.readouterr().err
    found = fg.FitResult.load(table)
    wanted = fg.fit_spots(stars(), model=fg.PsfModel.load(target), pixel="integrate")
    np.testing.assert_array_equal(found.params, wanted.params)
    table.unlink()
    message = fails(capsys, *call, "--pixel", "sample")
    assert "psf.json was measured, integrate, got sample" in message and not table.exists()


def test_a_model_may_have_a_free_width_or_a_source(image, tmp_path, capsys):
    target, table = tmp_path / "psf.json", tmp_path / "stars.npz"
    fg.psf_model([0.7, 0.3], [1.0, 2.0]).save(target)
    call = ["fit", image, "--psf", target, "--free-width", "-o", table]
    assert main([str(each) for each in call]) == 0
    assert ", width 1.2" in capsys.readouterr().out
    found = fg.FitResult.load(table)
    brightest = np.argsort(-found.flux)[:3]
    np.testing.assert_allclose(found.width[brightest], 1.2, rtol=0.03)
    call[4:5] = ["--source", "gaussian"]
    assert main([str(each) for each in call]) == 0
    assert ", xy " in capsys.readouterr().out
    found = fg.FitResult.load(table)
    brightest = found[np.argsort(-found.flux)[:3]]
    np.testing.assert_allclose(fg.source_shapes(brightest)["sigma_major"], 0.7, atol=0.2)
    call[4:6] = ["--free-weights", "--shared", "weight_2"]
    assert main([str(each) for each in call]) == 0
    assert ", weight_2 0." in capsys.readouterr().out
    assert len(set(fg.FitResult.load(table).weight_2)) == 1
    assert "--free-weights is of a point" in fails(capsys, "fit", image, "--free-weights")
    both = ["--psf", target, "--source", "gaussian", "--free-width"]
    assert "of known width, got a free one" in fails(capsys, "fit", image, *both)
    assert "--free-width is of a point" in fails(capsys, "fit", image, "--free-width")
    assert "--source is of a point" in fails(capsys, "fit", image, "--source", "gaussian")


def test_fits_take_a_model_that_varies_over_the_image(image, tmp_path, capsys):
    target = tmp_path / "psf.json"
    coefficients = np.array([[1.2, 2.4], [0.0, 0.0], [0.12, 0.24]])
    field = psf_field(1, 0, Extent(85, 83), np.array([0.7, 0.3]), coefficients)
    field.save(target)
    # The Laplacian of a part is that of the whole image, so that all fits start alike.
    wanted = fg.fit_spots(stars(), model=field, detector="laplacian")
    for part in ([], ["--roi", "7:85,5:83"]):
        table = tmp_path / "stars.npz"
        call = ["fit", image, "--psf", target, "--detector", "laplacian", "-o", table, *part]
        assert main([str(each) for each in call]) == 0
        found = fg.FitResult.load(table)
        assert found.model == field
        rows = np.argsort(-found.flux)[:3], np.argsort(-wanted.flux)[:3]
        np.testing.assert_allclose(found.params[rows[0]], wanted.params[rows[1]], rtol=1e-6)
    capsys.readouterr()
    assert "order=1 needs 6 stars" in fails(capsys, "psf", image, "--order", "1")
    assert "order must be at most 2" in fails(capsys, "psf", image, "--order", "3")


def test_errors_are_one_line(image, tmp_path, capsys):
    stack = tmp_path / "stack.npy"
    np.save(stack, np.stack([stars()] * 2))
    assert "must hold one image, got a stack of 2" in fails(capsys, "psf", stack)
    assert "must end in one of .json" in fails(capsys, "psf", image, "-o", tmp_path / "psf.txt")
    assert "components must be at least 1" in fails(capsys, "psf", image, "--components", "0")
    assert "components must be one of" in fails(capsys, "psf", image, "--components", "few")
    assert "image must show stars" in fails(capsys, "psf", image, "--saturation", "31")
    assert "without --model" in fails(
        capsys, "fit", image, "--psf", "measure", "--model", "elliptic"
    )
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}")
    assert "holds no point spread function" in fails(capsys, "fit", image, "--psf", wrong)
