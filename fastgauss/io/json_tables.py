"""JSON tables: every float64 to the bit; null is NaN, and words are the infinities.

JSON has no number for NaN and infinities, and programs in other languages refuse the words that
Python's own writer makes of them.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

_INFINITIES = {"Infinity": math.inf, "-Infinity": -math.inf}
_WORDS = {value: word for word, value in _INFINITIES.items()}


def write_json(
    file: IO[bytes], table: Mapping[str, np.ndarray], metadata: str, about: Mapping[str, Any]
) -> None:
    """Write columns as lists; of no rows, columns of several numbers a row are left out."""
    columns = {
        name: _written(column)
        for name, column in table.items()
        if column.ndim == 1 or len(column)
    }  # fmt: skip
    units = {name: unit for name, (unit, _) in about.items() if unit}
    whole = {"metadata": metadata, "units": units, "columns": columns}
    file.write(json.dumps(whole, allow_nan=False).encode())


def _written(column: np.ndarray) -> list[Any]:
    if column.dtype.kind != "f" or np.isfinite(column).all():
        return column.tolist()
    cells = np.array(column, dtype=object)
    cells[np.isnan(column)] = None
    for value, word in _WORDS.items():
        cells[column == value] = word
    return cells.tolist()


def read_json(path: Path, words: Any = ()) -> tuple[dict[str, np.ndarray], str | None]:
    """Read what `write_json` wrote: columns, and the metadata."""
    try:
        whole = json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    columns = whole.get("columns") if isinstance(whole, dict) else None
    if not isinstance(columns, dict):
        raise ValueError("it has no entry 'columns'")
    metadata = whole.get("metadata") or None
    if not isinstance(metadata, str | None):
        raise ValueError("its entry 'metadata' is not a text")
    if not all(isinstance(column, list) for column in columns.values()):
        raise ValueError("its columns are not lists")
    return {name: _read(cells) for name, cells in columns.items()}, metadata


def _read(cells: list[Any]) -> np.ndarray:
    """A column of integers or truth values if all of its cells are, else of floats or words.

    A cell is one of these, or a list of them.
    """
    array = np.array(cells, dtype=object)
    if array.ndim > 2:
        raise ValueError("the cells of its columns are nested too deeply")
    kinds = {type(cell) for cell in array.flat}
    if kinds <= {int}:
        for dtype in (np.int64, np.float64):  # other programs write 1e21 without a point
            with contextlib.suppress(OverflowError):
                return array.astype(dtype)
        raise ValueError("one of its integers is beyond the numbers of float64")
    if kinds == {bool}:
        return array.astype(bool)
    told = [cell for cell in array.flat if isinstance(cell, str)]
    if kinds <= {int, float, str, type(None)} and set(told) <= set(_INFINITIES):
        numbers = [math.nan if c is None else _INFINITIES.get(c, c) for c in array.flat]
        return np.array(numbers, dtype=np.float64).reshape(array.shape)
    return array
