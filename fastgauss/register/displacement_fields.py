"""The displacement of every window of an image: cloud motion, particle image velocimetry."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check
from ..base.progress import Progress, check_progress, report_part, reporting
from ..base.thread_pool import resolve_threads
from ..kernels.register import window_columns
from . import significance, window_matching
from .results import DisplacementField, Status
from .translation import read_pair

_COARSE = 16  # pixels of a window on the coarsest level
_TOL = 1e-3  # pixels; Newton's last step leaves its square
_LEAST = 0.25  # share of a window that must be in both images
_SMALLEST = 8  # pixels of a window's side
_AGAIN = 2.0  # pixels around the result of a pass that the next one looks at
_PASSES = 16  # of windows twice as wide each: more than any image has
_NOISE = 0.1  # pixels: what neighbours may differ by, in the median test
_LIMIT = 2.0  # of the median test


def displacement_field(
    a: ArrayLike,
    b: ArrayLike,
    window: int | tuple[int, int] = 64,
    step: int | tuple[int, int] = 32,
    err: ArrayLike | tuple | None = None,
    mask: ArrayLike | tuple | None = None,
    *,
    search: float | None = None,
    multipass: int = 1,
    brightness: str = "linear",
    threads: int | None = None,
    progress: bool | Progress = False,
) -> DisplacementField:
    """Displacements of all windows of an image, each with its covariance.

    Every window of `a` is searched in the whole of `b`, so that no pixel is lost at the window's
    edge.

    Parameters
    ----------
    a, b : array_like (Y, X)
        Two images of one scene, of any real dtype; NaN and infinity are missing.
    window, step : int or (rows, columns), optional
        Side of the windows and distance of their centres, in pixels; a window has 8 rows and
        columns or more.
    err : float or array_like (Y, X), or a tuple of two, optional
        Standard deviation of the noise of both images, or of each; 0 in an array is a missing
        pixel. Without it the noise of each pixel is estimated from its residual.
    mask : array_like (Y, X) of bool, or a tuple of two, optional
        True where a pixel is missing, in both images or in each.
    search : float, optional
        Largest displacement along each axis, in pixels: a larger one is no result. By default
        displacements up to a quarter of the window are looked for, and those a little larger are
        results.
    multipass : int, optional
        Number of passes. Each pass begins at the result of the pass before it, whose windows are
        twice as large. A window that fails the median test begins at the median of its neighbours.
    brightness : {"linear", "offset", "same"}
        How a window of `b` may differ: by a constant and a factor, or not at all. "offset" means
        "linear": a factor is found, too.
    threads : int, optional
        Largest number of threads. Results do not depend on it, to the bit.
    progress : bool or callable
        True shows a tqdm bar; a callable gets ``(done, total)``.

    Returns
    -------
    DisplacementField
        Centres x, y; dx (axis 1), dy (axis 0), covariance, status, correlation, noise, outlier.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described. Windows that cannot be registered have a status.

    Notes
    -----
    About 40 ms for 1024 windows of 64 x 64 pixels on two threads.

    The notes of `align` about errors, statuses, structure that does not move, and missing and wild
    pixels hold for every window.

    References
    ----------
    J. Westerweel and F. Scarano, "Universal outlier detection for PIV data", Experiments in Fluids
    39 (2005) 1096, eq. 2: the median test, with 0.1 px and a threshold of 2.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> scene = np.random.default_rng(0).normal(size=(140, 140)).cumsum(0).cumsum(1)
    >>> field = fg.register.displacement_field(scene[5:133, 5:133], scene[7:135, 2:130], 32, 32)
    >>> field.dx.shape, np.median(field.dx).round(3), np.median(field.dy).round(3)
    ((4, 4), np.float64(3.0), np.float64(-2.0))
    """
    errors = err if isinstance(err, tuple) else (err, err)
    if len(errors) != 2:
        raise ValueError(f"err must be one value or a tuple of two, got {len(errors)}")
    check.choice("brightness", brightness, window_matching.BRIGHTNESS)
    sides = _pair("window", window, _SMALLEST)
    steps = _pair("step", step, 1)
    passes = check.integer("multipass", multipass, at_least=1, at_most=_PASSES)
    team = resolve_threads(threads)
    check_progress(progress)
    bound = math.inf if search is None else check.number("search", search, above=0)
    reach = 0.25 * min(sides) if search is None else bound
    first, second = read_pair(a, b, *errors, mask, ("a", "b", "err", "err"), brightness)
    shape = first.values.shape
    if sides[0] > shape[0] or sides[1] > shape[1]:
        raise ValueError(f"window must fit into images of shape {shape}, got {sides}")
    grid = [np.arange(0, n - side + 1, s) for n, side, s in zip(shape, sides, steps, strict=True)]
    both = window_matching.pair(first, second, sides[0] * sides[1], reach, team)
    nodes = len(grid[0]), len(grid[1])
    guesses = np.zeros((nodes[0] * nodes[1], 2))
    total = passes * len(guesses)
    with reporting(progress, total, "window") as report:
        for number in range(passes - 1, -1, -1):
            larger = [min(side << number, n) for side, n in zip(sides, shape, strict=True)]
            windows = _around(grid, sides, larger, shape)
            begin = total - (number + 1) * len(guesses)
            middle, end = begin + len(guesses) // 2, begin + len(guesses)
            starts = window_matching.search(
                both, windows, guesses, reach if number == passes - 1 else _AGAIN, _COARSE, team,
                report_part(report, total, begin, middle),
                bounded=bound < math.inf and number == passes - 1,
            )  # fmt: skip
            out, status = window_matching.refine(
                both.equations, windows, starts, brightness, _TOL, _LEAST * larger[0] * larger[1],
                team,
                report_part(report, total, middle, end),
            )  # fmt: skip
            _bound(out, status, bound)
            if not number:
                significance.judge(both, windows, out, status, reach)
            moves = out[:, [window_columns.DX, window_columns.DY]].reshape(*nodes, 2)
            known = (status != Status.AMBIGUOUS).reshape(*nodes, 1)
            outlier, median = median_test(np.where(known, moves, np.nan))
            guesses = np.where(outlier[..., np.newaxis], median, moves).reshape(-1, 2)
            guesses[np.isnan(guesses)] = 0.0
    noise = np.maximum(out[:, window_columns.RESIDUAL], 0.0)
    if not both.unit:
        with np.errstate(over="ignore"):
            noise = noise / first.scale / first.scale
    covariance = out[
        :, [window_columns.VAR_X, window_columns.COV, window_columns.COV, window_columns.VAR_Y]
    ]
    return DisplacementField(
        grid[1] + 0.5 * (sides[1] - 1),
        grid[0] + 0.5 * (sides[0] - 1),
        moves[..., 0].copy(),
        moves[..., 1].copy(),
        covariance.reshape(*nodes, 2, 2),
        status.reshape(nodes),
        out[:, window_columns.CORRELATION].reshape(nodes).copy(),
        noise.reshape(nodes),
        outlier | (status.reshape(nodes) != Status.CONVERGED),
    )


def _bound(out: np.ndarray, status: np.ndarray, bound: float) -> None:
    """Displacements beyond a bound are none; in place."""
    with np.errstate(invalid="ignore"):
        far = np.abs(out[:, [window_columns.DX, window_columns.DY]]).max(axis=1) > bound
    out[far] = np.nan
    status[far] = Status.LOST


def _pair(name: str, value: Any, at_least: int) -> tuple[int, int]:
    """Rows and columns, from one number or two."""
    given = check.entries(name, value)
    items = [value, value] if given is None else given
    if len(items) != 2:
        raise ValueError(f"{name} must be one number or 2 numbers, got {len(items)}")
    rows, columns = (check.integer(name, item, at_least=at_least) for item in items)
    return rows, columns


def _around(
    grid: list[np.ndarray], sides: tuple[int, int], larger: list[int], shape: tuple[int, ...]
) -> np.ndarray:
    """Windows with the same centres and other sides, pushed into the image: (n, 4)."""
    corners = [
        np.clip(first - (big - side) // 2, 0, n - big)
        for first, side, big, n in zip(grid, sides, larger, shape, strict=True)
    ]
    top, left = np.meshgrid(*corners, indexing="ij")
    out = np.empty((top.size, 4), dtype=np.int64)
    out[:, 0], out[:, 1] = top.ravel(), left.ravel()
    out[:, 2:] = larger
    return out


def median_test(moves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of the vectors (R, C, 2) their neighbours contradict, and the neighbours' median.

    A vector without neighbours passes; a NaN fails.
    """
    rows, columns = moves.shape[:2]
    frame = np.full((rows + 2, columns + 2, 2), np.nan)
    frame[1:-1, 1:-1] = moves
    around = np.stack(
        [
            frame[1 + i : 1 + i + rows, 1 + j : 1 + j + columns]
            for i in (-1, 0, 1)
            for j in (-1, 0, 1)
            if i or j
        ]
    )
    median = _median(around)
    spread = _median(np.abs(around - median))
    residual = np.abs(moves - median) / (spread + _NOISE)
    excess = np.hypot(residual[..., 0], residual[..., 1])
    return np.isnan(moves).any(axis=-1) | (excess > _LIMIT), median


def _median(values: np.ndarray) -> np.ndarray:
    """Median over the first axis of what is not NaN; NaN where nothing is."""
    ordered = np.sort(values, axis=0)  # NaN last
    count = np.isfinite(values).sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    pick = [
        np.take_along_axis(ordered, np.minimum(i, len(values) - 1)[np.newaxis], 0)[0]
        for i in (low, high)
    ]
    return 0.5 * (pick[0] + pick[1])
