"""Images read a frame at a time."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..base.optional import MissingLibraryError, require
from .files import by_suffix, existing
from .fits import open_fits
from .frames import (
    Facts,
    Frames,
    Reader,
    array_reader,
    check_size,
    file_reader,
    luminance,
    unnamed,
)
from .npy import read_header
from .tiff import open_tiff
from .zarr_arrays import open_zarr

_TABLES = (".csv", ".tsv", ".txt", ".dat", ".parquet", ".ecsv", ".npz", ".xlsx")
_FITS = (".fits", ".fit", ".fts", ".fits.gz", ".fits.fz")


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


def _opener(path: Path) -> Any:
    """The function that opens a file of this name; of a table the error says how it is read."""
    try:
        return by_suffix(path, _OPENERS, "image")
    except ValueError as error:
        if path.suffix.lower() not in _TABLES:
            raise
        raise ValueError(
            f"{error}. Read a table in Python, and give a spectrum or profile to "
            "fastgauss.fit_profile(x, y), a column of numbers to fastgauss.kde"
        ) from None


@contextmanager
def open_image(path: str | os.PathLike, hdu: str | None = None) -> Iterator[Frames]:
    """Open an image file; the ending of its name selects the format.

    Parameters
    ----------
    path : path-like
        TIFF, Zarr (an array, or a group with one image), PNG, JPEG, NPY or FITS (the largest image
        of the file, the first of equal ones).
    hdu : str, optional
        Number or name of the HDU of a FITS file that is read.

    Yields
    ------
    Frames
        All frames in the order of the file, with the facts that the file tells; valid until the
        context ends.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    ValueError
        If the name's ending is unknown or the file cannot be read.
    ImportError
        If the library for this format is missing.
    """
    path = Path(path)
    inside = any(folder.suffix.lower() == ".zarr" for folder in path.parents)
    if inside and path.is_dir():  # an array of a group
        opener: Any = open_zarr
    else:
        path = existing(path, "an image", (".zarr",))
        opener = _opener(path)
    if hdu is not None:
        if not path.name.lower().endswith(_FITS):
            raise ValueError(f"an HDU is a part of a FITS file, and {path.name} is none")
        opener = partial(open_fits, part=hdu)
    with ExitStack() as stack:
        with reading_errors(path):
            facts, read = opener(path, stack)
            count = math.prod(facts.lengths)
            if count < 1:
                raise ValueError("it holds no frame")

        def read_frame(index: int) -> np.ndarray:
            with reading_errors(path):
                pixels = read(index)
                return _native(luminance(pixels) if facts.colour else pixels)

        def read_samples(index: int) -> np.ndarray:
            with reading_errors(path):
                return np.asarray(read(index))

        yield Frames(count, read_frame, facts, read_samples if facts.colour else None)


def _open_picture(path: Path, stack: ExitStack) -> tuple[Facts, Reader]:
    imageio = require("imageio.v3", "reading PNG and JPEG", "io")
    pillow = require("PIL.Image", "reading PNG and JPEG", "io")
    with warnings.catch_warnings():  # pillow refuses the image at twice as many pixels
        warnings.simplefilter("ignore", pillow.DecompressionBombWarning)
        try:
            pixels = np.asarray(imageio.imread(path, index=0, plugin="pillow"))
        except OSError as error:
            raise ValueError(error.__cause__ or error) from error  # pillow's own message
    if pixels.ndim == 3 and pixels.shape[2] < 3:  # grey and alpha
        pixels = pixels[..., 0]
    return Facts(colour=pixels.ndim == 3), lambda _: pixels


def _open_npy(path: Path, stack: ExitStack) -> tuple[Facts, Reader]:
    with path.open("rb") as file:
        shape, fortran, dtype, size = read_header(file)
        start = file.tell()
    if len(shape) >= 2 and not fortran:
        return unnamed(shape), file_reader(path, dtype, start, shape)
    check_size(path, start + size)
    array = np.lib.format.open_memmap(path, mode="r")
    return unnamed(shape), array_reader(array, shape)


_OPENERS: dict[str, Callable[[Path, ExitStack], tuple[Facts, Reader]]] = {
    ".tif": open_tiff,
    ".tiff": open_tiff,
    ".zarr": open_zarr,
    ".png": _open_picture,
    ".jpg": _open_picture,
    ".jpeg": _open_picture,
    ".npy": _open_npy,
    **dict.fromkeys(_FITS, partial(open_fits, part=None)),
}
