"""Equations of the displacement of volumes: those of ``kernels/register/gauss_newton.py``.

They are the same with any number of axes, and are solved here with arrays instead of kernels: a
volume is one large window. All sums are over the box of pixels that both volumes show.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..kernels.register import window_columns
from ..kernels.register.gauss_newton import BARE, FLAT
from . import low_pass, spline_fields
from .inputs import Pixels

_FEWEST = 64
_THIN = 1e-6  # of the largest slope: what there may be in a direction without structure
_UNSURE = 4.0  # standard deviations of a slope that noise alone makes
_FLATTER = 4.0  # times that the largest slope is larger than what noise makes along a flat axis
_PART = 0.1  # of a unit vector: what an axis has no part in
_NOTHING = 1e-30  # variance of the noise of equal volumes
_FAINT = 0.05  # of the mean variance: the least of a pixel on the line through r^2


class Window(NamedTuple):
    """The pixels that both volumes show at a displacement by whole pixels."""

    low: np.ndarray
    high: np.ndarray
    w: np.ndarray  # weights, 0 where a pixel is missing
    first: float  # sum of w / precision of the first: its share of the noise of A - B
    share: float  # sum of its squares
    a: np.ndarray
    p: list[np.ndarray]  # P_i
    power: float  # of the derivatives of A


class Point(NamedTuple):
    """Residual, step and correlation at a displacement."""

    r: np.ndarray  # A - g B
    step: np.ndarray
    slope: np.ndarray  # H
    flat: np.ndarray  # (m, ndim) unit vectors along which nothing is determined
    peak: bool  # whether the correlation has a maximum near, along all others
    saa: float  # spreads of A, of g B, and of r
    sbb: float
    srr: float
    alike: float  # correlation of the gradients
    spread: float  # the sum of their products over its deviation, squared


class Noise(NamedTuple):
    """The noise of both volumes, before they are compared."""

    variances: tuple[float, float]  # of a pixel of each
    unit: float  # their sum if it was given, else 0
    ratio: float  # the second by the first
    kernel: window_columns.Filter

    def shares(self, window: Window, gain: float) -> tuple[float, float]:
        """The first volume's share of the noise of A - g B, and its ratio to the noise of A - B."""
        count = np.count_nonzero(window.w)
        first = math.sqrt(window.share / count) if self.unit else 1.0 / (1.0 + self.ratio)
        change = first + gain * gain * (1.0 - first)
        return first / change, change

    def in_residual(self, share: float, place: np.ndarray) -> float:
        """The part of the noise that the filter and the splines leave in A - g B."""
        moved = spline_fields.kept_at(self.kernel.correlation, place)
        return share * self.kernel.kept + (1.0 - share) * moved

    def slope(self, window: Window, srr: float, place: np.ndarray, gain: float) -> float:
        """The standard deviation of a slope that noise alone makes."""
        count = np.count_nonzero(window.w)
        share, _ = self.shares(window, gain)
        variance = srr / count / self.in_residual(share, place)
        return variance * math.sqrt(count * self.kernel.slopes * share * (1.0 - share)) / gain


def noise_of(
    first: Pixels, second: Pixels, filter_: spline_fields.Filter | low_pass.Spectra
) -> Noise:
    """As it was given for both volumes, or as their spectra tell it."""
    one, two = (low_pass.mean_variance(p) for p in (first, second))
    if one is None or two is None:
        variances, unit = filter_.noises, 0.0
    else:
        variances, unit = (one, two), one + two
    return Noise(variances, unit, low_pass.noise_ratio(variances), filter_.low.kernel)


