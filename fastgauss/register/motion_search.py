"""Where a motion begins: rotations and scales tried on large pixels, each at its best displacement.

The score of a displacement is that of ``kernels/register/block_matching.py``: the correlation of
gradients, times the root of the share of the pixels that both images show. Here it is computed for
all displacements of all tried matrices by Fourier transforms.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..kernels.register import block_matching
from . import motions
from .inputs import Pixels

ANGLE = 0.27  # radians that are tried on either side, 15 degrees
SCALE = 0.17  # of the logarithm of the scale
_COARSE = 24  # pixels of the shortest side of the level that is searched, at least
_LONG = 64  # and of the longest, at most
_TOGETHER = 64  # matrices that are tried together
_APART = 1.25  # pixels that the corners move between two matrices that are tried
_SHARE = 0.2  # of the image that must overlap
_GOOD = 0.7  # of the best score: what is looked at, too
_MOST = 4  # starts
_EDGE = 1e-6  # pixels that a place may lie beyond the border
_FLAT = 1e-6  # of the power of the gradients


class Level(NamedTuple):
    """A pair of images on larger pixels."""

    first: Pixels
    second: Pixels
    unit: float  # pixels of the images in one of these


def _halved(pixels: Pixels) -> Pixels:
    """The image on pixels that are twice as large."""
    shape = pixels.values.shape[0] // 2, pixels.values.shape[1] // 2
    values, valid = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=bool)
    block_matching.halve(pixels.values, pixels.valid, values, valid)
    return replace(pixels, values=values, valid=valid, guessed=None, variance=None)


def _middle(pixels: Pixels) -> Pixels:
    """The middle of a long image, with the same centre."""
    cut = tuple(slice(max(0, (n - _LONG) // 2), n - max(0, (n - _LONG) // 2))
                for n in pixels.values.shape)  # fmt: skip
    return replace(
        pixels, values=pixels.values[cut], valid=pixels.valid[cut], guessed=None, variance=None
    )


def pyramid(first: Pixels, second: Pixels) -> list[Level]:
    """The images, then on larger and larger pixels; of the last the middle."""
    levels = [Level(first, second, 1.0)]
    while min(levels[-1].first.values.shape) >= 2 * _COARSE:
        one, two, unit = levels[-1]
        levels.append(Level(_halved(one), _halved(two), 2.0 * unit))
    one, two, unit = levels[-1]
    if max(one.values.shape) > _LONG + 1:
        levels.append(Level(_middle(one), _middle(two), unit))
    return levels


def tried(names: tuple[str, ...], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Angles and scales to try on an image of this shape."""
    step = _APART / float(np.hypot(*motions.centre(shape)))
    turns = "angle" in names or "yx" in names
    grows = "scale" in names or "yy" in names
    angles, scales = (
        step * np.arange(-math.ceil(most / step), math.ceil(most / step) + 1) if moves
        else np.zeros(1)
        for most, moves in ((ANGLE, turns), (SCALE, grows))
    )  # fmt: skip
    return angles, np.exp(scales)


