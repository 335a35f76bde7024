"""TIFF: frames, and the axes, pixel sizes and channels that ImageJ and OME metadata name."""

from __future__ import annotations

import math
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from ..base.optional import require
from .frames import (
    UNKNOWN,
    Facts,
    Reader,
    array_reader,
    check_growth,
    file_reader,
    unit_name,
)

_UNNAMED = "QI"  # tifffile's letters for an axis without a name
_PADDING = 16  # bytes: pages begin at multiples of a number that is at most this


def open_tiff(path: Path, stack: ExitStack) -> tuple[Facts, Reader]:
    """The facts and the frames of the first series."""
    tifffile = require("tifffile", "reading TIFF", "io")
    tiff = stack.enter_context(tifffile.TiffFile(path))
    series = tiff.series[0]
    page = series.keyframe
    colour = page.photometric.name in ("RGB", "YCBCR")
    if page.photometric.name == "PALETTE":
        raise ValueError("palette colours are not supported, save it as grey or RGB")
    if page.samplesperpixel > 1 and not colour:
        raise ValueError(f"{page.samplesperpixel} samples a pixel that are not RGB")

    def samples_last(pixels: np.ndarray, axes: str) -> np.ndarray:
        return np.moveaxis(pixels, axes.index("S"), -1) if colour else pixels

    following = _next_page(tiff)
    cut = following >= tiff.filehandle.size
    count = int((tiff.imagej_metadata or {}).get("images", 1))
    short = count > math.prod(series.shape) // max(math.prod(page.shape), 1)
    if cut and not short:
        count = _count_before(following, tiff)
    if (short or count > 1) and not colour and page.compression == 1:  # frames follow the first
        kind = np.dtype(page.dtype).newbyteorder(tiff.byteorder)
        facts = _facts(tifffile, tiff, count)
        return facts, file_reader(path, kind, page.dataoffsets[0], (count, *page.shape))
    axes = zip(series.shape, series.axes, strict=True)
    told = math.prod(n for n, axis in axes if axis not in "YXS")
    cut = cut and told <= len(tiff.pages)  # else the first page tells of all frames
    pages = tiff.pages if cut else series
    if series.dataoffset is None or cut:  # compressed or scattered: page by page
        check_growth(path, page.shape, page.dtype)

        def read_page(index: int) -> np.ndarray:
            if index >= len(pages) or pages[index] is None:
                raise ValueError(f"frame {index} is not in it: it is cut short, or one of several")
            try:
                return samples_last(pages[index].asarray(), page.axes)
            except Exception as error:
                if following >= tiff.filehandle.size:
                    raise ValueError(f"it is cut short in frame {index}: {error}") from error
                if page.compression == 1:
                    raise
                how = getattr(page.compression, "name", page.compression)
                more = f"for its compression, {how}, tifffile may need imagecodecs"
                raise ValueError(f"{error}; {more}") from error

        return _facts(tifffile, tiff, len(pages) + cut), read_page
    shape = tuple(n for n, axis in zip(series.shape, series.axes, strict=True) if axis != "S")
    facts = _facts(tifffile, tiff, math.prod(shape[:-2]))
    if not colour:
        kind = np.dtype(series.dtype).newbyteorder(tiff.byteorder)
        return facts, file_reader(path, kind, series.dataoffset, shape)
    pixels = samples_last(series.asarray(out="memmap"), series.axes)
    return facts, array_reader(pixels, pixels.shape[:-1])


