"""Bandwidths of kernel density estimates: the rules of Scott and of Silverman, and Botev's.

For n samples (with weights, n = (sum w)^2 / sum w^2) in d dimensions the rules are the samples'
covariance times the square of

    Scott       n^(-1/(d+4))
    Silverman   (n (d + 2) / 4)^(-1/(d+4)).

Both are right for normal data and far too wide for what has several modes or heavy tails. The
improved Sheather-Jones rule (Botev, Grotowski & Kroese 2010, Annals of Statistics 38, 2916,
section 5) assumes no shape: it is the root t = h^2 of t = xi gamma^[l](t), l = 7, where the norms
of derivatives of the density come from the cosine transform of a histogram.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from ..base import check, wording

RULES = ("scott", "silverman", "isj")

_LEVELS = 7  # l of the paper
_FIRST, _LAST = 1 << 12, 1 << 20  # bins of the histogram, at least and at most
_CELLS = 5.0  # least number of bins in a bandwidth; where it has fewer, bins are made narrower
_SOME = 4096  # samples that tell whether samples are alike
_ALIKE = 0.2  # share of samples that stand where others do, in rounded ones
_WIDEST = 0.1  # of the width of the histogram, squared: the largest t
_SPENT = 80.0  # k^2 pi^2 t from which on a term of a norm is rounding
_LARGEST = 1e150  # of lengths, whose squares are finite


def effective_number(weights: np.ndarray) -> float:
    """(sum w)^2 / sum w^2."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def covariance_of(points: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """The unbiased covariance (d, d) of points (n, d); weights are numpy.cov's ``aweights``."""
    share = np.full(1, 1 / len(points)) if weights is None else weights / weights.sum()
    freedom = 1 - 1 / len(points) if weights is None else 1 - float((share**2).sum())
    centred = np.empty(points.shape)
    for k, column in enumerate(points.T):  # a reduction along rows this short is slow
        mean = float(np.dot(share, column)) if weights is not None else column.mean()
        centred[:, k] = column - mean
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return (centred * share[:, np.newaxis]).T @ centred / freedom


def rule_factor(rule: str, number: float, axes: int) -> float:
    """The factor by which a rule multiplies standard deviations."""
    base = number if rule == "scott" else number * (axes + 2) / 4
    return base ** (-1 / (axes + 4))


class _Spectrum(NamedTuple):
    """The cosine transform of a histogram."""

    squares: np.ndarray  # k^2
    logs: np.ndarray  # of them
    energy: np.ndarray  # squared coefficients


def _fixed_point(t: float, number: float, spectrum: _Spectrum) -> float:
    """t - xi gamma^[l](t)."""

    def norm(s: int, t: float) -> float:
        """The squared norm of the s-th derivative of the density smoothed by t."""
        few = int(np.searchsorted(spectrum.squares, _SPENT / (math.pi**2 * t))) + 1
        squares, logs, energy = (part[:few] for part in spectrum)
        with np.errstate(under="ignore"):
            terms = np.exp(s * logs - squares * (math.pi**2 * t))
            return 2 * math.pi ** (2 * s) * float((terms * energy).sum())

    f = norm(_LEVELS, t)
    for s in range(_LEVELS - 1, 1, -1):
        if not f > 0:
            return -math.inf
        odd = math.prod(range(1, 2 * s, 2)) / math.sqrt(2 * math.pi)
        constant = (1 + 0.5 ** (s + 0.5)) / 3
        f = norm(s, (2 * constant * odd / (number * f)) ** (2 / (3 + 2 * s)))
    return t - (2 * number * math.sqrt(math.pi) * f) ** -0.4 if f > 0 else -math.inf


def _smallest_root(number: float, energy: np.ndarray, least: float) -> float:
    """The smallest t from ``least`` on where the fixed-point function rises through 0.

    NaN if there is none; ``least`` where the function is positive there, so that its root is below.
    """
    from scipy.optimize import brentq

    k = np.arange(1.0, len(energy) + 1)
    spectrum = _Spectrum(k**2, 2.0 * np.log(k), energy)

    def function(t: float) -> float:
        return _fixed_point(t, number, spectrum)

    times = np.geomspace(least, _WIDEST, 60)
    before = function(times[0])
    if before >= 0:
        return least
    for low, high in itertools.pairwise(times):
        after = function(high)
        if before < 0 <= after and math.isfinite(before):
            return float(brentq(function, low, high, rtol=1e-8))
        before = after
    return math.nan


class _Spread(NamedTuple):
    """A sample as pieces of weight that is uniform from ``first`` to ``last``, in order."""

    first: np.ndarray
    last: np.ndarray
    weights: np.ndarray
    step: float  # half of the samples stand in pieces at most so long; 0 where none are alike

    def histogram(self, low: float, width: float, bins: int) -> np.ndarray:
        """The weight in each bin; what lies beyond the ends counts in the last bin there."""
        ends = np.clip(np.column_stack([self.first, self.last]) - low, 0.0, width).ravel()
        after = np.cumsum(self.weights)
        below = np.column_stack([after - self.weights, after]).ravel()
        edges = np.linspace(0.0, width, bins + 1)
        return np.diff(np.interp(edges, ends, below, left=0.0, right=after[-1]))


