"""Fits of windows cut from images: the spots of one image, or of several, each fitted alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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


class Placed(NamedTuple):
    """A picture, the positions of its spots, and the maps of its pixels.

    ``sigma`` is the expected width of spots in array-axis order. It and the box are (ndim,), or
    (n, ndim) for spots of several sizes. ``counts`` is the picture as the camera wrote it, if the
    picture is of photons.
    """

    picture: np.ndarray
    positions: np.ndarray  # (n, ndim), checked
    box: tuple[int, ...] | np.ndarray
    sigma: tuple[float, ...] | np.ndarray
    weights: ArrayLike | None = None
    variance: ArrayLike | None = None
    mask: ArrayLike | None = None
    counts: np.ndarray | None = None

    def second(self) -> PixelMap | None:
        """The weights or the variances."""
        weights = pixel_map("weights", self.weights, self.picture.shape, None)
        if weights is not None:
            return weights
        return pixel_map("variance", self.variance, self.picture.shape, None)

    def missing(self) -> PixelMap | None:
        """The mask."""
        return pixel_mask(self.mask, self.picture.shape, None)


class _Pixels(NamedTuple):
    """The pixels of pictures of one shape, and which of them the window of each spot is of."""

    image: np.ndarray  # (t, ...)
    second: np.ndarray | None  # (t or 1, ...)
    missing: np.ndarray | None
    zeros: bool  # a 0 of ``second`` means that there is no pixel
    number: np.ndarray  # (n,)
    masked: np.ndarray  # (t,)


def fit_each(
    picture: np.ndarray,
    positions: ArrayLike,
    model: Model,
    *,
    box: tuple[int, ...],
    weights: ArrayLike | None = None,
    variance: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    **rest: Any,
) -> FitResult:
    """`fit_spots` at known positions, of spots whose expected width follows from the box.

    ``rest`` holds further options of the fit.
    """
    centres = check.positions(positions, picture.ndim)
    placed = Placed(picture, centres, box, sigmas_of(tuple(box)), weights, variance, mask)
    return fit_pictures([placed], model, **rest)


def alike(several: Sequence[Placed]) -> bool:
    """Whether pictures can be fitted as one batch, with the kernels that each alone has."""
    kinds = {(p.picture.dtype, p.weights is None, p.variance is None) for p in several}
    return len(kinds) == 1


def fit_pictures(
    several: Sequence[Placed],
    model: Model,
    *,
    polarity: str = "bright",
    method: str = "lsq",
    progress: bool | Progress = False,
    **rest: Any,
) -> FitResult:
    """`fit_spots` at known positions in each of some pictures, which are alike.

    The rows of a picture are those that the picture alone has, to the bit. Parameters that are
    ``shared``, and values for each spot, are for one picture.
    """
    head = several[0]
    ndim, shape = head.picture.ndim, head.picture.shape
    model.check_image(shape)
    counts = [len(each.positions) for each in several]
    centres = np.concatenate([each.positions for each in several])
    sign = -1 if check.choice("polarity", polarity, ("bright", "dark")) == "dark" else 1
    chosen = options(
        model, len(centres), method=method, polarity=sign, weighted=head.weights is not None,
        camera=head.variance is not None, progress=progress, **rest,
    )._replace(local=model.placed(centres[:, ::-1]))  # fmt: skip
    pictures, unit = [each.picture for each in several], 1.0
    seconds, masks = [each.second() for each in several], [each.missing() for each in several]
    if chosen.shared:
        pictures[0], seconds[0], unit = in_one_unit(pictures[0], seconds[0], method)
        chosen = scaled_options(chosen, unit)
    number = np.repeat(np.arange(len(several)), counts)
    pixels = _Pixels(
        _stacked(pictures), _stacked_maps(seconds, shape), _stacked_maps(masks, shape),
        head.weights is not None and any(each is not None and each.zeros for each in seconds),
        number, np.array([mask is not None for mask in masks]),
    )  # fmt: skip
    boxes, sigmas = (
        _of_spots([getattr(each, name) for each in several], counts) for name in ("box", "sigma")
    )
    first, extent = windows(centres, boxes, shape, number if len(several) > 1 else None)
    wide = np.broadcast_to(np.array(sigmas)[..., ::-1], extent.shape)

    def fill(job: Job) -> None:
        empty = extent.prod(axis=1) == 0
        job.leave_out(empty, TOO_FEW_PIXELS)
        spots = np.flatnonzero(~empty)
        masked = pixels.masked[number, np.newaxis]
        rows = np.concatenate([masked, extent, wide], axis=1)[spots]
        for row, of_kind in _kinds(rows):
            members, side = spots[of_kind], tuple(map(int, row[1 : 1 + ndim]))
            _fit_windows(job, pixels, centres, row[1 + ndim :], first, members, side)

    result = solve(chosen, fill, progress)
    result = in_callers_unit(result, unit, method == "mle", head.weights is not None)
    if sign > 0:
        ends = np.cumsum(counts).tolist()
        for each, mask, end, count in zip(several, masks, ends, counts, strict=True):
            rows = slice(end - count, end)
            taken = each.picture if each.counts is None else each.counts
            mark_plateaus(taken, mask, first[rows], extent[rows], result.status[rows])
    return result


def _kinds(rows: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The different rows, in order, and which rows are equal to each."""
    if (rows == rows[:1]).all():  # sorting takes longer than the fit of a spot
        return [(row, np.ones(len(rows), bool)) for row in rows[:1]]
    kinds, kind = np.unique(rows, axis=0, return_inverse=True)
    return [(row, kind.ravel() == k) for k, row in enumerate(kinds)]


