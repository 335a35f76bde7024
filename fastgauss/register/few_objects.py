"""Whether two images that show a few objects each, stars or cells, show the same ones.

A few objects have few positions: whatever the phases of all modes say, one star that lies on
another is no evidence where there are more of them. Objects are groups of pixels that stand out of
the image. Of those that the other image must show, by the brightest that both have, most must be
there, and two at least, unless there is but one. Images with many objects, or none, are not judged.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .inputs import Pixels

_STANDS_OUT = 4.0  # typical deviations of a pixel of an object
_LEAST = 3  # pixels of an object, which is no hot pixel
_MOST_PIXELS = 8000  # that stand out
_MOST = 12  # objects that are few
_SEEN = 6.0  # typical deviations that an object must have in the other image to be looked for
_THERE = 0.5  # of the expected, that is found there
_ENOUGH = 0.7  # of the objects that are looked for


class _Objects(NamedTuple):
    """Objects of an image."""

    places: np.ndarray  # (k, 2) row and column of the highest pixel
    heights: np.ndarray  # (k,) its value, in typical deviations


def _objects(pixels: Pixels) -> _Objects | None:
    """The objects; None if they are many, or none."""
    columns = pixels.values.shape[1]
    away = np.abs(pixels.values)
    at = np.flatnonzero((away > _STANDS_OUT * pixels.size) & pixels.valid)
    if not 0 < at.size <= _MOST_PIXELS:
        return None
    links = []
    for down, right in ((0, 1), (1, -1), (1, 0), (1, 1)):
        inside = (at % columns + right >= 0) & (at % columns + right < columns)
        beside = at + down * columns + right
        found = np.searchsorted(at, beside)
        next_to = inside & (found < at.size) & (at[np.minimum(found, at.size - 1)] == beside)
        links.append(np.stack([np.flatnonzero(next_to), found[next_to]]))
    label = _connected(at.size, *np.concatenate(links, axis=1))
    order = np.lexsort((away.reshape(-1)[at], label))
    last = np.append(np.flatnonzero(np.diff(label[order])), at.size - 1)
    large = np.diff(last, prepend=-1) >= _LEAST
    highest = at[order[last]][large]
    if not 0 < highest.size <= _MOST:
        return None
    places = np.column_stack(np.divmod(highest, columns))
    return _Objects(places, pixels.values.reshape(-1)[highest] / pixels.size)


def _connected(count: int, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """A number for each of the groups of items that links (i, j) connect."""
    label = np.arange(count)
    while True:
        least = label.copy()
        np.minimum.at(least, i, label[j])
        np.minimum.at(least, j, label[i])
        least = least[least]
        if (least == label).all():
            return label
        label = least


def _looked_for(
    objects: _Objects, other: Pixels, move: np.ndarray, wrap: bool
) -> tuple[int, int, int]:
    """The number of objects that the other image must show, has in view, and shows."""
    shape = np.array(other.values.shape)
    places = np.rint(objects.places + move).astype(np.intp)
    places = places % shape if wrap else places
    inside = ((places >= 1) & (places < shape - 1)).all(axis=1) | wrap
    inside[inside] = other.valid[tuple(places[inside].T)]
    steps = np.moveaxis(np.indices((3, 3)), 0, -1).reshape(-1, 2) - 1
    around = (places[inside, np.newaxis] + steps) % shape
    values = other.values[tuple(np.moveaxis(around, -1, 0))] / other.size
    heights = objects.heights[inside]
    sides = np.sign(heights)[:, np.newaxis]
    middle = values[:, len(steps) // 2]
    best = int(np.argmax(np.abs(heights * middle))) if len(heights) else -1
    gain = float(middle[best] / heights[best]) if len(heights) else 0.0
    found = (values * sides * np.sign(gain)).max(axis=1, initial=-np.inf)
    expected = np.abs(gain * objects.heights)
    seen = expected[inside] > _SEEN
    return int((expected > _SEEN).sum()), int(seen.sum()), int(
        (seen & (found > _THERE * expected[inside])).sum()
    )  # fmt: skip


def same_objects(
    first: Pixels, second: Pixels, shift: tuple[float, float], wrap: bool = False
) -> bool:
    """Whether most objects are in both at this displacement (dx, dy); True if not to be judged."""
    if not (first.size > 0 and second.size > 0 and np.isfinite(shift).all()):
        return True
    both = [_objects(pixels) for pixels in (first, second)]
    if both[0] is None or both[1] is None:
        return True
    move = np.array(shift)[::-1]
    for objects, other, way in ((both[0], second, move), (both[1], first, -move)):
        must, seen, found = _looked_for(objects, other, way, wrap)
        if found < _ENOUGH * seen or (must > 1 and found < 2):
            return False
    return True
