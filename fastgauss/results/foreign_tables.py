"""Tables of other programs as results: header lines, metadata, numbers and models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..base.status import Status
from ..models.model import Model
from . import storage
from .rows import Rows

_STEPS = 3  # units in the last place around an amplitude
_EXACT = 2.0**53  # up to which float64 holds every integer
_LATEST = 2**62  # of numbers: sums of two stay integers of 64 bits
_UNITS = {  # as TrackMate writes them
    "pixel": "px", "pixels": "px", "px": "px", "micron": "um", "microns": "um", "um": "um",
    "µm": "um", "μm": "um", "nm": "nm",
}  # fmt: skip
_WORDS = {  # of TrackMate's columns: meaning, short meaning, unit; {} is that of lengths
    "LABEL": ("Label", "Label", ""),
    "ID": ("Spot ID", "Spot ID", ""),
    "TRACK_ID": ("Track ID", "Track ID", ""),
    "QUALITY": ("Quality", "Quality", "(quality)"),
    "POSITION_X": ("X", "X", "({})"),
    "POSITION_Y": ("Y", "Y", "({})"),
    "POSITION_Z": ("Z", "Z", "({})"),
    "POSITION_T": ("T", "T", "(frame)"),
    "FRAME": ("Frame", "Frame", ""),
    "RADIUS": ("Radius", "R", "({})"),
    "VISIBILITY": ("Visibility", "Visibility", ""),
}


# -- header lines and metadata -----------------------------------------------------------------


def meanings(names: Sequence[str], unit: str) -> list[list[str]]:
    """The three lines that follow TrackMate's first line."""
    word = next(word for word, known in _UNITS.items() if known == unit)
    return [[_WORDS[name][k].format(word) for name in names] for k in range(3)]


def without_heads(
    table: Mapping[str, np.ndarray], place: str
) -> tuple[dict[str, np.ndarray], str | None]:
    """A table without the lines of words at its beginning, and the unit that they tell of places.

    None: there is no such line, as in tables of older versions.
    """
    cells = table[place].tolist()
    count = next((k for k, cell in enumerate(cells) if _is_number(cell)), min(3, len(cells)))
    unit = None
    if count:
        told = str(cells[count - 1]).strip("() ")
        if told.lower() not in _UNITS:
            raise ValueError(f"its column {place!r} has an unknown unit, {told!r}")
        unit = _UNITS[told.lower()]
    return {name: column[count:] for name, column in table.items()}, unit


def _is_number(cell: Any) -> bool:
    """Whether a cell is one of the data: a blank one is a number that is not known."""
    try:
        float(cell or "nan")
    except (TypeError, ValueError):
        return False
    return True


def told(documents: Sequence[Mapping[str, Any]]) -> tuple[Any, dict[str, Any]]:
    """The size of a pixel by picasso's metadata, and our own facts; the last entry counts."""
    size: Any = None
    facts: dict[str, Any] = {}
    for entry in documents:
        value = entry.get("Pixelsize")
        size = size if value is None else value
        own = entry.get("fastgauss")
        facts = own if isinstance(own, dict) else facts
    return size, facts


# -- numbers -----------------------------------------------------------------------------------


def integers(table: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """A column of whole numbers, (n,) of int64."""
    column = table[name]
    if column.dtype.kind == "O":
        try:
            return _checked(name, np.array([int(cell) for cell in column.tolist()], dtype=object))
        except (TypeError, ValueError):  # a program may write 1.0
            pass
    elif column.dtype.kind in "iu":
        return _checked(name, column)
    values = storage.numbers(table, name)
    wrong = ~(np.abs(values) < _EXACT) | (np.rint(values) != values)
    if wrong.any():
        raise ValueError(f"its column {name!r} must be of integers, got {values[wrong][0]}")
    return values.astype(np.int64)


def _checked(name: str, column: np.ndarray) -> np.ndarray:
    if column.size and not -_LATEST <= int(column.min()) <= int(column.max()) <= _LATEST:
        raise ValueError(f"its column {name!r} has numbers beyond {_LATEST}")
    return column.astype(np.int64)


# -- results -----------------------------------------------------------------------------------


def result_of(
    found: Mapping[str, np.ndarray], facts: Mapping[str, Any]
) -> tuple[Model, Rows, dict[str, Any]]:
    """The arguments of a `FitResult` from quantities (n,) and what is known of all of them."""
    count = len(found["x"])
    unknown = np.full(count, np.nan)
    widths, errors = _widths(found, unknown)
    both = (*widths, *errors)
    equal = all(np.array_equal(a, b, equal_nan=True) for a, b in (both[:2], both[2:]))
    known = {**storage.PLAIN_FACTS, "model": "symmetric" if equal else "elliptic", **facts}
    known |= {"format": storage.PLAIN_FACTS["format"], "ndim": 2}
    model = storage.model_of(known)
    table = {name: found.get(name, unknown) for name in model.names}
    for k, axis in enumerate("xy"):
        table |= {"sigma": widths[0], f"sigma_{axis}": widths[k]}
        table |= {"sigma_error": errors[0], f"sigma_{axis}_error": errors[k]}
        table[f"{axis}_error"] = found.get(f"{axis}_error", found.get("error", unknown))
    for name in model.names:
        table.setdefault(f"{name}_error", found.get(f"{name}_error", unknown))
    if "amplitude" in model.names:
        flux = found.get("flux")
        table["amplitude"] = (
            found.get("height", unknown) if flux is None else _amplitudes(model, table, flux)
        )
    for name in ("frame", "id", "flux_error"):
        if name in found:
            table[name] = found[name]
    placed = np.isfinite(found["x"]) & np.isfinite(found["y"])
    zeros = np.zeros(count, np.int32)
    table |= {
        "objective": unknown,
        "status": np.where(placed, Status.CONVERGED, Status.NOT_FINITE).astype(np.int32),
        "iterations": _iterations(found.get("iterations"), zeros),
        "pixels": zeros,
        "dof": zeros,
    }
    return storage.build(table, known)


def _widths(
    found: Mapping[str, np.ndarray], unknown: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Standard deviations along x and y, and their errors."""
    one = found.get("width", unknown)
    if "gyration" in found:
        one = found["gyration"] / np.sqrt(2.0)
    widths = [found.get(f"width_{a}", found.get(f"own_width_{a}", one)) for a in "xy"]
    return widths, [found.get(f"width_{axis}_error", unknown) for axis in "xy"]


def _iterations(column: np.ndarray | None, zeros: np.ndarray) -> np.ndarray:
    if column is None or not (np.isfinite(column) & (np.abs(column) < 2**31)).all():
        return zeros
    return column.astype(np.int32)


def _amplitudes(model: Model, table: Mapping[str, np.ndarray], flux: np.ndarray) -> np.ndarray:
    """The amplitudes whose flux is this one: to the bit where a float64 has it."""
    params = np.stack([table[name] for name in model.names], axis=1)
    with np.errstate(all="ignore"):
        params[:, 0] = 1.0
        best = params[:, 0] = flux / model.flux(params)
        best = best.copy()
        for direction in (np.inf, -np.inf):
            params[:, 0] = best
            for _ in range(_STEPS):
                wrong = model.flux(params) != flux
                params[wrong, 0] = np.nextafter(params[wrong, 0], direction)
            right = model.flux(params) == flux
            best[right] = params[right, 0]
    return best
