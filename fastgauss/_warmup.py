"""Compile ahead of use."""

from __future__ import annotations

import numpy as np

from ._job import READ_AS_IS
from .binning import bin_statistics, histogram
from .deposit import deposit, gather
from .detect import find_spots
from .field import GaussianField
from .fit import fit_rois, fit_spots
from .scatter import add_at
from .sphere import healpix_add


def warmup() -> None:
    """Compile the kernels of detection, fitting, fields and scatter, into the cache on disk.

    The first call of each kind otherwise compiles what it needs: about 2 s for
    `find_spots`, 3 to 6 s for a fit with one model and one dtype, 4 s for `render`. Later processes
    read the cache. Run it once after an installation, in an image of a cluster node,
    or before a server forks.

    Returns
    -------
    None

    Notes
    -----
    Takes about a minute, and a second where everything is in the cache. With no
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
    _warm_up_scatter()


def _warm_up_scatter() -> None:
    """Sums by bin, on a grid and on the sphere, of float64 values and the usual indices."""
    values, angles = np.ones(4), np.full(4, 0.5)
    for index in (np.int32, np.int64):
        few, many = np.arange(4, dtype=index), np.arange(1 << 17, dtype=index) % 4096
        for what, amounts in ((few, values), (many, np.ones(many.size))):
            add_at(np.zeros(4096), what, amounts)
        add_at(np.zeros(4096), many - 1, np.ones(many.size))  # some count from the end
    bin_statistics(few, values, 4)
    for weights in (None, values):
        histogram((angles, angles), 4, (0.0, 1.0), weights)
    for kernel in ("nearest", "linear"):
        places = np.stack([angles] * 3, axis=1)
        gather(deposit((4, 4, 4), places, values, kernel), places, kernel)
    for nest in (False, True):
        healpix_add(np.zeros(12), angles, angles, values, nest=nest)
