"""Gaussian filters beside scipy.ndimage and OpenCV, and heat maps beside photutils, interleaved.

Run ``python -m benchmarks.comparisons.filters`` from the repository; ``--quick`` takes half a
minute. Every round runs each job once; the best round counts, and in parentheses stands how many
times faster fastgauss is. OpenCV and fastgauss get ``--threads`` threads (2), scipy has one.
Images are normal noise, modes are reflect, radii 4 sigma; OpenCV gets the same radius by its
ksize. A volume is smoothed by OpenCV slice by slice and then along the first axis, as one image
of its rows. OpenCV and photutils are left out if they are not installed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numba import njit
from scipy import ndimage

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import fastgauss as fg
from benchmarks.common.tables import print_head, print_row
from fastgauss.tools.bench import take_turns

SIGMAS = (1.0, 3.0, 10.0)
SHAPES = ((512, 512), (2048, 2048), (4096, 4096), (256, 256, 256))
OURS = "fastgauss"

Job = Callable[[], object]


def opencv(image: np.ndarray, sigma: float, threads: int) -> Job:
    """GaussianBlur of an image, or the recipe for a volume."""
    import cv2

    cv2.setNumThreads(threads)
    size = 2 * int(4 * sigma + 0.5) + 1

    def blur(plane: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        return cv2.GaussianBlur(plane, (size, size), sigma, out, borderType=cv2.BORDER_REFLECT)

    if image.ndim == 2:
        return lambda: blur(image)
    along = cv2.getGaussianKernel(size, sigma), np.ones((1, 1))

    def volume() -> np.ndarray:
        flat = np.empty_like(image)
        for plane, out in zip(image, flat, strict=True):
            blur(plane, out)
        rows = flat.reshape(len(image), -1)
        return cv2.sepFilter2D(rows, -1, along[1], along[0], borderType=cv2.BORDER_REFLECT)

    return volume


def filters(image: np.ndarray, sigma: float, threads: int) -> dict[str, Job]:
    """The ways to smooth an image."""
    jobs: dict[str, Job] = {OURS: lambda: fg.gaussian_filter(image, sigma, threads=threads)}
    if find_spec("cv2"):
        jobs["OpenCV"] = opencv(image, sigma, threads)
    jobs["scipy"] = lambda: ndimage.gaussian_filter(image, sigma)
    return jobs


def measure(jobs: dict[str, Job], rounds: int, budget: float) -> dict[str, float]:
    """Least seconds of each, taking turns, until the time is up; the first turn warms up."""
    take_turns(jobs, most=1)
    times = take_turns(jobs, most=rounds, seconds=budget)
    return {name: float(each.min()) for name, each in times.items()}


def cell(seconds: float, ours: float) -> str:
    """Milliseconds, and the ratio."""
    return f"{1e3 * seconds:.3g} ({seconds / ours:.1f}x)"


def table_of_filters(
    shapes: list[tuple[int, ...]], dtypes: list[str], rounds: int, budget: float, threads: int
) -> None:
    """One row a shape, dtype and sigma."""
    print_head(["ms", "sigma", OURS, "OpenCV", "scipy.ndimage"])
    for shape in shapes:
        for dtype in dtypes:
            image = np.random.default_rng(0).normal(size=shape).astype(dtype)
            for sigma in SIGMAS:
                best = measure(filters(image, sigma, threads), rounds, budget)
                ours = best[OURS]
                peers = [
                    cell(best[name], ours) if name in best else "" for name in ("OpenCV", "scipy")
                ]
                name = f"{' x '.join(map(str, shape))}, {np.dtype(dtype)}"
                print_row([name, f"{sigma:g}", f"**{1e3 * ours:.3g}**", *peers])


# -- heat maps ---------------------------------------------------------------------------------

SIDE, COUNT = 2048, 10_000
RADIUS = 4.0  # sigmas


def make_sources(count: int) -> dict[str, np.ndarray]:
    """Turned Gaussians of sigmas 1.5 to 3 at random places."""
    rng = np.random.default_rng(0)
    return {
        "positions": rng.uniform(0, SIDE, (count, 2)),
        "sigmas": rng.uniform(1.5, 3.0, (count, 2)),
        "theta": rng.uniform(-np.pi / 2, np.pi / 2, count),
        "amplitudes": rng.uniform(0.2, 1.0, count),
    }


def covariances(sigmas: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Covariances (n, 2, 2) along rows and columns, from sigma_x, sigma_y, theta."""
    c, s = np.cos(theta), np.sin(theta)
    vx, vy = sigmas.T**2
    cross = c * s * (vx - vy)
    rows = np.stack([s * s * vx + c * c * vy, cross], axis=1)
    return np.stack([rows, np.stack([cross, c * c * vx + s * s * vy], axis=1)], axis=1)


