"""Make the picture of a volume as Gaussians: magnetic resonance images of a head.

Run ``python docs/build/make_volume.py`` with nibabel installed, whose wheel has the volume; it
writes ``docs/background/volume.jpg`` and prints PSNR and CPU seconds.
"""

from __future__ import annotations

import time
from pathlib import Path

import nibabel
import numpy as np
from matplotlib.figure import Figure

import fastgauss as fg

NUMBERS = (200, 2000, 10_000)
PLANES = (8, 13, 18)


def main() -> None:
    """Fit the volume by fewer and more Gaussians, and draw three planes of each."""
    path = Path(nibabel.__file__).parent / "tests" / "data" / "example4d.nii.gz"
    volume = nibabel.load(path).get_fdata()[..., 0].T
    fg.fit_image(volume[:8, :16, :16], 20, threads=1)  # compiles
    shown = {"24 x 96 x 128 voxels": volume}
    for n in NUMBERS:
        begin = time.process_time()
        fit = fg.fit_image(volume, n, threads=1)
        used = time.process_time() - begin
        stored = len(fit) * 10  # one amplitude, three coordinates and six of a covariance
        share = stored / volume.size
        print(f"{n} Gaussians: {fit.psnr:.2f} dB, {used:.1f} s, {share:.3f} numbers a voxel")
        shown[f"{n:,} Gaussians, {fit.psnr:.1f} dB"] = fit.render()
    figure = Figure(figsize=(10, 6.2), layout="constrained")
    panels = figure.subplots(len(PLANES), len(shown))
    top = np.percentile(volume, 99.8)
    for column, (title, voxels) in zip(panels.T, shown.items(), strict=True):
        column[0].set_title(title)
        for axes, z in zip(column, PLANES, strict=True):
            axes.imshow(voxels[z], cmap="gray", vmin=0.0, vmax=top, origin="lower")
            axes.set(xticks=[], yticks=[])
    for axes, z in zip(panels[:, 0], PLANES, strict=True):
        axes.set_ylabel(f"plane {z}")
    path = Path(__file__).parents[1] / "background" / "volume.jpg"
    figure.savefig(path, dpi=110, pil_kwargs={"quality": 85})


if __name__ == "__main__":
    main()
