"""Images whose headers tell of more than there is: one sentence with the file's name, at once."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest

from fastgauss.cli import main
from fastgauss.io import axes, images

tifffile = pytest.importorskip("tifffile")
fits = pytest.importorskip("astropy.io.fits")
pytest.importorskip("imageio.v3")


def _first_frame(path):
    with images.open_image(path) as frames:
        return frames[0]


def _npy(path, shape, order="False", kind="<u2"):
    text = f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + text.encode())


def _fits(path, *axes):
    cards = ["SIMPLE  =                    T", f"BITPIX  = {16:20d}", f"NAXIS   = {len(axes):20d}"]
    cards += [f"NAXIS{i}  = {n:20d}" for i, n in enumerate(axes, 1)]
    text = "".join(card.ljust(80) for card in [*cards, "END"])
    path.write_bytes(text.ljust(2880).encode())


def _png(path, width, height, pixels):
    def chunk(name, data):
        length, check = (struct.pack(">I", n) for n in (len(data), zlib.crc32(name + data)))
        return length + name + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(pixels))
        + chunk(b"IEND", b"")
    )


def _tiff(path, **tags):
    """A TIFF of 64 x 64 pixels, some of whose tags are then changed."""
    tifffile.imwrite(path, np.zeros((64, 64), "u2"))
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        for name, value in tags.items():
            tag = tiff.pages[0].tags[name]
            struct.pack_into("<HHII", data, tag.offset, tag.code, 4, 1, value)
    path.write_bytes(data)


_CASES = {
    "frames.npy": (lambda p: _npy(p, (10**9, 512, 512)), "cut short: its header declares"),
    "fortran.npy": (lambda p: _npy(p, (10**9, 4, 4), "True"), "cut short"),
    "flat.npy": (lambda p: _npy(p, (10**9, 0, 7)), r"no pixel, its shape is \(1000000000, 0, 7\)"),
    "object.npy": (lambda p: _npy(p, (2, 2), kind="|O"), "dtype object"),
    "frames.fits": (lambda p: _fits(p, 512, 512, 10**9), "more data than a file|cut short"),
    "tiny.fits": (lambda p: _fits(p, 1, 1, 10**9), "cut short"),
    "large.fits": (lambda p: _fits(p, 10**6, 10**6), "cut short"),
    "flat.fits": (lambda p: _fits(p, 0, 3, 10**9), "no pixel"),
    "large.png": (lambda p: _png(p, 60_000, 60_000, b""), "3600000000 pixels"),
    "short.png": (lambda p: _png(p, 900, 800, b"few"), "truncated"),
    "large.tif": (lambda p: _tiff(p, ImageWidth=10**5, ImageLength=10**5), "cut short"),
    "zstd.tif": (lambda p: _tiff(p, Compression=50_000), "ZSTD"),
    "jpegxl.tif": (lambda p: _tiff(p, Compression=50_002), "JPEGXL"),
    "huge.tif": (
        lambda p: _tiff(p, ImageWidth=10**6, ImageLength=10**6, Compression=8), "pixels in|cut"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", _CASES)
def test_a_header_that_promises_too_much_is_one_sentence(tmp_path, capsys, name):
    write, reason = _CASES[name]
    path = tmp_path / name
    write(path)
    with pytest.raises(ValueError, match=rf"cannot read .*{name}: .*({reason})") as caught:
        _first_frame(path)
    assert "\n" not in str(caught.value)
    assert main(["fit", str(path)]) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1 and name in told.err and not told.out


def test_a_compressed_header_that_promises_too_much(tmp_path):
    import gzip

    plain, packed = tmp_path / "a.fits", tmp_path / "a.fits.gz"
    _fits(plain, 10**6, 10**6)
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    with pytest.raises(ValueError, match=r"cannot read .*a\.fits\.gz"):
        _first_frame(packed)


def _imagej(path, text):
    tifffile.imwrite(path, np.arange(9 * 8, dtype="u2").reshape(9, 8), description=text,
                     metadata=None)  # fmt: skip


@pytest.mark.parametrize("shape", [(10**9, 9, 8), (1, 10**5, 10**5, 9, 8)])
@pytest.mark.parametrize("volume", [None, True])
def test_a_billion_frames_of_which_one_is_there_take_no_memory(tmp_path, shape, volume):
    path = tmp_path / "a.npy"
    _npy(path, shape)
    path.write_bytes(path.read_bytes() + np.arange(9 * 8, dtype="u2").tobytes())
    if volume and len(shape) > 3:
        pytest.skip("planes of a volume, or volumes: the file does not say")
    tracemalloc.start()
    with images.open_image(path) as frames:
        found = axes.arrange(frames, volume)
        count = 1 if volume else 10**9 if len(shape) == 3 else 10**10
        assert len(found.pictures) == count
        if not volume:
            assert found.pictures[0][1, 3] == 11
        with pytest.raises(ValueError, match=r"a\.npy: it is cut short in frame 1 of 1000000"):
            found.pictures[0 if volume else 1]
        if not volume:
            with pytest.raises(ValueError, match="cut short in frame 9"):
                found.pictures[count - 1]
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_an_imagej_file_that_tells_of_a_billion_channels(tmp_path):
    _imagej(tmp_path / "a.tif", "ImageJ=1.53\nimages=2000000000\nchannels=2\nframes=1000000000\n")
    tracemalloc.start()
    with images.open_image(tmp_path / "a.tif") as frames:
        pictures = axes.arrange(frames).pictures
        assert len(pictures) >= 10**9 and pictures[0][2, 2] == 18
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_what_compresses_well_is_read(tmp_path):
    blank = np.full((1500, 1400), 7, "i2")
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(blank)]).writeto(tmp_path / "a.fits")
    fits.PrimaryHDU(blank).writeto(tmp_path / "b.fits.gz")
    tifffile.imwrite(tmp_path / "c.tif", blank, compression="zlib")
    for name in ("a.fits", "b.fits.gz", "c.tif"):
        np.testing.assert_array_equal(_first_frame(tmp_path / name), blank)


def test_a_fits_without_its_last_padding_is_read(tmp_path):
    path = tmp_path / "a.fits"
    image = np.arange(12, dtype="i2").reshape(3, 4)
    fits.PrimaryHDU(image).writeto(path)
    path.write_bytes(path.read_bytes()[: 2880 + 24])
    np.testing.assert_array_equal(_first_frame(path), image)


def test_a_picture_above_pillows_first_limit_is_read_in_silence(tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    monkeypatch.setattr(image, "MAX_IMAGE_PIXELS", 1000)
    path = tmp_path / "a.png"
    _png(path, 40, 30, bytes(30 * 41))
    assert _first_frame(path).shape == (30, 40)
    _png(path, 60, 40, bytes(40 * 61))
    with pytest.raises(ValueError, match=r"a\.png: .*2400 pixels"):
        _first_frame(path)


def test_memory_that_is_not_there_is_told_with_the_files_name(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise MemoryError("Unable to allocate 18.6 GiB")

    path = tmp_path / "a.npy"
    np.save(path, np.zeros((3, 4)))
    monkeypatch.setattr(np, "fromfile", refuse)
    with pytest.raises(MemoryError, match=r"cannot read .*a\.npy: Unable to allocate 18\.6 GiB"):
        _first_frame(path)
