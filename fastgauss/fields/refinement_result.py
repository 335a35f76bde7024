"""The result of a refinement of a field: particles, and how the descent ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

import numpy as np

from ..base import wording
from ..base.data_frames import data_frame
from ..base.status import Status
from .linear_map import MapType

if TYPE_CHECKING:
    import pandas as pd

_ABOUT = {
    "amplitude": ("value", "height of the profile"),
    **{axis: ("grid", f"centre along {axis}, in the grid's coordinates") for axis in "xyz"},
    "sigma": ("grid", "standard deviation of the profile"),
    **{f"sigma_{axis}": ("grid", f"standard deviation along {axis}") for axis in "xyz"},
    **{
        f"covariance_{one}{other}": ("grid^2", f"covariance of the profile, {one} and {other}")
        for one, other in ("xx", "xy", "xz", "yy", "yz", "zz")
    },
}


@dataclass(frozen=True, eq=False)
class Refinement(Generic[MapType]):
    """The result of `GaussianField.refine`.

    Attributes
    ----------
    field : GaussianField
        The field with the fitted particles.
    amplitudes : array (n,)
    positions : array (n, d)
        The fitted positions, not wrapped on periodic axes.
    sigmas : array
        In the shape of the `sigma` of the field; None for a field of covariances.
    covariance : array
        In the shape of the `covariance` of the field; None for a field of sigmas.
    residual_norm : float
        Square root of the (weighted) sum of squared residuals.
    iterations : int
    status : Status
        ``CONVERGED``, ``MAX_ITERATIONS`` or ``STALLED``; ``status.message`` is a sentence that says
        so.
    background : float
        The constant beneath all particles; 0 unless ``wrt`` named "background".

    Examples
    --------
    >>> import fastgauss as fg
    >>> start = fg.GaussianField((30,), [[12.0]], sigma=1.5, tol=1e-6)
    >>> found = start.refine(fg.render((30,), [[12.3]], 5.0, sigma=1.7))
    >>> found.positions.round(2), found.converged
    (array([[12.3]]), True)
    """

    field: MapType
    amplitudes: np.ndarray
    positions: np.ndarray
    sigmas: np.ndarray | None
    covariance: np.ndarray | None
    residual_norm: float
    iterations: int
    status: Status
    background: float = 0.0

    @property
    def converged(self) -> bool:
        """Whether the tolerance was met."""
        return self.status == Status.CONVERGED

    def to_dict(self) -> dict[str, np.ndarray]:
        """One number for each particle (n,): ``amplitude``, ``x``, ``y``, ``z`` and the widths.

        The widths are ``sigma``, or ``sigma_x`` and so on where they differ by axis, or
        ``covariance_xx``, ``covariance_xy`` and so on. Widths that all particles share are
        repeated.
        """
        count, ndim = self.positions.shape
        axes = "xyz"[:ndim]
        columns = {"amplitude": self.amplitudes}
        columns |= {axis: self.positions[:, ndim - 1 - k] for k, axis in enumerate(axes)}
        if self.covariance is not None:
            whole = np.broadcast_to(self.covariance, (count, ndim, ndim))[:, ::-1, ::-1]
            for i, k in zip(*np.triu_indices(ndim), strict=True):
                columns[f"covariance_{axes[i]}{axes[k]}"] = whole[:, i, k].copy()
            return columns
        sigmas = np.asarray(self.sigmas)
        if sigmas.ndim == 0 or sigmas.shape[-1] == 1:
            return columns | {"sigma": np.broadcast_to(sigmas.reshape(-1), count).copy()}
        each = np.broadcast_to(sigmas, (count, ndim))[:, ::-1]
        return columns | {f"sigma_{axis}": each[:, k].copy() for k, axis in enumerate(axes)}

    def to_dataframe(self) -> pd.DataFrame:
        """The columns of `to_dict` as a pandas DataFrame, one row for each particle."""
        return data_frame(self.to_dict(), _ABOUT)

    def __repr__(self) -> str:
        count = len(self.amplitudes)
        return (
            f"<Refinement of {wording.plural(count, 'particle')}, "
            f"{wording.ended(count, self.status.message)} "
            f"after {wording.plural(self.iterations, 'iteration')}, "
            f"residual norm {self.residual_norm:.6g}>"
        )
