"""Where the Gaussians of an image begin, and which are added, split and removed.

A Gaussian is a centre and the lower triangular factor L of its covariance L L'.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_EVEN = 0.3  # part of the places that are spread evenly, whatever the image shows
_WIDTH = 0.6  # sigma of a new Gaussian in distances to its neighbours
_NEIGHBOURS = 3
_SMOOTH = 1.0  # nodes: scale of the residual that is looked at
LEAST = 0.35  # nodes: the smallest width
_IDLE = 1e-6  # of the mean energy: a Gaussian of less does nothing
_HALF = 0.6  # width of the parts of a Gaussian along the axis where it is split


class Shapes(NamedTuple):
    """Centres (n, d) and factors (n, d, d)."""

    positions: np.ndarray
    lower: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """L L'."""
        return self.lower @ self.lower.swapaxes(1, 2)

    def chosen(self, which: np.ndarray) -> Shapes:
        """The chosen particles."""
        return Shapes(self.positions[which], self.lower[which])

    def joined(self, more: Shapes) -> Shapes:
        """These particles, and more after them."""
        return Shapes(
            np.concatenate([self.positions, more.positions]),
            np.concatenate([self.lower, more.lower]),
        )


def edges(planes: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Length of the gradient over all planes (channels, ...), 0 at missing nodes."""
    total = np.zeros(planes.shape[1:])
    for plane in planes:
        for axis, n in enumerate(plane.shape):
            if n > 1:
                total += np.gradient(plane, axis=axis) ** 2
    return np.where(valid, np.sqrt(total), 0.0)


def _drawn(density: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Places (n, d) on different nodes, as a density says, each anywhere on its pixel."""
    flat = density.ravel()
    keys = np.full(flat.size, -np.inf)
    some = flat > 0.0
    keys[some] = np.log(flat[some]) + rng.gumbel(size=int(some.sum()))
    rest = np.flatnonzero(~some)
    keys[rest] = -1e300 * (1.0 + rng.random(rest.size))  # where there are not enough others
    n_own = min(n, flat.size)
    nodes = np.argpartition(-keys, n_own - 1)[:n_own] if n_own else np.zeros(0, np.int64)
    nodes = np.concatenate([np.sort(nodes), rng.integers(0, flat.size, n - n_own)])
    where = np.stack(np.unravel_index(nodes, density.shape), axis=1)
    return where + rng.uniform(-0.5, 0.5, where.shape)


def round_shapes(positions: np.ndarray, among: np.ndarray, shape: tuple[int, ...]) -> Shapes:
    """Round Gaussians at these places, as wide as their neighbours ``among`` which are far."""
    from scipy.spatial import cKDTree

    ndim = positions.shape[1]
    widest = max(max(shape) / 4.0, LEAST)
    count = min(_NEIGHBOURS + 1, len(among))
    if count > 1:
        far = cKDTree(among).query(positions, count)[0]
        own = far[:, 1:].mean(axis=1)
    else:
        own = np.full(len(positions), 0.5 * max(shape))
    sigma = np.clip(_WIDTH * own, 2 * LEAST, widest)
    return Shapes(positions, sigma[:, np.newaxis, np.newaxis] * np.eye(ndim))


def first_places(
    planes: np.ndarray, valid: np.ndarray, n: int, rng: np.random.Generator
) -> np.ndarray:
    """Places (n, d), more of them where the image has edges."""
    density = edges(planes, valid)
    mean = float(density.mean()) or 1.0
    return _drawn(np.where(valid, density + _EVEN * mean, 0.0), n, rng)


def added(energy: np.ndarray, shapes: Shapes, n: int, rng: np.random.Generator) -> Shapes:
    """Round Gaussians where the residual has most of its energy, a plane of the grid's shape."""
    from scipy.ndimage import gaussian_filter

    density = gaussian_filter(energy, _SMOOTH)
    places = _drawn(np.maximum(density, 0.0), n, rng)
    return round_shapes(places, np.concatenate([shapes.positions, places]), energy.shape)


def split(shapes: Shapes, which: np.ndarray) -> Shapes:
    """Two Gaussians for each of these, side by side along its longest axis."""
    some = shapes.chosen(which)
    value, vector = np.linalg.eigh(some.covariance)
    axis = vector[:, :, -1] * np.sqrt(value[:, -1:])
    narrow = some.covariance - (1.0 - _HALF**2) * axis[:, :, np.newaxis] * axis[:, np.newaxis, :]
    lower = np.linalg.cholesky(narrow)
    shift = np.sqrt(1.0 - _HALF**2) * axis
    return Shapes(
        np.concatenate([some.positions - shift, some.positions + shift]),
        np.concatenate([lower, lower]),
    )


def energies(shapes: Shapes, amplitudes: np.ndarray) -> np.ndarray:
    """Integral of the square of each Gaussian, over all its channels, but for a factor."""
    volume = np.abs(np.prod(np.diagonal(shapes.lower, axis1=1, axis2=2), axis=1))
    return volume * (amplitudes.reshape(len(volume), -1) ** 2).sum(axis=1)


def idle(shapes: Shapes, amplitudes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Which Gaussians do nothing: next to no energy, or a centre far from the image."""
    energy = energies(shapes, amplitudes)
    if not len(energy):
        return np.zeros(0, dtype=bool)
    sigmas = np.sqrt(np.diagonal(shapes.covariance, axis1=1, axis2=2))
    away = np.maximum(-shapes.positions, shapes.positions - (np.array(shape) - 1.0))
    return (energy <= _IDLE * energy.mean()) | (away > 3.0 * sigmas).any(axis=1)
