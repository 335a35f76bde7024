"""The logger "fastgauss": silent unless the caller's program listens.

At INFO it tells each kernel that is compiled, how long that took and where the code is kept; at
DEBUG also every job: items, chunks and threads.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from numba.core import event

from ..kernels._cache import PackageCache
from ..kernels._compile import cache_path

logger = logging.getLogger("fastgauss")
logger.addHandler(logging.NullHandler())


class _Compilations(event.Listener):
    """Hears numba begin and end to compile, one function inside another, under its one lock."""

    def __init__(self) -> None:
        self._begun: list[float] = []

    def on_start(self, event: Any) -> None:
        self._begun.append(time.perf_counter())

    def on_end(self, event: Any) -> None:
        seconds = time.perf_counter() - self._begun.pop()
        dispatcher = event.data["dispatcher"]
        if isinstance(dispatcher._cache, PackageCache) and logger.isEnabledFor(logging.INFO):
            place, function = cache_path(dispatcher), dispatcher.py_func
            kept = f"kept in {place}" if place else "not kept"
            name = f"{function.__module__}.{function.__qualname__}"
            logger.info("compiled %s in %.2f s, %s", name, seconds, kept)
            logger.debug("for the types %s", event.data["args"])


event.register("numba:compile", _Compilations())
