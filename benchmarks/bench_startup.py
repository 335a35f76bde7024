"""asv: what a new process waits for, each measured in processes of its own."""

from __future__ import annotations

import statistics
import subprocess
import sys

REPEATS = 7

CLOCK = "import time; begin = time.perf_counter(); {}; print(time.perf_counter() - begin)"
FIRST_FIT = (
    "import numpy, fastgauss; rois = numpy.zeros((1, 7, 7)); rois[0, 3, 3] = 1.0; "
    "begin = time.perf_counter(); fastgauss.fit_rois(rois)"
)


def seconds(statement: str) -> float:
    """What the statement takes in a new process, at best."""
    command = [sys.executable, "-c", CLOCK.format(statement)]
    return min(
        float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        for _ in range(REPEATS)
    )


def track_import_over_numba_and_numpy() -> float:
    """Milliseconds that ``import fastgauss`` adds to numba's and numpy's own."""
    pairs = [
        seconds("import numba, numpy, fastgauss") - seconds("import numba, numpy") for _ in range(3)
    ]
    return 1000 * statistics.median(pairs)


track_import_over_numba_and_numpy.unit = "ms"


def track_first_fit_with_a_warm_cache() -> float:
    """Seconds from ``fit_rois`` to its result, in a process that has not fitted before."""
    return seconds(FIRST_FIT)


track_first_fit_with_a_warm_cache.unit = "s"
track_first_fit_with_a_warm_cache.timeout = track_import_over_numba_and_numpy.timeout = 300