def _next_page(tiff: Any) -> float:
    """Where the page after the last one begins; 0 if there is none, inf if the file does not say.

    A place beyond the end of the file means that the file is cut short.
    """
    form, file = tiff.tiff, tiff.filehandle
    start = tiff.pages[len(tiff.pages) - 1].offset
    try:
        file.seek(start)
        (tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
        file.seek(start + form.tagnosize + tags * form.tagsize)
        (following,) = struct.unpack(form.offsetformat, file.read(form.offsetsize))
    except struct.error:
        return math.inf
    return following


def _count_before(following: float, tiff: Any) -> int:
    """How many frames of the only page's size fill the place before the next page, else 1.

    Some programs, tifffile among them, write the pixels of all frames in one block after the first
    page, and the other pages after the block: of a file that is cut short these are missing.
    """
    page = tiff.pages[0]
    size = math.prod(page.shape) * np.dtype(page.dtype).itemsize
    if (
        len(tiff.pages) > 1
        or following == math.inf
        or not size
        or page.offset > page.dataoffsets[0]
    ):
        return 1
    count, rest = divmod(int(following) - page.dataoffsets[0], size)
    return count if count > 1 and rest < _PADDING else 1


def _facts(tifffile: Any, tiff: Any, count: int) -> Facts:
    """What the metadata say of ``count`` frames."""
    series = tiff.series[0]
    axes = series.axes.replace("S", "")
    if {"Y", "X"} < set(axes) and not axes.endswith("YX"):
        raise ValueError(f"the order of its axes is {axes}; y and x must be the last two")
    leading = [
        (UNKNOWN if axis in _UNNAMED else axis, n)
        for axis, n in zip(series.axes, series.shape, strict=True)
        if axis not in "YXS"
    ]
    if math.prod(n for _, n in leading) != count:
        leading = [(UNKNOWN, count)]
    named = {
        "axes": "".join(axis for axis, _ in leading),
        "lengths": tuple(n for _, n in leading),
        "colour": "S" in series.axes,
        "samples": series.axes.find("S"),
    }
    if tiff.is_ome:
        return Facts(**named, **_ome_facts(tifffile.xml2dict(tiff.ome_metadata)))
    return Facts(**named, sizes=_imagej_sizes(tiff) if tiff.is_imagej else {})


def _imagej_sizes(tiff: Any) -> dict[str, tuple[float, str]]:
    """Distances of pixels; the unit is empty where ImageJ counts pixels."""
    told, sizes = tiff.imagej_metadata or {}, {}
    unit = unit_name(str(told.get("unit", "")))
    unit = "" if unit in ("pixel", "pixels") else unit
    tags = tiff.pages[0].tags
    for axis, name in (("X", "XResolution"), ("Y", "YResolution")):
        pixels, length = tags[name].value if name in tags else (0, 0)
        if unit and pixels > 0 and length > 0 and pixels != length:  # 1:1 is written for "unknown"
            sizes[axis] = (length / pixels, unit)
    for axis, name, of in (("Z", "spacing", unit), ("T", "finterval", "s")):
        size = told.get(name)
        if isinstance(size, (int, float)) and 0 < abs(size) < math.inf:
            sizes[axis] = (abs(float(size)), of)
    return sizes


def _ome_facts(told: Any) -> dict[str, Any]:
    """Distances of pixels and frames, and names of channels, of the first image."""
    first = _first(told.get("OME", {}).get("Image", {}))
    pixels = _first(first.get("Pixels", {})) if isinstance(first, dict) else {}
    if not isinstance(pixels, dict):
        return {}
    sizes = {}
    for axis, name, usual in (
        ("X", "PhysicalSizeX", "um"),
        ("Y", "PhysicalSizeY", "um"),
        ("Z", "PhysicalSizeZ", "um"),
        ("T", "TimeIncrement", "s"),
    ):
        size = pixels.get(name)
        if isinstance(size, (int, float)) and 0 < size < math.inf:
            sizes[axis] = (float(size), unit_name(str(pixels.get(f"{name}Unit", usual))))
    known = pixels.get("Channel", [])
    channels = [each.get("Name") for each in (known if isinstance(known, list) else [known])]
    return {"sizes": sizes, "channels": tuple(map(str, channels)) if all(channels) else ()}


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, (list, tuple)) and value else value
