"""The report of ``fastgauss movie`` as one picture, with matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..base import wording
from ..base.figures import FITTED, new_figure
from ..localisations import render_localisations

if TYPE_CHECKING:
    from .movie import Localisations

_SIZE = 11.0, 7.5  # inches
_BESIDE, _NARROWEST, _WIDEST = 1.7, 4.6, 6.6  # inches beside the picture; of its column
_SIDE = 250  # pixels of the picture, at most
_BRIGHT = 99.0  # percentile of the pixels with light that is white
_FAR = 99.0  # percentile of the errors at which the histogram ends


def draw(found: Localisations, name: str, frames: int) -> Any:
    """Spots of each frame, the picture, a histogram of the precision, and the drift."""
    figure = new_figure(*_SIZE, layout="constrained")
    spots = wording.plural(len(found.located), "localisation")
    if found.noun != "localisation":
        spots = f"{wording.plural(len(found.result), found.noun)} of {spots}"
    figure.suptitle(f"{name}: {spots} in {wording.plural(frames, 'frame')}")
    height, width = found.shape
    column = min(max(0.4 * _SIZE[1] * width / height + _BESIDE, _NARROWEST), _WIDEST)
    (one, two), (three, four) = figure.subfigures(2, 2, width_ratios=(_SIZE[0] - column, column))
    _draw_counts(one.subplots(), found, frames)
    _draw_picture(two, found)
    _draw_precision(three.subplots(), found)
    if found.drift is None:
        four.suptitle("drift not corrected", fontsize="medium")
    else:
        for axes in found.drift.plot(figure=four).axes:
            axes.set_ylabel(f"{axes.get_ylabel()}, px")
    return figure


def _draw_counts(axes: Any, found: Localisations, frames: int) -> None:
    counts = np.bincount(found.located, minlength=frames)
    axes.plot(counts, color="k", linewidth=0.6)
    axes.set(xlabel="frame", ylabel="localisations", ylim=(0, None))
    axes.set_title("localisations of each frame", fontsize="medium")


def _draw_picture(figure: Any, found: Localisations) -> None:
    axes = figure.subplots()
    height, width = found.shape
    pixel = max(height, width) / _SIDE
    picture = render_localisations(found.result, pixel, shape=found.shape) / pixel**2
    lit = picture[picture > 0.01 * picture.max(initial=0.0)]
    top = float(np.percentile(lit, _BRIGHT)) if lit.size else 1.0
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    shown = axes.imshow(picture, cmap="inferno", vmin=0.0, vmax=top, extent=extent)
    axes.set(xlabel="x, px", ylabel="y, px")
    axes.set_title("density", fontsize="medium")
    figure.colorbar(shown, ax=axes, label=f"{found.noun}s a square pixel")


def _draw_precision(axes: Any, found: Localisations) -> None:
    size = found.result.pixel_size
    errors = found.result[["y_error", "x_error"]] * (1.0 if size is None else size)
    errors = np.sqrt(np.mean(errors**2, axis=1))
    unit = "px" if size is None else "nm"
    axes.set(xlabel=f"standard error along an axis, {unit}", ylabel=f"{found.noun}s")
    title = "precision"
    if errors.size:
        axes.hist(errors, bins=60, range=(0.0, float(np.percentile(errors, _FAR))), color=FITTED)
        middle = float(np.median(errors))
        axes.axvline(middle, color="k", linewidth=0.8)
        title += f", median {middle:.3g} {unit}"
    axes.set_title(title, fontsize="medium")
