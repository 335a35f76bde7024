"""A thousand spots, most of which overlap: each fitted alone, and all fitted together.

    python examples/crowded_image.py [crowded_image.png]

The picture shows a part of the image, the model of all spots and the residual, and below them the
errors of the amplitudes against the distance to the nearest spot. It needs matplotlib.
"""

import argparse
import time

import numpy as np
from scipy.spatial import KDTree

import fastgauss as fg

SIGMA, BACKGROUND = 1.3, 15.0
SHAPE = (320, 320)


def make(seed, count=1000, shape=SHAPE):
    """Centres, amplitudes and an image in Poisson noise."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, np.array(shape) - 1, (count, 2))
    amplitudes = rng.uniform(100, 400, count)
    light = fg.render(shape, centres, amplitudes, SIGMA) + BACKGROUND
    return centres, amplitudes, rng.poisson(light)


def fit_alone(image):
    """Fit each spot alone."""
    return fg.fit_spots(image, method="mle")


def fit_together(image):
    """Fit all spots together; every spot has the same width."""
    return fg.fit_spots(image, joint=True, method="mle", shared="sigma", background="constant")


def match(result, centres):
    """Matching rows of the result and of the truth, one to one."""
    distance, nearest = KDTree(centres).query(result.positions, distance_upper_bound=SIGMA)
    pairs = {}
    for row in np.argsort(distance):
        if np.isfinite(distance[row]):
            pairs.setdefault(nearest[row], row)
    return np.array(list(pairs.values()), int), np.array(list(pairs), int)


def judge(result, centres, amplitudes):
    """Part of spots that was found, part that is false, and errors of amplitudes by distance."""
    rows, truths = match(result, centres)
    room = KDTree(centres).query(centres, k=2)[0][truths, 1] / SIGMA
    misses = result.amplitude[rows] / amplitudes[truths] - 1
    return len(rows) / len(centres), 1 - len(rows) / max(len(result), 1), room, misses


def draw(path, image, found, judged):
    """Draw image, model and residual of a corner, and the errors."""
    from matplotlib.figure import Figure

    from fastgauss.plot import plot_joint, save_plot

    figure = Figure((13, 9), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 0.9))
    plot_joint(image, found, figure=above)
    for axes in above.axes:
        axes.set(xlim=(-0.5, 99.5), ylim=(99.5, -0.5))
    above.axes[0].set_title(f"a corner of the image, {len(found)} spots in all")
    axes = below.subplots()
    for (name, (part, false, room, misses)), color in zip(
        judged.items(), ("C1", "C0"), strict=True
    ):
        label = f"{name}: {part:.1%} found, {false:.1%} false"
        axes.plot(room, 100 * misses, ".", markersize=4, color=color, label=label)
    axes.set(
        xlabel="distance to the nearest spot, in sigmas", ylabel="amplitude, % too high",
        xlim=(0, 10), ylim=(-80, 120),
    )  # fmt: skip
    axes.axhline(0, color="black", linewidth=0.8)
    axes.legend()
    save_plot(path, figure, dpi=80)


def main():
    """Run both ways, and print their times and errors."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("picture", nargs="?", default="crowded_image.png")
    options = parser.parse_args()
    centres, amplitudes, image = make(0)
    judged = {}
    for name, fit in (("alone", fit_alone), ("together", fit_together)):
        fit(image)  # compiles, or loads what is compiled
        begin = time.perf_counter()
        found = fit(image)
        seconds = time.perf_counter() - begin
        judged[name] = part, false, room, misses = judge(found, centres, amplitudes)
        near = np.abs(misses[room < 4])
        print(
            f"{name:<9} {part:6.1%} of {len(centres)} found, {false:.1%} false, amplitudes of "
            f"those with a neighbour within 4 sigmas off by {np.median(near):.1%}, {seconds:.2f} s"
        )
    draw(options.picture, image, found, judged)
    print(f"wrote {options.picture}")


if __name__ == "__main__":
    main()
