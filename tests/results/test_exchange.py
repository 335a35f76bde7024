"""Files of picasso, ThunderSTORM, SMAP, trackpy and TrackMate: written, read, read from others."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import fastgauss as fg
from fastgauss.models.model import get_model
from fastgauss.results.exchange import FORMATS
from fastgauss.results.rows import Rows

SIZE = 107.3  # nm
SUFFIX = {name: form.suffixes[0] for name, form in FORMATS.items()}
EPS = np.finfo(float).eps
LENGTHS = st.floats(0.01, 50.0)


def numbers(low, high):
    return st.floats(low, high, allow_subnormal=False)


def result_of(model, params, errors=None, frames=None, **facts):
    """A result with given parameters and standard errors."""
    params = np.asarray(params, float)
    n, size = params.shape
    errors = np.full(params.shape, 0.125) if errors is None else errors
    packed = np.zeros((n, size * (size + 1) // 2))
    i = np.arange(size)
    packed[:, i * (i + 3) // 2] = errors**2
    some = np.full(n, 7, np.int32)
    frames = np.arange(n) if frames is None else frames
    rows = Rows(params, packed, some * 1.0, some * 0, some, some * 7, some, frames, errors=errors)
    return fg.FitResult(model, rows, absolute=True, **facts)


@st.composite
def localisations(draw, name):
    model, n = get_model(name, 2), draw(st.integers(1, 5))
    size = model.size
    params = draw(arrays(float, (n, size), elements=LENGTHS))
    params[:, 0] = draw(arrays(float, n, elements=numbers(0.1, 1e6)))
    params[:, 1:3] = draw(arrays(float, (n, 2), elements=numbers(-0.5, 4000.0)))
    errors = draw(arrays(float, (n, size), elements=numbers(1e-4, 1e3)))
    frames = draw(arrays(np.int64, n, elements=st.integers(0, 2**32 - 1)))
    return result_of(model, params, errors, frames, pixel_size=draw(numbers(0.1, 1e4)))


@pytest.mark.parametrize("name", ["symmetric", "elliptic"])
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_what_picasso_holds_comes_back_to_the_bit(tmp_path_factory, name, data):
    pytest.importorskip("h5py")
    result = data.draw(localisations(name))
    path = tmp_path_factory.mktemp("bits") / "locs.hdf5"
    result.save(path)
    again = fg.FitResult.load(path)
    if name == "symmetric" or (result.sigma_x != result.sigma_y).any():
        assert again.model == result.model
    assert again.pixel_size == result.pixel_size
    columns = ["x", "y", "x_error", "y_error", "offset", "offset_error", "flux", "flux_error"]
    for column in [*columns, "frame", "iterations", *(n for n in result.names if "sigma" in n)]:
        np.testing.assert_array_equal(again[column], result[column], err_msg=column)


@pytest.mark.parametrize("form", ["thunderstorm", "smap", "trackpy", "trackmate"])
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_what_a_table_holds_comes_back(tmp_path_factory, form, data):
    result = data.draw(localisations("symmetric"))
    path = tmp_path_factory.mktemp("table") / "spots.csv"
    result.save(path, form)
    again = fg.FitResult.load(path, pixel_size=result.pixel_size)
    assert again.model.name == "symmetric"
    for name in ("frame", "id"):
        np.testing.assert_array_equal(again[name], result[name])
    for name in ("x", "y"):
        moved = np.abs(again[name] - result[name])
        assert (moved <= 4 * EPS * (np.abs(result[name]) + 0.5)).all(), name
    for name in ("sigma", "flux" if form != "trackmate" else "amplitude"):
        np.testing.assert_allclose(again[name], result[name], rtol=8 * EPS)
    if form in ("thunderstorm", "smap"):
        np.testing.assert_array_equal(again.offset, result.offset)
    if form == "smap":
        np.testing.assert_array_equal(again.flux_error, result.flux_error)
        for name in ("x_error", "y_error"):
            np.testing.assert_allclose(again[name], result[name], rtol=4 * EPS)


def test_pixels_are_where_each_program_has_them(tmp_path):
    # the middle of the first pixel: 0 here and in trackpy and TrackMate, half a pixel in
    # ThunderSTORM and one pixel in SMAP, both of which count frames from 1
    result = result_of(
        get_model("symmetric", 2), [[10.0, 0.0, 2.0, 1.5, 3.0]], frames=np.array([4])
    )
    result.save(tmp_path / "t.csv", "thunderstorm", pixel_size=100.0)
    head, row = (tmp_path / "t.csv").read_text().splitlines()
    assert head == (
        '"id","frame","x [nm]","y [nm]","sigma [nm]","intensity [photon]","offset [photon]",'
        '"bkgstd [photon]","uncertainty [nm]","uncertainty_xy [nm]"'
    )
    assert [float(cell) for cell in row.split(",")[:5]] == [1, 5, 50.0, 250.0, 150.0]
    result.save(tmp_path / "s.csv", "smap", pixel_size=100.0)
    head, row = (tmp_path / "s.csv").read_text().splitlines()
    told = dict(zip(head.replace('"', "").split(","), map(float, row.split(",")), strict=True))
    assert (told["frame"], told["xnm"], told["ynm"], told["PSFxnm"]) == (5, 100.0, 300.0, 150.0)
    assert told["locprecnm"] == told["xnmerr"] == 12.5 and "PSFynm" not in told
    result.save(tmp_path / "m.csv", "trackmate", pixel_size=100.0)
    lines = [line.split(",") for line in (tmp_path / "m.csv").read_text().splitlines()]
    assert dict(zip(lines[0], lines[3], strict=True))["POSITION_X"] == "(micron)"
    told = dict(zip(lines[0], lines[4], strict=True))
    assert (float(told["POSITION_X"]), float(told["POSITION_Y"])) == (0.0, 0.2)
    assert told["FRAME"] == "4"
    np.testing.assert_allclose(float(told["RADIUS"]), 0.15 * np.sqrt(2))
    result.save(tmp_path / "p.csv", "trackpy")
    told = dict(
        zip(*(line.split(",") for line in (tmp_path / "p.csv").read_text().split()), strict=True)
    )
    assert (told['"x"'], told['"y"'], told['"frame"'], told['"ecc"']) == ("0.0", "2.0", "4", "0.0")


def test_turned_spots_keep_their_widths_along_the_axes(tmp_path):
    model = get_model("rotated", 2)
    named = dict(amplitude=9.0, x=5.0, y=6.0, sigma_x=2.0, sigma_y=1.0, theta=0.4, offset=1.0)
    result = result_of(model, [[named[name] for name in model.names]])
    result.save(tmp_path / "t.csv", "thunderstorm", pixel_size=1.0)
    again = fg.FitResult.load(tmp_path / "t.csv", pixel_size=1.0)
    y, x = np.mgrid[-12:13, -12:13]
    profile = fg.image([[9.0, 12.0, 12.0, 2.0, 1.0, 0.4, 0.0]], (25, 25), model="rotated")[0]
    for axis, places in (("x", x), ("y", y)):
        width = np.sqrt((profile * places**2).sum() / profile.sum())
        np.testing.assert_allclose(again[f"sigma_{axis}"], width, rtol=1e-6)
    np.testing.assert_allclose(again.flux, result.flux)


def test_a_file_of_picasso_has_the_metadata_that_picasso_asks_for(tmp_path):
    h5py, yaml = pytest.importorskip("h5py"), pytest.importorskip("yaml")
    params = [[10.0, 7.6, 2.0, 1.5, 3.0], [9.0, np.nan, np.nan, 1.2, 3.0]]
    result = result_of(get_model("symmetric", 2), params, pixel_size=SIZE)
    result.save(tmp_path / "locs.hdf5")
    with h5py.File(tmp_path / "locs.hdf5") as file:
        locs = file["locs"][()]
        inside = json.loads(file["metadata"].asstr()[()])
    assert locs["frame"].dtype == np.uint32
    assert locs["lpx"].tolist() == [0.125, 0.125]
    beside = [*yaml.safe_load_all((tmp_path / "locs.yaml").read_text())]
    assert beside == inside
    told = {name: beside[0][name] for name in ("Frames", "Width", "Height", "Pixelsize")}
    assert told == {"Frames": 2, "Width": 9, "Height": 3, "Pixelsize": SIZE}
    result.save(tmp_path / "locs.hdf5", shape=(32, 64))
    assert fg.FitResult.load(tmp_path / "locs.hdf5").status.tolist() == [
        fg.Status.CONVERGED, fg.Status.NOT_FINITE,
    ]  # fmt: skip
    assert yaml.safe_load((tmp_path / "locs.yaml").read_text())["Width"] == 64


def test_places_and_nothing_else_are_needed(tmp_path):
    h5py = pytest.importorskip("h5py")
    lost = result_of(get_model("symmetric", 2), np.full((2, 5), np.nan), np.full((2, 5), np.nan))
    lost.save(tmp_path / "lost.hdf5")  # no position is known, and no error of one
    again = fg.FitResult.load(tmp_path / "lost.hdf5")
    assert again.status.tolist() == [fg.Status.NOT_FINITE] * 2
    assert np.isnan(again[["x", "y", "x_error"]]).all()
    with h5py.File(tmp_path / "places.hdf5", "w") as file:
        file["locs"] = np.array([(1.5, 2.5)], [("x", "f4"), ("y", "f4")])
    plain = fg.FitResult.load(tmp_path / "places.hdf5")
    assert (plain.x, plain.y, plain.frames) == (1.5, 2.5, None)
    with h5py.File(tmp_path / "places.hdf5", "w") as file:
        file["locs"] = np.array([(1.5, 2)], [("x", "f4"), ("frame", "u4")])
    with pytest.raises(ValueError, match=r"places\.hdf5 holds no result of a fit: it has no 'y'"):
        fg.FitResult.load(tmp_path / "places.hdf5")


@pytest.mark.parametrize(
    "told", ["1" + "0" * 400, "-130", "0", ".nan", ".inf", "true", "[1, 2]", "'1'"]
)
def test_a_size_of_a_pixel_that_is_none_is_told(tmp_path, told):
    pytest.importorskip("h5py"), pytest.importorskip("yaml")
    path = tmp_path / "a.hdf5"
    result_of(get_model("symmetric", 2), [[10.0, 7.6, 2.0, 1.5, 3.0]]).save(path)
    (tmp_path / "a.yaml").write_text(f"Pixelsize: {told}\n")
    with pytest.warns(UserWarning, match=r"not known: .*a\.hdf5, Pixelsize must be") as warned:
        assert fg.FitResult.load(path).pixel_size is None
    assert warned[0].filename == __file__
    assert fg.FitResult.load(path, pixel_size=99).pixel_size == 99.0


@pytest.mark.parametrize(
    "text",
    ["fastgauss: {constants: 5}", "fastgauss: {model: [1]}", "fastgauss: {1: 2, absolute: x}",
     "fastgauss: {model: psf, constants: [nan, {}]}", "a: [", "? {a: b}\n: c", "\0"],
)  # fmt: skip
def test_metadata_that_are_wrong_are_told_with_the_file(tmp_path, text):
    pytest.importorskip("h5py"), pytest.importorskip("yaml")
    path = tmp_path / "a.hdf5"
    result_of(get_model("symmetric", 2), [[10.0, 7.6, 2.0, 1.5, 3.0]]).save(path)
    (tmp_path / "a.yaml").write_text(f"{text}\n")
    with pytest.raises(ValueError, match=r"a\.(hdf5 holds no result of a fit|yaml)"):
        fg.FitResult.load(path)


def test_files_as_picasso_writes_them_are_read(tmp_path):
    h5py = pytest.importorskip("h5py")
    kinds = [("frame", "u4"), *((n, "f4") for n in ("x", "y", "photons", "sx", "sy", "bg"))]
    kinds += [("lpx", "f4"), ("lpy", "f4"), ("net_gradient", "f4"), ("n_id", "u4")]
    locs = np.array(
        [
            (0, 1.5, 2.25, 800, 1.25, 1.5, 4, 0.0625, 0.125, 900, 3),
            (9, 8, 7, 400, 1, 1, 2, 0.5, 1, 3, 4),
        ],
        kinds,
    )
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.create_dataset("locs", data=locs)
    plain = fg.FitResult.load(tmp_path / "a.hdf5")
    assert plain.pixel_size is None
    assert plain.model.name == "elliptic"
    np.testing.assert_array_equal(plain.frames, [0, 9])
    np.testing.assert_allclose(plain.flux, [800, 400], rtol=2 * EPS)
    np.testing.assert_array_equal(
        plain[["x", "y", "x_error", "y_error"]][0], [1.5, 2.25, 0.0625, 0.125]
    )
    np.testing.assert_allclose(plain.amplitude, [800 / (2 * np.pi * 1.25 * 1.5), 400 / (2 * np.pi)])
    assert np.isnan(plain.errors[:, plain.names.index("amplitude")]).all()
    (tmp_path / "a.yaml").write_text(  # objects of Python, as its metadata may hold, are not made
        "Width: 32\nHeight: 32\nFrames: 10\nBox Size: 7\n"
        "Extra: !!python/object/apply:os.system ['touch made']\n---\nPixelsize: 130\n"
    )
    assert fg.FitResult.load(tmp_path / "a.hdf5").pixel_size == 130.0
    assert not (tmp_path / "made").exists()
    assert fg.FitResult.load(tmp_path / "a.hdf5", pixel_size=99).pixel_size == 99.0


def test_tables_as_other_programs_write_them_are_read(tmp_path):
    path = tmp_path / "spots.csv"
    path.write_text(  # a ThunderSTORM table
        '"id","frame","x [nm]","y [nm]","sigma [nm]","intensity [photon]","offset [photon]",'
        '"bkgstd [photon]","chi2","uncertainty [nm]"\n'
        "1.0,1.0,150.0,250.0,130.0,700.0,4.0,2.0,1.0,20.0\n2.0,7.0,50.0,50.0,140.0,600.0,4.0,2.0,1.0,10.0\n"
    )
    spots = fg.FitResult.load(path, pixel_size=100.0)
    np.testing.assert_array_equal(spots.frames, [0, 6])
    np.testing.assert_allclose(spots[["x", "y", "sigma"]], [[1.0, 2.0, 1.3], [0.0, 0.0, 1.4]])
    np.testing.assert_allclose(spots.x_error, [0.2, 0.1])
    np.testing.assert_allclose(spots.flux, [700.0, 600.0])
    path.write_text(  # a SMAP table: MATLAB quotes no names, and has columns of its own
        "xnm,ynm,znm,frame,locprecnm,phot,bg,LLrel,PSFxnm,channel,filenumber\n"
        "150,300,0,1,20,700,4,-0.9,130,0,1\n100,100,0,7,10,600,4,-1.1,140,0,1\n"
    )
    with pytest.warns(UserWarning, match="depths z are left out"):
        spots = fg.FitResult.load(path, pixel_size=100.0)
    assert spots.model.name == "symmetric"
    np.testing.assert_array_equal(spots.frames, [0, 6])
    np.testing.assert_allclose(spots[["x", "y", "sigma"]], [[0.5, 2.0, 1.3], [0.0, 0.0, 1.4]])
    np.testing.assert_allclose(spots.y_error, [0.2, 0.1])
    np.testing.assert_allclose(spots.flux, [700.0, 600.0])
    path.write_text(path.read_text().replace("LLrel", "PSFynm").replace("-", "22"))
    with pytest.warns(UserWarning, match="depths z are left out"):
        spots = fg.FitResult.load(path, pixel_size=100.0)
    np.testing.assert_allclose(spots[["sigma_x", "sigma_y"]], [[1.3, 2.209], [1.4, 2.211]])
    path.write_text(  # a TrackMate table in pixels, with a column of a channel
        "LABEL,ID,TRACK_ID,QUALITY,POSITION_X,POSITION_Y,POSITION_T,FRAME,RADIUS,MEAN_INTENSITY_CH1\n"
        "Label,Spot ID,Track ID,Quality,X,Y,T,Frame,Radius,Mean intensity ch1\n"
        "Label,Spot ID,Track ID,Quality,X,Y,T,Frame,R,Mean ch1\n"
        ",,,(quality),(pixel),(pixel),(frame),,(pixel),(counts)\n"
        "ID77,77,1,3.5,1323.25,1057.5,497.0,497,5.0,135.8\nID12,12,,3.25,1.5,2.5,0.0,0,5.0,99\n"
    )
    spots = fg.FitResult.load(path)
    assert spots.id.tolist() == [77, 12]
    np.testing.assert_array_equal(spots[["x", "y"]], [[1323.25, 1057.5], [1.5, 2.5]])
    np.testing.assert_allclose(spots.sigma, 5.0 / np.sqrt(2))
    path.write_text(path.read_text().replace("(pixel)", "(micron)"))
    np.testing.assert_allclose(fg.FitResult.load(path, pixel_size=200).x, [6616.25, 7.5])
    path.write_text(  # without lines of words, and the first position is not known
        "LABEL,ID,QUALITY,POSITION_X,POSITION_Y,FRAME\n,1,2.0,,,0\nID2,2,3.0,4.5,5.5,1\n"
    )
    spots = fg.FitResult.load(path)
    np.testing.assert_array_equal(spots[["x", "y", "id"]], [[np.nan, np.nan, 1], [4.5, 5.5, 2]])
    assert spots.status.tolist() == [fg.Status.NOT_FINITE, fg.Status.CONVERGED]
    pandas = pytest.importorskip("pandas")
    columns = {"y": [2.5, 3.0], "x": [1.25, 8.0], "mass": [90.0, 80.0], "size": [2.0, 2.5]}
    columns |= {"ecc": [0.1, 0.2], "signal": [9.0, 8.0], "raw_mass": [99.0, 98.0], "ep": [0.1, 0.2]}
    pandas.DataFrame(columns | {"frame": [0, 3]}).to_csv(path)
    spots = fg.FitResult.load(path)
    np.testing.assert_array_equal(spots[["x", "y", "frame"]], [[1.25, 2.5, 0], [8.0, 3.0, 3]])
    np.testing.assert_allclose(spots.flux, [90.0, 80.0])


def test_the_size_of_a_pixel_stays_with_its_result(tmp_path):
    result = result_of(get_model("symmetric", 2), [[10.0, 7.6, 2.0, 1.5, 3.0]] * 3, pixel_size=SIZE)
    assert result[1:].pixel_size == result.sort("x").pixel_size == SIZE
    assert fg.FitResult.concatenate([result, result[:1]]).pixel_size == SIZE
    other = result[:1]
    other.pixel_size = None
    with pytest.raises(ValueError, match=r"one pixel_size, got 107\.3 and None"):
        fg.FitResult.concatenate([result, other])
    for name in ("a.csv", "a.npz"):
        result.save(tmp_path / name)
        assert fg.FitResult.load(tmp_path / name).pixel_size == SIZE
        other.save(tmp_path / name, pixel_size=50)
        assert fg.FitResult.load(tmp_path / name).pixel_size == 50.0
        assert fg.FitResult.load(tmp_path / name, pixel_size=60).pixel_size == 60.0
    movie = fg.image([[100.0, 12.0, 11.0, 1.3, 10.0]] * 2, (24, 24), model="symmetric")
    assert fg.fit_movie(movie, pixel_size=80).pixel_size == 80.0
    with pytest.raises(ValueError, match="pixel_size must be finite and above 0"):
        fg.fit_movie(movie, pixel_size=-1)


def test_an_astigmatic_result_comes_back_with_its_depths(tmp_path):
    pytest.importorskip("h5py")
    lens = fg.astigmatic_model((1.3, -250, 400), (1.3, 250, 400), (-500, 500))
    result = result_of(lens, [[30.0, 4.0, 5.0, 120.0, 2.0], [20.0, 6.0, 5.5, -80.0, 2.0]])
    result.save(tmp_path / "a.hdf5", pixel_size=SIZE)
    again = fg.FitResult.load(tmp_path / "a.hdf5")
    assert again.model == lens
    for name in ("z", "z_error", "flux", "x"):
        np.testing.assert_array_equal(again[name], result[name])
    result.save(tmp_path / "a.csv", "thunderstorm", pixel_size=SIZE)
    with pytest.warns(UserWarning, match="depths z are left out") as warned:
        flat = fg.FitResult.load(tmp_path / "a.csv", pixel_size=SIZE)
    assert warned[0].filename == __file__
    np.testing.assert_allclose(flat[["sigma_x", "sigma_y"]], lens.sigmas_at([120.0, -80.0]))


def test_errors_name_what_is_wrong(tmp_path):
    result = result_of(get_model("symmetric", 2), [[10.0, 7.6, 2.0, 1.5, 3.0]])
    path = tmp_path / "a.csv"
    with pytest.raises(ValueError, match=r"pixel_size must be given, in nm, for .*ThunderSTORM"):
        result.save(path, "thunderstorm")
    assert not path.exists()
    result.save(path, "thunderstorm", pixel_size=100)
    with pytest.raises(ValueError, match="pixel_size must be given"):
        fg.FitResult.load(path)
    with pytest.raises(ValueError, match="has no 'POSITION_X'"):
        fg.FitResult.load(path, "trackmate")
    with pytest.raises(ValueError, match="format must be one of"):
        result.save(path, "decode")
    with pytest.raises(ValueError, match=r"must end in one of \.csv"):
        result.save(tmp_path / "a.npz", "trackpy")
    with pytest.raises(ValueError, match="shape must be None except for picasso"):
        result.save(path, "trackpy", shape=(3, 3))
    with pytest.raises(TypeError, match="pixel_size must be a real number"):
        result.save(path, "trackpy", pixel_size="100 nm")
    line = result_of(get_model("symmetric", 1), [[10.0, 7.6, 1.5, 3.0]])
    with pytest.raises(ValueError, match="spots of images, this result is of profiles"):
        line.save(path, "trackpy")
    path.write_text("POSITION_X,POSITION_Y\nX,Y\nX,Y\n(furlong),(furlong)\n1,2\n")
    with pytest.raises(ValueError, match="unknown unit, 'furlong'"):
        fg.FitResult.load(path)
    path.write_text("x,y,mass,size,ecc,frame\n1,2,three,4,5,0\n")
    with pytest.raises(ValueError, match="its column 'mass' is not of numbers"):
        fg.FitResult.load(path)
    path.write_text("x,y,mass,size,ecc,frame\n1,2,3,4,5,0.5\n")
    with pytest.raises(ValueError, match=r"'frame' must be of integers, got 0\.5"):
        fg.FitResult.load(path)


def test_files_that_are_none_of_picassos_are_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    result = result_of(get_model("symmetric", 2), [[10.0, 7.6, 2.0, 1.5, 3.0]])
    (tmp_path / "movie.yaml").write_text("Byte Order: <\n")
    with pytest.raises(FileExistsError, match=r"would replace movie\.yaml"):
        result.save(tmp_path / "movie.hdf5")
    negative = result_of(result.model, result.params, frames=np.array([-1]))
    with pytest.raises(ValueError, match="frames must be 0 to 4294967295 for picasso, got -1"):
        negative.save(tmp_path / "a.hdf5")
    path = tmp_path / "b.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("other", data=[1.0])
    with pytest.raises(ValueError, match="it holds no records 'locs'"):
        fg.FitResult.load(path)
    kinds = [(name, "f8") for name in ("frame", "x", "y", "lpx", "lpy")]
    with h5py.File(path, "w") as file:  # declares much, holds nothing
        file.create_dataset("locs", shape=(10**11,), dtype=kinds)
    with pytest.raises(ValueError, match="more than tables compress"):
        fg.FitResult.load(path)
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50))
    with pytest.raises(ValueError, match="cannot read"):
        fg.FitResult.load(path)


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_can_be_exchanged(tmp_path, form):
    if SUFFIX[form] == ".hdf5":
        pytest.importorskip("h5py")
    result = result_of(get_model("symmetric", 2), np.empty((0, 5)), pixel_size=SIZE)
    path = tmp_path / f"none{SUFFIX[form]}"
    result.save(path, form)
    again = fg.FitResult.load(path, pixel_size=SIZE)
    assert (len(again), again.model.name) == (0, "symmetric")


def test_a_layer_of_napari_has_frames_before_places():
    params = [
        [10.0, 7.5, 2.0, 1.5, 3.0],
        [9.0, np.nan, np.nan, 1.2, 3.0],
        [9.0, 4.0, 5.0, 2.0, 3.0],
    ]
    result = result_of(get_model("symmetric", 2), params)
    data, options, kind = result.to_napari("molecules")
    np.testing.assert_array_equal(data, [[0, 2.0, 7.5], [2, 5.0, 4.0]])
    np.testing.assert_allclose(options["size"], np.sqrt(8 * np.log(2)) * np.array([1.5, 2.0]))
    assert (options["name"], kind) == ("molecules", "points")
    assert list(options["features"]) == list(result.columns)
    with pytest.raises(ValueError, match="of profiles"):
        result_of(get_model("symmetric", 1), [[10.0, 7.6, 1.5, 3.0]]).to_napari()


@pytest.mark.parametrize("vary", ["with_width", "with_weights"])
def test_picasso_has_no_columns_for_what_varies_of_a_psf(tmp_path, vary):
    pytest.importorskip("h5py")
    psf = fg.psf_model([0.7, 0.3], [1.2, 2.5])
    result = fg.fit_rois(psf.image((15, 15), flux=900.0)[np.newaxis], model=getattr(psf, vary)())
    with pytest.raises(ValueError, match="has no columns for w"):
        result.save(tmp_path / "a.hdf5")
