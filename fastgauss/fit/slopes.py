"""Starting values of spots on a plane of background: its slopes, and offsets that fit them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..kernels.fit.plane_starts import level_spots
from ..models.model import Model

# Least offset of a likelihood's start, by how far the plane falls below it: of dark and of bright
# spots. What is left above 0 is the room that ``levmar`` leaves to a dark spot.
_ROOM = 11.0, 1.1


class Planes(NamedTuple):
    """The planes of m spots, in the coordinates of their pixels; slopes are 0 where unknown."""

    columns: list[int]  # of the slopes, among the parameters
    pixels: np.ndarray  # (m, p), less the planes
    slopes: np.ndarray  # (m, ndim)
    first: np.ndarray  # (m or 1, ndim), x before y: coordinates of the first pixel
    last: np.ndarray  # and of the last one

    def take(self, members: np.ndarray) -> Planes:
        """The planes of some spots."""
        ends = (end if len(end) == 1 else end[members] for end in (self.first, self.last))
        return Planes(self.columns, self.pixels[members], self.slopes[members], *ends)

    def add(self, start: np.ndarray) -> None:
        """Put the slopes into starting values (m, P) of the level pixels."""
        start[:, self.columns] = self.slopes
        centres = start[:, 1 : 1 + self.first.shape[1]]
        start[:, -1] += (self.slopes * (centres - 0.5 * (self.first + self.last))).sum(axis=1)

    def lift(self, start: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        """Raise offsets until the planes are positive at all pixels, with slopes within bounds."""
        if len(lower):
            within = lower[:, self.columns], upper[:, self.columns]
            start[:, self.columns] = np.clip(start[:, self.columns], *within)
        dark, bright = _ROOM
        room = np.where(start[:, 0] < 0.0, dark, bright)
        least = room * self._depth(start, start[:, self.columns])
        if len(lower):
            self._flatten(start, lower, upper, room, least)
            least = np.minimum(room * self._depth(start, start[:, self.columns]), upper[:, -1])
        start[:, -1] = np.fmax(start[:, -1], least)

    def _depth(self, start: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """How far planes of these slopes (m, ndim) fall below the offset in their pixels."""
        centres = start[:, 1 : 1 + self.first.shape[1]]
        ends = (slopes * (end - centres) for end in (self.first, self.last))
        return -np.minimum(*ends).sum(axis=1)

    def _flatten(
        self, start: np.ndarray, lower: np.ndarray, upper: np.ndarray, room: np.ndarray,
        least: np.ndarray,
    ) -> None:  # fmt: skip
        """Bring slopes nearer to 0 where no offset within bounds is as high as ``least``."""
        slopes, highest = start[:, self.columns], upper[:, -1]
        flat = np.clip(0.0, lower[:, self.columns], upper[:, self.columns])
        lowest = room * self._depth(start, flat)
        with np.errstate(divide="ignore", invalid="ignore"):  # the depth is convex in the slopes
            part = np.where(least > highest, (highest - lowest) / (least - lowest), 1.0)
        part = np.clip(np.nan_to_num(part), 0.0, 1.0)[:, np.newaxis]
        start[:, self.columns] = np.where(part < 1.0, flat + part * (slopes - flat), slopes)


def planes_of(
    model: Model, pixels: np.ndarray, places: np.ndarray, shape: tuple[int, int, int]
) -> Planes | None:
    """The planes of spots ``pixels`` (m, p) of this shape (z, y, x); None without slopes.

    ``places`` (m or 1, x) are the abscissae of profiles.
    """
    if not model.slopes:
        return None
    level, slopes = np.empty(pixels.shape), np.empty((len(pixels), model.ndim))
    level_spots(pixels, places, *shape, slopes, level)
    if places.size:
        first, last = places[:, :1], places[:, -1:]
    else:
        last = np.array([shape[::-1][: model.ndim]], np.float64) - 1.0
        first = np.zeros(last.shape)
    return Planes(list(model.slopes), level, slopes, first, last)
