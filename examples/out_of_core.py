"""Tables larger than the memory: chunks of a file added to the same bins, grid and map.

A file on disk holds directions on the sky, each with a weight; it is mapped, not read. The
functions `add_at` (sums of weights by catalogue number), `deposit` (a map in two coordinates) and
`healpix_add` (a map of the sphere) process one chunk after the other and add to the same arrays.
Every bin receives its values in the order of the file, so that the sums have the same bits as with
one call for all.

Run ``python examples/out_of_core.py``; ``--count`` for more rows, ``--chunk`` for rows at a time.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import fastgauss as fg

ROW = np.dtype([("number", "i4"), ("theta", "f8"), ("phi", "f8"), ("weight", "f8")])
NUMBERS, NSIDE = 50_000, 64
GRID = fg.Grid((180, 360), spacing=(np.pi / 180, 2 * np.pi / 360), periodic=(False, True))


def write(path, count, chunk, seed=0):
    """A file of random rows, a chunk at a time."""
    table = np.memmap(path, ROW, "w+", shape=count)
    rng = np.random.default_rng(seed)
    for start in range(0, count, chunk):
        part = table[start : start + chunk]
        part["number"] = rng.integers(0, NUMBERS, part.size)
        part["theta"] = np.arccos(rng.uniform(-1, 1, part.size))
        part["phi"] = rng.uniform(0, 2 * np.pi, part.size)
        part["weight"] = rng.exponential(size=part.size)
    table.flush()


def add(rows, sums, plane, sky):
    """Add rows to all three."""
    fg.add_at(sums, rows["number"], rows["weight"])
    places = np.stack([rows["theta"], rows["phi"]], axis=1)
    fg.deposit(GRID, places, rows["weight"], out=plane)
    fg.healpix_add(sky, rows["theta"], rows["phi"], rows["weight"])


def empty():
    """Arrays of zeros for the sums by number, the plane and the sky."""
    return np.zeros(NUMBERS), np.zeros(GRID.shape), np.zeros(12 * NSIDE**2)


def reduce_file(path, chunk):
    """Sums of a whole file, of which only a chunk is in memory at a time."""
    arrays = empty()
    count = Path(path).stat().st_size // ROW.itemsize
    for start in range(0, count, chunk):
        rows = np.memmap(path, ROW, "r", start * ROW.itemsize, min(chunk, count - start))
        add(rows, *arrays)
    return arrays


def main():
    """Write a file, reduce it in chunks and at once, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=5_000_000, help="rows")
    parser.add_argument("--chunk", type=int, default=500_000, help="rows in memory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.bin"
        write(path, options.count, options.chunk)
        reduce_file(path, options.count)  # compiles, or loads what is compiled
        begin = time.perf_counter()
        found = reduce_file(path, options.chunk)
        seconds = time.perf_counter() - begin
        whole = reduce_file(path, options.count)
    same = all(a.tobytes() == b.tobytes() for a, b in zip(found, whole, strict=True))
    megabytes = options.count * ROW.itemsize / 1e6
    print(f"{megabytes:.0f} MB in chunks of {options.chunk} rows: {seconds:.2f} s")
    print("the same bits as at once" if same else "not the same as at once")


if __name__ == "__main__":
    main()
