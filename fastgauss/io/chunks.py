"""Chunks of arrays: those that are not stored are read as the fill value, without an error."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..base.log import logger

_LEAST = 16  # pixels of a frame that are no chance if all are the fill value


class Gaps:
    """Looks for chunks that may be missing in an array of Zarr or h5py; the log tells the first.

    A warning would be too much: Zarr does not store chunks that hold only the fill value.

    Parameters
    ----------
    array : array
        In chunks; of dask or xarray, which have no fill value, nothing is told.
    """

    def __init__(self, array: Any) -> None:
        fill = getattr(array, "fill_value", getattr(array, "fillvalue", None))
        self._fill, self._chunks, self._told = fill, array.chunks, fill is None

    def look(self, first: int, frames: np.ndarray) -> None:
        """Look for one in the frames (k, ..., y, x), of which the number of the first is given."""
        if self._told or not frames.size:
            return
        for number, frame in zip(itertools.count(first), frames, strict=False):
            if _has_gap(frame, self._chunks[-frame.ndim :], self._fill):
                logger.warning(
                    "frame %d is empty at least in part: a chunk of it, and perhaps of others, "
                    "holds only the fill value %s: it may never have been written",
                    number, self._fill,
                )  # fmt: skip
                self._told = True
                return


def _has_gap(frame: np.ndarray, lengths: Sequence[int], fill: Any) -> bool:
    """Whether a part of a frame, of these lengths along its axes, holds only the fill value."""
    starts = (range(0, n, step) for n, step in zip(frame.shape, lengths, strict=True))
    for corner in itertools.product(*starts):
        if not _is_fill(frame[corner], fill):  # most chunks end here
            continue
        part = tuple(slice(k, k + step) for k, step in zip(corner, lengths, strict=True))
        if frame[part].size >= _LEAST and bool(np.all(_is_fill(frame[part], fill))):
            return True
    return False


def _is_fill(values: Any, fill: Any) -> Any:
    nan = isinstance(fill, (float, np.floating)) and np.isnan(fill)
    return np.isnan(values) if nan else values == fill
