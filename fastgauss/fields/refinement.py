"""Refinement: positions, widths and amplitudes of all particles of a field, from a volume.

The parameters of particle p move in steps without dimension: its centre by sigma t, its sigma to
sigma exp(s), its amplitude by a unit common to all. A full covariance C = L L' moves by L t and to
L exp(S) L' with S symmetric. For these steps, the columns of the Jacobian are those that the
kernels give (``kernels/fields/axis_aligned.py``, ``kernels/fields/full_covariance.py``), times the
amplitude:

    J = B diag(scale) E,    B' = gather,  B = tangent,

with E constant: it selects the free parameters and the widths that are one number. A constant
background is one more column of J, the unit of amplitudes at every node.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..base.progress import Progress, report_descent
from ..base.scaling import unit_of
from . import amplitudes as amplitude_fits
from . import gradients, node_memory, sweeps
from .arguments import Data
from .levmar import minimise
from .linear_map import LinearMap, MapType
from .plan import Plan
from .refinement_result import Refinement

_MOST_SHIFT = 1.0  # sigmas in one step
_MOST_GROWTH = 0.7  # of the logarithm of a width in one step


@dataclass(frozen=True)
class _Free:
    """Which columns of a particle are free: E, split into its own steps and the common ones."""

    own: np.ndarray  # (K, q)
    common: np.ndarray  # (K, r)
    constant: bool  # whether a background is free; its step follows the common ones


@dataclass(frozen=True)
class _State:
    """Positions and widths of all particles, in the caller's order and shapes."""

    amplitudes: np.ndarray
    positions: np.ndarray
    widths: np.ndarray
    background: float


def _choose(plan: Plan, names: tuple[str, ...], width_shape: tuple[int, ...]) -> _Free:
    """E for these parameters and this shape of the widths."""
    ndim, columns = plan.grid.ndim, sweeps.columns(plan)
    unit = np.eye(columns)
    own = [unit[:, :1]] if "amplitudes" in names else []
    common: list[np.ndarray] = []
    if "positions" in names:
        own.append(unit[:, 4 - ndim : 4])
    if "covariance" in names:
        packed = gradients.packed(ndim)[np.tril_indices(ndim)]
        several = len(width_shape) == 3 and width_shape[0] == plan.n
        (own if several else common).append(unit[:, packed])
    if "sigmas" in names:
        each = unit[:, 7 - ndim : 7]
        alike = len(width_shape) == 0 or width_shape[-1] < ndim
        chosen = each.sum(axis=1, keepdims=True) if alike else each
        several = len(width_shape) == 2 and width_shape[0] == plan.n
        (own if several else common).append(chosen)
    empty = np.zeros((columns, 0))
    return _Free(np.hstack([empty, *own]), np.hstack([empty, *common]), "background" in names)


class _Refused:
    """A step to a state without a field, for example with widths out of range."""

    loss = math.inf


