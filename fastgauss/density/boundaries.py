"""Densities that end at bounds: maps, mirrors and corrections, an axis at a time.

In units of the bandwidth, with phi and Phi the normal density and its integral, a density of
samples in [a, b] that is estimated as f0(y) = sum w phi(y - x) loses what its kernels spill over.

    reflect       the samples' mirror images at a and b are samples, too: mass 1, slope 0 there
    renormalize   f0 / m0
    linear        a local straight line, (m2 f0 - m1 f1) / (m0 m2 - m1^2), made not negative
                  and of mass 1
    log           the estimate of log(x - a), -log(b - x) or log((x - a) / (b - x)), carried back

with f1 = sum w t phi(t), t = y - x, and m_l(y) = the integral of t^l phi(t) over [y - b, y - a]
(Jones 1993, Statistics and Computing 3, 135). In several dimensions m is the matrix of moments
of (1, t), whose inverse is simple as axes are independent. With F the renormalised and L the
linear estimate, F exp(L / F - 1) is as good as L and not negative (Jones & Foster 1996,
Statistica Sinica 6, 1005). Its mass is not 1, so it is divided by that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..base import check, wording

METHODS = ("reflect", "renormalize", "linear", "log")
Interval = tuple[float, float]
Function = Callable[[np.ndarray], np.ndarray]


def _interval(name: str, value: Any) -> Interval:
    """A pair of ends, None and infinity for none."""
    if value is None:
        return -math.inf, math.inf
    given = None if isinstance(value, str) else check.entries(name, value)
    if given is None or len(given) != 2:
        raise ValueError(f"{name} must be a pair (low, high), got {wording.shown(value)}")
    low, high = given
    ends = []
    for end, missing in ((low, -math.inf), (high, math.inf)):
        none = end is None or (np.ndim(end) == 0 and end == missing)
        ends.append(missing if none else check.number(name, end))
    if not ends[0] < ends[1]:
        raise ValueError(f"{name} must have low < high, got {wording.shown(value)}")
    return ends[0], ends[1]


def intervals(bounds: Any, axes: int) -> tuple[Interval, ...]:
    """An interval for each axis, from one pair for all or one for each."""
    if bounds is None:
        return ((-math.inf, math.inf),) * axes
    given = None if isinstance(bounds, str) else check.entries("bounds", bounds)
    if given is None:
        raise TypeError(
            f"bounds must be a pair (low, high) or one for each axis, got {wording.shown(bounds)}"
        )
    bounds = given
    if len(bounds) == 2 and all(end is None or np.ndim(end) == 0 for end in bounds):
        return (_interval("bounds", bounds),) * axes  # (None, None) means the same either way
    if len(bounds) != axes:
        raise ValueError(f"bounds must be one pair or {axes}, got {len(bounds)}")
    return tuple(_interval(f"bounds[{k}]", pair) for k, pair in enumerate(bounds))


def is_bounded(interval: Interval) -> bool:
    """Whether an end is finite."""
    return math.isfinite(interval[0]) or math.isfinite(interval[1])


# -- log ---------------------------------------------------------------------------------------


def to_line(x: np.ndarray, interval: Interval) -> tuple[np.ndarray, np.ndarray]:
    """The map from an interval to all numbers, rising, and its derivative; NaN and 0 outside."""
    low, high = interval
    if not is_bounded(interval):
        return x, np.ones_like(x)
    inside = (x > low) & (x < high)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if high == math.inf:
            t, slope = np.log(x - low), 1 / (x - low)
        elif low == -math.inf:
            t, slope = -np.log(high - x), 1 / (high - x)
        else:
            t = np.log(x - low) - np.log(high - x)
            slope = 1 / (x - low) + 1 / (high - x)
    return np.where(inside, t, np.nan), np.where(inside, slope, 0.0)


def to_line_of(points: np.ndarray, bounds: tuple[Interval, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Points (m, d) on the lines of all axes, and the map's determinant."""
    columns = [to_line(points[:, axis], interval) for axis, interval in enumerate(bounds)]
    slope = np.prod([slope for _, slope in columns], axis=0)
    return np.stack([column for column, _ in columns], axis=1), slope


def from_line(t: np.ndarray, interval: Interval) -> np.ndarray:
    """The inverse of ``to_line``."""
    low, high = interval
    if not is_bounded(interval):
        return t
    if high == math.inf:
        return low + np.exp(t)
    if low == -math.inf:
        return high - np.exp(-t)
    from scipy.special import expit

    return low + (high - low) * expit(t)


# -- reflect -----------------------------------------------------------------------------------


