"""A stack that is registered: what is to be done with its frames, and what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..base import thread_pool
from ..kernels.register import window_columns as kernel
from .inputs import Pixels
from .results import Status
from .scene import Pose

FOUND = (Status.CONVERGED, Status.ONE_DIRECTION)
GROUP = 16  # frames that are in memory together
NO_NOISE = 1e-12  # of the pixels' size squared: the least variance

Read = Callable[[list[int]], list[Pixels]]


@dataclass
class Solution:
    """The pose of each frame, with its status and its quality."""

    poses: list[Pose]
    status: np.ndarray
    covariance: np.ndarray  # (n, 2, 2) of (dy, dx), of the frame against the true scene
    correlation: np.ndarray
    noise: np.ndarray  # of the residual by the expected one, or the variance of a frame's pixels
    units: np.ndarray  # (n, 2) level and scale of each frame's pixels
    members: list[int] = field(default_factory=list)  # frames of the scene


def nothing_known(n: int) -> Solution:
    """The solution of n frames before any of them is placed."""
    return Solution(
        [Pose(np.full(2, np.nan)) for _ in range(n)], np.full(n, int(Status.AMBIGUOUS)),
        np.full((n, 2, 2), np.nan), np.full(n, np.nan), np.full(n, np.nan), np.ones((n, 2)),
    )  # fmt: skip


@dataclass(frozen=True)
class Task:
    """The frames to be registered, and the options of the registration."""

    read: Read
    count: int
    shape: tuple[int, int]
    known: bool  # whether errors of pixels are given
    brightness: str
    search: float | None
    reference: int | None  # the frame whose displacement is 0; None: the mean's is
    threads: int
    tell: Callable[[int], None]  # how many frames more are done

    def origin(self, solution: Solution) -> np.ndarray:
        """Where the reference is."""
        if self.reference is not None:
            return solution.poses[self.reference].place
        return np.mean([solution.poses[k].place for k in solution.members], axis=0)

    @property
    def reach(self) -> float:
        return 0.25 * min(self.shape) if self.search is None else self.search


def groups(order: Iterable[int], size: int = 1) -> Iterator[list[int]]:
    """Groups of 1, 1, 2, 4 .. frames if the size is 1, else of this size."""
    order = list(order)
    while order:
        yield order[:size]
        order = order[size:]
        size = min(2 * size, GROUP)


def at_once(task: Task, count: int, work: Callable[[int], Any]) -> list[Any]:
    """The results of the work on each of ``count`` frames, on threads."""
    results: list[Any] = [None] * count

    def some(begin: int, end: int) -> None:
        for i in range(begin, end):
            results[i] = work(i)

    thread_pool.run(lambda: some, count, 1, task.threads)
    task.tell(count)
    return results


def each(task: Task, group: list[int], work: Callable[[int, Pixels], Any]) -> list[Any]:
    """Read the frames of a group and work on each, on threads; what the work gives."""
    pixels = task.read(group)
    return at_once(task, len(group), lambda i: work(group[i], pixels[i]))


def covariance_of(row: np.ndarray) -> np.ndarray:
    """The covariance of (dy, dx)."""
    return row[[kernel.VAR_Y, kernel.COV, kernel.COV, kernel.VAR_X]].reshape(2, 2)


def typical_variance(pixels: Pixels, gain: float) -> float:
    """The variance of the noise that is given, in the scene's brightness."""
    variance = pixels.variance
    if isinstance(variance, np.ndarray):
        variance = variance[pixels.valid].mean() if pixels.valid.any() else 1.0
    assert variance is not None
    return float(variance) * gain * gain
