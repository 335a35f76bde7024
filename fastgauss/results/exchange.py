"""Exchange with other programs: what their tables call each column, in which unit, from where.

`FORMATS` has a row for each format. Its columns name a quantity of ours, which is a column of
``FitResult.to_dict`` or one of those that `quantities` adds, and say how a number of ours becomes
one of the file: places count from the corner or the middle of the first pixel, lengths have a unit,
frames begin at 0 or at 1.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..base import check
from ..base.version import __version__
from ..io import files, hdf5, tables
from ..models.model import Model
from . import foreign_tables, storage
from .columns import FACTS
from .foreign_columns import quantities
from .rows import Rows

if TYPE_CHECKING:
    from .fit_result import FitResult

Loaded = tuple[Model, Rows, dict[str, Any]]
_FRAME_LIMITS = np.iinfo(np.uint32)  # of picasso
_CALLER = 3  # of `FitResult.load`, from `load`: where its warnings point to


class Column(NamedTuple):
    """A column of a file."""

    name: str
    ours: str  # the quantity that it holds
    kind: str = "plain"  # or "place", "length" or "number", which the format converts
    read: bool = True  # False: it follows from others


class Format(NamedTuple):
    """The format of a program's files."""

    title: str
    suffixes: tuple[str, ...]
    signature: tuple[str, ...]  # a table that has these columns is one of this program
    unit: str  # of lengths: "px", "nm", or "um", which is the pixel where its size is not known
    corner: float  # the middle of the first pixel, in pixels
    first: int  # the number of the first frame and spot
    columns: tuple[Column, ...]
    heads: bool = False  # whether lines with meanings and units follow the first line


FORMATS = {
    "picasso": Format(
        "picasso", (".hdf5", ".h5"), ("frame", "x", "y", "lpx", "lpy"), "px", 0.0, 0,
        (
            Column("frame", "frame", "number"),
            Column("x", "x", "place"),
            Column("y", "y", "place"),
            Column("photons", "flux"),
            Column("sx", "width_x", "length"),
            Column("sy", "width_y", "length"),
            Column("bg", "offset"),
            Column("lpx", "x_error", "length"),
            Column("lpy", "y_error", "length"),
            Column("z", "z"),
            Column("lpz", "z_error"),
            Column("iterations", "iterations"),
            Column("photons_unc", "flux_error"),
            Column("bg_unc", "offset_error"),
            Column("sx_unc", "width_x_error", "length"),
            Column("sy_unc", "width_y_error", "length"),
        ),
    ),
    "thunderstorm": Format(
        "ThunderSTORM", (".csv",), ("x [nm]", "y [nm]"), "nm", 0.5, 1,
        (
            Column("id", "id", "number"),
            Column("frame", "frame", "number"),
            Column("x [nm]", "x", "place"),
            Column("y [nm]", "y", "place"),
            Column("z [nm]", "z"),
            Column("sigma [nm]", "width", "length"),
            Column("sigma1 [nm]", "own_width_x", "length"),
            Column("sigma2 [nm]", "own_width_y", "length"),
            Column("intensity [photon]", "flux"),
            Column("offset [photon]", "offset"),
            Column("bkgstd [photon]", "noise", read=False),
            Column("uncertainty [nm]", "error", "length"),
            Column("uncertainty_xy [nm]", "error", "length"),  # as its later versions write it
            Column("uncertainty_z [nm]", "z_error"),
        ),
    ),
    "smap": Format(
        "SMAP", (".csv",), ("xnm", "ynm"), "nm", 1.0, 1,
        (
            Column("frame", "frame", "number"),
            Column("xnm", "x", "place"),
            Column("ynm", "y", "place"),
            Column("znm", "z"),
            Column("phot", "flux"),
            Column("bg", "offset"),
            Column("PSFxnm", "width", "length"),  # one width, or that along x beside PSFynm
            Column("PSFxnm", "own_width_x", "length"),
            Column("PSFynm", "own_width_y", "length"),
            Column("locprecnm", "error", "length"),
            Column("xnmerr", "x_error", "length"),
            Column("ynmerr", "y_error", "length"),
            Column("locprecznm", "z_error"),
            Column("photerr", "flux_error"),
            Column("iterations", "iterations"),
        ),
    ),
    "trackpy": Format(
        "trackpy", (".csv",), ("x", "y", "mass", "size", "ecc"), "px", 0.0, 0,
        (
            Column("y", "y", "place"),
            Column("x", "x", "place"),
            Column("mass", "flux"),
            Column("size", "gyration", "length"),
            Column("ecc", "eccentricity", read=False),
            Column("signal", "height", read=False),
            Column("raw_mass", "raw_flux", read=False),
            Column("ep", "error", "length"),
            Column("frame", "frame", "number"),
        ),
    ),
    "trackmate": Format(
        "TrackMate", (".csv",), ("POSITION_X", "POSITION_Y"), "um", 0.0, 0,
        (
            Column("LABEL", "label", read=False),
            Column("ID", "id", "number"),
            Column("TRACK_ID", "blank", read=False),
            Column("QUALITY", "height"),
            Column("POSITION_X", "x", "place"),
            Column("POSITION_Y", "y", "place"),
            Column("POSITION_Z", "zero", read=False),
            Column("POSITION_T", "frame", "number", read=False),
            Column("FRAME", "frame", "number"),
            Column("RADIUS", "gyration", "length"),
            Column("VISIBILITY", "one", read=False),
        ),
        heads=True,
    ),
}  # fmt: skip
_OF_HDF5 = "picasso"


