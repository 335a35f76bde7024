"""Displacement of every part of a real image between two noisy frames, with errors.

A photograph of the Moon (from scikit-image) is averaged over blocks of 2 x 2 pixels twice: from its
corner, and from 5 columns and 3 rows further. The result is two frames of half the size. The second
is displaced by exactly -2.5 and -1.5 px, without interpolation, and lacks the parts outside its
view. Independent noise is added to both. Then a stripe of the second frame is dimmed to half its
brightness, as by another exposure.

Run ``python examples/cloud_motion.py``; ``--noise`` for other noise, ``--picture`` for a file.
"""

import argparse
import time

import numpy as np

import fastgauss as fg

TRUTH = -2.5, -1.5  # dx, dy in pixels of the frames
STEP = 5, 3  # columns, rows of the photograph


def make(noise, seed=0):
    """Two frames of the photograph, 0 to 255."""
    from skimage import data

    photograph = data.moon().astype(np.float64)
    height, width = (2 * ((n - max(STEP)) // 2) for n in photograph.shape)
    rng = np.random.default_rng(seed)
    frames = []
    for x, y in ((0, 0), STEP):
        part = photograph[y : y + height, x : x + width]
        frame = part.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
        frames.append(frame + rng.normal(0, noise, frame.shape))
    return frames


def dim(frame):
    """The frame with its middle third at half the brightness."""
    out = frame.copy()
    third = frame.shape[0] // 3
    out[third : 2 * third] *= 0.5
    return out


def compare(field):
    """Root mean square error, the reported one, and the share within it, without outliers."""
    good = ~field.outlier
    misses = np.stack([field.dx[good] - TRUTH[0], field.dy[good] - TRUTH[1]], axis=-1)
    errors = field.errors[good]
    return np.sqrt(np.mean(misses**2)), np.sqrt(np.mean(errors**2)), np.mean(abs(misses) < errors)


def main():
    """Fields of both pairs, their errors and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--noise", type=float, default=1.0, help="grey levels of 255")
    parser.add_argument("--picture", default="cloud_motion.png", help="file to draw to")
    options = parser.parse_args()
    first, second = make(options.noise)
    fg.register.displacement_field(first, second, 32, 16)  # compiles, or loads what is compiled
    for name, frame, brightness in (
        ("as it is", second, "offset"),
        ("a third of it dimmed", dim(second), "linear"),
    ):
        begin = time.perf_counter()
        field = fg.register.displacement_field(first, frame, 32, 16, brightness=brightness)
        seconds = time.perf_counter() - begin
        rms, reported, within = compare(field)
        print(
            f"{name}: {field.dx.size} windows in {1000 * seconds:.0f} ms, "
            f"{int(field.outlier.sum())} doubtful; rms {rms:.3f} px, reported {reported:.3f} px, "
            f"{100 * within:.0f} % within one error"
        )
        if name == "as it is":
            picture = fg.register.plot_displacements(first, field)
    shift = fg.register.align(first, second)
    print(f"the whole image: dx {shift.dx:.4f} px, dy {shift.dy:.4f} px, errors {shift.errors}")
    from fastgauss.plot import save_plot

    save_plot(options.picture, picture)
    print("wrote", options.picture)


if __name__ == "__main__":
    main()
