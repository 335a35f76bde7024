"""Sums of unit Gaussians at arbitrary points: a fast Gauss transform with a bound.

    f(y) = sum_j w_j K(y - x_j),   K a product over axes of phi(t), t phi(t) or Phi(t),

phi the standard normal density and Phi its integral. Space is cut into cells of edge c. Between
two cells o apart, K is expanded in Chebyshev polynomials of the places u, v in [-1, 1] in both,

    K(c o + c (u - v) / 2) = sum_kl A_kl(o) T_k(u) T_l(v),

and cut at degree p: the error along an axis is at most e(o), the sum of the |A_kl| left out, and
the largest |K| for cells that are left out whole. So for cells of masses m(i)

    |error(y)| <= sum over cells of m(i + o) e(o).

The peak F of the sum of phi bounds the masses: sum_o m(i + o) g(o) <= F for every i, where g(o)
is the least K between the centre of a cell and another. If e <= L (e * g), a convolution, then
|error| <= L F sum_o e(o). In d dimensions e is a sum of products of one e(o) and d - 1 times
h(o) = max |K| + e(o), and L the product of those of the factors:

    |error| <= F d (L_e E) (L_h H)^(d-1),   E = sum e(o), H = sum h(o).

The edge is the largest for which this is below ``tol``: a bound for every set of points.
The kernels (``kernels/density/cell_moments.py``) use powers in the place of Chebyshev polynomials:
the matrix A is converted.

Where the cells would take too much memory, the points are halved at their median and the sources
beyond reach of each half left out; where pairs are few, all are summed.

Greengard & Strain 1991, SIAM J. Sci. Stat. Comput. 12, 79, whose Hermite and Taylor series
this replaces by expansions that are as short as can be.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..base import thread_pool
from ..base.progress import Progress, report_part
from ..kernels.density import cell_moments as kernels
from ..kernels.density.all_pairs import make_pairs
from ..kernels.simd.lane_types import WIDTH

LEAST_TOL = 1e-10
_NODES = 40  # Chebyshev nodes of an expansion: exact to rounding for edges up to 3
_EDGES = np.arange(2.6, 0.25, -0.05)
_SHORT = 0.8  # edges below this are not worth 8 powers
_POWERS = (8, 16)  # of an expansion: whole registers of either width
_BUDGET = 1 << 25  # numbers of an array of moments: 256 MB
_LITTLE = 1 << 21  # numbers that are worked through before far sources are sought out
_PAIRS_A_NUMBER = 2  # pairs that cost as much as a number of the array
_FEW = 1 << 14  # pairs that are summed whatever the cells cost
_PART = 1 << 15  # sources of a part with an array of its own, at least
_PARTS = 4
_CHUNK = 1 << 12


def _phi(t: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * t * t) / math.sqrt(2 * math.pi)


def _slope(t: np.ndarray) -> np.ndarray:
    return t * _phi(t)


def _integral(t: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr

    return ndtr(t)


_FUNCTIONS = {"value": _phi, "slope": _slope, "integral": _integral}


def _expansion(what: str, edge: float, offsets: np.ndarray) -> np.ndarray:
    """Chebyshev coefficients A (offsets, k, l)."""
    angle = math.pi * (np.arange(_NODES) + 0.5) / _NODES
    transform = np.cos(np.outer(np.arange(_NODES), angle)) * (2 / _NODES)
    transform[0] /= 2
    u = np.cos(angle)
    values = _FUNCTIONS[what](
        edge * (offsets[:, None, None] + 0.5 * (u[:, np.newaxis] - u[np.newaxis]))
    )
    return transform @ values @ transform.T


def _largest(offsets: np.ndarray, edge: float) -> np.ndarray:
    """The most that phi, in units of phi(0), and t phi can be between cells so far apart."""
    nearest = edge * np.maximum(np.abs(offsets) - 1.0, 0.0)
    return np.maximum(1.0, nearest) * np.exp(-0.5 * nearest**2)


class Plan(NamedTuple):
    """Cells for a tolerance: their edge, how far they see, registers a row of powers."""

    edge: float
    reach: int
    registers: int
    bound: float  # of the error, in units of the peak of the sum


@lru_cache(maxsize=64)
def make_plan(tol: float, axes: int) -> Plan:
    """The largest cells that keep the error below ``tol`` of the peak."""
    plan = None
    for powers in _POWERS:
        count = powers // WIDTH
        plan = next(filter(None, (_plan(tol, axes, edge, count) for edge in _EDGES)), plan)
        if plan is not None and plan.edge >= _SHORT:
            break
    assert plan is not None, tol  # LEAST_TOL is reached with room to spare
    return plan


def _plan(tol: float, axes: int, edge: float, registers: int) -> Plan | None:
    powers = WIDTH * registers
    offsets = np.arange(-2 - int(8 / edge), 3 + int(8 / edge))
    left_out = np.zeros(len(offsets))
    for what in ("value", "slope"):
        a = np.abs(_expansion(what, edge, offsets)) * math.sqrt(2 * math.pi)
        dropped = a.sum(axis=(1, 2)) - a[:, :powers, :powers].sum(axis=(1, 2))
        left_out = np.maximum(left_out, dropped)
    most = _largest(offsets, edge)
    for reach in range(1, len(offsets) // 2):
        error = np.where(np.abs(offsets) <= reach, left_out, most)
        bound = axes * _spread(error, offsets, edge)
        bound *= _spread(most + error, offsets, edge) ** (axes - 1)
        if bound <= tol:
            return Plan(float(edge), reach, registers, float(bound))
    return None


def _spread(error: np.ndarray, offsets: np.ndarray, edge: float) -> float:
    """L_e sum e(o), the bound that errors e(o) between cells put on the error of a sum."""
    least = np.exp(-0.5 * (edge * (np.abs(offsets) + 0.5)) ** 2)
    covered = np.convolve(error, least, mode="same")
    return float((error / covered).max() * error.sum())


@lru_cache(maxsize=64)
def _matrices(what: str, plan: Plan) -> np.ndarray:
    """The matrices that ``make_translate`` takes, one for each cell of the window."""
    powers = WIDTH * plan.registers
    to_powers = np.zeros((powers, powers))
    for k in range(powers):
        to_powers[k, : k + 1] = np.polynomial.chebyshev.cheb2poly([0] * k + [1])
    offsets = np.arange(plan.reach, -plan.reach - 1, -1)  # of a target from its source
    a = _expansion(what, plan.edge, offsets)[:, :powers, :powers]
    b = np.einsum("okl,kj,lm->omj", a, to_powers, to_powers)
    return np.ascontiguousarray(b).reshape(-1, WIDTH)


class _Cells(NamedTuple):
    """A box of cells: three axes, those that are not there of one cell."""

    low: tuple[float, float, float]
    shape: tuple[int, int, int]


class Sources(NamedTuple):
    """Points (n, d) of unit bandwidth, weights (n,) or one for all, and the box around them."""

    points: np.ndarray
    weights: np.ndarray
    low: np.ndarray
    high: np.ndarray


def extent(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest coordinates (d,) of points (n, d), by columns: 50 times faster."""
    columns = list(points.T)
    return np.array([c.min() for c in columns]), np.array([c.max() for c in columns])


