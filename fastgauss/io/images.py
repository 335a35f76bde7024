"""Images read a frame at a time."""

from __future__ import annotations

import errno
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..base.optional import MissingLibraryError, require
from .files import by_suffix, existing
from .npy import read_header

LUMINANCE = np.array([0.2125, 0.7154, 0.0721])  # ITU-R BT.709, as scikit-image's rgb2gray

_ROOM, _GROWTH = 1 << 28, 1024  # bytes that a frame may take: always, and per byte of its file
_FITS_BLOCK = 2880  # bytes

Reader = Callable[[int], Any]


def luminance(pixels: np.ndarray) -> np.ndarray:
    """Grey values of an image with samples (grey, alpha), RGB or RGBA on its last axis."""
    if pixels.shape[-1] < 3:
        return pixels[..., 0]
    return pixels[..., :3] @ LUMINANCE


class Frames:
    """The frames of an image, each read when it is used; iterable.

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
def reading_errors(path: Path) -> Iterator[None]:
    """Turn every error of a file library into one kind of error."""
    try:
        yield
    except MissingLibraryError:
        raise
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        kind = MemoryError if isinstance(error, MemoryError) else ValueError
        raise kind(f"cannot read {path}: {text}") from error


@contextmanager
def open_image(path: str | os.PathLike) -> Iterator[Frames]:
    """Open an image file; the ending of its name selects the format.

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
    path = existing(path, "an image", (".zarr",))
    opener = by_suffix(path, _OPENERS, "image")
    with ExitStack() as stack:
        with reading_errors(path):
            count, read = opener(path, stack)
            if count < 1:
                raise ValueError("it holds no frame")

        def read_frame(index: int) -> np.ndarray:
            with reading_errors(path):
                return _native(read(index))

        yield Frames(count, read_frame)


def _check_shape(shape: Sequence[int]) -> None:
    """Refuse frames without pixels, of which a header of a few bytes can declare a billion."""
    if len(shape) < 2:
        raise ValueError(f"an image must have at least 2 dimensions, got shape {tuple(shape)}")
    if not math.prod(shape[-2:]):
        raise ValueError(f"it holds no pixel, its shape is {tuple(shape)}")


def _check_size(path: Path, size: int) -> None:
    """Refuse a file that is shorter than its header declares."""
    there = path.stat().st_size
    if there < size:
        raise ValueError(f"it is cut short: its header declares {size} bytes, it has {there}")


def _check_growth(path: Path, shape: Sequence[int], dtype: Any) -> None:
    """Refuse, before memory is allocated, a frame that no such small file can hold."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > _ROOM + _GROWTH * path.stat().st_size:
        frame = " x ".join(map(str, shape))
        raise ValueError(f"its header declares {frame} pixels in {path.stat().st_size} bytes")


def _array_frames(array: Any, shape: Sequence[int]) -> tuple[int, Reader]:
    """Frames of something indexed like an array: the last two axes are the frame."""
    _check_shape(shape)
    leading = tuple(shape[:-2])

    def read(index: int) -> Any:
        where = (*np.unravel_index(index, leading), ...)
        return array[where]

    return math.prod(leading), read


def _file_frames(
    path: Path, dtype: np.dtype, offset: int, shape: Sequence[int]
) -> tuple[int, Reader]:
    """Frames that lie in a file one after the other.

    The frames are read, not mapped, because pages of a mapped file count as memory of the process.
    """
    _check_shape(shape)
    _check_size(path, offset + math.prod(shape) * dtype.itemsize)

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
        _check_growth(path, page.shape, page.dtype)

        def read_page(index: int) -> np.ndarray:
            try:
                return grey(series[index].asarray(), page.axes)
            except Exception as error:
                how = getattr(page.compression, "name", page.compression)
                more = f"for its compression, {how}, tifffile may need imagecodecs"
                raise ValueError(f"{error}; {more}") from error

        return len(series), read_page
    if not colour:
        kind = np.dtype(series.dtype).newbyteorder(tiff.byteorder)
        return _file_frames(path, kind, series.dataoffset, series.shape)
    pixels = series.asarray(out="memmap")
    pixels = np.moveaxis(pixels, series.axes.index("S"), -1)
    count, read = _array_frames(pixels, pixels.shape[:-1])
    return count, lambda i: luminance(read(i))


def _open_picture(path: Path, stack: ExitStack) -> tuple[int, Reader]:
    imageio = require("imageio.v3", "reading PNG and JPEG", "io")
    pillow = require("PIL.Image", "reading PNG and JPEG", "io")
    with warnings.catch_warnings():  # pillow refuses the image at twice as many pixels
        warnings.simplefilter("ignore", pillow.DecompressionBombWarning)
        try:
            pixels = np.asarray(imageio.imread(path, index=0, plugin="pillow"))
        except OSError as error:
            raise ValueError(error.__cause__ or error) from error  # pillow's own message
    return 1, lambda _: pixels if pixels.ndim == 2 else luminance(pixels)


def _open_npy(path: Path, stack: ExitStack) -> tuple[int, Reader]:
    with path.open("rb") as file:
        *_, size = read_header(file)
        _check_size(path, file.tell() + size)
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
    held: dict[int, Any] = {}  # the last chunk of frames, so that each chunk is unpacked once

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
    # warnings about header cards that are not used here
    warnings.simplefilter("ignore", exceptions.AstropyWarning)
    try:
        for hdu in stack.enter_context(fits.open(path, memmap=False)):
            if hdu.is_image and len(hdu.shape) >= 2:
                place = hdu.fileinfo()
                if place["file"].compression is None:
                    padded = place["datLoc"] + place["datSpan"]
                    _check_size(path, padded - _FITS_BLOCK + 1)
                _check_growth(path, hdu.shape[-2:], np.float64)
                return _array_frames(hdu.section, hdu.shape)  # scaled as the header says
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ValueError("its header declares more data than a file can hold") from error
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