class _Local:
    """The loss at one state: see ``Local`` of ``fields/levmar.py``."""

    def __init__(self, job: _Job, state: _State) -> None:
        self.job, self.state = job, state
        self.field = job.field(state)
        plan = self.field.plan
        residual = node_memory.negated(job.data.volume)
        sweeps.scatter(plan, residual, state.amplitudes, "sum", job.threads)
        if job.free.constant:
            residual += state.background
        weights = job.data.weights
        if weights is None:
            self.loss = gradients.half_square(residual, plan, job.threads)
        else:
            self.loss = gradients.weighted_half_square(residual, weights, plan, job.threads)
            residual *= weights
        self.residual = residual
        freedom = max(1, job.data.nodes - job.size)
        self.variance = job.variance if job.data.absolute else 2.0 * self.loss / freedom
        self._made: tuple | None = None

    def _make(self) -> tuple:
        """Scale, gradient and blocks, made when first used: a refused step needs none."""
        if self._made is None:
            plan, free = self.field.plan, self.job.free
            scale = self.job.scale(plan, self.state)
            sums = sweeps.gather(plan, self.residual, self.job.threads, derivatives=True) * scale
            gradient = self.job.summed(sums, self.residual)
            blocks = sweeps.blocks(plan, self.job.threads)
            blocks *= scale[:, :, np.newaxis] * scale[:, np.newaxis, :]
            weights = self.job.data.weights
            if weights is not None:
                blocks *= self.job.mean_weight(self.field, weights)[:, np.newaxis, np.newaxis]
            common = (free.common.T @ blocks @ free.common).sum(axis=0)
            own = free.own.T @ blocks @ free.own
            shared = np.diagonal(common)
            if free.constant:
                total = self.job.data.nodes if weights is None else float(weights.sum())
                shared = np.append(shared, total * self.job.unit**2)
            diagonal = self.job.join(np.diagonal(own, axis1=1, axis2=2), shared)
            self._made = scale, gradient, own, np.where(diagonal > 0.0, diagonal, 1.0)
        return self._made

    @property
    def gradient(self) -> np.ndarray:
        return self._make()[1]

    @property
    def diagonal(self) -> np.ndarray:
        return self._make()[3]

    def normal(self, x: np.ndarray) -> np.ndarray:
        job, plan = self.job, self.field.plan
        scale = self._make()[0]
        own, common = job.split(x)
        coefficients = job.columns(own, common) * scale
        volume = job.work
        volume.fill(job.unit * common[-1] if job.free.constant else 0.0)
        sweeps.tangent(plan, volume, coefficients, job.threads)
        if job.data.weights is not None:
            volume *= job.data.weights
        return job.summed(
            sweeps.gather(plan, volume, job.threads, derivatives=True) * scale, volume
        )

    def preconditioner(self, damping: float) -> Callable[[np.ndarray], np.ndarray]:
        job = self.job
        _, _, blocks, diagonal = self._make()
        own, common = job.split(diagonal)
        unit = np.eye(blocks.shape[1])
        inverse = np.linalg.inv(blocks + (damping + 1e-9) * unit * own[:, np.newaxis, :])

        def apply(x: np.ndarray) -> np.ndarray:
            mine, shared = job.split(x)
            return job.join(
                (inverse @ mine[:, :, np.newaxis])[:, :, 0], shared / ((1.0 + damping) * common)
            )

        return apply

    def moved(self, step: np.ndarray) -> _Local | _Refused:
        try:
            return _Local(self.job, self.job.moved(self.field.plan, self.state, step))
        except (ValueError, np.linalg.LinAlgError):  # there is no field at this state
            return _Refused()


