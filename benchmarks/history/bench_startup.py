"""asv: what a new process waits for, each measured in processes of its own."""

from __future__ import annotations

import statistics
import subprocess
import sys

REPEATS = 7

CLOCK = "import time; begin = time.perf_counter(); {}; print(time.perf_counter() - begin)"
FIRST_CALLS = {
    "fit_rois": "fastgauss.fit_rois(image[None, 10:21, 10:21])",
    "fit_spots": "fastgauss.fit_spots(image)",
    "find_spots": "fastgauss.find_spots(image)",
    "evaluate": "fastgauss.evaluate((x, x), [1.0, 5.0, 5.0, 1.3, 0.0], 'symmetric')",
    "render": "fastgauss.render((32, 32), [[15.0, 15.0]])",
    "add_at": "fastgauss.add_at(numpy.zeros(32), numpy.arange(32), x)",
    "gaussian_filter": "fastgauss.gaussian_filter(image, 2.0)",
    "kde": "fastgauss.kde(x, x)",
    "fit_lines": "fastgauss.fit_lines(image)",
    "register.align": "fastgauss.register.align(image, image)",
}
DATA = (
    "import numpy, fastgauss; x = numpy.arange(32.0); image = "
    "100 * numpy.exp(-0.3 * ((x - 15) ** 2 + (x[:, None] - 15) ** 2)) + numpy.cos(x * x[:, None])"
)


def seconds(statement: str) -> float:
    """What the last line of the statement takes in a new process, at best."""
    command = [sys.executable, "-c", statement]
    return min(
        float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        for _ in range(REPEATS)
    )


def timeraw_import_fastgauss() -> str:
    """The import, numba's and numpy's with it."""
    return "import fastgauss"


def timeraw_import_numba_and_numpy() -> str:
    """What the import cannot be faster than."""
    return "import numba, numpy"


def track_import_over_numba_and_numpy() -> float:
    """Milliseconds that ``import fastgauss`` adds to numba's and numpy's own."""
    ours, theirs = (CLOCK.format(f"import numba, numpy{more}") for more in (", fastgauss", ""))
    return 1000 * statistics.median(seconds(ours) - seconds(theirs) for _ in range(3))


track_import_over_numba_and_numpy.unit = "ms"
track_import_over_numba_and_numpy.timeout = 300


def track_first_call_with_a_warm_cache(call: str) -> float:
    """Seconds of the first call in a process, its kernels compiled by an earlier one."""
    return seconds(f"{DATA}; {CLOCK.format(FIRST_CALLS[call])}")


track_first_call_with_a_warm_cache.unit = "s"
track_first_call_with_a_warm_cache.timeout = 300
track_first_call_with_a_warm_cache.params = list(FIRST_CALLS)
track_first_call_with_a_warm_cache.param_names = ["call"]
