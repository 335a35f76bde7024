"""Statistics by bin, and histograms on regular axes of one to three dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, thread_pool
from ..kernels.sums import binning as kernels
from . import schedule
from .bounds import MODES, check_bounds

_BATCH = 1 << 18  # points whose bins are kept at a time
_CHUNK = 1 << 15


class BinStatistics(NamedTuple):
    """What `bin_statistics` returns: arrays (size,), one element a bin.

    Attributes
    ----------
    count, sum, mean, variance, min, max : array (size,)
        As in `bin_statistics`, which says what they are of a bin without values.

    Examples
    --------
    >>> import fastgauss as fg
    >>> count, total, *_ = fg.bin_statistics([0, 1, 1], [5.0, 2.0, 4.0], 2)
    >>> count, total
    (array([1, 2]), array([5., 6.]))
    """

    count: np.ndarray  # type: ignore[assignment]  # instead of tuple.count
    sum: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    min: np.ndarray
    max: np.ndarray


def bin_statistics(
    indices: ArrayLike,
    values: ArrayLike,
    size: int,
    *,
    weights: ArrayLike | None = None,
    mode: str = "raise",
    threads: int | None = None,
) -> BinStatistics:
    """Count, sum, mean, variance, least and greatest of the values that fall into each bin.

    Parameters
    ----------
    indices : array of int (n,)
        Bin of each value.
    values : array (n,)
        Real numbers.
    size : int
        Number of bins.
    weights : array (n,), optional
        Weights, not negative.
    mode : {"raise", "wrap", "clip", "drop"}
        What an index outside means; see `add_at`.
    threads : int, optional
        Threads at most. The result does not depend on it, to the bit.

    Returns
    -------
    BinStatistics
        A named tuple of arrays (size,): `count`, the number of values (weights or not); `sum` of
        weight times value; `mean`, that over the sum of weights; `variance` about the mean over
        the sum of weights (ddof 0; times count / (count - 1) for ddof 1); `min` and `max` of the
        values. Bins without values have NaN but for count and sum; NaN values make NaN.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.
    IndexError
        If an index is outside under ``mode="raise"``.

    Notes
    -----
    One pass, by Welford's update: as accurate for values far from zero as for others.

    References
    ----------
    West 1979, Communications of the ACM 22, 532.

    Examples
    --------
    >>> import fastgauss as fg
    >>> found = fg.bin_statistics([0, 2, 2], [5.0, 1.0, 4.0], 3)
    >>> found.count, found.mean
    (array([1, 0, 2]), array([5. , nan, 2.5]))
    """
    check.choice("mode", mode, MODES)
    bins = _integers(indices)
    numbers = _like(bins, "values", values)
    heavy = numbers if weights is None else _like(bins, "weights", weights)
    if weights is not None and heavy.size and not heavy.min() >= 0:
        raise ValueError("weights must not be negative or NaN")
    n = check.integer("size", size, at_least=0)
    thread_pool.resolve_threads(threads)
    place = check_bounds(bins, n, mode, threads)
    count = np.zeros(n, dtype=np.int64)
    state = np.empty((n, len(kernels.EMPTY)))
    state[:] = kernels.EMPTY
    if bins.size and n:
        work = _including(count, state, numbers, heavy, weights is not None, place)
        schedule.sweep(work, bins, place, threads)
    return _finished(count, state)


def _including(
    count: np.ndarray,
    state: np.ndarray,
    values: np.ndarray,
    weights: np.ndarray,
    weighted: bool,
    place: str,
) -> schedule.Work:
    direct = kernels.make_statistics(place, weighted)

    def own(
        bins: np.ndarray, low: int, high: int, together: bool, scratch: schedule.Scratch
    ) -> None:
        kernel = kernels.make_own_statistics(place, weighted, together)
        kernel(count, state, bins, values, weights, low, high, *scratch)

    return schedule.Work(
        len(count),
        count.nbytes + state.nbytes,
        lambda bins, start, stop: direct(count, state, bins, values, weights, start, stop),
        own,
        np.dtype(np.int64),
    )


def _finished(count: np.ndarray, state: np.ndarray) -> BinStatistics:
    weight = state[:, kernels.WEIGHT]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = state[:, kernels.SUM] / weight
        variance = state[:, kernels.SQUARES] / weight
    empty = count == 0
    least, greatest = state[:, kernels.LEAST].copy(), state[:, kernels.GREATEST].copy()
    least[empty] = greatest[empty] = np.nan
    return BinStatistics(count, state[:, kernels.SUM].copy(), mean, variance, least, greatest)


def _integers(indices: ArrayLike) -> np.ndarray:
    """Indices (n,) of a dtype that kernels read."""
    array = check.plain_array("indices", indices)
    if not array.size and not isinstance(indices, np.ndarray):
        array = array.astype(np.int64)  # an empty list
    if array.ndim != 1:
        raise ValueError(f"indices must have 1 dimension, got {array.ndim} (shape {array.shape})")
    if array.dtype.kind not in "iu":
        raise TypeError(f"indices must hold integers, got dtype {array.dtype}")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return array.view(np.int64) if array.dtype == np.uint64 else array


def _like(bins: np.ndarray, name: str, value: ArrayLike) -> np.ndarray:
    """Real numbers (n,), one for each index."""
    array = check.real_array(name, value)
    if array.shape != bins.shape:
        raise ValueError(f"{name} must have shape {bins.shape}, got {array.shape}")
    return _readable(array)


def _readable(array: np.ndarray) -> np.ndarray:
    """As it is, or in double precision if kernels do not know the dtype."""
    if array.dtype == bool:
        return array.view(np.uint8)
    known = array.dtype.isnative and array.dtype.char not in "eg"
    return array if known else array.astype(np.float64)


def histogram(
    coords: Any,
    bins: int | Sequence[int],
    range: Sequence[Any],
    weights: ArrayLike | None = None,
    *,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Histogram of points on regular axes, in one to three dimensions, as numpy.histogramdd.

    Parameters
    ----------
    coords : array (n,) or (n, d), or tuple of d arrays (n,)
        Points, of any real dtype: one a row of an array, or an array for each axis in a tuple.
    bins : int or sequence of d ints
        Number of bins of each axis.
    range : pair of float, or sequence of d pairs
        First and last edge of each axis. One pair serves all axes.
    weights : array (n,), optional
        Weight of each point, a real number.
    out : array, optional
        Of the histogram's shape and of dtype int64 (without weights) or float64: counts are
        added to it, so that chunks of a larger set may follow each other.
    threads : int, optional
        Threads at most. The result does not depend on it, to the bit.

    Returns
    -------
    counts : array
        int64, or float64 sums of weights; `out` if it was given.
    edges : tuple of d arrays
        Edges of the bins, ``numpy.linspace`` of the range.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    Notes
    -----
    A bin holds its lower edge and not its upper one; the last bin of an axis holds both. Every
    point is compared with the edges themselves, in double precision, so it falls into numpy's
    bin. Points outside and NaN are not counted. numpy.histogramdd counts in float64; here
    counts are integers.

    Examples
    --------
    >>> import fastgauss as fg
    >>> counts, (edges,) = fg.histogram([0.0, 0.5, 2.0, 7.0], 4, (0.0, 2.0))
    >>> counts, edges
    (array([1, 1, 0, 1]), array([0. , 0.5, 1. , 1.5, 2. ]))
    """
    axes = _axes(coords)
    edges = _edges(bins, range, len(axes))
    shape = tuple(len(edge) - 1 for edge in edges)
    dtype = np.dtype(np.int64 if weights is None else np.float64)
    if weights is None:
        heavy, kind = np.ones(1, dtype=np.int64), "scalar"
    else:
        heavy, kind = np.ascontiguousarray(_like(axes[0], "weights", weights)), "value"
    if out is None:
        out = np.zeros(shape, dtype=dtype)
    check.out_array("out", out, shape, (dtype,))
    flat = out.reshape(-1) if out.flags.c_contiguous else np.zeros(math.prod(shape), dtype=dtype)
    _count(axes, edges, heavy, kind, flat, threads)
    if not out.flags.c_contiguous:
        out += flat.reshape(shape)
    return out, edges


