"""Scene and displacements of a stack, estimated together.

The displacements of all frames and the scene that they show maximise one likelihood. There, every
frame is aligned with the mean of the others: its own noise, if it were in the scene, would draw its
displacement to where it was. So

1. frames are placed one after the other, in growing groups, against the mean of those before;
2. in rounds, each frame is aligned with the mean of all other frames. A frame of weight w among
   frames of the weight W goes (W - w) / W of the way, because the others move as well: with equal
   weights, this is the exact solution of the linear equations of all frames.

The error of frame k is e_k - (what moves the reference), e_k the error with which it would be
aligned with the true scene; their covariances V_k tell those between all frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ..kernels.register import window_columns as kernel
from . import scene_filter, window_matching
from .frame_placement import place_frames
from .inputs import Pixels
from .low_pass import noise_ratio
from .results import Status
from .scene import Frame, Pose, Scene, flat_like, put_on_grid
from .stack_tasks import FOUND, GROUP, NO_NOISE, Solution, Task, covariance_of, each, groups

_TOL = 1e-5  # pixels
_LEAST = 0.1  # share of the pixels of a frame that must be in the scene
_ROUNDS = 8
_SETTLED = 0.1  # of the errors: the change after which no round follows
_EXACT = 1e-5  # pixels: the same where there is no noise
_FAINT = 0.25  # of the median variance: the least that counts in weights
_TINY = 1e-300


def _waves(poses: Iterable[Pose]) -> np.ndarray:
    """How much of the splines' error each frame has, (n, 2)."""
    return np.sin(2.0 * np.pi * np.array([pose.place for pose in poses]))


class _Aligned(NamedTuple):
    """A frame aligned with the others."""

    status: int
    row: np.ndarray  # columns of the kernel
    pose: Pose
    way: float  # the share of the way there that it goes


def _align(
    task: Task,
    scene: Scene,
    filter_: scene_filter.SceneFilter,
    frame: Frame,
    pose: Pose,
    waves: tuple[float, np.ndarray],
) -> _Aligned:
    """Align a frame of the scene with the others.

    ``waves`` are the sums of all frames' weights, and of these times their `_waves`.
    """
    pixels = frame.pixels
    grid = frame.precision.shape
    value, rest = scene.without(frame, pose)
    used = frame.precision > 0
    others = float(rest[used].mean()) if used.any() else 0.0
    if not others > 0:
        nothing = np.full(kernel.COLUMNS, np.nan)
        return _Aligned(int(Status.TOO_FEW_PIXELS), nothing, pose, 0.0)
    own, theirs = 1.0 / pose.weight, 1.0 / others
    both = own + theirs
    slopes = filter_.slopes(value, np.where(used, rest, 0.0))
    coefficients = frame.coefficients * np.float32(pose.gain) + np.float32(pose.offset)
    views = kernel.Views(
        coefficients, flat_like(value), flat_like(slopes[0]), flat_like(slopes[1]),
        flat_like(rest * both), coefficients, flat_like(frame.precision * (pose.weight * both)),
        *grid,
    )  # fmt: skip
    part = pose.place - pose.whole
    kept = [scene_filter.kept_by_splines(f) for f in (part % 1.0).tolist()]
    ratio = noise_ratio((theirs * scene_filter.kept_on_average() ** 2, own * kept[0] * kept[1]))
    equations = window_matching.Equations(views, filter_.kernel, both if task.known else 0.0, ratio)
    out, status = window_matching.refine(
        equations, np.array([[0, 0, *grid]]), part[np.newaxis, ::-1].copy(), task.brightness,
        _TOL, _LEAST * int(np.count_nonzero(pixels.valid)), 1,
    )  # fmt: skip
    row = out[0]
    way = others / (others + pose.weight)
    place = pose.whole + row[[kernel.DY, kernel.DX]]
    own_wave, new_wave = _waves([pose, Pose(place)])
    rest_wave = (waves[1] - pose.weight * own_wave) / max(waves[0] - pose.weight, _TINY)
    step = place + filter_.bias * (new_wave - rest_wave) - pose.place
    gain = float(row[kernel.GAIN])
    variance = (
        own * gain * gain if task.known else max(float(row[kernel.RESIDUAL]) * own / both, 0.0)
    )
    new = Pose(
        pose.place + way * step, pose.gain * gain, gain * pose.offset + float(row[kernel.OFFSET]),
        1.0 / max(variance, NO_NOISE * pixels.size**2),
    )  # fmt: skip
    return _Aligned(int(status[0]), row, new, way)


