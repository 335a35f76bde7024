"""Jobs over dask arrays: stacks, volumes and tables larger than memory, on threads or a cluster.

All functions are lazy: they check their arguments at once and compute nothing before ``compute``.
Results have the same bits however arrays are divided into chunks, unless the function says
otherwise. By default a task runs on one thread (`threads`), because dask runs several tasks at a
time.
"""

from __future__ import annotations

from typing import Any

try:
    import dask.array as da
except ImportError as error:
    raise ImportError(
        f"fastgauss.dask needs dask: pip install 'dask[array]', or fastgauss with its extra [dask] "
        f"({error})"
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
        A dask array, or anything that ``dask.array.asarray`` accepts.
    sigma, *args, **options
        As for `fastgauss.gaussian_filter`. `out` may be a dtype; `method` "auto" means "direct";
        `mask` may be a dask array.

    Returns
    -------
    dask array
        In the chunks of `image`, with the bits of `fastgauss.gaussian_filter` with
        ``method="direct"``, for any chunks and any mode.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    Notes
    -----
    A task reads its chunk and the elements around it within the radius of the filter. Chunks
    shorter than the radius are merged first. `fastgauss.gaussian_filter` does the same with a dask
    array.

    Examples
    --------
    >>> import dask.array as da, numpy as np, fastgauss as fg, fastgauss.dask
    >>> image = np.arange(400.0).reshape(20, 20) % 7
    >>> found = fg.dask.gaussian_filter(da.from_array(image, chunks=8), 1.2, mode="wrap")
    >>> bool((found.compute(scheduler="sync") == fg.gaussian_filter(image, 1.2, mode="wrap")).all())
    True
    """
    return filter_image(da.asarray(image), sigma, *args, **options)
