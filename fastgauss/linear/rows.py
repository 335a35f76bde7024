"""Rows of an array and the sums of their fits, for `fit_lines` and `level`.

The mathematics is explained in ``kernels/linear/row_polynomials.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base import check, image_data, thread_pool, wording
from ..base.named_axes import transposed_like
from ..kernels.linear import row_polynomials as kernels
from ..kernels.simd.lane_types import WIDTH

_CHUNK = 1 << 19  # numbers that a task takes
_COPIED = 1 << 16  # the same where rows must be copied
_LEAST_ROWS = 16  # rows of a copy: those that share cache lines


class Rows:
    """Data as rows along an axis, read in blocks."""

    def __init__(self, array: np.ndarray, axis: int) -> None:
        self.view = np.moveaxis(array, axis, -1)
        self.n = self.view.shape[-1]
        self.lead = self.view.shape[:-1]
        self.count = math.prod(self.lead)
        self.straight = self.view.flags.c_contiguous
        if self.straight:
            self.flat = self.view.reshape(self.count, self.n)

    @property
    def chunk(self) -> int:
        """Number of rows of a task."""
        if self.straight:
            return max(1, _CHUNK // max(1, self.n))
        return max(_LEAST_ROWS, _COPIED // max(1, self.n))

    def block(self, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop) with contiguous numbers, copied only if they are not contiguous."""
        if self.straight:
            return self.flat[start:stop]
        if len(self.lead) == 1:
            return self.view[start:stop]
        return self.view[np.unravel_index(np.arange(start, stop), self.lead)]

    def put(self, start: int, stop: int, rows: np.ndarray) -> None:
        """Write rows [start, stop) of an array whose rows are not contiguous."""
        if len(self.lead) == 1:
            self.view[start:stop] = rows
        else:
            self.view[np.unravel_index(np.arange(start, stop), self.lead)] = rows


def _known(block: np.ndarray) -> np.ndarray:
    """A block as the kernels read it: float32 or float64, rows contiguous."""
    kind = np.float32 if block.dtype.kind == "f" and block.dtype.itemsize <= 4 else np.float64
    return np.ascontiguousarray(block, dtype=kind)


@dataclass(frozen=True)
class Problem:
    """The checked arguments of a fit."""

    rows: Rows
    weights: np.ndarray | None  # (n,), the same for all rows
    row_weights: Rows | None  # or different for each row
    mask: Rows | None
    x: np.ndarray  # abscissae in [-1, 1], padded to whole registers
    middle: float  # the original x = middle + half * x
    half: float
    order: int

    @property
    def common(self) -> bool:
        """Whether rows differ only in their data."""
        return self.row_weights is None and self.mask is None

    def own_weights(self, start: int, stop: int) -> tuple[np.ndarray, bool]:
        """Weights of rows [start, stop), or of all; 0 under the mask."""
        if self.common:
            return (np.ones(self.rows.n) if self.weights is None else self.weights), False
        if self.row_weights is not None:
            weights = np.array(self.row_weights.block(start, stop), dtype=np.float64)
        else:
            shared = 1.0 if self.weights is None else self.weights
            weights = np.empty((stop - start, self.rows.n))
            weights[:] = shared
        if self.mask is not None:
            weights[self.mask.block(start, stop)] = 0.0
        return weights.reshape(-1), True


