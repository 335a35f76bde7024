"""A photograph as Gaussians: fit_image beside the loop of torch and Adam that people write.

``python -m benchmarks.comparisons.photograph`` from the repository, with torch and scikit-image.
The photograph is scikit-image's astronaut, 512 x 512 x 3, as numbers from 0 to 1. All begin with
the same centres and widths. The loop draws every Gaussian at every pixel (no tiles, autograd, one
thread, float32), in blocks of rows that the memory holds. A step of the whole photograph takes
minutes, so that steps of parts are timed (*step*; four times the pixels and Gaussians take 16 times
as long), and the path of Adam is run with the gradients of fastgauss instead: on a part of the
photograph both paths are run and compared (*path*). Times are CPU seconds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import fastgauss as fg
from benchmarks.common.tables import print_head, print_row
from fastgauss.fields import placement

RADIUS = 3.5
RATES = {"heights": 0.01, "centres": 0.1, "factors": 0.02}  # of Adam: values, pixels, of width
BLOCK = 4_000_000  # Gaussians times pixels that torch's loop holds at once
PART = slice(60, 124), slice(190, 254)
EVERY = 10  # steps


class Start(NamedTuple):
    """A photograph and where everybody begins."""

    image: np.ndarray
    centres: np.ndarray
    factors: np.ndarray  # (n, 2, 2) lower triangular
    heights: np.ndarray  # (n, 3) of Adam


def photograph() -> np.ndarray:
    """Scikit-image's astronaut, from 0 to 1."""
    from skimage.data import astronaut

    return astronaut() / 255.0


def start_of(image: np.ndarray, n: int) -> Start:
    """Places as fit_image takes them; for Adam the colours there, scaled to the image's level."""
    planes = np.moveaxis(image, -1, 0)
    valid = np.ones(image.shape[:2], dtype=bool)
    centres = placement.first_places(planes, valid, n, np.random.default_rng(0))
    shapes = placement.round_shapes(centres, centres, image.shape[:2])
    rows, columns = np.rint(centres).astype(int).clip(0, np.array(image.shape[:2]) - 1).T
    colours = image[rows, columns]
    field = fg.GaussianField(image.shape[:2], centres, covariance=shapes.covariance, threads=1)
    drawn = field.render(colours)
    return Start(image, centres, shapes.lower, colours * np.sum(drawn * image) / np.sum(drawn**2))


def psnr(square: float, image: np.ndarray) -> float:
    """Of values from 0 to 1."""
    return float(10.0 * np.log10(image.size / square))


