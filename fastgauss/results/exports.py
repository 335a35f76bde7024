"""Exports of a result: columns by name, tables, layers, text and HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..base import wording
from .columns import documented

if TYPE_CHECKING:
    import pandas as pd
    from astropy.table import QTable

    from .explanations import Explanation
    from .quantities import Column


MEASURED = (
    "flux", "flux_error", "snr", "fwhm", "objective", "reduced_chi2", "p_value", "status",
    "converged", "iterations", "pixels", "dof", "id",
)  # columns beside the frame, the parameters and their errors  # fmt: skip


class UnknownColumnError(KeyError, ValueError):
    """A result has no column of this name: a wrong key, and a wrong value of an argument."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"the result has no column {name!r}; it has {', '.join(known)}")

    def __str__(self) -> str:
        return str(self.args[0])  # that of KeyError shows its repr


class Exports:
    """The methods of `FitResult` that give its rows another form."""

    @property
    def noun(self: Any) -> str:
        """The word for a row."""
        return "profile" if self.model.ndim == 1 else "spot"

    @documented
    def to_dict(self: Any) -> dict[str, np.ndarray]:
        """Columns by name: parameters, ``<name>_error`` for each, flux, fit quality."""
        errors = self.errors
        table = {} if self.frames is None else {"frame": self.frames}
        table |= {name: self.params[:, i] for i, name in enumerate(self.names)}
        table |= {f"{name}_error": errors[:, i] for i, name in enumerate(self.names)}
        table |= {name: getattr(self, name) for name in MEASURED}
        return table | {name: values for name, (values, *_) in self._further().items()}

    def _further(self: Any) -> dict[str, Column]:
        """Values, unit and meaning of columns that the table has besides: here none."""
        return {}

    @property
    def columns(self: Any) -> tuple[str, ...]:
        """Names of the columns of `to_dict`."""
        frame = () if self.frames is None else ("frame",)
        errors = (f"{name}_error" for name in self.names)
        return tuple(dict.fromkeys((*frame, *self.names, *errors, *MEASURED)))

    def _column(self: Any, name: str) -> np.ndarray:
        """One column of `to_dict`, (n,)."""
        if name not in self.columns:
            raise UnknownColumnError(name, self.columns)
        return self.frames if name == "frame" else getattr(self, name)

    def __array__(self: Any, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The parameters, (n, P)."""
        if copy:
            return np.array(self.params, dtype=dtype)
        array = np.asarray(self.params, dtype=dtype)
        if copy is False and array is not self.params:
            raise ValueError(f"the parameters are {self.params.dtype}: {dtype} needs a copy")
        return array

    def to_structured(self: Any) -> np.ndarray:
        """The columns of `to_dict` as one structured array, (n,)."""
        columns = self.to_dict()
        table = np.empty(len(self), [(name, column.dtype) for name, column in columns.items()])
        for name, column in columns.items():
            table[name] = column
        return table

    def to_dataframe(self: Any) -> pd.DataFrame:
        """The columns of `to_dict` as a pandas DataFrame.

        The columns ``model``, ``pixel`` and ``absolute`` say how the spots were fitted, so that
        `load` can read a file that pandas wrote. ``attrs`` holds the units and meanings of the
        columns, by name.
        """
        from .table import dataframe

        return dataframe(self)

    def to_table(
        self: Any, pixel_size: Any = None, wcs: Any = None, zero_point: Any = None
    ) -> QTable:
        """The columns of `to_dict` as an astropy QTable with units.

        Lengths are in pixels, the covariances of sources in pixels squared, angles in radians. A
        profile that was fitted with `coords` has lengths without unit, unless `pixel_size` tells
        it. Amplitudes and offsets are in the unit of the image, which is not known here, and have
        none. Model, pixel and absolute are in ``meta``.

        Parameters
        ----------
        pixel_size : astropy Quantity, optional
            Size of a pixel, one or one for each axis in array-axis order, (z,) y, x, as ``0.1 *
            astropy.units.um``. Lengths are then in its unit, covariances of sources in its square.
            A `z` that is calibrated stays as it is, and fluxes stay sums over pixels. For a profile
            with `coords`, the unit of these.
        wcs : astropy.wcs.WCS, optional
            World coordinates of the image: adds ``ra`` and ``dec`` (ICRS, degrees), ``ra_error``
            (times the cosine of the declination) and ``dec_error`` (arc seconds).
        zero_point : float, optional
            Magnitude of a flux of 1: adds ``mag``, ``zero_point - 2.5 log10(flux)``, and
            ``mag_error``; NaN where the flux is not positive.

        Returns
        -------
        astropy.table.QTable

        Raises
        ------
        TypeError, ValueError
            If `pixel_size` has no unit, or differs along the axes while the model has one sigma or
            an angle; if `wcs` has no celestial axes, or the spots are not of an image.
        ImportError
            If astropy is missing.

        Examples
        --------
        >>> import astropy.units as u, fastgauss as fg
        >>> image = fg.image([50.0, 20.1, 24.6, 1.5, 8.0], (48, 48), model="symmetric")
        >>> table = fg.fit_spots(image).to_table(pixel_size=0.2 * u.um, zero_point=25.0)
        >>> table["x"].round(3), table["mag"].round(2)
        (<Quantity [4.02] um>, <Quantity [17.88] mag>)
        """
        from .quantities import to_table

        return to_table(self, pixel_size, wcs, zero_point)

    def to_napari(self: Any, name: str = "spots") -> tuple[np.ndarray, dict[str, Any], str]:
        """The spots as a layer of points for napari.

        Parameters
        ----------
        name : str
            Name of the layer.

        Returns
        -------
        data : ndarray (n, ndim) or (n, 1 + ndim)
            Positions in array-axis order, after the frame where frames are known. Spots whose
            position is not finite are left out.
        options : dict
            ``name``, ``size`` (the full width at half maximum of each spot) and ``features`` (the
            columns of `to_dict`), as ``viewer.add_points(data, **options)`` takes them.
        kind : str
            "points".

        Raises
        ------
        TypeError, ValueError
            If the name is no string, or the result is of profiles.

        Examples
        --------
        >>> import fastgauss as fg
        >>> image = fg.image([50.0, 20.1, 24.6, 1.5, 8.0], (48, 48), model="symmetric")
        >>> data, options, kind = fg.fit_spots(image).to_napari()
        >>> data.round(3), options["size"].round(3), kind
        (array([[24.6, 20.1]]), array([3.532]), 'points')
        """
        from .table import napari_layer

        return napari_layer(self, name)

    def plot(self: Any, data: Any, *, frame: int | None = None, **options: Any) -> Any:
        """Draw these spots over their data.

        Parameters
        ----------
        data : array_like
            The image or volume that was fitted, drawn as by `fastgauss.plot.plot_spots`, or as by
            `plot_joint` after a joint fit with a `background` of the whole image; the movie of a
            result with `frames`, of which one frame is drawn; or the ROIs that were fitted, drawn
            as by `plot_rois`.
        frame : int, optional
            The frame of a movie; by default that of the first spot.
        **options
            Options of these functions, such as ``norm="linear"``.

        Returns
        -------
        matplotlib.figure.Figure or SubFigure
            A notebook shows it.

        Raises
        ------
        TypeError, ValueError
            If the data and the result do not belong together.
        ImportError
            If matplotlib is missing.

        Examples
        --------
        >>> import fastgauss as fg
        >>> image = fg.image([50.0, 20.3, 11.8, 1.4, 10.0], (32, 40), model="symmetric")
        >>> [axes.get_title() for axes in fg.fit_spots(image, [[12, 20]]).plot(image).axes]
        ['1 spot', 'residual']
        """
        from .pictures import plot

        return plot(self, data, frame, options)

    def explain(self: Any, row: int, data: Any = None, *, box: int = 11) -> Explanation:
        """What became of the fit of one spot, and what to change.

        Parameters
        ----------
        row : int
            The row of the spot in this result.
        data : array_like, optional
            The image, movie, ROIs or profiles that were fitted. With them the largest residual is
            told and, except for profiles, data, model and residual are drawn. Of a stack, the frame
            of the spot, or the ROI with its `id`.
        box : int
            Side of the window of an image that is shown.

        Returns
        -------
        Explanation
            Its `text` is printed; a notebook shows its `figure` too.

        Raises
        ------
        IndexError
            If there is no such row.
        TypeError, ValueError
            If the data and the result do not belong together.
        ImportError
            If matplotlib is missing and there are data.

        Examples
        --------
        >>> import numpy as np, fastgauss as fg
        >>> print(fg.fit_rois(np.full((1, 7, 7), np.nan)).explain(0))
        Spot 0: TOO_FEW_PIXELS, there are fewer pixels than free parameters.
          There are no parameters, because nothing was fitted.
          0 pixels, 5 free parameters, 1 round
        What to change:
          Give a larger box or a smaller mask=, or hold parameters by fixed=.
        """
        from .explanations import explain

        return explain(self, row, data, box)

    def _repr_html_(self: Any) -> str:
        """The first spots as HTML, for notebooks."""
        from .table import html

        return html(self)

    def __repr__(self: Any) -> str:
        good = self.converged
        name, count = type(self).__name__, int(good.sum())
        rows = wording.plural(len(self), self.noun)
        where = " of a volume" if self.model.ndim == 3 else ""
        text = f"{name}({self.model.name}, {rows}{where}, {count} converged"
        if good.any():
            medians = np.median(self.params[good], axis=0)
            text += "; median " + ", ".join(
                f"{name}={value:.4g}"
                for name, value in zip(self.names, medians, strict=True)
                if name not in ("x", "y", "z")
            )
        return text + ")"
