"""The plan of a field, its geometry: windows, widths, particles in tile order.

The plan is made once, in O(n) time, and copies what it needs. In three dimensions it needs 52 bytes
for each particle with individual sigmas (centre, sigmas, order), 28 with common sigmas, 100 with
individual covariances, and two and a half times as much while it is made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, wording
from ..base.grid import Grid
from ..kernels.fields.axis_aligned import (
    ROOM,
    SLOTS,
    TABLES_AT,
    Support,
    channel_room,
)
from ..kernels.fields.windows import TILE, Layout, Particles, layer_reach, sort_by_tile, to_indices
from ..kernels.simd.lane_types import REGISTER_BITS

SUPPORTS = ("box", "sphere")
_LEAST, _MOST = 1e-100, 1e100  # sigma in nodes: its powers are normal numbers
_MOST_PERIODS = 64
_MOST_IMAGES = 4096


class Plan(NamedTuple):
    """The geometry of a field as its kernels read it."""

    grid: Grid
    n: int  # particles
    particles: Particles  # in the order of tiles
    support: Support
    sphere: bool
    rotated: bool  # widths are covariances
    volume: float  # nodes of the largest window


def radius_of(tol: float, radius: float | None) -> float:
    """Radius of the support in sigmas: beyond it a profile is below ``tol`` of its peak."""
    value = check.number("tol", tol, above=0.0, at_most=1.0)
    if value == 1.0:
        raise ValueError("tol must be below 1, got 1.0")
    if radius is not None:
        return check.number("radius", radius, above=0.0, at_most=1e6)
    return math.sqrt(-2.0 * math.log(value))


def points(name: str, value: ArrayLike, ndim: int) -> np.ndarray:
    """Positions (n, ndim) of any real dtype; (n,) is allowed where there is one axis."""
    array = check.real_array(name, value, columns=check.axis_names(ndim))
    if array.shape == (0,) or (ndim == 1 and array.ndim == 1):
        array = array.reshape(-1, ndim)
    if array.ndim != 2 or array.shape[1] != ndim:
        raise ValueError(
            f"{name} must have shape (n, {ndim}) for a grid of {wording.plural(ndim, 'axis')}, "
            f"got {array.shape}"
        )
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)


def sigmas_of(sigma: Any, n: int, grid: Grid) -> np.ndarray:
    """Sigmas (n or 1, ndim) in index units."""
    array = check.finite_array("sigma", sigma)
    allowed = ((), (grid.ndim,), (n, 1), (n, grid.ndim), (1, 1), (1, grid.ndim))
    if array.shape not in allowed:
        raise ValueError(
            f"sigma must be one number or of shape {allowed[1]}, {allowed[2]} or {allowed[3]} "
            f"for {wording.plural(n, 'particle')} on {wording.plural(grid.ndim, 'axis')}, "
            f"got shape {array.shape}"
        )
    if array.ndim == 1 and n == grid.ndim > 1:
        raise ValueError(
            f"sigma of shape {array.shape} could be one an axis or one a particle, of which there "
            f"are {n}, too: give shape (1, {n}) or ({n}, 1)"
        )
    if array.size and not array.min() > 0:
        raise ValueError(f"sigma must be above 0, got {array.min()}")
    rows = array.reshape(1, -1) if array.ndim < 2 else array
    with np.errstate(over="ignore", under="ignore"):
        scaled = rows / np.array(grid.spacing)
    return _in_range("sigma", np.ascontiguousarray(scaled))


def _in_range(name: str, sigmas: np.ndarray) -> np.ndarray:
    if sigmas.size and not (sigmas.min() >= _LEAST and sigmas.max() <= _MOST):
        raise ValueError(
            f"{name} must be between {_LEAST:g} and {_MOST:g} spacings of the grid, got "
            f"{sigmas.min():g} to {sigmas.max():g}"
        )
    return sigmas


def _covariances(covariance: Any, n: int, grid: Grid) -> np.ndarray:
    """Covariances (n or 1, ndim, ndim) in index units."""
    array = check.finite_array("covariance", covariance)
    square = (grid.ndim, grid.ndim)
    if array.shape not in (square, (n, *square), (1, *square)):
        raise ValueError(
            f"covariance must be of shape {square} or {(n, *square)}, got {array.shape}"
        )
    spacing = np.array(grid.spacing)
    with np.errstate(over="ignore", under="ignore"):
        scaled = array.reshape(-1, *square) / spacing / spacing[:, np.newaxis]
    if not np.allclose(scaled, scaled.swapaxes(1, 2), rtol=1e-10, atol=0.0):
        raise ValueError("covariance must be symmetric")
    sigmas = np.sqrt(np.maximum(np.diagonal(scaled, axis1=1, axis2=2), 0.0))
    if sigmas.size and not sigmas.min() > 0:
        raise ValueError("covariance must be positive definite, got a variance that is not above 0")
    _in_range("the square root of a variance of covariance", sigmas)
    unit = scaled / (sigmas[:, :, np.newaxis] * sigmas[:, np.newaxis, :])
    if unit.size and not np.linalg.eigvalsh(unit)[:, 0].min() > 1e-12:
        raise ValueError("covariance must be positive definite, got an eigenvalue not above 0")
    return scaled


def _tiles(shape: tuple[int, ...], n: int) -> np.ndarray:
    """Edges of the tiles: not many more tiles than particles, so that few particles cost little."""
    edges = np.full(len(shape), TILE)
    while math.prod(-(-max(n_k, 1) // int(e)) for n_k, e in zip(shape, edges, strict=True)) > max(
        4096, 2 * n
    ):
        edges *= 2
    return edges


class Geometry(NamedTuple):
    """Particles in the order in which they were given, checked, in index units."""

    centres: np.ndarray  # (n, d), on periodic axes within [0, n)
    widths: np.ndarray  # (n or 1, d) sigmas, or (n or 1, d, d) covariances
    half: np.ndarray  # (n or 1, d) half widths of windows
    longest: np.ndarray  # (d,) the largest of these
    radius: float
    integrate: bool
    sphere: bool
    rotated: bool


def make_geometry(
    grid: Grid,
    positions: ArrayLike,
    sigma: Any,
    covariance: Any,
    tol: float,
    radius: float | None,
    support: str,
    pixel: str,
) -> Geometry:
    """Check positions and widths of particles."""
    sphere = check.choice("support", support, SUPPORTS) == "sphere"
    integrate = check.choice("pixel", pixel, ("sample", "integrate")) == "integrate"
    reach = radius_of(tol, radius)
    where = points("positions", positions, grid.ndim)
    n = len(where)
    if covariance is None:
        widths = sigmas_of(sigma, n, grid)
        sigmas = widths
    else:
        widths = _covariances(covariance, n, grid)
        sigmas = np.sqrt(np.diagonal(widths, axis1=1, axis2=2))
    half = reach * sigmas + 0.5 * integrate
    longest = half.max(axis=0) if len(half) else np.zeros(grid.ndim)
    _check_periods(grid, longest)
    lengths = np.array(grid.shape)
    centres = np.empty((n, grid.ndim))
    with_periods = np.array(grid.periodic) & (lengths > 0)
    steps = np.array(grid.origin), np.array(grid.spacing)
    if not to_indices(where, *steps, lengths, with_periods, centres):
        check.finite_array("positions", where)
        raise ValueError("positions must be finite numbers of spacings from the origin")
    return Geometry(
        centres, widths, half, longest, reach, integrate, sphere, covariance is not None
    )


class Tiled(NamedTuple):
    """The order of particles by tile."""

    keys: np.ndarray  # (n,) tile of each particle, as given
    order: np.ndarray  # (n,) index of the particle at this place
    centres: np.ndarray  # (n, d) in that order
    first: np.ndarray  # (layers + 1,) where each layer of tiles along the first axis begins
    edge: int  # nodes of the first axis in a layer


def by_tile(grid: Grid, centres: np.ndarray, total: int) -> Tiled:
    """Sort particles, some or all of ``total``, by tile."""
    n = len(centres)
    lengths = np.array(grid.shape)
    edges = _tiles(grid.shape, total)
    tiles = np.maximum(1, -(-lengths // edges))
    counts = np.zeros(math.prod(tiles.tolist()) + 1, dtype=np.int64)
    index = np.int32 if n < 2**31 else np.int64
    order, ordered = np.empty(n, dtype=index), np.empty_like(centres)
    keys = np.empty(n, dtype=np.int32 if counts.size < 2**31 else np.int64)
    sort_by_tile(centres, lengths, edges, counts, keys, order, ordered)
    layer = math.prod(tiles[1:].tolist())
    first = np.concatenate([[0], counts[layer - 1 : -1 : layer]])
    return Tiled(keys, order, ordered, first, int(edges[0]))


def as_plan(grid: Grid, about: Geometry, particles: Particles) -> Plan:
    """The plan of particles in the order of tiles; ``about`` is their geometry."""
    nodes = np.minimum(2.0 * about.longest + 1.0, np.array(grid.shape))
    stride = -(-(int(nodes.max(initial=0.0)) + ROOM) // 16) * 16
    return Plan(
        grid,
        len(particles.centres),
        particles,
        Support(about.radius, about.integrate, stride),
        about.sphere,
        about.rotated,
        float(np.prod(nodes)),
    )


def make_plan(
    grid: Grid,
    positions: ArrayLike,
    sigma: Any,
    covariance: Any,
    tol: float,
    radius: float | None,
    support: str,
    pixel: str,
) -> Plan:
    """Check a field's geometry and sort its particles."""
    about = make_geometry(grid, positions, sigma, covariance, tol, radius, support, pixel)
    tiled = by_tile(grid, about.centres, len(about.centres))
    widths, along = (np.ascontiguousarray(of) for of in (about.widths, about.half[:, 0]))
    if len(widths) > 1:
        widths, along = np.take(widths, tiled.order, axis=0), along[tiled.order]
    extent = np.zeros(len(tiled.first) - 1)
    layer_reach(tiled.first, along, extent)
    return as_plan(
        grid,
        about,
        Particles(tiled.centres, widths, tiled.order, tiled.first, extent, tiled.edge),
    )


