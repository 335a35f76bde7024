"""Which spots of an image overlap: links, clusters and groups."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..kernels.joint.arrays import Links, Members, Pairs
from ..kernels.joint.clusters import unite

COUPLING = 1e-10  # overlap of two profiles, relative to their own, from which a pair is linked
_STRONG = 0.3  # overlap from which two spots belong to one cluster
_MORE = 0.03  # overlap that is more than a little
_CLUSTER = 8  # spots of a cluster at most
_WIDE = 2.0  # times the usual window, from which a window is looked at for itself


class Crowd(NamedTuple):
    """Spots sorted by group, then cluster, then place; n spots, k clusters, g groups."""

    windows: np.ndarray  # (n, 6) first pixel and extent along z, y, x: where light is counted
    boxes: np.ndarray  # (k, 6) the windows of a cluster
    group_of: np.ndarray  # (n,)
    cluster_of: np.ndarray  # (n,)
    cluster_groups: np.ndarray  # (k,)
    members: Members
    pairs: Pairs
    links: Links


def _pairs(windows: np.ndarray) -> np.ndarray:
    """Pairs (m, 2) of spots whose windows share pixels."""
    from scipy.spatial import KDTree

    if len(windows) < 2:
        return np.empty((0, 2), np.intp)
    first, last = windows[:, :3], windows[:, :3] + windows[:, 3:]
    middle, extents = 0.5 * (first + last), windows[:, 3:].astype(float)
    usual = np.maximum(_WIDE * np.median(extents, axis=0), 1.0)
    wide = (extents > usual).any(axis=1)
    narrow, few = np.flatnonzero(~wide), np.flatnonzero(wide)
    # windows within the usual extent meet only where these places differ by less than 1
    near = KDTree(middle[narrow] / usual).query_pairs(1.0, p=np.inf, output_type="ndarray")
    parts = [narrow[near]]
    for k, i in enumerate(few.tolist()):
        others = np.concatenate([narrow, few[k + 1 :]])
        close = (2 * np.abs(middle[others] - middle[i]) < extents[others] + extents[i]).all(axis=1)
        parts.append(np.column_stack([np.full(close.sum(), i), others[close]]))
    pairs = np.concatenate(parts)
    i, j = pairs.T
    meet = (np.minimum(last[i], last[j]) > np.maximum(first[i], first[j])).all(axis=1)
    return pairs[meet]


def _coupling(centres: np.ndarray, widths: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The overlap of the light of pairs, 0 to 1; rotated spots count as unrotated."""
    i, j = pairs.T
    squares = widths[i] ** 2 + widths[j] ** 2
    return np.exp(-0.5 * ((centres[i] - centres[j]) ** 2 / squares).sum(axis=1))


