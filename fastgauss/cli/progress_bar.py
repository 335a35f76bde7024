"""The progress bar of the command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def bar(count: int) -> Iterator[Any]:
    """A progress bar if there are several frames, tqdm, and a terminal to show it."""
    try:
        from tqdm import tqdm
    except ImportError:
        count = 1
    if count < 2:
        yield False
        return
    with tqdm(total=count, unit="frame", disable=None) as shown:
        yield lambda done, _: shown.update(done - shown.n)
