"""The fitted background of a joint fit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Background(NamedTuple):
    """The background between spots that a joint fit found or was given."""

    known: np.ndarray | None  # of the image's shape
    terms: np.ndarray  # (frames or 1, t): constant and slopes; t = 0 if known
    scale: np.ndarray  # (6,) middle of z, y, x and what brings them within -1 and 1
