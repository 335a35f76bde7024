"""A point spread function that was measured, drawn: profile, residual and growth curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..base import wording
from ..base.figures import FAILED, FITTED, around_zero, new_figure

if TYPE_CHECKING:
    from .result import PsfMeasurement

_WIDTH, _HEIGHT = 9.0, 6.4  # inches
_SHOWN = 99.5  # percentile of the residuals at the end of the scale of colours
_FLOOR = 0.3  # of the smallest positive value: the lower end of the logarithmic axis


def plot_psf(measurement: PsfMeasurement, *, figure: Any = None) -> Any:
    """Draw a measured point spread function: profile, residual, growth curve, mean residual.

    The profile is that of a star of flux 1: means over rings around the centres of all stars, with
    their errors, and the model. Below is their difference relative to the peak. The growth curve
    is the part of the flux within a radius. The picture is the sum of all residuals divided by the
    sum of all fluxes, relative to the peak; structure in it is missing in the model.

    Parameters
    ----------
    measurement : PsfMeasurement
        Of `measure_psf`.
    figure : matplotlib.figure.Figure or SubFigure, optional
        Where to draw; by default a new figure, not registered with pyplot.

    Returns
    -------
    matplotlib.figure.Figure or SubFigure
        The figure, with four axes and that of the scale of colours.

    Raises
    ------
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> import numpy as np, fastgauss as fg
    >>> from fastgauss.plot import plot_psf
    >>> psf = fg.psf_model([0.7, 0.3], [1.2, 2.4])
    >>> image = psf.image((61, 61), flux=5e4) + np.random.default_rng(0).normal(0, 1, (61, 61))
    >>> figure = plot_psf(fg.measure_psf(image, components=2))
    >>> [axes.get_title() for axes in figure.axes[:4]]
    ['profile', 'growth curve', 'residual', 'mean residual']
    """
    if figure is None:
        figure = new_figure(_WIDTH, _HEIGHT, "constrained")
    used = wording.plural(len(measurement.stars), "star")
    many = wording.plural(len(measurement.model.components), "Gaussian")
    figure.suptitle(f"{many}, FWHM {measurement.model.fwhm:.3g} px, from {used}")
    (above, growth), (below, picture) = figure.subplots(2, 2)
    _draw_profile(above, below, measurement)
    curve = measurement.growth
    growth.plot(curve["radius"], curve["data"], "o", color=FITTED, markersize=3, label="stars")
    growth.plot(curve["radius"], curve["model"], color="black", linewidth=1, label="model")
    growth.set(
        title="growth curve", xlabel="radius (px)", ylabel="part of the flux", ylim=(0, None)
    )
    growth.legend(loc="lower right")
    _draw_mean(picture, measurement)
    return figure


def _draw_profile(above: Any, below: Any, measurement: PsfMeasurement) -> None:
    curve, peak = measurement.profile, measurement.model.peak
    look = {"fmt": "o", "color": FITTED, "markersize": 3, "elinewidth": 1}
    above.errorbar(curve["radius"], curve["data"], curve["error"], label="stars", **look)
    above.plot(curve["radius"], curve["model"], color="black", linewidth=1, label="model")
    least = curve["data"][curve["data"] > 0].min(initial=peak)
    above.set(
        title="profile", yscale="log", ylabel="star of flux 1 (1 / px²)", xlabel="radius (px)",
        ylim=(max(_FLOOR * least, 1e-7 * peak), 2.0 * peak),
    )  # fmt: skip
    above.legend()
    miss = (curve["data"] - curve["model"]) / peak
    below.errorbar(curve["radius"], miss, curve["error"] / peak, **look | {"color": FAILED})
    below.axhline(0.0, color="black", linewidth=1)
    below.set(title="residual", xlabel="radius (px)", ylabel="stars - model, relative to the peak")


def _draw_mean(axes: Any, measurement: PsfMeasurement) -> None:
    """Draw the sum of all residuals divided by the sum of all fluxes."""
    used = np.isfinite(measurement.residuals)
    light = np.tensordot(measurement.stars["flux"], used, 1)
    total = np.where(used, measurement.residuals, 0.0).sum(axis=0)
    mean = np.where(light > 0, total / np.where(light > 0, light, 1.0), np.nan)
    mean = mean / measurement.model.peak
    half = measurement.residuals.shape[1] // 2
    sides = (-half - 0.5, half + 0.5)
    shown = np.abs(mean[np.isfinite(mean)])
    most = float(np.percentile(shown, _SHOWN)) if shown.size else 0.0
    drawn = axes.imshow(mean, extent=sides + sides[::-1], **around_zero(most))
    axes.set(title="mean residual", xlabel="x (px)", ylabel="y (px)")
    axes.figure.colorbar(drawn, ax=axes, label="relative to the peak")
