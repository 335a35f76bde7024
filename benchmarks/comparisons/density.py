"""Kernel densities beside KDEpy, scipy and a sum over all pairs: time, and error against the sum.

``python -m benchmarks.comparisons.density`` from the repository; ``--quick`` leaves out scipy,
which takes half a minute. Samples are normal, the bandwidth Scott's, points are normal, too, or a
grid for the FFT. Errors are in units of the peak, against all pairs at some of the points. Every
round runs each job once; the best round counts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import fastgauss as fg
from benchmarks.common.tables import print_head, print_row

CASES = ((1, 100_000, 10_000), (2, 100_000, 10_000), (3, 100_000, 10_000), (2, 1_000_000, 65_536))
CHECKED = 50  # points whose sum over all pairs is formed
Job = Callable[[], np.ndarray]


def all_pairs(samples: np.ndarray, points: np.ndarray, h: float) -> np.ndarray:
    """The sum that everybody approximates."""
    d = samples.shape[1]
    values = [np.exp(-0.5 * ((samples - p) ** 2).sum(axis=1) / h**2).sum() for p in points]
    return np.array(values) / (len(samples) * (2 * np.pi * h**2) ** (d / 2))


def _grid_points(samples: np.ndarray, count: int) -> np.ndarray:
    """Points of a regular grid that holds all samples, in the order that KDEpy wants."""
    d = samples.shape[1]
    side = round(count ** (1 / d))
    axes = [np.linspace(c.min() - 1, c.max() + 1, side) for c in samples.T]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, d)


def _jobs(samples: np.ndarray, points: np.ndarray, h: float, quick: bool) -> dict[str, Job]:
    d = samples.shape[1]
    width = (h,) * d
    jobs: dict[str, Job] = {}
    for threads in (1, 2):
        for tol in (1e-3, 1e-6):
            jobs[f"fastgauss, tol {tol:g}, {threads} threads"] = lambda t=tol, k=threads: fg.kde(
                samples, points, width, tol=t, threads=k
            )
    if not quick and len(samples) * len(points) < 1e10:
        from scipy.stats import gaussian_kde

        jobs["scipy gaussian_kde"] = lambda: gaussian_kde(samples.T)(points.T)
    return jobs


def _fft_job(samples: np.ndarray, points: np.ndarray, h: float) -> Job:
    from KDEpy import FFTKDE

    return lambda: FFTKDE(bw=h).fit(samples).evaluate(points)


def _best(jobs: dict[str, Job], rounds: int) -> dict[str, float]:
    best = dict.fromkeys(jobs, np.inf)
    for turn in range(rounds + 1):
        for name, job in jobs.items():
            if name.startswith("scipy") and turn != 1:
                continue
            start = time.perf_counter()
            job()
            if turn:  # the first compiles
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="without scipy")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    print_head(["dimensions", "samples", "points", "job", "ms", "error / peak"])
    for d, n, m in CASES:
        samples = rng.normal(size=(n, d))
        samples /= samples.std(axis=0, ddof=1)
        h = n ** (-1 / (d + 4))
        grid = _grid_points(samples, m)
        points = grid if n == 1_000_000 else rng.normal(size=(m, d))
        jobs = _jobs(samples, points, h, options.quick)
        places = dict.fromkeys(jobs, points)
        with suppress(ImportError):
            jobs["KDEpy FFTKDE, on a grid"] = _fft_job(samples, grid, h)
            places["KDEpy FFTKDE, on a grid"] = grid
        some = rng.choice(len(grid) if n == 1_000_000 else m, CHECKED, replace=False)
        peak = all_pairs(samples, np.zeros((1, d)), h)[0]
        for name, seconds in _best(jobs, 5).items():
            where = places[name]
            near = np.argsort((where**2).sum(axis=1))[::29][:CHECKED] if where is grid else some
            found = jobs[name]()[near] if not name.startswith("scipy") else None
            error = (
                "exact"
                if found is None
                else f"{np.abs(found - all_pairs(samples, where[near], h)).max() / peak:.0e}"
            )
            print_row([str(d), f"{n:.0e}", f"{m:.0e}", name, f"{1e3 * seconds:.2f}", error])


if __name__ == "__main__":
    main()
