"""Words of messages: values as they were written, and nouns after numbers."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

_MOST, _DEPTH = 60, 4  # letters of a value, and containers in containers


def rounded(value: float, digits: int) -> str:
    """A number rounded to some digits, as people write it: 170, not 1.7e+02."""
    return f"{float(f'{value:.{digits}g}'):.12g}"


def plural(count: int, noun: str) -> str:
    """A number and its noun: "1 spot", "2 spots", "3 boxes", "4 entries", "2 axes".

    Examples
    --------
    >>> plural(1, "spot"), plural(0, "spot"), plural(3, "entry"), plural(2, "axis")
    ('1 spot', '0 spots', '3 entries', '2 axes')
    """
    if count == 1:
        return f"1 {noun}"
    if noun.endswith("is"):
        return f"{count} {noun[:-2]}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{count} {noun[:-1]}ies"
    return f"{count} {noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


def ended(count: int, message: str) -> str:
    """How the fit of ``count`` things ended; without any there is nothing to fit."""
    return message if count else "nothing to fit"


def of_file(value: Any) -> str:
    """The advice of a message where a file's name was given in place of numbers; else nothing."""
    one = value[()] if isinstance(value, np.ndarray) and not value.ndim else value
    named = isinstance(one, (str, os.PathLike))
    return ": a file has to be read first, as by np.loadtxt or tifffile.imread" if named else ""


def dimensions(ndim: int, shape: tuple[int, ...]) -> str:
    """How many axes an array has, and its shape."""
    return f"{ndim} (shape {shape})" if ndim else "a single number"


def shown(value: Any) -> str:
    """A value as a user writes it, in one short line, without numpy's names of scalars and arrays.

    Examples
    --------
    >>> import numpy as np
    >>> shown(np.float64(1.5)), shown((np.int64(2), "a")), shown(np.array([1.0, 2.0]))
    ('1.5', "(2, 'a')", '[1.0, 2.0]')
    >>> shown(np.zeros((300, 4)))
    'an array of shape (300, 4)'
    """
    text = repr(_plain(value))
    return text if len(text) <= _MOST else f"{text[: _MOST - 3]}..."


class _Text(str):
    """Words that stand in a message without quotation marks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _plain(value: Any, depth: int = _DEPTH) -> Any:
    """Numbers and containers of Python in the place of those of numpy."""
    kind = type(value)
    if isinstance(value, np.generic) and not isinstance(value, np.void):
        return value.item()
    if kind is np.ndarray:
        short = value.ndim <= 1 and value.size <= 4 and value.dtype.kind in "biufUS"
        return value.tolist() if short else _Text(f"an array of shape {value.shape}")
    if kind in (list, tuple) and depth and len(value) <= _MOST:
        return kind(_plain(entry, depth - 1) for entry in value)
    if kind is dict and depth and len(value) <= _MOST:
        return {key: _plain(entry, depth - 1) for key, entry in value.items()}
    return value
