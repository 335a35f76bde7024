"""Deposits and gathers beside a plain compiled loop and other packages, interleaved.

Run ``python -m benchmarks.comparisons.deposit`` from the repository; ``--quick`` takes half a
minute. Every round runs each job once; the best round counts, and *by the loop* is its speed by
that of the plain loop in the same rounds. *Processor* is the time of all cores together: where
two threads need no more of it than one, two free cores take half as long. Particles are random
and unsorted, float64, the box is periodic; the loop neither wraps nor checks, so all lie inside.
yt and mass_assignment are left out if they are not installed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numba import njit

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import fastgauss as fg
from benchmarks.common.tables import print_head, print_row

KERNELS = ("nearest", "linear", "quadratic", "cubic")
LOOP = "plain loop, linear"


@njit(nogil=True)
def plain_loop(out: np.ndarray, positions: np.ndarray, values: np.ndarray) -> None:
    """Cloud in cell as one would write it."""
    for i in range(len(positions)):
        z, y, x = positions[i, 0], positions[i, 1], positions[i, 2]
        a, b, c = int(z), int(y), int(x)
        for k in range(2):
            f = z - a if k else 1 - (z - a)
            for j in range(2):
                g = f * (y - b if j else 1 - (y - b)) * values[i]
                out[a + k, b + j, c] += g * (1 - (x - c))
                out[a + k, b + j, c + 1] += g * (x - c)


def _yt(out: np.ndarray, positions: np.ndarray, values: np.ndarray) -> Callable[[], object]:
    from yt.utilities.lib.particle_mesh_operations import CICDeposit_3

    z, y, x = (np.ascontiguousarray(column) for column in positions.T)
    edge = np.full(3, -0.5)
    size = np.array(out.shape, dtype=np.int32)
    return lambda: CICDeposit_3(z, y, x, values, len(values), out, edge, size, 1.0)


def _mass_assignment(
    out: np.ndarray, positions: np.ndarray, values: np.ndarray, method: str, threads: int
) -> Callable[[], object]:
    from mass_assignment import dens

    n = len(out)
    return lambda: dens(positions, n, float(n), method, values, threads, dtype=np.float64)


def _jobs(side: int, count: int) -> dict[str, Callable[[], object]]:
    """Everything to time, by name."""
    grid = fg.Grid((side,) * 3, periodic=True)
    positions = np.random.default_rng(0).uniform(0, side - 1.001, (count, 3))
    values, out = np.ones(count), np.zeros(grid.shape)
    jobs: dict[str, Callable[[], object]] = {LOOP: lambda: plain_loop(out, positions, values)}
    with suppress(ImportError):
        jobs["yt, linear, 1 threads"] = _yt(out, positions, values)
    with suppress(ImportError):
        for kernel, method in (("linear", "CIC"), ("quadratic", "TSC")):
            for threads in (1, 2):
                job = _mass_assignment(out, positions, values, method, threads)
                jobs[f"mass_assignment, {kernel}, {threads} threads"] = job
    for kernel in KERNELS:
        for threads in (1, 2):
            jobs[f"deposit, {kernel}, {threads} threads"] = lambda k=kernel, t=threads: fg.deposit(
                grid, positions, values, k, out, threads=t
            )
    for kernel in KERNELS:
        for threads in (1, 2):
            jobs[f"gather, {kernel}, {threads} threads"] = lambda k=kernel, t=threads: fg.gather(
                out, positions, k, grid, threads=t
            )
    return jobs


def _measure(jobs: dict[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Shortest wall-clock and processor times of each."""
    best = {name: np.full(2, np.inf) for name in jobs}
    for turn in range(rounds + 1):
        for name, job in jobs.items():
            start = np.array([time.perf_counter(), time.process_time()])
            job()
            end = np.array([time.perf_counter(), time.process_time()])
            if turn:  # the first compiles
                best[name] = np.minimum(best[name], end - start)
    return best


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer particles and rounds")
    parser.add_argument("--sides", type=int, nargs="+", default=None, help="nodes along an axis")
    parser.add_argument("--count", type=float, default=None, help="particles")
    options = parser.parse_args()
    count = int(options.count or (1e6 if options.quick else 1e7))
    print_head(
        ["nodes", "particles", "job", "million particles a second", "by the loop", "processor (s)"]
    )
    for side in options.sides or ([128] if options.quick else [128, 512]):
        best = _measure(_jobs(side, count), 3)
        for name, (seconds, processor) in best.items():
            cells = [f"{side}^3", f"{count:.0e}", name, f"{count / seconds / 1e6:.1f}"]
            print_row([*cells, f"{best[LOOP][0] / seconds:.2f}", f"{processor:.3f}"])


if __name__ == "__main__":
    main()
