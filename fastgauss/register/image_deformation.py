"""Images of a pair deformed by the displacement field of a pass, so that the next finds the rest.

The field between the nodes is a bicubic spline; beyond them it goes on straight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np

from ..base import thread_pool
from ..filters import taps
from ..filters.separable import Source, correlate
from ..kernels.register import deformation
from . import low_pass
from .inputs import Pixels
from .vector_validation import extend

_LEAST = 1e-7  # of the middle tap, where the filter that makes coefficients ends
_ROWS = 64  # of a task
_EDGE = 1e-5  # pixels, more than float32 rounds: a place so close to a pixel is this pixel


@dataclass(frozen=True)
class Flow:
    """The displacement at every pixel of an image, (Y, X) float32 each."""

    dy: np.ndarray
    dx: np.ndarray


class FlowSpline:
    """A displacement field between its nodes.

    Parameters
    ----------
    y, x : ndarray (R,), (C,)
        Evenly spaced places of the nodes.
    moves : ndarray (R, C, 2)
        dx, dy of the nodes.
    shape : tuple
        Of the images.
    """

    def __init__(
        self, y: np.ndarray, x: np.ndarray, moves: np.ndarray, shape: tuple[int, ...]
    ) -> None:
        self._axes = []
        for axis, (nodes, n) in enumerate(zip((y, x), shape, strict=True)):
            step = nodes[1] - nodes[0] if len(nodes) > 1 else float(n)
            beyond = max(nodes[0], n - 1 - nodes[-1])
            count = max(2, int(np.ceil(beyond / step)))
            moves = _spline_coefficients(extend(moves, axis, count), axis)
            self._axes.append((nodes[0] - count * step, step))
        self._coefficients = np.moveaxis(moves, -1, 0)

    def at(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """dx, dy at the nodes of another grid, (R, C, 2)."""
        first, weights = self._weights(1, x)
        lines = self._lines(y)
        both = sum(weights[:, k] * lines[..., first + k] for k in range(4))
        return np.moveaxis(both, 0, -1)

    def everywhere(self, shape: tuple[int, ...], threads: int = 1) -> Flow:
        """At every pixel."""
        rows, columns = (np.arange(float(n)) for n in shape)
        first, weights = self._weights(1, columns)
        lines = self._lines(rows)
        both = np.empty((2, *shape), dtype=np.float32)

        def fill_rows(begin: int, end: int) -> None:
            for line, out in zip(lines, both, strict=True):
                deformation.stretch(line, first, weights, out, begin, end)

        thread_pool.run(lambda: fill_rows, shape[0], _ROWS, threads)
        return Flow(both[1], both[0])

    def _lines(self, y: np.ndarray) -> np.ndarray:
        """Coefficients along x of dx and dy at rows, (2, Y, C)."""
        first, weights = self._weights(0, y)
        return sum(weights[:, k, np.newaxis] * self._coefficients[:, first + k] for k in range(4))

    def _weights(self, axis: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first of four coefficients for each place, and their weights (P, 4)."""
        begin, step = self._axes[axis]
        last = self._coefficients.shape[1 + axis] - 3  # node
        place = np.clip((places - begin) / step, 0.0, last)
        first = np.minimum(np.floor(place), last - 1.0)
        f = place - first
        g = 1.0 - f
        inner = [(4.0 - 3.0 * v * v * (2.0 - v)) / 6.0 for v in (f, g)]
        return first.astype(np.int64), np.stack([g**3 / 6.0, *inner, f**3 / 6.0], axis=1)


def _spline_coefficients(values: np.ndarray, axis: int) -> np.ndarray:
    """Natural cubic splines through evenly spaced values: coefficients, one more at each end."""
    from scipy.linalg import solve_banded

    lines = np.moveaxis(values, axis, 0)
    n = len(lines)
    bands = np.full((3, n), 1.0 / 6.0)
    bands[1] = 2.0 / 3.0
    bands[1, [0, -1]], bands[0, 1], bands[2, -2] = 1.0, 0.0, 0.0  # not bent at the ends
    flat = solve_banded((1, 1), bands, lines.reshape(n, -1)).reshape(lines.shape)
    return np.moveaxis(extend(flat, 0, 1), 0, axis)


