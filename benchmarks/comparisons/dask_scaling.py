"""Spots of a stack on two processes and on one: the same table, and how much sooner.

Run ``python -m benchmarks.comparisons.dask_scaling``, alone on two cores. Two processes of one
thread each are there all the time; rounds in which one of them does all take turns with rounds of
both.
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
    """Photons of some spots in each of some frames, cheaply: a patch, repeated and moved."""
    rng = np.random.default_rng(first)
    light = fg.render((256, 256), rng.uniform(0, 256, (13, 2)), 300.0, 1.3, threads=1)
    times = -(-side // 256)
    sky = np.tile(rng.poisson(light + 10.0).astype(np.uint16), (times, times))[:side, :side]
    return np.stack([np.roll(sky, k, axis=0) for k in range(count)])


def stack_of(chunks, count, side):
    """A stack whose frames are made by the tasks that fit them; every call makes other tasks.

    They share no data: what lies on one worker would draw the tasks there.
    """
    work = delayed(frames_of)
    parts = [work(k * count, count, side) for k in range(chunks)]
    return da.concatenate([da.from_delayed(p, (count, side, side), np.uint16) for p in parts])


def run(client, stack, workers):
    """Seconds, and the table."""
    begin = time.perf_counter()
    spots = fg.dask.fit_spots(stack)
    future = client.compute(spots, workers=workers, allow_other_workers=False)
    table = future.result()
    return time.perf_counter() - begin, table


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--chunks", type=int, default=32)
    parser.add_argument("--frames", type=int, default=16, help="of a chunk")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    chunks, count, side = options.chunks, options.frames, options.side
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        both = list(client.scheduler_info()["workers"])

        def once(team):
            return run(client, stack_of(chunks, count, side), team)

        teams = both[:1], both
        for team in (both[1:], *teams):  # compiled code is loaded
            once(team)
        rounds = [[once(team) for team in teams] for _ in range(options.rounds)]
    tables = [table for both in rounds for _, table in both]
    same = all(
        table[name].to_numpy().tobytes() == tables[0][name].to_numpy().tobytes()
        for table in tables
        for name in tables[0]
    )
    times = [[seconds for seconds, _ in both] for both in rounds]
    ratio = statistics.median(a / b for a, b in times)
    one, two = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"{len(tables[0])} spots in {chunks * count} frames of {side} x {side}")
    print(f"tables {'alike to the bit' if same else 'DIFFER'}")
    print(f"one process {one:.2f} s, two {two:.2f} s, median ratio {ratio:.2f}")
    least = [min(column) for column in zip(*times, strict=True)]
    print(f"least: {least[0]:.2f} s and {least[1]:.2f} s, ratio {least[0] / least[1]:.2f}")


if __name__ == "__main__":
    main()
