"""Derivatives of sums over a field by amplitudes, positions and widths, in the caller's units.

The kernels give, for each particle and a volume v, the sums of v f and of v times the derivatives
of f in index units (``kernels/fields/axis_aligned.py``), or the moments of v f in whitened
coordinates (``kernels/fields/full_covariance.py``). A field is linear in its amplitudes, so that
with S_p = sum v f_p

    d/da_p sum v F = S_p,     d/dq_p sum v F = a_p dS_p/dq_p    for any other parameter q.

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


def parameters(wrt: str | Sequence[str], plan: Plan) -> tuple[str, ...]:
    """The parameters that ``wrt`` names."""
    known = ("amplitudes", "positions", "covariance" if plan.turned else "sigmas")
    if not isinstance(wrt, Iterable):
        raise TypeError(f"wrt must be one or more of {known}, got {wording.shown(wrt)}")
    names = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    if not names:
        raise ValueError(f"wrt must name one or more of {known}, got none")
    for name in names:
        check.choice("wrt", name, known)
    return names


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


def _by_position(plan: Plan, sums: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
    """Derivatives (n, d) by positions."""
    ndim = plan.grid.ndim
    by_centre = sums[:, 4 - ndim : 4]
    if plan.turned:
        back = np.linalg.inv(factors(plan)).swapaxes(1, 2)
        by_centre = (back @ by_centre[:, :, np.newaxis])[:, :, 0]
    return by_centre * amplitudes[:, np.newaxis] / np.array(plan.grid.spacing)


def _by_sigma(plan: Plan, sums: np.ndarray, amplitudes: np.ndarray, shape: tuple) -> np.ndarray:
    """Derivatives by sigmas, in the shape that the caller gave: for a common sigma their sum."""
    ndim = plan.grid.ndim
    each = sums[:, 7 - ndim : 7] * amplitudes[:, np.newaxis] / np.array(plan.grid.spacing)
    if len(shape) == 2:
        rows = each if shape[0] == len(each) else each.sum(axis=0, keepdims=True)
        return rows if shape[1] == ndim else rows.sum(axis=1, keepdims=True)
    return each.sum(axis=0) if shape else each.sum(axis=0).sum()


def _by_covariance(
    plan: Plan, sums: np.ndarray, amplitudes: np.ndarray, shape: tuple
) -> np.ndarray:
    """Derivatives by covariances, symmetric: each element of the matrix counts separately."""
    back = np.linalg.inv(factors(plan))
    inner = sums[:, packed(plan.grid.ndim)] * (0.5 * amplitudes[:, np.newaxis, np.newaxis])
    spacing = np.array(plan.grid.spacing)
    each = back.swapaxes(1, 2) @ inner @ back / np.outer(spacing, spacing)
    return each if shape == each.shape else each.sum(axis=0).reshape(shape)


def derivatives(
    plan: Plan,
    volume: np.ndarray,
    amplitudes: np.ndarray,
    names: tuple[str, ...],
    shapes: dict[str, tuple],
    threads: int | None,
) -> dict[str, np.ndarray]:
    """Derivatives of sum(volume * field) by each of the named parameters, in their shapes."""
    sums = sweeps.gather(plan, volume, threads, derivatives=names != ("amplitudes",))
    result = {}
    for name in names:
        if name == "amplitudes":
            value = sums[:, 0].copy()
        elif name == "positions":
            value = _by_position(plan, sums, amplitudes).reshape(shapes[name])
        else:
            convert = _by_covariance if plan.turned else _by_sigma
            value = convert(plan, sums, amplitudes, shapes[name])
        result[name] = value
    return result