def make_problem(y: Any, x: Any, axis: Any, weights: Any, mask: Any, order: Any) -> Problem:
    mask, weights = transposed_like(mask, y), transposed_like(weights, y)
    y, mask, weights, _ = image_data.measured("y", y, mask, weights)
    data = check.real_array("y", y)
    if not data.ndim:
        raise ValueError("y must have 1 dimension or more, got a number")
    along = check.integer("axis", axis)
    if not -data.ndim <= along < data.ndim:
        raise ValueError(f"axis must be one of {wording.plural(data.ndim, 'axis')}, got {along}")
    degree = check.integer("order", order, at_least=0)
    if degree > kernels.MOST_ORDER:
        raise ValueError(f"order must be at most {kernels.MOST_ORDER}, got {degree}")
    n = data.shape[along]
    places = np.arange(float(n)) if x is None else check.finite_array("x", x, 1)
    if places.shape != (n,):
        raise ValueError(f"x must have shape ({n},), the length of the axis, got {places.shape}")
    low, high = (places.min(), places.max()) if n else (0.0, 0.0)
    middle = 0.5 * low + 0.5 * high
    half = (0.5 * high - 0.5 * low) or 1.0
    filled = np.zeros(-(-n // WIDTH) * WIDTH)
    filled[:n] = (places - middle) / half
    shared, own = _weights(weights, data.shape, along)
    hidden = None
    if mask is not None:
        array = check.boolean_array("mask", mask)
        if array.shape != data.shape:
            raise ValueError(f"mask must have shape {data.shape}, got {array.shape}")
        hidden = Rows(array, along)
    return Problem(
        Rows(data, along), shared, own, hidden, filled, float(middle), float(half), degree
    )


def _weights(value: Any, shape: tuple[int, ...], axis: int) -> tuple[Any, Any]:
    """Weights (n,) of all rows, or weights of each row."""
    if value is None:
        return None, None
    array = check.real_array("weights", value)
    if array.shape not in ((shape[axis],), shape):
        raise ValueError(f"weights must have shape ({shape[axis]},) or {shape}, got {array.shape}")
    check.not_negative("weights", array)
    if array.ndim == 1:
        return np.asarray(array, dtype=np.float64), None
    return None, Rows(array, axis)


@dataclass(frozen=True)
class Sums:
    """Results of the kernels for each row, in the polynomials p_k of the recurrence."""

    alphas: np.ndarray  # (rows, order + 1)
    betas: np.ndarray
    norms: np.ndarray
    coefficients: np.ndarray
    squares: np.ndarray  # (rows,)
    counts: np.ndarray
    alike: np.ndarray  # whether a row has the common polynomials


def _empty_sums(rows: int, order: int) -> Sums:
    a, b, g, c = (np.empty((rows, order + 1)) for _ in range(4))
    return Sums(a, b, g, c, np.empty(rows), np.empty(rows, np.int64), np.empty(rows, np.bool_))


def _fit_own(problem: Problem, block: np.ndarray, weights: Any, sums: Sums, at: slice) -> None:
    """Fit rows with their own weights or missing numbers."""
    scratch = np.empty(5 * len(problem.x))
    where, per_row = weights
    fits = (
        sums.alphas[at], sums.betas[at], sums.norms[at], sums.coefficients[at],
        sums.squares[at], sums.counts[at],
    )  # fmt: skip
    kernels.fit_own(
        block.reshape(-1), where, per_row, problem.x, problem.rows.n, problem.order, scratch,
        fits, 0, at.stop - at.start,
    )  # fmt: skip


def _table(problem: Problem) -> tuple[np.ndarray, Sums] | None:
    """Orthonormal polynomials of common abscissae, and their recurrence; None if too few."""
    own = _empty_sums(1, problem.order)
    n, size = problem.rows.n, len(problem.x)
    zeros = np.zeros(n)
    _fit_own(problem, zeros, problem.own_weights(0, 1), own, slice(0, 1))
    if np.isnan(own.norms).any():
        return None
    table = np.zeros((2 * problem.order + 3, size))
    table[-1, :n] = problem.own_weights(0, 1)[0]
    now, before = np.ones(size), np.zeros(size)
    for k in range(problem.order + 1):
        table[k, :n] = now[:n] / math.sqrt(own.norms[0, k])
        table[problem.order + 1 + k] = table[k] * table[-1]
        now, before = (problem.x - own.alphas[0, k]) * now - own.betas[0, k] * before, now
    return table, own


def fit(problem: Problem, out: Rows | None, threads: int | None) -> Sums:
    """Fit all rows; residuals of rows with the common polynomials are written to ``out``."""
    rows, order = problem.rows, problem.order
    sums = _empty_sums(rows.count, order)
    found = _table(problem) if problem.common and rows.count else None
    if found is not None:
        table, own = found
        sums.alphas[:], sums.betas[:], sums.norms[:] = own.alphas, own.betas, own.norms
        sums.counts[:] = own.counts
        roots = np.sqrt(own.norms)
        kernel = kernels.make_fit_common(order, out is not None)

    def task(start: int, stop: int) -> None:
        at = slice(start, stop)
        block = _known(rows.block(start, stop))
        result = _target(out, block, at)
        if found is None:
            bad = np.ones(stop - start, dtype=bool)
        else:
            kernel(
                block.reshape(-1), rows.n, table.reshape(-1), len(problem.x),
                sums.coefficients[at], sums.squares[at], result.reshape(-1), 0, stop - start,
            )  # fmt: skip
            sums.coefficients[at] /= roots
            bad = ~np.isfinite(sums.squares[at])
        sums.alike[at] = ~bad
        if found is None:
            _fit_own(problem, block, problem.own_weights(start, stop), sums, at)
        elif bad.any():
            _fit_some(problem, block, sums, start, np.flatnonzero(bad))
        if out is not None:
            if bad.any():
                _subtract(problem, block, sums, start, np.flatnonzero(bad), result)
            if not out.straight:
                out.put(start, stop, result)

    thread_pool.run(lambda: task, rows.count, rows.chunk, threads)
    return sums


def _fit_some(
    problem: Problem, block: np.ndarray, sums: Sums, start: int, which: np.ndarray
) -> None:
    """Fit the rows of a block that have missing numbers; weights are those of all rows."""
    own = _empty_sums(len(which), problem.order)
    _fit_own(problem, block[which], problem.own_weights(0, 0), own, slice(0, len(which)))
    for name in ("alphas", "betas", "norms", "coefficients", "squares", "counts"):
        getattr(sums, name)[start + which] = getattr(own, name)


def _target(out: Rows | None, block: np.ndarray, at: slice) -> np.ndarray:
    """Memory for the residuals of a block."""
    if out is None:
        return np.empty((0, 0), dtype=block.dtype)
    if out.straight:
        return out.flat[at]
    return np.empty_like(block)


def _subtract(
    problem: Problem,
    block: np.ndarray,
    sums: Sums,
    start: int,
    which: np.ndarray,
    result: np.ndarray,
) -> None:
    """Subtract from some rows of a block the polynomials that were fitted to them."""
    with np.errstate(invalid="ignore", over="ignore"):  # rows that could not be fitted
        basis = matrices(sums, start + which)
        coefficients = (sums.coefficients[start + which, np.newaxis] @ basis)[:, 0]
    part = block[which]
    levelled = np.empty_like(part)
    flat, n = part.reshape(-1), problem.rows.n
    kernels.subtract(flat, n, problem.x, coefficients, levelled.reshape(-1), 0, len(which))
    result[which] = levelled


def matrices(sums: Sums, at: slice | np.ndarray) -> np.ndarray:
    """Coefficients (rows, k, j) of u**j in p_k."""
    alphas, betas = sums.alphas[at], sums.betas[at]
    rows, terms = alphas.shape
    matrices = np.zeros((rows, terms, terms))
    matrices[:, 0, 0] = 1.0
    for k in range(terms - 1):
        matrices[:, k + 1, 1:] = matrices[:, k, :-1]
        matrices[:, k + 1] -= alphas[:, k, np.newaxis] * matrices[:, k]
        if k:
            matrices[:, k + 1] -= betas[:, k, np.newaxis] * matrices[:, k - 1]
    return matrices


def shift_of(problem: Problem) -> np.ndarray:
    """Coefficients (j, i) of x**i in u**j."""
    terms = problem.order + 1
    shift = np.zeros((terms, terms))
    for j in range(terms):
        for i in range(j + 1):
            shift[j, i] = math.comb(j, i) * (-problem.middle) ** (j - i) / problem.half**j
    return shift
