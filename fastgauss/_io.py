"""Files: images read a frame at a time, tables and plots written whole or not at all.

Reading goes by the end of the file's name. Every image becomes a sequence of
two-dimensional frames ``[y, x]`` in the machine's byte order; a stack is read
frame by frame, never whole. Axes before the last two are frames, in file order.
Colours become luminance, 0.2125 R + 0.7154 G + 0.0721 B, on the scale of the
file; an alpha channel is ignored.

Writing goes to a file beside the target, which then takes the target's name:
a reader never sees half a table.

Libraries of the extras are imported by the function that needs them.
"""

from __future__ import annotations

import csv
import io
import math
import os
import secrets
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from .base.optional import require

LUMINANCE = np.array([0.2125, 0.7154, 0.0721])  # ITU-R BT.709, as scikit-image's rgb2gray
_CSV_ROWS = 10_000  # converted at a time

Reader = Callable[[int], Any]


def luminance(pixels: np.ndarray) -> np.ndarray:
    """Grey values of an image with samples (grey, alpha), RGB or RGBA on its last axis."""
    if pixels.shape[-1] < 3:
        return pixels[..., 0]
    return pixels[..., :3] @ LUMINANCE


class Frames:
    """The frames of an image, read when asked for; iterable.

    Parameters
    ----------
    count : int
        Number of frames.
    read : callable
        Gives frame i, ``[y, x]``.
    """

    def __init__(self, count: int, read: Callable[[int], np.ndarray]) -> None:
        self._count, self._read = count, read

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < self._count:
            raise IndexError(f"frame {index} of {self._count}")
        return self._read(index)

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self._read, range(self._count))


