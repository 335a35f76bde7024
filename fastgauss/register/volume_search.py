"""Where one volume is in another: the best match of their gradients, on larger pixels.

The score of a lag is that of ``kernels/register/block_matching.py``, here for all lags by Fourier
transforms.
"""

from __future__ import annotations

import math

import numpy as np

from . import fourier_series
from .inputs import Pixels

_COARSE = 32  # pixels of the shortest side of the level that is searched, at least
_LEAST = 0.2  # share of a volume that must overlap
_RIVAL = 0.9  # of the score of a match: that of its rivals
_WORSE, _LEFT = 2.0, 0.02  # times what a match leaves unexplained, and more


def _halved(values: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of two pixels along each axis, and whether all of them exist."""
    for axis in range(values.ndim):
        half = values.shape[axis] // 2
        v, e = (np.moveaxis(x, axis, 0)[: 2 * half] for x in (values, valid))
        values, valid = 0.5 * (v[::2] + v[1::2]), e[::2] & e[1::2]
        values, valid = (np.moveaxis(x, 0, axis) for x in (values, valid))
    return values, valid


def _gradients(values: np.ndarray, valid: np.ndarray) -> list[np.ndarray]:
    """Central differences; 0 at the border and beside missing pixels."""
    inner = (slice(1, -1),) * values.ndim
    keep = np.zeros(values.shape, bool)
    keep[inner] = valid[inner]
    out = []
    for axis in range(values.ndim):
        before, after = (np.roll(valid, step, axis) for step in (1, -1))
        keep &= before & after
        out.append(np.roll(values, -1, axis) - np.roll(values, 1, axis))
    return [np.where(keep, part, 0.0) for part in out]


def start(
    first: Pixels, second: Pixels, reach: float, bound: float
) -> tuple[np.ndarray, np.ndarray]:
    """The displacement to begin with, and those (m, ndim) of other matches as good, in pixels."""
    from scipy.fft import next_fast_len

    levels = [(p.values.astype(np.float64), p.valid) for p in (first, second)]
    unit = 1
    while min(levels[0][0].shape) >= 2 * _COARSE and reach >= 2 * unit:
        levels = [_halved(*level) for level in levels]
        unit *= 2
    a, b = (_gradients(*level) for level in levels)
    shape = a[0].shape
    steps = [min(math.ceil(reach / unit) + 1, n - 1) for n in shape]
    size = tuple(next_fast_len(n + s, real=True) for n, s in zip(shape, steps, strict=True))

    def spectra(parts: list[np.ndarray]) -> list[np.ndarray]:
        return [fourier_series.transform(part, size) for part in parts]

    def correlate(p: list[np.ndarray], q: list[np.ndarray]) -> np.ndarray:
        products = [fourier_series.cross(x, y) for x, y in zip(p, q, strict=True)]
        return fourier_series.inverse(np.add.reduce(products), size)

    ones = spectra([np.ones(shape)])
    energy = [spectra([np.add.reduce([part**2 for part in parts])]) for parts in (a, b)]
    product = correlate(spectra(a), spectra(b))
    power = np.maximum(correlate(energy[0], ones) * correlate(ones, energy[1]), 0.0)
    share = correlate(ones, ones) / math.prod(shape)
    known = (share > _LEAST) & (power > 1e-12 * power.max())
    score = np.full(size, -1.0)
    np.divide(product, np.sqrt(power), out=score, where=known)
    order = [np.arange(-s, s + 1) for s in steps]
    near = np.ix_(*order)
    score, plain = (score * np.sqrt(np.maximum(share, 0.0)))[near], score[near]
    if bound < math.inf:
        for axis, lags in enumerate(order):
            far = np.abs(lags) * unit > bound + 0.5 * unit
            score[(slice(None),) * axis + (far,)] = -1.0
    if not score.max() > 0.0:
        return np.zeros(len(shape)), np.zeros((0, len(shape)))
    at = np.array(np.unravel_index(int(score.argmax()), score.shape))
    rest = 1.0 - np.clip(plain, 0.0, 1.0) ** 2
    best = tuple(at.tolist())
    alike = (plain >= _RIVAL * plain[best]) & (rest <= _WORSE * rest[best] + _LEFT)
    lags = np.argwhere(alike & _peaks(score))
    rivals = lags[(np.abs(lags - at) > 2).any(axis=1)]
    inner = np.array([_vertex(score, at, axis) for axis in range(at.size)])
    place = np.clip((at + inner - steps) * unit, -bound, bound)
    return place, (rivals - np.array(steps)) * float(unit)


def _peaks(score: np.ndarray) -> np.ndarray:
    """Which lags have no better one beside them."""
    from scipy.ndimage import maximum_filter

    return (score == maximum_filter(score, 3)) & (score > 0)


def _vertex(score: np.ndarray, at: np.ndarray, axis: int) -> float:
    """The place of the maximum of a parabola along an axis, -0.5 to 0.5."""
    line = score[tuple(slice(None) if i == axis else int(k) for i, k in enumerate(at))]
    return fourier_series.vertex(line, int(at[axis]))
