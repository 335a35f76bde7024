"""Powers of 2 that bring numbers to where their squares, and sums of squares, are in range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_MODERATE = {4: (1e-15, 1e15), 8: (1e-100, 1e100)}  # by bytes


def unit_of(largest: float, kind: Any = np.float64) -> float:
    """A power of 2 that brings this number to about 1; 1 where its square is in range as it is.

    Examples
    --------
    >>> unit_of(3.0), unit_of(3e200) * 3e200
    (1.0, 0.9798151324726952)
    """
    least, most = _MODERATE[np.dtype(kind).itemsize]
    if not 0.0 < largest < np.inf or least < largest < most:
        return 1.0
    bound = np.finfo(kind).maxexp - 2
    return 2.0 ** min(max(-math.frexp(largest)[1], -bound), bound)


def power_of_two(size: float) -> float:
    """The power of two that brings a size into 1 to 2; 1 for 0, for infinity and for NaN.

    Examples
    --------
    >>> power_of_two(3.0), power_of_two(3e-200) * 3e-200
    (0.5, 1.1481757759353146)
    """
    if not 0.0 < size < math.inf:
        return 1.0
    return math.ldexp(1.0, min(1 - math.frexp(size)[1], 1023))
