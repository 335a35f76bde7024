"""Images deformed by a displacement field, interpolated by quintic B-splines."""

from __future__ import annotations

import numpy as np

from .._compile import kernel
from ..simd.lanes import floor
from .quintic_spline import spline_weights

PAD = 3  # coefficients beyond each border


@kernel
def deform(coefficients, dy, dx, share, out, begin, end):
    """Rows [begin, end) of the image at the pixels + ``share`` times a displacement.

    Places beyond the border are moved to the border.

    Parameters
    ----------
    coefficients : ndarray (Y + 2 PAD, X + 2 PAD) float32
    dy, dx : ndarray (Y, X)
        Displacement of every pixel.
    share : float
    out : ndarray (Y, X) float32
    """
    rows, columns = out.shape
    for i in range(begin, end):
        for j in range(columns):
            y = min(max(i + share * dy[i, j], 0.0), rows - 1.0)
            x = min(max(j + share * dx[i, j], 0.0), columns - 1.0)
            top, left = int(floor(y)), int(floor(x))
            wy, wx = spline_weights(y - top), spline_weights(x - left)
            value = 0.0
            for k in range(6):
                at, first = top + k + PAD - 2, left + PAD - 2
                line = 0.0
                for m in range(6):
                    line += wx[m] * coefficients[at, first + m]
                value += wy[k] * line
            out[i, j] = np.float32(value)
