"""The first fits of the command: another process compiles them while this one finds the spots.

The other process begins with the kernel that a fit calls last, and this one goes on with the one
that a fit calls first. So both have work until all is compiled.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np

from ..base import thread_pool
from ..kernels._compile import noting
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
    """Compile what the command calls after its search, the last kernel first."""
    from ..spots.image_fits import fit_spots

    with noting() as kernels:
        fit_spots(IMAGE.astype(dtype), PLACES, model, method=method, pixel=pixel)
    for compile_kernel in reversed(kernels.values()):
        compile_kernel()
