"""The noise of a volume: samples on a grid, their deviation, and values between cells."""

from __future__ import annotations

import math

import numpy as np

from .._compile import device, kernel

MAD_TO_SIGMA = 1.482602218505602  # of a normal distribution
CLIP = 3.0  # samples farther from the median than this many sigmas are spots, not noise
LOWER = 0.02275, 0.15866  # parts of a normal distribution below -2 and -1 deviations
_CLIPPED = 0.98658  # deviation of a normal distribution that is cut at CLIP


@device
def _is_flat(volume, z, y, x):
    """Whether a pixel equals all its neighbours along the axes.

    Such pixels carry no noise: padding, saturation, a background of exact zeros.
    """
    nz, ny, nx = volume.shape
    here = volume[z, y, x]
    return (
        volume[z, y, max(x - 1, 0)] == here
        and volume[z, y, min(x + 1, nx - 1)] == here
        and volume[z, max(y - 1, 0), x] == here
        and volume[z, min(y + 1, ny - 1), x] == here
        and volume[max(z - 1, 0), y, x] == here
        and volume[min(z + 1, nz - 1), y, x] == here
    )


@kernel
def take_samples(source, response, at_z, at_y, at_x, samples):
    """The response on a grid; NaN where the source equals all its neighbours along the axes."""
    for k in range(at_z.size):
        z = at_z[k]
        for j in range(at_y.size):
            y = at_y[j]
            for i in range(at_x.size):
                x = at_x[i]
                samples[k, j, i] = np.nan if _is_flat(source, z, y, x) else response[z, y, x]


@kernel
def likeness(source, response, gap, places, each, cells, steps):
    """How alike the response on a grid is to that some pixels farther on.

    Values are those less the centre of their cell, by its deviation. Those beyond CLIP, missing
    pixels, and pixels that equal all their neighbours do not count.

    Parameters
    ----------
    source, response : ndarray (nz, ny, nx) float32
    gap : ndarray (nz, ny, nx) or (0, 0, 0) bool
        Missing pixels; an empty array if there are none.
    places : (ndarray (n,) int64, ndarray (n,) int64, ndarray (n,) int64)
        Where the grid is along each axis.
    each : (int, int, int)
        Its points in a cell, along each axis.
    cells : ndarray (2, cz, cy, cx) float64
        Centres and deviations of the response.
    steps : (int, int, int)
        How much farther on; up to the border.

    Returns
    -------
    (float, float)
        The sum of the squares of values, and that of their products with those farther on.
    """
    nz, ny, nx = source.shape
    squares, products = 0.0, 0.0
    for k in range(places[0].size):
        z, c = places[0][k], k // each[0]
        for j in range(places[1].size):
            y, b = places[1][j], j // each[1]
            for i in range(places[2].size):
                x, a = places[2][i], i // each[2]
                centre, deviation = cells[0, c, b, a], cells[1, c, b, a]
                if deviation <= 0.0 or (gap.size > 0 and gap[z, y, x]):
                    continue
                here = (response[z, y, x] - centre) / deviation
                if abs(here) <= CLIP and not _is_flat(source, z, y, x):
                    on_z, on_y = min(z + steps[0], nz - 1), min(y + steps[1], ny - 1)
                    there = response[on_z, on_y, min(x + steps[2], nx - 1)]
                    squares += here * here
                    products += here * min(max((there - centre) / deviation, -CLIP), CLIP)
    return squares, products


@device
def _differences(volume, z, y, out):
    """Pixels of a row less the mean of their neighbours along the axes.

    An axis of one pixel has no neighbours; beyond a border the pixel is its own.
    """
    nz, ny, nx = volume.shape
    row = volume[z, y]
    before_z, after_z = volume[max(z - 1, 0), y], volume[min(z + 1, nz - 1), y]
    before_y, after_y = volume[z, max(y - 1, 0)], volume[z, min(y + 1, ny - 1)]
    # Pixels stand for the neighbours that an axis of one pixel does not have.
    share = 1.0 / max(2 * (int(nz > 1) + int(ny > 1) + int(nx > 1)), 1)
    own = 1.0 + 2.0 * (int(nz == 1) + int(ny == 1)) * share
    inner = row[1:]
    out[0] = own * np.float64(row[0])
    for x in range(1, nx):
        out[x] = own * np.float64(inner[x - 1]) - share * np.float64(row[x - 1])
    for x in range(nx - 1):
        out[x] -= share * np.float64(inner[x])
    if nx > 1:
        out[0] -= share * np.float64(row[0])
        out[nx - 1] -= share * np.float64(row[nx - 1])
    for x in range(nx):
        along_z = np.float64(before_z[x]) + np.float64(after_z[x])
        out[x] -= share * (along_z + (np.float64(before_y[x]) + np.float64(after_y[x])))


