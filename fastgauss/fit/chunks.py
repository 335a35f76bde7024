"""Chunks of spots: their pixels and what goes with them, as the kernels take it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .units import Unit, data_unit, profile_unit

# Others become float64, chunk by chunk. That costs nothing for integers, and the kernels of a fit,
# which take seconds to compile, are then the same for all of them.
READ_AS_IS = tuple(np.dtype(kind) for kind in ("f8", "f4"))
NOTHING = np.zeros((1, 0))
_LEAST_DATA = 1e-150  # whose squares float64 holds


class Chunk(NamedTuple):
    """Spots of one shape; ``m`` is their number, ``p`` that of a spot's pixels."""

    pixels: np.ndarray  # (m, ...)
    shape: tuple[int, ...]  # of a spot
    second: np.ndarray | None = None  # (m or 1, ...): weights or variances
    mask: np.ndarray | None = None  # (m or 1, ...)
    places: np.ndarray | None = None  # (m or 1, p): abscissae of profiles
    origin: np.ndarray | None = None  # (m, ndim): what (x, y, ...) of the first pixel is
    zeros: bool = False  # a 0 of ``second`` means that there is no pixel
    guides: np.ndarray | None = None  # (m, ndim): (x, y, ...) of the spots from the first pixel
    sigmas: np.ndarray | None = None  # (ndim,): how wide they are expected to be along x, y, ...
    unit: Unit | None = None  # in which the fit has data and lengths

    @property
    def weighted(self) -> bool:
        """Whether pixels are told apart by anything but their values."""
        return self.second is not None or self.mask is not None

    def take(self, members: np.ndarray) -> Chunk:
        """Some of these spots."""

        def part(array: np.ndarray | None) -> np.ndarray | None:
            return array if array is None or len(array) == 1 else array[members]

        return self._replace(
            pixels=self.pixels[members],
            second=part(self.second),
            mask=part(self.mask),
            places=part(self.places),
            origin=None if self.origin is None else self.origin[members],
            guides=None if self.guides is None else self.guides[members],
            unit=None if self.unit is None else self.unit.take(members),
        )

    def sorted(self) -> Chunk:
        """Profiles in the order of their abscissae, which starting values rely on."""
        places = self.places
        if places is None or (places[:, 1:] >= places[:, :-1]).all():
            return self
        order = np.argsort(places, axis=1, kind="stable")

        def turn(array: np.ndarray) -> np.ndarray:
            rows = max(len(array), len(order))
            both = np.broadcast_to(array, (rows, array.shape[1]))
            return np.take_along_axis(both, np.broadcast_to(order, both.shape), axis=1)

        return self._replace(
            pixels=turn(self.pixels),
            second=None if self.second is None else turn(self.second),
            mask=None if self.mask is None else turn(self.mask),
            places=turn(places),
        )

    def centred(self) -> Chunk:
        """Profiles with abscissae that are counted from the middle, in units of their spacing."""
        if self.places is None:
            return self
        places, origin, unit = profile_unit(self.places, len(self.pixels))
        return self._replace(places=places, origin=origin, unit=unit)

    def rescaled(self, least_squares: bool) -> Chunk:
        """These spots in units in which their squares can be summed up."""
        unit = data_unit(self.pixels, self.second, least_squares, self.unit)
        each = (slice(None), *(np.newaxis,) * len(self.shape))
        second = self.second
        if second is not None:
            if least_squares:
                second = second * unit.root[each] * unit.root[each]
            else:
                second = second * unit.data[each]
        pixels = self.pixels.astype(np.float64) * unit.data[each]
        return self._replace(pixels=pixels, second=second, unit=unit)


def readable(block: np.ndarray) -> np.ndarray:
    """Pixels as the kernels take them: in place if they know the dtype, else as float64."""
    direct = block.dtype in READ_AS_IS and block.dtype.isnative
    if not (direct and block.flags.carray):
        block = np.array(block, dtype=np.float64, order="C")
    return block.reshape(len(block), -1)


def usual(array: np.ndarray) -> np.ndarray:
    """Numbers as one type of array: for numba, one that cannot be written to is another type."""
    return np.require(array, np.float64, ["A", "C", "W"])


def rows_of(array: np.ndarray) -> np.ndarray:
    """A map of pixels as the kernels take it; one that is the same for all stays one row."""
    same = array.shape[0] > 1 and array.strides[0] == 0
    array = array[:1] if same else array
    if array.dtype == np.bool_:
        return array.reshape(len(array), -1)
    return usual(array).reshape(len(array), -1)


def load(chunk: Chunk, least_squares: bool) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, NaN where there are none, and the second number of each."""
    if not chunk.weighted:
        return readable(chunk.pixels), NOTHING
    if chunk.second is None:
        second = np.full((1, chunk.pixels[0].size), float(least_squares))
    else:
        second = rows_of(chunk.second)
    missing = None if chunk.mask is None else rows_of(chunk.mask)
    if chunk.zeros:
        missing = second == 0 if missing is None else missing | (second == 0)
    pixels = readable(chunk.pixels)
    if missing is not None and missing.any():
        pixels = np.where(missing, np.nan, pixels).astype(np.float64, copy=False)
    return pixels, second


def vanished(chunk: Chunk, objective: np.ndarray) -> np.ndarray:
    """Indices of spots whose squares are all 0 in float64, though the pixels are not."""
    members = (objective == 0.0).nonzero()[0]
    if not members.size:
        return members
    pixels = chunk.pixels[members].reshape(len(members), -1)
    size = np.nan_to_num(np.abs(pixels, dtype=np.float64), posinf=0.0).max(axis=1)
    return members[(size > 0.0) & (size < _LEAST_DATA)]
