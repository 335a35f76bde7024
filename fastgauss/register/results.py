"""Results of registration: a shift, a field of displacements."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..base.data_frames import data_frame
from ..base.status import DescribedStatus
from ..kernels.register import window_columns

if TYPE_CHECKING:
    import pandas as pd


class Status(DescribedStatus):
    """How a registration ended; ``message`` says it in words.

    Examples
    --------
    >>> import fastgauss as fg
    >>> fg.register.Status(2).name, fg.register.Status(2).message
    ('NO_TEXTURE', 'the pixels determine no displacement')
    """

    CONVERGED = window_columns.CONVERGED, "converged"
    MAX_ITERATIONS = (
        window_columns.MAX_ITERATIONS,
        "20 rounds were used before the tolerance was met",
    )
    NO_TEXTURE = window_columns.NO_TEXTURE, "the pixels determine no displacement"
    TOO_FEW_PIXELS = window_columns.TOO_FEW_PIXELS, "the images have too few pixels in common"
    LOST = (
        window_columns.LOST,
        "the refinement left the neighbourhood of the correlation's peak, or the search",
    )
    AMBIGUOUS = 5, "another displacement may be the right one; the errors include it"
    ONE_DIRECTION = (
        window_columns.ONE_DIRECTION,
        "the pixels determine the displacement across their structure alone",
    )
    REPLACED = 7, "the median of the neighbours, in place of an outlier"


class Shift(NamedTuple):
    """The displacement of one image or volume relative to another.

    Attributes
    ----------
    dx, dy : float
        Displacement along the last axis and the one before, in pixels: what is at x in the first
        image is at x + dx in the second. NaN without a solution.
    covariance : ndarray (2, 2) or (3, 3)
        Of (dx, dy) or (dx, dy, dz), in square pixels; infinite where the pixels determine no
        displacement.
    status : int
        A code of `Status`.
    correlation : float
        Of the two images' smoothed pixels at this displacement, -1 to 1.
    noise : float
        With errors of both images: the residual's variance in units of the expected one, near 1 if
        they are right. Otherwise the variance of the difference of two pixels, the second in the
        brightness of the first.
    pixels : int
        Pixels that were compared.
    dz : float or None
        Displacement of a volume along axis 0; None for images.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> image = np.random.default_rng(0).normal(size=(40, 40)).cumsum(0).cumsum(1)
    >>> shift = fg.register.align(image, image)
    >>> shift.dx, shift.dy, shift.converged
    (0.0, 0.0, True)
    """

    dx: float
    dy: float
    covariance: np.ndarray
    status: int
    correlation: float
    noise: float
    pixels: int
    dz: float | None = None

    @property
    def displacement(self) -> np.ndarray:
        """**In array-axis order**: (dy, dx), or (dz, dy, dx) of a volume."""
        along = [self.dx, self.dy] if self.dz is None else [self.dx, self.dy, self.dz]
        return np.array(along[::-1])

    @property
    def errors(self) -> np.ndarray:
        """One standard error of dx, of dy, and of dz for volumes, in pixels."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def converged(self) -> bool:
        """Whether status is ``Status.CONVERGED``."""
        return self.status == Status.CONVERGED


def no_shift(status: int, ndim: int, pixels: int = 0) -> Shift:
    """The result without a solution: its status, and how many pixels were compared."""
    nan = float("nan")
    unknown = np.full((ndim, ndim), nan)
    return Shift(nan, nan, unknown, int(status), nan, nan, pixels, nan if ndim == 3 else None)


@dataclass(frozen=True, repr=False)
class DisplacementField:
    """Displacements of the windows of an image, one a node of a grid of R rows and C columns.

    Attributes
    ----------
    x, y : ndarray (C,), (R,)
        Centres of the windows in pixels.
    dx, dy : ndarray (R, C)
        Displacement along axis 1 and axis 0, in pixels; NaN without a solution.
    covariance : ndarray (R, C, 2, 2)
        Of (dx, dy), in square pixels.
    status : ndarray (R, C) of int
        Codes of `Status`.
    correlation, noise : ndarray (R, C)
        As in `Shift`.
    outlier : ndarray (R, C) of bool
        Where the normalised median test of the eight neighbours fails, or there is no solution;
        also where the displacement was replaced.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> image = np.random.default_rng(0).normal(size=(96, 128)).cumsum(0).cumsum(1)
    >>> field = fg.register.displacement_field(image, image, window=32, step=32)
    >>> field.dx.shape, bool(field.converged.all()), float(abs(field.dx).max())
    ((3, 4), True, 0.0)
    """

    x: np.ndarray
    y: np.ndarray
    dx: np.ndarray
    dy: np.ndarray
    covariance: np.ndarray
    status: np.ndarray
    correlation: np.ndarray
    noise: np.ndarray
    outlier: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        """One standard error of dx and of dy, in pixels, (R, C, 2)."""
        return np.sqrt(np.diagonal(self.covariance, axis1=-2, axis2=-1))

    @property
    def converged(self) -> np.ndarray:
        """Where status is ``Status.CONVERGED``."""
        return self.status == Status.CONVERGED

    @property
    def replaced(self) -> np.ndarray:
        """Where status is ``Status.REPLACED``: not measured there, but the neighbours' median."""
        return self.status == Status.REPLACED

    def __repr__(self) -> str:
        rows, columns = self.dx.shape
        doubtful = int(np.count_nonzero(self.outlier))
        return f"<DisplacementField of {rows} x {columns} windows, {doubtful} doubtful>"

    def to_dict(self) -> dict[str, np.ndarray]:
        """The arrays by name, as the command line writes them to .npz."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def to_columns(self) -> dict[str, np.ndarray]:
        """One number for each window (R C,), row by row: centres, displacements, errors, verdicts.

        ``dx_dy_covariance`` is the covariance of `dx` and `dy`.
        """
        y, x = np.broadcast_arrays(self.y[:, np.newaxis], self.x)
        errors = self.errors
        columns = {
            "x": x,
            "y": y,
            "dx": self.dx,
            "dy": self.dy,
            "dx_error": errors[..., 0],
            "dy_error": errors[..., 1],
            "dx_dy_covariance": self.covariance[..., 0, 1],
            "status": self.status,
            "converged": self.converged,
            "outlier": self.outlier,
            "replaced": self.replaced,
            "correlation": self.correlation,
            "noise": self.noise,
        }
        return {name: np.ravel(column) for name, column in columns.items()}

    def to_dataframe(self) -> pd.DataFrame:
        """The columns of `to_columns` as a pandas DataFrame, one row for each window."""
        return data_frame(self.to_columns(), COLUMNS)


COLUMNS = {  # of a table: unit and meaning
    "x": ("px", "centre of the window along axis 1"),
    "y": ("px", "centre of the window along axis 0"),
    "dx": ("px", "displacement along axis 1"),
    "dy": ("px", "displacement along axis 0"),
    "dx_error": ("px", "standard error of dx"),
    "dy_error": ("px", "standard error of dy"),
    "dx_dy_covariance": ("px^2", "covariance of dx and dy"),
    "status": ("", "code of `Status`"),
    "converged": ("", "whether the registration converged"),
    "outlier": ("", "whether the displacement differs from those of the eight neighbours"),
    "replaced": ("", "whether the displacement is the median of the neighbours"),
    "correlation": ("", "of the smoothed pixels of both images, -1 to 1"),
    "noise": ("", "see `Shift`"),
}
