"""Whether all parts of a registered pair want the same displacement, by blocks of pixels.

``kernels/register/misfit.py`` has the mathematics.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..kernels.register import misfit
from ..kernels.register import window_columns as kernel
from . import low_pass
from .window_matching import Pair

_PIXELS = 1 << 16  # that are looked at in a larger image
_LEAST = 0.5 * misfit.SIDE**2  # pixels of a block that must exist in both images
_BETTER = 0.6  # of what is left at a displacement: what is left of a part that rests


def imbalance(both: Pair, row: np.ndarray) -> float:
    """Standard deviations by which parts differ: strong gradients from others, or smooth ones.

    ``row`` are the columns of the window that is the whole image.
    """
    sums = _sums(both, row, (row[kernel.DX], row[kernel.DY]))
    out = np.empty(2)
    misfit.imbalance(
        sums, _LEAST, row[kernel.LIKENESS], (row[kernel.VAR_X], row[kernel.VAR_Y]),
        _share(both.spectra.low.taps.tobytes()), np.empty((2, 2, misfit.BINS)), out,
    )  # fmt: skip
    return float(out.max())


def share_at_rest(both: Pair, row: np.ndarray) -> float:
    """The share of blocks whose images match far better at the displacement 0 than at their own."""
    moved, resting = (_sums(both, row, at) for at in ((row[kernel.DX], row[kernel.DY]), (0.0, 0.0)))
    known = (moved[misfit.COUNT] >= _LEAST) & (resting[misfit.COUNT] >= _LEAST)
    if not known.any():
        return 0.0
    left, at_rest = (
        (s[misfit.SQUARE] - s[misfit.REST] ** 2 / s[misfit.COUNT]) / s[misfit.COUNT]
        for s in (moved[:, known], resting[:, known])
    )
    return float(np.mean(at_rest < _BETTER * left))


def _sums(both: Pair, row: np.ndarray, place: tuple[float, float]) -> np.ndarray:
    """Sums (SUMS, n) over blocks at a displacement (dx, dy)."""
    rows, columns = both.shape
    step = max(1, rows * columns // _PIXELS)
    blocks = -(-rows // (misfit.SIDE * step)), -(-columns // misfit.SIDE)
    sums = np.empty((misfit.SUMS, *blocks), dtype=np.float32)
    misfit.block_sums(
        both.views, place, (row[kernel.GAIN], row[kernel.OFFSET]), step,
        misfit.make_lines(columns), sums,
    )  # fmt: skip
    return sums.reshape(misfit.SUMS, -1)


@lru_cache(maxsize=64)
def _share(taps: bytes) -> float:
    """Variance of the mean of smoothed noise in a block, times its pixels, by that of a pixel."""
    half, k = np.frombuffer(taps), np.linspace(0.0, np.pi, 257)
    smooth = half[0] + 2.0 * np.cos(np.outer(k, np.arange(1, len(half)))) @ half[1:]
    power = (smooth * low_pass.spline_response(k)) ** 2
    side = misfit.SIDE
    mean = np.sinc(side * k / (2 * np.pi)) / np.sinc(k / (2 * np.pi))
    return float(side * (power * mean**2).mean() / power.mean()) ** 2
