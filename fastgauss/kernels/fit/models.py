"""The models: one row for each, with the kernels of each number of dimensions.

An unrotated model says how its widths follow from its parameters; the rest is common
(``separable.py``). Whatever an estimator, pixel integration, bounds or places do to a model is done
once for all models, here and in ``stages.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

from ..models import points
from ..models.model_kernels import ModelKernels
from ..models.profiles import PIXELS
from ..models.spot_profiles import PLANE, ROTATED, VOLUME
from . import (
    astigmatic,
    covariances,
    darkest_pixel,
    extents,
    psf,
    psf_source,
    psf_weights,
    rotated,
    rotated_basis,
    rotated_steps,
    second_starts,
    separable,
    separable_steps,
    start_moments,
)
from . import axis_profiles as tables
from .basis import Basis, make_scaled
from .basis import make_separable as separable_columns
from .blocks import Blocks, make_settle
from .estimators import Estimator
from .psf_basis import MOST

_FILLS = {
    "sample": tables.fill_sampled,
    "integrate": tables.fill_integrated,
    "places": tables.fill_placed,
}


# -- the unrotated models ----------------------------------------------------------------------


class _Widths(NamedTuple):
    """How the widths of an unrotated model follow from its parameters."""

    parameters: int  # that set them
    sigma_of: Callable
    rate_of: Callable | None  # where one parameter sets all of several
    unit: Callable
    limit: Callable
    start: Callable
    second: Callable
    started: int  # values of a start
    extent: Callable
    judged: int
    beyond: Callable = extents.never_beyond
    constants: int = 0


def _common_width(axes: int) -> _Widths:
    """One width for all axes."""
    return _Widths(
        parameters=1,
        sigma_of=separable.common_sigma,
        rate_of=separable_steps.unit_rate if axes > 1 else None,
        unit=separable_steps.sigma_unit,
        limit=separable_steps.limit_sigma,
        start=start_moments.make_symmetric(axes),
        second=second_starts.make_common(axes),
        started=axes + 3,
        extent=extents.make_extent(axes, False),
        judged=1,
    )


def _own_widths(axes: int) -> _Widths:
    """A width for each axis."""
    return _Widths(
        parameters=axes,
        sigma_of=separable.own_sigma,
        rate_of=None,
        unit=separable_steps.sigma_unit,
        limit=separable_steps.limit_sigma,
        start=start_moments.make_elliptic(axes),
        second=second_starts.make_own(axes),
        started=2 * axes + 2,
        extent=extents.make_extent(axes, True),
        judged=axes,
    )


_DEFOCUS = _Widths(
    parameters=1,
    sigma_of=astigmatic.sigma_of,
    rate_of=astigmatic.rate_of,
    unit=astigmatic.unit,
    limit=astigmatic.limit,
    start=start_moments.make_elliptic(2),
    second=second_starts.make_own(2),
    started=6,  # z comes of both widths
    extent=astigmatic.extent,
    judged=0,
    beyond=astigmatic.beyond,
    constants=astigmatic.CONSTANTS,
)


@cache
def _separable(
    axes: int, widths: _Widths, pixel: str, estimator: Estimator, bounded: bool
) -> Blocks:
    """The blocks of an unrotated model."""
    size = axes + widths.parameters + 2
    fill = _FILLS[pixel]
    if estimator.uniform:
        accumulate = separable.make_plain(axes, widths.sigma_of, fill)
    else:
        accumulate = separable.make_weighted(axes, widths.sigma_of, fill, estimator, size - 1)
    if widths.rate_of is not None:
        accumulate = separable.make_common(axes, accumulate, widths.rate_of)
    unit = separable_steps.make_unit(axes, widths.sigma_of, widths.unit)
    settle = make_settle(size, estimator, bounded)
    return Blocks(
        size=size,
        evaluate=separable_steps.make_evaluate(accumulate, settle, unit, size, bounded),
        step=separable_steps.make_step(axes, size, unit, widths.limit, bounded),
        scratch=separable.scratch(estimator),
        darkest=darkest_pixel.make_separable(axes, widths.sigma_of, pixel),
        start=widths.start,
        second=widths.second,
        start_size=widths.started,
        shape=covariances.shape_none if bounded else separable_steps.make_shape(unit, size),
        extent=widths.extent,
        judged=widths.judged,
        each_axis=widths.judged > 1,
        beyond=widths.beyond,
        constants=widths.constants,
    )


@cache
def _separable_basis(axes: int, widths: _Widths, pixel: str, bounded: bool) -> Basis:
    """The basis of an unrotated model."""
    columns = separable_columns(
        axes, widths.parameters, widths.sigma_of, widths.rate_of, _FILLS[pixel]
    )
    unit = separable_steps.make_unit(axes, widths.sigma_of, widths.unit)
    return Basis(*columns, *make_scaled(columns[0], axes + 1, unit))


# -- the rotated model -------------------------------------------------------------------------


@cache
def _rotated(pixel: str, estimator: Estimator, bounded: bool) -> Blocks:
    """The blocks of the rotated model."""
    if pixel == "sample":
        accumulate, scratch = rotated.make_sampled(estimator), rotated.SCRATCH
    else:
        accumulate, scratch = rotated.make_integrated(estimator), rotated.INTEGRATED_SCRATCH
    settle = make_settle(7, estimator, bounded)
    if bounded:
        scratch = (scratch[0] + rotated_steps.NATURAL_ROWS, *scratch[1:])
    matrix = rotated_steps.turn_matrix if bounded else rotated_steps.own_matrix
    make_evaluate = rotated_steps.make_natural if bounded else rotated_steps.make_evaluate
    return Blocks(
        size=7,
        evaluate=make_evaluate(accumulate, settle),
        step=rotated_steps.step_natural if bounded else rotated_steps.step_rotated,
        scratch=scratch,
        darkest=darkest_pixel.make_rotated(pixel, matrix),
        start=start_moments.write_rotated,
        second=second_starts.put_rotated,
        start_size=7,
        shape=covariances.shape_none if bounded else covariances.make_shape_rotated(),
        extent=extents.extent_rotated,
        judged=2,
        each_axis=False,
        angle=covariances.angle_none if bounded else covariances.angle_rotated,
        theta=5 if bounded else 0,
        rotated=True,
    )


# -- the table ---------------------------------------------------------------------------------


def _volume(axes: int) -> float:
    """The integral of a Gaussian of unit sigmas."""
    return (2 * math.pi) ** (axes / 2)


def _unrotated(shape: tuple[str, ...], axes: int, widths: _Widths) -> ModelKernels:
    first = 1 + axes
    sigmas = (first,) * axes if len(shape) == 1 else tuple(range(first, first + axes))
    return ModelKernels(
        axes,
        shape,
        sigmas,
        partial(points.make_separable, axes, sigmas),
        partial(_separable, axes, widths),
        _volume(axes),
        VOLUME if axes == 3 else PLANE,
        basis=partial(_separable_basis, axes, widths),
    )


_PROFILE = _unrotated(("sigma",), 1, _common_width(1))

_ROTATED = ModelKernels(
    2,
    ("sigma_x", "sigma_y", "theta"),
    (3, 4),
    points.make_rotated,
    _rotated,
    _volume(2),
    ROTATED,
    angle=5,
    basis=rotated_basis.make_basis,
)

_ASTIGMATIC = ModelKernels(
    2,
    ("z",),
    (),
    partial(points.make_separable, 2, (3, 4)),  # of the elliptic model
    partial(_separable, 2, _DEFOCUS),
    _volume(2),
    PLANE,
    constants=astigmatic.CONSTANTS,
    columns=(("z", "as calibrated", "distance from the focal plane"),),
    basis=partial(_separable_basis, 2, _DEFOCUS),
)

MODELS: dict[str, dict[int, ModelKernels]] = {
    "symmetric": {
        1: _PROFILE,
        2: _unrotated(("sigma",), 2, _common_width(2)),
        3: _unrotated(("sigma",), 3, _common_width(3)),
    },
    "elliptic": {
        1: _PROFILE,
        2: _unrotated(("sigma_x", "sigma_y"), 2, _own_widths(2)),
        3: _unrotated(("sigma_x", "sigma_y", "sigma_z"), 3, _own_widths(3)),
    },
    "rotated": {1: _PROFILE, 2: _ROTATED},
    "astigmatic": {2: _ASTIGMATIC},
    "psf": {2: psf.PSF},
    "psf_width": {2: psf.WIDE},
    "psf_source": {2: psf_source.SOURCE},
    **{f"psf_{k}_weights": {2: psf_weights.make_model(k, None)} for k in range(2, MOST + 1)},
    **{
        f"psf_width_{k}_weights": {2: psf_weights.make_model(k, psf.WIDE)}
        for k in range(2, MOST + 1)
    },
}

# Models that their name defines; those with constants are objects of their own.
NAMES = tuple(
    name for name, kinds in MODELS.items() if not any(kind.constants for kind in kinds.values())
)


def model_named(model: str, ndim: int, pixel: str) -> ModelKernels:
    """The kernels of a model, for factories that take its name."""
    if ndim not in (1, 2, 3):
        raise ValueError(f"ndim must be 1, 2 or 3, got {ndim!r}")
    known = tuple(name for name in NAMES if ndim in MODELS[name])
    if model not in known:
        raise ValueError(f"model must be one of {known} in {ndim} dimensions, got {model!r}")
    if pixel not in PIXELS:
        raise ValueError(f"pixel must be one of {PIXELS}, got {pixel!r}")
    return MODELS[model][ndim]
