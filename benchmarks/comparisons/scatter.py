"""add_at and histogram beside other packages, interleaved in one process.

Run ``python -m benchmarks.comparisons.scatter`` from the repository; ``--quick`` takes half a
minute. Packages that are not installed are left out. Every round runs us on one thread and on
two, and each package once, back to back; *ratio* is the median over the rounds of a package's
time by ours, so that a busy machine slows both. ``numpy_groupies`` and the histograms make a new
array, as ``numpy.bincount`` does; they are given the same pairs. Each result is checked.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import fastgauss as fg
from benchmarks.common.tables import print_head, print_row

Call = Callable[[], np.ndarray]
HEAD = ["job", "who", "million a second", "ours, 1 thread, faster by", "ours, 2 threads, by"]
US = ("fastgauss 1 thread", "fastgauss 2 threads")


class Job(NamedTuple):
    """Pairs to add: how many bins, in what order, with what indices."""

    bins: int
    order: str
    index: str

    def __str__(self) -> str:
        return f"{self.bins:,} bins, {self.order}, {self.index}"


BINS = {"small": 49_152, "medium": 1_000_000, "large": 100_000_000}


def pairs(job: Job, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices and values."""
    rng = np.random.default_rng(1)
    indices = rng.integers(0, job.bins, n).astype(job.index)
    if job.order == "sorted":
        indices.sort()
    return indices, rng.random(n)


def adders(job: Job, n: int, out: np.ndarray) -> dict[str, Call]:
    """Calls that add the pairs, to ``out`` if they can."""
    k, v = pairs(job, n)

    def into(add: Callable[[np.ndarray], object]) -> np.ndarray:
        add(out)
        return out

    calls: dict[str, Call] = {
        US[0]: lambda: into(lambda o: fg.add_at(o, k, v, threads=1)),
        US[1]: lambda: into(lambda o: fg.add_at(o, k, v, threads=2)),
        "numpy.add.at": lambda: into(lambda o: np.add.at(o, k, v)),
        "numpy.bincount": lambda: np.bincount(k, v, job.bins),
    }
    try:
        import numpy_groupies

        numba.set_num_threads(1)  # its newer versions share chunks out
        if job.bins < 10_000_000:
            calls["numpy_groupies, 1 thread"] = lambda: numpy_groupies.aggregate(
                k, v, size=job.bins
            )
    except ImportError:
        pass
    try:
        import boost_histogram

        axis = boost_histogram.axis.Integer(0, job.bins, underflow=False, overflow=False)

        def boost() -> np.ndarray:
            histogram = boost_histogram.Histogram(axis)
            histogram.fill(k, weight=v)
            return histogram.view()

        if job.bins < 10_000_000:
            calls["boost_histogram"] = boost
    except ImportError:
        pass
    return calls


def histograms(side: int, n: int) -> dict[str, Call]:
    """Calls that make a weighted histogram of points in a plane."""
    rng = np.random.default_rng(2)
    y, x, w = rng.random((3, n))
    limits = ((0.0, 1.0), (0.0, 1.0))
    calls: dict[str, Call] = {
        US[0]: lambda: fg.histogram((y, x), side, limits, w, threads=1)[0],
        US[1]: lambda: fg.histogram((y, x), side, limits, w, threads=2)[0],
    }
    try:
        import fast_histogram

        calls["fast_histogram"] = lambda: fast_histogram.histogram2d(y, x, side, limits, weights=w)
    except ImportError:
        pass
    try:
        import boost_histogram

        def boost(threads: int) -> np.ndarray:
            axis = boost_histogram.axis.Regular(side, 0.0, 1.0)
            histogram = boost_histogram.Histogram(axis, axis)
            histogram.fill(y, x, weight=w, threads=threads)
            return histogram.view()

        calls["boost_histogram 1 thread"] = lambda: boost(1)
        calls["boost_histogram 2 threads"] = lambda: boost(2)
    except ImportError:
        pass
    return calls


def compare(
    name: str, calls: dict[str, Call], clear: Callable[[], object], n: int, rounds: int
) -> None:
    """Run the calls in turn and print their rows; ``clear`` empties what they add to."""
    expected = None
    for who, call in calls.items():  # compiled, and right
        clear()
        result = call()
        expected = result.copy() if expected is None else expected
        np.testing.assert_allclose(result, expected, rtol=1e-9, err_msg=who)
    times: dict[str, list[float]] = {who: [] for who in calls}
    for _ in range(rounds):
        for who, call in calls.items():
            begin = time.perf_counter()
            call()
            times[who].append(time.perf_counter() - begin)
    for who, each in times.items():
        ratios = [f"{np.median(np.array(each) / times[us]):.2f}" for us in US]
        print_row((name, who, f"{n / min(each) / 1e6:,.0f}", *ratios))


def tiny(rounds: int) -> None:
    """Ten pairs: what a call costs."""
    out, k, v = np.zeros(100), np.arange(10), np.ones(10)
    print_head(["10 pairs", "microseconds"])
    for who, add in (("fastgauss.add_at", fg.add_at), ("numpy.add.at", np.add.at)):
        add(out, k, v)
        each = []
        for _ in range(rounds):
            begin = time.perf_counter()
            for _ in range(1000):
                add(out, k, v)
            each.append(time.perf_counter() - begin)
        print_row((who, f"{min(each) * 1e3:.2f}"))


JOBS = (*BINS, "histogram", "tiny")


def main() -> None:
    """Read the options and print the tables as markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer pairs and rounds")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=JOBS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the peers' own
    n, rounds = (2_000_000, 3) if options.quick else (10_000_000, 7)
    print(f"{n:,} pairs, {platform.machine()}, numpy {np.__version__}.\n")
    print_head(HEAD)
    for name in (name for name in BINS if name in options.jobs):
        for order in ("random", "sorted"):
            for index in ("int64", "int32"):
                job = Job(BINS[name], order, index)
                out = np.zeros(job.bins)
                calls = adders(job, n, out)
                compare(str(job), calls, lambda out=out: out.fill(0), n, rounds)
    if "histogram" in options.jobs:
        for side in (256, 1024):
            compare(
                f"weighted histogram {side} x {side}", histograms(side, n), lambda: None, n, rounds
            )
    if "tiny" in options.jobs:
        print()
        tiny(10 * rounds)


if __name__ == "__main__":
    main()
