"""Plain NumPy twins of what finds dips between maxima."""

from __future__ import annotations

import itertools

import numpy as np


def neighbours(points, chosen, unit, longest):
    """Pairs of points with no other one in the ball between them."""
    away = (((points[:, None] - points) * unit) ** 2).sum(axis=2)
    pairs = []
    for i, j in itertools.combinations(range(len(points)), 2):
        others = np.delete(away[i] + away[j], [i, j])
        near = away[i, j] <= longest**2 and (chosen[i] or chosen[j])
        if near and not (others < away[i, j]).any():
            pairs.append((i, j))
    return np.array(pairs).reshape(-1, 2)


def depths(volume, points, pairs, noise, gain, background, sigmas, width):
    """The dips between pairs of points, in errors."""
    radii = [int(np.ceil(2.5 * width * s)) for s in sigmas]

    def mean(point):
        grid = np.ogrid[tuple(slice(-r, r + 1) for r in radii)]
        exponent = sum((x / (width * s or 1.0)) ** 2 for x, s in zip(grid, sigmas, strict=True))
        weights = np.exp(-0.5 * exponent)
        window = tuple(slice(p - r, p + r + 1) for p, r in zip(point, radii, strict=True))
        share = weights / weights.sum()
        return (share * volume[window]).sum(), (share**2).sum()

    result = []
    for i, j in pairs:
        (one, squares), (other, _) = mean(points[i]), mean(points[j])
        axes = [(0, 1) if s else (0,) for s in sigmas]
        between = max(mean((points[i] + points[j] + up) // 2)[0] for up in itertools.product(*axes))
        lower = min(one, other)
        light = max((lower + between - background[i] - background[j]) / 2, 0.0)
        variance = (noise[i] + noise[j]) / 2 + (gain[i] + gain[j]) / 2 * light + (1e-5 * light) ** 2
        result.append((lower - between) / np.sqrt(2 * squares * variance))
    return np.array(result)


def are_deep(depth, pairs, number, least, enough, most):
    """Which points have deep dips, by those of their pairs and of the next ones."""
    result = np.zeros(number, bool)
    for p in range(number):
        mine = [k for k, pair in enumerate(pairs) if p in pair]
        all_of = list(mine)
        for k in mine:
            q = pairs[k].sum() - p
            all_of += [m for m, pair in enumerate(pairs) if q in pair and m != k]
        if mine:
            total = np.clip(depth[all_of], -most, most).sum()
            result[p] = depth[mine].min() > least and total > enough * np.sqrt(len(all_of))
    return result
