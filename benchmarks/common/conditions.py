"""The data on which everything here is timed, and the starts that all fitters get.

Regions of interest of S x S pixels hold one spot each, in Poisson noise: amplitude 200,
offset 10, sigma 1.3 (symmetric), 1.2 and 1.6 (elliptic), 1.1 and 1.7 turned by -0.6 to 0.6
rad (rotated), each +-10 %; centres within 0.5 px of the middle. Starts are off by up to
20 %, centres by up to 0.2 sigma and angles by up to 0.2 rad. Profiles and volumes are the
same in one and three dimensions, with a third sigma of 1.4.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

MODELS = ("symmetric", "elliptic", "rotated")
SIZES = (7, 11, 15)
TOL = 1e-4
MAX_ITER = 20

AMPLITUDE, OFFSET = 200.0, 10.0
SIGMAS = {"symmetric": (1.3,), "elliptic": (1.2, 1.6, 1.4), "rotated": (1.1, 1.7)}
STEP = 0.2 * 1.3  # pixels by which a start may miss the centre


class Case(NamedTuple):
    """A fit to do: the model, the data, and by what estimator."""

    model: str
    size: int  # pixels a side
    ndim: int = 2
    method: str = "lsq"
    pixel: str = "sample"
    weighted: bool = False
    fixed: tuple[str, ...] = ()  # parameters that are given the truth

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a region of interest."""
        return (self.size,) * self.ndim

    @property
    def job(self) -> str:
        """The fit in words; a plain one is a two-dimensional sampled least-squares fit."""
        words = {
            f"{self.ndim}-D": self.ndim != 2,
            "weighted": self.weighted,
            self.method: self.method != "lsq",
            self.pixel: self.pixel != "sample",
            f"fixed {' '.join(self.fixed)}": self.fixed,
        }
        return " ".join(["fit", *(word for word, said in words.items() if said), self.model])

    @property
    def extent(self) -> str:
        """Shape of a region of interest, in words."""
        return " x ".join(map(str, self.shape))

    def count(self, usual: float) -> int:
        """How many spots a timed call takes: the usual number, fewer if they are large."""
        return int(usual * min(1.0, max(SIZES) ** 2 / math.prod(self.shape)))


PLANAR = tuple(Case(model, size) for model in MODELS for size in SIZES)
JOBS = {
    "lsq": PLANAR,
    "weighted": tuple(case._replace(weighted=True) for case in PLANAR),
    "mle": tuple(case._replace(method="mle") for case in PLANAR),
    "integrate": tuple(
        case._replace(method="mle", pixel="integrate") for case in PLANAR if case.model != "rotated"
    ),
    "1-D": (Case("symmetric", 32, ndim=1),),
    "3-D": (Case("symmetric", 9, ndim=3), Case("elliptic", 9, ndim=3)),
}


class Rois(NamedTuple):
    """Spots to fit; parameters in the order of fastgauss."""

    pixels: np.ndarray  # (n, S, S) float32, with as many S as dimensions
    start: np.ndarray  # (n, P)
    truth: np.ndarray  # (n, P)
    weights: np.ndarray  # inverse variances as people estimate them from counts, like pixels

    def first(self, count: int) -> Rois:
        """The first so many spots."""
        return Rois(*(array[:count] for array in self))


def _own_axes(model: str, params: np.ndarray, coords: tuple[np.ndarray, ...]) -> tuple:
    """Distances from the centre along the spot's own axes, and the width along each."""
    away = [axis - centre for axis, centre in zip(coords, params[1:], strict=False)]
    widths = params[1 + len(coords) : -1]
    if model == "symmetric":
        return away, [widths[0]] * len(coords)
    if model == "rotated":
        (x, y), cos, sin = away, np.cos(widths[2]), np.sin(widths[2])
        return [x * cos + y * sin, y * cos - x * sin], widths[:2]
    return away, widths


