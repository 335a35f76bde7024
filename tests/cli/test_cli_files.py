"""``fastgauss fit``: which part of a file is fitted, and what the first line says of it."""

import contextlib
import io

import numpy as np
import pytest

import fastgauss as fg
from fastgauss.cli.command import main
from fastgauss.cli.units import described_columns
from fastgauss.kernels._compile import JIT_DISABLED

tifffile = pytest.importorskip("tifffile")
fits = pytest.importorskip("astropy.io.fits")


def fit(*arguments):
    """Exit code, what was printed, and the lines on stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(["fit", *map(str, arguments)])
        except SystemExit as leave:
            code = leave.code
    return code, out.getvalue(), err.getvalue().splitlines()


def result_of(tmp_path, *arguments):
    """The result that the command writes, and its first line."""
    table = tmp_path / "spots.npz"
    code, _, err = fit(*arguments, "-o", table)
    assert code == 0, err
    return fg.FitResult.load(table), err[0]


def picture(*places, shape=(48, 56), amplitude=200.0, seed=0):
    """Counts of an image with spots at (row, column)."""
    truth = [[amplitude, x, y, 1.3, 0.0] for y, x in places]
    light = 20.0 + fg.image(truth, shape, model="symmetric").sum(axis=0)
    return np.random.default_rng(seed).poisson(light).astype(np.uint16)


@pytest.mark.skipif(JIT_DISABLED, reason="a volume of real size")
def test_molecules_of_a_stack_of_planes_are_counted_once(tmp_path):
    rng = np.random.default_rng(12)
    grid = np.stack(np.meshgrid(*[np.arange(8.0, 96, 11.0)] * 2, indexing="ij"), -1)
    places = grid.reshape(-1, 2)[:60] + rng.uniform(-2, 2, (60, 2))
    truth = np.column_stack([rng.uniform(4, 12, 60), places])
    light = fg.render((16, 96, 96), truth, 150.0, sigma=(1.6, 1.3, 1.3)) + 10
    stack = rng.poisson(light).astype(np.uint16)
    meta = {"axes": "ZYX", "spacing": 0.3, "unit": "um"}
    tifffile.imwrite(tmp_path / "z.tif", stack, imagej=True, metadata=meta)
    found, told = result_of(tmp_path, tmp_path / "z.tif")
    assert told == "fastgauss: z.tif: 16 planes of 0.3 um: a volume of 16 x 96 x 96 pixels"
    assert found.model.ndim == 3 and found.model.name == "elliptic"
    assert 57 <= len(found) <= 63
    # the same from a file that does not say so, and one channel of two
    np.save(tmp_path / "z.npy", stack)
    same, _ = result_of(tmp_path, tmp_path / "z.npy", "--volume")
    np.testing.assert_array_equal(same.params, found.params)
    both = np.stack([np.full_like(stack, 7), stack], axis=1)
    tifffile.imwrite(tmp_path / "c.ome.tif", both, ome=True, metadata={"axes": "ZCYX"})
    same, told = result_of(tmp_path, tmp_path / "c.ome.tif", "--channel", 1)
    np.testing.assert_array_equal(same.params, found.params)
    assert told.startswith("fastgauss: c.ome.tif: 16 planes, 2 channels: a volume of 16 x 96 x 96")
    assert told.endswith("channel 1")


def test_the_channel_that_is_asked_for(tmp_path):
    one, other = picture((15, 20), (30, 41)), picture((22, 33), seed=1)
    path = tmp_path / "c.ome.tif"
    meta = {"axes": "CYX", "Channel": {"Name": ["mRNA", "nucleus"]}}
    tifffile.imwrite(path, np.stack([one, other]), ome=True, metadata=meta)
    for options, image, shown in (
        ((), one, "channel 0 (mRNA) (--channel selects another)"),
        (("--channel", "1"), other, "channel 1 (nucleus)"),
        (("--channel", "nucleus"), other, "channel 1 (nucleus)"),
    ):
        found, told = result_of(tmp_path, path, *options)
        np.testing.assert_array_equal(found.params, fg.fit_spots(image).params)
        assert told.endswith(f"2 channels: an image of 48 x 56 pixels, {shown}")
    code, out, err = fit(path, "--channel", "2")
    assert (code, out) == (2, "") and "c.ome.tif: there is no channel 2" in err[0]


def test_a_thumbnail_before_the_image(tmp_path):
    image = picture((15, 20), (30, 41))
    path = tmp_path / "t.fits"
    science = fits.ImageHDU(image, name="SCI")
    science.header["SATURATE"] = 190.0
    fits.HDUList([fits.PrimaryHDU(np.zeros((10, 10), "u1")), science]).writeto(path)
    found, told = result_of(tmp_path, path)
    expected = fg.fit_spots(image, saturation=190.0)
    assert (image >= 190).any()
    np.testing.assert_allclose(found.params, expected.params, rtol=1e-9)
    assert told == (
        "fastgauss: t.fits: HDU 1 (SCI) of 2 images: an image of 48 x 56 pixels; "
        "its header says: saturation 190"
    )
    found, _ = result_of(tmp_path, path, "--hdu", "sci", "--saturation", 1e6)
    np.testing.assert_allclose(found.params, fg.fit_spots(image).params, rtol=1e-9)
    code, _, err = fit(path, "--hdu", "0")
    assert code == 0 and "HDU 0" in err[0]


def test_a_region_keeps_the_coordinates_of_the_image(tmp_path):
    image = picture((15, 20), (30, 41), (40, 9))
    np.save(tmp_path / "a.npy", image)
    found, _ = result_of(tmp_path, tmp_path / "a.npy", "--roi", "8:40,12:")
    expected = fg.fit_spots(image[8:40, 12:])
    np.testing.assert_array_equal(found.positions, expected.positions + np.array([8, 12]))
    np.testing.assert_array_equal(found.covariance, expected.covariance)
    np.testing.assert_allclose(np.sort(found.x), [20, 41], atol=0.2)
    # places that are asked for are in the coordinates of the image as well
    options = ("--roi", "8:40,12:", "--bounds", "x=19:20,sigma=0.5:")
    found, _ = result_of(tmp_path, tmp_path / "a.npy", *options)
    assert ((found.x >= 19) & (found.x <= 20)).all()
    for roi, text in (
        ("8:40", "--roi must have 2 ranges, got 1"),
        ("8:8,:", "--roi must hold pixels of the image, which has 48 x 56 pixels"),
        ("60:70,:", "--roi must hold pixels of the image"),
        ("8,9", "a range is LOW:HIGH, got '8'"),
        ("a:b,:", "'a' in 'a:b,:' is not an integer"),
    ):
        code, out, err = fit(tmp_path / "a.npy", "--roi", roi)
        assert (code, out) == (2, "") and text in err[-1]


def test_a_region_of_joint_fits_and_of_a_volume(tmp_path):
    image = picture((15, 20), (17, 23), (30, 41))
    np.save(tmp_path / "a.npy", image)
    options = ("--joint", "--background", "plane", "--roi", "5:40,9:50")
    found, _ = result_of(tmp_path, tmp_path / "a.npy", *options)
    part = image[5:40, 9:50]
    alone = fg.fit_spots(part, joint=True, background="plane")
    np.testing.assert_array_equal(found.params[:, 0], alone.params[:, 0])
    whole = found.render(image.shape)[5:40, 9:50]
    np.testing.assert_allclose(whole, alone.render(part.shape), rtol=1e-6, atol=1e-6)


def test_pixels_that_a_mask_hides(tmp_path):
    image = picture((15, 20), (30, 41))
    mask = np.zeros(image.shape, np.uint8)
    mask[24:36, 35:47] = 255
    mask[15, 21] = 1
    np.save(tmp_path / "a.npy", image)
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    found, _ = result_of(tmp_path, tmp_path / "a.npy", "--mask", tmp_path / "mask.tif")
    expected = fg.fit_spots(image, mask=mask > 0)
    np.testing.assert_array_equal(found.params, expected.params)
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    np.save(tmp_path / "small.npy", mask[:-1])
    code, _, err = fit(tmp_path / "a.npy", "--mask", tmp_path / "small.npy")
    assert code == 2 and "must have 48 x 56 pixels, got 47 x 56 pixels" in err[-1]


def test_options_of_the_fit_reach_it(tmp_path):
    image = picture((15, 20), (30, 41), (30, 44))
    np.save(tmp_path / "a.npy", image)
    for options, expected in (
        (("--fixed", "sigma=1.3"), {"fixed": {"sigma": 1.3}}),
        (("--bounds", "sigma=1.25:1.28,offset=:30"), {
            "bounds": {"sigma": (1.25, 1.28), "offset": (None, 30.0)}
        }),
        (("--shared", "sigma"), {"shared": "sigma"}),
        (("--min-distance", "6"), {"min_distance": 6.0}),
        (("--sigma", "1.2,1.4", "--box", "9,11"), {"sigma": (1.2, 1.4), "box": (9, 11)}),
        (("--sigma", "1.3", "--sigma", "2.6"), {"sigma": [[1.3], [2.6]]}),
        (("--joint", "--split", "1e-3"), {"joint": True, "split": 1e-3}),
    ):  # fmt: skip
        found, _ = result_of(tmp_path, tmp_path / "a.npy", *options)
        np.testing.assert_array_equal(found.params, fg.fit_spots(image, **expected).params)
    for options, text in (
        (("--fixed", "sigma"), "write it as sigma=1.3,offset=10, got 'sigma'"),
        (("--fixed", "sigma=wide"), "'wide' in 'sigma=wide' is not a number"),
        (("--fixed", "width=3"), "width"),
        (("--bounds", "sigma=1"), "a range is LOW:HIGH, got '1'"),
        (("--background", "local"), "--background local is for --joint"),
        (("--split", "1e-3"), "--split is for --joint"),
        (("--joint", "--split", "0.7"), "split must be"),
        (("--sigma", "1.3", "--sigma", "2,3"), "give as many numbers each time, got 1 and 2"),
        (("--joint", "--sigma", "1", "--sigma", "2"), "sigma must be one size with joint=True"),
        (("--psf", "measure", "--sigma", "1", "--sigma", "2"), "--psf measure takes one --sigma"),
        (("--volume",), "a.npy: the file holds one image, and no planes for a volume"),
        (("--volume", "--frames"), "not allowed with argument"),
        (("--hdu", "1"), "an HDU is a part of a FITS file"),
    ):
        code, out, err = fit(tmp_path / "a.npy", *options)
        assert (code, out) == (2, "") and text in err[-1], options


def test_slopes_of_the_background_and_their_units(tmp_path):
    image = picture((15, 20), (30, 41)).astype(np.float64)
    np.save(tmp_path / "a.npy", image)
    found, _ = result_of(tmp_path, tmp_path / "a.npy", "--background", "plane")
    wanted = fg.fit_spots(image, background="plane")
    np.testing.assert_array_equal(found.slope_x, wanted.slope_x)
    columns = described_columns(wanted, {"X": (0.1, "um"), "Y": (0.2, "um")}, None)
    np.testing.assert_array_equal(columns["slope_x_per_um"][0], wanted.slope_x * (1 / 0.1))
    np.testing.assert_array_equal(columns["slope_y_per_um_error"][0], wanted.slope_y_error * 5.0)


def test_a_table_on_standard_output(tmp_path):
    image = picture((15, 20), (30, 41))
    np.save(tmp_path / "a.npy", image)
    code, out, err = fit(tmp_path / "a.npy", "--false-alarms", "0.001", "-o", "-")
    (tmp_path / "again.csv").write_text(out)
    again = fg.FitResult.load(tmp_path / "again.csv")
    np.testing.assert_array_equal(again.params, fg.fit_spots(image, false_alarms=0.001).params)
    assert code == 0 and err[1].startswith("2 spots in a.npy, 2 converged")


def test_a_plot_of_a_volume_shows_the_largest_values(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from fastgauss import plot

    volume = np.random.default_rng(0).normal(0, 1, (4, 20, 22))
    np.save(tmp_path / "v.npy", volume)
    drawn = []
    monkeypatch.setattr(plot, "save_plot", lambda path, figure: drawn.append(figure))
    options = ("--volume", "--threshold", 1e3, "--roi", "2:,5:18")
    assert fit(tmp_path / "v.npy", *options, "--plot", "v.png")[0] == 0
    (axes,) = drawn[0].axes
    shown = np.ma.filled(axes.images[0].get_array(), np.nan)
    np.testing.assert_array_equal(shown[2:, 5:18], volume[:, 2:, 5:18].max(axis=0))
    assert np.isnan(shown[:2]).all() and axes.get_xlim() == (4.5, 17.5)


def test_version_and_words_that_are_nearly_an_option(capsys):
    with pytest.raises(SystemExit) as leave:
        main(["--version"])
    assert leave.value.code == 0 and capsys.readouterr().out == f"fastgauss {fg.__version__}\n"
    code, _, err = fit("a.npy", "--modle", "rotated")
    assert code == 2 and err == [
        "fastgauss: error: unrecognized arguments: --modle rotated (did you mean --model?)"
    ]
    code, _, err = fit("a.npy", "b.npy")
    assert code == 2 and err[0].endswith("takes no further name; run it once for each file")


def test_a_table_is_no_image(tmp_path):
    path = tmp_path / "waits.csv"
    path.write_text("1,2\n")
    code, _, (err,) = fit(path)
    assert code == 2 and f"the name of image {path} must end in one of" in err
    assert "fastgauss.fit_profile(x, y)" in err and "fastgauss.kde" in err


def test_the_example_takes_no_options_of_files():
    for options in (("--hdu", "1"), ("--channel", "0"), ("--axes", "YX"), ("--volume",)):
        code, _, (err,) = fit("--example", *options)
        assert code == 2 and "--example is one image" in err


def test_axes_that_the_user_names(tmp_path):
    """A file that does not name its axes is a movie; by its axes it is a volume of a channel."""
    stack = np.stack([picture((15, 20), (30, 40), seed=k) for k in range(6)])
    np.save(tmp_path / "a.npy", np.stack([np.zeros_like(stack), stack], axis=-1))
    found, told = result_of(tmp_path, tmp_path / "a.npy", "--axes", "TYXC", "--channel", 1)
    assert told == "fastgauss: a.npy: 6 frames, 2 channels: a movie of 48 x 56 pixels, channel 1"
    expected = fg.fit_movie(stack)
    np.testing.assert_array_equal(found.params, expected.params)
    np.testing.assert_array_equal(found.frames, expected.frames)
    _, told = result_of(tmp_path, tmp_path / "a.npy", "--axes", "zyxc", "--channel", 1)
    assert "a volume of 6 x 48 x 56 pixels" in told
    code, _, (err,) = fit(tmp_path / "a.npy", "--axes", "ZYX")
    assert code == 2 and "--axes ZYX names 3 axes, and the file has 4" in err


def test_verbose_tells_what_is_compiled(tmp_path, monkeypatch):
    import logging

    from fastgauss.cli import fit as command

    np.save(tmp_path / "a.npy", picture((15, 20)))
    original = command._check

    def check(args):
        logging.getLogger("fastgauss").info("compiled something")
        original(args)

    monkeypatch.setattr(command, "_check", check)
    assert fit(tmp_path / "a.npy", "-v")[2][0] == "fastgauss: compiled something"
    assert fit(tmp_path / "a.npy")[2][0].startswith("fastgauss: a.npy")
