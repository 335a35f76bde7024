"""Files: what is written comes back, formats agree, and errors are short and true."""

import csv
import sys

import numpy as np
import pytest

from fastgauss.io import files, images, tables

tifffile = pytest.importorskip("tifffile")
imageio = pytest.importorskip("imageio.v3")
fits = pytest.importorskip("astropy.io.fits")
parquet = pytest.importorskip("pyarrow.parquet")


def read(path):
    with images.open_image(path) as frames:
        return [np.array(frame) for frame in frames]


def numbers(shape, dtype, seed=0):
    return np.random.default_rng(seed).integers(0, 255, shape).astype(dtype)


@pytest.fixture
def table():
    rng = np.random.default_rng(3)
    n = 25_000  # more than two parts of a CSV
    return {
        "frame": np.arange(n),
        "x": rng.normal(size=n) * 10.0 ** rng.integers(-300, 300, n),
        "y": np.where(np.arange(n) % 7, rng.uniform(size=n), np.nan),
        "converged": rng.uniform(size=n) > 0.5,
    }


# -- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "u2", "<f4", ">f4", ">u2", "i4", "f8"])
@pytest.mark.parametrize("suffix", [".npy", ".tif", ".fits"])
def test_an_image_comes_back_in_native_order(tmp_path, dtype, suffix):
    image = numbers((13, 17), dtype)
    path = tmp_path / f"image{suffix}"
    if suffix == ".npy":
        np.save(path, image)
    elif suffix == ".tif":
        tifffile.imwrite(path, image, byteorder=">" if dtype[0] == ">" else "<")
    else:
        fits.PrimaryHDU(image).writeto(path)
    (frame,) = read(path)
    assert frame.dtype.isnative
    assert frame.shape == (13, 17)
    np.testing.assert_array_equal(frame, image)


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "zlib"}, {"imagej": True}, {"bigtiff": True}, {"tile": (16, 16)}],
    ids=str,
)
def test_a_tiff_stack_is_read_frame_by_frame(tmp_path, options):
    stack = numbers((6, 20, 24), "u2")
    path = tmp_path / "stack.TIFF"
    tifffile.imwrite(path, stack, photometric="minisblack", **options)
    with images.open_image(path) as frames:
        assert len(frames) == 6
        np.testing.assert_array_equal(frames[4], stack[4])
        with pytest.raises(IndexError):
            frames[6]
        np.testing.assert_array_equal(np.array(list(frames)), stack)


def test_leading_axes_are_frames(tmp_path):
    stack = numbers((2, 3, 8, 9), "u2")
    np.save(tmp_path / "a.npy", stack)
    fits.PrimaryHDU(stack.astype("i2")).writeto(tmp_path / "a.fits")
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "TZYX"})
    for name in ("a.npy", "a.fits", "a.tif"):
        np.testing.assert_array_equal(read(tmp_path / name), stack.reshape(6, 8, 9))


def test_a_huge_stack_costs_no_memory(tmp_path):
    path = tmp_path / "huge.npy"
    stack = np.lib.format.open_memmap(path, "w+", np.uint16, (100_000, 512, 512))  # 52 GB, sparse
    stack[70_000, 3, 4] = 5
    del stack
    with images.open_image(path) as frames:
        assert len(frames) == 100_000
        assert frames[70_000].sum() == 5


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("count", [1, 3])
def test_colour_tiff_becomes_luminance(tmp_path, planar, compression, count):
    rgb = numbers((count, 10, 12, 3), "u1")
    data = rgb if planar == "contig" else np.moveaxis(rgb, -1, 1)
    path = tmp_path / "rgb.tif"
    tifffile.imwrite(
        path, data[0] if count == 1 else data, photometric="rgb", planarconfig=planar,
        compression=compression,
    )  # fmt: skip
    np.testing.assert_allclose(read(path), rgb @ [0.2125, 0.7154, 0.0721])


