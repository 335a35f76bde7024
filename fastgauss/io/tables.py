"""CSV, NPZ, Parquet, ECSV, FITS and JSON tables.

Reading takes memory in proportion to the size of the file. A file that declares more than `room`
bytes is refused before it is unpacked: a table of measured numbers never compresses so well.
"""

from __future__ import annotations

import csv
import io
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..base.optional import require
from .files import by_suffix, check_place, existing, replacing
from .images import reading_errors
from .json_tables import read_json, write_json
from .npy import read_array

_CSV_ROWS = 10_000  # converted at a time
_ROOM, _GROWTH = 1 << 26, 64  # bytes that a table may take: always, and per byte of its file


Table = Mapping[str, np.ndarray]
About = Mapping[str, tuple[str, str]]  # units and meanings of columns
_ENTRY = "metadata"  # of an NPZ file
_KEY = b"fastgauss"  # of a Parquet file's metadata
_HDU, _MARK = "METADATA", "FG_META"  # of a FITS file: an HDU, and a card that says it is there
_PHYSICAL = ("nm", "um", "mm", "arcsec", "deg", "mag")
_ASTROPY_UNITS = {"px": "pix", "px^2": "pix2", "rad": "rad"} | {u: u for u in _PHYSICAL}
_ASTROPY_UNITS |= {f"{unit}2": f"{unit}2" for unit in _PHYSICAL}


def _write_csv(file: IO[bytes], table: Table, metadata: str, about: About) -> None:
    _write_rows(file, table, [list(table)], csv.QUOTE_MINIMAL)


