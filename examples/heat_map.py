"""Heat maps: the probability of at least one of two, or of ten thousand, Gaussians at a pixel.

Two detectors each report an object near a position, with an uncertainty that is larger along one
direction. The probability that at least one is right at a pixel is 1 - (1 - P1) (1 - P2), with the
probabilities P1 and P2 there. A loop over 1000 x 1000 pixels takes two to ten seconds; `render`
with combine="union" draws each Gaussian only where it is above a tolerance. Here the loop computes
every ninth pixel, and its time is scaled.

Run ``python examples/heat_map.py``; it draws heat_map.png.
"""

import argparse
import math
import time

import numpy as np

import fastgauss as fg

SIDE = 1000
TWO = (  # row, column, sigma along and across, angle of the long axis from +x towards +y, height
    (420.0, 380.0, 160.0, 50.0, 0.6, 0.9),
    (560.0, 600.0, 120.0, 60.0, -0.9, 0.8),
)
MANY = 10_000
TOL = 1e-4  # part of a height that may be omitted


def covariances(along, across, theta):
    """Covariances (n, 2, 2), rows first, of Gaussians whose long axis is turned by theta."""
    c, s = np.cos(theta), np.sin(theta)
    major, minor = along**2, across**2
    rows, columns = s * s * major + c * c * minor, c * c * major + s * s * minor
    both = c * s * (major - minor)
    return np.array([[rows, both], [both, columns]]).transpose(2, 0, 1)


def draw(shape, spots, combine="union"):
    """The map of spots (n, 6) on an image."""
    row, column, along, across, theta, height = np.asarray(spots).T
    positions = np.stack([row, column], axis=1)
    covariance = covariances(along, across, theta)
    return fg.render(shape, positions, height, covariance=covariance, tol=TOL, combine=combine)


def pixel_loop(rows, columns, spots):
    """The same, a pixel at a time."""
    image = np.zeros((len(rows), len(columns)))
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            none = 1.0
            for row, column, along, across, theta, height in spots:
                u = (x - column) * math.cos(theta) + (y - row) * math.sin(theta)
                v = (y - row) * math.cos(theta) - (x - column) * math.sin(theta)
                none *= 1.0 - height * math.exp(-0.5 * ((u / along) ** 2 + (v / across) ** 2))
            image[i, j] = 1.0 - none
    return image


def scatter(count, side, seed=0):
    """Many spots around a few centres."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0.15 * side, 0.85 * side, (12, 2))
    places = centres[rng.integers(12, size=count)] + rng.normal(0, 0.07 * side, (count, 2))
    along = rng.uniform(3, 9, count)
    across = along * rng.uniform(0.3, 1.0, count)
    theta = rng.uniform(-np.pi / 2, np.pi / 2, count)
    heights = rng.uniform(0.02, 0.3, count)
    return np.column_stack([places, along, across, theta, heights])


def timed(function, *arguments):
    """Result and seconds of the second call: the first compiles."""
    function(*arguments)
    begin = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - begin


def main():
    """Time both, compare them, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", nargs="?", default="heat_map.png")
    picture = parser.parse_args().picture

    two, seconds = timed(draw, (SIDE, SIDE), TWO)
    step = 3
    some = range(0, SIDE, step)
    begin = time.perf_counter()
    looped = pixel_loop(some, some, TWO)
    loop = (time.perf_counter() - begin) * step**2
    print(f"two Gaussians on {SIDE} x {SIDE}: a loop over pixels {loop:.1f} s (scaled), ", end="")
    print(f"render {1e3 * seconds:.1f} ms: {loop / seconds:.0f} times faster")
    print(f"largest difference {np.abs(two[::step, ::step] - looped).max():.1e} (tol {TOL:g})")

    many, seconds = timed(draw, (2048, 2048), scatter(MANY, 2048))
    print(f"{MANY} Gaussians on 2048 x 2048: {1e3 * seconds:.1f} ms, largest {many.max():.3f}")

    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    for axes, image, title in zip(
        figure.subplots(1, 2),
        (two, many),
        ("1 - (1 - P1) (1 - P2)", f"{MANY:,} Gaussians"),
        strict=True,
    ):
        shown = axes.imshow(image, origin="lower", cmap="magma", vmin=0, vmax=1)
        axes.set(title=title, xlabel="x (px)", ylabel="y (px)")
    figure.colorbar(shown, ax=figure.axes, label="chance of at least one", shrink=0.85)
    figure.savefig(picture, dpi=110)
    print(f"wrote {picture}")


if __name__ == "__main__":
    main()