def _native(pixels: Any) -> np.ndarray:
    """A frame of real numbers in the machine's byte order."""
    frame = np.asarray(pixels)
    if frame.ndim != 2 or frame.dtype.kind not in "biuf":
        raise ValueError(f"a frame of shape {frame.shape} and dtype {frame.dtype} is no grey image")
    return frame.astype(frame.dtype.newbyteorder("="), copy=False)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Make one kind of error of whatever a file library raises."""
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"cannot read {path}: {text}") from error


def _existing(path: str | os.PathLike, what: str, folders: tuple[str, ...] = ()) -> Path:
    """A path to a file, or to a folder whose name has one of these endings."""
    path = Path(path)
    if path.is_dir() and path.suffix.lower() not in folders:
        raise IsADirectoryError(f"{path} is a directory, not {what}")
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    return path


@contextmanager
def open_image(path: str | os.PathLike) -> Iterator[Frames]:
    """Open an image file by the end of its name.

    Parameters
    ----------
    path : path-like
        TIFF, Zarr (an array, not a group), PNG, JPEG, NPY or FITS (the first image of the file).

    Yields
    ------
    Frames
        Valid until the context ends.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    ValueError
        If the name's ending is unknown or the file cannot be read.
    ImportError
        If the library for this format is missing.
    """
    path = _existing(path, "an image", (".zarr",))
    opener = _by_suffix(path, _OPENERS, "image")
    with ExitStack() as stack:
        with _reading(path):
            count, read = opener(path, stack)
            if count < 1:
                raise ValueError("it holds no frame")

        def read_frame(index: int) -> np.ndarray:
            with _reading(path):
                return _native(read(index))

        yield Frames(count, read_frame)


def _array_frames(array: Any, shape: Sequence[int]) -> tuple[int, Reader]:
    """Frames of something indexed like an array: the last two axes are the frame."""
    if len(shape) < 2:
        raise ValueError(f"an image must have at least 2 dimensions, got shape {tuple(shape)}")
    leading = tuple(shape[:-2])

    def read(index: int) -> Any:
        where = (*np.unravel_index(index, leading), ...)
        return array[where]

    return math.prod(leading), read


def _file_frames(
    path: Path, dtype: np.dtype, offset: int, shape: Sequence[int]
) -> tuple[int, Reader]:
    """Frames that lie in a file one after the other.

    They are read, not mapped: the pages of a mapped file count as memory of the process.
    """

    def read(index: int) -> np.ndarray:
        pixels = math.prod(shape[-2:])
        start = offset + index * pixels * dtype.itemsize
        frame = np.fromfile(path, dtype, pixels, offset=start)
        if frame.size < pixels:
            raise ValueError(f"frame {index} is cut short")
        return frame.reshape(shape[-2:])

    return math.prod(shape[:-2]), read


def _open_tiff(path: Path, stack: ExitStack) -> tuple[int, Reader]:
    tifffile = require("tifffile", "reading TIFF", "io")
    tiff = stack.enter_context(tifffile.TiffFile(path))
    series = tiff.series[0]
    page = series.keyframe
    colour = page.photometric.name in ("RGB", "YCBCR")
    if page.photometric.name == "PALETTE":
        raise ValueError("palette colours are not supported, save it as grey or RGB")
    if page.samplesperpixel > 1 and not colour:
        raise ValueError(f"{page.samplesperpixel} samples a pixel that are not RGB")

    def grey(pixels: np.ndarray, axes: str) -> np.ndarray:
        return luminance(np.moveaxis(pixels, axes.index("S"), -1)) if colour else pixels

    if series.dataoffset is None:  # compressed or scattered: page by page
        return len(series), lambda i: grey(series[i].asarray(), page.axes)
    if not colour:
        kind = np.dtype(series.dtype).newbyteorder(tiff.byteorder)
        return _file_frames(path, kind, series.dataoffset, series.shape)
    pixels = series.asarray(out="memmap")
    pixels = np.moveaxis(pixels, series.axes.index("S"), -1)
    count, read = _array_frames(pixels, pixels.shape[:-1])
    return count, lambda i: luminance(read(i))


def _open_picture(path: Path, stack: ExitStack) -> tuple[int, Reader]:
    imageio = require("imageio.v3", "reading PNG and JPEG", "io")
    pixels = np.asarray(imageio.imread(path, index=0, plugin="pillow"))
    return 1, lambda _: pixels if pixels.ndim == 2 else luminance(pixels)


def _open_npy(path: Path, stack: ExitStack) -> tuple[int, Reader]:
    array = np.lib.format.open_memmap(path, mode="r")
    if array.ndim < 2 or not array.flags.c_contiguous:
        return _array_frames(array, array.shape)
    return _file_frames(path, array.dtype, array.offset, array.shape)


def _open_zarr(path: Path, stack: ExitStack) -> tuple[int, Reader]:
    zarr = require("zarr", "reading Zarr", "io")
    array = zarr.open(str(path), mode="r")
    if not hasattr(array, "chunks"):
        raise ValueError("it is a group: name one of its arrays")
    count, read = _array_frames(array, array.shape)
    if array.ndim == 2:
        return count, read
    depth, length = array.chunks[-3], array.shape[-3]
    held: dict[int, Any] = {}  # the last chunk of frames: each is unpacked once

    def read_held(index: int) -> Any:
        first = index - index % length % depth
        if first not in held:
            held.clear()
            where = list(np.unravel_index(first, array.shape[:-2]))
            where[-1] = slice(where[-1], where[-1] + depth)
            held[first] = array[tuple(where)]
        return held[first][index - first]

    return count, read_held


def _open_fits(path: Path, stack: ExitStack) -> tuple[int, Reader]:
    fits = require("astropy.io.fits", "reading FITS", "io")
    exceptions = require("astropy.utils.exceptions", "reading FITS", "io")
    stack.enter_context(warnings.catch_warnings())
    # Odd header cards, not used here; a file too short fails on reading.
    warnings.simplefilter("ignore", exceptions.AstropyWarning)
    for hdu in stack.enter_context(fits.open(path, memmap=False)):
        if hdu.is_image and len(hdu.shape) >= 2:
            return _array_frames(hdu.section, hdu.shape)  # scaled as the header says
    raise ValueError("it holds no image")


_OPENERS: dict[str, Callable[[Path, ExitStack], tuple[int, Reader]]] = {
    ".tif": _open_tiff,
    ".tiff": _open_tiff,
    ".zarr": _open_zarr,
    ".png": _open_picture,
    ".jpg": _open_picture,
    ".jpeg": _open_picture,
    ".npy": _open_npy,
    ".fits": _open_fits,
    ".fit": _open_fits,
    ".fts": _open_fits,
    ".fits.gz": _open_fits,
    ".fits.fz": _open_fits,
}


def _by_suffix(path: Path, known: Mapping[str, Any], what: str) -> Any:
    for suffix, value in known.items():
        if path.name.lower().endswith(suffix):
            return value
    raise ValueError(f"the name of {what} {path} must end in one of {', '.join(known)}")


Table = Mapping[str, np.ndarray]
About = Mapping[str, tuple[str, str]]  # units and meanings of columns
_ENTRY = "metadata"  # of an NPZ file
_KEY = b"fastgauss"  # of a Parquet file's metadata


def _write_csv(file: IO[bytes], table: Table, metadata: str, about: About) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    columns = list(table.values())
    for start in range(0, len(columns[0]), _CSV_ROWS):
        part = [column[start : start + _CSV_ROWS].tolist() for column in columns]
        writer.writerows(zip(*part, strict=True))
    text.detach()  # flushes, and leaves the file open


def _write_npz(file: IO[bytes], table: Table, metadata: str, about: About) -> None:
    entries: dict[str, Any] = dict(table)
    if metadata:
        entries[_ENTRY] = np.array(
            metadata.encode()
        )  # of letters it would take four times the room
    np.savez(file, **entries)


def _write_parquet(file: IO[bytes], table: Table, metadata: str, about: About) -> None:
    arrow = require("pyarrow", "writing Parquet", "pandas")
    parquet = require("pyarrow.parquet", "writing Parquet", "pandas")

    def packed(column: np.ndarray) -> Any:
        """A column of numbers, or of as many in every row."""
        if column.ndim == 1:
            return arrow.array(column)
        flat = np.ascontiguousarray(column).reshape(-1)
        return arrow.FixedSizeListArray.from_arrays(arrow.array(flat), column.shape[1])

    columns = {name: packed(column) for name, column in table.items()}
    fields = []
    for name, column in columns.items():
        unit, meaning = about.get(name, ("", ""))
        told = {"unit": unit, "meaning": meaning} if meaning else None
        fields.append(arrow.field(name, column.type, metadata=told))
    schema = arrow.schema(fields, metadata={_KEY: metadata} if metadata else None)
    parquet.write_table(arrow.table(list(columns.values()), schema=schema), file)


_WRITERS: dict[str, Callable[[IO[bytes], Table, str, About], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".npz": _write_npz,
}


def _read_csv(path: Path) -> tuple[dict[str, np.ndarray], str | None]:
    with path.open(encoding="utf-8", newline="") as file:
        names, *rows = csv.reader(file)
    if any(len(row) != len(names) for row in rows):
        raise ValueError("its rows differ in length")
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return {n: np.array(c, dtype=str) for n, c in zip(names, columns, strict=True)}, None


def _read_npz(path: Path) -> tuple[dict[str, np.ndarray], str | None]:
    with np.load(path, allow_pickle=False) as entries:
        table = dict(entries)
    metadata = table.pop(_ENTRY, None)
    return table, None if metadata is None else metadata.item().decode()


def _read_parquet(path: Path) -> tuple[dict[str, np.ndarray], str | None]:
    parquet = require("pyarrow.parquet", "reading Parquet", "pandas")
    # a known background of a joint fit may be long
    table = parquet.ParquetFile(path, thrift_string_size_limit=2**31 - 1).read()
    found = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        width = getattr(column.type, "list_size", None)
        if width is None:
            found[name] = column.to_numpy()
        else:
            parts = [chunk.flatten().to_numpy() for chunk in column.chunks]
            found[name] = np.concatenate([np.empty(0), *parts]).reshape(-1, width)
    text = (table.schema.metadata or {}).get(_KEY)
    return found, None if text is None else text.decode()


_READERS: dict[str, Callable[[Path], tuple[dict[str, np.ndarray], str | None]]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".npz": _read_npz,
}
PLOT_SUFFIXES = dict.fromkeys((".png", ".pdf", ".svg"))


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """A file that takes the place of ``path`` when the block ends well, and else vanishes."""
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            yield file
        partial.replace(target)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _check_place(path: Path) -> None:
    """Raise now what writing would raise after the work is done."""
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a directory")
    parent = Path(os.path.realpath(path)).parent
    if not parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no directory {parent}")
    if not os.access(parent, os.W_OK):
        raise PermissionError(f"cannot write {path}: directory {parent} is not writable")


def check_table(path: str | os.PathLike) -> None:
    """Raise unless a table can be written there."""
    writer = _by_suffix(Path(path), _WRITERS, "table")
    if writer is _write_parquet:
        require("pyarrow", "writing Parquet", "pandas")
    _check_place(Path(path))


def check_plot(path: str | os.PathLike) -> None:
    """Raise unless a plot can be written there."""
    _by_suffix(Path(path), PLOT_SUFFIXES, "plot")
    require("matplotlib", "plotting", "plot")
    _check_place(Path(path))


def holds_metadata(path: str | os.PathLike) -> bool:
    """Whether a table of this name holds more than columns of numbers."""
    return _by_suffix(Path(path), _WRITERS, "table") is not _write_csv


def write_table(
    path: str | os.PathLike, table: Table, metadata: str = "", columns: About | None = None
) -> None:
    """Write columns of equal length as CSV, Parquet or NPZ, by the end of the name.

    CSV has a header line and the shortest decimals that read back to the same
    floats. An existing file is replaced only by a complete one.

    Parameters
    ----------
    path : path-like
        Where to; its directory must exist.
    table : mapping of str to ndarray
        One-dimensional columns; for Parquet and NPZ also of several numbers a row, (n, k).
    metadata : str, optional
        What Parquet and NPZ hold besides; `read_table` gives it back.
    columns : mapping of str to (unit, meaning), optional
        What Parquet tells of columns.

    Raises
    ------
    ValueError
        If the name's ending is unknown.
    OSError
        If the file cannot be written.
    ImportError
        If the library for this format is missing.
    """
    writer = _by_suffix(Path(path), _WRITERS, "table")
    with replacing(path) as file:
        writer(file, table, metadata, columns or {})


def read_table(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], str | None]:
    """Read what `write_table` wrote.

    Parameters
    ----------
    path : path-like
        CSV, Parquet or NPZ.

    Returns
    -------
    table : dict of str to ndarray
        Columns; those of CSV are words.
    metadata : str or None

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    ValueError
        If the name's ending is unknown or the file cannot be read.
    ImportError
        If the library for this format is missing.
    """
    place = _existing(path, "a table")
    reader = _by_suffix(place, _READERS, "table")
    with _reading(place):
        return reader(place)
