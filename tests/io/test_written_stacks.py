"""Stacks of images that are written frame by frame are read back as they were."""

import numpy as np
import pytest

from fastgauss.io import images, stacks


def layout(frames, **sizes):
    return stacks.Layout(frames.shape, frames.dtype, sizes)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("suffix", [".tif", ".fits", ".npy"])
@pytest.mark.parametrize("shape", [(1, 3, 5), (4, 9, 7), (3, 30, 24)])
def test_frames_are_read_back(suffix, shape, dtype, tmp_path):
    pytest.importorskip({".tif": "tifffile", ".fits": "astropy", ".npy": "numpy"}[suffix])
    frames = np.random.default_rng(0).normal(size=shape).astype(dtype)
    frames[0, 1, 2] = np.nan
    path = tmp_path / f"stack{suffix}"
    stacks.write_stack(path, iter(frames), layout(frames, X=(0.25, "um"), Y=(0.5, "um")))
    with images.open_image(path) as again:
        np.testing.assert_array_equal(np.stack(list(again)), frames)
        if suffix == ".tif":
            assert again.facts.sizes == {"X": (0.25, "um"), "Y": (0.5, "um")}
    if suffix == ".fits":
        from astropy.io import fits

        with fits.open(path, memmap=False) as units:
            units.verify("exception")
            np.testing.assert_array_equal(units[0].data, frames)


@pytest.mark.parametrize("suffix", [".tif", ".fits", ".npy"])
def test_one_image_is_read_back_as_one(suffix, tmp_path):
    pytest.importorskip({".tif": "tifffile", ".fits": "astropy", ".npy": "numpy"}[suffix])
    image = np.random.default_rng(1).normal(size=(7, 12)).astype("f4")
    path = tmp_path / f"image{suffix}"
    stacks.write_stack(path, [image], layout(image, X=(25.0, "nm"), Y=(25.0, "nm")))
    with images.open_image(path) as again:
        assert len(again) == 1
        np.testing.assert_array_equal(again[0], image)
        assert suffix != ".tif" or again.facts.sizes["Y"] == (25.0, "nm")
    if suffix == ".npy":
        assert np.load(path).shape == image.shape


def test_an_error_of_a_frame_leaves_the_old_file(tmp_path):
    frames = np.ones((3, 4, 5), np.float32)
    path = tmp_path / "stack.npy"
    np.save(path, frames)

    def broken():
        yield frames[0]
        raise ValueError("no frame")

    with pytest.raises(ValueError, match="no frame"):
        stacks.write_stack(path, broken(), layout(frames))
    np.testing.assert_array_equal(np.load(path), frames)
    assert [entry.name for entry in tmp_path.iterdir()] == ["stack.npy"]
    with pytest.raises(ValueError, match="must end in one of"):
        stacks.check_stack(tmp_path / "stack.png")
