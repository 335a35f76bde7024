"""Passes of windows over a pair of images that are deformed by the field of the pass before.

The first pass compares the images as they are, from large windows to smaller ones. Before every
further pass the field is checked by the median test, filled, smoothed and interpolated, and the
images are deformed by it, so that only the rest of the displacement is between them: a window sees
no shear then, and may be small. Its displacement is the field at its centre + the rest.

A window's match is taken for certain if that of the pass before was, at this place, for there is
little room left to be wrong; else it must be beyond chance by itself (``significance``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..base.progress import Progress, report_part
from ..kernels.register import window_columns
from . import image_deformation, inputs, low_pass, significance, window_matching
from .image_deformation import FlowSpline
from .match_weights import match_weights
from .results import Status
from .vector_validation import (
    fill,
    median_test,
    neighbours_say,
    parabola_weights,
    smooth,
    typical_square,
)

COARSE = 16  # pixels of a window on the coarsest level
AGAIN = 2.0  # pixels around the result of a pass that the next one looks at
_SHEARED = 1.0 / 16.0  # of a window: what is looked at after a pass whose windows saw the shear
_TOL = 1e-3  # pixels; Newton's last step leaves its square
_ROUGH = 0.02  # pixels; of a pass that others follow
_LEAST = 0.25  # share of a window that must be in both images
_MEASURED = (Status.ONE_DIRECTION, Status.TOO_FEW_PIXELS)  # nothing stands for these
SHARES = {  # of the flow: where the first and the second image are read
    "symmetric": (-0.5, 0.5),
    "second": (0.0, 1.0),
}
_MOVES = [window_columns.DX, window_columns.DY]
_TELLING = 0.25  # weight of a pixel that tells the noise of those around it
_COVARIANCE = [window_columns.VAR_X, window_columns.COV, window_columns.VAR_Y]
_FITTED = 2.0  # of the samples that decide a displacement: what it fits
_UNSEEN = 0.1  # of the square of what a pass adds: that of what it misses
_BENT = 2.0  # times the variance of a window: what a pass adds without a bent flow
_WAVES = 96  # frequencies of each axis in the sum over the noise of passes


class Sizes(NamedTuple):
    """Windows of a pass, rows and columns."""

    sides: tuple[int, int]
    steps: tuple[int, int]

    @property
    def halves(self) -> tuple[int, int]:
        """Nodes on either side over which the field is smoothed: within a window's side, or two."""
        rows, columns = (
            max(2, round(side / step)) for side, step in zip(self.sides, self.steps, strict=True)
        )
        return rows, columns

    def corners(self, shape: tuple[int, ...]) -> list[np.ndarray]:
        """First pixels of the windows along each axis."""
        return [
            np.arange(0, n - side + 1, step)
            for n, side, step in zip(shape, self.sides, self.steps, strict=True)
        ]

    def centres(self, shape: tuple[int, ...]) -> list[np.ndarray]:
        """Centres of the windows along each axis."""
        return [
            first + 0.5 * (side - 1)
            for first, side in zip(self.corners(shape), self.sides, strict=True)
        ]


@dataclass
class Result:
    """Windows of a pass; N of R rows and C columns."""

    sizes: Sizes
    out: np.ndarray  # (N, COLUMNS), displacements whole
    status: np.ndarray  # (N,)
    outlier: np.ndarray  # (R, C)
    median: np.ndarray  # (R, C, 2) of the neighbours

    @property
    def moves(self) -> np.ndarray:
        """dx, dy (R, C, 2)."""
        return self.out[:, _MOVES].reshape(*self.outlier.shape, 2)

    @property
    def sure(self) -> np.ndarray:
        """Where a displacement is one, and its neighbours agree (R, C)."""
        return (self.status == Status.CONVERGED).reshape(self.outlier.shape) & ~self.outlier

    @property
    def guesses(self) -> np.ndarray:
        """The displacements, of which outliers are the neighbours' median; NaN without any."""
        return np.where(self.outlier[..., np.newaxis], self.median, self.moves)


