"""The picture of a drift, with matplotlib, which is imported when it is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.figures import FITTED, new_figure

if TYPE_CHECKING:
    from .drift import Drift

_WIDTH, _HEIGHT = 7.0, 1.9  # inches, of one axis


def draw(drift: Drift, figure: Any) -> Any:
    """See `Drift.plot`."""
    if figure is None:
        figure = new_figure(_WIDTH, _HEIGHT * len(drift.axes) + 0.4)
    panels = figure.subplots(len(drift.axes), 1, sharex=True, squeeze=False)[:, 0]
    for k, (axes, name) in enumerate(zip(panels, drift.axes, strict=True)):
        middle, error = drift.positions[:, k], drift.errors[:, k]
        if np.isfinite(error).all():
            axes.fill_between(
                drift.frames, middle - error, middle + error, color=FITTED, alpha=0.4, linewidth=0
            )
        axes.plot(drift.frames, middle, color="k", linewidth=0.8)
        axes.plot(drift.segment_frames, drift.segment_positions[:, k], "k.", markersize=3)
        axes.set_ylabel(name)
    title = f"drift and its standard error, {drift.status.message}"
    panels[0].set_title(title, fontsize="medium")
    panels[-1].set_xlabel("frame")
    return figure
