"""Sums of kernels around samples, corrected at bounds.

In units of the bandwidth, see ``units``: values, logarithms, integrals and draws. The mathematics
of bounds is in ``boundaries``, that of the sums in ``gauss_transform``.
"""

from __future__ import annotations

import copy
import itertools
import math
from functools import cached_property

import numpy as np

from ..base.progress import Progress, report_part
from . import boundaries, gauss_transform, mass, tail_sums
from .boundaries import Interval
from .units import Units

_FARTHEST = 1e150  # bandwidths: so that squares do not overflow
_SUMMED = 1e-4  # of the peak: from here on a sum has six digits at the least tolerance
_SOME = 1024  # samples at which the peak is looked for
_ROUGH = 1e-2  # tolerance of sums of which a mass in several dimensions is made
_NODES = 1025  # between which quantiles are bracketed
_FINE = 1e-9  # bandwidths: from here on a bracket is not halved
_FLAT = 1e6  # widths of an interval, in which a kernel is uniform to rounding


class KernelSums:
    """The density of samples (n, d), which stand on the line of logarithms for "log"."""

    def __init__(
        self,
        points: np.ndarray,
        share: np.ndarray,
        covariance: np.ndarray,
        bounds: tuple[Interval, ...],
        boundary: str | None,
        tol: float,
        threads: int | None,
    ) -> None:
        self.bounds, self.boundary, self.tol, self.threads = bounds, boundary, tol, threads
        self.ndim, self.covariance = points.shape[1], covariance
        self.bounded = [boundaries.is_bounded(interval) for interval in bounds]
        self.log = boundary == "log" and any(self.bounded)
        self.corrected = boundary in ("renormalize", "linear") and any(self.bounded)
        self.units = Units(points, covariance, bounds, boundary)
        self.own = gauss_transform.make_sources(self.units.scaled(points), share)
        if not max(np.abs(self.own.low).max(), np.abs(self.own.high).max()) < _FARTHEST:
            raise ValueError(
                f"samples must range over less than {_FARTHEST:g} bandwidths, got bandwidths "
                f"{np.diag(self.units.factor).tolist()}"
            )
        plan = gauss_transform.make_plan(tol, self.ndim)
        self.reach = plan.edge * (plan.reach + 1)
        self.sources = self.own
        if boundary == "reflect" and any(self.bounded):
            images = boundaries.with_images(
                self.own.points, self.own.weights, self._ends, self.reach
            )
            self.sources = gauss_transform.make_sources(*images)

    @cached_property
    def _ends(self) -> tuple[Interval, ...]:
        return self.units.ends(self.bounds)

    def to_tolerance(self, tol: float) -> KernelSums:
        """These sums with another tolerance."""
        other = copy.copy(self)
        other.tol = tol
        return other

    def wider(self, variances: np.ndarray) -> KernelSums:
        """These sums with kernels that have more variance along each axis."""
        covariance = self.covariance + np.diag(variances)
        points = self.units.unscaled(self.own.points)
        return KernelSums(
            points, self.own.weights, covariance, self.bounds, self.boundary, self.tol, self.threads
        )

    # -- places --------------------------------------------------------------------------------

    def within(self, points: np.ndarray) -> np.ndarray:
        """Which points are finite and within bounds; a bound belongs to the inside."""
        low, high = np.array(self.bounds).T
        inside = (np.isfinite(points) & (points >= low) & (points <= high)).all(axis=1)
        if self.log:  # where the density of the logarithm has its end
            for axis, interval in enumerate(self.bounds):
                inside &= ~np.isin(points[:, axis], interval)
        return inside

    def _placed(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points in bandwidths, and how much the line is stretched there."""
        if not self.log:
            return self._near(self.units.scaled(points)), np.ones(1)
        line, slope = boundaries.to_line_of(points, self.bounds)
        return self._near(self.units.scaled(line)), slope

    @staticmethod
    def _near(y: np.ndarray) -> np.ndarray:
        return np.clip(y, -2 * _FARTHEST, 2 * _FARTHEST)  # so that no square overflows

    def _sum(
        self, y: np.ndarray, what: str = "value", axis: int = 0, report: Progress | None = None
    ) -> np.ndarray:
        return gauss_transform.gauss_sum(
            self.sources, y, self.tol, what, axis, self.threads, report
        )

    def samples(self) -> np.ndarray:
        """The samples (n, d) in their own coordinates."""
        points = self.units.unscaled(self.own.points)
        if self.log:
            for axis, interval in enumerate(self.bounds):
                points[:, axis] = boundaries.from_line(points[:, axis], interval)
        return points

    # -- values --------------------------------------------------------------------------------

    def density(self, points: np.ndarray, report: Progress | None = None) -> np.ndarray:
        """The density at points (m, d) inside."""
        y, slope = self._placed(points)
        return self._unit_density(y, report) * slope / (self.units.volume * self._mass)

    def _unit_density(self, y: np.ndarray, report: Progress | None = None) -> np.ndarray:
        """The density in units of the bandwidth, not yet divided by its mass."""
        sloped = self._sloped
        ends = [len(y) * k // (1 + len(sloped)) for k in range(2 + len(sloped))]
        told = [report_part(report, len(y), *pair) for pair in itertools.pairwise(ends)]
        # where it is below the tolerance a sum may come out below 0
        f0 = np.maximum(self._sum(y, report=told[0]), 0.0)
        if not self.corrected:
            return f0
        means = self._means(y, f0, told[1:])
        return f0 * np.exp(boundaries.correction(y, means, self._ends))

    @property
    def _sloped(self) -> list[int]:
        """Axes along which the density's slope is looked at."""
        linear = self.boundary == "linear"
        return [axis for axis, bounded in enumerate(self.bounded) if bounded and linear]

    def _means(
        self, y: np.ndarray, f0: np.ndarray, told: list[Progress | None]
    ) -> dict[int, np.ndarray]:
        """The kernel's mean y - x over the samples, of axes that are sloped."""
        means = {}
        for axis, report in zip(self._sloped, told, strict=True):
            f1 = self._sum(y, "slope", axis, report)
            means[axis] = np.divide(f1, f0, out=np.zeros_like(f0), where=f0 > 0)
        return means

    @cached_property
    def _mass(self) -> float:
        """The total mass, by which the density is divided: not 1 for a linear boundary."""
        if not self._sloped:
            return 1.0
        if self.ndim == 1:
            return self._antiderivative.total

        rough = self.to_tolerance(max(self.tol, _ROUGH))

        def ratio(y: np.ndarray) -> np.ndarray:
            f0 = np.maximum(rough._sum(y), 0.0)
            means = rough._means(y, f0, [None] * len(self._sloped))
            return np.exp(boundaries.correction(y, means, self._ends))

        return mass.corrected_mass(self.own.points, self.own.weights, self._ends, ratio)

    # -- logarithms ----------------------------------------------------------------------------

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """The logarithm of the density at points (m, d) inside."""
        y, slope = self._placed(points)
        own = self.to_tolerance(gauss_transform.LEAST_TOL)
        f0 = own._sum(y)
        some = self.own.points[:: -(-len(self.own.points) // _SOME)]
        peak = max(own._sum(some).max(), f0.max(initial=0.0))
        summed = f0 > _SUMMED * peak
        result = np.empty(len(y))
        with np.errstate(divide="ignore"):
            result[summed] = np.log(own._unit_density(y[summed]))
        result[~summed] = self._tail(y[~summed])
        return result + np.log(slope) - self.units.log_volume - math.log(self._mass)

    def _tail(self, y: np.ndarray) -> np.ndarray:
        """Logarithms in units of the bandwidth where sums have lost their digits."""
        if not len(y):
            return np.empty(0)
        if self.boundary == "reflect" and any(self.bounded):
            images = boundaries.images_of(y, self._ends)
            return np.logaddexp.reduce([self._sorted.sums(one, self.threads)[0] for one in images])
        found = self._sorted.sums(y, self.threads)
        if not self.corrected:
            return found.logarithm
        means = {axis: found.mean[:, axis] for axis in self._sloped}
        return found.logarithm + boundaries.correction(y, means, self._ends)

    @cached_property
    def _sorted(self) -> tail_sums.Sorted:
        return tail_sums.Sorted(self.own.points, self.own.weights)

    # -- integrals -----------------------------------------------------------------------------

    def mass_below(self, points: np.ndarray) -> np.ndarray:
        """The mass below points (m, d) along all axes."""
        low, high = np.array(self.bounds).T
        points = np.clip(points, low, high)
        if self.log:
            line = boundaries.to_line_of(points, self.bounds)[0]
            line = np.where(points <= low, -np.inf, np.where(points >= high, np.inf, line))
            return self._sum_below(self.units.scaled(line))
        y = self.units.scaled(points)
        if self.corrected:
            return self._antiderivative(y[:, 0]) / self._mass
        starts = [(k, end) for k, (end, _) in enumerate(self._ends) if math.isfinite(end)]
        total = np.zeros(len(y))
        for chosen in itertools.product((False, True), repeat=len(starts)):
            corner = y.copy()
            for (axis, end), take in zip(starts, chosen, strict=True):
                if take:
                    corner[:, axis] = end
            total += (-1) ** sum(chosen) * self._sum_below(corner)
        return total

    def place_below(self, shares: np.ndarray) -> np.ndarray:
        """In one dimension: below which places these shares of all mass lie, by bisection."""
        (low, high), width = self.bounds[0], math.sqrt(self.covariance[0, 0])
        ends = np.stack([self.own.low - self.reach, self.own.high + self.reach])
        first, last = self.units.unscaled(ends)[:, 0]
        if not self.log:
            first, last = max(first, low), min(last, high)

        def place(t: np.ndarray) -> np.ndarray:
            return boundaries.from_line(t, self.bounds[0]) if self.log else t

        def mass(t: np.ndarray) -> np.ndarray:
            return self.mass_below(place(t)[:, np.newaxis])

        nodes = np.linspace(first, last, _NODES)
        masses = np.maximum.accumulate(mass(nodes))
        wanted = shares * masses[-1]
        cell = np.searchsorted(masses, wanted).clip(1, _NODES - 1)
        below, above = nodes[cell - 1], nodes[cell]
        halvings = math.ceil(math.log2(max((last - first) / (_NODES * _FINE * width), 2.0)))
        for _ in range(halvings):
            middle = 0.5 * (below + above)
            less = mass(middle) < wanted
            below, above = np.where(less, middle, below), np.where(less, above, middle)
        found = place(0.5 * (below + above))
        return np.where(shares <= 0, low, np.where(shares >= 1, high, found))

    def _sum_below(self, y: np.ndarray) -> np.ndarray:
        """Sums of Phi, infinities allowed."""
        result = self._sum(self._near(y), "integral")
        return np.where((y == -np.inf).any(axis=1), 0.0, result)

    @cached_property
    def _antiderivative(self) -> boundaries.Antiderivative:
        extent = self.own.low[0] - self.reach, self.own.high[0] + self.reach
        return boundaries.Antiderivative(
            lambda t: self._unit_density(t[:, np.newaxis]),
            lambda t: self._sum(t[:, np.newaxis], "integral"),
            self._ends[0],
            self.reach,
            extent,
        )

    # -- draws ---------------------------------------------------------------------------------

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Points (count, d) from the density."""
        points, weights = self.own.points, self.own.weights
        if self.boundary is None and any(self.bounded):
            return self._draw_inside(count, rng)
        if len(weights) == 1:
            which = rng.integers(len(points), size=count)
        else:
            which = rng.choice(len(points), count, p=weights)
        x = self.units.unscaled(points[which] + rng.standard_normal((count, self.ndim)))
        for axis, interval in enumerate(self.bounds):
            if self.log:
                x[:, axis] = boundaries.from_line(x[:, axis], interval)
            elif self.boundary == "reflect":
                x[:, axis] = boundaries.folded(x[:, axis], interval)
        return x

    def _draw_inside(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """From what of the kernels lies within bounds, axis by axis."""
        from scipy.special import ndtr, ndtri

        x = self.units.unscaled(self.own.points)
        low, high = np.array(self.bounds).T
        sigma = np.minimum(np.diag(self.units.factor), _FLAT * (high - low))
        first, last = ndtr((low - x) / sigma), ndtr((high - x) / sigma)
        chances = self.own.weights * np.prod(last - first, axis=1)
        which = rng.choice(len(x), count, p=chances / chances.sum())
        part_of = first[which] + (last - first)[which] * rng.uniform(size=(count, self.ndim))
        return np.clip(x[which] + sigma * ndtri(part_of), low, high)
