"""Units and meanings of the columns of a table of spots.

Lengths are in pixels ("px"), angles in radians ("rad"). "value" is the unit of the image's pixels:
counts, photons or another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..models.model import Model

Described = TypeVar("Described", bound=Callable)

COLUMNS: dict[str, tuple[str, str]] = {
    "frame": ("", "frame of a stack, from 0; only where frames are known"),
    "amplitude": ("value", "height of the profile above the offset"),
    "x": ("px", "centre along the last axis; the middle of pixel 0 is 0"),
    "y": ("px", "centre along the axis before it"),
    "z": ("px", "centre along the first axis of a volume; astigmatic: as calibrated"),
    "sigma": ("px", "standard deviation of the profile"),
    "sigma_x": ("px", "standard deviation along x, or along the longer axis"),
    "sigma_y": ("px", "standard deviation along y, or along the shorter axis"),
    "sigma_z": ("px", "standard deviation along z"),
    "theta": ("rad", "angle of the longer axis from +x towards +y, in (-pi/2, pi/2]"),
    "slope_x": ("value/px", "slope of the background along x; only if it is a plane"),
    "slope_y": ("value/px", "slope of the background along y; only if it is a plane"),
    "slope_z": ("value/px", "slope of the background along z; only if it is a plane"),
    "slope": ("value/px", "slope of the background of a profile; only if it is a line"),
    "offset": ("value", "background at the centre of the spot"),
    "<parameter>_error": ("as parameter", "standard error of a parameter"),
    "flux": ("value px^d", "integral of the profile over its d axes"),
    "flux_error": ("value px^d", "standard error of the flux"),
    "snr": ("", "flux / flux_error"),
    "fwhm": ("px", "full width at half maximum, 2.3548 sigma; see the attribute"),
    "objective": ("value^2", "sum of squared residuals; weighted, or a deviance, without unit"),
    "reduced_chi2": ("", "objective / dof; without weights in value^2"),
    "p_value": ("", "probability of a larger objective; NaN without weights or counts"),
    "status": ("", "code of `Status`"),
    "converged": ("", "whether the fit converged"),
    "iterations": ("", "evaluations of the normal equations"),
    "pixels": ("", "number of valid pixels"),
    "dof": ("", "degrees of freedom: pixels less free parameters"),
    "id": ("", "number of the spot in the result of the fit, from 0"),
}
FACTS: dict[str, tuple[str, str]] = {
    "model": ("", "name of the fitted model"),
    "pixel": ("", "whether the model was sampled or integrated over pixels"),
    "absolute": ("", "whether the objective has a known scale"),
    "length": ("", "unit of lengths; only if it is not the pixel"),
    "pixel_size": ("nm", "side of a pixel; only if it is known"),
}


LENGTHS = ("px", "coords")  # units of lengths: pixels, or the unit of the option coords=
AREA = "px^2"  # unit of covariances, whose columns bear the names of two axes, such as xy


def describe(model: Model, absolute: bool, length: str = "px") -> dict[str, tuple[str, str]]:
    """Unit and meaning of every column that a table of spots of this model can have."""
    known = dict(COLUMNS)
    if length == "coords":
        known["x"] = (length, "centre, as the given abscissae")
        known["sigma"] = (length, COLUMNS["sigma"][1])
        known["fwhm"] = (length, COLUMNS["fwhm"][1])
    del known["<parameter>_error"]
    known.update({name: (unit, text) for name, unit, text in model.kernels.columns})
    for column in model.slopes:
        name = model.names[column]
        known[name] = (f"value/{length}", known[name][1])
    for name in ("flux", "flux_error"):
        known[name] = (f"value {length}^{model.ndim}", COLUMNS[name][1])
    known["reduced_chi2"] = ("value^2", "objective / dof")
    if absolute:
        known["objective"] = ("", "weighted sum of squared residuals, or deviance")
        known["reduced_chi2"] = ("", "objective / dof")
    for name in model.names:
        known[f"{name}_error"] = (known[name][0], f"standard error of {name}")
    return known | FACTS


def documented(function: Described) -> Described:
    """Append the table of columns to a docstring."""
    if function.__doc__:
        rows = [("column", "unit", "meaning"), *((k, *v) for k, v in COLUMNS.items())]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        rule = "  ".join("=" * width for width in widths)
        lines = [
            "  ".join((cell or r"\ ").ljust(width) for cell, width in zip(row, widths, strict=True))
            for row in rows
        ]
        table = [rule, lines[0], rule, *lines[1:], rule]
        function.__doc__ += "\n\n" + "\n".join(f"        {line.rstrip()}" for line in table) + "\n"
    return function
