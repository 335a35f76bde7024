"""Filters of dask arrays: each block is filtered together with the neighbouring elements it needs.

At the ends of the whole array, the block itself continues beyond the end as `mode` says; only mode
"wrap" needs elements from the other end. Each element is summed from the same numbers in the same
order as for an array in memory, so the result has the same bits. (Fourier transforms would not give
the same bits, so blocks are always filtered directly.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base.duck_arrays import Arguments, Function
from .dispatch import make_job, make_term


def by_overlap(function: Function, arguments: Arguments) -> Any:
    """`gaussian_filter` of a dask array."""
    import dask.array as da

    rest = dict(arguments)
    image, mask = da.asarray(rest.pop("image")), rest.pop("mask")
    rest["threads"] = rest["threads"] or 1
    empty = np.empty((0,) * image.ndim, image.dtype)
    dtype = function(image=empty, mask=None, **rest).dtype  # raises now if an argument is wrong
    if rest["method"] == "fft":
        raise ValueError("method must be 'auto' or 'direct' for arrays in blocks, got 'fft'")
    rest["method"] = "direct"
    job = make_job(empty, rest["mode"], rest["cval"], rest["axes"], None, None)
    term = make_term(job, rest["sigma"], rest["order"], rest["radius"], rest["truncate"])
    arrays = [image]
    if mask is not None:
        arrays.append(da.asarray(mask))
        if arrays[1].shape != image.shape:
            raise ValueError(f"mask must have the image's shape {image.shape}, got {mask.shape}")
    # mode "mirror" needs one element more than the radius
    chunks = tuple(
        da.overlap.ensure_minimum_chunksize(min(profile.radius + 1, sum(lengths)), lengths)
        if profile.radius and len(lengths) > 1
        else lengths
        for profile, lengths in zip(term, image.chunks, strict=True)
    )
    depth = {
        axis: profile.radius if len(lengths) > 1 else 0
        for axis, (profile, lengths) in enumerate(zip(term, chunks, strict=True))
    }
    wraps = {
        axis: "periodic" if job.modes[axis] == "wrap" and depth[axis] else "none" for axis in depth
    }

    def block(part: np.ndarray, gap: np.ndarray | None = None) -> np.ndarray:
        return function(image=part, mask=gap, **rest)

    result = da.map_overlap(
        block,
        *(array.rechunk(chunks) for array in arrays),
        depth=depth,
        boundary=wraps,
        dtype=dtype,
        meta=np.empty((0,) * image.ndim, dtype),
        allow_rechunk=False,
    )
    return result.rechunk(image.chunks)
