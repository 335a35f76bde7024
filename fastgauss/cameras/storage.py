"""Cameras in NPZ files: an array for each property."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..io import files, tables

if TYPE_CHECKING:
    from .camera import Camera

_SUFFIXES = {".npz": None}
_NAMES = ("offset", "gain", "variance", "saturation")


def save(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """See `Camera.save`."""
    files.by_suffix(Path(path), _SUFFIXES, "camera")
    tables.write_table(path, arrays)


def load(path: str | os.PathLike, kind: type[Camera]) -> Camera:
    """See `Camera.load`."""
    files.by_suffix(Path(path), _SUFFIXES, "camera")
    found, _ = tables.read_table(path)
    known = {name: found[name] for name in _NAMES if name in found}
    if not known:
        held = f"it holds {', '.join(found)}" if found else "it holds nothing"
        raise ValueError(f"{path} holds no camera: it has none of {', '.join(_NAMES)}; {held}")
    try:
        return kind(**known)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no camera: {error}") from error