@dataclass(frozen=True)
class _Job:
    """The data of a refinement, the same for all steps."""

    first: LinearMap  # the field at the start
    data: Data
    free: _Free
    unit: float  # of amplitude steps
    variance: float  # of a residual of weight 1, where weights say so
    threads: int | None
    work: np.ndarray  # of the grid's shape, made once: new memory costs page faults

    @property
    def size(self) -> int:
        """Number of free parameters."""
        free = self.free
        return len(self.first) * free.own.shape[1] + free.common.shape[1] + free.constant

    def split(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A vector as the particles' own steps (n, q) and the common ones (r,)."""
        each = self.free.own.shape[1]
        end = len(self.first) * each
        return x[:end].reshape(len(self.first), each), x[end:]

    def join(self, own: np.ndarray, common: np.ndarray) -> np.ndarray:
        """The vector that `split` divides."""
        return np.concatenate([np.ravel(own), common])

    def columns(self, own: np.ndarray, common: np.ndarray) -> np.ndarray:
        """Coefficients (n, K) of the particles' columns that steps mean."""
        return own @ self.free.own.T + self.free.common @ common[: self.free.common.shape[1]]

    def summed(self, sums: np.ndarray, volume: np.ndarray) -> np.ndarray:
        """J' of a volume with which the particles' scaled columns have these sums (n, K)."""
        common = (sums @ self.free.common).sum(axis=0)
        if self.free.constant:
            total = np.add.reduce(volume, axis=None, dtype=np.float64)
            common = np.append(common, self.unit * total)
        return self.join(sums @ self.free.own, common)

    def field(self, state: _State) -> LinearMap:
        """The field of a state."""
        return self.first.moved(state.positions, state.widths)

    def scale(self, plan: Plan, state: _State) -> np.ndarray:
        """The columns' factors (n, K): amplitude, times sigma where the kernels differentiate."""
        ndim = plan.grid.ndim
        scale = np.empty((plan.n, sweeps.columns(plan)))
        scale[:, :1] = self.unit
        scale[:, 1:] = state.amplitudes[:, np.newaxis]
        if plan.rotated:
            scale[:, [4, 7, 9]] *= 0.5
        else:
            sigmas = gradients.sorted_back(plan, plan.particles.widths)
            scale[:, 4 - ndim : 4] *= sigmas
            scale[:, 7 - ndim : 7] *= sigmas
        return scale

    def mean_weight(self, field: LinearMap, weights: np.ndarray) -> np.ndarray:
        """Mean weight of each particle's nodes (n,)."""
        sums = sweeps.gather(field.plan, weights, self.threads)[:, 0]
        return sums / np.where(field.coverage > 0.0, field.coverage, 1.0)

    def moved(self, plan: Plan, state: _State, step: np.ndarray) -> _State:
        """The state at the end of a step."""
        own, common = self.split(step)
        steps = self.columns(own, common)
        ndim = plan.grid.ndim
        spacing = np.array(plan.grid.spacing)
        shift = np.clip(steps[:, 4 - ndim : 4], -_MOST_SHIFT, _MOST_SHIFT)
        if plan.rotated:
            factors = gradients.factors(plan)
            shift = (factors @ shift[:, :, np.newaxis])[:, :, 0]
        else:
            shift = shift * gradients.sorted_back(plan, plan.particles.widths)
        return _State(
            state.amplitudes + self.unit * steps[:, 0],
            state.positions + shift * spacing,
            self._widths(plan, state.widths, steps),
            state.background + (self.unit * float(common[-1]) if self.free.constant else 0.0),
        )

    def _widths(self, plan: Plan, widths: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Widths at the end of a step, shaped as they were."""
        ndim = plan.grid.ndim
        if not plan.rotated:
            growth = np.exp(np.clip(steps[:, 7 - ndim : 7], -_MOST_GROWTH, _MOST_GROWTH))
            if widths.ndim == 2 and len(widths) == plan.n:
                return widths * growth[:, : widths.shape[1]]
            first = growth[0, : widths.shape[-1]] if widths.ndim else growth[0, 0]
            return widths * first
        several = widths.ndim == 3 and len(widths) == plan.n
        rows = slice(None) if several else slice(0, 1)
        packed = np.clip(steps[rows][:, gradients.packed(ndim)], -_MOST_GROWTH, _MOST_GROWTH)
        value, vector = np.linalg.eigh(packed)
        growth = (vector * np.exp(value)[:, np.newaxis, :]) @ vector.swapaxes(1, 2)
        spacing = np.array(plan.grid.spacing)
        factors = gradients.factors(plan)[rows] * spacing[:, np.newaxis]
        moved = factors @ growth @ factors.swapaxes(1, 2)
        return (0.5 * (moved + moved.swapaxes(1, 2))).reshape(widths.shape)


def _scaled(data: Data, unit: float, heaviest: float) -> Data:
    """The data with the volume times ``unit``, a power of 2, and weights by the heaviest."""
    volume = data.volume if unit == 1.0 else data.volume * data.volume.dtype.type(unit)
    weights = data.weights if data.weights is None else data.weights / heaviest
    return replace(data, volume=volume, weights=weights)


def start_of(
    field: LinearMap, data: Data, names: tuple[str, ...], amplitudes: np.ndarray | None
) -> tuple[np.ndarray, float]:
    """Amplitudes at the start, by default the best ones above the background, and the background.

    The background is the median of the volume, or 0 if none is fitted.
    """
    level = 0.0
    if "background" in names and data.nodes:
        valid = data.volume if data.weights is None else data.volume[data.weights > 0.0]
        level = float(np.median(valid))
    if amplitudes is None:
        above = data if level == 0.0 else replace(data, volume=data.volume - level)
        found = amplitude_fits.fit(
            field, above, nonnegative=False, regularization=0.0, tol=1e-3, max_iter=1000
        )
        amplitudes = found.amplitudes
    return amplitudes, level


def refine(
    field: MapType,
    data: Data,
    start: tuple[np.ndarray, float],
    names: tuple[str, ...],
    tol: float,
    max_iter: int,
    report: Progress | None = None,
) -> Refinement[MapType]:
    """The descent behind `GaussianField.refine`, whose arguments are checked.

    ``start`` is ``start_of`` these arguments.
    """
    positions, widths = field.positions, field.widths
    amplitudes, background = start
    free = _choose(field.plan, names, widths.shape)
    highest = float(np.abs(amplitudes).max(initial=0.0))
    unit = unit_of(max(highest, float(np.abs(data.volume).max(initial=0.0))), data.volume.dtype)
    heaviest = 1.0 if data.weights is None else float(data.weights.max(initial=0.0)) or 1.0
    scaled = _scaled(data, unit, heaviest)
    job = _Job(
        field,
        scaled,
        free,
        highest * unit or 1.0,
        unit / heaviest * unit,
        field.threads,
        np.empty_like(scaled.volume),
    )
    tell = report_descent(report, tol)
    first = _State(amplitudes * unit, positions, widths, background * unit)
    found = minimise(_Local(job, first), tol, max_iter, tell)
    if report is not None:
        report(100, 100)
    local, rotated = found.local, field.plan.rotated
    state: _State = local.state
    return Refinement(
        local.field,
        state.amplitudes / unit,
        state.positions,
        None if rotated else state.widths,
        state.widths if rotated else None,
        math.sqrt(2.0 * local.loss) / unit * math.sqrt(heaviest),
        found.iterations,
        found.status,
        state.background / unit,
    )
