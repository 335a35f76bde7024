"""Groups of localisations: one position, error and flux for each molecule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..base import wording
from ..base.data_frames import data_frame

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Groups:
    """Molecules, one a row: localisations of successive frames joined. `group` makes them.

    Attributes
    ----------
    group : ndarray (n,) of int
        The molecule of each localisation that was given, 0 to m - 1; -1 for those whose position
        or error is not finite, which belong to none.
    positions : ndarray (m, ndim)
        Inverse-variance mean of the positions in a group; the plain mean where no errors were
        given.
    errors : ndarray (m, ndim) or None
        Standard errors of the positions; None where no errors were given.
    flux : ndarray (m,) or None
        Sum of the fluxes in a group.
    flux_error : ndarray (m,) or None
        Its standard error; None where no errors of fluxes are known.
    first, last : ndarray (m,) of int
        First and last frame.
    count : ndarray (m,) of int
        Number of localisations, one a frame.
    axes : tuple of str
        What stands along the last axis of `positions`, such as ("y", "x").

    Examples
    --------
    >>> import fastgauss as fg
    >>> groups = fg.group(([0, 1, 3], [[5.0, 5.0], [5.2, 5.0], [5.1, 5.0]]), radius=0.5, gap=1)
    >>> groups.positions.round(3), groups.count
    (array([[5.1, 5. ]]), array([3]))
    """

    group: np.ndarray
    positions: np.ndarray
    errors: np.ndarray | None
    flux: np.ndarray | None
    flux_error: np.ndarray | None
    first: np.ndarray
    last: np.ndarray
    count: np.ndarray
    axes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.positions)

    def __repr__(self) -> str:
        joined = int((self.group >= 0).sum())
        given = wording.plural(joined, "localisation")
        return f"Groups({wording.plural(len(self), 'group')} of {given})"

    def to_dataframe(self) -> pd.DataFrame:
        """A pandas DataFrame, one row a molecule, with the units of columns in ``attrs``.

        Raises
        ------
        ImportError
            If pandas is missing.

        Examples
        --------
        >>> import fastgauss as fg
        >>> list(fg.group(([0, 1], [[5.0, 5.0], [5.2, 5.0]]), 0.5).to_dataframe())
        ['first', 'last', 'count', 'y', 'x']
        """
        table = {"first": self.first, "last": self.last, "count": self.count}
        table |= dict(zip(self.axes, self.positions.T, strict=True))
        if self.errors is not None:
            names = (f"{axis}_error" for axis in self.axes)
            table |= dict(zip(names, self.errors.T, strict=True))
        if self.flux is not None:
            table["flux"] = self.flux
        if self.flux_error is not None:
            table["flux_error"] = self.flux_error
        return data_frame(table, _ABOUT)


_ABOUT = {
    "first": ("", "first frame"),
    "last": ("", "last frame"),
    "count": ("", "number of localisations"),
    "flux": ("value px^d", "sum of the fluxes"),
    "flux_error": ("value px^d", "standard error of the flux"),
}
