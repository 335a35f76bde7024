"""The report of ``fastgauss fit``: one HTML file with spots, distributions and versions."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..base.figures import FAILED, FITTED, MISSING, frame_image, new_figure, stretch, style
from ..base.optional import require
from ..base.status import Status
from ..io import files
from ..results.fit_result import FitResult
from ..results.table import status_word
from ..tools.info import configuration

_SUFFIXES = dict.fromkeys((".html", ".htm"))
_WIDE = 1e3  # ratio of fluxes from which numbers at powers of ten alone have room
_BINS, _DECADES = 40, 30.0  # bins; ratio of fluxes from which their axis is logarithmic
_DPI = 110
_NUMBERS = 5  # along an abscissa, so that they do not touch
_STYLE = (
    "body{font-family:sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}"
    "img{max-width:100%}table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:left;"
    "border-bottom:1px solid #ddd}pre{background:#f4f4f4;padding:.8em;white-space:pre-wrap}"
    ".hint{background:#fff3d6;padding:.8em}.wide{overflow-x:auto}"
)


class Content(NamedTuple):
    """The content of a report."""

    title: str
    call: str
    summary: str  # one or several lines
    taken_for: str
    hint: str
    result: FitResult
    picture: Any  # a figure of the first image with its spots


def check_report(path: str | os.PathLike) -> None:
    """Raise before the work the errors that writing the report would raise after it."""
    files.by_suffix(Path(path), _SUFFIXES, "report")
    require("matplotlib.figure", "--report", "plot")
    files.check_place(Path(path))


def write_report(path: str | os.PathLike, content: Content) -> None:
    """Write the report, completely or not at all."""
    text = _page(content).encode("utf-8")
    with files.replacing(path) as file:
        file.write(text)


def projection(volume: np.ndarray, result: FitResult) -> Any:
    """A figure of the largest values along z, with the spots."""
    empty = np.isnan(volume).all(axis=0) if volume.dtype.kind == "f" else np.zeros(1, bool)
    flat = np.fmax.reduce(volume, axis=0)
    figure = new_figure(6.0, 6.0 * min(max(flat.shape[0] / flat.shape[1], 0.3), 2.0))
    axes = figure.subplots()
    frame_image(axes, flat.shape)
    axes.set_facecolor(MISSING)
    axes.imshow(np.where(empty, np.nan, flat), **style(*stretch(flat)))
    good = result.converged
    for rows, colour, mark in ((good, FITTED, "o"), (~good, FAILED, "x")):
        look = {"color": colour, "markersize": 5, "fillstyle": "none", "linestyle": "none"}
        axes.plot(result.x[rows], result.y[rows], mark, **look)
    axes.set(xlabel="x (px)", ylabel="y (px)", title="largest values along z")
    return figure


def _distributions(result: FitResult) -> dict[str, np.ndarray]:
    """The values of each histogram, by title, of the spots that converged."""
    good = result[result.converged]
    errors = dict(zip(good.names, good.errors.T, strict=True))
    widths = {name: getattr(good, name) for name in good.names if name.startswith("sigma")}
    found = {"flux": good.flux}
    found |= {f"{name} (px)": values for name, values in widths.items()}
    found |= {f"error of {name} (px)": errors[name] for name in "xyz" if name in errors}
    found["p-value"] = good.p_value
    finite = {title: values[np.isfinite(values)] for title, values in found.items()}
    return {title: values for title, values in finite.items() if values.size}


def histograms(result: FitResult) -> Any:
    """A figure with a histogram of each distribution; None without a spot that converged."""
    shown = _distributions(result)
    if not shown:
        return None
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(3.6 * columns, 2.6 * rows, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (title, values) in zip(panels, shown.items(), strict=False):
        low, high = (0.0, 1.0) if title == "p-value" else _limits(values)
        wide = title == "flux" and low > 0 and high > _DECADES * low
        edges = np.geomspace(low, high, _BINS + 1) if wide else np.linspace(low, high, _BINS + 1)
        axes.hist(values, bins=edges, color=FITTED)
        if wide:
            _make_logarithmic(axes, high / low)
        else:
            axes.locator_params(axis="x", nbins=_NUMBERS)
        outside = int(((values < low) | (values > high)).sum())
        axes.set_title(title + (f", {outside} outside" if outside else ""), fontsize=10)
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    return figure


def _make_logarithmic(axes: Any, ratio: float) -> None:
    """A logarithmic abscissa with as many numbers as have room in a panel."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    if ratio < _WIDE:
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _limits(values: np.ndarray) -> tuple[float, float]:
    """A range with nearly all values: few that are far away would hide the others."""
    low, middle, high = np.percentile(values, (1, 50, 99))
    least = max(values.min(), middle - 1.5 * (middle - low))
    most = min(values.max(), middle + 1.5 * (high - middle))
    return (float(least), float(most)) if most > least else (float(least) - 0.5, float(least) + 0.5)


def _image(figure: Any, alternative: str) -> str:
    """A figure as an image inside the page."""
    figure.draw_without_rendering()
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DPI)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<img alt="{escape(alternative)}" src="data:image/png;base64,{data}">'


def _table(rows: Mapping[str, Any], *heads: str) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in (name, *cells))}</tr>"
        for name, cells in rows.items()
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _page(content: Content) -> str:
    result = content.result
    statuses = {
        status_word(code): (number, Status(code).message)
        for code, number in result.status_counts().items()
    }
    several = result.frames is not None
    parts = [
        f"<h1>{escape(content.title)}</h1>",
        f"<pre>{escape(content.call)}</pre>",
        f"<p>{escape(content.taken_for)}</p>" if content.taken_for else "",
        f"<pre>{escape(content.summary)}</pre>",
        f'<p class="hint">{escape(content.hint)}</p>' if content.hint else "",
        f"<h2>{'The first frame with its spots' if several else 'The spots'}</h2>",
        _image(content.picture, "the image with its spots"),
    ]
    figure = histograms(result)
    if figure is not None:
        parts += ["<h2>Spots that converged</h2>", _image(figure, "histograms of the spots")]
    if statuses:
        parts += ["<h2>Statuses</h2>", _table(statuses, "status", "spots", "meaning")]
        parts += ["<h2>The first spots</h2>", f'<div class="wide">{result._repr_html_()}</div>']
    versions = {name: (version,) for name, version in configuration().items() if name != "cache"}
    parts += ["<h2>Versions</h2>", _table(versions, "", "")]
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(content.title)}'
        f'</title><meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body>{''.join(parts)}</body></html>\n"
    )