class Images(NamedTuple):
    """A pair as it was given."""

    first: inputs.Pixels
    second: inputs.Pixels
    brightness: str
    bound: float  # pixels along an axis beyond which a displacement is none
    reach: float  # pixels within which the first pass looks
    threads: int


class Report(NamedTuple):
    """Progress of the passes."""

    tell: Progress | None
    total: int  # windows of all passes

    def part(self, begin: int, end: int) -> Progress | None:
        """The report of progress of the windows from ``begin`` to ``end``."""
        return report_part(self.tell, self.total, begin, end)


def around(sizes: Sizes, larger: list[int], shape: tuple[int, ...]) -> np.ndarray:
    """Windows with the same centres and other sides, pushed into the image: (n, 4)."""
    corners = [
        np.clip(first - (big - side) // 2, 0, n - big)
        for first, side, big, n in zip(
            sizes.corners(shape), sizes.sides, larger, shape, strict=True
        )
    ]
    top, left = np.meshgrid(*corners, indexing="ij")
    out = np.empty((top.size, 4), dtype=np.int64)
    out[:, 0], out[:, 1] = top.ravel(), left.ravel()
    out[:, 2:] = larger
    return out


def bound(out: np.ndarray, status: np.ndarray, limit: float) -> None:
    """Displacements beyond a limit are none; in place."""
    with np.errstate(invalid="ignore"):
        far = np.abs(out[:, _MOVES]).max(axis=1) > limit
    out[far] = np.nan
    status[far] = Status.LOST


def test(sizes: Sizes, nodes: tuple[int, int], out: np.ndarray, status: np.ndarray) -> Result:
    """The windows of a pass after the median test."""
    moves = out[:, _MOVES].reshape(*nodes, 2)
    known = (status != Status.AMBIGUOUS).reshape(*nodes, 1)
    return Result(sizes, out, status, *median_test(np.where(known, moves, np.nan)))


def search_whole(
    images: Images, sizes: Sizes, multipass: int, followed: bool, report: Report
) -> tuple[Result, float]:
    """The first pass, from windows that are ``2 ** (multipass - 1)`` times as large; `Pair.unit`.

    ``followed`` if it is not the last one.
    """
    shape, sides = images.first.values.shape, sizes.sides
    both = window_matching.pair(
        images.first, images.second, sides[0] * sides[1], images.reach, images.threads
    )
    rows, columns = (len(c) for c in sizes.corners(shape))
    count = rows * columns
    guesses = np.zeros((count, 2))
    for number in range(multipass - 1, -1, -1):
        larger = [min(side << number, n) for side, n in zip(sides, shape, strict=True)]
        windows = around(sizes, larger, shape)
        begin = (multipass - 1 - number) * count
        middle, end = begin + count // 2, begin + count
        first = number == multipass - 1
        starts = window_matching.search(
            both, windows, guesses, images.reach if first else AGAIN, COARSE, images.threads,
            report.part(begin, middle), bounded=images.bound < np.inf and first,
        )  # fmt: skip
        out, status = window_matching.refine(
            both.equations, windows, starts, images.brightness,
            _ROUGH if followed or number else _TOL,
            _LEAST * larger[0] * larger[1], images.threads, report.part(middle, end),
        )  # fmt: skip
        bound(out, status, images.bound)
        if not number:
            significance.judge(both, windows, out, status, images.reach)
        result = test(sizes, (rows, columns), out, status)
        guesses = result.guesses.reshape(-1, 2)
        guesses[np.isnan(guesses)] = 0.0
    return result, both.unit


def search_rest(
    images: Images,
    passes: list[Sizes],
    before: Result,
    shares: tuple[float, float],
    report: Report,
) -> Result:
    """All further passes, after the result of the one before."""
    shape = images.first.values.shape
    pixels = images.first, images.second
    splines = [image_deformation.coefficients(p, images.threads) for p in pixels]
    done = before.outlier.size
    sizes, noises = [before.sizes], [_noise(before)]
    # the noise of the images as they were given says which filters are best
    measured = low_pass.measure(*pixels)
    for number, current in enumerate(passes, 1):
        y, x = before.sizes.centres(shape)
        moves = smooth(fill(before.guesses), before.sizes.halves)
        spline = FlowSpline(y, x, moves, shape)
        flow = spline.everywhere(shape, images.threads)
        first, second = (
            image_deformation.deform(p, c, flow, share, images.threads)
            for p, c, share in zip(pixels, splines, shares, strict=True)
        )
        spectra = low_pass.choose(measured, current.sides[0] * current.sides[1], images.reach)
        both = window_matching.filtered(first, second, spectra, images.threads)
        # after a single pass what is left between the images may be a pixel, and q says little
        settled = len(sizes) > 1
        if settled:
            side = min(current.sides)
            weights = match_weights(first, second, spectra.noises, side, images.threads)
            for precision in (both.views.precision_a, both.views.precision_b):
                precision[: weights.size] *= weights.ravel()
        sizes.append(current)
        tol = _ROUGH if number < len(passes) else _TOL
        before = _pass(images, both, current, before, spline, settled, tol, report, done)
        noises.append(_noise(before))
        before.out[:, _COVARIANCE] *= noise_of_passes(sizes, noises)
        done += before.outlier.size
    return before


def _pass(
    images: Images,
    both: window_matching.Pair,
    sizes: Sizes,
    before: Result,
    spline: FlowSpline,
    settled: bool,
    tol: float,
    report: Report,
    done: int,
) -> Result:
    """A pass over images that are deformed; ``settled`` if those of the one before were."""
    shape = both.shape
    windows = around(sizes, list(sizes.sides), shape)
    telling = _TELLING if settled and not both.unit else 0.0
    begin = done
    middle, end = begin + len(windows) // 2, begin + len(windows)
    places = sizes.centres(shape)
    known = nearest(before, places, shape).ravel()
    # after a pass that deformed the images, what is left of a sure match is near 0
    sought = np.flatnonzero(~known) if settled else np.arange(len(windows))
    again = AGAIN if settled else max(AGAIN, _SHEARED * max(before.sizes.sides))
    starts = np.zeros((len(windows), 2))
    if len(sought):
        starts[sought] = window_matching.search(
            both, windows[sought], starts[sought], again, COARSE, images.threads,
            report.part(begin, middle), bounded=True,
        )  # fmt: skip
    out, status = window_matching.refine(
        both.equations, windows, starts, images.brightness, tol,
        _LEAST * sizes.sides[0] * sizes.sides[1], images.threads, report.part(middle, end),
        telling,
    )  # fmt: skip
    _judge_rest(both, out, status, known)
    alone = np.flatnonzero(~known)
    rows, verdicts = out[alone], status[alone]
    significance.judge(both, windows[alone], rows, verdicts, images.reach)
    out[alone], status[alone] = rows, verdicts
    _widen(both, out, sizes, before.sizes)
    out[:, _MOVES] += spline.at(*places).reshape(-1, 2)
    bound(out, status, images.bound)
    return test(sizes, (len(places[0]), len(places[1])), out, status)


def nearest(before: Result, places: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Whether the pass before is sure at places (R, C)."""
    index = [
        np.clip(np.rint((place - nodes[0]) / step), 0, len(nodes) - 1).astype(int)
        for place, nodes, step in zip(
            places, before.sizes.centres(shape), before.sizes.steps, strict=True
        )
    ]
    return before.sure[np.ix_(*index)]


def _judge_rest(
    both: window_matching.Pair, out: np.ndarray, status: np.ndarray, known: np.ndarray
) -> None:
    """Matches near a displacement that is known must be beyond the chance of its neighbourhood."""
    found = (status == Status.CONVERGED) & known
    wrong = found & ~significance.evidence_of(both, out).firm
    significance.mark_ambiguous(out, status, np.flatnonzero(wrong), AGAIN)


def _widen(both: window_matching.Pair, out: np.ndarray, sizes: Sizes, before: Sizes) -> None:
    """Variances for few particles and for a flow that is bent within a window; in place.

    A residual is smaller than the noise where few samples decide. What a pass adds to the smooth
    field beyond the noise is bent, and the window does not see all of it; what it misses goes with
    the square of its side.
    """
    samples = out[:, window_columns.SPREAD] * both.spectra.independent
    with np.errstate(all="ignore"):
        few = 1.0 + _FITTED / np.maximum(samples, _FITTED)
    out[:, _COVARIANCE] *= few[:, np.newaxis]
    own = [window_columns.VAR_X, window_columns.VAR_Y]
    nodes = [len(corners) for corners in sizes.corners(both.shape)]
    smaller = min(math.prod(sizes.sides) / math.prod(before.sides), 1.0)
    rest, variance = (
        typical_square(a.reshape(*nodes, 2)).reshape(-1, 2)
        for a in (out[:, _MOVES], np.sqrt(out[:, own]))
    )
    with np.errstate(invalid="ignore"):
        out[:, own] += _UNSEEN * smaller**2 * np.fmax(rest - _BENT * variance, 0.0)


def replace(result: Result) -> None:
    """Put the neighbours' median in the place of outliers; in place."""
    nodes = result.outlier.shape
    median, variance, enough = neighbours_say(
        np.where(result.sure[..., np.newaxis], result.moves, np.nan)
    )
    status = result.status.reshape(nodes)
    wrong = ~result.sure & enough & ~np.isin(status, _MEASURED)
    rows = np.flatnonzero(wrong)
    own = [window_columns.VAR_X, window_columns.VAR_Y]
    usual = np.median(result.out[result.sure.ravel()][:, own], axis=0) if len(rows) else 0.0
    result.out[rows[:, np.newaxis], _MOVES] = median[wrong]
    result.out[rows[:, np.newaxis], own] = variance[wrong] + usual
    result.out[rows, window_columns.COV] = 0.0
    result.status[rows] = Status.REPLACED


# -- the noise of the passes before ------------------------------------------------------------


def _noise(result: Result) -> float:
    """Typical variance of a displacement by pixel; 1 where nothing is sure."""
    own = result.out[result.sure.ravel()][:, [window_columns.VAR_X, window_columns.VAR_Y]]
    typical = float(np.median(own)) if own.size else 0.0
    return max(typical * result.sizes.sides[0] * result.sizes.sides[1], 1e-12)


def noise_of_passes(passes: list[Sizes], noises: list[float]) -> float:
    """Ratio of the variance of the last pass and that of its windows alone.

    The noise of the field that deformed the images is in the result where a window does not see
    it: at wavelengths shorter than a window. Let xi be the noise of a displacement at every pixel,
    W the mean over a window, S the smoothing and interpolation between the nodes; then the error
    is e = W xi + (1 - W) S e', with e' that of the pass before. ``noises`` are the variances of xi
    of each pass. A pass has the noise of the next and, if it was larger, one of its own.
    """
    k = (np.arange(_WAVES) + 0.5) / (2 * _WAVES)  # cycles by pixel
    boxes = [np.multiply.outer(*(_box(k, side) for side in p.sides)) for p in passes]
    kept = [np.multiply.outer(*map(_between, (k, k), p.steps, p.halves)) for p in passes]
    total = 0.0
    for last in range(len(passes)):
        more = noises[last]
        if last < len(passes) - 1:
            more = max(more - noises[last + 1], 0.0)
        error = np.zeros_like(boxes[0])
        for number, box in enumerate(boxes):
            if number:
                error = (1.0 - box) * kept[number - 1] * error
            if number <= last:
                error = error + box
        total += more * float((error**2).sum())
    return max(1.0, total / (noises[-1] * float((boxes[-1] ** 2).sum())))


def _box(k: np.ndarray, side: int) -> np.ndarray:
    """Response of the mean over a number of pixels."""
    return np.sin(np.pi * k * side) / (side * np.sin(np.pi * k))


def _between(k: np.ndarray, step: int, half: int) -> np.ndarray:
    """Response of the smoothing of nodes and of the cubic spline between them."""
    turn = 2.0 * np.pi * k * step
    smoothed = np.cos(np.outer(turn, np.arange(-half, half + 1))) @ parabola_weights(half)
    return smoothed * np.sinc(k * step) ** 4 * 3.0 / (2.0 + np.cos(turn))
