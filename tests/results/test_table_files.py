"""Tables of any content come back from every format; tables with units, sky and magnitudes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import fastgauss as fg
from fastgauss.cli.units import described_columns
from fastgauss.models.model import get_model
from fastgauss.results.rows import Rows

NEEDED = {
    ".npz": "numpy", ".csv": "numpy", ".parquet": "pyarrow", ".ecsv": "astropy", ".fits": "astropy",
    ".json": "numpy",
}  # fmt: skip
MODELS = [
    *(get_model(name, ndim) for name in ("symmetric", "elliptic") for ndim in (1, 2, 3)),
    get_model("rotated", 2),
]
SIZES = st.floats(0, None) | st.just(np.nan)


def counts(n, low=0):
    return arrays(np.int32, n, elements=st.integers(low, 2**31 - 1))


@st.composite
def results(draw):
    """Results with numbers that no fit would give."""
    model, n = draw(st.sampled_from(MODELS)), draw(st.integers(1, 5))
    size = model.size
    packed = draw(arrays(float, (n, size * (size + 1) // 2), elements=st.floats()))
    i = np.arange(size)
    packed[:, i * (i + 3) // 2] = draw(arrays(float, (n, size), elements=SIZES))
    held = draw(st.none() | arrays(bool, (n, size)))
    errors = draw(st.none() | arrays(float, (n, size), elements=SIZES))
    status = draw(arrays(np.int32, n, elements=st.sampled_from([*map(int, fg.Status)])))
    rows = Rows(
        draw(arrays(float, (n, size), elements=st.floats())), packed,
        draw(arrays(float, n, elements=st.floats())), status, draw(counts(n)), draw(counts(n)),
        draw(counts(n, -(2**31))), draw(st.none() | arrays(np.int64, n)), held, errors,
    )  # fmt: skip
    pixel = draw(st.sampled_from(["sample", "integrate"]))
    length = draw(st.sampled_from(["px", "coords"])) if model.ndim == 1 else "px"
    whole = fg.FitResult(model, rows, absolute=draw(st.booleans()), pixel=pixel, length=length)
    return whole[draw(st.permutations(range(n)))[: draw(st.integers(1, n))]]


def assert_same_bits(found, expected, name):
    assert found.dtype == expected.dtype, name
    np.testing.assert_array_equal(found, expected, err_msg=name)
    if found.dtype.kind == "f":
        there = ~np.isnan(found)
        np.testing.assert_array_equal(np.signbit(found[there]), np.signbit(expected[there]))


@pytest.mark.parametrize("suffix", NEEDED)
def test_any_result_comes_back(tmp_path_factory, suffix):
    pytest.importorskip(NEEDED[suffix])
    path = tmp_path_factory.mktemp("any") / f"a{suffix}"

    @settings(max_examples=15, deadline=None)
    @given(results())
    def check(result):
        result.save(path)
        again = fg.FitResult.load(path)
        for name in ("model", "pixel", "absolute", "length"):
            assert getattr(again, name) == getattr(result, name)
        columns = again.to_dict()
        for name, expected in result.to_dict().items():
            assert_same_bits(columns[name], expected, name)
        np.testing.assert_array_equal(again.at_bound, result.at_bound)
        if suffix != ".csv":
            assert_same_bits(again.covariance, result.covariance, "covariance")

    check()


def _of_csv(frame, path):
    frame.to_csv(path, index=False)
    return path


def _of_qtable(suffix, **options):
    def write(table, path):
        table.write(path.with_suffix(suffix), overwrite=True, **options)
        return path.with_suffix(suffix)

    return write


WAYS = {
    "DataFrame": ("pandas", "to_dataframe", lambda table, path: table),
    "DataFrame.to_csv": ("pandas", "to_dataframe", _of_csv),
    "QTable": ("astropy", "to_table", lambda table, path: table),
    "QTable, ECSV": ("astropy", "to_table", _of_qtable(".ecsv", format="ascii.ecsv")),
    "QTable, FITS": ("astropy", "to_table", _of_qtable(".fits")),
}


@pytest.mark.parametrize("way", WAYS)
def test_tables_in_memory_come_back(tmp_path_factory, way):
    library, method, through = WAYS[way]
    pytest.importorskip(library)
    path = tmp_path_factory.mktemp("memory") / "a.csv"

    @settings(max_examples=10, deadline=None)
    @given(results())
    def check(result):
        same = ["model", "pixel", "absolute", "length"]
        if result.model.ndim != 1 and method == "to_dataframe":  # a QTable has units instead
            result.pixel_size = 107.0
            same.append("pixel_size")
        again = fg.FitResult.load(through(getattr(result, method)(), path))
        for name in same:
            assert getattr(again, name) == getattr(result, name), name
        columns = again.to_dict()
        for name, expected in result.to_dict().items():
            assert_same_bits(columns[name], expected, name)

    check()


def test_numbers_that_json_does_not_know(tmp_path):
    """Programs of other languages read the file: it is JSON without words of Python."""
    import json

    def refuse(word):
        raise AssertionError(word)

    result = invented()
    result.params[:, 0] = np.nan, np.inf, -np.inf
    result.save(tmp_path / "a.json")
    told = json.loads((tmp_path / "a.json").read_text(), parse_constant=refuse)
    assert told["columns"]["amplitude"] == [None, "Infinity", "-Infinity"]
    assert told["units"]["x"] == "px"
    again = fg.FitResult.load(tmp_path / "a.json")
    np.testing.assert_array_equal(again.amplitude, result.amplitude)
    empty = result[:0]
    empty.save(tmp_path / "b.json")
    assert len(fg.FitResult.load(tmp_path / "b.json")) == 0
    for text in ("[]", '{"columns": 3}', '{"columns": {"x": 3}}', "{", '{"columns": {}}'):
        (tmp_path / "c.json").write_text(text)
        with pytest.raises(ValueError, match=r"c\.json"):
            fg.FitResult.load(tmp_path / "c.json")


def test_a_table_in_memory_that_is_no_result_is_refused():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match="the table holds no result of a fit"):
        fg.FitResult.load(pandas.DataFrame({"x": [1.0]}))
    with pytest.raises(TypeError, match=r"path must be .* got int"):
        fg.FitResult.load(3)
    with pytest.raises(TypeError, match=r"path must be .* got Series"):
        fg.FitResult.load(pandas.Series([1.0], name="x"))
    with pytest.raises(ValueError, match="format must be None for a table in memory"):
        fg.FitResult.load(pandas.DataFrame({"x": [1.0]}), format="trackpy")


@pytest.mark.parametrize("suffix", [".parquet", ".ecsv", ".fits"])
def test_our_own_files_come_back_by_the_readers_of_others(tmp_path, suffix):
    result, path = invented(), tmp_path / f"a{suffix}"
    if suffix == ".parquet":
        pandas = pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
        result.save(path)
        table = pandas.read_parquet(path)
    else:
        astropy_table = pytest.importorskip("astropy.table")
        result.save(path)
        table = astropy_table.Table.read(path, **({"hdu": 1} if suffix == ".fits" else {}))
    again = fg.FitResult.load(table)
    np.testing.assert_array_equal(again.params, result.params)
    np.testing.assert_array_equal(again.covariance, result.covariance)


def test_columns_of_others_that_are_no_numbers_are_left_out():
    coordinates = pytest.importorskip("astropy.coordinates")
    result = invented()
    table = result.to_table()
    right_ascension, declination = np.full((2, len(result)), 10.0)
    table["sky"] = coordinates.SkyCoord(right_ascension, declination, unit="deg")
    np.testing.assert_array_equal(fg.FitResult.load(table).params, result.params)


def test_json_of_other_programs_writes_whole_numbers_without_a_point(tmp_path):
    import json

    result = invented()
    result.save(tmp_path / "a.json")
    whole = json.loads((tmp_path / "a.json").read_text())
    whole["columns"]["covariance"] = [[1] * 15] * len(result)
    whole["columns"]["x"] = [2**70] * len(result)
    (tmp_path / "a.json").write_text(json.dumps(whole))
    again = fg.FitResult.load(tmp_path / "a.json")
    np.testing.assert_array_equal(again.rows.packed, 1.0)
    np.testing.assert_array_equal(again.x, 2.0**70)


def invented(name="symmetric", ndim=2, n=3, **others):
    """A result of plain numbers."""
    model = get_model(name, ndim)
    rng = np.random.default_rng(ndim)
    half = rng.normal(size=(n, model.size, model.size)) * 0.1
    rows, columns = np.tril_indices(model.size)
    packed = (half @ half.swapaxes(1, 2))[:, rows, columns]
    params = rng.uniform(1.0, 9.0, (n, model.size))
    codes, many = np.zeros(n, np.int32), np.full(n, 100, np.int32)
    table = Rows(params, packed, rng.uniform(50, 150, n), codes, codes + 9, many, many - 5)
    return fg.FitResult(model, table, **{"absolute": True} | others)


# -- units -------------------------------------------------------------------------------------


def test_lengths_are_pixels_or_in_the_unit_of_a_pixels_size():
    u = pytest.importorskip("astropy.units")
    result = invented("elliptic", 3)
    table = result.to_table()
    assert tuple(table.colnames) == result.columns
    assert table["x"].unit == table["sigma_z_error"].unit == table["fwhm"].unit == u.pix
    assert table.meta == {"model": "elliptic", "pixel": "sample", "absolute": True}
    assert table["snr"].info.description == "flux / flux_error"
    table = result.to_table((300, 100, 110) * u.nm)  # z, y, x
    for name, size in (("x", 110), ("y_error", 100), ("sigma_z", 300), ("z", 300)):
        np.testing.assert_allclose(table[name].to_value("um"), result[name] * size / 1000)
    widths = result.model.widths(result.params) * [110, 100, 300]
    mean = np.sqrt((widths**2).mean(axis=1))
    np.testing.assert_allclose(table["fwhm"].to_value("nm"), np.sqrt(8 * np.log(2)) * mean)
    np.testing.assert_array_equal(table["flux"], result.flux)
    rotated = invented("rotated").to_table(0.3 * u.arcsec / u.pix)
    assert rotated["theta"].unit == u.rad and rotated["sigma_x"].unit == u.arcsec


def test_covariances_of_sources_are_in_the_square_of_the_unit(tmp_path):
    u = pytest.importorskip("astropy.units")
    result = invented(fg.psf_model([0.7, 0.3], [1.2, 2.4]).with_source())
    for table, one, other, unit in (
        (result.to_table(), 1.0, 1.0, u.pix),
        (result.to_table((0.3, 0.2) * u.arcsec), 0.2, 0.3, u.arcsec),  # y, x
    ):
        for name, size in (("xx", one * one), ("yy", other * other), ("xy", one * other)):
            for column in (name, f"{name}_error"):
                assert table[column].unit == unit**2
                np.testing.assert_allclose(table[column].value, result[column] * size)
    found = described_columns(result, {"X": (0.2, "um"), "Y": (0.3, "um")}, None)
    for name, size in (("xx", 0.04), ("yy", 0.09), ("xy", 0.06)):
        np.testing.assert_allclose(found[f"{name}_um2"][0], result[name] * size)
        np.testing.assert_allclose(found[f"{name}_um2_error"][0], result[f"{name}_error"] * size)
    table = pytest.importorskip("astropy.table").QTable
    for suffix in (".ecsv", ".fits"):
        result.save(tmp_path / f"a{suffix}")
        assert table.read(tmp_path / f"a{suffix}")["xy_error"].unit == u.pix**2
        assert fg.FitResult.load(tmp_path / f"a{suffix}").model == result.model
    mixed = described_columns(result, {"X": (0.2, "um"), "Y": (3.0, "s")}, None)
    assert "xx_um2" in mixed and "yy_s2" in mixed and not any("xy" in name for name in mixed)


def test_lengths_of_a_profile_are_in_the_unit_of_its_abscissae():
    u = pytest.importorskip("astropy.units")
    result = invented(ndim=1, length="coords")
    plain = result.to_table()
    assert not hasattr(plain["x"], "unit") or plain["x"].unit is None
    assert plain.meta["length"] == "coords"
    table = result.to_table(u.AA)
    assert table["x_error"].unit == table["fwhm"].unit == table["flux_error"].unit == u.AA
    np.testing.assert_array_equal(table["x"].value, result.x)


def test_a_pixels_size_that_fits_no_column_is_refused():
    u = pytest.importorskip("astropy.units")
    for size, error, reason in (
        (0.1, TypeError, "must have a unit"),
        ("um", TypeError, "must have a unit"),
        (2 * u.dimensionless_unscaled, ValueError, "must have a unit of length"),
        (2 * u.pix, ValueError, "must have a unit of length"),
        (-1 * u.um, ValueError, "positive and finite"),
        (np.nan * u.um, ValueError, "positive and finite"),
        ([1, 1, 1] * u.um, ValueError, r"one size or 2, got shape \(3,\)"),
        ([1, 2] * u.um, ValueError, "the same along all axes for the model 'symmetric'"),
    ):
        with pytest.raises(error, match=f"pixel_size .*{reason}"):
            invented().to_table(pixel_size=size)


# -- sky ---------------------------------------------------------------------------------------


def test_spots_on_the_sky_and_their_errors():
    wcs = pytest.importorskip("astropy.wcs").WCS(naxis=3)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN", "FREQ"
    wcs.wcs.crpix, wcs.wcs.crval, wcs.wcs.cunit = (
        (5, 5, 1),
        (359.9999, -72.0, 1e9),
        ("deg", "deg", "Hz"),
    )
    turn = np.deg2rad(30)
    wcs.wcs.cdelt = -3e-4, 2e-4, 1.0
    wcs.wcs.pc = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    result = invented(n=4)
    result.params[2] = np.nan
    table = result.to_table(wcs=wcs)
    good = [0, 1, 3]
    flat = wcs.celestial
    ra, dec = flat.all_pix2world(result.x[good], result.y[good], 0)
    np.testing.assert_allclose(table["ra"][good].to_value("deg"), ra, rtol=1e-12)
    np.testing.assert_allclose(table["dec"][good].to_value("deg"), dec, rtol=1e-12)
    assert np.isnan(table["ra"][2]) and np.isnan(table["dec_error"][2])
    scaled = np.diag([-3e-4, 2e-4]) @ np.array(wcs.wcs.pc)[:2, :2] * 3600
    for k in good:
        variances = np.diag(scaled @ result.covariance[k, 1:3, 1:3] @ scaled.T)
        found = [table[name][k].to_value("arcsec") for name in ("ra_error", "dec_error")]
        np.testing.assert_allclose(found, np.sqrt(variances), rtol=1e-3)


def test_a_wcs_that_gives_no_sky_is_refused():
    wcs = pytest.importorskip("astropy.wcs").WCS(naxis=2)
    with pytest.raises(ValueError, match="wcs must have celestial axes"):
        invented().to_table(wcs=wcs)
    with pytest.raises(ValueError, match="wcs must be None except for spots of images"):
        invented(ndim=3).to_table(wcs=wcs)
    with pytest.raises(TypeError, match="wcs must be a WCS"):
        invented().to_table(wcs="sky")


def test_magnitudes_and_their_errors():
    u = pytest.importorskip("astropy.units")
    result = invented()
    result.params[1, 0] *= -1
    for zero in (25.5, 25.5 * u.mag, np.float32(25.5)):
        table = result.to_table(zero_point=zero)
        assert table["mag"].unit == table["mag_error"].unit == u.mag
        flux = result.flux[::2]
        np.testing.assert_allclose(10 ** (-0.4 * (table["mag"][::2].value - 25.5)), flux)
        high, low = (-2.5 * np.log10(flux + s * 1e-6 * flux) for s in (-1, 1))
        slope = (high - low) / (2e-6 * flux)
        expected = slope * result.flux_error[::2]
        np.testing.assert_allclose(table["mag_error"][::2].value, expected, rtol=1e-6)
        assert np.isnan(table["mag"][1]) and np.isnan(table["mag_error"][1])
    for zero in ("25", np.nan, 3 * u.m, [1, 2]):
        with pytest.raises((TypeError, ValueError), match="zero_point"):
            result.to_table(zero_point=zero)


# -- files of astropy --------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["ecsv", "fits"])
def test_files_that_astropy_wrote(tmp_path, suffix):
    u = pytest.importorskip("astropy.units")
    table_of = pytest.importorskip("astropy.table").QTable
    path = tmp_path / f"a.{suffix}"
    result = invented(pixel="integrate")[[2, 0]]
    result.to_table(zero_point=20.0).write(path)
    again = fg.FitResult.load(path)
    assert (again.model, again.pixel, again.absolute) == (result.model, "integrate", True)
    for name in result.columns:
        np.testing.assert_array_equal(again[name], result[name])
    result.to_table(pixel_size=0.1 * u.um).write(path, overwrite=True)
    with pytest.raises(ValueError, match="its columns are not the parameters"):
        fg.FitResult.load(path)  # micrometres are no pixels
    table_of({"wait_s": [1.0, 2.0]}).write(path, overwrite=True)
    with pytest.raises(ValueError, match="its columns are not the parameters: wait_s"):
        fg.FitResult.load(path)
    result.save(path)
    read = table_of.read(path)
    assert read["x"].unit == u.pix and read["covariance"].shape == (2, 15)
    np.testing.assert_array_equal(read["x"].value, result.x)
    for part in (1, 2):  # a file that was cut off
        path.write_bytes(path.read_bytes()[: -len(path.read_bytes()) * part // 4])
        with pytest.raises(ValueError, match=f"a.{suffix}"):
            fg.FitResult.load(path)
