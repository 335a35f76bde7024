"""The edges of the bins of a histogram, and its coordinates, read as numpy reads them.

One-dimensional coordinates are read as numpy.histogram does: from a number of bins it makes edges
in the dtype of the coordinates, so that 0.1 in float32 lies on the edge 0.1. All others are read as
numpy.histogramdd does, whose edges are float64 unless the ends of the range have another dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..base import check, wording
from ..kernels.sums import binning as kernels

_EVEN = 0.25  # largest distance of an edge from its even place, in bins
_EXACT = 1 << 53  # smaller integers are exact in float64


class Edges(NamedTuple):
    """Edges of the bins of one axis."""

    array: np.ndarray  # as numpy has them
    plain: np.ndarray  # in float64
    uneven: float  # largest distance from an even place, in bins; infinite: search

    @property
    def bins(self) -> int:
        """Number of bins."""
        return len(self.array) - 1

    def refine(self, points: np.ndarray, places: np.ndarray) -> None:
        """Refine the bins of other axes by points on this axis: see ``kernels/sums/binning.py``."""
        if self.uneven < _EVEN:
            points = np.ascontiguousarray(points, dtype=np.float64)
            kernels.locate(points, self.plain, places, self.uneven)
            return
        inside = (points >= self.array[0]) & (points <= self.array[-1]) & (places >= 0.0)
        found = np.searchsorted(self.array, points, side="right") - 1
        found = np.minimum(found, self.bins - 1)
        places[...] = np.where(inside, places * self.bins + found, -1.0)


def _edges(array: np.ndarray) -> Edges:
    """Increasing edges, and how evenly they increase."""
    with np.errstate(all="ignore"):
        plain = np.ascontiguousarray(array, dtype=np.float64)
        even = (plain - plain[0]) * kernels.scale_of(plain)
        uneven = float(np.abs(even - np.arange(len(plain))).max())
    exact = array.dtype.kind == "f" and array.itemsize <= 8
    if not (exact or np.abs(plain).max() < _EXACT) or not np.isfinite(uneven):
        uneven = np.inf
    return Edges(array, plain, uneven)


# -- coordinates -------------------------------------------------------------------------------


def read_axes(coords: Any, bins: Any, limits: Any) -> tuple[tuple[np.ndarray, ...], bool]:
    """Arrays (n,), one for each axis, and whether the input was one array of one axis."""
    if isinstance(coords, list):
        coords = _of_list(coords, bins, limits)
    if isinstance(coords, tuple):
        axes = tuple(check.real_array(f"coords[{i}]", c, 1) for i, c in enumerate(coords))
        if len({len(axis) for axis in axes}) > 1:
            raise ValueError(f"coords must have equal lengths, got {[len(a) for a in axes]}")
        flat = False
    else:
        array = check.real_array("coords", coords, (1, 2))
        flat = array.ndim == 1
        axes = (array,) if flat else tuple(array.T)
    if not 1 <= len(axes) <= 3:
        raise ValueError(f"coords must have 1 to 3 axes, got {len(axes)}")
    return axes, flat


def _of_list(coords: list[Any], bins: Any, limits: Any) -> Any:
    """An array for a list of points, a tuple for a list of arrays, one for each axis.

    numpy.histogramdd reads every list as arrays of axes, but an array made of the same list as
    points; a list that could be both is refused.
    """
    try:
        shape = np.shape(coords)
    except (TypeError, ValueError):  # ragged or with units, which real_array refuses
        return tuple(coords)
    if len(shape) != 2:
        return coords
    wanted = {n for n in (_axes_of_bins(bins), _axes_of_range(limits)) if n} or {1, 2, 3}
    as_points, as_axes = shape[1] in wanted, shape[0] in wanted
    if as_points and as_axes:
        raise ValueError(
            f"coords as a list of {wording.plural(shape[0], 'list')} of {shape[1]} could be "
            f"{wording.plural(shape[0], 'point')} or "
            f"{shape[1]}; give an array (n, d) of points, or a tuple of d arrays"
        )
    return tuple(coords) if as_axes else coords


def _axes_of_bins(bins: Any) -> int:
    """Number of axes of a sequence of numbers of bins or of edges; 0 if it does not tell."""
    items = bins if isinstance(bins, (tuple, list, np.ndarray)) and _ndim(bins) else ()
    return len(items) if len(items) in (2, 3) else 0


def _axes_of_range(limits: Any) -> int:
    """Number of axes of a sequence of pairs; 0 if it does not tell."""
    items = limits if isinstance(limits, (tuple, list, np.ndarray)) and _ndim(limits) else ()
    return len(items) if all(map(_is_pair, items)) else 0


def _ndim(value: Any) -> int:
    """Number of axes of an array or of nested sequences; 1 if their lengths differ."""
    try:
        return np.ndim(value)
    except (TypeError, ValueError):  # also of numbers with units
        return 1


def _is_pair(item: Any) -> bool:
    return item is None or _ndim(item) == 1


# -- edges -------------------------------------------------------------------------------------


def make_edges(bins: Any, limits: Any, axes: Sequence[np.ndarray], flat: bool) -> list[Edges]:
    """Edges of each axis, from numbers of bins and ends of ranges, or as given."""
    each = _bins_of_axes(bins, len(axes))
    ends = _ends_of_axes(limits, len(axes))
    result = []
    for k, (axis, wanted, pair) in enumerate(zip(axes, each, ends, strict=True)):
        if _ndim(wanted):
            result.append(_given(f"bins[{k}]" if len(axes) > 1 else "bins", wanted, len(axes)))
            continue
        n = check.integer(f"bins[{k}]", wanted, at_least=1)
        first, last = _outer(pair, axis, k)
        dtype = _kind(np.result_type(first, last, axis.dtype)) if flat else None
        with np.errstate(over="ignore"):
            result.append(_edges(np.linspace(first, last, n + 1, dtype=dtype)))
    return result


def _kind(dtype: np.dtype) -> np.dtype:
    """Dtype of edges for numbers of a dtype; the kernels know none beyond float64."""
    narrow = dtype.kind == "f" and dtype.itemsize <= 8
    return dtype if narrow else np.dtype(np.float64)


def _bins_of_axes(bins: Any, ndim: int) -> list[Any]:
    """A number of bins, or edges, for each axis."""
    if isinstance(bins, str):
        raise TypeError(f"bins must be integers or edges, got {wording.shown(bins)}")
    items = check.entries("bins", bins)
    if items is None:
        return [bins] * ndim
    if ndim == 1 and len(items) > 1 and not any(map(_ndim, items)):
        return [bins]
    if len(items) != ndim:
        counts = "an integer" if ndim == 1 else f"one integer or {ndim}"
        raise ValueError(f"bins must be {counts}, or edges, got {len(items)}")
    return items


def _pairs(ndim: int) -> str:
    return "a pair" if ndim == 1 else f"a pair or {ndim} pairs"


def _ends_of_axes(limits: Any, ndim: int) -> list[Any]:
    """A pair for each axis, or None for the range of the data."""
    if limits is None:
        return [None] * ndim
    items = check.entries("range", limits)
    if items is None:
        raise TypeError(f"range must be {_pairs(ndim)}, got {wording.shown(limits)}")
    if len(items) == 2 and not any(map(_is_pair, items)):
        items = [items] * ndim
    if len(items) != ndim or not all(map(_is_pair, items)):
        raise ValueError(f"range must be {_pairs(ndim)}, got {wording.shown(limits)}")
    return items


def _outer(pair: Any, axis: np.ndarray, k: int) -> tuple[Any, Any]:
    """First and last edge, in their given dtypes."""
    if pair is None:
        first, last = (axis.min(), axis.max()) if axis.size else (0, 1)
        if not (np.isfinite(first) and np.isfinite(last)):
            raise ValueError(
                f"range must be given where coords are not finite, got ({first}, {last}) for axis "
                f"{k}"
            )
    else:
        array = check.finite_array("range", pair)
        if array.shape != (2,):
            got = wording.shown(pair)
            raise ValueError(f"range must be a pair for each axis, got {got} for axis {k}")
        first, last = pair if isinstance(pair, tuple | list) else array
        if first > last:
            raise ValueError(f"range must not fall, got ({first}, {last}) for axis {k}")
    if first == last:
        return first - 0.5, last + 0.5  # as numpy
    return first, last


def _given(name: str, value: Any, ndim: int) -> Edges:
    """Check given edges: they must not decrease, and some must increase."""
    array = check.real_array(name, value, 1)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if len(array) < 2 or not (array[:-1] <= array[1:]).all() or not array[0] < array[-1]:
        counts = "an integer" if ndim == 1 else f"one integer or {ndim}"
        got = wording.shown(value)
        raise ValueError(f"bins must be {counts}, or two edges or more that grow, got {got}")
    return _edges(array)
