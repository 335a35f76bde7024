"""Fits of windows cut from an image: the spots of one image, each fitted alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import ArrayLike

from ..base import check
from ..base.progress import Progress, reporting
from ..kernels.status import TOO_FEW_PIXELS
from ..models.model import Model
from ..results.fit_result import FitResult
from .batch import Job
from .chunks import Chunk
from .options import Options, options
from .picture_units import in_callers_unit, in_one_unit, scaled_options
from .pixel_maps import PixelMap, pixel_map, pixel_mask
from .saturation import mark_plateaus
from .shared_parameters import fit_shared
from .windows import sigmas_of, windows


def solve(chosen: Options, fill: Callable[[Job], None], progress: bool | Progress) -> FitResult:
    """Fit every spot separately, or all spots with their shared parameters."""
    if chosen.spots:
        chosen.local.check_possible(chosen.bounds, chosen.guess)
    with reporting(progress, chosen.spots, "spot") as report:
        if report is not None:
            chosen = chosen._replace(progress=report)
        if chosen.shared:
            return fit_shared(chosen, chosen.shared, fill)
        job = Job(chosen)
        fill(job)
        return job.result()


def fit_each(
    picture: np.ndarray,
    positions: ArrayLike,
    model: Model,
    *,
    box: tuple[int, ...] | np.ndarray,
    sigma: tuple[float, ...] | np.ndarray | None = None,
    polarity: str = "bright",
    method: str = "lsq",
    weights: ArrayLike | None = None,
    variance: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    progress: bool | Progress = False,
    counts: np.ndarray | None = None,
    **rest: Any,
) -> FitResult:
    """`fit_spots` at known positions; ``rest`` holds further options of the fit.

    ``sigma`` is the expected width of spots in array-axis order; by default it follows from the
    box. Both are (ndim,), or (n, ndim) for spots of several sizes. ``counts`` is the picture as the
    camera wrote it, if the picture is of photons.
    """
    ndim, shape = picture.ndim, picture.shape
    model.check_image(shape)
    centres = check.positions(positions, ndim)
    sign = -1 if check.choice("polarity", polarity, ("bright", "dark")) == "dark" else 1
    chosen = options(
        model, len(centres), method=method, polarity=sign, weighted=weights is not None,
        camera=variance is not None, progress=progress, **rest,
    )._replace(local=model.placed(centres[:, ::-1]))  # fmt: skip
    second = pixel_map("weights", weights, shape, None)
    if second is None:
        second = pixel_map("variance", variance, shape, None)
    image, unit = picture, 1.0
    if chosen.shared:
        image, second, unit = in_one_unit(picture, second, method)
        chosen = scaled_options(chosen, unit)
    maps = image, second, pixel_mask(mask, shape, None)
    zeros = weights is not None and second is not None and second.zeros
    first, extent = windows(centres, box, shape)
    wide = np.array(sigmas_of(tuple(box)) if sigma is None else sigma)[..., ::-1]
    wide = np.broadcast_to(wide, extent.shape)

    def fill(job: Job) -> None:
        empty = extent.prod(axis=1) == 0
        job.leave_out(empty, TOO_FEW_PIXELS)
        spots = np.flatnonzero(~empty)
        kinds, kind = np.unique(
            np.concatenate([extent, wide], axis=1)[spots], axis=0, return_inverse=True
        )
        for k, (window, widths) in enumerate(zip(*np.hsplit(kinds, 2), strict=True)):
            rows = spots[kind.ravel() == k]
            side = tuple(map(int, window))
            _fit_windows(job, maps, centres, widths, first, rows, side, zeros)

    result = solve(chosen, fill, progress)
    result = in_callers_unit(result, unit, method == "mle", weights is not None)
    if sign > 0:
        mark_plateaus(picture if counts is None else counts, maps[2], first, extent, result.status)
    return result


def _windows_of(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """All windows of a shape, by their first pixels, without a copy.

    It is numpy's ``sliding_window_view``, whose checks take longer than the fit of some spots.
    """
    firsts = tuple(n - side + 1 for n, side in zip(array.shape, shape, strict=True))
    return as_strided(array, firsts + shape, 2 * array.strides, writeable=False)


def _fit_windows(
    job: Job,
    maps: tuple[np.ndarray, PixelMap | None, PixelMap | None],
    centres: np.ndarray,
    sigmas: np.ndarray,
    first: np.ndarray,
    rows: np.ndarray,
    shape: tuple[int, ...],
    zeros: bool,
) -> None:
    """Fit spots ``rows``, whose windows of one shape begin at pixels ``first``."""
    image = _windows_of(maps[0], shape)
    second, missing = (
        None if each is None else _windows_of(each.array[0], shape) for each in maps[1:]
    )

    def work(begin: int, end: int) -> None:
        members = rows[begin:end]
        corner = first[members]
        at = tuple(corner.T)
        numbers, absent = (None if view is None else view[at] for view in (second, missing))
        origin = corner[:, ::-1].astype(np.float64)
        guides = np.ascontiguousarray(centres[members, ::-1]) - origin
        chunk = Chunk(
            image[at], shape, numbers, absent, origin=origin, zeros=zeros, guides=guides,
            sigmas=sigmas,
        )  # fmt: skip
        job.fit_chunk(chunk, members)

    job.run(work, len(rows), int(np.prod(shape)))
