"""Groups of frames: searched one after the other, their spots fitted as one batch.

The fixed cost of a batch of fits is paid once for all windows of one shape in a group, not once for
each frame; and a kernel that works on many spots rarely waits for the interpreter's lock.
"""

from __future__ import annotations

import inspect
import math
from contextlib import nullcontext
from threading import Lock
from typing import Any

import numpy as np

from ..base.log import logger
from ..fit.windowed import alike
from ..results.fit_result import FitResult
from ..spots.image_fits import fit_image, fit_spots
from ..spots.prepared_images import Asked, Given, Spots, check_image, fit_alone, place_spots
from .frame_fits import Fitted

OPTIONS = {
    name: parameter.default
    for name, parameter in inspect.signature(fit_spots).parameters.items()
    if name != "image"
}
_MOST, _PIXELS = 32, 1 << 21  # frames of a group, and their pixels
_SMALL = 1 << 17  # pixels of a frame: the search of one that is larger is mostly in kernels


def group_size(pixels: int, frames: int, threads: int) -> int:
    """The number of frames of a group; ``frames`` is that of all frames, 0 if it is not known."""
    size = min(_MOST, max(1, _PIXELS // max(pixels, 1)))
    if frames and threads > 1:  # enough groups for all threads
        size = min(size, max(1, frames // (2 * threads)))
    return size


class FrameFits:
    """Fits of the frames of a movie, all with the same options."""

    def __init__(self, known: dict[str, Any], threads: int, pixel_size: float | None) -> None:
        self._pixel_size = pixel_size
        self._given = Given(**{**OPTIONS, **known, "threads": threads})
        self._together = _has_groups(self._given)
        self._turn = Lock()
        self._asked: Asked | None = None

    def __call__(self, number: int, frames: list[Any]) -> Fitted[FitResult]:
        """The spots of frames up to one that fails; ``number`` is that of the first frame."""
        if self._together and len(frames) > 1:
            try:
                return Fitted(self._as_group(number, frames), len(frames))
            except Exception as error:  # the fits of single frames tell which frame failed, and why
                logger.info("frames from %d on are fitted one after the other: %r", number, error)
        results: list[FitResult] = []
        failed = None
        for frame in frames:
            try:
                results.append(fit_image(frame, self._given))
            except Exception as error:
                if not results:
                    raise
                failed = error
                break
        result = results[0] if len(results) == 1 else FitResult.concatenate(results)
        counts = [len(each) for each in results]
        return Fitted(self._framed(number, result, counts), len(results), failed)

    def _as_group(self, number: int, frames: list[Any]) -> FitResult:
        """The spots of all frames, by one batch of fits."""
        # The search of small frames is mostly Python, of which one thread runs at a time anyway:
        # two threads that take turns at every line cost much more.
        small = math.prod(np.shape(frames[0])) <= _SMALL
        with self._turn if small else nullcontext():
            several = [self._placed(frame) for frame in frames]
        counts = [len(spots.placed.positions) for spots in several]
        if alike([spots.placed for spots in several]):
            return self._framed(number, fit_alone(several), counts)
        results = [fit_alone([spots]) for spots in several]
        return self._framed(number, FitResult.concatenate(results), counts)

    def _placed(self, frame: Any) -> Spots:
        """The spots of a frame, not yet fitted; the options are checked with the first one."""
        checked = check_image(frame, self._given, self._asked)
        self._asked = checked.asked
        return place_spots(checked, self._given)

    def _framed(self, number: int, result: FitResult, counts: list[int]) -> FitResult:
        """A result with the numbers of its frames."""
        numbers = np.repeat(np.arange(number, number + len(counts), dtype=np.intp), counts)
        framed = result.with_rows(result.rows._replace(frames=numbers))
        framed.pixel_size = self._pixel_size
        return framed


def _has_groups(given: Given) -> bool:
    """Whether spots of several frames can be fitted as one batch: no option tells spots apart."""
    try:
        if given.joint or given.shared:
            return False
        fixed = (given.fixed or {}).values()
        ends = [end for pair in (given.bounds or {}).values() for end in pair]
        single = all(np.ndim(value) == 0 for value in (*fixed, *ends))
        return single and (given.guess is None or np.ndim(given.guess) == 1)
    except (AttributeError, TypeError, ValueError):  # no dictionaries: each frame says so
        return False
