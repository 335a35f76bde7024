"""Storage of results in files: a table of spots, and facts that are the same for all spots.

The table is that of ``FitResult.to_dict`` and, except in CSV, a column "covariance" (n, k): the
lower triangles, row by row. The facts are the metadata of a Parquet or ECSV file, an entry of an
NPZ file, or an HDU of a FITS file. CSV has no place for metadata; there each fact that is a word is
a column.
"""

from __future__ import annotations

import base64
import io
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base import check
from ..base.status import Status
from ..io import tables
from ..io.npy import read_array
from ..kernels.models.profiles import PIXELS
from ..kernels.numeric.packed_cholesky import packed as packed_index
from ..kernels.numeric.packed_cholesky import packed_size
from ..models import astigmatic, psf, psf_field
from ..models.model import Model, find_model, get_model
from ..models.sloped import with_slopes_of
from ..models.star_model import StarModel
from .background import Background
from .columns import FACTS, LENGTHS, describe
from .rows import Rows, roots
from .table import facts as same_facts

if TYPE_CHECKING:
    from .fit_result import FitResult

_FORMAT = 1
_FIELD_FORMAT = 2  # of functions that vary: 1 held logarithms of their sigmas
PLAIN_FACTS = {  # of a table that tells none
    "format": _FORMAT, "pixel": "sample", "absolute": False, "constants": [], "background": None,
}  # fmt: skip
_COVARIANCE = "covariance"
_HELD = "at_bound"  # bit k: parameter k is on a bound
_REQUIRED = ("objective", "status", "iterations", "pixels", "dof")
_PART = 1 << 20  # bytes unpacked at a time
_LENS = "astigmatic"
_STARS: dict[str, Callable[[Any], StarModel]] = {
    "psf": psf.from_constants,
    "psf_field": psf_field.from_constants,
}
_ADDED: dict[str, Callable[[StarModel], StarModel]] = {  # to a name of a function of stars
    "": lambda star: star,
    "_width": lambda star: star.with_width(),
    "_source": lambda star: star.with_source(),
    "_weights": lambda star: star.with_weights(),
    "_weights_width": lambda star: star.with_weights().with_width(),
}
_INTEGERS = ("frame", "status", "iterations", "pixels", "dof", "id", _HELD)


# -- arrays in text ----------------------------------------------------------------------------


def _to_text(array: np.ndarray | None) -> Any:
    """An array of float64 as text, or shape and value of a constant array."""
    if array is None:
        return None
    array = np.ascontiguousarray(array, np.float64)
    bits = array.view(np.uint64)
    if array.size > 1 and (bits == bits.flat[0]).all():
        return {"shape": array.shape, "value": float(array.flat[0])}
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    plain = file.getvalue()
    packed = zlib.compress(plain)
    if len(plain) > tables.room(len(packed)):  # loading would refuse it
        packed = zlib.compress(plain, level=0)
    return base64.b64encode(packed).decode("ascii")


def _from_text(told: Any) -> np.ndarray | None:
    if told is None:
        return None
    if isinstance(told, dict):
        return np.broadcast_to(np.float64(told["value"]), tuple(told["shape"]))
    packed = base64.b64decode(told)
    return read_array(_Inflated(packed), tables.room(len(packed)))  # type: ignore[arg-type]


class _Inflated(io.RawIOBase):
    """A file of deflated bytes, which are unpacked only as far as they are read."""

    def __init__(self, packed: bytes) -> None:
        self._unpacker, self._left = zlib.decompressobj(), packed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        room = memoryview(buffer).cast("B")
        part = self._unpacker.decompress(self._left, min(len(room), _PART))
        self._left = self._unpacker.unconsumed_tail
        room[: len(part)] = part
        return len(part)


# -- saving ------------------------------------------------------------------------------------


def _format_of(model: Any) -> int:
    return _FIELD_FORMAT if str(model).startswith("psf_field") else _FORMAT


def _facts(result: FitResult, pixel_size: float | None) -> dict[str, Any]:
    background = result.background
    return {
        "format": _format_of(result.model.name),
        "model": result.model.name,
        "ndim": result.model.ndim,
        "constants": list(result.model.constants),
        "pixel": result.pixel,
        "length": result.length,
        "absolute": bool(result.absolute),
        "pixel_size": pixel_size,
        "background": None if background is None else [_to_text(part) for part in background],
    }


