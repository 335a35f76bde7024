"""Fits of movies: `fit_movie` and `iter_movie`."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import chain, islice, pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check
from ..base.progress import Progress, reporting
from ..base.thread_pool import resolve_threads
from ..cameras.camera import Camera, check_camera
from ..io.movies import checked_frames, open_movie
from ..models.model import Model
from ..results.fit_result import FitResult
from .frame_fits import Fitted, MovieError, fit_groups
from .frame_groups import OPTIONS, FrameFits, group_size

_BLOCK = 256  # frames whose results are joined: one alone takes 2 kB besides its rows
_OPTIONS = OPTIONS.keys() - {"positions", "model", "camera", "threads", "progress"}


def fit_movie(
    frames: Any,
    positions: ArrayLike | None = None,
    model: str | Model = "symmetric",
    *,
    camera: Camera | None = None,
    pixel_size: float | None = None,
    threads: int | None = None,
    progress: bool | Progress = False,
    **options: Any,
) -> FitResult:
    """Find and fit the spots of every frame of a movie.

    Parameters
    ----------
    frames : array (t, y, x) or (t, z, y, x), path, or iterable of arrays
        A numpy array or memmap; an array of dask, Zarr, h5py or xarray, which is read a chunk of
        frames at a time; the path of a file that ``fastgauss fit`` reads (TIFF, Zarr, NPY, FITS); a
        list; or any iterator, such as a camera. Every frame is read once, in the caller's thread,
        and has the shape of the first.
    positions : array (n, ndim) or table, optional
        (z,) row and column of spots, the same in all frames; by default every frame is searched.
    model : {"symmetric", "elliptic", "rotated"} or Model
        As in `fit_spots`.
    camera : Camera, optional
        The camera that wrote the frames: counts become photons, as in `fit_spots`.
    pixel_size : float, optional
        Side of a pixel in nm, which the result keeps for tables in nm (`FitResult.save`); lengths
        of the result are in pixels with it, too.
    threads : int, optional
        Frames that are fitted at a time; by default `get_num_threads`. The result does not depend
        on it.
    progress : bool or callable
        True shows a tqdm bar of frames; a callable gets ``(done, total)``; total is 0 where the
        number of frames is not known.
    **options
        All other options of `fit_spots`. `weights`, `error`, `variance`, `mask` and an array as
        `background` are maps of a frame, the same for all frames. `shared` parameters are shared
        within a frame.

    Returns
    -------
    FitResult
        The rows of ``fit_spots(frame, ...)`` of one frame after the other, to the bit, with the
        number of the frame, from 0, in ``frames`` and in the column ``frame``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value, or if there is no frame.
    MovieError
        If a frame after the first cannot be read or fitted: one of another shape, a file that is
        cut short, an iterator that raises. Its ``result`` has the spots of the frames before.

    See Also
    --------
    iter_movie : Gives the result of each frame as soon as there is one.

    Notes
    -----
    Small frames are fitted in groups, of at most 32 frames and two million pixels: the fits of a
    group are one batch, which takes half of the time of a call of `fit_spots` for each frame. The
    memory is that of the result and of three groups for each thread (and of a chunk of
    an array in chunks), for a movie of any length. With ``joint=True``, `shared` parameters, and
    values for each spot in `fixed`, `bounds` or `guess`, each frame is fitted alone. Where there
    are fewer frames than threads, each frame is fitted by all threads. In small frames the search
    takes most of the time, three quarters at 256 x 256 pixels and 60 spots.
    ``detector="laplacian"`` fits three times as many frames a second, and misses faint spots.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> spots = [[200.0, 20.3 + k, 30.7, 1.3, 10.0] for k in range(3)]
    >>> movie = np.random.default_rng(1).poisson(fg.image(spots, (64, 64), model="symmetric"))
    >>> result = fg.fit_movie(movie, method="mle", false_alarms=0.01)
    >>> result.frames, result.x.round()
    (array([0, 1, 2]), array([20., 21., 22.]))
    """
    blocks: list[FitResult] = []
    results: list[FitResult] = []
    known = {"positions": positions, "model": model, "camera": camera, **options}
    fits = _fits(frames, known, pixel_size, threads, progress, several=True)
    try:
        with closing(fits):
            for _, fitted in fits:
                results.append(fitted.result)
                if len(results) == _BLOCK:
                    blocks.append(FitResult.concatenate(results))
                    results.clear()
    except MovieError as error:
        kept = FitResult.concatenate(blocks + results)
        raise MovieError(error.frame, error.reason, kept) from error.__cause__
    if not blocks and not results:
        raise ValueError("frames must hold at least one frame, got none")
    return FitResult.concatenate(blocks + results)


def iter_movie(
    frames: Any,
    positions: ArrayLike | None = None,
    model: str | Model = "symmetric",
    *,
    camera: Camera | None = None,
    pixel_size: float | None = None,
    threads: int | None = None,
    progress: bool | Progress = False,
    **options: Any,
) -> Iterator[FitResult]:
    """The spots of each frame of a movie, one result after the other, while frames arrive.

    Parameters
    ----------
    frames, positions, model, camera, pixel_size, threads, progress, **options
        As in `fit_movie`. `frames` may be without end.

    Returns
    -------
    iterator of FitResult
        A result for each frame, in their order, with the number of the frame in ``frames``; one
        without rows for a frame without spots. The first frame is read when the first result is
        asked for.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.
    MovieError
        If a frame after the first cannot be read or fitted, after the results of all frames before.

    Notes
    -----
    Frames of an iterator are fitted one by one. If they arrive more slowly than they
    are fitted, a result is given when the next frame has arrived; with ``threads=1`` at once,
    before the next frame is asked for. Reading stops while three frames for each thread are in
    work, so the memory is bounded, and no result waits for more frames than these. Frames of which
    the number is known, those of arrays, files and lists, are fitted in groups, as by `fit_movie`.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> def camera():
    ...     while True:
    ...         yield fg.image([100.0, 20.3, 30.7, 1.3, 10.0], (64, 64), model="symmetric")
    >>> for spots in fg.iter_movie(camera()):
    ...     print(spots.frames, spots.x.round(1), spots.y.round(1))
    ...     if spots.frames[0] == 1:
    ...         break
    [0] [20.3] [30.7]
    [1] [20.3] [30.7]
    """
    known = {"positions": positions, "model": model, "camera": camera, **options}
    return _frame_by_frame(_fits(frames, known, pixel_size, threads, progress, several=False))


def _frame_by_frame(
    fits: Generator[tuple[int, Fitted[FitResult]], None, None],
) -> Generator[FitResult, None, None]:
    """The results of all frames, each alone."""
    with closing(fits):
        for first, fitted in fits:
            if fitted.frames == 1:
                yield fitted.result
                continue
            rows, numbers = fitted.result.rows, np.arange(first, first + fitted.frames + 1)
            assert rows.frames is not None
            for begin, end in pairwise(np.searchsorted(rows.frames, numbers).tolist()):
                yield fitted.result.with_rows(rows.take(slice(begin, end)))


def _fits(
    frames: Any, known: dict[str, Any], pixel_size: Any, threads: Any, progress: Any, several: bool
) -> Generator[tuple[int, Fitted[FitResult]], None, None]:
    """The results of all frames by groups; options are checked now, frames read later.

    ``several``: frames whose number is not known are fitted in groups, too.
    """
    unknown = sorted(known.keys() - _OPTIONS - {"positions", "model", "camera"})
    if unknown:
        raise TypeError(f"{unknown[0]} is no option of fit_movie, nor of fit_spots")
    check_camera("camera", known["camera"])
    if pixel_size is not None:
        pixel_size = check.number("pixel_size", pixel_size, above=0.0)
    team = resolve_threads(threads)

    def results() -> Generator[tuple[int, Fitted[FitResult]], None, None]:
        with (
            open_movie("frames", frames) as movie,
            reporting(progress, movie.length, "frame") as report,
        ):
            alone = team == 1 or 0 < movie.length < team
            pictures = checked_frames("frames", movie)
            first = list(islice(pictures, 1))
            size = 1
            if first and (several or movie.length) and (team == 1 or not alone):
                pixels = math.prod(np.shape(first[0]))
                size = group_size(pixels, movie.length, team)
            fit = FrameFits(known, team if alone else 1, pixel_size)
            done = 0
            with closing(
                fit_groups(chain(first, pictures), fit, size, threads=1 if alone else team)
            ) as fits:
                for fitted in fits:
                    yield done, fitted
                    for _ in range(fitted.frames):
                        done += 1
                        if report is not None:
                            report(done, movie.length)

    return results()
