"""Local maxima of a float32 volume: found, refined, summed around, thinned to a distance."""

from __future__ import annotations

import numpy as np

from .._compile import device, kernel
from ..simd.lanes import broadcast, load, store
from ..simd.mask_bits import mask_bits
from ..simd.masked import lane_count

_MAGNITUDE = np.int32(0x7FFFFFFF)


@kernel
def plane_peaks(bits, peaks, start, stop):
    """Largest magnitude of each plane, from the bits of its float32 numbers.

    Without the sign bit, the bits as integers have the same order as the magnitudes, with infinity
    and NaN last. Compilers vectorise a maximum of integers.
    """
    _, ny, nx = bits.shape
    for z in range(start, stop):
        peak = np.int32(0)
        for y in range(ny):
            row = bits[z, y]
            for x in range(nx):
                peak = max(peak, row[x] & _MAGNITUDE)
        peaks[z] = peak


@device
def _any_highest(values, i, steps, least):
    """Whether one of the lanes from element i on is ``least`` or more and not below six others.

    The others are those beside it, and those at four steps from it.
    """
    here = load(values, i)
    high = here >= least
    if mask_bits(high) == 0:
        return False
    along = (here >= load(values, i - 1)) & (here >= load(values, i + 1))
    across = (here >= load(values, i + steps[0])) & (here >= load(values, i + steps[1]))
    beyond = (here >= load(values, i + steps[2])) & (here >= load(values, i + steps[3]))
    return mask_bits(high & along & across & beyond) != 0


@device
def _rank(volume, z, y, x):
    """2 if greater than all neighbours, 1 if some are equal and none greater, else 0."""
    nz, ny, nx = volume.shape
    centre = volume[z, y, x]
    rank = 2
    for k in range(max(z - 1, 0), min(z + 2, nz)):
        for j in range(max(y - 1, 0), min(y + 2, ny)):
            for i in range(max(x - 1, 0), min(x + 2, nx)):
                value = volume[k, j, i]
                if value > centre:
                    return 0
                if value == centre and (k != z or j != y or i != x):
                    rank = 1
    return rank


@kernel
def local_maxima(volume, above, start, stop, where, tied):
    """Elements greater than ``above`` in planes ``start .. stop - 1`` that no neighbour exceeds.

    Parameters
    ----------
    where : ndarray (capacity,) int64
        Receives flat indices in increasing order.
    tied : ndarray (capacity,) bool
        Receives whether a neighbour is equal.

    Returns
    -------
    int
        Number of such elements; only the first ``capacity`` are written.
    """
    nz, ny, nx = volume.shape
    least = np.float32(above)
    flat, lanes = volume.reshape(-1), lane_count(volume)
    count = 0
    for z in range(start, stop):
        before, after = z - max(z - 1, 0), min(z + 1, nz - 1) - z
        for y in range(ny):
            row, low, high = volume[z, y], y - max(y - 1, 0), min(y + 1, ny - 1) - y
            steps = -before * ny * nx, after * ny * nx, -low * nx, high * nx
            begin, end = 0, 0
            while end < nx:
                begin = end
                end = begin + lanes
                if begin == 0 or end >= nx:  # a neighbour is missing
                    end = 1 if begin == 0 else nx
                elif not _any_highest(flat, (z * ny + y) * nx + begin, steps, least):
                    continue
                for x in range(begin, end):
                    if row[x] <= above or row[x] < row[max(x - 1, 0)]:
                        continue
                    if row[x] >= row[min(x + 1, nx - 1)]:
                        rank = _rank(volume, z, y, x)
                        if rank > 0:
                            if count < where.size:
                                where[count] = (z * ny + y) * nx + x
                                tied[count] = rank == 1
                            count += 1
    return count


