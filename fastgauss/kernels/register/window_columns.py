"""The scratch memory, the statuses and the columns of the result of one window."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ROOM = 32  # float32 after the last pixel of a flat image, which whole registers may read
FLUSH = 8  # rows between sums of float64

CONVERGED, MAX_ITERATIONS, NO_TEXTURE, TOO_FEW_PIXELS, LOST = range(5)

SAME, OFFSET, LINEAR = range(3)  # how the brightness of b may differ from that of a

# columns of the result of a window
DX, DY, VAR_X, COV, VAR_Y, RESIDUAL, CORRELATION, PIXELS = range(8)
COLUMNS = 8


class Filter(NamedTuple):
    """What the kernel knows of the low-pass filter."""

    square: np.ndarray  # (r + 1,) float32, half of the autocorrelation of G along an axis
    correlation: np.ndarray  # (6,) autocorrelation of the filter of the coefficients
    own: float  # power of the noise of A_i times A's: what V has too much
    bias: np.ndarray  # (2,) largest error of interpolation in x and y, for these images


class Scratch(NamedTuple):
    """Memory of one thread for windows of at most so many rows and columns."""

    a: np.ndarray  # A, rows of a fixed length that registers divide
    px: np.ndarray  # P_x, then T_x
    py: np.ndarray
    w: np.ndarray  # weights, 0 beyond the window
    value: np.ndarray  # a row interpolated across the rows
    slope: np.ndarray
    sums: np.ndarray  # (16,)


def stride_of(columns: int) -> int:
    """Length of a row of scratch."""
    return -(-columns // 16) * 16


def make_scratch(rows: int, columns: int, radius: int) -> Scratch:
    """Scratch for windows of at most this shape and filters of at most this radius."""
    stride = stride_of(columns)
    a, px, py, w = np.zeros((4, rows * stride + ROOM), dtype=np.float32)
    value, slope = np.zeros((2, stride + 2 * (radius + ROOM)), dtype=np.float32)
    return Scratch(a, px, py, w, value, slope, np.zeros(16))
