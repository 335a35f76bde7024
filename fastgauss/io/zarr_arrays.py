"""Zarr: an array, or the image of a group, with the names of its dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from ..base.optional import require
from .chunks import Gaps
from .frames import UNKNOWN, Facts, Reader, array_reader, check_shape, unit_name

_LETTERS = {
    "T": ("t", "time", "frame", "frames"),
    "Z": ("z", "plane", "planes", "depth", "slice"),
    "C": ("c", "channel", "channels", "ch"),
    "Y": ("y", "row", "rows"),
    "X": ("x", "column", "columns", "col"),
}
_LETTER_OF = {name: letter for letter, names in _LETTERS.items() for name in names}
_UNITS = {"micrometer": "um", "nanometer": "nm", "millimeter": "mm", "second": "s"}


def open_zarr(path: Path, stack: ExitStack) -> tuple[Facts, Reader]:
    """The facts and the frames of an array, or of the only image of a group."""
    zarr = require("zarr", "reading Zarr", "io")
    array, names, sizes, channels = _image(zarr.open(str(path), mode="r"))
    check_shape(array.shape)
    order = _order(names, array.ndim)
    leading = [k for k in range(array.ndim) if k not in order]
    known = [_LETTER_OF.get(str(name).lower(), UNKNOWN) for name in names] or [UNKNOWN] * array.ndim
    facts = Facts(
        "".join(known[k] for k in leading),
        tuple(array.shape[k] for k in leading),
        sizes,
        channels=channels,
    )
    if array.ndim == 2 and order == (0, 1):
        return facts, array_reader(array, array.shape)
    if order == (array.ndim - 2, array.ndim - 1):
        return facts, _read_chunks(array)
    return facts, _read_across(array, order, leading)


def _image(node: Any) -> tuple[Any, Sequence[str], dict[str, tuple[float, str]], tuple[str, ...]]:
    """The array to read, the names of its dimensions, distances of pixels, names of channels."""
    if hasattr(node, "chunks"):
        return node, _dimensions(node), {}, ()
    told = dict(node.attrs)
    told = told.get("ome", told)
    if told.get("multiscales"):
        return _ome_image(node, told)
    images = {name: array for name, array in node.arrays() if array.ndim >= 2}
    if len(images) != 1:
        known = f", which are {', '.join(sorted(images))}" if images else "; there is none"
        raise ValueError(f"it is a group: name one of its arrays of two or more dimensions{known}")
    (array,) = images.values()
    return array, _dimensions(array), {}, ()


def _dimensions(array: Any) -> Sequence[str]:
    """Names of an array's dimensions, as Zarr 3 or xarray write them; none if some have none."""
    names = getattr(getattr(array, "metadata", None), "dimension_names", None)
    names = names or array.attrs.get("_ARRAY_DIMENSIONS")
    return tuple(names) if names and all(names) and len(names) == array.ndim else ()


def _ome_image(group: Any, told: Any) -> Any:
    """The largest array of the first image of OME-Zarr."""
    image = told["multiscales"][0]
    largest = image["datasets"][0]
    array = group[largest["path"]]
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in image.get("axes", [])]
    sizes = {}
    for change in largest.get("coordinateTransformations", []):
        if change.get("type") == "scale" and len(change["scale"]) == len(axes):
            for axis, size in zip(axes, change["scale"], strict=True):
                unit = str(axis.get("unit", ""))
                letter = _LETTER_OF.get(str(axis["name"]).lower())
                if letter and unit:
                    sizes[letter] = (float(size), _UNITS.get(unit, unit_name(unit)))
    channels = [str(each.get("label", "")) for each in told.get("omero", {}).get("channels", [])]
    names = tuple(str(axis["name"]) for axis in axes) if len(axes) == array.ndim else ()
    return array, names, sizes, tuple(channels) if all(channels) else ()


def _order(names: Sequence[str], ndim: int) -> tuple[int, int]:
    """Where y and x are among the dimensions; the last two without names of these."""
    letters = [_LETTER_OF.get(str(name).lower()) for name in names]
    if letters.count("Y") == letters.count("X") == 1:
        return letters.index("Y"), letters.index("X")
    return ndim - 2, ndim - 1


def _read_across(array: Any, order: tuple[int, int], leading: Sequence[int]) -> Reader:
    """Reads frames whose axes are not the last two, or not in the order y, x."""
    lengths = tuple(array.shape[k] for k in leading)

    def read(index: int) -> Any:
        where: list[Any] = [slice(None)] * array.ndim
        for axis, place in zip(leading, np.unravel_index(index, lengths), strict=True):
            where[axis] = int(place)
        frame = array[tuple(where)]
        return frame if order[0] < order[1] else frame.T

    return read


def _read_chunks(array: Any) -> Reader:
    """Reads frames of the last two axes; each chunk of frames is unpacked once."""
    depth, length = array.chunks[-3], array.shape[-3]
    held: dict[int, Any] = {}  # the last chunk of frames
    gaps = Gaps(array)

    def read(index: int) -> Any:
        first = index - index % length % depth
        if first not in held:
            held.clear()
            where = list(np.unravel_index(first, array.shape[:-2]))
            where[-1] = slice(where[-1], where[-1] + depth)
            held[first] = array[tuple(where)]
            gaps.look(first, held[first])
        return held[first][index - first]

    return read
