"""Principal components: the axes along which points vary.

For n points in d dimensions they are the eigenvectors of the covariance X'X / (n - 1) of the
centred points X, or X's right singular vectors; LAPACK computes either.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, wording
from ..base.scaling import unit_of

_PART = 1 << 19  # numbers of a part of the data that is centred at a time
_CENTRED = 1e-5  # least part of the mean square that sums of squares about 0 know to ten digits
_SQUARED = 1e-9  # least part of the largest variance that a covariance matrix still knows well
_NO_VARIANCE = 1e-28
_SQUARES = 1e-200, 1e200  # of all numbers of the data, together: further sums are in range


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
    columns : tuple of str
        Names of the d coordinates, if the data were a table.

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
        columns: tuple[str, ...],
        unit: float,
    ) -> None:
        """``mean``, ``variance`` and ``total`` are those of the data times ``unit``."""
        self.mean, self.components, self.whiten = mean / unit, components, whiten
        self.columns = columns
        with np.errstate(over="ignore", under="ignore"):  # infinite beyond the range
            self.explained_variance = variance / unit / unit
        with np.errstate(invalid="ignore"):
            self.explained_variance_ratio = variance / total
        # what rounding leaves of no variance is not blown up
        known = variance > _NO_VARIANCE * variance.max(initial=0.0)
        self._scale = np.sqrt(np.where(known, variance, np.inf)) if whiten else None
        self._unit = unit
        self.scores = self._project(data)

    def transform(self, data: ArrayLike) -> np.ndarray:
        """Scores (m, k) of points (m, d), or of a table with the columns that `pca` was given.

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
        return self._project(_finite("data", _table_of("data", data, len(self.mean), self.columns)))

    def _project(self, points: np.ndarray) -> np.ndarray:
        unit = self._unit
        scores = (points if unit == 1.0 else points * unit) @ self.components.T
        # what this cancels, the points have not got
        scores -= (self.mean * unit) @ self.components.T
        if self._scale is not None:
            scores /= self._scale
        elif unit != 1.0:
            with np.errstate(over="ignore"):  # infinite beyond the range
                scores /= unit
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
        points = _finite("scores", _table_of("scores", scores, len(self.components)))
        with np.errstate(over="ignore", invalid="ignore"):  # infinite beyond the range
            if self._scale is not None:
                known = np.isfinite(self._scale)
                points = points * (np.where(known, self._scale, 0.0) / self._unit)
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
        y, x = self.components[0][:: -1 if self.columns == ("x", "y") else 1]
        angle = math.atan2(y, x)
        if angle <= -math.pi / 2:
            return angle + math.pi
        return angle - math.pi if angle > math.pi / 2 else angle

    def __repr__(self) -> str:
        components = wording.plural(len(self.components), "component")
        return f"<PCA of {components} in {wording.plural(len(self.mean), 'dimension')}>"


def _table_of(
    name: str, value: ArrayLike, width: int | None = None, columns: tuple[str, ...] = ()
) -> np.ndarray:
    array = np.asarray(check.real_array(name, value, 2, columns=columns), dtype=np.float64)
    if width is not None and array.shape[1] != width:
        raise ValueError(
            f"{name} must have {wording.plural(width, 'column')}, got shape {array.shape}"
        )
    return array


def _finite(name: str, array: np.ndarray) -> np.ndarray:
    """The array, whose columns' sums tell in little time that all is finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        fine = np.isfinite(np.ones(len(array)) @ array).all()
    return array if fine else check.finite_array(name, array)


def _unit_of(points: np.ndarray) -> float:
    """The factor of numbers that are too large or small to be squared; 1 for others."""
    flat = points.ravel()
    with np.errstate(over="ignore", under="ignore"):
        square = float(flat @ flat)
    if _SQUARES[0] < square < _SQUARES[1]:
        return 1.0
    return unit_of(float(np.abs(points).max(initial=0.0)))


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
    data : array (n, d) or table
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
    about 0, and from centred data where the mean is so large that this would cost digits. It
    squares the condition: where a component that is asked for has below 1e-9 of the variance,
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
    columns = check.column_names(data)
    points = _table_of("data", data, None, columns)
    n, d = points.shape
    if n < 2 or d < 1:
        raise ValueError(f"data must have 2 rows and 1 column or more, got shape {points.shape}")
    most = min(n, d)
    wanted = most if n_components is None else check.integer("n_components", n_components)
    if not 1 <= wanted <= most:
        raise ValueError(f"n_components must be 1 to {most}, got {wanted}")
    check.flag("whiten", whiten)
    with np.errstate(invalid="ignore", over="ignore"):
        sums = np.ones(n) @ points  # tells in little time that all is finite
    if not np.isfinite(sums).all():
        check.finite_array("data", points)
    unit = _unit_of(points)
    inner = points if unit == 1.0 else points * unit
    if weights is None:
        heavy, freedom = None, n - 1.0
        mean = (sums if unit == 1.0 else np.ones(n) @ inner) / n
    else:
        heavy = check.finite_array("weights", weights, 1)
        if heavy.shape != (n,):
            raise ValueError(
                f"weights must have shape ({n},), one for each point, got {heavy.shape}"
            )
        if heavy.min() < 0 or not heavy.max() > 0:
            raise ValueError("weights must not be negative, nor all 0")
        heavy = heavy * unit_of(float(heavy.max()))
        freedom = float(heavy.sum())
        mean = heavy @ inner / freedom
    components, squares, total = _decompose(inner, mean, heavy, wanted)
    largest = np.take_along_axis(
        components, np.abs(components).argmax(axis=1)[:, np.newaxis], axis=1
    )
    components = np.where(largest < 0, -components, components)
    return PCA(points, mean, components, squares / freedom, total / freedom, whiten, columns, unit)
