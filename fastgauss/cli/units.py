"""Columns in physical units: places and widths by the size of a pixel, and places on the sky."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..io.frames import Facts, unit_name
from ..results.columns import AREA, describe
from ..results.fit_result import FitResult
from ..results.quantities import Column, magnitudes, sky_columns

Sizes = Mapping[str, tuple[float, str]]  # by axis, "X", "Y" or "Z": number and unit

_NUMBERS_AND_UNIT = re.compile(r"(?P<numbers>[\d.,eE+\-\s]*\d\.?)\s*(?P<unit>[^\W\d]*)")


_NANOMETRES = {"nm": 1.0, "um": 1e3, "mm": 1e6}


def pixel_size(text: str, default: str = "um") -> tuple[tuple[float, ...], str]:
    """The size of a pixel, or one for each axis, and its unit: "0.1", "300,107,107nm"."""
    match = _NUMBERS_AND_UNIT.fullmatch(text.strip())
    try:
        numbers = tuple(map(float, match["numbers"].split(","))) if match else ()
    except ValueError:
        numbers = ()
    if not numbers or not all(0 < number < np.inf for number in numbers):
        raise argparse.ArgumentTypeError(
            f"write one size above 0, or one for each axis, and a unit: 0.3,0.1,0.1um; got {text!r}"
        )
    return numbers, unit_name(match["unit"]) or default if match else default


def sizes_of(given: tuple[tuple[float, ...], str] | None, facts: Facts, ndim: int) -> Sizes:
    """The sizes of a pixel that are given, else those that the file tells with a unit."""
    if given is None:
        return {a: facts.sizes[a] for a in "ZYX"[-ndim:] if facts.sizes.get(a, (0, ""))[1]}
    numbers, unit = given
    if len(numbers) not in (1, ndim):
        raise ValueError(f"--pixel-size must be one number or {ndim} numbers, got {len(numbers)}")
    every = numbers * ndim if len(numbers) == 1 else numbers
    return {axis: (size, unit) for axis, size in zip("ZYX"[-ndim:], every, strict=True)}


def nanometres(sizes: Sizes) -> float | None:
    """The side of a pixel of an image in nm, if it is known and square."""
    known = {sizes.get(axis) for axis in "XY"}
    if len(known) != 1 or None in known:
        return None
    ((size, unit),) = known  # type: ignore[misc]
    return float(f"{size * _NANOMETRES[unit]:.15g}") if unit in _NANOMETRES else None


class Located(FitResult):
    """A result whose table has further columns, in physical units and on the sky."""

    def __init__(
        self, result: FitResult, sizes: Sizes, wcs: Any = None, zero_point: float | None = None
    ) -> None:
        self.__dict__.update(result.__dict__)
        self.sizes = dict(sizes)
        self._wcs, self._zero_point = wcs, zero_point

    def _further(self) -> dict[str, Column]:
        """See `described_columns`."""
        return described_columns(self, self.sizes, self._wcs, self._zero_point)


def described_columns(
    result: FitResult, sizes: Sizes, wcs: Any, zero_point: float | None = None
) -> dict[str, Column]:
    """Lengths with errors by the size of a pixel, places on the sky, and magnitudes.

    Covariances of sources are in the square of the unit, as ``xy_um2``. A width that is not along
    one axis is left out where the pixels of its axes differ in size. The middle of the first pixel
    is 0, as in pixels.
    """
    columns: dict[str, Column] = {}
    known = describe(result.model, result.absolute, result.length)
    for k, name in enumerate(result.names):
        scale = _scale_of(name, known[name][0], result, sizes)
        if scale is None:
            continue
        size, unit = scale
        column, shown = f"{name}_{unit}", unit if not unit.startswith("per_") else ""
        columns[column] = result.params[:, k] * size, shown, f"{name} in {unit.replace('_', ' ')}"
        error = result.errors[:, k] * size
        columns[f"{column}_error"] = error, shown, f"standard error of {column}"
    if wcs is not None and result.model.ndim == 2:
        columns |= sky_columns(result, wcs)
    if zero_point is not None:
        columns |= magnitudes(result, zero_point)
    return columns


def _scale_of(name: str, unit: str, result: FitResult, sizes: Sizes) -> tuple[float, str] | None:
    """The number by which a parameter becomes one in physical units, and these; None without."""
    if unit == AREA:  # a covariance of two axes, such as xy
        (one, first), (other, second) = (sizes.get(axis.upper(), (0.0, "")) for axis in name)
        return (one * other, f"{first}2") if first and first == second else None
    known = {sizes.get(axis) for axis in _axes(name, result)}
    if len(known) != 1 or None in known:
        return None
    ((size, length),) = known  # type: ignore[misc]
    return (1.0 / size, f"per_{length}") if name.startswith("slope") else (size, length)


def _axes(name: str, result: FitResult) -> str:
    """The axes along which a parameter is a length, or a slope."""
    every = "XYZ"[: result.model.ndim]
    kind, _, axis = name.partition("_")
    if name in ("x", "y", "z"):
        return name.upper()
    if kind == "slope":
        return axis.upper()
    if kind != "sigma":
        return ""
    return axis.upper() if axis and "theta" not in result.names else every
