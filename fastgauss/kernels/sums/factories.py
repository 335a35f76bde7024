"""One point and the nodes around it, for the caller's own compiled code.

A loop of one's own shares each point out among its nodes (``make_deposit``) or reads the field
there (``make_gather``), by the blocks of ``stencils``, with their scratch on the stack. Positions
are in index units: node i of an axis lies at i.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device, entry
from .._compile import kernel as compiled
from ..simd.arguments import FAR, check, periods, three
from ..simd.stack_memory import flat_view, put_row, row_view, stack_like
from . import bspline_stencils

_WEIGHTS = 12  # of a stencil's three axes
_DOUBLE = np.zeros(1)  # these tell a dtype
_INTEGER, _TRUTH = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.bool_)


@cache
def make_stencil(kernel: str = "linear") -> Callable:
    """Nodes and weights of a B-spline around a coordinate, for compiled code.

    Parameters
    ----------
    kernel : {"nearest", "linear", "quadratic", "cubic"}
        The B-spline of p = 1, 2, 3 or 4 nodes, as in `fastgauss.deposit`.

    Returns
    -------
    callable
        ``stencil(u)`` returns ``(first, weights)``: the first of the p nodes around u, in index
        units, and the tuple of their weights, whose sum is 1.

    Raises
    ------
    ValueError
        When it is made; the function itself never raises.

    Notes
    -----
    The nodes may lie outside of any grid: which of them count is the caller's affair. u must be
    below 1e15 and not NaN. Thread-safe, allocates nothing, inlined.

    Examples
    --------
    >>> from numba import njit
    >>> from fastgauss.kernels import make_stencil
    >>> linear = make_stencil("linear")
    >>> @njit
    ... def at(u):
    ...     return linear(u)
    >>> first, weights = at(2.25)
    >>> first, [float(w) for w in weights]
    (2, [0.75, 0.25])
    """
    check("kernel", kernel, bspline_stencils.STENCILS)
    nodes, weigh = bspline_stencils.STENCILS[kernel]
    row_of = bspline_stencils.ROW[nodes]

    @entry
    def stencil(u):
        weights = row_view(stack_like(_DOUBLE, nodes))
        first = weigh(np.float64(u), weights, 0, 0)
        return first, row_of(weights, 0, 0)

    return stencil


@cache
def make_deposit(
    ndim: int, kernel: str = "linear", periodic: bool | tuple[bool, ...] = False
) -> Callable:
    """Share one value out among the nodes around it, for compiled code: `fastgauss.deposit`.

    Parameters
    ----------
    ndim : {1, 2, 3}
    kernel : {"nearest", "linear", "quadratic", "cubic"}
    periodic : bool or tuple of bool
        For all axes, or for each.

    Returns
    -------
    callable
        ``deposit(grid, position, value)`` with ``grid`` a C-ordered array of float32 or
        float64, which is added to, and ``position`` a tuple or an array of ndim numbers in the
        order of the array's axes, in index units. It may be called from Python.

    Raises
    ------
    ValueError
        When it is made; the function itself never raises.

    Notes
    -----
    Does nothing where the position is NaN or infinite; a value that is NaN is added. What falls
    outside the grid is lost. Two threads must not add to one grid. Allocates nothing. Many
    particles in a row give the bits of `fastgauss.deposit`.

    Examples
    --------
    >>> from numba import njit
    >>> from fastgauss.kernels import make_deposit
    >>> deposit = make_deposit(2)
    >>> @njit
    ... def walk(grid, y, x, steps):
    ...     for k in range(steps):
    ...         deposit(grid, (y, x + 0.5 * k), 1.0)
    >>> grid = np.zeros((2, 4))
    >>> walk(grid, 0.0, 1.0, 3)
    >>> grid[0]
    array([0. , 1.5, 1.5, 0. ])
    """
    check("kernel", kernel, bspline_stencils.STENCILS)
    wraps = periods(periodic, ndim)
    add = bspline_stencils.make_deposit(kernel, ndim, False, device)

    @compiled
    def deposit(grid, position, value) -> None:
        positions = stack_like(_DOUBLE, ndim)
        put_row(positions, position, ndim)
        for k in range(ndim):
            if not abs(positions[k]) < FAR:
                return
        values = stack_like(_DOUBLE, 1)
        values[0] = np.float64(value)
        weights = stack_like(_DOUBLE, _WEIGHTS)
        weights[:] = 1.0
        cells, which = stack_like(_INTEGER, 3), stack_like(_INTEGER, 1)
        cells[:] = 0
        block = bspline_stencils.Block(
            which, row_view(cells), stack_like(_TRUTH, 1), row_view(weights)
        )
        frame = bspline_stencils.Frame(
            three(grid.shape, 1), wraps, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        )
        add(
            flat_view(grid), row_view(positions), row_view(values), frame, block, 0,
            grid.shape[0],
        )  # fmt: skip

    return deposit


@cache
def make_gather(
    ndim: int, kernel: str = "linear", periodic: bool | tuple[bool, ...] = False
) -> Callable:
    """The field at one place, the adjoint of `make_deposit`: `fastgauss.gather`.

    Parameters
    ----------
    ndim, kernel, periodic
        As in `make_deposit`.

    Returns
    -------
    callable
        ``gather(grid, position)``, arguments as in `make_deposit`, ``grid`` of any real dtype.
        Returns the weighted sum of the nodes around the position. It may be called from Python.

    Raises
    ------
    ValueError
        When it is made; the function itself never raises.

    Notes
    -----
    0 where the position is NaN or infinite; nodes outside the grid count as 0. Thread-safe,
    allocates nothing.

    Examples
    --------
    >>> from fastgauss.kernels import make_gather
    >>> float(make_gather(1)(np.array([0.0, 4.0, 8.0]), (1.25,)))
    5.0
    """
    check("kernel", kernel, bspline_stencils.STENCILS)
    wraps = periods(periodic, ndim)
    read = bspline_stencils.make_gather(kernel, ndim, device)

    @compiled
    def gather(grid, position):
        positions = stack_like(_DOUBLE, ndim)
        put_row(positions, position, ndim)
        for k in range(ndim):
            if not abs(positions[k]) < FAR:
                return 0.0
        out = stack_like(_DOUBLE, 1)
        weights = stack_like(_DOUBLE, _WEIGHTS)
        weights[:] = 1.0
        cells, which = stack_like(_INTEGER, 3), stack_like(_INTEGER, 1)
        cells[:] = 0
        block = bspline_stencils.Block(
            which, row_view(cells), stack_like(_TRUTH, 1), row_view(weights)
        )
        frame = bspline_stencils.Frame(
            three(grid.shape, 1), wraps, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        )
        read(flat_view(grid), row_view(positions), frame, block, row_view(out), 0, 1)
        return out[0]

    return gather