def window_at(
    fields: list[spline_fields.Field], move: np.ndarray, linear: bool,
    sample: Callable = spline_fields.sample,
) -> Window | None:  # fmt: skip
    """Weights, A and P; None where too few pixels are in both.

    ``sample`` gives a volume and its derivative by each parameter.
    """
    box = spline_fields.inside(fields[0].precision.shape, move)
    if box is None:
        return None
    low, high = box
    own = fields[0].precision[_cut(low, high)]
    other = fields[1].precision[_cut(low + move, high + move)]
    both = own + other
    w = np.divide(own * other, both, out=np.zeros_like(both), where=(own > 0) & (other > 0))
    if np.count_nonzero(w) < _FEWEST:
        return None
    a, slopes = sample(fields[0].coefficients, low, high, np.zeros(move.size))
    power = sum(_sum(w * slope, slope) for slope in slopes)
    part = np.divide(w, own, out=np.zeros_like(w), where=w > 0)
    if linear:
        mean = _mean(w, a)
        spread = _sum(w * (a - mean), a)
        for i, slope in enumerate(slopes):
            level = _mean(w, slope)
            gain = _sum(w * (a - mean), slope) / spread if spread > 0 else 0.0
            slopes[i] = slope - np.float32(level) - (a - np.float32(mean)) * np.float32(gain)
    weighted = [w * slope for slope in slopes]
    first = float(np.sum(part, dtype=np.float64))
    return Window(low, high, w, first, _sum(part, part), a, weighted, power)


def _cut(low: np.ndarray, high: np.ndarray) -> tuple[slice, ...]:
    return tuple(slice(int(i), int(j)) for i, j in zip(low, high, strict=True))


def _sum(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sum(np.multiply(a, b), dtype=np.float64))


def _mean(w: np.ndarray, values: np.ndarray) -> float:
    return _sum(w, values) / float(np.sum(w, dtype=np.float64))


def _flat(slope: np.ndarray, exact: float, bare: float, least: float) -> tuple[np.ndarray, bool]:
    """Unit vectors (m, ndim) along which nothing is determined, and whether all others are peaks.

    ``exact`` is a slope that rounding makes, ``bare`` the largest of a pure ramp, ``least`` one
    that noise makes.
    """
    curvature, axes = np.linalg.eigh(0.5 * (slope + slope.T))
    largest = max(curvature[-1], 0.0)
    limit = exact + _THIN * largest
    if largest <= bare:
        limit = max(limit, bare)
    if largest > _FLATTER * least:
        limit = max(limit, least)
    none = np.abs(curvature) <= limit
    flat = axes[:, none].T
    near = np.sum(flat**2, axis=0) > 1.0 - _PART**2
    if np.count_nonzero(near) == len(flat):
        flat = np.eye(len(slope))[near]
    return flat, bool((curvature[~none] > 0).all())


def point_at(
    window: Window, other: np.ndarray, place: np.ndarray, gain: float, noise: Noise,
    sample: Callable = spline_fields.sample,
) -> Point:  # fmt: skip
    """Residual, Newton's step and sums at a displacement of the volume of these coefficients."""
    b, slopes = sample(other, window.low, window.high, place)
    r = window.a - np.float32(gain) * b
    score = np.array([_sum(p, r) for p in window.p])
    slope = np.array([[_sum(p, s) for s in slopes] for p in window.p])
    w = window.w
    mean_a, mean_b, mean_r = (_mean(w, v) for v in (window.a, b, r))
    saa, sbb = _sum(w * (window.a - mean_a), window.a), gain**2 * _sum(w * (b - mean_b), b)
    srr = _sum(w * (r - mean_r), r)
    exact, bare = FLAT * saa, BARE * window.power
    flat, peak = _flat(slope, exact, bare, _UNSURE * noise.slope(window, srr, place, gain))
    kept = complement(flat, len(score))
    step = np.zeros(len(score))
    if kept.size:
        step = kept @ np.linalg.solve(kept.T @ slope @ kept, kept.T @ score) / gain
    products = sum(p * s for p, s in zip(window.p, slopes, strict=True))
    total, squares = float(np.sum(products, dtype=np.float64)), _sum(products, products)
    energy = sum(
        _sum(np.divide(p, w, out=np.zeros_like(p), where=w > 0), p) for p in window.p
    ) * sum(_sum(w * s, s) for s in slopes)
    return Point(
        r, step, slope, flat, peak, saa, sbb, srr,
        total / math.sqrt(energy) if energy > 0 else 0.0,
        total**2 / squares if squares > 0 else 0.0,
    )  # fmt: skip


