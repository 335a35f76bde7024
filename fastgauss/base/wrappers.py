"""Metadata of arrays of other libraries: masks, units, variances, names.

``np.asarray`` drops all of that without a word. Here every array that a user gives is taken apart
first. None of the libraries is imported to know its arrays:

    masked arrays of numpy and astropy         numbers and a mask
    NDData and CCDData of astropy              numbers, a mask and an uncertainty
    quantities of astropy, pint and unyt       numbers and a unit
    tables of pandas, polars and astropy,      columns with names
    structured arrays
    arrays of xarray                           numbers (names of axes: base/named_axes.py)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any, NamedTuple

import numpy as np

_NUMBERS = frozenset({bool, int, float, complex, str, bytes, type(None), np.ndarray})


class Contents(NamedTuple):
    """An array taken apart."""

    values: np.ndarray
    mask: np.ndarray | None = None  # True where a number does not count; None if all do
    variance: np.ndarray | None = None


def open_array(name: str, value: Any, unit: str = "") -> Contents:
    """Numbers, mask and variances of anything that is an array.

    Quantities become numbers without unit, or in ``unit`` if that is given.
    """
    if type(value) is np.ndarray:
        return Contents(value)
    if isinstance(value, list | tuple):
        return Contents(_of_sequence(name, value, unit))
    if isinstance(value, Iterator | Mapping | Set) and not hasattr(value, "__array__"):
        kind = type(value).__name__
        raise TypeError(f"{name} must be an array or a list of real numbers, got a {kind}")
    if not isinstance(value, np.ndarray) and _all_there(value, "data", "mask", "uncertainty"):
        return _of_nddata(name, value)
    if _all_there(value, "dims", "coords", "data"):  # xarray
        return open_array(name, value.data, unit)
    if isinstance(value, np.ndarray):
        return _of_subclass(name, value, unit)
    if hasattr(value, "iloc") or hasattr(value, "columns"):  # pandas, polars: no units
        return Contents(_numbers(name, value))
    measured = _unit_of(value)
    if measured is not None:
        return Contents(_without_unit(name, value, measured, unit))
    array = _numbers(name, value)
    return Contents(array) if type(array) is np.ndarray else _of_subclass(name, array, unit)


def _all_there(value: Any, *names: str) -> bool:
    return all(hasattr(value, name) for name in names)


def is_array(value: Any) -> bool:
    """Whether an object is an array of its own kind, numpy's among them; no number, no list."""
    known = hasattr(value, "__array__") and not isinstance(value, np.generic)
    return known or _all_there(value, "data", "mask", "uncertainty")


def _numbers(name: str, value: Any) -> np.ndarray:
    """Whatever numpy makes of an object, subclasses of arrays among it."""
    try:
        return np.asanyarray(value)
    except MemoryError:
        raise
    except ValueError as error:  # ragged nested sequences
        raise ValueError(f"{name} must be an array of real numbers: {error}") from None
    except Exception as error:  # an object's __array__ may raise any error
        raise TypeError(f"{name} must be an array of real numbers: {error}") from None


# -- sequences ---------------------------------------------------------------------------------


def _holds_arrays(items: Any) -> bool:
    """Whether a nested sequence holds objects that are arrays of their own kind."""
    kinds = set(map(type, items)) - _NUMBERS
    if not kinds:
        return False
    nested = kinds & {list, tuple}
    others = [kind for kind in kinds - nested if not issubclass(kind, np.generic)]
    marks = "__array__", "units", "uncertainty"
    if any(hasattr(kind, mark) for kind in others for mark in marks):
        return True
    return any(_holds_arrays(item) for item in items if type(item) in nested)


def _of_sequence(name: str, value: Any, unit: str) -> np.ndarray:
    """A list: its arrays are opened one by one, as numpy would drop what they say."""
    if not _holds_arrays(value):
        return _numbers(name, value)
    parts = []
    for k, item in enumerate(value):
        part = open_array(f"{name}[{k}]", item, unit)
        refuse_mask(f"{name}[{k}]", part)
        parts.append(part.values)
    if len({part.shape for part in parts}) > 1:
        raise ValueError(f"{name} must hold arrays of one shape, got {[p.shape for p in parts]}")
    return np.stack(parts)


# -- masks, uncertainties ----------------------------------------------------------------------


def refuse_mask(name: str, contents: Contents) -> None:
    """TypeError if elements are masked, where the mask would be ignored."""
    if contents.mask is not None:
        raise TypeError(
            f"{name} must be a plain array, got one with {int(contents.mask.sum())} masked "
            "elements; fill it with NaN"
        )


def _some(mask: Any) -> np.ndarray | None:
    """A mask, if it masks anything."""
    return mask if mask is not None and np.any(mask) else None


