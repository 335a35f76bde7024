"""Tables in markdown, printed as they grow."""

from __future__ import annotations

from collections.abc import Iterable


def print_row(cells: Iterable[str]) -> None:
    """One row, at once."""
    print("|", " | ".join(cells), "|", flush=True)


def print_head(cells: Iterable[str]) -> None:
    """The first two rows."""
    names = list(cells)
    print_row(names)
    print_row(["---"] * len(names))