@device
def _beyond(outermost, inner, straight):
    """The value beyond the outermost one: on the line through both, not below half of it."""
    if straight and outermost > 0.0:
        return max(2.0 * outermost - inner, 0.5 * outermost)
    return outermost


@kernel
def continue_cells(values, straight, nodes):
    """Values of cells, with those one cell beyond the outermost along axes of several cells.

    Parameters
    ----------
    values : ndarray (cz, cy, cx) float64
    straight : bool
        Whether they go straight on, else they stay constant.
    nodes : ndarray float64
        The result, two longer along those axes.
    """
    cz, cy, cx = values.shape
    z, y, x = int(cz > 1), int(cy > 1), int(cx > 1)
    for k in range(cz):
        for j in range(cy):
            for i in range(cx):
                nodes[z + k, y + j, x + i] = values[k, j, i]
    for j in range(y, y + cy):
        for i in range(x, x + cx):
            if z:
                nodes[0, j, i] = _beyond(nodes[1, j, i], nodes[2, j, i], straight)
                nodes[cz + 1, j, i] = _beyond(nodes[cz, j, i], nodes[cz - 1, j, i], straight)
    for k in range(nodes.shape[0]):
        for i in range(x, x + cx):
            if y:
                nodes[k, 0, i] = _beyond(nodes[k, 1, i], nodes[k, 2, i], straight)
                nodes[k, cy + 1, i] = _beyond(nodes[k, cy, i], nodes[k, cy - 1, i], straight)
    for k in range(nodes.shape[0]):
        for j in range(nodes.shape[1]):
            if x:
                nodes[k, j, 0] = _beyond(nodes[k, j, 1], nodes[k, j, 2], straight)
                nodes[k, j, cx + 1] = _beyond(nodes[k, j, cx], nodes[k, j, cx - 1], straight)


@kernel
def are_whole(volume, gap, places, sign, level):
    """Whether the pixels on a grid are whole numbers and none is negative.

    A pixel is ``sign`` times its value in the volume and ``level`` more; missing ones do not count,
    and one must be there.
    """
    found = False
    for z in places[0]:
        for y in places[1]:
            for x in places[2]:
                if gap.size > 0 and gap[z, y, x]:
                    continue
                value = sign * volume[z, y, x] + level
                if value < 0.0 or value != np.rint(value):
                    return False
                found = True
    return found


@device
def between_nodes(values, c, b, a, f, g, h):
    """The value between the nodes of a grid: shares f, g and h above that of number c, b, a."""
    last = values.shape[0] - 1, values.shape[1] - 1, values.shape[2] - 1
    total = 0.0
    for k in range(2):
        for j in range(2):
            for i in range(2):
                weight = (f if k else 1.0 - f) * (g if j else 1.0 - g) * (h if i else 1.0 - h)
                node = values[min(c + k, last[0]), min(b + j, last[1]), min(a + i, last[2])]
                total += weight * node
    return total


@device
def _between_rows(values, lower, shares, z, y, line):
    """The values of a plane and a row of pixels at the nodes along them, linear between nodes."""
    c, b, f, g = lower[0][z], lower[1][y], shares[0][z], shares[1][y]
    d, e = min(c + 1, values.shape[0] - 1), min(b + 1, values.shape[1] - 1)
    for a in range(line.size):
        near = values[c, b, a] + g * (values[c, e, a] - values[c, b, a])
        far = values[d, b, a] + g * (values[d, e, a] - values[d, b, a])
        line[a] = near + f * (far - near)


