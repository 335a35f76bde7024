"""Checks of arguments: one wording for every error.

Each function returns the checked value or raises TypeError (wrong kind) or
ValueError (wrong value) with the argument's name, what was expected and what
came. Nothing here copies an array of real numbers.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from . import wording, wrappers


def plain_array(name: str, value: Any, unit: str = "") -> np.ndarray:
    """An array of any dtype, without a mask, which would be ignored, and without a unit.

    ``unit`` is that which quantities are converted to; without it they must have no dimension.
    """
    if type(value) is np.ndarray:
        return value
    contents = wrappers.open_array(name, value, unit)
    wrappers.refuse_mask(name, contents)
    return contents.values


def real_array(
    name: str,
    value: Any,
    ndim: int | Iterable[int] | None = None,
    *,
    columns: tuple[str, ...] = (),
    unit: str = "",
) -> np.ndarray:
    """An array of booleans, integers or floats, as it is; ``ndim`` one number or several.

    ``columns`` are the names of what stands along the last axis: tables are read by them.
    """
    if columns and (type(value) is not np.ndarray or value.dtype.names):
        value = wrappers.by_name(name, value, columns)
    array = plain_array(name, value, unit)
    if array.dtype.kind not in "biuf":
        got = f"dtype {array.dtype}" if array.ndim else wording.shown(array[()])
        raise TypeError(f"{name} must hold real numbers, got {got}{wording.of_file(value)}")
    if ndim is not None:
        allowed = (ndim,) if isinstance(ndim, int) else tuple(ndim)
        if array.ndim not in allowed:
            expected = " or ".join(map(str, allowed))
            noun = "dimension" if allowed == (1,) else "dimensions"
            got = wording.dimensions(array.ndim, array.shape)
            raise ValueError(f"{name} must have {expected} {noun}, got {got}")
    return array


def integer_array(name: str, value: Any, ndim: int) -> np.ndarray:
    """An array of integers, as it is."""
    array = real_array(name, value, ndim)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {array.dtype}")
    return array


def boolean_array(name: str, value: Any) -> np.ndarray:
    """An array of booleans that says where there are no data."""
    array = plain_array(name, value)
    if array.dtype != np.bool_:
        raise TypeError(f"{name} must be boolean, True where there are no data; got {array.dtype}")
    return array


def mask(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """An array of booleans of the image's shape."""
    array = boolean_array(name, value)
    if array.shape != shape:
        raise ValueError(f"{name} must have the image's shape {shape}, got {array.shape}")
    return array


def finite_array(
    name: str,
    value: Any,
    ndim: int | Iterable[int] | None = None,
    *,
    columns: tuple[str, ...] = (),
) -> np.ndarray:
    """A float64 array without NaN or infinity."""
    array = np.asarray(real_array(name, value, ndim, columns=columns), dtype=np.float64)
    finite = np.isfinite(array)
    if not finite.all():
        where = tuple(np.argwhere(~finite)[0].tolist())
        raise ValueError(f"{name} must be finite, got {array[where]} at index {where}")
    return array


def not_negative(name: str, array: np.ndarray) -> Any:
    """Refuse numbers below 0, infinity and NaN; the least number, or 1 if there is none."""
    least = array.min() if array.size else 1
    if not (least >= 0 and (not array.size or array.max() < np.inf)):
        at = tuple(np.argwhere(~((array >= 0) & (array < np.inf)))[0].tolist())
        raise ValueError(f"{name} must be finite and not negative, got {array[at]} at index {at}")
    return least


def axis_names(ndim: int) -> tuple[str, ...]:
    """Names of a picture's axes in array-axis order, (z,) y, x."""
    return ("z", "y", "x")[3 - ndim :] if ndim else ()


def column_names(value: Any) -> tuple[str, ...]:
    """Names of a table's columns, none for what is no table."""
    return wrappers.columns_of(value) or ()


def axes_named(value: Any) -> int:
    """How many axes a table of places has columns for; 0 for what is no table."""
    known = wrappers.columns_of(value) or ()
    return max((3 - "zyx".index(name) for name in known if name in ("z", "y", "x")), default=0)


def places(name: str, value: Any, ndim: int) -> np.ndarray:
    """Places (n, ndim) as they are; tables by the columns (z,) y, x; nothing is (0, ndim).

    Places along one axis may be (n,).
    """
    array = real_array(name, value, columns=axis_names(ndim))
    if array.shape == (0,) or (array.ndim == 1 and ndim == 1):
        array = array.reshape(-1, ndim)
    if array.ndim != 2 or array.shape[1] != ndim:
        raise ValueError(f"{name} must have shape (n, {ndim}), got {array.shape}")
    return array


def positions(value: Any, ndim: int) -> np.ndarray:
    """Places (n, ndim), finite, in double precision."""
    return finite_array("positions", places("positions", value, ndim))


