"""Compilation: what the command says of it, its time, and fits that are compiled side by side."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from numba.core import event

from ..base import wording
from ..kernels._cache import WAITING, PackageCache

_FIRST = "compiling for the first time, usually for less than a minute; later runs start at once"
_AGAIN = 60.0  # seconds after which a kernel that begins or ends is told again


class _Watch(event.Listener):
    """The time in which kernels of the package are compiled, from any thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._open = self._done = 0
        self._since = self._seconds = 0.0

    def on_start(self, event: Any) -> None:
        if _is_ours(event):
            with self._lock:
                self._begin(self._clock())

    def on_end(self, event: Any) -> None:
        if _is_ours(event):
            with self._lock:
                self._end(self._clock())

    def _begin(self, now: float) -> None:
        if not self._open:
            self._since = now
        self._open += 1

    def _end(self, now: float) -> None:
        self._open -= 1
        self._done += 1
        if not self._open:
            self._seconds += now - self._since

    def seconds(self, now: float) -> float:
        """The time until now, without gaps in which nothing was compiled."""
        return self._seconds + (now - self._since if self._open else 0.0)


class _Compiled(_Watch):
    """Tells of each kernel of the package that is compiled."""

    _told = 0.0

    def _begin(self, now: float) -> None:
        if not self._open and not self._done:
            _say(_FIRST)
            self._told = now
        else:
            self._tell_again("still compiling", now)
        super()._begin(now)

    def _end(self, now: float) -> None:
        super()._end(now)
        self._tell_again("compiled so far", now)

    def _tell_again(self, words: str, now: float) -> None:
        """Say how much is compiled, unless something was said within the last minute."""
        if now - self._told >= _AGAIN:
            _say(f"{words}: {self._text(now)}")
            self._told = now

    def _text(self, now: float) -> str:
        return f"{wording.plural(self._done, 'kernel')} in {self.seconds(now):.0f} s"

    def finish(self) -> None:
        """Say how long it took, if anything was compiled."""
        if self._done:
            _say(f"compiled {self._text(self._clock())}")


def _is_ours(event: Any) -> bool:
    """Whether a kernel of the package is compiled, here or by a process that is waited for."""
    return event.kind == WAITING or isinstance(event.data["dispatcher"]._cache, PackageCache)


def _say(words: str) -> None:
    print(f"fastgauss: {words}", file=sys.stderr, flush=True)


@contextmanager
def telling(clock: Callable[[], float] = time.perf_counter) -> Iterator[None]:
    """Say on stderr that kernels are compiled.

    This is said before the first, when a kernel begins or ends, at most once a minute, and when the
    block ends. While one kernel is compiled, nothing is said.
    """
    heard = _Compiled(clock)
    try:
        with event.install_listener("numba:compile", heard):
            yield
    finally:
        heard.finish()


class Time(NamedTuple):
    """Seconds of a block: those of its work, and those in which kernels were compiled."""

    work: float
    compiling: float

    def __str__(self) -> str:
        told = f"{self.work:.2f} s"
        return f"{told} and {self.compiling:.2f} s of compiling" if self.compiling > 0.01 else told


@contextmanager
def timed(clock: Callable[[], float] = time.perf_counter) -> Iterator[Callable[[], Time]]:
    """Measure the time of a block; the function that it gets returns the time so far.

    While another process compiles a kernel that this one waits for, the time is of compiling, too.
    """
    watch, start = _Watch(clock), clock()

    def read() -> Time:
        now = clock()
        compiling = watch.seconds(now)
        return Time(now - start - compiling, compiling)

    with event.install_listener("numba:compile", watch), event.install_listener(WAITING, watch):
        yield read


class _First(event.Listener):
    """Calls a function before the first kernel of the package is compiled."""

    def __init__(self, begin: Callable[[], Any]) -> None:
        self._begin, self._has_begun = begin, False

    def on_start(self, event: Any) -> None:
        if not self._has_begun and _is_ours(event):
            self._has_begun = True
            self._begin()

    def on_end(self, event: Any) -> None:
        pass


@contextmanager
def at_first_kernel(begin: Callable[[], Any]) -> Iterator[None]:
    """Call a function if a kernel has to be compiled in the block, once, before it is."""
    with event.install_listener("numba:compile", _First(begin)):
        yield
