"""The density that `kde` returns: its values, integrals and samples.

The mathematics stands in ``density``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check
from ..base.grid import Grid
from ..base.progress import Progress, report_part, reporting
from . import bandwidth_rules, boundaries, gauss_transform

_FARTHEST = 1e150  # bandwidths: so that squares do not overflow
_MARGIN = 4.0  # bandwidths that an automatic grid reaches beyond the samples
_NODES = {1: 1024, 2: 256, 3: 64}
_WIDEST = 3.0  # widths of an interval: mirrored kernels that wide are uniform to rounding


class KernelDensity:
    """A density estimated from samples; what `kde` returns.

    Attributes
    ----------
    ndim : int
        Number of dimensions d.
    covariance : array (d, d)
        Covariance of the kernel; under ``boundary="log"`` of the logarithms.
    bounds : tuple of d pairs
        Where the density ends along each axis.
    boundary : str or None
        What is done there.
    tol : float
        Error bound of the sums, in units of the density's peak.

    Examples
    --------
    >>> import fastgauss as fg
    >>> density = fg.kde([1.0, 2.0, 2.5, 4.0], bandwidth=0.5)
    >>> density([2.0, 3.0]).round(4), density.cdf(2.0).round(4)
    (array([0.3475, 0.175 ]), np.float64(0.409))
    """

    def __init__(
        self,
        samples: np.ndarray,
        bandwidth: Any,
        weights: np.ndarray | None,
        bounds: tuple[boundaries.Interval, ...],
        boundary: str | None,
        tol: float,
        threads: int | None,
        flat: bool,
    ) -> None:
        self.bounds, self.boundary, self.tol = bounds, boundary, tol
        self.ndim = samples.shape[1]
        self._threads, self._flat = threads, flat
        self._bounded = [boundaries.is_bounded(interval) for interval in bounds]
        self._log = boundary == "log" and any(self._bounded)
        points = self._mapped(samples)[0] if self._log else samples
        aligned = any(self._bounded) and not self._log
        ends = bounds[0] if aligned else (-math.inf, math.inf)
        self.covariance = bandwidth_rules.smoothing(bandwidth, points, weights, ends, aligned)
        self._set_units(points)
        share = np.full(1, 1 / len(points)) if weights is None else weights / weights.sum()
        self._extent = gauss_transform.extent(samples)
        self._own = gauss_transform.make_sources(self._scaled(points), share)
        if not max(np.abs(self._own.low).max(), np.abs(self._own.high).max()) < _FARTHEST:
            raise ValueError(
                f"samples must range over less than {_FARTHEST:g} bandwidths, got bandwidths "
                f"{np.diag(self._factor).tolist()}"
            )
        self._sources = self._own
        plan = gauss_transform.make_plan(tol, self.ndim)
        self._reach = plan.edge * (plan.reach + 1)
        if boundary == "reflect" and any(self._bounded):
            images = boundaries.with_images(
                self._own.points, self._own.weights, self._ends(), self._reach
            )
            self._sources = gauss_transform.make_sources(*images)

    # -- units of the bandwidth ----------------------------------------------------------------

    def _set_units(self, points: np.ndarray) -> None:
        """The map to units in which the kernel has unit covariance."""
        sigma = np.sqrt(np.diag(self.covariance))
        self._aligned = not (self.covariance - np.diag(np.diag(self.covariance))).any()
        if self._aligned:
            if self.boundary == "reflect":
                widths = np.array([high - low for low, high in self.bounds])
                sigma = np.minimum(sigma, _WIDEST * widths)
            self._factor = np.diag(sigma)
        else:
            scaled = self.covariance / np.multiply.outer(sigma, sigma)
            try:
                self._factor = sigma[:, np.newaxis] * np.linalg.cholesky(scaled)
            except np.linalg.LinAlgError:
                raise ValueError(
                    "samples must not lie in a plane or on a line for a covariance as bandwidth; "
                    "give one bandwidth for each axis"
                ) from None
        low, high = gauss_transform.extent(points)
        self._centre = 0.5 * low + 0.5 * high
        self._volume = float(np.prod(np.diag(self._factor)))

    def _scaled(self, points: np.ndarray) -> np.ndarray:
        """Points (m, d) in units of the bandwidth."""
        with np.errstate(over="ignore", invalid="ignore"):
            if self._aligned:
                return (points - self._centre) / np.diag(self._factor)
            return np.linalg.solve(self._factor, (points - self._centre).T).T.copy()

    def _ends(self) -> tuple[boundaries.Interval, ...]:
        """The bounds in units of the bandwidth."""
        sigma = np.diag(self._factor)
        low, high = ((np.array(self.bounds)[:, k] - self._centre) / sigma for k in range(2))
        return tuple(zip(low.tolist(), high.tolist(), strict=True))

    def _mapped(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (m, d) on the logarithmic axes, and the map's determinant."""
        columns = [
            boundaries.to_line(points[:, axis], interval)
            for axis, interval in enumerate(self.bounds)
        ]
        slope = np.prod([slope for _, slope in columns], axis=0)
        return np.stack([column for column, _ in columns], axis=1), slope

    def _read(self, name: str, value: ArrayLike) -> tuple[np.ndarray, tuple[int, ...]]:
        """Points (m, d) and the shape of a result."""
        array = np.asarray(check.real_array(name, value), dtype=np.float64)
        if self._flat:
            return array.reshape(-1, 1), array.shape
        if array.ndim == 0 or array.shape[-1] != self.ndim:
            raise ValueError(
                f"{name} must have a last axis of {self.ndim}, one for each dimension of the "
                f"samples, got shape {array.shape}"
            )
        return array.reshape(-1, self.ndim), array.shape[:-1]

    def _sum(
        self, points: np.ndarray, what: str = "value", axis: int = 0,
        report: Progress | None = None,
    ) -> np.ndarray:  # fmt: skip
        return gauss_transform.gauss_sum(
            self._sources, points, self.tol, what, axis, self._threads, report
        )

    # -- the density ---------------------------------------------------------------------------

    def evaluate(self, points: ArrayLike, *, progress: bool | Progress = False) -> np.ndarray:
        """The density at points.

        Parameters
        ----------
        points : array (..., d)
            Anywhere; of any shape (...) if the samples were (n,). NaN gives NaN.
        progress : bool or callable
            True shows a tqdm bar; a callable gets ``(done, total)``.

        Returns
        -------
        array (...)
            Within ``tol`` times the density's peak of the exact sum over all samples (with bounds:
            the peak of the sum before it is corrected or carried back); 0 out of bounds.

        Raises
        ------
        TypeError, ValueError
            If the points are no real numbers or have the wrong number of columns.

        Notes
        -----
        Costs a pass over the samples and one over the points, in one dimension some 4 ns for each
        and in two 40 ns at ``tol=1e-6``, and work for the cells between, of which there are as many
        as bandwidths in the extent. In three dimensions these dominate: a second for 50 bandwidths
        an axis, half of that at ``tol=1e-3``. Never samples times points, but where that is less.
        """
        where, shape = self._read("points", points)
        result = np.full(len(where), np.nan)
        known = ~np.isnan(where).any(axis=1)
        inside = known & self._within(where)
        result[known & ~inside] = 0.0
        chosen = where if inside.all() else where[inside]
        with reporting(progress, len(chosen), "point") as report:
            result[inside] = self._density(chosen, report)
        return result.reshape(shape)[()]

    pdf = evaluate
    __call__ = evaluate

    def _within(self, points: np.ndarray) -> np.ndarray:
        """Which points are finite and within bounds; a bound belongs to the inside."""
        low, high = np.array(self.bounds).T
        inside = (np.isfinite(points) & (points >= low) & (points <= high)).all(axis=1)
        if self._log:  # where the density of the logarithm has its end
            for axis, interval in enumerate(self.bounds):
                inside &= ~np.isin(points[:, axis], interval)
        return inside

    def _density(self, points: np.ndarray, report: Progress | None = None) -> np.ndarray:
        """The density at points (m, d) inside."""
        if self._log:
            t, slope = self._mapped(points)
            return self._unit_density(self._scaled(t), report) * slope / self._volume
        return self._unit_density(self._scaled(points), report) / self._volume

    def _unit_density(self, y: np.ndarray, report: Progress | None = None) -> np.ndarray:
        """The density in units of the bandwidth."""
        y = np.clip(y, -2 * _FARTHEST, 2 * _FARTHEST)  # so that no square overflows
        sloped = self.boundary == "linear" and self._corrected()
        axes = [axis for axis, bounded in enumerate(self._bounded) if bounded and sloped]
        ends = [len(y) * k // (1 + len(axes)) for k in range(2 + len(axes))]
        told = [report_part(report, len(y), *pair) for pair in itertools.pairwise(ends)]
        f0 = self._sum(y, report=told[0])
        if self._corrected():
            found = {
                axis: self._sum(y, "slope", axis, own)
                for axis, own in zip(axes, told[1:], strict=True)
            }
            slopes = [found.get(axis) for axis in range(self.ndim)]
            moments = [
                boundaries.kernel_moments(y[:, k], ends) for k, ends in enumerate(self._ends())
            ]
            f0 = boundaries.corrected(f0, slopes, moments, self.boundary == "linear")
        return np.maximum(f0, 0.0)  # where it is below the tolerance it may come out below 0

    def _corrected(self) -> bool:
        return self.boundary in ("renormalize", "linear") and any(self._bounded)

    # -- its integrals -------------------------------------------------------------------------

    def cdf(self, points: ArrayLike) -> np.ndarray:
        """The mass below points, along all axes.

        Parameters
        ----------
        points : array (..., d)
            Anywhere, infinities included.

        Returns
        -------
        array (...)
            Within `tol`.

        Raises
        ------
        ValueError
            If the kernel's axes are not the coordinates' (the default in several dimensions:
            give one bandwidth for each axis), or ``boundary`` is "renormalize" or "linear" in
            several dimensions.
        TypeError
            If the points are no real numbers.

        Notes
        -----
        Costs as much as `evaluate`, twice that for each axis that begins at a bound.
        """
        where, shape = self._read("points", points)
        self._refuse_integrals()
        result = np.full(len(where), np.nan)
        known = ~np.isnan(where).any(axis=1)
        result[known] = self._mass_below(where[known])
        return result.reshape(shape)[()]

    def _refuse_integrals(self) -> None:
        if not self._aligned:
            raise ValueError(
                "bandwidth must be one for each axis for integrals in several dimensions; the "
                "rules make a covariance"
            )
        if self._corrected() and self.ndim > 1:
            raise ValueError(
                f"boundary={self.boundary!r} has no integrals in several dimensions; "
                "use 'reflect' or 'log'"
            )

    def _mass_below(self, points: np.ndarray) -> np.ndarray:
        low, high = np.array(self.bounds).T
        points = np.clip(points, low, high)
        if self._log:
            columns = []
            for x, interval in zip(points.T, self.bounds, strict=True):
                t = boundaries.to_line(x, interval)[0]
                t = np.where(x <= interval[0], -np.inf, t)
                columns.append(np.where(x >= interval[1], np.inf, t))
            return self._sum_below(self._scaled(np.stack(columns, axis=1)))
        y = self._scaled(points)
        if self._corrected():
            extent = self._own.low[0] - self._reach, self._own.high[0] + self._reach
            below = boundaries.Antiderivative(
                lambda t: self._unit_density(t[:, np.newaxis]),
                lambda t: self._sum(t[:, np.newaxis], "integral"),
                self._ends()[0],
                self._reach,
                extent,
            )
            return below(y[:, 0])
        starts = [(k, end) for k, (end, _) in enumerate(self._ends()) if math.isfinite(end)]
        total = np.zeros(len(y))
        for chosen in itertools.product((False, True), repeat=len(starts)):
            corner = y.copy()
            for (axis, end), take in zip(starts, chosen, strict=True):
                if take:
                    corner[:, axis] = end
            total += (-1) ** sum(chosen) * self._sum_below(corner)
        return total

    def _sum_below(self, y: np.ndarray) -> np.ndarray:
        """Sums of Phi, infinities allowed."""
        result = self._sum(np.clip(y, -2 * _FARTHEST, 2 * _FARTHEST), "integral")
        return np.where((y == -np.inf).any(axis=1), 0.0, result)

    def integrate(self, low: ArrayLike | None = None, high: ArrayLike | None = None) -> float:
        """The mass of a box.

        Parameters
        ----------
        low, high : float or array (d,), optional
            Its corners, infinities allowed; without them it has no end on that side.

        Returns
        -------
        float
            Within 2^d `tol`. Of everything it is 1 for "reflect" and "log", not quite for
            "renormalize" and "linear", and what lies inside the bounds for None.

        Raises
        ------
        TypeError, ValueError
            As `cdf`; or if a corner is of the wrong kind or shape.

        Examples
        --------
        >>> import fastgauss as fg
        >>> density = fg.kde([1.0, 2.0, 2.5, 4.0], bandwidth=0.5, bounds=(0, None))
        >>> round(density.integrate(), 4), round(density.integrate(2, 3), 4)
        (1.0, 0.3013)
        """
        self._refuse_integrals()
        ends = [
            self._corner(name, value, default)
            for name, value, default in (("low", low, -np.inf), ("high", high, np.inf))
        ]
        corners = np.array(list(itertools.product(*np.transpose(ends))))
        signs = [(-1) ** (self.ndim - sum(c)) for c in itertools.product((0, 1), repeat=self.ndim)]
        if (ends[0] >= ends[1]).any():
            return 0.0
        return float(np.dot(signs, self._mass_below(corners)))

    def _corner(self, name: str, value: ArrayLike | None, default: float) -> np.ndarray:
        if value is None:
            return np.full(self.ndim, default)
        array = np.asarray(check.real_array(name, value, (0, 1)), dtype=np.float64)
        if array.shape not in ((), (self.ndim,)) or np.isnan(array).any():
            raise ValueError(f"{name} must be one number or {self.ndim}, got {value!r}")
        return np.broadcast_to(array, (self.ndim,))

    # -- what it is good for -------------------------------------------------------------------

    def sample(self, size: int, seed: Any = None) -> np.ndarray:
        """Draw from the density.

        Parameters
        ----------
        size : int
            How many.
        seed : int or numpy.random.Generator, optional
            As for ``numpy.random.default_rng``.

        Returns
        -------
        array (size, d), or (size,) if the samples were (n,)

        Raises
        ------
        ValueError
            If ``boundary`` is "renormalize" or "linear", which have no simple sampler, or `size`
            is negative.

        Examples
        --------
        >>> import fastgauss as fg
        >>> density = fg.kde([1.0, 2.0, 2.5, 4.0], bandwidth=0.5, bounds=(0, None))
        >>> bool((density.sample(100, seed=1) >= 0).all())
        True
        """
        count = check.integer("size", size, at_least=0)
        if self._corrected():
            raise ValueError(f"boundary={self.boundary!r} has no sampler; use 'reflect' or 'log'")
        rng = np.random.default_rng(seed)
        drawn = np.empty((0, self.ndim))
        while len(drawn) < count:  # more than once only where kernels spill over bounds
            x = self._draw(count - len(drawn), rng)
            drawn = np.concatenate([drawn, x if self._log else x[self._within(x)]])
        return drawn[:, 0] if self._flat else drawn

    def _draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        points, weights = self._own.points, self._own.weights
        if len(weights) == 1:
            which = rng.integers(len(points), size=count)
        else:
            which = rng.choice(len(points), count, p=weights)
        z = points[which] + rng.standard_normal((count, self.ndim))
        x = z @ self._factor.T + self._centre
        for axis, interval in enumerate(self.bounds):
            if self._log:
                x[:, axis] = boundaries.from_line(x[:, axis], interval)
            elif self.boundary == "reflect":
                x[:, axis] = boundaries.folded(x[:, axis], interval)
        return x

    def grid(self, shape: int | Sequence[int] | None = None) -> tuple[Grid, np.ndarray]:
        """The density on a regular grid around the samples.

        Parameters
        ----------
        shape : int or tuple of int, optional
            Nodes along each axis; 1024, 256 or 64 each in one, two or three dimensions.

        Returns
        -------
        grid : Grid
            It reaches four bandwidths beyond the samples, or half a spacing short of the bounds:
            ``grid.nodes(axis)`` are its coordinates.
        values : array
            Of the grid's shape.

        Raises
        ------
        TypeError, ValueError
            If `shape` is not of positive integers, one for each dimension.

        Examples
        --------
        >>> import fastgauss as fg
        >>> grid, values = fg.kde([1.0, 2.0, 2.5, 4.0]).grid(100)
        >>> round(float(values.sum() * grid.spacing[0]), 3)
        1.0
        """
        counts = (_NODES[self.ndim],) * self.ndim
        if shape is not None:
            given = (shape,) * self.ndim if np.ndim(shape) == 0 else tuple(shape)  # type: ignore[arg-type]
            counts = check.shape("shape", given, (self.ndim,))
            if min(counts) < 1:
                raise ValueError(f"shape must be positive, got {counts}")
        margin = 0.0 if self._log else _MARGIN * np.sqrt(np.diag(self.covariance))
        low, high = np.array(self.bounds).T
        low = np.maximum(self._extent[0] - margin, low)
        high = np.minimum(self._extent[1] + margin, high)
        wide = np.where(high > low, high - low, 1.0)
        spacing = wide / np.array(counts)
        grid = Grid(counts, tuple(spacing), tuple(low + 0.5 * spacing))
        nodes = np.meshgrid(*(grid.nodes(axis) for axis in range(self.ndim)), indexing="ij")
        where = nodes[0] if self._flat else np.stack(nodes, axis=-1)
        return grid, self.evaluate(where)

    def __repr__(self) -> str:
        n = len(self._own.points)
        ends = f", bounds {self.bounds}, {self.boundary}" if any(self._bounded) else ""
        return f"<KernelDensity of {n} samples in {self.ndim} dimensions{ends}>"
