"""Fits of spots for the caller's own compiled code: the whole fit, and the parts of one's own.

``make_roi_fit`` is what `fastgauss.fit_rois` does with a chunk of spots, in one function: starting
values, Levenberg-Marquardt, covariances. ``make_normal_equations`` and ``make_damped_step`` are
what a loop of one's own needs: with the Jacobian J of the model, weights W and residuals
r = data - model,

    G = J'W J,   g = J'W r,   (G + damping diag G) step = g.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from .._compile import device, entry, inner_kernel, kernel
from ..numeric.packed_cholesky import packed, packed_size, solve_damped
from ..simd.arguments import three
from ..simd.lane_types import WIDTH
from ..simd.lanes import load
from ..simd.stack_memory import stack_rows
from .estimators import ESTIMATORS, METHODS
from .models import model_named
from .sandwich import make_spread
from .whole_fits import make_whole_fit


def _check_method(method: str) -> None:
    if method not in METHODS:
        raise ValueError(f"method must be one of {tuple(METHODS)}, got {method!r}")


@device
def _rows(array, count, pixels):
    """The numbers of an array of any layout and real dtype as float64 rows."""
    rows = np.empty((count, pixels))
    flat = rows.reshape(-1)
    for k, value in enumerate(array.flat):
        flat[k] = value
    return rows


@device
def _full(packed_matrices, size):
    """Symmetric matrices (n, P, P) of their packed lower triangles."""
    full = np.empty((packed_matrices.shape[0], size, size))
    for item in range(packed_matrices.shape[0]):
        for i in range(size):
            for j in range(i + 1):
                value = packed_matrices[item, packed(i, j)]
                full[item, i, j] = value
                full[item, j, i] = value
    return full


@cache
def make_roi_fit(
    model: str, ndim: int, pixel: str = "sample", method: str = "lsq", weighted: bool = False
) -> Callable:
    """The fit of a model to small arrays around spots, for compiled code.

    Parameters
    ----------
    model, ndim, pixel
        As in `make_evaluate`.
    method : {"lsq", "mle"}
        Least squares, or the Poisson likelihood of counts.
    weighted : bool
        Whether pixels are told apart by another number each, and may be missing.

    Returns
    -------
    callable
        ``fit(rois, tol, max_iter)``, or with ``weighted`` ``fit(rois, second, tol, max_iter)``.
        ``rois`` is (n, y, x) (one axis less or more for 1-D and 3-D models), of any real dtype
        and layout; ``second`` the same or with one row for all: for "lsq" the inverse
        variances, 0 where a pixel is missing; for "mle" the variance of the read-out.
        Returns the arrays ``params`` (n, P), ``covariances`` (n, P, P), ``objectives`` (n,),
        ``status`` (n,) with the codes of ``fastgauss.Status``, and ``iterations`` (n,).

    Raises
    ------
    ValueError
        When it is made; the function itself never raises.

    Notes
    -----
    The defaults of `fastgauss.fit_rois` are tol 1e-6 and 50 iterations, and the result is the
    same, except that no fit is repeated without a suspicious pixel: a hot pixel in the core of a
    spot may be CONVERGED here, and OUTLIER there. A pixel that is
    NaN does not exist with ``weighted``; without, its spot ends with the
    status NOT_FINITE. The shape of ``second`` is not checked. Thread-safe; allocates its results
    and about ten small arrays a call, so hand it many spots at once where there are many: a
    register of them (eight or four) takes as long as one alone.

    Examples
    --------
    >>> from numba import njit
    >>> import fastgauss as fg
    >>> from fastgauss.kernels import make_roi_fit
    >>> fit = make_roi_fit("symmetric", 2)
    >>> @njit
    ... def centre(roi):
    ...     rois = roi.reshape((1, roi.shape[0], roi.shape[1]))
    ...     params, _, _, status, _ = fit(rois, 1e-6, 50)
    ...     return params[0, 1], params[0, 2], status[0]
    >>> x, y, status = centre(fg.image([9.0, 4.2, 5.1, 1.3, 2.0], (11, 11), "symmetric"))
    >>> float(round(x, 6)), float(round(y, 6)), fg.Status(status).name
    (4.2, 5.1, 'CONVERGED')
    """
    kind = model_named(model, ndim, pixel)
    _check_method(method)
    whole = make_whole_fit(kind, pixel, METHODS[method][weighted])
    size = len(kind.parameters)

    @device
    def fit_rows(pixels, second, shape, tol, max_iter):
        params, packed_matrices, objectives, status, iterations = whole(
            pixels, second, shape, tol, max_iter
        )
        return params, _full(packed_matrices, size), objectives, status, iterations

    if weighted:

        @kernel
        def fit_weighted(rois, second, tol, max_iter):
            count = rois.shape[0]
            many = rois.size // max(count, 1)
            others = _rows(second, second.shape[0], many)
            return fit_rows(_rows(rois, count, many), others, rois.shape, tol, max_iter)

        return fit_weighted

    @kernel
    def fit(rois, tol, max_iter):
        count = rois.shape[0]
        pixels = _rows(rois, count, rois.size // max(count, 1))
        return fit_rows(pixels, np.empty((1, 0)), rois.shape, tol, max_iter)

    return fit


@cache
def make_normal_equations(
    model: str, ndim: int, pixel: str = "sample", method: str = "lsq"
) -> Callable:
    """Normal equations of a model at given parameters, for compiled code.

    Parameters
    ----------
    model, ndim, pixel
        As in `make_evaluate`.
    method : {"lsq", "mle"}
        As in `make_roi_fit`.

    Returns
    -------
    callable
        ``normal_equations(rois, second, params)`` with ``rois`` and ``second`` as for the
        ``weighted`` fit of `make_roi_fit` and ``params`` (n, P), in pixels of each ROI. Returns
        the arrays ``grams`` (n, P, P), ``gradients`` (n, P) and ``objectives`` (n,): for "lsq"
        G = J'W J, g = J'W r and sum w r**2 with r = data - model; for "mle" the same with
        Fisher's weights 1 / model, and the deviance.

    Raises
    ------
    ValueError
        When it is made; the function itself never raises.

    Notes
    -----
    The derivatives are those of `make_jacobian`, the parameters themselves. Their amplitude must
    not be 0. NaN pixels and those of weight 0 do not exist; NaN among params gives NaN. Shapes
    are not checked. Thread-safe; allocates its results and a few small arrays a call. Eight
    spots cost what one does.

    Examples
    --------
    >>> import fastgauss as fg
    >>> from fastgauss.kernels import make_normal_equations
    >>> equations = make_normal_equations("symmetric", 2)
    >>> params = np.array([[9.0, 4.2, 5.1, 1.3, 2.0]])
    >>> rois = fg.image(params, (11, 11), "symmetric")
    >>> grams, gradients, objectives = equations(rois, np.ones((1, 11, 11)), params)
    >>> float(grams[0, 4, 4].round(6)), bool(abs(gradients).max() < 1e-9)
    (121.0, True)
    """
    kind = model_named(model, ndim, pixel)
    _check_method(method)
    estimator = ESTIMATORS["weighted" if method == "lsq" else "camera"]
    blocks = kind.blocks(pixel, estimator, True)
    size = blocks.size
    sums = make_spread(blocks.evaluate, size, blocks.scratch, estimator, 0, inner_kernel)

    @kernel
    def normal_equations(rois, second, params):
        count = rois.shape[0]
        many = rois.size // max(count, 1)
        nz, ny, nx = three(rois.shape[1:], 1)
        grams = np.empty((count, packed_size(size)))
        gradients = np.empty((count, size))
        objectives = np.empty(count)
        sums(
            _rows(rois, count, many), _rows(second, second.shape[0], many), np.empty((1, 0)),
            nz, ny, nx, np.empty((1, 0)), params, grams, gradients, objectives,
        )  # fmt: skip
        return _full(grams, size), gradients, objectives

    return normal_equations


@cache
def make_damped_step(size: int) -> Callable:
    """The step of Levenberg and Marquardt for many small systems, for compiled code.

    Parameters
    ----------
    size : int
        P, the number of parameters; straight-line code for up to about ten.

    Returns
    -------
    callable
        ``damped_step(grams, gradients, dampings, steps)`` with float64 arrays (n, P, P), (n, P)
        and (n,); it writes ``steps`` (n, P), the solutions of (G + damping diag G) step = g.

    Raises
    ------
    ValueError
        If `size` is below 1; the function itself never raises.

    Notes
    -----
    Reads the lower triangles. A direction that the data do not determine gets a finite step;
    NaN gives NaN in its own system alone. Thread-safe, allocates nothing, a register of systems
    at once.

    Examples
    --------
    >>> from numba import njit
    >>> from fastgauss.kernels import make_damped_step
    >>> solve = make_damped_step(2)
    >>> @njit
    ... def step(gram, gradient, damping):
    ...     out = np.empty((1, 2))
    ...     solve(gram.reshape((1, 2, 2)), gradient.reshape((1, 2)), np.array([damping]), out)
    ...     return out[0]
    >>> step(np.array([[4.0, 1.0], [1.0, 3.0]]), np.array([1.0, 2.0]), 0.0).round(9)
    array([0.09090909, 0.63636364])
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size!r}")
    entries = packed_size(size)
    right, solution = entries, entries + size
    damping = solution + size
    rows = damping + 1

    @entry
    def damped_step(grams, gradients, dampings, steps) -> None:
        m = stack_rows(rows)
        for first in range(0, grams.shape[0], WIDTH):
            present = min(WIDTH, grams.shape[0] - first)
            for lane in range(WIDTH):
                item = first + min(lane, present - 1)
                m[damping, lane] = dampings[item]
                for i in range(size):
                    m[right + i, lane] = gradients[item, i]
                    for j in range(i + 1):
                        m[packed(i, j), lane] = grams[item, i, j]
            solve_damped(m, 0, load(m, damping), right, solution, size)
            for lane in range(present):
                for i in range(size):
                    steps[first + lane, i] = m[solution + i, lane]

    return damped_step
