"""Factories for the caller's own compiled code: paint and project of one particle.

Your own loop over particles draws each of them (``make_paint``) or sums the grid times each of them
(``make_project``, the adjoint). Positions and widths are in index units: node i of an axis lies at
i. The functions use the kernels of fields, with scratch memory on the stack, so that a call
allocates nothing unless its window is wider than some 60 nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import types

from .._compile import device, variants
from .._compile import kernel as compiled
from ..models.profiles import PIXELS
from ..simd.arguments import FAR, check, periods, three
from ..simd.stack_memory import flat_view, put_row, row_view, stack_like
from . import axis_aligned, painting
from .sweeps import make_visit
from .windows import Layout

_SUMS = axis_aligned.SUMS
_STRIDE = 60 + axis_aligned.ROOM  # of tables on the stack
_TABLES = axis_aligned.TABLES_AT + axis_aligned.channel_room(1)
_TABLE = _TABLES + 2 * axis_aligned.SLOTS * _STRIDE
_ROW = axis_aligned.SLOTS * _STRIDE
_MOST_PERIODS = 32.0  # largest half window on a periodic axis, so that the loop ends
_DOUBLE, _SINGLE = np.zeros(1), np.zeros(1, dtype=np.float32)  # arrays whose dtype is used


@device
def _widest(window, reach, sigma):
    """Nodes of the longest window of a particle, as far as the grid has them."""
    most = 0.0
    for k in range(sigma.size):
        most = max(most, min(2.0 * (reach * sigma[k] + 1.0), float(window[k])))
    return int(most) + 1


def _make_visitor(ndim: int, act: Callable, pixel: str, periodic: Any) -> Callable:
    """What ``act`` does to the nodes of one particle of a product of profiles."""
    check("pixel", pixel, PIXELS)
    visit = make_visit(axis_aligned.shape_of, axis_aligned.half_widths, act)
    wraps = periods(periodic, ndim)
    integrate = pixel == "integrate"
    both = 2 * ndim

    @device
    def one(grid, like, centre, sigma, radius, amplitude, sums):
        flat = flat_view(grid)
        shape = three(grid.shape, 1)
        numbers = stack_like(sums, both)
        centres, widths = numbers[:ndim], numbers[ndim:]
        put_row(centres, centre, ndim)
        put_row(widths, sigma, ndim)
        for k in range(ndim):
            n = grid.shape[k]
            wrapped = wraps[3 - ndim + k]
            half = radius * widths[k]
            if not abs(centres[k]) < FAR or not half > 0.0 or n == 0:
                return
            if wrapped:
                if not half <= _MOST_PERIODS * n:
                    return
                centres[k] = centres[k] - n * np.floor(centres[k] / n)
        wide = _widest(grid.shape, radius, widths) + axis_aligned.ROOM
        table, row = stack_like(sums, _TABLE), stack_like(like, _ROW)
        stride = _STRIDE
        if wide > stride:
            stride = wide
            table = np.empty(_TABLES + 2 * axis_aligned.SLOTS * stride)
            row = np.empty(axis_aligned.SLOTS * stride, dtype=like.dtype)
        for k in range(axis_aligned.SUMS):
            table[k] = 0.0
        strides = shape[1] * shape[2], shape[2], 1
        layout = Layout(shape, strides, -1, wraps, (0, 0, 0), shape, 0, 1, 0)
        support = axis_aligned.Support(radius, integrate, stride)
        at = axis_aligned.weights_at(support)
        table[at], table[at + 1] = amplitude, 0.0
        low, high = 0, grid.shape[0]
        visit(flat, layout, support, row_view(centres), row_view(widths), 0, low, high, table, row)
        sums[0] = table[at + 1]
        for k in range(1, axis_aligned.SUMS):
            sums[k] = table[k]

    return one


@cache
def make_paint(
    ndim: int,
    combine: str = "sum",
    pixel: str = "sample",
    support: str = "box",
    periodic: bool | tuple[bool, ...] = False,
) -> Callable:
    """Make a function that draws one truncated Gaussian on a grid, for compiled code.

    Parameters
    ----------
    ndim : {1, 2, 3}
    combine : {"sum", "max", "union"}
    pixel : {"sample", "integrate"}
    support : {"box", "sphere"}
    periodic : bool or tuple of bool
        For all axes, or for each.

    Returns
    -------
    callable
        ``paint(grid, centre, sigma, amplitude, radius)`` with ``grid`` a C-ordered array of
        float32 or float64, which is changed; ``centre`` a tuple or an array of ndim numbers in
        the order of the array's axes; ``sigma`` one number or the same; ``radius`` in sigmas. It
        may be called from Python.

    Raises
    ------
    ValueError
        Raised by the factory; the function that it returns never raises.

    Notes
    -----
    The function does nothing if the centre is NaN or infinite, if sigma times radius is NaN or not
    positive, or if a window is longer than 64 periods. It writes only inside the grid. A NaN
    amplitude is written. Two threads must not paint on one grid. It allocates nothing for windows
    of up to 60 nodes along an axis. Particles one after the other give the bits of
    `fastgauss.render` with the same radius if they are in the order of its tiles; else they agree
    except for rounding.

    Examples
    --------
    >>> from numba import njit
    >>> from fastgauss.kernels import make_paint
    >>> paint = make_paint(2)
    >>> @njit
    ... def draw(grid, path):
    ...     for i in range(len(path)):
    ...         paint(grid, (path[i, 0], path[i, 1]), 0.7, 1.0, 3.0)
    >>> grid = np.zeros((4, 5))
    >>> draw(grid, np.array([[1.0, 1.0], [1.0, 3.0]]))
    >>> grid[1].round(3)
    array([0.36 , 1.017, 0.721, 1.017, 0.36 ])
    """
    check("combine", combine, axis_aligned.COMBINE)
    check("support", support, ("box", "sphere"))
    act = painting.make_paint(axis_aligned.COMBINE[combine], support == "sphere")
    one = _make_visitor(ndim, act, pixel, periodic)

    @compiled
    def paint(grid, centre, sigma, amplitude, radius) -> None:
        sums = stack_like(_DOUBLE, _SUMS)
        one(grid, grid, centre, sigma, np.float64(radius), np.float64(amplitude), sums)

    return paint


def like_row(grid: np.ndarray) -> np.ndarray:
    """An array of the dtype in which rows of this grid are multiplied."""
    return (_like_single if grid.dtype == np.float32 else _like_double)(grid)


@device
def _like_single(grid):
    return _SINGLE


@device
def _like_double(grid):
    return _DOUBLE


@variants(like_row)
def _choose_like(grid: Any) -> Callable:
    return _like_single if grid.dtype == types.float32 else _like_double


@cache
def make_project(
    ndim: int,
    pixel: str = "sample",
    support: str = "box",
    periodic: bool | tuple[bool, ...] = False,
    derivatives: bool = False,
) -> Callable:
    """Make the sum of a grid times one truncated Gaussian, for compiled code: the adjoint.

    Parameters
    ----------
    ndim, pixel, support, periodic
        As in `make_paint`.
    derivatives : bool
        Whether to return the derivatives of the sum too.

    Returns
    -------
    callable
        ``project(grid, centre, sigma, radius)``, arguments as in `make_paint`, ``grid`` of any
        real dtype. Returns the sum; with ``derivatives`` the array of the sum, its ndim
        derivatives by the centre and its ndim derivatives by the sigmas, in the order of the
        axes. It may be called from Python.

    Raises
    ------
    ValueError
        Raised by the factory; the function that it returns never raises.

    Notes
    -----
    The sum is 0 where `make_paint` does nothing; NaN in the window gives NaN. The function is
    thread-safe. It allocates nothing for windows of up to 60 nodes along an axis, except the array
    of ``derivatives``.

    Examples
    --------
    >>> from numba import njit
    >>> from fastgauss.kernels import make_project
    >>> project = make_project(2)
    >>> @njit
    ... def brightest(grid, places):
    ...     best = 0
    ...     for i in range(len(places)):
    ...         if project(grid, places[i], 1.0, 3.0) > project(grid, places[best], 1.0, 3.0):
    ...             best = i
    ...     return best
    >>> grid = np.zeros((5, 5))
    >>> grid[3, 1] = 1.0
    >>> brightest(grid, np.array([[1.0, 1.0], [3.0, 2.0], [4.0, 4.0]]))
    1
    """
    check("support", support, ("box", "sphere"))
    one = _make_visitor(
        ndim, axis_aligned.make_project(derivatives, support == "sphere"), pixel, periodic
    )

    if derivatives:

        @compiled
        def project_with_slopes(grid, centre, sigma, radius):
            sums = stack_like(_DOUBLE, _SUMS)
            for k in range(axis_aligned.SUMS):
                sums[k] = 0.0
            one(grid, like_row(grid), centre, sigma, np.float64(radius), 1.0, sums)
            out = np.empty(1 + 2 * ndim)
            out[0] = sums[0]
            for k in range(ndim):
                out[1 + k] = sums[4 - ndim + k]
                out[1 + ndim + k] = sums[7 - ndim + k]
            return out

        return project_with_slopes

    @compiled
    def project(grid, centre, sigma, radius):
        sums = stack_like(_DOUBLE, _SUMS)
        sums[0] = 0.0
        one(grid, like_row(grid), centre, sigma, np.float64(radius), 1.0, sums)
        return sums[0]

    return project
