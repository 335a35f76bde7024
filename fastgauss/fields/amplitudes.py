"""Amplitude fits: the amplitudes of the particles of a field, fitted to a volume.

With the field A, weights W and regularization r, a fit minimises

    (v - A a)' W (v - A a) / 2 + r a'a / 2.

The normal equations are (A'WA + r) a = A'W v. Their Gram matrix A'WA is stored entry by entry if
memory allows (``fields/normal_equations.py``). ``fields/least_squares.py`` explains the solution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from dataclasses import field as entry
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..base import check, wording
from ..base.data_frames import data_frame
from ..base.progress import Progress, report_descent, report_part
from ..base.status import Status
from . import dense_factors, least_squares, normal_equations, sweeps
from .arguments import Data
from .linear_map import LinearMap
from .misfit import Misfit

if TYPE_CHECKING:
    import pandas as pd

_EXACT = 2000  # largest number of particles for which the whole matrix is inverted
_BLOCK = 48  # particles of a block, for errors of more particles
_MATRIX, _INVERSE = 40, 70  # hundredths of the work done after each
_HEAVIEST = 1e250  # regularization by weights of at most 1: amplitudes are 0 long before
RULES = ("mlem", "smart")
_ABOUT = {
    "amplitude": ("value", "height of the profile"),
    "amplitude_error": ("value", "standard error of amplitude"),
}


@dataclass(frozen=True, eq=False)
class AmplitudeFit:
    """Fitted amplitudes, and how the fit ended. Instances can be pickled.

    Attributes
    ----------
    amplitudes : ndarray (n,) or (n, channels)
        In the order of the positions; 0 for a particle whose support contains no valid node. Of
        channels the other attributes tell the sum over all (``residual_norm``, ``iterations``,
        ``nodes``) or the worst (``status``, ``kkt_residual``).
    residual_norm : float
        Square root of the weighted sum of squared residuals.
    iterations : int
        Products with the matrix of the normal equations.
    status : Status
        ``CONVERGED``: the tolerance is met, and the residual norm is the smallest possible to 1e-6
        of it. ``MAX_ITERATIONS``, ``STALLED``: the tolerance is not met. ``SINGULAR``: it is met,
        but particles overlap so closely that, because of rounding, the smallest residual norm is
        not known. ``status.message`` is a sentence that says so.
    kkt_residual : float
        Deviation from the conditions of a minimum: the norm of the gradient divided by that at 0,
        both times 1 / sqrt(diagonal of the normal equations). With ``nonnegative`` the gradient of
        amplitudes at 0 is counted only if it is negative.
    method : str
        "gram": the matrix was stored; "matrix-free": it was too large.
    nodes : int
        Number of valid nodes of the volume.

    Examples
    --------
    >>> import fastgauss as fg
    >>> field = fg.GaussianField((20, 20), [[5.2, 6.0], [7.0, 9.5]], sigma=1.5)
    >>> fit = field.fit_amplitudes(field.render([3.0, 2.0]))
    >>> fit.amplitudes.round(6), fit.converged, fit.status.message
    (array([3., 2.]), True, 'the fit met its tolerance')
    """

    amplitudes: np.ndarray
    residual_norm: float
    iterations: int
    status: Status
    kkt_residual: float
    method: str
    nodes: int
    _errors: Any = entry(repr=False)  # the array, or a function that computes it

    @property
    def converged(self) -> bool:
        """Whether the tolerance was met."""
        return self.status == Status.CONVERGED

    @property
    def errors(self) -> np.ndarray:
        """Standard error of each amplitude, shaped like these, computed when it is first used.

        The square root of the diagonal of the inverse of the normal equations. With weights (1 /
        variance) these are used as they are, else they are scaled by the variance of the residuals.
        The error is infinite for a particle without valid nodes. With ``nonnegative``, amplitudes
        at 0 have the error 0, and the errors of the others are those with these held. The errors
        are NaN without degrees of freedom, and with ``method == "matrix-free"``. They have the same
        bits for any number of threads, also of the BLAS.

        For up to 2000 particles the inverse is exact; if particles overlap so closely that rounding
        dominates, their errors are some 1e6 times that of an isolated particle. For more than 2000
        particles, the error of a particle comes from a block of this particle and the 47 particles
        that it overlaps most, with all others held. This is a lower bound. In a volume with 19
        neighbours for each particle (1e4 in 128**3 nodes, sigma 1) it is too small by 4e-7 in the
        median and 2e-3 at worst; with 156 neighbours by 9e-4 in the median, 4e-3 for one of a
        hundred, and 9e-3 at worst. It takes some 14 us for each particle.

        Examples
        --------
        >>> import numpy as np, fastgauss as fg
        >>> field = fg.GaussianField((20,), [[9.0]], sigma=1.5)
        >>> fit = field.fit_amplitudes(field.render(3.0), weights=np.full(20, 100.0))
        >>> fit.errors.round(4)  # 0.1 / sqrt(sum of squared profile)
        array([0.0613])
        """
        if isinstance(self._errors, (_Uncertainty, _OfChannels)):
            object.__setattr__(self, "_errors", self._errors.compute())
        return self._errors

    def to_dict(self) -> dict[str, np.ndarray]:
        """Amplitudes and their errors by the names that a table of spots has.

        Those of channels are ``amplitude_0``, ``amplitude_0_error`` and so on.
        """
        if self.amplitudes.ndim == 1:
            return {"amplitude": self.amplitudes, "amplitude_error": self.errors}
        columns: dict[str, np.ndarray] = {}
        for c, (own, error) in enumerate(zip(self.amplitudes.T, self.errors.T, strict=True)):
            columns |= {f"amplitude_{c}": own.copy(), f"amplitude_{c}_error": error.copy()}
        return columns

    def to_dataframe(self) -> pd.DataFrame:
        """The columns of `to_dict` as a pandas DataFrame, one row for each particle."""
        return data_frame(self.to_dict(), _ABOUT)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_errors": self.errors}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __repr__(self) -> str:
        return (
            f"<AmplitudeFit of {wording.plural(len(self.amplitudes), 'particle')}, "
            f"{wording.ended(len(self.amplitudes), self.status.message)}, "
            f"residual norm {self.residual_norm:.6g}, "
            f"{wording.plural(self.iterations, 'iteration')}>"
        )


@dataclass
class _Uncertainty:
    """The numbers from which errors are computed."""

    system: normal_equations.GramSystem | normal_equations.SweepSystem
    at_bound: np.ndarray  # (n,) in the order of the system
    deviation: float  # of a residual of weight 1
    orthogonal: dense_factors.Orthogonal | None  # factors of the field itself

    def compute(self) -> np.ndarray:
        system = self.system
        if isinstance(system, normal_equations.SweepSystem):
            return np.full(len(system.scale), np.nan)
        seen = system.scale > 0.0
        free = np.flatnonzero(seen & ~self.at_bound)
        errors = np.where(seen, 0.0, np.inf)
        errors[free] = np.sqrt(self._of_unit_columns(free)) * system.scale[free] * self.deviation
        return system.outer(errors)

    def _of_unit_columns(self, free: np.ndarray) -> np.ndarray:
        """Variances of free amplitudes in units of their columns' lengths and of ``deviation``."""
        assert isinstance(self.system, normal_equations.GramSystem)
        if self.orthogonal is not None:
            return self.orthogonal.variances(self.system.threads)[free]
        part = self.system.part(free)
        return part.exact_variances() if len(free) <= _EXACT else part.variances(_BLOCK)


