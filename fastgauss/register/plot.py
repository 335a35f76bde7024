"""Pictures of a displacement field and of a drift; matplotlib is imported when they are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, wording
from ..base.figures import (
    FAILED,
    FITTED,
    MISSING,
    frame_image,
    new_figure,
    shown_image,
    stretch,
    style,
)
from ..base.optional import require
from .results import DisplacementField
from .stack_results import StackAlignment

_LONGEST = 0.9  # of the distance of two nodes: the arrow of a large displacement
_SIDE = 6.0  # inches, the longer side of the image


def plot_displacements(
    image: ArrayLike,
    field: DisplacementField,
    *,
    scale: float | None = None,
    figure: Any = None,
) -> Any:
    """Draw an image with an arrow at every window, and a cross where none was found.

    Arrows of outliers have another colour. The title gives the median displacement and the factor
    by which the arrows are longer than the displacements.

    Parameters
    ----------
    image : array_like (Y, X)
        The first of the two images.
    field : DisplacementField
        What `displacement_field` returned for it.
    scale : float, optional
        Ratio of the length of an arrow to that of its displacement; by default long arrows nearly
        reach the next node.
    figure : matplotlib.figure.Figure or SubFigure, optional
        Where to draw; by default a new figure, not registered with pyplot.

    Returns
    -------
    matplotlib.figure.Figure or SubFigure
        The figure, with one axes. `fastgauss.plot.save_plot` writes it.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    ImportError
        If matplotlib is missing.

    Notes
    -----
    y runs downwards, as in the image: an arrow of positive dy points down.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> scene = np.random.default_rng(0).normal(size=(80, 80)).cumsum(0).cumsum(1)
    >>> a, b = scene[5:69, 5:69], scene[7:71, 2:66]
    >>> field = fg.register.displacement_field(a, b, 32, 16)
    >>> fg.register.plot_displacements(a, field).axes[0].get_title()
    '9 windows, median dx 3.00, dy -2.00 px; arrows 2 x'
    """
    image = shown_image(image)
    if not isinstance(field, DisplacementField):
        raise TypeError(f"field must be a DisplacementField, got {type(field).__name__}")
    found = np.isfinite(field.dx)
    if scale is None:
        scale = _arrow_scale(field, found)
    scale = check.number("scale", scale, above=0)
    height, width = image.shape
    if figure is None:
        unit = _SIDE / max(height, width)
        size = max(3.0, unit * width) + 0.8, max(2.0, unit * height) + 0.8
        figure = new_figure(*size)
    axes = figure.subplots()
    axes.set_facecolor(MISSING)
    axes.imshow(image, **style(*stretch(image)))
    x, y = np.meshgrid(field.x, field.y)
    for chosen, colour in (
        (found & ~field.outlier, FITTED),
        (found & field.outlier, FAILED),
    ):
        arrows = (part[chosen] for part in (x, y, field.dx, field.dy))
        axes.quiver(
            *arrows, angles="xy", scale_units="xy", scale=1.0 / scale, color=colour, width=0.003
        )
    axes.plot(x[~found], y[~found], "x", color=FAILED, markersize=4)
    frame_image(axes, image.shape)
    axes.set(xlabel="x (px)", ylabel="y (px)")
    axes.set_title(_title(field, found, scale), fontsize="medium")
    return figure


def plot_drift(alignment: StackAlignment, *, figure: Any = None) -> Any:
    """Draw the displacements of a stack by frame, with a standard error on either side.

    A cross at 0 marks a frame without a displacement, and open circles mark those that did not
    converge.

    Parameters
    ----------
    alignment : StackAlignment
        What `align_stack` returned.
    figure : matplotlib.figure.Figure or SubFigure, optional
        Where to draw; by default a new figure, not registered with pyplot.

    Returns
    -------
    matplotlib.figure.Figure or SubFigure
        The figure, with one axes. `fastgauss.plot.save_plot` writes it.

    Raises
    ------
    TypeError
        If an argument is not as described.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> scene = np.random.default_rng(0).normal(size=(80, 80)).cumsum(0).cumsum(1)
    >>> drift = fg.register.align_stack([scene[k : 64 + k, 5:69] for k in range(4)])
    >>> fg.register.plot_drift(drift).axes[0].get_ylabel()
    'displacement (px)'
    """
    if not isinstance(alignment, StackAlignment):
        raise TypeError(f"alignment must be a StackAlignment, got {type(alignment).__name__}")
    require("matplotlib.figure", "plotting", "plot")
    if figure is None:
        figure = new_figure(_SIDE, 0.6 * _SIDE)
    axes = figure.subplots()
    frame = np.arange(len(alignment))
    sure = alignment.converged
    for axis, name, colour in ((1, "dx", FITTED), (0, "dy", FAILED)):
        place, error = alignment.displacements[:, axis], alignment.errors[:, axis]
        axes.plot(frame, np.where(sure, place, np.nan), color=colour, label=name)
        known = sure & np.isfinite(error)
        low, high = (np.where(known, place + sign * error, np.nan) for sign in (-1, 1))
        axes.fill_between(frame, low, high, color=colour, alpha=0.3, linewidth=0)
        doubtful = ~sure & np.isfinite(place)
        axes.plot(frame[doubtful], place[doubtful], "o", color=colour, fillstyle="none")
    lost = np.isnan(alignment.displacements).any(axis=1)
    axes.plot(frame[lost], np.zeros(np.count_nonzero(lost)), "x", color=FAILED)
    axes.set(xlabel="frame", ylabel="displacement (px)")
    axes.set_title(f"{wording.plural(len(alignment), 'frame')}, {int(sure.sum())} converged",
                   fontsize="medium")  # fmt: skip
    axes.legend()
    return figure


def _arrow_scale(field: DisplacementField, found: np.ndarray) -> float:
    """So that long arrows nearly reach the next node; a round number."""
    steps = [float(np.diff(nodes).min()) for nodes in (field.x, field.y) if len(nodes) > 1]
    lengths = np.hypot(field.dx[found], field.dy[found])
    longest = float(np.percentile(lengths, 95)) if lengths.size else 0.0
    if not longest > 1e-6:
        return 1.0
    wanted = _LONGEST * min(steps, default=16.0) / longest
    power = 10.0 ** np.floor(np.log10(wanted))
    return float(power * max(m for m in (1, 2, 5) if m * power <= wanted * (1 + 1e-9)))


def _title(field: DisplacementField, found: np.ndarray, scale: float) -> str:
    count = field.dx.size
    text = wording.plural(count, "window")
    good = found & ~field.outlier
    if good.any():
        dx, dy = (np.median(part[good]) for part in (field.dx, field.dy))
        text += f", median dx {dx:.2f}, dy {dy:.2f} px"
    if not good.all():
        text += f", {count - int(good.sum())} doubtful"
    return f"{text}; arrows {scale:g} x"
