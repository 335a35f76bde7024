"""Quantities of spots of an image that tables of other programs have, and ours have not."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .fit_result import FitResult


_FILLERS: dict[str, Callable[[np.ndarray], Any]] = {  # of TrackMate, by the numbers of the spots
    "label": lambda ids: np.array([f"ID{number}" for number in ids.tolist()], object),
    "blank": lambda ids: np.full(len(ids), "", object),
    "zero": lambda ids: np.zeros(len(ids)),
    "one": lambda ids: np.ones(len(ids), np.int64),
}


def quantities(result: FitResult, asked: Collection[str]) -> dict[str, np.ndarray]:
    """The columns of `to_dict` of spots of an image, and those that other programs derive.

    Adds, in pixels and the unit of the image:

    - width_x, width_y: standard deviations along x and y, of a rotated spot too; their errors;
    - own_width_x, own_width_y: the same, of models that have two widths;
    - width: the root of the mean of their squares;
    - gyration: the radius of gyration, the root of the sum of their squares;
    - eccentricity: ``|width_x - width_y| / (width_x + width_y)`` of the principal axes;
    - error: the root mean square of the errors of x and y;
    - height: of the profile above the offset;
    - noise: the standard deviation of a pixel's residual, or of the photons of the offset;
    - raw_flux: the flux and the offset of all pixels that were fitted;
    - label, blank, zero, one: what TrackMate's table has besides, if they are ``asked`` for.
    """
    known = dict(result.to_dict())
    model = result.model
    known.setdefault("frame", np.zeros(len(result), np.int64))
    with np.errstate(all="ignore"):
        along = widths_along(result)
        for axis, widths in zip("xy", along, strict=True):
            known[f"width_{axis}"] = widths
            for name in ("sigma", f"sigma_{axis}"):
                if name in model.names and not model.rotated:
                    known[f"width_{axis}_error"] = known[f"{name}_error"]
        known["width"] = _mean_square(*along)
        known["gyration"] = np.hypot(*along)
        first, second = np.abs(model.widths(result.params)).T
        known["eccentricity"] = np.abs(first - second) / (first + second)
        known["error"] = _mean_square(known["x_error"], known["y_error"])
        known["height"] = known.get("amplitude", known["flux"])
        plain = not result.absolute and (result.dof > 0).any()
        known["noise"] = np.sqrt(
            known["reduced_chi2"] if plain else np.maximum(known["offset"], 0.0)
        )
        known["raw_flux"] = known["flux"] + known["offset"] * known["pixels"]
    if not model.round:
        known["own_width_x"], known["own_width_y"] = along
    fillers = {name: make(known["id"]) for name, make in _FILLERS.items() if name in asked}
    return known | fillers


def _mean_square(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The root mean square of two columns; to the bit where they are equal."""
    return np.where(one == other, one, np.hypot(one, other) / np.sqrt(2.0))


def widths_along(result: FitResult) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations of spots of an image along x and y, (n,) each; of rotated spots too."""
    first, second = result.model.widths(result.params).T
    if not result.model.rotated:
        return first, second
    theta = result.theta
    cosine, sine = np.cos(theta), np.sin(theta)
    return np.hypot(first * cosine, second * sine), np.hypot(first * sine, second * cosine)
