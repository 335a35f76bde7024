"""The map from the samples' coordinates to those in which the kernel is a unit Gaussian."""

from __future__ import annotations

import numpy as np

from . import gauss_transform
from .boundaries import Interval

# Widths of an interval, beyond which a kernel is not made wider. Mirrored kernels of 3 widths are
# uniform to rounding; ratios of sums in kernels of 10 widths have changed by below 1e-3.
_WIDEST = {"reflect": 3.0, "renormalize": 10.0, "linear": 10.0}


class Units:
    """x = factor z + centre, for samples x and unit kernels at z."""

    def __init__(
        self,
        points: np.ndarray,
        covariance: np.ndarray,
        bounds: tuple[Interval, ...],
        boundary: str | None,
    ) -> None:
        sigma = np.sqrt(np.diag(covariance))
        self.aligned = not (covariance - np.diag(np.diag(covariance))).any()
        if self.aligned:
            if boundary in _WIDEST:
                widths = np.array([high - low for low, high in bounds])
                sigma = np.minimum(sigma, _WIDEST[boundary] * widths)
            self.factor = np.diag(sigma)
        else:
            scaled = covariance / np.multiply.outer(sigma, sigma)
            try:
                self.factor = sigma[:, np.newaxis] * np.linalg.cholesky(scaled)
            except np.linalg.LinAlgError:
                raise ValueError(
                    "samples must not lie in a plane or on a line for a covariance as bandwidth; "
                    "give one bandwidth for each axis"
                ) from None
        low, high = gauss_transform.extent(points)
        self.centre = 0.5 * low + 0.5 * high

    @property
    def volume(self) -> float:
        """Volume of a unit cube in z."""
        return float(np.prod(np.diag(self.factor)))

    @property
    def log_volume(self) -> float:
        """Logarithm of the volume of a unit cube in z."""
        return float(np.log(np.diag(self.factor)).sum())

    def scaled(self, points: np.ndarray) -> np.ndarray:
        """Points (m, d) in units of the bandwidth."""
        with np.errstate(over="ignore", invalid="ignore"):
            if self.aligned:
                return (points - self.centre) / np.diag(self.factor)
            return np.linalg.solve(self.factor, (points - self.centre).T).T.copy()

    def unscaled(self, z: np.ndarray) -> np.ndarray:
        """Points (m, d) in the samples' coordinates."""
        return z @ self.factor.T + self.centre

    def ends(self, bounds: tuple[Interval, ...]) -> tuple[Interval, ...]:
        """Bounds in units of the bandwidth, where its axes are the coordinates'."""
        sigma = np.diag(self.factor)
        low, high = ((np.array(bounds)[:, k] - self.centre) / sigma for k in range(2))
        return tuple(zip(low.tolist(), high.tolist(), strict=True))