def with_images(
    points: np.ndarray, weights: np.ndarray, ends: tuple[Interval, ...], reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """Samples (n, d) and their mirror images that reach into the box of the ends."""
    for axis, (low, high) in enumerate(ends):
        if not is_bounded((low, high)):
            continue
        x = points[:, axis]
        copies = [(points, weights)]
        for place in _mirrored(x, low, high, reach):
            near = (place >= low - reach) & (place <= high + reach)
            image = points[near]
            image[:, axis] = place[near]
            copies.append((image, weights if len(weights) == 1 else weights[near]))
        points = np.concatenate([where for where, _ in copies])
        weights = weights if len(weights) == 1 else np.concatenate([w for _, w in copies])
    return points, weights


def _mirrored(x: np.ndarray, low: float, high: float, reach: float) -> list[np.ndarray]:
    """All images along an axis; two mirrors have images of images."""
    if high == math.inf:
        return [2 * low - x]
    if low == -math.inf:
        return [2 * high - x]
    period = 2 * (high - low)
    last = int(reach / period) + 2
    images = [2 * low - x + k * period for k in range(-last, last + 1)]
    return images + [x + k * period for k in range(-last, last + 1) if k]


def images_of(y: np.ndarray, ends: tuple[Interval, ...]) -> list[np.ndarray]:
    """Points (m, d) and their mirror images that a far sample may be nearest to."""
    images = [y]
    for axis, (low, high) in enumerate(ends):
        if is_bounded((low, high)):
            here = images
            images = list(here)
            for one in here:
                x, twice = one[:, axis], 2.0 * (high - low)
                places = [2.0 * end - x for end in (low, high) if math.isfinite(end)]
                places += [x + twice, x - twice] if math.isfinite(twice) else []
                for place in places:
                    images.append(one.copy())
                    images[-1][:, axis] = place
    return images


def folded(x: np.ndarray, interval: Interval) -> np.ndarray:
    """Places mirrored into the interval."""
    low, high = interval
    if math.isfinite(low) and math.isfinite(high):
        width = high - low
        phase = np.mod(x - low, 2 * width)
        return low + np.minimum(phase, 2 * width - phase)
    if math.isfinite(low):
        return low + np.abs(x - low)
    return high - np.abs(high - x) if math.isfinite(high) else x


# -- renormalize, linear -----------------------------------------------------------------------


class Moments(NamedTuple):
    """Moments of kernels at points (m,), inside the bounds along one axis."""

    mass: np.ndarray
    mean: np.ndarray  # of t
    variance: np.ndarray
    least: np.ndarray  # t that is inside
    largest: np.ndarray


def kernel_moments(y: np.ndarray, interval: Interval) -> Moments:
    """Moments of phi(t) on [y - b, y - a]."""
    from scipy.special import ndtr

    low, high = interval
    p, q = y - low, y - high
    mass = ndtr(p) - ndtr(q)
    with np.errstate(over="ignore"):  # of bounds far away
        at_p, at_q = np.exp(-0.5 * p * p), np.exp(-0.5 * q * q)
    scale = 1 / (math.sqrt(2 * math.pi) * mass)
    mean = (at_q - at_p) * scale
    first = np.where(np.isinf(p), 0.0, p) * at_p - np.where(np.isinf(q), 0.0, q) * at_q
    variance = 1 - first * scale - mean**2
    wide = min(high - low, 10.0)  # below some widths the difference above is all rounding
    variance = np.maximum(variance, min(wide**2 / 12, 0.36) * 0.5)
    return Moments(mass, mean, variance, q, p)


def correction(
    y: np.ndarray, means: dict[int, np.ndarray], ends: tuple[Interval, ...]
) -> np.ndarray:
    """Logarithm of what the sum f0 at points (m, d) is multiplied by.

    ``means`` are f1 / f0 of the axes along which the estimate is linear; none renormalises. What
    rounding makes of a mean where the sum has underflowed is kept to places inside the bounds.
    """
    total = np.zeros(len(y))
    for axis, interval in enumerate(ends):
        if not is_bounded(interval):
            continue
        moments = kernel_moments(y[:, axis], interval)
        total -= np.log(moments.mass)
        if axis in means:
            mean = np.clip(means[axis], moments.least, moments.largest)
            total += moments.mean * (moments.mean - mean) / moments.variance
    return total


# -- integrals of corrected estimates ----------------------------------------------------------

_PANEL = 0.25  # bandwidths: 16 nodes then integrate to rounding
_NODES = 16


class Antiderivative:
    """The integral of a corrected density of one axis from its lower end on.

    Near the bounds by Gauss and Legendre's rule in panels, elsewhere by the sum of Phi.
    """

    def __init__(
        self, density: Function, integral: Function, interval: Interval, reach: float, extent: Any
    ) -> None:
        self._density, self._integral = density, integral
        self._u, self._w = np.polynomial.legendre.leggauss(_NODES)
        low, high = max(interval[0], extent[0]), min(interval[1], extent[1])
        knots = [np.array([low, high])]
        if math.isfinite(interval[0]):
            knots.append(self._panels(low, min(low + reach, high)))
        if math.isfinite(interval[1]):
            knots.append(self._panels(max(high - reach, low), high))
        self._knots = np.unique(np.concatenate(knots))
        middle = 0.5 * (self._knots[:-1] + self._knots[1:])
        self._plain = (middle > interval[0] + reach) & (middle < interval[1] - reach)
        parts = self._between(self._knots[:-1], self._knots[1:], self._plain)
        self._sums = np.concatenate([[0.0], np.cumsum(parts)])

    @property
    def total(self) -> float:
        """The integral of everything."""
        return float(self._sums[-1])

    @staticmethod
    def _panels(low: float, high: float) -> np.ndarray:
        return np.linspace(low, high, 1 + math.ceil((high - low) / _PANEL))

    def _between(self, low: np.ndarray, high: np.ndarray, plain: np.ndarray) -> np.ndarray:
        result = np.empty(len(low))
        ends = self._integral(np.concatenate([low[plain], high[plain]]))
        result[plain] = ends[len(ends) // 2 :] - ends[: len(ends) // 2]
        a, b = low[~plain], high[~plain]
        half = 0.5 * (b - a)
        nodes = (0.5 * (a + b))[:, np.newaxis] + np.multiply.outer(half, self._u)
        result[~plain] = self._density(nodes.ravel()).reshape(nodes.shape) @ self._w * half
        return result

    def __call__(self, y: np.ndarray) -> np.ndarray:
        y = np.clip(y, self._knots[0], self._knots[-1])
        k = np.clip(np.searchsorted(self._knots, y, side="right") - 1, 0, len(self._plain) - 1)
        return self._sums[k] + self._between(self._knots[k], y, self._plain[k])