def save(result: FitResult, path: str | os.PathLike, pixel_size: float | None) -> None:
    """Write a result in a format of ours, with this size of a pixel."""
    tables.check_table(path)
    table, facts = result.to_dict(), _facts(result, pixel_size)
    held = result.rows.at_bound
    if held is not None:
        table[_HELD] = held @ (1 << np.arange(held.shape[1]))
    if not tables.holds_metadata(path):
        if result.model.constants:
            raise ValueError(
                f"a CSV table cannot hold the constants of the model {result.model.name!r}: save "
                "as .parquet or .npz, or write result.to_dataframe()"
            )
        same = same_facts(result, pixel_size)
        words = {name: np.full(len(result), fact) for name, fact in same.items()}
        tables.write_table(path, {**table, **words})
        return
    table[_COVARIANCE] = result.rows.packed
    about = {
        k: v
        for k, v in describe(result.model, result.absolute, result.length).items()
        if k in table
    }
    about |= {name: (unit, told) for name, (_, unit, told) in result._further().items()}
    triangle = "lower triangle of the parameters' covariance, row by row"
    about[_COVARIANCE] = ("", triangle)
    if held is not None:
        about[_HELD] = ("", "bit k: parameter k is on a bound")
    tables.write_table(path, table, metadata=json.dumps(facts), columns=about)


# -- loading -----------------------------------------------------------------------------------


def is_own(table: Mapping[str, np.ndarray]) -> bool:
    """Whether a table has the columns that every saved result has."""
    return all(name in table for name in _REQUIRED)


@contextmanager
def content_errors(path: str | os.PathLike) -> Iterator[None]:
    """Turn every error of a file's content into one kind of error: a file can hold anything."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        reason: Any = error
        if isinstance(error, KeyError):
            reason = f"it has no {error}"
        elif isinstance(error, RecursionError):
            reason = "its metadata are nested too deeply"
        raise ValueError(f"{Path(path)} holds no result of a fit: {reason}") from error


def is_table(value: Any) -> bool:
    """Whether this is a table in memory: a DataFrame of pandas or a table of astropy."""
    return hasattr(value, "colnames") or (hasattr(value, "columns") and hasattr(value, "iloc"))


def of_table(table: Any) -> tuple[Model, Rows, dict[str, Any]]:
    """The arguments of a `FitResult` from a DataFrame, or a table of astropy in pixels."""
    with content_errors("the table"):
        if hasattr(table, "colnames"):
            columns, text = tables.of_astropy(table, tuple(FACTS))
            return build(columns, _told(columns) if text is None else json.loads(text))
        columns = {str(name): table[name].to_numpy() for name in table.columns}
        return build(columns, _told(columns))


def load(
    path: str | os.PathLike, table: Mapping[str, np.ndarray], text: str | None
) -> tuple[Model, Rows, dict[str, Any]]:
    """The arguments of a `FitResult`: the model, the rows, and the facts of all rows."""
    with content_errors(path):
        facts = _told(table) if text is None else json.loads(text)
        return build(table, facts)


def _told(table: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The facts of a table without metadata, read from its columns."""
    facts: dict[str, Any] = dict(PLAIN_FACTS)
    for name in FACTS:
        words = sorted({str(word) for word in table[name].tolist()}) if name in table else []
        if len(words) > 1:
            raise ValueError(f"its column {name!r} has several words: {', '.join(words[:9])}")
        facts.update((name, word) for word in words)
    facts["absolute"] = str(facts["absolute"]) == "True"
    model = find_model(table, facts.get("model"))
    return facts | {"model": model.name, "ndim": model.ndim}


def model_of(facts: Mapping[str, Any]) -> Model:
    """The model that facts tell."""
    name, constants = facts["model"], facts["constants"]
    if not constants:
        return get_model(name, facts["ndim"])
    check.choice("model", name, (_LENS, *(star + more for star in _STARS for more in _ADDED)))
    if name == _LENS:
        return astigmatic.from_constants(constants)
    star = max((each for each in _STARS if name.startswith(each)), key=len)
    return _ADDED[name.removeprefix(star)](_STARS[star](constants))


def column(table: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """A column of numbers of our own table, of the dtype that results have."""
    values = numbers(table, name, np.int64 if name in _INTEGERS else np.float64)
    return _whole(name, values) if values.dtype.kind in "iu" else values


def numbers(table: Mapping[str, np.ndarray], name: str, kind: Any = np.float64) -> np.ndarray:
    """A column (n,) of numbers, also from words: of float64, or of any integers for int64."""
    values = table[name]
    if values.ndim != 1:
        raise ValueError(f"its column {name!r} has the shape {values.shape}")
    if values.dtype.kind in "iuf" and np.can_cast(values.dtype, kind, "same_kind"):
        return values if kind is np.int64 else values.astype(np.float64, copy=False)
    if values.dtype.kind not in "UTO":
        raise ValueError(f"its column {name!r} is of dtype {values.dtype}")
    read: Any = int if kind is np.int64 else float
    words = values.tolist()
    if kind is np.float64:
        words = [word or "nan" for word in words]  # as pandas writes NaN
    try:
        return np.array([read(word) for word in words], dtype=kind)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"its column {name!r} is not of numbers ({error})") from None