def test_pictures(tmp_path):
    grey, deep = numbers((9, 11), "u1"), numbers((9, 11), "u2") * np.uint16(250)
    rgb, rgba = numbers((9, 11, 3), "u1"), numbers((9, 11, 4), "u1")
    for name, pixels, expected in (
        ("grey.png", grey, grey),
        ("deep.png", deep, deep),
        ("rgb.PNG", rgb, rgb @ [0.2125, 0.7154, 0.0721]),
        ("rgba.png", rgba, rgba[..., :3] @ [0.2125, 0.7154, 0.0721]),
        ("alpha.png", rgba[..., :2], rgba[..., 0]),
    ):
        imageio.imwrite(tmp_path / name, pixels)
        (frame,) = read(tmp_path / name)
        np.testing.assert_allclose(frame, expected)
    smooth = np.add.outer(np.arange(16), np.arange(24)).astype("u1") * 3
    imageio.imwrite(tmp_path / "smooth.jpeg", smooth, quality=95)
    (frame,) = read(tmp_path / "smooth.jpeg")
    assert np.abs(frame.astype(float) - smooth).max() <= 6


def test_fits_scaling_blank_and_extensions(tmp_path):
    raw = np.arange(12, dtype="i2").reshape(3, 4)
    second = fits.ImageHDU(raw)
    second.header["BSCALE"], second.header["BZERO"], second.header["BLANK"] = 0.5, 100.0, 7
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), second]).writeto(path)
    (frame,) = read(path)
    expected = 0.5 * raw + 100.0
    expected[1, 3] = np.nan
    np.testing.assert_array_equal(frame, expected)
    unsigned = np.array([[0, 40_000], [65_535, 1]], "u2")
    fits.PrimaryHDU(unsigned).writeto(tmp_path / "u.fits.gz")
    np.testing.assert_array_equal(read(tmp_path / "u.fits.gz")[0], unsigned)


def test_a_tile_compressed_fits_is_read(tmp_path):
    image = numbers((40, 30), "i2")
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image)]).writeto(tmp_path / "c.fits.fz")
    np.testing.assert_array_equal(read(tmp_path / "c.fits.fz")[0], image)


def test_reading_errors_are_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read(tmp_path / "none.tif")
    with pytest.raises(IsADirectoryError, match="is a directory"):
        read(tmp_path)
    (tmp_path / "a.txt").write_text("1 2 3")
    with pytest.raises(ValueError, match=r"must end in one of \.tif, .*\.fits"):
        read(tmp_path / "a.txt")
    for suffix in (".tif", ".png", ".jpg", ".npy", ".fits"):
        for content in (b"", b"this is not an image at all\n" * 99):
            path = tmp_path / f"bad{suffix}"
            path.write_bytes(content)
            with pytest.raises(ValueError, match=r"cannot read .*bad") as caught:
                read(path)
            assert "\n" not in str(caught.value)


def test_what_is_no_real_image_is_refused(tmp_path):
    for name, array in (
        ("complex", np.ones((4, 4), complex)),
        ("text", np.array([["a", "b"]])),
        ("flat", np.ones(5)),
        ("none", np.ones((0, 4, 4))),
    ):
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(ValueError, match="cannot read"):
            read(tmp_path / f"{name}.npy")
    np.save(tmp_path / "object.npy", np.array([[{}]]), allow_pickle=True)
    with pytest.raises(ValueError, match="cannot read"):
        read(tmp_path / "object.npy")
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    with pytest.raises(ValueError, match="no image"):
        read(tmp_path / "empty.fits")
    palette = np.zeros((3, 256), "u2")
    tifffile.imwrite(tmp_path / "p.tif", numbers((5, 5), "u1"), photometric="palette",
                     colormap=palette)  # fmt: skip
    with pytest.raises(ValueError, match="palette"):
        read(tmp_path / "p.tif")
    tifffile.imwrite(tmp_path / "s.tif", numbers((5, 5, 2), "u1"), photometric="minisblack",
                     planarconfig="contig")  # fmt: skip
    with pytest.raises(ValueError, match="2 samples"):
        read(tmp_path / "s.tif")


