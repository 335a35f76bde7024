"""Widths, angle and range of a finished fit, as its model gives them to the verdicts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from .._compile import device


@cache
def make_extent(axes: int, own: bool) -> Callable:
    """``extent`` of the unrotated models: with a width for each axis, or one for all."""

    @device
    def extent(params, item, known):
        """(sigma_x, sigma_y, sigma_z, theta) of a result."""
        first = params[item, 1 + axes]
        if not own:
            return first, first, first, 0.0
        second = params[item, 2 + axes]
        third = params[item, 3 + axes] if axes > 2 else second
        return first, second, third, 0.0

    return extent


@device
def extent_rotated(params, item, known):
    """The ``extent`` of the rotated model."""
    return params[item, 3], params[item, 4], params[item, 4], params[item, 5]


@device
def never_beyond(params, item, known):
    """Models that hold for all values of their parameters."""
    return False


@device
def unit_span(params, item, known):
    """Profiles between 0 and 1."""
    return 1.0, 0.0


@device
def pixel_unit(item, known):
    """Widths in pixels."""
    return 1.0
