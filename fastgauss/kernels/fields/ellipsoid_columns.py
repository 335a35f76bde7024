"""Particles with a full covariance, sampled at nodes: two products a node along columns of y.

With the Cholesky factor of the covariance in the order (z, x, y) and u = (u_z, u_x, u_y) the
whitened distance from the centre, u_y grows along y by the same p from node to node, so that

    f = exp(-(u_z**2 + u_x**2 + u_y**2) / 2),   f(y + 1) = f(y) r(y),   r(y + 1) = r(y) exp(-p**2).

f and r begin anew from exponentials every ``_LONGEST`` nodes, or sooner where the particle is
narrow: then f is right to 2e-14 of the peak, and nothing underflows on the way that is not small at
its end. Where they begin depends on the particle alone, not on the part of the grid that a task
owns. A register holds nodes of neighbouring columns.
"""

from __future__ import annotations

from collections.abc import Callable

from .._compile import device
from ..numeric.special import exp_flushed, exp_negative
from ..simd.lane_types import WIDTH
from ..simd.lanes import floor, load, minimum, select, store
from ..simd.masked import lanes_within, ramp
from ..simd.stack_memory import stack_rows
from .ellipsoid_rows import inside, outer_of
from .windows import address

HELD = 3  # channels that a visit of a node serves; further ones are served run by run
VARIANTS = HELD + 1  # kernels by number of channels, of which the last is for more than ``HELD``
_LONGEST = 24  # nodes of a run
ALIGNED = 2  # registers of a row: longer rows get one more if they begin in line
_FAR = 20.0  # sigmas that a run may reach over
_MOST = 1e9  # nodes: runs of wider or farther particles begin at node 0


@device
def _runs(half, centre, per_yy):
    """Where the first run begins and how long runs are."""
    longest = min(max(int(_FAR / per_yy), 1), _LONGEST) if per_yy > 1.0 / _MOST else _LONGEST
    if not (half < _MOST and abs(centre) < _MOST):
        return 0, longest
    nodes = int(2.0 * half) + 1
    count = -(-nodes // longest)
    return int(-floor(half - centre)), -(-nodes // count)


def _make_first_register(channels: int) -> Callable:
    """The node of a window's row at which its first register begins.

    Where a register begins at a multiple of its width, it lies in one line of the cache of the
    memory that ``fields/node_memory.py`` makes. A single channel does not wait for memory: its
    registers begin at the window.
    """

    @device
    def first_register(first, count):
        if channels == 1:
            return first
        before = first % WIDTH
        more = before + count > -(-count // WIDTH) * WIDTH
        return first if more and count <= ALIGNED * WIDTH else first - before

    return first_register


def make_kept(sphere: bool) -> Callable:
    """f at a node of a run, from where ``make_over`` keeps it, and the lanes that count there."""

    @device
    def kept_at(kept, i, mask):
        f = load(kept, i)
        if sphere:
            mask = mask & (f >= 0.0)
        return f, mask

    return kept_at


def make_over(
    sphere: bool, channels: int, act: Callable, follow: Callable, fold: Callable
) -> Callable:
    """Visit a particle's window column by column; ``channels`` as of ``VARIANTS``.

    The window is ``first, count, centre``, and ``reach`` half of its length along y and the limit
    of ``inside``. ``act`` gets where a register lies, whether the task owns the memory of all its
    lanes, which of them count, f and u_y there, and what it returned at the node before, at first
    ``blank``. ``follow`` is called for more channels than ``HELD`` and gets the same of a whole
    run: where it begins, which lanes are in the window, and the run: f at its nodes, for
    ``make_kept``, how many they are, how far apart in memory, the first u_y and its step. So a loop
    over channels is outside of that over nodes, where its counters would not fit into registers.
    ``fold`` adds what was returned last in a column, whose u_z and u_x it gets, to ``sums``.
    """
    more = channels > HELD
    first_register = _make_first_register(channels)

    @device
    def over(flat, layout, support, factor, reach, window, table, blank, sums):
        half, limit = reach
        first, count, centre = window
        yz, xz, per_zz = factor[1], factor[3], factor[6]
        per_xx, yx, per_yy = factor[9], factor[10], factor[11]
        begin, length = _runs(half, centre[1], per_yy)
        step = layout.strides[1]
        stop = first[1] + count[1]
        shrink = exp_flushed(-(per_yy * per_yy))
        shares_rows = layout.shape[0] * layout.shape[1] == 1  # with other tasks: one axis
        window_end = first[2] + count[2]
        row_begin = first[2] if shares_rows else layout.low[2]
        row_end = window_end if shares_rows else layout.high[2]
        begin_x = first_register(first[2], count[2])
        kept = stack_rows(_LONGEST)
        for z in range(first[0], first[0] + count[0]):
            dz = float(z) - centre[0]
            u_z = dz * per_zz
            for x in range(begin_x, window_end, WIDTH):
                own = x >= row_begin and x + WIDTH <= row_end
                dx = ramp(float(x)) - centre[2]
                u_x = (dx - xz * u_z) * per_xx
                middle = u_x * yx + (yz * u_z + centre[1])
                across = u_x * u_x + u_z * u_z
                mask = lanes_within(0.0, first[2] - x, window_end - x)
                column = blank
                y = first[1] - (first[1] - begin) % length
                while y < stop:
                    end = min(y + length, stop)
                    u_y = (float(y) - middle) * per_yy
                    f = exp_flushed((u_y * u_y + across) * -0.5)
                    rate = exp_negative(minimum(700.0, u_y * -per_yy - 0.5 * per_yy * per_yy))
                    while y < first[1]:
                        f, rate, u_y, y = f * rate, rate * shrink, u_y + per_yy, y + 1
                    start = address(layout, z, y, x)
                    nodes, first_u = end - y, u_y
                    for i in range(nodes):
                        within = mask
                        if sphere:  # as ``ellipsoid_rows`` decides: u_y is rounded otherwise
                            outer = outer_of(factor, dz, float(y + i) - centre[1])
                            within = mask & inside(factor, outer, dx, limit)
                        if more:
                            store(kept, i, select(within, f, -1.0) if sphere else f)
                        at = start + i * step
                        column = act(flat, layout, support, at, own, within, f, u_y, table, column)
                        f, rate, u_y = f * rate, rate * shrink, u_y + per_yy
                    if more:
                        run = kept, nodes, step, first_u, per_yy
                        column = follow(flat, layout, support, start, own, mask, run, table, column)
                    y = end
                sums = fold(sums, column, u_z, u_x)
        return sums

    return over