def _axes(coords: Any) -> tuple[np.ndarray, ...]:
    """Arrays (n,), one for each axis."""
    if isinstance(coords, tuple):
        axes = tuple(check.real_array(f"coords[{i}]", c, 1) for i, c in enumerate(coords))
        if len({len(axis) for axis in axes}) > 1:
            raise ValueError(f"coords must have equal lengths, got {[len(a) for a in axes]}")
    else:
        array = check.real_array("coords", coords, (1, 2))
        axes = (array,) if array.ndim == 1 else tuple(array.T)
    if not 1 <= len(axes) <= 3:
        raise ValueError(f"coords must have 1 to 3 axes, got {len(axes)}")
    return tuple(map(_readable, axes))


def _edges(bins: Any, limits: Any, ndim: int) -> tuple[np.ndarray, ...]:
    """Edges of each axis."""
    given = check.entries("bins", bins)
    numbers = [bins] * ndim if given is None else given
    if len(numbers) != ndim:
        raise ValueError(f"bins must be one integer or {ndim}, got {len(numbers)}")
    pairs = np.asarray(check.finite_array("range", limits))
    if pairs.shape not in ((2,), (ndim, 2)):
        raise ValueError(f"range must be a pair or {ndim} pairs, got shape {pairs.shape}")
    edges = []
    for axis, (low, high) in enumerate(np.broadcast_to(pairs, (ndim, 2)).tolist()):
        n = check.integer(f"bins[{axis}]", numbers[axis], at_least=1)
        if low > high:
            raise ValueError(f"range must not fall, got ({low}, {high}) for axis {axis}")
        half = 0.5 if low == high else 0.0  # as numpy
        edges.append(np.linspace(low - half, high + half, n + 1))
    return tuple(edges)


def _count(
    axes: tuple[np.ndarray, ...],
    edges: tuple[np.ndarray, ...],
    weights: np.ndarray,
    kind: str,
    flat: np.ndarray,
    threads: int | None,
) -> None:
    """Find the bins of a batch of points, then add."""
    n = len(axes[0])
    if np.may_share_memory(flat, weights):
        weights = weights.copy()
    found = np.empty(min(n, _BATCH), dtype=np.int64)
    for begin in np.arange(0, n, _BATCH).tolist():
        count = min(_BATCH, n - begin)

        def task(start: int, stop: int, begin: int = begin) -> None:
            places = np.zeros(stop - start)
            for axis, edge in zip(axes, edges, strict=True):
                part = axis[begin + start : begin + stop]
                kernels.locate(np.ascontiguousarray(part, dtype=np.float64), edge, places)
            found[start:stop] = places

        thread_pool.run(lambda: task, count, _CHUNK, threads)
        part = weights if kind == "scalar" else weights[begin : begin + count]
        work = schedule.adding(flat, part, kind, "drop")
        schedule.sweep(work, found[:count], "drop", threads)