class Adam:
    """Adam's steps of some arrays, in place."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays
        self.first = {name: np.zeros_like(array) for name, array in arrays.items()}
        self.second = {name: np.zeros_like(array) for name, array in arrays.items()}
        self.steps = 0

    def step(self, slopes: dict[str, np.ndarray]) -> None:
        self.steps += 1
        for name, slope in slopes.items():
            first, second = self.first[name], self.second[name]
            first += 0.1 * (slope - first)
            second += 0.001 * (slope**2 - second)
            size = np.sqrt(second / (1.0 - 0.999**self.steps)) + 1e-8
            self.arrays[name] -= RATES[name] * first / (1.0 - 0.9**self.steps) / size


def lower_of(factors: np.ndarray) -> np.ndarray:
    """L from log L_yy, L_xy / L_yy, log L_xx."""
    lower = np.zeros((len(factors), 2, 2))
    lower[:, 0, 0], lower[:, 1, 1] = np.exp(factors[:, 0]), np.exp(factors[:, 2])
    lower[:, 1, 0] = factors[:, 1] * lower[:, 0, 0]
    return lower


def factors_of(lower: np.ndarray) -> np.ndarray:
    """The inverse of ``lower_of``."""
    return np.stack(
        [np.log(lower[:, 0, 0]), lower[:, 1, 0] / lower[:, 0, 0], np.log(lower[:, 1, 1])], axis=1
    )


def adam_path(start: Start) -> Iterator[float]:
    """PSNR before each step of Adam with the gradients of fastgauss."""
    arrays = {
        "heights": start.heights.copy(),
        "centres": start.centres.copy(),
        "factors": factors_of(start.factors),
    }
    adam = Adam(arrays)
    while True:
        lower = lower_of(arrays["factors"])
        field = fg.GaussianField(
            start.image.shape[:2], arrays["centres"], covariance=lower @ lower.swapaxes(1, 2),
            radius=5.0, threads=1,
        )  # fmt: skip
        wrt = ("amplitudes", "positions", "cholesky")
        loss, slope = field.loss_and_gradient(start.image, arrays["heights"], wrt)
        yield psnr(2.0 * loss, start.image)
        by = slope["cholesky"]
        by_yy = by[:, 0, 0] * lower[:, 0, 0] + by[:, 1, 0] * lower[:, 1, 0]
        rotated = np.stack(
            [by_yy, by[:, 1, 0] * lower[:, 0, 0], by[:, 1, 1] * lower[:, 1, 1]], axis=1
        )
        unit = 2.0 / start.image.size  # the loss of the loop is the mean square
        adam.step({
            "heights": unit * slope["amplitudes"], "centres": unit * slope["positions"],
            "factors": unit * rotated,
        })  # fmt: skip


def torch_path(start: Start) -> Iterator[float]:
    """PSNR before each step of the loop in torch."""
    import torch

    torch.set_num_threads(1)
    target = torch.tensor(start.image, dtype=torch.float32)
    values = {
        "heights": start.heights, "centres": start.centres, "factors": factors_of(start.factors)
    }  # fmt: skip
    own = {
        name: torch.tensor(value, dtype=torch.float32, requires_grad=True)
        for name, value in values.items()
    }
    adam = torch.optim.Adam([{"params": [own[name]], "lr": RATES[name]} for name in own])
    rows, columns = target.shape[:2]
    block = max(1, BLOCK // (columns * len(start.centres)))
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    while True:
        adam.zero_grad()
        total = 0.0
        for first in range(0, rows, block):
            part = slice(first, first + block)
            yy, across, xx = own["factors"].unbind(1)
            u = (y[part].reshape(-1, 1) - own["centres"][:, 0]) / yy.exp()
            v = x[part].reshape(-1, 1) - own["centres"][:, 1] - across * yy.exp() * u
            v = v / xx.exp()
            drawn = torch.exp(-0.5 * (u * u + v * v)) @ own["heights"]
            square = ((drawn - target[part].reshape(-1, 3)) ** 2).sum()
            (square / target.numel()).backward()
            total += float(square.detach())
        yield psnr(total, start.image)
        adam.step()


def torch_step(start: Start, steps: int) -> float:
    """CPU seconds of a step of torch's loop."""
    path = torch_path(start)
    next(path)
    begin = time.process_time()
    for _ in range(steps):
        next(path)
    return (time.process_time() - begin) / steps


def ours(start: Start, most: int) -> list[tuple[float, float]]:
    """CPU seconds and PSNR of each iteration of fit_image from the same Gaussians."""
    begin = time.process_time()
    times: list[float] = []

    def tell(_done: int, _all: int) -> None:
        times.append(time.process_time() - begin)

    fit = fg.fit_image(
        start.image, len(start.centres), init=start.centres, max_iter=most, radius=RADIUS,
        threads=1, progress=tell, tol=1e-7,
    )  # fmt: skip
    told = np.interp(np.arange(len(fit.history)), np.arange(len(times)), times)
    return list(zip(told.tolist(), fit.history["psnr"].tolist(), strict=True))


def path(_: argparse.Namespace) -> None:
    """Both paths of Adam on a part of the photograph, which must be alike."""
    start = start_of(photograph()[PART], 156)
    print_head(["step", "PSNR of torch's loop", "PSNR with fastgauss's gradients"])
    for k, (one, other) in enumerate(zip(torch_path(start), adam_path(start), strict=True)):
        if k % 100 == 0:
            print_row((str(k), f"{one:.4f}", f"{other:.4f}"))
        if k == 300:
            break


