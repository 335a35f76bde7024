"""Regular grids: where the nodes of an array lie in the caller's coordinates.

Axis k of the array, entry k of ``spacing``, ``origin`` and ``periodic``, and column k of positions
belong to the same axis. Nothing is ever transposed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import check, wording

_MOST_NODES = 1 << 60  # of more nodes, addresses do not fit in 64 bits


def _flags(name: str, value: Any, ndim: int) -> tuple[bool, ...]:
    items = check.entries(name, value)
    if items is None:
        return (check.flag(name, value),) * ndim
    if len(items) != ndim:
        raise ValueError(f"{name} must be True or False or {ndim} of them, got {len(items)}")
    return tuple(check.flag(f"{name}[{i}]", item) for i, item in enumerate(items))


@dataclass(frozen=True)
class Grid:
    """A regular grid of one to three axes: node i of an axis lies at ``origin + i * spacing``.

    Parameters
    ----------
    shape : tuple of int
        Nodes along each axis, in array-axis order; one number for one axis.
    spacing : float or one per axis
        Distance of neighbouring nodes, positive, in the caller's unit of length.
    origin : float or one per axis
        Coordinate of node 0.
    periodic : bool or one per axis
        Whether the axis wraps around, with period ``shape * spacing``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, length or value.

    Examples
    --------
    >>> import fastgauss as fg
    >>> grid = fg.Grid((4, 5), spacing=(2.0, 0.5), origin=(-1.0, 0.0))
    >>> grid.position([[0, 0], [3, 4]])
    array([[-1.,  0.],
           [ 5.,  2.]])
    >>> grid.index([5.0, 2.0])
    array([3., 4.])
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...] = 1.0  # type: ignore[assignment]  # one number is for all axes
    origin: tuple[float, ...] = 0.0  # type: ignore[assignment]
    periodic: tuple[bool, ...] = False  # type: ignore[assignment]

    def __post_init__(self) -> None:
        shape = check.shape("shape", self.shape, (1, 2, 3), one=True)
        if math.prod(max(n, 1) for n in shape) > _MOST_NODES:
            raise ValueError(f"shape must have at most 2**60 nodes, got {shape}")
        n = len(shape)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "spacing", check.per_axis("spacing", self.spacing, n, above=0.0))
        object.__setattr__(self, "origin", check.per_axis("origin", self.origin, n))
        object.__setattr__(self, "periodic", _flags("periodic", self.periodic, n))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of nodes."""
        return math.prod(self.shape)

    def index(self, positions: ArrayLike) -> np.ndarray:
        """Real-valued indices ``(..., ndim)`` of positions ``(..., ndim)``, not wrapped.

        Raises
        ------
        TypeError, ValueError
            If the last axis is not of length ``ndim`` or the numbers are not real.

        Examples
        --------
        >>> import fastgauss as fg
        >>> fg.Grid((9,), spacing=0.5, origin=1.0).index([[2.25]])
        array([[2.5]])
        """
        array = self._points("positions", positions)
        return (array - np.array(self.origin)) / np.array(self.spacing)

    def position(self, indices: ArrayLike) -> np.ndarray:
        """Positions ``(..., ndim)`` of (real-valued) indices ``(..., ndim)``.

        Raises
        ------
        TypeError, ValueError
            If the last axis is not of length ``ndim`` or the numbers are not real.

        Examples
        --------
        >>> import fastgauss as fg
        >>> fg.Grid((9,), spacing=0.5, origin=1.0).position([[2.5]])
        array([[2.25]])
        """
        array = self._points("indices", indices)
        return array * np.array(self.spacing) + np.array(self.origin)

    def nodes(self, axis: int) -> np.ndarray:
        """Coordinates ``(n,)`` of the nodes along one axis.

        Raises
        ------
        TypeError, ValueError
            If there is no such axis.

        Examples
        --------
        >>> import fastgauss as fg
        >>> fg.Grid((2, 3), spacing=0.5).nodes(1)
        array([0. , 0.5, 1. ])
        """
        k = check.integer("axis", axis)
        if not -self.ndim <= k < self.ndim:
            raise ValueError(f"axis must be one of {wording.plural(self.ndim, 'axis')}, got {k}")
        return self.origin[k] + self.spacing[k] * np.arange(self.shape[k])

    def _points(self, name: str, value: ArrayLike) -> np.ndarray:
        columns = check.axis_names(self.ndim)
        array = np.asarray(check.real_array(name, value, columns=columns), dtype=np.float64)
        if array.ndim == 0 or array.shape[-1] != self.ndim:
            raise ValueError(
                f"{name} must have a last axis of {self.ndim} for a grid of shape {self.shape}, "
                f"got shape {array.shape}"
            )
        return array


def as_grid(value: Grid | Sequence[int] | int, name: str = "grid") -> Grid:
    """The grid that a grid or a shape means; one number is a shape of one axis.

    Parameters
    ----------
    value : Grid, int or sequence of int
    name : str
        Of the argument, for errors.

    Returns
    -------
    Grid

    Raises
    ------
    TypeError, ValueError
        If it is neither, or not of one to three axes.

    Examples
    --------
    >>> from fastgauss.base.grid import as_grid
    >>> as_grid((4, 5)).spacing
    (1.0, 1.0)
    """
    if isinstance(value, Grid):
        return value
    return Grid(check.shape(name, value, (1, 2, 3), one=True))