def make_sources(points: np.ndarray, weights: np.ndarray) -> Sources:
    """Sources with the box around them."""
    return Sources(points, weights, *extent(points))


def gauss_sum(
    sources: Sources,
    points: np.ndarray,
    tol: float,
    what: str = "value",
    axis: int = 0,
    threads: int | None = None,
    report: Progress | None = None,
) -> np.ndarray:
    """The sum at finite points (m, d): of phi, of t phi along ``axis``, or of Phi.

    The error is below ``tol`` of the peak of the sum of phi; for Phi, of the sum of weights.
    """
    out = np.zeros(len(points))
    if not (len(points) and len(sources.points)):
        return out
    plan = make_plan(tol, points.shape[1])
    told = _Told(report, len(points))
    _solve(_Job(plan, what, axis, threads, told), sources, points, out, np.arange(len(points)))
    return out


class _Told:
    """The number of points that are done, for the report of progress."""

    def __init__(self, report: Progress | None, total: int) -> None:
        self._report, self._total, self._done = report, total, 0

    def stages(self, points: int, count: int) -> list[Progress | None]:
        """The reports of ``count`` stages, which together do ``points`` further points."""
        ends = [self._done + points * k // count for k in range(count + 1)]
        self._done += points
        return [report_part(self._report, self._total, *ends[k : k + 2]) for k in range(count)]


class _Job(NamedTuple):
    plan: Plan
    what: str
    axis: int
    threads: int | None
    told: _Told = _Told(None, 0)


def _solve(
    job: _Job, sources: Sources, points: np.ndarray, out: np.ndarray, rows: np.ndarray
) -> None:
    """Fill ``out[rows]`` with the sums at ``points``, which are those of the rows."""
    axes = points.shape[1]
    cells, numbers = _box(job.plan, sources, axes)
    if numbers > _LITTLE:
        low, high = extent(points)
        sources = _near(job, sources, low, high)
        if not len(sources.points):
            job.told.stages(len(points), 1)
            return
        cells, numbers = _box(job.plan, sources, axes)
    pairs = len(sources.points) * len(points)
    if pairs <= max(_FEW, _PAIRS_A_NUMBER * numbers) or len(points) == 1:
        out[rows] = _all_pairs(job, sources, points)
    elif numbers <= _BUDGET:
        out[rows] = _by_cells(job, sources, points, cells)
    else:
        axis = int(np.argmax(np.ptp(points, axis=0)))
        order = np.argsort(points[:, axis], kind="stable")
        for half in np.array_split(order, 2):
            _solve(job, sources, points[half], out, rows[half])


def _near(job: _Job, sources: Sources, low: np.ndarray, high: np.ndarray) -> Sources:
    """The sources that reach into a box; those far below it drawn near for integrals."""
    reach = job.plan.edge * (job.plan.reach + 1)
    below, above = low - reach, high + reach
    if (sources.low >= below).all() and (sources.high <= above).all():
        return sources
    points = sources.points
    near = (points <= above).all(axis=1)
    if job.what != "integral":
        near &= (points >= below).all(axis=1)
    points = points[near]
    weights = sources.weights if len(sources.weights) == 1 else sources.weights[near]
    if not len(points):
        return sources._replace(points=points)
    if job.what == "integral":
        points = np.maximum(points, below)
    return make_sources(points, weights)


def _box(plan: Plan, sources: Sources, axes: int) -> tuple[_Cells, float]:
    """The cells in which the sum is not 0, and the numbers of their moments."""
    lead = 3 - axes
    low = sources.low - plan.edge * plan.reach
    counts = np.ceil((sources.high - sources.low) / plan.edge) + (2 * plan.reach + 1)
    numbers = math.prod(counts.tolist()) * float(WIDTH * plan.registers) ** axes
    if not numbers <= _BUDGET:
        return _Cells((0.0,) * 3, (0,) * 3), numbers
    shape = (1,) * lead + tuple(int(count) for count in counts)
    return _Cells((0.0,) * lead + tuple(low.tolist()), shape), numbers  # type: ignore[arg-type]


def _all_pairs(job: _Job, sources: Sources, points: np.ndarray) -> np.ndarray:
    n, axes = sources.points.shape
    columns = np.zeros((axes, -(-n // WIDTH) * WIDTH))
    columns[:, :n] = sources.points.T
    weights = np.zeros(columns.shape[1])
    weights[:n] = sources.weights
    flat, out = columns.reshape(-1), np.empty(len(points))
    kernel = make_pairs(job.what)

    def task(start: int, stop: int) -> None:
        kernel(points, flat, weights, job.axis, out, start, stop)

    (report,) = job.told.stages(len(points), 1)
    thread_pool.run(lambda: task, len(points), max(1, (1 << 18) // n), job.threads, report)
    return out


def _by_cells(job: _Job, sources: Sources, points: np.ndarray, cells: _Cells) -> np.ndarray:
    axes, plan = points.shape[1], job.plan
    first, *others, last = job.told.stages(len(points), axes + 2)
    array, alive = _collect(job, sources, cells, axes, first)
    for axis, report in zip(reversed(range(3 - axes, 3)), others, strict=True):
        _translate(job, array, alive, cells, axes, axis, report)
    out = np.empty(len(points))
    points = _clipped(job, points, cells, axes)
    kernel = kernels.make_evaluate(axes, plan.registers)

    def task(start: int, stop: int) -> None:
        kernel(points, cells.low, 1 / plan.edge, cells.shape, array, out, start, stop)

    thread_pool.run(lambda: task, len(points), _CHUNK, job.threads, last)
    return out


def _clipped(job: _Job, points: np.ndarray, cells: _Cells, axes: int) -> np.ndarray:
    """Points above all sources, where an integral has reached its end, put into the last cell."""
    if job.what != "integral":
        return points
    low = np.array(cells.low[3 - axes :])
    return np.minimum(points, low + job.plan.edge * (np.array(cells.shape[3 - axes :]) - 0.5))


def _collect(
    job: _Job, sources: Sources, cells: _Cells, axes: int, report: Progress | None
) -> tuple[np.ndarray, np.ndarray]:
    """Moments of all cells, and which are not 0; the same bits for any number of threads."""
    plan = job.plan
    rows = (WIDTH * plan.registers) ** axes // WIDTH
    count, n = math.prod(cells.shape), len(sources.points)
    parts = min(_PARTS, max(1, n // max(_PART, count * rows * WIDTH // 2)))
    arrays = np.zeros((parts, count * rows, WIDTH))
    kernel = kernels.make_collect(axes, plan.registers)
    bounds = np.linspace(0, n, parts + 1).astype(int).tolist()

    def task(start: int, stop: int) -> None:
        for k in range(start, stop):
            where = cells.low, 1 / plan.edge, cells.shape
            kernel(sources.points, sources.weights, *where, arrays[k], bounds[k], bounds[k + 1])

    thread_pool.run(lambda: task, parts, 1, job.threads, report)
    array = arrays[0]
    for other in arrays[1:]:
        array += other
    return array, array[::rows, 0] != 0.0


def _translate(
    job: _Job, array: np.ndarray, alive: np.ndarray, cells: _Cells, axes: int, axis: int,
    report: Progress | None,
) -> None:  # fmt: skip
    """Moments to polynomials along one of three axes, in place."""
    plan = job.plan
    powers, own = WIDTH * plan.registers, axis - (3 - axes)
    what = job.what
    if what == "slope":
        what = "slope" if own == job.axis else "value"
    matrices = _matrices(what, plan)
    n, inner = cells.shape[axis], math.prod(cells.shape[axis + 1 :])
    pre, post = powers**own, powers ** (axes - 1 - own) // WIDTH
    rows = powers**axes // WIDTH
    kernel = kernels.make_translate(axes, plan.registers)
    along = tuple(kernels.Axis(n, inner, pre, post))

    def make_task() -> thread_pool.Task:
        scratch, marks = np.empty(((n + 1) * rows, WIDTH)), np.empty(n, dtype=np.bool_)

        def task(start: int, stop: int) -> None:
            kernel(
                array, alive, matrices, plan.reach, what == "integral", along, scratch, marks,
                start, stop,
            )  # fmt: skip

        return task

    lines = len(alive) // n
    thread_pool.run(make_task, lines, max(1, 512 // (n * rows)), job.threads, report)