def _spread_out(samples: np.ndarray, weights: np.ndarray) -> _Spread | None:
    """Samples of which many are alike, as rounding makes them: each spread over its rounding.

    A value stands for all between the middles of the gaps to its neighbours. Without that, counts
    and ages would be a comb of peaks, whose best bandwidth is 0. None where few are alike, or many
    at one place alone.
    """
    some = samples[:: -(-len(samples) // _SOME)]
    if len(np.unique(some)) == len(some):
        return None
    values, alike, counts = np.unique(samples, return_inverse=True, return_counts=True)
    others = len(samples) - counts.max()
    if not counts[counts > 1].sum() - counts.max() > _ALIKE * others:
        return None
    sums = np.bincount(alike, weights)
    gaps = np.diff(values)
    before, after = np.append(gaps[0], gaps), np.append(gaps, gaps[-1])
    least = np.minimum(before, after)
    order = np.argsort(least)
    middle = np.searchsorted(np.cumsum(sums[order]), 0.5 * sums.sum())
    # a gap that is much longer than its neighbour is one of the sample, not of rounding
    before, after = np.minimum(before, 2 * least), np.minimum(after, 2 * least)
    step = float(least[order[middle]])
    return _Spread(values - 0.5 * before, values + 0.5 * after, sums, step)


def improved_sheather_jones(
    samples: np.ndarray, weights: np.ndarray | None, bounds: tuple[float, float]
) -> float:
    """Botev's bandwidth of samples (n,); NaN where the equation has no root.

    The cosine transform reflects the density at the ends of the histogram, which are the bounds
    where there are some near the samples. Its bins are refined until the bandwidth is many wide.
    Of rounded samples the bandwidth is at least half a step, so that the density is no comb.
    """
    from scipy.fft import dct

    low, high = float(samples.min()), float(samples.max())
    margin = 0.1 * (high - low)
    low = bounds[0] if low - bounds[0] < margin else low - margin
    high = bounds[1] if bounds[1] - high < margin else high + margin
    width = high - low
    if not 0 < margin < width < math.inf:
        return math.nan
    each = np.ones(len(samples)) if weights is None else weights
    number = effective_number(each)
    spread = _spread_out(samples, each)
    floor = 0.0 if spread is None else 0.5 * spread.step / width
    bins = _FIRST
    while True:
        if spread is None:
            at = (samples - low) * (bins / width)
            index = np.minimum(at.astype(np.int64), bins - 1)
            counts = np.bincount(index, each, minlength=bins)
        else:
            counts = spread.histogram(low, width, bins)
        energy = (dct(counts / counts.sum(), type=2)[1:] / 2) ** 2
        least = min(max(0.25 / bins**2, floor**2), 0.5 * _WIDEST)
        t = _smallest_root(number, energy, least)
        if t > least or (t == least and floor**2 >= least):
            if bins >= _LAST or math.sqrt(t) * bins > _CELLS:
                return max(math.sqrt(t), floor) * width
        elif bins >= _LAST:
            return math.nan
        bins *= 16


def smoothing(
    bandwidth: Any,
    points: np.ndarray,
    weights: np.ndarray | None,
    bounds: tuple[float, float],
    aligned: bool,
) -> np.ndarray:
    """Covariance (d, d) of the kernel for points (n, d).

    ``aligned`` leaves its axes apart. ``bounds`` are those of the first axis.
    """
    axes = points.shape[1]
    if not isinstance(bandwidth, str):
        sigmas = np.array(check.per_axis("bandwidth", bandwidth, axes, above=0.0))
        if not (sigmas.min() >= 1 / _LARGEST and sigmas.max() <= _LARGEST):
            least, got = 1 / _LARGEST, wording.shown(bandwidth)
            raise ValueError(f"bandwidth must be between {least:g} and {_LARGEST:g}, got {got}")
        return np.diag(np.square(sigmas))
    rule = check.choice("bandwidth", bandwidth, RULES)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        lengths = points.max(axis=0) - points.min(axis=0)
    if not lengths.min() > 0 and len(points) > 1:
        raise ValueError(
            f"samples must vary along every axis for bandwidth={rule!r}, got lengths "
            f"{lengths.tolist()}; give bandwidth as a number"
        )
    if len(points) > 1 and not (lengths.min() > 1 / _LARGEST and lengths.max() < _LARGEST):
        raise ValueError(
            f"samples must vary by {1 / _LARGEST:g} to {_LARGEST:g} along every axis for "
            f"bandwidth={rule!r}, got lengths {lengths.tolist()}"
        )
    return _by_rule(rule, points, weights, bounds, aligned)


def _by_rule(
    rule: str,
    points: np.ndarray,
    weights: np.ndarray | None,
    bounds: tuple[float, float],
    aligned: bool,
) -> np.ndarray:
    n, axes = points.shape
    if rule == "isj":
        if axes > 1:
            raise ValueError(f"bandwidth='isj' is for samples of one dimension, got {axes}")
        sigma = improved_sheather_jones(points[:, 0], weights, bounds)
        if math.isnan(sigma):
            raise ValueError(
                f"bandwidth='isj' has no solution for these samples, {n} of "
                f"{len(np.unique(points))} different values; give a number, another rule, or "
                "boundary='log' for what ranges over many scales"
            )
        return np.array([[sigma**2]])
    if n < 2:
        raise ValueError(
            f"samples must be at least 2 of a weight above 0 for bandwidth={rule!r}, got {n}"
        )
    covariance = covariance_of(points, weights)
    if aligned:
        covariance = np.diag(np.diag(covariance))
    number = float(n) if weights is None else effective_number(weights)
    return covariance * rule_factor(rule, number, axes) ** 2
