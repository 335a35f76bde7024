"""CSV, NPZ and Parquet tables."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..base.optional import require
from .files import by_suffix, check_place, existing, replacing
from .images import reading_errors

_CSV_ROWS = 10_000  # converted at a time


Table = Mapping[str, np.ndarray]
About = Mapping[str, tuple[str, str]]  # units and meanings of columns
_ENTRY = "metadata"  # of an NPZ file
_KEY = b"fastgauss"  # of a Parquet file's metadata


def _write_csv(file: IO[bytes], table: Table, metadata: str, about: About) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    columns = list(table.values())
    for start in range(0, len(columns[0]), _CSV_ROWS):
        part = [column[start : start + _CSV_ROWS].tolist() for column in columns]
        writer.writerows(zip(*part, strict=True))
    text.detach()  # flushes, and leaves the file open


def _write_npz(file: IO[bytes], table: Table, metadata: str, about: About) -> None:
    entries: dict[str, Any] = dict(table)
    if metadata:
        entries[_ENTRY] = np.array(
            metadata.encode()
        )  # as bytes: an array of letters would take four times the space
    np.savez(file, **entries)


def _write_parquet(file: IO[bytes], table: Table, metadata: str, about: About) -> None:
    arrow = require("pyarrow", "writing Parquet", "pandas")
    parquet = require("pyarrow.parquet", "writing Parquet", "pandas")

    def packed(column: np.ndarray) -> Any:
        """A column of numbers, or of rows with the same number of numbers each."""
        if column.ndim == 1:
            return arrow.array(column)
        flat = np.ascontiguousarray(column).reshape(-1)
        return arrow.FixedSizeListArray.from_arrays(arrow.array(flat), column.shape[1])

    columns = {name: packed(column) for name, column in table.items()}
    fields = []
    for name, column in columns.items():
        unit, meaning = about.get(name, ("", ""))
        told = {"unit": unit, "meaning": meaning} if meaning else None
        fields.append(arrow.field(name, column.type, metadata=told))
    schema = arrow.schema(fields, metadata={_KEY: metadata} if metadata else None)
    parquet.write_table(arrow.table(list(columns.values()), schema=schema), file)


_WRITERS: dict[str, Callable[[IO[bytes], Table, str, About], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".npz": _write_npz,
}


def _read_csv(path: Path) -> tuple[dict[str, np.ndarray], str | None]:
    with path.open(encoding="utf-8", newline="") as file:
        names, *rows = csv.reader(file)
    if any(len(row) != len(names) for row in rows):
        raise ValueError("its rows differ in length")
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return {n: np.array(c, dtype=str) for n, c in zip(names, columns, strict=True)}, None


def _read_npz(path: Path) -> tuple[dict[str, np.ndarray], str | None]:
    with np.load(path, allow_pickle=False) as entries:
        table = dict(entries)
    metadata = table.pop(_ENTRY, None)
    return table, None if metadata is None else metadata.item().decode()


def _read_parquet(path: Path) -> tuple[dict[str, np.ndarray], str | None]:
    parquet = require("pyarrow.parquet", "reading Parquet", "pandas")
    # a known background of a joint fit may be long
    table = parquet.ParquetFile(path, thrift_string_size_limit=2**31 - 1).read()
    found = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        width = getattr(column.type, "list_size", None)
        if width is None:
            found[name] = column.to_numpy()
        else:
            parts = [chunk.flatten().to_numpy() for chunk in column.chunks]
            found[name] = np.concatenate([np.empty(0), *parts]).reshape(-1, width)
    text = (table.schema.metadata or {}).get(_KEY)
    return found, None if text is None else text.decode()


_READERS: dict[str, Callable[[Path], tuple[dict[str, np.ndarray], str | None]]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".npz": _read_npz,
}


def check_table(path: str | os.PathLike) -> None:
    """Raise unless a table can be written there."""
    writer = by_suffix(Path(path), _WRITERS, "table")
    if writer is _write_parquet:
        require("pyarrow", "writing Parquet", "pandas")
    check_place(Path(path))


def holds_metadata(path: str | os.PathLike) -> bool:
    """Whether a table of this name holds more than columns of numbers."""
    return by_suffix(Path(path), _WRITERS, "table") is not _write_csv


def write_table(
    path: str | os.PathLike, table: Table, metadata: str = "", columns: About | None = None
) -> None:
    """Write columns of equal length as CSV, Parquet or NPZ; the ending of the name selects which.

    CSV has a header line and the shortest decimals that read back to the same
    floats. An existing file is replaced only by a complete one.

    Parameters
    ----------
    path : path-like
        Where to; its directory must exist.
    table : mapping of str to ndarray
        One-dimensional columns; for Parquet and NPZ also of several numbers a row, (n, k).
    metadata : str, optional
        A text that Parquet and NPZ hold as well; `read_table` returns it.
    columns : mapping of str to (unit, meaning), optional
        Unit and meaning of columns, which Parquet holds.

    Raises
    ------
    ValueError
        If the name's ending is unknown.
    OSError
        If the file cannot be written.
    ImportError
        If the library for this format is missing.
    """
    writer = by_suffix(Path(path), _WRITERS, "table")
    with replacing(path) as file:
        writer(file, table, metadata, columns or {})


def read_table(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], str | None]:
    """Read what `write_table` wrote.

    Parameters
    ----------
    path : path-like
        CSV, Parquet or NPZ.

    Returns
    -------
    table : dict of str to ndarray
        Columns; the columns of a CSV hold strings.
    metadata : str or None

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    ValueError
        If the name's ending is unknown or the file cannot be read.
    ImportError
        If the library for this format is missing.
    """
    place = existing(path, "a table")
    reader = by_suffix(place, _READERS, "table")
    with reading_errors(place):
        return reader(place)
