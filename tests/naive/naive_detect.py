"""Slow and obvious twins of the detection kernels, and images to try them on."""

from __future__ import annotations

import itertools
import math
from collections import deque

import numpy as np

from fastgauss.find import significance


def correlate(volume, terms):
    """The sum of separable filters as one dense kernel, moved over a mirrored copy."""
    radii = [profile.radius for profile in terms[0]]
    kernel = np.zeros([2 * r + 1 for r in radii])
    for term in terms:
        z, y, x = (np.concatenate([profile.half[:0:-1], profile.half]) for profile in term)
        kernel += z[:, None, None] * y[:, None] * x
    padded = np.pad(volume.astype(np.float64), [(r, r) for r in radii], mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape)
    return np.einsum("zyxijk,ijk->zyx", windows, kernel)


def neighbours(point, shape):
    for step in itertools.product((-1, 0, 1), repeat=3):
        near = tuple(p + s for p, s in zip(point, step, strict=True))
        if any(step) and all(0 <= p < n for p, n in zip(near, shape, strict=True)):
            yield near


def plateaus(volume, above):
    """Sets of connected equal elements over ``above`` that nothing around them exceeds."""
    seen, found = set(), []
    for start in np.ndindex(volume.shape):
        if start in seen or not volume[start] > above:
            continue
        members, queue, summit = {start}, deque([start]), True
        while queue:
            for near in neighbours(queue.popleft(), volume.shape):
                summit = summit and volume[near] <= volume[start]
                if volume[near] == volume[start] and near not in members:
                    members.add(near)
                    queue.append(near)
        seen |= members
        if summit:
            found.append(members)
    return found


def thin(points, distance):
    kept = []
    for i, point in enumerate(points):
        if all(np.sum(((point - points[j]) / distance) ** 2) >= 1.0 for j in kept):
            kept.append(i)
    return kept