def _labels(
    n: int, pairs: np.ndarray, coupling: np.ndarray, zones: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The group and the cluster of each spot."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    group = zones
    if group is None:
        graph = coo_array((np.ones(len(pairs), bool), pairs.T), shape=(n, n))
        group = connected_components(graph, directed=False)[1]
    strong = np.flatnonzero(coupling > _STRONG)
    i, j = pairs[strong].T
    order = np.lexsort((np.maximum(i, j), np.minimum(i, j), -coupling[strong]))
    cluster = np.arange(n)
    unite(np.ascontiguousarray(pairs[strong[order]]), _CLUSTER, cluster, np.ones(n, np.intp))
    return group, cluster


def _starts(*labels: np.ndarray) -> np.ndarray:
    """Where runs of equal labels begin, and the end."""
    new = np.zeros(len(labels[0]), bool)
    for label in labels:
        new[1:] |= label[1:] != label[:-1]
    new[:1] = True
    return np.append(np.flatnonzero(new), len(new))


def _sorted_pairs(ends: np.ndarray, coupling: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (m, 2) of spots as i < j, by i and j, and their overlaps."""
    ends = np.sort(ends, axis=1)
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    return ends[order], coupling[order]


def _by_first(n: int, ends: np.ndarray) -> Pairs:
    """Sorted pairs of n spots."""
    return Pairs(np.searchsorted(ends[:, 0], np.arange(n + 1)), np.ascontiguousarray(ends[:, 1]))


def _both_ways(n: int, ends: np.ndarray, coupling: np.ndarray, place: np.ndarray) -> Links:
    """Links of n spots by these pairs, ``place`` (m,) being where each is among all pairs."""
    one = np.concatenate([ends[:, 0], ends[:, 1]])
    other = np.concatenate([ends[:, 1], ends[:, 0]])
    where = np.concatenate([place, ~place])
    nearest = np.lexsort((other, -np.tile(coupling, 2), one))
    return Links(
        np.searchsorted(one[nearest], np.arange(n + 1)), other[nearest], where[nearest]
    )  # fmt: skip


def gather(
    centres: np.ndarray, widths: np.ndarray, windows: np.ndarray, zones: np.ndarray | None
) -> tuple[np.ndarray, Crowd]:
    """The order in which spots are solved, and which spots are neighbours.

    ``centres`` and ``widths`` are (n, 3) along z, y, x; ``zones`` (n,) puts spots that have
    something in common into one group, whether they overlap or not; None: those that overlap.
    """
    n = len(centres)
    pairs = _pairs(windows)
    coupling = _coupling(centres, widths, pairs)
    group, cluster = _labels(n, pairs, coupling, zones)
    rank, first = np.empty(n, np.intp), np.full(n, n)
    rank[np.lexsort(centres.T)] = np.arange(n)
    np.minimum.at(first, cluster, rank)
    order = np.lexsort((rank, first[cluster], group))
    rank[order] = np.arange(n)
    group, cluster = group[order], cluster[order]
    group_spots, cluster_spots = _starts(group), _starts(group, cluster)
    members = Members(group_spots, np.searchsorted(cluster_spots, group_spots), cluster_spots)
    group_of = np.repeat(np.arange(len(group_spots) - 1), np.diff(group_spots))
    cluster_of = np.repeat(np.arange(len(cluster_spots) - 1), np.diff(cluster_spots))

    linked = coupling > COUPLING
    ends, coupling = _sorted_pairs(rank[pairs[linked]], coupling[linked])
    windows = np.ascontiguousarray(windows[order])
    return order, Crowd(
        windows, _boxes(windows, cluster_spots), group_of, cluster_of,
        group_of[cluster_spots[:-1]], members,
        _by_first(n, ends), _both_ways(n, ends, coupling, np.arange(len(ends))),
    )  # fmt: skip


def meet_again(
    crowd: Crowd, centres: np.ndarray, widths: np.ndarray
) -> tuple[Crowd, Links, np.ndarray]:
    """The crowd with all pairs whose windows meet, the links of those that overlap now, and how
    many spots (n,) each overlaps with by more than a little.

    ``centres`` and ``widths`` are (n, ndim). The equations of all these pairs are a product of
    derivatives with themselves, so no spot that has become wide makes their matrix indefinite.
    """
    n, pairs = len(centres), _pairs(crowd.windows)
    ends, coupling = _sorted_pairs(pairs, _coupling(centres, widths, pairs))
    place, near = np.arange(len(ends)), coupling > COUPLING
    whole = crowd._replace(
        pairs=_by_first(n, ends), links=_both_ways(n, ends, coupling, place)
    )  # fmt: skip
    many = np.bincount(ends[coupling > _MORE].ravel(), minlength=n)
    return whole, _both_ways(n, ends[near], coupling[near], place[near]), many


def _boxes(windows: np.ndarray, cluster_spots: np.ndarray) -> np.ndarray:
    """The boxes (k, 6) around the windows of each cluster."""
    if not len(windows):
        return np.empty((0, 6), np.int64)
    first = np.minimum.reduceat(windows[:, :3], cluster_spots[:-1])
    last = np.maximum.reduceat(windows[:, :3] + windows[:, 3:], cluster_spots[:-1])
    return np.concatenate([first, last - first], axis=1)
