"""Chunks of dask arrays: options divided like their rows, and trees of sums.

dask is imported when a function here is called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base import check
from ..base.duck_arrays import library_of


def is_dask(value: Any) -> bool:
    """Whether a value is a dask collection."""
    return hasattr(value, "__dask_graph__")


def as_array(value: Any) -> Any:
    """An option that is an array: a dask array as it is, others as numpy arrays; None stays."""
    if library_of(value) == "xarray":
        value = value.data
    return value if value is None or is_dask(value) else np.asarray(value)


def with_known_chunks(name: str, array: Any) -> Any:
    """A dask array; raises if the lengths of its chunks are unknown."""
    if np.isnan(array.shape).any():
        raise ValueError(
            f"{name} must have chunks of known sizes: call compute_chunk_sizes() first"
        )
    return array


class Divided:
    """An option that is the same for all rows, or has rows that are divided into the same chunks.

    ``empty`` is the option for no rows.
    """

    def __init__(self, value: Any, per_row: bool, lengths: Sequence[int]) -> None:
        import dask.array as da

        self.per_row, lazy = per_row, is_dask(value)
        self.empty = value
        if lazy:
            rows = (0,) if per_row else value.shape[:1]
            self.empty = np.ones(rows + value.shape[1:], value.dtype)
        elif per_row:
            self.empty = value[:0]
        if per_row:
            chunks = (tuple(lengths), *((n,) for n in value.shape[1:]))
            value = value.rechunk(chunks) if lazy else da.from_array(value, chunks=chunks)
        self.value = value


def each(tree: Any, pick: Callable[[Any], Any], kind: type = Divided) -> Any:
    """Options, also within dicts and tuples, with each of one type replaced by its ``pick``."""
    if isinstance(tree, kind):
        return pick(tree)
    if isinstance(tree, dict):
        return {name: each(value, pick, kind) for name, value in tree.items()}
    if type(tree) is tuple:
        return tuple(each(value, pick, kind) for value in tree)
    return tree


def none_of(tree: Any) -> Any:
    """The options for no rows."""
    return each(tree, lambda option: option.empty)


@dataclass(frozen=True)
class _Slot:
    """Position of an option among the blocks of a task."""

    per_row: bool
    place: int


def per_chunk(work: Callable[[Any, int, Any], Any], rows: Any, options: Any) -> list[Any]:
    """Delayed results of ``work(chunk of rows, its first row, its options)``, one a chunk.

    If a chunk is made by a chain of single tasks, this chain becomes part of the task, so that no
    chunk is sent from one worker to another.
    """
    import dask
    import dask.array as da

    arrays: list[Any] = [rows]
    same: list[Any] = []

    def place(option: Divided) -> _Slot:
        held = arrays if option.per_row else same
        held.append(option.value)
        return _Slot(option.per_row, len(held) - 1)

    plan = each(options, place)

    def call(first: Any, *blocks: Any, same: list[Any]) -> Any:
        own = each(plan, lambda slot: (blocks if slot.per_row else same)[slot.place], _Slot)
        return work(blocks[0], int(first), own)

    firsts = np.cumsum((0, *rows.chunks[0]))  # known here, so that no task has to count rows
    sources: list[Any] = [da.core.ArrayValuesDep(rows.chunks[:1], firsts), ("row",)]
    for k, array in enumerate(arrays):
        sources += [array, ("row", *(f"array {k} axis {axis}" for axis in range(1, array.ndim)))]
    results = da.blockwise(
        call,
        ("row",),
        *sources,
        same=same,
        concatenate=True,
        align_arrays=False,
        dtype=object,
        meta=np.empty(0, object),
    )
    with dask.config.set({"optimization.fuse.active": True}):
        return list(results.to_delayed())


def _sum(parts: list[np.ndarray]) -> np.ndarray:
    """The sum of arrays, from left to right."""
    total = parts[0] + parts[1]
    for part in parts[2:]:
        total += part
    return total


def tree_sum(parts: list[Any], split_every: int) -> Any:
    """The sum of delayed arrays, ``split_every`` neighbours at a time."""
    from dask import delayed

    width = check.integer("split_every", split_every, at_least=2)
    add = delayed(_sum, pure=True)
    while len(parts) > 1:
        groups = [parts[k : k + width] for k in range(0, len(parts), width)]
        parts = [add(group) if len(group) > 1 else group[0] for group in groups]
    return parts[0]
