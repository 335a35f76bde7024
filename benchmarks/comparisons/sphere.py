"""Maps of the sphere beside healpy and ducc0, interleaved in one process: one table.

Run ``python -m benchmarks.comparisons.sphere`` from the repository; ``--quick`` takes a fifth of
the directions. The job is to add values at random directions to a HEALPix map in rings. Every
round runs us and each package once, back to back; *ratio* is the median over the rounds of their
time by that of each of ours, so that a busy machine slows both. The packages find pixels, and
numpy adds: add.at for healpy, which knows one thread, bincount for ducc0 on two. Packages that
are not installed are left out; results that are not ours to 1e-12 stop the run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

import fastgauss as fg

from ..common.tables import print_head, print_row

COUNT = 10_000_000
SIDES = (64, 1024)
HEAD = ("nside", "values", "package", "million/s", "1 thread faster by", "2 threads faster by")
OURS = ("fastgauss, 1 thread", "fastgauss, 2 threads")

Call = Callable[[], np.ndarray]


def make_directions(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Colatitudes and longitudes, uniform on the sphere."""
    rng = np.random.default_rng(0)
    return np.arccos(rng.uniform(-1, 1, count)), rng.uniform(0, 2 * np.pi, count)


def _healpy(nside: int, theta: np.ndarray, phi: np.ndarray, values: np.ndarray | float) -> Call:
    import healpy

    sums = np.zeros(12 * nside**2)

    def call() -> np.ndarray:
        sums[:] = 0.0
        np.add.at(sums, healpy.ang2pix(nside, theta, phi), values)
        return sums

    return call


def _ducc(nside: int, theta: np.ndarray, phi: np.ndarray, values: np.ndarray | float) -> Call:
    import ducc0

    base = ducc0.healpix.Healpix_Base(nside, "RING")
    angles = np.stack([theta, phi], axis=1)
    weights = None if np.isscalar(values) else values

    def call() -> np.ndarray:
        return np.bincount(base.ang2pix(angles, nthreads=2), weights, 12 * nside**2)

    return call


def _ours(threads: int) -> Callable[..., Call]:
    def prepare(nside: int, theta: np.ndarray, phi: np.ndarray, values: np.ndarray | float) -> Call:
        sums = np.zeros(12 * nside**2)

        def call() -> np.ndarray:
            sums[:] = 0.0
            return fg.healpix_add(sums, theta, phi, values, threads=threads)

        return call

    return prepare


PACKAGES: dict[str, Callable[..., Call]] = {
    OURS[0]: _ours(1),
    OURS[1]: _ours(2),
    "healpy ang2pix + np.add.at": _healpy,
    "ducc0 ang2pix + np.bincount, 2 threads": _ducc,
}


def _compare(nside: int, count: int, weighted: bool, rounds: int) -> None:
    """Run all packages in turn and print their rows."""
    theta, phi = make_directions(count)
    values = np.random.default_rng(1).normal(size=count) if weighted else 1.0
    calls: dict[str, Call] = {}
    for name, prepare in PACKAGES.items():
        try:
            calls[name] = prepare(nside, theta, phi, values)
        except ImportError:
            continue
    expected = calls[OURS[0]]().copy()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begin = time.perf_counter()
            result = call()
            times[name].append(time.perf_counter() - begin)
            np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)
    for name, each in times.items():
        ratios = [f"{np.median(np.divide(each, times[own])):.3g}" for own in OURS]
        speed = f"{count / min(each) / 1e6:.0f}"
        print_row((str(nside), "array" if weighted else "1", name, speed, *ratios))


def main() -> None:
    """Read the options and print the table as markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer directions and rounds")
    options = parser.parse_args()
    count, rounds = (COUNT // 5, 3) if options.quick else (COUNT, 7)
    print(f"fastgauss {fg.__version__}, {count} directions.\n")
    print_head(HEAD)
    for nside in SIDES:
        for weighted in (False, True):
            _compare(nside, count, weighted, rounds)


if __name__ == "__main__":
    main()