def _write_rows(
    file: IO[bytes], table: Table, heads: Sequence[Sequence[str]], quoting: Any
) -> None:
    """Lines of words, then the columns."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    csv.writer(text, lineterminator="\n", quoting=quoting).writerows(heads)
    writer = csv.writer(text, lineterminator="\n")
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
    # fitted numbers do not repeat, so a dictionary helps only integers and strings
    repeating = [name for name, column in table.items() if column.dtype.kind != "f"]
    whole = arrow.table(list(columns.values()), schema=schema)
    parquet.write_table(whole, file, use_dictionary=repeating)


def _astropy_table(table: Table, about: About, purpose: str) -> Any:
    made = require("astropy.table", purpose, "io").Table(dict(table), copy=False)
    for name in table:
        unit, meaning = about.get(name, ("", ""))
        made[name].unit = _ASTROPY_UNITS.get(unit)
        made[name].description = meaning or None
    return made


def _write_ecsv(file: IO[bytes], table: Table, metadata: str, about: About) -> None:
    ascii_tables = require("astropy.io.ascii", "writing ECSV", "io")
    if not len(next(iter(table.values()))):  # a cell of several numbers is read by its first row
        table = {name: column for name, column in table.items() if column.ndim == 1}
    made = _astropy_table(table, about, "writing ECSV")
    if metadata:
        made.meta[_KEY.decode()] = metadata
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    ascii_tables.write(made, text, format="ecsv")
    text.detach()


def _write_fits(file: IO[bytes], table: Table, metadata: str, about: About) -> None:
    fits = require("astropy.io.fits", "writing FITS", "io")
    rows = fits.table_to_hdu(_astropy_table(table, about, "writing FITS"))
    for number, name in enumerate(table, 1):
        if meaning := about.get(name, ("", ""))[1]:
            rows.header[f"TCOMM{number}"] = meaning
    units = [fits.PrimaryHDU(), rows]
    if metadata:
        rows.header[_MARK] = (True, f"the HDU {_HDU} belongs to this table")
        units.append(fits.ImageHDU(np.frombuffer(metadata.encode(), np.uint8), name=_HDU))
    whole = io.BytesIO()  # the file may have no name, which astropy asks for
    fits.HDUList(units).writeto(whole)
    file.write(whole.getbuffer())


_WRITERS: dict[str, Callable[[IO[bytes], Table, str, About], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".npz": _write_npz,
    ".ecsv": _write_ecsv,
    ".fits": _write_fits,
    ".json": write_json,
}
_NEEDS = {  # library, what for, extra
    _write_parquet: ("pyarrow", "writing Parquet", "pandas"),
    _write_ecsv: ("astropy.io.ascii", "writing ECSV", "io"),
    _write_fits: ("astropy.io.fits", "writing FITS", "io"),
}


def room(size: int) -> int:
    """The most bytes that ``size`` bytes of a file may become."""
    return _ROOM + _GROWTH * size


def check_room(path: Path, size: int) -> None:
    """Refuse a file of which much more memory is asked than it has bytes."""
    there = path.stat().st_size
    if size > room(there):
        raise ValueError(f"its {there} bytes would become {size}, more than tables compress")


def _csv_rows(rows: Any, cells: int) -> Iterator[list[str]]:
    """The rows that are not empty; each must have ``cells`` cells."""
    for row in rows:
        if len(row) == cells and row[0]:
            yield row
        elif "".join(row).strip():  # some programs end a file with empty lines or with commas
            if len(row) != cells:
                raise ValueError(f"line {rows.line_num} has {len(row)} cells, the header {cells}")
            yield row


def _read_csv(path: Path, words: Sequence[str]) -> tuple[dict[str, np.ndarray], str | None]:
    with path.open(encoding="utf-8-sig", newline="") as file:  # a byte-order mark is skipped
        reader = csv.reader(file)
        names = next(reader, None)
        if not names:
            raise ValueError("it has no header line")
        columns: list[list[str]] = [[] for _ in names]
        rows = _csv_rows(reader, len(names))
        while part := list(islice(rows, _CSV_ROWS)):
            for column, cells in zip(columns, zip(*part, strict=True), strict=True):
                column.extend(cells)
    return {n: np.array(c, dtype=object) for n, c in zip(names, columns, strict=True)}, None


def _read_npz(path: Path, words: Sequence[str]) -> tuple[dict[str, np.ndarray], str | None]:
    table = {}
    with zipfile.ZipFile(path) as archive:
        entries = [each for each in archive.infolist() if each.filename.endswith(".npy")]
        check_room(path, sum(each.file_size for each in entries))
        for each in entries:
            with archive.open(each) as file:
                table[each.filename.removesuffix(".npy")] = read_array(file, each.file_size)
    metadata = table.pop(_ENTRY, None)
    return table, None if metadata is None else metadata.item().decode()


def _read_parquet(path: Path, words: Sequence[str]) -> tuple[dict[str, np.ndarray], str | None]:
    types = require("pyarrow", "reading Parquet", "pandas").types
    parquet = require("pyarrow.parquet", "reading Parquet", "pandas")
    options: dict[str, Any] = {"thrift_string_size_limit": 2**31 - 1}  # a background can be long
    file = parquet.ParquetFile(path, **options)
    widths = {field.name: _bytes_a_row(types, field.type) for field in file.schema_arrow}
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    pages = sum(group.total_byte_size for group in groups)
    check_room(path, pages + file.metadata.num_rows * sum(widths.values()))
    words = [field.name for field in file.schema_arrow if _is_word(types, field.type)]
    file = parquet.ParquetFile(path, read_dictionary=words, **options)
    table = file.read(columns=[name for name, width in widths.items() if width])
    found = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        width = getattr(column.type, "list_size", None)
        if width is not None:
            parts = [chunk.flatten().to_numpy() for chunk in column.chunks]
            found[name] = np.concatenate([np.empty(0), *parts]).reshape(-1, width)
        elif name in words:
            parts = [_words(chunk) for chunk in column.chunks]
            found[name] = np.concatenate([np.empty(0, object), *parts])
        else:
            found[name] = column.to_numpy()
    text = (table.schema.metadata or {}).get(_KEY)
    return found, None if text is None else text.decode()


def _bytes_a_row(types: Any, kind: Any) -> int:
    """Bytes in memory of one row of a column; 0 for a column of a kind that is not read."""
    if types.is_fixed_size_list(kind):
        return kind.list_size * _bytes_a_row(types, kind.value_type)
    if types.is_integer(kind) or types.is_floating(kind):
        return kind.bit_width // 8
    return 8 * (types.is_boolean(kind) or _is_word(types, kind))


def _is_word(types: Any, kind: Any) -> bool:
    if types.is_dictionary(kind):
        kind = kind.value_type
    return types.is_string(kind) or types.is_large_string(kind)


def _words(chunk: Any) -> np.ndarray:
    """The strings of a column; equal strings share one object."""
    words = np.array([*chunk.dictionary.to_pylist(), None], dtype=object)
    return words[chunk.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)]


def _read_ecsv(path: Path, words: Sequence[str]) -> tuple[dict[str, np.ndarray], str | None]:
    ascii_tables = require("astropy.io.ascii", "reading ECSV", "io")
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return of_astropy(ascii_tables.read(lines, format="ecsv"), words)


def of_astropy(table: Any, words: Sequence[str]) -> tuple[dict[str, np.ndarray], str | None]:
    """Columns and metadata of a table of astropy, as `read_table` returns them."""
    found = {}
    for name in table.colnames:
        column = table[name]
        if not hasattr(column, "dtype"):  # coordinates of the sky, times
            continue
        if column.dtype.kind == "f" and hasattr(column, "filled"):
            column = column.filled(np.nan)
        if not np.any(getattr(column, "mask", False)) and not _is_physical(column.unit):
            found[name] = np.asarray(column, column.dtype.newbyteorder("="))
    text = table.meta.get(_KEY.decode())
    return found | _constants(table.meta, words), None if text is None else str(text)


def _read_fits(path: Path, words: Sequence[str]) -> tuple[dict[str, np.ndarray], str | None]:
    fits = require("astropy.io.fits", "reading FITS", "io")
    exceptions = require("astropy.utils.exceptions", "reading FITS", "io")
    with warnings.catch_warnings(), fits.open(path, memmap=False) as units:
        warnings.simplefilter("ignore", exceptions.AstropyWarning)  # of cards that are not used
        rows = next((unit for unit in units if isinstance(unit, fits.BinTableHDU)), None)
        if rows is None:
            raise ValueError("it holds no table")
        if rows.header.get(_MARK) and _HDU not in units:
            raise ValueError("it ends before its metadata")
        own = next((unit for unit in units if unit.name == _HDU), None)
        for unit in filter(None, (rows, own)):
            check_room(path, unit.size)
            place = unit.fileinfo()
            if not place["file"].compression and place["datLoc"] + unit.size > path.stat().st_size:
                raise ValueError("it ends before its table does")
        found = {}
        for column in rows.columns:
            values = rows.data[column.name]
            if values.dtype.kind in "biufSU" and not _is_physical(column.unit):
                found[column.name] = np.array(values, values.dtype.newbyteorder("="))
        text = None if own is None else own.data.tobytes().decode()
        notes = {key.lower(): value for key, value in rows.header.items()}
    return found | _constants(notes, words), text


def _is_physical(unit: Any) -> bool:
    """Whether a column is in another unit of length or angle than pixels and radians."""
    units = require("astropy.units", "reading units", "io")
    unit = units.Unit(unit or "", parse_strict="silent")
    return unit.is_equivalent("m") or (unit.is_equivalent("rad") and unit != units.rad)


def _constants(notes: Mapping[str, Any], words: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of one element, of words that a file tells once for all rows."""
    told = {word: notes[word] for word in words if isinstance(notes.get(word), str | bool)}
    return {word: np.array([value], dtype=object) for word, value in told.items()}