@kernel
def third_moment(volume, gap, deviations, lower, shares, rows, limit):
    """The sum of cubes of pixels of some rows, less the mean of their neighbours, by their noise.

    Missing pixels, pixels without a deviation, and those ``limit`` deviations away do not count.

    Parameters
    ----------
    gap : ndarray (nz, ny, nx) or (0, 0, 0) bool
        Missing pixels; an empty array if there are none.
    deviations, lower, shares
        As ``values``, ``lower`` and ``shares`` in `between`.
    rows : ndarray (n,) int64
        Numbers of rows, of all planes one after the other.

    Returns
    -------
    (float, int)
        The sum, and how many pixels count.
    """
    _, ny, nx = volume.shape
    total, number = 0.0, 0
    line, differences = np.empty(deviations.shape[2]), np.empty(nx)
    for k in range(rows.size):
        z, y = rows[k] // ny, rows[k] % ny
        _between_rows(deviations, lower, shares, z, y, line)
        _differences(volume, z, y, differences)
        for x in range(nx):
            a = lower[2][x]
            b = min(a + 1, line.size - 1)
            deviation = line[a] + shares[2][x] * (line[b] - line[a])
            if deviation <= 0.0 or (gap.size > 0 and gap[z, y, x]):
                continue
            away = differences[x] / deviation
            if abs(away) < limit:
                total += away * away * away
                number += 1
    return total, number


@kernel
def between(values, lower, shares, points, out):
    """Values of grids at points, linear between their nodes.

    Parameters
    ----------
    values : ndarray (k, cz, cy, cx) float64
    lower : (ndarray (n,) int64, ndarray (n,) int64, ndarray (n,) int64)
        The lower node of each pixel of an axis.
    shares : (ndarray (n,) float64, ndarray (n,) float64, ndarray (n,) float64)
        The share of the node after it; 0 at the last one.
    points : ndarray (n, 3) int64
    out : ndarray (k, n) float64
    """
    for k in range(out.shape[0]):
        for p in range(out.shape[1]):
            z, y, x = points[p]
            out[k, p] = between_nodes(
                values[k], lower[0][z], lower[1][y], lower[2][x], shares[0][z], shares[1][y],
                shares[2][x],
            )  # fmt: skip


@device
def _spread(ordered, low, high):
    """Median and median absolute deviation of ``ordered[low:high]``, not empty.

    So many of the smallest deviations are below the median as those above it leave.
    """
    middle = low + (high - low) // 2
    median = 0.5 * (np.float64(ordered[(low + high - 1) // 2]) + np.float64(ordered[middle]))
    number = (high - low + 1) // 2
    least, most = max(0, number - (high - middle)), min(number, middle - low)
    while least < most:
        below = (least + most) // 2
        if median - ordered[middle - 1 - below] < ordered[middle + number - below - 1] - median:
            least = below + 1
        else:
            most = below
    deviation = 0.0
    if least > 0:
        deviation = median - ordered[middle - least]
    if number > least:
        deviation = max(deviation, ordered[middle + number - least - 1] - median)
    return median, deviation


@device
def _clipped(row, count):
    """Median and deviation by the median absolute one of samples, those beyond CLIP dropped."""
    low, high = 0, count
    median, sigma = 0.0, 0.0
    shrinks = high > 0
    while shrinks:
        median, deviation = _spread(row, low, high)
        sigma = MAD_TO_SIGMA * deviation
        reach = CLIP * sigma
        size = high - low
        while median - row[low] > reach:
            low += 1
        while row[high - 1] - median > reach:
            high -= 1
        shrinks = high - low < size
    return median, sigma


@device
def _deviation_within(row, count, median, reach):
    """The root of the mean square of samples less their median, within a reach of it."""
    total, number = 0.0, 0
    for j in range(count):
        away = row[j] - median
        inside = abs(away) <= reach
        total += away * away if inside else 0.0
        number += inside
    return math.sqrt(total / max(number, 1))


@kernel
def clipped_noise(ordered, counts, noise):
    """The noise of each row of sorted samples: its centre, and its deviation by three measures.

    The median and the median absolute deviation are computed, samples beyond CLIP sigmas dropped
    and both computed again, until no sample is dropped.

    Parameters
    ----------
    ordered : ndarray (n, m) float32
    counts : ndarray (n,) int64
        How many samples of each row are used, the first ones.
    noise : ndarray (5, n) float64
        The result: median, deviation by the median absolute one, and deviation of the samples
        within CLIP of it; centre and deviation of a normal distribution by the quantiles LOWER.
    """
    for i in range(ordered.shape[0]):
        row, count = ordered[i], counts[i]
        median, sigma = _clipped(row, count)
        far = row[max(min(int(LOWER[0] * count), row.size - 1), 0)]
        near = row[max(min(int(LOWER[1] * count), row.size - 1), 0)]
        noise[0, i], noise[1, i] = median, sigma
        noise[2, i] = _deviation_within(row, count, median, CLIP * sigma) / _CLIPPED
        noise[3, i], noise[4, i] = 2.0 * near - far, near - far
