"""Sums of separable filters over float32 volumes, and the Gaussian taps that feed them.

A filter is a sum of *terms*, each a product of one symmetric profile per axis:

    out[z, y, x] = sum_t sum_ijk f_t0(i) f_t1(j) f_t2(k) source[z + i, y + j, x + k]

One term is a Gaussian smoothing; d terms are a Laplacian of Gaussian in d
dimensions. A profile of radius r is given by its half f(0) .. f(r). Outside the
volume the values are mirrored about the edge (``d c b a | a b c d | d c b a``).

An image is a volume of one-line planes, ``(ny, 1, nx)``, a profile ``(1, 1, nx)``.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ._compile import device, kernel

TRUNCATE = 4.0  # radius of a profile in sigmas


def mirror(n: int, radius: int) -> np.ndarray:
    """Where the elements ``-radius .. n + radius - 1`` of a mirrored axis of n come from."""
    i = np.arange(-radius, n + radius) % (2 * n)
    return np.where(i < n, i, 2 * n - 1 - i)


def radius_of(sigma: float) -> int:
    """Radius in pixels of the profile of a Gaussian; 0 for sigma 0."""
    return max(1, int(TRUNCATE * sigma + 0.5)) if sigma > 0 else 0


def gaussian_taps(sigma: float) -> np.ndarray:
    """Half a sampled Gaussian profile of sum 1, cut at its radius; ``[1]`` for sigma 0."""
    if sigma == 0:
        return np.ones(1)
    k = np.arange(radius_of(sigma) + 1)
    half = np.exp(-0.5 * (k / sigma) ** 2)
    return half / (2.0 * half.sum() - half[0])


def curvature_taps(smooth: np.ndarray) -> np.ndarray:
    """Half the negative second derivative of a Gaussian profile, without sum or first moment.

    The continuous one is (sigma**2 - k**2) G(k) / sigma**4. With the second moment of
    the *sampled* profile for sigma**2 its sum vanishes exactly; the factor is left out.
    """
    k2 = np.arange(len(smooth)) ** 2.0
    return (2.0 * np.sum(k2 * smooth) - k2) * smooth


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    """Scalar product of two symmetric profiles given by their halves."""
    return float(2.0 * np.dot(a, b) - a[0] * b[0])


def _stack(terms: list[list[np.ndarray]]) -> np.ndarray:
    """The taps of all terms in one array ``(terms, 3, longest)``, padded with zeros."""
    longest = max(len(half) for term in terms for half in term)
    taps = np.zeros((len(terms), 3, longest), dtype=np.float32)
    for term, rows in zip(terms, taps, strict=True):
        for half, row in zip(term, rows, strict=True):
            row[: len(half)] = half
    return taps


def smoothing(sigmas: tuple[float, float, float]) -> np.ndarray:
    """Taps ``(1, 3, R)`` of a Gaussian of sum 1; a sigma of 0 leaves its axis alone."""
    return _stack([[gaussian_taps(s) for s in sigmas]])


@lru_cache(maxsize=4)
def spot_filter(sigmas: tuple[float, float, float]) -> tuple[np.ndarray, float]:
    """Scale-normalised negative Laplacian of Gaussian, and its noise gain.

    The sum over the axes of -sigma_a**2 d2/dx_a2 of the Gaussian, times the number that
    makes the response to a sampled Gaussian spot of these sigmas equal its amplitude
    at its centre. The noise gain is the standard deviation of the response to
    independent noise of standard deviation 1.

    Returns
    -------
    taps : ndarray (terms, 3, R) float32
        One term for each axis whose sigma is not 0.
    gain : float
    """
    active = [axis for axis, sigma in enumerate(sigmas) if sigma > 0]
    smooth = [gaussian_taps(s) for s in sigmas]
    curved = {a: curvature_taps(smooth[a]) / sigmas[a] ** 2 for a in active}
    spot = {a: smooth[a] / smooth[a][0] for a in active}
    terms = [[curved[a] if a == b else smooth[b] for b in range(3)] for a in active]
    height = sum(math.prod(_dot(term[a], spot[a]) for a in active) for term in terms)
    for axis, term in zip(active, terms, strict=True):
        term[axis] = term[axis] / height
    power = sum(math.prod(_dot(p[a], q[a]) for a in active) for p in terms for q in terms)
    return _stack(terms), math.sqrt(power)


@device
def _begin(out: np.ndarray, weight: float, line: np.ndarray) -> None:
    for i in range(out.size):
        out[i] = weight * line[i]


@device
def _add(out: np.ndarray, weight: float, line: np.ndarray) -> None:
    for i in range(out.size):
        out[i] += weight * line[i]


@device
def _add_two(out: np.ndarray, weight: float, before: np.ndarray, after: np.ndarray) -> None:
    for i in range(out.size):
        out[i] += weight * (before[i] + after[i])


@device
def _across(source, z, from_z, half, radius, plane):
    """Filter along the first axis: one plane of the result."""
    for y in range(plane.shape[0]):
        row = plane[y]
        _begin(row, half[0], source[z, y])
        for k in range(1, radius + 1):
            before, after = from_z[z + radius - k], from_z[z + radius + k]
            _add_two(row, half[k], source[before, y], source[after, y])


@device
def _down(plane, y, from_y, half, radius, row):
    """Filter a plane along the middle axis: one line of the result."""
    _begin(row, half[0], plane[y])
    for k in range(1, radius + 1):
        before, after = from_y[y + radius - k], from_y[y + radius + k]
        _add_two(row, half[k], plane[before], plane[after])


@device
def _mirror_ends(padded, from_x, radius, nx):
    for i in range(radius):
        padded[i] = padded[radius + from_x[i]]
        padded[radius + nx + i] = padded[radius + from_x[radius + nx + i]]


@device
def _along(padded, half, radius, out):
    """Filter a line with mirrored ends along itself and add it to ``out``."""
    n = out.size
    _add(out, half[0], padded[radius : radius + n])
    for k in range(1, radius + 1):
        before, after = radius - k, radius + k
        _add_two(out, half[k], padded[before : before + n], padded[after : after + n])


@kernel
def correlate(source, taps, radii, from_z, from_y, from_x, out, start, stop):
    """Planes ``start .. stop - 1`` of a sum of separable filters.

    Parameters
    ----------
    source, out : ndarray (nz, ny, nx) float32
        ``out`` may not share memory with ``source``.
    taps : ndarray (terms, 3, R) float32
        Halves of the profiles.
    radii : ndarray (3,) int64
        Radius of each axis, at most R - 1.
    from_z, from_y, from_x : ndarray int64
        The axes' mirrored indices (`mirror`).
    """
    _, ny, nx = source.shape
    r0, r1, r2 = radii
    plane = np.empty((ny, nx), dtype=np.float32)
    padded = np.empty(nx + 2 * r2, dtype=np.float32)
    for z in range(start, stop):
        out[z] = np.float32(0.0)
        for t in range(taps.shape[0]):
            _across(source, z, from_z, taps[t, 0], r0, plane)
            for y in range(ny):
                _down(plane, y, from_y, taps[t, 1], r1, padded[r2 : r2 + nx])
                _mirror_ends(padded, from_x, r2, nx)
                _along(padded, taps[t, 2], r2, out[z, y])
