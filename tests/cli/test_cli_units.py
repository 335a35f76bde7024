"""``fastgauss fit --pixel-size``, and files that say how large their pixels are, or where."""

import argparse

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.cli import units
from fastgauss.cli.command import main
from fastgauss.io import tables
from fastgauss.io.frames import Facts

tifffile = pytest.importorskip("tifffile")
fits = pytest.importorskip("astropy.io.fits")

IMAGE = np.random.default_rng(2).poisson(
    fg.image([200.0, 20.3, 14.6, 1.3, 20.0], (30, 40), model="symmetric")
)


def table_of(tmp_path, path, *options, suffix=".npz"):
    """The table that the command writes, and the result that is read from it."""
    table = tmp_path / f"spots{suffix}"
    assert main(["fit", str(path), *map(str, options), "-o", str(table)]) == 0
    return tables.read_table(table)[0], fg.FitResult.load(table)


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".parquet"])
def test_columns_by_the_size_of_a_pixel(tmp_path, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    np.save(tmp_path / "a.npy", IMAGE)
    options = ("--pixel-size", "107nm")
    table, found = table_of(tmp_path, tmp_path / "a.npy", *options, suffix=suffix)
    expected = fg.fit_spots(IMAGE)
    np.testing.assert_array_equal(found.params, expected.params)
    for k, name in ((1, "x"), (2, "y"), (3, "sigma")):
        values, errors = (table[f"{name}_nm{end}"].astype(float) for end in ("", "_error"))
        np.testing.assert_array_equal(values, 107.0 * expected.params[:, k])
        np.testing.assert_array_equal(errors, 107.0 * expected.errors[:, k])


def test_the_size_that_the_file_tells(tmp_path):
    meta = {"axes": "YX", "unit": "micron"}
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, IMAGE.astype("u2"), imagej=True, metadata=meta, resolution=(10, 5))
    table, found = table_of(tmp_path, path, "--model", "elliptic")
    np.testing.assert_allclose(table["x_um"], 0.1 * found.x)
    np.testing.assert_allclose(table["sigma_y_um"], 0.2 * found.sigma_y)
    # one width has no length where pixels are not square, and options come before the file
    assert "sigma_um" not in table_of(tmp_path, path)[0]
    assert "sigma_x_um" not in table_of(tmp_path, path, "--model", "rotated")[0]
    table, found = table_of(tmp_path, path, "--pixel-size", "0.5")
    np.testing.assert_allclose(table["sigma_um"], 0.5 * found.sigma)


def test_places_on_the_sky(tmp_path):
    hdu = fits.PrimaryHDU(IMAGE.astype("i2"))
    hdu.header.update({
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 21.3,
        "CRPIX2": 15.6, "CDELT1": -1e-4, "CDELT2": 1e-4,
    })  # fmt: skip
    hdu.writeto(tmp_path / "a.fits")
    table, found = table_of(tmp_path, tmp_path / "a.fits")
    # the reference pixel of FITS counts from 1
    np.testing.assert_allclose(table["dec"], 2.0 + 1e-4 * (found.y - 14.6), rtol=1e-9)
    east = (150.0 - table["ra"]) * np.cos(np.radians(2.0))
    np.testing.assert_allclose(east, 1e-4 * (found.x - 20.3), atol=1e-9)
    np.testing.assert_allclose(table["sigma_arcsec"], 0.36 * found.sigma)
    for name, error in (("ra_error", found.x_error), ("dec_error", found.y_error)):
        np.testing.assert_allclose(table[name], 0.36 * error, rtol=1e-6)


@pytest.mark.parametrize("suffix", [".fits", ".ecsv"])
def test_further_columns_have_units_in_tables_that_hold_them(tmp_path, suffix):
    astropy_table = pytest.importorskip("astropy.table")
    hdu = fits.PrimaryHDU(IMAGE.astype("i2"))
    hdu.header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -1e-4, "CDELT2": 1e-4})
    hdu.writeto(tmp_path / "a.fits")
    options = ("--pixel-size", "0.2um", "--zero-point", 25)
    table, found = table_of(tmp_path, tmp_path / "a.fits", *options, suffix=suffix)
    told = astropy_table.QTable.read(tmp_path / f"spots{suffix}")
    units_of = {name: str(told[name].unit) for name in told.colnames if told[name].unit}
    assert units_of["x"] == "pix" and units_of["x_um"] == units_of["sigma_um_error"] == "um"
    assert units_of["ra"] == units_of["dec"] == "deg" and units_of["mag_error"] == "mag"
    assert units_of["ra_error"] == units_of["dec_error"] == "arcsec"
    np.testing.assert_array_equal(told["x_um"].value, 0.2 * found.x)
    assert len(found) and (found.x == table["x"]).all()  # physical columns are not read back


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_magnitudes_with_errors(tmp_path, suffix, capsys):
    np.save(tmp_path / "a.npy", IMAGE)
    options = ("--zero-point", "25")
    table, found = table_of(tmp_path, tmp_path / "a.npy", *options, suffix=suffix)
    wanted = found.to_table(zero_point=25.0)
    assert len(found) and 15 < wanted["mag"][0].value < 20
    for name in ("mag", "mag_error"):
        np.testing.assert_allclose(table[name].astype(float), wanted[name].value, rtol=1e-12)
    assert "mag" not in table_of(tmp_path, tmp_path / "a.npy", suffix=suffix)[0]
    assert main(["fit", str(tmp_path / "a.npy"), "--zero-point", "nan"]) == 2
    assert "--zero-point must be finite" in capsys.readouterr().err


def test_sizes_as_they_are_written():
    assert units.pixel_size("0.1") == ((0.1,), "um")
    assert units.pixel_size("300,107,1.07e2 nm") == ((300.0, 107.0, 107.0), "nm")
    assert units.pixel_size("0.2µm") == ((0.2,), "um")
    assert units.pixel_size("2.arcsec") == ((2.0,), "arcsec")
    for text in ("", "um", "0", "-1", "1,,2", "nan", "0.1 um 3"):
        with pytest.raises(argparse.ArgumentTypeError, match="write one size above 0"):
            units.pixel_size(text)


def test_sizes_of_a_volume():
    facts = Facts("Z", (5,), {"Z": (0.3, "um"), "X": (2.0, ""), "T": (1.0, "s")})
    assert units.sizes_of(None, facts, 3) == {"Z": (0.3, "um")}  # no unit, no column
    assert units.sizes_of(None, facts, 2) == {}
    assert units.sizes_of(((3.0, 1.0, 1.0), "um"), facts, 3)["Z"] == (3.0, "um")
    with pytest.raises(ValueError, match="--pixel-size must be one number or 2 numbers, got 3"):
        units.sizes_of(((3.0, 1.0, 1.0), "um"), facts, 2)
