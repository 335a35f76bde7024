"""Stacks: the spots of every frame, frame by frame.

The command ``fastgauss fit`` and ``fastgauss.dask`` both use this function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from ..results.fit_result import FitResult


def fit_frames(
    frames: Iterable[np.ndarray], fit: Callable[[int, np.ndarray], FitResult], first: int = 0
) -> Iterator[tuple[int, np.ndarray, FitResult]]:
    """Number, pixels and spots of each frame; a frame without a finite pixel is skipped.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> frames = fg.image([[9.0, 6.0, 7.0, 1.3, 0.0]] * 2, (15, 15), model="symmetric")
    >>> for number, _, spots in fit_frames(frames, lambda k, frame: fg.fit_spots(frame), 10):
    ...     print(number, spots.x.round(3))
    10 [6.]
    11 [6.]
    """
    for number, frame in enumerate(frames, first):
        if frame.dtype.kind != "f" or np.isfinite(frame).any():
            yield number, frame, fit(number, frame)
