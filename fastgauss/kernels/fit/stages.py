"""The stages of a spot fit, composed for each model, estimator and kind of pixel.

A model is a few building blocks (``kernels/fit/separable.py``, ``kernels/fit/rotated.py``);
whatever an estimator, pixel integration, bounds or places do to it is done here, once for all
models. What is composed is compiled when it is first used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from .._compile import kernel
from . import (
    astigmatic,
    covariances,
    darkest_pixel,
    levmar,
    rotated,
    rotated_steps,
    sandwich,
    second_starts,
    separable,
    separable_steps,
    start_moments,
    variable_projection,
    verdicts,
)
from . import axis_profiles as tables
from .estimators import ESTIMATORS, Estimator


class Stages(NamedTuple):
    """Kernels of one kind of fit; each works on a range of spots."""

    start: Callable
    fit: Callable
    spread: Callable
    finish: Callable
    verdicts: Callable
    second: Callable


class Blocks(NamedTuple):
    """A model as the solver needs it."""

    size: int
    write: Callable
    evaluate: Callable
    step: Callable
    scratch: tuple[int, int, int]
    shape: Callable
    angle: Callable
    darkest: Callable
    constants: int = 0
    theta: int = 0  # where it stands in a fit in the parameters themselves


_FILLS = {
    "sample": tables.fill_sampled,
    "integrate": tables.fill_integrated,
    "places": tables.fill_placed,
}


def _settle(size: int, estimator: Estimator, bounded: bool) -> Callable:
    return (
        variable_projection.make_settle(size, not bounded)
        if estimator.linear
        else variable_projection.no_settle
    )


class _Widths(NamedTuple):
    """How the widths of an unrotated model follow from its parameters."""

    parameters: int  # that set them
    sigma_of: Callable
    rate_of: Callable | None  # where one parameter sets all of several
    unit: Callable
    limit: Callable
    constants: int = 0


def _widths(model: str, axes: int) -> _Widths:
    own = separable_steps.sigma_unit, separable_steps.limit_sigma
    if model == "astigmatic":
        shape = astigmatic.unit, astigmatic.limit
        return _Widths(
            1, astigmatic.sigma_of, astigmatic.rate_of, *shape, constants=astigmatic.CONSTANTS
        )
    if model == "elliptic" and axes > 1:
        return _Widths(axes, separable.own_sigma, None, *own)
    rate = separable_steps.unit_rate if axes > 1 else None
    return _Widths(1, separable.common_sigma, rate, *own)


def _separable(model: str, axes: int, pixel: str, estimator: Estimator, bounded: bool) -> Blocks:
    """The unrotated models."""
    widths = _widths(model, axes)
    size = axes + widths.parameters + 2
    fill = _FILLS[pixel]
    if estimator.uniform:
        accumulate = separable.make_plain(axes, widths.sigma_of, fill)
    else:
        accumulate = separable.make_weighted(axes, widths.sigma_of, fill, estimator, size - 1)
    if widths.rate_of is not None:
        accumulate = separable.make_common(axes, accumulate, widths.rate_of)
    unit = separable_steps.make_unit(axes, widths.sigma_of, widths.unit)
    settle = _settle(size, estimator, bounded)
    symmetric = model == "symmetric" or axes == 1
    return Blocks(
        size=size,
        write=start_moments.make_symmetric(axes)
        if symmetric
        else start_moments.make_elliptic(axes),
        evaluate=separable_steps.make_evaluate(accumulate, settle, unit, size, bounded),
        step=separable_steps.make_step(axes, size, unit, widths.limit, bounded),
        scratch=separable.scratch(estimator),
        shape=covariances.shape_none if bounded else separable_steps.make_shape(unit, size),
        angle=covariances.angle_none,
        darkest=darkest_pixel.make_separable(axes, widths.sigma_of, pixel),
        constants=widths.constants,
    )


def _rotated(pixel: str, estimator: Estimator, bounded: bool) -> Blocks:
    """The rotated model."""
    if pixel == "sample":
        accumulate, scratch = rotated.make_sampled(estimator), rotated.SCRATCH
    else:
        accumulate, scratch = rotated.make_integrated(estimator), rotated.INTEGRATED_SCRATCH
    settle = _settle(7, estimator, bounded)
    if bounded:
        scratch = (scratch[0] + rotated_steps.NATURAL_ROWS, *scratch[1:])
    matrix = rotated_steps.turn_matrix if bounded else rotated_steps.own_matrix
    make_evaluate = rotated_steps.make_natural if bounded else rotated_steps.make_evaluate
    return Blocks(
        size=7,
        write=start_moments.write_rotated,
        evaluate=make_evaluate(accumulate, settle),
        step=rotated_steps.step_natural if bounded else rotated_steps.step_rotated,
        scratch=scratch,
        shape=covariances.shape_none if bounded else covariances.shape_rotated,
        angle=covariances.angle_none if bounded else covariances.angle_rotated,
        darkest=darkest_pixel.make_rotated(pixel, matrix),
        theta=5 if bounded else 0,
    )


def make_blocks(model: str, axes: int, pixel: str, estimator: Estimator, bounded: bool) -> Blocks:
    if model == "rotated" and axes == 2:
        return _rotated(pixel, estimator, bounded)
    return _separable(model, axes, pixel, estimator, bounded)


@cache
def stages(
    model: str, axes: int, pixel: str, estimator: str, bounded: bool, spread: bool,
    wrap: Callable = kernel,
) -> Stages:  # fmt: skip
    """The stages of a fit; made, not compiled, on the first call.

    ``pixel`` may be "places" for profiles at given coordinates; ``estimator`` is a key of
    ``ESTIMATORS``; ``spread``: the covariance is a sandwich. ``wrap`` may be ``device``, for
    kernels that are made of all stages.
    """
    judge, middle = ESTIMATORS[estimator], ESTIMATORS["spread"]
    blocks = make_blocks(model, axes, pixel, judge, bounded)
    other = make_blocks(model, axes, pixel, middle, bounded)
    size, known = blocks.size, blocks.constants
    written = 2 * axes + 2 if model == "astigmatic" else size  # z comes of both widths
    return Stages(
        start=start_moments.make_start(blocks.write, written, axes, pixel == "places", wrap),
        fit=levmar.make_fit(
            blocks.evaluate,
            blocks.step,
            blocks.darkest,
            size,
            blocks.scratch,
            judge,
            bounded,
            known,
            wrap,
        ),
        spread=sandwich.make_spread(other.evaluate, size, other.scratch, middle, known),
        finish=covariances.make_finish(
            blocks.shape,
            blocks.angle,
            size,
            bounded,
            judge.positive,
            spread,
            blocks.theta,
            known,
            wrap,
        ),
        verdicts=verdicts.make_verdicts(model, axes, pixel, size, known, wrap),
        second=second_starts.make_second_starts(axes, model == "rotated" and axes == 2, wrap),
    )