def _unit(form: Format, size: float | None) -> str:
    """The unit of lengths where the file does not tell it."""
    return "px" if form.unit == "um" and size is None else form.unit


def _scale(form: Format, unit: str, size: float | None, path: Any) -> float:
    """Lengths of the file for each pixel."""
    if unit == "px":
        return 1.0
    if size is None:
        raise ValueError(
            f"pixel_size must be given, in nm, for {path}: lengths of {form.title} are in {unit}"
        )
    return size if unit == "nm" else size / 1000.0


def _to_file(form: Format, column: Column, values: np.ndarray, scale: float) -> np.ndarray:
    if column.kind == "place":
        return (values + form.corner) * scale
    if column.kind == "length":
        return values * scale
    return values + form.first if column.kind == "number" else values


def _from_file(form: Format, column: Column, values: np.ndarray, scale: float) -> np.ndarray:
    if column.kind == "place":
        return values / scale - form.corner
    if column.kind == "length":
        return values / scale
    return values - form.first if column.kind == "number" else values


def _chosen(path: str | os.PathLike, name: Any) -> Format | None:
    """The format of this name, or the one that the ending of a file tells; None: our own."""
    if name is not None:
        form = FORMATS[check.choice("format", name, FORMATS)]
        files.by_suffix(Path(path), dict.fromkeys(form.suffixes), "table")
        return form
    own = FORMATS[_OF_HDF5]
    return own if Path(path).name.lower().endswith(own.suffixes) else None


# -- saving ------------------------------------------------------------------------------------


def check_target(path: str | os.PathLike, format: str | None = None) -> None:
    """Raise unless a result can be written there."""
    form = _chosen(path, format)
    if form is not None and form is FORMATS[_OF_HDF5]:
        hdf5.check_records(path)
    else:
        tables.check_table(path, FORMATS[_OF_HDF5].suffixes)


def save(result: FitResult, path: Any, format: Any, pixel_size: Any, shape: Any) -> None:
    """See `FitResult.save`."""
    form = _chosen(path, format)
    size = result.pixel_size
    if pixel_size is not None:
        size = check.number("pixel_size", pixel_size, above=0.0)
    if shape is not None and form is not FORMATS[_OF_HDF5]:
        raise ValueError(f"shape must be None except for picasso's files, got {shape!r}")
    if form is None:
        storage.save(result, path, size)
        return
    if result.model.ndim != 2:
        kind = "volumes" if result.model.ndim == 3 else "profiles"
        raise ValueError(
            f"the format of {form.title} holds spots of images, this result is of {kind}: save as "
            ".parquet, .npz or .csv"
        )
    check_target(path, format)
    unit = _unit(form, size)
    scale = _scale(form, unit, size, path)
    known = quantities(result, {column.ours for column in form.columns})
    table = {
        column.name: _to_file(form, column, known[column.ours], scale)
        for column in form.columns
        if column.ours in known
    }
    if form is FORMATS[_OF_HDF5]:
        _save_hdf5(result, path, table, size, shape)
    else:
        heads = foreign_tables.meanings(list(table), unit) if form.heads else []
        tables.write_csv(path, table, [list(table), *heads], quoted=not form.heads)


