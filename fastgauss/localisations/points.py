"""Localisations as arrays: frames, places, errors and fluxes, of a result or as they are given."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..base import check, wording
from ..results import FitResult
from .groups import Groups

_AXES = ("z", "y", "x")
_LATEST = 2**62  # of a frame: differences of two stay integers of 64 bits
_EXPECTED = (
    "localisations must be a FitResult with frames, Groups, or a tuple (frame, positions) or "
    "(frame, positions, errors)"
)


class Points(NamedTuple):
    """Localisations, one a row."""

    axes: tuple[str, ...]  # what stands along the last axis of places
    frames: np.ndarray  # (n,) int64
    places: np.ndarray  # (n, ndim) float64, NaN among them
    errors: np.ndarray | None  # (n, ndim)
    flux: np.ndarray | None  # (n,)
    flux_error: np.ndarray | None  # (n,)

    @property
    def known(self) -> np.ndarray:
        """Whether the place of each localisation is known, and its error if there are errors."""
        good = np.isfinite(self.places).all(axis=1)
        return good if self.errors is None else good & np.isfinite(self.errors).all(axis=1)


def read_points(localisations: Any, flux: Any = None, *, in_frames: bool = True) -> Points:
    """The localisations that an argument of this name means.

    Without ``in_frames`` the frames are not read, and a result need not have them.
    """
    if isinstance(localisations, FitResult | Groups):
        if flux is not None:
            kind = type(localisations).__name__
            raise ValueError(f"flux must be None for a {kind}, which has its own")
        if isinstance(localisations, FitResult):
            return _of_result(localisations, in_frames)
        each = localisations
        frames = _frames(each.first)
        return Points(each.axes, frames, each.positions, each.errors, each.flux, each.flux_error)
    if not isinstance(localisations, tuple) or len(localisations) not in (2, 3):
        got = wording.shown(localisations)
        if isinstance(localisations, tuple):
            got = f"a tuple of {len(localisations)}"
        raise TypeError(f"{_EXPECTED}, got {got}")
    return _of_arrays(*localisations, flux=flux)


def _of_result(result: FitResult, in_frames: bool) -> Points:
    numbers = result.frames
    if numbers is None and not in_frames:
        numbers = np.zeros(len(result), np.int64)
    if numbers is None:
        raise ValueError(
            f"{_EXPECTED}; this FitResult has no frames: join the results of all frames by "
            "FitResult.concatenate(results, frames=...)"
        )
    axes = tuple(axis for axis in _AXES if axis in result.names)
    places = np.ascontiguousarray(result[list(axes)])
    errors = np.ascontiguousarray(result[[f"{axis}_error" for axis in axes]])
    refuse_no_error(errors)
    frames = _frames(numbers)
    return Points(axes, frames, places, errors, result.flux, result.flux_error)


def _of_arrays(frame: Any, positions: Any, errors: Any = None, *, flux: Any = None) -> Points:
    frames = _frames(check.integer_array("frame", frame, 1))
    count = len(frames)
    ndim = check.axes_named(positions)
    array = check.real_array("positions", positions, columns=check.axis_names(ndim))
    if array.shape == (0,):
        array = array.reshape(0, 2)
    if array.ndim != 2 or not 1 <= array.shape[1] <= 3:
        raise ValueError(f"positions must have shape (n, 1), (n, 2) or (n, 3), got {array.shape}")
    if len(array) != count:
        spots = wording.plural(count, "localisation")
        raise ValueError(f"positions must have as many rows as frame has {spots}, got {len(array)}")
    places = array.astype(np.float64)
    known = None
    if errors is not None:
        known = check.real_array("errors", errors)
        if known.shape not in (places.shape, (count,)):
            expected = f"{places.shape} or {(count,)}"
            raise ValueError(f"errors must have shape {expected}, got {known.shape}")
        columns = known if known.ndim == 2 else known[:, np.newaxis]
        known = np.array(np.broadcast_to(columns, places.shape), np.float64)
        refuse_no_error(known)
    if flux is not None:
        flux = check.real_array("flux", flux, 1).astype(np.float64)
        if len(flux) != count:
            raise ValueError(f"flux must have shape {(count,)}, got {flux.shape}")
    return Points(_AXES[3 - places.shape[1] :], frames, places, known, flux, None)


def _frames(array: np.ndarray) -> np.ndarray:
    """Numbers of frames as int64."""
    if array.size and not -_LATEST <= int(array.min()) <= int(array.max()) <= _LATEST:
        raise ValueError(f"frame must be between -2**62 and 2**62, got {int(array.max())}")
    return array.astype(np.int64)


def refuse_no_error(errors: np.ndarray) -> None:
    """Errors of 0 or less have no weight: a fixed coordinate has one of 0."""
    wrong = errors <= 0
    if wrong.any():
        at = tuple(np.argwhere(wrong)[0].tolist())
        raise ValueError(
            f"errors must be above 0, got {errors[at]} at index {at}; give (frame, positions) "
            "for places that were held"
        )
