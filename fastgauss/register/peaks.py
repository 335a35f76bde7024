"""The highest peak of a map of lags, to a fraction of a pixel, along any number of axes."""

from __future__ import annotations

import math

import numpy as np

from . import fourier_series

METHODS = ("fourier", "gaussian", "parabola")
_EQUAL = 1e-9  # of the range of the values: peaks that are equal
_CONSTANT = 1e-12  # of the largest value: a range that rounding makes
_GOES_ON = 3.0  # typical steps, of a map that goes on across its edge
_ROOM = 8  # lags on either side of a peak that an interpolation needs
_MAX_ITER = 30
_CLOSE = 1e-7  # lags
_FAR = 1.0  # lags that a peak may be away from the highest value
_SHAPE = 0.3  # how much the pointedness of a peak at the end counts beside its place
_VALLEY = 1e-10  # of the largest curvature: what is none


def highest(values: np.ndarray, method: str) -> np.ndarray:
    """The place of the highest peak, in indices; of equal ones the one next to index n // 2."""
    finite = np.isfinite(values)
    largest = np.abs(values[finite]).max()
    top, low = values[finite].max(), values[finite].min()
    if not top - low > _CONSTANT * largest:
        return np.full(values.ndim, np.nan)
    values = np.where(finite, values, -np.inf)
    places = np.argwhere(values >= top - _EQUAL * (top - low))
    middle = [n // 2 for n in values.shape]
    at = places[np.argmin(((places - middle) ** 2).sum(axis=1))]
    wraps = [_goes_on(values, axis) for axis in range(values.ndim)]
    if method == "fourier":
        place = _interpolated(values, at, wraps)
        if place is not None:
            return place
    out = np.empty(values.ndim)
    for axis, wrap in enumerate(wraps):
        line = np.moveaxis(values, axis, -1)[tuple(np.delete(at, axis))]
        out[axis] = at[axis] + _along(line, int(at[axis]), wrap, method != "parabola")
    return out


def _goes_on(values: np.ndarray, axis: int) -> bool:
    """Whether a map is periodic along an axis: the step across its edge is one like others."""
    lines = np.moveaxis(values, axis, 0)
    if len(lines) < 4:
        return True
    with np.errstate(invalid="ignore"):
        steps = [np.abs(lines[i] - lines[i - 1]) for i in (0, 1, len(lines) - 1)]
    steps = [
        float(np.mean(s, where=np.isfinite(s))) if np.isfinite(s).any() else 0.0 for s in steps
    ]
    scale = float(np.abs(lines[np.isfinite(lines)]).max())
    return steps[0] <= _GOES_ON * 0.5 * (steps[1] + steps[2]) + _CONSTANT * scale


# -- by the band-limited interpolation ---------------------------------------------------------


def _interpolated(values: np.ndarray, at: np.ndarray, wraps: list[bool]) -> np.ndarray | None:
    """The maximum next to an index; None where the map has too little room or no maximum."""
    values = np.where(np.isfinite(values), values, np.min(values[np.isfinite(values)]))
    for axis, (n, wrap) in enumerate(zip(values.shape, wraps, strict=True)):
        if wrap:
            continue
        room = min(int(at[axis]), n - 1 - int(at[axis]))
        if room < _ROOM:
            return None
        away = np.abs(np.arange(n) - at[axis]) / (room + 1.0)
        taper = np.cos(0.5 * np.pi * np.clip(2.0 * away - 1.0, 0.0, 1.0)) ** 2
        values = values * taper.reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    series = fourier_series.transform(values) / -values.size
    place = at.astype(float)
    for _ in range(_MAX_ITER):
        _, gradient, hessian = fourier_series.expand_axes(series, values.shape, place)
        curvature, axes = np.linalg.eigh(hessian)
        if not curvature[-1] > 0:
            return None
        # where the map bends down, go down all the same; along a ridge, nowhere
        flat = np.abs(curvature) < _VALLEY * curvature[-1]
        bend = np.where(flat, np.inf, np.abs(curvature))
        step = -axes @ ((axes.T @ gradient) / bend)
        size = float(np.abs(step).max())
        place += step if size <= 0.5 else step * (0.5 / size)
        if not np.abs(place - at).max() <= _FAR:
            return None
        if size <= _CLOSE:
            return place if (curvature[~flat] > 0).all() else None
    return None


# -- by three values ---------------------------------------------------------------------------


def _along(line: np.ndarray, at: int, wrap: bool, gaussian: bool) -> float:
    """The top of a curve through the highest value of a line and two others, from that value."""
    n = len(line)
    if n < 3:
        return 0.0
    if not wrap and at in (0, n - 1):
        offset = _end((line if at == 0 else line[::-1])[:4].tolist())
        return -offset if at == 0 else offset
    before, after = (at - 1) % n, (at + 1) % n
    return _vertex([float(line[i]) for i in (before, at, after)], gaussian)


def _vertex(three: list[float], gaussian: bool) -> float:
    """Where a curve through three values, the middle one the highest, has its top; 0 on a ridge."""
    if not all(math.isfinite(v) for v in three):
        return 0.0
    scale = max(abs(v) for v in three)
    if gaussian and min(three) > 0:
        three, scale = [math.log(v) for v in three], 1.0
    bend = 2 * three[1] - three[0] - three[2]
    return 0.5 * (three[2] - three[0]) / bend if bend > _EQUAL * scale else 0.0


# how a peak may look, |x| rounded off over so many lags, and where it may be
_ROUND = np.array([0.3, 0.5, 0.8, 1.2, 2.0, 4.0, 20.0])[:, np.newaxis]
_BEYOND = np.linspace(-0.5, 0.5, 101)


def _end(four: list[float]) -> float:
    """How far beyond the end of a line the top of a symmetric peak is, whose first value is there.

    The steps between the four values say how pointed the peak is, and where it is.
    """
    steps = -np.diff(four)
    if not (np.isfinite(steps).all() and steps[1] > 0):
        return 0.0
    depth = np.sqrt((np.arange(4.0)[:, np.newaxis, np.newaxis] + _BEYOND) ** 2 + _ROUND**2)
    first, second, third = np.diff(depth, axis=0)
    miss = (first / second - steps[0] / steps[1]) ** 2
    miss += _SHAPE * (third / second - steps[2] / steps[1]) ** 2
    return float(_BEYOND[np.unravel_index(int(miss.argmin()), miss.shape)[1]])
