"""The last steps of the displacement between two volumes, with longer filters than splines.

Splines need a low-pass filter, because their phase is wrong near the frequency of Nyquist, and a
wide border. Once a displacement is known to a fraction of a pixel, ``long_taps`` needs little of
either, and uses what fine structure tells.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from . import long_taps, low_pass, preparation, spline_fields, volumes
from .inputs import Pixels

# cutoff and order of the low-pass filters to choose from
SHAPES = tuple((cut * math.pi, order) for cut, order in ((0.95, 8.0), (0.85, 6.0), (0.7, 4.0)))
_HOLE = 4  # pixels beside a large hole
_RADIUS = 8  # of the filter by which errors of displacements are found
_MARGIN = 1.0  # pixels beside a border that are not used
_STEPS = 8
_TOL, _SETTLED = 1e-5, 1e-4  # pixels, and of the gain: the last steps
_NOTHING = 1e-12  # variance, of values of size 1
_MOST = 0.06  # of the noise: what interpolation may add to it in a pixel that is used
_BETTER = 0.9  # of the variance that splines have: what is worth the steps
_UNEVEN = 4.0  # times that the noise's variance may differ between pixels
_FAR = 0.5  # pixels by which the result may differ from that of splines


class Refined(NamedTuple):
    """A displacement and what holds there."""

    place: np.ndarray
    gain: float
    window: volumes.Window
    at: volumes.Point
    noise: volumes.Noise


@lru_cache(maxsize=2 * len(SHAPES))
def low_pass_of(shape: tuple[float, float], ndim: int) -> low_pass.LowPass:
    """The filter of one cutoff and order, and what its noise does."""
    value, slope = long_taps.taps(0.0, shape, -long_taps.REACH, long_taps.REACH + 1)
    half = value[long_taps.REACH :][: _RADIUS + 1]
    half = half / (2.0 * half.sum() - half[0])
    wave = np.outer(np.linspace(0.0, np.pi, 129), np.arange(-long_taps.REACH, long_taps.REACH + 1))
    kernel = low_pass.kernel_of(half, np.cos(wave) @ value, np.sin(wave) @ slope, ndim)
    squares = np.concatenate([half[:0:-1], half]) ** 2
    return low_pass.LowPass(half, squares / squares.sum(), 0, kernel)


class _Plan(NamedTuple):
    """A filter, and the pixels that it interpolates well."""

    form: long_taps.Form
    used: list[list[np.ndarray]]  # of both volumes, along each axis: which pixels are
    variance: float  # expected of the displacement


def _plan(
    form: long_taps.Form,
    filter_: spline_fields.Filter,
    shape: tuple[int, ...],
    place: np.ndarray,
    noise: float,
) -> _Plan:
    """The expected performance of a filter at a displacement, by noises of this sum."""
    powers, ndim = filter_.powers, len(shape)
    move = np.rint(place).astype(int)
    filtered = max(noise * low_pass_of(form, ndim).kernel.kept, _NOTHING)
    used: list[list[np.ndarray]] = [[], []]
    pixels = 1
    for axis, count in enumerate(shape):
        power = powers.marginal(form, axis)
        for fits, at in zip(used, (0.0, float(place[axis] - move[axis])), strict=True):
            line = long_taps.Axis(count, 0, count, at, form)
            nodes = np.arange(count) + at
            inner = (nodes >= _MARGIN) & (nodes <= count - 1 - _MARGIN)
            fits.append(inner & (line.errors(powers.lines[axis], power) <= _MOST * filtered))
        step = int(move[axis])
        one = used[0][axis][max(0, -step) : count - max(0, step)]
        two = used[1][axis][max(0, step) : count + min(0, step)]
        pixels *= int(np.count_nonzero(one & two))
    trial = spline_fields.try_filter(powers, form)
    return _Plan(form, used, trial.variance / pixels if pixels else math.inf)


def _precision(
    pixels: Pixels, low: low_pass.LowPass, used: list[np.ndarray], noise: float, unit: float
) -> np.ndarray:
    """1 / variance of pixels, 0 of those that are not used."""
    out = np.zeros(pixels.values.shape, dtype=np.float32)
    out[...] = preparation.precision_of(pixels, noise, unit, low)
    for axis, line in enumerate(used):
        np.moveaxis(out, axis, 0)[~line] = 0.0
    if not pixels.valid.all():
        out[preparation.grow(~pixels.valid, _HOLE)] = 0.0
    return out


def _even(pixels: Pixels) -> bool:
    """Whether the derivative's noise has, next to noisier pixels, little of the value's noise."""
    if not isinstance(pixels.variance, np.ndarray):
        return True
    given = pixels.variance[pixels.valid]
    return bool(given.max() <= _UNEVEN * given.min())


def _without_level(window: volumes.Window) -> volumes.Window:
    """P_i to which a constant in the residual does not matter."""
    w = window.w
    return window._replace(p=[p - w * np.float32(_total(p) / _total(w)) for p in window.p])


def _noise_ratio(window: volumes.Window) -> float:
    """Ratio of the noises of the second and the first volume, as the pixels count."""
    rest = np.count_nonzero(window.w) - window.first
    return low_pass.noise_ratio((window.first, rest))


def _total(values: np.ndarray) -> float:
    return float(np.sum(values, dtype=np.float64))


def refine(
    first: Pixels,
    second: Pixels,
    place: np.ndarray,
    gain: float,
    filter_: spline_fields.Filter,
    noise: volumes.Noise,
    total: float,
    linear: bool,
) -> Refined | None:
    """The displacement next to ``place``; None if there is none, or splines tell as much.

    So it is where the errors of pixels differ much, too.

    ``total`` is the variance of the noise of a pixel's difference. The derivatives P_i are not made
    orthogonal to A, whose noise would leave a part of the scene's own sum of A A_i over the box,
    larger than the error; instead the gain of the residual is found without bias (Deming).
    """
    if not (_even(first) and _even(second)):
        return None
    shape = first.values.shape
    plans = [_plan(form, filter_, shape, place, total) for form in SHAPES]
    best = min(plans, key=lambda plan: plan.variance)
    if not best.variance < _BETTER * filter_.variance:
        return None
    low = low_pass_of(best.form, len(shape))
    noise = noise._replace(kernel=low.kernel)
    sample = long_taps.Sampler(best.form)
    fields = [
        spline_fields.Field(p.values, _precision(p, low, used, variance, noise.unit))
        for p, used, variance in zip((first, second), best.used, noise.variances, strict=True)
    ]
    window = volumes.window_at(fields, np.rint(place).astype(int), False, sample)
    if window is None:
        return None
    if linear:
        window = _without_level(window)
    ratio = _noise_ratio(window) if noise.unit else noise.ratio
    here = place
    for _ in range(_STEPS):
        at = volumes.point_at(window, second.values, here, gain, noise, sample)
        if len(at.flat) or not at.peak or not np.abs(here + at.step - place).max() < _FAR:
            return None
        change = volumes.gain_change(at, gain, ratio) if linear else 1.0
        gain *= change
        if np.abs(at.step).max() < _TOL and abs(change - 1.0) < _SETTLED:
            return Refined(here + at.step, gain, window, at, noise)
        here = here + at.step
    return None
