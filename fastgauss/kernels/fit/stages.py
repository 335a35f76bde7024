"""The stages of a spot fit, composed for each model, estimator and kind of pixel.

What is composed is compiled when it is first used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from .._compile import kernel
from ..models.model_kernels import ModelKernels
from . import (
    covariances,
    left_out,
    levmar,
    sandwich,
    second_starts,
    start_moments,
    suspects,
    verdicts,
)
from .estimators import ESTIMATORS


class Stages(NamedTuple):
    """Kernels of one kind of fit; each works on a range of spots."""

    start: Callable
    fit: Callable
    spread: Callable
    finish: Callable
    verdicts: Callable
    second: Callable
    suspects: Callable
    left_out: Callable


@cache
def stages(
    model: ModelKernels, pixel: str, estimator: str, bounded: bool, spread: bool,
    wrap: Callable = kernel,
) -> Stages:  # fmt: skip
    """The stages of a fit; made, not compiled, on the first call.

    ``pixel`` may be "places" for profiles at given coordinates; ``estimator`` is a key of
    ``ESTIMATORS``; ``spread``: the covariance is a sandwich. ``wrap`` may be ``inner_kernel``, for
    kernels that are made of all stages.
    """
    judge, middle = ESTIMATORS[estimator], ESTIMATORS["spread"]
    blocks = model.blocks(pixel, judge, bounded)
    other = model.blocks(pixel, middle, bounded)
    size, known, axes = blocks.size, blocks.constants, model.axes
    return Stages(
        start=start_moments.make_start(
            blocks.start, blocks.start_size, axes, pixel == "places", wrap
        ),
        fit=levmar.make_fit(
            blocks.evaluate,
            blocks.step,
            blocks.darkest,
            size,
            blocks.scratch,
            judge,
            bounded,
            known,
            blocks.span,
            blocks.slopes,
            wrap,
        ),
        spread=sandwich.make_spread(other.evaluate, size, other.scratch, middle, known),
        finish=covariances.make_finish(
            blocks.shape,
            blocks.angle,
            size,
            bounded,
            spread,
            blocks.theta,
            known,
            wrap,
        ),
        verdicts=verdicts.make_verdicts(
            blocks.extent,
            blocks.beyond,
            blocks.judged,
            blocks.each_axis,
            axes,
            pixel,
            size,
            blocks.span,
            blocks.width_unit,
            blocks.slopes,
            blocks.rotated,
            wrap,
        ),
        second=second_starts.make_second_starts(axes, blocks.second, wrap),
        suspects=suspects.make_suspects(blocks.extent, axes, pixel),
        left_out=left_out.make_left_out(blocks.extent, axes, pixel),
    )
