"""Whether the best match of two images is one: tests against chance, and against other matches.

Among many displacements some always fits best, also where two images have nothing in common. A
match counts only where all of this holds; it is `Status.AMBIGUOUS` otherwise.

1. It is firm: either its error is small, or the correlation r of the gradients of the smoothed
   images is beyond chance, -n log(1 - r^2) with n independent samples.
2. It is no accident: the modes of both images have phases that agree beyond chance. The modes of a
   ring of frequencies are divided by the ring's power, so that each counts alike; the sum of their
   products up to some frequency, by its standard deviation for unrelated phases, is normally
   distributed, whatever the spectra. The match must also explain most of what stands out of the
   noise: if one star of ten lies on another, that is no match. Bright spots are compressed before,
   so that a pair of them is not the whole evidence. Where the products of gradients, pixel by
   pixel, are of one sign beyond chance, this need not be computed.
3. It has no rival: a scene that repeats itself has other displacements that fit as well.

The thresholds were set by simulation: unrelated scenes, fields of stars and of particles, and
noise, converge in less than one of a hundred pairs.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..kernels.register import window_columns as kernel
from .correlation import cross_correlate
from .fourier_series import transform_images, weights
from .inputs import Pixels
from .results import Status
from .window_matching import Pair

_FIRM = 12.0  # -n log(1 - r^2) of a firm match
_SMALL = 0.2  # pixels: an error that is small
_SURE = 30.0, 60.0  # sum of products over its deviation, squared, and -n log(1 - r^2)
_SURER = 50.0  # the first alone
_TWINS = 15.0, 45.0, 0.7  # less of both, with this correlation of the gradients
_AGREE = 5.1  # standard deviations by which phases agree, for
_LAGS = 1000.0  # displacements that are looked at
_CLEARLY = 30.0  # the same, so many that bright spots alone cannot make them
_ALIKE = 0.9, 30.0, 0.85  # correlation, -n log(1 - r^2), share explained, that need no phases
_MODES = 24  # modes that a sum has at least
_RINGS = 4.0  # an octave
_HIGHEST = 0.45  # of a cycle by pixel, beyond which there is little else than noise
_SEEN = 2.0  # times the noise: the power of modes that are seen
_EXPLAINED = 0.75  # of the power of those modes, that a match explains
_PARTLY = 0.6, 2.5  # less of it, where the phases agree by so many standard deviations more
_MANY = 15.0, 60.0  # as _SURE: so many that a scene may be deformed, if there are moreover
_DEFORMED = 0.3, 0.6  # share explained, standard deviations beyond chance
_TAPER = 0.125  # of a side, at either end
_BRIGHT = 2.0  # typical deviations: what is brighter is compressed
_RIVAL = 0.9  # of the correlation of a match: that of its rivals
_WORSE = 2.0  # times the share that a match leaves unexplained, and more:
_LEFT = 0.02
_NUMBERS = 1 << 20  # pixels that are transformed together


class Evidence(NamedTuple):
    """The evidence for matches, (n,) each."""

    alike: np.ndarray  # correlation of the gradients, 0 to 1
    beyond: np.ndarray  # -n log(1 - r^2)
    firm: np.ndarray  # whether this is beyond the chance of the neighbourhood, or errors are small


def evidence_of(both: Pair, out: np.ndarray, chance: float = 0.0) -> Evidence:
    """The evidence of the gradients and the errors of matches; infinite errors do not count.

    ``chance`` is what the best of several unrelated ones has.
    """
    alike = np.clip(out[:, kernel.LIKENESS], 0.0, 1.0)
    with np.errstate(all="ignore"):
        samples = out[:, kernel.PIXELS] * both.spectra.independent
        beyond = -samples * np.log1p(-(alike**2)) - chance
        variance = out[:, [kernel.VAR_X, kernel.VAR_Y]]
        error = np.sqrt(np.where(np.isfinite(variance), variance, 0.0).max(axis=1))
        return Evidence(alike, beyond, (beyond >= _FIRM) | (error < _SMALL))


def judge(
    both: Pair,
    windows: np.ndarray,
    out: np.ndarray,
    status: np.ndarray,
    reach: float,
    others: float = 1.0,
) -> None:
    """Set the status of matches that may be none, and widen their covariances; in place.

    ``reach`` are the pixels along each axis within which they were looked for, by each of
    ``others`` rotations and scales.
    """
    found = (status == kernel.CONVERGED) | (status == kernel.ONE_DIRECTION)
    found &= out[:, kernel.RESIDUAL] != 0  # or they are the same to the bit
    chance = 2.0 * math.log(others)
    alike, evidence, firm = evidence_of(both, out, chance)
    with np.errstate(all="ignore"):
        one_sign = out[:, kernel.SPREAD] * both.spectra.independent - chance
        sure = beyond_doubt(one_sign, evidence, alike)
        doubtful = np.flatnonzero(found & firm & ~sure)
    variance = out[:, [kernel.VAR_X, kernel.VAR_Y]]
    accident = np.zeros(len(out), dtype=bool)
    agree, explained = agreement(both, windows[doubtful], out[doubtful])
    alike, evidence = alike[doubtful], evidence[doubtful]
    same = (alike >= _ALIKE[0]) & (evidence >= _ALIKE[1]) & (explained >= _ALIKE[2])
    many = (one_sign[doubtful] >= _MANY[0]) & (evidence >= _MANY[1])
    beyond = agree - beyond_chance(reach * math.sqrt(others))
    deformed = many & (explained > _DEFORMED[0]) & (beyond > _DEFORMED[1])
    accident[doubtful] = ~(same | deformed | _holds(beyond, explained))
    unsure = found & (~firm | accident)
    mark_ambiguous(out, status, unsure, reach)
    if both.spectra.period:
        for n in np.flatnonzero(found & ~unsure):
            across = np.isfinite(variance[n])  # along a texture of one direction all fits
            away = _rivals(both, windows[n], out[n, [kernel.DX, kernel.DY]], reach, across)
            if len(away):
                _mark(out, status, np.array([n]), away.T @ away / (len(away) + 1))


def beyond_doubt(one_sign: Any, evidence: Any, alike: Any) -> Any:
    """Whether gradients alone prove a match.

    ``one_sign`` is the sum of their products over its deviation, squared, ``evidence`` is
    -n log(1 - r^2), and ``alike`` the correlation r.
    """
    sure = (one_sign >= _SURER) | ((one_sign >= _SURE[0]) & (evidence >= _SURE[1]))
    return sure | ((one_sign >= _TWINS[0]) & (evidence >= _TWINS[1]) & (alike >= _TWINS[2]))


def mark_ambiguous(out: np.ndarray, status: np.ndarray, which: np.ndarray, reach: float) -> None:
    """Say that a displacement may be any within reach."""
    _mark(out, status, which, np.diag([reach**2 / 3.0] * 2))


def _mark(out: np.ndarray, status: np.ndarray, which: np.ndarray, more: np.ndarray) -> None:
    """Say that a displacement may be another, by so much."""
    status[which] = Status.AMBIGUOUS
    for column, value in ((kernel.VAR_X, more[0, 0]), (kernel.COV, more[0, 1]),
                          (kernel.VAR_Y, more[1, 1])):  # fmt: skip
        out[which, column] += value


# -- the phases of two windows -----------------------------------------------------------------


def beyond_chance(reach: float) -> float:
    """Standard deviations that are beyond chance among all displacements within reach."""
    lags = min(max((2.0 * reach + 1.0) ** 2, 9.0), 1e6)
    return math.sqrt(_AGREE**2 + 2.0 * math.log(lags / _LAGS))


def _holds(beyond: np.ndarray, explained: np.ndarray) -> np.ndarray:
    """Whether phases agree beyond chance and a match explains enough."""
    enough = explained > np.where(beyond > _PARTLY[1], _PARTLY[0], _EXPLAINED)
    return (beyond > 0.0) & enough


def agreement(both: Pair, windows: np.ndarray, out: np.ndarray) -> np.ndarray:
    """`coherence` of windows at their displacements, (2, n)."""
    result = np.zeros((2, len(windows)))
    if not len(windows):
        return result
    # of a few boxes, less than the images is compressed
    few = int(windows[:, 2:].prod(axis=1).sum()) < math.prod(both.shape)
    images = [p.values if few else _compressed(p.values, p.size) for p in (both.first, both.second)]
    places = out[:, [kernel.DY, kernel.DX]]
    moves = np.rint(places).astype(np.int64)
    limits = np.array(both.shape)
    low = np.maximum(windows[:, :2], np.maximum(-moves, 0))
    high = np.minimum(windows[:, :2] + windows[:, 2:], limits - np.maximum(moves, 0))
    sides, group = np.unique(high - low, axis=0, return_inverse=True)
    for index, (rows, columns) in enumerate(sides.tolist()):
        members = np.flatnonzero(group.ravel() == index)
        if min(rows, columns) < 4:
            continue
        some = max(1, _NUMBERS // (rows * columns))
        for begin in range(0, len(members), some):
            part = members[begin : begin + some]
            one, two = (
                [_cut(array, corners, (rows, columns)) for array in pair]
                for pair, corners in (
                    ((images[0], both.first.valid), low[part]),
                    ((images[1], both.second.valid), low[part] + moves[part]),
                )
            )
            # what is missing in one image is left out of both
            exists = one[1] & two[1]
            boxes = [one[0], two[0]]
            if few:
                scales = both.first.size, both.second.size
                boxes = [_compressed(b, s) for b, s in zip(boxes, scales, strict=True)]
            boxes = [_centred(b, None if exists.all() else exists) for b in boxes]
            result[:, part] = _boxes_agree(boxes[0], boxes[1], places[part] - moves[part])
    return result


def _compressed(values: np.ndarray, size: float) -> np.ndarray:
    """Pixels of a typical size, of which bright ones are compressed."""
    return np.arcsinh(values / np.float32(_BRIGHT * size))


def _cut(image: np.ndarray, corners: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Boxes of an image."""
    y, x = corners.T
    return sliding_window_view(image, shape)[y, x]