def _whole(name: str, column: np.ndarray) -> np.ndarray:
    """Integers of the dtype that results use."""
    wide = name in ("frame", "id")
    if column.dtype == np.int32 or (wide and column.dtype == np.int64):
        return column
    kind = np.int64 if wide else np.int32
    limits = np.iinfo(kind)
    if column.size and not (limits.min <= int(column.min()) <= int(column.max()) <= limits.max):
        raise ValueError(f"its column {name!r} has numbers beyond {limits.max}")
    return column.astype(kind)


def _covariance(table: Mapping[str, np.ndarray], model: Model) -> np.ndarray:
    """Packed covariances: the saved ones, or the squared errors with NaN off the diagonal."""
    size = model.size
    width = packed_size(size)
    if _COVARIANCE in table:
        packed = table[_COVARIANCE]
        if packed.dtype == object and packed.ndim == 1:  # a DataFrame holds one array a cell
            packed = np.stack([np.empty(width), *packed])[1:]
        if packed.ndim != 2 or packed.shape[1] != width or packed.dtype.kind not in "iuf":
            raise ValueError(f"its column {_COVARIANCE!r} is not of {width} numbers for each spot")
        return np.ascontiguousarray(packed, np.float64)
    errors = np.stack([column(table, f"{name}_error") for name in model.names], axis=1)
    packed = np.full((len(errors), width), np.nan)
    i = np.arange(size)
    with np.errstate(over="ignore", under="ignore"):
        packed[:, packed_index(i, i)] = errors**2
    return packed


def _errors(table: Mapping[str, np.ndarray], model: Model, packed: np.ndarray) -> np.ndarray | None:
    """The saved errors, if the squares of some leave the range of float64."""
    names = [f"{name}_error" for name in model.names]
    if any(name not in table for name in names):
        return None
    errors = np.stack([column(table, name) for name in names], axis=1)
    derived = roots(packed, model.size) if len(packed) == len(errors) else errors
    return None if np.array_equal(derived, errors, equal_nan=True) else errors


def _numbers(table: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The numbers of the rows; None if they count from 0, or if the column is of another kind."""
    try:
        ids = column(table, "id").astype(np.intp)
    except (KeyError, ValueError):  # others may mean something else by this name
        return None
    return None if np.array_equal(ids, np.arange(len(ids))) else ids


def build(
    table: Mapping[str, np.ndarray], facts: Mapping[str, Any]
) -> tuple[Model, Rows, dict[str, Any]]:
    """The arguments of a `FitResult` from columns and facts."""
    if not isinstance(facts, dict) or facts["format"] != _format_of(facts["model"]):
        raise ValueError("it was written by another version of fastgauss")
    model = with_slopes_of(model_of(facts), table)
    params = np.stack([column(table, name) for name in model.names], axis=1)
    objective, status, iterations, pixels, dof = (column(table, name) for name in _REQUIRED)
    frames = column(table, "frame") if "frame" in table else None
    packed = _covariance(table, model)
    held = None
    if _HELD in table:
        held = (column(table, _HELD)[:, np.newaxis] >> np.arange(model.size)) & 1 == 1
    errors = _errors(table, model, packed)
    fluxes = None
    if _COVARIANCE not in table and "flux_error" in table:
        fluxes = column(table, "flux_error")
    rows = Rows(
        params, packed, objective, status, iterations, pixels, dof, frames, at_bound=held,
        errors=errors, ids=_numbers(table), flux_errors=fluxes,
    )  # fmt: skip
    if any(each is not None and len(each) != len(params) for each in rows):
        raise ValueError("its columns differ in length")
    if not np.isin(status, list(Status)).all():
        raise ValueError("its column 'status' has unknown codes")
    shared = {
        "absolute": check.flag("absolute", facts["absolute"]),
        "pixel": check.choice("pixel", facts["pixel"], PIXELS),
        "length": check.choice("length", facts.get("length", LENGTHS[0]), LENGTHS),
        "background": _background(facts["background"]),
        "pixel_size": _pixel_size(facts.get("pixel_size")),
    }
    return model, rows, shared


def _pixel_size(told: Any) -> float | None:
    if told is None:
        return None
    return check.number("pixel_size", float(told) if isinstance(told, str) else told, above=0.0)


def _background(told: Any) -> Background | None:
    if told is None:
        return None
    known, terms, scale = map(_from_text, told)
    right = (
        (known is None or known.dtype == np.float64)
        and (terms is not None and terms.dtype == np.float64 and terms.ndim == 2)
        and (scale is not None and scale.dtype == np.float64 and scale.shape == (6,))
    )
    if not right:
        raise ValueError("its background is not of the arrays that a joint fit saves")
    return Background(known, terms, scale)  # type: ignore[arg-type]
