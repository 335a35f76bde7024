"""What jobs over dask arrays have in common: options divided like their rows, trees of sums.

dask is imported when a function is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from . import _check
from ._containers import library_of


def is_dask(value: Any) -> bool:
    """Whether a value is computed when asked for."""
    return hasattr(value, "__dask_graph__")


def as_array(value: Any) -> Any:
    """An option that is an array: dask's as it is, else numpy's; None stays."""
    if library_of(value) == "xarray":
        value = value.data
    return value if value is None or is_dask(value) else np.asarray(value)


def with_known_chunks(name: str, array: Any) -> Any:
    """A dask array, if it says how long its chunks are."""
    if np.isnan(array.shape).any():
        raise ValueError(
            f"{name} must have chunks of known sizes: call compute_chunk_sizes() first"
        )
    return array


def blocks(array: Any) -> list[Any]:
    """The blocks of an array that is divided along its first axis alone."""
    return list(array.to_delayed().ravel())


def spans(lengths: Sequence[int]) -> list[slice]:
    """The rows of each chunk."""
    return [slice(end - n, end) for end, n in zip(accumulate(lengths), lengths, strict=True)]


class Divided:
    """An option that is the same for all rows, or has rows that are divided like theirs.

    ``parts`` has what belongs to each chunk, and ``empty`` is the option of no rows.
    """

    def __init__(self, value: Any, per_row: bool, lengths: Sequence[int]) -> None:
        from dask import delayed

        lazy = is_dask(value)
        if per_row and lazy:
            chunks = (tuple(lengths), *((n,) for n in value.shape[1:]))
            self.parts = blocks(value.rechunk(chunks))
        elif per_row:
            self.parts = [value[rows] for rows in spans(lengths)]
        else:
            whole = delayed(value) if lazy or np.ndim(value) else value
            self.parts = [whole] * len(lengths)
        if lazy:
            rows = (0,) if per_row else value.shape[:1]
            self.empty = np.ones(rows + value.shape[1:], value.dtype)
        else:
            self.empty = value[:0] if per_row else value


def each(tree: Any, chunk: int | None = None) -> Any:
    """Options in dicts and pairs, with their part of a chunk, or of no rows, if `Divided`."""
    if isinstance(tree, Divided):
        return tree.empty if chunk is None else tree.parts[chunk]
    if isinstance(tree, dict):
        return {name: each(value, chunk) for name, value in tree.items()}
    if type(tree) is tuple:
        return tuple(each(value, chunk) for value in tree)
    return tree


def _sum(parts: list[np.ndarray]) -> np.ndarray:
    """The sum of arrays, from left to right."""
    total = parts[0] + parts[1]
    for part in parts[2:]:
        total += part
    return total


def tree_sum(parts: list[Any], split_every: int) -> Any:
    """The sum of delayed arrays, ``split_every`` neighbours at a time."""
    from dask import delayed

    width = _check.integer("split_every", split_every, at_least=2)
    add = delayed(_sum, pure=True)
    while len(parts) > 1:
        groups = [parts[k : k + width] for k in range(0, len(parts), width)]
        parts = [add(group) if len(group) > 1 else group[0] for group in groups]
    return parts[0]
