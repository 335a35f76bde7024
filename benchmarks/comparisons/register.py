"""Registration beside its peers: times, and errors beside the Cramer-Rao bound.

Run ``python -m benchmarks.comparisons.register`` from the repository; ``--quick`` takes a minute,
``--jobs`` chooses.

Clouds have a random spectrum of amplitude k^-1.5 and standard deviation 1; *crop* is two windows of
a larger moving scene, *periodic* one periodic scene, up to 6 px away along both axes; both images
have noise of their own. The *bound* is that of Cramer and Rao for a scene that is known: (s1^2 +
s2^2) by the sum of squared gradients of what overlaps. *Unknown scene* is the limit of Knapp and
Carter, by the same bound: no estimator gets below it on average without knowing the scene.
*Reported* is the root mean square of the reported errors by that of the true ones, *within* the
share of true errors within one reported.

Times: best of the rounds, interleaved. Packages that are not installed are left out.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import fastgauss as fg
from benchmarks.common.tables import print_head, print_row

JOBS = ("accuracy", "shift", "field")
Finder = Callable[[np.ndarray, np.ndarray, float], tuple]


# -- clouds ------------------------------------------------------------------------------------


def cloud(n: int, rng: np.random.Generator) -> np.ndarray:
    """Half the spectrum of a periodic scene."""
    k = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)) * n
    k[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.normal(size=(n, n))) * k**-1.5
    if n % 2 == 0:
        spectrum[n // 2] = 0
        spectrum[:, -1] = 0
    return spectrum / np.fft.irfft2(spectrum, (n, n)).std()


def scene(spectrum: np.ndarray, n: int, dx: float = 0.0, dy: float = 0.0) -> np.ndarray:
    """The scene displaced."""
    phase = np.fft.fftfreq(n)[:, None] * dy + np.fft.rfftfreq(n) * dx
    return np.fft.irfft2(spectrum * np.exp(-2j * np.pi * phase), (n, n))


def pairs(
    setting: str, n: int, noise: float, count: int, seed: int = 1
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Two noisy images, (dx, dy), and the variances of the bound."""
    rng = np.random.default_rng(seed)
    side = 2 * n if setting == "crop" else n
    for _ in range(count):
        spectrum = cloud(side, rng)
        dx, dy = rng.uniform(-6, 6, 2)
        images = [scene(spectrum, side, *d)[:n, :n] for d in ((0, 0), (dx, dy))]
        axes = np.fft.rfftfreq(side), np.fft.fftfreq(side)[:, None]
        slopes = [
            np.fft.irfft2(spectrum * 2j * np.pi * k, (side, side))[:n, :n].ravel() for k in axes
        ]
        share = (n - abs(dx)) * (n - abs(dy)) / n**2 if setting == "crop" else 1.0
        fisher = share * np.array([[p @ q for q in slopes] for p in slopes])
        bound = 2 * noise**2 * np.diag(np.linalg.inv(fisher))
        first, second = (image + rng.normal(0, noise, image.shape) for image in images)
        yield first, second, np.array([dx, dy]), bound


def unknown_scene(n: int, noise: float) -> float:
    """Knapp and Carter's limit by the bound, for the mean spectrum of the clouds."""
    k = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.fftfreq(n)) * n
    k[0, 0] = np.inf
    power = k**-3.0
    power *= n * n / power.sum()
    k2 = np.broadcast_to((2 * np.pi * np.fft.fftfreq(n)) ** 2, (n, n))
    known = (k2 * power).sum() / (2 * noise**2)
    unknown = (k2 * power**2 / (power * 2 * noise**2 + noise**4)).sum()
    return math.sqrt(known / unknown)


# -- who finds shifts --------------------------------------------------------------------------


def finders(setting: str) -> dict[str, Finder]:
    """(dx, dy, error of dx, error of dy) of two images with noise, by package."""
    boundary = "overlap" if setting == "crop" else "wrap"

    def align(a: np.ndarray, b: np.ndarray, noise: float) -> tuple:
        shift = fg.register.align(a, b, noise, noise, boundary=boundary)
        return (shift.dx, shift.dy, *shift.errors)

    found: dict[str, Finder] = {
        "fastgauss align": align,
        "fastgauss chi2_shift": lambda a, b, s: fg.register.chi2_shift(a, b, s * math.sqrt(2)),
    }
    with suppress(ImportError):
        import image_registration

        found["image_registration chi2_shift"] = lambda a, b, s: image_registration.chi2_shift(
            a, b, s * math.sqrt(2)
        )
    with suppress(ImportError):
        import cv2

        def hann(a: np.ndarray, b: np.ndarray, noise: float) -> tuple:
            window = cv2.createHanningWindow(a.shape[::-1], cv2.CV_64F)
            # it multiplies its arguments by the window, in place
            return (*cv2.phaseCorrelate(a.copy(), b.copy(), window)[0], math.nan, math.nan)

        found["OpenCV phaseCorrelate, Hann"] = hann
    with suppress(ImportError):
        from skimage.registration import phase_cross_correlation

        def phase(a: np.ndarray, b: np.ndarray, noise: float) -> tuple:
            shift = phase_cross_correlation(a, b, upsample_factor=100, normalization=None)[0]
            return (-shift[1], -shift[0], math.nan, math.nan)

        found["scikit-image, 100 x"] = phase
    return found


