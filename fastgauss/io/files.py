"""Files: paths, atomic replacement, name endings.

The ending of a file's name selects its format. Every image becomes a sequence of two-dimensional
frames ``[y, x]`` in the machine's byte order. A stack is read frame by frame, never whole. All axes
before the last two count frames, in file order. Colours become luminance,
0.2125 R + 0.7154 G + 0.0721 B, on the scale of the file; an alpha channel is ignored.

A table or a plot is written to a new file beside the target, which then takes the target's name:
no reader ever sees an incomplete file.

Each function imports the optional library that it needs.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ..base.optional import require


def existing(path: str | os.PathLike, what: str, folders: tuple[str, ...] = ()) -> Path:
    """A path to a file, or to a folder whose name has one of these endings."""
    path = Path(path)
    if path.is_dir() and path.suffix.lower() not in folders:
        raise IsADirectoryError(f"{path} is a directory, not {what}")
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    return path


def by_suffix(path: Path, known: Mapping[str, Any], what: str) -> Any:
    for suffix, value in known.items():
        if path.name.lower().endswith(suffix):
            return value
    raise ValueError(f"the name of {what} {path} must end in one of {', '.join(known)}")


PLOT_SUFFIXES = dict.fromkeys((".png", ".pdf", ".svg"))


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """A file that takes the place of ``path`` if the block ends without an error.

    After an error the new file is removed and ``path`` stays as it was.
    """
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            yield file
        partial.replace(target)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def check_place(path: Path) -> None:
    """Raise before the work the errors that writing to ``path`` would raise after it."""
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a directory")
    parent = Path(os.path.realpath(path)).parent
    if not parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no directory {parent}")
    if not os.access(parent, os.W_OK):
        raise PermissionError(f"cannot write {path}: directory {parent} is not writable")


def check_plot(path: str | os.PathLike) -> None:
    """Raise unless a plot can be written there."""
    by_suffix(Path(path), PLOT_SUFFIXES, "plot")
    require("matplotlib", "plotting", "plot")
    check_place(Path(path))
