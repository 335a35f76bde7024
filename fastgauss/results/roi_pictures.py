"""Pictures of regions of interest: data, fitted model and residual."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..base import check, image_data, wording
from ..base.figures import (
    FAILED,
    FITTED,
    MISSING,
    around_zero,
    frame_image,
    new_figure,
    stretch,
    style,
    whole_ticks,
)

if TYPE_CHECKING:
    from .fit_result import FitResult

_MOST = 12  # ROIs shown by default
_ACROSS = 12  # ROIs in a row of the figure
_SIDE = 1.25  # inches: side of a ROI


def plot_rois(
    rois: ArrayLike,
    result: FitResult,
    *,
    rows: Sequence[int] | None = None,
    figure: Any = None,
) -> Any:
    """Draw regions of interest, the model fitted to each, and the residual.

    Each ROI is a column: data and model in one grey scale, whose ends are in the title, and the
    residual from blue (-) to red (+), whose ends are below it. A cross marks the fitted centre. If
    the fit did not converge, the cross has another colour and the title shows the status.

    Parameters
    ----------
    rois : array_like (n, y, x) or (n, z, y, x)
        The ROIs that were fitted; of a volume the slice nearest to the fitted z is shown.
    result : FitResult
        The result of `fit_rois` for them.
    rows : sequence of int, optional
        Which ROIs to show; by default the first 12.
    figure : matplotlib.figure.Figure or SubFigure, optional
        Where to draw; by default a new figure, not registered with pyplot.

    Returns
    -------
    matplotlib.figure.Figure or SubFigure
        The figure, with three axes for each ROI.

    Raises
    ------
    TypeError, ValueError
        If the ROIs and the result do not belong together, or a row does not exist.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> from fastgauss.plot import plot_rois
    >>> truth = [[100.0, 4.8, 5.3, 1.2, 10.0], [50.0, 5.1, 4.6, 1.5, 8.0]]
    >>> rois = fg.image(truth, (11, 11), model="symmetric")
    >>> figure = plot_rois(rois, fg.fit_rois(rois))
    >>> [axes.get_title() for axes in figure.axes][:2]
    ['ROI 0\\n10 to 101', 'ROI 1\\n8 to 55.4']
    """
    stack = image_data.filled("rois", rois, (3, 4))
    if len(stack) != len(result) or stack.ndim - 1 != result.model.ndim:
        raise ValueError(
            f"rois must have {wording.plural(result.model.ndim + 1, 'axis')} and a ROI for each of "
            f"{wording.plural(len(result), 'spot')} of the result, got shape {stack.shape}"
        )
    chosen = _rows(rows, len(stack))
    bands = max(1, -(-len(chosen) // _ACROSS))
    across = min(_ACROSS, max(len(chosen), 1))
    height, width = stack.shape[-2:]
    # a long ROI is drawn at least a quarter as wide as long
    aspect = "auto" if max(height, width) > 4 * min(height, width) else "equal"
    if figure is None:
        unit = _SIDE / max(height, width, 1)
        panel = max(unit * width, 0.62 * _SIDE), max(unit * height, 0.25 * _SIDE)
        figure = new_figure(across * panel[0] + 1.0, 3 * bands * (panel[1] + 0.22) + 0.7)
    grid = figure.subplots(3 * bands, across, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for place, row in enumerate(chosen):
        band, column = divmod(place, across)
        own = grid[3 * band : 3 * band + 3, column]
        draw_roi(own, stack[row], result[row], f"ROI {row}", aspect)
        for axes, name in zip(own, ("data", "model", "residual"), strict=True):
            if column == 0:
                axes.set_ylabel(f"{name}\ny (px)", fontsize="small")
            else:
                axes.tick_params(labelleft=False)
            axes.tick_params(labelbottom=axes is own[2], labelsize="x-small")
            whole_ticks(axes, (height, width))
    if not len(chosen):
        figure.suptitle("0 ROIs")
    elif len(chosen) < len(stack):
        figure.suptitle(f"{len(chosen)} of {wording.plural(len(stack), 'ROI')}")
    return figure


def _rows(rows: Any, count: int) -> list[int]:
    if rows is None:
        return list(range(min(count, _MOST)))
    chosen = [check.integer(f"rows[{i}]", row) for i, row in enumerate(rows)]
    for row in chosen:
        if not -count <= row < count:
            raise ValueError(f"rows must be among {wording.plural(count, 'ROI')}, got {row}")
    return [row % count for row in chosen]


def draw_roi(panels: Any, roi: np.ndarray, spot: FitResult, name: str, aspect: str) -> None:
    """Data, model and residual of one spot."""
    from ..models.evaluation import image

    model = image(spot.params[0], roi.shape, spot.model, spot.pixel)
    if not roi.size:  # axes need an image of at least one pixel
        roi = model = np.full((1, 1), np.nan)
    if roi.ndim == 3:
        z = float(spot.z[0])
        plane = int(np.clip(np.rint(z if np.isfinite(z) else len(roi) // 2), 0, len(roi) - 1))
        roi, model, name = roi[plane], model[plane], f"{name}, z = {plane}"
    roi = np.where(np.isfinite(roi), roi, np.nan)
    residual = roi - model
    low, high = stretch(roi)
    look = style(low, high)
    left = residual[np.isfinite(residual)]
    half = float(np.abs(left).max(initial=0.0))
    good = bool(spot.converged[0])
    for axes, shown, how in zip(
        panels, (roi, model, residual), (look, look, around_zero(half)), strict=True
    ):
        axes.set_axis_on()
        axes.set_facecolor(MISSING)
        axes.imshow(shown, aspect=aspect, **how)
        frame_image(axes, roi.shape)
    panels[0].plot(
        spot.x, spot.y, "+", color=FITTED if good else FAILED, markersize=7, markeredgewidth=1.0
    )
    status = "" if good else "\n" + spot.status_counts().popitem()[0].name.lower().replace("_", " ")
    ends = f"\n{low:.3g} to {high:.3g}" if np.isfinite(roi).any() else ""
    panels[0].set_title(f"{name}{status}{ends}", fontsize="small")
    panels[2].set_xlabel(f"x (px)\n$\\pm${half:.3g}" if left.size else "x (px)", fontsize="small")
