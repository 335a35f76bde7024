"""Make the picture of detection curves, from a benchmark's file.

Run ``python -m benchmarks.comparisons.detection --curve curve.npz`` with trackpy, photutils,
scikit-image and sep installed, which takes some minutes, then
``python docs/build/make_detection.py curve.npz``; it writes ``docs/guide/detection.png``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

KINDS = {"level": "level background", "slope": "sloping background"}


def main() -> None:
    """Draw the curves of each background."""
    curves = np.load(sys.argv[1])
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels = figure.subplots(1, len(KINDS), sharey=True)
    for axes, (kind, title) in zip(panels, KINDS.items(), strict=True):
        names = [key.split("/")[1] for key in curves if key.startswith(f"{kind}/")]
        for k, name in enumerate(names):
            style = {"color": "0.6", "linewidth": 5.0} if k == 0 else {"color": f"C{k - 1}"}
            marker = "o" if "fastgauss" in name else "."
            axes.plot(curves["strengths"], curves[f"{kind}/{name}"], marker, ls="-", label=name,
                      **style)  # fmt: skip
        axes.set(title=title, xlabel="signal by noise of a spot", ylim=(-0.02, 1.02))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("part of the spots that is found")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8)
    figure.savefig(Path(__file__).parents[1] / "guide" / "detection.png", dpi=100)


if __name__ == "__main__":
    main()