def test_a_truncated_file_is_an_error(tmp_path):
    path = tmp_path / "cut.fits"
    fits.PrimaryHDU(numbers((200, 200), "f4")).writeto(path)
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(ValueError, match="cannot read"):
        read(path)


@pytest.mark.parametrize(
    ("module", "name"), [("tifffile", "a.tif"), ("imageio", "a.png"), ("astropy", "a.fits")]
)
def test_a_missing_library_names_the_extra(tmp_path, monkeypatch, module, name):
    for known in list(sys.modules):
        if known.partition(".")[0] == module:
            monkeypatch.setitem(sys.modules, known, None)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ImportError, match=rf"needs {module}: pip install {module}, .*\[io\]"):
        read(tmp_path / name)


# -- writing -----------------------------------------------------------------------------------


def test_csv_keeps_every_bit(tmp_path, table):
    path = tmp_path / "t.csv"
    tables.write_table(path, table)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(table)
    for name in ("x", "y"):
        np.testing.assert_array_equal([float(row[name]) for row in rows], table[name])
    assert [int(row["frame"]) for row in rows] == table["frame"].tolist()
    assert [row["converged"] == "True" for row in rows] == table["converged"].tolist()
    assert b"\r" not in path.read_bytes()


def test_npz_and_parquet_come_back(tmp_path, table):
    tables.write_table(tmp_path / "t.npz", table)
    with np.load(tmp_path / "t.npz") as back:
        assert list(back) == list(table)
        for name, column in table.items():
            np.testing.assert_array_equal(back[name], column)
    tables.write_table(tmp_path / "t.parquet", table)
    back = parquet.read_table(tmp_path / "t.parquet")
    assert back.column_names == list(table)
    for name, column in table.items():
        np.testing.assert_array_equal(back[name].to_numpy(), column)


@pytest.mark.parametrize("suffix", [".csv", ".npz", ".parquet"])
def test_a_table_without_rows(tmp_path, table, suffix):
    path = tmp_path / f"t{suffix}"
    tables.write_table(path, {name: column[:0] for name, column in table.items()})
    assert path.stat().st_size > 0


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, table):
    path = tmp_path / "t.csv"
    path.write_text("precious")
    with pytest.raises(ValueError, match="zip"):
        tables.write_table(path, {**table, "short": np.ones(12_000)})
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path, table):
    target = tmp_path / "real.csv"
    link = tmp_path / "link.csv"
    link.symlink_to(target)
    tables.write_table(link, table)
    assert link.is_symlink()
    assert target.read_text().startswith("frame,x,y,converged\n0,")


def test_writing_errors_come_before_the_work(tmp_path):
    with pytest.raises(ValueError, match=r"must end in one of \.csv, \.parquet, \.npz"):
        tables.check_table(tmp_path / "t.xls")
    with pytest.raises(ValueError, match=r"must end in one of \.png"):
        files.check_plot(tmp_path / "t.gif")
    with pytest.raises(FileNotFoundError, match="there is no directory"):
        tables.check_table(tmp_path / "none" / "t.csv")
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(IsADirectoryError, match="it is a directory"):
        tables.check_table(tmp_path / "d.csv")
    with pytest.raises(OSError, match="cannot write"):
        tables.write_table(tmp_path / "none" / "t.csv", {"x": np.ones(1)})


@pytest.mark.parametrize(
    ("module", "check", "name", "extra"),
    [
        ("pyarrow", tables.check_table, "t.parquet", "pandas"),
        ("matplotlib", files.check_plot, "t.png", "plot"),
    ],
)
def test_a_missing_writer_names_the_extra(tmp_path, monkeypatch, module, check, name, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"needs {module}: pip install {module}, .*\[{extra}\]"):
        check(tmp_path / name)