def _check_periods(grid: Grid, half: np.ndarray) -> None:
    """Refuse windows that wrap around an axis too often, which would take too long."""
    for axis, (n, wraps) in enumerate(zip(grid.shape, grid.periodic, strict=True)):
        if wraps and n and 2.0 * half[axis] > _MOST_PERIODS * n:
            raise ValueError(
                f"sigma must keep a support within {_MOST_PERIODS} periods of axis {axis}, got a "
                f"support of {2.0 * half[axis]:.3g} nodes on a period of {n}"
            )
    images = math.prod(
        1.0 + 2.0 * float(far) / n
        for far, n, wraps in zip(half, grid.shape, grid.periodic, strict=True)
        if wraps and n
    )
    if images > _MOST_IMAGES:
        raise ValueError(
            f"sigma must keep a particle to {_MOST_IMAGES} periodic images, got {images:.3g}"
        )


def fits_in_place(array: np.ndarray) -> bool:
    """Whether kernels can use this array in place: rows contiguous, axes forward."""
    strides = array.strides
    return (
        array.dtype.isnative
        and array.flags.aligned
        and (array.shape[-1] <= 1 or strides[-1] == array.itemsize)
        and all(
            n <= 1 or (step > 0 and step % array.itemsize == 0)
            for n, step in zip(array.shape, strides, strict=True)
        )
    )


