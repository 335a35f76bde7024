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
from typing import Any

import numpy as np

from ..base import check

RULES = ("scott", "silverman", "isj")

_LEVELS = 7  # l of the paper
_FIRST, _LAST = 1 << 12, 1 << 20  # bins of the histogram, at least and at most
_CELLS = 5.0  # a bandwidth has at least so many bins, or there are more


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
    """What a rule multiplies standard deviations by."""
    base = number if rule == "scott" else number * (axes + 2) / 4
    return base ** (-1 / (axes + 4))


def _fixed_point(t: float, number: float, squares: np.ndarray, energy: np.ndarray) -> float:
    """t - xi gamma^[l](t); ``squares`` are k^2, ``energy`` the squared cosine coefficients."""

    def norm(s: int, t: float) -> float:
        """The squared norm of the s-th derivative of the density smoothed by t."""
        with np.errstate(under="ignore"):
            terms = squares**s * energy * np.exp(-squares * math.pi**2 * t)
        return 2 * math.pi ** (2 * s) * float(terms.sum())

    f = norm(_LEVELS, t)
    for s in range(_LEVELS - 1, 1, -1):
        if not f > 0:
            return -math.inf
        odd = math.prod(range(1, 2 * s, 2)) / math.sqrt(2 * math.pi)
        constant = (1 + 0.5 ** (s + 0.5)) / 3
        f = norm(s, (2 * constant * odd / (number * f)) ** (2 / (3 + 2 * s)))
    return t - (2 * number * math.sqrt(math.pi) * f) ** -0.4 if f > 0 else -math.inf


def _smallest_root(number: float, energy: np.ndarray) -> float:
    """The smallest t where the fixed-point function rises through 0; NaN if there is none."""
    from scipy.optimize import brentq

    bins = len(energy) + 1
    squares = np.arange(1.0, bins) ** 2
    keep = min(len(squares), 1 << 14)  # terms beyond are 0 at the bandwidths that count

    def function(t: float) -> float:
        few = keep if t * squares[keep - 1] > 50 else len(squares)
        return _fixed_point(t, number, squares[:few], energy[:few])

    times = np.geomspace(0.25 / bins**2, 0.1, 60)
    before = function(times[0])
    for low, high in itertools.pairwise(times):
        after = function(high)
        if before < 0 <= after and math.isfinite(before):
            return float(brentq(function, low, high, rtol=1e-8))
        before = after
    return math.nan


def improved_sheather_jones(
    samples: np.ndarray, weights: np.ndarray | None, bounds: tuple[float, float]
) -> float:
    """Botev's bandwidth of samples (n,); NaN where the equation has no root.

    The cosine transform reflects the density at the ends of the histogram, which are the bounds
    where there are some near the samples. Its bins are refined until the bandwidth is many wide.
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
    bins = _FIRST
    while True:
        at = (samples - low) * (bins / width)
        index = np.minimum(at.astype(np.int64), bins - 1)
        counts = np.bincount(index, each, minlength=bins) / each.sum()
        energy = (dct(counts, type=2)[1:] / 2) ** 2
        t = _smallest_root(number, energy)
        if bins >= _LAST or math.sqrt(t) * bins > _CELLS:
            return math.sqrt(t) * width
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
        sigmas = check.per_axis("bandwidth", bandwidth, axes, above=0.0)
        covariance = np.diag(np.square(sigmas))
    else:
        rule = check.choice("bandwidth", bandwidth, RULES)
        covariance = _by_rule(rule, points, weights, bounds, aligned)
    spread = np.diag(covariance)
    if not ((spread > 0).all() and np.isfinite(covariance).all()):
        raise ValueError(
            f"samples must vary along every axis for bandwidth={bandwidth!r}, got kernel "
            f"variances {spread.tolist()}; give bandwidth as a number"
        )
    return covariance


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
        if math.isnan(sigma) and np.ptp(points) > 0:
            raise ValueError(
                "bandwidth='isj' has no solution for these samples: they are too few or range over "
                "too many scales (boundary='log' may help); give a number"
            )
        return np.array([[sigma**2]])
    if n < 2:
        raise ValueError(f"samples must be at least 2 for bandwidth={rule!r}, got {n}")
    covariance = covariance_of(points, weights)
    if aligned:
        covariance = np.diag(np.diag(covariance))
    number = float(n) if weights is None else effective_number(weights)
    return covariance * rule_factor(rule, number, axes) ** 2
