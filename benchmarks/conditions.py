"""The data on which everything here is timed, and the starts that all fitters get.

Regions of interest of S x S pixels hold one spot each, in Poisson noise: amplitude 200,
offset 10, sigma 1.3 (symmetric), 1.2 and 1.6 (elliptic), 1.1 and 1.7 turned by -0.6 to 0.6
rad (rotated), each +-10 %; centres within 0.5 px of the middle. Starts are off by up to
20 %, centres by up to 0.2 sigma and angles by up to 0.2 rad.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MODELS = ("symmetric", "elliptic", "rotated")
SIZES = (7, 11, 15)
TOL = 1e-4
MAX_ITER = 20

AMPLITUDE, OFFSET = 200.0, 10.0
SIGMAS = {"symmetric": (1.3, 1.3), "elliptic": (1.2, 1.6), "rotated": (1.1, 1.7)}
STEP = 0.2 * 1.3  # pixels by which a start may miss the centre


class Rois(NamedTuple):
    """Spots to fit; parameters in the order of fastgauss."""

    pixels: np.ndarray  # (n, S, S) float32
    start: np.ndarray  # (n, P)
    truth: np.ndarray  # (n, P)


def profile(model: str, params: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The model in plain numpy, as a user of another package would write it."""
    amplitude, x0, y0, *widths, offset = params
    if model == "symmetric":
        return amplitude * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * widths[0] ** 2)) + offset
    if model == "elliptic":
        u, v = (x - x0) / widths[0], (y - y0) / widths[1]
        return amplitude * np.exp(-(u**2 + v**2) / 2) + offset
    cos, sin = np.cos(widths[2]), np.sin(widths[2])
    u = ((x - x0) * cos + (y - y0) * sin) / widths[0]
    v = (-(x - x0) * sin + (y - y0) * cos) / widths[1]
    return amplitude * np.exp(-(u**2 + v**2) / 2) + offset


def jacobian(model: str, params: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Derivatives of the flattened profile, (pixels, P), in plain numpy."""
    amplitude, x0, y0, *widths, _ = params
    sx, sy = (widths[0], widths[0]) if model == "symmetric" else widths[:2]
    theta = widths[2] if model == "rotated" else 0.0
    cos, sin = np.cos(theta), np.sin(theta)
    u = ((x - x0) * cos + (y - y0) * sin) / sx
    v = (-(x - x0) * sin + (y - y0) * cos) / sy
    shape = np.exp(-(u**2 + v**2) / 2)
    value = amplitude * shape
    by_sigma = [value * u**2 / sx, value * v**2 / sy]
    columns = [
        shape,
        value * (u * cos / sx - v * sin / sy),
        value * (u * sin / sx + v * cos / sy),
        *([sum(by_sigma)] if model == "symmetric" else by_sigma),
        *([value * u * v * (sx / sy - sy / sx)] if model == "rotated" else []),
        np.ones_like(shape),
    ]
    return np.stack(columns, axis=-1).reshape(-1, len(columns))


def make_rois(count: int, size: int, model: str, seed: int = 0) -> Rois:
    """Spots, starts and truth for one model and size."""
    rng = np.random.default_rng(seed)

    def vary(value: float | np.ndarray, part: float) -> np.ndarray:
        return value * rng.uniform(1 - part, 1 + part, count)

    centre = (size - 1) / 2 + rng.uniform(-0.5, 0.5, (2, count))
    widths = [vary(s, 0.1) for s in SIGMAS[model]][: 1 if model == "symmetric" else 2]
    angle = [rng.uniform(-0.6, 0.6, count)] if model == "rotated" else []
    truth = np.array(
        [vary(AMPLITUDE, 0.1), *centre, *widths, *angle, vary(OFFSET, 0.1)]
    )  # (P, count)
    y, x = np.mgrid[:size, :size]
    clean = profile(model, truth[:, :, None, None], x, y)
    pixels = rng.poisson(clean).astype(np.float32)
    start = np.array(
        [
            vary(truth[0], 0.2),
            *(c + rng.uniform(-STEP, STEP, count) for c in centre),
            *(vary(w, 0.2) for w in widths),
            *(a + rng.uniform(-0.2, 0.2, count) for a in angle),
            vary(truth[-1], 0.2),
        ]
    )
    return Rois(pixels, np.ascontiguousarray(start.T), np.ascontiguousarray(truth.T))


def make_image(shape: tuple[int, int], count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An image ``[y, x]`` with spots of sigma 1.3 at random places, and their (row, column)."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(8, np.array(shape) - 9, (count, 2))
    image = np.full(shape, OFFSET)
    steps = np.arange(-7, 8)
    for (row, column), height in zip(places, rng.uniform(100, 300, count), strict=True):
        y, x = round(row) + steps, round(column) + steps
        shape_y = np.exp(-((y - row) ** 2) / (2 * 1.3**2))
        shape_x = np.exp(-((x - column) ** 2) / (2 * 1.3**2))
        image[y[0] : y[-1] + 1, x[0] : x[-1] + 1] += height * np.outer(shape_y, shape_x)
    return rng.poisson(image).astype(np.float32), places
