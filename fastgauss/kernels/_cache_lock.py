"""Cold processes on one cache take turns: one compiles a kernel, the others wait and load it.

A turn is a lock on one byte of a file in the cache's folder; a hash of the kernel's name tells
which byte. The system frees such a lock when its process ends, in whatever way, and a forked
child does not have it. All turns of a process end together, when its outermost compilation
does, also in an error. Callees compile within their caller's turn; the graph of calls has no
cycle, so neither has that of the waiting.

Nothing but time depends on turns. Where there are no locks (Windows, some network file
systems, folders of others), and once a process has waited in vain, it compiles for itself.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PATIENCE = 120.0  # s: the largest kernel takes ten, on a machine that is not overloaded
_PAUSE, _LONGEST_PAUSE = 0.01, 0.1  # s


class Turns:
    """The turns of this process; all of it happens under numba's compiler lock."""

    def __init__(self) -> None:
        self._depth = 0
        self._files: dict[str, int] = {}  # by folder, while something compiles
        self._waits = fcntl is not None

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """While a kernel compiles, and its callees within."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                while self._files:
                    _, file = self._files.popitem()
                    with suppress(OSError):
                        os.close(file)

    def wait(self, folder: str, name: str, look: Callable[[], Any]) -> Any:
        """What ``look`` finds, or None when it is this process that has to compile ``name``."""
        if not (self._waits and self._depth):
            return None
        start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") >> 1
        pause, deadline = _PAUSE, time.monotonic() + PATIENCE
        try:
            file = self._open(folder)
            while time.monotonic() < deadline:
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, start)
                    return look()  # it may have been kept since the last look
                except BlockingIOError:
                    time.sleep(pause)
                pause = min(1.5 * pause, _LONGEST_PAUSE)
                found = look()
                if found is not None:
                    return found
        except OSError:
            pass
        self._waits = False
        return None

    def _open(self, folder: str) -> int:
        """The file of the folder, never closed in between: that would end every turn in it."""
        if folder not in self._files:
            path = os.path.join(folder, ".fastgauss.lock")  # noqa: PTH118
            self._files[folder] = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        return self._files[folder]
