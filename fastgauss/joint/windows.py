"""Windows of a joint fit: the box of pixels around each spot in which its light is counted.

A window reaches as far as the light of its spot stands out of the noise, and covers at least the
box whose pixels are fitted around the spot. The driver lays the windows anew where the fit changed
widths, amplitudes or the noise so much that a wider window is due.
"""

from __future__ import annotations

import numpy as np

from ..results.pixel_owners import boxes_around
from .arguments import in_three

MOST_REACH = 6.5  # sigmas; the light beyond is 7e-10 of the peak
_FAINT = 0.02  # of the noise's sigma: light below it is not counted


def reach_of(widths: np.ndarray, amplitude: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Half windows (n, d), in pixels, beyond which light is below 2 % of the noise's sigma."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        ratio = np.abs(amplitude) / (_FAINT * noise)
        radius = np.sqrt(2 * np.log(np.maximum(ratio, 1.0)))
    radius = np.minimum(np.where(np.isfinite(radius), radius, MOST_REACH), MOST_REACH)
    return np.ceil(radius[:, None] * widths).astype(np.int64)


def half_windows(reach: np.ndarray, box: tuple[int, ...]) -> np.ndarray:
    """Half windows (n, 3) along z (or frames), y and x: the reach of the light, at least the box.

    ``reach`` (n, 3) is in pixels along these axes, of any value along frames; ``box`` is the extent
    of the fitted box along the axes of the image, 1 to 3.
    """
    half = np.maximum(reach, (in_three(box) + 1) // 2)
    half[:, : 3 - len(box)] = 0
    return half


def lay_windows(centres: np.ndarray, half: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """Windows (n, 6), the first pixel and the extent, around centres (n, 3), within the image."""
    return boxes_around(centres, half, 2 * half + 1, extent)
