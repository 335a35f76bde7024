"""Compile ahead of use."""

from __future__ import annotations

import numpy as np

from ._job import READ_AS_IS
from .detect import find_spots
from .field import GaussianField
from .fit import fit_rois, fit_spots


def warmup() -> None:
    """Compile the kernels of detection, fitting and fields, into the cache on disk.

    The first call of each kind otherwise compiles what it needs: about 2 s for
    `find_spots`, 3 to 6 s for a fit with one model and one dtype, 4 s for `render`. Later processes
    read the cache. Run it once after an installation, in an image of a cluster node,
    or before a server forks.

    Returns
    -------
    None

    Notes
    -----
    Takes about half a minute, and a second where everything is in the cache. With no
    writable cache (see `show_config`) it serves the calling process alone.

    Examples
    --------
    >>> import fastgauss as fg
    >>> fg.warmup()  # doctest: +SKIP
    """
    axis = np.arange(24.0) - 11.3
    profile = np.exp(-0.5 * (axis / 1.5) ** 2)
    image = 100.0 * np.multiply.outer(profile, profile) + 10.0
    find_spots(image)
    for model in ("symmetric", "elliptic", "rotated"):
        fit_spots(image, [[11.0, 11.0]], model)
        for dtype in READ_AS_IS:
            fit_rois(image[np.newaxis, 6:17, 6:17].astype(dtype), model)
    field = GaussianField(image.shape, [[11.0, 11.0]], 1.5)
    for kind in (np.float32, np.float64):
        field.loss_and_gradient(image.astype(kind), 100.0, ("amplitudes", "positions"))
        field.adjoint(image.astype(kind))
    field.fit_amplitudes(image)
