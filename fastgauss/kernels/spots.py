"""The three stages of a spot fit, composed for each model: start, fit, finish."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from . import finish, levmar, rotated, separable, start


class Stages(NamedTuple):
    """Kernels of one model; each works on a range of spots."""

    start: Callable
    fit: Callable
    finish: Callable


@cache
def stages(model: str) -> Stages:
    """The stages of a two-dimensional model; made, not compiled, on the first call."""
    if model == "symmetric":
        return Stages(
            start.make_start(start.write_symmetric, 5),
            levmar.make_fit(separable.accumulate_symmetric, separable.step_symmetric, 5, (0, 3)),
            finish.make_finish(finish.shape_symmetric, finish.angle_none, 5),
        )
    if model == "elliptic":
        return Stages(
            start.make_start(start.write_elliptic, 6),
            levmar.make_fit(separable.accumulate_elliptic, separable.step_elliptic, 6, (0, 3)),
            finish.make_finish(finish.shape_elliptic, finish.angle_none, 6),
        )
    return Stages(
        start.make_start(start.write_rotated, 7),
        levmar.make_fit(rotated.accumulate_rotated, rotated.step_rotated, 7, (15, 11)),
        finish.make_finish(finish.shape_rotated, finish.angle_rotated, 7),
    )
