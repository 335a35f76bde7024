"""A result as the command prints it: a summary, the first rows, or the whole table."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..io import files, tables
from ..results import table
from ..results.fit_result import FitResult
from .compilation import Time

if TYPE_CHECKING:
    from ..register import DisplacementField, StackAlignment


def write(result: FitResult, path: str | Path) -> None:
    """Save a result; a CSV of a model with constants has the columns, without the constants."""
    if result.model.constants and Path(path).suffix.lower() == ".csv":
        tables.write_table(path, result.to_dict())
    else:
        result.save(path)


def write_displacements(
    path: str, found: DisplacementField | StackAlignment, about: Mapping[str, tuple[str, str]]
) -> None:
    """All arrays for numpy, and a row for each window or frame for others."""
    if Path(path).suffix.lower() == ".npz":
        with files.replacing(path) as file:
            np.savez(file, **found.to_dict())  # type: ignore[arg-type]
    else:
        tables.write_table(path, found.to_columns(), columns=about)


def print_table(result: FitResult) -> None:
    """Print the table as CSV."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "spots.csv")
        write(result, path)
        with path.open(encoding="utf-8", newline="") as text:
            shutil.copyfileobj(text, sys.stdout)


def summary(name: str, result: FitResult, count: int, took: Time) -> list[str]:
    """Lines: how many spots there are, and the medians of those that converged."""
    frames = f", {count} frames" if count > 1 else ""
    spots, rest = table.summary(result).split(", ", 1)
    lines = [f"{spots} in {name}{frames}, {rest}, {took}"]
    good = result[result.converged]
    if len(good):
        names = [each for each in result.names if each not in {"x", "y", "z"}]
        medians = (
            f"{each} {np.median(getattr(good, each)):.4g}"
            for each in dict.fromkeys((*names, "flux"))
        )
        lines.append(f"medians: {', '.join(medians)}")
    return lines


def print_rows(result: FitResult) -> None:
    """Print the first rows in pixels, without columns that only programs need."""
    if not len(result):
        return
    shown = table.preview(FitResult.to_dict(result))
    columns = [[name, *cells] for name, cells in shown.items()]
    widths = [max(map(len, column)) for column in columns]
    print()
    for row in zip(*columns, strict=True):
        print("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)))
    more = len(result) - table.ROWS
    if more > 0:
        print(f"and {more} more; -o TABLE writes all, with errors and statuses")