def step(_: argparse.Namespace) -> None:
    """What a step of the loop takes as pixels and Gaussians become more."""
    image = photograph()
    print_head(["pixels", "Gaussians", "CPU s a step of torch", "of fastgauss", "ratio"])
    for side, n, steps in ((64, 156, 10), (128, 625, 3), (256, 2500, 1)):
        start = start_of(image[:side, :side], n)
        theirs = torch_step(start, steps)
        same = adam_path(start)
        next(same)
        begin = time.process_time()
        for _ in range(5):
            next(same)
        mine = (time.process_time() - begin) / 5
        print_row((
            f"{side} x {side}", str(n), f"{theirs:.3g}", f"{mine:.3g}", f"{theirs / mine:.0f}"
        ))  # fmt: skip
    print(f"\nOf 512 x 512 pixels and 10,000 Gaussians torch's would take {16 * theirs:.0f} s.")


def race(chosen: argparse.Namespace) -> None:
    """When fit_image and Adam come to the same PSNR, from the same 10,000 Gaussians."""
    start = start_of(photograph(), 10_000)
    mine = ours(start, 200)
    begin, reached, times = time.process_time(), [], []
    for k, value in enumerate(adam_path(start)):
        reached.append(value)
        times.append(time.process_time() - begin)
        if k == chosen.steps:
            break
    print_head([
        "PSNR", "fit_image, CPU s", "steps of Adam", "CPU s with fastgauss's gradients",
        "CPU s of torch's loop", "torch's loop by fit_image",
    ])  # fmt: skip
    for decibels in range(22, 41):
        first = next((t for t, value in mine if value >= decibels), None)
        steps = next((k for k, value in enumerate(reached) if value >= decibels), None)
        if first is None or decibels < mine[0][1]:
            continue
        least = chosen.steps if steps is None else steps
        more = "more than " if steps is None else ""
        print_row((
            str(decibels), f"{first:.1f}", f"{more}{least}", f"{more}{times[least]:.1f}",
            f"{more}{least * chosen.second:.0f}", f"{more}{least * chosen.second / first:.0f}",
        ))  # fmt: skip
    last = mine[-1]
    print(f"\nfit_image ends at {last[1]:.2f} dB after {last[0]:.0f} s, ", end="")
    print(f"Adam at {reached[-1]:.2f} dB after {chosen.steps} steps.")
    if chosen.curve:
        adam = np.stack([np.arange(len(reached)), times, reached], axis=1)
        np.savez(chosen.curve, ours=np.array(mine), adam=adam, second=np.array(chosen.second))


def numbers(chosen: argparse.Namespace) -> None:
    """What fit_image reaches by itself with more and more Gaussians."""
    print_head(["Gaussians", "PSNR", "iterations", "CPU s"])
    for n in (200, 2000, 10_000, 20_000):
        begin = time.process_time()
        fit = fg.fit_image(photograph(), n, threads=1)
        used = time.process_time() - begin
        print_row((str(n), f"{fit.psnr:.2f}", str(fit.history["iteration"][-1]), f"{used:.1f}"))
        if chosen.folder:
            fit.save(Path(chosen.folder) / f"astronaut-{n}.npz")


JOBS: dict[str, Callable[[Any], None]] = {
    "path": path, "step": step, "race": race, "numbers": numbers,
}  # fmt: skip


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--steps", type=int, default=1000, help="of Adam in the race")
    parser.add_argument("--second", type=float, default=115.0, help="CPU seconds of torch's step")
    parser.add_argument("--curve", help="an NPZ file for the curves of the race")
    parser.add_argument("--folder", help="where the fits of the job numbers are kept")
    chosen = parser.parse_args()
    for job in chosen.jobs:
        print(f"\n### {job}\n")
        JOBS[job](chosen)


if __name__ == "__main__":
    main()
