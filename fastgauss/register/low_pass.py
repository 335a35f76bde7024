"""The low-pass filter with which a displacement is most exact, from the images' spectra.

It is the filter G of a few that makes the variance of the displacement

    [(s1^2 + s2^2) sum k^2 P G^4 + s1^2 s2^2 sum k^2 G^4] / (sum k^2 P G^2)^2

least, with P the scene's power and s1, s2 the noises of the images; the splines' error is added.
The same spectra tell how many samples of the smoothed gradients are independent, and whether the
scene repeats itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..kernels.register import quintic_spline, window_columns
from .inputs import Pixels

# cutoff and order of the filters to choose from; those of order 2 are Gaussians
SHAPES = (
    *((cut * math.pi, 4.0) for cut in (0.6, 0.45)),
    *((1.0 / sigma, 2.0) for sigma in (1.0, 1.4, 2.0, 2.8)),
)
PLAIN = 2  # the one without any signal
_CUT = 3e-3  # of the middle tap, where a filter ends
_MIXED = 0.02  # share of the smoothed image that may come from beyond the margin
_SPECTRUM = 256  # pixels, the longest side of the part whose spectrum is looked at
_CORNER = 0.8  # of the highest frequency, beyond which there is little else than noise
_RINGS = 4.0  # an octave
_TAPERED = 2.25  # by how much fewer modes of a tapered image are independent
_BEYOND = 2.0  # standard deviations of the power of noise, beyond which a ring has a signal
_NO_NOISE = 1e-12  # variance, of values of size 1
_RATIO = 1e3  # of the noises of two images, at most
_LINES = 40.0  # modes that hold the power of a scene that repeats itself
_SHARE = 0.3  # of the power of the gradients, that those modes have then at least


@dataclass(frozen=True)
class LowPass:
    """A filter of spline coefficients, exp(-(k / cutoff)^order / 2) along each axis."""

    taps: np.ndarray  # half of the filter that makes coefficients
    squares: np.ndarray  # of the filter that smooths the image, of sum 1
    margin: int  # pixels over which the smoothed image mixes
    kernel: window_columns.Filter


class Spectra(NamedTuple):
    """The low-pass filter and the noise that the spectra of two images give."""

    low: LowPass
    noises: tuple[float, float]  # variances of the pixels' noise
    independent: float  # samples of the gradients that are, by pixel
    period: float  # pixels after which the scene repeats itself; 0 if it does not


def mean_variance(pixels: Pixels) -> float | None:
    if isinstance(pixels.variance, np.ndarray):
        if pixels.valid.all():
            return float(pixels.variance.mean())
        return float(pixels.variance[pixels.valid].mean()) if pixels.valid.any() else 1.0
    return pixels.variance


# -- the filters -------------------------------------------------------------------------------


def spline_response(k: np.ndarray) -> np.ndarray:
    """Response of quintic spline coefficients: what the image has of them."""
    return (66.0 + 52.0 * np.cos(k) + 2.0 * np.cos(2 * k)) / 120.0


def filter_response(shape: tuple[float, float], k: np.ndarray) -> np.ndarray:
    cutoff, order = shape
    return np.exp(-0.5 * (np.abs(k) / cutoff) ** order)


def half(spectrum: np.ndarray, least: float) -> np.ndarray:
    """Half of the symmetric filter of this response, cut where it stays below ``least``."""
    full = np.fft.irfft(spectrum)
    inner = full[: len(spectrum) - 1]
    return inner[: int(np.flatnonzero(np.abs(inner) > least * inner[0])[-1]) + 1]


@lru_cache(maxsize=2 * len(SHAPES))
def low_pass_of(index: int, ndim: int = 2) -> LowPass:
    """The filter of one shape for images or volumes, and what its noise does."""
    k = np.linspace(0, np.pi, 129)
    taps = half(filter_response(SHAPES[index], k) / spline_response(k), _CUT)
    taps = taps / (2.0 * taps.sum() - taps[0])
    response = taps[0] + 2.0 * np.cos(np.outer(k, np.arange(1, len(taps)))) @ taps[1:]
    smooth = response * spline_response(k)  # of A
    slope = response * (10.0 * np.sin(k) + np.sin(2 * k)) / 12.0  # of its derivative
    blur = np.fft.irfft(smooth)[: len(k) - 1]
    tails = np.cumsum(np.abs(blur)[::-1])[::-1]
    squares = np.concatenate([blur[len(taps) : 0 : -1], blur[: len(taps) + 1]]) ** 2

    kernel = kernel_of(half(smooth, _CUT), smooth, slope, ndim)
    kernel = kernel._replace(correlation=np.fft.irfft(response**2)[:6].copy())
    margin = int(np.flatnonzero(2 * tails < _MIXED)[0]) - 1
    return LowPass(taps, squares / squares.sum(), margin, kernel)


def kernel_of(
    taps: np.ndarray, smooth: np.ndarray, slope: np.ndarray, ndim: int
) -> window_columns.Filter:
    """The effect of a filter on noise, from half of its taps and its response from 0 to pi.

    ``slope`` is the response of the derivative. A moved image keeps what one that is not moved
    keeps: the weights of splines have the sum 1.
    """

    def mean(spectrum: np.ndarray) -> float:
        return float(np.fft.irfft(spectrum)[0])

    return window_columns.Filter(
        taps.astype(np.float32),
        np.full(6, mean(smooth**2)),
        mean(smooth**2) ** ndim,
        mean((slope * smooth) ** 2) * mean(smooth**4) ** (ndim - 1),
        mean(slope**4) * mean(smooth**4) ** (ndim - 1),
        np.zeros(ndim),
    )


def phase_error(k: np.ndarray) -> np.ndarray:
    """By how much a quarter of a pixel's shift by splines is off: Im(I exp(-i k / 4)) of mode k."""
    weights = quintic_spline.spline_weights(0.25)
    shifted = sum(w * np.exp(1j * k * (j - 2.25)) for j, w in enumerate(weights))
    return np.imag(shifted) / spline_response(k)


