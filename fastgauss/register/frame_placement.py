"""Frames of a stack placed one after the other, each against the mean of those before.

Groups of 1, 1, 2, 4 .. 16 frames are compared with the same mean, so that threads can share them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..kernels.register import window_columns as kernel
from . import whole_images
from .inputs import Pixels
from .results import Status
from .scene import Frame, Pose, Scene, crop, put_on_grid
from .stack_tasks import (
    FOUND,
    GROUP,
    NO_NOISE,
    Solution,
    Task,
    covariance_of,
    each,
    groups,
    nothing_known,
    typical_variance,
)

_TOL = 1e-3  # pixels
_NEAR = 8.0  # pixels from a guess, where a frame is looked for again


def _template(scene: Scene, whole: np.ndarray, like: Pixels, known: bool) -> Pixels:
    """The scene under a frame as an image of registration."""
    values, weights = (crop(part, like.values.shape) for part in scene.under(Pose(whole)))
    valid = weights > 0
    variance: float | np.ndarray | None = None
    if known and valid.any():
        variance = np.where(valid, 1.0 / np.where(valid, weights, 1.0), 0.0)
        low, high = variance[valid].min(), variance[valid].max()
        variance = float(low) if low == high else np.where(valid, variance, high)
    return Pixels(values, valid, None, 0.0, variance, np.float64(0.0), 1.0, like.size)


def _place(
    task: Task, scene: Scene, like: Pixels, pixels: Pixels, guesses: list[np.ndarray]
) -> tuple[int, np.ndarray, np.ndarray]:
    """Status, (dy, dx) and columns of a frame's match with the scene near one of the guesses."""
    best = int(Status.TOO_FEW_PIXELS), np.full(2, np.nan), np.full(kernel.COLUMNS, np.nan)
    for guess, reach in [(g, r) for r in (task.reach, min(task.reach, _NEAR)) for g in guesses]:
        whole = np.rint(guess)
        first = _template(scene, whole, like, task.known)
        if not first.valid.any():
            continue
        found = whole_images.match(
            first, pixels, reach, task.brightness, _TOL, 1, bounded=task.search is not None
        )
        whole_images.lose_beyond(found, task.search)
        row = found.out[0]
        move = row[[kernel.DY, kernel.DX]]
        if best[0] not in FOUND and (np.isfinite(move).all() or not np.isfinite(best[1]).all()):
            best = int(found.status[0]), whole + move, row
        if best[0] in FOUND:
            break
    return best


def _guesses(solution: Solution, number: int) -> list[np.ndarray]:
    """Where a frame may be: where those next to it are, or in the middle of all."""
    places = {k: solution.poses[k].place for k in solution.members}
    near = sorted(places, key=lambda k: (abs(k - number), k))[:1]
    middle = np.median(np.array(list(places.values())), axis=0)
    guesses = [places[k] for k in near]
    if np.abs(guesses[0] - middle).max() > 1.0:
        guesses.append(middle)
    return guesses


class _Placed(NamedTuple):
    """A frame's match with the scene."""

    status: int
    place: np.ndarray
    row: np.ndarray  # columns of the kernel
    unit: tuple[float, float]
    frame: Frame | None  # if it is found


def _place_all(
    task: Task, scene: Scene, like: Pixels, solution: Solution, order: list[int], size: int
) -> None:
    """Place frames, and add those that are found to the scene."""
    for group in groups(order, size):
        guesses = {k: _guesses(solution, k) for k in group}
        scene.prepare([Pose(g) for many in guesses.values() for g in many])

        def work(k: int, pixels: Pixels, guesses: dict = guesses) -> _Placed:
            status, place, row = _place(task, scene, like, pixels, guesses[k])
            frame = put_on_grid(pixels) if status in FOUND else None
            return _Placed(status, place, row, (float(pixels.level), pixels.scale), frame)

        before = scene.count
        for k, placed in zip(group, each(task, group, work), strict=True):
            _note(task, scene, like, solution, k, placed, before)


def _note(
    task: Task, scene: Scene, like: Pixels, solution: Solution, k: int, placed: _Placed, before: int
) -> None:
    """Keep what is known of a frame that was compared with ``before`` others."""
    row, frame = placed.row, placed.frame
    solution.status[k], solution.covariance[k] = placed.status, covariance_of(row)
    solution.correlation[k], solution.noise[k] = row[kernel.CORRELATION], row[kernel.RESIDUAL]
    solution.units[k] = placed.unit
    pose = Pose(placed.place, float(row[kernel.GAIN]), float(row[kernel.OFFSET]))
    solution.poses[k] = pose
    if frame is None:
        return
    if task.known:
        variance = typical_variance(frame.pixels, pose.gain)
    else:
        variance = float(row[kernel.RESIDUAL]) * before / (before + 1.0)
    pose.weight = 1.0 / max(variance, NO_NOISE * like.size**2)
    if not task.known and scene.count == 1:  # the first frame's noise is as the second's
        seed = solution.poses[solution.members[0]]
        scene.scale(pose.weight / seed.weight)
        seed.weight = pose.weight
    scene.add(frame, pose)
    solution.members.append(k)


def place_frames(task: Task, seed: int) -> tuple[Solution, Scene, Pixels]:
    """All frames placed, the seed at (0, 0) the first."""
    n = task.count
    solution = nothing_known(n)
    like = task.read([seed])[0]
    scene = Scene(task.shape)
    weight = 1.0 / max(typical_variance(like, 1.0), NO_NOISE * like.size**2) if task.known else 1.0
    solution.poses[seed] = Pose(np.zeros(2), 1.0, 0.0, weight)
    solution.members.append(seed)
    solution.units[seed] = float(like.level), like.scale
    scene.add(put_on_grid(like), solution.poses[seed])
    order = sorted((k for k in range(n) if k != seed), key=lambda k: (abs(k - seed), k))
    _place_all(task, scene, like, solution, order, 1)
    found = 0
    while 1 < len(solution.members) != found:  # the scene has less noise now, and is larger
        found = len(solution.members)
        left = [k for k in order if k not in set(solution.members)]
        _place_all(task, scene, like, solution, left, GROUP)
    return solution, scene, like
