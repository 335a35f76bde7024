"""Frame by frame: fits of frames that are read once, several at a time, their results in order.

`fit_movie`, `iter_movie`, the command ``fastgauss fit`` and ``fastgauss.dask`` all work by these
functions.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from ..base import wording
from ..base.thread_pool import ordered
from ..results.fit_result import FitResult

Result = TypeVar("Result")


class MovieError(ValueError):
    """A movie ended before its last frame: a frame could not be read, or not be fitted.

    What was fitted before is kept. The error that was the reason is ``__cause__``.

    Attributes
    ----------
    frame : int
        Number of the frame that failed; it and all later frames are not in the result.
    result : FitResult or None
        The spots of the frames before, of `fit_movie`. None of `iter_movie`, which has given them
        already.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> image = fg.image([100.0, 20.3, 30.7, 1.3, 10.0], (64, 64), model="symmetric")
    >>> try:
    ...     result = fg.fit_movie([image, image, image[:50]])
    ... except fg.MovieError as error:
    ...     print(error)
    ...     result = error.result
    frame 2: frames[2] must have the shape (64, 64), got (50, 64); the attribute "result" of this \
error has the 2 spots of the frames before it
    >>> result.frames
    array([0, 1])
    """

    def __init__(self, frame: int, reason: str, result: FitResult | None = None) -> None:
        super().__init__(frame, reason, result)
        self.frame, self.reason, self.result = frame, reason, result

    def __str__(self) -> str:
        kept = ""
        if self.result is not None:
            spots = wording.plural(len(self.result), "spot")
            kept = f'; the attribute "result" of this error has the {spots} of the frames before it'
        return f"frame {self.frame}: {self.reason}{kept}"


class Fitted(NamedTuple, Generic[Result]):
    """The result of a group of frames, of which at least one was fitted."""

    result: Result  # of all of them
    frames: int  # that were fitted: all, if none failed
    failed: Exception | None = None  # why the frame after these could not be fitted


def fit_groups(
    frames: Iterable[Any],
    fit: Callable[[int, list[Any]], Fitted[Result]],
    size: int,
    first: int = 0,
    threads: int = 1,
) -> Generator[Fitted[Result], None, None]:
    """The results of ``fit(number, frames)`` for groups of frames; ``number`` is the first one's.

    Groups come in the order of the frames, and have ``size`` frames each but for the last. Frames
    are read in the caller's thread, at most three groups for each thread ahead of the result that
    is given. An error in the first frame is raised as it is; an error in a later frame is raised as
    MovieError, after the results of the frames before.
    """
    number = first
    results = ordered(lambda each: fit(*each), _groups(iter(frames), size, first), threads)
    try:
        for fitted in results:
            yield fitted
            number += fitted.frames
            if fitted.failed is not None:
                raise fitted.failed
    except Exception as error:
        if number == first:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise MovieError(number, reason) from error
    finally:
        results.close()


def _groups(frames: Iterator[Any], size: int, first: int) -> Iterator[tuple[int, list[Any]]]:
    """Groups of frames, with the number of the first; those before an error come before it."""
    failed = None
    while failed is None:
        group: list[Any] = []
        try:
            for frame in islice(frames, size):
                group.append(frame)
        except Exception as error:
            failed = error
        if group:
            yield first, group
        if len(group) < size and failed is None:
            return
        first += size
    raise failed


def fit_frames(
    frames: Iterable[Any],
    fit: Callable[[int, Any], Result],
    first: int = 0,
    threads: int = 1,
) -> Generator[Result, None, None]:
    """The results of ``fit(number, frame)`` for each frame, as `fit_groups` gives them.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> frames = fg.image([[9.0, 6.0, 7.0, 1.3, 0.0]] * 2, (15, 15), model="symmetric")
    >>> for spots in fit_frames(frames, lambda number, frame: fg.fit_spots(frame)):
    ...     print(spots.x.round(3))
    [6.]
    [6.]
    """

    def fit_one(number: int, group: list[Any]) -> Fitted[Result]:
        return Fitted(fit(number, *group), 1)

    with closing(fit_groups(frames, fit_one, 1, first, threads)) as each:
        for fitted in each:
            yield fitted.result