@dataclass
class _OfChannels:
    """The errors of the fits of several channels."""

    fits: list[AmplitudeFit]

    def compute(self) -> np.ndarray:
        return np.stack([one.errors for one in self.fits], axis=1)


class Options(NamedTuple):
    """How amplitudes are fitted."""

    nonnegative: bool
    ridge: float
    tol: float
    max_iter: int


def fit(
    field: LinearMap,
    data: Data,
    nonnegative: bool,
    regularization: float,
    tol: float,
    max_iter: int,
    report: Progress | None = None,
) -> AmplitudeFit:
    """``GaussianField.fit_amplitudes`` of a map; ``report`` gets hundredths."""
    options = Options(
        check.flag("nonnegative", nonnegative),
        check.number("regularization", regularization, at_least=0.0),
        check.number("tol", tol, above=0.0),
        check.integer("max_iter", max_iter, at_least=1),
    )
    if data.channels is None:
        return _fit_channel(field, data, options, report)[0]
    fits: list[AmplitudeFit] = []
    parts = data.split()
    system: normal_equations.GramSystem | normal_equations.SweepSystem | None = None
    for c, part in enumerate(parts):
        known = system if c and part.weights is parts[c - 1].weights else None
        tell = report_part(report, 100, 100 * c // len(parts), 100 * (c + 1) // len(parts))
        own, system = _fit_channel(field, part, options, tell, known)
        fits.append(own)
    return AmplitudeFit(
        np.stack([one.amplitudes for one in fits], axis=1),
        math.hypot(*(one.residual_norm for one in fits)),
        sum(one.iterations for one in fits),
        max(one.status for one in fits),
        max(one.kkt_residual for one in fits),
        fits[0].method,
        data.nodes,
        _OfChannels(fits),
    )


def _fit_channel(
    field: LinearMap,
    data: Data,
    options: Options,
    report: Progress | None,
    known: normal_equations.GramSystem | normal_equations.SweepSystem | None = None,
) -> tuple[AmplitudeFit, normal_equations.GramSystem | normal_equations.SweepSystem]:
    """The fit of one channel and its system, which may be ``known`` from another channel."""
    nonnegative, ridge, least, most = options
    w = data.weights
    heaviest = 1.0 if w is None else float(w.max(initial=0.0)) or 1.0
    if w is not None:
        w = w / heaviest
    system = known or normal_equations.make_system(
        field.plan,
        w,
        min(ridge / heaviest, _HEAVIEST),
        field.threads,
        report_part(report, 100, 0, _MATRIX),
    )
    misfit = Misfit(field, data, w, system)
    if report is not None:  # now, not when it is first used
        inverse = report_part(report, 100, _MATRIX, _INVERSE)
        system.restrict(np.ones(len(field), dtype=bool), inverse)
    tell = report_descent(report_part(report, 100, _INVERSE, 100), least)
    found = least_squares.solve(system, misfit, nonnegative, least, most, tell)
    system.forget_inverse()
    x = found.point.x
    length = misfit.in_units(math.sqrt(found.point.left)) * math.sqrt(heaviest)
    at_bound = (x <= 0.0) if nonnegative else np.zeros(len(field), dtype=bool)
    if report is not None:
        report(100, 100)
    deviation = 1.0 / math.sqrt(heaviest)
    if not data.absolute:
        free = data.nodes - int(np.count_nonzero((system.scale > 0.0) & ~at_bound))
        deviation *= length / math.sqrt(free) if free > 0 else np.nan
    result = AmplitudeFit(
        system.outer(misfit.in_units(system.scale * x)),
        length,
        found.products,
        found.status,
        found.residual,
        system.method,
        data.nodes,
        _Uncertainty(system, at_bound, deviation, found.orthogonal),
    )
    return result, system


def update(
    field: LinearMap, data: Data, amplitudes: np.ndarray, rule: str, relaxation: float
) -> np.ndarray:
    """``GaussianField.multiplicative_update`` of a map."""
    plan, threads = field.plan, field.threads
    check.choice("rule", rule, RULES)
    power = check.number("relaxation", relaxation, above=0.0)
    v, w = data.volume.astype(np.float64, copy=False), data.weights
    for name, array in (("volume", v), ("amplitudes", amplitudes)):
        if array.size and array.min() < 0:
            raise ValueError(f"{name} must not be negative, got {array.min()}")
    model = np.zeros(plan.grid.shape)
    sweeps.scatter(plan, model, amplitudes, "sum", threads)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.where(model > 0.0, v / model, 0.0 if rule == "mlem" else 1.0)
        dark = (ratio == 0.0) & (rule == "smart")
        if rule == "smart":
            ratio = np.log(np.where(dark, 1.0, ratio))
        if w is not None:
            ratio = np.where(w > 0.0, w * ratio, 0.0)
        lit = sweeps.gather(plan, ratio, threads)[:, 0]
        shine = field.coverage if w is None else sweeps.gather(plan, w, threads)[:, 0]
        seen = shine > 0.0
        mean = np.where(seen, lit, 0.0) / np.where(seen, shine, 1.0)
        factor = mean**power if rule == "mlem" else np.exp(power * mean)
    if dark.any():
        lost = dark if w is None else dark & (w > 0.0)
        factor[sweeps.gather(plan, lost.astype(np.float64), threads)[:, 0] > 0.0] = 0.0
    with np.errstate(over="ignore"):
        return np.where(seen & (amplitudes > 0.0), amplitudes * factor, amplitudes)
