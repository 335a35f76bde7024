"""The lock of the compile cache: one process compiles a kernel, others wait and load it.

A process locks a kernel before it compiles it. The lock is on one byte of a file in the cache's
folder; a hash of the kernel's name selects the byte. The system frees the lock when the process
ends, however it ends, and a forked child does not hold it. A process frees all of its locks
together, when its outermost compilation ends, also by an error: a kernel's callees compile while
the kernel is locked. The graph of calls has no cycle, so processes cannot wait for each other in a
circle.

The locks change nothing but the time. Where there are none (Windows, some network file systems,
folders of other users), and after a process has waited in vain, the process compiles for itself.
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


class CompileLocks:
    """The locks of this process; the methods run under numba's compiler lock."""

    def __init__(self) -> None:
        self._depth = 0
        self._files: dict[str, int] = {}  # by folder, while something compiles
        self._waits = fcntl is not None

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """Hold locks while a kernel and its callees compile."""
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
        """The result of ``look``, or None if this process has to compile ``name``."""
        if not (self._waits and self._depth):
            return None
        start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") >> 1
        pause, deadline = _PAUSE, time.monotonic() + PATIENCE
        try:
            file = self._open(folder)
            while time.monotonic() < deadline:
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, start)
                    return look()  # another process may have stored it since the last look
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
        """The open file of the folder. It stays open: closing it would free all locks in it."""
        if folder not in self._files:
            path = os.path.join(folder, ".fastgauss.lock")  # noqa: PTH118
            self._files[folder] = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        return self._files[folder]
