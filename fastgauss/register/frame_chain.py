"""Sequential registration: each frame of a stack with the one before it.

For scenes that change from frame to frame: frames far from each other need not look alike. A frame
that does not match the one before it is left out, and the next one is compared with the last frame
of the chain instead.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..kernels.register import window_columns as kernel
from . import whole_images
from .inputs import Pixels
from .results import Status
from .scene import Pose, Scene, put_on_grid
from .stack_tasks import (
    FOUND,
    GROUP,
    NO_NOISE,
    Solution,
    Task,
    at_once,
    covariance_of,
    groups,
    nothing_known,
    typical_variance,
)

_TOL = 1e-5  # pixels
_LOOK_BACK = 4  # frames before one with which it may begin the chain


class _Step(NamedTuple):
    """A frame's match with a frame before it."""

    before: int  # the number of that frame
    status: int
    row: np.ndarray  # columns of the kernel


def _compare(task: Task, before: int, k: int, first: Pixels, pixels: Pixels) -> _Step:
    """Register frame k with one before it; ``search`` is the bound of a step to the next frame."""
    search = None if task.search is None else task.search * (k - before)
    found = whole_images.match(
        first, pixels, search or task.reach, task.brightness, _TOL, 1, bounded=search is not None
    )
    whole_images.doubt_few_objects(found)
    whole_images.lose_beyond(found, search)
    return _Step(before, int(found.status[0]), found.out[0])


class _Chain:
    """The frames that follow each other, and what is known of all."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.solution = nothing_known(task.count)
        self.scene = Scene(task.shape)
        self.previous = np.full(task.count, -1)

    @property
    def members(self) -> list[int]:
        return self.solution.members

    def step_to(self, k: int, pixels: Pixels, step: _Step) -> _Step:
        """The match of frame k that counts; ``step`` is that with the frame before it.

        It is that with the last frame of the chain. While there is no chain, it is that with the
        nearest frame that matches.
        """
        if self.members:
            end = self.members[-1]
            return step if end == step.before else self._compare(end, k, pixels)
        other = step
        for before in range(k - 2, max(k - 1 - _LOOK_BACK, -1), -1):
            if other.status in FOUND:
                break
            other = self._compare(before, k, pixels)
        return other if other.status in FOUND else step

    def _compare(self, before: int, k: int, pixels: Pixels) -> _Step:
        return _compare(self.task, before, k, self.task.read([before])[0], pixels)

    def begin(self, k: int, weight: float = np.nan, residual: float = np.nan) -> None:
        """Begin the chain at frame k. Its noise is taken to be that of the frame after it."""
        pixels = self.task.read([k])[0]
        solution = self.solution
        noise = residual if self.task.known else 1.0 / weight / pixels.scale**2
        weight = weight if weight > 0 else 1.0
        solution.poses[k] = Pose(np.zeros(2), weight=weight)
        solution.units[k] = float(pixels.level), pixels.scale
        solution.noise[k], solution.correlation[k] = noise, 1.0
        solution.covariance[k], solution.status[k] = 0.0, Status.CONVERGED
        self._append(k, pixels)

    def _append(self, k: int, pixels: Pixels) -> None:
        """Add a frame to the chain and to the scene."""
        self.scene.add(put_on_grid(pixels), self.solution.poses[k])
        self.members.append(k)

    def add(self, k: int, step: _Step, pixels: Pixels) -> None:
        """Keep what is known of a frame, and append it to the chain if it matches."""
        solution, row, found = self.solution, step.row, step.status in FOUND
        solution.status[k] = step.status
        if not (self.members or found):  # nothing tells where it is
            return
        before = solution.poses[step.before] if self.members else Pose(np.zeros(2))
        pose = Pose(
            before.place + row[[kernel.DY, kernel.DX]],
            before.gain * float(row[kernel.GAIN]),
            before.gain * float(row[kernel.OFFSET]) + before.offset,
        )
        residual = float(row[kernel.RESIDUAL])
        if self.task.known:
            variance, noise = typical_variance(pixels, pose.gain), residual
        else:  # half of the residual's variance is each frame's
            variance = 0.5 * residual * before.gain**2
            noise = variance / (pose.gain * pixels.scale) ** 2
        pose.weight = 1.0 / max(variance, NO_NOISE * pixels.size**2)
        if not self.members:
            self.begin(step.before, pose.weight, residual)
        solution.poses[k], self.previous[k] = pose, step.before
        solution.units[k] = float(pixels.level), pixels.scale
        solution.covariance[k] = covariance_of(row)
        solution.correlation[k], solution.noise[k] = row[kernel.CORRELATION], noise
        if found:
            self._append(k, pixels)


def link_frames(task: Task) -> tuple[Solution, Scene, np.ndarray]:
    """Displacements of all frames, the scene, and the frame that each was compared with.

    The chain begins at the first frame that matches one of the ``_LOOK_BACK`` frames after it.
    Frames that were compared with none of the chain have -1.
    """
    chain = _Chain(task)
    task.tell(1)
    for group in groups(range(1, task.count), GROUP):
        first = group[0] - 1
        frames = task.read([first, *group])

        def step_of(i: int, first: int = first, frames: list[Pixels] = frames) -> _Step:
            return _compare(task, first + i, first + i + 1, frames[i], frames[i + 1])

        for k, pixels, step in zip(
            group, frames[1:], at_once(task, len(group), step_of), strict=True
        ):
            chain.add(k, chain.step_to(k, pixels, step), pixels)
    solution = chain.solution
    if not solution.members:  # no frame matches another
        chain.begin(0)
        solution.status[0] = Status.AMBIGUOUS
        solution.covariance[0] = np.diag([task.reach**2 / 3.0] * 2)
    return solution, chain.scene, chain.previous
