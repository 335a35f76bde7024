"""Measures of fitted spots: flux, width, signal to noise, and how well the model fits."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base.widths import FWHM
from ..kernels.numeric.packed_cholesky import packed
from .rows import roots


class Measures:
    """The properties of `FitResult` that are computed from its rows."""

    @property
    def id(self: Any) -> np.ndarray:
        """Number of each spot in the result that the fit returned, (n,)."""
        return self.rows.numbers()

    @property
    def reduced_chi2(self: Any) -> np.ndarray:
        """The objective divided by the degrees of freedom; NaN where these are 0."""
        with np.errstate(over="ignore", under="ignore"):
            return self.objective / np.where(self.dof > 0, self.dof, np.nan)

    @property
    def p_value(self: Any) -> np.ndarray:
        """Probability of a larger objective if the model is right."""
        from scipy.special import chdtrc

        if not self.absolute:
            return np.full(len(self), np.nan)
        return chdtrc(np.where(self.dof > 0, self.dof, np.nan), self.objective)

    @property
    def flux(self: Any) -> np.ndarray:
        """Integral of each profile over all space."""
        with np.errstate(all="ignore"):
            return self.model.flux(self.params)

    @property
    def flux_error(self: Any) -> np.ndarray:
        """Standard error of the flux."""
        known = self.rows.flux_errors
        if known is not None:
            return known
        with np.errstate(all="ignore"):
            gradient = self.model.flux_gradient(self.params)
        return propagated(gradient, self.rows)

    @property
    def snr(self: Any) -> np.ndarray:
        """The flux divided by its standard error."""
        with np.errstate(all="ignore"):
            return self.flux / self.flux_error

    @property
    def fwhm(self: Any) -> np.ndarray:
        """Full width at half maximum of the round Gaussian that has the same mean variance."""
        if not self.model.kernels.gaussian:
            return np.full(len(self), np.nan)
        widths = np.abs(self.model.widths(self.params))
        largest = widths.max(axis=1)
        with np.errstate(all="ignore"):
            parts = widths / np.where(largest > 0, largest, 1.0)[:, np.newaxis]
            return FWHM * largest * np.sqrt(np.mean(parts**2, axis=1))


def propagated(gradient: np.ndarray, rows: Any) -> np.ndarray:
    """Standard errors (n,) of a function of the parameters, to first order.

    NaN where a covariance that is needed is unknown, or has left the range of float64.
    """
    errors = rows.standard_errors()
    size = errors.shape[1]
    with np.errstate(all="ignore"):
        steps = np.where(errors == 0.0, 0.0, gradient * errors)
        steps[gradient == 0.0] = 0.0  # of an unknown error as well
        largest = np.abs(steps).max(axis=1, initial=0.0)
        steps /= np.where(largest > 0, largest, 1.0)[:, np.newaxis]
        total = np.square(steps).sum(axis=1)
        for i in range(size):
            for j in range(i):
                both = steps[:, i] * steps[:, j]
                shared = rows.packed[:, packed(i, j)] / (errors[:, i] * errors[:, j])
                total += np.where(both == 0.0, 0.0, 2.0 * both * shared)
        found = largest * np.sqrt(np.maximum(total, 0.0))
    if rows.errors is not None:
        lost = (roots(rows.packed, size) != errors) & (steps != 0.0) & np.isfinite(errors)
        found[lost.any(axis=1)] = np.nan
    return found
