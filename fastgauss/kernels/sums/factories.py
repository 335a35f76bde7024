"""Factories for the caller's own compiled code: deposit and gather of one point.

Your own loop distributes each point to its nodes (``make_deposit``) or reads the field there
(``make_gather``). The functions use ``kernels/sums/bspline_stencils.py``, with scratch memory on
the stack. Positions are in index units: node i of an axis lies at i.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import entry, inner_kernel
from .._compile import kernel as compiled
from ..simd.arguments import FAR, check, periods, three
from ..simd.stack_memory import flat_view, put_row, row_view, stack_like
from . import bspline_stencils

_WEIGHTS = 12  # of a stencil, four for each of three axes
_DOUBLE = np.zeros(1)  # arrays whose dtype is used
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
        Raised by the factory; the function that it returns never raises.

    Notes
    -----
    The nodes may lie outside the grid: the caller decides which of them are used. u must be below
    1e15 and not NaN. The function is thread-safe, allocates nothing and is inlined.

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
    """Make a deposit of one value to the nodes around it, for compiled code.

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
        Raised by the factory; the function that it returns never raises.

    Notes
    -----
    The function does nothing if the position is NaN or infinite; a NaN value is added. The part
    outside the grid is lost. Two threads must not add to one grid. It allocates nothing. Many
    particles one after the other give the bits of `fastgauss.deposit`.

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
    add = bspline_stencils.make_deposit(kernel, ndim, False, inner_kernel)

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
    """Make a gather, the field at one position, for compiled code: the adjoint of a deposit.

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
        Raised by the factory; the function that it returns never raises.

    Notes
    -----
    The result is 0 if the position is NaN or infinite; nodes outside the grid count as 0. The
    function is thread-safe and allocates nothing.

    Examples
    --------
    >>> from fastgauss.kernels import make_gather
    >>> float(make_gather(1)(np.array([0.0, 4.0, 8.0]), (1.25,)))
    5.0
    """
    check("kernel", kernel, bspline_stencils.STENCILS)
    wraps = periods(periodic, ndim)
    read = bspline_stencils.make_gather(kernel, ndim, inner_kernel)

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
