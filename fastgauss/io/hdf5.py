"""HDF5 files of localisations as picasso writes them: records "locs", and metadata in YAML.

The metadata are a list of mappings, one for each program that the localisations went through. They
are in a file of the same name in .yaml, which all versions of picasso read, and as JSON in the HDF5
file itself, which its versions from 0.11 on read as well. As in picasso, the .yaml comes first.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..base.optional import require
from .files import check_place, existing, replacing
from .images import reading_errors
from .tables import Table, check_room

Documents = Sequence[dict[str, Any]]

_RECORDS, _METADATA = "locs", "metadata"


def _beside(path: str | os.PathLike) -> Path:
    """The file of the metadata."""
    return Path(path).with_suffix(".yaml")


def check_records(path: str | os.PathLike) -> None:
    """Raise unless records and their metadata can be written there."""
    require("h5py", "writing HDF5", "io")
    require("yaml", "writing HDF5", "io")
    check_place(Path(path))
    check_place(_beside(path))
    if _beside(path).exists() and not Path(path).exists():
        raise FileExistsError(
            f"cannot write {path}: its metadata would replace {_beside(path).name}, which belongs "
            "to something else: choose another name"
        )


def write_records(path: str | os.PathLike, table: Table, documents: Documents) -> None:
    """Write columns (n,) as records, and their metadata into a file beside it.

    Raises
    ------
    OSError
        If a file cannot be written, or the metadata would replace a file of something else.
    ImportError
        If h5py or pyyaml is missing.
    """
    check_records(path)
    h5py, yaml = (require(name, "writing HDF5", "io") for name in ("h5py", "yaml"))
    records = np.empty(len(next(iter(table.values()))), [(n, c.dtype) for n, c in table.items()])
    for name, column in table.items():
        records[name] = column
    whole = io.BytesIO()
    with h5py.File(whole, "w") as file:
        file.create_dataset(_RECORDS, data=records)
        file.create_dataset(_METADATA, data=json.dumps(documents))
    with replacing(_beside(path)) as told, replacing(path) as target:
        told.write(yaml.safe_dump_all(documents, sort_keys=False).encode())
        target.write(whole.getbuffer())


def read_records(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Read what `write_records` or picasso wrote: the columns of numbers, and the metadata.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    ValueError
        If it cannot be read or holds no records.
    ImportError
        If h5py is missing, or pyyaml where there is a .yaml file.
    """
    place = existing(path, "a table")
    h5py = require("h5py", "reading HDF5", "io")
    with reading_errors(place), h5py.File(place, "r") as file:
        records = file.get(_RECORDS)
        if not isinstance(records, h5py.Dataset) or records.dtype.names is None:
            raise ValueError(f"it holds no records {_RECORDS!r}")
        if records.ndim != 1:
            raise ValueError(f"its records {_RECORDS!r} have the shape {records.shape}")
        check_room(place, records.size * records.dtype.itemsize)
        read = records[()]
        kinds = {name: read.dtype[name] for name in read.dtype.names}
        table = {
            name: np.array(read[name], kind.newbyteorder("="))
            for name, kind in kinds.items()
            if kind.kind in "biuf"
        }
        told = file.get(_METADATA)
        inside = isinstance(told, h5py.Dataset) and told.shape == ()
        documents = json.loads(told.asstr()[()]) if inside else []
    beside = _beside(place)
    if beside.exists():
        with reading_errors(beside):
            documents = _read_yaml(beside)
    entries = documents if isinstance(documents, list) else []
    return table, [entry for entry in entries if isinstance(entry, dict)]


def _read_yaml(path: Path) -> list[Any]:
    """The documents of a file; what is no plain value of YAML, such as an object, is None."""
    yaml = require("yaml", "reading metadata", "io")
    loader: Any = type("Loader", (yaml.SafeLoader,), {})
    loader.add_multi_constructor("", lambda *_: None)
    with path.open(encoding="utf-8-sig") as file:
        return list(yaml.load_all(file, Loader=loader))
