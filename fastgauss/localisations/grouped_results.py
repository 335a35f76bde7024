"""Groups of localisations as a result with one row for each molecule."""

from __future__ import annotations

import numpy as np

from ..results import FitResult
from ..results.foreign_columns import widths_along
from ..results.foreign_tables import result_of
from .groups import Groups


def grouped_result(result: FitResult, groups: Groups) -> FitResult:
    """The groups of a result's localisations (images) as a result.

    Position, errors and flux are those of the group, the frame is its first, widths and offset are
    the means of its localisations. The amplitude follows from flux and widths.
    """
    members = groups.group >= 0
    which = groups.group[members]
    width_x, width_y = widths_along(result)
    found = {"frame": groups.first, "id": np.arange(len(groups)), "flux": groups.flux}
    found["flux_error"] = groups.flux_error
    for k, axis in enumerate(groups.axes):
        found[axis] = groups.positions[:, k]
        found[f"{axis}_error"] = groups.errors[:, k]  # type: ignore[index]
    for name, of_each in (("width_x", width_x), ("width_y", width_y), ("offset", result.offset)):
        sums = np.bincount(which, of_each[members], minlength=len(groups))
        found[name] = sums / groups.count
    told = {"pixel": result.pixel, "pixel_size": result.pixel_size}
    model, rows, facts = result_of(found, told)  # type: ignore[arg-type]
    return FitResult(model, rows, **facts)
