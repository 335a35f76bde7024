"""Axes that the user names: every order of every axis, of arrays and of files of colours."""

import itertools

import numpy as np
import pytest

from fastgauss.io import axes, images
from fastgauss.io.frames import Facts, Frames
from fastgauss.io.given_axes import with_axes

LENGTHS = {"T": 3, "Z": 4, "C": 2, "P": 5, "Y": 6, "X": 7}


def arranged(path, letters, *options):
    """All pictures of a file, and what it was taken for."""
    with images.open_image(path) as frames:
        found = axes.arrange(with_axes(frames, letters), *options)
        pictures = np.array(list(found.pictures))
        return pictures, found.told(pictures.shape[1:])


@pytest.mark.parametrize("letters", ["".join(p) for p in itertools.permutations("ZCYX")])
def test_axes_in_any_order(tmp_path, letters):
    truth = np.arange(2 * 4 * 6 * 7).reshape(2, 4, 6, 7).astype("u2")  # C, Z, Y, X
    np.save(tmp_path / "a.npy", truth.transpose(["CZYX".index(each) for each in letters]))
    for channel in (0, 1):
        pictures, told = arranged(tmp_path / "a.npy", letters.lower(), None, str(channel))
        np.testing.assert_array_equal(pictures, truth[[channel]])
        assert "2 channels" in told and "4 planes" in told
        assert f"a volume of 4 x 6 x 7 pixels, channel {channel}" in told


@pytest.mark.parametrize("letters", ["PYX", "TYX", "ZYX", "YXZ", "YTX"])
def test_one_axis_beside_y_and_x(tmp_path, letters):
    shape = [LENGTHS[each] for each in letters]
    np.save(tmp_path / "a.npy", np.arange(np.prod(shape)).reshape(shape))
    pictures, _ = arranged(tmp_path / "a.npy", letters)
    other = (set(letters) - {"Y", "X"}).pop()
    expected = np.moveaxis(np.load(tmp_path / "a.npy"), letters.index(other), 0)
    np.testing.assert_array_equal(pictures, expected[np.newaxis] if other == "Z" else expected)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("count", [1, 4])
def test_samples_of_colours_are_an_axis(tmp_path, planar, count):
    """tifffile writes three frames as the colours of one image."""
    tifffile = pytest.importorskip("tifffile")
    rgb = np.arange(count * 12 * 11 * 3).reshape(count, 12, 11, 3).astype("u2")
    data, letters = (rgb, "YXT") if planar == "contig" else (np.moveaxis(rgb, -1, 1), "TYX")
    path = tmp_path / "rgb.tif"
    tifffile.imwrite(path, data if count > 1 else data[0], photometric="rgb", planarconfig=planar)
    pictures, told = arranged(path, letters if count == 1 else "Z" + letters, False)
    np.testing.assert_array_equal(pictures, np.moveaxis(rgb, -1, 1).reshape(-1, 12, 11))
    assert "3 frames" in told and "luminance" not in told


def test_lengths_go_with_their_axes():
    sizes = {"X": (0.1, "um"), "Y": (0.2, "um"), "Z": (0.3, "um"), "T": (0.05, "s")}
    image = np.zeros((6, 7))
    known = Frames(5, lambda _: image, Facts("T", (5,), sizes, wcs=object()))
    same = with_axes(known, "TYX").facts
    assert same == known.facts
    planes = with_axes(known, "ZYX").facts  # an interval of time is no distance of planes
    assert planes.axes == "Z" and planes.sizes["Z"] == (0.3, "um") and planes.wcs is not None
    rotated = with_axes(known, "TXY").facts
    assert (rotated.sizes["X"], rotated.sizes["Y"]) == ((0.2, "um"), (0.1, "um"))
    assert rotated.wcs is None


def test_what_does_not_name_the_axes_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((5, 6, 7)))
    for letters in ("ZY", "ZZYX", "QYX", ""):
        with pytest.raises(ValueError, match="must name each axis once"):
            arranged(tmp_path / "a.npy", letters)
    with pytest.raises(ValueError, match="YX names 2 axes, and the file has 3 axes: 5 x 6 x 7"):
        arranged(tmp_path / "a.npy", "YX")