def _sum_of_squares(arrays: list[np.ndarray]) -> np.ndarray:
    """Their sum, without the temporary arrays of ``sum``: peers are timed with it."""
    total = arrays[0] ** 2
    for array in arrays[1:]:
        total += array * array
    return total


def profile(model: str, params: np.ndarray, *coords: np.ndarray) -> np.ndarray:
    """The model at x, y, z in plain numpy, as a user of another package would write it."""
    away, widths = _own_axes(model, params, coords)
    if model == "symmetric":
        squares = _sum_of_squares(away) / widths[0] ** 2
    else:
        squares = _sum_of_squares([d / width for d, width in zip(away, widths, strict=True)])
    return params[0] * np.exp(-0.5 * squares) + params[-1]


def jacobian(model: str, params: np.ndarray, *coords: np.ndarray) -> np.ndarray:
    """Derivatives of the flattened profile, (pixels, P), in plain numpy."""
    away, widths = _own_axes(model, params, coords)
    scaled = [d / width for d, width in zip(away, widths, strict=True)]
    shape = np.exp(-0.5 * _sum_of_squares(scaled))
    value = params[0] * shape
    slopes = [value * u / width for u, width in zip(scaled, widths, strict=True)]
    others = [slope * u for slope, u in zip(slopes, scaled, strict=True)]  # by the widths
    if model == "symmetric":
        others = [sum(others)]
    if model == "rotated":
        cos, sin = np.cos(params[5]), np.sin(params[5])
        others.append(slopes[1] * away[0] - slopes[0] * away[1])
        slopes = [slopes[0] * cos - slopes[1] * sin, slopes[0] * sin + slopes[1] * cos]
    columns = [shape, *slopes, *others, np.ones_like(shape)]
    return np.stack(columns, axis=-1).reshape(-1, len(columns))


def expected(case: Case, truth: np.ndarray) -> np.ndarray:
    """Images without noise, (n, S, S), of parameters ``(n, P)``.

    The mean over a pixel is Gauss and Legendre's rule of three points an axis: wrong by
    less than 1e-5 of the amplitude for these widths, far less than the noise.
    """
    nodes, weights = np.polynomial.legendre.leggauss(3 if case.pixel == "integrate" else 1)
    params = truth.T.reshape(*truth.T.shape, *(1,) * case.ndim)
    coords = np.indices(case.shape, dtype=float)[::-1]
    images = np.zeros((len(truth), *case.shape))
    for index in np.ndindex((len(nodes),) * case.ndim):
        points = (axis + nodes[i] / 2 for axis, i in zip(coords, index, strict=True))
        images += np.prod(weights[list(index)] / 2) * profile(case.model, params, *points)
    return images


def make_rois(
    count: int, case: Case, *, amplitude: float = AMPLITUDE, offset: float = OFFSET, seed: int = 0
) -> Rois:
    """Spots, starts and truth of one case, by default of the usual brightness."""
    rng = np.random.default_rng(seed)

    def vary(value: float | np.ndarray, part: float) -> np.ndarray:
        return value * rng.uniform(1 - part, 1 + part, count)

    centre = (case.size - 1) / 2 + rng.uniform(-0.5, 0.5, (case.ndim, count))
    widths = [vary(sigma, 0.1) for sigma in SIGMAS[case.model][: case.ndim]]
    angle = [rng.uniform(-0.6, 0.6, count)] if case.model == "rotated" else []
    truth = np.stack([vary(amplitude, 0.1), *centre, *widths, *angle, vary(offset, 0.1)], axis=1)
    pixels = rng.poisson(expected(case, truth)).astype(np.float32)
    start = [
        vary(truth[:, 0], 0.2),
        *(c + rng.uniform(-STEP, STEP, count) for c in centre),
        *(vary(w, 0.2) for w in widths),
        *(a + rng.uniform(-0.2, 0.2, count) for a in angle),
        vary(truth[:, -1], 0.2),
    ]
    return Rois(pixels, np.stack(start, axis=1), truth, 1 / np.maximum(pixels, 1))


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
