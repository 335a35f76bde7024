"""The arrays of a result, one row for each spot: rows taken, joined and scattered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Rows(NamedTuple):
    """The columns of n fitted spots of P parameters."""

    params: np.ndarray  # (n, P)
    packed: np.ndarray  # (n, P (P + 1) / 2): lower triangles of the covariances, row by row
    objective: np.ndarray  # (n,)
    status: np.ndarray  # (n,) codes of Status
    iterations: np.ndarray  # (n,)
    pixels: np.ndarray  # (n,)
    dof: np.ndarray  # (n,)
    frames: np.ndarray | None = None  # (n,), of spots in a stack

    def take(self, index: Any) -> Rows:
        """The rows that an index of numpy selects."""
        return Rows(*(None if column is None else column[index] for column in self))  # type: ignore[arg-type]

    def scatter(self, index: np.ndarray, count: int, status: int) -> Rows:
        """``count`` rows: these at ``index``, the others NaN with this ``status``."""
        columns: list[np.ndarray | None] = []
        for column in self:
            if column is None:
                columns.append(None)
                continue
            fill = np.nan if column.dtype.kind == "f" else 0
            whole = np.full((count, *column.shape[1:]), fill, column.dtype)
            whole[index] = column
            columns.append(whole)
        scattered = Rows(*columns)  # type: ignore[arg-type]
        others = np.ones(count, bool)
        others[index] = False
        scattered.status[others] = status
        return scattered


def join(several: Sequence[Rows]) -> Rows:
    """The rows of several results, one after the other; frames only where all have them."""
    columns = list(zip(*several, strict=True))
    *known, frames = columns
    joined = [np.concatenate(column) for column in known]
    together = None if any(f is None for f in frames) else np.concatenate(frames)
    return Rows(*joined)._replace(frames=together)
