"""Match of two whole images: search from coarse to fine, refinement, verdict."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..kernels.register import window_columns as kernel
from . import significance, window_matching
from .few_objects import same_objects
from .inputs import Pixels
from .results import Status

_COARSE = 32  # pixels of the coarsest level that is searched
_LEAST = 0.1  # share of the pixels of an image that must be in both
_NEAR = 4.0  # pixels from a given start within which another match would be a mistake


class Match(NamedTuple):
    """Where the second image is, as one row of the kernel's columns."""

    both: window_matching.Pair
    out: np.ndarray  # (1, COLUMNS)
    status: np.ndarray  # (1,)
    reach: float  # pixels within which another match would be a mistake


def match(
    first: Pixels,
    second: Pixels,
    reach: float,
    brightness: str,
    tol: float,
    threads: int,
    *,
    begin: tuple[float, ...] | None = None,
    bounded: bool = False,
) -> Match:
    """Register two images from ``begin`` (dx, dy), or from the best match within ``reach``.

    ``bounded`` if no start beyond ``reach`` may be found.
    """
    both = window_matching.pair(first, second, first.values.size, reach, threads)
    if begin is None:
        start = search(both, reach, threads, bounded)
    else:
        start, reach = np.array([begin]), min(reach, _NEAR)
    fewest = _LEAST * min(int(np.count_nonzero(p.valid)) for p in (first, second))
    return refine(both, start, reach, brightness, tol, fewest, threads)


def search(both: window_matching.Pair, reach: float, threads: int, bounded: bool) -> np.ndarray:
    """Where to begin, (1, 2): dx, dy of the best match of gradients within ``reach``."""
    return window_matching.search(
        both, _window(both), np.zeros((1, 2)), reach, _COARSE, threads, bounded=bounded
    )


def refine(
    both: window_matching.Pair,
    start: np.ndarray,
    reach: float,
    brightness: str,
    tol: float,
    fewest: float,
    threads: int,
) -> Match:
    """The match near a start (1, 2), and its verdict; ``fewest`` pixels must be in both images."""
    windows = _window(both)
    out, status = window_matching.refine(
        both.equations, windows, start, brightness, tol, fewest, threads
    )
    significance.judge(both, windows, out, status, reach)
    return Match(both, out, status, reach)


def _window(both: window_matching.Pair) -> np.ndarray:
    """The window that is the whole image."""
    return np.array([[0, 0, *both.shape]])


def doubt_few_objects(found: Match) -> None:
    """Mark a match as ambiguous whose few objects are not the same ones in both images."""
    place = float(found.out[0, kernel.DX]), float(found.out[0, kernel.DY])
    if found.status[0] == Status.CONVERGED and not same_objects(
        found.both.first, found.both.second, place
    ):
        significance.mark_ambiguous(found.out, found.status, np.array([0]), found.reach)


def lose_beyond(found: Match, search: float | None) -> None:
    """Mark a match as lost whose displacement along an axis is larger than ``search``."""
    if search is not None and np.abs(found.out[0, [kernel.DY, kernel.DX]]).max() > search:
        found.out[0], found.status[0] = np.nan, Status.LOST
