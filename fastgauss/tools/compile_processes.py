"""Processes that compile side by side, each into the cache on disk that all of them share.

Every process runs the same calls in an order of its own, from another place of the list outwards.
A lock for each kernel (``kernels/_cache_lock.py``) lets one process compile it while the others
go on or wait. So all is compiled as soon as the first process has run all calls.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from ..kernels._compile import JIT_DISABLED, cache_path
from ..kernels.filters.separable import correlate

_CODE = """
import json, sys
sys.path[:], module, function, arguments = json.loads(sys.argv[1])
from importlib import import_module
getattr(import_module(module), function)(*arguments)
"""


def order(count: int, process: int, processes: int) -> list[int]:
    """The order in which one of several processes runs ``count`` calls."""
    first = (count - 1) * process / max(processes - 1, 1)
    return sorted(range(count), key=lambda call: abs(call - first))


@contextmanager
def started(function: str, arguments: Sequence[Sequence[object]]) -> Iterator[None]:
    """Run ``"module:function"`` in a process for each list of arguments, while the block runs.

    The caller does not need them: a process that fails to start, or ends with an error, leaves
    its share of the work to the caller. The arguments are what JSON can hold. Without a folder
    for compiled code no process is started.
    """
    processes = []
    if not JIT_DISABLED and cache_path(correlate) is not None:
        for given in arguments:
            told = json.dumps([sys.path, *function.split(":"), given])
            command = [sys.executable, "-c", _CODE, told]
            with suppress(OSError):
                processes.append(
                    subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                    )
                )
    try:
        yield
    finally:
        for process in processes:
            process.terminate()  # all is compiled, or the caller has failed
        for process in processes:
            process.wait()
