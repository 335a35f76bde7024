"""Files that say what their axes are: which of them are a volume, a movie, channels."""

import numpy as np
import pytest

from fastgauss.io import axes, images
from fastgauss.io.frames import Facts, Frames

tifffile = pytest.importorskip("tifffile")
fits = pytest.importorskip("astropy.io.fits")


def numbers(shape, dtype="u2"):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def arranged(path, *options, hdu=None):
    """All pictures of a file, and what it was taken for."""
    with images.open_image(path, hdu) as frames:
        found = axes.arrange(frames, *options)
        pictures = np.array(list(found.pictures))
        return pictures, found.told(pictures.shape[1:]), found.ndim


# -- TIFF --------------------------------------------------------------------------------------


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_what_was_made_of_colours_is_told(tmp_path, planar):
    rgb = numbers((12, 11, 3), "u1")
    data = rgb if planar == "contig" else np.moveaxis(rgb, -1, 0)
    path = tmp_path / "rgb.tif"
    tifffile.imwrite(path, data, photometric="rgb", planarconfig=planar)
    (image,), told, _ = arranged(path)
    np.testing.assert_allclose(image, rgb @ [0.2125, 0.7154, 0.0721])
    expected = "an image of 12 x 11 pixels, the luminance of 3 colours (--channel selects one)"
    assert told == expected
    for word in ("1", "green"):
        (image,), told, _ = arranged(path, None, word)
        np.testing.assert_array_equal(image, rgb[..., 1])
        assert told == "an image of 12 x 11 pixels, colour 1 (green)"
    with pytest.raises(ValueError, match=r"channels are 0 \(red\), 1 \(green\), 2 \(blue\)"):
        arranged(path, None, "3")


def test_planes_of_imagej_are_one_volume(tmp_path):
    stack = numbers((25, 8, 9))
    meta = {"axes": "ZYX", "spacing": 0.3, "unit": "um"}
    tifffile.imwrite(
        tmp_path / "z.tif", stack, imagej=True, metadata=meta, resolution=(1 / 0.1, 1 / 0.1)
    )
    pictures, told, ndim = arranged(tmp_path / "z.tif")
    np.testing.assert_array_equal(pictures, [stack])
    assert told == "25 planes of 0.3 um: a volume of 25 x 8 x 9 pixels of 0.1 um"
    pictures, told, ndim = arranged(tmp_path / "z.tif", False)
    assert pictures.shape == stack.shape and ndim == 2
    assert told.startswith("25 planes of 0.3 um: a movie of 8 x 9 pixels")


