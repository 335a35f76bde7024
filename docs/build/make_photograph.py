"""Make the picture of a photograph as Gaussians, and of what they take, from a benchmark's files.

Run ``python -m benchmarks.comparisons.photograph --jobs race numbers --folder FOLDER --curve
FOLDER/curve.npz`` with torch and scikit-image installed, which takes some minutes, then
``python docs/build/make_photograph.py FOLDER``; it writes ``docs/background/photograph.jpg``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import fastgauss as fg

NUMBERS = (200, 2000, 20_000)
COLOURS = ("C0", "C1", "C2")


def main() -> None:
    """Draw the fits and the curves."""
    folder = Path(sys.argv[1])
    figure = Figure(figsize=(10, 7), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=(1.0, 0.9))
    for k, n in enumerate(NUMBERS):
        fit = fg.ImageFit.load(folder / f"astronaut-{n}.npz")
        axes = figure.add_subplot(grid[0, k])
        axes.imshow(fit.render().clip(0.0, 1.0))
        axes.set(title=f"{n:,} Gaussians, {fit.psnr:.1f} dB", xticks=[], yticks=[])
    curves = np.load(folder / "curve.npz")
    mine, (steps, seconds, adam) = curves["ours"], curves["adam"].T
    axes = figure.add_subplot(grid[1, :])
    lines = (
        (mine[:, 0], mine[:, 1], "fit_image"),
        (seconds, adam, "Adam with the gradients of fastgauss"),
        (steps * float(curves["second"]), adam, "Adam in torch, no tiles"),
    )
    for (taken, psnr, label), colour in zip(lines, COLOURS, strict=True):
        axes.semilogx(np.maximum(taken, 0.5), psnr, color=colour, label=label)
    axes.set(xlabel="CPU seconds, one thread", ylabel="PSNR (dB) of 10,000 Gaussians")
    axes.grid(alpha=0.3)
    axes.legend(loc="center")
    path = Path(__file__).parents[1] / "background" / "photograph.jpg"
    figure.savefig(path, dpi=110, pil_kwargs={"quality": 85})


if __name__ == "__main__":
    main()
