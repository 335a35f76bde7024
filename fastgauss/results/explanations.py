"""Explanations: what became of the fit of one spot, in words and as a picture."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base import check, image_data, wording
from ..base.figures import new_figure, png
from ..base.status import Status
from ..models.evaluation import image as evaluate_image
from .columns import LENGTHS
from .roi_pictures import draw_roi

if TYPE_CHECKING:
    from .fit_result import FitResult

_FAINT = 3.0  # signal to noise below which a spot may be noise
_UNLIKELY = 1e-3  # p-value below which the model or the noise is doubted
_ADVICE = {
    Status.CONVERGED: "",
    Status.MAX_ITERATIONS: "Give guess= nearer to the spot, or a larger max_iter=.",
    Status.STALLED: "Look at the residual for a second spot or a defect in the box; give guess=, "
    "a smaller box, or mask=.",
    Status.SINGULAR: "Hold a parameter by fixed=, such as fixed={'sigma': 1.3}, choose a model "
    "with fewer parameters, or give a larger box.",
    Status.NOT_FINITE: "Exclude pixels that are not finite by mask=, and look at guess= and "
    "weights=.",
    Status.TOO_FEW_PIXELS: "Give a larger box or a smaller mask=, or hold parameters by fixed=.",
    Status.OUTSIDE: "Look for a brighter spot beside this one: give a better position, a smaller "
    "box, bounds= of x and y, or fit both by joint=True.",
    Status.AT_BOUND: "If the bound is not known from elsewhere, widen bounds=.",
    Status.DROPPED: "If there is a spot, give it as a position and fit it without joint=True.",
    Status.TOO_WIDE: "Give a larger box, or hold the width by fixed=, such as "
    "fixed={'sigma': 1.3}.",
    Status.OUTLIER: "Exclude the pixel that stands out most from its neighbours by mask=.",
    Status.SATURATED: "Tell the level by saturation=, or exclude the saturated pixels by mask=.",
    Status.NOT_SHARED: "Fit this spot without shared=: it differs from the others.",
    Status.TOO_NARROW: "Choose model='symmetric' or 'elliptic', hold the widths by fixed=, or give "
    "bounds= of the widths.",
}


class Explanation:
    """What became of the fit of one spot; printed, it is a text, and in a notebook a picture too.

    Attributes
    ----------
    text : str
        The status in words, the parameters, the quality of the fit, and what to change.
    figure : matplotlib.figure.Figure or None
        Data, model and residual of the spot, if the data were given.
    """

    def __init__(self, text: str, figure: Any = None) -> None:
        self.text = text
        self.figure = figure

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        words = f"<pre>{escape(self.text)}</pre>"
        if self.figure is None:
            return words
        picture = base64.b64encode(png(self.figure)).decode("ascii")
        return f'{words}<img src="data:image/png;base64,{picture}">'


def explain(result: FitResult, row: Any, data: Any, box: Any) -> Explanation:
    """See `FitResult.explain`."""
    row = check.integer("row", row)
    if not -len(result) <= row < len(result):
        raise IndexError(f"row {row} is out of range for {wording.plural(len(result), 'spot')}")
    row %= len(result)
    spot = result[row]
    status = Status(int(spot.status[0]))
    lines = [
        f"Spot {row}{_where(spot, row)}: {status.name}, {status.message}.",
        *_parameters(spot),
        *_quality(spot),
    ]
    advice = [_ADVICE[status], *_doubts(spot, status)]
    figure = None
    if data is not None:
        roi, corner = _region(spot, data, box)
        local = _moved(spot, corner)
        lines += _residual(roi, corner, local)
        if roi.ndim > 1:
            figure = new_figure(3.2, 7.0)
            panels = figure.subplots(3, 1)
            draw_roi(panels, roi, local, f"spot {row}", "equal")
            for axes, name in zip(panels, ("data", "model", "residual"), strict=True):
                axes.set_ylabel(name)
    advice = [line for line in advice if line]
    if advice:
        lines += ["What to change:", *(f"  {line}" for line in advice)]
    return Explanation("\n".join(lines), figure)


# -- words -------------------------------------------------------------------------------------


def _where(spot: FitResult, row: int) -> str:
    """Frame and number, where they say more than the row."""
    parts = [] if spot.frames is None else [f"frame {int(spot.frames[0])}"]
    if int(spot.id[0]) != row:
        parts.append(f"id {int(spot.id[0])}")
    return f" ({', '.join(parts)})" if parts else ""


def _parameters(spot: FitResult) -> list[str]:
    values, errors, held = spot.params[0], spot.errors[0], spot.at_bound[0]
    if np.isnan(values).all():
        return ["  There are no parameters, because nothing was fitted."]
    width = max(map(len, spot.names))
    lines = []
    for name, value, error, bound in zip(spot.names, values, errors, held, strict=True):
        note = " (on its bound)" if bound else " (held)" if error == 0 else f" +- {error:.3g}"
        lines.append(f"  {name:<{width}} {value:.6g}{note}")
    return lines


def _quality(spot: FitResult) -> list[str]:
    counts = (("pixel", spot.pixels), ("free parameter", spot.pixels - spot.dof))
    parts = [
        f"{int(many[0])} {word}{'' if many[0] == 1 else 's'}"
        for word, many in (*counts, ("round", spot.iterations))
    ]
    lines = ["  " + ", ".join(parts)]
    if np.isfinite(spot.flux[0]):
        lines.append(f"  flux {spot.flux[0]:.6g}, signal to noise {spot.snr[0]:.3g}")
    if spot.absolute and np.isfinite(spot.p_value[0]):
        chi2 = f"reduced chi-squared {spot.reduced_chi2[0]:.3g}"
        lines.append(f"  {chi2}, p-value {spot.p_value[0]:.3g}")
    return lines


def _doubts(spot: FitResult, status: Status) -> list[str]:
    """Advice that numbers give, beside that of the status."""
    lines = []
    if spot.absolute and spot.p_value[0] < _UNLIKELY:
        lines.append(
            "The residual is larger than the noise allows: look at the residual for other spots, "
            "try another model= or pixel='integrate', or correct weights= or variance=."
        )
    if status in (Status.CONVERGED, Status.AT_BOUND) and abs(spot.snr[0]) < _FAINT:
        lines.append("The spot is faint and may be noise: hold the width by fixed=, or leave it.")
    return lines


# -- data --------------------------------------------------------------------------------------


def _region(spot: FitResult, data: Any, box: Any) -> tuple[np.ndarray, tuple[int, ...]]:
    """The pixels of a spot, and the first of them in the image; of ROIs the ROI itself."""
    ndim = spot.model.ndim
    if spot.length != LENGTHS[0]:
        raise ValueError("data must be None for profiles that were fitted with coords")
    pixels = image_data.filled("data", data, (ndim, ndim + 1))
    number = int(spot.id[0]) if spot.frames is None else int(spot.frames[0])
    if pixels.ndim == ndim + 1:
        if not 0 <= number < len(pixels):
            raise ValueError(f"data must have a ROI or frame {number}, got {len(pixels)}")
        pixels = pixels[number]
        if spot.frames is None:
            return pixels, (0,) * ndim
    side = check.integer("box", box, at_least=1)
    middle = spot.positions[0]
    if not np.isfinite(middle).all():
        raise ValueError("data must be None for a spot that was not fitted: its place is not known")
    low = np.rint(middle) - side // 2
    first = np.clip(low, 0, pixels.shape).astype(int)
    last = np.clip(low + side, 0, pixels.shape).astype(int)
    return pixels[tuple(map(slice, first, last))], tuple(first.tolist())


def _moved(spot: FitResult, corner: tuple[int, ...]) -> FitResult:
    """The spot in the coordinates of its pixels."""
    params = spot.params.copy()
    params[:, spot.model.ndim : 0 : -1] -= corner
    local = spot.with_rows(spot.rows._replace(params=params))
    if spot.model.ndim > 1:  # a model of the places of an image counts from the same pixel
        local.model = spot.model.shifted(*map(float, corner[-2:]))
    return local


def _residual(roi: np.ndarray, corner: tuple[int, ...], local: FitResult) -> list[str]:
    rest = roi - evaluate_image(local.params[0], roi.shape, local.model, local.pixel)
    if not np.isfinite(rest).any():
        return ["  no pixel of the spot is finite"]
    rms = float(np.sqrt(np.nanmean(rest**2)))
    place = np.unravel_index(np.nanargmax(np.abs(rest)), rest.shape)
    names = check.axis_names(rest.ndim)
    where = ", ".join(f"{n} = {i + c}" for n, i, c in zip(names, place, corner, strict=True))
    return [f"  residual: rms {rms:.4g}, largest {rest[place]:.4g} at {where}"]