class _Modes(NamedTuple):
    """The parts of all filters for spectra of one shape; S filters, R rows, C columns."""

    ky: np.ndarray
    kx: np.ndarray
    columns: np.ndarray  # (5 S, C): g, kx^2 g, kx phase g, g^2, kx^2 g^2
    gains: np.ndarray  # (S, R): g of the rows
    phases: np.ndarray  # (R,) ky phase
    taper: np.ndarray  # float32, of the image; white noise keeps its variance


@lru_cache(maxsize=8)
def _modes(shape: tuple[int, int]) -> _Modes:
    """For the transforms of images of this shape."""
    ky = 2 * np.pi * np.abs(np.fft.fftfreq(shape[0]))
    kx = 2 * np.pi * np.fft.rfftfreq(shape[1])
    columns = []
    for form in SHAPES:
        g = filter_response(form, kx) ** 2
        columns += [g, kx**2 * g, kx * phase_error(kx) * g, g**2, kx**2 * g**2]
    gains = np.array([filter_response(form, ky) ** 2 for form in SHAPES])
    lines = [np.sin(np.pi * (np.arange(n) + 0.5) / n, dtype=np.float32) for n in shape]
    taper = np.multiply.outer(*lines)
    taper /= np.sqrt(np.mean(taper**2) * taper.size)
    return _Modes(ky, kx, np.array(columns), gains, ky * phase_error(ky), taper)


def _power(pixels: Pixels, cut: tuple[slice, ...], taper: np.ndarray) -> np.ndarray:
    """Power of a part of an image, tapered; white noise has its variance everywhere."""
    from scipy.fft import rfft2

    part = pixels.values[cut]
    spectrum = rfft2((part - part.mean()) * taper)
    return spectrum.real.astype(np.float64) ** 2 + spectrum.imag.astype(np.float64) ** 2


# -- the choice --------------------------------------------------------------------------------


def _noises(
    pixels: tuple[Pixels, Pixels], powers: tuple[np.ndarray, np.ndarray], modes: _Modes
) -> tuple[float, float]:
    """Variances of the noise: as given, or the power of the corners of the spectrum."""
    corner = np.ix_(modes.ky > _CORNER * np.pi, modes.kx > _CORNER * np.pi)
    known = [mean_variance(p) for p in pixels]
    first, second = (
        float(p[corner].mean()) if v is None else v for v, p in zip(known, powers, strict=True)
    )
    return first, second


class Powers(NamedTuple):
    """The spectra of two images, from which filters for windows of any size are chosen."""

    modes: _Modes
    both: tuple[np.ndarray, np.ndarray]
    noises: tuple[float, float]


