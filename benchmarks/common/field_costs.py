"""What a field costs as it grows, what memory it holds, and whether threads change a bit."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

from . import grid_peers
from .grid_peers import Scene, make_scene
from .tables import print_head, print_row

SWEEPS = {
    "splat": grid_peers.fastgauss_splat,
    "adjoint": grid_peers.fastgauss_adjoint,
    "gradient pass": grid_peers.fastgauss_gradient_pass,
}


def best(call: Callable[[], Any], repeats: int) -> float:
    """Least seconds of a call, after one that does not count."""
    call()
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def linear(quick: bool) -> None:
    """Time a particle for more and more particles at one density, 1e5 in 128**3 nodes."""
    print_head(["particles", "grid", *(f"{job}, us each" for job in ("plan", *SWEEPS, "fit"))])
    for power in (3, 4, 5) if quick else (3, 4, 5, 6):
        count = 10**power
        side = round((count * 128**3 / 1e5) ** (1 / 3) + 2 * grid_peers.MARGIN)
        scene = make_scene(side, count)
        repeats = max(3, 10 ** (5 - power))
        calls = [scene.field, *(make(scene) for make in SWEEPS.values())]
        costs = [best(call, repeats) for call in calls]
        field = scene.field()
        volume = field.render(scene.amplitudes) + 0.01 * scene.volume()
        costs.append(best(lambda f=field, v=volume: f.fit_amplitudes(v), 1))
        print_row((f"1e{power}", f"{side}^3", *(f"{1e6 * c / count:.3g}" for c in costs)))


def _traced(call: Callable[[], Any]) -> tuple[int, int]:
    """Bytes that what a call returns holds, and those it held at most."""
    call()
    tracemalloc.start()
    kept = call()
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return held, peak


def memory(quick: bool) -> None:
    """Bytes a particle of a plan, and those beyond it that a sweep takes."""
    count = 20_000 if quick else 100_000
    scene = make_scene(128, count)
    own = np.ones((count, 3))
    plans = {
        "common sigma": {},
        "a sigma each": {"sigma": own[:, :1]},
        "a sigma each and axis": {"sigma": own},
        "a covariance each": {"covariance": np.tile(np.eye(3), (count, 1, 1))},
    }
    print_head(["what", "bytes a particle held", "bytes a particle at most"])
    for name, options in plans.items():
        held, peak = _traced(lambda o=options: scene.field(**o))
        print_row((f"plan, {name}", f"{held / count:.1f}", f"{peak / count:.1f}"))
    field, out, volume = scene.field(), np.zeros(scene.shape), scene.volume()
    sweeps = {
        "render, out=": lambda: field.render(scene.amplitudes, out=out),
        "adjoint": lambda: field.adjoint(volume),
        "loss_and_gradient": lambda: field.loss_and_gradient(volume, scene.amplitudes),
        "fit_amplitudes": lambda: field.fit_amplitudes(volume),
    }
    print(f"\nA copy of the grid would be {volume.nbytes / 2**20:.0f} MB.\n")
    print_head(["what", "MB held", "MB at most"])
    for name, call in sweeps.items():
        held, peak = _traced(call)
        print_row((name, f"{held / 2**20:.2f}", f"{peak / 2**20:.2f}"))


def _results(scene: Scene) -> dict[str, np.ndarray]:
    """What a field computes, one array a job."""
    field = scene.field()
    volume = scene.volume()
    wrt = ("amplitudes", "positions", "sigmas")
    loss, gradient = field.loss_and_gradient(volume, scene.amplitudes, wrt=wrt)
    parts = [loss, *(np.ravel(gradient[name]) for name in wrt)]
    return {
        "render": field.render(scene.amplitudes, out=np.zeros(scene.shape, scene.dtype)),
        "adjoint": field.adjoint(volume),
        "loss_and_gradient": np.hstack(parts),
        "fit_amplitudes": field.fit_amplitudes(volume).amplitudes,
    }


def bits(quick: bool) -> None:
    """Compare every bit of one thread's results, run again and on more threads."""
    print_head(["job", "dtype", *(f"{n} threads" for n in (1, 2, 3, 8))])
    for dtype in (np.float64, np.float32):
        scene = make_scene(128, 20_000 if quick else 100_000, dtype)
        first = _results(scene)
        same: dict[str, list[str]] = {job: [] for job in first}
        for threads in (1, 2, 3, 8):
            for job, found in _results(scene._replace(threads=threads)).items():
                same[job].append("same" if found.tobytes() == first[job].tobytes() else "DIFFERS")
        for job, words in same.items():
            print_row((job, np.dtype(dtype).name, *words))
