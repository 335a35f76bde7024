"""Images of a pair deformed by the displacement field of a pass, so that the next finds the rest.

The field between the nodes is a bicubic spline; beyond them it goes on straight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..base import thread_pool
from ..filters import taps
from ..filters.separable import Source, correlate
from ..kernels.register import deformation
from . import low_pass
from .inputs import Pixels
from .vector_validation import extend

_LEAST = 1e-7  # of the middle tap, where the filter that makes coefficients ends
_ROWS = 16  # of a task
_EDGE = 1e-6  # pixels: a place that is so close to a pixel is this pixel


@dataclass(frozen=True)
class Flow:
    """The displacement at every pixel of an image, (Y, X) each."""

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
        from scipy.interpolate import RectBivariateSpline

        self._places = []
        for axis, (nodes, n) in enumerate(zip((y, x), shape, strict=True)):
            step = nodes[1] - nodes[0] if len(nodes) > 1 else float(n)
            beyond = max(nodes[0], n - 1 - nodes[-1])
            count = max(2, int(np.ceil(beyond / step)))
            moves = extend(moves, axis, count)
            self._places.append(nodes[0] + step * np.arange(-count, len(nodes) + count))
        self._splines = [RectBivariateSpline(*self._places, moves[..., k]) for k in (0, 1)]

    def at(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """dx, dy at the nodes of another grid, (R, C, 2)."""
        return np.stack([spline(*self._inside(y, x)) for spline in self._splines], axis=-1)

    def everywhere(self, shape: tuple[int, ...]) -> Flow:
        """At every pixel."""
        inside = self._inside(*(np.arange(float(n)) for n in shape))
        dx, dy = (spline(*inside) for spline in self._splines)
        return Flow(dy, dx)

    def _inside(self, *axes: np.ndarray) -> list[np.ndarray]:
        return [np.clip(a, p[0], p[-1]) for a, p in zip(axes, self._places, strict=True)]


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

    def fill_rows(begin: int, end: int) -> None:
        deformation.deform(spline, flow.dy, flow.dx, share, values, begin, end)

    thread_pool.run(lambda: fill_rows, len(values), _ROWS, threads)
    rows, columns = values.shape
    places = [
        flow.dy * share + np.arange(rows)[:, np.newaxis],
        flow.dx * share + np.arange(columns),
    ]
    valid = np.logical_and.reduce(
        [(p >= -_EDGE) & (p <= n - 1 + _EDGE) for p, n in zip(places, values.shape, strict=True)]
    )
    if not pixels.valid.all():
        valid &= _linear(pixels.valid, places) > 1.0 - _EDGE
    guessed = None
    if pixels.guessed is not None:
        guessed = valid & (_linear(pixels.guessed, places) > _EDGE)
        guessed = guessed if guessed.any() else None
    variance = pixels.variance
    if isinstance(variance, np.ndarray):
        variance = _linear(variance, places)
    return replace(pixels, values=values, valid=valid, guessed=guessed, variance=variance)


def _linear(array: np.ndarray, places: list[np.ndarray]) -> np.ndarray:
    """Linear interpolation."""
    from scipy.ndimage import map_coordinates

    return map_coordinates(array.astype(np.float64), places, order=1, mode="nearest")
