"""Least-squares fits of the caller's own model, from the caller's own compiled code.

The model is one function of an abscissa and the parameters that returns the value and the
derivatives by all parameters. It is written once, for a number: the fit calls it with
*lane values* (see ``lanes``), eight or four data sets at a time, so it may use arithmetic, and
``exp``, ``log``, ``erf`` of ``special``, ``sqrt``, ``absolute``, ``select``, ``maximum``
and ``minimum`` of ``lanes``, but no ``if`` on its arguments:

    from numba import njit
    from fastgauss.kernels.fit.curve_fit import make_curve_fit
    from fastgauss.kernels.numeric.special import exp

    def decay(x, p):
        height, rate = p
        f = exp(-rate * x)
        return height * f, (f, -height * x * f)

    fit_decay = make_curve_fit(decay, 2)

    @njit(cache=True)
    def analyse(x, y, weights, start):
        return fit_decay(x, y, weights, start, 1e-6, 100)

The result of ``make_curve_fit`` is a module global of the caller like any other; with
``cache=True`` numba keeps the compiled code beside the caller's source, and compiles anew
when that file changes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._compile import callers_block, device, entry, inner_kernel
from ..numeric.contraction import DENSE, contract
from ..numeric.packed_cholesky import invert, packed, packed_size
from ..simd.lane_tuples import load_all, store_all
from ..simd.lane_types import WIDTH
from ..simd.lanes import broadcast, lane_rows, load, store
from ..status import SINGULAR, STALLED
from .estimators import ESTIMATORS
from .levmar import make_fit
from .weighted_columns import make_weigh

_SINGULAR_PIVOT = 1e-13
_RESIDUAL = ESTIMATORS["residual"]


@device
def _no_darkest(m, p, work, places, nz, ny, nx):
    """Only a likelihood asks."""
    return broadcast(0.0)


def _make_step(size: int) -> Callable:
    @device
    def step(m, p, t, q) -> None:
        """q = p + t."""
        for i in range(size):
            store(m, q + i, load(m, p + i) + load(m, t + i))

    return step


def _make_evaluate(function: Callable, size: int) -> Callable:
    """Normal equations of the model on one row of points."""
    entries = packed_size(size)
    pattern = DENSE + size
    weigh = make_weigh(size, _RESIDUAL)

    @device
    def evaluate(m, pixels, nz, ny, nx, p, work, gram, gradient):
        """Gram matrix, gradient and objective at p; the abscissae follow data and weights."""
        columns = work + entries + size
        left = columns + size * nx
        places = pixels + 2 * nx
        params = load_all(m, p, size)
        objective = broadcast(0.0)
        for k in range(nx):
            value, slopes = function(load(m, places + k), params)
            store_all(m, columns + size * k, slopes)
            at = left + (size + 1) * k
            objective = objective + weigh(m, pixels, nx, k, value, columns + size * k, at)
        contract(m, work, left, size + 1, columns, size, nx, pattern)
        for e in range(entries):
            store(m, gram + e, load(m, work + e))
        for i in range(size):
            store(m, gradient + i, load(m, work + entries + i))
        return objective

    return evaluate


def _make_covariance(size: int) -> Callable:
    """From Gram matrices to covariances."""
    entries = packed_size(size)

    @device
    def covariance(grams, objectives, counts, status, covariances) -> None:
        """s**2 gram**-1 of each data set, s**2 = objective / (points - P)."""
        m = lane_rows(2 * entries + 1)
        m[:] = 1.0
        for first in range(0, len(grams), WIDTH):
            present = min(WIDTH, len(grams) - first)
            for lane in range(present):
                for e in range(entries):
                    m[e, lane] = grams[first + lane, e]
            store(m, 2 * entries, invert(m, 0, entries, size))
            for lane in range(present):
                item = first + lane
                if status[item] <= STALLED and not m[2 * entries, lane] > _SINGULAR_PIVOT:
                    status[item] = SINGULAR
                variance = objectives[item] / (counts[item] - size)
                if status[item] > STALLED:
                    variance = np.nan
                for i in range(size):
                    for j in range(i + 1):
                        value = m[entries + packed(i, j), lane] * variance
                        covariances[item, i, j] = value
                        covariances[item, j, i] = value

    return covariance


def make_curve_fit(function: Callable, size: int) -> Callable:
    """A fit of the caller's model, for the caller's compiled code.

    Parameters
    ----------
    function : callable
        ``function(x, p)`` returns ``(value, slopes)``: the model at the abscissa x for the
        tuple p of P parameters, and the tuple of its P derivatives. A plain Python function
        as the module describes; not one decorated with ``njit``.
    size : int
        P, the number of parameters.

    Returns
    -------
    callable
        ``fit(x, y, weights, start, tol, max_iter)`` for compiled code, with float64 arrays
        ``x`` (n, m) or (1, m), ``y`` (n, m), ``weights`` (n, m) or (1, m), ``start``
        (n, P). It returns the arrays ``params`` (n, P), ``covariances`` (n, P, P),
        ``objectives`` (n,), ``status`` (n,) with the codes of ``fastgauss.Status``, and
        ``iterations`` (n,). A point that is NaN or has the weight 0 does not exist.

    Raises
    ------
    TypeError
        By numba, when the caller is compiled, if the function cannot be; else nothing.

    Notes
    -----
    NaN in ``start`` ends with the status NOT_FINITE; shapes are not checked. Thread-safe;
    allocates its results and about ten small arrays a call.

    The objective is sum w (y - f)**2, the covariance its residual variance times the
    inverse Gram matrix; the solver is that of ``levmar``. The cost of a round is m times
    that of the function and P (P + 3) / 2 multiply-adds, for all of these data sets at once.

    Examples
    --------
    >>> import numpy as np
    >>> from numba import njit
    >>> from fastgauss.kernels.fit.curve_fit import make_curve_fit
    >>> from fastgauss.kernels.numeric.special import exp
    >>> def decay(x, p):
    ...     height, rate = p
    ...     f = exp(-rate * x)
    ...     return height * f, (f, -height * x * f)
    >>> fit_decay = make_curve_fit(decay, 2)
    >>> @njit
    ... def analyse(x, y, start):
    ...     return fit_decay(x, y, np.ones_like(x), start, 1e-6, 100)
    >>> x = np.linspace(0.0, 3.0, 20)[np.newaxis]
    >>> params, *_ = analyse(x, 5.0 * np.exp(-0.7 * x), np.ones((1, 2)))
    >>> params.round(9)
    array([[5. , 0.7]])
    """
    entries = packed_size(size)
    evaluate = _make_evaluate(callers_block(function), size)
    scratch = (entries + size, 2 * size + 1, 0)
    solve = make_fit(
        evaluate, _make_step(size), _no_darkest, size, scratch, _RESIDUAL, False, wrap=inner_kernel
    )
    finish = _make_covariance(size)

    @entry
    def fit(x, y, weights, start, tol, max_iter):
        count, points = y.shape
        params = np.empty((count, size))
        objectives = np.empty(count)
        grams = np.empty((count, entries))
        counts = np.empty(count, np.int32)
        status = np.empty(count, np.int32)
        iterations = np.empty(count, np.int32)
        nothing = np.empty((0, size))
        data, shape, bounds = (y, weights, x), (1, 1, points), (nothing, nothing)
        out = params, objectives, grams, nothing, counts, status, iterations
        solve(data, shape, nothing, start, bounds, (tol, max_iter), out)
        covariances = np.empty((count, size, size))
        finish(grams, objectives, counts, status, covariances)
        return params, covariances, objectives, status, iterations

    return fit