_READERS: dict[str, Callable[[Path, Sequence[str]], tuple[dict[str, np.ndarray], str | None]]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".npz": _read_npz,
    ".ecsv": _read_ecsv,
    ".fits": _read_fits,
    ".json": read_json,
}


def check_table(path: str | os.PathLike, others: tuple[str, ...] = ()) -> None:
    """Raise unless a table can be written there; ``others`` are endings that the caller writes."""
    writer = by_suffix(Path(path), {**_WRITERS, **dict.fromkeys(others)}, "table")
    if writer in _NEEDS:
        require(*_NEEDS[writer])
    check_place(Path(path))


def holds_metadata(path: str | os.PathLike) -> bool:
    """Whether a table of this name holds more than columns of numbers."""
    return by_suffix(Path(path), _WRITERS, "table") is not _write_csv


def write_table(
    path: str | os.PathLike, table: Table, metadata: str = "", columns: About | None = None
) -> None:
    """Write columns of equal length; the ending of the name selects the format.

    It is .csv, .parquet, .npz, .ecsv, .fits or .json. CSV has a header line and the shortest
    decimals that read back to the same floats. An existing file is replaced only by a complete one.

    Parameters
    ----------
    path : path-like
        Where to; its directory must exist.
    table : mapping of str to ndarray
        One-dimensional columns; in all formats but CSV also of several numbers a row, (n, k).
    metadata : str, optional
        A text that all formats but CSV hold as well; `read_table` returns it.
    columns : mapping of str to (unit, meaning), optional
        Unit and meaning of columns, which Parquet, ECSV and FITS hold; JSON holds the units.

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


def write_csv(
    path: str | os.PathLike, table: Table, heads: Sequence[Sequence[str]], quoted: bool = False
) -> None:
    """Write columns (n,) as CSV under one or more lines of words, which may be in quotes."""
    by_suffix(Path(path), {".csv": None}, "table")
    with replacing(path) as file:
        _write_rows(file, table, heads, csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)


def read_table(
    path: str | os.PathLike, words: Sequence[str] = ()
) -> tuple[dict[str, np.ndarray], str | None]:
    """Read what `write_table` wrote.

    Parameters
    ----------
    path : path-like
        CSV, Parquet, NPZ, ECSV, FITS or JSON.
    words : sequence of str
        Entries of the metadata of an ECSV or FITS file of others that are returned as columns of
        one element. Columns of these files in a unit of length or angle other than pixels and
        radians are left out.

    Returns
    -------
    table : dict of str to ndarray
        Columns; the columns of a CSV hold strings, as objects.
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
        return reader(place, words)