def _gradients(values: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Central differences (.., 2, Y, X), 0 at the border and beside missing pixels; where known."""
    known = np.zeros(valid.shape, dtype=bool)
    inner = valid[..., 1:-1, 1:-1].copy()
    for cut in (np.s_[..., 2:, 1:-1], np.s_[..., :-2, 1:-1], np.s_[..., 1:-1, 2:],
                np.s_[..., 1:-1, :-2]):  # fmt: skip
        inner &= valid[cut]
    known[..., 1:-1, 1:-1] = inner
    slopes = np.zeros((*values.shape[:-2], 2, *values.shape[-2:]), dtype=np.float32)
    slopes[..., 0, 1:-1, :] = values[..., 2:, :] - values[..., :-2, :]
    slopes[..., 1, :, 1:-1] = values[..., :, 2:] - values[..., :, :-2]
    slopes *= known[..., np.newaxis, :, :]
    return slopes, known


def _warped(pixels: Pixels, matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The image after each matrix about its centre, (n, Y, X), and what exists of it."""
    shape = pixels.values.shape
    axes, middle = motions.axes_from_centre(shape), motions.centre(shape)
    rests, corners, inside = [], [], np.ones((len(matrices), *shape), dtype=bool)
    for row, n in enumerate(shape):
        parts = [
            np.multiply.outer(matrices[:, row, column], line) for column, line in enumerate(axes)
        ]
        place = parts[0] + parts[1] + middle[row]
        inside &= (place >= -_EDGE) & (place <= n - 1 + _EDGE)
        corner = np.clip(place.astype(np.int64), 0, n - 2)
        corners.append(corner)
        rests.append(np.clip(place - corner, 0.0, 1.0).astype(np.float32))
    first = corners[0] * shape[1] + corners[1]
    values = np.zeros(first.shape, dtype=np.float32)
    flat, valid = pixels.values.ravel(), pixels.valid.ravel()
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        at = first + down * shape[1] + right
        weight = [rest if on else 1.0 - rest for rest, on in zip(rests, (down, right), strict=True)]
        values += weight[0] * weight[1] * flat[at]
        inside &= valid[at]
    return values, inside


def _scores(
    first: Pixels, second: Pixels, matrices: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """The best score of each matrix, and its displacement (n, 2) before the matrix."""
    from scipy.fft import irfft2, next_fast_len, rfft2

    shape = first.values.shape
    a, exists_a = _gradients(first.values, first.valid)
    b, exists_b = _gradients(*_warped(second, matrices))
    steps = [min(math.ceil(reach) + 1, n - 2) for n in shape]
    size = tuple(next_fast_len(n + s, True) for n, s in zip(shape, steps, strict=True))

    def spectra(parts: np.ndarray) -> np.ndarray:
        return rfft2(parts, size)

    known_a, known_b = (spectra(e.astype(np.float32)) for e in (exists_a, exists_b))
    power_a, power_b = (spectra((s**2).sum(axis=-3)) for s in (a, b))
    product = (spectra(a).conj() * spectra(b)).sum(axis=-3)
    product, energy_a, energy_b, share = (
        irfft2(s, size)
        for s in (product, power_a.conj() * known_b, known_a.conj() * power_b,
                  known_a.conj() * known_b)
    )  # fmt: skip
    share = share / max(float(exists_a.sum()), 1.0)
    power = np.maximum(energy_a, 0.0) * np.maximum(energy_b, 0.0)
    score = np.full(product.shape, -1.0, dtype=np.float32)
    useful = (share > _SHARE) & (power > _FLAT * power.max())
    np.divide(product, np.sqrt(power), out=score, where=useful)
    score *= np.sqrt(np.clip(share, 0.0, 1.0))
    lags = [np.arange(-s, s + 1) for s in steps]
    score = score[np.ix_(np.arange(len(score)), *lags)]
    for axis, lag in enumerate(lags):
        np.moveaxis(score, axis + 1, 0)[np.abs(lag) > reach + 0.5] = -1.0
    flat = score.reshape(len(score), -1)
    best = flat.argmax(axis=1)
    at = np.stack(np.unravel_index(best, score.shape[1:]), axis=1)
    return flat.max(axis=1), at - np.array(steps)


def starts(level: Level, names: tuple[str, ...], reach: float) -> list[motions.Place]:
    """Motions to begin with, the best first; displacements of the centre within ``reach``."""
    from scipy.ndimage import maximum_filter

    angles, scales = tried(names, level.first.values.shape)
    matrices = np.array([motions.rotation(a, s) for a in angles for s in scales])
    parts = [
        _scores(level.first, level.second, matrices[begin : begin + _TOGETHER], reach)
        for begin in range(0, len(matrices), _TOGETHER)
    ]
    scores, moves = (np.concatenate(part) for part in zip(*parts, strict=True))
    table = scores.reshape(len(angles), len(scales))
    peak = (table == maximum_filter(table, 3, mode="nearest")) & (table > _GOOD * table.max())
    order = np.argsort(-scores, kind="stable")
    chosen = [n for n in order.tolist() if peak.flat[n] and scores[n] > 0][:_MOST]
    places = [motions.Place(matrices[n], matrices[n] @ moves[n]) for n in chosen]
    return places or [motions.STILL]
