"""The axes of an image file: which frames are one volume, which channel is read."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .frames import UNKNOWN, Facts, Frames

_COLOURS = ("red", "green", "blue")
_SHORT = 4  # how many times shorter than all others an axis is that may be of planes or channels
_NAMES = {"T": "frame", "Z": "plane", "C": "channel", "P": "position", UNKNOWN: "image"}


class Arranged(NamedTuple):
    """The pictures that a file holds, and what it was taken for."""

    pictures: Frames
    ndim: int = 2  # axes of a picture: 3 of a volume
    what: str = "an image"
    choice: str = ""
    unnamed: bool = False  # whether the file does not name the axis of pictures, or of planes

    def told(self, shape: tuple[int, ...]) -> str:
        """A clause that says what the file was taken for; ``shape`` is that of a picture."""
        told = f"{self.what} of {shape_text(shape)}{self._pixel_size()}{self.choice}"
        return told + self._last_axis(shape)

    def _last_axis(self, shape: tuple[int, ...]) -> str:
        """A clause where the last axis is so short that it may be that of planes or channels."""
        lengths = shape if self.ndim == 3 else (len(self.pictures), *shape)
        if not self.unnamed or _SHORT * lengths[-1] > min(lengths[:-1]):
            return ""
        return (
            f"; if the last axis, of {lengths[-1]}, is that of planes or channels, give --axes YXZ "
            "or --axes YXC"
        )

    def _pixel_size(self) -> str:
        sizes = [self.pictures.facts.sizes.get(axis) for axis in "YX"]
        if None in sizes:
            return ""
        (y, unit), (x, _) = sizes  # type: ignore[misc]
        same = abs(y - x) < 1e-3 * x
        return f" of {x:.4g} {unit}" if same else f" of {y:.4g} x {x:.4g} {unit}"


def arrange(frames: Frames, volume: bool | None = None, channel: str | None = None) -> Arranged:
    """Images, or volumes where the file has an axis of planes.

    Parameters
    ----------
    frames : Frames
        All frames of the file, with its axes among their facts.
    volume : bool, optional
        Whether planes are one volume; by default they are, if the file says that they are planes.
    channel : str, optional
        Number from 0, or name, of the channel that is read; by default the first.

    Raises
    ------
    ValueError
        If the file has no such channel, or no axis, or several, that could be planes.
    """
    facts = frames.facts
    kept = [(a, n) for a, n in zip(facts.axes, facts.lengths, strict=True) if n != 1]
    letters, lengths = [axis for axis, _ in kept], [n for _, n in kept]
    # a header of a few bytes can declare a billion frames: they are counted, not listed
    steps = [math.prod(lengths[place + 1 :]) for place in range(len(lengths))]
    first = 0
    parts = _counts(kept, facts)
    choice = ""
    if facts.colour and "C" in letters:
        choice = ", the luminance of 3 colours"
    elif facts.colour:
        frames, choice = _of_colours(frames, channel)
        facts, channel = frames.facts, None
    if "C" in letters:
        place = letters.index("C")
        number = _channel(channel, facts, lengths[place])
        choice += f", channel {number}{_named(facts, number)}"
        choice += "" if channel is not None else " (--channel selects another)"
        first = number * steps[place]
        del letters[place], lengths[place], steps[place]
    elif channel not in (None, "0"):
        raise ValueError(f"there is no channel {channel}: the file has no axis of channels")
    planes = _planes(letters, volume)
    solid = None
    if planes is not None:
        step = steps.pop(planes)
        solid = range(0, step * lengths.pop(planes), step)
    if planes is None and volume is None and UNKNOWN in letters:
        choice += " (--volume if they are the planes of a volume)"
    told = f"{facts.part}: " if facts.part else ""
    told += f"{', '.join(parts)}: " if parts else ""
    count = math.prod(lengths)
    what = _what(count, planes is not None)

    def read(index: int) -> np.ndarray:
        start = first + int(np.dot(np.unravel_index(index, lengths), steps))
        return frames[start] if solid is None else np.stack([frames[start + k] for k in solid])

    pictures = Frames(count, read, facts)
    ndim = 2 if planes is None else 3
    return Arranged(pictures, ndim, f"{told}{what}", choice, letters == [UNKNOWN])


def _of_colours(frames: Frames, channel: str | None) -> tuple[Frames, str]:
    """The frames of one colour, or their luminance, and a clause that says which."""
    if channel is None:
        return frames, ", the luminance of 3 colours (--channel selects one)"
    known = Facts(channels=_COLOURS)
    number = _channel(channel, known, len(_COLOURS))
    return frames.of_colour(number), f", colour {number}{_named(known, number)}"


def _counts(axes: list[tuple[str, int]], facts: Facts) -> list[str]:
    """All axes in words; those of which the file has several without a name are one."""
    unnamed = [str(n) for axis, n in axes if axis == UNKNOWN]
    if len(unnamed) < 2:
        return [_count(axis, n, facts) for axis, n in axes]
    named = [_count(axis, n, facts) for axis, n in axes if axis != UNKNOWN]
    return [*named, f"{' x '.join(unnamed)} images, of axes that the file does not name"]


def _count(axis: str, length: int, facts: Facts) -> str:
    """An axis in words, with the distance of its elements: "25 planes of 0.3 um"."""
    size = ""
    if axis in facts.sizes:
        number, unit = facts.sizes[axis]
        size = f" of {number:.4g} {unit or '(no unit is given)'}"
    return f"{length} {_NAMES.get(axis, 'image')}s{size}"


def _named(facts: Facts, number: int) -> str:
    return f" ({facts.channels[number]})" if number < len(facts.channels) else ""


def _channel(channel: str | None, facts: Facts, count: int) -> int:
    if channel is None:
        return 0
    if channel in facts.channels[:count]:
        return facts.channels.index(channel)
    if channel.isdecimal() and int(channel) < count:
        return int(channel)
    known = ", ".join(f"{k}{_named(facts, k)}" for k in range(count))
    raise ValueError(f"there is no channel {channel}, the channels are {known}")


def _planes(letters: list[str], volume: bool | None) -> int | None:
    """Which axis holds the planes of a volume; None: each frame is an image."""
    if volume is False or (volume is None and "Z" not in letters):
        return None
    for axis in ("Z", UNKNOWN):
        if letters.count(axis) == 1:
            return letters.index(axis)
    if len(letters) == 1:
        return 0
    if not letters:
        raise ValueError("the file holds one image, and no planes for a volume")
    names = ", ".join(f"{_NAMES.get(axis, 'image')}s" for axis in letters)
    raise ValueError(f"the file does not say which of its axes ({names}) are planes of a volume")


def _what(count: int, solid: bool) -> str:
    if solid:
        return "a volume" if count == 1 else f"{count} volumes"
    return "an image" if count == 1 else "a movie"


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape in words: "20 x 64 x 64 pixels"."""
    return f"{' x '.join(map(str, shape))} pixel{'' if math.prod(shape) == 1 else 's'}"