@pytest.mark.parametrize("order", ["TZCYX", "CTZYX", "ZTCYX"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_ome_axes_in_any_order(tmp_path, order, compression):
    lengths = {"T": 3, "Z": 4, "C": 2, "Y": 6, "X": 7}
    stack = numbers([lengths[axis] for axis in order])
    meta = {
        "axes": order, "PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.2,
        "PhysicalSizeYUnit": "µm", "PhysicalSizeZ": 300.0, "PhysicalSizeZUnit": "nm",
        "TimeIncrement": 0.05, "TimeIncrementUnit": "s", "Channel": {"Name": ["DAPI", "GFP"]},
    }  # fmt: skip
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, stack, ome=True, metadata=meta, compression=compression)
    truth = np.transpose(stack, [order.index(axis) for axis in "CTZYX"])
    for channel, number in ((None, 0), ("1", 1), ("GFP", 1), ("DAPI", 0)):
        pictures, told, ndim = arranged(path, None, channel)
        np.testing.assert_array_equal(pictures, truth[number])
        assert ndim == 3
        assert "3 frames of 0.05 s" in told and "4 planes of 300 nm" in told
        assert "3 volumes of 4 x 6 x 7 pixels of 0.2 x 0.1 um" in told
        assert f"channel {number} ({('DAPI', 'GFP')[number]})" in told
        assert ("--channel" in told) == (channel is None)
    pictures, _, _ = arranged(path, False, "1")
    in_file = np.take(stack, 1, axis=order.index("C"))
    np.testing.assert_array_equal(pictures, in_file.reshape(12, 6, 7))
    for channel in ("2", "-1", "RFP"):
        with pytest.raises(ValueError, match=r"no channel .*, the channels are 0 \(DAPI\), 1"):
            arranged(path, None, channel)


def test_axes_that_the_file_does_not_name_are_told(tmp_path):
    stack = numbers((5, 8, 9))
    np.save(tmp_path / "a.npy", stack)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    fits.PrimaryHDU(stack.astype("i2")).writeto(tmp_path / "a.fits")
    for name in ("a.npy", "a.tif", "a.fits"):
        pictures, told, _ = arranged(tmp_path / name)
        np.testing.assert_array_equal(pictures, stack)
        assert told == (
            "5 images: a movie of 8 x 9 pixels (--volume if they are the planes of a volume)"
        )
        pictures, told, _ = arranged(tmp_path / name, True)
        np.testing.assert_array_equal(pictures, [stack])
        assert told == "5 images: a volume of 5 x 8 x 9 pixels"


@pytest.mark.parametrize("volume", [None, True])
def test_a_short_last_axis_is_told(tmp_path, volume):
    np.save(tmp_path / "last.npy", numbers((12, 13, 3)))
    told = arranged(tmp_path / "last.npy", volume)[1]
    assert told.endswith(
        "; if the last axis, of 3, is that of planes or channels, give --axes YXZ or --axes YXC"
    )
    np.save(tmp_path / "wide.npy", numbers((12, 13, 4)))
    assert "last axis" not in arranged(tmp_path / "wide.npy", volume)[1]
    tifffile.imwrite(
        tmp_path / "named.tif", numbers((12, 13, 3)), imagej=True, metadata={"axes": "TYX"}
    )
    assert "last axis" not in arranged(tmp_path / "named.tif", volume)[1]


def test_frames_of_a_movie_may_be_taken_for_planes(tmp_path):
    stack = numbers((5, 8, 9))
    meta = {"axes": "TYX", "finterval": 0.02}
    tifffile.imwrite(tmp_path / "t.tif", stack, imagej=True, metadata=meta)
    pictures, told, _ = arranged(tmp_path / "t.tif")
    assert told == "5 frames of 0.02 s: a movie of 8 x 9 pixels" and len(pictures) == 5
    assert arranged(tmp_path / "t.tif", True)[0].shape == (1, 5, 8, 9)


def test_what_cannot_be_a_volume_is_refused(tmp_path):
    np.save(tmp_path / "image.npy", numbers((8, 9)))
    np.save(tmp_path / "five.npy", numbers((2, 3, 8, 9)))
    with pytest.raises(ValueError, match="holds one image, and no planes"):
        arranged(tmp_path / "image.npy", True)
    with pytest.raises(ValueError, match=r"which of its axes \(images, images\) are planes"):
        arranged(tmp_path / "five.npy", True)
    with pytest.raises(ValueError, match="no axis of channels"):
        arranged(tmp_path / "image.npy", None, "1")


def test_axes_of_length_one_are_none():
    facts = Facts("TZC", (1, 1, 1), {"Z": (0.5, "um")})
    image = numbers((6, 7))
    found = axes.arrange(Frames(1, lambda _: image, facts))
    assert (len(found.pictures), found.ndim) == (1, 2)
    assert found.told((6, 7)) == "an image of 6 x 7 pixels"


def test_y_and_x_elsewhere_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, numbers((6, 7, 3)), photometric="minisblack", metadata={"axes": "YXT"})
    with pytest.raises(ValueError, match=r"a\.tif: the order of its axes is YXT"):
        arranged(path)


# -- FITS --------------------------------------------------------------------------------------


def test_the_largest_image_of_a_fits_file_is_read(tmp_path):
    thumb, image = np.zeros((4, 5), "u1"), numbers((8, 9), "i2")
    path = tmp_path / "a.fits"
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(999))])
    hdus = [fits.PrimaryHDU(thumb), table, fits.ImageHDU(image, name="SCI")]
    fits.HDUList([*hdus, fits.ImageHDU(image + 1, name="ERR")]).writeto(path)
    pictures, told, _ = arranged(path)
    np.testing.assert_array_equal(pictures, [image])
    assert told == "HDU 2 (SCI) of 3 images: an image of 8 x 9 pixels"
    for hdu, expected in (("0", thumb), ("3", image + 1), ("err", image + 1), ("SCI", image)):
        np.testing.assert_array_equal(arranged(path, hdu=hdu)[0], [expected])
    for hdu in ("1", "7", "VAR"):
        with pytest.raises(ValueError, match=rf"HDU {hdu} is not one .* 0 .*2 \(SCI\), 3 \(ERR\)"):
            arranged(path, hdu=hdu)
    np.save(tmp_path / "a.npy", image)
    with pytest.raises(ValueError, match=r"an HDU is a part of a FITS file, and a\.npy is none"):
        arranged(tmp_path / "a.npy", hdu="1")


def header_of(tmp_path, **cards):
    hdu = fits.PrimaryHDU(numbers((8, 9), "i2"))
    hdu.header.update(cards)
    hdu.writeto(tmp_path / "h.fits", overwrite=True)
    with images.open_image(tmp_path / "h.fits") as frames:
        return frames.facts


