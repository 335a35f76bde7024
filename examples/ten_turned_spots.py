"""Ten rotated Gaussians without noise, found and fitted without starting values.

The image of 200 x 200 pixels has ten spots of height 100, sigma 9 and 3 px, rotated by 3 rad, at
random positions. A spot is isolated if the light of the others is below 1e-5 in its box; isolated
spots must be fitted to 1e-6. For comparison, scipy's curve_fit is used in three ways: in a loop
over the same boxes without starting values; in the same loop with position, height and widths as
starting values, which fastgauss does not need; and from there for all spots together, which also
separates overlapping spots, but is a thousand times slower, and slower still for each further spot.

Run ``python examples/ten_turned_spots.py``.
"""

import time
import warnings
from functools import partial

import numpy as np
from scipy.optimize import curve_fit

import fastgauss as fg

SHAPE = (200, 200)
BOX = 25
COUNT = 10


def rotated(grid, amplitude, x0, y0, sigma_x, sigma_y, theta, offset):
    """The model as a function for curve_fit."""
    x, y = grid
    u = ((x - x0) * np.cos(theta) + (y - y0) * np.sin(theta)) / sigma_x
    v = (-(x - x0) * np.sin(theta) + (y - y0) * np.cos(theta)) / sigma_y
    return amplitude * np.exp(-(u**2 + v**2) / 2) + offset


def make(seed):
    """The spots' parameters and their images, one each."""
    rng = np.random.default_rng(seed)
    truth = np.tile([100.0, 0.0, 0.0, 9.0, 3.0, 3.0 - np.pi, 0.0], (COUNT, 1))
    truth[:, 1:3] = rng.uniform(0, 200, (COUNT, 2))
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return truth, np.array([rotated((x, y), *spot) for spot in truth])


def window(place):
    """The box around (row, column), cut by the image."""
    corners = [(round(p) - BOX // 2, round(p) + BOX // 2 + 1) for p in place]
    return tuple(slice(max(0, a), min(n, b)) for (a, b), n in zip(corners, SHAPE, strict=True))


def fit_with_fastgauss(image):
    """Find and fit with fastgauss."""
    return fg.fit_spots(image, model="rotated", box=BOX, sigma=3.0).params


def first_guess(image, place):
    """Height and position of a spot, and widths that are roughly right."""
    row, column = place
    return [image[round(row), round(column)], column, row, 6.0, 4.0, 0.0, 0.0]


def curve_fit_loop(image, positions, guess):
    """One curve_fit for each box; NaN where it fails."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    params = np.full((len(positions), 7), np.nan)
    for i, place in enumerate(positions):
        box = window(place)
        grid = x[box].ravel(), y[box].ravel()
        try:
            params[i], _ = curve_fit(rotated, grid, image[box].ravel(), p0=guess(image, place))
        except RuntimeError:
            continue
    return comparable(params)


def curve_fit_at_once(image, positions):
    """One curve_fit of all spots to the whole image, without an offset."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]

    def scene(grid, *params):
        return sum(rotated(grid, *spot, 0.0) for spot in np.reshape(params, (-1, 6)))

    start = np.concatenate([first_guess(image, place)[:6] for place in positions])
    params, _ = curve_fit(scene, (x.ravel(), y.ravel()), image.ravel(), p0=start)
    return comparable(np.insert(params.reshape(-1, 6), 6, 0.0, axis=1))


def comparable(params):
    """The same ellipses with sigma_x the longer axis and theta in (-pi/2, pi/2]."""
    params = params.copy()
    params[np.abs(params[:, 3]) < np.abs(params[:, 4]), 5] += np.pi / 2
    params[:, 3:5] = -np.sort(-np.abs(params[:, 3:5]), axis=1)
    params[:, 5] = np.pi / 2 - (np.pi / 2 - params[:, 5]) % np.pi
    return params


def report(name, fit, truth, isolated):
    """Time one way, and count the isolated spots that were fitted."""
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # curve_fit's, of overflow and undetermined errors
        params = fit()
    seconds = time.perf_counter() - begin
    misses = np.abs(params[:, None] - truth[isolated]).max(axis=2)
    nearest = np.where(np.isfinite(misses), misses, np.inf).min(axis=0)
    print(
        f"  {name:<34} {np.sum(nearest < 1e-6)} of {isolated.sum()} isolated ones to 1e-6, "
        f"worst {nearest.max():.0e}, {1000 * seconds:7.1f} ms"
    )


def main():
    """Three images, four ways."""
    for seed in range(3):
        truth, each = make(seed)
        image = each.sum(axis=0)
        others = [(image - e)[window(t[2:0:-1])].max() for e, t in zip(each, truth, strict=True)]
        isolated = np.array(others) < 1e-5

        fit_with_fastgauss(image)  # compiles, or loads what is compiled
        found = fg.find_spots(image, 3.0)
        print(f"image {seed}: {len(found)} of {COUNT} spots found")
        ways = {
            "fastgauss": partial(fit_with_fastgauss, image),
            "curve_fit, no start": partial(curve_fit_loop, image, found, lambda *_: None),
            "curve_fit, place and widths given": partial(curve_fit_loop, image, found, first_guess),
            "curve_fit, all at once": partial(curve_fit_at_once, image, found),
        }
        for name, way in ways.items():
            report(name, way, truth, isolated)


if __name__ == "__main__":
    main()
