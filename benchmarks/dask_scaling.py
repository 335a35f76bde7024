"""Spots of a stack on two processes and on one: the same table, and how much sooner.

Run ``python -m benchmarks.dask_scaling``, alone on two cores. Both clusters are there all the time,
each process with one thread, and take turns.
"""

from __future__ import annotations

import argparse
import statistics
import time

import dask.array as da
import numpy as np
from dask import delayed
from distributed import Client, LocalCluster

import fastgauss as fg
import fastgauss.dask


def frames_of(first, count, side):
    """Photons of some spots in each of some frames."""
    rng = np.random.default_rng(first)
    n = side * side // 5000
    light = fg.render((side, side), rng.uniform(0, side, (n, 2)), 300.0, 1.3, threads=1) + 10.0
    return np.stack([rng.poisson(light).astype(np.uint16)] * count)


def stack_on(client, chunks, count, side):
    """A stack that lies in the processes, evenly."""
    parts = [delayed(frames_of)(k * count, count, side) for k in range(chunks)]
    blocks = [da.from_delayed(part, (count, side, side), np.uint16) for part in parts]
    return client.persist(da.concatenate(blocks))


def seconds(client, spots):
    begin = time.perf_counter()
    table = client.compute(spots, sync=True)
    return time.perf_counter() - begin, table


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--chunks", type=int, default=16)
    parser.add_argument("--frames", type=int, default=8, help="of a chunk")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    size = options.chunks, options.frames, options.side
    common = {"threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with (
        LocalCluster(n_workers=1, **common) as one,
        LocalCluster(n_workers=2, **common) as two,
        Client(one) as first,
        Client(two) as second,
    ):
        spots = [fg.dask.fit_spots(stack_on(client, *size)) for client in (first, second)]
        clients = first, second
        tables = [seconds(c, s)[1] for c, s in zip(clients, spots, strict=True)]
        same = all(
            tables[0][name].to_numpy().tobytes() == tables[1][name].to_numpy().tobytes()
            for name in tables[0]
        )
        times = [
            [seconds(c, s)[0] for c, s in zip(clients, spots, strict=True)]
            for _ in range(options.rounds)
        ]
    ratio = statistics.median(a / b for a, b in times)
    alone, both = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"{len(tables[0])} spots, tables {'alike to the bit' if same else 'DIFFER'}")
    print(f"one process {alone:.2f} s, two {both:.2f} s, median ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
