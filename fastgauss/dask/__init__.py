"""Jobs over dask arrays: stacks, volumes and tables larger than memory, on threads or a cluster.

Everything here is lazy: what is wrong with the arguments is said at once, and nothing is
computed before ``compute``. Results do not depend on how arrays are divided into chunks, to the
bit, unless the function says so. A task runs on one thread (`threads`), because dask has
several in hand.
"""

from __future__ import annotations

from typing import Any

try:
    import dask.array as da
except ImportError as error:
    raise ImportError(
        f"fastgauss.dask needs dask: pip install 'fastgauss[dask]' ({error})"
    ) from error

from ..filters.gaussian import gaussian_filter as filter_image
from .fields import add_at, deposit, render
from .spots import fit_rois, fit_spots, open_stack

__all__ = ["add_at", "deposit", "fit_rois", "fit_spots", "gaussian_filter", "open_stack", "render"]


def gaussian_filter(image: Any, sigma: Any, *args: Any, **options: Any) -> Any:
    """Smooth or differentiate an array in chunks that overlap.

    Parameters
    ----------
    image : dask array
        Or anything that ``dask.array.asarray`` takes.
    sigma, *args, **options
        As for `fastgauss.gaussian_filter`. `out` may be a dtype; `method` "auto" means "direct";
        a `mask` may be dask's.

    Returns
    -------
    dask array
        In the chunks of `image`, with the bits of `fastgauss.gaussian_filter` with
        ``method="direct"``, whatever the chunks and the mode.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    Notes
    -----
    A task reads its chunk and the radius of the filter around it. Chunks that are shorter than
    that are merged on the way. `fastgauss.gaussian_filter` does the same with a dask array.

    Examples
    --------
    >>> import dask.array as da, numpy as np, fastgauss as fg, fastgauss.dask
    >>> image = np.arange(400.0).reshape(20, 20) % 7
    >>> found = fg.dask.gaussian_filter(da.from_array(image, chunks=8), 1.2, mode="wrap")
    >>> bool((found.compute(scheduler="sync") == fg.gaussian_filter(image, 1.2, mode="wrap")).all())
    True
    """
    return filter_image(da.asarray(image), sigma, *args, **options)
