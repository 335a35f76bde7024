"""Fields beside other packages, interleaved in one process: tables of time and speed.

Run ``python -m benchmarks.comparisons.fields`` from the repository; ``--quick`` takes about two
minutes, the whole some ten and up to 8 GB. Packages that are not installed are left out. Every
round runs us and each package once, back to back; *ratio* is the median over the rounds of their
time by ours, per particle. Particles of sigma 1, tol 1e-4: vox/s counts 8.58**3 = 633 nodes a
particle for everyone. Slow packages get fewer of the particles; times are for all of them.
finufft spreads complex numbers with a kernel 9 nodes wide (8 in float32) that is no Gaussian;
gemmi draws spheres, half the nodes.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import platform
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.common import amplitude_fits, field_costs, grid_peers
from benchmarks.common.grid_peers import NODES, SPREADERS, TOL, US, Scene, make_scene
from benchmarks.common.tables import print_head, print_row

PACKAGES = ("numba", "numpy", "scipy", "finufft", "gemmi")
COUNT = 100_000
HEAD = ["job", "size", "threads", "package", "ms median", "ms min", "vox/s", "ratio"]


class Effort(NamedTuple):
    """How much to do."""

    quick: bool

    @property
    def rounds(self) -> int:
        """Calls of each package."""
        return 3 if self.quick else 15


class Timed(NamedTuple):
    """A call to time and the particles that it does."""

    call: Callable[[], Any]
    count: int


def say(size: Scene) -> str:
    """A scene in words."""
    return f"{len(size.positions):.0e} in {size.side}^3, {np.dtype(size.dtype)}".replace("e+0", "e")


def race(job: str, scene: Scene, calls: dict[str, Timed], rounds: int) -> None:
    """Run the calls in turn and print their rows; the first is ours."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for timed in calls.values():
        timed.call()  # compiles, touches memory
    for _ in range(rounds):
        for name, (call, count) in calls.items():
            begin = time.perf_counter()
            call()
            seconds[name].append((time.perf_counter() - begin) / count)
    n, ours = len(scene.positions), np.array(next(iter(seconds.values())))
    for name, each in seconds.items():
        median, least = float(np.median(each)), min(each)
        ratio = float(np.median(np.array(each) / ours))
        print_row((
            job, say(scene), str(scene.threads), name, f"{1e3 * n * median:.3g}",
            f"{1e3 * n * least:.3g}", f"{NODES / median:.2e}", f"{ratio:.3g}",
        ))  # fmt: skip


def prepared(kind: str, scene: Scene, skip: tuple[str, ...] = ()) -> dict[str, Timed]:
    """A call for each package that is installed and does this job."""
    calls: dict[str, Timed] = {}
    for name, spreader in SPREADERS.items():
        prepare = getattr(spreader, kind)
        if (
            prepare is None
            or name in skip
            or scene.dtype not in spreader.dtypes
            or scene.threads not in spreader.threads
        ):
            continue
        part = scene.first(spreader.most)
        try:
            calls[name] = Timed(prepare(part), len(part.positions))
        except ImportError:
            continue
    return calls


def sweep(kind: str, effort: Effort) -> None:
    """One of the sweeps, in both precisions and on one and two threads."""
    for dtype in (np.float64, np.float32):
        for threads in (1, 2):
            scene = make_scene(128, COUNT, dtype, threads)
            race(kind, scene, prepared(kind, scene), effort.rounds)


def few(effort: Effort) -> None:
    """1e3 particles in a large grid, into an array that is there.

    Alone first, with the grid in the cache; the others' grids drive it out.
    """
    import fastgauss as fg

    scene = make_scene(128, 1000)
    out = np.zeros(scene.shape)
    calls = prepared("splat", scene)
    once = Timed(
        lambda: fg.render(
            scene.shape, scene.positions, scene.amplitudes, tol=TOL, out=out, threads=1
        ),
        1000,
    )
    calls = {US: calls.pop(US), "fastgauss, planning included": once, **calls}
    alone = {f"{name}, alone": timed for name, timed in calls.items() if "fastgauss" in name}
    race("few", scene, alone, 5 * effort.rounds)
    race("few", scene, calls, 5 * effort.rounds)


