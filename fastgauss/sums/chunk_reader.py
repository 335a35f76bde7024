"""Arrays of any dtype and layout, read in chunks that the kernels can use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

_BUFFER = 4096  # elements of one array that are converted at a time

Read = Callable[[int, int], np.ndarray]


def make_reader(
    array: np.ndarray, shape: tuple[int, ...], dtype: DTypeLike = np.float64, room: int = 0
) -> Read:
    """A function that gives elements [start, stop) of the broadcast array in a dtype, contiguous.

    They are those of the array itself where that is possible, else lie in memory of their own; or,
    if there is ``room`` for all elements of a chunk, in memory that the next call overwrites.
    """
    plain = array.dtype == dtype and array.dtype.isnative and array.flags.aligned
    if array.shape == shape and plain and array.flags.c_contiguous:
        flat = array.reshape(-1)
        return lambda start, stop: flat[start:stop]
    walk: Any = np.nditer(
        [np.broadcast_to(array, shape)],
        flags=["external_loop", "buffered", "ranged", "zerosize_ok"],
        op_flags=[["readonly"]],
        op_dtypes=[dtype],
        casting="same_kind",
        order="C",
        buffersize=_BUFFER,
    )
    own = np.empty(room, dtype)

    def read(start: int, stop: int) -> np.ndarray:
        result = own[: stop - start] if room else np.empty(stop - start, dtype)
        walk.iterrange = (start, stop)
        at = 0
        for piece in walk:
            result[at : at + piece.size] = piece
            at += piece.size
        return result

    return read
