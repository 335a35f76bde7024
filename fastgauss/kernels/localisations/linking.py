"""Links between localisations of one molecule in successive frames, by optimal assignment.

Frame by frame, the localisations of a frame are joined with the ends of the tracks so far, so that

    sum of squared distances + (number of localisations of the frame that stay alone)

is least, with distances in units of the search radius. A localisation and an end that are farther
apart than 1 are never joined. The problem is solved by shortest augmenting paths, one localisation
after the other (Crouse 2016, IEEE Trans. Aerosp. Electron. Syst. 52, 1679); a path stays among
localisations that share candidates, so that the work is that of the small clusters.

The ends of tracks are in the buckets of a hash table of cells whose edge is the radius.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._compile import device, kernel

AXES = 3
_ALONE = 1.0 + 1e-9  # cost of a localisation without a link: a pair at distance 1 is linked
_FAR = 4.0e15  # cells beyond which floats are no longer whole numbers
_NONE = np.int32(-1)


class Tracks(NamedTuple):
    """The ends of tracks, by cells, and what is known of each localisation (n,)."""

    heads: np.ndarray  # (2**k,) int32: the first end in each bucket
    following: np.ndarray  # (n,) int32: the next end in the bucket
    preceding: np.ndarray  # (n,) int32
    opened: np.ndarray  # (n,) bool: whether the localisation is the end of a track
    slot: np.ndarray  # (n,) int32: the place of an end among the candidates of a frame
    previous: np.ndarray  # (n,) int32: the localisation that this one continues


class Candidates(NamedTuple):
    """The pairs of a frame, row by row, and the search of an augmenting path among them."""

    starts: np.ndarray  # (rows + 1,) where the pairs of each row begin
    slots: np.ndarray  # (m,) int32: the end of each pair
    costs: np.ndarray  # (m,)
    ends: np.ndarray  # (m,) int32: the localisation in each slot
    degree: np.ndarray  # (m,) int32: the pairs of each slot
    owner: np.ndarray  # (m,) int32: the row that an end is assigned to
    price: np.ndarray  # (m,) dual variables of the ends
    shortest: np.ndarray  # (m,) length of the shortest path to an end
    path: np.ndarray  # (m,) int32: the row before it on this path
    settled: np.ndarray  # (m,) bool
    reached: np.ndarray  # (m,) int32: the ends that the search has reached
    assigned: np.ndarray  # (rows,) int32: the slot that a row is assigned to
    rent: np.ndarray  # (rows,) dual variables of the rows


@device
def _cell(x):
    return min(max(np.floor(x), -_FAR), _FAR)


@device
def _bucket(z, y, x, count):
    key = np.int64(z) * np.int64(73856093)
    key = key ^ (np.int64(y) * np.int64(19349663))
    key = key ^ (np.int64(x) * np.int64(83492791))
    return (key ^ (key >> np.int64(17))) & np.int64(count - 1)


@device
def _bucket_of(places, i, count):
    return _bucket(_cell(places[i, 0]), _cell(places[i, 1]), _cell(places[i, 2]), count)


@device
def _open(tracks, places, i):
    """Make a localisation the end of a track."""
    b = _bucket_of(places, i, tracks.heads.size)
    first = tracks.heads[b]
    tracks.following[i] = first
    tracks.preceding[i] = _NONE
    if first >= 0:
        tracks.preceding[first] = i
    tracks.heads[b] = i
    tracks.opened[i] = True


@device
def _close(tracks, places, i):
    """The track of this end goes on elsewhere, or is over."""
    before, after = tracks.preceding[i], tracks.following[i]
    if before >= 0:
        tracks.following[before] = after
    else:
        tracks.heads[_bucket_of(places, i, tracks.heads.size)] = after
    if after >= 0:
        tracks.preceding[after] = before
    tracks.opened[i] = False


@device
def _pair(tracks, found, places, axes, j, count, ends):
    """Append the ends within the radius of localisation j; the new numbers of pairs and ends.

    Pairs that there is no room for are counted, not written.
    """
    cz, cy, cx = _cell(places[j, 0]), _cell(places[j, 1]), _cell(places[j, 2])
    deep, wide = int(axes > 2), int(axes > 1)
    for oz in range(-deep, deep + 1):
        for oy in range(-wide, wide + 1):
            for ox in range(-1, 2):
                z, y, x = cz + oz, cy + oy, cx + ox
                i = tracks.heads[_bucket(z, y, x, tracks.heads.size)]
                while i >= 0:
                    same = _cell(places[i, 0]) == z and _cell(places[i, 1]) == y
                    if same and _cell(places[i, 2]) == x:
                        square = 0.0
                        for a in range(AXES):
                            square += (places[i, a] - places[j, a]) ** 2
                        if square <= 1.0:
                            if count < found.slots.size:
                                slot = tracks.slot[i]
                                if slot < 0:
                                    slot = ends
                                    tracks.slot[i] = slot
                                    found.ends[slot] = i
                                    found.degree[slot] = 0
                                    ends += 1
                                found.slots[count] = slot
                                found.costs[count] = square
                                found.degree[slot] += 1
                            count += 1
                    i = tracks.following[i]
    return count, ends


@device
def _search(found, start):
    """Assign one more row: the shortest path from it to a free end, or to a row left alone."""
    row, low = start, 0.0
    alone, least_alone = start, np.inf  # the row that is best left alone, and the path's length
    reached, sink = 0, _NONE
    while True:
        length = low + _ALONE - found.rent[row]
        if length < least_alone:
            alone, least_alone = row, length
        for c in range(found.starts[row], found.starts[row + 1]):
            slot = found.slots[c]
            if found.settled[slot]:
                continue
            length = low + found.costs[c] - found.rent[row] - found.price[slot]
            if length < found.shortest[slot]:
                if found.shortest[slot] == np.inf:
                    found.reached[reached] = slot
                    reached += 1
                found.shortest[slot] = length
                found.path[slot] = row
        nearest, low = _NONE, least_alone
        for k in range(reached):
            slot = found.reached[k]
            if not found.settled[slot] and found.shortest[slot] < low:
                nearest, low = slot, found.shortest[slot]
        if nearest < 0:
            break
        if found.owner[nearest] < 0:
            sink = nearest
            break
        found.settled[nearest] = True
        row = found.owner[nearest]

    found.rent[start] += low
    for k in range(reached):
        slot = found.reached[k]
        if found.settled[slot]:
            less = low - found.shortest[slot]
            found.rent[found.owner[slot]] += less
            found.price[slot] -= less
        found.settled[slot] = False
        found.shortest[slot] = np.inf

    if sink < 0:
        sink = found.assigned[alone]
        found.assigned[alone] = _NONE
        if alone == start:
            return
    while True:
        row = found.path[sink]
        found.owner[sink] = row
        before = found.assigned[row]
        found.assigned[row] = sink
        if row == start:
            return
        sink = before


@device
def _assign(found, rows, ends):
    """The least sum: pairs that have no rival at once, the others by augmenting paths."""
    for slot in range(ends):
        found.owner[slot] = _NONE
        found.price[slot] = 0.0
        found.shortest[slot] = np.inf
        found.settled[slot] = False
    for row in range(rows):
        found.assigned[row] = _NONE
        found.rent[row] = 0.0
        first, last = found.starts[row], found.starts[row + 1]
        if last == first:
            continue
        if last == first + 1 and found.degree[found.slots[first]] == 1:
            found.assigned[row] = found.slots[first]
            continue
        _search(found, row)


@kernel
def link(places, axes, frames, gap, tracks, found, oldest, begin):
    """Link localisations from ``begin`` on, frame by frame.

    Parameters
    ----------
    places : ndarray (n, 3)
        In units of the search radius, zeros before the axes that there are; sorted by frame.
    axes : int
    frames : ndarray (n,) int64
    gap : int
        Frames that may lie between two linked localisations.
    tracks : Tracks
    found : Candidates
    oldest, begin : int
        The first localisation that may be an end, and the first of the next frame.

    Returns
    -------
    oldest, begin, pairs : int
        Where to go on, and the pairs that the frame there has: more than there is room for. All
        are linked when ``begin`` is n.
    """
    n = frames.size
    while begin < n:
        frame = frames[begin]
        end = begin
        while end < n and frames[end] == frame:
            end += 1
        while oldest < begin and frame - frames[oldest] - 1 > gap:
            if tracks.opened[oldest]:
                _close(tracks, places, oldest)
            oldest += 1

        count, ends = 0, 0
        for j in range(begin, end):
            found.starts[j - begin] = count
            count, ends = _pair(tracks, found, places, axes, j, count, ends)
        found.starts[end - begin] = count
        enough = count <= found.slots.size
        if enough:
            _assign(found, end - begin, ends)
        for slot in range(ends):
            tracks.slot[found.ends[slot]] = _NONE
        if not enough:
            return oldest, begin, count

        for j in range(begin, end):
            slot = found.assigned[j - begin]
            if slot >= 0:
                tracks.previous[j] = found.ends[slot]
                _close(tracks, places, found.ends[slot])
        for j in range(begin, end):
            _open(tracks, places, j)
        begin = end
    return oldest, begin, 0


@kernel
def number_tracks(previous, numbers):
    """Number the tracks in the order of their first localisations; how many there are."""
    count = 0
    for j in range(previous.size):
        if previous[j] >= 0:
            numbers[j] = numbers[previous[j]]
        else:
            numbers[j] = count
            count += 1
    return count
