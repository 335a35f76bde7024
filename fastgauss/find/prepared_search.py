"""A search for spots whose options are checked once, for one image after the other."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..base import check, thread_pool
from ..base.progress import Progress, check_progress, reporting
from . import size_estimates
from .found_spots import FoundSpots
from .laplacian import noise_factor
from .noise import NOISE_FACTOR
from .options import Given, Scales, Search, check_given, check_pixels, read_scales
from .response import as_three
from .searches import Frame, find_at_scales

_POLARITIES = ("bright", "dark")


class PreparedSearch(NamedTuple):
    """The options of `find_spots`, checked, for all images of one number of axes."""

    given: Given
    scales: Scales
    searches: tuple[Search, ...]  # one for each scale; none: the image tells the scales
    dark: bool

    def spots_of(
        self, array: np.ndarray, mask: Any, variance: Any, threads: int | None = None,
        progress: bool | Progress = False,
    ) -> FoundSpots:  # fmt: skip
        """The spots of an image, which is an array; its mask and variances are checked."""
        given, sizes, searches = self.given, self.scales.rows, self.searches
        if not searches:
            sizes = size_estimates.ladder(array.shape)
            searches = _searches(given, sizes)
        holes, camera = check_pixels(given._replace(variance=variance), searches[0], array, mask)
        threads = thread_pool.resolve_threads(threads)
        check_progress(progress)
        frame, factor = Frame(array, holes, camera, self.dark, threads), given.factor
        with reporting(progress, 100, "%") as report:
            if not self.searches:
                sizes = size_estimates.estimate(frame, list(searches))
                searches = _searches(given, sizes)
            if factor is None and searches[0].curved:
                of_each = None if given.false_alarms is None else given.false_alarms / len(sizes)
                factor = factor_in_crowd(array.shape, sizes[0], of_each, given.significance)
            found = find_at_scales(frame, list(searches), factor, report)
        return found if not self.scales.round else found._replace(sigma=found.sigma[:, 0])


def prepare_search(given: Given, ndim: int) -> PreparedSearch:
    """The options of `find_spots`, checked, for images of ``ndim`` axes."""
    scales = read_scales(given.sigma, given.fwhm, ndim)
    searches = _searches(given, scales.rows)
    dark = check.choice("polarity", given.polarity, _POLARITIES) == "dark"
    return PreparedSearch(given, scales, searches, dark)


def _searches(given: Given, sizes: tuple[tuple[float, ...], ...]) -> tuple[Search, ...]:
    """The options for spots of each of some sizes."""
    return tuple(check_given(given, sigmas) for sigmas in sizes)


def factor_in_crowd(
    shape: tuple[int, ...], sigmas: tuple[float, ...], false_alarms: float | None,
    significance: float | None,
) -> float:  # fmt: skip
    """The noise factor of `find_in_crowd` that these options of `find_spots` mean."""
    if significance is not None:
        return significance
    if false_alarms is None:
        return NOISE_FACTOR
    return noise_factor(false_alarms, math.prod(map(float, shape)), as_three(sigmas, 0.0))
