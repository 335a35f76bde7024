"""``fastgauss bench``: speeds on this machine, beside other packages.

fastgauss and each other package do a job in turn, repeatedly and in one process, so that a busy
machine slows all of them alike. Each speed and each ratio is the median over the turns. The first
turn, which compiles, is not counted. Packages that are missing or fail are named at the end. The
jobs, and how each package is called, are in ``tools/bench_jobs.py``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np

from ..base import check
from ..base.thread_pool import get_num_threads, resolve_threads, set_num_threads
from ..kernels._compile import JIT_DISABLED
from .bench_jobs import JOBS, MODULES
from .bench_types import Job, Timed
from .info import configuration

FULL, QUICK = (1.0, 1.0), (0.25, 0.2)  # fraction of the items, and seconds for a job
_LEAST_TURNS, _MOST_TURNS = 3, 50
_US = "fastgauss"


class Row(NamedTuple):
    """The speed of one package in one job."""

    job: str
    package: str  # name of the package and, after a comma, of the function
    speed: float  # items a second
    ratio: float  # the speed of fastgauss by this package's; 1 for fastgauss


def take_turns(
    calls: Mapping[str, Callable[[], Any]], most: int = _MOST_TURNS, seconds: float = 1.0
) -> dict[str, np.ndarray]:
    """Seconds that each call took in each turn; the turns end when the time is up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    for turn in range(most):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - begin)
        if turn + 1 >= _LEAST_TURNS and time.perf_counter() > end:
            break
    return {name: np.array(each) for name, each in times.items()}


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Suppress the output and the warnings of the packages."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def _why(package: str, error: BaseException) -> str:
    """The reason why a package is left out, in a few words."""
    module = MODULES.get(package, package)
    if isinstance(error, ImportError) and importlib.util.find_spec(module) is None:
        return "not installed"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:100]


def compare(job: Job, scale: float, threads: int, seconds: float) -> tuple[list[Row], dict]:
    """The rows of one job, fastgauss first, and the reasons why packages are left out."""
    ours, peers = job.prepare(scale, threads)
    ours.call()
    timed: dict[str, Timed] = {_US: ours}
    left_out: dict[str, str] = {}
    with _hushed():
        for name, prepare in peers.items():
            package = name.partition(",")[0]
            try:
                one = prepare()
                one.call()
            except Exception as error:  # another package may raise any error
                left_out[package] = _why(package, error)
            else:
                timed[name] = one
        taken = take_turns({name: one.call for name, one in timed.items()}, seconds=seconds)
    each = {name: taken[name] / one.items for name, one in timed.items()}
    rows = [
        Row(job.title, name, 1 / float(np.median(one)), float(np.median(one / each[_US])))
        for name, one in each.items()
    ]
    return rows, left_out


@contextlib.contextmanager
def _default_threads(count: int) -> Iterator[None]:
    """The default number of threads within a block, for functions without an option of it."""
    before = get_num_threads()
    set_num_threads(count)
    try:
        yield
    finally:
        set_num_threads(before)


def _figure(speed: float, unit: str) -> str:
    """Such as ``1.28 M spots/s``."""
    for factor, prefix in ((1e9, "G "), (1e6, "M "), (1e3, "k ")):
        if speed >= factor:
            return f"{speed / factor:.3g} {prefix}{unit}/s"
    return f"{speed:.3g} {unit}/s"


def _version(package: str) -> str:
    module = sys.modules.get(MODULES.get(package, package))
    told = getattr(module, "__version__", None)
    if told is None:
        with contextlib.suppress(metadata.PackageNotFoundError):
            told = metadata.version(package)
    return f"{package} {told}" if told else package


def _print_head(threads: int) -> None:
    facts = configuration()
    core = ", ".join(f"{name} {facts[name]}" for name in ("fastgauss", "numba", "numpy", "scipy"))
    print(f"{facts['CPU']}, {facts['lanes']}")
    print(f"Python {facts['python']}, {core}")
    own = "one thread each" if threads == 1 else f"{threads} threads where a package has threads"
    print(f"{own}; medians of turns taken in one process; ratio: our speed by theirs\n")
    print(f"{'job':<33}{'package':<30}{'speed':>18}{'ratio':>9}", flush=True)


def _print_rows(rows: Sequence[Row], unit: str) -> None:
    for index, row in enumerate(rows):
        ratio = "" if not index else f"{row.ratio:,.0f}" if row.ratio >= 100 else f"{row.ratio:.3g}"
        title = "" if index else row.job
        print(f"{title:<33}{row.package:<30}{_figure(row.speed, unit):>18}{ratio:>9}", flush=True)


def choose(jobs: Sequence[str] | None) -> dict[str, Job]:
    """The jobs of these names, by default all."""
    names = list(JOBS) if not jobs else [check.choice("jobs", name, tuple(JOBS)) for name in jobs]
    return {name: JOBS[name] for name in names}


def bench(
    jobs: Sequence[str] | None = None, *, quick: bool = False, threads: int | None = 1
) -> None:
    """Print the page.

    Parameters
    ----------
    jobs : sequence of str, optional
        Names of ``JOBS`` in ``tools/bench_jobs.py``; all by default.
    quick : bool
        A fifth of the time, with less certain figures.
    threads : int or None
        Threads of fastgauss and of the packages that have threads; None for the default of
        fastgauss.
    """
    if JIT_DISABLED:
        raise ValueError("bench needs compiled code, and NUMBA_DISABLE_JIT is set")
    chosen, team = choose(jobs), resolve_threads(threads)
    scale, seconds = QUICK if quick else FULL
    _print_head(team)
    packages: set[str] = set()
    left_out: dict[str, str] = {}
    with _default_threads(team):
        for job in chosen.values():
            rows, missing = compare(job, scale, team, seconds)
            _print_rows(rows, job.unit)
            packages |= {row.package.partition(",")[0] for row in rows}
            left_out |= missing
    print("\nbeside:", ", ".join(map(_version, sorted(packages - {_US}))) or "nothing")
    for package, why in left_out.items():
        print(f"left out: {package} ({why})")
