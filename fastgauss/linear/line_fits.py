"""Straight lines and low polynomials fitted to rows of an array: `fit_lines`, `level`.

The mathematics is explained in ``kernels/linear/row_polynomials.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, image_data, thread_pool, wording
from ..base.duck_arrays import by_rows, foreign, of_image
from .rows import Problem, Rows, Sums, fit, make_problem, matrices, shift_of

COVARIANCES = ("auto", "residual", "absolute")
_COLUMNS = ("coefficients", "errors", "covariance", "rms", "count", "status")


class LineStatus(IntEnum):
    """How the fit of a row ended.

    Examples
    --------
    >>> import fastgauss as fg
    >>> fg.fit_lines([[1.0, 2.0, 3.0], [1.0, float("nan"), float("nan")]]).status
    array([0, 1], dtype=int8)
    """

    GOOD = 0
    FEW_POINTS = 1  # fewer (different) abscissae than coefficients
    NOT_FINITE = 2  # an infinity among the data


@dataclass(frozen=True, repr=False)
class LineFit:
    """Polynomials fitted to rows; what `fit_lines` returns. NaN where the status is not GOOD.

    Attributes
    ----------
    coefficients : array (..., order + 1)
        ``coefficients[..., k]`` belongs to x**k.
    errors : array (..., order + 1)
        Standard deviations of the coefficients.
    covariance : array (..., order + 1, order + 1)
        Covariances of the coefficients.
    rms : array (...)
        Root of the (weighted) mean of the squared residuals.
    count : array (...)
        Number of points of each row.
    status : array (...)
        `LineStatus` of each row.
    centred : array (..., order + 1)
        The same polynomials with the digits that `coefficients` lose where abscissae are far from
        0, such as times in Julian days: ``centred[..., k]`` belongs to
        ``((x - centre) / scale)**k``.
        `evaluate` uses them.
    centre, scale : float
        Middle and half the extent of the abscissae.

    Examples
    --------
    >>> import fastgauss as fg
    >>> fit = fg.fit_lines([[1.0, 3.0, 5.0, 7.0], [4.0, 4.0, 4.0, 5.0]])
    >>> fit.intercept.round(6), fit.slope.round(6)
    (array([1. , 3.8]), array([2. , 0.3]))
    """

    coefficients: np.ndarray
    errors: np.ndarray
    covariance: np.ndarray
    rms: np.ndarray
    count: np.ndarray
    status: np.ndarray
    centred: np.ndarray
    centre: float
    scale: float

    def to_dict(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        return {name: getattr(self, name) for name in _COLUMNS}

    def __repr__(self) -> str:
        good = int(np.count_nonzero(self.status == LineStatus.GOOD))
        order = self.coefficients.shape[-1] - 1
        rows = wording.plural(self.status.size, "row")
        return f"<LineFit of {rows}, order {order}, {good} good>"

    @property
    def intercept(self) -> np.ndarray:
        """Values at x = 0."""
        return self.coefficients[..., 0]

    @property
    def slope(self) -> np.ndarray:
        """Slopes at x = 0; 0 for order 0."""
        if self.coefficients.shape[-1] < 2:
            return np.zeros_like(self.rms)
        return self.coefficients[..., 1]

    def evaluate(self, x: ArrayLike) -> np.ndarray:
        """The polynomials at abscissae (m,): an array (..., m).

        Raises
        ------
        TypeError, ValueError
            If `x` is not of real numbers or has more than one dimension.

        Examples
        --------
        >>> import fastgauss as fg
        >>> fg.fit_lines([[1.0, 3.0, 5.0, 7.0]]).evaluate([0, 10]).round(6)
        array([[ 1., 21.]])
        """
        at = np.asarray(check.real_array("x", x, (0, 1)), dtype=np.float64)
        powers = np.arange(self.centred.shape[-1])
        return self.centred @ np.power.outer((at - self.centre) / self.scale, powers).swapaxes(
            0, -1
        )


def fit_lines(
    y: ArrayLike,
    x: ArrayLike | None = None,
    axis: int = -1,
    weights: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    order: int = 1,
    *,
    covariance: str = "auto",
    threads: int | None = None,
) -> LineFit:
    """Fit a straight line, or a polynomial of low order, to every row of an array.

    Parameters
    ----------
    y : array (..., n)
        Rows along `axis`, of any real dtype; a NaN is a missing number.
    x : array (n,), optional
        Abscissae of all rows, in any order; by default 0, 1, ...
    axis : int
        The axis along which rows run.
    weights : array (n,) or of y's shape, optional
        Inverse variances (the squares of ``numpy.polyfit``'s w); a weight of 0 is a missing number.
    mask : array of bool, of y's shape, optional
        True where a number is missing.
    order : int
        0 (a mean) to 3.
    covariance : {"auto", "residual", "absolute"}
        "residual" takes errors from the variance of the residuals, like
        ``numpy.polyfit(cov=True)``; "absolute" takes the weights as true inverse variances
        (``cov="unscaled"``). "auto" is "absolute" with weights, else "residual".
    threads : int, optional
        Largest number of threads. The result does not depend on it, to the bit.

    Returns
    -------
    LineFit
        With ``coefficients``, ``errors``, ``covariance``, ``rms``, ``count``, ``status``, without
        the axis of the rows. Rows with too few points are NaN and have a status. A row with as many
        points as coefficients has infinite errors with covariance "residual".

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    Notes
    -----
    Rows without missing numbers cost one pass over the memory, other rows some 5 ns a number. The
    polynomials are orthogonal over the points of each row, so that no abscissae are
    ill-conditioned.

    References
    ----------
    Forsythe 1957, Journal of the Society for Industrial and Applied Mathematics 5, 74.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgauss as fg
    >>> rows = np.array([[1.0, 3.0, 5.0, 7.0], [0.0, 1.0, np.nan, 3.0]])
    >>> fg.fit_lines(rows).coefficients.round(6)
    array([[1., 2.],
           [0., 1.]])
    """
    thread_pool.resolve_threads(threads)
    kind = check.choice("covariance", covariance, COVARIANCES)
    if kind == "absolute" and weights is None:
        raise ValueError("covariance='absolute' needs weights: the inverse variances")
    if kind == "auto":
        kind = "residual" if weights is None else "absolute"
    problem = make_problem(y, x, axis, weights, mask, order)
    sums = fit(problem, None, threads)
    return _result(problem, sums, kind)


def _result(problem: Problem, sums: Sums, kind: str) -> LineFit:
    rows, terms = problem.rows, problem.order + 1
    some = slice(0, 1) if sums.alike.all() else slice(None)
    with np.errstate(all="ignore"):
        centred = matrices(sums, some)
        basis = centred @ shift_of(problem)
        coefficients, inner = _combined(sums, basis), _combined(sums, centred)
        covariance = basis.swapaxes(1, 2) @ (basis / sums.norms[some, :, np.newaxis])
        if kind == "residual":
            freedom = sums.counts - terms
            variance = sums.squares / np.maximum(freedom, 1)
            covariance = covariance * variance[:, np.newaxis, np.newaxis]
            covariance[freedom <= 0] = np.inf
        elif len(covariance) < rows.count:
            covariance = np.repeat(covariance, rows.count, axis=0)
        errors = np.sqrt(covariance.diagonal(axis1=1, axis2=2))
        rms = np.sqrt(sums.squares / sums.norms[:, 0])
    singular = np.isnan(sums.norms).any(axis=1)
    status = np.zeros(rows.count, dtype=np.int8)
    status[~np.isfinite(sums.squares)] = LineStatus.NOT_FINITE
    status[singular] = LineStatus.FEW_POINTS
    bad = status != LineStatus.GOOD
    for array in (coefficients, inner, covariance, errors, rms):
        array[bad] = np.nan
    lead = rows.lead
    return LineFit(
        coefficients.reshape(*lead, terms),
        errors.reshape(*lead, terms),
        covariance.reshape(*lead, terms, terms),
        rms.reshape(lead),
        sums.counts.reshape(lead),
        status.reshape(lead),
        inner.reshape(*lead, terms),
        problem.middle,
        problem.half,
    )


def _combined(sums: Sums, basis: np.ndarray) -> np.ndarray:
    """Coefficients of powers, from those of the polynomials whose powers are ``basis``."""
    if len(basis) == 1:  # faster than a product of small matrices for each row
        return sums.coefficients @ basis[0]
    return (sums.coefficients[:, np.newaxis] @ basis)[:, 0]


_LEVEL = of_image(by_rows)


def level(
    image: ArrayLike,
    axis: int = -1,
    order: int = 1,
    *,
    mask: ArrayLike | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Subtract from every row the straight line (or polynomial) that fits it.

    Parameters
    ----------
    image : array (..., n)
        Of any real dtype; a NaN is a missing number and stays NaN. An array of dask or xarray gives
        a result of that library.
    axis : int
        The axis that rows run along; 0 levels the columns of an image.
    order : int
        0 (a mean) to 3.
    mask : array of bool, of the image's shape, optional
        True where a number is left out of the fit; the line is subtracted from it too.
    threads : int, optional
        Largest number of threads. The result does not depend on it, to the bit.

    Returns
    -------
    array
        Of the image's shape; float32 from float32, else float64. Rows with too few points are NaN.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    Notes
    -----
    The cost is one reading and one writing of the memory.

    Examples
    --------
    >>> import fastgauss as fg
    >>> fg.level([[1.0, 3.0, 5.0, 8.0], [2.0, 2.0, 2.0, 2.0]]).round(1)
    array([[ 0.2, -0.1, -0.4,  0.3],
           [ 0. ,  0. ,  0. ,  0. ]])
    """
    if foreign(image, mask):
        return _LEVEL(level, locals())
    thread_pool.resolve_threads(threads)
    image, mask = image_data.masked("image", image, mask)
    image = check.real_array("image", image)
    problem = make_problem(image, None, axis, None, mask, order)
    array = problem.rows.view
    single = array.dtype.kind == "f" and array.dtype.itemsize <= 4
    out = np.empty(image.shape, dtype=np.float32 if single else np.float64)
    fit(problem, Rows(out, axis), threads)
    return out
