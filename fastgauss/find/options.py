"""The options of `find_spots`, checked."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..base import check, wording
from ..base.widths import FWHM, LEAST, read_width


def _margin(exclude_border: Any) -> int:
    """Width in pixels of the frame in which no spot is reported."""
    if isinstance(exclude_border, (bool, np.bool_)):
        return int(exclude_border)
    return check.integer("exclude_border", exclude_border, at_least=0, at_most=math.inf)


DETECTORS = ("matched", "laplacian")
FALSE_ALARMS = 1.0  # expected in an image where nothing is said
SHAPE_LEVEL = 0.01  # of a spot's chance to be left out by its shape, by likelihood ratio


class Given(NamedTuple):
    """The options of `find_spots` as they are given."""

    sigma: Any = 1.3
    fwhm: Any = None
    false_alarms: Any = None
    significance: Any = None
    threshold: Any = None
    detector: Any = None
    shape_level: Any = None
    details: Any = False
    min_distance: Any = None
    exclude_border: Any = True
    polarity: Any = "bright"
    variance: Any = None
    mask: Any = None
    saturation: Any = None
    elongated: bool = False  # spots may be: then those are kept that edges and lines look like
    factor: float | None = None  # noise of the Laplacian's response that a spot exceeds


class Search(NamedTuple):
    """The checked options of `find_spots` except those that belong to the image."""

    sigmas: tuple[float, ...]
    threshold: float | None
    distances: tuple[float, ...]
    margin: int
    false_alarms: float = FALSE_ALARMS
    significance: float | None = None
    shape_level: float = 0.0
    details: bool = False
    elongated: bool = False
    curved: bool = False  # by curvature, not by likelihood ratio


def check_search(
    ndim: int,
    sigma: Any,
    threshold: Any = None,
    min_distance: Any = None,
    exclude_border: Any = True,
    false_alarms: Any = None,
    significance: Any = None,
    shape_level: Any = None,
    detector: Any = None,
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
    curved = threshold is not None
    if detector is not None:
        curved = check.choice("detector", detector, DETECTORS) == DETECTORS[1]
        if threshold is not None and not curved:
            raise ValueError(
                f"detector must be {DETECTORS[1]!r} with a threshold, got {detector!r}"
            )
    level = 0.0 if curved else SHAPE_LEVEL
    if shape_level is not None:
        level = check.number("shape_level", shape_level, at_least=0.0, at_most=1.0)
    return Search(
        sigmas, threshold, distances, _margin(exclude_border), expected, significance, level,
        curved=curved,
    )  # fmt: skip


class Scales(NamedTuple):
    """The sizes of spots: sigmas along the axes of the image, the smallest first."""

    rows: tuple[tuple[float, ...], ...]  # none: the image tells them
    round: bool  # each is one number


def read_scales(sigma: Any, fwhm: Any, ndim: int, own: float | None = None) -> Scales:
    """The sizes that ``sigma`` or ``fwhm`` names: one, several as rows, or None for those that the
    image has.

    A number or a sequence of numbers, one for each axis, is one size. Several are rows of one
    number or of one for each axis, as an array (K, 1) or (K, D). ``own`` is the sigma of a model.
    """
    if sigma is None and fwhm is None:
        return Scales((), True)
    name, value = ("sigma", sigma) if fwhm is None else ("fwhm", fwhm)
    rows = [
        check.entries(f"{name}[{i}]", row) for i, row in enumerate(check.entries(name, value) or ())
    ]
    if not rows or rows[0] is None:
        width = read_width(sigma, fwhm, ndim, own)
        return Scales((check.per_axis("sigma", width, ndim, at_least=LEAST),), np.ndim(value) == 0)
    if fwhm is not None:
        read_width(sigma, rows[0][0] if rows[0] else fwhm, ndim)  # not beside a sigma
    least = LEAST if fwhm is None else LEAST * FWHM
    sizes, lengths = set(), set()
    for i, row in enumerate(rows):
        if row is None:
            raise ValueError(f"{name} must have rows of numbers, got {wording.shown(value)}")
        one = row[0] if len(row) == 1 else row
        widths = check.per_axis(f"{name}[{i}]", one, ndim, at_least=least)
        sizes.add(widths if fwhm is None else tuple(max(w / FWHM, LEAST) for w in widths))
        lengths.add(len(row))
    ordered = sorted(sizes, key=lambda widths: (math.prod(widths), widths))
    return Scales(tuple(ordered), lengths == {1})


def check_given(given: Given, sigmas: tuple[float, ...]) -> Search:
    """The options of `find_spots`, checked, for spots of one size."""
    search = check_search(
        len(sigmas), sigmas, given.threshold, given.min_distance, given.exclude_border,
        given.false_alarms, given.significance, given.shape_level, given.detector,
    )  # fmt: skip
    details = check.flag("details", given.details)
    return search._replace(details=details, elongated=given.elongated)


def check_pixels(
    given: Given, search: Search, array: np.ndarray, mask: Any
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Where pixels are missing, and the variances of the camera."""
    holes = None if mask is None else check.mask("mask", mask, array.shape)
    if given.saturation is not None:
        full = array >= check.number("saturation", given.saturation)
        holes = full if holes is None else holes | full
    if given.variance is None:
        return holes, None
    if search.curved:
        name = f"detector={DETECTORS[1]!r}" if search.threshold is None else "a threshold"
        raise ValueError(f"variance must be None with {name}, got {wording.shown(given.variance)}")
    camera = check.real_array("variance", given.variance)
    if camera.shape != array.shape:
        raise ValueError(f"variance must have shape {array.shape}, got {camera.shape}")
    if not np.all(camera >= 0):
        at = tuple(np.argwhere(~(camera >= 0))[0].tolist())
        raise ValueError(f"variance must not be negative or NaN, got {camera[at]} at index {at}")
    wild = np.isinf(camera)
    if wild.any():
        holes = wild if holes is None else holes | wild
    return holes, camera