def _clip_weights(solution: Solution) -> None:
    """No frame counts many times as much as most."""
    variances = np.array([1.0 / solution.poses[k].weight for k in solution.members])
    least = _FAINT * float(np.median(variances))
    for k, variance in zip(solution.members, variances.tolist(), strict=True):
        solution.poses[k].weight = 1.0 / max(variance, least)


def _round(task: Task, scene: Scene, solution: Solution) -> Scene:
    """Align each frame with the others; the scene of the new poses."""
    members = list(solution.members)
    weights = np.array([solution.poses[k].weight for k in members])
    others = max(float(weights.sum() - weights.mean()), _TINY)
    filter_ = scene_filter.choose(
        scene.halves(), task.shape, 1.0 / float(weights.mean()), 1.0 / others
    )
    waves = float(weights.sum()), weights @ _waves(solution.poses[k] for k in members)
    scene.prepare([solution.poses[k] for k in members])
    following = Scene(task.shape)
    origin = task.origin(solution)

    def work(k: int, pixels: Pixels) -> tuple[Frame, _Aligned]:
        frame = put_on_grid(pixels)
        return frame, _align(task, scene, filter_, frame, solution.poses[k], waves)

    for group in groups(members, GROUP):
        for k, (frame, aligned) in zip(group, each(task, group, work), strict=True):
            if aligned.status not in FOUND:
                solution.status[k] = aligned.status
                solution.members.remove(k)
                continue
            pose, row = aligned.pose, aligned.row
            pose.place = pose.place - origin
            solution.poses[k] = pose
            solution.covariance[k] = aligned.way * covariance_of(row)
            solution.correlation[k] = row[kernel.CORRELATION]
            scale = pose.gain * solution.units[k, 1]
            solution.noise[k] = (
                row[kernel.RESIDUAL] if task.known else 1.0 / pose.weight / scale / scale
            )
            following.add(frame, pose)
    return following


def _places(solution: Solution, members: list[int]) -> np.ndarray:
    places = np.array([solution.poses[k].place for k in members])
    return places - places.mean(axis=0)


def estimate(task: Task, seeds: list[int]) -> tuple[Solution, Scene]:
    """Scene and displacements of a stack; of the seeds the one from which most frames are found."""
    best: tuple[Solution, Scene, Pixels] | None = None
    for seed in seeds:
        begun = place_frames(task, seed)
        if best is None or len(begun[0].members) > len(best[0].members):
            best = begun
        if 2 * len(best[0].members) > task.count:
            break
    assert best is not None
    solution, scene, _ = best
    for _ in range(_ROUNDS):
        members = list(solution.members)
        if len(members) < 2:
            break
        if not task.known:
            _clip_weights(solution)
        before = _places(solution, members)
        scene = _round(task, scene, solution)
        change = _places(solution, members) - before
        variance = solution.covariance[solution.members][:, [0, 1], [0, 1]]
        variance = variance[np.isfinite(variance)]
        error = float(variance.mean()) if variance.size else 0.0
        if np.mean(change**2) <= max(_SETTLED**2 * error, _EXACT**2):
            break
    first = solution.members[0] if solution.members else None
    if len(solution.members) == 1 and first is not None:  # nothing is related to it
        solution.status[first] = Status.AMBIGUOUS
        solution.covariance[first] = np.diag([task.reach**2 / 3.0] * 2)
    else:
        for k in solution.members:
            if solution.status[k] == Status.AMBIGUOUS:  # the seed
                solution.status[k] = Status.CONVERGED
    return solution, scene
