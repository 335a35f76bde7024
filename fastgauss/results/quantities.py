"""Results in units: an astropy table with lengths, sky coordinates and magnitudes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base import check, wording
from ..base.optional import require
from ..base.widths import FWHM
from .columns import AREA, LENGTHS, describe
from .table import facts

if TYPE_CHECKING:
    from .fit_result import FitResult

Column = tuple[np.ndarray, str, str]  # values, unit and meaning
AXES = ("x", "y", "z")
_STEP = 0.5  # pixels, for derivatives of sky coordinates


def to_table(result: FitResult, pixel_size: Any, wcs: Any, zero_point: Any) -> Any:
    """See `FitResult.to_table`."""
    units = require("astropy.units", "to_table", "io")
    made = require("astropy.table", "to_table", "io").QTable()
    known = describe(result.model, result.absolute, result.length)
    sizes = None if pixel_size is None else _read_sizes(units, result, pixel_size)
    sky = None if wcs is None else _read_sky(result, wcs)
    zero = None if zero_point is None else _read_zero_point(units, zero_point)
    for name, values in result.to_dict().items():
        unit = known[name][0]
        if unit in LENGTHS:
            made[name] = _length(result, name, values, sizes, units)
        elif unit == AREA:
            made[name] = values * _area(name, sizes, units)
        elif unit == "rad":
            made[name] = values * units.rad
        elif unit.startswith("value/") and sizes is not None:
            axis = name.removesuffix("_error").removeprefix("slope_")
            made[name] = values / sizes[AXES.index(axis) if axis in AXES else 0]
        elif name in ("flux", "flux_error") and sizes is not None and result.length != LENGTHS[0]:
            made[name] = values * sizes[0]
        else:
            made[name] = values
        made[name].info.description = known[name][1]
    further = {} if sky is None else sky_columns(result, sky)
    further |= {} if zero is None else magnitudes(result, zero)
    for name, (values, unit, meaning) in further.items():
        made[name] = values * units.Unit(unit)
        made[name].info.description = meaning
    made.meta.update(facts(result, None))  # the lengths have their unit
    return made


# -- lengths -----------------------------------------------------------------------------------


def _read_sizes(units: Any, result: FitResult, value: Any) -> Any:
    """The size of a pixel along x, y and z, (ndim,), with its unit."""
    if isinstance(value, units.UnitBase):
        value = 1.0 * value
    if not isinstance(value, units.Quantity):
        raise TypeError(
            "pixel_size must have a unit, such as 0.1 * astropy.units.um, got "
            f"{wording.shown(value)}"
        )
    for size in (value, value * units.pix):  # um, or um / pix
        if units.pix not in size.unit.bases and size.unit.physical_type != "dimensionless":
            value = size
            break
    else:
        raise ValueError(f"pixel_size must have a unit of length, angle or time, got {value.unit}")
    ndim = result.model.ndim
    if value.shape not in ((), (ndim,)):
        raise ValueError(f"pixel_size must be one size or {ndim}, got shape {value.shape}")
    if not (np.isfinite(value.value) & (value.value > 0)).all():
        raise ValueError(f"pixel_size must be positive and finite, got {value}")
    sizes = np.broadcast_to(value.value, ndim)[::-1] * value.unit  # given in array-axis order
    model = result.model
    if (model.rotated or model.round) and len(set(sizes.value.tolist())) > 1:
        raise ValueError(
            f"pixel_size must be the same along all axes for the model {result.model.name!r}, "
            f"got {value}"
        )
    return sizes


def _length(result: FitResult, name: str, values: np.ndarray, sizes: Any, units: Any) -> Any:
    """A column of lengths in the unit of the pixel's size; in pixels without one."""
    if sizes is None:
        return values * units.pix if result.length == LENGTHS[0] else values
    if name == "fwhm":
        widths = result.model.widths(result.params) * sizes
        return FWHM * np.sqrt(np.mean(widths**2, axis=1))
    axis = name.removesuffix("_error").removeprefix("sigma_")
    return values * sizes[AXES.index(axis) if axis in AXES else 0]


def _area(name: str, sizes: Any, units: Any) -> Any:
    """The unit of an entry of a covariance, such as xy: the product of the sizes of both axes."""
    if sizes is None:
        return units.pix**2
    one, other = map(AXES.index, name.removesuffix("_error"))
    return sizes[one] * sizes[other]


# -- sky and magnitudes ------------------------------------------------------------------------


def _read_sky(result: FitResult, wcs: Any) -> Any:
    """The celestial part of a world coordinate system."""
    if result.model.ndim != 2 or result.length != LENGTHS[0]:
        raise ValueError("wcs must be None except for spots of images")
    if getattr(wcs, "has_celestial", True) and hasattr(wcs, "pixel_to_world"):
        return getattr(wcs, "celestial", wcs)
    if hasattr(wcs, "pixel_to_world"):
        raise ValueError("wcs must have celestial axes, got one without")
    raise TypeError(f"wcs must be a WCS of astropy, got {wording.shown(wcs)}")


def sky_columns(result: FitResult, wcs: Any) -> dict[str, Column]:
    """Right ascension and declination in ICRS, with their errors, by a celestial WCS."""
    good = np.isfinite(result.params[:, 1:3]).all(axis=1)
    x, y = result.x[good], result.y[good]
    here = wcs.pixel_to_world(x, y)
    if not hasattr(here, "icrs"):
        raise ValueError(f"wcs must give sky coordinates, got {type(here).__name__}")
    slopes = np.empty((len(x), 2, 2))
    for axis, step in enumerate(((_STEP, 0.0), (0.0, _STEP))):
        ends = [wcs.pixel_to_world(x + s * step[0], y + s * step[1]).icrs for s in (1, -1)]
        for row, moves in enumerate(zip(*map(here.icrs.spherical_offsets_to, ends), strict=True)):
            slopes[:, row, axis] = (moves[0] - moves[1]).to_value("arcsec") / (2 * _STEP)
    covariance = result.covariance[good][:, 1:3, 1:3]
    variances = np.einsum("nij,njk,nik->ni", slopes, covariance, slopes)
    told = {
        "ra": (here.icrs.ra.deg, "deg", "right ascension, ICRS"),
        "dec": (here.icrs.dec.deg, "deg", "declination, ICRS"),
        "ra_error": (np.sqrt(variances[:, 0]), "arcsec", "standard error of ra, times cos(dec)"),
        "dec_error": (np.sqrt(variances[:, 1]), "arcsec", "standard error of dec"),
    }
    columns = {}
    for name, (values, unit, meaning) in told.items():
        column = np.full(len(result), np.nan)
        column[good] = values
        columns[name] = column, unit, meaning
    return columns


def _read_zero_point(units: Any, value: Any) -> float:
    """The magnitude of a flux of 1."""
    if isinstance(value, units.Quantity) and value.unit == units.mag:
        value = value.value
    return check.number("zero_point", value)


def magnitudes(result: FitResult, zero: float) -> dict[str, Column]:
    """Magnitudes and their errors; NaN where the flux is not positive."""
    flux = np.where(result.flux > 0, result.flux, np.nan)
    error = 2.5 / math.log(10.0) * (result.flux_error / flux)
    return {
        "mag": (zero - 2.5 * np.log10(flux), "mag", "zero_point - 2.5 log10(flux)"),
        "mag_error": (error, "mag", "standard error of mag"),
    }
