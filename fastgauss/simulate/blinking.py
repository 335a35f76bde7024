"""Blinking: when emitters with two states, on and off, shine."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Blinks(NamedTuple):
    """Emitters in the frames in which they shine, sorted by frame and emitter."""

    frame: np.ndarray  # (k,)
    emitter: np.ndarray  # (k,)
    part: np.ndarray  # (k,): the part of the frame in which it is on


def blink(
    count: int, frames: int, on_time: float, off_time: float, rng: np.random.Generator
) -> Blinks:
    """Emitters that are on and off for exponentially distributed times, in equilibrium."""
    if not off_time:
        frame, emitter = np.divmod(np.arange(frames * count), max(count, 1))
        return Blinks(frame, emitter, np.ones(len(frame)))
    is_on = rng.random(count) < on_time / (on_time + off_time)
    now = np.where(is_on, 0.0, rng.exponential(off_time, count))
    emitters, begins, ends = [], [], []
    left = np.flatnonzero(now < frames)
    while left.size:
        end = now[left] + rng.exponential(on_time, left.size)
        emitters.append(left)
        begins.append(now[left])
        ends.append(np.minimum(end, frames))
        now[left] = end + rng.exponential(off_time, left.size)
        left = left[now[left] < frames]
    if not emitters:
        return Blinks(*(np.empty(0, kind) for kind in (np.intp, np.intp, np.float64)))
    emitter, begin, end = (np.concatenate(parts) for parts in (emitters, begins, ends))
    return _by_frame(emitter, begin, end, count)


def _by_frame(emitter: np.ndarray, begin: np.ndarray, end: np.ndarray, count: int) -> Blinks:
    """The parts of frames that these times cover."""
    first = np.floor(begin).astype(np.intp)
    covered = np.maximum(np.ceil(end).astype(np.intp) - first, 1)
    row = np.repeat(np.arange(len(emitter)), covered)
    frame = first[row] + np.arange(len(row)) - np.repeat(np.cumsum(covered) - covered, covered)
    part = np.minimum(end[row], frame + 1) - np.maximum(begin[row], frame)
    keys, which = np.unique(frame * count + emitter[row], return_inverse=True)
    return Blinks(*np.divmod(keys, count), np.bincount(which, part))