def gain_change(at: Point, gain: float, ratio: float) -> float:
    """The factor of the gain of a line with noise in both volumes (Deming)."""
    sab = 0.5 * (at.saa + at.sbb - at.srr)
    if not sab > 0:
        return 1.0
    noise = gain * gain * ratio
    difference = at.saa * noise - at.sbb
    return (difference + math.hypot(difference, 2.0 * math.sqrt(noise) * sab)) / (2.0 * noise * sab)


def _noise_by_brightness(v: np.ndarray, m: np.ndarray, exists: np.ndarray) -> np.ndarray:
    """The line through the variances of pixels by brightness, at every pixel."""
    v, m = v[exists].astype(np.float64), m[exists].astype(np.float64)
    mean = v.mean()
    expected = np.full(v.shape, mean)
    for _ in range(3):
        u = np.maximum(expected, _FAINT * mean) ** -2.0
        centre = np.average(m, weights=u)
        spread = np.average((m - centre) ** 2, weights=u)
        level = np.average(v, weights=u)
        beta = np.average((m - centre) * (v - level), weights=u) / spread if spread > 0 else 0.0
        expected = level + beta * (m - centre)
    out = np.zeros(exists.shape)
    out[exists] = np.maximum(expected, _FAINT * mean)
    return out


def covariance_at(
    window: Window, at: Point, place: np.ndarray, gain: float, known: Noise
) -> tuple[np.ndarray, float]:
    """H^-1 V H^-T in array-axis order, and the noise as `Shift` has it."""
    ndim, exists, kernel, unit = at.step.size, window.w > 0, known.kernel, known.unit
    count = int(exists.sum())
    part, change = known.shares(window, gain)
    kept = known.in_residual(part, place)
    noise = max(at.srr / float(np.sum(window.w, dtype=np.float64)) / kept, 0.0)
    if unit:
        scale = unit * change
        variances = [np.divide(1.0, window.w, out=np.zeros(exists.shape), where=exists)]
    else:
        scale = noise
        r = at.r - _mean(window.w, at.r)
        v = np.where(exists, r * r / max(kept * noise, _NOTHING), 0.0)
        level = window.a - 0.5 * at.r
        variances = [v, _noise_by_brightness(v, level, exists)] if noise > 0 else [v]
    radius = kernel.smooth.size - 1
    q = [spline_fields.separable(np.pad(p, radius), kernel.smooth, "constant") for p in window.p]
    kept_axes = complement(at.flat, ndim)
    inner = np.linalg.inv(kept_axes.T @ at.slope @ kept_axes)
    inner = kept_axes @ inner @ kept_axes.T
    best = np.zeros((ndim, ndim))
    for number, v in enumerate(variances):
        around = np.pad(v, radius, constant_values=float(v[exists].mean()))
        middle = np.array([[_sum(around * s, t) for t in q] for s in q])
        lost = kernel.own * count * part * part * scale
        keep = np.sqrt(np.maximum(1.0 - lost / np.maximum(np.diag(middle), 1e-300), 0.1))
        covariance = inner @ (middle * np.outer(keep, keep)) @ inner.T * scale / (gain * gain)
        if not number or np.trace(covariance) > np.trace(best):
            best = covariance
    for axis in np.flatnonzero((np.abs(at.flat) > _PART).any(axis=0)):
        best[axis] = best[:, axis] = 0.0
        best[axis, axis] = np.inf
    return best, noise / (unit * change) if unit else noise


def complement(flat: np.ndarray, ndim: int) -> np.ndarray:
    """Unit vectors, in columns, across the given ones."""
    if not len(flat):
        return np.eye(ndim)
    return np.linalg.svd(flat)[2][len(flat) :].T