@njit
def loop(out, positions, sigmas, theta, amplitudes, radius):
    """The loop people write, compiled: one exponential a pixel."""
    for i in range(len(positions)):
        y, x = positions[i]
        c, s = np.cos(theta[i]), np.sin(theta[i])
        reach = radius * max(sigmas[i, 0], sigmas[i, 1])
        for row in range(max(0, int(y - reach)), min(out.shape[0], int(y + reach) + 2)):
            for column in range(max(0, int(x - reach)), min(out.shape[1], int(x + reach) + 2)):
                u = ((column - x) * c + (row - y) * s) / sigmas[i, 0]
                v = ((row - y) * c - (column - x) * s) / sigmas[i, 1]
                out[row, column] += amplitudes[i] * np.exp(-0.5 * (u * u + v * v))


@njit
def separable_loop(out, positions, sigmas, amplitudes, radius):
    """The loop for Gaussians that are not turned: exponentials along the axes alone."""
    profile = np.empty(64)
    for i in range(len(positions)):
        y, x = positions[i]
        far_y, far_x = radius * sigmas[i, 1], radius * sigmas[i, 0]
        first = max(0, int(np.ceil(x - far_x)))
        last = min(out.shape[1], int(np.floor(x + far_x)) + 1)
        for column in range(first, last):
            profile[column - first] = np.exp(-0.5 * ((column - x) / sigmas[i, 0]) ** 2)
        for row in range(
            max(0, int(np.ceil(y - far_y))), min(out.shape[0], int(np.floor(y + far_y)) + 1)
        ):
            height = amplitudes[i] * np.exp(-0.5 * ((row - y) / sigmas[i, 1]) ** 2)
            for column in range(first, last):
                out[row, column] += height * profile[column - first]


def photutils_map(sources: dict[str, np.ndarray], count: int) -> Job:
    """make_model_image of astropy's rotated Gaussians, of the first so many sources."""
    from astropy.modeling.models import Gaussian2D
    from astropy.table import QTable
    from photutils.datasets import make_model_image

    table = QTable()
    table["x_mean"], table["y_mean"] = sources["positions"][:count, ::-1].T
    table["x_stddev"], table["y_stddev"] = sources["sigmas"][:count].T
    table["theta"], table["amplitude"] = sources["theta"][:count], sources["amplitudes"][:count]
    names = {"x_name": "x_mean", "y_name": "y_mean"}
    return lambda: make_model_image(
        (SIDE, SIDE), Gaussian2D(), table, model_shape=(19, 19), **names
    )


def heat_maps(threads: int, rounds: int, budget: float) -> None:
    """Microseconds a source."""
    sources = make_sources(COUNT)
    positions, sigmas, theta, amplitudes = sources.values()
    rotated = covariances(sigmas, theta)
    out = np.zeros((SIDE, SIDE))
    few = COUNT // 50

    def render(**more: object) -> np.ndarray:
        return fg.render((SIDE, SIDE), positions, amplitudes, **more, radius=RADIUS)  # type: ignore[arg-type]

    jobs: dict[str, Job] = {
        "turned, fastgauss": lambda: render(covariance=rotated, out=out, threads=threads),
        "turned, fastgauss, max": lambda: render(
            covariance=rotated, combine="max", out=out, threads=threads
        ),
        "turned, compiled loop": lambda: loop(out, positions, sigmas, theta, amplitudes, RADIUS),
        "upright, fastgauss": lambda: render(sigma=sigmas[:, ::-1], out=out, threads=threads),
        "upright, fastgauss, union": lambda: render(
            sigma=sigmas[:, ::-1], combine="union", out=out * 0.0, threads=threads
        ),
        "upright, compiled loop, separable": lambda: separable_loop(
            out, positions, sigmas, amplitudes, RADIUS
        ),
    }
    if find_spec("photutils"):
        jobs["turned, photutils, 19 x 19"] = photutils_map(sources, few)
    best = measure(jobs, rounds, budget)
    print_head([f"{COUNT} Gaussians on {SIDE} x {SIDE}", "us a source"])
    for name, seconds in best.items():
        count = few if "photutils" in name else COUNT
        print_row([name, f"{1e6 * seconds / count:.3g}"])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer shapes and rounds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float64"])
    parser.add_argument("--shapes", type=int, nargs="+", default=None, help="indices of SHAPES")
    parser.add_argument("--jobs", nargs="+", default=["filters", "heat"])
    options = parser.parse_args()
    chosen = options.shapes or ([0, 1] if options.quick else range(len(SHAPES)))
    rounds, budget = (7, 1.0) if options.quick else (25, 4.0)
    if "filters" in options.jobs:
        shapes = [SHAPES[i] for i in chosen]
        table_of_filters(shapes, options.dtypes, rounds, budget, options.threads)
    if "heat" in options.jobs:
        heat_maps(options.threads, rounds, budget)


if __name__ == "__main__":
    main()
