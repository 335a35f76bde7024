"""The parameters of one motion, as ``fastgauss register A B --motion`` prints and writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..io import tables
from ..register import Motion, Shift, Status
from .compilation import Time

_UNITS = {"dx": "px", "dy": "px", "angle": "rad"}
_MEANINGS = {
    "dx": "displacement of the centre along axis 1",
    "dy": "displacement of the centre along axis 0",
    "angle": "rotation from the axis x to the axis y",
    "scale": "how much larger the scene is in the second image",
    "yy": "entry [0, 0] of the matrix, whose axes are (y, x)",
    "yx": "entry [0, 1] of the matrix",
    "xy": "entry [1, 0] of the matrix",
    "xx": "entry [1, 1] of the matrix",
    "status": "code of `Status`",
    "converged": "whether the registration converged",
    "correlation": "of the smoothed pixels of both images, -1 to 1",
    "noise": "see `Shift`",
    "pixels": "pixels that were compared",
}


def _parameters(found: Shift | Motion) -> Iterator[tuple[str, float, float]]:
    """Name, value and error of each."""
    names = ("dx", "dy") if isinstance(found, Shift) else found.names
    values = found.displacement[::-1] if isinstance(found, Shift) else found.values
    for name, value, error in zip(names, values, found.errors, strict=True):
        yield name, float(value), float(error)


def summary(found: Shift | Motion, took: Time) -> Iterator[str]:
    """The status in words, and a line for each parameter."""
    yield f"{Status(found.status).message}, {found.pixels} pixels, {took}"
    for name, value, error in _parameters(found):
        yield f"{name} {value:.6g} +- {error:.2g} {_UNITS.get(name, '')}".rstrip()


def write(path: str, found: Shift | Motion) -> None:
    """A table of one row."""
    columns: dict[str, Any] = {}
    about = {}
    for name, value, error in _parameters(found):
        columns[name], columns[f"{name}_error"] = value, error
        unit = _UNITS.get(name, "")
        about[name] = unit, _MEANINGS[name]
        about[f"{name}_error"] = unit, f"standard error of {name}"
    for name in ("status", "converged", "correlation", "noise", "pixels"):
        columns[name] = getattr(found, name)
        about[name] = "", _MEANINGS[name]
    rows = {name: np.array([value]) for name, value in columns.items()}
    tables.write_table(path, rows, columns=about)
