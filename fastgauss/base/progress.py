"""Progress bars and callbacks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

from . import wording


class Progress(Protocol):
    """The callback of ``progress=``: called with the items done and the total."""

    def __call__(self, done: int, total: int, /) -> Any: ...


def check_progress(progress: Any) -> None:
    """Raise unless this is a valid value of the option ``progress=``."""
    if progress is not None and not callable(progress) and not isinstance(progress, bool):
        got = wording.shown(progress)
        raise TypeError(f"progress must be True, False or a callable, got {got}")


def reporting(
    progress: bool | Progress | None, total: int, unit: str
) -> AbstractContextManager[Progress | None]:
    """A context with the callback that the option ``progress=`` means.

    True means a tqdm bar, which is closed when the job ends, also by an error.
    """
    if progress is False or progress is None:
        return _SILENT
    check_progress(progress)
    return nullcontext(progress) if callable(progress) else _bar(total, unit)


_SILENT: AbstractContextManager[None] = nullcontext()


@contextmanager
def _bar(total: int, unit: str) -> Iterator[Progress]:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise ImportError(
            "progress=True needs tqdm (pip install tqdm); a callable works without it"
        ) from None
    with tqdm(total=total, unit=unit) as bar:
        yield lambda done, _: bar.update(done - bar.n)


class Steps:
    """Counts the steps of a job that are done, for the callback of its progress."""

    def __init__(self, report: Progress | None, total: int) -> None:
        self._report, self._done, self.total = report, 0, total

    def advance(self, count: int = 1) -> None:
        """Tell that ``count`` further steps are done."""
        self._done += count
        if self._report is not None and count:
            self._report(self._done, self.total)


def report_part(progress: Progress | None, total: int, begin: int, end: int) -> Progress | None:
    """A callback for a part of a job, which advances the whole from ``begin`` to ``end``."""
    if progress is None:
        return None
    tell = progress

    def show(done: int, items: int, /) -> None:
        tell(begin + (end - begin) * done // items if items else end, total)

    return show


def report_descent(progress: Progress | None, least: float) -> Callable[[float], None]:
    """A callback for an iteration whose residual shall fall to ``least``.

    The callback gets each residual and reports the progress in hundredths, measured in orders of
    magnitude from the first residual to ``least``.
    """
    first, done = 0.0, 0

    def tell(residual: float) -> None:
        nonlocal first, done
        if progress is None or not residual > 0.0:
            return
        first = first or residual
        way = math.log(max(first / least, 1.0 + 1e-9))
        done = min(99, max(done, int(100.0 * math.log(first / residual) / way)))
        progress(done, 100)

    return tell
