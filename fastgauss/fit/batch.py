"""A batch of ROIs: loaded, started, fitted and finished, chunk by chunk.

The kernels for the kind of fit take a chunk as rows of pixels, compute starting values, fit, and
write the rows of the result. Besides the result, memory holds one chunk for each thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..base import thread_pool
from ..kernels.fit.estimators import METHODS
from ..kernels.fit.stages import Stages, stages
from ..kernels.numeric.packed_cholesky import packed_size
from ..kernels.status import NOT_FINITE
from ..results.fit_result import FitResult
from ..results.rows import Rows
from .options import Options

_CHUNK_BYTES = 4 << 20
_CHUNK_WORK = 1 << 24  # pixels times iterations, 0.1 s: Ctrl-C takes effect after a chunk
_LEAST_CHUNK, _MOST_CHUNK = 8, 4096  # spots; eight are fitted side by side
READ_AS_IS = tuple(np.dtype(kind) for kind in ("f8", "f4", "u2"))  # others become float64
_NOTHING = np.zeros((1, 0))
_STATUS = 5  # index of the statuses among a job's arrays


class Chunk(NamedTuple):
    """Spots of one shape; ``m`` is the number of spots, ``p`` the number of pixels of a spot."""

    pixels: np.ndarray  # (m, ...)
    shape: tuple[int, ...]  # of a spot
    second: np.ndarray | None = None  # (m or 1, ...): weights or variances
    mask: np.ndarray | None = None  # (m or 1, ...)
    places: np.ndarray | None = None  # (m or 1, p): abscissae of profiles
    origin: np.ndarray | None = None  # (m, ndim): (x, y, ...) of the first pixel
    zeros: bool = False  # a 0 of ``second`` means that the pixel is missing

    @property
    def weighted(self) -> bool:
        """Whether pixels are told apart by anything but their values."""
        return self.second is not None or self.mask is not None


def _readable(block: np.ndarray) -> np.ndarray:
    """A chunk as the kernels read it: in place if they accept its dtype, else as float64."""
    direct = block.dtype in READ_AS_IS and block.dtype.isnative
    if not (direct and block.flags.carray):
        block = np.array(block, dtype=np.float64, order="C")
    return block.reshape(len(block), -1)


def _rows_of(array: np.ndarray) -> np.ndarray:
    """A map of pixels as the kernels read it; a map that all spots share stays one row."""
    same = array.shape[0] > 1 and array.strides[0] == 0
    array = array[:1] if same else array
    if array.dtype == np.bool_:
        return array.reshape(len(array), -1)
    direct = array.dtype in (np.float64, np.float32) and array.dtype.isnative
    array = np.ascontiguousarray(array, dtype=None if direct else np.float64)
    return array.reshape(len(array), -1)


def _sorted(chunk: Chunk) -> Chunk:
    """Profiles sorted by their abscissae, because the starting values need this order."""
    places = chunk.places
    if places is None or (places[:, 1:] >= places[:, :-1]).all():
        return chunk
    order = np.argsort(places, axis=1, kind="stable")

    def turn(array: np.ndarray) -> np.ndarray:
        rows = max(len(array), len(order))
        both = np.broadcast_to(array, (rows, array.shape[1]))
        return np.take_along_axis(both, np.broadcast_to(order, both.shape), axis=1)

    return chunk._replace(
        pixels=turn(chunk.pixels),
        second=None if chunk.second is None else turn(chunk.second),
        mask=None if chunk.mask is None else turn(chunk.mask),
        places=turn(places),
    )


class Job:
    """The result arrays of a call."""

    def __init__(self, options: Options, keep_grams: bool = False) -> None:
        self.options = options
        count, size = options.spots, options.model.size
        self.done = 0
        self.params = np.empty((count, size))
        self.objective = np.empty(count)
        self.packed = np.empty((count, packed_size(size)))
        self.gradient = np.empty((count if options.bounds is not None else 0, size))
        self.grams = np.empty((count if keep_grams else 0, packed_size(size)))
        self.pixels = np.empty(count, np.int32)
        self.status = np.empty(count, np.int32)
        self.iterations = np.empty(count, np.int32)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The arrays in the order in which the fit kernel writes them; the last is a copy."""
        return (
            self.params, self.objective, self.packed, self.gradient, self.pixels, self.status,
            self.iterations, self.grams,
        )  # fmt: skip

    def leave_out(self, rows: np.ndarray, status: int) -> None:
        """Give rows (a mask) a status without fitting them."""
        self.done += int(rows.sum())
        values = (np.nan, np.nan, np.nan, np.nan, 0, status, 0, np.nan)
        for array, value in zip(self.arrays, values, strict=True):
            if len(array):
                array[rows] = value

    def fit_chunk(self, chunk: Chunk, rows: slice | np.ndarray) -> None:
        """Fit a chunk and write these rows; a spot without pixels gets a status."""
        chunk = _sorted(chunk)
        outputs = [array[rows] if len(array) else array for array in self.arrays]
        self._fit(chunk, rows, outputs)
        status = outputs[_STATUS]
        if not chunk.weighted and (status == NOT_FINITE).any():
            self._fit_existing(chunk, rows, outputs)
        if not isinstance(rows, slice):  # an index array made copies
            for array, output in zip(self.arrays, outputs, strict=True):
                if len(array):
                    array[rows] = output

    def _fit_existing(
        self, chunk: Chunk, rows: slice | np.ndarray, outputs: list[np.ndarray]
    ) -> None:
        """Fit spots that have NaN among their pixels once more, without those pixels."""
        members = np.flatnonzero(outputs[_STATUS] == NOT_FINITE)
        values = chunk.pixels[members].reshape(len(members), -1)
        members = members[np.isnan(values).any(axis=1)]
        if not members.size:
            return
        places = chunk.places
        part = chunk._replace(
            pixels=chunk.pixels[members],
            mask=np.zeros((1, *chunk.shape), bool),
            places=places if places is None or len(places) == 1 else places[members],
            origin=None if chunk.origin is None else chunk.origin[members],
        )  # fmt: skip
        again = [array[members] if len(array) else array for array in outputs]
        self._fit(part, members + rows.start if isinstance(rows, slice) else rows[members], again)
        for array, output in zip(outputs, again, strict=True):
            if len(array):
                array[members] = output

    def _fit(self, chunk: Chunk, rows: slice | np.ndarray, outputs: list[np.ndarray]) -> None:
        """Start, fit and finish spots ``rows`` of the job into ``outputs``."""
        options = self.options
        model, bounded = options.model, options.bounds is not None
        pixel = options.pixel if chunk.places is None else "places"
        spread = options.covariance == "sandwich"
        estimator = METHODS[options.method][chunk.weighted]
        kernels = stages(model.name, model.ndim, pixel, estimator, bounded, spread)
        pixels, second = self._load(chunk)
        places = _NOTHING if chunk.places is None else _rows_of(chunk.places)
        shape = (1,) * (3 - len(chunk.shape)) + chunk.shape
        params, objective, packed, _, counts, status, _, grams = outputs
        lower, upper = self._bounds(rows, chunk.origin)
        start = self._start(kernels, pixels, places, shape, rows, chunk.origin, (lower, upper))
        known = np.array(model.constants)
        kernels.fit(
            pixels, second, places, *shape, known, start, lower, upper, options.tol,
            options.max_iter, *outputs[:-1],
        )  # fmt: skip
        if len(grams):
            grams[:] = packed
        spreads = np.empty((0, packed.shape[1]))
        if spread:
            spreads = np.empty_like(packed)
            if not second.size:
                second = np.ones((1, pixels.shape[1]))
            kernels.spread(
                pixels, second, places, *shape, known, params, spreads, spreads[:0], spreads[:0, 0]
            )
        scaled = options.covariance == "residual"
        free = options.free if isinstance(options.free, int) else options.free[rows]
        freedom = counts - free if scaled else np.full(len(counts), -1)
        extent = tuple(n if k >= 3 - model.ndim else 0 for k, n in enumerate(shape))
        kernels.finish(
            params, packed, spreads, objective, freedom.astype(np.float64), status, lower, upper,
            known, places, *extent,
        )  # fmt: skip
        if chunk.origin is not None:
            self._move(params, chunk.origin, rows, lower, upper)
        if options.bounds is not None:
            model.make_canonical(params, packed, self._part(options.bounds, rows))

    @staticmethod
    def _part(bounds: np.ndarray, rows: slice | np.ndarray) -> np.ndarray:
        """Bounds of these rows, (2, m or 1, P)."""
        return bounds if bounds.shape[1] == 1 else bounds[:, rows]

    def _move(
        self,
        params: np.ndarray,
        origin: np.ndarray,
        rows: slice | np.ndarray,
        lower: np.ndarray,
        upper: np.ndarray,
    ) -> None:
        """Shift centres, in place, by the origin; centres on a bound stay exactly on it."""
        axes = slice(1, 1 + self.options.model.ndim)
        centres = params[:, axes]
        if self.options.bounds is None:
            centres += origin
            return
        low, high = centres == lower[:, axes], centres == upper[:, axes]
        centres += origin
        limits = self._part(self.options.bounds, rows)[:, :, axes]
        np.copyto(centres, limits[0], where=low)
        np.copyto(centres, limits[1], where=high)

    def _start(
        self,
        kernels: Stages,
        pixels: np.ndarray,
        places: np.ndarray,
        shape: tuple[int, ...],
        rows: slice | np.ndarray,
        origin: np.ndarray | None,
        bounds: tuple[np.ndarray, np.ndarray],
    ) -> np.ndarray:
        """Starting values in the coordinates of the fit."""
        model, guess = self.options.model, self.options.guess
        bounded = self.options.bounds is not None
        if guess is None:
            start = np.empty((len(pixels), model.start_size))
            kernels.start(pixels, places, *shape, self.options.polarity, start)
            start = model.from_start(start)
            return model.from_coordinates(start, *bounds) if bounded else start
        start = np.array(guess[rows], order="C")
        if origin is not None:
            start[:, 1 : 1 + model.ndim] -= origin
        return start if bounded else model.to_coordinates(start)

    def _bounds(
        self, rows: slice | np.ndarray, origin: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds of these rows, from the first pixel; empty if there are none."""
        options = self.options
        size, axes = options.model.size, slice(1, 1 + options.model.ndim)
        if options.bounds is None:
            return np.empty((0, size)), np.empty((0, size))
        every = np.broadcast_to(options.bounds, (2, options.spots, size))
        # in C order: numba would compile another kernel for another layout
        lower, upper = (np.array(side[rows], order="C") for side in every)
        if origin is not None:
            lower[:, axes] -= origin
            upper[:, axes] -= origin
        return lower, upper

    def _load(self, chunk: Chunk) -> tuple[np.ndarray, np.ndarray]:
        """Pixels, NaN where missing, and the weight or variance of each."""
        if not chunk.weighted:
            return _readable(chunk.pixels), _NOTHING
        if chunk.second is None:
            second = np.full((1, chunk.pixels[0].size), float(self.options.method == "lsq"))
        else:
            second = _rows_of(chunk.second)
        missing = None if chunk.mask is None else _rows_of(chunk.mask)
        if chunk.zeros:
            missing = second == 0 if missing is None else missing | (second == 0)
        pixels = _readable(chunk.pixels)
        if missing is not None and missing.any():
            pixels = np.where(missing, np.nan, pixels).astype(np.float64, copy=False)
        return pixels, second

    def run(self, work: Callable[[int, int], None], count: int, pixels: int) -> None:
        """Call ``work`` on chunks of ``count`` spots with this number of pixels each."""
        room = _CHUNK_BYTES // (8 * max(pixels, 1))
        work_ahead = _CHUNK_WORK // (max(pixels, 1) * max(self.options.max_iter, 1))
        chunk = int(np.clip(min(room, work_ahead), _LEAST_CHUNK, _MOST_CHUNK))
        before, total, progress = self.done, self.options.spots, self.options.progress

        def report(done: int, _: int, /) -> None:
            if progress is not None:
                progress(before + done, total)

        thread_pool.run(lambda: work, count, chunk, self.options.threads, report)
        self.done += count

    def result(self) -> FitResult:
        """The result, once all rows are written."""
        options = self.options
        rows = Rows(
            self.params, self.packed, self.objective, self.status, self.iterations, self.pixels,
            self.pixels - options.free,
        )  # fmt: skip
        return FitResult(options.model, rows, absolute=options.absolute, pixel=options.pixel)
