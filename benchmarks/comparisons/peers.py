"""fastgauss beside other packages, interleaved in one process: one table of speed and error.

Run ``python -m benchmarks.comparisons.peers`` from the repository; ``--quick`` takes two minutes,
the whole some ten. Packages that are not installed are left out. Every round runs us and each
package once, back to back; *ratio* is the median over the rounds of our speed by theirs, so that
a busy machine slows both. RMSE is that of x in pixels, over the results within 1 px of the truth,
with ours on the same spots beside it; *lost* is the part of the others, NaN included. picassosr
knows no weights: beside weighted fits stands its unweighted one.

With ``--write`` the rates also take the place of those in the README and in
docs/background/performance.md.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import platform
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.common.conditions import JOBS, MODELS, SIZES, Case, make_image, make_rois
from benchmarks.common.finders import FINDERS
from benchmarks.common.fitters import FITTERS
from benchmarks.common.report import US, Rate, fill, summary, tables
from benchmarks.common.tables import print_head, print_row

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("scipy", "lmfit", "astropy", "photutils", "picassosr", "smappy-smlm", "scikit-image")
HEAD = [
    "job",
    "size",
    "package",
    "per second",
    "ours is faster by",
    "RMSE x (px)",
    "ours there",
    "lost",
]


class Job(NamedTuple):
    """A call to time."""

    call: Callable[[], np.ndarray]
    count: int  # spots in it
    truth: np.ndarray  # their x, NaN results allowed
    placed: Callable[[np.ndarray], np.ndarray]  # x of each spot from what the call gave


def _errors(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """RMSE of what is within 1 px, and the part that is not."""
    error = found - truth
    near = np.abs(error) < 1.0
    rmse = float(np.sqrt(np.mean(error[near] ** 2))) if near.any() else np.nan
    return rmse, 1.0 - float(near.mean())


def _fit_jobs(case: Case, peers: Sequence[str], share: float) -> dict[str, Job]:
    """A timed call for each fitter, warmed up; all take the first of the same spots."""
    rois = make_rois(case.count(share * FITTERS[US].count), case)
    jobs: dict[str, Job] = {}
    for name, fitter in FITTERS.items():
        if not fitter.covers(case) or (name != US and not any(peer in name for peer in peers)):
            continue
        try:
            fit = fitter.prepare(case)
        except ImportError:
            continue
        part = rois.first(max(10, case.count(share * fitter.count)))
        fit(part.first(5))
        truth = part.truth[:, 1]
        jobs[name] = Job(lambda fit=fit, part=part: fit(part), len(truth), truth, lambda x: x)
    return jobs


def _find_jobs(side: int, peers: Sequence[str]) -> dict[str, Job]:
    """A timed call for each finder, warmed up."""
    from scipy.spatial import KDTree

    image, places = make_image((side, side), side * side // 1000)

    def placed(found: np.ndarray) -> np.ndarray:
        distance, nearest = KDTree(found).query(places)
        return np.where(distance < 1.5, found[nearest, 1], np.nan)

    jobs: dict[str, Job] = {}
    for name, prepare in FINDERS.items():
        if name != US and name not in peers:
            continue
        try:
            find = prepare()
        except ImportError:
            continue
        find(image)
        jobs[name] = Job(lambda find=find: find(image), len(places), places[:, 1], placed)
    return jobs


def _compare(job: str, size: str, jobs: dict[str, Job], rounds: int) -> list[Rate]:
    """Run the jobs in turn, print their rows and return their rates."""
    rates = []
    times: dict[str, list[float]] = {name: [] for name in jobs}
    found = {}
    for _ in range(rounds):
        for name, (call, count, _, placed) in jobs.items():
            begin = time.perf_counter()
            result = call()
            times[name].append((time.perf_counter() - begin) / count)
            found[name] = placed(result)
    for name, each in times.items():
        ratio = float(np.median(np.array(each) / times[US]))
        rmse, lost = _errors(found[name], jobs[name].truth)
        ours, _ = _errors(found[US][: jobs[name].count], jobs[name].truth)
        rates.append(Rate(job, size, name, 1 / min(each), ratio))
        speed = f"{1 / min(each):,.0f}"
        faster = f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"
        print_row((job, size, name, speed, faster, f"{rmse:.4f}", f"{ours:.4f}", f"{lost:.2%}"))
    return rates


def _versions() -> str:
    found = []
    for name in ("numba", "numpy", *PACKAGES):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def main() -> None:
    """Read the options and print the table as markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer spots and rounds")
    parser.add_argument("--peers", nargs="+", choices=PACKAGES, default=PACKAGES)
    parser.add_argument("--jobs", nargs="+", choices=(*JOBS, "find"), default=(*JOBS, "find"))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument(
        "--sizes", nargs="+", type=int, choices=SIZES, default=SIZES, help="of two-dimensional fits"
    )
    parser.add_argument(
        "--write", action="store_true", help="fill the tables of README.md and of the site"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the peers' own
    machine = (
        f"One thread, {platform.machine()}, Python {platform.python_version()}, {_versions()}."
    )
    print(machine + "\n")
    print_head(HEAD)
    rounds, share, side = (3, 0.2, 512) if options.quick else (7, 1.0, 1024)
    rates = []
    for case in itertools.chain.from_iterable(JOBS.get(job, ()) for job in options.jobs):
        if case.model in options.models and (case.ndim != 2 or case.size in options.sizes):
            rates += _compare(case.job, case.extent, _fit_jobs(case, options.peers, share), rounds)
    if "find" in options.jobs:
        rates += _compare("find", f"{side} x {side}", _find_jobs(side, options.peers), rounds)
    if options.write:
        page = ROOT / "docs" / "background" / "performance.md"
        fill(page, "peers", f"{tables(rates)}\n\n{machine}")
        fill(ROOT / "README.md", "peers", summary(rates))


if __name__ == "__main__":
    main()
