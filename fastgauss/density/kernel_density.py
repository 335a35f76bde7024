"""The density that `kde` returns: its values, integrals and samples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, wording
from ..base.grid import Grid
from ..base.progress import Progress, reporting
from ..base.random_numbers import generator
from . import automatic_grid, bandwidth_rules, boundaries
from .kernel_sums import KernelSums


class KernelDensity:
    """A density estimated from samples; what `kde` returns.

    Attributes
    ----------
    ndim : int
        Number of dimensions d.
    bandwidth : array (d,)
        Standard deviation of the kernel along each axis.
    covariance : array (d, d)
        Covariance of the kernel; under ``boundary="log"`` of the logarithms.
    bounds : tuple of d pairs
        Where the density ends along each axis.
    boundary : str or None
        The treatment of the bounds.
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
        columns: tuple[str, ...],
    ) -> None:
        self.bounds, self.boundary, self.tol = bounds, boundary, tol
        self.ndim = samples.shape[1]
        self._flat, self._columns = flat, columns
        bounded = any(map(boundaries.is_bounded, bounds))
        log = boundary == "log" and bounded
        points = boundaries.to_line_of(samples, bounds)[0] if log else samples
        aligned = bounded and not log
        ends = bounds[0] if aligned else (-math.inf, math.inf)
        self.covariance = bandwidth_rules.smoothing(bandwidth, points, weights, ends, aligned)
        share = np.full(1, 1 / len(points)) if weights is None else weights / weights.sum()
        self._sums = KernelSums(points, share, self.covariance, bounds, boundary, tol, threads)

    @property
    def bandwidth(self) -> np.ndarray:
        """Standard deviation of the kernel along each axis (d,); under "log" of the logarithms."""
        return np.sqrt(np.diagonal(self.covariance))

    def _read(self, name: str, value: ArrayLike) -> tuple[np.ndarray, tuple[int, ...]]:
        """Points (m, d) and the shape of a result."""
        array = check.real_array(name, value, columns=self._columns)
        array = np.asarray(array, dtype=np.float64)
        if self._flat or (self.ndim == 1 and array.shape[-1:] != (1,)):
            return array.reshape(-1, 1), array.shape
        if array.ndim == 0 or array.shape[-1] != self.ndim:
            raise ValueError(
                f"{name} must have a last axis of {self.ndim}, one for each dimension of the "
                f"samples, got shape {array.shape}"
            )
        return array.reshape(-1, self.ndim), array.shape[:-1]

    def evaluate(self, points: ArrayLike, *, progress: bool | Progress = False) -> np.ndarray:
        """The density at points.

        Parameters
        ----------
        points : array (..., d)
            Anywhere; of any shape (...) if the samples have one dimension. Of samples (n, 1), a
            last axis of 1 is that dimension. NaN gives NaN.
        progress : bool or callable
            True shows a tqdm bar; a callable gets ``(done, total)``.

        Returns
        -------
        array (...)
            Within ``tol`` times the density's peak of the exact sum over all samples (with bounds:
            the peak of the sum before it is corrected or carried back); 0 out of bounds. Far from
            the samples this error may be larger than the density: use `logpdf` there.

        Raises
        ------
        TypeError, ValueError
            If the points are no real numbers or have the wrong number of columns.

        Notes
        -----
        Costs a pass over the samples and one over the points, in one dimension some 4 ns for each
        and in two 40 ns at ``tol=1e-6``, and work for the cells between, of which there are as many
        as bandwidths in the extent. In three dimensions these dominate: a second for 50 bandwidths
        an axis, half of that at ``tol=1e-3``. The cost is that of all pairs of samples and points
        only where that is less.
        """
        where, shape = self._read("points", points)
        result = np.full(len(where), np.nan)
        known = ~np.isnan(where).any(axis=1)
        inside = known & self._sums.within(where)
        result[known & ~inside] = 0.0
        chosen = where if inside.all() else where[inside]
        with reporting(progress, len(chosen), "point") as report:
            result[inside] = self._sums.density(chosen, report)
        return result.reshape(shape)[()]

    pdf = evaluate
    __call__ = evaluate

    def logpdf(self, points: ArrayLike) -> np.ndarray:
        """The natural logarithm of the density at points, also where the density underflows.

        Parameters
        ----------
        points : array (..., d)
            As for `evaluate`.

        Returns
        -------
        array (...)
            Within 1e-6, or 1e-15 of its size, of the logarithm of the exact sum, for any `tol`;
            -inf out of bounds.

        Raises
        ------
        TypeError, ValueError
            As `evaluate`.

        Notes
        -----
        Where the density is above 1e-4 of its peak, this is the logarithm of what `evaluate` gives
        at the smallest `tol`. Points farther out are summed over the samples around the nearest one
        that contribute to them, which takes some microseconds for each point with a thousand such
        samples.

        Examples
        --------
        >>> import fastgauss as fg
        >>> density = fg.kde([1.0, 2.0, 2.5, 4.0], bandwidth=0.5)
        >>> density.logpdf([2.0, 104.0]).round(3).tolist()
        [-1.057, -20001.612]
        """
        where, shape = self._read("points", points)
        result = np.full(len(where), np.nan)
        known = ~np.isnan(where).any(axis=1)
        inside = known & self._sums.within(where)
        result[known & ~inside] = -np.inf
        result[inside] = self._sums.log_density(where[inside])
        return result.reshape(shape)[()]

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
        result[known] = self._sums.mass_below(where[known])
        return result.reshape(shape)[()]

    def quantile(self, q: ArrayLike) -> np.ndarray:
        """The places below which shares of the mass lie: the inverse of `cdf`, in one dimension.

        Parameters
        ----------
        q : array (...)
            Shares between 0 and 1, of the mass of the whole estimate, which can differ from 1 with
            "renormalize" and with `boundary` None. NaN gives NaN.

        Returns
        -------
        array (...)
            Places x where ``cdf(x)`` is q of the whole mass within `tol`; the bounds, or the
            infinities, for 0 and 1.

        Raises
        ------
        TypeError, ValueError
            If a share is no real number or not between 0 and 1, or if the samples have several
            dimensions.

        Notes
        -----
        Costs as much as thirty to sixty calls of `cdf`, with one more for a thousand points.

        Examples
        --------
        >>> import fastgauss as fg
        >>> density = fg.kde([1.0, 2.0, 2.5, 4.0], bandwidth=0.5, bounds=(0, None))
        >>> density.quantile([0.0, 0.5]).round(3).tolist()
        [0.0, 2.254]
        """
        if self.ndim > 1:
            raise ValueError(f"quantiles are of samples of one dimension, got {self.ndim}")
        array = np.asarray(check.real_array("q", q), dtype=np.float64)
        if ((array < 0) | (array > 1)).any():
            raise ValueError(f"q must be between 0 and 1, got {wording.shown(q)}")
        result = np.full(array.shape, np.nan)
        known = ~np.isnan(array)
        if known.any():
            result[known] = self._sums.place_below(array[known])
        return result[()]

    def _refuse_integrals(self) -> None:
        if not self._sums.units.aligned:
            raise ValueError(
                "bandwidth must be one for each axis for integrals in several dimensions; the "
                "rules make a covariance"
            )
        if self._sums.corrected and self.ndim > 1:
            raise ValueError(
                f"boundary={self.boundary!r} has no integrals in several dimensions; "
                "use 'reflect' or 'log'"
            )

    def integrate(self, low: ArrayLike | None = None, high: ArrayLike | None = None) -> float:
        """The mass of a box.

        Parameters
        ----------
        low, high : float or array (d,), optional
            Corners of the box; an infinite or missing corner means that the box has no end on that
            side.

        Returns
        -------
        float
            Within 2^d `tol`. The mass of the whole space is 1, and nearly 1 with "renormalize";
            with `boundary` None it is the mass inside the bounds.

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
        return float(np.dot(signs, self._sums.mass_below(corners)))

    def _corner(self, name: str, value: ArrayLike | None, default: float) -> np.ndarray:
        if value is None:
            return np.full(self.ndim, default)
        array = np.asarray(check.real_array(name, value, (0, 1)), dtype=np.float64)
        if array.shape not in ((), (self.ndim,)) or np.isnan(array).any():
            raise ValueError(
                f"{name} must be one number or {self.ndim}, got {wording.shown(value)}"
            )
        return np.broadcast_to(array, (self.ndim,))

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
        if self._sums.corrected:
            raise ValueError(f"boundary={self.boundary!r} has no sampler; use 'reflect' or 'log'")
        drawn = self._sums.draw(count, generator(seed))
        return drawn[:, 0] if self._flat else drawn

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
            ``grid.nodes(axis)`` are its coordinates. Without `shape`, where nodes would then be
            more than a bandwidth apart along an axis, it leaves out the outermost samples there,
            0.5 % of the weight at either end.
        values : array
            Of the grid's shape: the density at the nodes. Along an axis where they are more than
            two bandwidths apart it is a mean over about a spacing, so that no sample falls
            between nodes and the sum over cells stays the mass.

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
        counts = None
        if shape is not None:
            given = check.entries("shape", shape)
            counts = check.shape(
                "shape", [shape] * self.ndim if given is None else given, (self.ndim,)
            )
            if min(counts) < 1:
                raise ValueError(f"shape must be positive, got {counts}")
        grid, sigma = automatic_grid.grid_around(self._sums, counts)
        return grid, automatic_grid.values_on(self._sums, grid, sigma)

    def __repr__(self) -> str:
        n = len(self._sums.own.points)
        space = wording.plural(self.ndim, "dimension")
        ends = f", bounds {self.bounds}, {self.boundary}" if any(self._sums.bounded) else ""
        return f"<KernelDensity of {wording.plural(n, 'sample')} in {space}{ends}>"