def measure(first: Pixels, second: Pixels) -> Powers:
    """Powers and noises of the middle of both images."""
    shape = first.values.shape
    sides = [min(n, _SPECTRUM) for n in shape]
    modes = _modes((sides[0], sides[1]))
    cut = tuple(slice((n - s) // 2, (n - s) // 2 + s) for n, s in zip(shape, sides, strict=True))
    powers = _power(first, cut, modes.taper), _power(second, cut, modes.taper)
    return Powers(modes, powers, _noises((first, second), powers, modes))


def choose(measured: Powers, count: int, reach: float, steady: bool = False) -> Spectra:
    """The filter with which the error, noise and interpolation, of ``count`` pixels is least.

    ``reach`` are the pixels within which another displacement would be a mistake. With ``steady``
    a ring of frequencies counts only where its power is beyond that of the noise.
    """
    modes, powers, noises = measured
    v1, v2 = noises
    # of signal = power - noise, and of what makes the score's variance, linear in both
    both = 0.5 * (powers[0] + powers[1])
    if steady:
        both = _beyond_noise(both, 0.5 * (v1 + v2), modes)
    table = np.einsum("rc,sc->sr", both, modes.columns)
    table -= 0.5 * (v1 + v2) * modes.columns.sum(axis=1)[:, np.newaxis]
    table = table.reshape(len(SHAPES), 5, -1)
    ends = modes.columns.reshape(len(SHAPES), 5, -1).sum(axis=2)
    share = modes.taper.size / count
    best, least, bias = PLAIN, math.inf, np.zeros(2)
    ky2 = modes.ky**2
    for i, (rows, gain, end) in enumerate(zip(table, modes.gains, ends, strict=True)):
        smooth, bent, off_x = rows[:3]
        off = np.array([gain @ off_x, (modes.phases * gain) @ smooth])
        slope = np.array([gain @ bent, (ky2 * gain) @ smooth])
        flat, steep = ((v1 + v2) * rows[j] + v1 * v2 * end[j] for j in (3, 4))
        score = (ky2 * gain**2) @ flat + gain**2 @ steep
        if not (slope > 0).all() or score < 0:
            continue
        total = share * score / slope.sum() ** 2 + 0.25 * (off / slope) @ (off / slope)
        if total < least:
            best, least, bias = i, total, np.abs(off / slope)
    low = low_pass_of(best)
    low = replace(low, kernel=low.kernel._replace(bias=bias))
    independent, period = _texture(powers, modes, best, reach)
    return Spectra(low, noises, independent, period)


def _beyond_noise(power: np.ndarray, noise: float, modes: _Modes) -> np.ndarray:
    """The mean power of rings of frequency, or the noise where chance may make the difference."""
    k = np.hypot(modes.ky[:, np.newaxis], modes.kx)
    ring = np.rint(_RINGS * np.log2(np.maximum(k / modes.kx[1], 1.0))).astype(np.intp).ravel()
    many = np.maximum(np.bincount(ring), 1)
    mean = np.bincount(ring, power.ravel()) / many
    corner = (modes.ky > _CORNER * np.pi).sum() * (modes.kx > _CORNER * np.pi).sum()
    chance = np.sqrt(_TAPERED / (2.0 * many)) + math.sqrt(_TAPERED / (2.0 * max(corner, 1)))
    mean = np.where(mean > noise * (1.0 + _BEYOND * chance), mean, noise)
    return mean[ring].reshape(power.shape)


def _texture(
    powers: tuple[np.ndarray, np.ndarray], modes: _Modes, shape: int, reach: float
) -> tuple[float, float]:
    """Independent samples of the smoothed gradients, by pixel, and the period of the scene.

    Two unrelated images have gradients whose correlation has the variance sum F1 F2 / (sum F1
    sum F2), F the powers of the gradients (Bartlett).
    """
    k2 = np.add.outer(modes.ky**2, modes.kx**2)
    weight = np.multiply.outer(modes.gains[shape], modes.columns[5 * shape]) * k2
    first, second = weight * powers[0], weight * powers[1]
    sums, common = first.sum() * second.sum(), np.einsum("ij,ij->", first, second)
    if not common > 0.0:
        return 1.0, 0.0
    held = sums / common  # modes of the half plane
    independent = 2.0 * held / (2.0 * len(modes.ky) * (len(modes.kx) - 1))
    if held > _LINES:
        return independent, 0.0
    short = np.where(k2 >= (np.pi / reach) ** 2, first, 0.0)
    power = short.sum()
    if not power > _SHARE * first.sum() or power**2 > _LINES * np.einsum("ij,ij->", short, short):
        return independent, 0.0
    return independent, float(2 * np.pi * power / (np.sqrt(k2) * short).sum())


def noise_ratio(noises: tuple[float, float]) -> float:
    """The variance of the second image's noise by the first's; 1 where there is none."""
    first, second = (noise + _NO_NOISE for noise in noises)
    return min(max(second / first, 1.0 / _RATIO), _RATIO)
