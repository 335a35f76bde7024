"""Chain rule of a full covariance: moments in whitened coordinates become derivatives.

With the Cholesky factor L of the covariance, and m and M the sums of v f u and v f u u'
(``kernels/fields/full_covariance.py``),

    d/dcentre = L'**-1 m,    d/dcovariance = L'**-1 M L**-1 / 2,

and that by L is the lower triangle of L'**-1 M. Everything is in index units until it is written.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._compile import device, kernel
from .ellipsoid_rows import shape_of

MOMENTS = 9  # of f u and f u u', after the products of the channels


class Derivatives(NamedTuple):
    """Derivatives of particles in the caller's order; one that is not asked for has no rows."""

    amplitudes: np.ndarray  # (n, channels)
    positions: np.ndarray  # (n, d)
    covariance: np.ndarray  # (n, d, d)
    cholesky: np.ndarray  # (n, d, d)


@device
def _solve_transposed(factor, z, y, x):
    """L'**-1 times a column."""
    _, yz, _, xz, xy = factor[:5]
    last = x * factor[8]
    middle = (y - xy * last) * factor[7]
    return (z - yz * middle - xz * last) * factor[6], middle, last


@device
def _write(target, to, spacing, other, rows):
    """The rows of a matrix of three axes, each element divided by its two lengths."""
    axes = target.shape[1]
    lead = 3 - axes
    for i in range(axes):
        for j in range(axes):
            target[to, i, j] = rows[3 * (lead + i) + lead + j] / (spacing[i] * other[j])


@kernel
def chain_rule(sums, widths, order, spacing, begin, derivatives):
    """Write the derivatives of the particles from ``begin`` on, in the order of the plan.

    ``sums`` are their products with each channel and their moments, ``widths`` (n or 1, d, d)
    covariances, ``spacing`` (d,) lengths of an index unit.
    """
    axes = spacing.size
    channels = sums.shape[1] - MOMENTS
    ones = np.ones(axes)
    for row in range(sums.shape[0]):
        to = order[begin + row]
        for c in range(channels if derivatives.amplitudes.shape[0] > 0 else 0):
            derivatives.amplitudes[to, c] = sums[row, c]
        factor = shape_of(widths, begin + row)
        own = sums[row, channels:]
        if derivatives.positions.shape[0] > 0:
            centre = _solve_transposed(factor, own[0], own[1], own[2])
            for i in range(axes):
                derivatives.positions[to, i] = centre[3 - axes + i] / spacing[i]
        of_z = _solve_transposed(factor, own[3], own[4], own[5])
        of_y = _solve_transposed(factor, own[4], own[6], own[7])
        of_x = _solve_transposed(factor, own[5], own[7], own[8])
        if derivatives.cholesky.shape[0] > 0:
            lower = of_z[0], 0.0, 0.0, of_z[1], of_y[1], 0.0, of_z[2], of_y[2], of_x[2]
            _write(derivatives.cholesky, to, spacing, ones, lower)
        if derivatives.covariance.shape[0] > 0:
            zz, zy, zx = _solve_transposed(factor, 0.5 * of_z[0], 0.5 * of_y[0], 0.5 * of_x[0])
            _, yy, yx = _solve_transposed(factor, 0.5 * of_z[1], 0.5 * of_y[1], 0.5 * of_x[1])
            _, _, xx = _solve_transposed(factor, 0.5 * of_z[2], 0.5 * of_y[2], 0.5 * of_x[2])
            _write(
                derivatives.covariance, to, spacing, spacing, (zz, zy, zx, zy, yy, yx, zx, yx, xx)
            )
