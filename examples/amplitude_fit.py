"""Amplitudes of a lattice of overlapping Gaussians, fitted in three ways.

The image of 100 x 125 pixels is noise and the sum of 500 Gaussians of sigma 2.5 px on a lattice of
5 px, so that each overlaps its neighbours. The amplitudes are fitted first in plain numpy: a loop
that adds each Gaussian in its window with numpy.ix_, another loop for the gradient, and scipy's
minimize(jac=True, method="CG"). Then the same minimize uses `GaussianField.loss_and_gradient`,
which gives the same numbers except for rounding. Then `GaussianField.fit_amplitudes` solves the
normal equations, and gives errors too.

Run ``python examples/amplitude_fit.py``; it draws amplitude_fit.png.
"""

import argparse
import math
import time
from functools import partial

import numpy as np
from scipy.optimize import minimize

import fastgauss as fg

SHAPE = (100, 125)
STEP = 5.0
SIGMA = 2.5
NOISE = 1.5
RADIUS = math.sqrt(-2 * math.log(1e-4))  # sigmas; fastgauss says tol=1e-4


def lattice(shape):
    """Centres (n, ndim) on a lattice over the whole grid."""
    axes = [np.arange((STEP - 1) / 2, n, STEP) for n in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(shape))


def spiral(positions):
    """Amplitudes from 0 to 10 that make a picture."""
    y, x = (positions - np.array(SHAPE) / 2).T
    distance = np.hypot(y, x)
    return 5 + 5 * np.sin(2 * np.arctan2(y, x) - distance / 7) * np.exp(-((distance / 60) ** 4))


def make(seed):
    """Centres, true amplitudes and the image."""
    positions = lattice(SHAPE)
    truth = spiral(positions)
    noise = np.random.default_rng(seed).normal(0, NOISE, SHAPE)
    return positions, truth, fg.render(SHAPE, positions, truth, SIGMA) + noise


def windows(positions, shape):
    """Each Gaussian's window, as numpy.ix_ has it, and its values there."""
    reach = RADIUS * SIGMA
    for centre in positions:
        nodes = [
            np.arange(max(0, math.ceil(c - reach)), min(n, math.floor(c + reach) + 1))
            for c, n in zip(centre, shape, strict=True)
        ]
        window = np.ix_(*nodes)
        squares = sum((k - c) ** 2 for k, c in zip(window, centre, strict=True))
        yield window, np.exp(-0.5 * squares / SIGMA**2)


def loss_and_gradient(amplitudes, positions, image):
    """Half the squared residual and its gradient, by two loops."""
    residual = -image
    for a, (window, values) in zip(amplitudes, windows(positions, image.shape), strict=True):
        residual[window] += a * values
    gradient = [
        (residual[window] * values).sum() for window, values in windows(positions, image.shape)
    ]
    return 0.5 * (residual**2).sum(), np.array(gradient)


def conjugate_gradients(function, count):
    """Minimise a loss with scipy."""
    return minimize(function, np.zeros(count), jac=True, method="CG", options={"gtol": 1e-4}).x


def fit_with_loops(positions, image):
    """Fit with the loops above."""
    function = partial(loss_and_gradient, positions=positions, image=image)
    return conjugate_gradients(function, len(positions))


def fit_with_gradient(positions, image):
    """Fit with scipy and the gradient of fastgauss."""
    field = fg.GaussianField(image.shape, positions, SIGMA)
    return conjugate_gradients(partial(field.loss_and_gradient, image), len(positions))


def fit_with_fastgauss(positions, image):
    """Fit with fastgauss."""
    return fg.GaussianField(image.shape, positions, SIGMA).fit_amplitudes(image).amplitudes


WAYS = {
    "minimize CG, numpy loops": fit_with_loops,
    "minimize CG, loss_and_gradient": fit_with_gradient,
    "fit_amplitudes": fit_with_fastgauss,
}


def timed(call):
    """The result of a call, and its seconds."""
    begin = time.perf_counter()
    found = call()
    return found, time.perf_counter() - begin


