"""Types of a benchmark: a timed call, a job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

Call = Callable[[], Any]


class Timed(NamedTuple):
    """A call, and the number of items that it does."""

    call: Call
    items: float


class Job(NamedTuple):
    """A job of the table: its name, its unit, and who does it."""

    title: str
    unit: str
    prepare: Callable[[float, int], tuple[Timed, dict[str, Callable[[], Timed]]]]
