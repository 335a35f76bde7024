"""Image files as the command reads them: which axes, which channel, which part."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..io import axes, images


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that select a part of a file."""
    group = parser.add_argument_group("which part of the file")
    solid = group.add_mutually_exclusive_group()
    solid.add_argument(
        "--volume",
        dest="volume",
        action="store_true",
        default=None,
        help="its planes are one volume (default where the file says that they are planes)",
    )
    solid.add_argument(
        "--frames",
        dest="volume",
        action="store_false",
        help="each plane is an image of its own (default where the file does not say)",
    )
    add_part(group)


def add_part(group: argparse._ActionsContainer) -> None:
    """Add the options that select a channel or an HDU."""
    group.add_argument("--channel", metavar="C", help="number from 0, or name, of a channel (0)")
    group.add_argument("--hdu", help="number or name of a FITS HDU (that of the largest image)")


@contextmanager
def open_pictures(
    path: str, volume: bool | None, channel: str | None, hdu: str | None
) -> Iterator[axes.Arranged]:
    """The images or volumes of a file, and a clause that says what it was taken for."""
    with images.open_image(path, hdu) as frames:
        try:
            arranged = axes.arrange(frames, volume, channel)
        except ValueError as error:
            raise ValueError(f"{Path(path).name}: {error}") from error
        yield arranged


def read_map(path: str, shape: tuple[int, ...], what: str) -> np.ndarray:
    """A file with a number for each pixel of a picture: one image, or one for each plane."""
    with images.open_image(path) as frames:
        count = len(frames)
        planes = [frames[k] for k in range(count)] if count in (1, *shape[:-2]) else []
    found = planes[0] if count == 1 else np.stack(planes) if planes else None
    if found is None or found.shape not in (shape, shape[-2:]):
        got = f"{count} images" if found is None else axes.shape_text(found.shape)
        raise ValueError(f"{what} {path} must have {axes.shape_text(shape)}, got {got}")
    return np.broadcast_to(found, shape)
