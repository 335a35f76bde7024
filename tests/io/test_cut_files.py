"""Movies whose file ends too early, or lacks a part: the frames that are there are read."""

import itertools

import numpy as np
import pytest

from fastgauss.io import images, movies

tifffile = pytest.importorskip("tifffile")

COUNT, WHOLE = 9, 6  # frames that were written, and those before the cut
MOVIE = np.random.default_rng(0).integers(1, 60_000, (COUNT, 17, 12)).astype("u2")
PIXELS = f'Type="uint16" SizeX="12" SizeY="17" SizeC="1" SizeZ="1" SizeT="{COUNT}"'
XML = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" {PIXELS}>'
    '<Channel ID="Channel:0" SamplesPerPixel="1"/><TiffData/></Pixels></Image></OME>'
)
KINDS = {
    "shaped": {},
    "unnamed": {"metadata": None},
    "OME at the end": {"ome": True, "metadata": {"axes": "TYX"}},
    "OME at the beginning": {"ome": False, "metadata": None, "description": XML},
    "ImageJ": {"imagej": True, "metadata": {"axes": "TYX"}},
}


def write(path, frames, *, pages=False, compression=None, description=None, **options):
    """The frames in one block after the first page, or a page and its frame one after another."""
    of_file = {name: options.pop(name) for name in ("ome", "imagej") & options.keys()}
    form = {name: options.pop(name) for name in ("bigtiff", "byteorder") & options.keys()}
    options |= {"photometric": "minisblack", "compression": compression}
    with tifffile.TiffWriter(path, **of_file, **form) as file:
        if pages:
            options |= {"contiguous": False, "metadata": None}
        for number, part in enumerate(frames if pages else [frames]):
            file.write(part, description=None if number else description, **options)


def cut(path, pages):
    """Cut it in the middle of a frame."""
    with tifffile.TiffFile(path) as file:
        if pages:
            page = file.pages[WHOLE]
            end = page.dataoffsets[0] + page.databytecounts[0] // 2
        else:
            end = file.pages[0].dataoffsets[0] + WHOLE * MOVIE[0].nbytes + 99
    path.write_bytes(path.read_bytes()[:end])


def assert_is_told(path):
    with images.open_image(path) as frames:
        for number in range(WHOLE):
            np.testing.assert_array_equal(frames[number], MOVIE[number])
        assert len(frames) > WHOLE
        with pytest.raises(ValueError, match=rf"cannot read .*cut short in frame {WHOLE}|failed"):
            frames[WHOLE]


@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_frames_before_the_cut_are_read(tmp_path, kind, bigtiff, byteorder):
    if kind == "ImageJ" and bigtiff:
        pytest.skip("ImageJ has no BigTIFF")
    path = tmp_path / ("movie.ome.tif" if "OME" in kind else "movie.tif")
    options = {**KINDS[kind], "bigtiff": bigtiff, "byteorder": byteorder}
    write(path, MOVIE, **options)
    with images.open_image(path) as frames:
        np.testing.assert_array_equal(np.array(list(frames)), MOVIE)
    cut(path, pages=False)
    assert_is_told(path)
    if kind == "ImageJ":
        return
    for compression in (None, "zlib"):
        write(path, MOVIE, pages=True, compression=compression, **options)
        cut(path, pages=True)
        assert_is_told(path)


def test_hyperstacks_of_imagej(tmp_path):
    path = tmp_path / "movie.tif"
    write(path, MOVIE.reshape(3, 3, 17, 12), imagej=True, metadata={"axes": "TZYX"})
    cut(path, pages=False)
    assert_is_told(path)


def test_a_file_that_ends_between_two_frames_says_which_is_missing(tmp_path):
    path = tmp_path / "movie.tif"
    write(path, MOVIE, pages=True)
    with tifffile.TiffFile(path) as file:
        end = file.pages[WHOLE].offset
    path.write_bytes(path.read_bytes()[:end])
    with images.open_image(path) as frames:
        assert len(frames) == WHOLE + 1
        with pytest.raises(ValueError, match=f"frame {WHOLE} is not in it: it is cut short"):
            frames[WHOLE]