def _save_hdf5(
    result: FitResult, path: Any, table: dict[str, np.ndarray], size: float | None, shape: Any
) -> None:
    lost = [name for name in result.model.names if name.startswith(("width", "weight_"))]
    if lost:
        raise ValueError(
            f"picasso's HDF5 has no columns for {', '.join(lost)} of the model "
            f"{result.model.name!r}: save as .parquet or .npz"
        )
    frames = table["frame"]
    low, high = (int(frames.min()), int(frames.max())) if frames.size else (0, -1)
    if low < 0 or high > _FRAME_LIMITS.max:
        raise ValueError(
            f"frames must be 0 to {_FRAME_LIMITS.max} for picasso, got {low} to {high}"
        )
    table["frame"] = frames.astype(np.uint32)
    # picasso leaves out the rows that have a NaN in any column, and needs all places
    table = {
        n: c for n, c in table.items() if not c.size or n in ("x", "y") or np.isfinite(c).any()
    }
    if shape is None:
        ends = result.positions.max(axis=0, initial=0.0, where=np.isfinite(result.positions))
        shape = tuple(int(end + 0.5) + 1 for end in np.minimum(ends, 2.0**53))
    height, width = check.shape("shape", shape, (2,))
    told: dict[str, Any] = {
        "Generated by": f"fastgauss {__version__}", "Frames": high + 1, "Height": height,
        "Width": width,
    }  # fmt: skip
    if size is not None:
        told["Pixelsize"] = size
    told["fastgauss"] = {
        "model": "elliptic" if result.model.rotated else result.model.name,
        "ndim": 2,
        "constants": list(result.model.constants),
        "pixel": result.pixel,
        "absolute": bool(result.absolute),
    }
    hdf5.write_records(path, table, [told])


# -- loading -----------------------------------------------------------------------------------


def load(path: Any, format: Any, pixel_size: Any) -> Loaded:
    """The arguments of a `FitResult`: the model, the rows, and the facts of all rows."""
    size = None if pixel_size is None else check.number("pixel_size", pixel_size, above=0.0)
    if storage.is_table(path):
        if format is not None:
            raise ValueError(f"format must be None for a table in memory, got {format!r}")
        return _sized(storage.of_table(path), size)
    if not isinstance(path, str | os.PathLike):
        kind = type(path).__name__
        raise TypeError(f"path must be the name of a file, a DataFrame or a Table, got {kind}")
    form = _chosen(path, format)
    facts: dict[str, Any] = {}
    if form is FORMATS[_OF_HDF5]:
        table, documents = hdf5.read_records(path)
        known, facts = foreign_tables.told(documents)
        if size is None and known is not None:
            try:
                size = check.number("Pixelsize", known, above=0.0)
            except (TypeError, ValueError) as error:
                message = f"the size of a pixel is not known: in the metadata of {path}, {error}"
                warnings.warn(message, UserWarning, _CALLER)
    else:
        table, text = tables.read_table(path, tuple(FACTS))
        if form is None and not storage.is_own(table):
            form = _recognised(table)
        if form is None:
            return _sized(storage.load(path, table, text), size)
    unit = _unit(form, size)
    with storage.content_errors(path):
        places = [column.name for column in form.columns if column.kind == "place"]
        for name in places:
            if name not in table:
                raise KeyError(name)
        if form.heads:
            table, told = foreign_tables.without_heads(table, places[0])
            unit = told or unit
    scale = _scale(form, unit, size, path)
    with storage.content_errors(path):
        found = _found(form, table, scale)
        model, rows, facts = foreign_tables.result_of(found, facts | {"pixel_size": size})
    if "z" in found and "z" not in model.names:
        message = f"the depths z are left out: the model {model.name!r} has none"
        warnings.warn(message, UserWarning, _CALLER)
    return model, rows, facts


def _sized(loaded: Loaded, size: float | None) -> Loaded:
    """With the size of a pixel that was given, if one was."""
    model, rows, facts = loaded
    return model, rows, facts if size is None else facts | {"pixel_size": size}


def _found(form: Format, table: Mapping[str, np.ndarray], scale: float) -> dict[str, np.ndarray]:
    """The quantities that a table holds; of several columns of one quantity the first."""
    found: dict[str, np.ndarray] = {}
    for column in form.columns:
        if not column.read or column.name not in table or column.ours in found:
            continue
        if column.kind != "number":
            values = storage.numbers(table, column.name)
        else:
            try:
                values = foreign_tables.integers(table, column.name)
            except ValueError:
                if column.ours != "id":  # of which others may have some idea of their own
                    raise
                continue
        found[column.ours] = _from_file(form, column, values, scale)
    return found


def _recognised(table: Mapping[str, np.ndarray]) -> Format | None:
    """The format that has these columns."""
    for form in FORMATS.values():
        if all(name in table for name in form.signature):
            return form
    return None
