"""The names of the jobs that `warmup` compiles, without what the jobs import."""

from __future__ import annotations

from collections.abc import Iterable

from ..base import check

JOBS = (
    "find", "fit", "joint", "evaluate", "field", "scatter", "filter", "density", "linear",
    "register",
)  # fmt: skip
EVERYDAY = ("find", "fit", "evaluate", "field", "scatter", "filter")


def chosen(jobs: Iterable[str]) -> tuple[str, ...]:
    """The jobs that these names mean: none the everyday ones, "all" all."""
    names = tuple(jobs) or EVERYDAY
    for name in names:
        check.choice("jobs", name, (*JOBS, "all"))
    return JOBS if "all" in names else tuple(dict.fromkeys(names))
