"""Storage of results in files: a table of spots, and facts that are the same for all spots.

The table is that of ``FitResult.to_dict`` and, except in CSV, a column "covariance" (n, k): the
lower triangles, row by row. The facts are the metadata of a Parquet file or an entry of an NPZ
file. CSV has no place for metadata; there each fact that is a word is a column.
"""

from __future__ import annotations

import base64
import io
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base import check
from ..base.status import Status
from ..io import tables
from ..models.model import PIXELS, Model, find_model, get_model
from .background import Background
from .columns import describe
from .rows import Rows

if TYPE_CHECKING:
    from .fit_result import FitResult

_FORMAT = 1
_COVARIANCE = "covariance"
_WORDS = ("model", "pixel", "absolute")  # the facts that a CSV holds
_REQUIRED = ("objective", "status", "iterations", "pixels", "dof")
_INTEGERS = ("frame", "status", "iterations", "pixels", "dof")


# -- arrays in text ----------------------------------------------------------------------------


def _to_text(array: np.ndarray | None) -> str | None:
    """An array as text; a constant image takes little space."""
    if array is None:
        return None
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return base64.b64encode(zlib.compress(file.getvalue())).decode("ascii")


def _from_text(text: str | None) -> Any:
    if text is None:
        return None
    return np.load(io.BytesIO(zlib.decompress(base64.b64decode(text))), allow_pickle=False)


# -- saving ------------------------------------------------------------------------------------


def _facts(result: FitResult) -> dict[str, Any]:
    ground = result.background
    return {
        "format": _FORMAT,
        "model": result.model.name,
        "ndim": result.model.ndim,
        "constants": list(result.model.constants),
        "pixel": result.pixel,
        "absolute": bool(result.absolute),
        "background": None if ground is None else [_to_text(part) for part in ground],
    }


def save(result: FitResult, path: str | os.PathLike) -> None:
    """See `FitResult.save`."""
    tables.check_table(path)
    table, facts = result.to_dict(), _facts(result)
    if not tables.holds_metadata(path):
        if result.model.constants:
            raise ValueError(
                f"a CSV table cannot hold the curves of the model {result.model.name!r}: save as "
                ".parquet or .npz, or write result.to_dataframe()"
            )
        words = {name: np.full(len(result), facts[name]) for name in _WORDS}
        tables.write_table(path, {**table, **words})
        return
    table[_COVARIANCE] = result.rows.packed
    about = {k: v for k, v in describe(result.model, result.absolute).items() if k in table}
    triangle = "lower triangle of the parameters' covariance, row by row"
    about[_COVARIANCE] = ("", triangle)
    tables.write_table(path, table, metadata=json.dumps(facts), columns=about)


# -- loading -----------------------------------------------------------------------------------


def load(path: str | os.PathLike) -> tuple[Model, Rows, dict[str, Any]]:
    """The arguments of a `FitResult`: the model, the rows, and the facts of all rows."""
    table, text = tables.read_table(path)
    try:
        facts = _told(table) if text is None else json.loads(text)
        return _build(table, facts)
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{Path(path)} holds no result of a fit: {reason}") from error


def _told(table: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The facts of a table without metadata, read from its columns."""
    facts: dict[str, Any] = {"format": _FORMAT, "pixel": "sample", "absolute": False}
    for name in _WORDS:
        words = np.unique(table[name].astype(str)) if name in table else np.empty(0, str)
        if len(words) > 1:
            raise ValueError(f"its column {name!r} has several words: {', '.join(words)}")
        if len(words):
            facts[name] = str(words[0])
    facts["absolute"] = str(facts["absolute"]) == "True"
    model = find_model(table, facts.get("model"))
    return facts | {"model": model.name, "ndim": model.ndim, "constants": [], "background": None}


def _model(facts: Mapping[str, Any]) -> Model:
    if facts["constants"]:
        from ..models.astigmatic import from_constants

        return from_constants(facts["constants"])
    return get_model(facts["model"], facts["ndim"])


def _column(table: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """A column of numbers."""
    column = table[name]
    kind = np.int64 if name in _INTEGERS else np.float64
    if column.dtype.kind in "iuf" and np.can_cast(column.dtype, kind, "same_kind"):
        return column if kind is np.int64 else column.astype(np.float64, copy=False)
    if column.dtype.kind not in "UT":
        raise ValueError(f"its column {name!r} is of dtype {column.dtype}")
    read = int if kind is np.int64 else float
    words = column.tolist()
    if kind is np.float64:
        words = [word or "nan" for word in words]  # as pandas writes NaN
    try:
        return np.array([read(word) for word in words], dtype=kind)
    except ValueError as error:
        raise ValueError(f"its column {name!r} is not of numbers ({error})") from None


def _covariance(table: Mapping[str, np.ndarray], model: Model) -> np.ndarray:
    """Packed covariances: the saved ones, or the squared errors with NaN off the diagonal."""
    size = model.size
    width = size * (size + 1) // 2
    if _COVARIANCE in table:
        packed = table[_COVARIANCE]
        if packed.ndim != 2 or packed.shape[1] != width or packed.dtype != np.float64:
            raise ValueError(f"its column {_COVARIANCE!r} is not of {width} numbers a spot")
        return np.ascontiguousarray(packed)
    errors = np.stack([_column(table, f"{name}_error") for name in model.names], axis=1)
    packed = np.full((len(errors), width), np.nan)
    i = np.arange(size)
    packed[:, i * (i + 3) // 2] = errors**2
    return packed


def _build(
    table: Mapping[str, np.ndarray], facts: Mapping[str, Any]
) -> tuple[Model, Rows, dict[str, Any]]:
    if not isinstance(facts, dict) or facts["format"] != _FORMAT:
        raise ValueError("it was written by another version of fastgauss")
    model = _model(facts)
    params = np.stack([_column(table, name) for name in model.names], axis=1)
    objective, *integers = (_column(table, name) for name in _REQUIRED)
    status, iterations, pixels, dof = (
        column.astype(np.int32) if table[name].dtype.kind == "U" else column
        for name, column in zip(_REQUIRED[1:], integers, strict=True)
    )
    frames = _column(table, "frame") if "frame" in table else None
    packed = _covariance(table, model)
    rows = Rows(params, packed, objective, status, iterations, pixels, dof, frames)
    if any(column is not None and len(column) != len(params) for column in rows):
        raise ValueError("its columns differ in length")
    if not np.isin(status, list(Status)).all():
        raise ValueError("its column 'status' has unknown codes")
    ground = facts["background"]
    shared = {
        "absolute": check.flag("absolute", facts["absolute"]),
        "pixel": check.choice("pixel", facts["pixel"], PIXELS),
        "background": None if ground is None else Background(*map(_from_text, ground)),
    }
    return model, rows, shared
