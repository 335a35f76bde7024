"""Slow and simple twins of the kernels of localisations."""

import numpy as np


def overlap(places, segments, count, low, high):
    """The overlap of all pairs of segments, the forces on each, and what pairs add to curvature."""
    value, forces = 0.0, np.zeros((count, places.shape[1]))
    change = np.zeros((count, count, places.shape[1], places.shape[1]))
    for i, one in enumerate(places):
        for j, other in enumerate(places):
            way, middle = other - one, 0.5 * (one + other)
            square = way @ way
            inside = (low <= middle).all() and (middle <= high).all()
            if segments[i] == segments[j] or square >= 1.0 or not inside:
                continue
            value += (1.0 - square) ** 4
            forces[segments[i]] += 8.0 * (1.0 - square) ** 3 * way
            change[segments[i], segments[j]] += 48.0 * (1.0 - square) ** 2 * np.outer(way, way)
            change[segments[i], segments[j]] -= 8.0 * (1.0 - square) ** 3 * np.eye(len(way))
    return value, forces, change


def squared_forces(places, segments, count, low, high):
    """Sums of squares, of the whole force on each localisation and of the force of each pair."""
    ndim = places.shape[1]
    whole, single = np.zeros((count, ndim, ndim)), np.zeros((count, count, ndim, ndim))
    for i, one in enumerate(places):
        total = np.zeros(ndim)
        for j, other in enumerate(places):
            way, middle = other - one, 0.5 * (one + other)
            inside = (low <= middle).all() and (middle <= high).all()
            if segments[i] == segments[j] or way @ way >= 1.0 or not inside:
                continue
            force = 8.0 * (1.0 - way @ way) ** 3 * way
            single[segments[i], segments[j]] += np.outer(force, force)
            total += force
        whole[segments[i]] += np.outer(total, total)
    return whole, single
