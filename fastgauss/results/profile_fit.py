"""ProfileFit: the peaks of profiles, with the model's curve and a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check
from ..base.figures import FAILED, FITTED, new_figure
from ..models.evaluation import evaluate
from .fit_result import FitResult


class ProfileFit(FitResult):
    """The peaks that `fit_profile` fitted: a `FitResult`, and the curve of the model.

    Selected rows are a plain `FitResult`.

    Attributes
    ----------
    slope : ndarray (rows,)
        Slope of the background of each peak's profile; 0 for a constant background.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> x = np.linspace(-5, 5, 80)
    >>> fit = fg.fit_profile(x, 3 * np.exp(-((x - 1) ** 2) / 2) + 1)
    >>> fit.evaluate([1.0, -5.0]).round(3)
    array([4., 1.])
    """

    def with_profiles(
        self, x: np.ndarray, y: np.ndarray, yerr: np.ndarray | None, lines: np.ndarray, single: bool
    ) -> ProfileFit:
        """This result with its data (n, m), and middle, value there and slope of backgrounds."""
        self._x, self._y, self._yerr, self._lines, self._single = x, y, yerr, lines, single
        return self

    @property
    def noun(self) -> str:
        """The word for a row."""
        return "peak"

    @property
    def slope(self) -> np.ndarray:
        """Slope of the background of each row's profile."""
        count = len(self) // max(len(self._lines), 1)
        return np.repeat(self._lines[:, 2], count)

    def evaluate(self, x: ArrayLike) -> np.ndarray:
        """The model at abscissae (k,): peaks and background, (k,), or (n, k) of n profiles.

        Raises
        ------
        TypeError, ValueError
            If the abscissae are not real numbers (k,).
        """
        places = np.asarray(check.real_array("x", x, 1), np.float64)
        whole = np.stack([self._curve(places, k) for k in range(len(self._lines))] or [places[:0]])
        return whole[0] if self._single else whole.reshape(len(self._lines), len(places))

    def _curve(self, x: np.ndarray, profile: int) -> np.ndarray:
        middle, value, slope = self._lines[profile]
        return value + slope * (x - middle) + self._peaks(x, profile).sum(axis=0)

    def _peaks(self, x: np.ndarray, profile: int) -> np.ndarray:
        """The peaks of a profile without the background, (peaks, k)."""
        count = len(self) // len(self._lines)
        params = self.params[profile * count : (profile + 1) * count].copy()
        params[:, 3] = 0.0
        return evaluate(x, params[:, np.newaxis], self.model)

    def plot(self, profile: int = 0, *, figure: Any = None) -> Any:  # type: ignore[override]
        """Draw the data of a profile, the model with its peaks, and the residual below.

        Where `yerr` was given, bars of one standard deviation are drawn.

        Parameters
        ----------
        profile : int
            Which profile.
        figure : matplotlib.figure.Figure or SubFigure, optional
            Where to draw; by default a new figure, not registered with pyplot.

        Returns
        -------
        matplotlib.figure.Figure or SubFigure

        Raises
        ------
        TypeError, ValueError
            If there is no such profile.
        ImportError
            If matplotlib is missing.

        Examples
        --------
        >>> import numpy as np, fastgauss as fg
        >>> x = np.linspace(-5, 5, 80)
        >>> figure = fg.fit_profile(x, 3 * np.exp(-((x - 1) ** 2) / 2) + 1).plot()
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['y', 'residual']
        """
        k = check.integer("profile", profile, at_least=0)
        if k >= len(self._lines):
            raise ValueError(f"profile must be below {len(self._lines)}, got {k}")
        figure = new_figure(6.4, 4.8) if figure is None else figure
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        x, y = self._x[k], self._y[k]
        fine = np.linspace(x.min(), x.max(), max(500, 2 * len(x)))
        error = (
            None if self._yerr is None else np.where(self._yerr[k] < np.inf, self._yerr[k], np.nan)
        )
        look: dict[str, Any] = {"fmt": ".", "color": "0.4", "markersize": 4, "elinewidth": 0.7}
        upper.errorbar(x, y, error, label="data", **look)
        upper.plot(fine, self._curve(fine, k), color=FITTED, label="model")
        peaks = self._peaks(fine, k)
        if len(peaks) > 1:
            middle, value, slope = self._lines[k]
            background = value + slope * (fine - middle)
            upper.plot(fine, (background + peaks).T, "--", color=FAILED, linewidth=0.8)
        upper.legend()
        upper.set_ylabel("y")
        lower.errorbar(x, y - self._curve(x, k), error, **look)
        lower.axhline(0.0, color=FITTED)
        lower.set(xlabel="x", ylabel="residual")
        return figure
