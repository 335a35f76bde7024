"""The building blocks that the stages of a fit take from a model, a register of spots at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from . import variable_projection
from .covariances import angle_none
from .estimators import Estimator
from .extents import never_beyond, pixel_unit, unit_span


class Blocks(NamedTuple):
    """A model as the stages need it; ``kernels/fit/models.py`` holds those of all models.

    ``evaluate(m, pixels, nz, ny, nx, p, work, gram, gradient)`` writes the normal equations at the
    parameters in row ``p`` and returns the objective, and ``step(m, p, t, q)`` writes to row ``q``
    the parameters moved by the solution in row ``t`` (``variable_projection.py``).
    ``darkest(m, p, work, places, nz, ny, nx)`` returns the profile at the pixel where the model is
    lowest.
    """

    size: int  # number of parameters
    evaluate: Callable
    step: Callable
    scratch: tuple[int, int, int]  # lane rows: fixed, for each pixel of an axis, for each row
    darkest: Callable
    start: Callable  # shape of a start from the moments of a spot (``start_moments.py``)
    second: Callable  # shape of a start from widths (``second_starts.py``)
    start_size: int  # number of values of a start
    shape: Callable  # covariance of the parameters from that of the basis (``covariances.py``)
    extent: Callable  # sigmas and angle of a result (``verdicts.py``)
    judged: int  # widths that verdicts judge, from the first parameter after the centre on;
    # with 0 those of ``extent``, with -1 none, because the width is known
    each_axis: bool  # whether such a width is along one axis, and not along any direction
    angle: Callable = angle_none
    theta: int = 0  # position of an angle in a fit in the parameters themselves
    beyond: Callable = never_beyond
    constants: int = 0
    span: Callable = unit_span  # how far f rises above 0 and falls below it
    width_unit: Callable = pixel_unit  # how many pixels a judged width of 1 is
    slopes: int = 0  # number of slopes of the background, before the offset (``planes.py``)
    rotated: bool = False  # an ellipse with an angle: sigmas and angle follow the centre


def make_settle(size: int, estimator: Estimator, bounded: bool) -> Callable:
    """Variable projection, for estimators that allow it; no bounds may hold its parameters."""
    return (
        variable_projection.make_settle(size, not bounded)
        if estimator.linear
        else variable_projection.no_settle
    )
