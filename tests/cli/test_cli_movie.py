"""``fastgauss movie``: from a stack to localisations without drift, in groups, and a picture."""

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.cli.command import main
from fastgauss.cli.movie import Localisations
from fastgauss.cli.movie_picture import draw
from fastgauss.io import images
from fastgauss.kernels._compile import JIT_DISABLED
from fastgauss.models.model import get_model
from fastgauss.results.rows import Rows

SHAPE, FRAMES = (40, 36), 120
CAMERA = fg.Camera(offset=100.0, gain=0.5, variance=6.0)


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Blinking molecules that drift by (0.9, -0.6) pixels."""
    folder = tmp_path_factory.mktemp("movie")
    rng = np.random.default_rng(5)
    places = rng.uniform(5, 31, (60, 2))
    path = np.linspace(0, 1, FRAMES)[:, np.newaxis] * [0.9, -0.6]
    frames, _, _ = fg.simulate.movie(
        SHAPE, FRAMES, emitters=places, photons=1500.0, on_time=3.0, off_time=15.0, sigma=1.2,
        background=2.0, camera=CAMERA, drift=path, seed=rng,
    )  # fmt: skip
    np.save(folder / "stack.npy", frames)
    CAMERA.save(folder / "camera.npz")
    return folder, frames, path


def options(folder):
    return ("--camera", str(folder / "camera.npz"), "--sigma", "1.2", "--pixel-size", "100")


@pytest.mark.skipif(JIT_DISABLED, reason="searches of frames")
def test_a_csv_of_a_point_spread_function_has_its_columns(stack, tmp_path):
    model, path, table = (tmp_path / name for name in ("psf.json", "few.npy", "locs.csv"))
    fg.psf_model([0.7, 0.3], [1.1, 1.6]).save(model)
    np.save(path, stack[1][:5].astype(float))
    steps = ("--psf", str(model), "--pixel-size", "100", "-o", str(table))
    assert main(["movie", str(path), *steps]) == 0
    found = np.genfromtxt(table, delimiter=",", names=True, encoding="utf-8")
    assert len(found) > 5
    np.testing.assert_allclose(found["x_nm"], 100.0 * found["x"])


@pytest.mark.skipif(JIT_DISABLED, reason="fits of 120 frames")
def test_a_movie_becomes_localisations_and_a_picture(stack, tmp_path, capsys):
    folder, frames, path = stack
    table, picture = tmp_path / "locs.npz", tmp_path / "image.npy"
    drawn = ("--plot", str(tmp_path / "report.png"))
    if not pytest.importorskip("matplotlib"):
        drawn = ()
    movie = ("movie", str(folder / "stack.npy"), *options(folder))
    steps = ("--drift", "--group", "-o", str(table), "--render", str(picture))
    assert main([*movie, *steps, *drawn]) == 0
    out, err = capsys.readouterr()
    assert "drift: range y 0." in out and "groups: " in out and f"wrote {picture}" in out
    assert err.startswith("fastgauss: stack.npy: 120 images")

    # the same by the calls that the command stands for
    whole = fg.fit_movie(frames, camera=CAMERA, sigma=1.2, pixel_size=100.0)
    good = whole[whole.converged]
    radius = 3 * np.sqrt(2) * np.median(good[["y_error", "x_error"]])
    drift = fg.estimate_drift(fg.group(good, radius, 1))
    groups = fg.group(drift.apply(good), radius, 1)
    found = fg.FitResult.load(table)
    assert found.pixel_size == 100.0
    with np.load(table) as columns:  # also in the unit of --pixel-size
        np.testing.assert_array_equal(columns["x_nm"], 100.0 * found.x)
        np.testing.assert_array_equal(columns["y_nm_error"], 100.0 * found.y_error)
    np.testing.assert_array_equal(found.positions, groups.positions)
    np.testing.assert_array_equal(found[["y_error", "x_error"]], groups.errors)
    np.testing.assert_allclose(found.flux, groups.flux, rtol=1e-14)
    np.testing.assert_array_equal(found.frames, groups.first)
    np.testing.assert_allclose(found.flux.sum(), good.flux.sum(), rtol=1e-12)
    assert abs(np.ptp(drift.positions, axis=0) - np.ptp(path, axis=0)).max() < 0.1
    drawn = fg.render_localisations(groups, 0.1, shape=SHAPE)
    np.testing.assert_array_equal(np.load(picture), drawn.astype(np.float32))
    assert (tmp_path / "report.png").stat().st_size > 20_000


@pytest.mark.skipif(JIT_DISABLED, reason="fits of 60 frames")
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_that_is_cut_short_is_fitted_as_far_as_it_goes(stack, tmp_path, capsys, compression):
    tifffile = pytest.importorskip("tifffile")
    folder, frames, _ = stack
    whole, cut = tmp_path / "whole.tif", tmp_path / "cut.tif"
    with tifffile.TiffWriter(whole) as writer:
        for frame in frames[:60]:
            writer.write(frame, contiguous=False, compression=compression, metadata=None)
    content = whole.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    table = tmp_path / "locs.npz"
    movie = ("movie", str(cut), *options(folder), "-o", str(table))
    assert main([*movie, "--render", str(tmp_path / "image.tif")]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert error.startswith("fastgauss: error: cut.tif: frame ")
    count = int(error.split()[4].rstrip(":"))
    assert 25 < count < 35 and error.endswith(f"the {count} frames before it were fitted")
    expected = fg.fit_movie(frames[:count], camera=CAMERA, sigma=1.2)
    found = fg.FitResult.load(table)
    np.testing.assert_array_equal(found.x, expected[expected.converged].x)
    with images.open_image(tmp_path / "image.tif") as drawn:
        assert drawn[0].shape == (400, 360)
        assert drawn.facts.sizes["X"] == drawn.facts.sizes["Y"] == (pytest.approx(10.0), "nm")


def test_a_movie_without_molecules_says_so(tmp_path, capsys):
    np.save(tmp_path / "flat.npy", np.random.default_rng(0).poisson(20.0, (3, 24, 24)))
    table = tmp_path / "none.npz"
    arguments = "--false-alarms", "0.001", "--drift", "-o", str(table)
    assert main(["movie", str(tmp_path / "flat.npy"), *arguments]) == 0
    assert len(fg.FitResult.load(table)) == 0
    assert "hint: no spot was found" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.tif",), "no such file: none.tif"),
        (("flat.npy", "--radius", "2"), "--radius is an option of --group and --drift"),
        (("flat.npy", "--group", "--gap", "-1"), "--gap must be at least 0"),
        (("flat.npy", "--render", "a.gif"), "image a.gif must end in one of .tif"),
        (("flat.npy", "-o", "flat.npy"), "flat.npy must end in one of"),
        (("flat.npy", "--render", "flat.npy"), "flat.npy is read as well: choose another name"),
        (("flat.npy", "--render-pixel", "0"), "--render-pixel must be finite and above 0"),
        (("flat.npy", "--render-pixel", "0.2"), "--render-pixel is an option of --render"),
        (("flat.npy", "-o", "a.fits", "--render", "a.fits"), "a.fits is written twice"),
        (("flat.npy", "--gain", "gain.npy", "--render", "gain.npy"), "gain.npy is read as well"),
    ],
)
def test_errors_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    np.save("flat.npy", np.ones((3, 24, 24)))
    assert main(["movie", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fastgauss: error: ") and message in line


def test_what_is_perhaps_no_movie_is_told(tmp_path, capsys):
    tifffile = pytest.importorskip("tifffile")
    flat = np.full((3, 20, 20), 9.0, "f4")
    tifffile.imwrite(tmp_path / "planes.tif", flat, imagej=True, metadata={"axes": "ZYX"})
    np.save(tmp_path / "one.npy", flat[0])
    np.save(tmp_path / "stack.npy", flat)
    told = {"planes.tif": "planes of a volume, and each is", "one.npy": "one image, which is taken"}
    for name in ("planes.tif", "one.npy", "stack.npy"):
        main(["movie", str(tmp_path / name)])
        first = capsys.readouterr().err.splitlines()[0]
        assert told.get(name, "3 images: a movie") in first


def test_images_in_no_known_order_are_no_movie(tmp_path, capsys):
    np.save(tmp_path / "many.npy", np.zeros((2, 3, 20, 20), "f4"))
    assert main(["movie", str(tmp_path / "many.npy"), "-o", str(tmp_path / "spots.csv")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "many.npy must have one axis of frames, got 2 axes of images" in line
    assert not (tmp_path / "spots.csv").exists()


def test_the_report_tells_groups_apart_from_localisations_and_has_units():
    pytest.importorskip("matplotlib")
    frame = np.repeat(np.arange(40), 10)
    places = np.random.default_rng(1).uniform(4, 26, (400, 2))
    drift = fg.estimate_drift((frame, places + 0.01 * frame[:, np.newaxis]), segments=4)
    table = np.column_stack(
        [np.full(100, 90.0), places[:100, ::-1], np.full(100, 1.3), places[:100, 0]]
    )
    packed = np.tile(np.eye(5)[np.tril_indices(5)] * 0.01, (100, 1))
    none, ones = np.zeros(100, np.int32), np.ones(100)
    rows = Rows(table, packed, ones, none, none, none + 49, none + 44, frame[:100])
    joined = fg.FitResult(get_model("symmetric", 2), rows, absolute=False)
    found = Localisations(joined, (30, 30), frame, drift, "group")
    figure = draw(found, "a.tif", 40)
    assert figure.get_suptitle() == "a.tif: 100 groups of 400 localisations in 40 frames"
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert {"localisations", "groups", "groups a square pixel", "y, px", "x, px"} <= set(labels)
    (counts,) = (axes for axes in figure.axes if axes.get_title() == "localisations of each frame")
    np.testing.assert_array_equal(counts.lines[0].get_ydata(), np.full(40, 10))
    # the picture fills its part, but for its labels
    figure.draw_without_rendering()
    (picture,) = (axes for axes in figure.axes if axes.images)
    assert picture.get_window_extent().width > 0.55 * figure.subfigs[1].bbox.width
