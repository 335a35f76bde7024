"""Point spread functions in JSON files: the components by names, a version, the kind of pixel."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ..base import check, wording
from ..kernels.models.profiles import PIXELS
from .psf_components import NAMES

_FORMAT = "fastgauss point spread function"
_VERSION, _FIELD_VERSION = 1, 3  # of one sum of Gaussians, of one that varies over an image


def _file(path: Any) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be the name of a file, got {wording.shown(path)}")
    return Path(path)


def _write(path: Any, version: int, pixel: str | None, **content: Any) -> None:
    known = {} if pixel is None else {"pixel": check.choice("pixel", pixel, PIXELS)}
    told = {"format": _FORMAT, "version": version, **known, **content}
    _file(path).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def write_components(path: Any, components: np.ndarray, pixel: str | None) -> None:
    """Write ``weight, x, y, sigma_x, sigma_y, theta`` of each Gaussian."""
    every = [dict(zip(NAMES, part, strict=True)) for part in components.tolist()]
    _write(path, _VERSION, pixel, components=every)


def write_field(path: Any, constants: list[float], pixel: str | None) -> None:
    """Write the numbers of a function that varies over an image."""
    _write(path, _FIELD_VERSION, pixel, constants=constants)


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # the parser's own words name no argument and no file
        raise ValueError("it is no JSON file") from None


def _read(path: Any, *versions: int) -> tuple[Path, dict[str, Any]]:
    """The file, and its content, of one of these versions."""
    source = _file(path)
    text = source.read_bytes()
    try:
        told = _parsed(text)
        if not isinstance(told, dict) or told.get("format") != _FORMAT:
            raise ValueError(f"it is not of the format {_FORMAT!r}")
        if type(told["version"]) is not int or told["version"] not in versions:
            found, known = wording.shown(told["version"]), " or ".join(map(str, versions))
            raise ValueError(f"its version is {found}, and version {known} can be read")
        return source, told
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise not_readable(source, error) from error


def read_rows(path: Any) -> tuple[Path, list[list[Any]]]:
    """The file, and what it holds for the numbers of each Gaussian."""
    source, told = _read(path, _VERSION)
    try:
        if not isinstance(told["components"], list):
            raise ValueError("its components are no list")
        return source, [[part[name] for name in NAMES] for part in told["components"]]
    except (ValueError, TypeError, KeyError) as error:
        raise not_readable(source, error) from error


def read_field(path: Any) -> tuple[Path, list[Any]]:
    """The file, and the constants of the function that varies over an image."""
    source, told = _read(path, _FIELD_VERSION)
    if not isinstance(told.get("constants"), list):
        raise not_readable(source, ValueError("its constants are no list"))
    return source, told["constants"]


def varies(path: Any) -> bool:
    """Whether the function of a file varies over an image."""
    return bool(_read(path, _VERSION, _FIELD_VERSION)[1]["version"] == _FIELD_VERSION)


def pixel_of(path: Any) -> str | None:
    """The option `pixel` with which the function of a file was measured; None: it does not say."""
    source, told = _read(path, _VERSION, _FIELD_VERSION)
    if "pixel" not in told:
        return None
    try:
        return str(check.choice("pixel", told["pixel"], PIXELS))
    except (ValueError, TypeError) as error:
        raise not_readable(source, error) from error


def not_readable(source: Path, error: Exception) -> ValueError:
    """The error of a file that holds something else, in one line."""
    reason = f"it has no {error}" if isinstance(error, KeyError) else error
    return ValueError(f"{source} holds no point spread function: {' '.join(str(reason).split())}")