def clipped_noise(samples, clip=3.0):
    while True:
        median = np.median(samples)
        sigma = 1.482602218505602 * np.sort(np.abs(samples - median))[(len(samples) - 1) // 2]
        kept = samples[np.abs(samples - median) <= clip * sigma]
        if len(kept) == len(samples):
            return median, sigma
        samples = kept


def spots(shape, positions, amplitudes=100.0, sigma=1.3, theta=0.0):
    """Noiseless Gaussians; ``sigma`` one number or one for each axis, turned by theta in 2-D."""
    ndim = len(shape)
    axes = np.indices(shape, dtype=float)
    widths = np.broadcast_to(sigma, ndim)
    image = np.zeros(shape)
    for position, amplitude in zip(
        positions, np.broadcast_to(amplitudes, len(positions)), strict=True
    ):
        d = [a - p for a, p in zip(axes, position, strict=True)]
        if theta:
            c, s = np.cos(theta), np.sin(theta)
            d = [c * d[0] - s * d[1], s * d[0] + c * d[1]]
        image += amplitude * np.exp(
            -0.5 * sum((u / w) ** 2 for u, w in zip(d, widths, strict=True))
        )
    return image


def differences(volume, places):
    """Pixels on a grid less the mean of their neighbours, one after the other."""
    out = np.empty([len(p) for p in places])
    for index in np.ndindex(out.shape):
        point = [p[i] for p, i in zip(places, index, strict=True)]
        beside = []
        for axis, n in enumerate(volume.shape):
            for step in (-1, 1) if n > 1 else ():
                near = list(point)
                near[axis] = min(max(near[axis] + step, 0), n - 1)
                beside.append(volume[tuple(near)])
        out[index] = volume[tuple(point)] - (np.mean(beside) if beside else 0.0)
    return out


def weighted_sum(volume, point, profiles, radii):
    """The sum of products of separable weights with the pixels around a point."""
    padded = np.pad(volume, [(r, r) for r in radii], mode="symmetric")
    window = padded[tuple(slice(p, p + 2 * r + 1) for p, r in zip(point, radii, strict=True))]
    middle = profiles.shape[1] // 2
    z, y, x = (w[middle - r : middle + r + 1] for w, r in zip(profiles, radii, strict=True))
    return np.einsum("zyx,z,y,x", window, z, y, x)


def ring_pixels(volume, gap, point, offsets):
    """The pixels at offsets from a point that lie in the volume and are not missing."""
    inside = []
    for step in offsets:
        at = tuple(point + step)
        if all(0 <= k < n for k, n in zip(at, volume.shape, strict=True)) and not gap[at]:
            inside.append(float(volume[at]))
    return sorted(inside)


def neighbourhood(volume, point):
    """The place of the brightest pixel among a point and its neighbours, the point first."""
    best = tuple(point)
    for step in itertools.product((-1, 0, 1), repeat=3):
        at = tuple(np.add(point, step))
        inside = all(0 <= k < n for k, n in zip(at, volume.shape, strict=True))
        if inside and volume[at] > volume[best]:
            best = at
    return best


def smoothed_blocks(means, axes):
    """Means and those of what is left: each axis goes on as a straight line beyond its ends.

    ``axes``: for each the profile of the window, and of how many means the line is.
    """

    def once(values):
        for axis, (half, few) in enumerate(axes):
            if len(half) == 1:
                continue
            radius, some = len(half) - 1, min(few, values.shape[axis])
            lines = np.moveaxis(values, axis, -1)
            out = np.empty_like(lines)
            for index in np.ndindex(lines.shape[:-1]):
                line, wide = lines[index], list(lines[index])
                x = np.arange(some)
                degree = 1 if some > 1 else 0
                first = np.polyfit(x, line[:some], degree)
                last = np.polyfit(x, line[::-1][:some], degree)
                for k in range(1, radius + 1):
                    wide.insert(0, np.polyval(first, -k))
                    wide.append(np.polyval(last, -k))
                taps = np.concatenate([half[:0:-1], half])
                out[index] = np.convolve(wide, taps, mode="valid")
            values = np.moveaxis(out, -1, axis)
        return values

    first = once(means)
    return first + once(means - first)


def add_between(points, values, axes, shape):
    """Values at points, divided among the blocks between which each point lies."""
    blocks = np.zeros(shape)
    for point, value in zip(points, values, strict=True):
        sides = [
            ((axis.lower[p], 1.0 - axis.share[p]), (axis.upper[p], axis.share[p]))
            for axis, p in zip(axes, point, strict=True)
        ]
        for corner in itertools.product(*sides):
            blocks[tuple(at for at, _ in corner)] += value * math.prod(share for _, share in corner)
    return blocks


def judged(judge, point, strength, ring, least):
    """Amplitude, significance, background, ring, deviation, gain and level of one maximum."""
    scale, noise, points = judge.scale, judge.noise, point[None]
    picture, matched, sigmas = scale.picture, scale.matched, scale.sigmas
    gains = significance.gains_at(points, matched.response.shape, sigmas)
    inner = significance.inner_gains(matched.response.shape, sigmas)
    share = gains.share[0] if matched.share is None else float(matched.share[tuple(point)])
    level, own, *more = noise.between.at(points)[:, 0]
    skewed = noise.skewness / significance.skewness_of_response(sigmas)

    def deviation_at(background):
        counts = picture.sign * background + picture.level
        return np.sqrt(counts) * more[0] if more and counts >= 5.0 else max(own, least)

    def gain_at(background):
        if noise.usual == 0.0 or matched.share is None:
            return noise.gain
        counts = max(picture.sign * background + picture.level, 0.0) / picture.unit
        third = counts / picture.unit * (max(share, 0.02) / noise.usual) ** 1.5
        return picture.sign * third * np.sqrt(noise.usual)

    def tail(response, deviation, gain):
        gain = max(gain, skewed * deviation) if skewed else gain
        row = np.array([response]), np.array([deviation])
        return significance.significance(*row, gain, sigmas)[0]

    amplitude = (strength - level) / (inner[1] * np.sqrt(share))
    background = matched.background.at(points)[0] - amplitude * inner[2]
    deviation, gain = deviation_at(background), gain_at(background)
    z = tail((strength - level) * inner[0] / gains.deviation[0], deviation, gain)
    median, number = ring
    if number == 0:
        return amplitude, z, background, background, deviation, gain, level
    error = np.sqrt(np.pi / 2 / number)
    above = median - background
    if above > 2.7 * error * deviation + 0.06 * max(amplitude, 0.0):
        amplitude -= above / inner[1]
        rest = max(amplitude, 0.0) * inner[1] * np.sqrt(share) / np.hypot(1.0, error / inner[0])
        z = min(z, tail(rest, np.sqrt(deviation**2 + max(gain, 0.0) * above), gain))
        background += above
    return amplitude, z, background, median, deviation_at(background), gain_at(background), level


def rougher_side(volume, point, half):
    """The largest median absolute deviation of the pixels on both sides of a point on each axis."""
    largest = 0.0
    steps = [np.arange(-h, h + 1) for h in half]
    for axis in np.flatnonzero(half):
        for sign in (-1, 1):
            side = list(steps)
            side[axis] = steps[axis][sign * steps[axis] >= 0]
            at = [
                np.clip(p + s, 0, n - 1) for p, s, n in zip(point, side, volume.shape, strict=True)
            ]
            values = volume[np.ix_(*at)].astype(float)
            largest = max(largest, np.median(np.abs(values - np.median(values))))
    return largest
