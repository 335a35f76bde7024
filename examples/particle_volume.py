"""Particles in a volume, as in tomographic particle velocimetry: found, measured, refined.

A volume of 40 x 96 x 128 voxels with 1200 particles of sigma 1.1 voxels and 20 to 100 photons at
the peak, in Poisson noise. `find_spots` gives centres, `fit_amplitudes` fits all amplitudes
together, overlaps included, and `refine` fits the centres and the common width. If two close
particles were found as one, the residual shows the second: it is added, and all particles are
refined again. Then MLEM steps (`multiplicative_update`), as in tomography, maximise the Poisson
likelihood of the amplitudes.

Run ``python examples/particle_volume.py``; it draws particle_volume.png.
"""

import argparse
import time

import numpy as np
from scipy.spatial import KDTree

import fastgauss as fg

SHAPE = (40, 96, 128)
COUNT = 1200
SIGMA, GUESS = 1.1, 1.0  # voxels: true value and starting value
THRESHOLD = 12.0  # photons at the peak of the faintest particle to be found: three times its noise
ROUNDS = 3  # searches in the residual
MLEM_STEPS = 50
MLEM = f"{MLEM_STEPS} MLEM steps"
AGAIN = f"{ROUNDS} rounds more"
NEAR = 1.0  # voxels within which a particle counts as found


def make(seed):
    """Centres (z, y, x), amplitudes, and counts of photons."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform(2, np.array(SHAPE) - 3, (COUNT, 3))
    amplitudes = rng.uniform(20, 100, COUNT)
    volume = fg.render(SHAPE, positions, amplitudes, SIGMA)
    return positions, amplitudes, rng.poisson(volume).astype(np.float32)


def look_again(field, amplitudes, volume):
    """The particles that are bright enough, and new ones from the residual.

    New particles closer than a voxel to a known one are left out: they cannot be separated from it.
    """
    kept = field.positions[amplitudes > THRESHOLD]
    rest = volume - field.render(amplitudes)
    added = fg.find_spots(rest, GUESS, threshold=THRESHOLD)
    added = added[KDTree(kept).query(added)[0] > NEAR]
    return fg.GaussianField(SHAPE, np.concatenate([kept, added]), field.widths)


def mlem(field, volume, steps):
    """Amplitudes after so many steps from a common start."""
    amplitudes = np.full(len(field), float(volume.max()))
    for _ in range(steps):
        amplitudes = field.multiplicative_update(volume, amplitudes)
    return amplitudes


def match(field, positions):
    """True particles that were found, the index of each, and its distance."""
    distance, ours = KDTree(field.positions).query(positions)
    found = distance < NEAR
    return np.flatnonzero(found), ours[found], distance[found]


def run(volume):
    """The stages (field, amplitudes, seconds), by name."""
    stages = {}
    begin = time.perf_counter()

    def stage(name, field, amplitudes):
        nonlocal begin
        stages[name] = field, amplitudes, time.perf_counter() - begin
        begin = time.perf_counter()

    field = fg.GaussianField(SHAPE, fg.find_spots(volume, GUESS, threshold=THRESHOLD), GUESS)
    stage("find_spots", field, None)
    fit = field.fit_amplitudes(volume, nonnegative=True)
    stage("fit_amplitudes", field, fit.amplitudes)
    result = field.refine(volume, fit.amplitudes)
    stage("refine", result.field, result.amplitudes)
    for _ in range(ROUNDS):
        field = look_again(result.field, result.amplitudes, volume)
        result = field.refine(volume)
    stage(AGAIN, result.field, result.amplitudes)
    stage(MLEM, result.field, mlem(result.field, volume, MLEM_STEPS))
    return stages


def report(stages, positions, truth):
    """Print the errors of centres and amplitudes after each stage."""
    print(f"{COUNT} particles in {' x '.join(map(str, SHAPE))} voxels")
    for name, (field, amplitudes, seconds) in stages.items():
        seen, ours, distance = match(field, positions)
        text = f"  {name:<15} {1000 * seconds:7.1f} ms, {len(field)} found"
        text += f", {len(seen)} true ones within {NEAR:g} voxel of one"
        text += f"; errors (median): centres {np.median(distance):.3f} voxels"
        if amplitudes is not None:
            error = amplitudes[ours] / truth[seen] - 1
            text += f", amplitudes {np.median(np.abs(error)):.1%}"
        print(text)


def draw(path, stages, positions, truth, volume):
    """Draw a slab of volume, model and residual; centres and amplitudes beside the truth."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    field, amplitudes, _ = stages[AGAIN]
    model = field.render(amplitudes)
    z = SHAPE[0] // 2
    figure, axes = plt.subplots(2, 3, figsize=(13, 7.5), layout="constrained")
    light = {"vmin": 0, "vmax": 60, "cmap": "magma"}
    rest = {"vmin": -5, "vmax": 5, "cmap": "RdBu_r"}
    left = (volume - model) / np.sqrt(np.maximum(model, 1))
    for axis, values, title, options in (
        (axes[0, 0], volume[z], f"data: photons in slice z = {z}", light),
        (axes[0, 1], model[z], "model: all particles refined", light),
        (axes[0, 2], left[z], "(data - model) / noise", rest),
    ):
        drawn = axis.imshow(values, **options)
        axis.set(title=title, xlabel="x (voxels)", ylabel="y (voxels)")
        figure.colorbar(drawn, ax=axis, shrink=0.7)
    draw_centres(axes[1, 0], volume, positions, field.positions, z)
    draw_errors(axes[1, 1:], stages, positions, truth)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def draw_centres(axis, volume, positions, found, z):
    """A corner of the slice with true and refined centres near it."""
    axis.imshow(volume[z], cmap="gray_r", vmin=0, vmax=60)
    for places, style, label in (
        (positions, {"marker": "o", "facecolors": "none", "edgecolors": "C0", "s": 90}, "true"),
        (found, {"marker": "x", "color": "C3", "s": 40}, "refined"),
    ):
        near = np.abs(places[:, 0] - z) < 1.5
        axis.scatter(places[near, 2], places[near, 1], label=label, **style)
    axis.set(xlim=(40, 90), ylim=(70, 30), xlabel="x (voxels)", ylabel="y (voxels)")
    axis.set(title="centres within 1.5 voxels of that slice")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)


