"""NPY arrays; their size is checked before memory is allocated."""

from __future__ import annotations

import math
from typing import IO, Any

import numpy as np

_HEADERS: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, order ("F": True), dtype and bytes of the array that begins here.

    Raises
    ------
    ValueError
        If this is not an NPY array of numbers or strings.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"its NPY version {version} is unknown")
    shape, fortran, dtype = _HEADERS[version](file)
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError(f"arrays of dtype {dtype} are not read")
    return shape, fortran, dtype, math.prod(shape) * dtype.itemsize


def read_array(file: IO[bytes], most: int) -> np.ndarray:
    """The array that begins here, of ``most`` bytes at most."""
    shape, fortran, dtype, size = read_header(file)
    if size > most:
        raise ValueError(f"its header declares {size} bytes, more than {most}")
    content = np.empty(size, np.uint8)
    room = content.data
    done = 0
    while done < size:
        more = file.readinto(room[done:])  # type: ignore[attr-defined]
        if not more:
            raise ValueError(f"its header declares {size} bytes, there are {done}")
        done += more
    return content.view(dtype).reshape(shape, order="F" if fortran else "C")
