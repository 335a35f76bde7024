"""A stack larger than memory: the spots of every frame, a few frames at a time.

Frames are made by the tasks that use them (``--source made``), or are in a TIFF or Zarr file of the
right size but without pixels (``tiff``, ``zarr``). Such a file needs no space on the disk and reads
as zeros; it shows the use of memory. The table of spots is reduced part by part; memory holds a
chunk of frames for each thread.

Run ``python examples/large_stack.py --gigabytes 20``.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import dask
import dask.array as da
import numpy as np

import fastgauss as fg
import fastgauss.dask

DENSITY, SIGMA, BACKGROUND = 1e-4, 1.3, 20.0  # spots a pixel, their width, photons
ROOM = 256  # pixels by which the sky is larger than a frame


def make_sky(side, seed=0):
    """Photons of a field of spots, from which every frame is a window."""
    rng = np.random.default_rng(seed)
    wide = side + ROOM
    places = rng.uniform(0, wide, (int(DENSITY * wide * wide), 2))
    light = fg.render((wide, wide), places, rng.uniform(200, 400, len(places)), SIGMA)
    return rng.poisson(light + BACKGROUND).astype(np.uint16)


def frames_of(sky, first, count):
    """Some frames, each a window that drifts."""
    side = len(sky) - ROOM
    starts = [(k * 37 % ROOM, k * 61 % ROOM) for k in range(first, first + count)]
    return np.stack([sky[y : y + side, x : x + side] for y, x in starts])


def make(count, side, chunk):
    """A stack whose frames are made when they are asked for."""
    sky = dask.delayed(make_sky(side))
    work = dask.delayed(frames_of, pure=True)
    starts = range(0, count, chunk)
    lengths = [min(chunk, count - first) for first in starts]
    parts = [
        da.from_delayed(work(sky, first, n), (n, side, side), np.uint16)
        for first, n in zip(starts, lengths, strict=True)
    ]
    return da.concatenate(parts)


def write_empty(path, count, side, chunk):
    """A file of frames of zeros that takes no room."""
    shape = count, side, side
    if path.suffix == ".zarr":
        import zarr

        zarr.open(str(path), mode="w", shape=shape, chunks=(chunk, side, side), dtype="u2")
    else:
        import tifffile

        tifffile.memmap(path, shape=shape, dtype=np.uint16, bigtiff=True)


def peak():
    """The most memory that this process has had, in megabytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def reduce_table(spots):
    """How many spots there are, how many converged, and their mean width; all of it lazy."""
    good = spots[spots.converged]
    return spots.frame.count(), good.frame.count(), good.sigma.mean()


def main():
    """Fit a stack, and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--side", type=int, default=1024, help="of a frame, pixels")
    parser.add_argument("--chunk", type=int, default=16, help="frames in memory at once, a thread")
    parser.add_argument("--source", choices=("made", "tiff", "zarr"), default="made")
    options = parser.parse_args()
    side, chunk = options.side, options.chunk
    count = max(1, round(options.gigabytes * 1e9 / (2 * side * side)))
    with tempfile.TemporaryDirectory() as folder:
        if options.source == "made":
            stack = make(count, side, chunk)
        else:
            path = Path(folder) / f"stack.{options.source.replace('tiff', 'tif')}"
            write_empty(path, count, side, chunk)
            stack = fg.dask.open_stack(path, frames=chunk)
        begin = time.perf_counter()
        spots = fg.dask.fit_spots(stack, sigma=SIGMA)
        found, good, width = dask.compute(*reduce_table(spots), scheduler="threads")
        seconds = time.perf_counter() - begin
    print(f"{count} frames of {side} x {side}, {stack.nbytes / 1e9:.2f} GB: {seconds:.1f} s")
    print(f"{found} spots, {good} converged, mean width {width:.3f}")
    print(f"peak memory {peak():.0f} MB")


if __name__ == "__main__":
    main()
