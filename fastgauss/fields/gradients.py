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
from ..kernels.fields.sweeps import sum_of_squares
from . import sweeps
from .plan import Plan, layout_of

_CHUNK = 1 << 16  # nodes
_ROWS = 1 << 11  # particles


ALIASES = {"covariances": "covariance"}


def parameters(
    wrt: str | Sequence[str], plan: Plan, turned_only: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The parameters that ``wrt`` names; ``turned_only`` are further ones of covariances."""
    widths = ("covariance", *turned_only) if plan.turned else ("sigmas",)
    known = ("amplitudes", "positions", *widths)
    if not isinstance(wrt, Iterable):
        raise TypeError(f"wrt must be one or more of {known}, got {wording.shown(wrt)}")
    names = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    if not names:
        raise ValueError(f"wrt must name one or more of {known}, got none")
    aliases = ALIASES if plan.turned else {}
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


def _solve_transposed(lower: np.ndarray, right: np.ndarray) -> np.ndarray:
    """L'**-1 times right (n, d, k), for all n at once."""
    out = np.empty_like(right)
    ndim = lower.shape[1]
    for i in range(ndim - 1, -1, -1):
        row = right[:, i]
        for j in range(i + 1, ndim):
            row = row - lower[:, j, i, np.newaxis] * out[:, j]
        out[:, i] = row / lower[:, i, i, np.newaxis]
    return out


def _by_position(plan: Plan, sums: np.ndarray, lower: np.ndarray | None) -> np.ndarray:
    """Derivatives (n, d) by positions."""
    ndim = plan.grid.ndim
    by_centre = sums[:, 4 - ndim : 4]
    if lower is not None:
        by_centre = _solve_transposed(lower, by_centre[:, :, np.newaxis])[:, :, 0]
    return by_centre / np.array(plan.grid.spacing)


def _by_sigma(plan: Plan, sums: np.ndarray, shape: tuple) -> np.ndarray:
    """Derivatives by sigmas, in the shape that the caller gave: for a common sigma their sum."""
    ndim = plan.grid.ndim
    each = sums[:, 7 - ndim : 7] / np.array(plan.grid.spacing)
    if len(shape) == 2:
        rows = each if shape[0] == len(each) else each.sum(axis=0, keepdims=True)
        return rows if shape[1] == ndim else rows.sum(axis=1, keepdims=True)
    return each.sum(axis=0) if shape else each.sum(axis=0).sum()


def _by_covariance(plan: Plan, sums: np.ndarray, lower: np.ndarray, name: str) -> np.ndarray:
    """Derivatives (n, d, d) by covariances or by their Cholesky factors.

    Those by covariances are symmetric: each element of the matrix counts separately.
    """
    spacing = np.array(plan.grid.spacing)
    half = _solve_transposed(lower, sums[:, packed(plan.grid.ndim)])
    if name == "cholesky":
        return np.tril(half) / spacing[:, np.newaxis]
    return 0.5 * _solve_transposed(lower, half.swapaxes(1, 2)) / np.outer(spacing, spacing)


def _by_ellipsoids(plan: Plan, sums: np.ndarray, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Derivatives of each particle with a covariance, some particles at a time."""
    n, ndim = plan.n, plan.grid.ndim
    sizes = {name: (n, ndim) if name == "positions" else (n, ndim, ndim) for name in names}
    found = {name: np.empty(size) for name, size in sizes.items()}
    order, widths = plan.particles.order, plan.particles.widths
    for start in range(0, n if names else 0, _ROWS):
        own = order[start : start + _ROWS]
        some = widths[start : start + _ROWS] if len(widths) == n else widths
        lower = np.broadcast_to(np.linalg.cholesky(some), (len(own), ndim, ndim))
        part = sums[own]
        for name, out in found.items():
            if name == "positions":
                out[own] = _by_position(plan, part, lower)
            else:
                out[own] = _by_covariance(plan, part, lower, name)
    return found


def derivatives(
    plan: Plan,
    volume: np.ndarray,
    amplitudes: np.ndarray,
    names: tuple[str, ...],
    shapes: dict[str, tuple],
    threads: int | None,
) -> dict[str, np.ndarray]:
    """Derivatives of sum(volume * field) by each of the named parameters, in their shapes."""
    plain = names == ("amplitudes",)
    heights = None if plain else amplitudes
    sums = sweeps.gather(plan, volume, threads, not plain, heights)
    channels = amplitudes.shape[1] if amplitudes.ndim > 1 else 1
    moments = sums[:, channels - 1 :]
    others = tuple(name for name in names if name != "amplitudes")
    of_ellipsoids = _by_ellipsoids(plan, moments, others) if plan.turned else {}
    result = {}
    for name in names:
        if name == "amplitudes":
            value = np.array(sums[:, :channels]).reshape(amplitudes.shape)
        elif name == "positions":
            value = of_ellipsoids[name] if plan.turned else _by_position(plan, moments, None)
            value = value.reshape(shapes[name])
        elif plan.turned:
            value, shape = of_ellipsoids[name], shapes["covariance"]
            value = value if shape == value.shape else value.sum(axis=0).reshape(shape)
        else:
            value = _by_sigma(plan, moments, shapes[name])
        result[name] = value
    return result
