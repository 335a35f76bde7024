"""Slow, obvious twins of scatter: one Python loop over the pairs."""

import math

import numpy as np


def place(k, size, mode):
    """The bin that an index means; None for none."""
    k = int(k)
    if mode == "wrap":
        return k % size
    if mode == "clip":
        return min(max(k, 0), size - 1)
    if mode == "drop":
        return k if 0 <= k < size else None
    if not -size <= k < size:
        raise IndexError(k)
    return k % size


def add_at(out, indices, values, mode="raise"):
    """One addition after another, each rounded to the dtype of ``out``."""
    arrays = indices if isinstance(indices, tuple) else (indices,)
    arrays = np.broadcast_arrays(*arrays)
    values = np.broadcast_to(values, arrays[0].shape + out.shape[len(arrays) :])
    for position in np.ndindex(arrays[0].shape):
        where = tuple(
            place(array[position], n, mode) for array, n in zip(arrays, out.shape, strict=False)
        )
        if None not in where:
            out[where] = (out[where] + values[position]).astype(out.dtype)


def exact_sums(size, indices, values):
    """Correctly rounded sums."""
    return np.array([math.fsum(values[indices == k]) for k in range(size)])


def bin_statistics(indices, values, size, weights=None):
    """The textbook's two passes, bin by bin."""
    weights = np.ones(len(values)) if weights is None else weights
    rows = []
    for k in range(size):
        v, w = values[indices == k].astype(float), weights[indices == k].astype(float)
        if not v.size:
            rows.append((0, 0.0, np.nan, np.nan, np.nan, np.nan))
            continue
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (w * v).sum() / w.sum()
            variance = (w * (v - mean) ** 2).sum() / w.sum()
        rows.append((v.size, (w * v).sum(), mean, variance, v.min(), v.max()))
    return [np.array(column) for column in zip(*rows, strict=True)]
