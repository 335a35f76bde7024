"""The progress bar of the command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def bar(count: int | None, unit: str = "frame") -> Iterator[Any]:
    """A progress bar if there are several frames or steps, tqdm, and a terminal to show it.

    Without ``count`` the number of steps is told with those that are done.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        count = 1
    if count is not None and count < 2:
        yield False
        return
    with tqdm(total=count, unit=unit, disable=None) as shown:

        def show(done: int, total: int) -> None:
            shown.total = total if count is None else count
            shown.update(done - shown.n)

        yield show