def large(effort: Effort) -> None:
    """A grid far larger than the cache: 1 GB, and twice that for complex numbers."""
    for threads in (1, 2):
        scene = make_scene(256 if effort.quick else 512, COUNT, threads=threads)
        for kind in ("splat", "adjoint", "gradient"):
            skip = ("scipy.sparse", "numpy loop")
            race(f"large {kind}", scene, prepared(kind, scene, skip), max(3, effort.rounds // 3))


def unsorted(effort: Effort) -> None:
    """What planning costs: particles in random order, from nothing."""
    import fastgauss as fg

    for threads in (1, 2):
        scene = make_scene(128, COUNT, threads=threads)
        out, n = np.zeros(scene.shape), len(scene.positions)

        def once(scene: Scene = scene, out: np.ndarray = out) -> None:
            options = {"tol": TOL, "out": out, "threads": scene.threads}
            fg.render(scene.shape, scene.positions, scene.amplitudes, **options)

        calls = {
            "fastgauss, planned before": Timed(grid_peers.fastgauss_splat(scene), n),
            "fastgauss, planning included": Timed(once, n),
            "fastgauss, planning alone": Timed(scene.field, n),
        }
        with contextlib.suppress(ImportError):
            calls["finufft, sorting included"] = Timed(grid_peers.finufft_unsorted(scene), n)
        race("unsorted", scene, calls, effort.rounds)


def widths(effort: Effort) -> None:
    """Sigmas and covariances of each particle beside a common sigma."""
    scene = make_scene(128, COUNT)
    n, out = len(scene.positions), np.zeros(scene.shape)
    rng = np.random.default_rng(2)
    own = rng.uniform(0.999, 1.001, (n, 3))  # the same nodes, but for a few
    rotated = np.einsum("ni,ij->nij", own**2, np.eye(3))
    fields = {
        "common sigma": scene.field(),
        "a sigma each": scene.field(sigma=own[:, :1]),
        "a sigma each and axis": scene.field(sigma=own),
        "a common covariance": scene.field(covariance=np.eye(3)),
        "a covariance each": scene.field(covariance=rotated),
    }
    volume = scene.volume()
    for kind in ("splat", "adjoint"):
        calls = {
            name: Timed(
                (lambda f=field: f.render(scene.amplitudes, out=out))
                if kind == "splat"
                else (lambda f=field: f.adjoint(volume)),
                n,
            )
            for name, field in fields.items()
        }
        race(f"widths, {kind}", scene, calls, effort.rounds)


def versions() -> str:
    """The packages that are here."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


RACES: dict[str, Callable[[Effort], None]] = {
    "splat": lambda effort: sweep("splat", effort),
    "adjoint": lambda effort: sweep("adjoint", effort),
    "gradient": lambda effort: sweep("gradient", effort),
    "few": few,
    "large": large,
    "unsorted": unsorted,
    "widths": widths,
}
TABLES: dict[str, Callable[[Effort], None]] = {
    "fit": lambda effort: amplitude_fits.fits(effort.quick, nonnegative=False),
    "nonnegative": lambda effort: amplitude_fits.fits(effort.quick, nonnegative=True),
    "linear": lambda effort: field_costs.linear(effort.quick),
    "memory": lambda effort: field_costs.memory(effort.quick),
    "bits": lambda effort: field_costs.bits(effort.quick),
}


def main() -> None:
    """Read the options and print the tables as markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller extremes")
    every = (*RACES, *TABLES)
    parser.add_argument("--jobs", nargs="+", choices=every, default=every)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the peers' own
    effort = Effort(options.quick)
    print(f"{platform.machine()}, Python {platform.python_version()}, {versions()}.\n")
    if set(options.jobs) & set(RACES):
        print_head(HEAD)
    for job in options.jobs:
        if job in RACES:
            RACES[job](effort)
    for job in options.jobs:
        if job in TABLES:
            print(f"\n{job}\n", flush=True)
            TABLES[job](effort)


if __name__ == "__main__":
    main()