def _three(values: Sequence[Any], fill: Any) -> tuple[Any, Any, Any]:
    """Entries of one to three axes as those of three."""
    z, y, x = (fill,) * (3 - len(values)) + tuple(values)
    return z, y, x


def contiguous_layout(grid: Grid) -> Layout:
    """The layout of a C-ordered array of the grid's shape, for any alignment."""
    steps = [math.prod(grid.shape[k + 1 :]) for k in range(grid.ndim)]
    shape, periodic = _three(grid.shape, 1), _three(grid.periodic, False)
    return Layout(shape, _three(steps, 0), -1, periodic, (0, 0, 0), shape, 0, 1, 0)


def layout_of(
    array: np.ndarray, grid: Grid, begin: tuple[int, ...] | None = None
) -> tuple[np.ndarray, Layout]:
    """An array's memory as one axis, and where its nodes lie there.

    The array holds the grid, or the box of it whose first node is ``begin``; one axis more is that
    of channels, the first.
    """
    item = array.itemsize
    channels, plane = 1, 0
    whole = array
    if array.ndim > grid.ndim:
        channels, plane = array.shape[0], array.strides[0] // item
        array = array[0]
    outer = [s // item if n > 1 else 0 for n, s in zip(array.shape, array.strides, strict=True)]
    steps = [*outer[:-1], 1]
    extent = 1 + sum((n - 1) * s for n, s in zip(array.shape, steps, strict=True))
    extent += (channels - 1) * plane
    flat = np.lib.stride_tricks.as_strided(whole, (extent,), (item,))
    low = _three(begin or (0,) * grid.ndim, 0)
    high = _three([b + n for b, n in zip(low[3 - grid.ndim :], array.shape, strict=True)], 1)
    strides = _three(steps, 0)
    start = -sum(b * s for b, s in zip(low, strides, strict=True))
    width = REGISTER_BITS // (8 * item)
    alike = all(s % width == 0 for s in steps[:-1])
    phase = (array.__array_interface__["data"][0] // item + start) % width if alike else -1
    shape, periodic = _three(grid.shape, 1), _three(grid.periodic, False)
    return flat, Layout(shape, strides, phase, periodic, low, high, start, channels, plane)


def scratch(plan: Plan, dtype: Any, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A thread's memory for tables: see ``Support`` of ``kernels/fields/axis_aligned.py``."""
    stride = plan.support.stride
    table = np.zeros(TABLES_AT + 2 * SLOTS * stride + channel_room(channels))
    return table, np.zeros(SLOTS * stride, dtype=dtype)
