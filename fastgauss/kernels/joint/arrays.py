"""Arguments of the kernels of joint fits: n spots, k clusters, g groups, c common unknowns.

Spots are sorted by group, then by cluster. A *cluster* is a few spots that overlap strongly; a
*group* is spots that are solved together, because they overlap or have something in common.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Pixels(NamedTuple):
    """An image: flat float64 arrays of z, y, x."""

    extent: np.ndarray  # (3,)
    data: np.ndarray
    second: np.ndarray  # weights or variances, or one number for all
    known: np.ndarray  # known background, or (1,)
    owner: np.ndarray  # int32: whose pixel it is, -1 for that of no spot


class Lights(NamedTuple):
    """Where spots shine, and how."""

    plain: np.ndarray  # (n, k) amplitude, centre, widths of each axis or the sigma matrix
    windows: np.ndarray  # (n, 6) first pixel and extent along z, y, x
    integrate: bool  # means over pixels


class BackgroundTerms(NamedTuple):
    """The fitted background."""

    scale: np.ndarray  # (6,) middle of z, y, x, and what brings them within -1 and 1
    terms: np.ndarray  # (g, t) of 1, x, y, z
    groups: np.ndarray  # (n,) the group of each spot


class Fitted(NamedTuple):
    """The image at a point in parameter space, flat; of pixels that have an owner."""

    model: np.ndarray  # light and known background
    residual: np.ndarray  # weighted
    weight: np.ndarray


class Pairs(NamedTuple):
    """Pairs i < j of spots, by i."""

    starts: np.ndarray  # (n + 1,)
    others: np.ndarray  # (m,)


class Links(NamedTuple):
    """The pairs in both directions, the closest first."""

    starts: np.ndarray  # (n + 1,)
    others: np.ndarray  # (2 m,)
    places: np.ndarray  # (2 m,) which pair; ~ of it where its block is to be transposed


class Members(NamedTuple):
    """Which spots form a cluster, and which clusters a group."""

    group_spots: np.ndarray  # (g + 1,) first spot of each group
    group_clusters: np.ndarray  # (g + 1,) first cluster of each group
    cluster_spots: np.ndarray  # (k + 1,) first spot of each cluster


class Equations(NamedTuple):
    """Normal equations of p parameters a spot."""

    gradient: np.ndarray  # (n, p)
    diagonal: np.ndarray  # (n, p, p) blocks of Gauss and Newton
    pairs: np.ndarray  # (m, p, p) blocks of pairs
    border: np.ndarray  # (n, p, c) between spots and what their group has in common


class Damped(NamedTuple):
    """A system of equations as it is solved."""

    diagonal: np.ndarray  # (n, p, p) blocks, second derivatives included where they may be
    damping: np.ndarray  # (k,) of clusters, in units of ``scale``
    scale: np.ndarray  # (n, p)
    free: np.ndarray  # (n, p) bool: parameters that move
    common: np.ndarray  # (g, c, c) the matrix of common unknowns
    common_free: np.ndarray  # (g, c) bool


class Vector(NamedTuple):
    """Unknowns: those of spots, and those of groups."""

    spots: np.ndarray  # (n, p)
    common: np.ndarray  # (g, c)


class Factors(NamedTuple):
    """Cholesky factors of clusters, one after the other, and of the common unknowns."""

    starts: np.ndarray  # (k + 1,) where the factor of a cluster begins
    values: np.ndarray  # flat: a square matrix for each cluster
    common: np.ndarray  # (g, c, c)


class Scratch(NamedTuple):
    """What conjugate gradients keep from one iteration to the next."""

    residual: Vector
    preconditioned: Vector  # the residual, by the blocks of clusters
    direction: Vector
    product: Vector  # of the matrix and the direction
