"""asv, and ``python -m benchmarks.history.bench_small_calls``: calls where there is no work."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from typing import ClassVar

import numpy as np

import fastgauss as fg


def calls() -> dict[str, Callable[[], object]]:
    """Calls on tiny data, by name."""
    rng = np.random.default_rng(0)
    roi = fg.image([[100.0, 3.2, 2.9, 1.2, 10.0]], (7, 7), model="symmetric")
    roi += rng.normal(0, 1, roi.shape)
    x, spot, places = np.linspace(0, 5, 100), np.array([1.0, 2.0, 2.0, 1.0, 0.0]), [[10.0, 10.0]]
    out, indices, values, image = np.zeros(100), np.arange(10), np.ones(10), np.ones((16, 16))
    return {
        "fit_rois, one 7x7": lambda: fg.fit_rois(roi),
        "evaluate, 100 points": lambda: fg.evaluate((x, x), spot, model="symmetric"),
        "add_at, 10 indices": lambda: fg.add_at(out, indices, values),
        "gaussian_filter, 16x16": lambda: fg.gaussian_filter(image, 1.0),
        "render, one spot on 32x32": lambda: fg.render((32, 32), places, 1.0, 1.3),
    }


class SmallCalls:
    """One call, with all its checks."""

    params: ClassVar[list[str]] = list(calls())
    param_names: ClassVar[list[str]] = ["call"]

    def setup(self, name: str) -> None:
        self.call = calls()[name]
        self.call()

    def time_call(self, name: str) -> None:
        self.call()


if __name__ == "__main__":
    for name, call in calls().items():
        call()
        print(f"{name:28} {1e6 * min(timeit.repeat(call, number=500, repeat=9)) / 500:7.1f} us")
