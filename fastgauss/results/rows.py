"""The arrays of a result, one row for each spot: rows taken, joined and scattered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..kernels.numeric.packed_cholesky import packed as packed_index


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
    at_bound: np.ndarray | None = None  # (n, P), whether a parameter is on a bound; None: none is
    errors: np.ndarray | None = None  # (n, P), where squares of some leave the range of float64
    ids: np.ndarray | None = None  # (n,), of selected rows; None: 0, 1, 2, ...
    flux_errors: np.ndarray | None = None  # (n,), of a file that has no covariances

    def standard_errors(self) -> np.ndarray:
        """Standard errors of the parameters, (n, P)."""
        return roots(self.packed, self.params.shape[1]) if self.errors is None else self.errors

    def held(self) -> np.ndarray:
        """Which parameters are on a bound, (n, P)."""
        return np.zeros(self.params.shape, bool) if self.at_bound is None else self.at_bound

    def numbers(self) -> np.ndarray:
        """The number of each row in the result that the fit returned, (n,)."""
        return np.arange(len(self.params)) if self.ids is None else self.ids

    def take(self, index: Any) -> Rows:
        """The rows that an index of numpy selects."""
        return Rows(*(None if column is None else column[index] for column in self))  # type: ignore[arg-type]

    def select(self, index: Any) -> Rows:
        """As ``take``, of a slice or an array (k,); the rows keep their numbers."""
        taken = self.take(index)
        if self.ids is not None:
            return taken
        count = len(self.params)
        if isinstance(index, slice):
            ids = np.arange(*index.indices(count))
        elif index.dtype == bool:
            ids = np.flatnonzero(index)
        else:
            ids = np.where(index < 0, index + count, index).astype(np.intp)
        return taken._replace(ids=ids)

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
        scattered = Rows(*columns)._replace(ids=None)  # type: ignore[arg-type]
        others = np.ones(count, bool)
        others[index] = False
        scattered.status[others] = status
        return scattered


def roots(packed: np.ndarray, size: int) -> np.ndarray:
    """Standard errors from packed covariances, (n, P)."""
    i = np.arange(size)
    return np.sqrt(packed[:, packed_index(i, i)])


def join(several: Sequence[Rows]) -> Rows:
    """The rows of several results, one after the other; frames only where all have them.

    Rows keep their numbers if these are all different; else they are numbered anew.
    """
    *known, frames, held, own, numbers, _ = zip(*several, strict=True)
    joined = [np.concatenate(column) for column in known]
    together = None if any(f is None for f in frames) else np.concatenate(frames)
    at_bound = None
    if any(part is not None for part in held):
        at_bound = np.concatenate([rows.held() for rows in several])
    errors = None
    if any(part is not None for part in own):
        errors = np.concatenate([rows.standard_errors() for rows in several])
    ids = None
    if any(part is not None for part in numbers):
        ids = np.concatenate([rows.numbers() for rows in several])
        if len(np.unique(ids)) < len(ids):
            ids = None
    return Rows(*joined)._replace(frames=together, at_bound=at_bound, errors=errors, ids=ids)
