"""Ranges of the parameters of peaks: what `fit_profile` is told by ``fixed`` and ``bounds``.

The parameters of a profile are amplitude, centre and sigma of k peaks, then the b coefficients of
its background, 3 k + b in all.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..base import check, wording
from .options import named_items

_OF_PEAKS = ("amplitude", "x", "sigma")
_LEAST_SIGMA = 1e-9  # of half the range of the points


class Limits(NamedTuple):
    """The ranges of the parameters of one profile; equal ends where a parameter is fixed."""

    lower: np.ndarray  # (3 k + b,)
    upper: np.ndarray

    @property
    def bounded(self) -> bool:
        """Whether a parameter has a limit."""
        return bool(np.isfinite(self.lower).any() or np.isfinite(self.upper).any())

    @property
    def free(self) -> np.ndarray:
        """Which parameters are not fixed, (3 k + b,)."""
        return self.lower < self.upper

    def of(self, peaks: list[int], count: int) -> Limits:
        """The limits of some of the ``count`` peaks, and of the background."""
        columns = [3 * k + i for k in peaks for i in range(3)]
        columns += range(3 * count, len(self.lower))
        return Limits(self.lower[columns], self.upper[columns])

    def kinds(self, peaks: list[int]) -> list[int]:
        """The first of those of these peaks whose ranges are the same."""
        known: dict[tuple[bytes, bytes], int] = {}
        for k in peaks:
            part = slice(3 * k, 3 * k + 3)
            known.setdefault((self.lower[part].tobytes(), self.upper[part].tobytes()), k)
        return list(known.values())

    def orders(self, one: int, other: int) -> list[tuple[int, int]]:
        """The orders of two peaks that differ by their ranges."""
        both = [(one, other), (other, one)]
        return both if len(self.kinds([one, other])) > 1 else both[:1]

    def scaled(self, count: int, size: Scale) -> Limits:
        """These limits of ``count`` peaks in the units of the fit; sigmas are positive."""
        terms = len(self.lower) - 3 * count
        shift = np.array([0.0, size.middle, 0.0] * count + [size.level, 0.0][:terms])
        unit = np.array(
            [size.height, size.half, size.half] * count
            + [size.height, size.height / size.half][:terms]
        )
        lower, upper = ((ends - shift) / unit for ends in self)
        sigmas = slice(2, 3 * count, 3)
        lower[sigmas] = np.maximum(lower[sigmas], np.minimum(_LEAST_SIGMA, upper[sigmas]))
        return Limits(lower, upper)


class Scale(NamedTuple):
    """The units of a fit: x = middle + half u, y = level + height v."""

    middle: float
    half: float
    level: float
    height: float


def read_limits(fixed: Any, bounds: Any, sizes: tuple[int, int, int]) -> np.ndarray:
    """Lower and upper limits (2, n, 3 k + b) of n profiles; ``sizes`` are n, k and b.

    The background of a profile is named ``offset`` if it is constant; of a line the ``slope`` has
    a limit.
    """
    n, count, terms = sizes
    names = (*_OF_PEAKS, "offset" if terms == 1 else "slope")
    held = named_items("fixed", fixed, names)
    ranges = named_items("bounds", bounds, names)
    limits = np.empty((2, n, 3 * count + terms))
    limits[0], limits[1] = -np.inf, np.inf
    for name, value in held.items():
        if name in ranges:
            raise ValueError(f"{name!r} must not be in both fixed and bounds")
        if value is None:
            raise TypeError(f"fixed[{name!r}] must be a number or an array, got None")
        place = f"fixed[{name!r}]"
        numbers = _numbers(place, value, sizes, name in _OF_PEAKS, np.nan)
        if not np.isfinite(numbers).all():
            raise ValueError(f"{place} must be finite, got {wording.shown(value)}")
        _put(limits, name, numbers, numbers, count)
    for name, pair in ranges.items():
        place = f"bounds[{name!r}]"
        if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
            raise ValueError(f"{place} must be a pair (lower, upper), got {wording.shown(pair)}")
        low, high = (
            _numbers(f"{place} {side}", end, sizes, name in _OF_PEAKS, missing)
            for side, end, missing in zip(
                ("lower", "upper"), pair, (-np.inf, np.inf), strict=True
            )
        )  # fmt: skip
        if not (low < high).all():
            raise ValueError(f"{place} must have lower < upper; use fixed= for one value")
        _put(limits, name, low, high, count)
    return limits


def _put(limits: np.ndarray, name: str, low: np.ndarray, high: np.ndarray, count: int) -> None:
    """Write the range of a parameter, of shape (n, k) or (n, 1), into the limits."""
    if name == "sigma" and not (high > 0).all():
        raise ValueError("sigma must be allowed to be positive by fixed and bounds")
    if name in _OF_PEAKS:
        columns = slice(_OF_PEAKS.index(name), 3 * count, 3)
    else:
        columns = slice(limits.shape[2] - 1, None)
    limits[0][:, columns], limits[1][:, columns] = low, high


def _numbers(
    name: str, value: Any, sizes: tuple[int, int, int], of_peaks: bool, missing: float
) -> np.ndarray:
    """Numbers of each profile (n, 1), or of each peak (n, k); None is ``missing``."""
    n, count, _ = sizes
    array = np.asarray(check.real_array(name, missing if value is None else value, (0, 1, 2)))
    array = array.astype(np.float64)
    if np.isnan(array).any() and value is not None:
        raise ValueError(f"{name} must not be NaN")
    if not array.ndim:
        return np.full((n, 1), array)
    if of_peaks and array.shape in ((count,), (n, count)):
        return np.broadcast_to(array, (n, count))
    if array.shape == (n,) and (count == 1 or not of_peaks):
        return array[:, np.newaxis]
    wanted = f"({count},) or ({n}, {count})" if of_peaks else f"({n},)"
    raise ValueError(f"{name} must be a number or have shape {wanted}, got {array.shape}")
