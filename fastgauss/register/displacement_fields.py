"""The displacement of every window of an image: cloud motion, particle image velocimetry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check
from ..base.progress import Progress, check_progress, reporting
from ..base.thread_pool import resolve_threads
from ..kernels.register import window_columns
from . import window_matching, window_passes
from .results import DisplacementField, Status
from .translation import read_pair
from .window_passes import Sizes

_SMALLEST = 8  # pixels of a window's side
_STEP = 32  # pixels between windows of a single pass
_PASSES = 16  # of windows twice as wide each: more than any image has


def displacement_field(
    a: ArrayLike,
    b: ArrayLike,
    window: int | tuple[int, int] | Sequence[int | tuple[int, int]] = 64,
    step: int | tuple[int, int] | None = None,
    err: ArrayLike | tuple | None = None,
    mask: ArrayLike | tuple | None = None,
    *,
    overlap: float | tuple[float, float] | Sequence[float | tuple[float, float]] | None = None,
    search: float | None = None,
    multipass: int = 1,
    deformation: str = "symmetric",
    brightness: str = "linear",
    threads: int | None = None,
    progress: bool | Progress = False,
) -> DisplacementField:
    """Displacements of all windows of an image, each with its covariance.

    With one size of windows, every window of `a` is searched in the whole of `b`, so that no pixel
    is lost at the window's edge. With several sizes this is the first pass. Before each further
    pass both images are deformed by the field found so far, so that a window sees no shear and may
    be small, as in particle image velocimetry.

    Parameters
    ----------
    a, b : array_like (Y, X)
        Two images of one scene, of any real dtype; NaN and infinity are missing.
    window : int, (rows, columns), or a sequence with one of these for each pass
        Side of the windows in pixels, 8 or more. ``(64, 32, 16)`` are three passes. Two numbers
        are rows and columns; two passes are written ``((64, 64), (32, 32))``.
    step : int or (rows, columns), optional
        Distance of the centres of the windows of the last pass, in pixels. By default 32 of a
        single pass, else half of the window. The windows of earlier passes overlap by half.
    err : float or array_like (Y, X), or a tuple of two, optional
        Standard deviation of the noise of both images, or of each; 0 in an array is a missing
        pixel. Without it the noise of each pixel is estimated from its residual.
    mask : array_like (Y, X) of bool, or a tuple of two, optional
        True where a pixel is missing, in both images or in each.
    overlap : float or (rows, columns), or a sequence with one of these for each pass, optional
        What neighbouring windows have in common, instead of `step`: a share of the window's side if
        it is below 1, else whole pixels. ``(0.5, 0.75)`` are rows and columns of a single pass, and
        one number a pass of two.
    search : float, optional
        Largest displacement along each axis, in pixels: a larger one is no result. By default
        displacements up to a quarter of the first window are looked for, and those a little larger
        are results.
    multipass : int, optional
        Number of passes within the first, without deformation. Each begins at the result of the one
        before it, whose windows are twice as large. A window that fails the median test begins at
        the median of its neighbours.
    deformation : {"symmetric", "second"}
        How the images are deformed before the passes after the first: each by half of the field, or
        `b` by all of it. With "symmetric" the displacement at x is that of what is at x - dx / 2 in
        `a` and at x + dx / 2 in `b`; with "second", and with a single pass, that of what is at x in
        `a`.
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
        After several passes, an outlier among at least three good neighbours is replaced: its
        displacement is their median, its status `Status.REPLACED`, its covariance their spread and
        noise, and `outlier` stays True. What has one direction or too few pixels is not replaced.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described. Windows that cannot be registered have a status.

    Notes
    -----
    About 40 ms for 1024 windows of 64 x 64 pixels on two threads.

    The notes of `align` about errors, statuses, structure that does not move, and missing and wild
    pixels hold for every window.

    Between two passes, outliers of the median test become the median of their neighbours and gaps
    become the nearest vector. The field is smoothed by parabolas through the nodes within a
    window's side (or two nodes) on either side, and interpolated by bicubic splines; the images are
    interpolated by quintic splines. The second pass looks a sixteenth of the first window around
    the field, 2 px at least; a further pass begins at the field, and looks 2 px around where it is
    not sure. Two passes with the last window, as in ``(64, 32, 16, 16)``, leave less of a curved
    flow's bias than one. Where the displacement changes by more than 3 px within a window of the
    first pass, begin with smaller windows and say how far to look: ``(32, 32, 16)``, ``search=16``.
    A pass of windows of 16 px over 512 x 512 pixels costs about 60 ms of one thread.

    From the third pass on, pixels around which the images differ count less, such as those of
    particles that have left the light sheet. The errors contain the noise of the field that
    deformed the images, and a share of what the last pass added, where that is more than noise.

    References
    ----------
    J. Westerweel and F. Scarano, "Universal outlier detection for PIV data", Experiments in Fluids
    39 (2005) 1096, eq. 2: the median test, with 0.1 px and a threshold of 2. F. Scarano, "Iterative
    image deformation methods in PIV", Measurement Science and Technology 13 (2002) R1.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> scene = np.random.default_rng(0).normal(size=(140, 140)).cumsum(0).cumsum(1)
    >>> a, b = scene[5:133, 5:133], scene[7:135, 2:130]
    >>> field = fg.register.displacement_field(a, b, 32, 32)
    >>> field.dx.shape, np.median(field.dx).round(3), np.median(field.dy).round(3)
    ((4, 4), np.float64(3.0), np.float64(-2.0))
    >>> fg.register.displacement_field(a, b, (64, 32, 16)).dx.shape
    (15, 15)
    """
    errors = err if isinstance(err, tuple) else (err, err)
    if len(errors) != 2:
        raise ValueError(f"err must be one value or a tuple of two, got {len(errors)}")
    check.choice("brightness", brightness, window_matching.BRIGHTNESS)
    check.choice("deformation", deformation, window_passes.SHARES)
    passes = _passes(window, step, overlap)
    before = check.integer("multipass", multipass, at_least=1, at_most=_PASSES)
    team = resolve_threads(threads)
    check_progress(progress)
    bound = math.inf if search is None else check.number("search", search, above=0)
    reach = 0.25 * min(passes[0].sides) if search is None else bound
    first, second = read_pair(a, b, *errors, mask, ("a", "b", "err", "err"), brightness)
    shape = first.values.shape
    for sizes in passes:
        if sizes.sides[0] > shape[0] or sizes.sides[1] > shape[1]:
            raise ValueError(f"window must fit into images of shape {shape}, got {sizes.sides}")
    counts = [math.prod(map(len, sizes.corners(shape))) for sizes in passes]
    total = (before - 1) * counts[0] + sum(counts)
    images = window_passes.Images(first, second, brightness, bound, reach, team)
    with reporting(progress, total, "window") as tell:
        report = window_passes.Report(tell, total)
        result, unit = window_passes.search_whole(
            images, passes[0], before, len(passes) > 1, report
        )
        if len(passes) > 1:
            shares = window_passes.SHARES[deformation]
            result = window_passes.search_rest(images, passes[1:], result, shares, report)
            window_passes.replace(result)
    return _field(result, shape, 0.0 if unit else first.scale)


def _field(result: window_passes.Result, shape: tuple[int, ...], scale: float) -> DisplacementField:
    """The public result; ``scale`` is that of the pixels if their noise was not given, else 0."""
    nodes, out, status = result.outlier.shape, result.out, result.status
    noise = np.maximum(out[:, window_columns.RESIDUAL], 0.0)
    if scale:
        with np.errstate(over="ignore"):
            noise = noise / scale / scale
    covariance = out[
        :, [window_columns.VAR_X, window_columns.COV, window_columns.COV, window_columns.VAR_Y]
    ]
    moves = result.moves
    y, x = result.sizes.centres(shape)
    return DisplacementField(
        x,
        y,
        moves[..., 0].copy(),
        moves[..., 1].copy(),
        covariance.reshape(*nodes, 2, 2),
        status.reshape(nodes),
        out[:, window_columns.CORRELATION].reshape(nodes).copy(),
        noise.reshape(nodes),
        result.outlier | (status.reshape(nodes) != Status.CONVERGED),
    )


# -- the windows that are asked for -------------------------------------------------------------


def _passes(window: Any, step: Any, overlap: Any) -> list[Sizes]:
    """Windows of each pass."""
    given = check.entries("window", window)
    if given is None or (
        len(given) == 2 and all(check.entries("window", w) is None for w in given)
    ):
        given = [window]
    if not given:
        raise ValueError("window must be one number, 2 numbers, or one of these a pass, got none")
    sides = [_pair("window", w, _SMALLEST) for w in given]
    if overlap is not None:
        if step is not None:
            raise ValueError("step and overlap exclude each other: give one of them")
        each = _each_pass(overlap, len(sides))
        return [Sizes(side, _apart(side, share)) for side, share in zip(sides, each, strict=True)]
    if step is None:
        step = _STEP if len(sides) == 1 else _half(sides[-1])
    steps = [_half(side) for side in sides[:-1]] + [_pair("step", step, 1)]
    return [Sizes(*both) for both in zip(sides, steps, strict=True)]


def _half(sides: tuple[int, int]) -> tuple[int, int]:
    return sides[0] // 2, sides[1] // 2


def _each_pass(overlap: Any, count: int) -> list[Any]:
    """The overlap of each pass."""
    given = check.entries("overlap", overlap)
    if given is None or count == 1:
        return [overlap] * count
    if len(given) != count:
        raise ValueError(f"overlap must be one number or one a pass, {count}, got {len(given)}")
    return given


def _apart(sides: tuple[int, int], overlap: Any) -> tuple[int, int]:
    """Distance of windows that overlap by a share, or by a number of pixels."""
    given = check.entries("overlap", overlap)
    items = [overlap, overlap] if given is None else given
    if len(items) != 2:
        raise ValueError(f"overlap must be one number or 2 numbers a pass, got {len(items)}")
    steps = []
    for side, item in zip(sides, items, strict=True):
        common = check.number("overlap", item, at_least=0)
        if common < 1:
            common = round(common * side)
        if common != int(common):
            raise ValueError(f"overlap must be a share below 1 or whole pixels, got {item}")
        if common >= side:
            raise ValueError(
                f"overlap must leave a step of 1 pixel or more, got {item} of a window of {side}"
            )
        steps.append(side - int(common))
    return steps[0], steps[1]


def _pair(name: str, value: Any, at_least: int) -> tuple[int, int]:
    """Rows and columns, from one number or two."""
    given = check.entries(name, value)
    items = [value, value] if given is None else given
    if len(items) != 2:
        raise ValueError(f"{name} must be one number or 2 numbers, got {len(items)}")
    rows, columns = (check.integer(name, item, at_least=at_least) for item in items)
    return rows, columns