def _centred(boxes: np.ndarray, exists: np.ndarray | None) -> np.ndarray:
    """Boxes without their mean; 0 where no pixel exists."""
    if exists is None:
        return boxes - boxes.mean(axis=(1, 2), keepdims=True)
    many = np.maximum(exists.sum(axis=(1, 2), keepdims=True), 1)
    mean = np.where(exists, boxes, 0).sum(axis=(1, 2), keepdims=True) / many
    return np.where(exists, boxes - mean, 0).astype(np.float32)


def _ramp(n: int) -> np.ndarray:
    """A taper that is flat in the middle."""
    place = (np.arange(n) + 0.5) / n
    return np.sin(0.5 * np.pi * np.minimum(np.minimum(place, 1.0 - place) / _TAPER, 1.0))


class _Rings(NamedTuple):
    """The modes of the half plane by rings of frequency, from low to high."""

    order: np.ndarray  # of the modes
    begins: np.ndarray  # where each ring begins
    many: np.ndarray  # (Y, X / 2 + 1) how often a mode counts
    modes: np.ndarray  # in each ring
    last: np.ndarray  # `many` of the highest frequencies, else 0

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums over rings, of arrays (..., Y, X / 2 + 1)."""
        ordered = (values * self.many).reshape(-1, self.many.size)[:, self.order]
        return np.add.reduceat(ordered, self.begins, axis=1, dtype=np.float64)

    def highest(self, values: np.ndarray) -> np.ndarray:
        """Means over the highest frequencies, where there is little else than noise."""
        return np.einsum("...ij,ij->...", values, self.last) / max(self.last.sum(), 1.0)


@lru_cache(maxsize=8)
def _rings(rows: int, columns: int) -> _Rings:
    ky, kx = np.fft.fftfreq(rows), np.fft.rfftfreq(columns)
    frequency = np.hypot(ky[:, np.newaxis], kx)
    modes = np.maximum(frequency * max(rows, columns), 1.0)
    ring = np.rint(_RINGS * np.log2(modes)).ravel()
    order = np.argsort(ring, kind="stable")
    begins = np.flatnonzero(np.diff(ring[order], prepend=-1.0))
    many = np.broadcast_to(weights(columns), (rows, len(kx))).copy()
    many[0, 0] = 0.0
    rings = _Rings(order, begins, many, np.zeros(0), many * (frequency > _HIGHEST))
    return rings._replace(modes=rings.sums(np.ones_like(many))[0])


def coherence(first: np.ndarray, second: np.ndarray, columns: int, loss: float) -> np.ndarray:
    """How the phases of aligned spectra (n, Y, X / 2 + 1) agree, (2, n).

    By how many standard deviations, the largest over sums from the lowest frequency up to any; and
    the share of the modes above the noise that they explain, 1 where there are none. ``loss`` is by
    how much fewer modes than there are are independent.
    """
    rings = _rings(first.shape[-2], columns)
    common = first.real * second.real + first.imag * second.imag
    own = [s.real**2 + s.imag**2 for s in (first, second)]
    enough = np.cumsum(rings.modes) >= _MODES
    if not enough.any():
        return np.zeros((2, len(first)))
    with np.errstate(all="ignore"):
        powers = [rings.sums(p) / rings.modes for p in own]
        power = np.sqrt(powers[0] * powers[1])
        cross = rings.sums(common)
        signal = np.nan_to_num(cross / power, posinf=0.0, neginf=0.0)
        spread = np.nan_to_num(rings.sums(own[0] * own[1]) / power**2, posinf=0.0)
        total = np.cumsum(signal, axis=1) / np.sqrt(loss * np.cumsum(spread, axis=1))
        best = np.nan_to_num(total[:, enough], nan=0.0).max(axis=1)
        # each image has its own noise
        floors = [rings.highest(p)[:, np.newaxis] for p in own]
        above = [p - f for p, f in zip(powers, floors, strict=True)]
        seen = np.logical_and(*(p > _SEEN * f for p, f in zip(powers, floors, strict=True)))
        share = np.where(seen, cross / np.sqrt(above[0] * above[1]), 0.0).sum(axis=1)
        modes = np.where(seen, rings.modes, 0.0).sum(axis=1)
        explained = np.where(modes > 0, share / modes, 1.0)
    return np.stack([best, explained])


def _rotated(spectra: np.ndarray, columns: int, shift: np.ndarray) -> np.ndarray:
    """Spectra (n, Y, X / 2 + 1) of images that were moved by (dy, dx), moved back."""
    k = np.fft.fftfreq(spectra.shape[1]), np.fft.rfftfreq(columns)
    rows, along = (
        np.exp(2j * np.pi * np.multiply.outer(shift[:, axis], k[axis])) for axis in (0, 1)
    )
    return spectra * (rows[:, :, np.newaxis] * along[:, np.newaxis, :])


def _boxes_agree(a: np.ndarray, b: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """`coherence` of boxes (n, Y, X) cut from larger images, b moved by (dy, dx)."""
    rows, columns = a.shape[1:]
    tapers = [_ramp(n) for n in (rows, columns)]
    taper = np.multiply.outer(*tapers).astype(np.float32)
    loss = math.prod(float((t**4).mean() / (t**2).mean() ** 2) for t in tapers)
    first, second = (transform_images(image * taper) for image in (a, b))
    return coherence(first, _rotated(second, columns, shift), columns, loss)


def related(
    first: Pixels,
    second: Pixels,
    spectra: tuple[np.ndarray, np.ndarray],
    place: np.ndarray,
    reach: float,
) -> bool:
    """Whether the phases of periodic images agree at the displacement (dx, dy)."""
    columns = first.values.shape[1]
    shift = place[np.newaxis, ::-1]
    one, two = (s[np.newaxis] for s in spectra)
    agree, explained = coherence(one, _rotated(two, columns, shift), columns, 1.0)
    if _holds(agree - _CLEARLY, explained)[0]:
        return True
    # bright pixels compressed, and edges tapered where the images are not periodic after all
    move = np.rint(shift).astype(np.int64)
    one, two = (_centred(_compressed(p.values, p.size)[np.newaxis], None) for p in (first, second))
    two = np.roll(two, -move[0], (1, 2))
    agree, explained = _boxes_agree(one, two, shift - move)
    return bool(_holds(agree - beyond_chance(reach), explained)[0])


# -- other matches -----------------------------------------------------------------------------


def _rivals(
    both: Pair, window: np.ndarray, place: np.ndarray, reach: float, across: np.ndarray
) -> np.ndarray:
    """Displacements (n, 2) from a match to others within reach that fit nearly as well.

    ``across`` says of x and y whether it matters.
    """
    top, left, rows, columns = window.tolist()
    cut = slice(top, top + rows), slice(left, left + columns)
    size = both.shape[0] * both.shape[1]
    images = [c[:size].reshape(both.shape)[cut] for c in (both.views.a, both.views.b)]
    holes = tuple(~p.valid[cut] for p in (both.first, both.second))
    values = cross_correlate(images[0], images[1], boundary="overlap", mask=holes)
    values = np.where(np.isfinite(values), values, -1.0)
    around = np.pad(values, 1, constant_values=-1.0)
    middle = (slice(1, -1),) * 2
    top_value, peak = values.copy(), np.ones(values.shape, dtype=bool)
    for axis in (0, 1):
        before, after = (np.roll(around, step, axis)[middle] for step in (1, -1))
        peak &= (values >= before) & (values >= after)
        bend = 2.0 * values - before - after
        with np.errstate(all="ignore"):
            top_value += np.where(peak & (bend > 0), (after - before) ** 2 / (8.0 * bend), 0.0)
    lags = np.moveaxis(np.indices(values.shape), 0, -1) - np.array(values.shape) // 2
    away = lags[..., ::-1] - place
    near = np.abs(away).max(axis=-1)
    own = top_value[near <= 1.0].max(initial=-1.0)
    far = (np.abs(away) * across).max(axis=-1) > max(2.0, 0.5 * both.spectra.period)
    within = np.abs(lags).max(axis=-1) <= reach
    rest = 1.0 - np.minimum(top_value, 1.0) ** 2
    close = rest <= _WORSE * (1.0 - min(own, 1.0) ** 2) + _LEFT
    return away[peak & far & within & (top_value >= _RIVAL * own) & close]
