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


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def plain_array(name: str, value: Any) -> np.ndarray:
    """An array of any dtype, without a mask that nobody would look at."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain array, got a masked array; fill it with NaN")
    try:
        return np.asarray(value)
    except ValueError as error:  # ragged nested sequences
        raise ValueError(f"{name} must be an array of real numbers: {error}") from None


def real_array(name: str, value: Any, ndim: int | Iterable[int] | None = None) -> np.ndarray:
    """An array of booleans, integers or floats, as it is; ``ndim`` one number or several."""
    array = plain_array(name, value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    if ndim is not None:
        allowed = (ndim,) if isinstance(ndim, int) else tuple(ndim)
        if array.ndim not in allowed:
            expected = " or ".join(map(str, allowed))
            raise ValueError(
                f"{name} must have {expected} dimensions, got {array.ndim} (shape {array.shape})"
            )
    return array


def mask(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """An array of booleans of the image's shape."""
    array = plain_array(name, value)
    if array.dtype != np.bool_:
        raise TypeError(f"{name} must be an array of booleans, got dtype {array.dtype}")
    if array.shape != shape:
        raise ValueError(f"{name} must have the image's shape {shape}, got {array.shape}")
    return array


def finite_array(name: str, value: Any, ndim: int | Iterable[int] | None = None) -> np.ndarray:
    """A float64 array without NaN or infinity."""
    array = np.asarray(real_array(name, value, ndim), dtype=np.float64)
    finite = np.isfinite(array)
    if not finite.all():
        where = tuple(np.argwhere(~finite)[0].tolist())
        raise ValueError(f"{name} must be finite, got {array[where]} at index {where}")
    return array


def positions(value: Any, ndim: int) -> np.ndarray:
    """Places (n, ndim), finite."""
    array = finite_array("positions", value, 2)
    if array.shape[1] != ndim:
        raise ValueError(f"positions must have shape (n, {ndim}), got {array.shape}")
    return array


def number(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    at_most: float = math.inf,
) -> float:
    """A finite real number in a range, also as an array without axes."""
    if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "iuf":
        value = plain_array(name, value)[()]
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        raise TypeError(f"{name} must be a real number, got {_brief(value)}")
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
        raise ValueError(f"{name} must be {expected}, got {_brief(value)}")
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
        raise TypeError(f"{name} must be an integer, got {value!r}")
    try:
        result = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {_brief(value)}") from None
    if result < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {_brief(result)}")
    if result > at_most:
        raise ValueError(f"{name} must be at most {at_most}, got {_brief(result)}")
    return result


def flag(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {_brief(value)}")
    return bool(value)


def text(name: str, value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {_brief(value)}")
    return value


def choice(name: str, value: Any, options: Iterable[str]) -> str:
    """One of a few words."""
    known = tuple(options)
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, one of {known}, got {_brief(value)}")
    if value not in known:
        raise ValueError(f"{name} must be one of {known}, got {value!r}")
    return value


def per_axis(name: str, value: Any, ndim: int, **limits: float) -> tuple[float, ...]:
    """A number for each axis, from one number or a sequence of ``ndim``."""
    if np.ndim(value) == 0:
        return (number(name, value, **limits),) * ndim
    items = list(value)
    if len(items) != ndim:
        raise ValueError(f"{name} must be one number or {ndim} numbers, got {len(items)}")
    return tuple(number(f"{name}[{i}]", item, **limits) for i, item in enumerate(items))


def shape(name: str, value: Any, ndim: Iterable[int]) -> tuple[int, ...]:
    """A tuple of axis lengths."""
    try:
        lengths = tuple(integer(f"{name}[{i}]", n, at_least=0) for i, n in enumerate(value))
    except TypeError as error:
        if isinstance(value, Iterable):
            raise
        raise TypeError(f"{name} must be a tuple of integers, got {_brief(value)}") from error
    allowed = tuple(ndim)
    if len(lengths) not in allowed:
        expected = " or ".join(map(str, allowed))
        raise ValueError(f"{name} must have {expected} axes, got {lengths}")
    return lengths


_DOUBLE = (np.dtype(np.float64),)


def out_array(
    name: str, value: Any, shape: tuple[int, ...], dtypes: tuple[np.dtype, ...] = _DOUBLE
) -> np.ndarray:
    """A writable array of exactly this shape and of one of these dtypes."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a numpy array, got {type(value).__name__}")
    if value.dtype not in dtypes:
        expected = " or ".join(map(str, dtypes))
        raise TypeError(f"{name} must be of dtype {expected}, got {value.dtype.str}")
    if value.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {value.shape}")
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain array, got a masked array")
    if not value.flags.writeable:
        raise ValueError(f"{name} must be writable, got a read-only array")
    extent = value.itemsize if value.size else 0
    for step, n in sorted((abs(s), n) for s, n in zip(value.strides, value.shape, strict=True)):
        if n > 1 and step < extent:
            raise ValueError(f"{name} must not overlap itself, got strides {value.strides}")
        extent += max(n - 1, 0) * step
    return value