def accuracy(quick: bool) -> None:
    """Errors in both settings."""
    print_head(
        [
            "setting", "n", "noise", "who", "rms (px)", "by the bound", "unknown scene",
            "off by > 1 px", "reported", "within",
        ]
    )  # fmt: skip
    for setting in ("periodic", "crop"):
        for n in (64, 128) if quick else (64, 128, 256, 512):
            for noise in (0.1, 0.5):
                count = 100 if quick else (400 if n < 512 else 100)
                _accuracy_of(setting, n, noise, count)


def _accuracy_of(setting: str, n: int, noise: float, count: int) -> None:
    rows: dict[str, list] = {name: [] for name in finders(setting)}
    for number, (a, b, truth, bound) in enumerate(pairs(setting, n, noise, count)):
        for name, find in finders(setting).items():
            slow = not name.startswith("fastgauss")
            if not slow or number < max(20, 2000 // n):
                dx, dy, ex, ey = find(a, b, noise)
                rows[name].append([dx - truth[0], dy - truth[1], ex, ey, *bound])
    for name, row in rows.items():
        table = np.array(row, dtype=float)
        miss, error, bound = table[:, :2], table[:, 2:4], table[:, 4:]
        rms = math.sqrt(np.mean(miss**2))
        reported = math.sqrt(np.mean(error**2)) / rms
        known = not math.isnan(reported)
        print_row(
            [
                setting, f"{n}", f"{noise}", name, f"{rms:.4f}",
                f"{rms / math.sqrt(np.mean(bound)):.2f}", f"{unknown_scene(n, noise):.2f}",
                f"{100 * np.mean(np.abs(miss).max(axis=1) > 1):.0f} %",
                f"{reported:.3g}" if known else "none",
                f"{100 * np.mean(np.abs(miss) < error):.0f} %" if known else "none",
            ]
        )  # fmt: skip


# -- times -------------------------------------------------------------------------------------


def _best(jobs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Shortest time of each, in ms; the first round compiles."""
    best = dict.fromkeys(jobs, math.inf)
    for turn in range(rounds + 1):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            if turn:
                best[name] = min(best[name], 1000 * (time.perf_counter() - start))
    return best


def shift_times(quick: bool) -> None:
    """One pair of periodic images."""
    print_head(["n", "who", "ms", "by fastgauss chi2_shift"])
    for n in (128, 256) if quick else (128, 256, 512, 1024):
        a, b, _, _ = next(pairs("periodic", n, 0.1, 1))
        known = finders("periodic")
        known["fastgauss align, overlap"] = finders("crop")["fastgauss align"]
        jobs = {name: lambda f=f: f(a, b, 0.1) for name, f in known.items()}  # noqa: B023
        best = _best(jobs, 3 if quick or n > 256 else 9)
        for name, time_ in best.items():
            print_row([f"{n}", name, f"{time_:.2f}", f"{time_ / best['fastgauss chi2_shift']:.1f}"])


def field_times(quick: bool) -> None:
    """1024 windows of 64 x 64 pixels, 32 apart, noise 0.05."""
    rng = np.random.default_rng(0)
    side, truth = 31 * 32 + 64, (3.3, -2.2)
    spectrum = cloud(2 * side, rng)
    a, b = (scene(spectrum, 2 * side, *d)[:side, :side] for d in ((0, 0), truth))
    a, b = (image + rng.normal(0, 0.05, image.shape) for image in (a, b))
    result: dict[str, np.ndarray] = {}

    def ours(threads: int) -> None:
        field = fg.register.displacement_field(a, b, 64, 32, 0.05, threads=threads)
        result[f"fastgauss, {threads} threads"] = np.stack([field.dx, field.dy], -1).reshape(-1, 2)

    jobs: dict[str, Callable[[], object]] = {
        f"fastgauss, {threads} threads": lambda t=threads: ours(t) for threads in (1, 2)
    }
    with suppress(ImportError):
        import cv2

        window = cv2.createHanningWindow((64, 64), cv2.CV_64F)
        starts = range(0, side - 63, 32)

        def opencv() -> None:
            corners = [(slice(i, i + 64), slice(j, j + 64)) for i in starts for j in starts]
            moves = [cv2.phaseCorrelate(a[c].copy(), b[c].copy(), window)[0] for c in corners]
            result["OpenCV + Hann, a loop"] = np.array(moves)

        jobs["OpenCV + Hann, a loop"] = opencv
    best = _best(jobs, 3 if quick else 9)
    print_head(["1024 windows of 64 x 64", "ms", "rms (px)", "worst (px)"])
    for name, time_ in best.items():
        miss = result[name] - truth
        rms = np.sqrt(np.mean(miss**2))
        print_row([name, f"{time_:.1f}", f"{rms:.3f}", f"{abs(miss).max():.2f}"])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer sizes and rounds")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=JOBS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of peers
    for name, job in zip(JOBS, (accuracy, shift_times, field_times), strict=True):
        if name in options.jobs:
            job(options.quick)
            print()


if __name__ == "__main__":
    main()
