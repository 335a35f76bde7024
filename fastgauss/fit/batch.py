"""A batch of ROIs: loaded, started, fitted and finished, chunk by chunk.

The kernels for the kind of fit take a chunk as rows of pixels, compute starting values, fit, and
write the rows of the result. Besides the result, memory holds one chunk for each thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from ..base import thread_pool
from ..kernels.fit.estimators import ESTIMATORS, METHODS, OTHER_LOSS, SQUARES
from ..kernels.fit.stages import Stages, stages
from ..kernels.fit.verdicts import DOUBTFUL, NARROW, SUSPECT
from ..kernels.numeric.packed_cholesky import packed_size
from ..kernels.status import AT_BOUND, AT_EDGE, NOT_FINITE, OUTLIER, UNSCALED
from ..models.model import Model
from ..results.fit_result import FitResult
from ..results.rows import Rows, roots
from .chunks import NOTHING, Chunk, load, rows_of, vanished
from .options import Options
from .second_fits import SECOND_FITS, STATUS, is_better, outliers
from .slopes import Planes, planes_of
from .units import Numbers

_CHUNK_BYTES = 8 << 20
_CHUNK_WORK = 1 << 25  # pixels times iterations, 0.1 s of least squares: Ctrl-C waits for it
_LEAST_CHUNK, _MOST_CHUNK = 8, 4096  # spots; eight or four are fitted side by side
_EDGE = 8  # among a job's arrays: whether a spot rests on the edge of positivity
_WRITTEN = 7  # of a job's arrays, by the fit kernel

Which = slice | np.ndarray  # rows of a job


class Work(NamedTuple):
    """A chunk as the kernels of its kind of fit take it."""

    kernels: Stages
    model: Model  # of these spots
    pixels: np.ndarray  # (m, p)
    second: np.ndarray  # (m or 1, p or 0)
    places: np.ndarray  # (m or 1, p or 0)
    shape: tuple[int, int, int]
    lower: np.ndarray  # (m or 0, P)
    upper: np.ndarray
    free: np.ndarray  # (m or 1,)
    guides: np.ndarray  # (m or 0, ndim)
    sigmas: np.ndarray  # (ndim,)
    planes: Planes | None  # where the background is a plane

    @property
    def level(self) -> np.ndarray:
        """The pixels in which starts are searched, (m, p)."""
        return self.pixels if self.planes is None else self.planes.pixels

    def take(self, members: np.ndarray) -> Work:
        """Some of the spots."""

        def part(array: np.ndarray) -> np.ndarray:
            return array if len(array) != len(self.pixels) else array[members]

        return self._replace(
            model=self.model.rows(members),
            pixels=self.pixels[members],
            second=part(self.second),
            places=part(self.places),
            lower=part(self.lower),
            upper=part(self.upper),
            free=part(self.free),
            guides=part(self.guides),
            planes=None if self.planes is None else self.planes.take(members),
        )


class Job:
    """The result arrays of a call."""

    def __init__(self, options: Options, keep_grams: bool = False) -> None:
        self.options = options
        count, size = options.spots, options.model.size
        self.loss = ESTIMATORS[METHODS[options.method][0]].loss
        self.least_squares = self.loss == SQUARES
        self.done = 0
        self.params = np.empty((count, size))
        self.objective = np.empty(count)
        self.packed = np.empty((count, packed_size(size)))
        self.gradient = np.empty((count if options.bounds is not None else 0, size))
        self.grams = np.empty((count if keep_grams else 0, packed_size(size)))
        self.pixels = np.empty(count, np.int32)
        self.status = np.empty(count, np.int32)
        self.iterations = np.empty(count, np.int32)
        self.edge = np.empty(count, np.bool_)  # whether the fit rests on the edge of positivity
        self.nothing = np.empty((0, size)), np.empty((0, packed_size(size)))
        self.nowhere = np.empty((0, options.model.ndim)), np.ones(options.model.ndim)
        self.extreme: list[tuple[Which, np.ndarray]] = []  # rows and their errors

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The outputs of the fit kernel, in its order, and what is made of them."""
        return (
            self.params, self.objective, self.packed, self.gradient, self.pixels, self.status,
            self.iterations, self.grams, self.edge,
        )  # fmt: skip

    def leave_out(self, rows: np.ndarray, status: int) -> None:
        """Give rows (a mask) a status without fitting them."""
        self.done += int(rows.sum())
        values = (np.nan, np.nan, np.nan, np.nan, 0, status, 0, np.nan, False)
        for array, value in zip(self.arrays, values, strict=True):
            if len(array):
                array[rows] = value

    def fit_chunk(self, chunk: Chunk, rows: slice | np.ndarray) -> None:
        """Fit a chunk into these rows; one without pixels is told by its status."""
        outputs = [array[rows] if len(array) else array for array in self.arrays]
        self._fit_all(chunk.sorted().centred(), rows, outputs)
        if not isinstance(rows, slice):  # an index gave copies
            _copy(outputs, self.arrays, rows)

    def _fit_all(
        self, chunk: Chunk, rows: Which, outputs: list[np.ndarray], rescaled: bool = False
    ) -> None:
        """Fit a chunk, and once more in another way the spots that cannot be fitted as they are."""
        self._fit(chunk, rows, outputs)
        status = outputs[STATUS]
        lost = () if chunk.weighted else (status == NOT_FINITE).nonzero()[0]
        if len(lost):
            axes = tuple(range(1, chunk.pixels.ndim))
            lost = lost[np.isnan(chunk.pixels[lost]).any(axis=axes)]
            mask = np.zeros((1, *chunk.shape), bool)  # NaN does not exist
            self._fit_part(chunk._replace(mask=mask), rows, outputs, lost)
        if not rescaled and self.loss != OTHER_LOSS:
            unscaled = status == UNSCALED
            unscaled[vanished(chunk, outputs[1])] = True
            self._fit_part(chunk, rows, outputs, unscaled.nonzero()[0], rescale=True)
        status[status == UNSCALED] = NOT_FINITE

    def _fit_part(
        self,
        chunk: Chunk,
        rows: Which,
        outputs: list[np.ndarray],
        members: np.ndarray,
        rescale: bool = False,
    ) -> None:
        """Fit some spots of a chunk again."""
        if not members.size:
            return
        part = chunk.take(members)
        own = members + rows.start if isinstance(rows, slice) else rows[members]
        again = [array[members] if len(array) else array for array in outputs]
        if rescale:
            part = part.rescaled(self.least_squares)
            self._fit_all(part, own, again, rescaled=True)
        else:
            self._fit(part, own, again)
        _copy(again, outputs, members)

    def _fit(self, chunk: Chunk, rows: Which, outputs: list[np.ndarray]) -> None:
        """Start, fit and finish spots ``rows`` of the job into ``outputs``."""
        options = self.options
        factors = None if chunk.unit is None else chunk.unit.factors(options.model)
        work = self._prepare(chunk, rows, factors)
        if options.guess is None:
            start = self._start(work)
        else:
            start = self._inside(options.guess[rows], chunk.origin, factors)
            if options.bounds is None:
                start = options.model.to_coordinates(start)
            self._lift(work, start)
        doubts = self._solve(work, start, outputs)
        if options.guess is None:
            for doubt in SECOND_FITS:
                self._try_again(work, outputs, doubts, doubt)
        self._leave_out(work, start, outputs, doubts)
        status, edge = outputs[STATUS], outputs[_EDGE]
        np.equal(status, AT_EDGE, out=edge)
        status[edge] = AT_BOUND
        self._report(chunk, rows, work, factors, outputs)

    def _prepare(self, chunk: Chunk, rows: Which, factors: np.ndarray | None) -> Work:
        """Load a chunk."""
        options = self.options
        model = options.model
        pixel = options.pixel if chunk.places is None else "places"
        estimator = METHODS[options.method][chunk.weighted]
        bounded, spread = options.bounds is not None, options.covariance == "sandwich"
        pixels, second = load(chunk, self.least_squares)
        lower = upper = self.nothing[0]
        if options.bounds is not None:
            every = np.broadcast_to(options.bounds, (2, options.spots, model.size))
            lower, upper = (self._inside(side[rows], chunk.origin, factors) for side in every)
        free = options.free[rows] if isinstance(options.free, np.ndarray) else [options.free]
        guides, sigmas = self.nowhere
        if chunk.guides is not None and chunk.sigmas is not None:
            guides, sigmas = chunk.guides, chunk.sigmas
        places = NOTHING if chunk.places is None else rows_of(chunk.places)
        shape: tuple[int, int, int] = (1,) * (3 - len(chunk.shape)) + chunk.shape  # type: ignore
        return Work(
            stages(model.kernels, pixel, estimator, bounded, spread),
            options.local.rows(rows),
            pixels,
            second,
            places,
            shape,
            lower,
            upper,
            np.array(free, np.int64),
            guides,
            sigmas,
            planes_of(model, pixels, places, shape),
        )

    def _inside(
        self, values: np.ndarray, origin: np.ndarray | None, factors: np.ndarray | None
    ) -> np.ndarray:
        """Parameters (m, P) in the coordinates of the fit; in C order, for which kernels are."""
        values = np.array(values, order="C")
        if origin is not None:
            values[:, 1 : 1 + self.options.model.ndim] -= origin
        return values if factors is None else values * factors

    def _start(self, work: Work) -> np.ndarray:
        """Starting values in the coordinates of the fit."""
        start = np.empty((len(work.pixels), self.options.model.start_size))
        work.kernels.start(
            work.level, work.places, *work.shape, self.options.polarity, work.guides,
            work.sigmas, start,
        )  # fmt: skip
        return self._from_start(work, start)

    def _from_start(self, work: Work, start: np.ndarray) -> np.ndarray:
        """The starting values of the fit that the moments of spots give."""
        model = work.model
        start = model.from_start(start)
        if work.planes is not None:
            work.planes.add(start)
        if self.options.bounds is not None:
            start = model.from_coordinates(start, work.lower, work.upper)
        self._lift(work, start)
        return start

    def _lift(self, work: Work, start: np.ndarray) -> None:
        """Give starts a profile within bounds, and put a likelihood's plane above 0, in place."""
        if self.options.bounds is not None:
            work.model.make_possible(start, work.lower, work.upper)
        if work.planes is not None and not self.least_squares:
            work.planes.lift(start, work.lower, work.upper)

    def _solve(self, work: Work, start: np.ndarray, outputs: list[np.ndarray]) -> np.ndarray:
        """Fit from these starts, in the fit's own units; tells what is doubtful of each spot."""
        options, kernels = self.options, work.kernels
        pixels, second, places, shape = work.pixels, work.second, work.places, work.shape
        params, objective, packed, _, counts, status, _, grams, _ = outputs
        known = np.atleast_2d(work.model.known)
        data, bounds = (pixels, second, places), (work.lower, work.upper)
        stop, out = (options.tol, options.max_iter), tuple(outputs[:_WRITTEN])
        kernels.fit(data, shape, known, start, bounds, stop, out)
        if len(grams):
            grams[:] = packed
        spreads = self.nothing[1]
        if options.covariance == "sandwich":
            spreads = np.empty_like(packed)
            weights = second if second.size else np.ones((1, pixels.shape[1]))
            kernels.spread(
                pixels, weights, places, *shape, known, params, spreads, spreads[:0],
                spreads[:0, 0],
            )  # fmt: skip
        noise = counts, work.free, options.covariance == "residual"
        extent = tuple(n if k >= 3 - options.model.ndim else 0 for k, n in enumerate(shape))
        results = params, packed, objective, status
        kernels.finish(results, spreads, noise, bounds, known, places, extent)
        doubts = np.empty(len(counts), np.int8)
        told = work.guides, work.sigmas
        kernels.verdicts(
            data, extent, known, results, noise, self.loss, bounds, told, doubts
        )  # fmt: skip
        return doubts

    def _try_again(
        self, work: Work, outputs: list[np.ndarray], doubts: np.ndarray, doubt: int
    ) -> None:
        """Fit spots of this doubt from its other starts, and keep what is better."""
        members = (doubts & doubt).nonzero()[0]
        if not members.size:
            return
        model = self.options.model
        axes = slice(1, 1 + model.ndim)
        held = len(work.lower) and (work.lower[:, axes] == work.upper[:, axes]).all()
        if held and doubt != NARROW:
            return  # the place is known
        first = outputs[0][members][:, axes].copy()
        for which in SECOND_FITS[doubt]:
            if not members.size:
                return
            part = work.take(members)
            start = np.empty((len(members), model.start_size))
            work.kernels.second(
                part.level, part.places, *part.shape, self.options.polarity, part.guides,
                part.sigmas, which, first, start,
            )  # fmt: skip
            again = [array[members] if len(array) else array for array in outputs]
            found = self._solve(part, self._from_start(part, start), again)
            better = is_better(part, model.ndim, again, *(array[members] for array in outputs[:2]))
            kept = [array[better] if len(array) else array for array in again]
            _copy(kept, outputs, members[better])
            doubts[members[better]] = found[better]
            left = (doubts[members] & (doubt | DOUBTFUL)) != 0
            members, first = members[left], first[left]

    def _leave_out(
        self, work: Work, start: np.ndarray, outputs: list[np.ndarray], doubts: np.ndarray
    ) -> None:
        """Tell the outliers among the spots with a suspicious pixel."""
        members = (doubts & SUSPECT).nonzero()[0]
        if not members.size:
            return

        def fit(part: Work, members: np.ndarray, again: list[np.ndarray]) -> None:
            own = self._start(part) if self.options.guess is None else start[members]
            self._solve(part, own, again)

        outputs[STATUS][outliers(work, members, self.loss, outputs, fit)] = OUTLIER

    def _report(
        self,
        chunk: Chunk,
        rows: Which,
        work: Work,
        factors: np.ndarray | None,
        outputs: list[np.ndarray],
    ) -> None:
        """From the fit's own coordinates to the caller's, in place."""
        options, model = self.options, self.options.model
        params, objective, packed, gradient, _, _, _, grams, _ = outputs
        axes = slice(1, 1 + model.ndim)
        held = [params[:, axes] == side[:, axes] for side in (work.lower, work.upper) if len(side)]
        if factors is not None and chunk.unit is not None:
            errors = roots(packed, model.size)
            numbers = Numbers(params, errors, packed, objective, gradient, grams)
            chunk.unit.leave(factors, options.covariance, self.least_squares, numbers)
            if chunk.unit.extreme:
                self.extreme.append((rows, errors))
        if chunk.origin is not None:
            params[:, axes] += chunk.origin
        if options.bounds is None:
            return
        limits = options.bounds if options.bounds.shape[1] == 1 else options.bounds[:, rows]
        for limit, where in zip(limits, held, strict=True):  # exactly where the caller has them
            np.copyto(params[:, axes], limit[:, axes], where=where)
        model.make_canonical(params, packed, limits)

    def run(self, work: Callable[[int, int], None], count: int, pixels: int) -> None:
        """Do ``work`` on chunks of ``count`` spots of ``pixels`` pixels each."""
        room = _CHUNK_BYTES // (8 * max(pixels, 1))
        work_ahead = _CHUNK_WORK // (max(pixels, 1) * max(self.options.max_iter, 1))
        chunk = min(max(min(room, work_ahead), _LEAST_CHUNK), _MOST_CHUNK)
        before, total, progress = self.done, self.options.spots, self.options.progress

        def report(done: int, _: int, /) -> None:
            if progress is not None:
                progress(before + done, total)

        thread_pool.run(lambda: work, count, chunk, self.options.threads, report)
        self.done += count

    def result(self) -> FitResult:
        """The result, when all rows are written."""
        options = self.options
        rows = Rows(
            self.params, self.packed, self.objective, self.status, self.iterations, self.pixels,
            self.pixels - options.free, at_bound=self._at_bound(),
        )  # fmt: skip
        if self.extreme:
            errors = rows.standard_errors()
            for members, own in self.extreme:
                errors[members] = own
            rows = rows._replace(errors=errors)
        return FitResult(options.model, rows, absolute=options.absolute, pixel=options.pixel)

    def _at_bound(self) -> np.ndarray:
        """Which parameters are on a bound, (n, P); what is fixed is not."""
        bounds = self.options.bounds
        held = np.zeros(self.params.shape, bool)
        if bounds is not None:
            ends = (self.params == bounds[0]) | (self.params == bounds[1])
            held = ends & (bounds[0] < bounds[1])
        held[self.edge, -1] = True
        return held


def _copy(rows: Iterable[np.ndarray], outputs: Iterable[np.ndarray], at: np.ndarray) -> None:
    """Write rows of all arrays that have some."""
    for output, part in zip(outputs, rows, strict=True):
        if len(output):
            output[at] = part
