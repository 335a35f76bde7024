"""Lines through rows and principal components beside scipy, numpy and scikit-learn.

``python -m benchmarks.comparisons.linear`` from the repository. Every round runs each job once;
the best round counts, and *times ours* is by fastgauss with two threads. *Reading* is a sum over
the memory by two threads.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import fastgauss as fg
from benchmarks.common.tables import print_head, print_row
from fastgauss.tools.bench import take_turns

ROWS = ((2500, 1500), (10_000, 5000))  # the second lies beyond the caches
CLOUDS = ((10_000, 50), (100_000, 64), (1_000_000, 10))
Job = Callable[[], object]


def _reading(image: np.ndarray) -> Job:
    pool = ThreadPoolExecutor(2)
    halves = np.array_split(image.reshape(-1), 2)
    return lambda: list(pool.map(np.sum, halves))


def _row_jobs(image: np.ndarray) -> dict[str, Job]:
    from scipy.signal import detrend

    holes = image.copy()
    holes[np.random.default_rng(1).uniform(size=image.shape) < 0.01] = np.nan
    jobs: dict[str, Job] = {
        "fit_lines, 1 thread": lambda: fg.fit_lines(image, threads=1),
        "fit_lines, 2 threads": lambda: fg.fit_lines(image, threads=2),
        "level, 2 threads": lambda: fg.level(image, threads=2),
        "fit_lines, 1 % NaN, 2 threads": lambda: fg.fit_lines(holes, threads=2),
        "fit_lines, axis 0, 2 threads": lambda: fg.fit_lines(image, axis=0, threads=2),
        "reading, 2 threads": _reading(image),
        "scipy.signal.detrend": lambda: detrend(image),
    }
    if image.size < 1e7:
        x = np.arange(image.shape[1])
        jobs["numpy.polyfit"] = lambda: np.polyfit(x, image.T, 1)
    return jobs


def _cloud_jobs(data: np.ndarray) -> dict[str, Job]:
    jobs: dict[str, Job] = {"pca": lambda: fg.pca(data)}
    with suppress(ImportError):
        from sklearn.decomposition import PCA

        jobs["scikit-learn covariance_eigh, fit_transform"] = lambda: PCA(
            svd_solver="covariance_eigh"
        ).fit_transform(data)
    return jobs


def _print(what: str, jobs: dict[str, Job], rounds: int) -> None:
    take_turns(jobs, most=1)  # the first compiles
    times = take_turns(jobs, most=rounds, seconds=np.inf)
    best = {name: float(each.min()) for name, each in times.items()}
    ours = min(t for name, t in best.items() if name.startswith(("fit_lines, 2", "pca")))
    for name, seconds in best.items():
        print_row([what, name, f"{1e3 * seconds:.2f}", f"{seconds / ours:.2f}"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the smaller array, fewer rounds")
    options = parser.parse_args()
    rounds = 3 if options.quick else 9
    rng = np.random.default_rng(0)
    print_head(["data", "job", "ms", "times ours"])
    for shape in ROWS[: 1 if options.quick else 2]:
        for dtype in (np.float64, np.float32):
            image = rng.standard_normal(shape, dtype=dtype)
            _print(f"{shape[0]} x {shape[1]}, {np.dtype(dtype)}", _row_jobs(image), rounds)
    for n, d in CLOUDS:
        data = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 3
        _print(f"{n} x {d}", _cloud_jobs(data), rounds)


if __name__ == "__main__":
    main()
