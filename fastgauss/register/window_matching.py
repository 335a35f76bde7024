"""Windows of a pair of images: block matching, then refinement, over the thread pool."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..base import thread_pool
from ..base.progress import Progress
from ..kernels.register import block_matching, window_columns
from ..kernels.register import gauss_newton as kernel
from . import inputs, low_pass, preparation

BRIGHTNESS = {
    "same": window_columns.SAME,
    "offset": window_columns.OFFSET,
    "linear": window_columns.LINEAR,
}
_MAX_ITER = 20
_REACH = 4.0  # pixels that a solution may be away from where it began
_MATCHED = 1 << 18  # pixels of the windows of a task


@dataclass(frozen=True)
class Pair:
    """Two images ready for registration."""

    first: inputs.Pixels
    second: inputs.Pixels
    low: low_pass.LowPass
    a: preparation.Field
    b: preparation.Field
    unit: float  # variance of the difference of typical pixels; 0 if that was not given

    @property
    def shape(self) -> tuple[int, ...]:
        return self.first.values.shape


def pair(first: inputs.Pixels, second: inputs.Pixels, count: int, threads: int) -> Pair:
    """Filter both images, for windows of ``count`` pixels."""
    low = low_pass.choose(first, second, count)
    variances = [p.variance for p in (first, second) if p.variance is not None]
    scaled = len(variances) == 2
    # precisions are relative to this, so that float32 holds them
    unit = float(sum(np.mean(v) for v in variances)) if scaled else 0.0
    a, b = (
        preparation.field(p if scaled else replace(p, variance=None), low, extra, unit, threads)
        for p, extra in ((first, 0), (second, 1))
    )
    return Pair(first, second, low, a, b, unit)


def levels(side: int, coarse: int) -> int:
    """The level on which a window of this side has ``coarse`` to twice as many pixels."""
    return max(0, int(np.log2(max(side, 1) / coarse)))


def search(
    both: Pair, windows: np.ndarray, guesses: np.ndarray, reach: float, coarse: int, threads: int,
    report: Progress | None = None,
) -> np.ndarray:  # fmt: skip
    """Where to begin, (n, 2): dx, dy."""
    side = int(windows[:, 2:].min())
    coarsest = levels(side, coarse)
    finest = min(1, coarsest)
    maps = [preparation.pyramid(p, finest, coarsest) for p in (both.first, both.second)]
    a, b = maps
    reach = min(reach, max(both.first.values.shape))  # beyond, nothing is in both
    steps = np.full(2, int(np.ceil(reach / (1 << coarsest))))
    starts = np.zeros((len(windows), 2))

    def make_task() -> thread_pool.Task:
        return lambda begin, end: block_matching.match(
            a.zx, a.zy, b.zx, b.zy, a.firsts, a.shapes, finest, windows, guesses, steps,
            starts, begin, end,
        )  # fmt: skip

    thread_pool.run(make_task, len(windows), chunk(windows), threads, report)
    return starts


def chunk(windows: np.ndarray) -> int:
    """Windows of a task."""
    return max(1, _MATCHED // max(1, int(windows[:, 2:].prod(axis=1).max(initial=1))))


def refine(
    both: Pair,
    windows: np.ndarray,
    starts: np.ndarray,
    brightness: str,
    tol: float,
    least: float,
    threads: int,
    report: Progress | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Columns of results (n, kernel.COLUMNS), covariances in pixels, and statuses."""
    out = np.empty((len(windows), window_columns.COLUMNS))
    status = np.empty(len(windows), dtype=np.int64)
    rows, columns = (int(n) for n in windows[:, 2:].max(axis=0, initial=1))
    rules = (BRIGHTNESS[brightness], _MAX_ITER, tol, least, _REACH)

    def make_task() -> thread_pool.Task:
        scratch = window_columns.make_scratch(rows, columns, both.low.kernel.square.size)
        return lambda begin, end: kernel.refine(
            both.a.coefficients, both.a.precision, both.b.coefficients, both.b.precision,
            both.shape, windows, starts, both.low.kernel, rules, both.unit, scratch,
            out, status, begin, end,
        )  # fmt: skip

    thread_pool.run(make_task, len(windows), chunk(windows), threads, report)
    return out, status