def _of_subclass(name: str, value: Any, unit: str) -> Contents:
    mask = None
    if isinstance(value, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(value) if value.dtype.names is None else None
        plain = value.data
    elif _all_there(value, "unmasked", "mask"):  # astropy's
        mask, plain = np.asarray(value.mask), value.unmasked
    else:
        plain = value
    measured = None if value.dtype.names else _unit_of(value)
    if measured is not None:
        plain = _without_unit(name, value, measured, unit)
    return Contents(np.asarray(plain), _some(mask))


def _of_nddata(name: str, value: Any) -> Contents:
    """Data, mask and uncertainty; the data's unit is that of the result."""
    own = open_array(name, value.data)
    mask = own.mask
    if value.mask is not None:
        given = np.broadcast_to(np.asarray(value.mask, bool), own.values.shape)
        mask = given if mask is None else mask | given
    if value.uncertainty is None:
        return Contents(own.values, _some(mask))
    variance = _variance(name, value.uncertainty, value.unit)
    if variance.shape != own.values.shape:
        raise ValueError(
            f"{name} must have an uncertainty of shape {own.values.shape}, got {variance.shape}"
        )
    # an uncertainty of 0 or NaN is unknown
    unknown = ~((variance > 0) & (variance < np.inf))
    if unknown.all():
        raise ValueError(f"{name} must have an uncertainty above 0 and finite, got none")
    mask = unknown if mask is None else mask | unknown
    return Contents(own.values, _some(mask), np.where(unknown, 1.0, variance))


def _variance(name: str, uncertainty: Any, unit: Any) -> np.ndarray:
    """Variances in the square of the data's unit."""
    power = {"std": 1, "var": 2, "ivar": -2}.get(uncertainty.uncertainty_type)
    if power is None:
        kind = uncertainty.uncertainty_type
        raise TypeError(f"{name} must have an uncertainty of type std, var or ivar, got {kind!r}")
    array = np.asarray(uncertainty.array, dtype=np.float64)
    if unit is not None and uncertainty.unit is not None:
        array = array * uncertainty.unit.to(unit**power)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return array ** (2 / power) if power > 0 else 1.0 / array


# -- units -------------------------------------------------------------------------------------


def _unit_of(value: Any) -> Any:
    """The unit of astropy's arrays (``unit``) or pint's and unyt's (``units``); None for none."""
    for word in ("unit", "units"):
        unit = getattr(value, word, None)
        if unit is not None and not isinstance(unit, str | np.ndarray):
            return unit
    return None


def _without_unit(name: str, value: Any, measured: Any, unit: str) -> np.ndarray:
    """The numbers in ``unit``, or of a quantity without dimension."""
    quantity = getattr(value, "quantity", value)  # of a column of astropy's
    quantity = getattr(quantity, "unmasked", quantity)
    for convert in (getattr(quantity, word, None) for word in ("to_value", "m_as")):
        for wanted in dict.fromkeys((unit, "")):
            try:
                if convert is not None:
                    return np.asarray(convert(wanted))
            except Exception:  # each library has errors of its own
                continue
    expected = f"plain numbers or in {unit}" if unit else "plain numbers, without unit"
    raise TypeError(
        f"{name} must be {expected}, got a {type(value).__name__} in {measured}; "
        "convert it and give its value"
    )


# -- names -------------------------------------------------------------------------------------


def columns_of(value: Any) -> tuple[str, ...] | None:
    """Names of a table's columns, or of a row's entries; None where there are none."""
    if isinstance(value, np.ndarray):
        return value.dtype.names
    if type(value) in _NUMBERS or isinstance(value, list | tuple):
        return None
    found = getattr(value, "colnames", None)  # astropy
    if found is None:
        found = getattr(value, "columns", None)
    if found is None and hasattr(value, "iloc"):  # a row of pandas
        found = value.index
    if found is None or isinstance(found, np.ndarray) or callable(found):
        return None
    names = tuple(found)
    return names if any(isinstance(name, str) for name in names) else None


def by_name(name: str, value: Any, columns: tuple[str, ...]) -> Any:
    """The columns of a table in this order, as an array; what is no table as it is."""
    known = columns_of(value)
    if known is None:
        return value
    if not set(columns) <= set(known):
        raise ValueError(
            f"{name} must have columns {', '.join(columns)}, or be an array of them in this "
            f"order, got columns {', '.join(map(str, known))}"
        )
    parts = []
    for column in columns:
        part = open_array(f"{name}[{column!r}]", value[column])
        refuse_mask(f"{name}[{column!r}]", part)
        parts.append(part.values)
    if parts[0].ndim > 1:
        raise ValueError(f"{name} must have each column once, got columns {', '.join(known)}")
    return np.stack(parts, axis=-1)
