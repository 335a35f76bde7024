"""Windows of a pair of images: block matching, then refinement, over the thread pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..base import thread_pool
from ..base.progress import Progress
from ..kernels.register import block_matching, window_columns
from ..kernels.register import gauss_newton as kernel
from . import inputs, low_pass, preparation

BRIGHTNESS = {
    "linear": window_columns.LINEAR,
    "offset": window_columns.LINEAR,
    "same": window_columns.SAME,
}
_MAX_ITER = 20
_REACH = 4.0  # pixels that a solution may be away from where it began
_MATCHED = 1 << 18  # pixels of the windows of a task
_RESOLVED = 4.0  # pixels of a level, at least, in a period of the scene


class Equations(NamedTuple):
    """The input of the matching: images, filter, and variances of their noise."""

    views: window_columns.Views
    filter: window_columns.Filter
    unit: float  # variance of the difference of typical pixels; 0 if that was not given
    noise_ratio: float  # of the second image's noise by the first's


@dataclass(frozen=True)
class Pair:
    """Two images ready for registration."""

    first: inputs.Pixels
    second: inputs.Pixels
    spectra: low_pass.Spectra
    views: window_columns.Views
    unit: float  # variance of the difference of typical pixels; 0 if that was not given
    noise_ratio: float  # of the second image's noise by the first's

    @property
    def equations(self) -> Equations:
        return Equations(self.views, self.spectra.low.kernel, self.unit, self.noise_ratio)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.first.values.shape


def pair(
    first: inputs.Pixels, second: inputs.Pixels, count: int, reach: float, threads: int
) -> Pair:
    """Filter both images, for windows of ``count`` pixels."""
    return filtered(
        first, second, low_pass.choose(low_pass.measure(first, second), count, reach), threads
    )


def filtered(
    first: inputs.Pixels, second: inputs.Pixels, spectra: low_pass.Spectra, threads: int
) -> Pair:
    """Both images after the low-pass filter of ``spectra``."""
    shape = first.values.shape
    means = [float(np.mean(p.variance)) for p in (first, second) if p.variance is not None]
    # precisions are relative to this, so that float32 holds them
    unit = sum(means) if len(means) == 2 else 0.0
    noises = (means[0], means[1]) if unit else spectra.noises
    a, b = (
        preparation.field(pixels, spectra.low, extra, noise, unit, threads)
        for pixels, extra, noise in ((first, 0, noises[0]), (second, 1, noises[1]))
    )
    views = window_columns.Views(
        a.coefficients, *preparation.sample(a.coefficients, shape, (0.0, 0.0)), a.precision,
        b.coefficients, b.precision, *shape,
    )  # fmt: skip
    return Pair(first, second, spectra, views, unit, low_pass.noise_ratio(noises))


def levels(side: int, coarse: int) -> int:
    """The level on which a window of this side has ``coarse`` to twice as many pixels."""
    return max(0, int(np.log2(max(side, 1) / coarse)))


def search(
    both: Pair, windows: np.ndarray, guesses: np.ndarray, reach: float, coarse: int, threads: int,
    report: Progress | None = None, bounded: bool = False,
) -> np.ndarray:  # fmt: skip
    """Where to begin, (n, 2): dx, dy; ``bounded`` if not beyond ``reach`` of the guesses."""
    side = int(windows[:, 2:].min())
    reach = min(reach, float(max(both.shape)))  # beyond, nothing is in both
    finest = reach if not both.spectra.period else min(reach, both.spectra.period / _RESOLVED)
    coarsest = min(levels(side, coarse), max(0, int(np.log2(max(finest, 1.0)))))
    maps = [preparation.pyramid(p, min(1, coarsest), coarsest) for p in (both.first, both.second)]
    lines = block_matching.Levels(
        maps[0].zx, maps[0].zy, maps[1].zx, maps[1].zy, maps[0].firsts, maps[0].shapes,
        min(1, coarsest),
    )  # fmt: skip
    steps = int(np.ceil(reach / (1 << coarsest)))
    span = block_matching.Range(steps, steps, reach if bounded else 2.0 * max(both.shape))
    starts = np.zeros((len(windows), 2))

    def make_task() -> thread_pool.Task:
        return lambda begin, end: block_matching.match(
            lines, windows, guesses, span, starts, begin, end
        )

    thread_pool.run(make_task, len(windows), chunk(windows), threads, report)
    return starts


def chunk(windows: np.ndarray) -> int:
    """Windows of a task."""
    return max(1, _MATCHED // max(1, int(windows[:, 2:].prod(axis=1).max(initial=1))))


def refine(
    equations: Equations,
    windows: np.ndarray,
    starts: np.ndarray,
    brightness: str,
    tol: float,
    fewest: float,
    threads: int,
    report: Progress | None = None,
    telling: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Columns of results (n, kernel.COLUMNS), covariances in pixels, and statuses.

    ``fewest`` are the pixels of a window that must exist in both images, ``telling`` the weight
    below which a pixel does not tell how the noise goes with the brightness.
    """
    out = np.empty((len(windows), window_columns.COLUMNS))
    status = np.empty(len(windows), dtype=np.int64)
    rows, columns = (int(n) for n in windows[:, 2:].max(axis=0, initial=1))
    views, low, unit, ratio = equations
    rules = window_columns.Rules(
        BRIGHTNESS[brightness], _MAX_ITER, tol, fewest, _REACH, unit, ratio, telling
    )

    def make_task() -> thread_pool.Task:
        scratch = window_columns.make_scratch(rows, columns, low.smooth.size)
        return lambda begin, end: kernel.refine(
            views, windows, starts, low, rules, scratch, out, status, begin, end
        )

    thread_pool.run(make_task, len(windows), chunk(windows), threads, report)
    return out, status
