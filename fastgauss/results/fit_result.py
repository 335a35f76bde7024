"""FitResult: parameters, uncertainties and statuses of fitted spots, one row for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, wording
from ..base.status import Status
from ..models.model import Model
from .background import Background
from .exports import Exports
from .files import Files
from .measures import Measures
from .rows import Rows


class FitResult(Measures, Exports, Files):
    """Fitted spots: parameters, uncertainties and statuses, one row for each spot.

    Every parameter and its error is also an attribute: ``result.x``, ``result.x_error``. A mask, a
    slice, an integer or an integer array as an index gives a FitResult of those rows; the name of a
    column of `to_dict` gives that column (n,), and a list of k names an array (n, k).
    ``numpy.asarray(result)`` gives `params`, and ``pandas.DataFrame(result)`` their plain numbers;
    `to_dataframe` gives all columns with their names. A FitResult can be pickled; `save` and `load`
    write it to a file and read it.

    Attributes
    ----------
    params : ndarray (n, P)
        Parameters in the order of `names`; lengths in pixels, theta in radians.
        Rows without a fit (`Status.NOT_FINITE`, `Status.TOO_FEW_PIXELS`) are NaN.
    names : tuple of str
        Names of the P parameters.
    errors : ndarray (n, P)
        Standard error of each parameter.
    covariance : ndarray (n, P, P)
        As the option ``covariance`` of `fit_rois` says. It is 0 for parameters that are fixed or on
        a bound; for the other parameters it is the covariance with those held. NaN where the pixels
        do not determine the parameters.
    objective : ndarray (n,)
        Weighted sum of squared residuals, or the deviance.
    pixels : ndarray (n,) of int
        Number of valid pixels.
    dof : ndarray (n,) of int
        Degrees of freedom: pixels less parameters that are not fixed.
    reduced_chi2 : ndarray (n,)
        objective / dof: near 1 if the model is right and the weights are inverse variances, or the
        data are Poisson counts.
    p_value : ndarray (n,)
        Probability of a larger objective if the model is right, ``chdtrc(dof, objective)`` of
        scipy.special: the objective, a chi-squared or a deviance, follows the chi-squared
        distribution with `dof` degrees of freedom, a deviance only if most pixels count several
        photons. NaN without degrees of freedom, and for least squares without weights, whose
        objective has no known scale.
    status : ndarray (n,) of int
        Codes of `Status`.
    converged : ndarray (n,) of bool
        Where status is ``Status.CONVERGED`` or ``Status.AT_BOUND``: the best fit within its bounds.
        Without those on a bound: ``result.converged & ~result.at_bound.any(axis=1)``.
    at_bound : ndarray (n, P) of bool
        Which parameters are on a bound that was given. With ``method="mle"`` also the offset, where
        nothing was counted and the model ends at 0. A fixed parameter is on no bound. Joint fits
        have bounds of their own besides: see `fit_joint`.
    iterations : ndarray (n,) of int
        Evaluations of the normal equations.
    flux : ndarray (n,)
        Integral of the profile, ``amplitude (2 pi)**(d/2)`` times the product of the sigmas.
    flux_error : ndarray (n,)
        Standard error of the flux, from the covariances of the amplitude and the sigmas.
    snr : ndarray (n,)
        Signal-to-noise ratio, ``flux / flux_error``.
    fwhm : ndarray (n,)
        Full width at half maximum, ``sqrt(8 log 2) sigma``, 2.3548 sigma. With several sigmas, that
        of their root mean square, as in photutils.
    id : ndarray (n,) of int
        Number of the spot in the result that the fit returned, from 0. Selected and sorted spots
        keep it. `concatenate` keeps the numbers if they are all different, else it numbers anew.
    columns : tuple of str
        Names of the columns of `to_dict`.
    model : Model
        The fitted model.
    pixel : str
        "sample" or "integrate", as fitted.
    length : str
        The unit of lengths: "px", or "coords" for that of the abscissae `coords` of profiles.
    frames : ndarray (n,) of int, or None
        The frame of each spot, if a stack was fitted.
    absolute : bool
        Whether the objective has a known scale: weights were given, or the data are counts.
    background : Background or None
        The background of a joint fit; None if it is an offset for each group of spots.
    pixel_size : float or None
        Side of a pixel in nm, if it is known; `save` and `load` need it for formats in nm. Lengths
        here are in pixels all the same. It can be set.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> roi = fg.image([100.0, 4.8, 5.3, 1.2, 10.0], (11, 11), model="symmetric")
    >>> result = fg.fit_rois(roi[np.newaxis])
    >>> result.x.round(6), result.converged
    (array([4.8]), array([ True]))
    >>> result[result.converged][["x", "y"]].round(6), result["fwhm"].round(6)
    (array([[4.8, 5.3]]), array([2.825784]))
    """

    def __init__(
        self,
        model: Model,
        rows: Rows,
        *,
        absolute: bool,
        pixel: str = "sample",
        length: str = "px",
        background: Background | None = None,
        pixel_size: float | None = None,
    ) -> None:
        self.model = model
        self.pixel = pixel
        self.length = length
        self.absolute = absolute
        self.background = background
        self.pixel_size = pixel_size
        (
            self.params,
            self._packed,
            self.objective,
            self.status,
            self.iterations,
            self.pixels,
            self.dof,
            self.frames,
            self._at_bound,
            self._errors,
            self._ids,
            self._flux_errors,
        ) = rows

    @property
    def rows(self) -> Rows:
        """The arrays of this result."""
        return Rows(
            self.params, self._packed, self.objective, self.status, self.iterations, self.pixels,
            self.dof, self.frames, at_bound=self._at_bound, errors=self._errors, ids=self._ids,
            flux_errors=self._flux_errors,
        )  # fmt: skip

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return self.model.names

    @property
    def converged(self) -> np.ndarray:
        """Whether each fit converged."""
        return (self.status == Status.CONVERGED) | (self.status == Status.AT_BOUND)

    @property
    def at_bound(self) -> np.ndarray:
        """Which parameters are on a bound, (n, P)."""
        return self.rows.held()

    @property
    def errors(self) -> np.ndarray:
        """Standard errors, (n, P)."""
        return self.rows.standard_errors()

    @property
    def covariance(self) -> np.ndarray:
        """Covariance matrices, (n, P, P)."""
        size = self.model.size
        rows, columns = np.tril_indices(size)
        full = np.empty((len(self), size, size))
        full[:, rows, columns] = self._packed
        full[:, columns, rows] = self._packed
        return full

    @property
    def positions(self) -> np.ndarray:
        """Centres in array-axis order, (n, ndim): rows before columns."""
        ndim = self.model.ndim
        return self.params[:, ndim:0:-1]

    def __getattr__(self, name: str) -> np.ndarray:
        model = self.__dict__.get("model")
        if model is not None:
            parameter = name.removesuffix("_error")
            if parameter in model.names:
                values = self.params if parameter == name else self.errors
                return values[:, model.names.index(parameter)]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.names, *(f"{name}_error" for name in self.names)]

    def __len__(self) -> int:
        return len(self.params)

    def __iter__(self) -> Iterator[FitResult]:
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, rows: str | list[str]) -> np.ndarray: ...

    @overload
    def __getitem__(self, rows: Any) -> FitResult: ...

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, str):
            return self._column(rows)
        if isinstance(rows, (list, tuple)) and rows and all(isinstance(r, str) for r in rows):
            return np.stack([self._column(name) for name in rows], axis=1)
        if isinstance(rows, (int, np.integer)):
            if not -len(self) <= rows < len(self):
                spots = wording.plural(len(self), "spot")
                raise IndexError(f"row {rows} is out of range for {spots}")
            rows = np.array([rows])
        elif not isinstance(rows, slice):
            given, rows = rows, check.plain_array("rows", rows)
            if rows.ndim != 1:
                raise IndexError(
                    "rows must be an integer, a slice, or one array (n,) of booleans or integers, "
                    f"got {wording.shown(given)}"
                )
            rows = self._chosen(rows)
        return self.with_rows(self.rows.select(rows))

    def _chosen(self, rows: np.ndarray) -> np.ndarray:
        """An array of booleans or integers that is right for the rows of this result."""
        spots = wording.plural(len(self), "spot")
        if rows.dtype == bool:
            if len(rows) != len(self):
                raise IndexError(f"rows must have one boolean for each of {spots}, got {len(rows)}")
            return rows
        if not rows.size:
            return rows.astype(np.intp)
        if rows.dtype.kind in "iu":
            wrong = (rows < -len(self)) | (rows >= len(self))
            if wrong.any():
                raise IndexError(f"row {rows[wrong][0]} is out of range for {spots}")
        return rows

    def with_rows(self, rows: Rows) -> FitResult:
        """A result of the same kind with other rows."""
        return FitResult(
            self.model,
            rows,
            absolute=self.absolute,
            pixel=self.pixel,
            length=self.length,
            background=self.background,
            pixel_size=self.pixel_size,
        )

    def render(
        self,
        shape: tuple[int, ...],
        background: ArrayLike | None = None,
        *,
        box: int = 11,
        threads: int | None = None,
    ) -> np.ndarray:
        """The image of these spots by the fitted model.

        Parameters
        ----------
        shape : tuple of ints
            Shape of the image or volume, or of the stack if the result has `frames`.
        background : float or array of this shape, optional
            The background to which the spots are added; 0 gives the spots alone. By default the
            fitted one: the offset, plane or array of a joint fit; else the offset of each spot,
            and its slopes, within `box` pixels around it, and elsewhere the median of all offsets.
        box : int
            The window of each offset, see `background`.
        threads : int, optional
            Largest number of threads.

        Returns
        -------
        ndarray of `shape`, float64
            Spots that are NaN or dropped are left out. A profile is cut off where it is below 1e-7
            of its peak.

        Raises
        ------
        TypeError, ValueError
            If the shape or the background does not fit.

        Examples
        --------
        >>> import numpy as np, fastgauss as fg
        >>> image = fg.image([100.0, 20.3, 30.7, 1.3, 10.0], (64, 64), model="symmetric")
        >>> result = fg.fit_spots(image)
        >>> bool(np.abs(image - result.render(image.shape)).max() < 1e-4)
        True
        """
        from .model_image import compose

        return compose(self, shape, background, box, threads)

    def status_counts(self) -> dict[Status, int]:
        """How many spots ended in each way, the most frequent first.

        Examples
        --------
        >>> import numpy as np, fastgauss as fg
        >>> fg.fit_rois(np.full((3, 7, 7), np.nan)).status_counts()
        {<Status.TOO_FEW_PIXELS: 5>: 3}
        """
        codes, counts = np.unique(self.status, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return {Status(codes[k]): int(counts[k]) for k in order}

    def sort(self, by: str | Sequence[str], descending: bool = False) -> FitResult:
        """The same spots sorted by one column of `to_dict`, or by several.

        Parameters
        ----------
        by : str or sequence of str
            Columns, the most important first.
        descending : bool
            True: the largest value first. NaN is always last; spots with equal values keep their
            order.

        Returns
        -------
        FitResult

        Raises
        ------
        TypeError, ValueError
            If there is no such column.

        Examples
        --------
        >>> import fastgauss as fg
        >>> spots = [[50.0, 5.1, 4.6, 1.5, 8.0], [90.0, 4.8, 5.3, 1.2, 10.0]]
        >>> result = fg.fit_rois(fg.image(spots, (11, 11), model="symmetric"))
        >>> result.sort("amplitude", descending=True).x.round(3)
        array([4.8, 5.1])
        """
        from .table import order

        return self[order(self, by, descending)]

    @classmethod
    def concatenate(
        cls, results: Iterable[FitResult], frames: ArrayLike | None = None
    ) -> FitResult:
        """Concatenate several results, such as those of the frames of a stack.

        Parameters
        ----------
        results : iterable of FitResult
            At least one result; all with the same model, pixel, `absolute` and `pixel_size`.
        frames : int array, optional
            The frame of each result. If it is not given, either all results have frames or none
            has.

        Returns
        -------
        FitResult
            With the background of a joint fit if it is the same in all results, else without one.

        Raises
        ------
        TypeError, ValueError
            If the results differ in kind, or there is no result.

        Examples
        --------
        >>> import fastgauss as fg
        >>> image = fg.image([100.0, 20.3, 30.7, 1.3, 10.0], (64, 64), model="symmetric")
        >>> each = [fg.fit_spots(image, [[31, 20]]) for _ in range(3)]
        >>> fg.FitResult.concatenate(each, frames=[0, 1, 2]).frames
        array([0, 1, 2])
        """
        from .concatenation import concatenate

        results = list(results)
        for number, result in enumerate(results):
            if not isinstance(result, cls):
                kind = type(result).__name__
                raise TypeError(f"results[{number}] must be a FitResult, got {kind}")
        rows, background = concatenate(results, frames)
        first = results[0]
        return cls(
            first.model,
            rows,
            absolute=first.absolute,
            pixel=first.pixel,
            length=first.length,
            background=background,
            pixel_size=first.pixel_size,
        )
