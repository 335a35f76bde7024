"""Files of the command: which axes, channel and part of an image are read; none is overwritten."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..io import axes, given_axes, images
from ..io.frames import Facts


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
    about = "what the file's axes are, a letter each: TYX, ZCYX (T time, Z planes, C channels)"
    group.add_argument("--axes", metavar="LETTERS", help=about)
    group.add_argument("--channel", metavar="C", help="number from 0, or name, of a channel (0)")
    group.add_argument("--hdu", help="number or name of a FITS HDU (that of the largest image)")


class Part(NamedTuple):
    """Which part of a file is read, and what its axes are."""

    volume: bool | None = False  # None: as the file says
    channel: str | None = None
    hdu: str | None = None
    axes: str | None = None

    @classmethod
    def of(cls, args: argparse.Namespace, volume: bool | None = False) -> Part:
        """The part that the options of `add_part` select."""
        return cls(volume, args.channel, args.hdu, args.axes)


WHOLE = Part()


@contextmanager
def open_pictures(path: str, part: Part) -> Iterator[axes.Arranged]:
    """The images or volumes of a file, and a clause that says what it was taken for."""
    with images.open_image(path, part.hdu) as frames:
        try:
            known = frames if part.axes is None else given_axes.with_axes(frames, part.axes)
            arranged = axes.arrange(known, part.volume, part.channel)
        except ValueError as error:
            raise ValueError(f"{Path(path).name}: {error}") from error
        yield arranged


def only_image(path: str, part: Part = WHOLE, instead: str = "") -> tuple[np.ndarray, Facts]:
    """The one image of a file, and what the file says of it; a stack is refused.

    ``instead`` says what to do with a stack.
    """
    with open_image(path, part, instead) as arranged:
        return arranged.pictures[0], arranged.pictures.facts


@contextmanager
def open_image(path: str, part: Part = WHOLE, instead: str = "") -> Iterator[axes.Arranged]:
    """As `open_pictures`, of a file that must hold one image; a stack is refused."""
    with open_pictures(path, part) as arranged:
        count = len(arranged.pictures)
        if count != 1:
            raise ValueError(f"{path} must hold one image, got a stack of {count} frames{instead}")
        yield arranged


def keep_inputs(inputs: Iterable[str | None], outputs: Iterable[str | None]) -> None:
    """Raise if a file would be written that is read as well, or that is written twice.

    Inputs may also be words and numbers, which are no files.
    """
    read, written = list(filter(None, inputs)), list(filter(None, outputs))
    for number, target in enumerate(written):
        if any(_is_same(target, path) for path in read):
            raise ValueError(f"{target} is read as well: choose another name")
        if any(_is_same(target, path) for path in written[:number]):
            raise ValueError(f"{target} is written twice: choose another name")


def _is_same(one: str, other: str) -> bool:
    """Whether two paths are of one file, or would be; what is no file, as a terminal, is none."""
    first, second = Path(one), Path(other)
    if first.exists() and second.exists():
        return first.samefile(second) and (first.is_file() or first.is_dir())
    return first.resolve() == second.resolve()


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
