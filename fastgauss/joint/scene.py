"""The image at a point in parameter space."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

_SPOTS = 256  # a task's spots


Call = Callable[[np.ndarray], None]  # a task on some spots


class Scene(NamedTuple):
    """What is fitted: images as flat float64 arrays of z, y, x."""

    extent: np.ndarray  # (3,)
    data: np.ndarray
    second: np.ndarray  # weights or variances, or one number for all
    ground: np.ndarray  # known background, or (1,)
    owner: np.ndarray  # int32: whose pixel it is, -1 for nobody's
    boxes: np.ndarray  # (n, 6) the fitted pixels of each spot
    counts: bool  # Poisson likelihood
    integrate: bool


class State(NamedTuple):
    """A point in parameter space and what the image says there."""

    u: np.ndarray  # (n, p)
    ground: np.ndarray  # (g, t) terms of each group's background
    sums: np.ndarray  # (n, 2 + t (t + 3) / 2), see ``kernels/joint/image.py``


class Progress(NamedTuple):
    """How far a fit came."""

    state: State
    settled: np.ndarray  # (n,) spots whose step is within the tolerance
    rounds: np.ndarray  # (n,) that each took part in
    behind: np.ndarray  # (n,) spots left behind by their group
