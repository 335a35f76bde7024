"""Who overlaps with whom: the windows, links and groups of the spots of an image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

COUPLING = 1e-4  # overlap of two profiles, relative to their own, from which a pair is linked
MOST_REACH = 6.5  # sigmas; the light beyond is 7e-10 of the peak


class Crowd(NamedTuple):
    """Spots sorted by group, then place; n spots, m links, g groups."""

    windows: np.ndarray  # (n, 6) first pixel and extent along z, y, x: where light is counted
    group_of: np.ndarray  # (n,)
    lows: np.ndarray  # (g + 1,) first spot of each group
    pair_starts: np.ndarray  # (n + 1,) of the pairs i < j, by i
    pair_others: np.ndarray  # (pairs,)
    link_starts: np.ndarray  # (n + 1,) of both directions, closest first
    link_others: np.ndarray  # (2 pairs,)
    link_places: np.ndarray  # (2 pairs,) which pair; ~ of it where its block is to be turned


def reach_of(widths: np.ndarray, amplitude: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Half windows (n, d), in pixels, beyond which light is below 2 % of the noise's sigma."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        ratio = np.abs(amplitude) / (0.02 * noise)
        radius = np.sqrt(2 * np.log(np.maximum(ratio, 1.0)))
    radius = np.minimum(np.where(np.isfinite(radius), radius, MOST_REACH), MOST_REACH)
    return np.ceil(radius[:, None] * widths).astype(np.int64)


def _pairs(centres: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Pairs (m, 2) of spots whose windows share pixels."""
    from scipy.spatial import KDTree

    if len(centres) < 2:
        return np.empty((0, 2), np.intp)
    first, last = windows[:, :3], windows[:, :3] + windows[:, 3:]
    middle = 0.5 * (first + last)
    spans = windows[:, 3:].max(axis=0).astype(float)
    flat = spans > 0
    places = middle[:, flat] / spans[flat]  # windows meet where these differ by less than 1
    pairs = KDTree(places).query_pairs(1.0, p=np.inf, output_type="ndarray")
    i, j = pairs.T
    meet = (np.minimum(last[i], last[j]) > np.maximum(first[i], first[j])).all(axis=1)
    return pairs[meet]


def _coupling(centres: np.ndarray, widths: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """How much of their light pairs share, between 0 and 1, taken as if not turned."""
    i, j = pairs.T
    squares = widths[i] ** 2 + widths[j] ** 2
    return np.exp(-0.5 * ((centres[i] - centres[j]) ** 2 / squares).sum(axis=1))


def gather(
    centres: np.ndarray, widths: np.ndarray, windows: np.ndarray, zones: np.ndarray | None
) -> tuple[np.ndarray, Crowd]:
    """The order in which spots are worked on, and who is near whom.

    ``centres`` and ``widths`` are (n, 3) along z, y, x; ``zones`` (n,) puts spots that have
    something in common into one group, whether they overlap or not; None: those that overlap.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(centres)
    pairs = _pairs(centres, windows)
    label = zones
    if label is None:
        graph = coo_array((np.ones(len(pairs), bool), pairs.T), shape=(n, n))
        label = connected_components(graph, directed=False)[1]
    order = np.lexsort((*centres.T, label))
    rank = np.empty(n, np.intp)
    rank[order] = np.arange(n)
    label = label[order]
    begins = np.flatnonzero(np.r_[True, label[1:] != label[:-1]]) if n else np.empty(0, np.intp)
    lows = np.append(begins, n)
    group_of = np.repeat(np.arange(len(begins)), np.diff(lows))

    coupling = _coupling(centres, widths, pairs)
    linked = coupling > COUPLING
    ends, coupling = np.sort(rank[pairs[linked]], axis=1), coupling[linked]
    by_first = np.lexsort((ends[:, 1], ends[:, 0]))
    ends, coupling = ends[by_first], coupling[by_first]
    starts = np.searchsorted(ends[:, 0], np.arange(n + 1))

    place = np.arange(len(ends))
    one = np.concatenate([ends[:, 0], ends[:, 1]])
    other = np.concatenate([ends[:, 1], ends[:, 0]])
    where = np.concatenate([place, ~place])
    nearest = np.lexsort((other, -np.tile(coupling, 2), one))
    return order, Crowd(
        np.ascontiguousarray(windows[order]), group_of, lows, starts,
        np.ascontiguousarray(ends[:, 1]), np.searchsorted(one[nearest], np.arange(n + 1)),
        other[nearest], where[nearest],
    )  # fmt: skip
