"""Status codes: how an iteration ended."""

from __future__ import annotations

from enum import IntEnum

from ..kernels import status


class DescribedStatus(IntEnum):
    """A status code with a sentence: a member is declared by its number and its ``message``."""

    message: str

    def __new__(cls, number: int, message: str = "") -> DescribedStatus:
        member = int.__new__(cls, number)
        member._value_ = number
        member.message = message
        return member


class Status(DescribedStatus):
    """How the fit of a spot ended; ``message`` is a sentence that says so.

    Attributes
    ----------
    message : str
        One sentence for people.

    Examples
    --------
    >>> import fastgauss as fg
    >>> fg.Status(0).name, fg.Status(0).message
    ('CONVERGED', 'the fit met its tolerance')
    """

    CONVERGED = status.CONVERGED, "the fit met its tolerance"
    MAX_ITERATIONS = status.MAX_ITERATIONS, "max_iter rounds were used before the tolerance was met"
    STALLED = status.STALLED, "no step reduced the residual, though the tolerance was not met"
    SINGULAR = status.SINGULAR, "the pixels do not determine all parameters"
    NOT_FINITE = (
        status.NOT_FINITE,
        "the pixels, or the model at the starting values, are not finite",
    )
    TOO_FEW_PIXELS = status.TOO_FEW_PIXELS, "there are fewer pixels than free parameters"
    OUTSIDE = (
        status.OUTSIDE,
        "converged to a centre outside the fitted pixels or the calibrated range",
    )
    AT_BOUND = status.AT_BOUND, "converged, with a parameter on its bound"
    DROPPED = (
        status.DROPPED,
        "dropped by a joint fit: the image does not show this spot beside the others",
    )
    TOO_WIDE = (
        status.TOO_WIDE,
        "the spot is, or may be, too wide for its pixels to show how wide it is",
    )
    OUTLIER = (
        status.OUTLIER,
        "one pixel, such as a hot one, is far from the spot and decides the fit",
    )
    SATURATED = (
        status.SATURATED,
        "several pixels of the window are at the largest value of the image",
    )
    NOT_SHARED = (
        status.NOT_SHARED,
        "not used for the shared parameters: its own values are far from those of the others",
    )
    TOO_NARROW = (
        status.TOO_NARROW,
        "the ellipse is, or may be, too narrow for its pixels to show its shape",
    )
