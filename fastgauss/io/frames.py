"""Frames of an image file, what the file says of them, and checks of what its header declares."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

LUMINANCE = np.array([0.2125, 0.7154, 0.0721])  # ITU-R BT.709, as scikit-image's rgb2gray
UNKNOWN = "?"  # an axis that the file does not name

_ROOM, _GROWTH = 1 << 28, 1024  # bytes that a frame may take: always, and per byte of its file
_MICRONS = ("um", "µm", "μm", "\\u00b5m", "micron", "microns", "micrometer", "micrometre")

Reader = Callable[[int], Any]


@dataclass(frozen=True)
class Facts:
    """The facts that a file states of its pixels.

    Attributes
    ----------
    axes : str
        A letter for each axis before y and x: "T" time, "Z" planes, "C" channels, "?" where the
        file does not say.
    lengths : tuple of int
        The length of each of these axes.
    sizes : mapping of str to (number, unit)
        Distances of pixels along "X", "Y", "Z", and of frames along "T".
    channels : tuple of str
        Names of the channels, if the file has names.
    gain : float, optional
        Photo-electrons for each count.
    saturation : float, optional
        Least value of a saturated pixel.
    part : str
        Which of several images of the file this is.
    wcs : object, optional
        World coordinates of the pixels (astropy).
    colour : bool
        Whether a pixel has samples of red, green and blue, not one number.
    samples : int
        Which axis of the file holds the samples of colours.
    """

    axes: str = ""
    lengths: tuple[int, ...] = ()
    sizes: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    gain: float | None = None
    saturation: float | None = None
    part: str = ""
    wcs: Any = None
    colour: bool = False
    samples: int = -1


def unnamed(shape: Sequence[int]) -> Facts:
    """The facts of an array of which only the shape is known."""
    return Facts(UNKNOWN * (len(shape) - 2), tuple(shape[:-2]))


def unit_name(text: str) -> str:
    """A unit of length as this package writes it."""
    return "um" if text.strip().lower() in _MICRONS else text.strip()


class Frames:
    """The frames of an image, each read when it is used; iterable.

    Parameters
    ----------
    count : int
        Number of frames.
    read : callable
        Gives frame i, ``[y, x]``, or ``[z, y, x]`` where several planes are one picture.
    facts : Facts, optional
        What the file says of its axes; the product of their lengths is ``count``.
    samples : callable, optional
        Gives frame i of a file of colours, ``[y, x, colour]``.
    """

    def __init__(
        self,
        count: int,
        read: Callable[[int], np.ndarray],
        facts: Facts | None = None,
        samples: Reader | None = None,
    ) -> None:
        self._count, self._read = count, read
        self.facts = facts or Facts()
        self._samples = samples

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < self._count:
            raise IndexError(f"frame {index} of {self._count}")
        return self._read(index)

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self._read, range(self._count))

    def samples(self, index: int) -> np.ndarray:
        """Frame i of a file of colours, ``[y, x, colour]``."""
        assert self._samples is not None  # a file of colours has them
        return np.asarray(self._samples(index))

    def of_colour(self, number: int) -> Frames:
        """The frames of one colour in the place of the luminance."""
        facts = replace(self.facts, colour=False)
        return Frames(self._count, lambda k: self.samples(k)[..., number], facts)


def luminance(pixels: np.ndarray) -> np.ndarray:
    """Grey values of an image with samples RGB or RGBA on its last axis."""
    return pixels[..., :3] @ LUMINANCE


def check_shape(shape: Sequence[int]) -> None:
    """Refuse frames without pixels, of which a header of a few bytes can declare a billion."""
    if len(shape) < 2:
        raise ValueError(f"an image must have at least 2 dimensions, got shape {tuple(shape)}")
    if not math.prod(shape[-2:]):
        raise ValueError(f"it holds no pixel, its shape is {tuple(shape)}")


def check_size(path: Path, size: int) -> None:
    """Refuse a file that is shorter than its header declares."""
    there = path.stat().st_size
    if there < size:
        raise ValueError(f"it is cut short: its header declares {size} bytes, it has {there}")


def check_growth(path: Path, shape: Sequence[int], dtype: Any) -> None:
    """Refuse, before memory is allocated, a frame that no such small file can hold."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > _ROOM + _GROWTH * path.stat().st_size:
        frame = " x ".join(map(str, shape))
        raise ValueError(f"its header declares {frame} pixels in {path.stat().st_size} bytes")


def array_reader(array: Any, shape: Sequence[int]) -> Reader:
    """Reads frames of something indexed like an array: the last two axes are the frame."""
    check_shape(shape)
    leading = tuple(shape[:-2])

    def read(index: int) -> Any:
        where = (*np.unravel_index(index, leading), ...)
        return array[where]

    return read


def file_reader(path: Path, dtype: np.dtype, offset: int, shape: Sequence[int]) -> Reader:
    """Reads frames that lie in a file one after the other.

    The frames are read, not mapped, because pages of a mapped file count as memory of the process.
    Of a file that ends too early the frames that are there can be read.
    """
    check_shape(shape)
    if math.prod(shape):
        check_size(path, offset + math.prod(shape[-2:]) * dtype.itemsize)

    def read(index: int) -> np.ndarray:
        pixels = math.prod(shape[-2:])
        start = offset + index * pixels * dtype.itemsize
        frame = np.fromfile(path, dtype, pixels, offset=start)
        if frame.size < pixels:
            raise ValueError(f"it is cut short in frame {index} of {math.prod(shape[:-2])}")
        return frame.reshape(shape[-2:])

    return read
