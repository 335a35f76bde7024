"""The displacement of periodic images: as exact as can be where the scene is not known.

It maximises

    sum_k W(k) Re(F1*(k) F2(k) exp(i k d)),   W = P / (P (s1^2 + s2^2) + s1^2 s2^2),

the weights under which the cross-spectrum of two noisy images of a scene of power P is used up
(Knapp and Carter 1976, eqs. 27 to 30); s1, s2 are the noises.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from . import fourier_series, inputs, significance
from .few_objects import same_objects
from .results import Shift, Status, no_shift

_RINGS = 4  # an octave
_DOUBT = 0.01  # probability of another peak
_NEAR = 4.0  # pixels from a given start within which the displacement is
_FAINT = 0.5  # correlation of images that are mostly noise
_HIGHEST = 0.4  # of a cycle by pixel, beyond which there is little else than noise
_COARSE = 1e6  # log-likelihood of a peak that float32 knows well enough
_FIRST, _LAST = 1e-4, 1e-6  # pixels: the last steps of the two rounds, whose squares are left
_CERTAIN = 33.0, 0.9  # standard deviations and correlation of a match that needs no other proof
_VALLEY = 1e-10  # of the largest curvature: what is none


@lru_cache(maxsize=2)
def _rings(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The ring of each mode of the half plane, and the modes of the whole plane by ring."""
    ky, kx = np.fft.fftfreq(shape[0])[:, np.newaxis], np.fft.rfftfreq(shape[1])
    modes = np.maximum(np.hypot(ky, kx) * max(shape), 1.0)
    ring = np.rint(_RINGS * np.log2(modes)).astype(np.intp)
    many = np.broadcast_to(fourier_series.weights(shape[1]), ring.shape)
    return ring, np.maximum(np.bincount(ring.ravel(), many.ravel()), 1)


