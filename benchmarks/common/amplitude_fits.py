"""Amplitude fits of many particles beside scipy's ways to the same minimum, for fields.py.

The volume has noise of 0.01, the particles amplitudes of 0.5 to 1.5. Everybody stops by a
rule of its own; the residual norm says where. Planning and making a matrix count, for all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .grid_peers import Scene, make_scene
from .tables import print_head, print_row

NOISE = 0.01
HEAD = ["particles", "threads", "way", "s median", "s min", "residual norm", "ratio"]


class Job(NamedTuple):
    """Particles, and what was measured."""

    scene: Scene
    volume: np.ndarray

    def residual_norm(self, amplitudes: np.ndarray) -> float:
        """Of the same model for everybody."""
        return float(np.linalg.norm(self.scene.field().render(amplitudes) - self.volume))


Way = Callable[[Job], np.ndarray]


def ours(job: Job) -> np.ndarray:
    """All there is to write."""
    return job.scene.field().fit_amplitudes(job.volume).amplitudes


def ours_nonnegative(job: Job) -> np.ndarray:
    """The same, not negative."""
    return job.scene.field().fit_amplitudes(job.volume, nonnegative=True).amplitudes


def lsqr_sparse(job: Job) -> np.ndarray:
    """scipy's lsqr on an explicit matrix."""
    from scipy.sparse.linalg import lsqr

    return lsqr(job.scene.field().as_sparse(), job.volume.ravel(), atol=1e-8, btol=1e-8)[0]


def lsqr_operator(job: Job) -> np.ndarray:
    """The same on our operator."""
    from scipy.sparse.linalg import lsqr

    operator = job.scene.field().as_linear_operator()
    return lsqr(operator, job.volume.ravel(), atol=1e-8, btol=1e-8)[0]


def lsmr_operator(job: Job) -> np.ndarray:
    """scipy's lsmr on our operator."""
    from scipy.sparse.linalg import lsmr

    operator = job.scene.field().as_linear_operator()
    return lsmr(operator, job.volume.ravel(), atol=1e-8, btol=1e-8)[0]


def minimize_cg(job: Job) -> np.ndarray:
    """scipy's nonlinear conjugate gradients on our loss and gradient."""
    from scipy.optimize import minimize

    field = job.scene.field()
    return minimize(
        lambda a: field.loss_and_gradient(job.volume, a), np.zeros(len(field)), jac=True,
        method="CG", options={"gtol": 1e-4},
    ).x  # fmt: skip


def lbfgsb(job: Job) -> np.ndarray:
    """scipy's bounded quasi-Newton method on our loss and gradient."""
    from scipy.optimize import minimize

    field = job.scene.field()
    return minimize(
        lambda a: field.loss_and_gradient(job.volume, a), np.full(len(field), 1.0), jac=True,
        method="L-BFGS-B", bounds=[(0, None)] * len(field),
        options={"maxiter": 2000, "maxfun": 4000, "ftol": 1e-12, "gtol": 1e-6},
    ).x  # fmt: skip


FREE: dict[str, Way] = {
    "fastgauss": ours,
    "lsmr, our operator": lsmr_operator,
    "lsqr, our operator": lsqr_operator,
    "lsqr, sparse matrix": lsqr_sparse,
    "minimize CG, our gradient": minimize_cg,
}
BOUNDED: dict[str, Way] = {
    "fastgauss": ours_nonnegative,
    "fastgauss, not bounded": ours,
    "L-BFGS-B, our gradient": lbfgsb,
}


def make_job(count: int, threads: int, signed: bool) -> Job:
    """Particles in 128**3 nodes; a third of the true amplitudes is 0 where bounds shall bind."""
    scene = make_scene(128, count, threads=threads)
    if signed:
        dark = np.arange(count) % 3 == 0
        scene = scene._replace(amplitudes=np.where(dark, 0.0, scene.amplitudes))
    rng = np.random.default_rng(3)
    volume = scene.field().render(scene.amplitudes) + rng.normal(0.0, NOISE, scene.shape)
    return Job(scene, volume)


def fits(quick: bool, nonnegative: bool) -> None:
    """Print the rows of 1e4 and 1e5 particles; scipy's ways for 1e4 alone, once."""
    ways = BOUNDED if nonnegative else FREE
    print_head(HEAD)
    for count, threads in ((1e4, 1), (1e4, 2), (1e5, 1), (1e5, 2)):
        job = make_job(int(count), threads, nonnegative)
        mine = {name: way for name, way in ways.items() if "fastgauss" in name}
        for way in mine.values():
            way(job)
        rounds = (3 if count < 1e5 else 1) if quick else (9 if count < 1e5 else 3)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        norms: dict[str, float] = {}
        others = ways if count < 1e5 and threads == 1 else mine
        for round_ in range(rounds):
            for name, way in (others if round_ == 0 else mine).items():
                begin = time.perf_counter()
                found = way(job)
                seconds[name].append(time.perf_counter() - begin)
                if round_ == 0:
                    norms[name] = job.residual_norm(found)
        first = float(np.median(seconds["fastgauss"]))
        for name in others:
            median = float(np.median(seconds[name]))
            print_row((
                f"{count:.0e}".replace("e+0", "e"), str(threads), name, f"{median:.3g}",
                f"{min(seconds[name]):.3g}", f"{norms[name]:.6f}", f"{median / first:.3g}",
            ))  # fmt: skip
