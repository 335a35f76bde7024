"""Movies: the frames of arrays, files, lists and iterators, each read once and in order."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np

from ..base import check, image_data, wording, wrappers
from ..base.named_axes import axes_of, frames_first, in_order
from .axes import arrange
from .chunks import Gaps
from .images import open_image


class Movie(NamedTuple):
    """Frames that can be read once."""

    frames: Iterable[Any]
    length: int  # 0: not known


@contextmanager
def open_movie(name: str, frames: Any) -> Iterator[Movie]:
    """The frames of anything that holds some, valid until the context ends.

    Parameters
    ----------
    name : str
        Of the argument, for messages.
    frames : array (t, y, x) or (t, z, y, x), path, or iterable of arrays
        Arrays of numpy, dask, Zarr, h5py and xarray; those in chunks are read a chunk of frames at
        a time. A path is a file that ``fastgauss fit`` reads.

    Raises
    ------
    TypeError, ValueError
        If this holds no frames.
    FileNotFoundError, ImportError
        If there is no such file, or the library for it is missing.
    """
    if isinstance(frames, str | os.PathLike):
        with open_image(frames) as opened:
            pictures = arrange(opened).pictures
            yield Movie(pictures, len(pictures))
    elif hasattr(frames, "shape") and hasattr(frames, "__getitem__"):
        yield _of_array(name, frames_first(name, frames))
    elif wrappers.is_array(frames):
        yield _of_array(name, _opened(name, frames))
    elif isinstance(frames, Mapping | bytes) or not isinstance(frames, Iterable):
        got = wording.shown(frames)
        raise TypeError(f"{name} must be an array, a path or an iterable of frames, got {got}")
    elif isinstance(frames, list | tuple):
        yield Movie(frames, len(frames))
    else:
        yield Movie(map(_own, frames), len(frames) if isinstance(frames, Sized) else 0)


def _own(frame: Any) -> Any:
    """A copy: a camera may write the next frame into the same memory."""
    return frame.copy() if isinstance(frame, np.ndarray) else deepcopy(frame)


def _opened(name: str, array: Any) -> np.ndarray:
    """The numbers of an array of its own kind, masked where that has a mask."""
    values, mask, variance = wrappers.open_array(name, array)
    if variance is not None:
        raise ValueError(f"{name} must have no uncertainty: a camera tells the noise of its pixels")
    return values if mask is None else np.ma.MaskedArray(values, mask)


def _of_array(name: str, array: Any) -> Movie:
    shape = tuple(array.shape)
    if len(shape) not in (3, 4):
        hint = "; fit_spots fits one image" if len(shape) == 2 else ""
        raise ValueError(
            f"{name} must have 3 or 4 dimensions, (t, y, x) or (t, z, y, x), got "
            f"{wording.dimensions(len(shape), shape)}{hint}"
        )
    if shape[0] != shape[0]:
        raise ValueError(f"{name} must have a known length: call its compute_chunk_sizes() first")
    chunks = getattr(array, "chunks", None)
    count = int(shape[0])
    if not chunks:
        if isinstance(array, np.memmap):
            return Movie(_from_map(array), count)
        if isinstance(array, np.ndarray):
            return Movie((array[k] for k in range(count)), count)
        return Movie((_own(array[k]) for k in range(count)), count)
    return Movie(_by_chunks(array, chunks[0], count), count)


def _from_map(array: np.memmap) -> Iterator[np.ndarray]:
    """Copies of the frames of a mapped file.

    Pages of the file that were read count as memory of the process until they are given back; who
    reads them again gets them from the file. Private changes (mode "c") would be lost, and stay.
    """
    pages: Any = getattr(array, "_mmap", None)
    give_back = getattr(mmap, "MADV_DONTNEED", None)
    shared = array.mode != "c" and isinstance(pages, mmap.mmap) and give_back is not None
    first = np.frombuffer(pages, np.uint8).ctypes.data if shared else 0
    for frame in array:
        yield np.array(frame, subok=False)
        if shared and frame.flags.c_contiguous:
            place = frame.__array_interface__["data"][0] - first
            begin = place // mmap.PAGESIZE * mmap.PAGESIZE
            pages.madvise(give_back, begin, place + frame.nbytes - begin)


def _by_chunks(array: Any, lengths: Any, count: int) -> Iterator[np.ndarray]:
    """The frames of an array in chunks of one length, or of these lengths."""
    if isinstance(lengths, tuple):
        ends = np.cumsum(lengths).tolist()
    else:
        ends = [*range(int(lengths), count, int(lengths)), count]
    gaps = Gaps(array)
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        block = array[start:end]
        numbers = np.asanyarray(block)
        gaps.look(start, numbers)
        yield from numbers if axes_of(block) is None else block.copy(data=numbers)


def checked_frames(name: str, movie: Movie) -> Iterator[Any]:
    """The frames as they are, checked: pictures of one shape.

    Their named axes may lie in another order: `fit_spots` knows which maps belong to such frames.
    """
    first: tuple[int, ...] = ()
    for number, frame in enumerate(movie.frames):
        own = f"{name}[{number}]"
        image_data.refuse_colours(own, frame)
        values, _ = image_data.masked(own, in_order(own, frame), None)
        shape = check.real_array(own, values, (2, 3)).shape
        if number and shape != first:
            raise ValueError(f"{own} must have the shape {first}, got {shape}")
        first = shape
        yield frame
