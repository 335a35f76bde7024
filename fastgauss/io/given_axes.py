"""Axes of an image file that the user names, in the place of those that the file tells."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from ..base import wording
from .frames import Facts, Frames

_LETTERS = "TZCPYX"  # times, planes, channels, positions, rows, columns
_LENGTHS = "ZYX"  # axes whose pixels have a length


def with_axes(frames: Frames, letters: str) -> Frames:
    """The frames of a file whose axes are named by letters, such as "ZCYX".

    Where y and x are not the last two, or a sample of colour is an axis of its own, the whole file
    is read at the first frame.

    Parameters
    ----------
    frames : Frames
        All frames of a file.
    letters : str
        A letter for each axis in the order of the file: T, Z, C, P (positions of a stage), Y, X.

    Raises
    ------
    ValueError
        If a letter is unknown or repeated, Y or X is missing, or the file has another number of
        axes.
    """
    axes = letters.upper()
    if len(set(axes)) != len(axes) or not {"Y", "X"} <= set(axes) <= set(_LETTERS):
        raise ValueError(
            f"--axes must name each axis once, by Y, X and letters of T, Z, C and P, such as ZCYX; "
            f"got {letters}"
        )
    lengths = _lengths(frames)
    if len(axes) != len(lengths):
        named, has = wording.plural(len(axes), "axis"), wording.plural(len(lengths), "axis")
        sides = " x ".join(map(str, lengths))
        raise ValueError(f"--axes {letters} names {named}, and the file has {has}: {sides}")
    facts = _renamed(frames.facts, axes, lengths)
    if axes.endswith("YX") and not frames.facts.colour:
        return Frames(len(frames), frames.__getitem__, facts)
    order = [k for k, axis in enumerate(axes) if axis not in "YX"]
    order += [axes.index("Y"), axes.index("X")]

    @cache
    def whole() -> np.ndarray:
        array = _stored(frames, lengths).transpose(order)
        return array.reshape(-1, *array.shape[-2:])

    return Frames(int(np.prod(facts.lengths)), lambda k: np.ascontiguousarray(whole()[k]), facts)


def _lengths(frames: Frames) -> tuple[int, ...]:
    """The lengths of all axes, in the order of the file."""
    facts = frames.facts
    if not facts.colour:
        return (*facts.lengths, *frames[0].shape)
    lengths = [*facts.lengths, *frames.samples(0).shape]
    lengths.insert(facts.samples % len(lengths), lengths.pop())
    return tuple(lengths)


def _stored(frames: Frames, lengths: tuple[int, ...]) -> np.ndarray:
    """The whole file as an array of these lengths."""
    count, facts = len(frames), frames.facts
    if not facts.colour:
        return np.stack([frames[k] for k in range(count)]).reshape(lengths)
    samples = np.stack([frames.samples(k) for k in range(count)])
    array = samples.reshape(*facts.lengths, *samples.shape[1:])
    return np.moveaxis(array, -1, facts.samples)


def _renamed(facts: Facts, axes: str, lengths: tuple[int, ...]) -> Facts:
    """The facts of a file whose axes have these names."""
    kept = [(axis, n) for axis, n in zip(axes, lengths, strict=True) if axis not in "YX"]
    before = list(facts.axes + "YX")
    if facts.colour:
        before.insert(facts.samples % len(lengths), "C")
    sizes = dict(facts.sizes)
    for axis, old in zip(axes, before, strict=True):
        if {axis, old} <= set(_LENGTHS) and old in facts.sizes:
            sizes[axis] = facts.sizes[old]
    transposed = [axis for axis, old in zip(axes, before, strict=True) if old in "YX"] != ["Y", "X"]
    return replace(
        facts,
        axes="".join(axis for axis, _ in kept),
        lengths=tuple(n for _, n in kept),
        sizes=sizes,
        wcs=None if transposed else facts.wcs,
        colour=False,
    )
