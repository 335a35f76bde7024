"""Volumes as smoothed quintic splines at pixels moved by a displacement.

These are the arrays that the equations of ``kernels/register/gauss_newton.py`` need.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..filters import taps
from ..filters.separable import Source, correlate
from ..kernels.register import quintic_spline
from . import fourier_series, low_pass, preparation
from .inputs import Pixels

_SIDE = 64  # pixels, the longest side of the part whose spectrum is looked at
_CORNER = 0.8  # of the highest frequency, beyond which there is little else than noise
_BEFORE, _AFTER = 2, 3  # nodes of a spline on either side of a pixel
_LEAST = 0.25  # of the pixels, that a filter may leave away from the border
_NARROW = 2  # pixels of a margin that every volume has
_BEYOND = 6  # nodes beyond the border, so that splines are known there
LEFT = 0.2  # of the error of splines: what may be left when it is taken away


class Powers(NamedTuple):
    """The spectra of the middle of two volumes."""

    lines: list[np.ndarray]  # frequencies along each axis, of the half plane
    many: np.ndarray  # by mode: its share of all modes
    both: list[np.ndarray]
    noises: tuple[float, float]  # variances of the pixels' noise

    @property
    def along(self) -> list[np.ndarray]:
        """Frequencies along each axis, each in the shape of its axis."""
        ndim = len(self.lines)
        return [
            line.reshape([-1 if i == axis else 1 for i in range(ndim)])
            for axis, line in enumerate(self.lines)
        ]

    def marginal(self, shape: tuple[float, float], axis: int) -> np.ndarray:
        """Power of the scene along an axis, filtered along all others, at ``lines[axis]``."""
        v1, v2 = self.noises
        signal = (0.5 * (self.both[0] + self.both[1]) - 0.5 * (v1 + v2)) * self.many
        for other, line in enumerate(self.along):
            if other != axis:
                signal = signal * low_pass.filter_response(shape, line) ** 2
        rest = tuple(i for i in range(signal.ndim) if i != axis)
        return np.maximum(signal.sum(axis=rest), 0.0)


class Filter(NamedTuple):
    """The low-pass filter for two volumes."""

    low: low_pass.LowPass
    powers: Powers
    independent: float  # samples of the gradients that are, by pixel
    bias: np.ndarray  # b along each axis: splines displace by -b sin(2 pi f)
    variance: float  # that is expected of a displacement, noise and interpolation

    @property
    def noises(self) -> tuple[float, float]:
        """Variances of the pixels' noise."""
        return self.powers.noises


class Trial(NamedTuple):
    """The expected errors of a filter, by the spectra."""

    gain: np.ndarray  # G^2
    slope: np.ndarray  # along each axis
    variance: float  # of a displacement, times the pixels; infinite where it cannot be told
    wrong: np.ndarray  # b


def _product(lines: list[np.ndarray]) -> np.ndarray:
    out = np.ones(())
    for line in lines:
        out = np.multiply.outer(out, line)
    return out


