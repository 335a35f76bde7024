"""Straight lines and low polynomials through many rows at once, and principal components.

The mathematics of the fits stands in ``kernels.lines``. Principal components of n points in d
dimensions are the eigenvectors of their covariance X'X / (n - 1), or the right singular vectors of
the centred X; LAPACK computes either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _check, _runtime
from .kernels import lines as kernels
from .kernels.lanes import WIDTH

COVARIANCES = ("auto", "residual", "absolute")
_CHUNK = 1 << 18  # numbers of a task
_COPIED = 1 << 16  # the same where rows have to be copied together
_LEAST_ROWS = 16  # of a copy: what lies side by side in memory


class LineStatus(IntEnum):
    """What became of a row.

    Examples
    --------
    >>> import fastgauss as fg
    >>> fg.fit_lines([[1.0, 2.0, 3.0], [1.0, float("nan"), float("nan")]]).status
    array([0, 1], dtype=int8)
    """

    GOOD = 0
    FEW_POINTS = 1  # fewer (different) abscissae than coefficients
    NOT_FINITE = 2  # an infinity among the data


@dataclass(frozen=True)
class LineFit:
    """Polynomials fitted to rows; what `fit_lines` returns. NaN where the status is not GOOD.

    Attributes
    ----------
    coefficients : array (..., order + 1)
        ``coefficients[..., k]`` belongs to x**k.
    errors : array (..., order + 1)
        Their standard deviations.
    covariance : array (..., order + 1, order + 1)
        Their covariances.
    rms : array (...)
        Root of the (weighted) mean of the squared residuals.
    count : array (...)
        Points that a row has.
    status : array (...)
        `LineStatus` of each row.

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
        at = np.asarray(_check.real_array("x", x, (0, 1)), dtype=np.float64)
        return self.coefficients @ np.power.outer(
            at, np.arange(self.coefficients.shape[-1])
        ).swapaxes(0, -1)