def radial(power: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The mean of a spectrum over rings a quarter of an octave wide, at every mode; not negative.

    Narrower rings would follow the noise, and with them the weights.
    """
    ring, count = _rings((shape[0], shape[1]))
    many = power * fourier_series.weights(shape[1])
    mean = np.bincount(ring.ravel(), many.ravel()) / count
    return np.maximum(mean, 0.0)[ring]


def power(spectrum: np.ndarray) -> np.ndarray:
    """The power of each mode."""
    return spectrum.real**2 + spectrum.imag**2


def total(field: np.ndarray, shape: tuple[int, ...]) -> float:
    """Sum over the whole plane of a field of the half plane."""
    return float(fourier_series.times(field, fourier_series.weights(shape[1])).sum())


def noises(
    powers: tuple[np.ndarray, np.ndarray], straight: np.ndarray, shape: tuple[int, ...]
) -> tuple[float, float]:
    """Variances of the noise of two periodic images whose means are 0.

    The power of each image is the scene's and its noise's; that of their aligned product, whose
    real part is ``straight``, is the scene's.
    """
    many = math.prod(shape) - 1
    first, second = (max(total(p - straight, shape) / many, 0.0) for p in powers)
    return first, second


def _flat_frequencies(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """kx, ky; 0 at Nyquist, whose mode is a cosine, flat at whole pixels."""
    kx = fourier_series.frequencies(shape[1], True)
    ky = fourier_series.frequencies(shape[0], False)
    if shape[0] % 2 == 0:
        ky[shape[0] // 2] = 0.0
    if shape[1] % 2 == 0:
        kx[-1] = 0.0
    return kx, ky


def _moments(field: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """sum k k' of a field of the half plane."""
    kx, ky = _flat_frequencies(shape)
    field = field * fourier_series.weights(shape[1])
    xx, yy = fourier_series.times(field, kx**2).sum(), ky**2 @ field.sum(axis=1)
    xy = ky @ fourier_series.times(field, kx)
    return np.array([[xx, xy], [xy, yy]])


def between(slope: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """slope^-1 middle slope^-1, along the directions in which there is a slope."""
    size = np.abs(slope).max()
    if not size > 0:
        return np.full((2, 2), np.nan)
    inner = np.linalg.pinv(slope / size, rcond=_VALLEY, hermitian=True) / size
    return inner @ middle @ inner.T


def sandwich(
    straight: np.ndarray, weight: np.ndarray, v1: float, v2: float, shape: tuple[int, ...]
) -> np.ndarray:
    """Covariance of the (dx, dy) that maximise a weighted, aligned cross-spectrum.

    ``straight`` is its real part without the weights.
    """
    slope = _moments(weight * straight, shape)
    noise = _moments(weight**2 * ((v1 + v2) * straight + v1 * v2), shape)
    return between(slope, noise)


def aligned(product: np.ndarray, shape: tuple[int, ...], dx: float, dy: float) -> np.ndarray:
    """A cross-spectrum with the displacement taken out."""
    rows = fourier_series.waves(shape[0], False, np.array([dy]))[0, 0]
    columns = fourier_series.waves(shape[1], True, np.array([dx]))[0, 0]
    return product * np.multiply.outer(rows, columns)


def from_pixels(
    spectra: tuple[np.ndarray, np.ndarray],
    straight: np.ndarray,
    weight: np.ndarray | float,
    noise: tuple[float, float],
    shape: tuple[int, ...],
) -> np.ndarray:
    """The covariance of ``sandwich`` where each pixel's noise is its own.

    The residual of each pixel, squared, is the variance of its noise: sum e^2 D_i D_j, D the
    weighted derivatives of the mean of both images, aligned and of one brightness. Of images whose
    values float32 can hold.
    """
    root = math.sqrt(math.prod(shape))
    weight = weight / (np.max(weight) or 1.0)
    kx, ky = (1j * k.astype(np.complex64) for k in _flat_frequencies(shape))
    residual = _pixels((spectra[0] - spectra[1]) * root, shape)
    series = ((spectra[0] + spectra[1]) * (0.5 * root * weight)).astype(np.complex64)
    parts = [residual * _pixels(series * k, shape) for k in (kx, ky[:, np.newaxis])]
    slope = _moments(weight * straight, shape)
    white = _moments(np.broadcast_to(weight, straight.shape) ** 2, shape)
    xx, xy, yy = (
        float(np.sum(np.multiply(parts[i], parts[j], dtype=np.float64)))
        for i, j in ((0, 0), (0, 1), (1, 1))
    )
    # the mean of two images of unlike noise has more of it than their product
    less = 0.25 * (noise[0] - noise[1]) ** 2 * np.diag(white)
    own = np.maximum([xx, yy], 1e-300)
    keep = np.sqrt(np.maximum(1.0 - less / own, 0.1))
    middle = np.array([[xx, xy], [xy, yy]]) * np.multiply.outer(keep, keep)
    return between(slope, middle)


def _pixels(series: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The image of a spectrum in float32."""
    return fourier_series.inverse(series.astype(np.complex64, copy=False), shape)


def _above_noise(
    powers: tuple[np.ndarray, np.ndarray], shape: tuple[int, ...]
) -> tuple[np.ndarray, float]:
    """The power of two images that stands out of white noise, and the variance of that."""
    mean = radial(np.sqrt(powers[0] * powers[1]), shape)
    ky, kx = np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1])
    corner = mean[np.ix_(np.abs(ky) > _HIGHEST, kx > _HIGHEST)]
    noise = float(corner.mean()) if corner.size else 0.0
    return np.maximum(mean - noise, 0.0), noise


def _peak(
    product: np.ndarray,
    weight: np.ndarray,
    shape: tuple[int, ...],
    begin: Any,
    near: np.ndarray,
    close: float,
) -> fourier_series.Minimum:
    """Where the weighted correlation is greatest, among the lags that are looked at."""
    series = -weight * product
    if begin is None:
        # float32 finds the highest lag, and its transforms take a quarter of the time
        values = np.where(near, _pixels(series, shape), np.inf)
        begin = fourier_series.coarse_minimum(values)
    return fourier_series.minimise(series, shape, begin, close)


def _first_peak(
    product: np.ndarray,
    powers: tuple[np.ndarray, np.ndarray],
    shape: tuple[int, ...],
    begin: Any,
    looked: np.ndarray,
) -> tuple[fourier_series.Minimum, np.ndarray, np.ndarray | None]:
    """The peak, the real part of the product aligned there, and None or the power of the scene.

    The peak is found without weights. In faint images white noise, of which most is at high
    frequencies, can make or move that peak, and then seems to be a part of the scene: their peak is
    found from the power that stands out of the noise.
    """
    best = _peak(product, np.ones(1), shape, begin, looked, _FIRST)
    straight = aligned(product, shape, *best.place).real
    own = total(powers[0], shape) * total(powers[1], shape)
    if total(straight, shape) > _FAINT * math.sqrt(own):
        return best, straight, None
    scene, noise = _above_noise(powers, shape)
    if not (noise > 0 and scene.any()):
        return best, straight, None
    weight = scene / (2.0 * scene * noise + noise**2)
    best = _peak(product, weight, shape, begin, looked, _FIRST)
    return best, aligned(product, shape, *best.place).real, scene


def _lags_near(shape: tuple[int, ...], centre: tuple[float, ...], reach: float) -> np.ndarray:
    """Lags (i, j), modulo the shape, within reach of (dx, dy) along each axis."""
    away = [
        np.abs((np.arange(n) - c + 0.5 * n) % n - 0.5 * n)
        for n, c in zip(shape, centre[::-1], strict=True)
    ]
    return np.logical_and.outer(*(a <= reach for a in away))


def _doubt(
    product: np.ndarray,
    weight: np.ndarray,
    best: fourier_series.Minimum,
    covariance: np.ndarray,
    shape: tuple[int, ...],
    possible: np.ndarray,
) -> tuple[np.ndarray, Status]:
    """The covariance with the chance that another peak of the correlation is the right one."""
    series = -weight * product
    least, _, hessian = fourier_series.expand(series, shape, best.place[1], best.place[0])
    unit = np.trace(hessian @ covariance)  # a log-likelihood has the inverse of its covariance
    if not (np.isfinite(covariance).all() and unit > 0):
        return covariance, Status.CONVERGED
    if 4.0 / unit * abs(least) < _COARSE:
        series = series.astype(np.complex64)
    rise = 4.0 / unit * (fourier_series.inverse(series, shape) * math.prod(shape) - least)
    rise[~possible] = np.inf
    chance, more = fourier_series.elsewhere(rise, best.place, covariance)
    return covariance + more, Status.AMBIGUOUS if chance > _DOUBT else Status.CONVERGED


def _agreement(
    straight: np.ndarray,
    powers: tuple[np.ndarray, np.ndarray],
    scene: np.ndarray,
    noise: float,
    shape: tuple[int, ...],
) -> float:
    """By how many standard deviations the phases of aligned images agree.

    All modes that stand out of the noise count alike.
    """
    alike = scene / (scene + noise) ** 2
    spread = total(alike**2 * (powers[0] * powers[1]), shape)
    return total(alike * straight, shape) / math.sqrt(spread) if spread > 0 else 0.0


def _read(
    first: inputs.Pixels, second: inputs.Pixels
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Spectra of both images, and the variances that are given."""
    given = []
    for number, pixels in enumerate((first, second), 1):
        if isinstance(pixels.variance, np.ndarray):
            raise ValueError(f"err{number} must be one number with boundary='wrap'")
        if pixels.variance is not None:
            given.append(pixels.variance)
        if not pixels.whole:
            raise ValueError(
                f"im{number} must be whole with boundary='wrap', got missing pixels: "
                "use boundary='overlap' or chi2_shift"
            )
    root = math.sqrt(first.values.size)
    one, two = (
        fourier_series.transform(p.values.astype(np.float64)) / root for p in (first, second)
    )
    one[0, 0] = two[0, 0] = 0.0
    return one, two, given


def gain_of(powers: tuple[np.ndarray, np.ndarray], straight: np.ndarray) -> float:
    """How much brighter the second image is, from the modes that both share."""
    common = np.maximum(straight, 0.0)
    first, second = (float(np.einsum("ij,ij->", common, p)) for p in powers)
    return math.sqrt(second / first) if first > 0 and second > 0 else 1.0


def register(
    first: inputs.Pixels,
    second: inputs.Pixels,
    begin: tuple[float, ...] | None,
    bound: float,
    brightness: str,
) -> Shift:
    """The displacement of a periodic image, looked for within ``bound`` along each axis."""
    one, two, given = _read(first, second)
    shape, size = first.values.shape, first.values.size
    product = fourier_series.cross(one, two)
    scale = np.abs(product).max()
    if not scale > 0:
        return no_shift(Status.NO_TEXTURE, 2, size)
    centre, reach = ((0.0, 0.0), bound) if begin is None else (begin, min(bound, _NEAR))
    possible = _lags_near(shape, centre, reach)
    searched = min(reach, 0.25 * min(shape)) if math.isinf(bound) else min(reach, 0.5 * max(shape))
    looked = possible if bound < math.inf else _lags_near(shape, centre, 0.25 * min(shape))
    powers = power(one), power(two)
    best, straight, prior = _first_peak(product, powers, shape, begin, looked)
    if brightness != "same":
        gain = gain_of(powers, straight)
        two, product, straight = two / gain, product / gain, straight / gain
        powers[1][:] /= gain * gain
        prior = None if prior is None else prior / gain
        if len(given) == 2:
            given[1] /= gain * gain
    measured = noises(powers, straight, shape)
    known = len(given) == 2
    v1, v2 = given if known else measured
    least = 1e-14 * scale
    shared = radial(straight, shape)
    scene = shared if prior is None else np.minimum(prior, shared)
    weight = scene / (scene * (v1 + v2 + least) + v1 * v2 + least**2)
    again = best.place if best.found and prior is None else begin
    best = _peak(product, weight, shape, again, looked, _LAST)
    straight = aligned(product, shape, *best.place).real
    if not best.found:
        return no_shift(Status.NO_TEXTURE, 2, size)
    if known:
        covariance = sandwich(straight, weight, v1, v2, shape)
    else:
        moved = aligned(two, shape, *best.place)
        covariance = from_pixels((one, moved), straight, weight, (v1, v2), shape)
    if best.across is not None:
        variance = float(best.across @ covariance @ best.across)
        covariance, status = (
            fourier_series.one_direction(variance, best.across),
            Status.ONE_DIRECTION,
        )
    else:
        covariance, status = _doubt(product, weight, best, covariance, shape, possible)
    own = [total(p, shape) for p in powers]
    correlation = total(straight, shape) / math.sqrt(own[0] * own[1])
    phases = _agreement(straight, powers, scene, math.sqrt(v1 * v2) + least, shape)
    certain = phases > _CERTAIN[0] and correlation > _CERTAIN[1]
    related = certain or significance.related(first, second, (one, two), best.place, searched)
    dx, dy = best.place.tolist()
    same = begin is not None or status != Status.CONVERGED or (
        same_objects(first, second, (dx, dy), wrap=True)
    )  # fmt: skip
    if not (related and same):
        status = Status.AMBIGUOUS
        covariance = covariance + np.diag([min(reach, 0.5 * n) ** 2 / 3.0 for n in shape[::-1]])
    noise = sum(measured) / (v1 + v2) if known else sum(measured) / first.scale / first.scale
    return Shift(dx, dy, covariance, int(status), correlation, noise, size)