def number(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    at_most: float = math.inf,
) -> float:
    """A finite real number in a range, also as an array without axes."""
    if not isinstance(value, (int, float)) and wrappers.is_array(value):
        array = plain_array(name, value)
        value = array[()] if array.ndim == 0 and array.dtype.kind in "iuf" else value
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        raise TypeError(f"{name} must be a real number, got {wording.shown(value)}")
    try:
        result = float(value)
    except OverflowError:  # an integer of more than 308 digits
        result = math.inf
    limits = [
        text
        for text, active in (
            (f"above {above:g}", above > -math.inf),
            (f"at least {at_least:g}", at_least > -math.inf),
            (f"at most {at_most:g}", at_most < math.inf),
        )
        if active
    ]
    if not (math.isfinite(result) and result > above and at_least <= result <= at_most):
        expected = " and ".join(["finite", *limits])
        raise ValueError(f"{name} must be {expected}, got {wording.shown(value)}")
    return result


def any_number(name: str, value: Any) -> float:
    """A real number, NaN and the infinities among them."""
    if isinstance(value, (float, np.floating)) and not math.isfinite(value):
        return float(value)
    return number(name, value)


_LARGEST = 2**63 - 1


def integer(name: str, value: Any, *, at_least: int = -_LARGEST, at_most: float = _LARGEST) -> int:
    """An integer, of numpy or of Python, not a bool; at most what 64 bits hold."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an integer, got {wording.shown(value)}")
    if not isinstance(value, int) and wrappers.is_array(value):
        array = plain_array(name, value)
        value = array[()] if array.ndim == 0 and array.dtype.kind in "iu" else value
    try:
        result = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {wording.shown(value)}") from None
    if result < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {wording.shown(result)}")
    if result > at_most:
        raise ValueError(f"{name} must be at most {at_most}, got {wording.shown(result)}")
    return result


def flag(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {wording.shown(value)}")
    return bool(value)


def text(name: str, value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {wording.shown(value)}")
    return value


def choice(name: str, value: Any, options: Iterable[str]) -> str:
    """One of a few words."""
    known = tuple(options)
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, one of {known}, got {wording.shown(value)}")
    if value not in known:
        raise ValueError(f"{name} must be one of {known}, got {wording.shown(value)}")
    return value


def entries(name: str, value: Any) -> list[Any] | None:
    """What a sequence or an array holds; None for one value alone."""
    if isinstance(value, list | tuple | range):
        return list(value)
    if not wrappers.is_array(value):
        return None
    array = plain_array(name, value)
    return list(array) if array.ndim else None


def per_axis(name: str, value: Any, ndim: int, **limits: float) -> tuple[float, ...]:
    """A number for each axis, from one number or a sequence of ``ndim``."""
    items = entries(name, value)
    if items is None:
        return (number(name, value, **limits),) * ndim
    if len(items) != ndim:
        several = f" or {ndim} numbers" if ndim > 1 else ""
        raise ValueError(f"{name} must be one number{several}, got {len(items)}")
    return tuple(number(f"{name}[{i}]", item, **limits) for i, item in enumerate(items))


def shape(name: str, value: Any, ndim: Iterable[int], one: bool = False) -> tuple[int, ...]:
    """A tuple of axis lengths; with ``one`` a number is the length of one axis."""
    given = entries(name, value)
    if given is None and one and not isinstance(value, Iterable):
        return (integer(name, value, at_least=0),)
    if given is None:
        if not isinstance(value, Iterable) or isinstance(value, str):
            raise TypeError(f"{name} must be a tuple of integers, got {wording.shown(value)}")
        given = list(value)
    lengths = tuple(integer(f"{name}[{i}]", n, at_least=0) for i, n in enumerate(given))
    allowed = tuple(ndim)
    if len(lengths) not in allowed:
        expected = " or ".join(map(str, allowed))
        noun = "axis" if allowed == (1,) else "axes"
        raise ValueError(f"{name} must have {expected} {noun}, got {lengths}")
    return lengths


_DOUBLE = (np.dtype(np.float64),)


def out_array(
    name: str, value: Any, shape: tuple[int, ...], dtypes: tuple[np.dtype, ...] = _DOUBLE
) -> np.ndarray:
    """The memory of a writable array of exactly this shape and of one of these dtypes.

    A plain array, also of a subclass, whose ``reshape`` and indexing may mean something else: a
    matrix stays two-dimensional, whatever its shape is to be.
    """
    array = target(name, value)
    if array.dtype not in dtypes:
        expected = " or ".join(map(str, dtypes))
        raise TypeError(f"{name} must be of dtype {expected}, got {array.dtype.str}")
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if not array.flags.writeable:
        raise ValueError(f"{name} must be writable, got a read-only array")
    extent = array.itemsize if array.size else 0
    for step, n in sorted((abs(s), n) for s, n in zip(array.strides, array.shape, strict=True)):
        if n > 1 and step < extent:
            raise ValueError(f"{name} must not overlap itself, got strides {array.strides}")
        extent += max(n - 1, 0) * step
    return array


def target(name: str, value: Any) -> np.ndarray:
    """The memory of an array that is written to, as a plain array without a mask or a unit."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a numpy array, got {type(value).__name__}")
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain array, got a masked array")
    unit = getattr(value, "unit", getattr(value, "units", None))  # astropy's, unyt's
    if type(value) is not np.ndarray and unit is not None:
        raise TypeError(
            f"{name} must be a plain array, got a {type(value).__name__} with a unit; give its "
            "numbers, as a view of them: value.view(numpy.ndarray)"
        )
    return np.asarray(value)