class _Rows:
    """Data as rows along an axis, read a block at a time."""

    def __init__(self, array: np.ndarray, axis: int) -> None:
        self.view = np.moveaxis(array, axis, -1)
        self.n = self.view.shape[-1]
        self.lead = self.view.shape[:-1]
        self.count = math.prod(self.lead)
        self.straight = self.view.flags.c_contiguous
        if self.straight:
            self.flat = self.view.reshape(self.count, self.n)

    @property
    def chunk(self) -> int:
        """Rows of a task."""
        if self.straight:
            return max(1, _CHUNK // max(1, self.n))
        return max(_LEAST_ROWS, _COPIED // max(1, self.n))

    def block(self, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop) side by side: no copy where they lie so."""
        if self.straight:
            return self.flat[start:stop]
        if len(self.lead) == 1:
            return self.view[start:stop]
        return self.view[np.unravel_index(np.arange(start, stop), self.lead)]

    def put(self, start: int, stop: int, rows: np.ndarray) -> None:
        """Write rows [start, stop)."""
        if self.straight:
            self.flat[start:stop] = rows
        elif len(self.lead) == 1:
            self.view[start:stop] = rows
        else:
            self.view[np.unravel_index(np.arange(start, stop), self.lead)] = rows


def _known(block: np.ndarray) -> np.ndarray:
    """A block as kernels read it, flat: float32 or float64."""
    kind = np.float32 if block.dtype.kind == "f" and block.dtype.itemsize <= 4 else np.float64
    return np.ascontiguousarray(block, dtype=kind).reshape(-1)


@dataclass(frozen=True)
class _Problem:
    """The checked arguments of a fit."""

    rows: _Rows
    weights: np.ndarray | None  # (n,), those of all rows
    row_weights: _Rows | None  # or each row's own
    mask: _Rows | None
    x: np.ndarray  # abscissae in [-1, 1], filled up to whole registers
    middle: float  # the original x = middle + half * x
    half: float
    order: int

    @property
    def common(self) -> bool:
        """Whether rows differ in their data alone."""
        return self.row_weights is None and self.mask is None

    def own_weights(self, start: int, stop: int) -> tuple[np.ndarray, bool]:
        """Weights of rows [start, stop), or of all; 0 under the mask."""
        if self.common:
            return (np.ones(self.rows.n) if self.weights is None else self.weights), False
        if self.row_weights is not None:
            weights = np.array(self.row_weights.block(start, stop), dtype=np.float64)
        else:
            shared = 1.0 if self.weights is None else self.weights
            weights = np.empty((stop - start, self.rows.n))
            weights[:] = shared
        if self.mask is not None:
            weights[self.mask.block(start, stop)] = 0.0
        return weights.reshape(-1), True


def _problem(y: Any, x: Any, axis: Any, weights: Any, mask: Any, order: Any) -> _Problem:
    data = _check.real_array("y", y)
    if not data.ndim:
        raise ValueError("y must have 1 dimension or more, got a number")
    along = _check.integer("axis", axis)
    if not -data.ndim <= along < data.ndim:
        raise ValueError(f"axis must be one of {data.ndim} axes, got {along}")
    degree = _check.integer("order", order, at_least=0)
    if degree > kernels.MOST_ORDER:
        raise ValueError(f"order must be at most {kernels.MOST_ORDER}, got {degree}")
    n = data.shape[along]
    places = np.arange(float(n)) if x is None else _check.finite_array("x", x, 1)
    if places.shape != (n,):
        raise ValueError(f"x must have shape ({n},), the length of the axis, got {places.shape}")
    low, high = (places.min(), places.max()) if n else (0.0, 0.0)
    middle = 0.5 * low + 0.5 * high
    half = (0.5 * high - 0.5 * low) or 1.0
    filled = np.zeros(-(-n // WIDTH) * WIDTH)
    filled[:n] = (places - middle) / half
    shared, own = _weights(weights, data.shape, along)
    hidden = None
    if mask is not None:
        array = _check.real_array("mask", mask)
        if array.dtype != np.bool_:
            raise TypeError(f"mask must be boolean, True where data are missing; got {array.dtype}")
        if array.shape != data.shape:
            raise ValueError(f"mask must have shape {data.shape}, got {array.shape}")
        hidden = _Rows(array, along)
    return _Problem(
        _Rows(data, along), shared, own, hidden, filled, float(middle), float(half), degree
    )


def _weights(value: Any, shape: tuple[int, ...], axis: int) -> tuple[Any, Any]:
    """Weights (n,) of all rows, or each row's own."""
    if value is None:
        return None, None
    array = _check.real_array("weights", value)
    if array.shape not in ((shape[axis],), shape):
        raise ValueError(f"weights must have shape ({shape[axis]},) or {shape}, got {array.shape}")
    if array.size and not (array.min() >= 0 and array.max() < np.inf):
        raise ValueError("weights must be finite and not negative")
    if array.ndim == 1:
        return np.asarray(array, dtype=np.float64), None
    return None, _Rows(array, axis)


@dataclass(frozen=True)
class _Sums:
    """What kernels find for each row, in polynomials p_k of the recurrence."""

    alphas: np.ndarray  # (rows, order + 1)
    betas: np.ndarray
    norms: np.ndarray
    coefficients: np.ndarray
    squares: np.ndarray  # (rows,)
    counts: np.ndarray
    alike: np.ndarray  # whether a row has the common polynomials


def _empty_sums(rows: int, order: int) -> _Sums:
    four = (np.empty((rows, order + 1)) for _ in range(4))
    one = np.empty(rows), np.empty(rows, dtype=np.int64), np.empty(rows, dtype=bool)
    return _Sums(*four, *one)


def _fit_own(problem: _Problem, block: np.ndarray, weights: Any, sums: _Sums, at: slice) -> None:
    """Fit rows that have weights or missing numbers of their own."""
    scratch = np.empty(5 * len(problem.x))
    where, per_row = weights
    kernels.fit_own(
        block, where, per_row, problem.x, problem.rows.n, problem.order, scratch,
        sums.alphas[at], sums.betas[at], sums.norms[at], sums.coefficients[at],
        sums.squares[at], sums.counts[at], 0, at.stop - at.start,
    )  # fmt: skip


def _table(problem: _Problem) -> tuple[np.ndarray, _Sums] | None:
    """Orthonormal polynomials of common abscissae, and their recurrence; None if too few."""
    own = _empty_sums(1, problem.order)
    n, size = problem.rows.n, len(problem.x)
    zeros = np.zeros(n)
    _fit_own(problem, zeros, problem.own_weights(0, 1), own, slice(0, 1))
    if not np.isfinite(own.squares[0]):
        return None
    table = np.zeros((2 * problem.order + 3, size))
    table[-1, :n] = problem.own_weights(0, 1)[0]
    now, before = np.ones(size), np.zeros(size)
    for k in range(problem.order + 1):
        table[k, :n] = now[:n] / math.sqrt(own.norms[0, k])
        table[problem.order + 1 + k] = table[k] * table[-1]
        now, before = (problem.x - own.alphas[0, k]) * now - own.betas[0, k] * before, now
    return table, own


def _fit(problem: _Problem, out: _Rows | None, threads: int | None) -> _Sums:
    """Fit all rows; residuals of rows that are fitted by the common polynomials go to ``out``."""
    rows, order = problem.rows, problem.order
    sums = _empty_sums(rows.count, order)
    found = _table(problem) if problem.common and rows.count else None
    if found is not None:
        table, own = found
        sums.alphas[:], sums.betas[:], sums.norms[:] = own.alphas, own.betas, own.norms
        sums.counts[:] = own.counts
        roots = np.sqrt(own.norms)
        kernel = kernels.make_fit_common(order, out is not None)

    def task(start: int, stop: int) -> None:
        at = slice(start, stop)
        block = _known(rows.block(start, stop))
        result = _target(out, block, at)
        if found is None:
            bad = np.ones(stop - start, dtype=bool)
        else:
            kernel(
                block, rows.n, table.reshape(-1), len(problem.x), sums.coefficients[at],
                sums.squares[at], result, 0, stop - start,
            )  # fmt: skip
            sums.coefficients[at] /= roots
            bad = ~np.isfinite(sums.squares[at])
        sums.alike[at] = ~bad
        if bad.all():
            _fit_own(problem, block, problem.own_weights(start, stop), sums, at)
        else:
            for row in np.flatnonzero(bad).tolist():
                part = block[row * rows.n : (row + 1) * rows.n]
                one = slice(start + row, start + row + 1)
                _fit_own(problem, part, problem.own_weights(*_ends(one)), sums, one)
        if out is not None:
            _subtract(problem, block, sums, at, bad, result)
            if not np.shares_memory(result, out.view):
                out.put(start, stop, result.reshape(-1, rows.n))

    _runtime.run(lambda: task, rows.count, rows.chunk, threads)
    return sums


def _ends(rows: slice) -> tuple[int, int]:
    return rows.start, rows.stop


def _target(out: _Rows | None, block: np.ndarray, at: slice) -> np.ndarray:
    """Memory for the residuals of a block."""
    if out is None:
        return np.empty(0, dtype=block.dtype)
    if out.straight:
        return out.flat[at].reshape(-1)
    return np.empty_like(block)


def _subtract(
    problem: _Problem,
    block: np.ndarray,
    sums: _Sums,
    at: slice,
    which: np.ndarray,
    result: np.ndarray,
) -> None:
    """Subtract from some rows of a block what was fitted to them alone."""
    n = problem.rows.n
    coefficients = _powers(sums, at)
    for row in np.flatnonzero(which).tolist():
        one = slice(row * n, (row + 1) * n)
        kernels.subtract(
            block[one], n, problem.x, coefficients[row : row + 1], np.zeros(1), result[one], 0, 1
        )


def _matrices(sums: _Sums, at: slice) -> np.ndarray:
    """Coefficients (rows, k, j) of u**j in p_k."""
    alphas, betas = sums.alphas[at], sums.betas[at]
    rows, terms = alphas.shape
    matrices = np.zeros((rows, terms, terms))
    matrices[:, 0, 0] = 1.0
    for k in range(terms - 1):
        matrices[:, k + 1, 1:] = matrices[:, k, :-1]
        matrices[:, k + 1] -= alphas[:, k, np.newaxis] * matrices[:, k]
        if k:
            matrices[:, k + 1] -= betas[:, k, np.newaxis] * matrices[:, k - 1]
    return matrices


def _powers(sums: _Sums, at: slice) -> np.ndarray:
    """Coefficients of u**j, u the abscissa in [-1, 1], of some rows."""
    return np.einsum("rk,rkj->rj", sums.coefficients[at], _matrices(sums, at))


def _shift(problem: _Problem) -> np.ndarray:
    """Coefficients (j, i) of x**i in u**j."""
    terms = problem.order + 1
    shift = np.zeros((terms, terms))
    for j in range(terms):
        for i in range(j + 1):
            shift[j, i] = math.comb(j, i) * (-problem.middle) ** (j - i) / problem.half**j
    return shift


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
        Rows along `axis`, of any real dtype; NaN is missing.
    x : array (n,), optional
        Abscissae of all rows, in any order; 0, 1, ... without.
    axis : int
        The axis that rows run along.
    weights : array (n,) or of y's shape, optional
        Inverse variances (the squares of ``numpy.polyfit``'s w); 0 is missing.
    mask : array of bool, of y's shape, optional
        True where a number is missing.
    order : int
        0 (a mean) to 3.
    covariance : {"auto", "residual", "absolute"}
        Errors from the residuals' variance, as ``numpy.polyfit(cov=True)`` has them, or from the
        weights taken for true inverse variances (``cov="unscaled"``). "auto": "absolute" with
        weights, else "residual".
    threads : int, optional
        Threads at most. The result does not depend on it, to the bit.

    Returns
    -------
    LineFit
        With ``coefficients``, ``errors``, ``covariance``, ``rms``, ``count``, ``status``; the
        axis of the rows is gone. Rows with too few points are NaN and have a status; where there
        are no more points than coefficients, errors from residuals are infinite.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value.

    Notes
    -----
    Rows that lack nothing cost one reading of the memory; others some 5 ns a number.
    Polynomials are orthogonal over the points of each row: no abscissae are ill-conditioned.

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
    _runtime.resolve_threads(threads)
    kind = _check.choice("covariance", covariance, COVARIANCES)
    if kind == "absolute" and weights is None:
        raise ValueError("covariance='absolute' needs weights: the inverse variances")
    if kind == "auto":
        kind = "residual" if weights is None else "absolute"
    problem = _problem(y, x, axis, weights, mask, order)
    sums = _fit(problem, None, threads)
    return _result(problem, sums, kind)


def _result(problem: _Problem, sums: _Sums, kind: str) -> LineFit:
    rows, terms = problem.rows, problem.order + 1
    some = slice(0, 1) if sums.alike.all() else slice(None)
    with np.errstate(all="ignore"):
        basis = _matrices(sums, some) @ _shift(problem)
        coefficients = (sums.coefficients[:, np.newaxis] @ basis)[:, 0]
        covariance = basis.swapaxes(1, 2) @ (basis / sums.norms[some, :, np.newaxis])
        if kind == "residual":
            freedom = sums.counts - terms
            variance = np.where(freedom > 0, sums.squares / np.maximum(freedom, 1), np.inf)
            covariance = covariance * variance[:, np.newaxis, np.newaxis]
        elif len(covariance) < rows.count:
            covariance = np.repeat(covariance, rows.count, axis=0)
        errors = np.sqrt(covariance.diagonal(axis1=1, axis2=2))
        rms = np.sqrt(sums.squares / sums.norms[:, 0])
    singular = np.isnan(sums.norms).any(axis=1)
    status = np.zeros(rows.count, dtype=np.int8)
    status[~np.isfinite(sums.squares)] = LineStatus.NOT_FINITE
    status[singular] = LineStatus.FEW_POINTS
    bad = status != LineStatus.GOOD
    for array in (coefficients, covariance, errors, rms):
        array[bad] = np.nan
    lead = rows.lead
    return LineFit(
        coefficients.reshape(*lead, terms),
        errors.reshape(*lead, terms),
        covariance.reshape(*lead, terms, terms),
        rms.reshape(lead),
        sums.counts.reshape(lead),
        status.reshape(lead),
    )


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
        Of any real dtype; NaN is missing and stays.
    axis : int
        The axis that rows run along; 0 levels the columns of an image.
    order : int
        0 (a mean) to 3.
    mask : array of bool, of the image's shape, optional
        True where a number is not fitted; it is levelled all the same.
    threads : int, optional
        Threads at most. The result does not depend on it, to the bit.

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
    Costs one reading and one writing of the memory.

    Examples
    --------
    >>> import fastgauss as fg
    >>> fg.level([[1.0, 3.0, 5.0, 8.0], [2.0, 2.0, 2.0, 2.0]]).round(1)
    array([[ 0.2, -0.1, -0.4,  0.3],
           [ 0. ,  0. ,  0. ,  0. ]])
    """
    _runtime.resolve_threads(threads)
    problem = _problem(image, None, axis, None, mask, order)
    array = problem.rows.view
    single = array.dtype.kind == "f" and array.dtype.itemsize <= 4
    out = np.empty(np.shape(image), dtype=np.float32 if single else np.float64)
    _fit(problem, _Rows(out, axis), threads)
    return out


class PCA:
    """Principal components of points; what `pca` returns.

    Attributes
    ----------
    components : array (k, d)
        Unit vectors, the largest variance first; the largest entry of each is positive.
    scores : array (n, k)
        Coordinates of the points along the components; with ``whiten`` of unit variance.
    explained_variance, explained_variance_ratio : array (k,)
        Variance along each component, and its part of the sum over all.
    mean : array (d,)
        What is subtracted first.
    whiten : bool
        Whether scores have unit variance.

    Examples
    --------
    >>> import fastgauss as fg
    >>> found = fg.pca([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]], 1)
    >>> found.components.round(4), found.explained_variance
    (array([[0.4472, 0.8944]]), array([5.]))
    """

    def __init__(
        self,
        data: np.ndarray,
        mean: np.ndarray,
        components: np.ndarray,
        variance: np.ndarray,
        total: float,
        whiten: bool,
    ) -> None:
        self.mean, self.components, self.whiten = mean, components, whiten
        self.explained_variance = variance
        with np.errstate(invalid="ignore"):
            self.explained_variance_ratio = variance / total
        # what rounding leaves of no variance is not blown up
        known = variance > _NO_VARIANCE * variance.max(initial=0.0)
        self._scale = np.sqrt(np.where(known, variance, np.inf)) if whiten else None
        self.scores = self._project(data)

    def transform(self, data: ArrayLike) -> np.ndarray:
        """Scores (m, k) of points (m, d).

        Raises
        ------
        TypeError, ValueError
            If the points are not finite or have another d.

        Examples
        --------
        >>> import fastgauss as fg
        >>> fg.pca([[0.0, 0.0], [3.0, 4.0]], 1).transform([[6.0, 8.0]])
        array([[7.5]])
        """
        return self._project(_table_of("data", data, len(self.mean)))

    def _project(self, points: np.ndarray) -> np.ndarray:
        n, d = points.shape
        scores = np.empty((n, len(self.components)))
        step = max(1, _PART // d)
        for start in range(0, n, step):  # in parts that the caches hold
            part = scores[start : start + step]
            np.matmul(points[start : start + step] - self.mean, self.components.T, out=part)
            if self._scale is not None:
                part /= self._scale
        return scores

    def inverse_transform(self, scores: ArrayLike) -> np.ndarray:
        """Points (m, d) of scores (m, k).

        Raises
        ------
        TypeError, ValueError
            If the scores are not finite or have another k.

        Examples
        --------
        >>> import fastgauss as fg
        >>> fg.pca([[0.0, 0.0], [3.0, 4.0]], 1).inverse_transform([[7.5]])
        array([[6., 8.]])
        """
        points = _table_of("scores", scores, len(self.components))
        if self._scale is not None:
            points = points * np.where(np.isfinite(self._scale), self._scale, 0.0)
        return points @ self.components + self.mean

    @property
    def theta(self) -> float:
        """The first component's angle from +x towards +y, of points (row, column) = (y, x).

        In (-pi/2, pi/2], as the `theta` of a fitted spot.

        Raises
        ------
        ValueError
            If the points are not of two dimensions.

        Examples
        --------
        >>> import numpy as np
        >>> import fastgauss as fg
        >>> spot = fg.image([9.0, 10.0, 8.0, 3.0, 1.5, 0.4, 0.0], (17, 21))
        >>> pixels = np.argwhere(spot > -1)
        >>> round(fg.pca(pixels, weights=spot.ravel()).theta, 2)
        0.4
        """
        if len(self.mean) != 2:
            raise ValueError(f"theta is of points of 2 dimensions, got {len(self.mean)}")
        y, x = self.components[0]
        angle = math.atan2(y, x)
        if angle <= -math.pi / 2:
            return angle + math.pi
        return angle - math.pi if angle > math.pi / 2 else angle

    def __repr__(self) -> str:
        return f"<PCA of {len(self.components)} components in {len(self.mean)} dimensions>"


_PART = 1 << 19  # numbers of a part of the data that is centred at a time
_CENTRED = 1e-5  # least part of the mean square that sums of squares about 0 know to ten digits
_SQUARED = 1e-9  # least part of the largest variance that a covariance matrix still knows well
_NO_VARIANCE = 1e-28


def _table_of(name: str, value: ArrayLike, width: int | None = None) -> np.ndarray:
    array = np.asarray(_check.real_array(name, value, 2), dtype=np.float64)
    if width is not None and array.shape[1] != width:
        raise ValueError(f"{name} must have {width} columns, got shape {array.shape}")
    with np.errstate(invalid="ignore", over="ignore"):
        fine = math.isfinite(array.sum())
    return array if fine else _check.finite_array(name, array)


def _covariance(data: np.ndarray, mean: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """X'WX of the centred data, a part at a time."""
    n, d = data.shape
    matrix = np.zeros((d, d))
    step = max(1, _PART // d)
    for start in range(0, n, step):
        part = data[start : start + step] - mean
        if weights is None:
            matrix += part.T @ part
        else:
            matrix += (part * weights[start : start + step, np.newaxis]).T @ part
    return matrix


def _eigen(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvectors in rows and eigenvalues, the largest first."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors.T[::-1], values[::-1]


def _decompose(
    data: np.ndarray, mean: np.ndarray, weights: np.ndarray | None, wanted: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Components, squared singular values and their sum over all."""
    n, d = data.shape
    if d <= n and weights is None:
        lost = n * float(mean @ mean)
        components, squares = _eigen(data.T @ data - n * np.multiply.outer(mean, mean))
        if squares[wanted - 1] > _CENTRED * (squares[0] + lost):
            return components[:wanted], squares[:wanted], float(squares.sum())
    if d <= n:
        components, squares = _eigen(_covariance(data, mean, weights))
        if squares[wanted - 1] > _SQUARED * squares[0] or squares[0] <= 0:
            squares = np.maximum(squares, 0.0)
            return components[:wanted], squares[:wanted], float(squares.sum())
    centred = data - mean
    if weights is not None:
        centred *= np.sqrt(weights)[:, np.newaxis]
    _, singular, components = np.linalg.svd(centred, full_matrices=False)
    return components[:wanted], singular[:wanted] ** 2, float((singular**2).sum())


def pca(
    data: ArrayLike,
    n_components: int | None = None,
    whiten: bool = False,
    *,
    weights: ArrayLike | None = None,
) -> PCA:
    """Principal components: the axes along which points vary most.

    Parameters
    ----------
    data : array (n, d)
        Points, one a row, of any real dtype, finite.
    n_components : int, optional
        How many, at most min(n, d), which is the default.
    whiten : bool
        Divide scores by their standard deviation. Components without variance keep scores 0.
    weights : array (n,), optional
        How often each point counts, not negative: the values of a spot's pixels, say. Variances
        are over the sum of weights, without them over n - 1.

    Returns
    -------
    PCA
        With ``components``, ``scores``, ``explained_variance``, ``explained_variance_ratio``,
        ``mean``, ``transform``, ``inverse_transform`` and, in two dimensions, ``theta``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value, or there are fewer than 2 points.

    Notes
    -----
    With d <= n from the eigenvectors of the covariance, at 2 n d^2 operations: from sums of squares
    about 0, and from centred data where the mean is so large that this would cost digits. It squares
    the condition: where a component that is asked for has less than 1e-9 of the largest variance,
    and where d > n, the centred data's singular values are taken instead, which cost some ten
    times as much.

    The covariance of a point cloud's or a spot's positions (row, column) has the principal axes
    of the cloud; `PCA.theta` is the angle of the longest.

    Examples
    --------
    >>> import numpy as np
    >>> import fastgauss as fg
    >>> cloud = np.random.default_rng(0).normal(size=(500, 3)) * [1.0, 5.0, 0.1]
    >>> found = fg.pca(cloud, 2)
    >>> np.abs(found.components).round(1), found.scores.shape
    (array([[0., 1., 0.],
           [1., 0., 0.]]), (500, 2))
    """
    points = _table_of("data", data)
    n, d = points.shape
    if n < 2 or d < 1:
        raise ValueError(f"data must have 2 rows and 1 column or more, got shape {points.shape}")
    most = min(n, d)
    wanted = most if n_components is None else _check.integer("n_components", n_components)
    if not 1 <= wanted <= most:
        raise ValueError(f"n_components must be 1 to {most}, got {wanted}")
    _check.flag("whiten", whiten)
    if weights is None:
        heavy, freedom = None, n - 1.0
        mean = np.ones(n) @ points / n
    else:
        heavy = _check.finite_array("weights", weights, 1)
        if heavy.shape != (n,):
            raise ValueError(f"weights must have shape ({n},), one a point, got {heavy.shape}")
        freedom = float(heavy.sum())
        if heavy.min() < 0 or not freedom > 0:
            raise ValueError("weights must not be negative, nor all 0")
        mean = heavy @ points / freedom
    components, squares, total = _decompose(points, mean, heavy, wanted)
    largest = np.take_along_axis(
        components, np.abs(components).argmax(axis=1)[:, np.newaxis], axis=1
    )
    components = np.where(largest < 0, -components, components)
    return PCA(points, mean, components, squares / freedom, total / freedom, whiten)
