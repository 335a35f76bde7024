"""Derivatives of sums over a field by amplitudes, positions and widths, in the caller's units.

The kernels give, for each particle and a volume v, the sums of v f and of v times the derivatives
of f in index units (``kernels/fields/axis_aligned.py``), or the moments of v f in whitened
coordinates (``kernels/fields/full_covariance.py``). A field is linear in its amplitudes, so that
with S_p = sum v f_p

    d/da_p sum v F = S_p,     d/dq_p sum v F = a_p dS_p/dq_p    for any other parameter q.

With several channels the derivatives by q are summed over the channels. With M = a_p sum v f u u'
and the Cholesky factor L of a covariance C = L L'

    d/dC sum v F = L'**-1 M L**-1 / 2,     d/dL sum v F = L'**-1 M, its lower triangle.

One position or width in index units is ``spacing`` in the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ..base import check, thread_pool, wording
from ..kernels.fields.ellipsoid_derivatives import Derivatives, chain_rule
from ..kernels.fields.sweeps import sum_of_squares
from . import sweeps
from .plan import Plan, layout_of

_CHUNK = 1 << 16  # nodes


ALIASES = {"covariances": "covariance"}


def parameters(
    wrt: str | Sequence[str], plan: Plan, further: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The parameters that ``wrt`` names; ``further`` ones are allowed too."""
    known = ("amplitudes", "positions", "covariance" if plan.rotated else "sigmas", *further)
    if not isinstance(wrt, Iterable):
        raise TypeError(f"wrt must be one or more of {known}, got {wording.shown(wrt)}")
    names = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    if not names:
        raise ValueError(f"wrt must name one or more of {known}, got none")
    aliases = ALIASES if plan.rotated else {}
    for name in names:
        check.choice("wrt", name, (*known, *aliases))
    return tuple(aliases.get(name, name) for name in names)


