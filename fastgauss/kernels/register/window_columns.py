"""Windows in kernels: statuses, columns of results, inputs, sums, scratch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._compile import device

ROOM = 32  # float32 after the last pixel of a flat image, which whole registers may read
FLUSH = 8  # rows between sums of float64
_TOGETHER = 512  # pixels of rows that are summed, or filtered, together

CONVERGED, MAX_ITERATIONS, NO_TEXTURE, TOO_FEW_PIXELS, LOST = range(5)
ONE_DIRECTION = 6  # 5 is Status.AMBIGUOUS, which no kernel finds

SAME, LINEAR = range(2)  # how the brightness of b may differ from that of a

# columns of the result of a window
DX, DY, VAR_X, COV, VAR_Y, RESIDUAL, CORRELATION, PIXELS, LIKENESS, SPREAD = range(10)
GAIN, OFFSET = 10, 11  # of the line gain b + offset that is a
COLUMNS = 12


class Views(NamedTuple):
    """Two images as splines: flat arrays with room after the last pixel."""

    a: np.ndarray  # float32 spline coefficients of the smoothed first image
    value: np.ndarray  # float32 the first image at its pixels
    slope_x: np.ndarray  # its derivatives, perhaps of another filter
    slope_y: np.ndarray
    precision_a: np.ndarray  # float32 1 / variance of its pixels; 0 where missing
    b: np.ndarray  # the same of the second image
    precision_b: np.ndarray
    rows: int
    columns: int


class Rules(NamedTuple):
    """How a window is refined."""

    brightness: int  # SAME or LINEAR
    max_iter: int
    tol: float  # pixels: the last step
    fewest: float  # pixels of a window that must exist in both images
    reach: float  # pixels that a solution may be away from where it began
    unit: float  # the variance of which the precisions are parts; 0: the residual tells it
    noise_ratio: float  # variance of the noise of b by that of a's, where it is not known
    telling: float  # weight below which a pixel does not tell how noise goes with brightness


class Filter(NamedTuple):
    """The low-pass filter G, as the kernels take it."""

    smooth: np.ndarray  # (r + 1,) float32, half of G along an axis
    correlation: np.ndarray  # (6,) autocorrelation of the filter of the coefficients
    kept: float  # of the variance of white noise, in A
    own: float  # power of the noise of A_i times that of A: what V has too much
    slopes: float  # power of the noise of A_i times that of B_i
    bias: np.ndarray  # (2,) largest error of interpolation in x and y, for these images


class Box(NamedTuple):
    """A rectangle of pixels of the first image."""

    top: int
    left: int
    rows: int
    columns: int


class Move(NamedTuple):
    """Where a window of the first image lies in the second."""

    dx: float
    dy: float
    gain: float  # by which the second image is multiplied


class Moments(NamedTuple):
    """Weighted sums over the pixels of a window: A, and its derivatives along x and y."""

    w: float
    a: float
    aa: float
    x: float
    y: float
    ax: float
    ay: float
    xx: float
    yy: float


class Normal(NamedTuple):
    """Sums over a window at a displacement, of P = (P_x, P_y), B = (B, B_x, B_y), r = A - g B."""

    score_x: float  # P_x r
    score_y: float
    hxx: float  # P_x B_x
    hxy: float  # P_x B_y
    hyx: float
    hyy: float
    r: float  # w r
    rr: float  # w r^2
    bb: float  # w B^2
    slopes: float  # w (B_x^2 + B_y^2)
    spread: float  # (P_x B_x + P_y B_y)^2


class Scratch(NamedTuple):
    """Memory of one thread for windows of at most so many rows and columns."""

    a: np.ndarray  # A, rows of a fixed length that registers divide
    px: np.ndarray  # P_x
    py: np.ndarray
    w: np.ndarray  # weights, 0 beyond the window
    r: np.ndarray  # A - g B, then a variance of pixels
    value: np.ndarray  # some rows of whatever is filtered
    slope: np.ndarray
    first: np.ndarray  # some rows of variances
    second: np.ndarray


def stride_of(columns: int) -> int:
    """Length of a row of scratch."""
    return -(-columns // 16) * 16


@device
def rows_together(stride):
    """Rows of scratch, ``FLUSH`` at most, that are summed, or filtered, together."""
    return max(1, min(FLUSH, _TOGETHER // stride))


def make_scratch(rows: int, columns: int, radius: int) -> Scratch:
    """Scratch for windows of at most this shape and filters of at most this radius."""
    stride = stride_of(columns)
    a, px, py, w, r = np.zeros((5, rows * stride + ROOM), dtype=np.float32)
    # narrower windows have more rows together
    length = max(_TOGETHER, stride) + FLUSH * (2 * radius + ROOM) + 2 * (2 * radius + ROOM)
    lines = np.zeros((4, length), dtype=np.float32)
    return Scratch(a, px, py, w, r, *lines)
