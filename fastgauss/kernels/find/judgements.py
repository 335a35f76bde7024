"""Judgement of maxima: the amplitude, the background, the noise and the significance of each."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .._compile import device, kernel
from .noise_samples import between_nodes
from .tails import significance_of

KNOWN = 0.02  # part of a spot's squares that must be valid
LOCAL = 5.0  # mean counts from which the background around a pixel tells its noise
_WINGS = 0.06  # of its amplitude that a spot between pixels adds to the ring around it
_SURELY = 2.7  # errors by which the ring around a spot is above its background

# Rows of what is known of maxima; the last two are not written here.
AMPLITUDE, SIGNIFICANCE, GROUND, RING, DEVIATION, GAIN, LEVEL, SHARPNESS, P_VALUE = range(9)
ROWS = 9


class Known(NamedTuple):
    """What is the same for all maxima of a picture.

    Attributes
    ----------
    starts : (int, int, int)
        The first column of each axis in the next two arrays.
    places : ndarray (3, nz + ny + nx) int64
        For each pixel of the axes: the column of its sums, the cell below it, the block below it.
    shares : ndarray (2, nz + ny + nx) float64
        The share of the next cell and of the next block.
    sums : ndarray (k, m) float64
        Sums along the axes of products of the filter's weights. Sums over the volume are products
        of three of them.
    combine : ndarray (2, k) float64
        Linear combinations of the products: the squared deviation of the response to noise of 1,
        and the share of a spot's squares that lies in the volume.
    inner : (float, float, float)
        Far from the border: that deviation, and what a spot of amplitude 1 adds to the response
        and to the background.
    nodes : ndarray (v, cz, cy, cx) float64
        In cells: the level of the response, the deviation of a pixel, and of counts the deviation
        by that of counts.
    means : ndarray (bz, by, bx) float32
        The background in blocks.
    share : ndarray (nz, ny, nx) or (0, 0, 0) float32
        The part of a spot's squares that lies in valid pixels; an empty array if the border
        alone tells it.
    picture : (float, float, float)
        Sign of the spots, level of the image where the volume is 0, and unit of the volume.
    noise : (float, float, float)
        Third central moment of a pixel by its variance; variance of a pixel of weight 1 where each
        has its own, else 0; skewness of the response by that of white noise of gain 1.
    tails : ndarray (2, 5, steps) float64
        As ``tables`` in `tails.significance`.
    """

    starts: tuple[int, int, int]
    places: np.ndarray
    shares: np.ndarray
    sums: np.ndarray
    combine: np.ndarray
    inner: tuple[float, float, float]
    nodes: np.ndarray
    means: np.ndarray
    share: np.ndarray
    picture: tuple[float, float, float]
    noise: tuple[float, float, float]
    tails: np.ndarray


@device
def _deviation_at(here, least, counts):
    """The deviation of a pixel where the background has so many counts.

    ``here``: the values of the nodes. ``least``: the least deviation that the cells tell.
    """
    if here.size > 2 and counts >= LOCAL:
        return math.sqrt(counts) * here[2]
    return max(here[1], least)


@device
def _gain_at(share, usual, counts, unit):
    """Third central moment by variance of a pixel whose noise is the usual.

    Counts of mean m beside a camera's noise, v in all, have the skewness m / v**1.5.
    """
    skew = max(counts, 0.0) / unit * (max(share, KNOWN) / usual) ** 1.5 / unit
    return skew * math.sqrt(usual)


@kernel
def judge(points, strength, ring, least, known, values, start, stop):
    """Amplitude and significance of maxima ``start .. stop - 1``; background and noise there.

    They are above the background, or above the median of the ring around a maximum where that is
    surely higher.

    Parameters
    ----------
    points : ndarray (n, 3) int64
    strength : ndarray (n,) float32
        The response there.
    ring : ndarray (2, n) or (2, 0) float64
        The median of the ring around each, and the number of its pixels; empty if no ring counts.
    least : ndarray (n,) or (0,) float64
        The least deviation of a pixel there; an empty array if there is none.
    known : Known
    values : ndarray (ROWS, n) float64
        The result. Where no ring counts it is as high as the background.
    """
    deviation_of, height, of_background = known.inner
    sign, lowest, unit = known.picture
    gain, usual, skewed = known.noise
    has_own = usual > 0.0 and known.share.size > 0
    places, shares, sums, combine = known.places, known.shares, known.sums, known.combine
    here = np.empty(known.nodes.shape[0])
    for p in range(start, stop):
        floor = least[p] if least.size > 0 else 0.0
        z, y, x = points[p]
        k, j, i = known.starts[0] + z, known.starts[1] + y, known.starts[2] + x
        square, share = 0.0, 0.0
        for row in range(combine.shape[1]):
            product = sums[row, places[0, k]] * sums[row, places[0, j]] * sums[row, places[0, i]]
            square += combine[0, row] * product
            share += combine[1, row] * product
        if known.share.size > 0:
            share = np.float64(known.share[z, y, x])
        c, b, a = places[1, k], places[1, j], places[1, i]
        for value in range(here.size):
            here[value] = between_nodes(
                known.nodes[value], c, b, a, shares[0, k], shares[0, j], shares[0, i]
            )
        c, b, a = places[2, k], places[2, j], places[2, i]
        under = between_nodes(known.means, c, b, a, shares[1, k], shares[1, j], shares[1, i])
        high, seen = strength[p] - here[0], height * math.sqrt(share)
        amplitude = high / seen
        background = under - amplitude * of_background
        response = high * (deviation_of / math.sqrt(max(square, 1e-30)))
        number = ring[1, p] if ring.shape[1] > 0 else 0.0
        values[RING, p] = ring[0, p] if number > 0.0 else background
        significance, own, own_gain = np.inf, 0.0, 0.0
        for beside_ring in (False, True):
            counts = sign * background + lowest
            deviation = _deviation_at(here, floor, counts)
            if has_own:
                gain = sign * _gain_at(share, usual, counts, unit)
            if not beside_ring:
                own, own_gain = deviation, gain
            tail = max(own_gain, skewed * own) if skewed != 0.0 else own_gain
            z = significance_of(response, own, tail, known.tails)
            significance = min(significance, z)
            if beside_ring or number <= 0.0:
                break
            error = math.sqrt(0.5 * math.pi / number)  # of the median, in deviations
            above = values[RING, p] - background
            if not above > _SURELY * error * deviation + _WINGS * max(amplitude, 0.0):
                break
            own = math.sqrt(deviation * deviation + max(gain, 0.0) * above)  # its counts are noise
            amplitude -= above / height
            background += above
            response = max(amplitude, 0.0) * seen / math.hypot(1.0, error / deviation_of)
        values[AMPLITUDE, p], values[SIGNIFICANCE, p] = amplitude, significance
        values[GROUND, p], values[DEVIATION, p] = background, deviation
        values[GAIN, p], values[LEVEL, p] = gain, here[0]
        values[SHARPNESS, p] = values[P_VALUE, p] = np.nan
