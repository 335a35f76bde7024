"""Status codes: how an iteration ended."""

from __future__ import annotations

from enum import IntEnum

from ..kernels import status


class Status(IntEnum):
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

    CONVERGED = status.CONVERGED
    MAX_ITERATIONS = status.MAX_ITERATIONS
    STALLED = status.STALLED
    SINGULAR = status.SINGULAR
    NOT_FINITE = status.NOT_FINITE
    TOO_FEW_PIXELS = status.TOO_FEW_PIXELS
    OUTSIDE = status.OUTSIDE
    AT_BOUND = status.AT_BOUND
    DROPPED = status.DROPPED
    TOO_WIDE = status.TOO_WIDE
    OUTLIER = status.OUTLIER
    SATURATED = status.SATURATED
    NOT_SHARED = status.NOT_SHARED
    TOO_NARROW = status.TOO_NARROW

    @property
    def message(self) -> str:
        """One sentence for people."""
        return _MESSAGES[self]


_MESSAGES = {
    Status.CONVERGED: "the fit met its tolerance",
    Status.MAX_ITERATIONS: "max_iter rounds were used before the tolerance was met",
    Status.STALLED: "no step reduced the residual, though the tolerance was not met",
    Status.SINGULAR: "the pixels do not determine all parameters",
    Status.NOT_FINITE: "the pixels, or the model at the starting values, are not finite",
    Status.TOO_FEW_PIXELS: "there are fewer pixels than free parameters",
    Status.OUTSIDE: "converged to a centre outside the fitted pixels or the calibrated range",
    Status.AT_BOUND: "converged, with a parameter on its bound",
    Status.DROPPED: "dropped by a joint fit: the image does not show this spot beside the others",
    Status.TOO_WIDE: "the spot is, or may be, too wide for its pixels to show how wide it is",
    Status.OUTLIER: "one pixel, such as a hot one, is far from the spot and decides the fit",
    Status.SATURATED: "several pixels of the window are at the largest value of the image",
    Status.NOT_SHARED: (
        "not used for the shared parameters: its own values are far from those of the others"
    ),
    Status.TOO_NARROW: "the ellipse is, or may be, too narrow for its pixels to show its shape",
}
