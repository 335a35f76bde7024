"""Images, and stacks of images frame by frame, written as TIFF, FITS and NPY."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ..base.optional import require
from .files import by_suffix, check_place, replacing

_BLOCK = 2880  # bytes: the parts of a FITS file are multiples of it
_CLASSIC = 2**32 - 2**24  # bytes: larger TIFF files need offsets of 64 bits
_UNITS = {"um": "µm"}  # as OME writes them


class Layout(NamedTuple):
    """Shape and dtype of the frames that are written, and the sizes of their pixels."""

    shape: tuple[int, ...]  # frames, rows, columns; or those of one image
    dtype: np.dtype
    sizes: Mapping[str, tuple[float, str]] = {}  # as in `Facts`


Frames = Iterable[np.ndarray]


def _write_tiff(file: IO[bytes], frames: Frames, layout: Layout) -> None:
    tifffile = require("tifffile", "writing TIFF", "io")
    axes = "TYX"[-len(layout.shape) :]
    metadata: dict[str, Any] = {"axes": axes}
    names = {"X": "PhysicalSizeX", "Y": "PhysicalSizeY", "T": "TimeIncrement"}
    for axis, name in names.items():
        size, unit = layout.sizes.get(axis, (0.0, ""))
        if unit and axis in axes:
            metadata |= {name: size, f"{name}Unit": _UNITS.get(unit, unit)}
    big = _size(layout) > _CLASSIC
    handle = tifffile.FileHandle(file, mode="r+b", name="stack.tif", size=0)  # it may have no name
    with tifffile.TiffWriter(handle, bigtiff=big, ome=True) as tiff:
        tiff.write(
            iter(frames), shape=layout.shape, dtype=layout.dtype, photometric="minisblack",
            metadata=metadata,
        )  # fmt: skip


def _write_fits(file: IO[bytes], frames: Frames, layout: Layout) -> None:
    fits = require("astropy.io.fits", "writing FITS", "io")
    header = fits.PrimaryHDU().header
    header["BITPIX"] = -8 * layout.dtype.itemsize
    header["NAXIS"] = len(layout.shape)
    for number, length in enumerate(reversed(layout.shape), 1):
        header.set(f"NAXIS{number}", length, after="NAXIS" if number == 1 else f"NAXIS{number - 1}")
    file.write(header.tostring().encode("ascii"))
    _write_pixels(file, frames, layout.dtype.newbyteorder(">"))
    file.write(bytes(-_size(layout) % _BLOCK))


def _write_npy(file: IO[bytes], frames: Frames, layout: Layout) -> None:
    told = {"descr": layout.dtype.str, "fortran_order": False, "shape": layout.shape}
    np.lib.format.write_array_header_1_0(file, told)
    _write_pixels(file, frames, layout.dtype)


def _write_pixels(file: IO[bytes], frames: Frames, dtype: np.dtype) -> None:
    for frame in frames:
        file.write(np.ascontiguousarray(frame, dtype).data)


def _size(layout: Layout) -> int:
    """Bytes of all pixels."""
    return math.prod(layout.shape) * layout.dtype.itemsize


_WRITERS: dict[str, Callable[[IO[bytes], Frames, Layout], None]] = {
    ".tif": _write_tiff,
    ".tiff": _write_tiff,
    ".fits": _write_fits,
    ".fit": _write_fits,
    ".fts": _write_fits,
    ".npy": _write_npy,
}
_NEEDS = {
    _write_tiff: ("tifffile", "writing TIFF", "io"),
    _write_fits: ("astropy.io.fits", "writing FITS", "io"),
}


def check_stack(path: str | os.PathLike) -> None:
    """Raise unless images can be written there."""
    writer = by_suffix(Path(path), _WRITERS, "image")
    if writer in _NEEDS:
        require(*_NEEDS[writer])
    check_place(Path(path))


def write_stack(path: str | os.PathLike, frames: Frames, layout: Layout) -> None:
    """Write an image, or frames each when it is made; the ending of the name selects the format.

    It is .tif (OME-TIFF, with the sizes of pixels), .fits or .npy. An existing file is replaced
    only by a complete one.

    Parameters
    ----------
    path : path-like
        Where to; its directory must exist.
    frames : iterable of ndarray (Y, X)
        As many as the layout says, of floats.
    layout : Layout

    Raises
    ------
    ValueError
        If the name's ending is unknown.
    OSError
        If the file cannot be written.
    ImportError
        If the library for this format is missing.
    """
    writer = by_suffix(Path(path), _WRITERS, "image")
    with replacing(path) as file:
        writer(file, (np.asarray(frame, layout.dtype) for frame in frames), layout)
