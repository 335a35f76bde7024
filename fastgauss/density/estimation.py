"""Kernel density estimates: with bounds, of one to three dimensions, at any points.

With samples x_j of weights w_j (their sum is 1) and a kernel of covariance C = A A'

    f(y) = sum_j w_j phi(A^-1 (y - x_j)) / det A,

phi the standard normal density in d dimensions. ``boundaries`` treats bounds, ``gauss_transform``
computes the sum, and ``bandwidth_rules`` gives C.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, thread_pool, wording
from ..base.progress import Progress, check_progress
from . import boundaries, gauss_transform
from .kernel_density import KernelDensity

BOUNDARIES = boundaries.METHODS


@overload
def kde(samples: ArrayLike, points: None = None, *args: Any, **options: Any) -> KernelDensity: ...
@overload
def kde(samples: ArrayLike, points: ArrayLike, *args: Any, **options: Any) -> np.ndarray: ...
def kde(
    samples: ArrayLike,
    points: ArrayLike | None = None,
    bandwidth: str | float | Sequence[float] = "scott",
    weights: ArrayLike | None = None,
    bounds: Sequence[Any] | None = None,
    boundary: str | None = "reflect",
    *,
    tol: float = 1e-6,
    threads: int | None = None,
    progress: bool | Progress = False,
) -> KernelDensity | np.ndarray:
    """Estimate a density from samples by a Gaussian kernel.

    Parameters
    ----------
    samples : array (n,) or (n, d), or table
        d = 1 to 3, of any real dtype, finite; one a row, unlike scipy's columns. The columns of a
        table are the dimensions; `points` that are a table are then read by these names.
    points : array (m,) or (..., d), or table, optional
        Points at which the density is evaluated at once.
    bandwidth : {"scott", "silverman", "isj"} or float or sequence of d floats
        Numbers are the kernel's standard deviations in the samples' unit (in that of their
        logarithm under ``boundary="log"``), not scipy's factors. Scott's and Silverman's rules give
        what scipy gives, in several dimensions the covariance of the samples times a factor; with
        bounds other than "log" the axes' variances. "isj", for one dimension, is Botev's improved
        Sheather-Jones rule, which needs no normal data; of rounded values (counts, ages) it is at
        least half a step of the rounding.
    weights : array (n,), optional
        Weights of the samples, not negative; their sum does not matter. A sample of weight 0
        does not exist.
    bounds : pair or sequence of d pairs, optional
        (low, high) of each axis, None or an infinity for no end; one pair serves all axes. All
        samples must be inside.
    boundary : {"reflect", "renormalize", "linear", "log"} or None
        The treatment of bounds, see Notes. None: no treatment, the mass beyond the bounds is lost.
        All but "reflect" and None need `bounds`.
    tol : float
        Error bound of sums over samples, in units of their peak: 1e-10 to 0.1.
    threads : int, optional
        Largest number of threads, also of the object's methods. The result does not depend on it,
        to the bit.
    progress : bool or callable
        Of the values at `points`: True shows a tqdm bar; a callable gets ``(done, total)``.

    Returns
    -------
    KernelDensity, or with `points` an array (m,) or (...)
        The estimate: call it, or use its methods ``evaluate`` (``pdf``), ``logpdf``, ``cdf``,
        ``quantile``, ``integrate``, ``sample`` and ``grid``. With `points`, its values there.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value, a sample is not finite or out of
        bounds (under "log", on a bound), or a rule is asked for samples that do not vary.

    Notes
    -----
    Which boundary:

    - The density has an end where it is not 0 and is about level there (uniform, angles
      of a half-circle): "reflect". Mass is 1, it can be sampled; the slope at the end is 0.
    - It ends steeply (exponential): "linear". The least error near the end. The estimate is
      divided by its integral: mass is 1 in one dimension, within one percent in several.
    - It falls to 0 there or ranges over decades (sizes, incomes, fluxes, waiting times;
      lognormal, gamma, Pareto): "log", with ``bandwidth="isj"`` unless the logarithms are about
      normal. Mass is 1. Samples on the bound are refused, and where the density does not vanish
      at the bound, "log" is noisy there. Its upper tail is too heavy: of 3,000 samples, quantiles
      at 0.95 and 0.99 are 4 and 8 percent too large for a gamma distribution of shape 1.5.
    - "renormalize" is biased at the end to first order in the bandwidth like "reflect", without
      forcing the slope; mass is not 1.

    Median error of 12 draws of 10,000, integral of abs(estimate - truth), bounds (0, None):

    ===================  ==========================  ==================  ==================
    data                 without bounds, "scott"     "reflect", "scott"  recommended
    ===================  ==========================  ==================  ==================
    exponential          0.08                        0.029               0.024 linear, scott
    gamma, shape 1.5     0.055                       0.048               0.025 log, isj
    lognormal, sigma 1   0.13                        0.13                0.026 log, isj
    Pareto, b = 1        1.4                         1.8                 0.077 log, isj
    ===================  ==========================  ==================  ==================

    For ratios and logarithms of densities, such as posterior probabilities, use ``logpdf``: values
    below `tol` of the peak have no right digits here.

    The sum over n samples at m points takes a pass over each; `tol` bounds the error.

    References
    ----------
    Silverman 1986, Density Estimation; Botev et al. 2010, Annals of Statistics 38, 2916; Jones
    1993, Statistics and Computing 3, 135.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgauss as fg
    >>> waits = np.random.default_rng(0).exponential(2.0, 10_000)
    >>> density = fg.kde(waits, bounds=(0, None), boundary="linear")
    >>> density([0.0, 2.0]).round(2)  # 0.5 and 0.5 / e
    array([0.47, 0.19])
    >>> fg.kde(waits, [0.0, 2.0]).round(2)  # without bounds
    array([0.22, 0.19])
    """
    thread_pool.resolve_threads(threads)
    check_progress(progress)
    columns = check.column_names(samples)
    data = check.real_array("samples", samples, (1, 2), columns=columns)
    flat = data.ndim == 1
    data = data[:, np.newaxis] if flat else data
    if data.shape[1] not in (1, 2, 3) or not len(data):
        got = "none" if not data.size else data.shape
        raise ValueError(f"samples must be (n,) or (n, 1) to (n, 3), n at least 1, got {got}")
    heights = None if weights is None else _weights(weights, len(data))
    ends = boundaries.intervals(bounds, data.shape[1])
    if boundary is not None:
        check.choice("boundary", boundary, BOUNDARIES)
        if boundary != BOUNDARIES[0] and not any(map(boundaries.is_bounded, ends)):
            got = "none" if bounds is None else wording.shown(bounds)
            raise ValueError(f"boundary={boundary!r} needs bounds, as bounds=(0, None), got {got}")
    # samples without weight are none
    kept = np.arange(len(data)) if heights is None else np.flatnonzero(heights)
    if len(kept) < len(data):
        data, heights = data[kept], heights[kept]  # type: ignore[index]
    data = np.asarray(data, dtype=np.float64)
    _refuse_outside(data, ends, boundary, kept)
    limit = check.number("tol", tol, at_least=gauss_transform.LEAST_TOL, at_most=0.1)
    density = KernelDensity(data, bandwidth, heights, ends, boundary, limit, threads, flat, columns)
    return density if points is None else density.evaluate(points, progress=progress)


def _weights(value: ArrayLike, n: int) -> np.ndarray:
    array = check.finite_array("weights", value, 1)
    if array.shape != (n,):
        raise ValueError(f"weights must have shape ({n},), one for each sample, got {array.shape}")
    if array.min() < 0 or not array.max() > 0:
        raise ValueError("weights must not be negative, nor all 0")
    return array / array.max()


def _refuse_outside(
    samples: np.ndarray,
    bounds: tuple[boundaries.Interval, ...],
    boundary: str | None,
    rows: np.ndarray,
) -> None:
    """ValueError for the first sample that is not finite or outside; ``rows`` are their indices."""
    low, high = np.array(bounds).T
    inside = np.isfinite(samples)
    if any(map(boundaries.is_bounded, bounds)):
        inside &= (samples >= low) & (samples <= high)
        if boundary == "log":
            inside &= (samples != low) & (samples != high)
    if inside.all():
        return
    row = int(np.argmin(inside.all(axis=1)))
    finite = np.isfinite(samples[row])
    if not finite.all():
        value = samples[row, np.argmin(finite)]
        raise ValueError(f"samples must be finite, got {value} at index {rows[row]}")
    strictly = "strictly " if boundary == "log" else ""
    raise ValueError(
        f"samples must lie {strictly}within bounds {bounds}, got {samples[row].tolist()} at "
        f"index {rows[row]}"
    )
