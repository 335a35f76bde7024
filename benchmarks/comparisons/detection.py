"""Detection curves: completeness against the signal by noise, at one number of false spots.

``python -m benchmarks.comparisons.detection`` from the repository, with trackpy, photutils,
scikit-image and sep where they are installed. Images are counts on a level or a sloping background,
with spots of one width whose signal by noise (of a filter that knows the background) is given. The
threshold of each package is the least one at which spotless images have 10 false spots in
512 x 512 pixels; then it counts how many of the spots are found within two pixels.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.spatial import cKDTree

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import fastgauss as fg
from benchmarks.common.detectors import DETECTORS, Detect
from benchmarks.common.tables import print_head, print_row

SIDE, STEP = 256, 32  # pixels of an image, and between its spots
FALSE = 10.0  # in 512 x 512 pixels
NEAR = 2.0  # pixels
STRENGTHS = (3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 9.0)
IDEAL = "filter that knows the background"
THRESHOLDS = np.geomspace(0.5, 40.0, 120)
BACKGROUNDS = {
    "level": np.full((SIDE, SIDE), 40.0),
    "slope": np.broadcast_to(np.linspace(10.0, 300.0, SIDE), (SIDE, SIDE)),
}


class Scenes(NamedTuple):
    """Images without spots, and images (strengths, n) with spots at places (strengths, n, m, 2)."""

    background: np.ndarray
    empty: list[np.ndarray]
    images: list[list[np.ndarray]]
    places: list[list[np.ndarray]]


def make_scenes(background: np.ndarray, sigma: float, count: int) -> Scenes:
    """Counts on a background; each spot's amplitude gives it the same signal by noise."""
    rng = np.random.default_rng(0)
    empty = [rng.poisson(background) for _ in range(4 * count)]
    axis = np.arange(STEP // 2, SIDE, STEP, dtype=float)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    images: list[list[np.ndarray]] = []
    places: list[list[np.ndarray]] = []
    for strength in STRENGTHS:
        places.append([grid + rng.uniform(-8.0, 8.0, grid.shape) for _ in range(count)])
        images.append([])
        for at in places[-1]:
            level = background[tuple(np.rint(at).astype(int).T)]
            amplitude = strength * np.sqrt(level / math.pi) / sigma
            images[-1].append(
                rng.poisson(background + fg.render(background.shape, at, amplitude, sigma))
            )
    return Scenes(background, empty, images, places)


def ideal(sigma: float, background: np.ndarray) -> Detect:
    """Maxima of the matched filter of the image less its true background, by the true noise."""

    def detect(image: np.ndarray, threshold: float) -> np.ndarray:
        scaled = (image - background) / np.sqrt(background)
        response = gaussian_filter(scaled, sigma) * (2.0 * math.sqrt(math.pi) * sigma)
        maxima = response == maximum_filter(response, 3)
        return np.argwhere(maxima & (response > threshold)).astype(float)

    return detect


def least_threshold(detect: Detect, images: list[np.ndarray]) -> float:
    """The least threshold at which these images have no more spots than asked."""
    allowed = FALSE * len(images) * SIDE**2 / 512**2
    low, high = 0, len(THRESHOLDS) - 1
    while low < high:
        middle = (low + high) // 2
        found = sum(len(detect(image, THRESHOLDS[middle])) for image in images)
        low, high = (low, middle) if found <= allowed else (middle + 1, high)
    return float(THRESHOLDS[low])


def completeness(detect: Detect, threshold: float, scenes: Scenes) -> np.ndarray:
    """The part of the spots that is found, for each strength."""
    shares = []
    for images, places in zip(scenes.images, scenes.places, strict=True):
        hits = spots = 0
        for image, at in zip(images, places, strict=True):
            found = detect(image, threshold)
            spots += len(at)
            if len(found):
                hits += np.count_nonzero(cKDTree(found).query(at)[0] < NEAR)
        shares.append(hits / spots)
    return np.array(shares)


def main() -> None:
    """Print the table of each background."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sigma", type=float, default=1.3)
    parser.add_argument("--images", type=int, default=6, help="of each strength, with 64 spots")
    parser.add_argument("--peers", nargs="+", choices=list(DETECTORS), default=list(DETECTORS))
    parser.add_argument("--quick", action="store_true", help="two images of each strength")
    parser.add_argument("--curve", help="an NPZ file for the curves")
    chosen = parser.parse_args()
    curves: dict[str, np.ndarray] = {"strengths": np.array(STRENGTHS)}
    for kind, background in BACKGROUNDS.items():
        print(f"\n### {kind} background, sigma {chosen.sigma:g}\n")
        scenes = make_scenes(background, chosen.sigma, 2 if chosen.quick else chosen.images)
        print_head(["completeness at S/N", *(f"{s:g}" for s in STRENGTHS), "CPU ms an image"])
        for name in (IDEAL, *chosen.peers):
            try:
                knows = name == IDEAL
                detect = ideal(chosen.sigma, background) if knows else DETECTORS[name](chosen.sigma)
                threshold = least_threshold(detect, scenes.empty)
            except ImportError as error:
                print_row([name, f"not installed: {error}"])
                continue
            begin = time.process_time()
            shares = completeness(detect, threshold, scenes)
            used = (time.process_time() - begin) / (len(STRENGTHS) * len(scenes.images[0]))
            curves[f"{kind}/{name}"] = shares
            print_row([name, *(f"{share:.2f}" for share in shares), f"{1e3 * used:.0f}"])
    if chosen.curve:
        np.savez(chosen.curve, **curves)


if __name__ == "__main__":
    main()
