"""A timed call, a job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

Call = Callable[[], Any]


class Timed(NamedTuple):
    """A call, and how many items it does."""

    call: Call
    items: float


class Job(NamedTuple):
    """A row of the table: what is done, counted in what, and by whom."""

    title: str
    unit: str
    prepare: Callable[[float, int], tuple[Timed, dict[str, Callable[[], Timed]]]]
