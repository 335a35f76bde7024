"""The first fits of the command: another process compiles them while this one finds the spots."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np

from ..base import thread_pool
from . import compile_processes

AXIS = np.arange(32.0)
PROFILE = np.exp(-0.5 * ((AXIS - 11.3) / 1.5) ** 2)
IMAGE = 100.0 * np.multiply.outer(PROFILE, PROFILE) + 10.0
PLACES = ((11.0, 11.0), (14.0, 12.0))


def shared_fit(model: str, method: str, pixel: str, dtype: str) -> AbstractContextManager[None]:
    """Another process that compiles the fits of spots, while the block finds them."""
    given = [[model, method, pixel, dtype]] if thread_pool.available_cores() > 1 else []
    return compile_processes.started(f"{__name__}:share_fit", given)


def share_fit(model: str, method: str, pixel: str, dtype: str) -> None:
    """Fit spots as the command does after its search."""
    from ..spots.image_fits import fit_spots

    fit_spots(IMAGE.astype(dtype), PLACES, model, method=method, pixel=pixel)
