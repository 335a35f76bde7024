"""Clusters: spots that overlap most, a few together."""

from __future__ import annotations

from .._compile import device, kernel


@device
def _root(label, i):
    """The first spot of the cluster of spot i."""
    while label[i] != i:
        i = label[i]
    return i


@kernel
def unite(pairs, most, label, sizes):
    """Join the clusters of pairs, in this order, that have at most ``most`` spots together.

    ``label`` comes as 0, 1, 2, ..., ``sizes`` as ones; ``label`` becomes the same number for the
    spots of a cluster.
    """
    for k in range(pairs.shape[0]):
        i, j = _root(label, pairs[k, 0]), _root(label, pairs[k, 1])
        if i != j and sizes[i] + sizes[j] <= most:
            i, j = min(i, j), max(i, j)
            label[j] = i
            sizes[i] += sizes[j]
    for i in range(label.size):
        label[i] = _root(label, i)