def _plateau_links(response: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of equal neighbours among elements, and the elements with another equal neighbour."""
    points = np.stack(np.unravel_index(where, response.shape), axis=1)
    pairs, open_ends = [], []
    for step in np.ndindex(3, 3, 3):
        near = points + np.array(step) - 1
        inside = np.flatnonzero(np.all((near >= 0) & (near < response.shape), axis=1))
        flat = np.ravel_multi_index(tuple(near[inside].T), response.shape)
        equal = response.flat[flat] == response.flat[where[inside]]
        inside, flat = inside[equal], flat[equal]
        place = np.minimum(np.searchsorted(where, flat), len(where) - 1)
        known = where[place] == flat
        pairs.append(np.stack([inside[known], place[known]]))
        open_ends.append(inside[~known])
    return np.concatenate(pairs, axis=1), np.concatenate(open_ends)


def plateau_centres(response: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The middle element of each plateau that has no greater neighbour.

    ``where`` holds, in increasing order, the elements that have an equal neighbour and no greater
    one. If a plateau has a greater neighbour, some of its elements are not in ``where``.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = len(where)
    (rows, columns), open_ends = _plateau_links(response, where)
    graph = coo_matrix((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(n, n))
    count, label = connected_components(graph, directed=False)
    points = np.unravel_index(where, response.shape)
    size = np.bincount(label, minlength=count)
    distance = sum((p - (np.bincount(label, p) / size)[label]) ** 2 for p in points)
    order = np.lexsort((where, distance, label))
    middle = order[np.searchsorted(label[order], np.arange(count))]
    return where[np.delete(middle, label[open_ends])]


@device
def _mirrored(i, n):
    """The index of an element of an axis that is mirrored beyond its ends."""
    if 0 <= i < n:
        return i
    i %= 2 * n
    return i if i < n else 2 * n - 1 - i


@kernel
def weighted_sums(volume, points, profiles, radii, sums, start, stop):
    """Sums of products of separable weights with the pixels around points ``start .. stop - 1``.

    Parameters
    ----------
    points : ndarray (n, 3) int64
    profiles : ndarray (terms, 3, 2 * radius + 1) float64
        Weights along the axes; beyond ``radii`` (3,) int64 of an axis they are not read.
    sums : ndarray (n, terms) float64
        The result.
    """
    middle = profiles.shape[2] // 2
    rows, width = (2 * radii[0] + 1) * (2 * radii[1] + 1), 2 * radii[2] + 1
    lanes = lane_count(sums)
    stride = -(-width // (2 * lanes)) * 2 * lanes
    window, line = np.zeros((rows, stride)), np.empty(stride)
    weights = np.empty((profiles.shape[0], rows))
    for t in range(profiles.shape[0]):
        for r in range(rows):
            k, j = r // (2 * radii[1] + 1), r % (2 * radii[1] + 1)
            weights[t, r] = (
                profiles[t, 0, middle - radii[0] + k] * profiles[t, 1, middle - radii[1] + j]
            )
    for p in range(start, stop):
        _copy_window(volume, points[p], radii, window)
        for t in range(profiles.shape[0]):
            _add_rows(window.reshape(-1), weights[t], line)
            total = 0.0
            for i in range(width):
                total += profiles[t, 2, middle - radii[2] + i] * line[i]
            sums[p, t] = total


@device
def _add_rows(rows, weights, line):
    """The weighted sum of rows, whose lengths are those of pairs of registers."""
    lanes = lane_count(line)
    for i in range(0, line.size, 2 * lanes):
        one, two = broadcast(0.0), broadcast(0.0)
        at = i
        for r in range(weights.size):
            weight = weights[r]
            one = one + weight * load(rows, at)
            two = two + weight * load(rows, at + lanes)
            at += line.size
        store(line, i, one)
        store(line, i + lanes, two)


@device
def _copy_window(volume, point, radii, window):
    """The rows of pixels around a point, mirrored beyond the borders."""
    nz, ny, nx = volume.shape
    first, width = point[2] - radii[2], 2 * radii[2] + 1
    within = first >= 0 and first + width <= nx
    r = 0
    for k in range(-radii[0], radii[0] + 1):
        z = _mirrored(point[0] + k, nz)
        for j in range(-radii[1], radii[1] + 1):
            source, row = volume[z, _mirrored(point[1] + j, ny)], window[r]
            if within:
                for i in range(width):
                    row[i] = source[first + i]
            else:
                for i in range(width):
                    row[i] = source[_mirrored(first + i, nx)]
            r += 1


@kernel
def refine(response, points, places):
    """Vertices of the parabolas through each of some elements and its two neighbours on an axis.

    Parameters
    ----------
    response : ndarray (nz, ny, nx) float32
    points : ndarray (n, 3) int64
    places : ndarray (n, 3) float64
        The result; along an axis on whose border an element lies, or on which it is no maximum, its
        index.
    """
    flat = response.reshape(-1)
    steps = response.shape[1] * response.shape[2], response.shape[2], 1
    for p in range(points.shape[0]):
        at = points[p, 0] * steps[0] + points[p, 1] * steps[1] + points[p, 2]
        centre = np.float64(flat[at])
        for axis in range(3):
            k = points[p, axis]
            places[p, axis] = k
            if 0 < k < response.shape[axis] - 1:
                before, after = flat[at - steps[axis]] - centre, flat[at + steps[axis]] - centre
                if before <= 0.0 and after <= 0.0 and before + after < 0.0:
                    places[p, axis] += 0.5 * (before - after) / (before + after)


@device
def _crowded(points, i, distance, head, link, cell):
    """Whether a point that was kept before lies closer than ``distance`` to point i."""
    z, y, x = points[i]
    c, b, a = z // cell[0], y // cell[1], x // cell[2]
    for k in range(max(c - 1, 0), min(c + 2, head.shape[0])):
        for m in range(max(b - 1, 0), min(b + 2, head.shape[1])):
            for n in range(max(a - 1, 0), min(a + 2, head.shape[2])):
                j = head[k, m, n]
                while j >= 0:
                    u = (points[j, 0] - z) / distance[0]
                    v = (points[j, 1] - y) / distance[1]
                    w = (points[j, 2] - x) / distance[2]
                    if u * u + v * v + w * w < 1.0:
                        return True
                    j = link[j]
    return False


@kernel
def thin(points, distance, cell, head, keep):
    """Keep each point that is not closer than ``distance`` to a point kept before it.

    Parameters
    ----------
    points : ndarray (n, 3) int64
        The strongest first.
    distance : ndarray (3,) float64
        Semi-axes of the ellipsoid around a point in which no weaker one is kept.
    cell : ndarray (3,) int64
        Edges of the cells of the search, not below ``distance`` or the axis's length.
    head : ndarray (cells, cells, cells) int64
        Filled with -1: heads of the cells' lists of points kept.
    keep : ndarray (n,) bool
        The result.
    """
    link = np.full(points.shape[0], -1)
    for i in range(points.shape[0]):
        keep[i] = not _crowded(points, i, distance, head, link, cell)
        if keep[i]:
            c, b, a = points[i, 0] // cell[0], points[i, 1] // cell[1], points[i, 2] // cell[2]
            link[i] = head[c, b, a]
            head[c, b, a] = i


@device
def _nearest(point, others, unit, reach, cell, head, link):
    """The square of the distance to the nearest of other points, and which one it is; -1: none."""
    c, b, a = point[0] // cell[0], point[1] // cell[1], point[2] // cell[2]
    least, which = reach * reach, -1
    for k in range(max(c - 1, 0), min(c + 2, head.shape[0])):
        for m in range(max(b - 1, 0), min(b + 2, head.shape[1])):
            for n in range(max(a - 1, 0), min(a + 2, head.shape[2])):
                j = head[k, m, n]
                while j >= 0:
                    square = 0.0
                    for axis in range(3):
                        square += ((others[j, axis] - point[axis]) / unit[axis]) ** 2
                    if square < least or (square == least and (which < 0 or j < which)):
                        least, which = square, j
                    j = link[j]
    return least, which


@kernel
def nearest(points, others, unit, reach, cell, head, away, which):
    """The nearest of other points to each point, and how far away it is.

    Parameters
    ----------
    points, others : ndarray (n, 3), (m, 3) int64
    unit : ndarray (3,) float64
        Pixels along each axis that are a distance of 1.
    reach : float
        Distance beyond which there is no nearest one.
    cell : ndarray (3,) int64
        Edges of the cells of the search, not below ``reach`` or the axis's length.
    head : ndarray (cells, cells, cells) int64
        Filled with -1: heads of the cells' lists of other points.
    away : ndarray (n,) float64
        The result: the distance, infinity if there is no nearest one.
    which : ndarray (n,) int64
        And which one that is; 0 if there is none.
    """
    link = np.empty(others.shape[0], np.int64)
    for j in range(others.shape[0]):
        c, b, a = others[j, 0] // cell[0], others[j, 1] // cell[1], others[j, 2] // cell[2]
        link[j] = head[c, b, a]
        head[c, b, a] = j
    for p in range(points.shape[0]):
        square, j = _nearest(points[p], others, unit, reach, cell, head, link)
        away[p], which[p] = (np.sqrt(square), j) if j >= 0 else (np.inf, 0)
