"""Fifty spots in noise: all isolated spots found, with right errors.

An image of 200 x 400 pixels with fifty spots of height 100 and sigma 2 px and normal(5, 5) noise is
made a hundred times. Every spot without a neighbour within 8 px must be found, and 99 % of its
parameters must lie within three reported errors of the truth. For comparison, a loop of scipy's
curve_fit runs over the same boxes, starting from the positions that find_spots found.

Run ``python examples/fifty_noisy_spots.py``.
"""

import time

import numpy as np
from scipy.optimize import curve_fit
from scipy.spatial import KDTree

import fastgauss as fg

SHAPE = (200, 400)
COUNT = 50
BOX = 11
SEEDS, SCIPY_SEEDS = 100, 5


def round_spot(grid, amplitude, x0, y0, sigma, offset):
    """The model as a function for curve_fit."""
    x, y = grid
    return amplitude * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * sigma**2)) + offset


def make(seed):
    """The image, and the true parameters."""
    rng = np.random.default_rng(seed)
    truth = np.tile([100.0, 0.0, 0.0, 2.0, 5.0], (COUNT, 1))
    truth[:, 1:3] = rng.uniform(-0.5, np.array(SHAPE[::-1]) - 0.5, (COUNT, 2))
    spots = truth - [0, 0, 0, 0, 5]  # the background comes with the noise
    image = fg.image(spots, SHAPE, model="symmetric").sum(axis=0)
    return image + rng.normal(5.0, 5.0, SHAPE), truth


def fit_with_fastgauss(image):
    """Parameters and errors by fastgauss."""
    # There are no hot pixels or lines: no spot is left out for its shape.
    result = fg.fit_spots(image, box=BOX, sigma=2.0, shape_level=0, exclude_border=False)
    return result.params, result.errors


def fit_with_curve_fit(image):
    """A loop of curve_fit, from the positions of find_spots."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    places = fg.find_spots(image, 2.0, shape_level=0, exclude_border=False)
    params, errors = np.full((2, len(places), 5), np.nan)
    for i, (row, column) in enumerate(places):
        box = tuple(slice(max(0, round(p) - BOX // 2), round(p) + BOX // 2 + 1)
                    for p in (row, column))  # fmt: skip
        start = [image[round(row), round(column)], column, row, 2.0, 0.0]
        try:
            params[i], covariance = curve_fit(
                round_spot, (x[box].ravel(), y[box].ravel()), image[box].ravel(), p0=start
            )
        except RuntimeError:
            continue
        errors[i] = np.sqrt(np.diag(covariance))
    return params, errors


def check(fit, seeds):
    """Isolated spots, those found, the part of parameters within 3 errors, seconds an image."""
    isolated = found = 0
    within = []
    seconds = 0.0
    for seed in range(seeds):
        image, truth = make(seed)
        begin = time.perf_counter()
        params, errors = fit(image)
        seconds += time.perf_counter() - begin
        centres = truth[:, 1:3]
        alone = KDTree(centres).query(centres, k=2)[0][:, 1] > 8.0
        fitted = np.flatnonzero(np.isfinite(params).all(axis=1))
        distance, nearest = KDTree(params[fitted, 1:3]).query(centres)
        seen = alone & (distance < 2.0)
        mine = fitted[nearest[seen]]
        within.append(np.abs(params[mine] - truth[seen]) < 3 * errors[mine])
        isolated, found = isolated + alone.sum(), found + seen.sum()
    return isolated, found, np.concatenate(within).mean(), seconds / seeds


def main():
    """fastgauss on a hundred images, the loop of curve_fit on a few."""
    fit_with_fastgauss(make(0)[0])  # compiles, or loads what is compiled
    for name, fit, seeds in (
        ("fastgauss", fit_with_fastgauss, SEEDS),
        ("curve_fit", fit_with_curve_fit, SCIPY_SEEDS),
    ):
        isolated, found, within, seconds = check(fit, seeds)
        print(
            f"{name}: {found} of {isolated} isolated spots in {seeds} images, "
            f"{within:.2%} of parameters within 3 errors, {1000 * seconds:.1f} ms an image"
        )


if __name__ == "__main__":
    main()