def test_what_follows_a_single_image_is_no_frame(tmp_path):
    """Text of another program's between two pages is longer than a frame."""
    path = tmp_path / "one.tif"
    write(path, MOVIE[:1], metadata=None)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        place = page.offset + 2 + 12 * len(page.tags)
        after = page.dataoffsets[0] + 2 * MOVIE[0].nbytes + 77
    content[place : place + 4] = after.to_bytes(4, "little")
    path.write_bytes(content)
    with images.open_image(path) as frames:
        np.testing.assert_array_equal(frames[0], MOVIE[0])
        with pytest.raises(ValueError, match="frame 1 is not in it"):
            frames[1]


CHUNKS = {"frames": (2, 17, 12), "one frame": (1, 17, 12), "parts": (3, 8, 7)}


def read(source):
    with movies.open_movie("frames", source) as movie:
        return np.array(list(movie.frames))


@pytest.mark.parametrize("form", [2, 3])
@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
def test_a_chunk_of_zarr_that_is_missing_is_told(tmp_path, chunks, form, caplog):
    zarr = pytest.importorskip("zarr", "3")
    path = tmp_path / "movie.zarr"
    options = {"shape": MOVIE.shape, "chunks": chunks, "dtype": "u2", "zarr_format": form}
    array = zarr.open_array(str(path), mode="w", **options)
    array[:] = MOVIE
    sources = [str(path), zarr.open_array(str(path), mode="r")]
    for source in sources:
        np.testing.assert_array_equal(read(source), MOVIE)
    assert not caplog.records
    place = (WHOLE // chunks[0], 0, 0)
    name = ".".join(map(str, place)) if form == 2 else "/".join(map(str, ("c", *place)))
    (path / name).unlink()
    for source in sources:
        caplog.clear()
        frames = read(source)
        [told] = caplog.messages
        assert told.startswith(f"frame {WHOLE} is empty") and "fill value 0" in told
        assert not frames[WHOLE, : chunks[1], : chunks[2]].any()
        np.testing.assert_array_equal(frames[:WHOLE], MOVIE[:WHOLE])


def test_chunks_of_zarr_that_are_cut_end_the_movie(tmp_path):
    zarr = pytest.importorskip("zarr", "3")
    path = tmp_path / "movie.zarr"
    array = zarr.open_array(
        str(path), mode="w", shape=MOVIE.shape, chunks=(2, 17, 12), dtype="u2", zarr_format=2
    )
    array[:] = MOVIE
    chunk = path / f"{WHOLE // 2}.0.0"
    chunk.write_bytes(chunk.read_bytes()[:30])
    with movies.open_movie("frames", path) as movie:
        frames = iter(movie.frames)
        np.testing.assert_array_equal(list(itertools.islice(frames, WHOLE)), MOVIE[:WHOLE])
        with pytest.raises(ValueError, match="cannot read"):
            next(frames)


def test_chunks_of_hdf5(tmp_path, caplog):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        packed = file.create_dataset("packed", data=MOVIE, chunks=(2, 17, 12), compression="gzip")
        holes = file.create_dataset("holes", MOVIE.shape, "f4", chunks=(1, 17, 6), fillvalue=np.nan)
        holes[:WHOLE] = MOVIE[:WHOLE]
        np.testing.assert_array_equal(read(packed), MOVIE)
        frames = read(holes)
        assert "fill value nan" in caplog.text
        np.testing.assert_array_equal(frames[:WHOLE], MOVIE[:WHOLE])
        place = packed.id.get_chunk_info_by_coord((WHOLE, 0, 0)).byte_offset
    with (tmp_path / "movie.h5").open("r+b") as content:
        content.seek(place + 5)
        content.write(b"\xff" * 50)
    with (
        h5py.File(tmp_path / "movie.h5") as file,
        movies.open_movie("frames", file["packed"]) as movie,
    ):
        frames = iter(movie.frames)
        np.testing.assert_array_equal(list(itertools.islice(frames, WHOLE)), MOVIE[:WHOLE])
        with pytest.raises(OSError, match="filter"):
            next(frames)