def test_what_a_fits_header_says(tmp_path):
    facts = header_of(tmp_path, GAIN=1.6, SATURATE=50_000, EXPTIME=30.0)
    assert (facts.gain, facts.saturation, facts.sizes) == (1.6, 50_000.0, {"T": (30.0, "s")})
    # a setting of the amplifier beside what is meant; a picture in electrons; no numbers
    assert header_of(tmp_path, GAIN=120, EGAIN=0.8).gain == 0.8
    assert header_of(tmp_path, GAIN=1.6, BUNIT="ELECTRON").gain is None
    assert header_of(tmp_path, GAIN="high", SATURATE=0).gain is None
    assert header_of(tmp_path, GAIN=True, SATURATE=0).saturation is None


def test_world_coordinates_give_the_size_of_pixels(tmp_path):
    cards = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": -20.0, "CRPIX1": 4.0,
        "CRPIX2": 4.0, "CDELT1": -0.25 / 3600, "CDELT2": 0.25 / 3600,
    }  # fmt: skip
    facts = header_of(tmp_path, **cards)
    assert facts.sizes["X"] == pytest.approx((0.25, "arcsec"))
    assert facts.wcs.pixel_to_world_values(3, 3) == pytest.approx((10.0, -20.0))
    _, told, _ = arranged(tmp_path / "h.fits")
    assert told == "an image of 8 x 9 pixels of 0.25 arcsec"
    assert header_of(tmp_path, CTYPE1="LINEAR", CTYPE2="LINEAR").wcs is None


# -- Zarr --------------------------------------------------------------------------------------


def test_dimensions_of_zarr_have_names(tmp_path):
    zarr = pytest.importorskip("zarr", minversion="3")
    stack = numbers((3, 2, 5, 6, 7))
    for k, (names, order) in enumerate(
        (
            (("t", "c", "z", "y", "x"), (0, 1, 2, 3, 4)),
            (("x", "z", "y", "time", "C"), (4, 2, 3, 0, 1)),
        )
    ):
        path = tmp_path / f"a{k}.zarr"
        data = np.transpose(stack, order)
        array = zarr.create_array(path, shape=data.shape, dtype=data.dtype, dimension_names=names)
        array[...] = data
        pictures, told, ndim = arranged(path, None, "1")
        np.testing.assert_array_equal(pictures, stack[:, 1])
        assert ndim == 3 and "3 volumes of 5 x 6 x 7 pixels" in told


def test_a_group_of_zarr_with_one_image(tmp_path):
    zarr = pytest.importorskip("zarr", minversion="3")
    group = zarr.create_group(tmp_path / "g.zarr")
    stack = numbers((4, 6, 7))
    one = group.create_array("data", shape=stack.shape, dtype=stack.dtype)
    one[...] = stack
    one.attrs["_ARRAY_DIMENSIONS"] = ["z", "lat", "lon"]
    group.create_array("z", shape=(4,), dtype="f8")
    np.testing.assert_array_equal(arranged(tmp_path / "g.zarr")[0], [stack])
    np.testing.assert_array_equal(arranged(tmp_path / "g.zarr" / "data")[0], [stack])
    group.create_array("more", shape=(4, 4), dtype="f8")
    with pytest.raises(ValueError, match=r"g\.zarr: it is a group: name one .* data, more"):
        arranged(tmp_path / "g.zarr")


def test_ome_zarr_says_its_axes_and_sizes(tmp_path):
    zarr = pytest.importorskip("zarr", minversion="3")
    group = zarr.create_group(tmp_path / "o.zarr")
    stack = numbers((2, 5, 6, 7))
    full = group.create_array("0", shape=stack.shape, dtype=stack.dtype)
    full[...] = stack
    group.create_array("1", shape=(2, 5, 3, 3), dtype=stack.dtype)
    space = {"type": "space", "unit": "micrometer"}
    scale = [{"type": "scale", "scale": [1.0, 0.3, 0.1, 0.1]}]
    group.attrs["ome"] = {
        "multiscales": [{
            "axes": [{"name": "c", "type": "channel"}, *({"name": n, **space} for n in "zyx")],
            "datasets": [{"path": "0", "coordinateTransformations": scale}, {"path": "1"}],
        }],
        "omero": {"channels": [{"label": "red"}, {"label": "green"}]},
    }  # fmt: skip
    pictures, told, _ = arranged(tmp_path / "o.zarr", None, "green")
    np.testing.assert_array_equal(pictures, [stack[1]])
    assert told == (
        "2 channels, 5 planes of 0.3 um: a volume of 5 x 6 x 7 pixels of 0.1 um, channel 1 (green)"
    )


def test_several_axes_without_names_are_told_once(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, numbers((2, 3, 1, 4, 10, 12)))
    pictures, told, _ = arranged(path)
    assert pictures.shape == (24, 10, 12)
    assert told.startswith("2 x 3 x 4 images, of axes that the file does not name: a movie of 10")
    np.save(path, numbers((5, 10, 12)))
    assert arranged(path)[1].startswith("5 images: a movie of 10 x 12 pixels")