def _stacked(arrays: list[np.ndarray]) -> np.ndarray:
    """Arrays as one, (t, ...); as one row if all are the same memory."""
    first = arrays[0].__array_interface__
    if all(array.__array_interface__ == first for array in arrays):
        return arrays[0][np.newaxis]
    return np.stack(arrays)


def _stacked_maps(maps: list[PixelMap | None], shape: tuple[int, ...]) -> np.ndarray | None:
    """Maps of the pixels of pictures, (t or 1, ...); False where a picture has none."""
    if not any(maps):
        return None
    none = np.zeros(shape, bool)
    return _stacked([none if each is None else each.array[0] for each in maps])


def _of_spots(values: list[Any], counts: list[int]) -> Any:
    """Values of the spots of each picture, (ndim,) or (n, ndim), as values of all spots."""
    if all(isinstance(value, tuple) and value == values[0] for value in values):
        return values[0]
    each = [np.broadcast_to(v, (n, np.shape(v)[-1])) for v, n in zip(values, counts, strict=True)]
    return np.concatenate(each)


def _windows_of(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """All windows of a shape in pictures (t, ...), by number and first pixels, without a copy.

    The checks of numpy's ``sliding_window_view`` and ``as_strided`` take longer than the fit of
    some spots.
    """
    firsts = tuple(n - side + 1 for n, side in zip(array.shape[1:], shape, strict=True))
    sizes, strides = (len(array), *firsts, *shape), array.strides + array.strides[1:]
    if array.flags.c_contiguous:
        return np.ndarray(sizes, array.dtype, array, strides=strides)
    return as_strided(array, sizes, strides, writeable=False)


def _fit_windows(
    job: Job,
    pixels: _Pixels,
    centres: np.ndarray,
    sigmas: np.ndarray,
    first: np.ndarray,
    rows: np.ndarray,
    shape: tuple[int, ...],
) -> None:
    """Fit spots ``rows``, whose windows of one shape begin at pixels ``first``."""
    image = _windows_of(pixels.image, shape)
    second = None if pixels.second is None else _windows_of(pixels.second, shape)
    missing = None
    if pixels.missing is not None and pixels.masked[pixels.number[rows[0]]]:
        missing = _windows_of(pixels.missing, shape)

    def work(begin: int, end: int) -> None:
        members = rows[begin:end]
        corner, number = first[members], pixels.number[members]
        at, same = (number, *corner.T), (0, *corner.T)
        numbers, absent = (
            None if view is None else view[at if len(view) > 1 else same]
            for view in (second, missing)
        )
        origin = corner[:, ::-1].astype(np.float64)
        guides = np.ascontiguousarray(centres[members, ::-1]) - origin
        chunk = Chunk(
            image[at if len(image) > 1 else same], shape, numbers, absent, origin=origin,
            zeros=pixels.zeros, guides=guides, sigmas=sigmas,
        )  # fmt: skip
        job.fit_chunk(chunk, members)

    job.run(work, len(rows), int(np.prod(shape)))