def _power(pixels: Pixels) -> np.ndarray:
    """Power of the middle, tapered; white noise has its variance everywhere."""
    sides = [(n, min(n, _SIDE)) for n in pixels.values.shape]
    part = pixels.values[tuple(slice((n - s) // 2, (n - s) // 2 + s) for n, s in sides)]
    taper = _product([np.sin(np.pi * (np.arange(n) + 0.5) / n) for n in part.shape])
    spectrum = fourier_series.transform((part - part.mean()) * taper)
    return (spectrum.real**2 + spectrum.imag**2) / float((taper**2).sum())


def measure(first: Pixels, second: Pixels) -> Powers:
    """Powers and noises of the middle of both volumes."""
    ndim = first.values.ndim
    powers = [_power(p) for p in (first, second)]
    sides = [min(n, _SIDE) for n in first.values.shape]
    k = [fourier_series.frequencies(n, axis == ndim - 1) for axis, n in enumerate(sides)]
    many = np.broadcast_to(fourier_series.weights(sides[-1]), powers[0].shape) / math.prod(sides)
    corner = _product([np.abs(line) > _CORNER * np.pi for line in k]) > 0
    known = [low_pass.mean_variance(p) for p in (first, second)]
    v1, v2 = (
        float(p[corner].mean()) if v is None else v for v, p in zip(known, powers, strict=True)
    )
    return Powers(k, many, powers, (v1, v2))


def try_filter(powers: Powers, shape: tuple[float, float]) -> Trial:
    """The variance of a displacement with the filter of this cutoff and order."""
    v1, v2 = powers.noises
    signal = 0.5 * (powers.both[0] + powers.both[1]) - 0.5 * (v1 + v2)
    gain = _product([low_pass.filter_response(shape, line) ** 2 for line in powers.lines])
    useful = gain * signal * powers.many
    noise = gain**2 * ((v1 + v2) * signal + v1 * v2) * powers.many
    along = powers.along
    off = [low_pass.phase_error(np.abs(line)) * np.sign(line) for line in along]
    slope = np.array([float((line**2 * useful).sum()) for line in along])
    wrong = np.array([float((a * e * useful).sum()) for a, e in zip(along, off, strict=True)])
    score = sum(float((line**2 * noise).sum()) for line in along)
    if not (slope > 0).all() or score < 0:
        return Trial(gain, slope, math.inf, np.zeros(len(slope)))
    return Trial(gain, slope, score / slope.sum() ** 2, wrong / slope)


def choose(first: Pixels, second: Pixels) -> Filter:
    """The filter with which the error, noise and interpolation, is least (see ``low_pass``).

    A spline moves a mode by a fraction f of a pixel and is off by about e sin(2 pi f), e its error
    at a quarter of a pixel. The score of all modes is then 0 at a displacement that is off by
    -b sin(2 pi f), b = sum k G^2 P e / sum k^2 G^2 P, which is taken away.
    """
    ndim = first.values.ndim
    powers = measure(first, second)
    trials = [try_filter(powers, shape) for shape in low_pass.SHAPES]
    best, least, bias = low_pass.PLAIN, math.inf, np.zeros(ndim)
    for index, trial in enumerate(trials):
        margin = low_pass.low_pass_of(index, ndim).margin
        inner = math.prod(max(n - 2 * margin - 1, 1) for n in first.values.shape)
        thin = inner < _LEAST * first.values.size and margin > _NARROW
        left = LEFT * trial.wrong
        total = trial.variance / inner + left @ left / ndim**2
        if total < least and not thin:
            best, least, bias = index, total, trial.wrong
    weight = trials[best].gain * sum(line**2 for line in powers.along)
    shares = [float((powers.many * weight * p).sum()) for p in powers.both]
    common = float((powers.many * weight**2 * powers.both[0] * powers.both[1]).sum())
    independent = shares[0] * shares[1] / common if common > 0 else 1.0
    return Filter(low_pass.low_pass_of(best, ndim), powers, independent, bias, least)


@dataclass(frozen=True)
class Field:
    """A smoothed volume as splines, and 1 / variance of its pixels."""

    coefficients: np.ndarray  # with some beyond the border
    precision: np.ndarray


def field(pixels: Pixels, low: low_pass.LowPass, extra: int, noise: float, unit: float) -> Field:
    """Coefficients and precisions; ``extra`` more pixels of margin are lost."""
    shape = pixels.values.shape
    precision = np.zeros(shape, dtype=np.float32)
    margin = low.margin + extra
    inner = tuple(slice(margin, n - margin) for n in shape)
    given = preparation.precision_of(pixels, noise, unit, low)
    precision[inner] = given[inner] if isinstance(given, np.ndarray) else given
    if not pixels.valid.all():
        precision[preparation.grow(~pixels.valid, margin)] = 0.0
    return Field(coefficients(pixels.values, low), precision)


def coefficients(values: np.ndarray, low: low_pass.LowPass) -> np.ndarray:
    """Coefficients of the smoothed volume, with some beyond the border."""
    return np.pad(separable(values, low.taps, "reflect"), _BEYOND, mode="symmetric")


def separable(values: np.ndarray, half: np.ndarray, mode: str) -> np.ndarray:
    """An image or a volume correlated along all axes with a symmetric filter, given by its half."""
    out = np.empty(values.shape, dtype=np.float32)
    flat = 3 - values.ndim  # the axes that an image lacks
    profiles = (taps.NOTHING,) * flat + (taps.Profile(half),) * values.ndim
    solid = (1,) * flat + values.shape
    source = Source(values.reshape(solid))
    correlate(source, [profiles], (mode,) * 3, 0.0, out.reshape(solid), None)
    return out


def inside(shape: tuple[int, ...], move: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The box of pixels x that are in both volumes, the second at x + move."""
    low, high = np.maximum(0, -move), np.minimum(shape, shape - move)
    return (low, high) if (high > low).all() else None


def sample(
    coefficients: np.ndarray, low: np.ndarray, high: np.ndarray, place: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The spline at the pixels x + place of the box, and its derivatives along all axes."""
    step = np.floor(place).astype(int)
    rest = (place - step).tolist()
    block = coefficients[
        tuple(
            slice(i + s + _BEYOND - _BEFORE, j + s + _BEYOND + _AFTER)
            for i, j, s in zip(low.tolist(), high.tolist(), step.tolist(), strict=True)
        )
    ]
    values = block
    slopes: list[np.ndarray] = []
    for axis, fraction in enumerate(rest):
        sloped = _along(values, axis, quintic_spline.spline_slopes(fraction))
        weights = quintic_spline.spline_weights(fraction)
        slopes = [_along(slope, axis, weights) for slope in slopes] + [sloped]
        values = _along(values, axis, weights)
    return values, slopes


def sample_pixels(coefficients: np.ndarray) -> tuple[np.ndarray, ...]:
    """An image at its pixels, and its derivatives along y and x."""
    shape = coefficients.shape
    flat, inner = preparation.flat((shape[0], shape[1]))
    inner[:] = coefficients
    value, slope_x, slope_y = preparation.sample(flat, shape, (0.0, 0.0))
    middle = (slice(_BEYOND, -_BEYOND),) * 2
    size = shape[0] * shape[1]
    return tuple(
        np.ascontiguousarray(part[:size].reshape(shape)[middle])
        for part in (value, slope_y, slope_x)
    )


def _along(values: np.ndarray, axis: int, weights: tuple[float, ...]) -> np.ndarray:
    """Six neighbours along an axis, weighted; five fewer."""
    lines = np.moveaxis(values, axis, 0)
    count = len(lines) - len(weights) + 1
    out = np.float32(weights[0]) * lines[:count]
    for k in range(1, len(weights)):
        out += np.float32(weights[k]) * lines[k : k + count]
    return np.moveaxis(out, 0, axis)


def kept_at(correlation: np.ndarray, place: np.ndarray) -> float:
    """Variance of white noise that the filter and the splines leave at a displacement."""
    lags = np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
    kept = 1.0
    for fraction in (place - np.floor(place)).tolist():
        weights = np.array(quintic_spline.spline_weights(fraction))
        kept *= float(np.einsum("i,ij,j->", weights, correlation[lags], weights))
    return kept
