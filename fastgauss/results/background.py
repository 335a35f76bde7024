"""The fitted background of a joint fit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Background(NamedTuple):
    """What a joint fit knows of the background between spots."""

    known: np.ndarray | None  # of the image's shape
    terms: np.ndarray  # (frames or 1, t): constant and slopes; t = 0 if known
    scale: np.ndarray  # (6,) middle of z, y, x and what brings them within -1 and 1