def half_square(volume: np.ndarray, plan: Plan, threads: int | None) -> float:
    """Half the sum of squares of a volume, with the same bits for any number of threads."""
    if not volume.size:
        return 0.0
    flat, _ = layout_of(volume, plan.grid)
    parts = np.zeros(-(-flat.size // _CHUNK))

    def task(start: int, stop: int) -> None:
        parts[start // _CHUNK] = sum_of_squares(flat, start, stop)

    thread_pool.run(lambda: task, flat.size, _CHUNK, threads if len(parts) > 8 else 1)
    total = float(parts.sum())
    return 0.5 * (math.fsum(parts) if math.isfinite(total) else total)


def weighted_half_square(
    volume: np.ndarray, weights: np.ndarray, plan: Plan, threads: int | None
) -> float:
    """Half the sum of weights times squares, plane by plane of channels to save memory."""
    if volume.ndim == plan.grid.ndim:
        return half_square(volume * np.sqrt(weights), plan, threads)
    planes = zip(volume, weights, strict=True)
    return float(sum(half_square(own * np.sqrt(each), plan, threads) for own, each in planes))


def packed(ndim: int) -> np.ndarray:
    """Columns (d, d) of the moments of two axes in ``kernels/fields/full_covariance.py``."""
    return np.array([[4, 5, 6], [5, 7, 8], [6, 8, 9]])[3 - ndim :, 3 - ndim :]


def sorted_back(plan: Plan, rows: np.ndarray) -> np.ndarray:
    """Rows of the plan in the caller's order; a common row is repeated."""
    if len(rows) != plan.n:
        return np.broadcast_to(rows, (plan.n, *rows.shape[1:]))
    back = np.empty_like(rows)
    back[plan.particles.order] = rows
    return back


def factors(plan: Plan) -> np.ndarray:
    """Cholesky factors (n, d, d) of the covariances in index units, in the caller's order."""
    return sorted_back(plan, np.linalg.cholesky(plan.particles.widths))


def _by_position(plan: Plan, sums: np.ndarray) -> np.ndarray:
    """Derivatives (n, d) by positions of particles with sigmas."""
    return sums[:, 4 - plan.grid.ndim : 4] / np.array(plan.grid.spacing)


def _by_sigma(plan: Plan, sums: np.ndarray, shape: tuple) -> np.ndarray:
    """Derivatives by sigmas, in the shape that the caller gave: for a common sigma their sum."""
    ndim = plan.grid.ndim
    each = sums[:, 7 - ndim : 7] / np.array(plan.grid.spacing)
    if len(shape) == 2:
        rows = each if shape[0] == len(each) else each.sum(axis=0, keepdims=True)
        return rows if shape[1] == ndim else rows.sum(axis=1, keepdims=True)
    return each.sum(axis=0) if shape else each.sum(axis=0).sum()


def _of_ellipsoids(
    plan: Plan,
    volume: np.ndarray,
    amplitudes: np.ndarray,
    names: tuple[str, ...],
    threads: int | None,
) -> dict[str, np.ndarray]:
    """Derivatives of particles with covariances, one row for each particle.

    Those by covariances are symmetric: each element of the matrix counts separately.
    """
    n, ndim = plan.n, plan.grid.ndim
    square = (ndim, ndim)
    sizes: dict[str, tuple[int, ...]] = {
        "amplitudes": amplitudes.shape[1:] or (1,),
        "positions": (ndim,),
        "covariance": square,
        "cholesky": square,
    }
    found = {name: np.zeros((n if name in names else 0, *size)) for name, size in sizes.items()}
    particles, written = plan.particles, Derivatives(**found)
    spacing = np.array(plan.grid.spacing)

    def use(sums: np.ndarray, start: int) -> None:
        chain_rule(sums, particles.widths, particles.order, spacing, start, written)

    sweeps.gather_parts(plan, volume, threads, amplitudes, use)
    return found


def _of_products(
    plan: Plan,
    volume: np.ndarray,
    amplitudes: np.ndarray,
    names: tuple[str, ...],
    width_shape: tuple,
    threads: int | None,
) -> dict[str, np.ndarray]:
    """Derivatives of particles with sigmas; those by sigmas in the shape that the caller gave."""
    sums = sweeps.gather(plan, volume, threads, True, amplitudes)
    channels = amplitudes.shape[1] if amplitudes.ndim > 1 else 1
    moments = sums[:, channels - 1 :]
    by = {
        "amplitudes": sums[:, :channels].copy,
        "positions": lambda: _by_position(plan, moments),
        "sigmas": lambda: _by_sigma(plan, moments, width_shape),
    }
    return {name: by[name]() for name in names}


def derivatives(
    plan: Plan,
    volume: np.ndarray,
    amplitudes: np.ndarray,
    names: tuple[str, ...],
    shapes: dict[str, tuple],
    threads: int | None,
) -> dict[str, np.ndarray]:
    """Derivatives of sum(volume * field) by each of the named parameters, in their shapes."""
    if names == ("amplitudes",):
        found = {"amplitudes": sweeps.gather(plan, volume, threads)}
    elif plan.rotated:
        found = _of_ellipsoids(plan, volume, amplitudes, names, threads)
    else:
        found = _of_products(plan, volume, amplitudes, names, shapes["sigmas"], threads)
    all_shapes = {
        "cholesky": shapes.get("covariance", ()),
        **shapes,
        "amplitudes": amplitudes.shape,
    }
    return {name: _shaped(found[name], all_shapes[name]) for name in names}


def opposite(value: np.ndarray) -> np.ndarray:
    """A value with the opposite sign, in place unless it is one number; 0 stays 0."""
    return np.subtract(0.0, value, out=value if np.ndim(value) else None)


def _shaped(value: np.ndarray, shape: tuple) -> np.ndarray:
    """Derivatives in the shape of their parameter; of one that all particles share their sum."""
    if np.size(value) != math.prod(shape):
        value = value.sum(axis=0)
    return np.reshape(value, shape) if shape else value
