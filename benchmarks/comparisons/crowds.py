"""Amplitude fits of crowded particles beside scipy.optimize.nnls and numpy.linalg.lstsq.

``python -m benchmarks.comparisons.crowds`` from the repository. Times are CPU seconds of one
thread: of the whole of ``fit_amplitudes``, and of scipy's solver alone, without the making of its
dense matrix. *Objective* is the sum of squared residuals by scipy's, less 1. One call of each,
after a small one that compiles.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import fastgauss as fg
from benchmarks.common.tables import print_head, print_row

# particles per sigma**d, sigma, shapes: small, and of some 3,000 particles
CROWDS = (
    (1.0, 1.5, (36, 36), (82, 82)),
    (2.0, 2.0, (34, 34), (77, 77)),
    (3.0, 2.5, (35, 34), (79, 79)),
    (4.0, 3.0, (36, 36), (82, 82)),
    (1.0, 1.5, (12, 12, 12), (21, 21, 21)),
    (2.0, 2.0, (14, 13, 12), (23, 22, 22)),
    (4.0, 2.5, (13, 13, 13), (22, 22, 22)),
)
GRIDS = ((24, 1.5), (24, 2.0))  # side, sigma: a candidate at every pixel
MANY = (25_000, 1.5, (160, 160))
Scene = tuple[fg.GaussianField, np.ndarray]


def crowd(per: float, sigma: float, shape: tuple[int, ...], empty: float = 0.5) -> Scene:
    """Particles at random places and a volume with noise; a part of the amplitudes is 0."""
    rng = np.random.default_rng(0)
    ndim = len(shape)
    n = int(per * np.prod(shape) / sigma**ndim)
    places = rng.uniform(0, np.array(shape) - 1, (n, ndim))
    field = fg.GaussianField(shape, places, sigma, threads=1)
    truth = rng.uniform(0.5, 2.0, n) * (rng.uniform(size=n) >= empty)
    return field, field.render(truth) + 0.02 * rng.standard_normal(shape)


def candidates(side: int, sigma: float) -> Scene:
    """A candidate at every pixel, one of twenty with an amplitude."""
    rng = np.random.default_rng(0)
    nodes = np.argwhere(np.ones((side, side))).astype(float)
    field = fg.GaussianField((side, side), nodes, sigma, tol=1e-9, threads=1)
    truth = np.where(rng.uniform(size=len(nodes)) < 0.05, rng.uniform(5, 10, len(nodes)), 0.0)
    return field, field.render(truth) + 0.1 * rng.standard_normal((side, side))


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    begin = time.process_time()
    found = call()
    return found, time.process_time() - begin


def _row(name: str, scene: Scene, nonnegative: bool) -> None:
    """Fit by both and print what they reached."""
    field, volume = scene
    matrix, right = field.as_sparse().toarray(), volume.ravel()
    fit, ours = _timed(lambda: field.fit_amplitudes(volume, nonnegative))
    solve = _nnls(matrix, right) if nonnegative else _lstsq(matrix, right)
    other, theirs = _timed(solve)
    least = float(np.sum((matrix @ other - right) ** 2))
    mine = float(np.sum((field.render(fit.amplitudes) - volume) ** 2))
    told = f"{mine / float(right @ right):.2e}" if nonnegative else _condition(matrix)
    print_row((
        name, str(len(field)), f"{mine / least - 1.0:.1e}", told, fit.status.name,
        f"{fit.kkt_residual:.0e}", f"{ours:.3f}", f"{theirs:.3f}", f"{theirs / ours:.1f}",
    ))  # fmt: skip


def _nnls(matrix: np.ndarray, right: np.ndarray) -> Callable[[], np.ndarray]:
    """By the triangular factor: the same problem with fewer rows, which takes half of the time."""
    from scipy.optimize import nnls

    def solve() -> np.ndarray:
        n = matrix.shape[1]
        factor = np.linalg.qr(np.column_stack([matrix, right]), mode="r")
        return nnls(factor[:n, :n], factor[:n, n], maxiter=30 * n)[0]

    return solve


def _lstsq(matrix: np.ndarray, right: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: np.linalg.lstsq(matrix, right, rcond=None)[0]


def _condition(matrix: np.ndarray) -> str:
    """Of the normal equations with columns of length 1."""
    values = np.linalg.svd(matrix / np.linalg.norm(matrix, axis=0), compute_uv=False)
    return f"{float(values[0] / max(values[-1], 1e-300)) ** 2:.0e}"


def _name(per: float, sigma: float, shape: tuple[int, ...]) -> str:
    return f"{per:g} per sigma^{len(shape)}, sigma {sigma:g}, {' x '.join(map(str, shape))}"


def table(nonnegative: bool, large: bool) -> None:
    """All crowds, small or large, and the candidates at every pixel."""
    peer = "nnls" if nonnegative else "lstsq"
    about = "of zero's" if nonnegative else "condition of A'A"
    print_head([
        "crowd", "particles", f"objective above {peer}'s", about, "status", "KKT residual",
        "CPU s", f"CPU s of {peer}", "ratio",
    ])  # fmt: skip
    for per, sigma, small, big in CROWDS:
        shape = big if large else small
        _row(_name(per, sigma, shape), crowd(per, sigma, shape), nonnegative)
    for side, sigma in () if large else GRIDS:
        name = f"each pixel of {side} x {side}, sigma {sigma:g}"
        _row(name, candidates(side, sigma), nonnegative)


def many() -> None:
    """More particles than an active set is used for: projected steps."""
    n, sigma, shape = MANY
    field, volume = crowd(n * sigma**2 / np.prod(shape), sigma, shape)
    print_head(["particles", "products", "objective, of zero's", "KKT residual", "status", "CPU s"])
    for most in (30, 100, 300, 1000):
        fit, seconds = _timed(lambda m=most: field.fit_amplitudes(volume, True, max_iter=m))
        print_row((
            str(len(field)), str(fit.iterations),
            f"{fit.residual_norm**2 / float(np.sum(volume**2)):.6e}", f"{fit.kkt_residual:.1e}",
            fit.status.name, f"{seconds:.1f}",
        ))  # fmt: skip


JOBS = {
    "nonnegative": lambda: table(True, False),
    "large": lambda: table(True, True),
    "plain": lambda: table(False, False),
    "many": many,
}


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    chosen = parser.parse_args()
    for nonnegative in (True, False):
        for scene in (crowd(1.5, 2.0, (9, 8)), crowd(1.5, 2.0, (5, 5, 5)), candidates(6, 2.0)):
            scene[0].fit_amplitudes(scene[1], nonnegative)
    for job in chosen.jobs:
        print(f"\n### {job}\n")
        JOBS[job]()


if __name__ == "__main__":
    main()
