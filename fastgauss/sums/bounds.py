"""Index modes: the meaning of an index outside the bins (raise, wrap, clip, drop)."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import schedule

MODES = ("raise", "wrap", "clip", "drop")
_BATCH = 1 << 20  # pairs that are copied at a time where kernels cannot read them in place


def index_error(position: Any, value: Any, axis: int, size: int) -> IndexError:
    return IndexError(
        f"index {value} at position {position} of indices is out of bounds for axis {axis} "
        f"with size {size}"
    )


def _least_and_greatest(array: np.ndarray, threads: int | None) -> tuple[int, int]:
    if array.ndim == 1 and array.flags.c_contiguous and array.dtype.isnative:
        return schedule.extent(array, threads)
    return int(array.min()), int(array.max())


def _refuse_outside(array: np.ndarray, axis: int, n: int) -> None:
    """Raise an IndexError that names the first index outside."""
    for start in range(0, array.size, _BATCH):
        part = array.flat[start : start + _BATCH]
        bad = np.flatnonzero((part < -n) | (part >= n))
        if bad.size:
            place = np.unravel_index(start + int(bad[0]), array.shape)
            position = int(place[0]) if array.ndim == 1 else tuple(map(int, place))
            raise index_error(position, part[bad[0]], axis, n)


def check_bounds(
    array: np.ndarray, n: int, mode: str, threads: int | None = None, axis: int = 0
) -> str:
    """How the kernels have to read the indices of an axis of n elements.

    Parameters
    ----------
    array : array of int
        Indices; some or none.
    n : int
        Length of the axis.
    mode : str
        One of ``MODES``.
    threads : int, optional
        Largest number of threads.
    axis : int
        Number of the axis, for the error.

    Returns
    -------
    str
        `mode`, or "plain" if that is "raise" and all indices are in [0, n).

    Raises
    ------
    IndexError
        If an index is outside with mode "raise", or if there is no bin to which it can be wrapped
        or clipped.

    Examples
    --------
    >>> import numpy as np
    >>> check_bounds(np.array([2, 0, 1]), 3, "raise")
    'plain'
    >>> check_bounds(np.array([2, -1]), 3, "raise")
    'raise'
    """
    if not array.size:
        return "plain"
    if mode != "raise":
        if not n and mode != "drop":
            raise IndexError(f"mode={mode!r} finds no bin on axis {axis} of size 0")
        return mode
    least, greatest = _least_and_greatest(array, threads)
    if least < -n or greatest >= n:
        _refuse_outside(array, axis, n)
    return "raise" if least < 0 else "plain"
