"""Jobs of ``fastgauss bench`` on spots, and how other packages do them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..fields.rendering import render
from ..find.detection import find_spots
from ..fit.rois import fit_rois
from ..models.evaluation import evaluate
from .bench_types import Timed

SIGMA = 1.3
HEIGHT = 50.0  # half the amplitude of the faintest spot: the threshold of all finders
TOL, MAX_ITER = 1e-4, 20
_WIDTHS = {"symmetric": [1.3], "elliptic": [1.2, 1.6]}
Find = Callable[[np.ndarray], np.ndarray]


# -- spots -------------------------------------------------------------------------------------


def _gaussian(grid: Any, a: Any, x0: Any, y0: Any, sx: Any, sy: Any, b: Any) -> np.ndarray:
    """The elliptic model in plain numpy."""
    x, y = grid
    return a * np.exp(-0.5 * (((x - x0) / sx) ** 2 + ((y - y0) / sy) ** 2)) + b


def _spots(count: int, side: int, model: str) -> tuple[np.ndarray, np.ndarray]:
    """ROIs with a spot each in Poisson noise, and starting values with errors up to a fifth."""
    rng = np.random.default_rng(0)
    middle = (side - 1) / 2 + rng.uniform(-0.5, 0.5, (count, 2))
    widths = np.array(_WIDTHS[model]) * rng.uniform(0.9, 1.1, (count, len(_WIDTHS[model])))
    ends = np.full((count, 1), 200.0), np.full((count, 1), 10.0)
    truth = np.hstack([ends[0], middle, widths, ends[1]])
    a, x, y, *s, b = truth.T[..., None, None]
    grid = np.indices((side, side))[::-1]
    rois = rng.poisson(_gaussian(grid, a, x, y, s[0], s[-1], b)).astype(np.float32)
    guess = truth * rng.uniform(0.8, 1.2, truth.shape)
    guess[:, 1:3] = middle + rng.uniform(-0.25, 0.25, middle.shape)
    return rois, guess


def _picassosr(rois: np.ndarray, guess: np.ndarray, model: str, method: str) -> Timed:
    from picasso.fitting import gaussfit

    kind = ("symmetric", "elliptic").index(model)
    options = {"mle": method == "mle", "tolerance": TOL, "max_iterations": MAX_ITER}
    return Timed(lambda: gaussfit.fit_spots(kind, rois, guess, **options), len(rois))


def _scipy_fit(rois: np.ndarray, guess: np.ndarray, model: str, method: str) -> Timed:
    """A plain loop over scipy: curve_fit, or minimize of the likelihood."""
    from scipy.optimize import curve_fit, minimize

    y, x = (axis.ravel() for axis in np.indices(rois.shape[1:]))

    def value(_: Any, a: float, x0: float, y0: float, *rest: float) -> np.ndarray:
        return _gaussian((x, y), a, x0, y0, rest[0], rest[-2], rest[-1])

    def least_squares() -> None:
        for roi, start in zip(rois, guess, strict=True):
            curve_fit(value, x, roi.ravel(), start, ftol=TOL, xtol=TOL, maxfev=10_000)

    def likelihood() -> None:
        for roi, start in zip(rois, guess, strict=True):
            counts = roi.ravel()

            def loss(p: np.ndarray, counts: np.ndarray = counts) -> float:
                mean = np.maximum(value(None, *p), 1e-9)
                return float((mean - counts * np.log(mean)).sum())

            minimize(loss, start, method="L-BFGS-B", tol=TOL)

    return Timed(likelihood if method == "mle" else least_squares, len(rois))


def fit_jobs(model: str, side: int, method: str, scale: float, threads: int) -> tuple:
    count = round(40_000 * scale * 49 / side**2)
    rois, guess = _spots(count, side, model)
    options: dict[str, Any] = {"guess": guess, "tol": TOL, "max_iter": MAX_ITER, "threads": threads}
    few, fewest = count // 20, max(5, count // 2000)
    return Timed(lambda: fit_rois(rois, model, method=method, **options), count), {
        "picassosr": lambda: _picassosr(rois[:few], guess[:few], model, method),
        f"scipy, {'minimize' if method == 'mle' else 'curve_fit'}": lambda: _scipy_fit(
            rois[:fewest], guess[:fewest], model, method
        ),
    }


def scipy_finder() -> Find:
    """Local maxima of scipy's Laplacian of Gaussian; whole pixels."""
    from scipy.ndimage import gaussian_laplace, maximum_filter

    def find(image: np.ndarray) -> np.ndarray:
        response = -2 * SIGMA**2 * gaussian_laplace(image, SIGMA)  # of a spot: its amplitude
        return np.argwhere((response == maximum_filter(response, 5)) & (response > HEIGHT))

    return find


def scikit_image_finder() -> Find:
    """peak_local_max of scipy's Laplacian of Gaussian; whole pixels."""
    from scipy.ndimage import gaussian_laplace
    from skimage.feature import peak_local_max

    def find(image: np.ndarray) -> np.ndarray:
        response = -2 * SIGMA**2 * gaussian_laplace(image, SIGMA)
        return peak_local_max(response, min_distance=2, threshold_abs=HEIGHT)

    return find


def photutils_finder() -> Find:
    """DAOStarFinder, whose threshold is the height."""
    from photutils.detection import DAOStarFinder

    finder = DAOStarFinder(threshold=HEIGHT, fwhm=2 * math.sqrt(2 * math.log(2)) * SIGMA)

    def find(image: np.ndarray) -> np.ndarray:
        table = finder(image)
        return np.column_stack([table["y_centroid"], table["x_centroid"]])

    return find


def find_jobs(scale: float, threads: int) -> tuple:
    rng, side = np.random.default_rng(0), int(1024 * math.sqrt(scale))
    places = rng.uniform(8, side - 9, (side * side // 1000, 2))
    light = render((side, side), places, rng.uniform(100, 300, len(places)), SIGMA)
    image = rng.poisson(light + 10).astype(np.float32)
    peers = {"scipy": scipy_finder, "scikit-image": scikit_image_finder}
    peers["photutils"] = photutils_finder

    def timed(prepare: Callable[[], Find]) -> Timed:
        return Timed(partial(prepare(), image), image.size)

    return Timed(lambda: find_spots(image, SIGMA, threshold=HEIGHT, threads=threads), image.size), {
        name: partial(timed, prepare) for name, prepare in peers.items()
    }


def value_jobs(scale: float, threads: int) -> tuple:
    x, y = np.random.default_rng(0).uniform(0, 10, (2, int(500_000 * scale)))
    spot = (100.0, 5.0, 4.0, 1.2, 1.6, 10.0)

    def astropy() -> Timed:
        from astropy.modeling.models import Gaussian2D

        model = Gaussian2D(*spot[:5])
        return Timed(lambda: model(x, y) + spot[5], len(x))

    return Timed(lambda: evaluate((x, y), spot, "elliptic", threads=threads), len(x)), {
        "numpy": lambda: Timed(lambda: _gaussian((x, y), *spot), len(x)),
        "astropy": astropy,
    }
