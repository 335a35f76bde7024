"""Statistics by bin, and histograms on regular axes of one to three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, thread_pool
from ..base.data_frames import data_frame
from ..kernels.sums import binning as kernels
from . import schedule
from .bin_edges import Edges, make_edges, read_axes
from .bounds import MODES, check_bounds

if TYPE_CHECKING:
    import pandas as pd

_BATCH = 1 << 18  # points whose bins are kept at a time
_CHUNK = 1 << 15
_ABOUT = {
    "count": ("", "number of values"),
    "sum": ("value", "sum of the values, times their weights"),
    "mean": ("value", "sum / sum of weights"),
    "variance": ("value^2", "mean squared deviation from the mean"),
    "min": ("value", "smallest value"),
    "max": ("value", "largest value"),
}


class BinStatistics(NamedTuple):
    """The result of `bin_statistics`: arrays (size,), one element a bin.

    Attributes
    ----------
    count, sum, mean, variance, min, max : array (size,)
        See `bin_statistics`, also for their dtypes and for bins without values.

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

    def to_dataframe(self) -> pd.DataFrame:
        """These columns as a pandas DataFrame, one row for each bin."""
        return data_frame(self._asdict(), _ABOUT)


def bin_statistics(
    indices: ArrayLike,
    values: ArrayLike,
    size: int,
    *,
    weights: ArrayLike | None = None,
    mode: str = "raise",
    threads: int | None = None,
) -> BinStatistics:
    """Count, sum, mean, variance, smallest and largest of the values in each bin.

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
        The meaning of an index outside the bins; see `add_at`.
    threads : int, optional
        Largest number of threads. The result has the same bits for any number.

    Returns
    -------
    BinStatistics
        A named tuple of arrays (size,): `count`, the number of values (with weights too); `sum` of
        weight times value; `mean`, the sum divided by the sum of weights; `variance` about the
        mean, divided by the sum of weights (ddof 0; multiply by count / (count - 1) for ddof 1);
        `min` and `max` of the values. Bins without values have NaN except for count and sum; NaN
        values give NaN.

        All except the count are float64, in which integers of up to 53 bits are exact. For values
        of dtype int64 or uint64, `min`, `max` and, without weights, `sum` have the dtype of the
        values and are exact (the sum modulo 2**64, as in numpy). These dtypes have no NaN: `min` of
        an empty bin is then the largest number of the dtype and `max` the smallest. Use ``count >
        0``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.
    IndexError
        If an index is outside under ``mode="raise"``.

    Notes
    -----
    One pass, with Welford's update, which is accurate also for values far from zero. Arrays that
    are not contiguous are copied.

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
    whole = _whole(n, numbers.dtype)
    if bins.size and n:
        work = _including(count, state, whole, numbers, heavy, weights is not None, place)
        schedule.sweep(work, bins, place, threads)
    found = _finished(count, state)
    if whole is None:
        return found
    total, least, greatest, _ = whole.T.copy()
    return found._replace(sum=total if weights is None else found.sum, min=least, max=greatest)


def _whole(n: int, dtype: np.dtype) -> np.ndarray | None:
    """Sums and limits of n bins of 64-bit integers, beyond float64; None for other values."""
    if dtype.kind not in "iu" or dtype.itemsize < 8:
        return None
    whole = np.zeros((n, 4), dtype)
    whole[:, kernels.LOW] = np.iinfo(dtype).max
    whole[:, kernels.HIGH] = np.iinfo(dtype).min
    return whole


def _including(
    count: np.ndarray,
    state: np.ndarray,
    whole: np.ndarray | None,
    values: np.ndarray,
    weights: np.ndarray,
    weighted: bool,
    place: str,
) -> schedule.Work:
    exact = whole is not None
    states = state if whole is None else (state, whole)
    direct = kernels.make_statistics(place, weighted, exact)

    def own(
        bins: np.ndarray, low: int, high: int, together: bool, scratch: schedule.Scratch
    ) -> None:
        kernel = kernels.make_own_statistics(place, weighted, together, exact)
        kernel(count, states, bins, values, weights, low, high, *scratch)

    return schedule.Work(
        len(count),
        count.nbytes + state.nbytes + (0 if whole is None else whole.nbytes),
        lambda bins, start, stop: direct(count, states, bins, values, weights, start, stop),
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
    """Indices (n,) of a dtype that kernels read, side by side in memory."""
    array = check.plain_array("indices", indices)
    if not array.size and not isinstance(indices, np.ndarray):
        array = array.astype(np.int64)  # an empty list is float64
    if array.ndim != 1:
        raise ValueError(f"indices must have 1 dimension, got {array.ndim} (shape {array.shape})")
    if array.dtype.kind not in "iu":
        raise TypeError(f"indices must hold integers, got dtype {array.dtype}")
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    return array.view(np.int64) if array.dtype == np.uint64 else array


def _like(bins: np.ndarray, name: str, value: ArrayLike) -> np.ndarray:
    """Real numbers (n,), one for each index, side by side in memory."""
    array = check.real_array(name, value)
    if array.shape != bins.shape:
        raise ValueError(f"{name} must have shape {bins.shape}, got {array.shape}")
    return np.ascontiguousarray(_readable(array))


def _readable(array: np.ndarray) -> np.ndarray:
    """The array in the machine's byte order, as float64 if the kernels do not know its dtype."""
    if array.dtype == bool:
        return array.view(np.uint8)
    kind = np.float64 if array.dtype.char in "eg" else array.dtype.newbyteorder("=")
    return array.astype(kind, copy=False)


