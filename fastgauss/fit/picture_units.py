"""One unit for the data of all spots of a fit, where their squares leave the range of float64.

Joint fits and fits with shared parameters add up over spots, so that all have one unit. The image
is multiplied by a power of two, which changes no digit, and with it all that has its unit:
amplitudes, backgrounds, thresholds, a camera's variance; weights by the inverse square.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base.scaling import power_of_two
from ..results.background import Background
from ..results.fit_result import FitResult
from .options import Options
from .pixel_maps import PixelMap
from .units import Numbers, Unit

_MODERATE = 1e-6, 1e12  # the usual magnitude of pixels that are fitted as they are
_COUNTS = 32.0  # photons of a usual pixel of a likelihood in another unit, at least
_SAMPLES = 1 << 16  # pixels that are looked at, about


def unit_of_picture(array: np.ndarray, exists: np.ndarray | None, counts: bool) -> float:
    """The power of two that brings usual pixels to about 1, or some photons; 1 for most images.

    Single pixels of extreme value do not change it; pixels that are 0 do not count. ``exists``
    (of the array's shape) tells which pixels exist; by default all finite ones do.
    """
    values = _sizes(array, exists, array.size // _SAMPLES | 1)
    if not values.size:
        values = _sizes(array, exists, 1)
    if not values.size:
        return 1.0
    size = float(np.partition(values, values.size // 2)[values.size // 2])
    if _MODERATE[0] < size < _MODERATE[1]:
        return 1.0
    return power_of_two(size / _COUNTS if counts else size)


def _sizes(array: np.ndarray, exists: np.ndarray | None, step: int) -> np.ndarray:
    """Magnitudes of one pixel in ``step``, of those that are not 0."""
    values = np.abs(array.flat[::step].astype(np.float64))
    known = np.isfinite(values) if exists is None else exists.flat[::step]
    return values[known & (values > 0)]


def scaled(values: np.ndarray, unit: float, power: int = 1) -> np.ndarray:
    """Values times the unit, or over its square (``power`` -2); what overflows is infinite."""
    if unit == 1.0:
        return values
    values = np.asarray(values, np.float64)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return values * unit if power == 1 else values / unit / unit


def scaled_maps(maps: dict[str, Any], unit: float) -> dict[str, Any]:
    """The maps of the pixels, which have been checked."""
    if unit == 1.0:
        return maps
    powers = {"weights": -2, "variance": 1}
    return {
        name: value if value is None or name not in powers
        else scaled(np.asarray(value), unit, powers[name])
        for name, value in maps.items()
    }  # fmt: skip


def in_one_unit(
    array: np.ndarray, second: PixelMap | None, method: str
) -> tuple[np.ndarray, PixelMap | None, float]:
    """Pixels and their weights or variances in the unit of all, and that."""
    counts = method == "mle"
    unit = unit_of_picture(array, None, counts)
    if unit != 1.0 and second is not None:
        second = second._replace(array=scaled(second.array, unit, 1 if counts else -2))
    return scaled(array, unit), second, unit


def scaled_options(chosen: Options, unit: float) -> Options:
    """The options with starting values and bounds in this unit."""
    if unit == 1.0:
        return chosen
    factors = _unit_of_all(unit, False).factors(chosen.model)
    return chosen._replace(
        guess=None if chosen.guess is None else chosen.guess * factors,
        bounds=None if chosen.bounds is None else chosen.bounds * factors,
    )


def _unit_of_all(unit: float, weighted: bool) -> Unit:
    """The unit of all spots; weights have the inverse square of that of the data."""
    data, one = np.array([unit]), np.ones(1)
    return Unit(data, one / data if weighted else one, one)


def in_callers_unit(result: FitResult, unit: float, counts: bool, weighted: bool) -> FitResult:
    """A result of data in this unit in that of the caller."""
    if unit == 1.0:
        return result
    rows, none = result.rows, result.params[:0]
    numbers = Numbers(
        rows.params.copy(), rows.standard_errors().copy(), rows.packed.copy(),
        rows.objective.copy(), none, none,
    )  # fmt: skip
    whole = _unit_of_all(unit, weighted)
    covariance = "absolute" if result.absolute else "residual"
    whole.leave(whole.factors(result.model), covariance, not counts, numbers)
    moved = rows._replace(
        params=numbers.params, packed=numbers.packed, objective=numbers.objective,
        errors=numbers.errors,
    )  # fmt: skip
    background = result.background
    if background is not None:
        with np.errstate(all="ignore"):  # of what float64 does not hold
            known = None if background.known is None else background.known / unit
            background = Background(known, background.terms / unit, background.scale)
    again = result.with_rows(moved)
    again.background = background
    return again