def draw_errors(axes, stages, positions, truth):
    """Histograms of the errors of centres and of amplitudes after the stages."""
    bins = np.linspace(0, 0.5, 51), np.linspace(-0.5, 0.5, 51)
    for name, (field, amplitudes, _) in stages.items():
        seen, ours, distance = match(field, positions)
        if name not in ("fit_amplitudes", MLEM):
            axes[0].hist(distance, bins[0], histtype="step", linewidth=1.5, label=name)
        if amplitudes is not None:
            error = amplitudes[ours] / truth[seen] - 1
            axes[1].hist(error, bins[1], histtype="step", linewidth=1.5, label=name)
    axes[0].set(title="distance of centres from the truth", xlabel="voxels", ylabel="particles")
    axes[1].set(title="error of amplitudes", xlabel="fitted / true - 1", ylabel="particles")
    axes[0].legend(loc="upper right")
    axes[1].margins(y=0.4)
    axes[1].legend(loc="upper left", ncols=2, fontsize="small")


def main():
    """Run, report, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("picture", nargs="?", default="particle_volume.png")
    options = parser.parse_args()
    run(make(1)[2])  # compiles, or loads what is compiled
    positions, truth, volume = make(0)
    stages = run(volume)
    report(stages, positions, truth)
    draw(options.picture, stages, positions, truth, volume)
    print(f"wrote {options.picture}")


if __name__ == "__main__":
    main()