def histogram(
    coords: Any,
    bins: Any = 10,
    range: Sequence[Any] | None = None,
    weights: ArrayLike | None = None,
    *,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Histogram of points, in one to three dimensions, as numpy.histogram and histogramdd.

    Parameters
    ----------
    coords : array (n,) or (n, d), or tuple of d arrays (n,)
        Points of any real dtype: an array with one point in each row, or a tuple with an array for
        each axis. A list of lists is read as either if only one is possible, and else refused.
    bins : int, sequence of d ints, edges, or sequence of d of these
        Number of bins of each axis, or their edges, which must not decrease. For one axis a
        sequence of two or more numbers is edges.
    range : pair of float, or sequence of d pairs, optional
        First and last edge of each axis. One pair is for all axes; None is the smallest and the
        largest coordinate. Ignored if edges are given.
    weights : array (n,), optional
        Weight of each point, a real number.
    out : array, optional
        Array of the histogram's shape and of dtype int64 (without weights) or float64. Counts are
        added to it, so that a larger set can be counted chunk by chunk. Coordinates and weights
        that share its memory are copied first.
    threads : int, optional
        Largest number of threads. The result has the same bits for any number.

    Returns
    -------
    counts : array
        int64, or float64 sums of weights; `out` if it was given.
    edges : tuple of d arrays
        Edges of the bins: the given ones, or ``numpy.linspace`` of the range.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    Notes
    -----
    A bin contains its lower edge and not its upper one; the last bin of an axis contains both.
    Points are compared with the edges themselves, in double precision, so that they get the same
    bins as in numpy. Coordinates (n,) are binned as by numpy.histogram, whose edges have the dtype
    of float32 coordinates; (n, 1) and all others as by numpy.histogramdd, whose edges are float64.
    Points outside and NaN are not counted. numpy.histogramdd counts in float64; here counts are
    integers. With evenly spaced edges, also given ones, finding a bin costs one multiplication;
    with others it costs a search by numpy.

    Examples
    --------
    >>> import fastgauss as fg
    >>> counts, (edges,) = fg.histogram([0.0, 0.5, 2.0, 7.0], 4, (0.0, 2.0))
    >>> counts, edges
    (array([1, 1, 0, 1]), array([0. , 0.5, 1. , 1.5, 2. ]))
    """
    given, flat = read_axes(coords, bins, range)
    axes = tuple(map(_readable, given))
    edges = make_edges(bins, range, given, flat)
    shape = tuple(edge.bins for edge in edges)
    dtype = np.dtype(np.int64 if weights is None else np.float64)
    if weights is None:
        heavy, kind = np.ones(1, dtype=np.int64), "scalar"
    else:
        heavy, kind = _like(axes[0], "weights", weights), "value"
    thread_pool.resolve_threads(threads)
    sums = np.zeros(shape, dtype) if out is None else check.out_array("out", out, shape, (dtype,))
    axes = tuple(axis.copy() if np.may_share_memory(axis, sums) else axis for axis in axes)
    own = sums if sums.flags.c_contiguous and sums.flags.aligned else np.zeros(shape, dtype)
    _count(axes, edges, heavy, kind, own.reshape(-1), threads)
    if own is not sums:
        sums += own
    return sums if out is None else out, tuple(edge.array for edge in edges)


def _count(
    axes: tuple[np.ndarray, ...],
    edges: Sequence[Edges],
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
                edge.refine(axis[begin + start : begin + stop], places)
            found[start:stop] = places

        thread_pool.run(lambda: task, count, _CHUNK, threads)
        part = weights if kind == "scalar" else weights[begin : begin + count]
        work = schedule.adding(flat, part, kind, "drop")
        schedule.sweep(work, found[:count], "drop", threads)
