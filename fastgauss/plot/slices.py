"""Pictures of slices of a volume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, image_data
from ..base.figures import MISSING, new_figure, stretch, style
from ..base.grid import Grid, as_grid

_NAMES = ("z", "y", "x")
_SLICES = 4  # slices along an axis by default
_ACROSS = 4  # slices in a row of the figure
_LONG = 5.0  # ratio of the sides from which a slice is drawn stretched
_PANEL = 3.4  # inches: a panel


def plot_slices(
    volume: ArrayLike,
    grid: Grid | None = None,
    *,
    axis: int | None = None,
    at: float | Sequence[float] | None = None,
    unit: str | None = None,
    label: str = "value",
    cmap: str = "magma",
    figure: Any = None,
) -> Any:
    """Draw slices of a volume in the coordinates of its grid, with one colour scale.

    Parameters
    ----------
    volume : array_like (z, y, x)
        Values at the nodes of the grid. Values that are not finite have their own colour.
    grid : Grid, optional
        The positions of the nodes; by default coordinates are indices.
    axis : int, optional
        Slices across this axis, at the coordinates `at`. By default one slice across each axis;
        lines show the point `at`, in which the slices meet.
    at : float or sequence of floats, optional
        Coordinates of the slices; the nearest nodes are shown. By default the middle of the grid,
        or 4 evenly spaced slices across `axis`.
    unit : str, optional
        Unit of the grid's coordinates; "voxels" without a grid.
    label, cmap : str
        Label of the colour scale, and name of the colour map.
    figure : matplotlib.figure.Figure or SubFigure, optional
        Where to draw; by default a new figure, not registered with pyplot.

    Returns
    -------
    matplotlib.figure.Figure or SubFigure
        The figure, with axes for each slice and for the colour scale.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, shape or value, or a slice would lie outside the grid.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> import fastgauss as fg
    >>> from fastgauss.plot import plot_slices
    >>> grid = fg.Grid((20, 30, 40), spacing=(0.5, 0.2, 0.2), origin=(-5.0, 0.0, 0.0))
    >>> volume = fg.render(grid, [[-1.0, 2.0, 5.0]], sigma=0.8)
    >>> figure = plot_slices(volume, grid, at=(-1.0, 2.0, 5.0), unit="um")
    >>> [axes.get_title() for axes in figure.axes[:3]]
    ['z = -1 um', 'y = 2 um', 'x = 5 um']
    """
    values = image_data.filled("volume", volume, 3)
    if 0 in values.shape:
        raise ValueError(f"volume must have a node, got shape {values.shape}")
    nodes = as_grid(values.shape if grid is None else grid)
    if nodes.shape != values.shape:
        raise ValueError(f"volume must have the grid's shape {nodes.shape}, got {values.shape}")
    if unit is not None:
        check.text("unit", unit)
    unit = "voxels" if unit is None and grid is None else unit or ""
    check.text("label", label)
    check.text("cmap", cmap)
    cuts = _cuts(nodes, axis, at)
    across, down = min(len(cuts), _ACROSS), -(-len(cuts) // _ACROSS)
    if figure is None:
        tall = max(_proportion(nodes, k) for k, _ in cuts)
        figure = new_figure(
            across * _PANEL + 1.2, down * (0.85 * _PANEL * tall + 0.7), "constrained"
        )
    panels = figure.subplots(down, across, squeeze=False).ravel()
    look = style(*stretch(values), cmap)
    suffix = f" ({unit})" if unit else ""
    for axes, (normal, index) in zip(panels, cuts, strict=False):
        drawn = _draw_slice(axes, values, nodes, normal, index, look)
        rows, columns = (k for k in range(3) if k != normal)
        axes.set(xlabel=f"{_NAMES[columns]}{suffix}", ylabel=f"{_NAMES[rows]}{suffix}")
        place = nodes.origin[normal] + index * nodes.spacing[normal]
        axes.set_title(f"{_NAMES[normal]} = {place:.4g} {unit}".strip())
        if axis is None:
            for draw, k in ((axes.axhline, rows), (axes.axvline, columns)):
                draw(
                    nodes.origin[k] + cuts[k][1] * nodes.spacing[k],
                    color="white", linewidth=0.7, linestyle=(0, (4, 4)), alpha=0.8,
                )  # fmt: skip
    for axes in panels[len(cuts) :]:
        axes.set_axis_off()
    figure.colorbar(drawn, ax=list(panels), label=label, shrink=0.8, extend="both")
    return figure


def _cuts(grid: Grid, axis: Any, at: Any) -> list[tuple[int, int]]:
    """Axis and index of each slice."""
    if axis is None:
        middle = [o + 0.5 * (n - 1) * s for o, n, s in _along(grid)]
        point = middle if at is None else list(check.per_axis("at", at, 3))
        return [(k, _node(grid, k, place)) for k, place in enumerate(point)]
    across = check.integer("axis", axis)
    if not 0 <= across < 3:
        raise ValueError(f"axis must be 0, 1 or 2, got {across}")
    if at is None:
        n = grid.shape[across]
        inner = (np.arange(_SLICES) + 0.5) * n / _SLICES - 0.5
        return [(across, k) for k in np.unique(np.rint(inner).astype(int)).tolist()]
    places = np.atleast_1d(check.finite_array("at", at, (0, 1))).tolist()
    if not places:
        raise ValueError("at must hold a coordinate, got none")
    return [(across, _node(grid, across, place)) for place in places]


def _along(grid: Grid) -> list[tuple[float, int, float]]:
    return list(zip(grid.origin, grid.shape, grid.spacing, strict=True))


def _node(grid: Grid, axis: int, place: float) -> int:
    """The nearest node."""
    origin, n, step = _along(grid)[axis]
    index = (place - origin) / step
    if not -0.5 <= index <= n - 0.5:
        raise ValueError(
            f"at must be within {origin:g} and {origin + (n - 1) * step:g} on axis {axis}, "
            f"got {place:g}"
        )
    return min(int(np.floor(index + 0.5)), n - 1)


def _sides(grid: Grid, normal: int) -> tuple[float, float]:
    """Height and width of a slice."""
    height, width = (n * s for k, (_, n, s) in enumerate(_along(grid)) if k != normal)
    return height, width


def _is_long(grid: Grid, normal: int) -> bool:
    """Whether a slice is too long to be drawn in its proportions."""
    sides = _sides(grid, normal)
    return max(sides) > _LONG * min(sides)


def _proportion(grid: Grid, normal: int) -> float:
    """Height by width of a slice's panel."""
    height, width = _sides(grid, normal)
    return 0.6 if _is_long(grid, normal) else min(max(height / width, 0.3), 1.6)


def _draw_slice(
    axes: Any, values: np.ndarray, grid: Grid, normal: int, index: int, look: dict[str, Any]
) -> Any:
    """A slice with pixels of one spacing around each node."""
    ends = [(o - 0.5 * s, o + (n - 0.5) * s) for o, n, s in _along(grid)]
    (top, bottom), (left, right) = (ends[k] for k in range(3) if k != normal)
    shown = np.take(values, index, axis=normal)
    axes.set_facecolor(MISSING)
    return axes.imshow(
        np.where(np.isfinite(shown), shown, np.nan), extent=(left, right, bottom, top),
        aspect="auto" if _is_long(grid, normal) else "equal", **look,
    )  # fmt: skip
