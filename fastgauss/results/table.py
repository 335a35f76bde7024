"""Text, HTML, DataFrame and layer views of a table of spots, and its order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base import check, wording
from ..base.data_frames import data_frame
from ..base.status import Status
from ..base.widths import FWHM
from .columns import LENGTHS, describe

if TYPE_CHECKING:
    import pandas as pd

    from .fit_result import FitResult

ROWS = 10  # rows that a view shows
_NOT_SHOWN = (
    "snr", "fwhm", "objective", "reduced_chi2", "p_value", "converged", "iterations", "pixels",
    "dof", "id",
)  # fmt: skip
_STYLE = "text-align: right"


def status_word(code: float) -> str:
    """The name of a status as text for people."""
    return Status(int(code)).name.lower().replace("_", " ")


def _cell(name: str, value: float) -> str:
    return status_word(value) if name == "status" else f"{value:.6g}"


def preview(table: Mapping[str, np.ndarray]) -> dict[str, list[str]]:
    """The first rows as text, without columns that only programs need."""
    names = [n for n in table if n not in _NOT_SHOWN and not n.endswith("_error")]
    return {name: [_cell(name, v) for v in table[name][:ROWS]] for name in names}


def summary(result: FitResult) -> str:
    """How many spots there are, and how many have each status."""
    count = len(result)
    others = [
        f"{number} {status_word(code)}"
        for code, number in result.status_counts().items()
        if code not in (Status.CONVERGED, Status.AT_BOUND)
    ]
    parts = [wording.plural(count, "spot"), f"{int(result.converged.sum())} converged"]
    return ", ".join([*parts, *others])


def facts(result: FitResult, pixel_size: float | None) -> dict[str, str | bool | float]:
    """Facts that are the same for all spots; a table without metadata has them as columns."""
    known: dict[str, str | bool | float] = {
        "model": result.model.name, "pixel": result.pixel, "absolute": bool(result.absolute),
    }  # fmt: skip
    if result.length != LENGTHS[0]:
        known["length"] = result.length
    if pixel_size is not None:
        known["pixel_size"] = pixel_size
    return known


def dataframe(result: FitResult) -> pd.DataFrame:
    """The columns as a DataFrame, with units and meanings among its attributes."""
    columns: dict[str, Any] = result.to_dict()
    known = facts(result, result.pixel_size)
    for name, fact in known.items():
        columns[name] = np.full(len(result), fact)
    table = data_frame(columns, describe(result.model, result.absolute, result.length))
    words = [name for name, fact in known.items() if isinstance(fact, str)]
    for name in words:
        table[name] = table[name].astype("category")  # a byte a row
    return table


def napari_layer(result: FitResult, name: Any) -> tuple[np.ndarray, dict[str, Any], str]:
    """See `FitResult.to_napari`."""
    name = check.text("name", name)
    if result.model.ndim == 1:
        raise ValueError(
            "a layer of points needs spots of images or volumes, this result is of profiles"
        )
    good = np.isfinite(result.positions).all(axis=1)
    data = result.positions[good]
    if result.frames is not None:
        data = np.column_stack([result.frames[good], data])
    widths = result.model.widths(result.params[good])
    size = FWHM * np.sqrt(np.mean(widths**2, axis=1))
    features = {column: values[good] for column, values in result.to_dict().items()}
    options = {"name": name, "size": np.nan_to_num(size, nan=1.0), "features": features}
    return data, options, "points"


def html(result: FitResult) -> str:
    """The first rows as HTML, for notebooks."""
    columns = preview(result[:ROWS].to_dict())
    known = describe(result.model, result.absolute, result.length)

    def head(name: str) -> str:
        unit, meaning = known[name]
        shown = f"{name}<br><small>{escape(unit)}</small>" if unit else name
        return f'<th style="{_STYLE}" title="{escape(meaning)}">{shown}</th>'

    title = f"FitResult, {result.model.name}, {result.model.ndim}-D: {summary(result)}"
    rows = [
        "<tr>" + "".join(f'<td style="{_STYLE}">{escape(cell)}</td>' for cell in row) + "</tr>"
        for row in zip(*columns.values(), strict=True)
    ]
    more = len(result) - len(rows)
    return "".join([
        f"<div><p>{escape(title)}</p><table><thead><tr>",
        *map(head, columns),
        "</tr></thead><tbody>",
        *rows,
        "</tbody></table>",
        f"<p>and {more} more</p>" if more else "",
        "</div>",
    ])  # fmt: skip


def order(result: FitResult, by: Any, descending: Any) -> np.ndarray:
    """The order of rows sorted by columns, the first column the most important; NaN is last."""
    names: Sequence[Any] = (by,) if isinstance(by, str) else tuple(by)
    if not names:
        raise ValueError("by must name a column, got none")
    down = check.flag("descending", descending)
    keys = []
    for name in names:
        column = result[check.choice("by", name, result.columns)]
        ranks = np.unique(column, return_inverse=True)[1].reshape(-1)
        keys += [-ranks if down else ranks, np.isnan(column)]
    # numpy compares the last key first
    return np.lexsort([key for pair in zip(keys[-2::-2], keys[::-2], strict=True) for key in pair])
