"""The displacement of periodic images: as exact as can be where the scene is not known.

It maximises

    sum_k W(k) Re(F1*(k) F2(k) exp(i k d)),   W = P / (P (s1^2 + s2^2) + s1^2 s2^2),

the weights under which the cross-spectrum of two noisy images of a scene of power P is used up
(Knapp and Carter 1976, eqs. 27 to 30); s1, s2 are the noises.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import fourier_series, inputs
from .results import Shift, Status

_RINGS = 4  # an octave
_DOUBT = 0.01  # probability of another peak


def _radial(power: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The mean of a spectrum over rings a quarter of an octave wide, at every mode; not negative.

    Narrower rings would follow the noise, and with them the weights.
    """
    ky, kx = np.fft.fftfreq(shape[0])[:, np.newaxis], np.fft.rfftfreq(shape[1])
    modes = np.maximum(np.hypot(ky, kx) * max(shape), 1.0)
    ring = np.rint(_RINGS * np.log2(modes)).astype(np.int64).ravel()
    many = np.broadcast_to(fourier_series.weights(shape[1]), power.shape).ravel()
    mean = np.bincount(ring, many * power.ravel()) / np.maximum(np.bincount(ring, many), 1)
    return np.maximum(mean, 0.0)[ring].reshape(power.shape)


def noises(
    spectra: tuple[np.ndarray, np.ndarray], product: np.ndarray, shape: tuple[int, ...]
) -> tuple[float, float]:
    """Variances of the noise of two periodic images whose cross-spectrum is given, aligned.

    The power of each image is the scene's and its noise's; that of the product the scene's.
    """
    many = np.broadcast_to(fourier_series.weights(shape[1]), product.shape).copy()
    many[0, 0] = 0.0
    own = [s.real**2 + s.imag**2 for s in spectra]
    first, second = (float((many * (p - product.real)).sum() / many.sum()) for p in own)
    return max(first, 0.0), max(second, 0.0)


def sandwich(
    product: np.ndarray, weight: np.ndarray, v1: float, v2: float, shape: tuple[int, ...]
) -> np.ndarray:
    """Covariance of the (dx, dy) that maximise a weighted, aligned cross-spectrum."""
    many = fourier_series.weights(shape[1])
    kx = fourier_series.frequencies(shape[1], True)
    ky = fourier_series.frequencies(shape[0], False)
    if shape[0] % 2 == 0:
        ky[shape[0] // 2] = 0.0  # a cosine, flat at whole pixels
    if shape[1] % 2 == 0:
        kx[-1] = 0.0

    def moments(field: np.ndarray) -> np.ndarray:
        field = field * many
        xx, yy = fourier_series.times(field, kx**2).sum(), ky**2 @ field.sum(axis=1)
        xy = ky @ fourier_series.times(field, kx)
        return np.array([[xx, xy], [xy, yy]])

    slope = moments(weight * product.real)
    noise = moments(weight**2 * ((v1 + v2) * product.real + v1 * v2))
    try:
        inner = np.linalg.inv(slope)
    except np.linalg.LinAlgError:
        return np.full((2, 2), np.nan)
    return inner @ noise @ inner.T


def aligned(product: np.ndarray, shape: tuple[int, ...], dx: float, dy: float) -> np.ndarray:
    """A cross-spectrum with the displacement taken out."""
    rows = fourier_series.waves(shape[0], False, np.array([dy]))[0, 0]
    columns = fourier_series.waves(shape[1], True, np.array([dx]))[0, 0]
    return product * np.multiply.outer(rows, columns)


def _peak(
    product: np.ndarray, weight: np.ndarray, shape: tuple[int, ...], begin: Any, reach: float
) -> tuple[np.ndarray, bool]:
    """Where the weighted correlation is greatest, within reach of no displacement."""
    series = -weight * product
    if begin is None:
        values = fourier_series.inverse(series, shape)
        for axis, n in enumerate(shape):
            lag = np.abs(np.fft.fftfreq(n, 1 / n)) > reach
            values[(slice(None),) * axis + (lag,)] = np.inf
        begin = fourier_series.coarse_minimum(values)
    place, found, _ = fourier_series.minimise(series, shape, begin)
    return place, found


def _doubt(
    product: np.ndarray,
    weight: np.ndarray,
    place: np.ndarray,
    covariance: np.ndarray,
    shape: tuple[int, ...],
) -> tuple[np.ndarray, Status]:
    """The covariance with the chance that another peak of the correlation is the right one."""
    series = -weight * product
    least, _, hessian = fourier_series.expand(series, shape, place[1], place[0])
    unit = np.trace(hessian @ covariance)  # a log-likelihood has the inverse of its covariance
    if not (np.isfinite(covariance).all() and unit > 0):
        return covariance, Status.CONVERGED
    rise = 4.0 / unit * (fourier_series.inverse(series, shape) * math.prod(shape) - least)
    chance, more = fourier_series.elsewhere(rise, place, covariance)
    return covariance + more, Status.AMBIGUOUS if chance > _DOUBT else Status.CONVERGED


def register(
    first: inputs.Pixels, second: inputs.Pixels, begin: tuple[float, ...] | None, reach: float
) -> Shift:
    given = []
    for number, pixels in enumerate((first, second), 1):
        if isinstance(pixels.variance, np.ndarray):
            raise ValueError(f"err{number} must be one number with boundary='wrap'")
        if pixels.variance is not None:
            given.append(pixels.variance)
        if not pixels.valid.all():
            raise ValueError(
                f"im{number} must be whole with boundary='wrap', got missing pixels: "
                "use boundary='overlap' or chi2_shift"
            )
    shape = first.values.shape
    size = first.values.size
    one, two = (
        fourier_series.transform(p.values.astype(np.float64)) / math.sqrt(size)
        for p in (first, second)
    )
    product = fourier_series.cross(one, two)
    product[0, 0] = 0.0
    nan = np.full((2, 2), np.nan)
    scale = np.abs(product).max()
    if not scale > 0:
        return Shift(math.nan, math.nan, nan, Status.NO_TEXTURE, math.nan, math.nan, size)
    # first without weights, then with those of the scene and the noise that this shows
    place, found = _peak(product, np.ones(1), shape, begin, reach)
    straight = aligned(product, shape, *place)
    measured = noises((one, two), straight, shape)
    known = len(given) == 2
    v1, v2 = given if known else measured
    least = 1e-14 * scale
    power = _radial(straight.real, shape)
    weight = power / (power * (v1 + v2 + least) + v1 * v2 + least**2)
    place, found = _peak(product, weight, shape, place if found else begin, reach)
    straight = aligned(product, shape, *place)
    if not found:
        return Shift(math.nan, math.nan, nan, Status.NO_TEXTURE, math.nan, math.nan, size)
    covariance = sandwich(straight, weight, v1, v2, shape)
    covariance, status = _doubt(product, weight, place, covariance, shape)
    many = fourier_series.weights(shape[1])
    own = [float((many * (s.real**2 + s.imag**2)).sum() - abs(s[0, 0]) ** 2) for s in (one, two)]
    correlation = float((many * straight.real).sum()) / math.sqrt(own[0] * own[1])
    noise = sum(measured) / (v1 + v2) if known else sum(measured)
    dx, dy = place.tolist()
    return Shift(dx, dy, covariance, int(status), correlation, noise, size)