@lru_cache(maxsize=1)
def _inverse() -> taps.Profile:
    """The filter that makes coefficients of quintic splines through the pixels."""
    k = np.linspace(0, np.pi, 129)
    half = low_pass.half(1.0 / low_pass.spline_response(k), _LEAST)
    return taps.Profile(half / (2.0 * half.sum() - half[0]))


def coefficients(pixels: Pixels, threads: int) -> np.ndarray:
    """Coefficients of the spline through the pixels, with some beyond the border."""
    out = np.empty((1, *pixels.values.shape), dtype=np.float32)
    term = taps.NOTHING, _inverse(), _inverse()
    correlate(Source(pixels.values[np.newaxis]), [term], ("reflect",) * 3, 0.0, out, threads)
    return np.pad(out[0], deformation.PAD, mode="symmetric")


def deform(pixels: Pixels, spline: np.ndarray, flow: Flow, share: float, threads: int) -> Pixels:
    """An image at its pixels + ``share`` times the flow.

    ``spline`` are its coefficients. A pixel exists if it lies in the image between pixels that
    exist, and is a guess if one of these is.
    """
    if not share:
        return pixels
    values: np.ndarray = np.empty(pixels.values.shape, dtype=np.float32)
    dy, dx = (np.ascontiguousarray(v, dtype=np.float32) for v in (flow.dy, flow.dx))
    work = partial(
        deformation.deform, spline.ravel(), values.shape, dy.ravel(), dx.ravel(), share,
        values.reshape(-1),
    )  # fmt: skip
    thread_pool.run(lambda: work, len(values), _ROWS, threads)
    valid = _within(dy, 0, share) & _within(dx, 1, share)
    variance = pixels.variance
    known, guessed = pixels.valid.all(), None
    if known and pixels.guessed is None and not isinstance(variance, np.ndarray):
        return replace(pixels, values=values, valid=valid)
    rows, columns = (np.arange(n) for n in values.shape)
    places = [flow.dy * share + rows[:, np.newaxis], flow.dx * share + columns]
    if not known:
        valid &= _linear(pixels.valid, places) > 1.0 - _EDGE
    if pixels.guessed is not None:
        guessed = valid & (_linear(pixels.guessed, places) > _EDGE)
        guessed = guessed if guessed.any() else None
    if isinstance(variance, np.ndarray):
        variance = _linear(variance, places)
    return replace(pixels, values=values, valid=valid, guessed=guessed, variance=variance)


def _within(move: np.ndarray, axis: int, share: float) -> np.ndarray:
    """Which places are in the image along an axis."""
    part, edge = np.float32(share), np.float32(_EDGE)
    inside: np.ndarray = np.ones(move.shape, dtype=bool)
    lines, out = np.moveaxis(move, axis, 0), np.moveaxis(inside, axis, 0)
    n = len(lines)
    reach = max(float(move.max()), -float(move.min())) * abs(share)
    near = min(math.ceil(reach) + 1, n) if math.isfinite(reach) else n  # only these may leave it
    for some in (slice(0, near), slice(max(near, n - near), n)):
        at = np.arange(n, dtype=np.float32)[some, np.newaxis]
        way = lines[some] * part
        out[some] = (way >= -at - edge) & (way <= np.float32(n - 1) - at + edge)
    return inside


def _linear(array: np.ndarray, places: list[np.ndarray]) -> np.ndarray:
    """Linear interpolation."""
    from scipy.ndimage import map_coordinates

    return map_coordinates(array.astype(np.float64), places, order=1, mode="nearest")
