"""Point spread functions in JSON files: the components by their names, with a version."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..base import wording
from .psf_components import NAMES

_FORMAT, _VERSION = "fastgauss point spread function", 1


def _file(path: Any) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be the name of a file, got {wording.shown(path)}")
    return Path(path)


def write_components(path: Any, components: np.ndarray) -> None:
    """Write ``weight, x, y, sigma_x, sigma_y, theta`` of each Gaussian."""
    every = [dict(zip(NAMES, part, strict=True)) for part in components.tolist()]
    told = {"format": _FORMAT, "version": _VERSION, "components": every}
    _file(path).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def read_rows(path: Any) -> tuple[Path, list[list[Any]]]:
    """The file, and what it holds for the numbers of each Gaussian."""
    source = _file(path)
    text = source.read_bytes()
    try:
        told = json.loads(text)
        if not isinstance(told, dict) or told.get("format") != _FORMAT:
            raise ValueError(f"it is not of the format {_FORMAT!r}")
        if type(told["version"]) is not int or told["version"] != _VERSION:
            found = wording.shown(told["version"])
            raise ValueError(f"its version is {found}, and version {_VERSION} can be read")
        if not isinstance(told["components"], list):
            raise ValueError("its components are no list")
        return source, [[part[name] for name in NAMES] for part in told["components"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise not_readable(source, error) from error


def not_readable(source: Path, error: Exception) -> ValueError:
    """The error of a file that holds something else, in one line."""
    reason = f"it has no {error}" if isinstance(error, KeyError) else error
    return ValueError(f"{source} holds no point spread function: {' '.join(str(reason).split())}")
