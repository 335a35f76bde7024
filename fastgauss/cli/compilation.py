"""Compilation: what the command says of it, and fits that are compiled side by side."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import event

from ..base import wording
from ..kernels._cache import PackageCache

_FIRST = "compiling for the first time, usually a minute or two; later runs start at once"
_AGAIN = 60.0  # seconds after which a kernel that begins or ends is told again


class _Compiled(event.Listener):
    """Hears of each kernel of the package that is compiled, from any thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._open = self._done = 0
        self._since = self._told = 0.0
        self._seconds = 0.0

    def on_start(self, event: Any) -> None:
        if not _is_ours(event):
            return
        with self._lock:
            now = self._clock()
            if not self._open:
                self._since = now
            if not self._open and not self._done:
                _say(_FIRST)
                self._told = now
            else:
                self._tell_again("still compiling", now)
            self._open += 1

    def on_end(self, event: Any) -> None:
        if not _is_ours(event):
            return
        with self._lock:
            now = self._clock()
            self._open -= 1
            self._done += 1
            if not self._open:
                self._seconds += now - self._since
            self._tell_again("compiled so far", now)

    def _tell_again(self, words: str, now: float) -> None:
        """Say how much is compiled, unless something was said within the last minute."""
        if now - self._told >= _AGAIN:
            _say(f"{words}: {self._text(now)}")
            self._told = now

    def _text(self, now: float) -> str:
        running = now - self._since if self._open else 0.0
        return f"{wording.plural(self._done, 'kernel')} in {self._seconds + running:.0f} s"

    def finish(self) -> None:
        """Say how long it took, if anything was compiled."""
        if self._done:
            _say(f"compiled {self._text(self._clock())}")


def _is_ours(event: Any) -> bool:
    return isinstance(event.data["dispatcher"]._cache, PackageCache)


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