def evaluate_volume(side=48, count=1000):
    """Seconds for loss and gradient of a volume, by loops and fastgauss, and the difference."""
    rng = np.random.default_rng(0)
    positions, amplitudes = rng.uniform(0, side - 1, (count, 3)), rng.uniform(0.5, 1.5, count)
    volume = rng.normal(size=(side,) * 3)
    (_, slow), loops = timed(lambda: loss_and_gradient(amplitudes, positions, volume))
    field = fg.GaussianField(volume.shape, positions, SIGMA)
    field.loss_and_gradient(volume, amplitudes)
    (_, fast), ours = timed(lambda: field.loss_and_gradient(volume, amplitudes))
    return loops, ours, np.abs(slow - fast).max() / np.abs(slow).max()


def draw(path, positions, truth, image):
    """Amplitudes, data, model and residual, and the fit beside the truth."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    field = fg.GaussianField(SHAPE, positions, SIGMA)
    fit = field.fit_amplitudes(image)
    model = field.render(fit.amplitudes)
    knots = tuple(len(np.unique(axis)) for axis in positions.T)
    heights = {"vmin": 0, "vmax": 10, "cmap": "viridis"}
    light = {"vmin": 0, "vmax": image.max(), "cmap": "magma"}
    rest = {"vmin": -3 * NOISE, "vmax": 3 * NOISE, "cmap": "RdBu_r"}
    figure, axes = plt.subplots(2, 3, figsize=(13, 7), layout="constrained")
    for axis, values, title, options in (
        (axes[0, 0], truth.reshape(knots), "true amplitudes of 500 Gaussians", heights),
        (axes[0, 1], image, f"data: their sum, and noise of {NOISE}", light),
        (axes[1, 0], fit.amplitudes.reshape(knots), "fitted amplitudes", heights),
        (axes[1, 1], model, "model: sum with fitted amplitudes", light),
        (axes[0, 2], image - model, "data minus model: noise", rest),
    ):
        extent = (-0.5, SHAPE[1] - 0.5, SHAPE[0] - 0.5, -0.5)
        drawn = axis.imshow(values, extent=extent, **options)
        axis.set(title=title, xlabel="x (px)", ylabel="y (px)")
        figure.colorbar(drawn, ax=axis, shrink=0.8)
    compare(axes[1, 2], truth, fit)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def compare(axis, truth, fit):
    """Fitted amplitudes over true ones, with their errors."""
    axis.errorbar(
        truth, fit.amplitudes, fit.errors, fmt=".", markersize=4, elinewidth=0.5, alpha=0.6,
        label="a Gaussian, with its error",
    )  # fmt: skip
    axis.axline((0, 0), slope=1, color="black", linewidth=1, label="fitted = true")
    within = np.mean(np.abs(fit.amplitudes - truth) < fit.errors)
    axis.set(
        title=f"{within:.0%} within one error of the truth",
        xlabel="true amplitude",
        ylabel="fitted amplitude",
    )
    axis.legend(loc="lower right")


def main():
    """Three ways, their times and how far they agree."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("picture", nargs="?", default="amplitude_fit.png")
    options = parser.parse_args()
    positions, truth, image = make(0)
    fit_with_gradient(positions, image)  # compiles, or loads what is compiled
    fit_with_fastgauss(positions, image)
    print(f"{len(positions)} amplitudes of an image of {SHAPE[0]} x {SHAPE[1]}")
    first = None
    for name, fit in WAYS.items():
        found, seconds = timed(partial(fit, positions, image))
        first = found if first is None else first
        print(
            f"  {name:<31} {1000 * seconds:8.1f} ms, root mean square error "
            f"{np.sqrt(np.mean((found - truth) ** 2)):.4f}, at most "
            f"{np.abs(found - first).max():.0e} from the loops"
        )
    loops, ours, difference = evaluate_volume()
    print(
        f"one loss and gradient of 1000 Gaussians in 48 x 48 x 48: loops {1000 * loops:.0f} ms, "
        f"fastgauss {1000 * ours:.2f} ms, gradients differ by {difference:.0e}"
    )
    draw(options.picture, positions, truth, image)
    print(f"wrote {options.picture}")


if __name__ == "__main__":
    main()
