"""Data of images: values with the mask, weights and variance of their pixels.

Masked arrays and data with units or uncertainties are opened here; ``check`` knows plain arrays.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from . import named_axes, wrappers
from .check import plain_array, real_array

_LEAST_SIDE = 8  # pixels: a volume of smaller planes may be three or four pixels wide


class Measured(NamedTuple):
    """A picture and the maps of its pixels: mask, weights, variance."""

    values: np.ndarray
    mask: Any  # True where a pixel does not exist
    weights: Any
    variance: Any


def joined_mask(own: np.ndarray, name: str, given: Any) -> Any:
    """A mask joined with a given one, whose shape and dtype the caller checks."""
    if given is None:
        return own
    array = plain_array(name, given)
    if array.dtype != np.bool_:
        return array
    try:
        return own | array
    except ValueError:  # of another shape
        return array


def masked(name: str, value: Any, mask: Any) -> tuple[np.ndarray, Any]:
    """A picture's numbers, and its own mask joined with the one that was given."""
    contents = wrappers.open_array(name, value)
    if contents.mask is not None:
        mask = joined_mask(contents.mask, "mask", mask)
    return contents.values, mask


def with_errors(name: str, value: Any, mask: Any, errors: Any) -> tuple[np.ndarray, Any, Any]:
    """As ``masked``, and the standard deviations of the picture's pixels if none were given."""
    contents = wrappers.open_array(name, value)
    if contents.mask is not None:
        mask = joined_mask(contents.mask, "mask", mask)
    if errors is None and contents.variance is not None:
        errors = np.sqrt(contents.variance)
    return contents.values, mask, errors


def measured(
    name: str, value: Any, mask: Any, weights: Any, variance: Any = None, method: Any = "lsq"
) -> Measured:
    """A picture's numbers, its own mask and uncertainty joined with what was given.

    An infinite variance says that a pixel does not exist.
    """
    contents = wrappers.open_array(name, value)
    if contents.mask is not None:
        mask = joined_mask(contents.mask, "mask", mask)
    if contents.variance is not None and weights is None and variance is None:
        if method == "mle":
            raise ValueError(
                f"{name} must have no uncertainty with method='mle', which knows the noise of "
                "photons; give its data, and the camera's own noise as variance="
            )
        weights = 1.0 / contents.variance
    if variance is not None:
        array = real_array("variance", variance)
        infinite = np.isposinf(array) if array.dtype.kind == "f" else np.zeros(1, np.bool_)
        if infinite.any():
            variance, mask = np.where(infinite, 1, array), joined_mask(infinite, "mask", mask)
    return Measured(contents.values, mask, weights, variance)


def refuse_colours(name: str, value: Any) -> None:
    """Refuse what is known not to be one image or volume of one colour."""
    named_axes.refuse_axes(name, value)
    ordered = named_axes.in_order(name, value) if named_axes.is_of_space(value) else value
    shape = getattr(ordered, "shape", ())
    solid = isinstance(shape, tuple) and len(shape) == 3 and shape[2] in (3, 4)
    if solid and min(shape[:2]) > _LEAST_SIDE:
        raise ValueError(
            f"{name} must be an image (y, x) or a volume (z, y, x), got shape {shape}, which is "
            "that of a colour image; give one of its colours, or their mean"
        )


def filled(name: str, value: Any, ndim: int | Iterable[int] | None = None) -> np.ndarray:
    """A picture to be shown, its named axes in order, NaN where it is masked."""
    values, hidden = masked(name, named_axes.in_order(name, value), None)
    array = real_array(name, values, ndim)
    return array if hidden is None else np.where(hidden, np.nan, array)
