"""The options of `find_spots`, checked."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..base import check
from ..base.widths import LEAST


def _margin(exclude_border: Any) -> int:
    """Width in pixels of the frame in which no spot is reported."""
    if isinstance(exclude_border, (bool, np.bool_)):
        return int(exclude_border)
    return check.integer("exclude_border", exclude_border, at_least=0, at_most=math.inf)


FALSE_ALARMS = 1.0  # expected in an image where only a variance is given


class Search(NamedTuple):
    """The checked options of `find_spots` except those that belong to the image."""

    sigmas: tuple[float, ...]
    threshold: float | None
    distances: tuple[float, ...]
    margin: int
    false_alarms: float = FALSE_ALARMS
    significance: float | None = None


def check_search(
    ndim: int,
    sigma: Any,
    threshold: Any = None,
    min_distance: Any = None,
    exclude_border: Any = True,
    false_alarms: Any = None,
    significance: Any = None,
) -> Search:
    """Check the options that define a spot; callers that search nothing use this too."""
    sigmas = check.per_axis("sigma", sigma, ndim, at_least=LEAST)
    if threshold is not None:
        threshold = check.number("threshold", threshold, at_least=0.0)
    distances = tuple(2.0 * s for s in sigmas)
    if min_distance is not None:
        distances = check.per_axis("min_distance", min_distance, ndim, at_least=0.0)
    expected = FALSE_ALARMS
    if false_alarms is not None:
        expected = check.number("false_alarms", false_alarms, above=0.0)
    if significance is not None:
        significance = check.number("significance", significance, at_least=0.0)
    given = {
        "false_alarms": false_alarms, "significance": significance, "threshold": threshold,
    }  # fmt: skip
    several = [name for name, value in given.items() if value is not None]
    if len(several) > 1:
        raise ValueError(f"{several[0]} and {several[1]} must not be given together")
    return Search(sigmas, threshold, distances, _margin(exclude_border), expected, significance)
